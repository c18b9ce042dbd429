"""What goes over a room: the catalog of what is served, signs of life, and rows as batches of the Arrow IPC format.

A reader trusts none of it: the publisher may be a stranger. The sizes that a batch names are checked before it is
decompressed, it is decoded by the columns that the catalog names, so that extension types and others give no rows, and
its values are validated.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from hashlib import blake2s
from typing import Annotated, Any, Literal, Self, cast, get_args

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta, Struct

from aries_nb.model import (
    FLOAT64,
    INT64,
    NOT_A_TIME,
    TABLE_KEYS,
    Cause,
    Column,
    ColumnType,
    Kind,
    State,
    StoreBlock,
    Subscription,
    Values,
)
from aries_nb.recording.messages import MessageError, parse
from aries_nb.store import Gap

__all__ = [
    "FORMAT",
    "MOST_ROWS",
    "Batch",
    "BatchWriter",
    "Beat",
    "Catalog",
    "GapLine",
    "Group",
    "Head",
    "Listing",
    "RoomDataError",
    "StatusLine",
    "decode_batch",
    "decode_beat",
    "decode_catalog",
    "encode",
    "exact",
    "group_of",
]

FORMAT = 1
"""The version of the format. A reader refuses a newer one."""

COMPRESSION = "lz4"
FEW_ROWS = 200  # which compression makes no smaller, and pyarrow twice as slow to read
MOST_ROWS = 2_000  # of a batch that is sent
MOST_ROWS_READ = 65_536
MOST_BATCH_BYTES = 8 << 20  # decompressed
MOST_JSON_BYTES = 4 << 20
MOST_GROUPS = 2_000
MOST_NUMBER = 2**62
MOST_US = 2**62 // 1_000  # a time beyond is none

Text = Annotated[str, Meta(max_length=200)]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")]
Number = Annotated[int, Meta(ge=0, le=MOST_NUMBER)]
Time = Annotated[int, Meta(ge=NOT_A_TIME, le=MOST_NUMBER)]  # in ns since the epoch
Word = Text | float | bool
TIME = pa.timestamp("us", tz="UTC")
TYPES: Mapping[ColumnType, pa.DataType] = {
    "number": pa.float64(), "text": pa.string(), "time": TIME, "integer": pa.int64(), "decimal": pa.string(),
}  # fmt: skip
OWN = ("seq", "ts", "received")
BOOK = (Column("price"), Column("bid_size"), Column("ask_size"))
MOST_DIGITS = 60  # of a decimal, and of its exponent


class RoomDataError(ValueError):
    """What came over a room cannot be read, or is beyond the bounds. The text says why."""


class Group(Struct, frozen=True):
    """One stream of rows: of symbols that a frame of the publisher has together. A subject has its batches."""

    kind: Kind
    symbols: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=10_000)]
    columns: Annotated[tuple[tuple[Name, ColumnType], ...], Meta(min_length=1, max_length=400)]
    options: Annotated[tuple[tuple[Text, Text], ...], Meta(max_length=20)] = ()

    @property
    def is_list(self) -> bool:
        """Whether it has the newest state of each row of a list, such as of orders, instead of all rows."""
        return self.kind == "bars" or self.kind in TABLE_KEYS

    @property
    def symbol_name(self) -> str:
        """The name of the column with the symbol or account of a row: tables have one called symbol themselves."""
        return "_symbol" if self.is_list else "symbol"

    @property
    def id(self) -> str:
        """The name of the group in subjects, the same for equal groups of any publisher."""
        return blake2s(encode(self), digest_size=8).hexdigest()

    @property
    def schema(self) -> pa.Schema:
        """The columns of its batches."""
        own = [pa.field("seq", pa.int64()), pa.field("ts", TIME), pa.field("received", TIME)]
        fields = [pa.field(name, TYPES[kind]) for name, kind in self.columns]
        return pa.schema([*own, pa.field(self.symbol_name, pa.string()), *fields])

    def offers(self, subscription: Subscription) -> bool:
        """Whether it has the rows of a subscription, with all its fields."""
        is_same = self.kind == subscription.kind and subscription.symbol in self.symbols
        if self.is_list and self.kind != "instruments":
            is_same = is_same and self.options == subscription.options
        return is_same and {*subscription.fields} <= {name for name, _ in self.columns}


class GapLine(Struct, frozen=True):
    """A gap of the publisher's feed, with the fields of `aries_nb.store.Gap`."""

    number: Number
    stream: Text
    symbol: Text
    started: Time
    ended: Time | None
    cause: Text
    reason: Annotated[str, Meta(max_length=1_000)]
    filled: bool
    missed: Number | None

    @classmethod
    def of(cls, gap: Gap) -> Self:
        """Return the line of a gap."""
        return cls(
            gap.number, gap.stream[:200], gap.symbol[:200], gap.started, gap.ended, gap.cause, gap.reason[:1_000],
            gap.filled, gap.missed,
        )  # fmt: skip

    @property
    def gap(self) -> Gap:
        """The gap of a line."""
        cause = cast("Cause", self.cause) if self.cause in get_args(Cause) else "room"
        stream, symbol, started, ended, _, reason, filled, missed = msgspec.structs.astuple(self)[1:]
        return Gap(stream, symbol, started, ended, reason, filled, missed, cause=cause)


