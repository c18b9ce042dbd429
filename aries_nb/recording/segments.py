"""The segments of a recording: the batches in one file of it, and what the first and the last say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from aries_nb.model.journal import EventGroup
from aries_nb.recording.folder import source_of
from aries_nb.recording.format import MOST_BATCH_BYTES, BatchHeader, decode, read_header
from aries_nb.recording.messages import END_OF_STREAM, MARKER, Broken, Message, MessageError, messages, parse
from aries_nb.recording.remote import Place

__all__ = ["CLOSED", "KILLED", "OPEN", "Batch", "Segment"]

CLOSED = "not recorded: the recording was closed"
KILLED = "not recorded: the recording process ended without closing the recording"
OPEN = "the recording was not closed: it goes on, or its process ended"

CHUNK_BYTES = 1 << 20
LAST_BYTES = 1 << 16  # of the end, where most often the last batch is


class Batch(NamedTuple):
    """A batch whose header is whole."""

    message: Message
    header: BatchHeader


class Segment:
    """One file of a recording, open for reading. Used by one thread at a time; a context manager.

    Raises OSError if it cannot be opened.
    """

    def __init__(self, path: Place, recording: str) -> None:
        self.path = path
        self._recording = recording
        self._source = source_of(path)

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self._source.size

    @property
    def is_ended(self) -> bool:
        """Whether the stream was ended by the writer, so that nothing follows."""
        return self._source.read(self._source.size - len(END_OF_STREAM), len(END_OF_STREAM)) == END_OF_STREAM

    def batches(self, offset: int = 0) -> Iterator[Batch | Broken]:
        """Yield the batches from `offset` on, and what is damaged between them. Contents are not read."""
        for found in messages(self._source, offset, most_body_bytes=MOST_BATCH_BYTES):
            if isinstance(found, Broken):
                yield found
            elif found.is_batch:
                try:
                    header = read_header(found, self._recording)
                except MessageError as error:
                    yield Broken(found.offset, found.end, str(error))
                else:
                    yield Batch(found, header)
            elif found.offset:  # at the beginning is the schema
                yield Broken(found.offset, found.end, "a batch says that it is none")

    def before(self, received: int) -> int:
        """Return where a batch begins with which no event has reached a market time, the last but a few; 0 for none."""
        low, high = 0, self._source.size
        while high - low > CHUNK_BYTES:
            middle = (low + high) // 16 * 8  # aligned
            found = next((one for one in self.batches(middle) if isinstance(one, Batch)), None)
            if found and found.message.offset < high and found.header.latest < received:
                low = found.message.offset
            else:
                high = middle
        return low

    def groups(self, batch: Batch) -> list[EventGroup]:
        """Return the events of a batch. Raises MessageError if its content is damaged."""
        return decode(self._source, *batch)

    def first(self) -> Batch | None:
        """Return the first batch with a whole header, None if there is none."""
        return next((found for found in self.batches() if isinstance(found, Batch)), None)

    def last(self) -> Batch | None:
        """Return the last batch with a whole header, None if there is none. The search begins at the end."""
        end = self._source.size - self._source.size % 8
        step = LAST_BYTES
        while end > 0:
            start, step = max(0, end - step), CHUNK_BYTES
            chunk = self._source.read(start, end - start)
            place = chunk.rfind(MARKER)
            while place >= 0:
                if place % 8 == 0 and (batch := self._batch_at(start + place)):
                    return batch
                place = chunk.rfind(MARKER, 0, place + len(MARKER) - 1)
            end = start
        return None

    def _batch_at(self, offset: int) -> Batch | None:
        with suppress(MessageError):
            message = parse(self._source, offset, most_body_bytes=MOST_BATCH_BYTES)
            if message.is_batch:
                return Batch(message, read_header(message, self._recording))
        return None

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._source.close()

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
