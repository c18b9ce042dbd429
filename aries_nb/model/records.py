"""A tick on its way: what it is about, the record it becomes, and where it ends."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias, get_args

from msgspec import Struct

from aries_nb.model.columns import CountedAs, Kind, Value, Values

__all__ = ["CLEAR", "PUT", "BarPage", "Record", "RecordBuffer", "RecordSink", "Subscription"]


class Subscription(Struct, frozen=True, cache_hash=True):
    """What one stream is about. It is the key of every record, so its hash is kept.

    `fields` are column names in the order in which their values stand in a record (quotes and trades); a book has none.
    `options` are what a kind needs besides, as (name, value) pairs; each protocol names its own.
    """

    kind: Kind
    symbol: str
    fields: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


# One event of one stream, merged: every field of the subscription has its value of that moment. The number is exchange
# time in ns since the epoch (UTC). For a book the values are flat: price, bid size, ask size and so on, one triple for
# each level that changed; a size of 0 takes the level from that side. Plain tuples, for speed.
#
# For the kinds that are tables (`TABLE_KEYS`) the symbol of a subscription is an account, or "" for what belongs to the
# user. The first value is `PUT`, and the fields of one row follow, which replaces the row with the same key; or it is
# `CLEAR`, with fields without meaning: a full list begins, and rows of this subscription not put again are no more.
Record: TypeAlias = tuple[Subscription, int, Values]
PUT, CLEAR = 1, 0


class RecordBuffer:
    """Records on their way into a store, as parallel lists: the symbol's code there, exchange time in ns, values.

    `values` is flat, those of each record behind those before. A record is kept in no tuple of its own: a thousand
    such tuples alive at once keep the garbage collector busy and leave the processor's cache. `marks` holds pairs: up
    to how many records came at which time of receipt. `counted` are the messages that became no record, and the records
    that were no message (`CountedAs`). The writer's thread owns it.
    """

    __slots__ = ("codes", "counted", "marks", "ts", "values")

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.ts: list[int] = []
        self.values: list[Value] = []
        self.marks: list[tuple[int, int]] = []
        self.counted: dict[CountedAs, int] = dict.fromkeys(get_args(CountedAs), 0)

    def add(self, code: int, ts: int, values: Values) -> None:
        """Take one record; it counts as received when the next `mark` says."""
        self.codes.append(code)
        self.ts.append(ts)
        self.values.extend(values)

    def mark(self, received: int) -> None:
        """Everything added since the last mark was received at this time (ns since the epoch)."""
        self.marks.append((len(self.codes), received))

    def clear(self) -> None:
        """Empty it, but for the counts; the lists stay the same objects, so that what appends to them may be kept."""
        self.codes.clear()
        self.ts.clear()
        self.values.clear()
        self.marks.clear()


class RecordSink(Protocol):
    """Where the records of a subscription end; owned by the thread that writes."""

    @property
    def buffer(self) -> RecordBuffer:
        """Takes records; they need not be visible before `publish`. Always the same object."""

    def publish(self) -> None:
        """Make everything taken so far visible to readers."""

    def interrupted(self) -> None:
        """Note that what is held may be out of date: the stream broke."""


class BarPage(NamedTuple):
    """Bars of one instrument, as lists of one length, oldest first; `start_ns` in ns since the epoch.

    `next_end_ns`: there are more, which start before it; None where there are none. A volume not known is NaN.
    """

    start_ns: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    next_end_ns: int | None = None
