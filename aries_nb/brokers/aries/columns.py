"""Quotes and trades of an Aries connection by columns: what many updates say, in a list of values for each field.

It makes the records that `market.AriesMarket` makes of the same updates one by one, in less time. Both ways leave the
same values in the streams (`streams.MarketStream`), so that either may take the next updates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, compress
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from msgspec import UNSET

from aries_nb.brokers.aries.messages import (
    EVENT_FIELDS,
    GreeksUpdate,
    Payload,
    QuoteUpdate,
    TimeAndSalesUpdate,
    TradeUpdate,
)
from aries_nb.brokers.aries.prints import PRINT_COLUMN_TYPES, PrintPart
from aries_nb.brokers.aries.streams import QUOTE_COLUMN_TYPES, FieldsPart, MarketStream, StreamPart
from aries_nb.brokers.parsing import SECONDS_AS_MS_NS, column_values, each_field, millis, rows_at
from aries_nb.model import (
    FLOAT64,
    INT64,
    Block,
    ColumnType,
    Counted,
    CountedAs,
    ReceivedColumns,
    Subscription,
    ValueColumn,
    Values,
)

__all__ = ["ColumnReader"]

_TIME_OF: Mapping[type[Payload], Callable[[Any], Any]] = {
    QuoteUpdate: attrgetter("data.quoteTimestamp"),
    TradeUpdate: attrgetter("data.tradeTimestamp"),
    GreeksUpdate: lambda _: UNSET,
    TimeAndSalesUpdate: lambda update: millis(update.data.tradeTimestamp) or UNSET,
}
_EARLIEST_MS = SECONDS_AS_MS_NS // 1_000_000
_FORMATS: Mapping[ColumnType, str] = {
    "number": FLOAT64,
    "time": INT64,
    "integer": INT64,
}  # of arrays; texts are in lists


_Counted: TypeAlias = Counter[tuple[int, CountedAs]]  # updates without a record, by the place of their stream


class _UnusualError(Exception):
    """An update takes more than its values."""


class _Share(NamedTuple):
    """Updates for one group: the place of each one's stream there, and its number among those of all groups."""

    updates: Sequence[Any]
    which: Sequence[int]
    numbers: Sequence[int]

    def chosen(self, is_chosen: Sequence[bool]) -> _Share:
        """Return those of the updates that are chosen."""
        return _Share(*([*compress(each, is_chosen)] for each in self))


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
            shares = [(group, share, _times(share.updates)) for group, share in dealt]
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
            blocks, ends = _renumbered(blocks, ends)
        return ReceivedColumns(blocks, notices, len(updates), ends)

    def _shares(
        self, updates: Sequence[Any], ends: Sequence[int]
    ) -> tuple[Iterable[tuple[_Group, _Share]], Sequence[int]]:
        """Deal updates out to the groups; return the shares, and `ends` in their numbers.

        Raises KeyError if an update is for no stream, or for one that is left out.
        """
        only = [self._only.get(kind) for kind in set(map(type, updates))]
        if only[0] is not None and all(each is only[0] for each in only):
            group, place_of = only[0]
            which = [place_of[update.symbol] for update in updates]
            return [(group, _Share(updates, which, range(len(updates))))], ends
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
        return [(group, _Share(*share)) for group, share in shares.items()], [numbers_before[end] for end in ends]


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
    def block(self, share: _Share, ts: Sequence[int]) -> tuple[Block | None, _Counted]:
        """Return the records of a share, None without any, and the numbers of updates without one.

        The streams get their newest values; `ts` are the times of the updates, in ns.
        """

    def _made(
        self, share: _Share, ts: Sequence[int], last: Mapping[int, int], columns: Sequence[ValueColumn]
    ) -> Block | None:
        return Block(self.subscriptions, share.which, array(INT64, ts), columns, share.numbers, last) if ts else None


class _Prints(_Group):
    """Streams of trades, of which each update is one: made one by one, as any may repeat or correct an earlier one."""

    def block(self, share: _Share, ts: Sequence[int]) -> tuple[Block | None, _Counted]:
        """Return the records of prints, as any group does."""
        counted: _Counted = Counter()
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
            share, ts = share.chosen(has_row), [*compress(ts, has_row)]
        formats = [_FORMATS.get(PRINT_COLUMN_TYPES[field], "") for field in self.subscriptions[0].fields]
        columns = [column_values(*each) for each in zip(formats, zip(*rows, strict=True), strict=True)] if rows else []
        last = dict(zip(share.which, range(len(ts)), strict=True))
        return self._made(share, ts, last, columns), counted


