"""Quotes of an Aries market connection by columns: what many updates say, in a list of values for each field.

It makes the records that `market.AriesMarket` makes of the same updates one by one, in less time. Both ways leave the
same values in the streams (`streams.MarketStream`), so that either may take the next updates.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, compress
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec import UNSET

from aries_nb.brokers.aries.messages import EVENT_FIELDS, GreeksUpdate, Payload, QuoteUpdate, TradeUpdate
from aries_nb.brokers.aries.streams import QUOTE_COLUMN_TYPES, FieldsPart, MarketStream, StreamPart
from aries_nb.brokers.parsing import SECONDS_AS_MS_NS, each_field, rows_at
from aries_nb.model import (
    FLOAT64,
    INT64,
    Block,
    ColumnType,
    Counted,
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
}
_EARLIEST_MS = SECONDS_AS_MS_NS // 1_000_000
_FORMATS: Mapping[ColumnType, str] = {"number": FLOAT64, "time": INT64}  # of arrays; texts are in lists


class _UnusualError(Exception):
    """An update takes more than its values."""


class _Share(NamedTuple):
    """Updates for one group: the place of each one's stream there, and its number among those of all groups."""

    updates: Sequence[Any]
    which: Sequence[int]
    numbers: Sequence[int]


class ColumnReader:
    """Makes records of updates by columns, for the streams of these parts; made anew where one is added or removed."""

    def __init__(self, parts: Mapping[type[Payload], Mapping[str, Sequence[StreamPart]]]) -> None:
        self._groups: dict[tuple[str, ...], _Group] = {}
        # The streams that an update goes to, by its kind and symbol; without those of which one takes more than values.
        self._places = {
            kind: {
                symbol: [self._place(part.stream) for part in routed]
                for symbol, routed in by_symbol.items()
                if all(type(part) is FieldsPart and not part.times for part in routed)
            }
            for kind, by_symbol in parts.items()
        }
        for group in self._groups.values():
            group.subscriptions = tuple(stream.subscription for stream in group.streams)
        # Most often there is one group, and one stream a symbol: no need to deal out updates one by one.
        self._only = next(iter(self._groups.values())) if len(self._groups) == 1 else None
        own = [self._places[kind] for kind in self._only.kinds] if self._only else []
        is_simple = all(each == own[0] and all(len(found) == 1 for found in each.values()) for each in own)
        self._place_of = {symbol: found[0][1] for symbol, found in own[0].items()} if own and is_simple else {}

    def _place(self, stream: MarketStream) -> tuple[_Group, int]:
        fields = stream.subscription.fields
        group = self._groups.get(fields) or self._groups.setdefault(fields, _Group(stream))
        return group, group.place(stream)

    def read(self, updates: Sequence[Any]) -> ReceivedColumns | None:
        """Return the records of updates, and notices that count those without one; None if anything is unusual."""
        try:
            shares = [(group, share, _times(share.updates)) for group, share in self._shares(updates)]
        except (_UnusualError, KeyError):
            return None
        blocks: list[Block] = []
        notices: list[Counted] = []
        for group, share, ts in shares:
            block, rowless = group.block(share, ts)
            notices += [Counted(group.subscriptions[place], "rowless", count) for place, count in rowless.items()]
            if block is not None:
                blocks.append(block)
        return ReceivedColumns(_renumbered(blocks) if notices else blocks, notices, len(updates))

    def _shares(self, updates: Sequence[Any]) -> Iterable[tuple[_Group, _Share]]:
        """Deal updates out to the groups; raises KeyError if one is for no stream, or for one that is left out."""
        if self._only and self._place_of and self._only.kinds >= set(map(type, updates)):
            which = [self._place_of[update.symbol] for update in updates]
            return [(self._only, _Share(updates, which, range(len(updates))))]
        shares: dict[_Group, tuple[list[Any], list[int], list[int]]] = {}
        number = 0
        for update in updates:
            for group, place in self._places[update.__class__][update.symbol]:
                some, which, numbers = shares.get(group) or shares.setdefault(group, ([], [], []))
                some.append(update)
                which.append(place)
                numbers.append(number)
                number += 1
        return [(group, _Share(*share)) for group, share in shares.items()]


