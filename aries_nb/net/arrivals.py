"""What all connections of a feed have in common on the network's thread: market time, order of arrival, and journal.

The data of a feed are a function of its events in their order. Each event passes here before it takes effect: a frame,
a request, a tick, a break, an answer. A recording is made of them, and a replay passes recorded ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec.json import encode

from aries_nb.model.journal import Journal
from aries_nb.net.exchange_clock import ExchangeClock

__all__ = ["Arrivals"]


class Arrivals:
    """Numbers the records of a feed in the order of their arrival over all its connections, and notes its events.

    The network's thread owns it: all connections are read there. `clock` is the market time of receipt; while an event
    takes effect, it stands at the time of the event. `journal` gets every event, None for none.
    """

    def __init__(self, clock: ExchangeClock | None = None) -> None:
        self.clock = clock or ExchangeClock()
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
        clock = self.clock
        before = clock.held
        clock.held = received = clock.now_ns()
        try:
            if self.journal is not None:
                self.note(connection, what, b"" if body is None else encode(body))
            yield received
        finally:
            clock.held = before
