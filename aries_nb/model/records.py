"""Subscriptions, the records decoded for them, and the interface of the stores that records are written to."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, get_args

from msgspec import Struct

from aries_nb.model.columns import CountedAs, Kind, Value, Values

__all__ = [
    "CLEAR",
    "PUT",
    "BarPage",
    "Block",
    "Checkpoint",
    "Checkpointed",
    "Record",
    "RecordBuffer",
    "RecordSink",
    "StoreBlock",
    "Subscription",
    "ValueColumn",
]


class Subscription(Struct, frozen=True, cache_hash=True):
    """What one stream delivers: kind, symbol, fields and options. It is the key of every record, so its hash is cached.

    `fields` are column names in the order of a record's values; () for a book, whose records have a layout of their
    own. `options` are further parameters as (name, value) pairs; their names are defined by the broker's protocol.
    """

    kind: Kind
    symbol: str
    fields: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


# One event of a stream, merged: each field of the subscription with its value at that moment. The number is exchange
# time in ns since the epoch (UTC). The values of a book are flat: price, bid size, ask size, one triple for each
# changed level; a size of 0 removes the level from that side. Plain tuples, for speed.
#
# For the kinds that are tables (`TABLE_KEYS`) the symbol of a subscription is an account, or "" for data of the user.
# The first value is `PUT`, followed by the fields of a row, which replaces the row with the same key; or `CLEAR`, with
# meaningless fields: a full list begins, and rows of this subscription that are not put again are removed.
Record: TypeAlias = tuple[Subscription, int, Values]
PUT, CLEAR = 1, 0
# A value of each of several records: an array of `FLOAT64` for numbers, of `INT64` for times and integers; of texts a
# list.
ValueColumn: TypeAlias = "array[Any] | list[Any]"


class Block(NamedTuple):
    """Records of streams with the same fields, by columns: what `Record` has of one, as a list with one of each.

    `subscriptions` are those of all these streams, the same tuple as long as they are the same; `which` has the place
    of each record's subscription there, and `last` the place of the newest record of each. `ts` has the exchange times
    in ns since the epoch. `columns` has the values, a column for each field. `numbers` are the places of the records
    among all of the read, ascending.
    """

    subscriptions: tuple[Subscription, ...]
    which: Sequence[int]
    ts: array[int]
    columns: Sequence[ValueColumn]
    numbers: Sequence[int]
    last: Mapping[int, int]


class StoreBlock(NamedTuple):
    """Records by columns as a store gets them: codes of the symbols there, exchange times in ns, values.

    `seq` has the arrival numbers, `received` is the time of receipt in ns since the epoch, `last` the place of the
    newest record of each code.
    """

    codes: Sequence[int]
    ts: array[int]
    columns: Sequence[ValueColumn]
    seq: Sequence[int]
    received: int
    last: Mapping[int, int]


class RecordBuffer:
    """Records to be written to a store, in parallel lists: code of the symbol there, exchange time in ns, and values.

    `values` is flat, record after record: a thousand tuples alive at once would keep the garbage collector busy and
    leave the processor's cache. While only blocks have been added they are in `blocks`, and these lists are empty.
    `marks` holds pairs: a number of records from the start, and the time at which those since the pair before were
    received. `runs` holds pairs: a place in the lists, and the arrival number of the record there less its place; up to
    the next pair arrival numbers are consecutive. `counted` has the numbers, since the buffer was made, of messages
    without a record and of records without a message, by `CountedAs`. Used on the thread that writes to the store only.
    """

    __slots__ = ("_in_blocks", "blocks", "codes", "counted", "marks", "runs", "ts", "values")

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.ts: list[int] = []
        self.values: list[Value] = []
        self.blocks: list[StoreBlock] = []
        self._in_blocks = 0  # records
        self.marks: list[tuple[int, int]] = []
        self.runs: list[tuple[int, int]] = []
        self.counted: dict[CountedAs, int] = dict.fromkeys(get_args(CountedAs), 0)

    def __len__(self) -> int:
        """The number of records."""
        return len(self.codes) + self._in_blocks

    def add(self, code: int, ts: int, values: Values) -> None:
        """Append one record: its symbol's `code` in the store, its exchange time in ns, its values.

        Call `mark` after the last record that was received at the same time.
        """
        if self.blocks:
            self.in_rows()
        self.codes.append(code)
        self.ts.append(ts)
        self.values.extend(values)

    def add_block(self, block: StoreBlock) -> None:
        """Append the records of a block, and mark them as received."""
        if self.codes:
            self._add_rows(block)
        else:
            self.blocks.append(block)
            self._in_blocks += len(block.ts)
        self.mark(block.received)

    def in_rows(self) -> None:
        """Move the records of blocks to the lists."""
        blocks, self.blocks, self._in_blocks = self.blocks, [], 0
        for block in blocks:
            self._add_rows(block)

    def number(self, seq: int) -> None:
        """Give the next record this arrival number, and those after it the following ones."""
        if self.blocks:
            self.in_rows()
        place = len(self.codes)
        if not self.runs or self.runs[-1][1] != seq - place:
            self.runs.append((place, seq - place))

    def mark(self, received: int) -> None:
        """Set the time of receipt (ns since the epoch) of all records added since the last call of `mark`."""
        self.marks.append((len(self), received))

    def clear(self) -> None:
        """Remove all records and marks; `counted` stays.

        The lists stay the same objects, so their `append` may be cached.
        """
        self.codes.clear()
        self.ts.clear()
        self.values.clear()
        self.blocks, self._in_blocks = [], 0
        self.marks.clear()
        self.runs.clear()

    def restart(self, counted: Mapping[CountedAs, int] | None = None) -> None:
        """Remove all, and count anew, or on from these counts."""
        self.clear()
        self.counted.update(counted or dict.fromkeys(self.counted, 0))

    def _add_rows(self, block: StoreBlock) -> None:
        for place, seq in enumerate(block.seq, len(self.codes)):
            if not self.runs or self.runs[-1][1] != seq - place:
                self.runs.append((place, seq - place))
        self.codes += block.codes
        self.ts += block.ts
        self.values.extend(chain.from_iterable(zip(*block.columns, strict=True)))


Checkpoint: TypeAlias = Mapping[str, Any]
"""A copy of attributes, by name."""


class Checkpointed:
    """A part of the state of a feed that can be set back to an earlier moment: `STATE` names its attributes.

    Used on the network's thread only.
    """

    STATE: ClassVar[tuple[str, ...]] = ()

    @property
    def is_resumable(self) -> bool:
        """Whether it may go on from a checkpoint, in place of all events until there."""
        return True

    def checkpoint(self) -> Checkpoint | None:
        """Return a copy of the state; None where it cannot be copied at this moment, or at all."""
        return deepcopy({name: getattr(self, name) for name in self.STATE})

    @property
    def is_whole(self) -> bool:
        """Whether it has all that it would have without `from_notes`."""
        return True

    def noted(self, counted: Mapping[int, Mapping[CountedAs, int]] | None = None) -> object:  # noqa: ARG002
        """Return what a recording notes of the state, to be packed at once; None where it cannot at this moment.

        `counted` has messages without a record, of each symbol by its code here.
        """
        return None

    def recent(self, since: int) -> tuple[int, object]:  # noqa: ARG002
        """Return the number of rows so far, and those behind the first `since`, to be packed; None for many or none."""
        return 0, None

    def from_notes(
        self,
        notes: Sequence[object],  # noqa: ARG002
        places: Sequence[tuple[int, int] | None],  # noqa: ARG002
        received: int,  # noqa: ARG002
        rows_from: Sequence[int] = (),  # noqa: ARG002
    ) -> Checkpoint | None:
        """Return a checkpoint made of what was noted of others at a market time `received`, in ns; None for none.

        `places` have of each symbol here the place in `notes`, and its own in the other; None where nothing was
        received of it yet. Where rows were left out, `is_whole` is False until they would have left the window.
        `rows_from` are the numbers of the rows from which on `with_rows` will have those of the others.
        """
        return None

    def with_rows(
        self,
        checkpoint: Checkpoint,
        notes: Sequence[object],  # noqa: ARG002
        places: Sequence[tuple[int, int] | None],  # noqa: ARG002
        pieces: Sequence[Sequence[object]],  # noqa: ARG002
    ) -> Checkpoint:
        """Return a checkpoint of `from_notes` with the newest rows of others: for each, those of `recent` in order."""
        return checkpoint

    def would_be_whole(self, checkpoint: Checkpoint, later: Checkpoint) -> bool:  # noqa: ARG002
        """Return whether one resumed with a checkpoint of `from_notes` would be whole at a later one."""
        return True

    def resume(self, checkpoint: Checkpoint) -> None:
        """Set the state to one of before, of this object or of one like it; observers stay, numbers go on growing.

        Nothing but what `STATE` names is set, all of it or nothing. Raises KeyError where any of it is missing.
        """
        for name, value in deepcopy({name: checkpoint[name] for name in self.STATE}).items():
            setattr(self, name, value)


class RecordSink(Protocol):
    """Interface of a store that receives records, such as a rolling frame or a table.

    Used only on the thread that writes to the store: for a live stream the network's thread.
    """

    @property
    def buffer(self) -> RecordBuffer:
        """The buffer to which records are added; always the same object."""

    def publish(self) -> None:
        """Move the records from the buffer to the stored data, where readers on any thread see them.

        A store may leave them in the buffer for a later call while it inserts missed rows.
        """

    def interrupted(self) -> None:
        """Mark the stored data as possibly out of date, because the stream broke, until new records arrive.

        Those in the buffer were received before, and are published first.
        """

    def restart(self) -> None:
        """Be empty again, as when it was made, because a replay begins anew; observers stay, numbers go on growing."""


class BarPage(NamedTuple):
    """A page of historical bars of one instrument, as lists of equal length, oldest bar first.

    `start_ns` is the start of each bar in ns since the epoch. `volume` is NaN where unknown. `next_end_ns` is the end,
    exclusive, of the request for the page of earlier bars; None if there are none.
    """

    start_ns: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    next_end_ns: int | None = None
