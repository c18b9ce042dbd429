from __future__ import annotations

import json
import re
from typing import Any

import pytest

from aries_nb.sim.aries.accounts import AccountsSession
from aries_nb.sim.aries.session import AriesSession
from aries_nb.sim.settings import SimOptions
from tests.sim.bare_client import auth
from tests.sim.trading import NOW, quiet_accounts, quote

MONDAY = "2026-03-02T15:04:05Z"  # NOW


class Client:
    """A session without a socket, logged in, on accounts that do not trade by themselves."""

    def __init__(self, *, snapshot_in_ack: bool = True, log_in: bool = True, **accounts: Any) -> None:
        self.accounts = quiet_accounts(**accounts)
        self.session = AccountsSession(SimOptions(), self.accounts, NOW, snapshot_in_ack=snapshot_in_ack)
        if log_in:
            self.session.receive(json.dumps(auth("t")), NOW)
            self.drain()

    def drain(self) -> list[dict[str, Any]]:
        assert all(line.isascii() for line in self.session.outbox)
        messages = [json.loads(line) for line in self.session.outbox]
        self.session.outbox.clear()
        return messages

    def send(self, kind: str, payload: Any, ident: str = "a-1") -> list[dict[str, Any]]:
        self.session.receive(json.dumps({"type": kind, "id": ident, "payload": payload}), NOW)
        return self.drain()

    def subscribe(self, topic: str, **params: Any) -> list[dict[str, Any]]:
        return self.send("subscribe", {"topic": topic, "params": params} if params else {"topic": topic})

    def advance(self, seconds: float = 0.05, now: float = NOW) -> list[dict[str, Any]]:
        self.accounts.advance(seconds, now)
        return self.drain()


def named(messages: list[dict[str, Any]], name: str) -> list[Any]:
    return [message["payload"]["data"] for message in messages if message["payload"].get("name") == name]


def of_topic(messages: list[dict[str, Any]], topic: str) -> list[Any]:
    return [message["payload"]["data"] for message in messages if message["payload"].get("topic") == topic]


def error_of(messages: list[dict[str, Any]]) -> tuple[str, str, str]:
    (message,) = messages
    payload = message["payload"]
    assert (message["type"], payload["action"]) == ("event", "error")
    return payload["code"], payload["id"], payload["error"]


def test_session_is_one_of_the_server() -> None:
    assert isinstance(Client().session, AriesSession)


def test_account_is_acknowledged_with_its_snapshot() -> None:
    client = Client()
    client.accounts.brokerage.place("ACC-1", "KO", "buy", "limit", 5, price="1.5", now=NOW)

    ack, info = client.subscribe("account", accountId="ACC-1")

    assert (ack["type"], ack["id"], ack["payload"]["topic"]) == ("subscribed", "a-1", "account")
    snapshot = ack["payload"]["data"]
    assert snapshot["account"]["accountId"] == "ACC-1"
    assert snapshot["account"]["cashBalance"] == "250000.00"
    assert [each["symbol"] for each in snapshot["positions"]] == ["AAPL", "MSFT", "TSLA"]
    assert [(each["clOrdId"], each["ordStatus"]) for each in snapshot["ordersV2"]] == [("ORD-1", "NEW")]
    assert info["payload"]["name"] == "account.info"
    assert info["payload"]["data"]["trading_account_id"] == "ACC-1"


def test_snapshot_may_follow_as_an_event_instead() -> None:
    ack, event, _ = Client(snapshot_in_ack=False).subscribe("account", accountId="ACC-1")

    assert ack == {"type": "subscribed", "id": "a-1", "payload": {"topic": "account"}}
    assert event["type"] == "event"
    assert event["payload"].keys() == {"topic", "name", "target", "data"}
    assert event["payload"]["data"].keys() == {"account", "positions", "ordersV2"}


