"""Quotes and trades of an Aries connection by columns: what many updates say, in a list of values for each field.

It makes the records that `market.AriesMarket` makes of the same updates one by one, in less time. Both ways leave the
same values in the streams (`streams.MarketStream`), so that either may take the next updates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from math import isfinite
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from msgspec import UNSET, Struct, defstruct

from aries_nb.brokers.aries.messages import (
    TIME_AND_SALES_FIELDS,
    GreeksUpdate,
    Payload,
    QuoteUpdate,
    TimeAndSales,
    TimeAndSalesUpdate,
    TradeUpdate,
)
from aries_nb.brokers.aries.prints import LIVE, PRINT_COLUMN_TYPES, UNKNOWN_SIDE, PrintPart
from aries_nb.brokers.aries.streams import QUOTE_COLUMN_TYPES, FieldsPart, MarketStream, StreamPart
from aries_nb.brokers.columns import (
    EARLIEST_MS,
    FORMATS,
    column_values,
    each_of,
    in_nanoseconds,
    renumbered,
    rows_at,
    without_empty_sides,
)
from aries_nb.brokers.parsing import MAX_INTEGER, millis, unix_ns
from aries_nb.model import NOT_A_TIME, Block, Counted, CountedAs, ReceivedColumns, Subscription, ValueColumn, Values

__all__ = ["ColumnReader"]

_TIME_OF: Mapping[type[Payload], Callable[[Any], Any]] = {
    QuoteUpdate: attrgetter("data.quoteTimestamp"),
    TradeUpdate: attrgetter("data.tradeTimestamp"),
    GreeksUpdate: lambda _: UNSET,
    TimeAndSalesUpdate: lambda update: _sale_times([update])[0],
}
_SIZES = each_of(("size",))
_QUOTE_TIMES, _SALE_TIMES = each_of(("data.quoteTimestamp",)), each_of(("data.tradeTimestamp",))
_MS_DIGITS, _LEAST_MS, _MS_END = 13, 10**12, 9 * 10**12  # of times from 2001 to 2255

_Counted: TypeAlias = Mapping[tuple[int, CountedAs], int]  # updates without a record, by the place of their stream


class _UnusualError(Exception):
    """An update takes more than its values."""


class _Share(NamedTuple):
    """Updates for one group: the place of each one's stream there, and its number among those of all groups."""

    updates: Sequence[Any]
    which: Sequence[int]
    numbers: Sequence[int]
    kinds: set[type[Payload]]

    def chosen(self, is_chosen: Sequence[bool]) -> _Share:
        """Return those of the updates that are chosen."""
        updates, which, numbers = ([*compress(each, is_chosen)] for each in self[:3])
        return _Share(updates, which, numbers, set(map(type, updates)))