class StatusLine(Struct, frozen=True):
    """A report of the market's state, with the fields of `aries_nb.model.StatusReport`."""

    ts: Time
    received: Time
    entries: Annotated[dict[Text, Word], Meta(max_length=200)]


class Listing(Struct, frozen=True):
    """The options of an underlying that expire on a day, each as symbol, "call" or "put", and strike."""

    symbol: Text
    expiry: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    contracts: Annotated[tuple[tuple[Text, Literal["call", "put"], float], ...], Meta(max_length=10_000)]


class Catalog(Struct, frozen=True):
    """What is served: by whom, and in which groups. `number` grows with every change."""

    format: Number
    epoch: Id
    """Random id of the publisher, made anew when it starts."""
    number: Number
    feed: Text
    """The name of the publisher's broker."""
    groups: Annotated[tuple[Group, ...], Meta(max_length=MOST_GROUPS)]
    gaps: Annotated[tuple[GapLine, ...], Meta(max_length=200)] = ()
    accounts: Annotated[tuple[Text, ...], Meta(max_length=1_000)] = ()
    """The names of the accounts of which tables are served."""
    reports: Annotated[tuple[StatusLine, ...], Meta(max_length=1_000)] = ()
    """The newest reports of the market's state, oldest first."""
    reported: Number = 0
    """The number of all reports."""
    options: Annotated[tuple[Listing, ...], Meta(max_length=200)] = ()
    made: Text = ""
    """When the server made its stream of rows: one that it made anew counts its messages anew."""


class Beat(Struct, frozen=True):
    """A sign of life of the publisher."""

    epoch: Id
    number: Number
    catalog: Number
    """The number of the newest catalog."""
    state: State
    """That of the publisher's feed."""
    now: Number
    """Market time, in ns since the epoch."""
    pace: Annotated[float, Meta(ge=0.0, le=1e9)]
    """How many times faster than real time it goes on, 0.0 where it stands."""
    rows: Annotated[dict[Id, tuple[Id, Number, bool]], Meta(max_length=MOST_GROUPS)]
    """Of each group of rows the `life`, `first` and `is_anew` of its next batch."""
    counts: Annotated[dict[Id, tuple[Number, ...]], Meta(max_length=MOST_GROUPS)] = {}
    """Of each group the publisher's `MessageCounts`."""
    seq: Number = 0
    """The number of a message in the server's stream of rows: `rows` counts the rows of all until then."""
    error: Annotated[str, Meta(max_length=1_000)] = ""


