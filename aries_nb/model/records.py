"""Subscriptions, the records decoded for them, and the sinks that store those."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias, get_args

from msgspec import Struct

from aries_nb.model.columns import CountedAs, Kind, Value, Values

__all__ = ["CLEAR", "PUT", "BarPage", "Record", "RecordBuffer", "RecordSink", "Subscription"]


class Subscription(Struct, frozen=True, cache_hash=True):
    """What a stream delivers: kind, symbol, fields and options. The key of every record, so its hash is cached.

    `fields` are column names in the order in which their values stand in a record (quotes and trades); a book has none.
    `options` are further parameters of a kind, as (name, value) pairs; each protocol names its own.
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


class RecordBuffer:
    """Records to be written to a store, as parallel lists: code of the symbol there, exchange time in ns, values.

    `values` is flat, record after record: a thousand tuples alive at once would keep the garbage collector busy and
    leave the processor's cache. `marks` holds pairs (number of records, time of receipt of all up to there). `counted`
    are messages without a record, and records without a message (`CountedAs`). The writer's thread owns it.
    """

    __slots__ = ("codes", "counted", "marks", "ts", "values")

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.ts: list[int] = []
        self.values: list[Value] = []
        self.marks: list[tuple[int, int]] = []
        self.counted: dict[CountedAs, int] = dict.fromkeys(get_args(CountedAs), 0)

    def add(self, code: int, ts: int, values: Values) -> None:
        """Append one record; the next `mark` sets its time of receipt."""
        self.codes.append(code)
        self.ts.append(ts)
        self.values.extend(values)

    def mark(self, received: int) -> None:
        """Set the time of receipt (ns since the epoch) of all records added since the last mark."""
        self.marks.append((len(self.codes), received))

    def clear(self) -> None:
        """Remove all but the counts. The lists stay the same objects, so their `append` may be cached."""
        self.codes.clear()
        self.ts.clear()
        self.values.clear()
        self.marks.clear()


class RecordSink(Protocol):
    """A store that records of subscriptions are written to; owned by the writer's thread."""

    @property
    def buffer(self) -> RecordBuffer:
        """The buffer that records are added to. Always the same object."""

    def publish(self) -> None:
        """Make all records in the buffer visible to readers."""

    def interrupted(self) -> None:
        """Mark the data as possibly out of date: the stream broke."""


class BarPage(NamedTuple):
    """A page of historical bars of one instrument, as lists of one length, oldest first.

    `start_ns` is in ns since the epoch. `next_end_ns`: earlier bars start before it; None if there are none. An unknown
    volume is NaN.
    """

    start_ns: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    next_end_ns: int | None = None
