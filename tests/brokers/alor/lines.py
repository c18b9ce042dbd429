"""The server's side of an ALOR connection, as text: what it says, and what it was sent.

Names are written out here by the protocol page's tables, a second time, so that a slip in the code is not repeated.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Literal, TypeVar, get_args

from aries_nb.brokers.alor.account_fields import TABLE_FIELDS
from aries_nb.brokers.alor.connection import AlorConnection
from aries_nb.brokers.alor.streams import key_of
from aries_nb.model import Kind, Notice, Pong, Record, Resumed, SessionOpened, Subscription
from tests.brokers.aries.lines import said

Format = Literal["slim", "simple", "heavy"]
FORMATS: tuple[Format, ...] = get_args(Format)
RECEIVED = 1_755_849_605_000_000_000
SECONDS = 1_755_849_600
MS = SECONDS * 1_000 + 123
NS = MS * 1_000_000
QUOTES = ("bid_price", "bid_size", "ask_price", "ask_size", "last_price")
TRADES = ("price", "size", "side", "trade_id", "venue")
BARS = ("open", "high", "low", "close", "volume")
W = TypeVar("W", bound=AlorConnection)

QUOTE: dict[Format, dict[str, Any]] = {
    "slim": {
        "sym": "SBER", "ex": "MOEX", "desc": "Сбербанк", "tst": SECONDS, "tso": MS, "o": 300.1, "h": 305.2,
        "l": 299.5, "c": 301.25, "v": 123456, "acci": 0, "oi": None, "y": None, "ask": 301.3, "bid": 301.2, "av": 120,
        "bv": 340, "tbv": 120000, "tav": 130000, "lot": 10, "lotv": 3012.5, "fv": 3, "t": "CS",
    },
    "simple": {
        "symbol": "SBER", "exchange": "MOEX", "description": "Сбербанк", "prev_close_price": 299.0,
        "last_price": 301.25, "last_price_timestamp": SECONDS, "high_price": 305.2, "low_price": 299.5,
        "accruedInt": 0, "volume": 123456, "open_interest": None, "ask": 301.3, "bid": 301.2, "ask_vol": 120,
        "bid_vol": 340, "ob_ms_timestamp": MS, "open_price": 300.1, "yield": None, "lotsize": 10, "lotvalue": 3012.5,
        "facevalue": 3, "type": "CS", "total_bid_vol": 120000, "total_ask_vol": 130000, "accrued_interest": 0,
        "change": 2.25, "change_percent": 0.75,
    },
    "heavy": {
        "symbol": "SBER", "exchange": "MOEX", "description": "Сбербанк", "currency": "RUB", "prevClosePrice": 299.0,
        "lastPrice": 301.25, "lastPriceTimestamp": SECONDS, "highPrice": 305.2, "lowPrice": 299.5,
        "accruedInterest": 0, "volume": 123456, "openInterest": None, "ask": 301.3, "bid": 301.2, "askVol": 120,
        "bidVol": 340, "obMsTimestamp": MS, "openPrice": 300.1, "yield": None, "lotSize": 10, "lotValue": 3012.5,
        "faceValue": 3, "type": "CS", "totalBidVol": 120000, "totalAskVol": 130000, "change": 2.25,
        "changePercent": 0.75,
    },
}  # fmt: skip
QUOTE_VALUES = (301.2, 340.0, 301.3, 120.0, 301.25)
TRADE_NAMES: dict[Format, dict[str, str]] = {
    "slim": {"size": "q", "price": "px", "ms": "t", "existing": "h", "side": "s", "board": "bd", "symbol": "sym"},
    "simple": {"size": "qty", "price": "price", "ms": "timestamp", "existing": "existing", "side": "side"},
    "heavy": {"size": "qty", "price": "price", "ms": "timestamp", "existing": "existing", "side": "side"},
}
LEVEL_NAMES: dict[Format, tuple[str, str, str, str, str, str]] = {
    "slim": ("b", "a", "p", "v", "t", "h"),
    "simple": ("bids", "asks", "price", "volume", "ms_timestamp", "existing"),
    "heavy": ("bids", "asks", "price", "volume", "msTimestamp", "existing"),
}
BAR_NAMES: dict[Format, tuple[str, ...]] = {
    "slim": ("t", "c", "o", "h", "l", "v"),
    "simple": ("time", "close", "open", "high", "low", "volume"),
    "heavy": ("time", "close", "open", "high", "low", "volume"),
}


def quote(form: Format = "slim", **fields: Any) -> dict[str, Any]:
    return {**QUOTE[form], **fields}


def trade(trade_id: int, form: Format = "slim", *, existing: bool = False, **fields: Any) -> dict[str, Any]:
    """A trade whose price and time go with its id, unless said otherwise."""
    said = {"size": 7, "price": 100.0 + trade_id % 1_000, "ms": MS + trade_id % 1_000, "side": "buy", "board": "TQBR"}
    said |= {"existing": existing, "symbol": "SBER", **fields}
    iso = {} if form == "slim" else {"time": "2025-08-22T08:00:00.1230000Z", "orderno": 0}
    return {"id": trade_id, "oi": 0, **iso, **{TRADE_NAMES[form].get(name, name): said[name] for name in said}}


def order_book(
    bids: dict[float, int], asks: dict[float, int], form: Format = "slim", *, existing: bool = False
) -> dict[str, Any]:
    """A whole book, best prices first."""
    b, a, price, volume, time, flag = LEVEL_NAMES[form]
    sides = {
        b: [{price: each, volume: bids[each]} for each in sorted(bids, reverse=True)],
        a: [{price: each, volume: asks[each]} for each in sorted(asks)],
    }
    old = {"snapshot": True, "timestamp": SECONDS} if form == "simple" else {}
    return {**old, **sides, time: MS, flag: existing}


def bar(start: int, close: float = 101.5, form: Format = "slim", **fields: Any) -> dict[str, Any]:
    values = (start, close, 101.0, 102.0, 100.9, 731)
    return {**dict(zip(BAR_NAMES[form], values, strict=True)), **fields}


def data(guid: str, content: Any) -> bytes:
    """A data frame with the spaces of §3.1; decimals as they are written."""
    return f'{{ "data": {compact(content)}, "guid":"{guid}" }}'.encode()


def reply(guid: str, code: int = 200, message: str = "Handled successfully") -> bytes:
    """A reply frame of §3.2."""
    return f'{{"requestGuid":"{guid}","httpCode":{code},"message":"{message}"}}'.encode()


def compact(content: Any) -> str:
    """JSON text without spaces; a Decimal keeps every digit."""
    if isinstance(content, Decimal):
        return str(content)
    if isinstance(content, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{compact(value)}" for key, value in content.items()) + "}"
    if isinstance(content, list):
        return "[" + ",".join(map(compact, content)) + "]"
    text = json.dumps(content, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(content)


def quotes(symbol: str = "SBER", fields: tuple[str, ...] = QUOTES, **options: str) -> Subscription:
    return Subscription("quotes", symbol, fields, tuple(options.items()))


def trades(symbol: str = "SBER", fields: tuple[str, ...] = TRADES) -> Subscription:
    return Subscription("trades", symbol, fields)


def book(symbol: str = "SBER", **options: str) -> Subscription:
    return Subscription("book", symbol, (), tuple(options.items()))


def bars(symbol: str = "SBER", *, interval: str = "60", start: str = str(SECONDS)) -> Subscription:
    return Subscription("bars", symbol, BARS, (("interval", interval), ("start", start)))


def every(kind: Kind, symbol: str = "D00000") -> Subscription:
    """A subscription to every field of a table."""
    return Subscription(kind, symbol, tuple(TABLE_FIELDS[kind]))


def format_of(kind: Kind) -> Format:
    """The format that every field of a table is asked for in."""
    return {"fills": "heavy", "derivative_risks": "simple"}.get(kind, "slim")  # type: ignore[return-value]


def sent(protocol: AlorConnection, *opcodes: str) -> list[dict[str, Any]]:
    """Drain what the protocol wants sent; only these opcodes if any is given."""
    messages: list[dict[str, Any]] = [json.loads(text) for text in protocol.outgoing()]
    return [message for message in messages if not opcodes or message["opcode"] in opcodes]


def receive(protocol: AlorConnection, *frames: bytes, received: int = RECEIVED) -> tuple[list[Record], list[Notice]]:
    """What some frames yield, one after the other, but for what is only counted."""
    records: list[Record] = []
    notices: list[Notice] = []
    for frame in frames:
        found, emitted = protocol.receive([frame], received)
        records += found
        notices += said(emitted)
    return records, notices


def records(protocol: AlorConnection, *frames: bytes, received: int = RECEIVED) -> list[Record]:
    """The same where nothing but the session's own talk may be said besides."""
    found, notices = receive(protocol, *frames, received=received)
    assert [notice for notice in notices if not isinstance(notice, Pong | Resumed | SessionOpened)] == []
    return found


def begin(protocol: W, token: str = "token-1", now: float = 0.0) -> list[dict[str, Any]]:
    """A new connection, up to what is asked on it."""
    protocol.open(now)
    protocol.authenticate(token, now)
    return sent(protocol)


def answer(protocol: AlorConnection, requests: list[dict[str, Any]] | None = None) -> list[Record]:
    """Accept everything that was asked, pings included; returns the records that come of it."""
    return records(
        protocol, *(reply(request["guid"]) for request in (sent(protocol) if requests is None else requests))
    )


def opened(protocol: W, *subscriptions: Subscription) -> W:
    """An open session with these streams running, everything answered and no data yet."""
    answer(protocol, begin(protocol))
    protocol.subscribe(subscriptions)
    answer(protocol)
    return protocol


def guid_of(protocol: AlorConnection, subscription: Subscription) -> str:
    """The guid that a stream is known by."""
    return protocol._streams[key_of(subscription)].guid


def values(found: list[Record]) -> list[tuple[Any, ...]]:
    return [record[2] for record in found]
