"""The Aries charts endpoint as a state machine (Aries protocol page §2 and §4); see `BrokerProtocol`.

One request per symbol covers quotes and trades; the form of an event decides which of them it is (§4.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from aries_nb.brokers.aries.connection import AriesConnection, time_of
from aries_nb.brokers.aries.session import is_refusal
from aries_nb.brokers.parsing import (
    MOST_NOTED,
    RequestRefused,
    SymbolSpellings,
    excerpt,
    is_unknown_symbol,
    nanoseconds,
    number,
    shown,
    writable,
)
from aries_nb.model import (
    TRADE_COLUMNS,
    ColumnType,
    Counted,
    CountedAs,
    Kind,
    Notice,
    Record,
    Rejected,
    Subscription,
    Unreadable,
    Unrequested,
    Value,
)
from aries_nb.model.contracts import is_option_symbol

__all__ = ["CHART_FIELDS", "AriesCharts"]

NESTING = 3  # `data`, a list in it, `quote` or `trade` in that
_TALK = ("authSuccess", "refreshAuth", "authExpired", "authTimeout", "authRequired", "pong", "ping")
# Column → key in `v` (§4.2).
CHART_FIELDS: Mapping[str, str] = {
    "bid_price": "bid",
    "ask_price": "ask",
    "last_price": "lp",
    "change": "ch",
    "change_percent": "chp",
    "open_price": "open_price",
    "high_price": "high_price",
    "low_price": "low_price",
    "previous_close_price": "prev_close_price",
    "volume": "volume",
    "exchange": "exchange",
    "short_name": "short_name",
}
# The endpoint has no bid and ask sizes.
_QUOTE_COLUMN_TYPES: Mapping[str, ColumnType] = {
    column: "text" if column in ("exchange", "short_name") else "number" for column in CHART_FIELDS
}
_MISSING: Mapping[str, Value] = {
    column: "" if kind == "text" else math.nan for column, kind in _QUOTE_COLUMN_TYPES.items()
}
_TRADE_COLUMN_TYPES: Mapping[str, ColumnType] = {column.name: column.type for column in TRADE_COLUMNS}
_COLUMN_TYPES: Mapping[Kind, Mapping[str, ColumnType]] = {"quotes": _QUOTE_COLUMN_TYPES, "trades": _TRADE_COLUMN_TYPES}


class _ChartSymbol:
    """The subscriptions of one symbol, and its quote as merged from the events on this connection."""

    __slots__ = ("quote", "subscriptions", "ts")

    def __init__(self) -> None:
        self.subscriptions: dict[Subscription, None] = {}
        self.forget()

    def forget(self) -> None:
        """Drop the quote, because the connection broke and its values may be out of date."""
        self.quote: dict[str, Value] = {}
        self.ts = 0

    def counted(self, what: CountedAs) -> list[Counted]:
        """Return one notice for each subscription of the symbol, which says that a message made no record for it.

        `what` is the reason: "unreadable" if the message could not be decoded, "rowless" if it had no quote or trade.
        """
        return [Counted(subscription, what) for subscription in self.subscriptions]

    def row(self, subscription: Subscription, ts: int) -> Record:
        """Return the record of the current quote for a subscription, with the exchange time `ts` in ns."""
        return subscription, ts, tuple([self.quote.get(field, _MISSING[field]) for field in subscription.fields])


class AriesCharts(AriesConnection[str]):
    """A connection for the quotes and trades of the charts service. Implements `BrokerProtocol`."""

    COLUMNS = _COLUMN_TYPES

    def __init__(self) -> None:
        super().__init__()
        self._symbols: dict[str, _ChartSymbol] = {}
        self._spellings = SymbolSpellings(self._symbols)
        self._sent: set[str] = set()
        self._unsubscribed: set[str] = set()

    @property
    def request_number(self) -> int:
        """The number of the newest request or ping."""
        return self._session.count

    def missed(self, request_number: int) -> None:
        """Go on after messages that were not received: values are missing until they are sent again."""
        self._session.missed(request_number)
        self._initial_records.clear()
        for symbol in self._symbols.values():
            symbol.forget()

    def _forget(self) -> None:
        self._sent.clear()
        self._unsubscribed.clear()
        for symbol in self._symbols.values():
            symbol.forget()

    def _add(self, subscription: Subscription) -> Iterable[str]:
        key = self._spellings.key(subscription.symbol)
        symbol = self._symbols.setdefault(key, _ChartSymbol())
        self._spellings.add(key)
        if subscription not in symbol.subscriptions:
            symbol.subscriptions[subscription] = None
            if subscription.kind == "quotes" and not symbol.quote.keys().isdisjoint(subscription.fields):
                self._initial_records.append(symbol.row(subscription, symbol.ts))
        return (key,)

    def _remove(self, subscriptions: Sequence[Subscription]) -> None:
        for subscription in subscriptions:
            name = self._spellings.key(subscription.symbol)
            symbol = self._symbols.get(name)
            if symbol is None:
                continue
            symbol.subscriptions.pop(subscription, None)
            spelling = subscription.symbol
            if not symbol.subscriptions:
                del self._symbols[name]
                self._spellings.remove(name)
                self._unsubscribed.add(name)
                if spelling in self._sent:
                    self._session.send("unsubscribe", _payload(spelling))
            if all(each.symbol != spelling for each in symbol.subscriptions):
                self._sent.discard(spelling)

    def _subscribed(self) -> Iterable[str]:
        return list(self._symbols)

    def _ask(self, keys: Iterable[str]) -> int:
        users = (each for key in keys for each in self._symbols[key].subscriptions)
        for name in dict.fromkeys(each.symbol for each in users):  # each spelling: the server may know only one
            if name not in self._sent:
                self._note_request(self._session.send("subscribe", _payload(name)), {name: {}})
                self._sent.add(name)
        return self._session.ping()

    def _rejected(self, refused: RequestRefused) -> Rejected:
        names = self._requests.get(refused.request, {})
        self._sent.difference_update(names)
        symbols = [self._symbols.get(self._spellings.key(name), _ChartSymbol()) for name in names]
        users = [user for symbol in symbols for user in symbol.subscriptions if user.symbol in names]
        return Rejected(tuple(users), excerpt(refused.reason), refused.is_unknown_symbol)

    def _message(
        self, message: Mapping[str, Any], raw: bytes, received: int, records: list[Record], notices: list[Notice]
    ) -> None:
        payload = message.get("payload")
        if message.get("type") != "event" or not isinstance(payload, dict) or not _is_push(payload):
            notices.extend(self._control(message, raw))
            return
        noted = 0
        for each in self._push(payload, time_of(message, received), raw):
            if isinstance(each, tuple):
                records.append(each)
            elif not isinstance(each, Unreadable) or (noted := noted + 1) <= MOST_NOTED:
                notices.append(each)

    def _push(self, payload: Mapping[str, Any], ts: int, raw: bytes) -> Iterator[Record | Notice]:
        data = next((payload[key] for key in ("data", "d") if key in payload), payload)
        for item in list(_items(data, NESTING)) or [{}]:
            name = _symbol_of(payload, item if isinstance(item, dict) else {})
            name = self._spellings.find(name) or name
            symbol = self._symbols.get(name)
            if not isinstance(item, dict):
                yield Unreadable("an event without an object", excerpt(raw))
                yield from symbol.counted("unreadable") if symbol is not None else ()
            elif symbol is None:
                yield Unrequested()
                # Data still on its way when the symbol was unsubscribed is no error of the server's.
                if name not in self._unsubscribed:
                    yield Unreadable("a symbol that is not subscribed", excerpt(raw))
            elif item.get("s") == "error":
                reason = shown(item.get("errmsg") or item.get("error") or "the server has no quote for it")
                yield Rejected(tuple(symbol.subscriptions), reason, is_unknown_symbol(reason))
            else:
                moment = nanoseconds(item.get("t")) or nanoseconds(item.get("timestamp")) or ts
                yield from _apply(symbol, item, moment, raw)


def _payload(symbol: str) -> dict[str, str]:
    kind = {"symbolType": "option"} if is_option_symbol(symbol) else {}
    return {"type": "quotes", "symbol": symbol, **kind}


def _is_push(payload: Mapping[str, Any]) -> bool:
    has_data = not payload.keys().isdisjoint(("data", "d", "v"))
    return has_data and payload.get("action") not in _TALK and not is_refusal(payload)


def _items(data: object, depth: int) -> Iterator[object]:
    """Yield the quotes and trades in `data`, the content of an event.

    It is a single one, a list of them, or an object with the key `quote` or `trade`. These forms may be nested, down to
    `depth` levels; what is nested deeper is yielded as it is. Which form the server sends is open question U15 of the
    Aries protocol page.
    """
    if depth and isinstance(data, list):
        for each in data:
            yield from _items(each, depth - 1)
    elif depth and isinstance(data, dict) and any(isinstance(data.get(key), dict | list) for key in ("quote", "trade")):
        for key in ("quote", "trade"):
            if key in data:
                yield from _items(data[key], depth - 1)
    else:
        yield data


def _symbol_of(payload: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """Return the symbol of `item`, a quote or trade: that of its message's payload, else its own; "" if there is none.

    Its own is in the key `symbol`, else `n`, else `s` unless that is a status, "ok" or "error" (Aries protocol page
    §4.2).
    """
    for said in (payload.get("symbol"), item.get("symbol"), item.get("n"), item.get("s")):
        if isinstance(said, str) and said and said not in ("ok", "error"):
            return said
    return ""


def _apply(symbol: _ChartSymbol, item: Mapping[str, Any], ts: int, raw: bytes) -> Iterator[Record | Notice]:
    values = item.get("v")
    if isinstance(values, dict):
        yield from _quote(symbol, values, ts, raw)
    elif "lp" in item and (values is not None or "t" in item):
        yield from _trade(symbol, item, ts, raw)
    elif not item.keys().isdisjoint(CHART_FIELDS.values()):
        yield from _quote(symbol, item, ts, raw)
    elif values is not None or "t" in item:
        yield Unreadable("neither a quote nor a trade", excerpt(raw))
        yield from symbol.counted("unreadable")
    else:
        yield from symbol.counted("rowless")


def _quote(symbol: _ChartSymbol, values: Mapping[str, Any], ts: int, raw: bytes) -> Iterator[Record | Notice]:
    """Merge `values` into the known quote of a symbol, and yield a record for each subscription, and notices.

    A column whose key is absent is unchanged; null or an unusable value makes it missing. `ts` is the exchange time in
    ns; `raw` is the message, of which notices quote the beginning.
    """
    touched: set[str] = set()
    for column, key in CHART_FIELDS.items():
        if key not in values:
            continue
        said = values[key]
        usable: Value | None = None
        if _QUOTE_COLUMN_TYPES[column] == "number":
            usable = number(said)
        elif isinstance(said, str):
            usable = writable(said)
        if usable is None and said is not None:
            yield Unreadable(f"{column} is no usable {_QUOTE_COLUMN_TYPES[column]}", excerpt(raw))
        symbol.quote[column] = _MISSING[column] if usable is None else usable
        touched.add(column)
    if touched:
        symbol.ts = ts
    for subscription in symbol.subscriptions:
        if subscription.kind == "quotes":
            is_news = not touched.isdisjoint(subscription.fields)
            yield symbol.row(subscription, ts) if is_news else Counted(subscription, "rowless")


def _trade(symbol: _ChartSymbol, item: Mapping[str, Any], ts: int, raw: bytes) -> Iterator[Record | Notice]:
    """Yield the records of `item`, a trade of `symbol`, one per trades subscription, and notices of unusable values.

    `ts` is its exchange time in ns; `raw` is the message, of which notices quote the beginning. A trade without a
    usable price makes no record. The charts endpoint names no aggressor, trade number or venue: they are "unknown", 0
    and "".
    """
    price, size = number(item["lp"]), number(item.get("v"))
    if price is None or math.isnan(price):
        yield Unreadable("a trade without a usable price", excerpt(raw))
        yield from (Counted(each, "unreadable") for each in symbol.subscriptions if each.kind == "trades")
        return
    if size is None:
        yield Unreadable("size is no usable number", excerpt(raw))
    row: dict[str, Value] = {
        "price": price,
        "size": math.nan if size is None else size,
        "side": "unknown",
        "trade_id": 0,
        "venue": "",
        "source": "live",
    }
    for subscription in symbol.subscriptions:
        if subscription.kind == "trades":
            yield subscription, ts, tuple([row[field] for field in subscription.fields])