class Head(Struct, frozen=True):
    """What a batch says of itself."""

    epoch: Id
    life: Id
    """Random id of the frame of the publisher that the rows come from. Its rows are numbered."""
    first: Number
    """The number of the first row."""
    is_anew: bool = False
    """Whether the rows before it are void: because a replay begins anew, or because a whole list begins."""
    goes_on: bool = False
    """Whether the next batch goes on with the same whole list."""
    is_same: bool = False
    """Of a whole list: whether it is the same as what was sent before."""
    is_void: bool = False
    """Whether the only row is none: a list may be empty."""
    is_broken: bool = False
    """Of a state: whether it is from before an interruption."""
    count: Number = 0
    """Of a state: how many updates led to it, since the frame was made."""
    beat: Number = 0
    """The number of the newest sign of life when it was sent: that one, and those before, say nothing newer."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that were read and checked, with what the batch says of itself."""

    head: Head
    table: pa.RecordBatch

    @property
    def rows(self) -> int:
        """The number of rows."""
        count: int = self.table.num_rows
        return count

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> list[Batch]:
        """Return the same rows, those of batches that follow each other in one: many small ones cost more."""
        runs: list[list[Batch]] = []
        for batch in batches:
            before = runs[-1][-1] if runs else None
            is_next = (
                before is not None
                and not batch.head.is_anew
                and (batch.head.epoch, batch.head.life) == (before.head.epoch, before.head.life)
                and batch.head.first == before.head.first + before.rows
            )
            if is_next:
                runs[-1].append(batch)
            else:
                runs.append([batch])
        heads = [msgspec.structs.replace(run[0].head, beat=run[-1].head.beat) for run in runs]
        return [cls(head, _one([batch.table for batch in run])) for head, run in zip(heads, runs, strict=True)]

    def since(self, first: int) -> Batch:
        """Return the rows from number `first` on."""
        skipped = max(first - self.head.first, 0)
        return Batch(msgspec.structs.replace(self.head, first=self.head.first + skipped), self.table.slice(skipped))

    def blocks(self, routes: Mapping[str, int], fields: Sequence[str], offset: int) -> list[StoreBlock]:
        """Return the rows of some symbols, given with their codes, one block for the rows of one time of receipt.

        `fields` are the columns of the store, `offset` is added to the arrival numbers.
        """
        table = self.table
        places = pc.index_in(table.column("symbol"), pa.array([*routes], pa.string()))
        if places.null_count:
            table, places = table.filter(places.is_valid()), places.drop_null()
        if not table.num_rows:
            return []
        codes = np.array([*routes.values()])[places.to_numpy()].tolist()
        received = _us(table, "received")
        seq = (table.column("seq").to_numpy() + offset).tolist()
        ts = array(INT64, (_us(table, "ts") * 1_000).tobytes())
        columns = [_values(table.column(name)) for name in fields]
        starts = [0, *(np.flatnonzero(np.diff(received)) + 1).tolist()]
        blocks: list[StoreBlock] = []
        for start, end in zip(starts, [*starts[1:], len(codes)], strict=True):
            own = codes[start:end]
            last = dict(zip(own, range(end - start), strict=True))
            parts = [column[start:end] for column in columns]
            at = int(received[start]) * 1_000
            blocks.append(StoreBlock(own, ts[start:end], parts, seq[start:end], at, last))
        return blocks

    def levels(self) -> list[tuple[float, float, float]]:
        """Return the levels of a book: price, size of the bid, size of the ask."""
        return [*zip(*(self.table.column(name).to_pylist() for name, _ in BOOK), strict=True)]

    def rows_of(self, group: Group, fields: Sequence[str]) -> list[tuple[str, int, int, Values]]:
        """Return the rows of a list: symbol, exchange time, receipt (both ns since the epoch), the values of fields."""
        if self.head.is_void or not self.rows:
            return []
        types = dict(group.columns)
        columns = []
        for name in fields:
            values = _values(self.table.column(name))
            columns.append([*map(exact, values)] if types[name] == "decimal" else list(values))
        symbols = self.table.column(group.symbol_name).to_pylist()
        times = [(_us(self.table, name) * 1_000).tolist() for name in ("ts", "received")]
        rows: list[Values] = [*zip(*columns, strict=True)]
        return list(zip(symbols, *times, rows, strict=True))

    @property
    def ts(self) -> int:
        """The exchange time of the newest row, in ns since the epoch."""
        return int(_us(self.table, "ts")[-1]) * 1_000

    @property
    def received(self) -> tuple[int, int]:
        """When the publisher received the first row and the last one, in ns since the epoch."""
        received = _us(self.table, "received")
        return int(received[0]) * 1_000, int(received[-1]) * 1_000


class BatchWriter:
    """Encodes the rows of one group. `life` is the random id of the frame that they come from."""

    def __init__(self, group: Group, epoch: str, life: str) -> None:
        self._schema = group.schema
        self._epoch, self._life = epoch, life
        self._sink = io.BytesIO()
        self._small, self._large = (self._writer(compression) for compression in (None, COMPRESSION))

    def _writer(self, compression: str | None) -> Any:  # noqa: ANN401 - pyarrow has no types
        options = pa.ipc.IpcWriteOptions(compression=compression)
        writer = pa.ipc.new_stream(self._sink, self._schema, options=options)
        writer.write_batch(pa.RecordBatch.from_pylist([], self._schema))  # readers have the schema already
        return writer

    def encode(self, table: pa.Table, first: int, **more: bool | int) -> bytes:
        """Return the rows of a table as one message; its columns are those of the group, in any order."""
        columns = [_plain(table.column(field.name), field.type) for field in self._schema]
        batch = pa.record_batch(columns, schema=self._schema)
        head = Head(self._epoch, self._life, first, **more)  # type: ignore[arg-type]
        self._sink.seek(0)
        self._sink.truncate()
        writer = self._large if batch.num_rows > FEW_ROWS else self._small
        writer.write_batch(batch, custom_metadata={"room": encode(head).decode()})
        return self._sink.getvalue()


def encode(value: Struct) -> bytes:
    """Return the JSON of a catalog, a sign of life, or a head."""
    return msgspec.json.encode(value)


