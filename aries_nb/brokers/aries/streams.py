"""Streams of an Aries market connection: the values of each subscription, and the options of requests.

An event carries only fields that changed, so its values are merged with those known. Subscriptions of one symbol share
one request: the union of their fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from operator import attrgetter
from typing import Any, ClassVar, TypeAlias

from msgspec import UNSET, Struct

from aries_nb.brokers.aries.messages import (
    GREEKS_FIELDS,
    OLD_TRADE_FIELDS,
    QUOTE_FIELDS,
    TIME_AND_SALES_FIELDS,
    TRADE_FIELDS,
    Greeks,
    GreeksUpdate,
    Payload,
    Quote,
    QuoteUpdate,
    Trade,
    TradeUpdate,
    field_types,
)
from aries_nb.brokers.parsing import unix_ns
from aries_nb.model import MISSING, NOT_A_TIME, ColumnType, Subscription, Value, Values
from aries_nb.model.contracts import is_option_symbol
from aries_nb.model.prices import FROM_SIDES, SIZE_OF, empty_sides, sides_of

__all__ = [
    "QUOTE_COLUMN_TYPES",
    "MarketStream",
    "RequestOptions",
    "StreamPart",
    "is_everything",
    "item_to_subscribe",
    "item_to_unsubscribe",
    "options_of",
]


# Request for one symbol: option of the subscribe item → its fields, sorted; no fields where it is a switch.
RequestOptions: TypeAlias = dict[str, tuple[str, ...]]

_PARTS: tuple[tuple[type[Payload], type[Struct], dict[str, str]], ...] = (
    (QuoteUpdate, Quote, dict(QUOTE_FIELDS)),
    (TradeUpdate, Trade, dict(TRADE_FIELDS)),
    (GreeksUpdate, Greeks, dict(GREEKS_FIELDS)),
)
QUOTE_COLUMN_TYPES: dict[str, ColumnType] = {
    column: field_types(struct)[name] for _, struct, fields in _PARTS for column, name in fields.items()
}

# The fields that "*" stands for in each option, as far as documented.
_EVERYTHING: Mapping[str, frozenset[str]] = {
    "quoteFields": frozenset(QUOTE_FIELDS.values()),
    "tradeFields": frozenset(TRADE_FIELDS.values()) - OLD_TRADE_FIELDS,
    "timeAndSalesFields": frozenset({*TIME_AND_SALES_FIELDS.values(), "tradeTimestamp"}) - {""},
    "greeksFields": frozenset(GREEKS_FIELDS.values()),
}

SIDES = ("bid_price", "ask_price")
_HIDDEN = (*SIDES, *map(SIZE_OF.__getitem__, SIDES))  # what the middle and the spread follow from


class StreamPart(ABC):
    """The part of a stream's row that one kind of event carries: its values from index `start` up to before `stop`.

    `read` takes the values from an event's data, whose fields have these `names`, and `merge` completes them to a whole
    row with the values known from earlier events. `ts` is the exchange time of the latest event, in ns. After a request
    the server sends a snapshot, which may repeat the newest row. `ping_number` is that of the ping sent after the
    request, 0 once it is answered. Until then, one event with the known time and values counts as duplicated and makes
    no row.
    """

    __slots__ = (
        "last",
        "missing",
        "names",
        "needs_merge",
        "ping_number",
        "read",
        "start",
        "stop",
        "stream",
        "ts",
        "update",
    )
    DERIVED: ClassVar[tuple[str, ...]] = ("read",)

    def __init__(self, stream: MarketStream, update: type[Payload], missing: Values, *, start: int = 0) -> None:
        self.stream = stream
        self.update = update
        self.missing = missing
        self.start = start
        self.stop = start + len(missing)
        self.needs_merge = True
        self.read: Callable[[Any], Any] = _itself
        self.names: Sequence[str] = ()
        self.last: Values = ()
        self.ts = 0
        self.ping_number = 0
        stream.values += missing

    def derive(self, _: object) -> None:
        """Make what a noted state has not."""
        self.read = _itself

    @property
    def known(self) -> Values:
        """The part's values as of the latest event on this connection; missing values (`missing`) before the first."""
        return self.stream.values[self.start : self.stop]

    @abstractmethod
    def merge(self, new: Any) -> Values | None:  # noqa: ANN401 - what `read` gave
        """Return the stream's whole row after an event, whose values `new` come from `read`.

        Returns None if the event has none of the requested fields.
        """

    def forget(self) -> None:
        """Save the part's values as `last`, for comparison with the next connection's snapshot; called after a break.

        `MarketStream.forget` calls it just before it sets the whole row to missing values. If all values of the part
        are missing, `last` stays as it was. `repeats` compares the part's first values on the new connection with
        `last`, to recognise a snapshot that only repeats them.
        """
        if self.known != self.missing:
            self.last = self.known

    def repeats(self, ts: int, values: Values) -> bool:
        """Return whether an event is a snapshot of the server that only repeats the values known before it.

        `ts` and `values` are the event's exchange time in ns and the whole row merged with it. True is returned at most
        once per request: it stores `values` as the stream's row and sets `ping_number` to 0, which ends these checks
        until the next request. Never True for the first values of this part on a connection if a row was already
        emitted on it, because these values were missing in that row; such values end the checks as well. An event with
        another time or other values is recorded as an emitted row (`has_emitted`).
        """
        known, stream = self.known, self.stream
        is_new = known == self.missing
        if ts != self.ts or values[self.start : self.stop] != (self.last if is_new else known):
            stream.has_emitted = True
            return False
        self.ping_number = 0
        if is_new and stream.has_emitted:
            return False
        stream.values = values
        return True


