"""The journal of a feed: all that its state depends on, as events in the order in which they happened.

A feed's state is a function of these events. Played back in their order, they give the same rows, books, gaps and
counts. The network's thread adds them to a `Journal`, which may be a recording; a replay takes them out of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple, Protocol, TypeAlias

__all__ = ["FRAME", "HOLE", "Event", "EventGroup", "Hole", "Journal", "events_of"]

FRAME = "frame"
"""The event whose body is a frame as received. By far the most frequent."""

HOLE = "hole"
"""The event that a reader puts where events are missing; `Hole.of` reads its body."""


class Event(NamedTuple):
    """One thing that happened to a feed: a frame received, or something done to a protocol or session."""

    seq: int
    """The arrival number that the next record of the feed gets at this time. It never falls."""
    received: int
    """Market time in ns since the epoch, UTC. It falls where the clock is corrected."""
    connection: int
    """The number of the connection in this feed, from 1; 0 is the feed itself."""
    what: str
    """What happened, a short text: `FRAME`, `HOLE`, or a name that `net` gives to what it does."""
    body: bytes
    """A frame as received, or JSON. It holds no token and no secret: the room that adds the event sees to that."""


EventGroup: TypeAlias = tuple[int, int, str, Sequence[int], Sequence[bytes]]
"""Events that happened together: `received`, `connection` and `what` of all, then `seq` and `body` of each."""


def events_of(group: EventGroup) -> Iterator[Event]:
    """Yield the events of a group."""
    received, connection, what, seqs, bodies = group
    fields = zip(seqs, repeat(received), repeat(connection), repeat(what), bodies, strict=False)
    return map(tuple.__new__, repeat(Event), fields)  # half the time of `Event._make`


class Hole(NamedTuple):
    """Where events of a recording are missing: damaged, deleted, or never recorded."""

    reason: str
    """Why, such as "damaged: the checksum is wrong"."""
    seq: int
    """Of the last event before the hole; 0 where the recording begins with it."""
    received: int
    """Of the last event before the hole, in ns since the epoch; 0 where the recording begins with it."""
    next_seq: int | None
    """Of the first event after the hole; None where the recording ends with it."""
    next_received: int | None
    """Of the first event after the hole; None where the recording ends with it."""

    def group(self) -> EventGroup:
        """Return the same as `event`, as a group."""
        seq, received, connection, what, body = self.event()
        return received, connection, what, (seq,), (body,)

    def event(self) -> Event:
        """Return the event that stands for this hole, in the place of those that are missing."""
        return Event(self.seq, self.received, 0, HOLE, json.dumps(self._asdict()).encode())

    @classmethod
    def of(cls, event: Event) -> Hole:
        """Return the hole that an event of this kind stands for."""
        return cls(**json.loads(event.body))


class Journal(Protocol):
    """Takes the events of one feed."""

    def extend(self, group: EventGroup) -> None:
        """Take events that happened together, at least one; nothing changes the group afterwards.

        Called on the network's thread alone, in the order of the events. Returns at once and never raises: a journal
        that fails says so elsewhere, and takes nothing from then on.
        """
