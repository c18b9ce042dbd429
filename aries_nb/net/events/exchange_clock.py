"""Market time of a live feed: this computer's time, corrected where it is far from the exchange's.

The correction is found in two ways. The server's answer to the WebSocket handshake names its time, to the second. And
messages carry exchange times: those that arrive one after the other with one and the same difference to the time of
their receipt show it, as data of the past (a snapshot, a late print) or single wrong times do not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from aries_nb.model.clock import steady_ns, wall_ns

__all__ = ["ExchangeClock"]

SECOND = 1_000_000_000
BELIEVED_NS = 5 * SECOND  # a smaller difference is latency, or a late message, and corrected by nothing
MOST_BEHIND_NS = 26 * 3_600 * SECOND  # exchange times further in the past are recorded data, no wrong clock
SPREAD_NS = SECOND  # of lags that are one and the same difference
LEAST_SPAN_NS = SECOND  # for which it must last
FEWEST = 3
SAMPLES, SAMPLES_A_TURN = 256, 16  # of busy streams too, they reach back for seconds
COARSE_S = 120  # a difference from here on is told in minutes
ON_TIME_NS = 600 * SECOND  # after a message on time, later ones are late, and the clock is right


class _Sample(NamedTuple):
    received: int
    lag: int


class ExchangeClock:
    """Market time of all connections of a feed; any thread may ask it, the network's thread corrects it.

    It starts with this computer's clock, and from then on does not follow when that is set. `base` is what it adds to
    the steady clock, in ns: by how much it differs from an earlier value, times of receipt before and after a
    correction differ. `corrections` counts the corrections. `held` is the time at which the clock stands while an event
    takes effect on the network's thread, None while it runs.
    """

    def __init__(self) -> None:
        self.base = wall_ns() - steady_ns()
        self.corrections = 0
        self.held: int | None = None
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)
        self._on_time_at: int | None = None  # market time at which a message was last on time

    def now_ns(self) -> int:
        """Return the market time in ns since the epoch, UTC."""
        held = self.held
        return self.running_ns() if held is None else held

    def running_ns(self) -> int:
        """Return the market time though the network's thread holds the clock: a user's, who knows of no instants."""
        return steady_ns() + self.base

    def wait_s(self, instant: int) -> float | None:
        """Return in how many seconds a moment (ns since the epoch) is reached; None while the clock stands."""
        return (instant - self.now_ns()) / SECOND

    @property
    def pace(self) -> float | None:
        """How many times faster than elapsed time a replay goes on, 0.0 where it stands; None for a live market."""
        return None

    @property
    def offset_s(self) -> float:
        """By how many seconds the exchange's clock is ahead of this computer's; 0.0 for less than five seconds."""
        offset = self.running_ns() - wall_ns()
        return round(offset / SECOND, 3) if abs(offset) > BELIEVED_NS else 0.0

    def __str__(self) -> str:
        """What to say of this computer's clock, "" where it is right."""
        return described(self.offset_s)

    def handshake(self, date: str) -> bool:
        """Take the header `Date` of a server's answer that has just arrived; return whether it corrected the clock.

        It counts only until messages show the exchange's time; "" or an invalid one does not count.
        """
        if self._on_time_at is not None or self.corrections:
            return False
        try:
            offset = round(parsedate_to_datetime(date).timestamp() * SECOND) + SECOND // 2 - self.now_ns()
        except (ValueError, OverflowError):
            return False
        if abs(offset) <= BELIEVED_NS:
            return False
        self._correct(offset)
        return True

    def observe(self, lags: Sequence[int]) -> bool:
        """Take the lags (receipt minus exchange time) of the newest messages; return whether they correct the clock.

        Lags are in ns. To be called a few times a second with the messages since the last call.
        """
        now = self.now_ns()
        step = -(-len(lags) // SAMPLES_A_TURN) or 1
        self._samples.extend(_Sample(now, lag) for lag in reversed(lags[::-step]))
        if any(-BELIEVED_NS <= lag <= BELIEVED_NS for lag in lags):
            self._on_time_at = now
        if not lags or min(map(abs, lags)) <= BELIEVED_NS:
            return False
        offset = self._offset(now)
        if offset is None:
            return False
        self._correct(offset)
        return True

    def _offset(self, now: int) -> int | None:
        """Return by how much the exchange is ahead of this clock, as most of the newest messages show; None if none.

        The future has sent no message: times ahead of this clock show that it is slow. Times in the past may be of
        data that come late, or of a recording; they show that it is fast only where none has been on time.
        """
        newest = self._samples[-1].lag
        close = [each for each in self._samples if abs(each.lag - newest) <= SPREAD_NS]
        span = close[-1].received - close[0].received
        since = sum(each.received >= close[0].received for each in self._samples)
        if len(close) < FEWEST or span < LEAST_SPAN_NS or 2 * len(close) <= since or not _advance(close, span):
            return None
        least = min(each.lag for each in close)
        was_on_time = self._on_time_at is not None and now - self._on_time_at < ON_TIME_NS
        if newest >= 0 and (was_on_time or least > MOST_BEHIND_NS):
            return None
        return -least

    def _correct(self, offset: int) -> None:
        self.base += offset
        if abs(self.now_ns() - wall_ns()) <= BELIEVED_NS:  # this computer's clock was set right
            self.base = wall_ns() - steady_ns()
        self.corrections += 1
        self._samples.clear()


def described(offset_s: float) -> str:
    """Return a text about a computer's clock that the exchange's is ahead of by so many seconds; "" for 0.0.

    From two minutes on it is rounded to minutes: a server names its time to the second, and its answer takes time.
    """
    if not offset_s:
        return ""
    unit = 60 if abs(offset_s) >= COARSE_S else 1
    hours, rest = divmod(round(abs(offset_s) / unit) * unit, 3_600)
    parts = [f"{number} {name}" for number, name in ((hours, "h"), (rest // 60, "min"), (rest % 60, "s")) if number]
    side = "behind" if offset_s > 0 else "ahead of"
    return f"this computer's clock is {' '.join(parts)} {side} the exchange's: set it; market time is corrected"


def _advance(samples: Sequence[_Sample], span: int) -> bool:
    """Return whether exchange time goes on while the messages come, as that of one moment in the past does not.

    The time of receipt is known to a turn alone: its messages show nothing among each other.
    """
    first, last = (min(each.lag for each in samples if each.received == samples[end].received) for end in (0, -1))
    return 2 * (last - first) < span
