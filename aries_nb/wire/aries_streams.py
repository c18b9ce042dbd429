"""The streams of one Aries connection: who asked for what, what that means in requests, and the merged state.

Several subscriptions of one symbol share what goes over the wire: the union of their fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

from msgspec import UNSET, Struct

from aries_nb.model import NOT_A_TIME, ColumnType, Subscription, Value, Values
from aries_nb.wire.aries_messages import (
    GREEKS_FIELDS,
    QUOTE_FIELDS,
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

__all__ = ["QUOTE_COLUMN_TYPES", "Part", "Stream", "Wanted", "item_to_subscribe", "item_to_unsubscribe", "wanted"]

_MISSING: dict[ColumnType, Value] = {"number": math.nan, "text": "", "time": NOT_A_TIME, "integer": 0}

# What one symbol is asked for: option of the subscribe item → its fields, sorted; no fields where it is a switch.
Wanted: TypeAlias = dict[str, tuple[str, ...]]

_PARTS: tuple[tuple[type[Payload], type[Struct], dict[str, str]], ...] = (
    (QuoteUpdate, Quote, dict(QUOTE_FIELDS)),
    (TradeUpdate, Trade, dict(TRADE_FIELDS)),
    (GreeksUpdate, Greeks, dict(GREEKS_FIELDS)),
)
QUOTE_COLUMN_TYPES: dict[str, ColumnType] = {
    column: field_types(struct)[name] for _, struct, fields in _PARTS for column, name in fields.items()
}


class Part:
    """The fields of a quotes stream that come in one kind of event: a slice of its values."""

    __slots__ = ("missing", "read", "start", "stop", "stream", "times")

    def __init__(self, stream: Stream, names: Sequence[str], start: int) -> None:
        self.stream = stream
        self.start = start
        self.stop = start + len(names)
        self.read = _reader(names)
        fields = stream.subscription.fields[start : self.stop]
        self.missing = tuple(_MISSING[QUOTE_COLUMN_TYPES[field]] for field in fields)
        self.times = tuple(i for i, field in enumerate(fields) if QUOTE_COLUMN_TYPES[field] == "time")

    def merge(self, data: Struct) -> Values | None:
        """The stream's values after this event; None where it carries none of the fields asked for."""
        new = self.read(data)
        if self.times:
            new = self._in_nanoseconds(new)
        stream = self.stream
        if UNSET in new:
            old = stream.values[self.start : self.stop]
            if all(value is UNSET for value in new):
                return None
            new = tuple(before if value is UNSET else value for before, value in zip(old, new, strict=True))
        if len(new) == len(stream.values):
            return new
        return stream.values[: self.start] + new + stream.values[self.stop :]

    def _in_nanoseconds(self, new: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(new)
        for i in self.times:
            if values[i] is not UNSET:
                values[i] = values[i] * 1_000_000 if 0 < values[i] < 9_000_000_000_000 else NOT_A_TIME
        return tuple(values)


class Stream:
    """One subscription on this connection, with its merged values and the exchange time they are of.

    `fence` is the number of the ping behind the latest request that touches the symbol: until its pong, the first
    event that repeats what is known already is the server's snapshot and not a second row.
    """

    __slots__ = ("fence", "last", "parts", "subscription", "ts", "values")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.parts: list[tuple[type[Payload], Part]] = []
        self.values: Values = ()
        self.last: Values = ()
        self.ts = 0
        self.fence = 0
        if subscription.kind == "quotes":
            self._split()

    def _split(self) -> None:
        start = 0
        for update, _, names in _PARTS:
            wire_names = [names[field] for field in self.subscription.fields if field in names]
            if wire_names:
                part = Part(self, wire_names, start)
                self.parts.append((update, part))
                start = part.stop
        self.values = tuple(value for _, part in self.parts for value in part.missing)

    def forget(self) -> None:
        """Drop the merged values at a break, so that none from before it can pass for fresh."""
        self.values = tuple(value for _, part in self.parts for value in part.missing)

    def borrow(self, others: Iterable[Stream]) -> bool:
        """Take over what other streams of the symbol know of our fields; true if anything was known."""
        known: dict[str, Value] = {}
        for other in others:
            if other.ts and other.values:
                known.update(zip(other.subscription.fields, other.values, strict=True))
                self.ts = max(self.ts, other.ts)
        fields = self.subscription.fields
        self.values = tuple(known.get(field, old) for field, old in zip(fields, self.values, strict=True))
        return self.ts > 0 and all(field in known for field in fields)


def _reader(names: Sequence[str]) -> Callable[[Struct], tuple[Any, ...]]:
    if len(names) == 1:
        one = attrgetter(names[0])
        return lambda data: (one(data),)
    return attrgetter(*names)


def wanted(subscriptions: Iterable[Subscription]) -> Wanted:
    """The union of what these subscriptions of one symbol need, as options of a subscribe item.

    The time of each kind of event is always among them: it is what `ts` is made of.
    """
    fields: dict[str, set[str]] = {}
    for subscription in subscriptions:
        if subscription.kind == "book":
            fields["level2"] = set()
        elif subscription.kind == "trades":
            tape = fields.setdefault("timeAndSalesFields", {"tradeTimestamp"})
            names = {"trade_id": "tradeSeq", "venue": "tradeExchange"}
            tape.update(names.get(field, field) for field in subscription.fields if field != "side")
        else:
            for field in subscription.fields:
                if field in QUOTE_FIELDS:
                    fields.setdefault("quoteFields", {"quoteTimestamp"}).add(QUOTE_FIELDS[field])
                elif field in TRADE_FIELDS:
                    fields.setdefault("tradeFields", {"tradeTimestamp"}).add(TRADE_FIELDS[field])
                else:
                    fields.setdefault("greeksFields", set()).add(GREEKS_FIELDS[field])
    return {option: tuple(sorted(names)) for option, names in sorted(fields.items())}


def item_to_subscribe(symbol: str, new: Wanted) -> dict[str, Any]:
    """The subscribe item for options that are not running yet (protocol page §3.2)."""
    item: dict[str, Any] = {"symbol": symbol}
    for option, names in new.items():
        item[option] = list(names) if names else True
    if "timeAndSalesFields" in new:
        item["timeAndSales"] = True
    if "greeksFields" in new:
        item["symbolType"] = "option"
    return item


def item_to_unsubscribe(symbol: str, old: Wanted, left: Wanted) -> str | dict[str, Any]:
    """The unsubscribe item that takes `old` to `left` (protocol page §3.3): the bare symbol where nothing is left."""
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
