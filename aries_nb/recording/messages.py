"""The messages of an Arrow IPC stream in a file that may be damaged, or come from a stranger.

pyarrow reads a stream from its beginning and trusts what messages say of their size. Here each message is found by
itself, its sizes are checked before anything is decompressed, and after a damaged place the next whole message is
searched. The layout is that of the Arrow columnar format, section "Encapsulated message format", with the messages'
headers as FlatBuffers (`Message.fbs`, `Schema.fbs`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np

__all__ = ["END_OF_STREAM", "MARKER", "Broken", "ByteSource", "Message", "MessageError", "messages", "parse"]

MARKER = b"\xff\xff\xff\xff"
END_OF_STREAM = MARKER + b"\0\0\0\0"

MOST_METADATA_BYTES = 65_536
MOST_BUFFERS = 1_500  # three a column, of 400 columns
MOST_TEXTS = 16
RECORD_BATCH = 3  # of the union MessageHeader
CHUNK_BYTES = 1 << 20
STEP = 8  # messages are aligned to it, and so is CHUNK_BYTES
UNCOMPRESSED = -1


class MessageError(ValueError):
    """What is at this place of a file is no whole message, or one beyond the bounds. The text says why."""


class ByteSource(Protocol):
    """A file, or part of one, read at any place."""

    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on, fewer at the end."""


class Message(NamedTuple):
    """One message: where it is and what its header says. The body is not read."""

    offset: int
    body_offset: int
    end: int
    is_batch: bool
    rows: int
    decompressed_bytes: int
    """The memory that the body takes, as its buffers say of themselves."""
    texts: Mapping[str, str]
    """The custom metadata."""


class Broken(NamedTuple):
    """A part of a file without a whole message."""

    offset: int
    end: int
    reason: str


def messages(source: ByteSource, offset: int = 0, *, most_body_bytes: int) -> Iterator[Message | Broken]:
    """Yield the messages from `offset` on, and the parts between them that are none.

    The iteration ends with the end of the stream, or with that of the source.
    """
    body_offset = offset  # of the last message: where no other follows, its own size may be wrong
    while offset < source.size:
        try:
            if source.read(offset, len(END_OF_STREAM)) == END_OF_STREAM and offset + STEP >= source.size:
                return
            message = parse(source, offset, most_body_bytes=most_body_bytes)
        except MessageError as error:
            end = _next_message(source, body_offset + STEP, most_body_bytes)
            yield Broken(offset, end, str(error))
            offset = body_offset = end
        else:
            yield message
            offset, body_offset = message.end, message.body_offset


def parse(source: ByteSource, offset: int, *, most_body_bytes: int) -> Message:
    """Return the message at `offset`. Raises MessageError where there is none, or one beyond the bounds."""
    head = source.read(offset, 8)
    if len(head) < 8:
        raise MessageError("the file ends in the middle of a batch")
    if head[:4] != MARKER:
        raise MessageError("no batch begins where one should")
    (count,) = struct.unpack_from("<i", head, 4)
    if not 0 < count <= MOST_METADATA_BYTES or count % STEP:
        raise MessageError("a batch has a header of impossible size")
    metadata = source.read(offset + 8, count)
    if len(metadata) < count:
        raise MessageError("the file ends in the middle of a batch")
    body_offset = offset + 8 + count
    try:
        message = _read(_Flat(metadata), source, offset, body_offset, most_body_bytes)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise MessageError("a batch has an unreadable header") from error
    if message.end > source.size:
        raise MessageError("the file ends in the middle of a batch")
    return message


