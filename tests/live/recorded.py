"""A recording in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aries_nb.model.journal import Event


class Day:
    """What is played back of a recording, of events that a test has."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.first, self.last = events[0].received, max(event.received for event in events)
        self._events = events

    def events(self, *, whats: frozenset[str] | None = None) -> Iterator[Event]:
        return (event for event in self._events if whats is None or event.what in whats)