def test_every_state_of_an_order_is_sent() -> None:
    client = Client()
    client.subscribe("account", accountId="ACC-1")
    quote(client.accounts.market, "KO", "71.20", "71.22", ask_size=4)

    client.accounts.brokerage.place("ACC-1", "KO", "buy", "market", 10, now=NOW)
    quote(client.accounts.market, "KO", "71.20", "71.22")
    messages = client.advance(now=NOW + 0.25)

    orders = named(messages, "account.order")
    assert [each["ordStatus"] for each in orders] == ["PENDING_NEW", "NEW", "PARTIALLY_FILLED", "FILLED"]
    assert [each["cumQty"] for each in orders] == ["0", "0", "4", "10"]
    partial = orders[2]
    assert partial == {
        "accountId": "ACC-1",
        "clientId": "",
        "clOrdId": "ORD-1",
        "ordId": "B-1",
        "symbol": "KO",
        "side": "BUY",
        "type": "MARKET",
        "timeInForce": "DAY",
        "category": "EQUITY",
        "securityType": "EQUITY",
        "qty": "10",
        "cumQty": "4",
        "leavesQty": "6",
        "price": "0",
        "stopPrice": "0",
        "avgPrice": "71.2200",
        "ordStatus": "PARTIALLY_FILLED",
        "currency": "USD",
        "createdAt": "2026-03-02T15:04:05.000Z",
        "updatedAt": "2026-03-02T15:04:05.000Z",
    }
    assert orders[3]["updatedAt"] == "2026-03-02T15:04:05.250Z"
    (position,), (balance,) = named(messages, "account.position"), named(messages, "account.balance")
    assert (position["symbol"], position["quantity"], position["averagePrice"]) == ("KO", "10", "71.2200")
    assert balance["pendingOrdersCount"] == 0
    assert {message["payload"]["target"] for message in messages} == {"ACC-1"}


def test_closed_position_has_quantity_zero_and_no_price() -> None:
    client = Client()
    client.subscribe("account", accountId="ACC-2")
    quote(client.accounts.market, "SPY", "672.20", "672.22")

    client.accounts.brokerage.place("ACC-2", "SPY", "sell", "market", 40, now=NOW)
    (position,) = named(client.advance(), "account.position")

    assert (position["quantity"], float(position["unrealizedPl"])) == ("0", 0.0)
    assert position["todayRealizedPnL"] == position["todayPl"] != "0"
    assert not position.keys() & {"price", "marketValue", "costBasis"}


def test_snapshot_comes_after_what_it_already_holds() -> None:
    client = Client()
    client.subscribe("account", accountId="ACC-1")
    client.accounts.brokerage.place("ACC-1", "KO", "buy", "limit", 5, price="1.5", now=NOW)

    *before, ack, _ = client.subscribe("account", accountId="ACC-1")

    assert [each["ordStatus"] for each in named(before, "account.order")] == ["PENDING_NEW", "NEW"]
    assert ack["type"] == "subscribed"
    assert client.advance() == []


def test_accounts_are_subscribed_one_by_one() -> None:
    client = Client()
    client.subscribe("account", accountId="ACC-1")
    place = client.accounts.brokerage.place

    place("ACC-1", "KO", "buy", "limit", 1, price=1, now=NOW)
    place("ACC-2", "KO", "buy", "limit", 1, price=1, now=NOW)
    only = {message["payload"]["target"] for message in client.advance()}
    client.subscribe("account", accountId="ACC-2")
    place("ACC-1", "KO", "buy", "limit", 1, price=1, now=NOW)
    place("ACC-2", "KO", "buy", "limit", 1, price=1, now=NOW)
    both = {message["payload"]["target"] for message in client.advance()}

    assert (only, both) == ({"ACC-1"}, {"ACC-1", "ACC-2"})


def test_pnl_is_replayed_from_its_start_and_then_goes_on() -> None:
    client = Client()

    ack, *replay = client.subscribe("pnl", accountId="ACC-1", startTime="2026-03-02T10:00:30-05:00", interval="1m")
    updates = [client.advance(0.5, NOW + 0.5 * (turn + 1)) for turn in range(8)]

    assert ack == {"type": "subscribed", "id": "a-1", "payload": {"topic": "pnl"}}
    candles = of_topic(replay, "pnl")
    start = 1_772_463_600_000  # 15:00 UTC
    assert [each["time"] for each in candles] == [start + minute * 60_000 for minute in range(5)]
    assert candles[0].keys() == {"accountId", "interval", "time", "open", "high", "low", "close"}
    assert all(isinstance(candles[0][name], float) for name in ("open", "high", "low", "close"))
    live = [each for messages in updates for each in of_topic(messages, "pnl")]
    assert [(each["interval"], each["time"]) for each in live] == [("1m", start + 240_000)] * 4
    assert live[-1]["low"] <= live[-1]["close"] <= live[-1]["high"]


