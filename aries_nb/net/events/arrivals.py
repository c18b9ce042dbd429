"""What all connections of a feed have in common on the network's thread: market time, order of arrival, and journal.

The data of a feed are a function of its events in their order. Each event passes here before it takes effect: a frame,
a request, a tick, a break, an answer. A recording is made of them, and a replay passes recorded ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from msgspec.json import encode

from aries_nb.model.journal import Journal
from aries_nb.net.background import on_network
from aries_nb.net.events.answers import Answers
from aries_nb.net.events.exchange_clock import ExchangeClock
from aries_nb.net.events.market_timer import MarketTimer

__all__ = ["Arrivals"]

T = TypeVar("T")


class Arrivals:
    """Numbers the records of a feed in the order of their arrival over all its connections, and notes its events.

    The network's thread owns it: all connections are read there. `clock` is the market time of receipt; while an event
    takes effect, it stands at the time of the event. `journal` gets every event, None for none. `timer` has what is due
    at an instant of market time, `answers` is where HTTP answers are applied. In a replay no clock is asked and no
    request made.
    """

    def __init__(self, clock: ExchangeClock | None = None, *, is_replay: bool = False) -> None:
        self.clock = clock or ExchangeClock()
        self.timer = MarketTimer(self.clock, is_live=not is_replay)
        self.answers = Answers(self, is_replay=is_replay)
        self.journal: Journal | None = None
        self.next = 1  # the number of the next record
        self._connections = 0
        self._base = self.clock.base

    def take(self, count: int) -> int:
        """Number `count` records; return the number of the first."""
        first = self.next
        self.next += count
        return first

    def new_connection(self) -> int:
        """Return the number of a new connection among all of the feed, from 1; 0 stands for the feed itself."""
        self._connections += 1
        return self._connections

    @property
    def now(self) -> int:
        """The market time of what takes effect, else of the newest event or instant, in ns since the epoch.

        The same in a replay, at the same place in the order of events.
        """
        return self.clock.held or self.timer.now or self.clock.now_ns()

    @property
    def is_noting(self) -> bool:
        """Whether events are added to a journal."""
        return self.journal is not None

    def note(self, connection: int, what: str, body: bytes = b"", *, ahead: int = 0) -> None:
        """Add an event to the journal, before it takes effect: at the time at which the clock is held, or now.

        `ahead` is how many records are numbered before it that are not yet.
        """
        journal = self.journal
        if journal is None:
            return
        now = self.clock.now_ns()
        if self.clock.base != self._base:
            self._base = self.clock.base
            journal.add(self.next, now, 0, "clock", encode(self._base))
        journal.add(self.next + ahead, now, connection, what, body)

    @contextmanager
    def event(self, connection: int, what: str, body: Any = None) -> Iterator[int]:  # noqa: ANN401 - JSON
        """Note an event with a body in JSON, None for none, and hold the clock at its time while it takes effect.

        Gives that time, in ns since the epoch. An event in another one has the time of that.
        """
        with self.moment() as received:
            if self.journal is not None:
                self.note(connection, what, b"" if body is None else encode(body))
            yield received

    @contextmanager
    def moment(self) -> Iterator[int]:
        """Do what is due, then hold the clock at now while something takes effect; gives that time in ns.

        Within an event or another moment, it is of the same time.
        """
        clock = self.clock
        before = clock.held
        received = clock.now_ns()
        if before is None:
            self.timer.run(received)
        clock.held = received
        try:
            yield received
        finally:
            clock.held = before

    def do(self, work: Callable[[], T]) -> Future[T]:
        """Do short work on the network's thread, in a moment of its own; any thread may call."""

        def run() -> T:
            with self.moment():
                return work()

        return on_network(run)
