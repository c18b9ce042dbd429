"""Layer 1 of a recording: how events become batches of an Arrow IPC stream, and batches become events again.

A batch says in its metadata, as JSON under "batch", which it is and what it holds; "crc" is the CRC-32 of that JSON, so
that it is read without the content. "sum" is the CRC-32 of the whole message, compressed as it is and with `NO_SUM` in
its place. Whatever is damaged is noticed: the batch is then no batch.
"""

from __future__ import annotations

import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa

from aries_nb.model.journal import HOLE, EventGroup
from aries_nb.recording.messages import ByteSource, Message, MessageError

__all__ = [
    "BATCH_BYTES",
    "FORMAT",
    "MOST_BATCH_BYTES",
    "MOST_BODY_BYTES",
    "ROW_BYTES",
    "SCHEMA",
    "BatchHeader",
    "StreamEncoder",
    "batches_of",
    "decode",
    "read_header",
]

FORMAT = 1
"""The version of the format. A reader refuses a newer one."""

SCHEMA = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("received", pa.int64(), nullable=False),
        pa.field("connection", pa.int32(), nullable=False),
        pa.field("what", pa.int8(), nullable=False),  # its place in the list `whats` of the batch's header
        pa.field("body", pa.binary(), nullable=False),
    ]
)

BATCH_BYTES = 524_288  # of events, with `ROW_BYTES` for each: one batch may have twice as many
ROW_BYTES = 200  # what an event takes in memory without its body
MOST_ROWS = 65_536
MOST_BODY_BYTES = 64 << 20
"""The largest body of an event that is recorded and read."""
MOST_BATCH_BYTES = MOST_BODY_BYTES + BATCH_BYTES + 64 * MOST_ROWS
MOST_WHATS = 64
MOST_WHAT_CHARACTERS = 40
ZSTD_LEVEL = 1  # higher levels take twice the time for 1 % fewer bytes
NO_SUM = "\1" + "0" * 8  # \1 is in no JSON


@dataclass(frozen=True)
class BatchHeader:
    """What a batch says of itself."""

    recording: str
    """The random id of the recording, so that no batch of another one is taken for one of this."""
    number: int
    """Running number over the whole recording, from 1."""
    session: int
    """How often the recording was opened for writing until then, from 1."""
    before: int
    """Events in the recording before this batch, deleted ones among them."""
    rows: int
    seq: tuple[int, int]
    """The lowest and the highest."""
    received: tuple[int, int]
    """The earliest and the latest."""
    latest: int
    """The latest in the recording so far: it never falls, though `received` does where the clock is corrected."""
    whats: tuple[str, ...]
    """What happened, each name once."""
    crc: int | None = None
    """None, or where there is no "sum", CRC-32 of the columns' values without padding, bodies after their sizes."""

    def texts(self) -> dict[str, str]:
        """Return the header as the batch's custom metadata, without a sum."""
        text = json.dumps(vars(self), separators=(",", ":"))
        return {"batch": text, "crc": str(zlib.crc32(text.encode())), "sum": NO_SUM}


def read_header(message: Message, recording: str) -> BatchHeader:
    """Return what a batch says of itself. Raises MessageError where that is damaged, or of another recording."""
    text = message.texts.get("batch", "")
    if message.texts.get("crc") != str(zlib.crc32(text.encode())):
        raise MessageError("the checksum of a batch's header is wrong")
    try:
        fields = json.loads(text)
        seq, received, whats = (tuple(fields.pop(name)) for name in ("seq", "received", "whats"))
        header = BatchHeader(**fields, seq=seq, received=received, whats=whats)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise MessageError("a batch has an unknown header") from error
    crc = header.crc if "sum" not in message.texts else 0
    numbers = (header.number, header.session, header.before, header.rows, crc, header.latest)
    if not all(map(_is_int64, (*numbers, *seq, *received))) or len(seq) != 2 or len(received) != 2:
        raise MessageError("a batch has an unknown header")
    if min(header.number - 1, header.session - 1, header.before) < 0:
        raise MessageError("a batch has an unknown header")
    if header.recording != recording:
        raise MessageError("a batch belongs to another recording")
    if not 0 < header.rows <= MOST_ROWS or message.rows != header.rows:
        raise MessageError("a batch has an impossible number of events")
    if not 0 < len(whats) <= MOST_WHATS or not all(map(_is_what, whats)):
        raise MessageError("a batch has unknown kinds of events")
    return header


def decode(source: ByteSource, message: Message, header: BatchHeader) -> list[EventGroup]:
    """Return the events of a batch, those of one time, connection and kind together.

    Raises MessageError where its content is damaged. The batch is decoded by our own schema, so that a stream with
    another one, or with extension types, gives no events. Its size in memory was checked by `parse`.
    """
    data = source.read(message.offset, message.end - message.offset)
    said = message.texts.get("sum")
    if said is not None and said != _sum(data.replace(said.encode(), NO_SUM.encode(), 1)):
        raise MessageError("the checksum of a batch is wrong")
    try:
        batch = pa.ipc.read_record_batch(pa.ipc.read_message(pa.py_buffer(data)), SCHEMA)
        batch.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise MessageError("a batch cannot be decompressed") from error
    if batch.num_rows != header.rows or any(column.null_count for column in batch.columns):
        raise MessageError("a batch has an impossible number of events")
    if said is None and _checksum(batch) != header.crc:
        raise MessageError("the checksum of a batch is wrong")
    seq, received, connection, what = (batch.column(place).to_numpy() for place in range(4))
    is_known = (
        _span(seq) == header.seq
        and _span(received) == header.received
        and 0 <= int(what.min()) <= int(what.max()) < len(header.whats)
    )
    if not is_known:
        raise MessageError("a batch has other events than its header says")
    is_new = (np.diff(received) != 0) | (np.diff(connection) != 0) | (np.diff(what) != 0)
    starts = np.flatnonzero(np.concatenate(([True], is_new)))
    spans = [slice(start, end) for start, end in pairwise((*starts.tolist(), header.rows))]
    names = map(header.whats.__getitem__, what[starts].tolist())
    seqs, bodies = seq.tolist(), _bodies(batch)
    of_each = ([seqs[span] for span in spans], [bodies[span] for span in spans])
    return list(zip(received[starts].tolist(), connection[starts].tolist(), names, *of_each, strict=True))