class _Quotes(_Group):
    """Streams of quotes."""

    def __init__(self, first: MarketStream) -> None:
        super().__init__()
        # By kind, the part of a stream's row that it fills: its place among the parts, and that of the first stream.
        self._parts = {part.update: (at, part) for at, part in enumerate(first.parts) if isinstance(part, FieldsPart)}
        fields = first.subscription.fields
        self._formats = [_FORMATS.get(QUOTE_COLUMN_TYPES[field], "") for field in fields]
        self._columns = [each_field(EVENT_FIELDS[field]) for field in fields]

    def block(self, share: _Share, ts: Sequence[int]) -> tuple[Block | None, _Counted]:
        """Return the records of quotes, as any group does."""
        kinds = set(map(type, share.updates))
        counted: _Counted = Counter()
        last = dict(zip(share.which, range(len(ts)), strict=True))
        columns = self._by_field(share, ts, last, *kinds) if len(kinds) == 1 else []
        if not columns:
            rows = self._merged(share, ts)
            if None in rows:
                counted.update((place, "rowless") for place, row in zip(share.which, rows, strict=True) if row is None)
                has_row = [row is not None for row in rows]
                share, ts = share.chosen(has_row), [*compress(ts, has_row)]
            transposed = zip(*filter(None, rows), strict=True)
            columns = [column_values(*each) for each in zip(self._formats, transposed, strict=False)]
            last = dict(zip(share.which, range(len(ts)), strict=True))
        return self._made(share, ts, last, columns), counted

    def _by_field(
        self, share: _Share, ts: Sequence[int], last: Mapping[int, int], kind: type[Payload]
    ) -> list[ValueColumn]:
        """Return by columns the values of updates of one kind; [] if any makes no record.

        `last` has the place of each stream's newest update.
        """
        at, part = self._parts[kind]
        events, fields = [update.data for update in share.updates], range(part.start, part.stop)
        read = {field: self._columns[field](events) for field in fields}
        made: dict[int, ValueColumn] = {}
        for field, column in read.items():
            with suppress(TypeError):  # some lack it
                made[field] = column_values(self._formats[field], column)
        if not made and (UNSET,) * len(fields) in zip(*read.values(), strict=True):
            return []
        known = {place: self.streams[place].values for place in last}
        for field, format_ in enumerate(self._formats):
            if field not in made:
                before = {place: values[field] for place, values in known.items()}
                read[field] = _filled(read.get(field), share.which, before)
                made[field] = column_values(format_, read[field])
        rows = rows_at([read[field] for field in range(len(self._formats))], last.values())
        for (place, newest), row in zip(last.items(), rows, strict=True):
            stream = self.streams[place]
            stream.values = row
            stream.parts[at].ts = ts[newest]
        return [made[field] for field in range(len(self._formats))]

    def _merged(self, share: _Share, ts: Sequence[int]) -> list[Values | None]:
        """Return the values of each record, one after the other; None where an update makes none."""
        readers = {kind: (at, part.read, part.start, part.stop) for kind, (at, part) in self._parts.items()}
        rows: list[Values | None] = []
        for update, place, ns in zip(share.updates, share.which, ts, strict=True):
            at, read, start, stop = readers[update.__class__]
            stream, new = self.streams[place], read(update.data)
            before = stream.values
            if UNSET in new:
                known = before[start:stop]
                if new == (UNSET,) * len(new):
                    rows.append(None)
                    continue
                new = tuple([old if value is UNSET else value for old, value in zip(known, new, strict=True)])
            stream.values = row = before[:start] + new + before[stop:]
            stream.parts[at].ts = ns
            rows.append(row)
        return rows


def _filled(column: Sequence[Any] | None, which: Sequence[int], known: dict[int, Any]) -> list[Any]:
    """Return a column where an event that lacks the field has the stream's value before, at first the one in `known`.

    Without a column all events lack the field.
    """
    if column is None:
        return [known[place] for place in which]
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
    return isinstance(part, PrintPart) or (type(part) is FieldsPart and not part.times)


def _times(updates: Sequence[Any]) -> list[int]:
    """Return the exchange times of updates in ns since the epoch. Raises _UnusualError for one that is none in ms."""
    try:
        times = [update.data.quoteTimestamp for update in updates]
    except AttributeError:  # others than quotes
        times = [_TIME_OF[update.__class__](update) for update in updates]
    if not all(times):
        times = [ms or update.timestamp for ms, update in zip(times, updates, strict=True)]
    if min(times) < _EARLIEST_MS:
        raise _UnusualError
    return [ms * 1_000_000 for ms in times]


def _renumbered(blocks: Sequence[Block], ends: Sequence[int]) -> tuple[list[Block], list[int]]:
    """Return blocks and ends of frames numbered without the updates between the records that have none."""
    numbers = sorted(chain.from_iterable(each.numbers for each in blocks))
    places = {number: place for place, number in enumerate(numbers)}
    renumbered = [each._replace(numbers=[places[number] for number in each.numbers]) for each in blocks]
    return renumbered, [bisect_left(numbers, end) for end in ends]