def test_pnl_of_the_future_is_silent_until_then() -> None:
    client = Client()

    messages = client.subscribe("pnl", accountId="ACC-1", startTime="2026-03-02T15:06:00Z", interval="1m")
    early = client.advance(1.0, NOW + 1)
    then = client.advance(1.0, NOW + 115)

    assert len(messages) == 1
    assert early == []
    assert [each["time"] for each in of_topic(then, "pnl")] == [1_772_463_960_000]


def test_one_account_has_several_intervals_and_one_unsubscribe_ends_them() -> None:
    client = Client()
    for interval in ("15s", "1h"):
        client.subscribe("pnl", accountId="ACC-1", startTime=MONDAY, interval=interval)

    received = {each["interval"] for each in of_topic(client.advance(1.0, NOW + 1), "pnl")}
    (answer,) = client.send("unsubscribe", {"topic": "pnl", "params": {"accountId": "ACC-1"}})

    assert received == {"15s", "1h"}
    assert (answer["type"], answer["id"]) == ("response", "a-1")
    assert client.advance(1.0, NOW + 2) == []


@pytest.mark.parametrize(
    "params",
    [
        {"interval": "4h"},
        {"interval": "1y"},
        {"interval": 5},
        {"startTime": None},
        {"startTime": "yesterday"},
        {"startTime": "2026-03-02T15:00:00"},
        {"startTime": "2026-03-02"},
        {"startTime": "9999-12-31T23:59:59-23:00"},
        {"accountId": ""},
    ],
)
def test_wrong_pnl_params_are_refused(params: dict[str, Any]) -> None:
    client = Client()
    good = {"accountId": "ACC-1", "startTime": MONDAY, "interval": "1m"}

    messages = client.subscribe("pnl", **{**good, **params})

    assert error_of(messages)[:2] == ("BAD_REQUEST", "a-1")
    assert client.session.subscriptions() == {}


def test_pnl_from_before_all_history_gives_what_there_is() -> None:
    messages = Client().subscribe("pnl", accountId="ACC-1", startTime="0001-01-01T00:00:00+23:00", interval="1mo")

    assert 3 <= len(of_topic(messages[1:], "pnl")) <= 5


def test_watchlists_come_all_at_once_and_again_when_one_changes() -> None:
    client = Client(watchlist_s=1.0)

    (ack,) = client.subscribe("watchlist")
    messages = [message for turn in range(100) for message in client.advance(0.1, NOW + turn * 0.1)]

    before = ack["payload"]["data"]
    assert [each["name"] for each in before] == ["Core", "Funds", "Ideas"]
    assert all(each.keys() == {"id", "name", "symbols"} for each in before)
    after = of_topic(messages, "watchlist")
    assert after[-1] != before
    assert all([each["id"] for each in lists] == [1, 2, 3] for lists in after)


def test_news_are_filtered_by_symbols_and_topics() -> None:
    everything, some, none = Client(news_s=1.0), Client(news_s=1.0), Client(news_s=1.0)
    everything.subscribe("news")
    some.subscribe("news", topics=["earnings", "mergers"])
    none.subscribe("news", symbols=["NOPE"], topics=["earnings"])

    received = [of_topic(client.advance(300.0), "news") for client in (everything, some, none)]

    assert 200 < len(received[0]) < 400
    assert 0 < len(received[1]) < len(received[0])
    assert received[2] == []
    assert all("earnings" in item["title"] or "merger" in item["title"] for (item,) in received[1])
    assert {item["news_type"] for (item,) in received[0]} == {"news", "press_release"}


def test_news_of_before_are_in_the_acknowledgement() -> None:
    client = Client(news_s=1.0)
    client.advance(100.0)

    (ack,) = client.subscribe("news", symbols=["AAPL", "MSFT", "KO"])

    items = ack["payload"]["data"]
    assert items
    assert all({"AAPL", "MSFT", "KO"} & set(item["symbols"]) for item in items)
    assert [item["id"] for item in items] == sorted((item["id"] for item in items), reverse=True)


