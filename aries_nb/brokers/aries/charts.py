"""The Aries charts endpoint as a state machine (protocol page §2 and §4); see `interface` for the contract.

One request a symbol brings quotes and trades; what an event carries is decided by its shape (§4.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aries_nb.brokers.aries.messages import OPTION_SYMBOL
from aries_nb.brokers.aries.session import AriesSession, check_words, is_refusal
from aries_nb.brokers.parsing import MOST_NOTED, excerpt, lines, nanoseconds, number, parse_line, shown, writable
from aries_nb.model import (
    TRADE_COLUMNS,
    ColumnType,
    Counted,
    CountedAs,
    Kind,
    Notice,
    Received,
    Record,
    Rejected,
    Subscription,
    Unasked,
    Unreadable,
    Value,
)

__all__ = ["CHART_FIELDS", "AriesCharts"]

REQUESTS_KEPT = 1_000  # of which a refusal can still be told the symbol
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
_QUOTE_COLUMN_TYPES: Mapping[str, ColumnType] = {
    column: "text" if column in ("exchange", "short_name") else "number" for column in CHART_FIELDS
}
_MISSING: Mapping[str, Value] = {
    column: "" if kind == "text" else math.nan for column, kind in _QUOTE_COLUMN_TYPES.items()
}
_TRADE_COLUMN_TYPES: Mapping[str, ColumnType] = {column.name: column.type for column in TRADE_COLUMNS}
_COLUMN_TYPES: Mapping[Kind, Mapping[str, ColumnType]] = {"quotes": _QUOTE_COLUMN_TYPES, "trades": _TRADE_COLUMN_TYPES}


class _Symbol:
    """What is subscribed of one symbol, and its quote as merged on this connection."""

    __slots__ = ("quote", "subscriptions", "ts")

    def __init__(self) -> None:
        self.subscriptions: dict[Subscription, None] = {}
        self.forget()

    def forget(self) -> None:
        """Drop the merged quote at a break, so that none from before it can pass for fresh."""
        self.quote: dict[str, Value] = {}
        self.ts = 0

    def counted(self, what: CountedAs) -> list[Counted]:
        return [Counted(subscription, what) for subscription in self.subscriptions]

    def row(self, subscription: Subscription, ts: int) -> Record:
        return subscription, ts, tuple([self.quote.get(field, _MISSING[field]) for field in subscription.fields])


class AriesCharts:
    """One connection's worth of protocol, and the streams that outlive it."""

    def __init__(self) -> None:
        self._session = AriesSession()
        self._symbols: dict[str, _Symbol] = {}
        self._sent: set[str] = set()
        self._left: set[str] = set()
        self._requests: dict[str, str] = {}
        self._seeds: list[Record] = []

    def columns(self, kind: Kind) -> Mapping[str, ColumnType]:
        """Every field that a frame of this kind can have; there are no sizes of bid and ask here."""
        return _COLUMN_TYPES.get(kind, {})

    def open(self, now: float) -> None:
        """Begin a new connection; the streams are asked for again after authentication."""
        self._session.open(now)
        for known in (self._sent, self._left, self._requests, self._seeds):
            known.clear()
        for symbol in self._symbols.values():
            symbol.forget()

    def authenticate(self, token: str, now: float) -> None:
        """Send the token, at first or to renew the session in place."""
        self._session.authenticate(token, now)

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Add streams and ask for the symbols that are not running yet. Raises UsageError where no frame can say so."""
        check_words(subscriptions)
        for subscription in subscriptions:
            symbol = self._symbols.setdefault(subscription.symbol, _Symbol())
            if subscription not in symbol.subscriptions:
                symbol.subscriptions[subscription] = None
                if subscription.kind == "quotes" and not symbol.quote.keys().isdisjoint(subscription.fields):
                    self._seeds.append(symbol.row(subscription, symbol.ts))
        return self._ask([each.symbol for each in subscriptions]) if self._session.is_open else 0

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove streams and end the symbols that nobody needs any more."""
        self._seeds = [seed for seed in self._seeds if seed[0] not in subscriptions]
        for subscription in subscriptions:
            name = subscription.symbol
            symbol = self._symbols.get(name)
            if symbol is None:
                continue
            symbol.subscriptions.pop(subscription, None)
            if not symbol.subscriptions:
                del self._symbols[name]
                self._left.add(name)
                if name in self._sent:
                    self._sent.discard(name)
                    self._session.send("unsubscribe", _payload(name))

    def receive(self, frame: bytes, received: int) -> Received:
        """Understand a frame line by line."""
        notices: list[Notice] = []
        records: list[Record] = []
        if self._seeds:
            records, self._seeds = self._seeds, []
            notices += [Counted(seed[0], "filled") for seed in records]
        for raw in lines(frame):
            message = parse_line(raw)
            if isinstance(message, Unreadable):
                notices.append(message)
                continue
            payload = message.get("payload")
            if message.get("type") == "event" and isinstance(payload, dict) and _is_push(payload):
                ts = nanoseconds(payload.get("timestamp")) or nanoseconds(message.get("timestamp")) or received
                noted = 0
                for each in self._push(payload, ts, raw):
                    if isinstance(each, tuple):
                        records.append(each)
                    elif not isinstance(each, Unreadable) or (noted := noted + 1) <= MOST_NOTED:
                        notices.append(each)
            else:
                notices.extend(self._control(message, raw))
        return records, notices

    def tick(self, now: float) -> Sequence[Notice]:
        """Keepalive and time limits of the session."""
        return self._session.tick(now)

    def outgoing(self) -> Sequence[str]:
        """Drain the frames to send."""
        return self._session.outgoing()

    def _ask(self, names: Sequence[str]) -> int:
        """Ask for those that are not running, one a frame, and ping behind it; returns the ping's number."""
        for name in names:
            if name not in self._sent:
                request = self._session.send("subscribe", _payload(name))
                self._requests[request] = name
                self._sent.add(name)
        while len(self._requests) > REQUESTS_KEPT:
            del self._requests[next(iter(self._requests))]
        return self._session.ping()

    def _control(self, message: Mapping[str, Any], raw: bytes) -> Iterator[Notice]:
        was_open = self._session.is_open
        for notice in self._session.control(message, raw):
            if isinstance(notice, Rejected):
                name = self._requests.get(notice.symbols[0]) if notice.symbols else None
                self._sent.discard(name or "")
                yield Rejected(() if name is None else (name,), excerpt(notice.reason))
            else:
                yield notice
        if self._session.is_open and not was_open:
            self._ask(list(self._symbols))

    def _push(self, payload: Mapping[str, Any], ts: int, raw: bytes) -> Iterator[Record | Notice]:
        data = next((payload[key] for key in ("data", "d") if key in payload), payload)
        for item in list(_items(data, NESTING)) or [{}]:
            name = _symbol_of(payload, item if isinstance(item, dict) else {})
            symbol = self._symbols.get(name)
            if not isinstance(item, dict):
                yield Unreadable("an event without an object", excerpt(raw))
                yield from symbol.counted("unreadable") if symbol is not None else ()
            elif symbol is None:
                yield Unasked()
                # What was still under way when we gave the symbol up is no fault of the server's.
                if name not in self._left:
                    yield Unreadable("a symbol nobody asked for", excerpt(raw))
            elif item.get("s") == "error":
                reason = item.get("errmsg") or item.get("error") or "the server has no quote for it"
                yield Rejected((name,), shown(reason))
            else:
                moment = nanoseconds(item.get("t")) or nanoseconds(item.get("timestamp")) or ts
                yield from _apply(symbol, item, moment, raw)