class ColumnReader:
    """Makes records of updates by columns, for the streams of these parts; made anew where one is added or removed."""

    def __init__(self, parts: Mapping[type[Payload], Mapping[str, Sequence[StreamPart]]]) -> None:
        self._groups: dict[tuple[str, ...], _Group] = {}
        # The streams that an update goes to, by its kind and symbol; without those of which one takes more than values.
        self._places = {
            kind: {
                symbol: [self._place(part) for part in routed]
                for symbol, routed in by_symbol.items()
                if all(_is_usual(part) for part in routed)
            }
            for kind, by_symbol in parts.items()
        }
        # Most often all updates of a kind go to one group, and one stream a symbol: no need to deal them out.
        self._only: dict[type[Payload], tuple[_Group, dict[str, int]]] = {}
        for kind, places in self._places.items():
            groups = list({group for found in places.values() for group, _ in found})
            if len(groups) == 1 and all(len(found) == 1 for found in places.values()):
                only = groups[0], {symbol: found[0][1] for symbol, found in places.items()}
                self._only[kind] = next((known for known in self._only.values() if known == only), only)
        for group in self._groups.values():
            group.subscriptions = tuple(stream.subscription for stream in group.streams)

    def _place(self, part: StreamPart) -> tuple[_Group, int]:
        kind, fields = part.stream.subscription.kind, part.stream.subscription.fields
        group = self._groups.get((kind, *fields))
        if group is None:
            group = _Prints() if isinstance(part, PrintPart) else _Quotes(part.stream)
            self._groups[kind, *fields] = group
        return group, group.place(part.stream)

    def read(self, updates: Sequence[Any], ends: Sequence[int]) -> ReceivedColumns | None:
        """Return the records of updates, and notices that count those without one; None if anything is unusual.

        `ends` has, for each frame, the number of updates in it and in those before it.
        """
        try:
            dealt, ends = self._shares(updates, ends)
            shares = [(group, share, _times(share)) for group, share in dealt]
        except (_UnusualError, KeyError):
            return None
        blocks: list[Block] = []
        notices: list[Counted] = []
        for group, share, ts in shares:
            block, counted = group.block(share, ts)
            notices += [Counted(group.subscriptions[at], what, count) for (at, what), count in counted.items()]
            if block is not None:
                blocks.append(block)
        if notices:
            blocks, ends = renumbered(blocks, ends)
        return ReceivedColumns(blocks, notices, len(updates), ends)

    def _shares(
        self, updates: Sequence[Any], ends: Sequence[int]
    ) -> tuple[Iterable[tuple[_Group, _Share]], Sequence[int]]:
        """Deal updates out to the groups; return the shares, and `ends` in their numbers.

        Raises KeyError if an update is for no stream, or for one that is left out.
        """
        kinds = set(map(type, updates))
        if kinds <= self._only.keys():
            kinds_of: dict[int, set[type[Payload]]] = {}
            for kind in kinds:
                kinds_of.setdefault(id(self._only[kind]), set()).add(kind)
            return [self._share_of(updates, own, is_all=len(kinds_of) == 1) for own in kinds_of.values()], ends
        shares: dict[_Group, tuple[list[Any], list[int], list[int]]] = {}
        number, numbers_before = 0, [0]
        for update in updates:
            for group, place in self._places[update.__class__][update.symbol]:
                some, which, numbers = shares.get(group) or shares.setdefault(group, ([], [], []))
                some.append(update)
                which.append(place)
                numbers.append(number)
                number += 1
            numbers_before.append(number)
        dealt = [(group, _Share(*share, set(map(type, share[0])))) for group, share in shares.items()]
        return dealt, [numbers_before[end] for end in ends]

    def _share_of(self, updates: Sequence[Any], kinds: set[type[Payload]], *, is_all: bool) -> tuple[_Group, _Share]:
        """Return the updates of kinds that go to one group alone."""
        group, place_of = self._only[next(iter(kinds))]
        numbers: Sequence[int] = range(len(updates))
        if not is_all:
            numbers = [number for number, update in enumerate(updates) if update.__class__ in kinds]
            updates = [updates[number] for number in numbers]
        return group, _Share(updates, [place_of[update.symbol] for update in updates], numbers, kinds)


class _Group(ABC):
    """All streams of a kind with the same fields."""

    def __init__(self) -> None:
        self.streams: list[MarketStream] = []
        self.subscriptions: tuple[Subscription, ...] = ()
        self._known: dict[int, int] = {}  # places of streams, by their ids

    def place(self, stream: MarketStream) -> int:
        """Return the place of a stream in `streams`, to which it is added where it is new."""
        place = self._known.setdefault(id(stream), len(self.streams))
        if place == len(self.streams):
            self.streams.append(stream)
        return place

    @abstractmethod
    def block(self, share: _Share, ts: array[int]) -> tuple[Block | None, _Counted]:
        """Return the records of a share, None without any, and the numbers of updates without one.

        The streams get their newest values; `ts` are the times of the updates, in ns.
        """

    def _made(
        self, share: _Share, ts: array[int], last: Mapping[int, int], columns: Sequence[ValueColumn]
    ) -> Block | None:
        return Block(self.subscriptions, share.which, ts, columns, share.numbers, last) if ts else None


