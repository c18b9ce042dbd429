"""Reads a recording: its events in their order, with a hole wherever some are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from aries_nb.errors import RecordingError, UsageError
from aries_nb.model.journal import HOLE, Event, EventGroup, Hole, events_of
from aries_nb.recording.folder import DELETED, checked, explained, read_json, read_recording_header, segment_names
from aries_nb.recording.format import BatchHeader
from aries_nb.recording.messages import Broken, MessageError
from aries_nb.recording.remote import Place
from aries_nb.recording.segments import CLOSED, KILLED, OPEN, Segment

__all__ = ["RecordingReader", "RecordingSummary"]


@dataclass(frozen=True)
class RecordingSummary:
    """What a recording holds, by what its segments say at their ends."""

    events: int
    """Events between the first and the last one, those lost to damage included."""
    first_received: int | None
    """The earliest market time of the first batch, in ns since the epoch; None if there is no event."""
    last_received: int | None
    """The latest market time of the last batch."""
    bytes: int
    segments: int


class _Part(NamedTuple):
    """One segment: its file, and the headers of its first and last batch; None where there is none."""

    name: str
    bytes: int
    first: BatchHeader | None
    last: BatchHeader | None
    is_ended: bool


class RecordingReader:
    """Reads the recording at `path`, also while it is being written: what was there when it was opened.

    Opening reads the ends of the segments alone. `events` may be called repeatedly; any thread may use it.

    `broker` is the name of the broker that is expected, None for any. Raises UsageError if `path` is no recording, or
    one of another broker; RecordingError if it has a newer format or a damaged header, or cannot be opened.
    """

    def __init__(self, path: Place, *, broker: str | None = None) -> None:
        self.path = path
        self.header = read_recording_header(path)
        if broker is not None and self.header.broker != broker:
            raise UsageError(
                f"this is a recording of {self.header.broker!r}, not of {broker!r}",
                where=str(path),
                advice=f"Leave the broker out, or say {self.header.broker!r}.",
            )
        with explained(path):
            self._parts = [part for name in segment_names(path) if (part := self._part(name))]

    @property
    def summary(self) -> RecordingSummary:
        """What the recording holds. Contents are not read."""
        firsts = [part.first for part in self._parts if part.first]
        lasts = [part.last for part in self._parts if part.last]
        return RecordingSummary(
            events=lasts[-1].before + lasts[-1].rows - firsts[0].before if firsts and lasts else 0,
            first_received=firsts[0].received[0] if firsts else None,
            last_received=lasts[-1].received[1] if lasts else None,
            bytes=sum(part.bytes for part in self._parts),
            segments=len(self._parts),
        )

    def events(
        self, start: int | None = None, *, whats: frozenset[str] | None = None, until: int | None = None
    ) -> Iterator[Event]:
        """Yield what `groups` does one by one."""
        return chain.from_iterable(map(events_of, self.groups(start, whats=whats, until=until)))

    def groups(
        self, start: int | None = None, *, whats: frozenset[str] | None = None, until: int | None = None
    ) -> Iterator[EventGroup]:
        """Yield the events in their order, and an event `HOLE` wherever some are missing.

        Events of one time, connection and kind are a group where they follow each other and were written together.

        Where the recording was not closed, its end is a hole: what came after the last event is not known.

        `start` is a market time in ns since the epoch: the events begin with the first one of that time or later, and
        what is before it is not read where possible. None begins with the first event of all. With `whats` only events
        of these kinds are given; batches that have none of them are not read, and their contents not checked, so that
        the subscriptions of a day are found in seconds. With `until`, a time too, batches
        after it need not be read. Raises RecordingError if a file cannot be read any more.
        """
        walk = _Walk(self.path, self.header.id, self._deleted)
        hole: EventGroup | None = None  # just before `start`: it may reach beyond it
        with explained(self.path):
            for part in self._parts:
                if start is not None and part.last and part.last.latest < start:
                    walk.skip(part.last)
                    walk.is_ended = part.is_ended
                    continue
                if until is not None and part.first and part.first.received[0] > until:
                    return
                for group in walk.groups(part, start, whats, until):
                    if start is not None and (group[2] == HOLE or group[0] < start):
                        hole = group if group[2] == HOLE else None
                        continue
                    if hole:
                        yield hole
                    hole = start = None
                    yield group
            yield from (found.group() for found in walk.end())

    def holes(self) -> list[Hole]:
        """Read the whole recording and return where events are missing."""
        return [Hole.of(event) for event in self.events() if event.what == HOLE]

    def holes_between_segments(self) -> list[Hole]:
        """Return where events are missing between segments, by what these say at their ends; contents are not read."""
        walk = _Walk(self.path, self.header.id, self._deleted)
        found: list[Hole] = []
        for part in self._parts:
            if part.first and part.last:
                found += walk.hole_before(part.first, part.first.seq[0], part.first.received[0])
                walk.skip(part.last)
            walk.is_ended = part.is_ended
        return [*found, *walk.end()]

    def _part(self, name: str) -> _Part | None:
        """Return what a segment says of itself, None if its writer deletes it at this moment."""
        try:
            with Segment(self.path / name, self.header.id) as segment:
                first, last = segment.first(), segment.last()
                headers = first.header if first else None, last.header if last else None
                return _Part(name, segment.bytes, *headers, segment.is_ended)
        except FileNotFoundError:
            return None

    def _deleted(self) -> tuple[int, str]:
        """Return the number of the last batch that was deleted on purpose, and the reason."""
        if not (self.path / DELETED).is_file():
            return 0, ""
        with suppress(RecordingError):
            found = checked(self.path / DELETED, read_json(self.path / DELETED))
            number, reason = found.get("number"), found.get("reason")
            if type(number) is int and isinstance(reason, str):
                return number, reason[:100]
        return 0, ""


class _Walk:
    """One pass over the batches of all segments: which of them come next, and what is missing before them."""

    def __init__(self, path: Place, recording: str, deleted: Callable[[], tuple[int, str]]) -> None:
        self._path = path
        self._recording = recording
        self._deleted = deleted
        self._number = self._session = 0  # of the last batch
        self._seq = self._received = 0  # of the last event
        self._damage = ""  # since the last event
        self.is_ended = False  # the last segment, by its writer

    def skip(self, header: BatchHeader) -> None:
        """Leave out the batches up to this one."""
        self._number, self._session = header.number, header.session
        self._seq, self._received = header.seq[1], header.received[1]
        self._damage = ""

    def groups(
        self, part: _Part, start: int | None, whats: frozenset[str] | None, until: int | None
    ) -> Iterator[EventGroup]:
        """Yield the events of a segment, from the batch on that reaches `start`, and holes. Raises OSError.

        Batches that were written after the recording was opened for reading are left out.
        """
        last = part.last.number if part.last else 0
        try:
            opened = Segment(self._path / part.name, self._recording)
        except FileNotFoundError:  # its writer has deleted it meanwhile
            return
        with opened as segment:
            for found in segment.batches(0 if start is None else segment.before(start)):
                if isinstance(found, Broken):
                    self._damage = self._damage or found.reason
                elif found.header.number > last or (until is not None and found.header.received[0] > until):
                    break
                elif found.header.number <= self._number:
                    self._damage = self._damage or "a batch is there again"
                elif start is not None and found.header.latest < start:
                    self.skip(found.header)
                elif whats is not None and whats.isdisjoint(found.header.whats):
                    for hole in self.hole_before(found.header, found.header.seq[0], found.header.received[0]):
                        yield hole.group()
                    self.skip(found.header)
                else:
                    try:
                        groups = segment.groups(found)
                    except MessageError as error:
                        self._damage = self._damage or str(error)
                        continue
                    for hole in self.hole_before(found.header, groups[0][3][0], groups[0][0]):
                        yield hole.group()
                    yield from groups if whats is None else (each for each in groups if each[2] in whats)
                    self.skip(found.header)
                    self._seq, self._received = groups[-1][3][-1], groups[-1][0]
                    start = None
            self.is_ended = segment.is_ended

    def end(self) -> Iterator[Hole]:
        """Yield the hole at the end, if there is one."""
        reason = f"damaged: {self._damage}" if self._damage else "" if self.is_ended else OPEN
        if reason:
            yield Hole(reason, self._seq, self._received, None, None)

    def hole_before(self, header: BatchHeader, seq: int, received: int) -> Iterator[Hole]:
        """Yield the hole before a batch, if there is one; its first event has this `seq` and `received`."""
        missing = header.number - self._number - 1
        number, deleted = self._deleted() if missing else (0, "")
        if self._damage:
            reason = f"damaged: {self._damage}"
        elif missing and header.number <= number + 1:
            reason = deleted
        elif missing:
            reason = f"damaged: {missing} {'batches are' if missing > 1 else 'batch is'} missing"
        elif self._session and header.session != self._session:
            reason = CLOSED if self.is_ended else KILLED
        else:
            return
        yield Hole(reason, self._seq, self._received, seq, received)
