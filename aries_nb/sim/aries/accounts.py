"""Session on the simulated Aries accounts endpoint: account, P&L, watchlist and news topics.

Source: Aries' protocol page §5, §8 (D7: old topic names) and §9 (U16: where the snapshot is, and the fields of the
objects), with the assumptions that they have.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aries_nb.sim.accounts.accounts import (
    BalanceChanged,
    CandleChanged,
    NewsPublished,
    OrderChanged,
    PositionChanged,
    WatchlistsChanged,
)
from aries_nb.sim.accounts.pnl import INTERVALS, bucket_start
from aries_nb.sim.aries import account_objects as objects
from aries_nb.sim.aries import messages
from aries_nb.sim.aries.session import AriesSession, BadRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aries_nb.sim.accounts.accounts import Accounts, Change
    from aries_nb.sim.settings import SimOptions

__all__ = ["AccountsSession"]

#: Topic names of an older protocol, answered in the new form (§8 D7).
OLD_TOPICS = {"accUpdates": "account", "pnlCandle": "pnl", "watchlistUpdates": "watchlist"}
#: Most symbols and most topics in one news filter (§5.1: limits of the REST call).
MAX_FILTER = 10
#: A `startTime` later than this (the year 3000, Unix s) is refused, and one before 1970 is like 1970.
LAST_START = 32_503_680_000.0


class AccountsSession(AriesSession):
    """One connection to the simulated Aries accounts endpoint. Owned by the server's event loop, as the accounts are.

    Listens to the accounts from the first subscription to the end of the session. `snapshot_in_ack` puts the
    snapshot into the acknowledgement's `payload.data`; otherwise it follows as an event of the topic (which of both
    is unknown, Aries' protocol page §5.2).
    """

    def __init__(self, options: SimOptions, accounts: Accounts, now: float, *, snapshot_in_ack: bool = True) -> None:
        super().__init__(options, now)
        self._all = accounts
        self._snapshot_in_ack = snapshot_in_ack
        self._is_joined = False
        self._accounts: set[str] = set()
        #: Start of the first requested bucket (Unix s), by account and interval.
        self._candles: dict[tuple[str, str], int] = {}
        self._has_watchlists = False
        #: Requested symbols and topics, both empty for all news; None if there is no subscription.
        self._news: tuple[frozenset[str], frozenset[str]] | None = None

    def subscriptions(self) -> dict[str, dict[str, Any]]:
        """Return the present subscriptions by topic, with their parameters, in the protocol's names."""
        held: dict[str, dict[str, Any]] = {}
        if self._accounts:
            held["account"] = {"accountId": sorted(self._accounts)}
        for account, interval in sorted(self._candles):
            held.setdefault("pnl", {}).setdefault(account, []).append(interval)
        if self._has_watchlists:
            held["watchlist"] = {}
        if self._news is not None:
            held["news"] = {"symbols": sorted(self._news[0]), "topics": sorted(self._news[1])}
        return held

    def _subscribe(self, payload: object, ident: str | None, now: float) -> None:
        topic, params = _read(payload)
        if not self._is_joined:
            self._all.add_listener(self._on_changes)
            self._is_joined = True
        # Changes not yet published come before the snapshot, which already contains them.
        self._all.publish(now)
        if topic == "account":
            self._subscribe_account(params, ident, now)
        elif topic == "pnl":
            self._subscribe_pnl(params, ident, now)
        elif topic == "watchlist":
            self._has_watchlists = True
            lists = [objects.watchlist_object(each) for each in self._all.watchlists]
            self._acknowledge("watchlist", ident, {}, lists)
        elif topic == "news":
            self._news = (_texts(params, "symbols"), _texts(params, "topics"))
            symbols, topics = self._news
            self._acknowledge("news", ident, {}, objects.news(self._all, symbols=symbols, topics=topics))
        else:
            self._refuse(f"unknown topic: {topic}", now, ident, code="UNKNOWN_TOPIC")

    def _unsubscribe(self, payload: object, ident: str | None, now: float) -> None:
        topic, params = _read(payload)
        if topic == "account":
            self._accounts.discard(_text(params, "accountId"))
        elif topic == "pnl":
            account = _text(params, "accountId")
            self._candles = {key: since for key, since in self._candles.items() if key[0] != account}
        elif topic == "watchlist":
            self._has_watchlists = False
        elif topic == "news":
            self._news = None
        else:
            self._refuse(f"unknown topic: {topic}", now, ident, code="UNKNOWN_TOPIC")
            return
        self.outbox.append(messages.response(ident, {"status": 200, "topic": topic}))

    def _ended(self) -> None:
        self._all.remove_listener(self._on_changes)

    def _subscribe_account(self, params: dict[str, Any], ident: str | None, now: float) -> None:
        account = _text(params, "accountId")
        if not self._is_own(account, ident, now):
            return
        self._accounts.add(account)
        data = {
            "account": objects.balance(self._all, account),
            **objects.positions(self._all, account),
            "ordersV2": [objects.order_object(order) for order in self._all.brokerage.active_orders(account)],
        }
        self._acknowledge("account", ident, {"name": "account.snapshot", "target": account}, data)
        self._send_account("account.info", account, objects.account_object(self._all.brokerage.terms[account]))

    def _subscribe_pnl(self, params: dict[str, Any], ident: str | None, now: float) -> None:
        account, interval = _text(params, "accountId"), _text(params, "interval")
        since = _time(_text(params, "startTime"))
        if interval not in INTERVALS:
            raise BadRequestError(f"unknown interval, use one of {' '.join(INTERVALS)}")
        if not self._is_own(account, ident, now):
            return
        self._candles[account, interval] = bucket_start(interval, since)
        self.outbox.append(_line("subscribed", {"topic": "pnl"}, ident))
        for candle in self._all.candles(account, interval, since, now=now):
            self._send("pnl", objects.candle_object(account, candle))

    def _is_own(self, account: str, ident: str | None, now: float) -> bool:
        """Return whether the account belongs to the user; if not, send an error event with the request's id `ident`."""
        if account in self._all.names:
            return True
        self._refuse(f"not an account of this user: {account}", now, ident, code="FORBIDDEN")
        return False

    def _acknowledge(self, topic: str, ident: str | None, event: dict[str, Any], data: object) -> None:
        if self._snapshot_in_ack:
            self.outbox.append(_line("subscribed", {"topic": topic, "data": data}, ident))
        else:
            self.outbox.append(_line("subscribed", {"topic": topic}, ident))
            self._send(topic, data, **event)

    def _on_changes(self, changes: Sequence[Change], now: float) -> None:  # noqa: ARG002 - the objects carry their times
        for change in changes:
            match change:
                case OrderChanged(order):
                    self._send_account("account.order", order.account, objects.order_object(order))
                case PositionChanged(account, holding):
                    self._send_account("account.position", account, objects.position_object(account, holding))
                case BalanceChanged(books):
                    self._send_account("account.balance", books.account, objects.balance_object(books))
                case CandleChanged(account, candle):
                    since = self._candles.get((account, candle.interval))
                    if since is not None and candle.start >= since:
                        self._send("pnl", objects.candle_object(account, candle))
                case WatchlistsChanged(lists) if self._has_watchlists:
                    self._send("watchlist", [objects.watchlist_object(each) for each in lists])
                case NewsPublished(headline) if self._news is not None and objects.matching(headline, *self._news):
                    self._send("news", [objects.news_object(headline)])

    def _send_account(self, name: str, account: str, data: object) -> None:
        if account in self._accounts:
            self._send("account", data, name=name, target=account)

    def _send(self, topic: str, data: object, **more: str) -> None:
        self.outbox.append(_line("event", {"topic": topic, **more, "data": data}))