class FieldsPart(StreamPart):
    """The part of a quotes stream's row whose fields one kind of event carries: quote, trade or Greeks.

    The argument `update` is the class of that event's payload. `names` maps columns to the field names of the event;
    columns that the subscription lacks are ignored.
    """

    __slots__ = ("times",)

    def __init__(self, stream: MarketStream, update: type[Payload], names: Mapping[str, str]) -> None:
        start = len(stream.values)
        fields = [field for field in stream.subscription.fields if field in names]
        super().__init__(stream, update, tuple(MISSING[QUOTE_COLUMN_TYPES[field]] for field in fields), start=start)
        self.names = [names[field] for field in fields]
        self.read = _reader(self.names)
        self.times = tuple(i for i, field in enumerate(fields) if QUOTE_COLUMN_TYPES[field] == "time")
        self.needs_merge = bool(self.times) or len(fields) < len(stream.subscription.fields)

    def derive(self, _: object) -> None:
        """Make what a noted state has not."""
        self.read = _reader(self.names)

    def merge(self, new: tuple[Any, ...]) -> Values | None:
        """Return the stream's whole row after an event, in which `new` are the values of this part.

        A field that the event lacks keeps its value. Returns None if the event has none of the requested fields.
        """
        if self.times:
            new = self._in_nanoseconds(new)
        values = self.stream.values
        unset = new.count(UNSET)
        if unset:
            if unset == len(new):
                return None
            old = values[self.start : self.stop]
            new = tuple([before if value is UNSET else value for before, value in zip(old, new, strict=True)])
        # The first part, which most events are, needs one slice and one concatenation less.
        return values[: self.start] + new + values[self.stop :] if self.start else new + values[self.stop :]

    def _in_nanoseconds(self, new: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(new)
        for i in self.times:
            if values[i] is not UNSET:
                values[i] = unix_ns(values[i]) or NOT_A_TIME
        return tuple(values)


class SidedPart(FieldsPart):
    """The quote part of a stream with the middle or the spread, which are NaN where the quote has no such sides.

    Bid and ask with their sizes are requested and known in any case, in `sides`.
    """

    __slots__ = ("places", "sides")
    DERIVED = (*FieldsPart.DERIVED, "places")

    def __init__(self, stream: MarketStream, update: type[Payload], names: Mapping[str, str]) -> None:
        super().__init__(stream, update, names)
        fields = [field for field in stream.subscription.fields if field in names]
        self.names = [names[field] for field in (*fields, *_HIDDEN)]
        self.derive(None)
        self.needs_merge = True
        self.sides: Values = (nan,) * len(_HIDDEN)

    def derive(self, _: object) -> None:
        """Make what a noted state has not."""
        super().derive(None)
        fields = self.stream.subscription.fields[self.start : self.stop]
        self.places = [(self.start + fields.index(name), rule) for name, rule in FROM_SIDES.items() if name in fields]

    def merge(self, new: tuple[Any, ...]) -> Values | None:
        """Return the stream's whole row after an event, as any part does, with the middle and spread that are prices.

        `new` ends with the event's bid and ask, and their sizes. A new side alone makes a row if the middle or the
        spread changes.
        """
        count = len(_HIDDEN)
        merged = super().merge(new[:-count])
        values = list(self.stream.values if merged is None else merged)
        self.sides = tuple(
            before if side is UNSET else side for before, side in zip(self.sides, new[-count:], strict=True)
        )
        bid, ask, *_ = empty_sides(self.sides, sides_of(_HIDDEN))
        for place, rule in self.places:
            values[place] = rule(values[place], bid, ask)  # type: ignore[arg-type]
        if merged is None and all(_is_same(values[place], self.stream.values[place]) for place, _ in self.places):
            return None
        return tuple(values)

    def forget(self) -> None:
        """Save the part's values for comparison, as any part does, and forget bid and ask."""
        super().forget()
        self.sides = (nan,) * len(_HIDDEN)


class MarketStream:
    """One subscription of a market connection, with its current row in `values`, made up of its `parts`.

    `values` are what the server said; `row` makes of them what a record has. Each part is filled by one kind of event.
    `has_emitted`: a row was emitted since the latest break, with missing values for the parts that had none by then.
    """

    __slots__ = ("has_emitted", "parts", "sides", "subscription", "values")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.has_emitted = False
        self.parts: list[StreamPart] = []
        self.values: Values = ()
        self.sides = sides_of(subscription.fields) if subscription.kind == "quotes" else []
        if subscription.kind == "quotes":
            for update, _, names in _PARTS:
                if not names.keys().isdisjoint(subscription.fields):
                    is_sided = update is QuoteUpdate and not FROM_SIDES.keys().isdisjoint(subscription.fields)
                    self.parts.append((SidedPart if is_sided else FieldsPart)(self, update, names))

    def row(self, values: Values) -> Values:
        """Return `values` as a record has them: a side whose size alone is 0 has no price, until its size is another.

        An update with a size of 0 and no price says that the price is unchanged, and that nothing is offered at it
        (assumed; protocol page §3.4.1).
        """
        return empty_sides(values, self.sides) if self.sides else values

    def forget(self) -> None:
        """Set the current values to missing, because the connection broke and they may be out of date."""
        for part in self.parts:
            part.forget()
        self.has_emitted = False
        self.values = tuple(value for part in self.parts for value in part.missing)

    def copy_known(self, others: Iterable[MarketStream]) -> int:
        """Copy the values of this stream's fields from other quotes streams of the same symbol.

        Returns the newest exchange time of these values (ns since the epoch) if all fields are known, else 0, also if
        this is no quotes stream.
        """
        if self.subscription.kind != "quotes":
            return 0
        known: dict[str, Value] = {}
        times: dict[type[Payload], int] = {}
        for other in others:
            fresh = [part for part in other.parts if part.known != part.missing]
            for part in other.parts:
                if isinstance(part, SidedPart):
                    known.update(zip(_HIDDEN, part.sides, strict=True))
            if fresh and other.subscription.kind == "quotes":
                known.update(zip(other.subscription.fields, other.values, strict=True))
                times.update((part.update, max(part.ts, times.get(part.update, 0))) for part in fresh)
        for part in self.parts:
            if isinstance(part, SidedPart):
                part.sides = tuple(known.get(name, nan) for name in _HIDDEN)
        fields = self.subscription.fields
        self.values = tuple(known.get(field, old) for field, old in zip(fields, self.values, strict=True))
        if not times or not all(field in known for field in fields):
            return 0
        for part in self.parts:
            part.ts = times.get(part.update, 0)
        return max(times.values())


def _is_same(one: Value, other: Value) -> bool:
    return one == other or (one != one and other != other)


def _itself(data: Struct) -> Struct:
    return data


def _reader(names: Sequence[str]) -> Callable[[Struct], tuple[Any, ...]]:
    if len(names) == 1:
        one = attrgetter(names[0])
        return lambda data: (one(data),)
    return attrgetter(*names)


def options_of(subscriptions: Iterable[Subscription]) -> RequestOptions:
    """Return the options of a subscribe request that cover these subscriptions of one symbol.

    The times of quote, trade and time & sales events are always requested, as records need them.
    """
    fields: dict[str, set[str]] = {}
    for subscription in subscriptions:
        if subscription.kind in ("book", "venues"):
            fields["level2"] = set()
        elif subscription.kind == "trades":
            tape = fields.setdefault("timeAndSalesFields", {"tradeTimestamp"})
            names = {"trade_id": "tradeSeq", "venue": "tradeExchange"}
            tape.update(names.get(field, field) for field in subscription.fields if TIME_AND_SALES_FIELDS[field])
            if not tape & {"price", "size"}:
                tape.add("price")  # an event with neither is no trade
        else:
            # All fields of a share: without the Greeks, which only options have and which would be refused.
            is_share = len(subscription.fields) == len(QUOTE_COLUMN_TYPES) and not is_option_symbol(subscription.symbol)
            for field in subscription.fields:
                if field in QUOTE_FIELDS:
                    sides = map(QUOTE_FIELDS.__getitem__, _HIDDEN if field in FROM_SIDES else ())
                    fields.setdefault("quoteFields", {"quoteTimestamp"}).update((QUOTE_FIELDS[field], *sides))
                elif field in TRADE_FIELDS:
                    fields.setdefault("tradeFields", {"tradeTimestamp"}).add(TRADE_FIELDS[field])
                elif not is_share:
                    fields.setdefault("greeksFields", set()).add(GREEKS_FIELDS[field])
    return {option: tuple(sorted(names)) for option, names in sorted(fields.items())}


def is_everything(option: str, names: Iterable[str]) -> bool:
    """Return whether `names` are all fields that the request's `option` (such as "quoteFields") has, as "*" means."""
    return _EVERYTHING.get(option) == frozenset(names)


def item_to_subscribe(symbol: str, new: RequestOptions) -> dict[str, Any]:
    """Return the item of a subscribe request that asks for the options `new` of a symbol (Aries protocol page §3.2).

    `new` maps each option that has to be requested to its fields, () for a switch, which is sent as true. If all fields
    of an option are requested, "*" stands for them.
    """
    item: dict[str, Any] = {"symbol": symbol}
    for option, names in new.items():
        item[option] = "*" if is_everything(option, names) else list(names) or True
    if "timeAndSalesFields" in new:
        item["timeAndSales"] = True
    if "greeksFields" in new or is_option_symbol(symbol):
        item["symbolType"] = "option"  # else "equity" is assumed (protocol page §3.2)
    return item


def item_to_unsubscribe(symbol: str, old: RequestOptions, left: RequestOptions) -> str | dict[str, Any]:
    """Return the item of an unsubscribe request that reduces a symbol's requested fields from `old` to `left`.

    It is the bare symbol if nothing is left. If the fields were requested as "*", the remaining ones are assumed to
    continue (Aries protocol page §3.3, open question U21).
    """
    if not left:
        return symbol
    item: dict[str, Any] = {"symbol": symbol}
    categories = {"quoteFields": "quote", "tradeFields": "trade", "greeksFields": "greeks"}
    for option, names in old.items():
        if option in left and option in categories:
            gone = sorted(set(names) - set(left[option]))
            if gone:
                item[option] = gone
        elif option not in left:
            item[categories.get(option, "timeAndSales" if option == "timeAndSalesFields" else option)] = True
    return item
