"""Monitoring of a connection: how late its messages arrive, how many per second, and stalls of this process.

A growing lag (receipt minus exchange time) is the first sign that messages are read more slowly than they are sent.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from math import ceil, nan
from typing import TYPE_CHECKING

from aries_nb.model import Checkpointed
from aries_nb.model.clock import steady_ns, wall_ns
from aries_nb.net.events.exchange_clock import BELIEVED_NS, ExchangeClock
from aries_nb.net.intake import Intake

if TYPE_CHECKING:
    from aries_nb.net.frame_connection import FrameConnection

__all__ = ["LATE_SECONDS", "LagMonitor", "ReadMonitor", "StallDetector"]

log = logging.getLogger("aries_nb")

LATE_SECONDS = 1.0  # a lag above the smallest one by so much is reported
LATE_MESSAGES = 2_000  # and by so many messages: brokers cut off clients with 5,000 unread ones
LATE_UNREAD = 2_500  # half of those 5,000, on our side: the broker queues only once our buffers are full
FULL_SECONDS = 0.1  # that so many must stay unread, so that a burst is no alarm
LEAST_SECONDS = 0.05  # less is one turn of the loop, at any rate
FEWEST = 5  # messages in a turn; with fewer there is no lag to speak of
TURNS = 2  # that a lag must last, so that a burst or an old quote is no alarm
BUCKET_SECONDS = 10.0
BUCKETS = 60  # the smallest lag is that of the last ten minutes
KEPT_LAGS = 1_000  # for the percentiles
SMOOTHING = 0.3  # weight of the newest turn in the rate
LEAST_RATE = 0.05  # messages a second; what is left of the average once nothing has come for some seconds is 0
STALL_SECONDS = 10.0  # a longer pause is a stall; turns are late by less on a busy machine


class LagMonitor:
    """Measures by how much the lag of messages (receipt minus exchange time) exceeds the smallest lag of ten minutes.

    The difference is in `seconds`, 0.0 while it is too small to be reported. The offset between the clocks of the
    exchange and of this machine cancels out. Times are passed in, in seconds of a monotonic clock. Used on the
    network's thread only; any thread may read `seconds`.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._quickest: deque[tuple[float, float]] = deque(maxlen=BUCKETS)  # time and smallest lag of each bucket
        self._late_turns = 0
        self._full_since: float | None = None
        self._lags: deque[float] = deque(maxlen=KEPT_LAGS)
        self._began: float | None = None  # time of the first lag since the start or the last break

    @property
    def is_late(self) -> bool:
        """Whether the lag is now large enough to be reported to the user."""
        return self.seconds > 0.0

    def __str__(self) -> str:
        if self.is_late:
            return f"messages come {self.seconds:.1f} s later than at their quickest"
        return "messages come as they should again"

    def percentiles_ms(self) -> tuple[float, float]:
        """Return median and 99th percentile of the newest 1,000 lags, in ms; NaN before the first. Any thread may call.

        Clock offsets are not corrected. Rows from the past, as in a snapshot, are not counted.
        """
        lags = sorted(self._lags)
        if not lags:
            return nan, nan
        p50, p99 = (round(lags[ceil(len(lags) * share) - 1] * 1e3, 3) for share in (0.5, 0.99))
        return p50, p99

    def interrupted(self) -> None:
        """Reset the measurement after the connection broke: the next messages may be old without being late.

        The smallest lag of the last ten minutes and the lags of `percentiles_ms` are kept.
        """
        self._began, self._full_since, self._late_turns, self.seconds = None, None, 0, 0.0

    def look(self, now: float, unread: int) -> bool:
        """Record that `unread` messages wait at time `now` (s); return whether at least 2,500 have waited for 0.1 s.

        While that is so, every call of `turn` reports a lag as late as soon as it exceeds the smallest one by 0.05 s.
        Otherwise the lag has to exceed it in two calls in a row by the time in which 2,000 messages come, at least 0.05
        s and at most 1 s. A call with fewer unread ones ends that.
        """
        if unread < LATE_UNREAD:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        return self._is_full(now)

    def turn(self, now: float, lags: Sequence[float], messages_per_s: float) -> bool:
        """Update the measurement at time `now` from the lags since the last call, in seconds.

        `messages_per_s` is the message rate. Returns whether `is_late` has changed. With fewer than five lags the
        messages count as on time, unless too many are unread (see `look`): `seconds` is then left unchanged.
        """
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
        # A lag cannot grow faster than time passes: one that seems to is of old rows, of a snapshot or a recording.
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
        past = now - self._began + LATE_SECONDS  # as in `_compare`: a larger lag is from before the subscription
        self._lags.extend(lag for lag in lags if lag - least <= past)

    def _note(self, now: float, lag: float) -> None:
        if not self._quickest or now - self._quickest[-1][0] >= BUCKET_SECONDS:
            self._quickest.append((now, lag))
        elif lag < self._quickest[-1][1]:
            self._quickest[-1] = (self._quickest[-1][0], lag)


