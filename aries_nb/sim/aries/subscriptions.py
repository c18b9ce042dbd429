"""Subscriptions on the simulated Aries market endpoint: parsing of request items, union and difference of selections.

Source: Aries' protocol page §3.2, §3.3. Assumptions of the page are marked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "GREEKS_FIELDS",
    "QUOTE_FIELDS",
    "TIME_AND_SALES_FIELDS",
    "TRADE_FIELDS",
    "BadRequestError",
    "Fields",
    "Selection",
    "SubscriptionItem",
    "read_subscribe_item",
    "read_unsubscribe_item",
]

Fields = tuple[str, ...]

QUOTE_FIELDS: Fields = (
    "bidPrice", "bidSize", "bidChange", "bidSizeChange", "bidExchange", "bidTimestamp",
    "askPrice", "askSize", "askChange", "askSizeChange", "askExchange", "askTimestamp",
    "quoteTimestamp", "midPrice", "spread",
)  # fmt: skip
TRADE_FIELDS: Fields = (
    "price", "size", "lastPrice", "netChange", "openPrice", "highPrice", "lowPrice", "closePrice", "previousClosePrice",
    "totalVolume", "tickVolume", "tick", "tradeSeq", "tradeTimestamp",
)  # fmt: skip
#: Names of the old field list (§3.4.2): accepted by name, not part of "*".
OLD_TRADE_FIELDS: Fields = (
    "instrumentType", "tradeExchange", "high52Week", "low52Week", "openInterest", "dividend",
)  # fmt: skip
TIME_AND_SALES_FIELDS: Fields = ("symbol", "price", "size", "tick", "tradeSeq", "tradeExchange", "tradeTimestamp")
GREEKS_FIELDS: Fields = ("delta", "gamma", "theta", "vega", "rho", "impliedVolatility")

_FIELD_LISTS: tuple[tuple[str, str, Fields, Fields], ...] = (
    ("quoteFields", "quote", QUOTE_FIELDS, ()),
    ("tradeFields", "trade", TRADE_FIELDS, OLD_TRADE_FIELDS),
    ("timeAndSalesFields", "time_and_sales", TIME_AND_SALES_FIELDS, ()),
    ("greeksFields", "greeks", GREEKS_FIELDS, ()),
)
_UNSUBSCRIBE_FLAGS = {"quote": "quote", "trade": "trade", "timeAndSales": "time_and_sales", "greeks": "greeks"}


class BadRequestError(Exception):
    """Raised for an invalid request of a client; its text is sent to the client."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The streams and fields of one symbol to which a client subscribes.

    A stream is the tuple of its fields, empty if it is not subscribed; `level2` says whether the order book is.
    """

    quote: Fields = ()
    trade: Fields = ()
    time_and_sales: Fields = ()
    greeks: Fields = ()
    level2: bool = False

    def __bool__(self) -> bool:
        return bool(self.quote or self.trade or self.time_and_sales or self.greeks or self.level2)

    def united(self, other: Selection) -> Selection:
        """Return the streams and fields that are in this selection or in `other`; those of this one come first.

        The order is assumed (Aries' protocol page §3.2).
        """
        return Selection(
            quote=_union(self.quote, other.quote),
            trade=_union(self.trade, other.trade),
            time_and_sales=_union(self.time_and_sales, other.time_and_sales),
            greeks=_union(self.greeks, other.greeks),
            level2=self.level2 or other.level2,
        )

    def without(self, other: Selection) -> Selection:
        """Return this selection without the streams and fields of `other`.

        Source: Aries' protocol page §3.3; that it holds for "*" as well is assumed.
        """
        return Selection(
            quote=_difference(self.quote, other.quote),
            trade=_difference(self.trade, other.trade),
            time_and_sales=_difference(self.time_and_sales, other.time_and_sales),
            greeks=_difference(self.greeks, other.greeks),
            level2=self.level2 and not other.level2,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of all streams by the streams' protocol names.

        An empty list, or False, if not subscribed.
        """
        return {
            "quote": list(self.quote),
            "trade": list(self.trade),
            "level2": self.level2,
            "timeAndSales": list(self.time_and_sales),
            "greeks": list(self.greeks),
        }


EVERYTHING = Selection(
    quote=QUOTE_FIELDS,
    trade=TRADE_FIELDS + OLD_TRADE_FIELDS,
    time_and_sales=TIME_AND_SALES_FIELDS,
    greeks=GREEKS_FIELDS,
    level2=True,
)


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """One item, about one symbol, of a client's request to subscribe or unsubscribe.

    `selection` are the requested streams and fields. `unknown` are field names that Aries' protocol page does not
    list, which are ignored.
    """

    symbol: str
    selection: Selection
    symbol_type: str = "equity"
    unknown: Fields = ()


def read_subscribe_item(item: object) -> SubscriptionItem:
    """Return one object of a subscribe's payload as an item, with the default rules of Aries' protocol page §3.2.

    Without field lists all quote and trade fields are selected, unless the item requests time and sales, the book
    or Greeks (assumed for the last two). `fields` applies to both quotes and trades (assumed). A field list for
    time and sales requests the stream, unless `timeAndSales` is false (assumed). Greeks need `symbolType` "option".

    Raises BadRequestError if the object has another form.
    """
    entry = _object(item)
    symbol_type = entry.get("symbolType", "equity")
    if not isinstance(symbol_type, str):
        raise BadRequestError("symbolType must be a string")
    chosen, unknown = _chosen(entry)
    has_time_and_sales = _flag(entry, "timeAndSales")
    if has_time_and_sales:
        chosen.setdefault("time_and_sales", TIME_AND_SALES_FIELDS)
    elif has_time_and_sales is False:
        chosen.pop("time_and_sales", None)
    shared = _field_list(entry, "fields")
    if shared is not None:
        named = QUOTE_FIELDS + TRADE_FIELDS if "*" in shared else shared
        chosen["quote"] = _union(chosen.get("quote", ()), _known(named, QUOTE_FIELDS))
        chosen["trade"] = _union(chosen.get("trade", ()), _known(named, TRADE_FIELDS + OLD_TRADE_FIELDS))
        unknown += _difference(named, QUOTE_FIELDS + TRADE_FIELDS + OLD_TRADE_FIELDS)
    level2 = bool(_flag(entry, "level2"))
    if not chosen and not level2:
        chosen = {"quote": QUOTE_FIELDS, "trade": TRADE_FIELDS}
    if symbol_type.lower() != "option":
        chosen.pop("greeks", None)
    return SubscriptionItem(_symbol(entry), Selection(level2=level2, **chosen), symbol_type.lower(), unknown)


def read_unsubscribe_item(item: object) -> SubscriptionItem:
    """Return one entry of an unsubscribe's payload as an item whose selection is to be ended.

    The entry is a symbol, or an object that names streams or fields; without them all end (Aries' protocol page
    §3.3). Raises BadRequestError if it has another form.
    """
    if isinstance(item, str):
        return SubscriptionItem(_symbol({"symbol": item}), EVERYTHING)
    entry = _object(item)
    chosen, unknown = _chosen(entry)
    named = any(key in entry for key in (*_UNSUBSCRIBE_FLAGS, "level2", *(row[0] for row in _FIELD_LISTS)))
    ended = Selection(level2=bool(_flag(entry, "level2")), **chosen)
    for key, stream in _UNSUBSCRIBE_FLAGS.items():
        if _flag(entry, key):
            ended = replace(ended, **{stream: getattr(EVERYTHING, stream)})
    return SubscriptionItem(_symbol(entry), ended if named else EVERYTHING, "", unknown)


def _chosen(entry: Mapping[str, Any]) -> tuple[dict[str, Fields], Fields]:
    """Return the known fields of each stream for which `entry` has a field list, and the unknown field names.

    `entry` is one object of a request to subscribe or unsubscribe.
    """
    chosen: dict[str, Fields] = {}
    unknown: Fields = ()
    for key, stream, usual, old in _FIELD_LISTS:
        names = _field_list(entry, key)
        if names is not None:
            chosen[stream] = usual if "*" in names else _known(names, usual + old)
            unknown += _difference(names, (*usual, *old, "*"))
    return chosen, unknown


def _object(item: object) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise BadRequestError("an item of the payload must be an object")
    return item


def _symbol(entry: Mapping[str, Any]) -> str:
    symbol = entry.get("symbol")
    if not isinstance(symbol, str) or not symbol.strip():
        raise BadRequestError("symbol is required")
    return symbol


def _flag(entry: Mapping[str, Any], key: str) -> bool | None:
    value = entry.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadRequestError(f"{key} must be true or false")
    return value


def _field_list(entry: Mapping[str, Any], key: str) -> Fields | None:
    value = entry.get(key)
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequestError(f"{key} must be a string or an array of strings")
    return tuple(names)


def _known(names: Fields, known: Fields) -> Fields:
    return tuple(dict.fromkeys(name for name in names if name in known))


def _union(first: Fields, second: Fields) -> Fields:
    return tuple(dict.fromkeys(first + second))


def _difference(names: Fields, removed: Fields) -> Fields:
    return tuple(name for name in names if name not in removed)
