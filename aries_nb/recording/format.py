"""Layer 1 of a recording: how events become batches of an Arrow IPC stream, and batches become events again.

A batch says in its metadata, as JSON under "batch", which it is and what it holds, with a CRC-32 of its content; "crc"
is the CRC-32 of that JSON. Whatever of it is damaged is noticed: the batch is then no batch.
"""

from __future__ import annotations

import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from aries_nb.model.journal import HOLE, Event, EventFields
from aries_nb.recording.messages import ByteSource, Message, MessageError

__all__ = [
    "BATCH_BYTES",
    "FORMAT",
    "MOST_BATCH_BYTES",
    "MOST_BODY_BYTES",
    "MOST_ROWS",
    "SCHEMA",
    "BatchHeader",
    "StreamEncoder",
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

BATCH_BYTES = 262_144
MOST_ROWS = 65_536
MOST_BODY_BYTES = 64 << 20
"""The largest body of an event that is recorded and read."""
MOST_BATCH_BYTES = MOST_BODY_BYTES + BATCH_BYTES + 64 * MOST_ROWS
MOST_WHATS = 64
MOST_WHAT_CHARACTERS = 40
ZSTD_LEVEL = 1  # higher levels take twice the time for 1 % fewer bytes


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
    crc: int
    """CRC-32 of the content: the columns' values without padding, bodies after their sizes."""

    def texts(self) -> dict[str, str]:
        """Return the header as the batch's custom metadata."""
        text = json.dumps(asdict(self), separators=(",", ":"))
        return {"batch": text, "crc": str(zlib.crc32(text.encode()))}


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
    numbers = (header.number, header.session, header.before, header.rows, header.crc, header.latest)
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


def decode(source: ByteSource, message: Message, header: BatchHeader) -> Iterator[Event]:
    """Return the events of a batch. Raises MessageError, before the first, where its content is damaged.

    The batch is decoded by our own schema, so that a stream with another one, or with extension types, gives no events.
    Its size in memory was checked by `parse`.
    """
    data = source.read(message.offset, message.end - message.offset)
    try:
        batch = pa.ipc.read_record_batch(pa.ipc.read_message(pa.py_buffer(data)), SCHEMA)
        batch.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise MessageError("a batch cannot be decompressed") from error
    if batch.num_rows != header.rows or any(column.null_count for column in batch.columns):
        raise MessageError("a batch has an impossible number of events")
    if _checksum(batch) != header.crc:
        raise MessageError("the checksum of a batch is wrong")
    seq, received, connection, what = (batch.column(place).to_numpy() for place in range(4))
    is_known = (
        _span(batch.column(0)) == header.seq
        and _span(batch.column(1)) == header.received
        and 0 <= int(what.min()) <= int(what.max()) < len(header.whats)
    )
    if not is_known:
        raise MessageError("a batch has other events than its header says")
    names = [header.whats[code] for code in what.tolist()]
    columns = (seq.tolist(), received.tolist(), connection.tolist(), names, _bodies(batch))
    return map(Event._make, zip(*columns, strict=True))


class StreamEncoder:
    """Encodes the events of one segment as the bytes of an Arrow IPC stream. Used by one thread."""

    def __init__(self, recording: str, session: int, latest: int) -> None:
        self._recording = recording
        self._latest = latest
        self._session = session
        self._sink = io.BytesIO()
        codec = pa.Codec("zstd", compression_level=ZSTD_LEVEL)
        self._writer = pa.ipc.new_stream(self._sink, SCHEMA, options=pa.ipc.IpcWriteOptions(compression=codec))

    def encode(self, rows: Sequence[EventFields], number: int, before: int) -> tuple[bytes, BatchHeader]:
        """Return the next bytes of the stream, and what the batch says of itself.

        Raises ValueError, TypeError or pyarrow's errors for rows that are no events.
        """
        seq, received, connection, what, body = zip(*rows, strict=True)
        names = {name: code for code, name in enumerate(dict.fromkeys(what))}
        if not len(names) <= MOST_WHATS or not all(map(_is_what, names)):
            raise ValueError(f"unknown kinds of events: {', '.join(map(repr, names))[:200]}")
        columns = [
            pa.array(seq, pa.int64()),
            pa.array(received, pa.int64()),
            pa.array(connection, pa.int32()),
            pa.array([names[name] for name in what] if len(names) > 1 else [0] * len(what), pa.int8()),
            pa.array(body, pa.binary()),
        ]
        batch = pa.record_batch(columns, schema=SCHEMA)
        received_span = _span(columns[1])
        self._latest = max(self._latest, received_span[1])
        header = BatchHeader(
            recording=self._recording, number=number, session=self._session, before=before, rows=len(rows),
            seq=_span(columns[0]), received=received_span, latest=self._latest, whats=tuple(names),
            crc=_checksum(batch),
        )  # fmt: skip
        self._writer.write_batch(batch, custom_metadata=header.texts())
        return self._taken(), header

    def begin(self) -> bytes:
        """Return the first bytes of the stream, which are its schema."""
        return self._taken()

    def end(self) -> bytes:
        """Return the bytes that end the stream."""
        self._writer.close()
        return self._taken()

    def _taken(self) -> bytes:
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return data


def _checksum(batch: pa.RecordBatch) -> int:
    crc = 0
    for place in range(4):
        crc = zlib.crc32(_little(batch.column(place).to_numpy()), crc)
    offsets, values = _body_parts(batch)
    return zlib.crc32(values, zlib.crc32(_little(np.diff(offsets)), crc))


def _bodies(batch: pa.RecordBatch) -> Iterable[bytes]:
    offsets, values = _body_parts(batch)
    data = values.tobytes()
    return (data[start:end] for start, end in pairwise((offsets - offsets[0]).tolist()))


def _body_parts(batch: pa.RecordBatch) -> tuple[np.ndarray[tuple[int], np.dtype[np.int32]], memoryview]:
    """Return the ends of the bodies in the data, and the data."""
    column = batch.column(4)
    _, offsets, values = column.buffers()
    ends = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    return ends, memoryview(values or b"")[ends[0] : ends[-1]]


def _span(column: pa.Int64Array) -> tuple[int, int]:
    values = column.to_numpy()
    return int(values.min()), int(values.max())


def _little(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> memoryview:
    """Return the bytes of numbers, in the order of a file."""
    return (values if sys.byteorder == "little" else values.byteswap()).data


def _is_what(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= MOST_WHAT_CHARACTERS and text != HOLE


def _is_int64(value: object) -> bool:
    return type(value) is int and -1 << 63 <= value < 1 << 63
