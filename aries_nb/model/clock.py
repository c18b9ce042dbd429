"""The two times: market time, which each feed has, and elapsed time, which is the same for the whole process.

*Market time* is what the data are about: staleness, trading hours, bars, windows, equity, gaps, times of receipt. It is
asked of a `Clock`. *Elapsed time* drives the machinery: drawing, pacing, timeouts, keepalive, backoff, tokens. It is
asked of `elapsed`. This computer's own clock, `wall_ns`, may be wrong or be set at any moment: only what compares it
with another clock, or with a time that a server names, asks for it. No other module reads a clock.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["MOST_AHEAD_NS", "MOST_AHEAD_US", "Clock", "WallClock", "elapsed", "steady_ns", "wall_ns", "worked"]

# An exchange time further ahead of its receipt than five minutes is wrong: market time itself is right to some seconds.
# The value is kept, but is neither the newest nor in a bar, mean, chart or window.
MOST_AHEAD_NS = 300_000_000_000
MOST_AHEAD_US = MOST_AHEAD_NS // 1_000
# It goes on while the machine sleeps, which `time.monotonic` does not do on Linux and macOS.
_STEADY: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


class Clock(Protocol):
    """Market time: of a live feed that of the exchange, of a recording that of the moment being replayed."""

    def now_ns(self) -> int:
        """Return the market time in ns since the epoch, UTC. Any thread."""


class WallClock:
    """The clock of this computer as market time, for data that no exchange stamps."""

    def now_ns(self) -> int:
        """Return the time in ns since the epoch."""
        return wall_ns()


def elapsed() -> float:
    """Return seconds of a clock that only goes forward, for differences; it stands while the machine sleeps."""
    return time.monotonic()


def worked() -> float:
    """Return the seconds that this thread has used of a processor, for differences."""
    return time.thread_time()


def steady_ns() -> int:
    """Return ns of a clock that cannot be set, for differences; it goes on while the machine sleeps.

    Where a virtual machine sleeps with its host, it stands.
    """
    return time.clock_gettime_ns(_STEADY) if _STEADY is not None else time.monotonic_ns()


def wall_ns() -> int:
    """Return the time of this computer's clock in ns since the epoch, UTC, right or wrong."""
    return time.time_ns()
