"""Wait for a condition with a deadline, in tests of several threads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def eventually(holds: Callable[[], object], what: str = "", *, seconds: float = 60.0) -> None:
    """Return as soon as `holds()` is true; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or holds}"
        time.sleep(0.005)
