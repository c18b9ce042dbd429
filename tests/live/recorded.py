"""A recording in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aries_nb.model.journal import Event


class Day:
    """What is played back of a recording, of events that a test has, to the last one or `until` (ns)."""

    def __init__(self, events: Sequence[Event], until: int = 0) -> None:
        self.first, self.last = events[0].received, max(until, *(event.received for event in events))
        self._events = events
        self.is_whole = True

    def events(
        self,
        *,
        start: int | None = None,
        whats: frozenset[str] | None = None,
        until: int | None = None,
    ) -> Iterator[Event]:
        later = (at for at, event in enumerate(self._events) if start is None or event.received >= start)
        first = next(later, len(self._events))
        return (event for event in self._events[first:] if whats is None or event.what in whats)
