"""A recording in memory."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from aries_nb.model.journal import HOLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aries_nb.model.journal import Event, EventGroup


class Day:
    """What is played back of a recording, of events that a test has, to the last one or `until` (ns)."""

    def __init__(self, events: Sequence[Event], until: int = 0) -> None:
        self.first, self.last = events[0].received, max(until, *(event.received for event in events))
        self._events = events

    def groups(self, *, start: int | None = None) -> Iterator[EventGroup]:
        """Those of one time, connection and kind that follow each other are a group."""
        for (received, connection, what), same in groupby(self.events(start=start), lambda each: each[1:4]):
            some = [*same]
            yield received, connection, what, [each.seq for each in some], [each.body for each in some]

    def events(
        self,
        *,
        start: int | None = None,
        whats: frozenset[str] | None = None,
        until: int | None = None,
    ) -> Iterator[Event]:
        later = (at for at, event in enumerate(self._events) if start is None or event.received >= start)
        first = next(later, len(self._events))
        return (event for event in self._events[first:] if whats is None or event.what in {*whats, HOLE})