class _Group:
    """All streams of quotes with the same fields."""

    def __init__(self, first: MarketStream) -> None:
        self.streams: list[MarketStream] = []
        self.subscriptions: tuple[Subscription, ...] = ()
        self._known: dict[int, int] = {}  # places of streams, by their ids
        # By kind, the part of a stream's row that it fills: its place among the parts, and that of the first stream.
        self._parts = {part.update: (at, part) for at, part in enumerate(first.parts) if isinstance(part, FieldsPart)}
        self.kinds = self._parts.keys()
        fields = first.subscription.fields
        self._types = [QUOTE_COLUMN_TYPES[field] for field in fields]
        self._columns = [each_field(EVENT_FIELDS[field]) for field in fields]

    def place(self, stream: MarketStream) -> int:
        """Return the place of a stream in `streams`, to which it is added where it is new."""
        place = self._known.setdefault(id(stream), len(self.streams))
        if place == len(self.streams):
            self.streams.append(stream)
        return place

    def block(self, share: _Share, ts: Sequence[int]) -> tuple[Block | None, Counter[int]]:
        """Return the records of a share, None without any, and the number of updates without one by their stream.

        The streams get their newest values; `ts` are the times of the updates, in ns.
        """
        kinds = set(map(type, share.updates))
        rowless: Counter[int] = Counter()
        columns = self._by_field(share, ts, *kinds) if len(kinds) == 1 else []
        if not columns:
            rows = self._merged(share, ts)
            if None in rows:
                rowless.update(place for place, row in zip(share.which, rows, strict=True) if row is None)
                has_row = [row is not None for row in rows]
                share, ts = _Share(*([*compress(each, has_row)] for each in share)), [*compress(ts, has_row)]
            transposed = zip(*filter(None, rows), strict=True)
            columns = [_made(type_, column) for type_, column in zip(self._types, transposed, strict=False)]
        if not ts:
            return None, rowless
        last = dict(zip(share.which, range(len(ts)), strict=True))
        return Block(self.subscriptions, share.which, array(INT64, ts), columns, share.numbers, last), rowless

    def _by_field(self, share: _Share, ts: Sequence[int], kind: type[Payload]) -> list[ValueColumn]:
        """Return by columns the values of updates of one kind; [] if any makes no record."""
        at, part = self._parts[kind]
        events, fields = [update.data for update in share.updates], range(part.start, part.stop)
        read = {field: self._columns[field](events) for field in fields}
        made: dict[int, ValueColumn] = {}
        for field, column in read.items():
            with suppress(TypeError):  # some lack it
                made[field] = _made(self._types[field], column)
        if not made and (UNSET,) * len(fields) in zip(*read.values(), strict=True):
            return []
        last = dict(zip(share.which, range(len(ts)), strict=True))
        known = {place: self.streams[place].values for place in last}
        for field, type_ in enumerate(self._types):
            if field not in made:
                before = {place: values[field] for place, values in known.items()}
                read[field] = _filled(read.get(field), share.which, before)
                made[field] = _made(type_, read[field])
        rows = rows_at([read[field] for field in range(len(self._types))], last.values())
        for (place, newest), row in zip(last.items(), rows, strict=True):
            stream = self.streams[place]
            stream.values = row
            stream.parts[at].ts = ts[newest]
        return [made[field] for field in range(len(self._types))]

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


def _made(type_: ColumnType, column: Sequence[Any]) -> ValueColumn:
    """Return the values of a field as a block has them. Raises TypeError if any is missing."""
    if type_ == "text":
        "".join(column)
        return list(column)
    return array(_FORMATS[type_], column)


def _times(updates: Sequence[Any]) -> list[int]:
    """Return the exchange times of updates in ns since the epoch. Raises _UnusualError for one that is none in ms."""
    kinds = set(map(type, updates))
    if kinds == {QuoteUpdate}:
        times = [update.data.quoteTimestamp for update in updates]
    else:
        times = [_TIME_OF[update.__class__](update) for update in updates]
    if not all(times):
        times = [ms or update.timestamp for ms, update in zip(times, updates, strict=True)]
    if min(times) < _EARLIEST_MS:
        raise _UnusualError
    return [ms * 1_000_000 for ms in times]


def _renumbered(blocks: Sequence[Block]) -> list[Block]:
    """Return blocks whose records are numbered without the updates between them that have none."""
    places = {
        number: place for place, number in enumerate(sorted(chain.from_iterable(each.numbers for each in blocks)))
    }
    return [each._replace(numbers=[places[number] for number in each.numbers]) for each in blocks]
