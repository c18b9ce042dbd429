"""Whether this process stood still: stopped, at a breakpoint, or asleep with the whole machine.

To be told from a quiet market: what waits in the socket then is old, and the connection may be long dead.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Standstill"]

STANDSTILL_SECONDS = 10.0  # beyond which it is worth a word; a busy machine has turns that come late by less
# A clock that goes on while the machine sleeps, which `time.monotonic` does not do on Linux and macOS.
_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def _clocks() -> tuple[float, float]:
    """Seconds since the start of the machine, its sleep included, and since the epoch.

    A virtual machine that slept with its host learns of it only by the second.
    """
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic(), time.time()


class Standstill:
    """Compares turns that ought to come every quarter of a second. The network's thread owns it."""

    def __init__(self, clocks: Callable[[], tuple[float, float]] | None = None) -> None:
        self._clocks = clocks or _clocks
        self._at = self._clocks()

    def turn(self) -> float:
        """How many seconds nothing has happened here since the last turn; 0.0 where that is as usual."""
        before, self._at = self._at, self._clocks()
        elapsed = max(now - then for now, then in zip(self._at, before, strict=True))
        return elapsed if elapsed > STANDSTILL_SECONDS else 0.0
