"""Wait for a condition with a deadline, in tests of several threads; let the package wait as long by itself."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

SECONDS = 60.0
# Options of a simulator of Aries: a session is to be renewed soon after its beginning, and there is much time for it.
RENEWED_SOON: dict[str, Any] = {"session_seconds": 20.0, "warn_seconds": 19.8}
# How long the package waits for a server before it goes on without, unless the caller says so.
LIMITS = (
    "aries_nb.live.account.positions.FIRST_MARKS_SECONDS",
    "aries_nb.live.completion.WAIT_SECONDS",
    "aries_nb.live.connection.ANSWER_SECONDS",
    "aries_nb.live.derived.instants.FIRST_SECONDS",
    "aries_nb.live.local_simulator.CATCH_UP_SECONDS",
    "aries_nb.live.market.book.VENUES_SECONDS",
    "aries_nb.live.market.options.ASK_SECONDS",
    "aries_nb.live.market.options.SPOT_SECONDS",
)
# Whose `wait` and `until` have a `timeout` of 10 s.
WAITING = (
    "aries_nb.live.account.equity",
    "aries_nb.live.account.fills",
    "aries_nb.live.account.positions",
    "aries_nb.live.derived.alerts",
    "aries_nb.live.derived.series",
    "aries_nb.live.market.bars",
    "aries_nb.live.market.book",
    "aries_nb.live.market.frame",
    "aries_nb.live.market.options",
    "aries_nb.live.table",
)


def eventually(holds: Callable[[], object], what: str = "", *, seconds: float = SECONDS) -> None:
    """Return as soon as `holds()` is true; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or holds}"
        time.sleep(0.005)


def be_patient(patch: pytest.MonkeyPatch | None = None) -> None:
    """Let the package's own waits for a server last a minute: how long a busy machine takes is no test's subject.

    With `patch` None it lasts, as in a process of its own.
    """
    for values, name in limits():
        if patch is None:
            values[name] = SECONDS
        else:
            patch.setitem(values, name, SECONDS)


def limits() -> Iterator[tuple[dict[str, Any], str]]:
    """Each limit, as the dict that has it and its name there."""
    for limit in LIMITS:
        module, _, name = limit.rpartition(".")
        yield vars(importlib.import_module(module)), name
    for method in {method for name in WAITING for method in waits_of(importlib.import_module(name))}:
        yield method.__kwdefaults__, "timeout"


def waits_of(module: Any) -> list[Any]:
    """The methods of a module's classes that wait, and for 10 s unless they are told otherwise."""
    kinds = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    methods = [vars(kind)[name] for kind in kinds for name in ("wait", "until") if name in vars(kind)]
    return [method for method in methods if "timeout" in (getattr(method, "__kwdefaults__", None) or {})]