class StreamEncoder:
    """Encodes the events of one segment as the bytes of an Arrow IPC stream. Used by one thread."""

    def __init__(self, recording: str, session: int, latest: int) -> None:
        self._recording = recording
        self._latest = latest
        self._session = session
        self._sink = io.BytesIO()
        self._head_bytes = SCHEMA.serialize().size  # comes with the first batch
        codec = pa.Codec("zstd", compression_level=ZSTD_LEVEL)
        # Threads of pyarrow take longer to wake than columns to compress.
        options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
        self._writer = pa.ipc.new_stream(self._sink, SCHEMA, options=options)

    def encode(self, groups: Sequence[EventGroup], number: int, before: int) -> tuple[bytes, BatchHeader]:
        """Return the next bytes of the stream, and what the batch says of itself.

        Raises ValueError, TypeError or pyarrow's errors for rows that are no events.
        """
        # Not by `zip`, whose iterators, one a group, would have garbage collected.
        whats, bodies = [group[2] for group in groups], [group[4] for group in groups]
        names = {name: code for code, name in enumerate(dict.fromkeys(whats))}
        if not len(names) <= MOST_WHATS or not all(map(_is_what, names)):
            raise ValueError(f"unknown kinds of events: {', '.join(map(repr, names))[:200]}")
        counts = np.fromiter(map(len, bodies), np.int64, len(groups))
        body = pa.array([*chain.from_iterable(bodies)], pa.binary())
        if body.nbytes > MOST_BODY_BYTES and max(map(len, chain.from_iterable(bodies))) > MOST_BODY_BYTES:
            raise ValueError(f"it is larger than {MOST_BODY_BYTES >> 20} MB")
        seq = np.fromiter(chain.from_iterable([group[3] for group in groups]), np.int64, len(body))
        received = np.fromiter([group[0] for group in groups], np.int64).repeat(counts)
        connection = np.fromiter([group[1] for group in groups], np.int32).repeat(counts)
        what = np.fromiter(map(names.__getitem__, whats), np.int8).repeat(counts)
        batch = pa.record_batch([*map(pa.array, (seq, received, connection, what)), body], schema=SCHEMA)
        received_span = _span(received)
        self._latest = max(self._latest, received_span[1])
        header = BatchHeader(
            recording=self._recording, number=number, session=self._session, before=before, rows=len(body),
            seq=_span(seq), received=received_span, latest=self._latest, whats=tuple(names),
        )  # fmt: skip
        self._writer.write_batch(batch, custom_metadata=header.texts())
        data = self._taken()
        head, self._head_bytes = data[: self._head_bytes], 0
        message = data[len(head) :]
        return head + message.replace(NO_SUM.encode(), _sum(message).encode(), 1), header

    def end(self) -> bytes:
        """Return the bytes that end the stream."""
        self._writer.close()
        return self._taken()

    def _taken(self) -> bytes:
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return data


def batches_of(groups: Iterable[EventGroup]) -> Iterator[list[EventGroup]]:
    """Share events out to batches."""
    batch: list[EventGroup] = []
    size = 0
    for group in groups:
        batch.append(group)
        size += sum(map(len, group[4])) + len(group[4]) * ROW_BYTES
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _sum(data: bytes) -> str:
    return f"\1{zlib.crc32(data):08x}"


def _checksum(batch: pa.RecordBatch) -> int:
    crc = 0
    for place in range(4):
        crc = zlib.crc32(_little(batch.column(place).to_numpy()), crc)
    offsets, values = _body_parts(batch)
    return zlib.crc32(values, zlib.crc32(_little(np.diff(offsets)), crc))


def _bodies(batch: pa.RecordBatch) -> list[bytes]:
    offsets, values = _body_parts(batch)
    data = values.tobytes()
    return [data[start:end] for start, end in pairwise((offsets - offsets[0]).tolist())]


def _body_parts(batch: pa.RecordBatch) -> tuple[np.ndarray[tuple[int], np.dtype[np.int32]], memoryview]:
    """Return the ends of the bodies in the data, and the data."""
    column = batch.column(4)
    _, offsets, values = column.buffers()
    ends = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    return ends, memoryview(values or b"")[ends[0] : ends[-1]]


def _span(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, int]:
    return int(values.min()), int(values.max())


def _little(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> memoryview:
    """Return the bytes of numbers, in the order of a file."""
    return (values if sys.byteorder == "little" else values.byteswap()).data


def _is_what(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= MOST_WHAT_CHARACTERS and text != HOLE


def _is_int64(value: object) -> bool:
    return type(value) is int and -1 << 63 <= value < 1 << 63