def decode_catalog(data: bytes) -> Catalog:
    """Return the catalog in a message. Raises RoomDataError, also for a newer format."""
    catalog: Catalog = _decoded(data, Catalog)
    if catalog.format > FORMAT:
        raise RoomDataError(f"the room has format {catalog.format}, of a newer version of this package")
    for group in catalog.groups:
        names = [name for name, _ in group.columns]
        own = {*OWN, group.symbol_name}
        if len({*names, *own}) < len(names) + len(own):
            raise RoomDataError("a stream of the room has two columns of one name")
    return catalog


def decode_beat(data: bytes) -> Beat:
    """Return the sign of life in a message. Raises RoomDataError."""
    beat: Beat = _decoded(data, Beat)
    return beat


def decode_batch(data: bytes, group: Group) -> Batch:
    """Return the rows in a message of a group. Raises RoomDataError."""
    source = _Bytes(data)
    try:
        message = parse(source, 0, most_body_bytes=MOST_BATCH_BYTES)
        if not message.is_batch or message.end != source.size or not 0 <= message.rows <= MOST_ROWS_READ:
            raise RoomDataError("a message is no batch of rows")
        head = _decoded(message.texts.get("room", "").encode(), Head)
        table = pa.ipc.read_record_batch(pa.ipc.read_message(pa.py_buffer(data)), group.schema)
        table.validate(full=True)
    except (MessageError, pa.ArrowException, OSError, ValueError) as error:
        raise (
            error if isinstance(error, RoomDataError) else RoomDataError(f"a batch cannot be read: {error}")
        ) from error
    if not table.num_rows:
        raise RoomDataError("a batch has no rows")
    for field, column in zip(table.schema, table.columns, strict=True):
        if column.null_count and (field.name in OWN or field.type != TIME):
            raise RoomDataError(f"a batch misses values of {field.name}")
    for name in ("ts", "received"):
        times = _us(table, name)
        if not -MOST_US <= int(times.min()) <= int(times.max()) <= MOST_US:
            raise RoomDataError("a batch has an impossible time")
    numbers = table.column("seq").to_numpy()
    if not 0 <= int(numbers.min()) <= int(numbers.max()) <= MOST_NUMBER:
        raise RoomDataError("a batch has an impossible arrival number")
    return Batch(head, table)


class _Bytes:
    """A message as a `ByteSource`."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    def read(self, offset: int, count: int) -> bytes:
        return self._data[offset : offset + count]


def _decoded(data: bytes, type_: type[Any]) -> Any:  # noqa: ANN401 - a struct of that type
    if len(data) > MOST_JSON_BYTES:
        raise RoomDataError("a message is larger than any that is sent")
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RoomDataError(f"a message cannot be read: {error}") from None


def _one(tables: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    if len(tables) == 1:
        return tables[0]
    return pa.Table.from_batches(tables).combine_chunks().to_batches()[0]


def _us(table: pa.RecordBatch, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    values: np.ndarray[tuple[int], np.dtype[np.int64]] = table.column(name).cast(pa.int64()).to_numpy()
    return values


def _values(column: pa.Array) -> Any:  # noqa: ANN401 - an array, of texts a list
    if column.type == pa.string():
        return column.to_pylist()
    if column.type == pa.float64():
        return array(FLOAT64, column.to_numpy().tobytes())
    if column.type == TIME:  # in ns, as records have it
        us = column.cast(pa.int64()).fill_null(NOT_A_TIME).to_numpy()
        is_known = (us >= -MOST_US) & (us <= MOST_US)
        return array(INT64, np.where(is_known, us * 1_000, NOT_A_TIME).tobytes())
    return array(INT64, column.to_numpy().tobytes())


def exact(text: str) -> Decimal:
    """Return a decimal as a list has it: NaN for what is no finite number of at most 60 digits."""
    try:
        value = Decimal(text if len(text) <= 3 * MOST_DIGITS else "NaN")
    except InvalidOperation:
        return Decimal("NaN")
    is_usual = value.is_finite() and len(value.as_tuple().digits) <= MOST_DIGITS
    return value if is_usual and abs(value.adjusted()) <= MOST_DIGITS else Decimal("NaN")


def _plain(column: Any, type_: pa.DataType) -> pa.Array:  # noqa: ANN401 - of a table
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], type_)
    if pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_decode()
    return whole if whole.type == type_ else whole.cast(type_)


def group_of(
    kind: Kind, symbols: Sequence[str], columns: Sequence[Column], options: Sequence[tuple[str, str]]
) -> Group:
    """Return the group of a frame or book of the publisher."""
    named = BOOK if kind == "book" else tuple(columns)
    return Group(kind, tuple(symbols), tuple((name, type_) for name, type_ in named), tuple(options))
