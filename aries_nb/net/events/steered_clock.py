"""Market time of a simulated market that this process steers: it stands, goes at a pace, or moves with the market.

The market tells where it is: a market time, the moment of the steady clock at which that is reached, and the pace from
there. Both processes read the same steady clock, so that nothing depends on how long the message took.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from aries_nb.model import Observers
from aries_nb.model.clock import steady_ns
from aries_nb.net.events.exchange_clock import SECOND, ExchangeClock

__all__ = ["Course", "SteeredClock"]

MICROSECOND = 1_000  # ns: no user sees less


class Course(NamedTuple):
    """A market time `now` (ns since the epoch), reached `at` (ns of the steady clock), and the pace from there.

    The pace is a multiple of real time; 0.0 where the market stands, or goes on as fast as it can and tells each time.
    """

    now: int
    at: int
    pace: float


class SteeredClock(ExchangeClock):
    """Market time as a simulated market tells it; it never goes back. Any thread may ask it, and steer it.

    This computer's clock, and the times that messages carry, say nothing about it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changed = Observers()
        """Called on the steering thread when the course has changed."""
        # Together, so that a reader without a lock gets both of one moment.
        self._course = Course(0, 0, 0.0), 0
        self._guard = threading.Lock()  # of those who change it

    @property
    def offset_s(self) -> float:
        """0.0: this computer's clock is not compared with that of a simulated exchange."""
        return 0.0

    def handshake(self, date: str) -> bool:  # noqa: ARG002 - as of other feeds
        """Return False: the server's time corrects nothing."""
        return False

    def observe(self, lags: object) -> bool:  # noqa: ARG002 - as of other feeds
        """Return False: the times of messages correct nothing."""
        return False

    def wait_s(self, instant: int) -> float | None:
        """Return in how many seconds a moment is reached at this pace; None where only a change of course tells."""
        (_, _, pace), _ = self._course
        return max(instant - self.now_ns(), 0) / SECOND / pace if pace else None

    def steer(self, course: Course) -> None:
        """Take the course of the market; where time has gone on further, it stands until the market is there."""
        with self._guard:
            self._course = course, self.running_ns()
        self.changed.notify()

    def jump(self, course: Course) -> None:
        """Take a course that may go back, as that of a replay that begins anew."""
        with self._guard:
            self._course = course, course.now
        self.changed.notify()

    def stop(self) -> int:
        """Stand still, until the market tells that it does; return the time, in ns since the epoch."""
        now = self.running_ns()
        self.steer(Course(now, 0, 0.0))
        return now

    def part(self) -> None:
        """Let all from now on have a later time than all until now, by a microsecond; for before the market goes on.

        What the market then sends may come before it tells its time.
        """
        with self._guard:
            course, floor = self._course
            self._course = course, (max(floor, self.running_ns()) // MICROSECOND + 1) * MICROSECOND

    def running_ns(self) -> int:
        """Return the market time though the network's thread holds the clock."""
        (now, at, pace), floor = self._course
        return max(floor, now + int((steady_ns() - at) * pace) if pace else now)