def _next_message(source: ByteSource, offset: int, most_body_bytes: int) -> int:
    """Return where the next whole batch begins, or the stream or the source ends."""
    while offset < source.size:
        chunk = source.read(offset, CHUNK_BYTES)
        words = np.frombuffer(chunk, "<u4", len(chunk) // STEP * 2).reshape(-1, 2)
        is_head = (words[:, 0] == np.uint32(0xFFFFFFFF)) & (words[:, 1] - np.uint32(1) < MOST_METADATA_BYTES)
        for place in np.flatnonzero(is_head):
            if _is_batch(source, offset + int(place) * STEP, most_body_bytes):
                return offset + int(place) * STEP
        offset += CHUNK_BYTES
    return source.size


def _is_batch(source: ByteSource, offset: int, most_body_bytes: int) -> bool:
    try:
        return parse(source, offset, most_body_bytes=most_body_bytes).is_batch
    except MessageError:
        return False


def _read(flat: _Flat, source: ByteSource, offset: int, body_offset: int, most_body_bytes: int) -> Message:
    """Read a `Message` of `Message.fbs`: version, header type, header, body length, custom metadata."""
    root = flat.table(flat.at("<I", 0))
    body_bytes = flat.scalar(root, 3, "<q")
    if not 0 <= body_bytes <= most_body_bytes:
        raise MessageError("a batch is larger than any that is written")
    end = body_offset + body_bytes
    if flat.scalar(root, 1, "<B") != RECORD_BATCH:
        return Message(offset, body_offset, end, is_batch=False, rows=0, decompressed_bytes=0, texts={})
    batch = flat.table(flat.reference(root, 2))
    rows = flat.scalar(batch, 0, "<q")
    is_compressed = flat.field(batch, 3) != 0
    total = 0
    for place in flat.vector(flat.reference(batch, 2), MOST_BUFFERS, 16):
        start, count = flat.at("<q", place), flat.at("<q", place + 8)
        if start < 0 or count < 0 or start + count > body_bytes:
            raise MessageError("a batch has columns outside of its data")
        if is_compressed and count:
            said = source.read(body_offset + start, 8)
            (size,) = struct.unpack("<q", said)
            count = count - 8 if size == UNCOMPRESSED else size
            if count < 0:
                raise MessageError("a batch has a column of impossible size")
        total += count
    if total > most_body_bytes:
        raise MessageError("a batch is larger than any that is written")
    return Message(
        offset, body_offset, end, is_batch=True, rows=rows, decompressed_bytes=total, texts=_texts(flat, root)
    )


def _texts(flat: _Flat, root: _Table) -> dict[str, str]:
    if not flat.field(root, 4):
        return {}
    entries = (
        flat.table(place + flat.at("<I", place)) for place in flat.vector(flat.reference(root, 4), MOST_TEXTS, 4)
    )
    return {flat.text(flat.reference(entry, 0)): flat.text(flat.reference(entry, 1)) for entry in entries}


class _Table(NamedTuple):
    """A table of a FlatBuffer: its place and its vtable's, with the vtable's size."""

    place: int
    fields: int
    size: int


class _Flat:
    """Reads a FlatBuffer with a check of every bound; raises struct.error or IndexError outside of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def at(self, form: str, place: int) -> int:
        if place < 0:
            raise IndexError(place)
        value: int = struct.unpack_from(form, self._data, place)[0]
        return value

    def table(self, place: int) -> _Table:
        fields = place - self.at("<i", place)
        return _Table(place, fields, self.at("<H", fields))

    def field(self, table: _Table, number: int) -> int:
        """Return the place of a field's value, 0 where the table has none."""
        entry = 4 + 2 * number
        offset = self.at("<H", table.fields + entry) if entry + 2 <= table.size else 0
        return table.place + offset if offset else 0

    def scalar(self, table: _Table, number: int, form: str) -> int:
        place = self.field(table, number)
        return self.at(form, place) if place else 0

    def reference(self, table: _Table, number: int) -> int:
        place = self.field(table, number)
        if not place:
            raise IndexError(number)
        return place + self.at("<I", place)

    def vector(self, place: int, most: int, width: int) -> range:
        """Return the places of the elements, each of `width` bytes."""
        count = self.at("<I", place)
        if count > most:
            raise IndexError(count)
        return range(place + 4, place + 4 + count * width, width)

    def text(self, place: int) -> str:
        count = self.at("<I", place)
        if place + 4 + count > len(self._data):
            raise IndexError(count)
        return self._data[place + 4 : place + 4 + count].decode()
