"""Waiting for a condition, with a deadline: how tests of several threads keep in step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def eventually(holds: Callable[[], object], what: str = "", *, seconds: float = 15.0) -> None:
    """Go on as soon as `holds()` is true; fail if it does not become so."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or holds}"
        time.sleep(0.005)