def _payload(symbol: str) -> dict[str, str]:
    kind = {"symbolType": "option"} if OPTION_SYMBOL.fullmatch(symbol) else {}
    return {"type": "quotes", "symbol": symbol, **kind}


def _is_push(payload: Mapping[str, Any]) -> bool:
    has_data = not payload.keys().isdisjoint(("data", "d", "v"))
    return has_data and payload.get("action") not in _TALK and not is_refusal(payload)


def _items(data: object, depth: int) -> Iterator[object]:
    """The quotes and trades in an event: one, a list, or under `quote` and `trade` (U15)."""
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
    """Which symbol: that of the envelope, else `n`, else `s` where it is no status (§4.2)."""
    for said in (payload.get("symbol"), item.get("symbol"), item.get("n"), item.get("s")):
        if isinstance(said, str) and said and said not in ("ok", "error"):
            return said
    return ""


def _apply(symbol: _Symbol, item: Mapping[str, Any], ts: int, raw: bytes) -> Iterator[Record | Notice]:
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


def _quote(symbol: _Symbol, values: Mapping[str, Any], ts: int, raw: bytes) -> Iterator[Record | Notice]:
    """Merge a quote: a key that is absent is unchanged, null or unusable is missing."""
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


def _trade(symbol: _Symbol, item: Mapping[str, Any], ts: int, raw: bytes) -> Iterator[Record | Notice]:
    """Give a print on; who was the aggressor, its number and its venue are not said here."""
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