class _Prints(_Group):
    """Streams of trades, of which each update is one: made one by one where any may repeat or correct another."""

    def block(self, share: _Share, ts: array[int]) -> tuple[Block | None, _Counted]:
        """Return the records of prints, as any group does."""
        last = dict(zip(share.which, range(len(ts)), strict=True))
        columns = self._new(share, ts)
        if columns is not None:
            return self._made(share, ts, last, columns), {}
        counted: Counter[tuple[int, CountedAs]] = Counter()
        rows: list[Values] = []
        has_row: list[bool] = []
        for update, place, ns in zip(share.updates, share.which, ts, strict=True):
            (part,) = self.streams[place].parts
            values = part.merge(update.data)
            is_repeated = values is not None and part.repeats(ns, values)
            has_row.append(values is not None and not is_repeated)
            if values is None or is_repeated:
                counted[place, "duplicated" if is_repeated else "rowless"] += 1
                continue
            part.ts, part.stream.values = ns, values
            rows.append(values)
        if counted:
            share, ts = share.chosen(has_row), array(ts.typecode, compress(ts, has_row))
            last = dict(zip(share.which, range(len(ts)), strict=True))
        formats = [FORMATS.get(PRINT_COLUMN_TYPES[field], "") for field in self.subscriptions[0].fields]
        made = [column_values(*each) for each in zip(formats, zip(*rows, strict=True), strict=True)] if rows else []
        return self._made(share, ts, last, made), counted

    def _new(self, share: _Share, ts: array[int]) -> list[ValueColumn] | None:
        """Return the values of prints of which each has all fields, and a number of its own; None if any does not."""
        try:
            columns, numbers, sizes = self._whole([update.data for update in share.updates])
        except (TypeError, ValueError):  # some are missing, or no usual numbers
            return None
        taken: dict[int, list[int]] = {}
        for at, place in enumerate(share.which):
            (taken.get(place) or taken.setdefault(place, [])).append(at)
        parts: list[tuple[PrintPart, list[int]]] = []
        for place, places in taken.items():
            (part,) = self.streams[place].parts
            assert isinstance(part, PrintPart)
            parts.append((part, places))
        if any(part.knows_any([numbers[at] for at in places]) for part, places in parts if numbers):
            return None
        rows = list(zip(*columns, strict=True))
        for part, places in parts:
            part.take_new([(ts[at], rows[at]) for at in places], [sizes[at] for at in places])
        return columns

    def _whole(self, sales: Sequence[TimeAndSales]) -> tuple[list[ValueColumn], Sequence[int], Sequence[float]]:
        """Return the values of prints, their numbers, () without that column, and their sizes.

        Raises TypeError where one lacks a field, ValueError where a number is none, or not as brokers write one.
        """
        fields = self.subscriptions[0].fields
        numbers: Sequence[int] = ()
        columns: list[ValueColumn] = []
        for field in fields:
            name, type_ = TIME_AND_SALES_FIELDS[field], PRINT_COLUMN_TYPES[field]
            if not name:
                columns.append([UNKNOWN_SIDE if field == "side" else LIVE] * len(sales))
                continue
            (texts,) = each_of((name,))(sales)
            values: Sequence[Any] = texts
            if type_ == "number":
                values = _floats(texts)
            elif type_ == "integer":
                values = numbers = _integers(texts)
            columns.append(column_values(FORMATS.get(type_, ""), values))
        sizes = columns[fields.index("size")] if "size" in fields else _floats(_SIZES(sales)[0])
        return columns, numbers, sizes


def _sale_times(updates: Sequence[Any]) -> list[Any]:
    """Return the times of prints in ms, UNSET for one that has none."""
    (values,) = _SALE_TIMES(updates)
    try:
        together = "".join(values)
    except TypeError:  # not all are texts
        together = ""
    if together.isdecimal() and together.isascii() and set(map(len, values)) == {_MS_DIGITS}:  # most often
        times = list(map(int, values))
        if min(times) >= _LEAST_MS and max(times) < _MS_END:
            return times
    return [millis(value) or UNSET for value in values]


