"""The server's side of an Aries accounts connection, as text: what it says, what it was sent, what rows result."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from aries_nb.brokers.aries.accounts import AriesAccounts
from aries_nb.model import CLEAR, TABLE_KEYS, Kind, Notice, Record, Subscription, Unfinished
from tests.brokers.aries.lines import RECEIVED, auth_success, frame, line, said

PNL = (("interval", "1m"), ("start", "2026-03-02T14:30:00Z"))


def every(kind: Kind, symbol: str = "ACC-1", options: tuple[tuple[str, str], ...] = ()) -> Subscription:
    """A subscription to every field of a kind."""
    return Subscription(kind, symbol, tuple(AriesAccounts().COLUMNS.get(kind, {})), options)


ORDERS, POSITIONS, BALANCES, ACCOUNTS = (every(kind) for kind in ("orders", "positions", "balances", "accounts"))
MINUTES = every("pnl", options=PNL)
LISTS, NEWS = every("watchlists", ""), every("news", "")


def order(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "accountId": "ACC-1",
        "clOrdId": f"ORD-{number}",
        "ordId": "B-91",
        "symbol": "MSFT",
        "side": "BUY",
        "type": "LIMIT",
        "qty": "10",
        "cumQty": "4",
        "leavesQty": "6",
        "price": "500.00",
        "avgPrice": "499.98",
        "ordStatus": "PARTIALLY_FILLED",
        "updatedAt": "2026-03-02T15:04:05Z",
        **fields,
    }


def position(symbol: str = "MSFT", **fields: Any) -> dict[str, Any]:
    return {"accountId": "ACC-1", "symbol": symbol, "quantity": "10", "averagePrice": "499.98", **fields}


def account_event(name: str, data: object, **payload: Any) -> dict[str, Any]:
    return {"type": "event", "payload": {"topic": "account", "name": f"account.{name}", "data": data, **payload}}


def topic_event(topic: str, data: object, **payload: Any) -> dict[str, Any]:
    return {"type": "event", "payload": {"topic": topic, "data": data, **payload}}


def ack(request: dict[str, Any], **payload: Any) -> dict[str, Any]:
    topic = request["payload"]["topic"]
    return {"type": "subscribed", "id": request["id"], "payload": {"topic": topic, **payload}}


def connected(now: float = 0.0) -> AriesAccounts:
    """An open session without streams."""
    protocol = AriesAccounts()
    reopen(protocol, now)
    return protocol


def reopen(protocol: AriesAccounts, now: float = 0.0) -> list[dict[str, Any]]:
    """A new connection, up to the answer to the token; returns what was sent after that."""
    protocol.open(now)
    protocol.authenticate("secret-token", now)
    protocol.outgoing()
    protocol.receive([line(auth_success(expiresIn=3_900_000))], RECEIVED)
    return sent(protocol)


def opened(*subscriptions: Subscription, now: float = 0.0) -> AriesAccounts:
    """An open session, subscribed, everything acknowledged without a snapshot, every ping answered."""
    protocol = connected(now)
    protocol.subscribe(subscriptions)
    answer(protocol)
    return protocol


def asked(*subscriptions: Subscription) -> tuple[AriesAccounts, list[dict[str, Any]], int]:
    """A protocol with subscribe requests on their way, those requests, and the ping's number."""
    protocol = connected()
    number = protocol.subscribe(subscriptions)
    return protocol, sent(protocol, "subscribe"), number


def answer(protocol: AriesAccounts) -> list[Notice]:
    """Acknowledge and pong whatever was sent; returns what came of it."""
    answers = [
        {"type": "pong", "id": request["id"]} if request["type"] == "ping" else ack(request)
        for request in sent(protocol)
    ]
    return list(protocol.receive([frame(*answers)], RECEIVED)[1])


def sent(protocol: AriesAccounts, *kinds: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [json.loads(text) for text in protocol.outgoing()]
    return [message for message in messages if not kinds or message["type"] in kinds]


def records(protocol: AriesAccounts, *messages: object) -> list[Record]:
    """What one frame of these messages yields, where it must not give rise to a notice but counts."""
    found, notices = whole(protocol, frame(*messages))
    assert said(notices) == []
    return found


def whole(protocol: AriesAccounts, frame: bytes) -> tuple[list[Record], list[Notice]]:
    """What one frame yields, in as many calls as it takes."""
    found: list[Record] = []
    notices: list[Notice] = [Unfinished()]
    frames = [frame]
    while Unfinished() in notices:
        notices.remove(Unfinished())
        more, told = protocol.receive(frames, RECEIVED)
        found, notices, frames = [*found, *more], [*notices, *told], []
    return found, notices


def fields(record: Record) -> dict[str, Any]:
    """The fields of a record by name, without its first value."""
    return dict(zip(record[0].fields, record[2][1:], strict=True))


def table(found: Iterable[Record], subscription: Subscription) -> dict[tuple[Any, ...], dict[str, str]]:
    """The rows that records of one subscription lead to, as texts: a missing decimal does not equal itself."""
    rows: dict[tuple[Any, ...], dict[str, str]] = {}
    for record in found:
        if record[0] != subscription:
            continue
        if record[2][0] == CLEAR:
            rows.clear()
            continue
        row = fields(record)
        rows[tuple(row[name] for name in TABLE_KEYS[subscription.kind])] = {
            name: str(value) for name, value in row.items()
        }
    return rows