def _line(kind: str, payload: dict[str, Any], ident: str | None = None) -> str:
    envelope: dict[str, Any] = {"type": kind}
    if ident is not None:
        envelope["id"] = ident
    return json.dumps({**envelope, "payload": payload}, separators=(",", ":"), ensure_ascii=True)


def _read(payload: object) -> tuple[str, dict[str, Any]]:
    """Return the topic of a request under its present name (an old one is accepted) and its params.

    Missing params are empty. Raises BadRequestError for an invalid payload (Aries' protocol page §5.1).
    """
    if not isinstance(payload, dict):
        raise BadRequestError("payload must be an object")
    topic, params = payload.get("topic"), payload.get("params")
    if not isinstance(topic, str) or not topic:
        raise BadRequestError("topic is required")
    if params is not None and not isinstance(params, dict):
        raise BadRequestError("params must be an object")
    return OLD_TOPICS.get(topic, topic), params or {}


def _text(params: dict[str, Any], name: str) -> str:
    text = params.get(name)
    if not isinstance(text, str) or not text:
        raise BadRequestError(f"{name} is required")
    return text


def _texts(params: dict[str, Any], name: str) -> frozenset[str]:
    texts = params.get(name)
    if texts is None:
        return frozenset()
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadRequestError(f"{name} must be an array of strings")
    if len(texts) > MAX_FILTER:
        raise BadRequestError(f"at most {MAX_FILTER} {name}")
    return frozenset(texts)


def _time(text: str) -> float:
    """Return an RFC 3339 time with a zone as Unix s, at least 0. Raises BadRequestError for any other text."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or "T" not in text.upper() or time.timestamp() > LAST_START:
        raise BadRequestError("startTime must be an RFC 3339 time with a zone")
    return max(0.0, time.timestamp())
