"""Instants of market time at which work is done on the network's thread, so that a replay does it at the same place.

Nothing that a user sees may depend on how fast this process ran. What happens at a time, such as the end of a bar or a
computation of equity, therefore has a place in the order of events: behind all that were received at that instant of
market time or before, and before all later ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

from aries_nb.model import Observers
from aries_nb.model.clock import Clock

__all__ = ["GRID_NS", "MarketTimer"]

log = logging.getLogger("aries_nb")

# What was received up to a multiple of this is visible before anything later is taken. Work that follows a change of
# what is visible is done at such multiples: how many frames are taken before they become visible is then all the same.
GRID_NS = 100_000_000
_NEVER = 2**63 - 1
SECOND = 1_000_000_000
LATE_SECONDS = 1e-4  # after an instant, at which the loop looks: a look before it would be in vain


class _Due:
    """Work that is due at an instant; `work` None once it is cancelled."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[int], object]) -> None:
        self.work: Callable[[int], object] | None = work

    def cancel(self) -> None:
        self.work = None


class HeldClock(Clock, Protocol):
    """Interface of market time that stands at `held` (ns), where that is not None, while something takes effect.

    `base` is another value after a correction.
    """

    held: int | None
    base: int

    def wait_s(self, instant: int) -> float | None:
        """Return in how many seconds a moment (ns since the epoch) is reached; None while the clock stands."""


class MarketTimer:
    """The instants of one feed.

    The rule: work due at T sees exactly the events whose `received` is T or less. `run(received)` is therefore called
    before anything of an event is done, and does all that was due before `received`; while no event comes, the loop
    calls it a moment after the instant. Work of one instant is done in the order in which it was registered, with the
    clock held at the instant. What a correction of market time has passed over is due once, at the time at which `run`
    finds it; `corrected` is called for an event where the loop finds it first.

    With `is_live` False only `run` does anything: a replay calls it with the recorded times. `now` is the time of the
    newest event or instant, which is the same in a replay, in ns since the epoch; 0 before the first. The network's
    thread owns it; any thread may read `now` and cancel.
    """

    def __init__(
        self, clock: HeldClock, *, is_live: bool = True, corrected: Callable[[], object] = lambda: None
    ) -> None:
        self._clock = clock
        self._base = clock.base
        self._is_live = is_live
        self._corrected = corrected
        self.now = 0
        self._next = _NEVER  # the first instant of `_waiting`
        self._waiting: list[tuple[int, int, _Due]] = []  # a heap
        self._numbers = count()
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = _NEVER
        self.went_back = Observers()
        """Called on the network's thread after market time went back, as in a room whose publisher goes back."""

    def run(self, now: int) -> None:
        """Do what is due before `now` (ns), the market time of the event that is worked on from here."""
        if self._clock.base != self._base:
            self._base = self._clock.base
            self.skip(now)
        if self.is_due(now):
            self._run(now)
        self.now = now

    def is_due(self, now: int) -> bool:
        """Return whether anything is due before `now`."""
        return self._next < now

    def is_new(self, now: int) -> bool:
        """Return whether all that was received must be visible before what is received at `now` (ns)."""
        return self._next < now or now // GRID_NS != self.now // GRID_NS

    def at(self, instant: int, work: Callable[[int], object]) -> Callable[[], None]:
        """Call `work` with the time of the instant, in ns since the epoch; return a function that cancels it.

        An instant in the past becomes the time of the event that is being worked on. `work` must return at once.
        """
        instant = max(instant, self.now)
        due = _Due(work)
        heappush(self._waiting, (instant, next(self._numbers), due))
        if instant < self._next:
            self._next = instant
            self._arm()
        return due.cancel

    def skip(self, until: int) -> None:
        """Have what is due before an instant (ns) be due at it: nobody was there, as in a hole of a recording."""
        self._waiting = [(max(instant, until), number, due) for instant, number, due in self._waiting]
        heapify(self._waiting)
        self._next = self._waiting[0][0] if self._waiting else _NEVER

    @property
    def is_waiting(self) -> bool:
        """Whether anything is due at an instant to come."""
        return any(due.work is not None for _, _, due in self._waiting)

    def resume(self, now: int) -> None:
        """Go on at `now` (ns), with nothing due; the clock has been corrected as often as it had been then."""
        self.now, self._base = now, self._clock.base

    def restart(self) -> None:
        """Have nothing due, because a replay begins anew."""
        self._waiting.clear()
        self._next, self.now = _NEVER, 0

    def _run(self, now: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] < now:
            instant, _, due = heappop(waiting)
            work, due.work = due.work, None
            if work is None:
                continue
            before, self.now = self._clock.held, instant
            self._clock.held = instant
            try:
                work(instant)
            except Exception:  # the border to other rooms' code: the other instants go on
                log.exception("work at an instant of market time failed")
            finally:
                self._clock.held = before
        self._next = waiting[0][0] if waiting else _NEVER
        self._arm()

    def _arm(self) -> None:
        """Have the loop look after the next instant, unless it does already."""
        if not self._is_live or (self._handle is not None and self._armed_for <= self._next):
            return
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._next < _NEVER:
            left = self._clock.wait_s(self._next)
            if left is None:
                return
            self._armed_for = self._next
            self._handle = asyncio.get_running_loop().call_later(max(left, 0.0) + LATE_SECONDS, self._look)

    def look_again(self) -> None:
        """Do what is due by now, and look after the next instant, as the clock has another pace or was moved."""
        if self._handle is not None:
            self._handle.cancel()
        now = self._clock.now_ns()
        if now < self.now:
            self.now = now
            self.went_back.notify()
        self._look()

    def _look(self) -> None:
        self._handle = None
        if self._clock.base != self._base:
            self._corrected()
        if self.is_due(now := self._clock.now_ns()):
            self._run(now)
        else:
            self._arm()
