"""Whether messages come later and later: the first sign that they are read more slowly than they are sent."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import ceil, nan
from typing import TYPE_CHECKING

from aries_nb.net.intake import Intake

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["LATE_SECONDS", "LagMonitor", "ReadMonitor", "StallDetector"]

log = logging.getLogger("aries_nb")

LATE_SECONDS = 1.0  # behind by so much is worth a word
LATE_MESSAGES = 2_000  # and so is this: brokers cut off whom 5,000 wait for, which is little time where many come
LATE_UNREAD = 2_500  # half of those 5,000, on our side: the broker's own begin to wait only when ours have no room
FULL_SECONDS = 0.1  # that so many must wait, so that a burst is no alarm
LEAST_SECONDS = 0.05  # less is the turn of a loop, whatever the rate
FEWEST = 5  # messages in a turn; one that has so few to read is not behind
TURNS = 2  # that it must last, so that a burst or an old quote is no alarm
BUCKET_SECONDS = 10.0
BUCKETS = 60  # what counts as quick is the quickest of the last ten minutes
KEPT_LAGS = 1_000  # of which the percentiles are told
SMOOTHING = 0.3  # what a turn counts for in the rate
STALL_SECONDS = 10.0  # beyond which it is worth a word; a busy machine has turns that come late by less
# A clock that goes on while the machine sleeps, which `time.monotonic` does not do on Linux and macOS.
_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


class LagMonitor:
    """How much later than at their quickest messages come now. The network's thread owns it; any may read `seconds`.

    From exchange time to receipt, compared with itself: how the two clocks stand to each other does not matter. Time is
    passed in, in seconds of a monotonic clock.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._quickest: deque[tuple[float, float]] = deque(maxlen=BUCKETS)  # when, and the least lag of a bucket
        self._late_turns = 0
        self._full_since: float | None = None
        self._lags: deque[float] = deque(maxlen=KEPT_LAGS)
        self._began: float | None = None  # when the first message after the beginning, or a break, was looked at

    @property
    def is_late(self) -> bool:
        """Whether it is worth a word."""
        return self.seconds > 0.0

    def __str__(self) -> str:
        if self.is_late:
            return f"messages come {self.seconds:.1f} s later than at their quickest"
        return "messages come as they should again"

    def percentiles_ms(self) -> tuple[float, float]:
        """What half of the newest 1,000 lags and what 99 of 100 stay below, in ms; NaN before the first. Any thread.

        By the two clocks as they are. Rows of the past, as a snapshot has, are not late and count not at all.
        """
        lags = sorted(self._lags)
        if not lags:
            return nan, nan
        p50, p99 = (round(lags[ceil(len(lags) * share) - 1] * 1e3, 3) for share in (0.5, 0.99))
        return p50, p99

    def interrupted(self) -> None:
        """Note that the connection broke: what comes next may be old, and nobody is behind."""
        self._began, self._full_since, self._late_turns, self.seconds = None, None, 0, 0.0

    def look(self, now: float, unread: int) -> bool:
        """Note how many messages have come and are not read; True when there have been too many for too long.

        That is told before messages are as late as they are worth a word otherwise: the next turn will tell.
        """
        if unread < LATE_UNREAD:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        return self._is_full(now)

    def turn(self, now: float, lags: Sequence[float], messages_per_s: float) -> bool:
        """Take the lags of what came since the last turn, in seconds; True where there is a word to be said."""
        was_late = self.is_late
        if lags:
            self._keep(now, lags)
        if len(lags) >= FEWEST:
            self._compare(now, min(lags), messages_per_s)
        elif not self._is_full(now):
            self._late_turns, self.seconds = 0, 0.0
        return self.is_late is not was_late

    def _compare(self, now: float, lag: float, messages_per_s: float) -> None:
        at, least = min(self._quickest, key=lambda each: each[1], default=(now, lag))
        self._note(now, lag)
        behind = lag - least
        # Nobody falls behind faster than time goes by: what looks so are old rows, of a snapshot or a tape.
        is_full = self._is_full(now)
        enough = min(LATE_SECONDS, max(LATE_MESSAGES / max(messages_per_s, 1.0), LEAST_SECONDS))
        late = LEAST_SECONDS if is_full else enough
        is_late = late <= behind <= now - at + LATE_SECONDS
        self._late_turns = (TURNS if is_full else self._late_turns + 1) if is_late else 0
        self.seconds = behind if self._late_turns >= TURNS else 0.0

    def _is_full(self, now: float) -> bool:
        return self._full_since is not None and now - self._full_since >= FULL_SECONDS

    def _keep(self, now: float, lags: Sequence[float]) -> None:
        if self._began is None:
            self._began = now
        least = min([*lags, *(lag for _, lag in self._quickest)])
        past = now - self._began + LATE_SECONDS  # as in `_compare`: more than that is of before we asked
        self._lags.extend(lag for lag in lags if lag - least <= past)

    def _note(self, now: float, lag: float) -> None:
        if not self._quickest or now - self._quickest[-1][0] >= BUCKET_SECONDS:
            self._quickest.append((now, lag))
        elif lag < self._quickest[-1][1]:
            self._quickest[-1] = (self._quickest[-1][0], lag)


class ReadMonitor:
    """The rate of an intake, and its lateness. The network's thread owns it; any may read the rate and the lateness.

    When there is a word to be said about lateness, it is logged with `where`, and `ring` is called. Time is passed in,
    in seconds of a monotonic clock.
    """

    def __init__(self, intake: Intake, where: str, ring: Callable[[], None]) -> None:
        self.messages_per_s = 0.0
        self.lag = LagMonitor()
        self._intake = intake
        self._where = where
        self._ring = ring
        self._counted, self._at = 0, 0.0

    def began(self, now: float) -> None:
        """Begin anew with a connection."""
        self.lag.interrupted()
        self._counted, self._at = self._intake.messages, now

    def turn(self, socket: ClientConnection, now: float) -> None:
        """Look at what came since the last turn."""
        messages = self._intake.messages
        rate = (messages - self._counted) / max(now - self._at, 1e-3)
        self.messages_per_s += SMOOTHING * (rate - self.messages_per_s)
        self._counted, self._at = messages, now
        self._look(socket, now)
        self._compare(now)

    def in_burst(self, socket: ClientConnection, now: float) -> None:
        """Look whether too much is unread: while reading goes on and on, turns come seldom."""
        if self._look(socket, now) and not self.lag.is_late:
            self._compare(now)

    def _look(self, socket: ClientConnection, now: float) -> bool:
        from aries_nb.net.websocket import unread_frames

        unread = unread_frames(socket, self._intake.octets / max(self._intake.frames, 1))
        return self.lag.look(now, unread)

    def _compare(self, now: float) -> None:
        if self.lag.turn(now, self._intake.new_lags(), self.messages_per_s):
            log.warning("%s: %s", self._where, self.lag)
            self._ring()


def _clocks() -> tuple[float, float]:
    """Seconds since the start of the machine, its sleep included, and since the epoch.

    A virtual machine that slept with its host learns of it only by the second.
    """
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic(), time.time()


class StallDetector:
    """Compares turns that ought to come every quarter of a second. The network's thread owns it."""

    def __init__(self, clocks: Callable[[], tuple[float, float]] | None = None) -> None:
        self._clocks = clocks or _clocks
        self._at = self._clocks()

    def turn(self) -> float:
        """How many seconds nothing has happened here since the last turn; 0.0 where that is as usual."""
        before, self._at = self._at, self._clocks()
        elapsed = max(now - then for now, then in zip(self._at, before, strict=True))
        return elapsed if elapsed > STALL_SECONDS else 0.0