@pytest.mark.parametrize("params", [{"symbols": "AAPL"}, {"topics": [1]}, {"symbols": ["A"] * 11}])
def test_wrong_news_filters_are_refused(params: dict[str, Any]) -> None:
    assert error_of(Client().subscribe("news", **params))[0] == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("old", "new"), [("accUpdates", "account"), ("pnlCandle", "pnl"), ("watchlistUpdates", "watchlist")]
)
def test_old_topic_names_are_answered_in_the_new_form(old: str, new: str) -> None:
    client = Client()

    ack = client.subscribe(old, accountId="ACC-1", startTime=MONDAY, interval="1m")[0]

    assert ack["payload"]["topic"] == new
    assert client.session.subscriptions().keys() == {new}


def test_foreign_account_is_forbidden() -> None:
    client = Client()

    code, ident, text = error_of(client.subscribe("account", accountId="ACC-77"))
    again = error_of(client.subscribe("pnl", accountId="ACC-77", startTime=MONDAY, interval="1m"))

    assert (code, ident, text) == ("FORBIDDEN", "a-1", "not an account of this user: ACC-77")
    assert again[0] == "FORBIDDEN"
    assert client.session.subscriptions() == {}


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"topic": "weather"}, "UNKNOWN_TOPIC"),
        ({"topic": 5}, "BAD_REQUEST"),
        ({}, "BAD_REQUEST"),
        ([], "BAD_REQUEST"),
        (None, "BAD_REQUEST"),
        ({"topic": "account"}, "BAD_REQUEST"),
        ({"topic": "account", "params": []}, "BAD_REQUEST"),
        ({"topic": "account", "params": {"accountId": 1}}, "BAD_REQUEST"),
        ({"topic": "pnl"}, "BAD_REQUEST"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_id(kind: str, payload: Any, code: str) -> None:
    assert error_of(Client().send(kind, payload))[:2] == (code, "a-1")


@pytest.mark.parametrize(
    ("topic", "params"),
    [("account", {"accountId": "ACC-1"}), ("watchlist", None), ("news", None)],
)
def test_unsubscribe_is_answered_and_ends_the_events(topic: str, params: dict[str, Any] | None) -> None:
    client = Client(news_s=0.1, watchlist_s=0.1, orders_per_s=10.0)
    payload = {"topic": topic, "params": params} if params else {"topic": topic}
    client.send("subscribe", payload, "a-1")
    while_open = len(client.advance(10.0))

    (answer,) = client.send("unsubscribe", payload, "a-2")

    assert while_open > 0
    assert (answer["type"], answer["id"], answer["payload"]["status"]) == ("response", "a-2", 200)
    assert client.advance(10.0, NOW + 10) == []


def test_nothing_is_sent_before_the_token() -> None:
    client = Client(log_in=False)

    (refused,) = client.subscribe("account", accountId="ACC-1")

    assert refused["payload"]["action"] == "authRequired"
    assert client.session.subscriptions() == {}


def test_ended_session_gets_no_more_events() -> None:
    client = Client(orders_per_s=10.0)
    client.subscribe("account", accountId="ACC-1")

    client.session.close(1001, "bye")

    assert client.advance(10.0) == []


def test_every_amount_of_a_lively_account_is_a_plain_decimal_string() -> None:
    client = Client(orders_per_s=50.0)
    client.subscribe("account", accountId="ACC-1")

    messages = [message for turn in range(40) for message in client.advance(0.05, NOW + turn * 0.05)]

    amount = re.compile(r"-?\d+(\.\d+)?")
    positions, balances = named(messages, "account.position"), named(messages, "account.balance")
    assert positions
    assert balances
    for position in positions:
        amounts = position.keys() - {"symbol", "accountId", "securityType", "createdAt"}
        assert [name for name in amounts if not amount.fullmatch(position[name])] == []
    for balance in balances:
        amounts = balance.keys() - {"accountId", "pendingOrdersCount"}
        assert [name for name in amounts if not amount.fullmatch(balance[name])] == []
        assert float(balance["dayTotalPnl"]) == pytest.approx(
            float(balance["dayOpenPnl"]) + float(balance["dayRealizedPnl"])
        )
        assert balance["openPnl"] == balance["unrealizedPl"]