def _floats(texts: Sequence[str]) -> list[float]:
    """Return numbers written as texts. Raises ValueError or TypeError if any is not, or not as brokers write one."""
    together = "".join(texts)
    numbers = list(map(float, texts))
    if "_" in together or not together.isascii() or not all(map(isfinite, numbers)):
        raise ValueError
    return numbers


def _integers(texts: Sequence[str]) -> list[int]:
    """Return numbers of trades. Raises ValueError or TypeError if any text is none that a column can hold."""
    together = "".join(texts)
    if not together.isdecimal() or not together.isascii() or max(map(len, texts)) > 19:
        raise ValueError
    numbers = list(map(int, texts))
    if max(numbers) > MAX_INTEGER or min(numbers) == 0:
        raise ValueError
    return numbers


class _Fields(NamedTuple):
    """The part of a quotes stream's row that one kind of update fills: these fields of the row."""

    kind: type[Any]
    fields: range
    names: Sequence[str]  # by the broker
    read: Callable[[Sequence[Any]], tuple[list[Any], ...]]
    is_time: Sequence[bool]  # of each field
    known: type[Struct]  # data with what is known before the first update

    @classmethod
    def of(cls, part: StreamPart) -> _Fields:
        fields = part.stream.subscription.fields[part.start : part.stop]
        is_time = [QUOTE_COLUMN_TYPES[field] == "time" for field in fields]
        known = defstruct("Known", dict.fromkeys(part.names), gc=False)
        read = each_of(tuple(f"data.{name}" for name in part.names))
        return cls(part.update, range(part.start, part.stop), part.names, read, is_time, known)

    def columns(self, updates: Sequence[Any]) -> list[list[Any]]:
        """Return the values of each field, UNSET where an update lacks it, times in ns."""
        return [
            [value if value is UNSET else unix_ns(value) or NOT_A_TIME for value in column] if is_time else column
            for column, is_time in zip(self.read(updates), self.is_time, strict=True)
        ]

    def is_rowless(self, update: Any) -> bool:  # noqa: ANN401 - of the part's kind
        """Return whether an update has none of the fields."""
        return all(value is UNSET for (value,) in self.read([update]))

    def before(self, row: Values) -> Any:  # noqa: ANN401 - of the part's kind
        """Return an update with the values of a stream's row."""
        values = zip(self.names, row[self.fields.start : self.fields.stop], strict=True)
        return self.kind("", self.known(**dict(values)))


