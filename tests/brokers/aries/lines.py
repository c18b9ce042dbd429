"""The server's side of an Aries market connection, as text: what it says, and what it was sent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from aries_nb.brokers.aries.market import AriesMarket
from aries_nb.model import VENUE_COLUMNS, Counted, Notice, Record, Subscription, Unrequested

QUOTES = ("bid_price", "bid_size", "ask_price", "ask_size")
RECEIVED = 1_900_000_000_000_000_000
MS = 1_772_463_845_010
NS = MS * 1_000_000
FULL = {"bidPrice": 501.1, "bidSize": 300, "askPrice": 501.14, "askSize": 200, "quoteTimestamp": MS}
FULL_VALUES = (501.1, 300.0, 501.14, 200.0)


def quotes(symbol: str = "MSFT", fields: tuple[str, ...] = QUOTES) -> Subscription:
    return Subscription("quotes", symbol, fields)


def trades(symbol: str = "MSFT", fields: tuple[str, ...] = ("price", "size", "trade_id")) -> Subscription:
    return Subscription("trades", symbol, fields)


def book(symbol: str = "MSFT") -> Subscription:
    return Subscription("book", symbol)


def venues(symbol: str = "MSFT") -> Subscription:
    return Subscription("venues", symbol, tuple(column.name for column in VENUE_COLUMNS))


def line(message: object) -> bytes:
    return json.dumps(message).encode()


def frame(*messages: object) -> bytes:
    return b"\n".join(map(line, messages))


def event(action: str, **payload: Any) -> dict[str, Any]:
    return {"type": "event", "payload": {"action": action, **payload}}


def update(stream: str, data: object, symbol: str = "MSFT", **payload: Any) -> dict[str, Any]:
    return event("update", type=stream, symbol=symbol, data=data, **payload)


def quote(symbol: str = "MSFT", **data: Any) -> dict[str, Any]:
    return update("quote", data, symbol)


def sale(symbol: str = "MSFT", **data: Any) -> dict[str, Any]:
    return update("timeAndSales", data, symbol)


def auth_success(**data: Any) -> dict[str, Any]:
    return event("authSuccess", data=data) if data else event("authSuccess")


def opened(*subscriptions: Subscription, now: float = 0.0) -> AriesMarket:
    """A market with an open session, subscribed, and everything that it wants sent taken away."""
    market = AriesMarket()
    reopen(market, now=now)
    market.subscribe(subscriptions)
    answer_pings(market)
    return market


def reopen(market: AriesMarket, now: float = 0.0) -> list[dict[str, Any]]:
    """A new connection, up to the answer to the token; returns what was sent after that."""
    market.open(now)
    market.authenticate("secret-token", now)
    market.outgoing()
    market.receive([line(auth_success(expiresIn=2_700_000))], RECEIVED)
    return sent(market)


def sent(market: AriesMarket, *kinds: str) -> list[dict[str, Any]]:
    """Drain what the market wants sent; only these types of message if any is given."""
    messages: list[dict[str, Any]] = [json.loads(text) for text in market.outgoing()]
    return [message for message in messages if not kinds or message["type"] in kinds]


def answer_pings(market: AriesMarket) -> None:
    for ping in sent(market, "ping"):
        market.receive([line({"type": "pong", "id": ping["id"]})], RECEIVED)


def records(market: AriesMarket, *messages: object) -> list[Record]:
    """What one frame of these messages yields, where it must not give rise to a notice but counts."""
    found, notices = market.receive([frame(*messages)], RECEIVED)
    assert said(notices) == []
    return list(found)


def said(notices: Iterable[Notice]) -> list[Notice]:
    """Notices without what is only counted."""
    return [notice for notice in notices if not isinstance(notice, Counted | Unrequested)]


def counts(notices: Iterable[Notice]) -> Counter[tuple[str, str]]:
    """What is only counted: how many messages of which kind and symbol as what; Unasked as ("", "unasked")."""
    counted: Counter[tuple[str, str]] = Counter()
    for notice in notices:
        if isinstance(notice, Counted):
            counted[notice.subscription.kind, notice.what] += notice.count
        elif isinstance(notice, Unrequested):
            counted["", "unasked"] += 1
    return counted


def values(market: AriesMarket, *messages: object) -> list[tuple[Any, ...]]:
    return [record[2] for record in records(market, *messages)]
