"""The Aries market endpoint as a state machine (protocol page §2 and §3); see `interface` for the contract."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, cast

from msgspec import UNSET, MsgspecError

from aries_nb.model import (
    ColumnType,
    Kind,
    MarketStatus,
    Notice,
    Pong,
    Received,
    Record,
    Rejected,
    Subscription,
    Unreadable,
)
from aries_nb.wire.aries_lenient import excerpt, millis, parse_line, update_from
from aries_nb.wire.aries_messages import (
    MAX_MS,
    GreeksUpdate,
    LevelTwoUpdate,
    Payload,
    QuoteUpdate,
    StatusUpdate,
    TimeAndSalesUpdate,
    TradeUpdate,
    decode_lines,
)
from aries_nb.wire.aries_prints import PRINT_COLUMN_TYPES, PrintPart
from aries_nb.wire.aries_session import AriesSession
from aries_nb.wire.aries_streams import (
    QUOTE_COLUMN_TYPES,
    Part,
    Stream,
    Wanted,
    item_to_subscribe,
    item_to_unsubscribe,
    wanted,
)

__all__ = ["AriesMarket"]

SYMBOLS_PER_REQUEST = 100  # protocol page U17: "stay modest"
_BOOK_COLUMN_TYPES: dict[str, ColumnType] = {"side": "text", "level": "number", "price": "number", "size": "number"}


class AriesMarket:
    """One connection's worth of protocol, and the streams that outlive it."""

    def __init__(self) -> None:
        self._session = AriesSession()
        self._streams: dict[str, dict[Subscription, Stream]] = {}
        self._parts: dict[type[Payload], dict[str, list[Part | PrintPart]]] = {
            kind: {} for kind in (QuoteUpdate, TradeUpdate, GreeksUpdate, TimeAndSalesUpdate)
        }
        self._books: dict[str, Stream] = {}
        self._sent: dict[str, Wanted] = {}
        self._requests: dict[str, tuple[str, ...]] = {}
        self._seeds: list[Record] = []

    def columns(self, kind: Kind) -> Mapping[str, ColumnType]:
        """Every field that a frame of this kind can have."""
        return {"quotes": QUOTE_COLUMN_TYPES, "trades": PRINT_COLUMN_TYPES, "book": _BOOK_COLUMN_TYPES}[kind]

    def open(self, now: float) -> None:
        """Begin a new connection; the streams are asked for again after authentication."""
        self._session.open(now)
        self._sent.clear()
        self._requests.clear()
        for streams in self._streams.values():
            for stream in streams.values():
                stream.forget()

    def authenticate(self, token: str, now: float) -> None:
        """Send the token, at first or to renew the session in place."""
        self._session.authenticate(token, now)

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Add streams and ask for what of them is not running yet."""
        symbols: dict[str, None] = {}
        for subscription in subscriptions:
            streams = self._streams.setdefault(subscription.symbol, {})
            if subscription not in streams:
                stream = Stream(subscription)
                if subscription.kind == "quotes" and stream.borrow(streams.values()):
                    self._seeds.append((subscription, stream.ts, stream.values))
                streams[subscription] = stream
                self._route(stream)
            symbols[subscription.symbol] = None
        return self._ask(list(symbols)) if self._session.is_open else 0

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove streams and tell the server what nobody needs any more."""
        items: list[str | dict[str, Any]] = []
        for symbol in dict.fromkeys(subscription.symbol for subscription in subscriptions):
            streams = self._streams.get(symbol, {})
            for subscription in subscriptions:
                if subscription.symbol == symbol:
                    self._unroute(streams.pop(subscription, None))
            left = wanted(streams)
            before = self._sent.get(symbol, {})
            if not streams:
                self._streams.pop(symbol, None)
            if before and before != left:
                items.append(item_to_unsubscribe(symbol, before, left))
                self._sent[symbol] = left
            if not left:
                self._sent.pop(symbol, None)
        if items and self._session.is_open:
            self._session.send("unsubscribe", items)

    def receive(self, frame: bytes, received: int) -> Received:
        """Decode a frame in one go, line by line only where it does not fit the fast path."""
        notices: list[Notice] = []
        records: list[Record] = []
        if self._seeds:
            records, self._seeds = self._seeds, []
        try:
            payloads = [envelope.payload for envelope in decode_lines(frame)]
        except (MsgspecError, UnicodeDecodeError, RecursionError):
            for payload in self._line_by_line(frame, notices):
                self._apply([payload], received, records, notices)
        else:
            self._apply(payloads, received, records, notices)
        return records, notices

    def tick(self, now: float) -> Sequence[Notice]:
        """Keepalive and time limits of the session."""
        return self._session.tick(now)

    def outgoing(self) -> Sequence[str]:
        """Drain the frames to send."""
        return self._session.outgoing()

    def _apply(self, payloads: list[Payload], received: int, records: list[Record], notices: list[Notice]) -> None:
        routes = self._parts
        for payload in payloads:
            kind = type(payload)
            if kind is LevelTwoUpdate:
                self._apply_depth(cast("LevelTwoUpdate", payload), received, records, notices)
                continue
            if kind is StatusUpdate:
                notices.append(_status(cast("StatusUpdate", payload)))
                continue
            update = cast("QuoteUpdate", payload)  # or any of its likes: the parts know which
            parts = routes[kind].get(update.symbol)
            if parts is None:
                self._unasked(update, notices)
                continue
            data = update.data
            ms = data.quoteTimestamp if kind is QuoteUpdate else getattr(data, "tradeTimestamp", UNSET)
            if ms is UNSET:
                ms = update.timestamp
            elif ms.__class__ is str:
                ms = millis(ms) or update.timestamp
            ts = ms * 1_000_000 if 0 < ms < MAX_MS else received
            for part in parts:
                values = part.merge(data)
                if values is None:
                    continue
                stream = part.stream
                stream.values = values
                if stream.fence and ts == stream.ts and values == stream.last:
                    stream.fence = 0
                    continue
                stream.ts = ts
                stream.last = values
                records.append((stream.subscription, ts, values))

    def _apply_depth(self, update: LevelTwoUpdate, received: int, records: list[Record], notices: list[Notice]) -> None:
        stream = self._books.get(update.symbol)
        if stream is None:
            self._unasked(update, notices)
            return
        rows = update.data.orderBook
        if rows is UNSET:
            return
        values: list[float] = []
        for row in rows:
            try:
                ask_size, price, bid_size = map(float, row.split(":" if ":" in row else ","))
            except ValueError:
                notices.append(Unreadable("a level 2 row that is not askSize:price:bidSize", excerpt(row)))
                continue
            values += (price, bid_size, ask_size)
        ms = update.timestamp
        records.append((stream.subscription, ms * 1_000_000 if 0 < ms < MAX_MS else received, tuple(values)))

    def _line_by_line(self, frame: bytes, notices: list[Notice]) -> Iterator[Payload]:
        for line in frame.split(b"\n"):
            if not line or line.isspace():
                continue
            try:
                yield decode_lines(line)[0].payload
                continue
            except (MsgspecError, UnicodeDecodeError, RecursionError):
                message = parse_line(line)
            if isinstance(message, Unreadable):
                notices.append(message)
            elif self._session.is_update(message):
                payload, problems = update_from(message["payload"], line)
                notices.extend(problems)
                if payload is not None:
                    yield payload
            else:
                notices.extend(self._control(message, line))

    def _control(self, message: Mapping[str, Any], line: bytes) -> Iterator[Notice]:
        was_open = self._session.is_open
        for notice in self._session.control(message, line):
            if isinstance(notice, Rejected):
                yield self._name_symbols(notice)
                continue
            if isinstance(notice, Pong):
                self._lift_fences(notice.number)
            yield notice
        if self._session.is_open and not was_open:
            self._ask(list(self._streams))

    def _name_symbols(self, rejected: Rejected) -> Rejected:
        """Find whom a refusal is about: the symbols of that request which its text names, else all of them."""
        asked = self._requests.get(rejected.symbols[0], ()) if rejected.symbols else ()
        named = tuple(symbol for symbol in asked if _names(rejected.reason, symbol))
        for symbol in named or asked:
            self._sent.pop(symbol, None)
        return Rejected(named or asked, rejected.reason)

    def _ask(self, symbols: Sequence[str]) -> int:
        """Send what of these symbols is not running yet, and a ping behind it; returns the ping's number."""
        items: list[dict[str, Any]] = []
        touched: list[str] = []
        for symbol in symbols:
            need = wanted(self._streams[symbol])
            have = self._sent.get(symbol, {})
            new = {option: names for option, names in need.items() if option not in have or names != have[option]}
            if new:
                items.append(item_to_subscribe(symbol, {o: _added(n, have.get(o, ())) for o, n in new.items()}))
                self._sent[symbol] = need
                touched.append(symbol)
        todo = iter(items)
        while batch := list(islice(todo, SYMBOLS_PER_REQUEST)):
            request = self._session.send("subscribe", batch)
            self._requests[request] = tuple(item["symbol"] for item in batch)
        fence = self._session.ping()
        for symbol in touched:
            for stream in self._streams[symbol].values():
                stream.fence = fence if stream.ts else 0
        return fence

    def _lift_fences(self, number: int) -> None:
        for stream in chain.from_iterable(streams.values() for streams in self._streams.values()):
            if 0 < stream.fence <= number:
                stream.fence = 0

    def _route(self, stream: Stream) -> None:
        symbol = stream.subscription.symbol
        if stream.subscription.kind == "book":
            self._books[symbol] = stream
        elif stream.subscription.kind == "trades":
            self._parts[TimeAndSalesUpdate].setdefault(symbol, []).append(PrintPart(stream))
        for kind, part in stream.parts:
            self._parts[kind].setdefault(symbol, []).append(part)

    def _unroute(self, stream: Stream | None) -> None:
        if stream is None:
            return
        symbol = stream.subscription.symbol
        if stream.subscription.kind == "book":
            self._books.pop(symbol, None)
        for routes in self._parts.values():
            left = [part for part in routes.get(symbol, ()) if part.stream is not stream]
            routes.pop(symbol, None)
            if left:
                routes[symbol] = left

    def _unasked(self, update: Payload, notices: list[Notice]) -> None:
        symbol = getattr(update, "symbol", "")
        # What was still under way when we gave the symbol or the category up is no fault of the server's.
        if symbol not in self._streams:
            notices.append(Unreadable("a symbol nobody asked for", excerpt(f"{type(update).__name__} {symbol}")))


def _added(names: tuple[str, ...], have: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in have) or names


def _names(text: str, symbol: str) -> bool:
    start = text.find(symbol)
    while start >= 0:
        around = text[start - 1 : start] + text[start + len(symbol) : start + len(symbol) + 1]
        if not any(character.isalnum() for character in around):
            return True
        start = text.find(symbol, start + 1)
    return False


def _status(update: StatusUpdate) -> MarketStatus:
    flat: list[tuple[str, str]] = []
    for name, value in update.data.items():
        if isinstance(value, dict):
            flat += ((f"{name}.{key}", str(inner)) for key, inner in value.items())
        else:
            flat.append((name, json.dumps(value) if isinstance(value, bool) else str(value)))
    return MarketStatus(tuple(flat[:100]))