class _Quotes(_Group):
    """Streams of quotes."""

    def __init__(self, first: MarketStream) -> None:
        super().__init__()
        self._parts = [_Fields.of(part) for part in first.parts]
        self._sides = first.sides
        self._part_of = {part.update: at for at, part in enumerate(first.parts)}
        self._formats = [FORMATS.get(QUOTE_COLUMN_TYPES[field], "") for field in first.subscription.fields]

    def block(self, share: _Share, ts: array[int]) -> tuple[Block | None, _Counted]:
        """Return the records of quotes, as any group does."""
        if not ts:
            return None, {}
        which = share.which
        last = dict(zip(which, range(len(ts)), strict=True))
        known = {place: self.streams[place].values for place in last}
        newest = self._newest(share, known)
        values: list[Sequence[Any]] = [()] * len(self._formats)
        made: list[ValueColumn | None] = [None] * len(self._formats)
        for at, updates in newest.items():
            part = self._parts[at]
            columns = part.columns(updates)
            for field, column in zip(part.fields, columns, strict=True):
                values[field], made[field] = column, _made(self._formats[field], column)
            is_none_whole = not any(made[part.fields.start : part.fields.stop])
            if is_none_whole and (UNSET,) * len(columns) in zip(*columns, strict=True):
                return self._without_rowless(share, ts)
        for field, format_ in enumerate(self._formats):
            if made[field] is None:
                before = {place: row[field] for place, row in known.items()}
                values[field] = _filled(values[field], which, before) if values[field] else [before[at] for at in which]
                made[field] = column_values(format_, values[field])
        for place, row in zip(last, rows_at(values, last.values()), strict=True):
            self.streams[place].values = row
        self._note_times(newest, last, ts)
        whole: list[ValueColumn] = [column for column in made if column is not None]
        return self._made(share, ts, last, without_empty_sides(whole, self._sides)), {}

    def _note_times(self, newest: Mapping[int, Sequence[Any]], last: Mapping[int, int], ts: Sequence[int]) -> None:
        """Note the time of the newest update of each part of each stream."""
        for part, updates in newest.items():
            for place, at in last.items():
                if len(newest) == 1:
                    self.streams[place].parts[part].ts = ts[at]
                elif updates[at].symbol:  # else it came before
                    self.streams[place].parts[part].ts = _time(updates[at])

    def _newest(self, share: _Share, known: Mapping[int, Values]) -> Mapping[int, Sequence[Any]]:
        """Return for each record the newest update of its stream, of each part of a row that any update has.

        Before the first update of a part it is one with the values in `known`, without a symbol.
        """
        if len(share.kinds) == 1:
            return {self._part_of[kind]: share.updates for kind in share.kinds}
        parts = {self._part_of[kind]: at for at, kind in enumerate(share.kinds)}
        at_of = {kind: at for at, kind in enumerate(share.kinds)}
        newest = {place: [self._parts[part].before(row) for part in parts] for place, row in known.items()}
        found: list[tuple[Any, ...]] = []
        for place, update in zip(share.which, share.updates, strict=True):
            own = newest[place]
            own[at_of[update.__class__]] = update
            found.append(tuple(own))
        return dict(zip(parts, zip(*found, strict=True), strict=True))

    def _without_rowless(self, share: _Share, ts: array[int]) -> tuple[Block | None, _Counted]:
        """Return the block without those updates that have none of the fields, and count these."""
        has_row = [not self._parts[self._part_of[update.__class__]].is_rowless(update) for update in share.updates]
        block, counted = self.block(share.chosen(has_row), array(ts.typecode, compress(ts, has_row)))
        rowless = compress(share.which, [not each for each in has_row])
        return block, Counter(counted) + Counter((place, "rowless") for place in rowless)


def _made(format: str, column: Sequence[Any]) -> ValueColumn | None:  # noqa: A002 - as array has it
    """Return a field's values as a block has them, None if some lack it."""
    try:
        return column_values(format, column)
    except TypeError:
        return None


def _filled(column: Sequence[Any], which: Sequence[int], known: dict[int, Any]) -> list[Any]:
    """Return a column where an event that lacks the field has the stream's value before, at first that in `known`."""
    filled: list[Any] = []
    for place, value in zip(which, column, strict=True):
        if value is UNSET:
            filled.append(known[place])
        else:
            filled.append(value)
            known[place] = value
    return filled


def _is_usual(part: StreamPart) -> bool:
    """Whether rows of a part take no more than the values of updates."""
    return type(part) is FieldsPart or isinstance(part, PrintPart)


def _time(update: Any) -> Any:  # noqa: ANN401 - of any kind
    ms = _TIME_OF[update.__class__](update) or update.timestamp
    return ms * 1_000_000


def _times(share: _Share) -> array[int]:
    """Return the exchange times of updates in ns since the epoch. Raises _UnusualError for one that is none in ms."""
    updates = share.updates
    if share.kinds == {QuoteUpdate}:
        (times,) = _QUOTE_TIMES(updates)
    elif share.kinds == {TimeAndSalesUpdate}:
        times = _sale_times(updates)
    else:
        times = [
            update.data.quoteTimestamp if update.__class__ is QuoteUpdate else _TIME_OF[update.__class__](update)
            for update in updates
        ]
    if not all(times):
        times = [ms or update.timestamp for ms, update in zip(times, updates, strict=True)]
    if min(times) < EARLIEST_MS:
        raise _UnusualError
    return in_nanoseconds(times)