class ReadMonitor(Checkpointed):
    """Measures message rate and lag of one connection. Used on the network's thread only; any thread may read both.

    When the lag becomes reportable, or no longer is, a warning that names `where` is logged and `notify` is called.
    Times are passed in, in seconds of a monotonic clock. `messages_per_s` is a moving average, in which the newest
    quarter of a second has a weight of 0.3. `clock` is market time, which is corrected by the lags; None for one of its
    own.
    """

    STATE = "messages_per_s", "lag", "_counted", "_at", "_base"

    def __init__(
        self, intake: Intake, where: str, notify: Callable[[], None], clock: ExchangeClock | None = None
    ) -> None:
        self._clock = clock or ExchangeClock()
        self._base = self._clock.base
        self.messages_per_s = 0.0
        self.lag = LagMonitor()
        self._intake = intake
        self._where = where
        self._notify = notify
        self._counted, self._at = 0, 0.0

    def restart(self, now: float) -> None:
        """Reset lag and message count when a new connection begins, at time `now`."""
        self.lag.interrupted()
        self._counted, self._at = self._intake.messages, now

    def turn(self, socket: FrameConnection | None, now: float) -> None:
        """Update message rate and lag at time `now`, from new messages and those unread on `socket`, None in a replay.

        Called every quarter of a second.
        """
        messages = self._intake.messages
        rate = (messages - self._counted) / max(now - self._at, 1e-3)
        self.messages_per_s += SMOOTHING * (rate - self.messages_per_s)
        if not rate and self.messages_per_s < LEAST_RATE:
            self.messages_per_s = 0.0
        self._counted, self._at = messages, now
        self._look(socket, now)
        self._compare(now)

    def in_burst(self, socket: FrameConnection, now: float) -> None:
        """Check for unread messages on `socket` at time `now`, in a burst during which `turn` is not called.

        If at least 2,500 have been unread for 0.1 s and the lag is not yet reported, the lag is measured at once.
        """
        if self._look(socket, now) and not self.lag.is_late:
            self._compare(now)

    def _look(self, socket: FrameConnection | None, now: float) -> bool:
        if socket is None:
            return self.lag.look(now, 0)
        from aries_nb.net.websocket import unread_frames

        unread = unread_frames(socket, self._intake.octets / max(self._intake.frames, 1))
        return self.lag.look(now, unread)

    def _compare(self, now: float) -> None:
        lags = self._intake.new_lags()
        if self._clock.base != self._base:  # by another connection: some of these lags are from before
            lags = self._corrected()
        elif self._clock.observe([round(lag * 1e9) for lag in lags]):
            log.warning("%s: %s", self._where, self._clock)
            lags = self._corrected()
            self._notify()
        # A message from the future has a wrong time, of which the others are not late.
        if self.lag.turn(now, [lag for lag in lags if lag * 1e9 >= -BELIEVED_NS], self.messages_per_s):
            log.warning("%s: %s", self._where, self.lag)
            self._notify()

    def _corrected(self) -> list[float]:
        self._intake.clock_corrected()
        self._base, self.lag = self._clock.base, LagMonitor()
        return []


def _clocks() -> tuple[float, float]:
    """Return seconds since the machine started, including its sleep, and this computer's time since the epoch."""
    return steady_ns() / 1e9, wall_ns() / 1e9


class StallDetector:
    """Detects that this process did not run for a while: at a breakpoint, or because the machine slept.

    Messages that then wait in the socket are old, and the connection may be dead. The network's thread calls `turn`
    every quarter of a second. `clocks` returns times in seconds and is replaced in tests.
    """

    def __init__(self, clocks: Callable[[], tuple[float, float]] | None = None) -> None:
        self._clocks = clocks or _clocks
        self._at = self._clocks()
        self.was_clock_set = False
        """Whether this computer's clock was set ahead before the last call of `turn`, or a virtual machine slept with
        its host, which looks the same: the connection has to be tried."""

    def turn(self) -> float:
        """Return the seconds since the last call if they are more than 10, which is a stall; else 0.0."""
        before, self._at = self._at, self._clocks()
        elapsed, by_wall = (now - then for now, then in zip(self._at, before, strict=True))
        self.was_clock_set = by_wall - elapsed > STALL_SECONDS
        return elapsed if elapsed > STALL_SECONDS else 0.0
