from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.model import (
    CLEAR,
    NOT_A_TIME,
    PUT,
    Subscription,
    Unreadable,
)
from tests.brokers.aries.account_lines import (
    ACCOUNTS,
    BALANCES,
    LISTS,
    MINUTES,
    NEWS,
    ORDERS,
    PNL,
    POSITIONS,
    account_event,
    ack,
    asked,
    every,
    fields,
    opened,
    order,
    position,
    records,
    table,
    topic_event,
)
from tests.brokers.aries.lines import RECEIVED, counts, line, said

UPDATED = 1_772_463_845 * 10**9
EVERYTHING = (ORDERS, POSITIONS, BALANCES, ACCOUNTS, MINUTES, LISTS, NEWS)


# Rows.


def test_order_has_all_its_fields() -> None:
    protocol = opened(ORDERS)
    legs = [{"symbol": "MSFT261218C00500000", "side": "BUY", "ratioQty": "1"}]

    (record,) = records(
        protocol,
        account_event("order", order(
            origClOrdId="ORD-0", timeInForce="DAY", category="MULTI_LEG", securityType="OPTION", stopPrice="",
            ordRejReason="none", text="hello", exDestination="MNGD", currency="USD", clientId="me", legs=legs,
            createdAt="2026-03-02T15:00:00.123456Z", unheardOf={"a": [1]},
        )),
    )  # fmt: skip

    row = fields(record)
    assert record[1] == UPDATED
    assert row.pop("stop_price").is_nan()
    assert row == {
        "order_id": "ORD-1", "symbol": "MSFT", "side": "BUY", "type": "LIMIT", "status": "PARTIALLY_FILLED",
        "quantity": Decimal(10), "filled": Decimal(4), "price": Decimal("500.00"), "average_price": Decimal("499.98"),
        "created": 1_772_463_600_123_456_000, "updated": UPDATED, "text": "hello", "broker_id": "B-91",
        "client": "me", "time_in_force": "DAY", "category": "MULTI_LEG", "security_type": "OPTION",
        "remaining": Decimal(6), "reject_reason": "none", "destination": "MNGD", "currency": "USD",
        "replaces": "ORD-0", "legs": json.dumps(legs, separators=(",", ":")),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "price", "stop_price", "expected"),
    [
        ("MARKET", "0", "0", (None, None)),
        ("market", "0.00", "", (None, None)),
        ("LIMIT", "500.00", "0", (500, None)),
        ("LIMIT", "0", "0", (0, None)),  # a spread may be priced at nothing
        ("STOP", "0", "490.00", (None, 490)),
        ("STOP_LIMIT", "489.50", "490.00", (Decimal("489.50"), 490)),
        ("MARKET", "501.25", "0", (Decimal("501.25"), None)),
        ("UNHEARD_OF", "0", "0", (0, 0)),
    ],
)
def test_a_price_that_a_type_of_order_does_not_use_is_missing(
    type_: str, price: str, stop_price: str, expected: tuple[Decimal | int | None, ...]
) -> None:
    protocol = opened(ORDERS)

    (record,) = records(protocol, account_event("order", order(type=type_, price=price, stopPrice=stop_price)))

    row = fields(record)
    assert expected == tuple(None if row[name].is_nan() else row[name] for name in ("price", "stop_price"))


@pytest.mark.parametrize("written", ['"0.10"', "0.10", '" 0.10 "'])
def test_decimals_stay_as_written_in_text_and_in_numbers(written: str) -> None:
    protocol = opened(POSITIONS)
    raw = line(account_event("position", position(quantity="HERE"))).replace(b'"HERE"', written.encode())

    (record,), _ = protocol.receive([raw], RECEIVED)

    assert str(fields(record)["quantity"]) == "0.10"


@settings(max_examples=60, deadline=None)
@given(st.decimals(-(10**18), 10**18, places=8))
def test_every_amount_survives_exactly(amount: Decimal) -> None:
    protocol = opened(BALANCES)

    (record,) = records(protocol, account_event("balance", {"accountId": "ACC-1", "cashBalance": format(amount, "f")}))

    assert fields(record)["cash"] == amount


@pytest.mark.parametrize("rubbish", ["ten", "NaN", "Infinity", "1_000", True, [], {}, "１", "1e99", "9" * 100])
def test_amount_that_is_none_is_named_and_missing(rubbish: object) -> None:
    protocol = opened(POSITIONS)

    (record,), (unreadable,) = protocol.receive([line(account_event("position", position(quantity=rubbish)))], RECEIVED)

    assert fields(record)["quantity"].is_nan()
    assert isinstance(unreadable, Unreadable)
    assert unreadable.reason == "quantity of positions is no usable decimal"


@pytest.mark.parametrize("written", ["1e99999999999999999999", "1e999", "NaN", "-Infinity", "9" * 5_000])
def test_number_beyond_all_measure_never_raises(written: str) -> None:
    protocol = opened(POSITIONS)
    raw = line(account_event("position", position(quantity="HERE"))).replace(b'"HERE"', written.encode())

    _, said = protocol.receive([raw], RECEIVED)

    assert [type(notice) for notice in said] == [Unreadable]


def test_closed_position_comes_as_it_is() -> None:
    protocol = opened(POSITIONS)

    (record,) = records(
        protocol,
        account_event("position", position(quantity="0", todayRealizedPnL="12.50", unrealizedPl="0", todayPl="-1")),
    )

    row = fields(record)
    assert record[2][0] == PUT
    assert (row["quantity"], row["today_realized_pnl"], row["today_pnl"]) == (0, Decimal("12.50"), -1)
    assert row["price"].is_nan()
    assert row["market_value"].is_nan()
    assert row["created"] == NOT_A_TIME


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_blank_is_missing_and_no_noise(blank: object) -> None:
    protocol = opened(ORDERS, BALANCES)

    found = records(
        protocol,
        account_event("order", order(price=blank, createdAt=blank, text=blank)),
        account_event("order", order(createdAt="0001-01-01T00:00:00Z")),
        account_event("balance", {"cashBalance": blank, "pendingOrdersCount": blank, "sodTtlEquityUpdatedAt": blank}),
    )

    first, second, balance = map(fields, found)
    assert first["price"].is_nan()
    assert (first["created"], second["created"], first["text"]) == (NOT_A_TIME, NOT_A_TIME, "")
    assert balance["cash"].is_nan()
    assert (balance["pending_orders_count"], balance["sod_ttl_equity_updated_at"]) == (0, NOT_A_TIME)


def test_time_of_a_row_is_its_own_else_the_events_else_that_of_receipt() -> None:
    protocol = opened(ORDERS)
    plain = order(updatedAt=None)

    found = records(
        protocol,
        account_event("order", order()),
        account_event("order", plain, timestamp=1_772_463_845_010),
        {**account_event("order", plain), "timestamp": "2026-03-02T15:04:05Z"},
        account_event("order", plain),
    )

    assert [record[1] for record in found] == [UPDATED, UPDATED + 10_000_000, UPDATED, RECEIVED]


def test_subscription_gets_its_fields_in_its_order() -> None:
    narrow = Subscription("orders", "ACC-1", ("status", "order_id"))
    protocol = opened(narrow)

    assert records(protocol, account_event("order", order())) == [(narrow, UPDATED, (PUT, "PARTIALLY_FILLED", "ORD-1"))]


@pytest.mark.parametrize("name", [None, 7, "account.other", "account.order", "account.orders", "order"])
def test_object_shows_what_it_is_where_its_name_does_not_say(name: object) -> None:
    protocol = opened(ORDERS, POSITIONS, BALANCES, ACCOUNTS)
    message = account_event("order", order())
    message["payload"]["name"] = name

    found = records(protocol, message)

    assert [record[0] for record in found] == [ORDERS]


def test_kinds_are_distinguished_by_shape_alone() -> None:
    protocol = opened(ORDERS, POSITIONS, BALANCES, ACCOUNTS)
    objects = (order(), position(), {"cashBalance": "1"}, {"tradingAccountId": "ACC-1", "accountType": "CASH"})

    found = records(protocol, *(topic_event("account", item) for item in objects))

    assert [record[0] for record in found] == [ORDERS, POSITIONS, BALANCES, ACCOUNTS]


def test_kind_without_a_subscription_is_ignored() -> None:
    protocol = opened(ORDERS)

    found = records(
        protocol, account_event("position", position()), account_event("balance", {"cashBalance": "1"}),
        account_event("info", {"status": "OPEN"}),
    )  # fmt: skip

    assert found == []


# P&L, watchlists, news.


@pytest.mark.parametrize(
    "data",
    [
        {
            "accountId": "ACC-1",
            "interval": "1m",
            "time": 1_772_463_840_000,
            "open": 1,
            "high": 2.5,
            "low": "-1",
            "close": 2,
        },
        {"timestamp": "2026-03-02T15:04:00Z", "o": "1", "h": "2.5", "l": "-1", "c": "2"},
        {"t": 1_772_463_840, "open": 1.0, "high": 2.5, "low": -1, "close": "2.0"},
        [{"t": 1_772_463_840, "o": 1.0, "h": 2.5, "l": -1, "c": "2.0"}],
        {"accountId": "ACC-1", "candles": [{"t": 1_772_463_840, "o": 1, "h": 2.5, "l": -1, "c": 2}]},
    ],
)
@pytest.mark.parametrize("topic", ["pnl", "pnlCandle"])
def test_candle_is_read_in_every_spelling(data: object, topic: str) -> None:
    protocol = opened(MINUTES)

    (record,) = records(protocol, topic_event(topic, data))

    assert record[2] == (PUT, "1m", 1_772_463_840 * 10**9, 1.0, 2.5, -1.0, 2.0)


def test_candles_may_ride_in_the_answer() -> None:
    protocol, (request,), _ = asked(MINUTES)

    found = records(protocol, ack(request, data={"candles": [{"t": 60, "c": 1}, {"t": 120, "c": 2}]}))

    assert [fields(record)["start"] for record in found] == [60 * 10**9, 120 * 10**9]


def test_candles_go_to_their_interval_and_what_does_not_say_is_named() -> None:
    hours = every("pnl", options=(("interval", "1h"), PNL[1]))
    protocol = opened(MINUTES, hours)

    (record,) = records(protocol, topic_event("pnl", {"interval": "1h", "time": 3_600, "close": 1}))
    surplus = records(protocol, topic_event("pnl", {"interval": "1d", "time": 3_600, "close": 1}))
    found, notices = protocol.receive([line(topic_event("pnl", {"time": 3_600, "close": 1}))], RECEIVED)
    (unreadable,) = said(notices)

    assert record[0] == hours
    assert (surplus, list(found)) == ([], [])
    assert isinstance(unreadable, Unreadable)
    assert unreadable.reason == "a candle that does not name its interval"


@pytest.mark.parametrize("topic", ["watchlist", "watchlistUpdates"])
@pytest.mark.parametrize("wrap", [lambda lists: lists, lambda lists: {"user_id": 1, "watchlist": lists}])
def test_watchlists_replace_all_that_were(topic: str, wrap: Any) -> None:
    protocol = opened(LISTS)
    first = [{"id": 1, "name": "Tech", "symbols": ["MSFT", "AAPL"]}, {"id": 2, "name": "Empty", "symbols": None}]

    found = records(protocol, topic_event(topic, wrap(first)))
    later = records(protocol, topic_event(topic, wrap(first[1:])))

    missing = (CLEAR, 0, "", 0, "")
    assert [record[2] for record in found] == [
        missing, (PUT, 1, "Tech", 0, "MSFT"), (PUT, 1, "Tech", 1, "AAPL"), (PUT, 2, "Empty", 0, ""),
    ]  # fmt: skip
    assert [record[2] for record in later] == [missing, (PUT, 2, "Empty", 0, "")]


def test_watchlists_that_are_no_list_clear_nothing() -> None:
    protocol = opened(LISTS)

    found, notices = protocol.receive([line(topic_event("watchlist", {"id": 1, "symbols": []}))], RECEIVED)

    assert list(found) == []
    assert [type(notice) for notice in said(notices)] == [Unreadable]
    assert counts(notices) == {("watchlists", "unreadable"): 1}


def test_news_item_has_all_its_fields() -> None:
    protocol = opened(NEWS)
    item = {
        "id": 7, "title": "Up", "body": "A\u2028B", "authors": ["Ann", "Bob"], "symbols": ["MSFT", "AAPL"],
        "news_type": "news", "timestamp": "2026-03-02T15:04:05Z", "action": "create",
    }  # fmt: skip

    (record,) = records(protocol, topic_event("news", [item]))

    expected = (PUT, 7, "Up", "A\u2028B", "Ann, Bob", "MSFT, AAPL", "news", UPDATED, "create")
    assert record == (NEWS, UPDATED, expected)


def test_news_go_to_those_who_named_a_symbol_of_theirs() -> None:
    microsoft = every("news", "", (("symbols", "MSFT"),))
    protocol = opened(NEWS, microsoft)

    found = records(
        protocol, topic_event("news", [{"id": 1, "symbols": ["TSLA"]}, {"id": 2, "symbols": ["MSFT", "TSLA"]}])
    )
    of_none = records(protocol, topic_event("news", {"id": 3}))

    assert [(record[0], record[2][1]) for record in found] == [(NEWS, 1), (NEWS, 2), (microsoft, 2)]
    assert [record[0] for record in of_none] == [NEWS, microsoft]


@pytest.mark.parametrize(
    ("topic", "item", "absent"),
    [
        ("news", {"title": "Up"}, "news_id"),
        ("news", {"id": None}, "news_id"),
        ("watchlist", {"name": "Tech"}, "list_id"),
        ("pnl", {"close": 1}, "start"),
    ],
)
def test_row_without_its_key_is_left_out(topic: str, item: object, absent: str) -> None:
    protocol = opened(MINUTES, LISTS, NEWS)

    found, said = protocol.receive([line(topic_event(topic, [item]))], RECEIVED)

    assert [record for record in found if record[2][0] == PUT] == []
    assert [notice.reason.rpartition(" ")[2] for notice in said if isinstance(notice, Unreadable)] == [absent]


# Several accounts.


def test_accounts_are_kept_apart() -> None:
    second = every("orders", "ACC-2")
    protocol, requests, _ = asked(ORDERS, second)

    found = records(
        protocol,
        ack(requests[1], data={"ordersV2": [order(5, accountId="ACC-2")]}),
        ack(requests[0], data={"ordersV2": []}),
        account_event("order", order(1)),
        account_event("order", order(2, accountId=None), target="ACC-2"),
        topic_event("account", [order(3), order(4, accountId="ACC-2")]),
        topic_event("account", {"ordersV2": [order(6, accountId="ACC-2")]}),
    )

    assert list(table(found, ORDERS)) == [("ORD-1",), ("ORD-3",)]
    assert list(table(found, second)) == [("ORD-6",)]


def test_event_that_names_no_account_is_taken_only_where_there_is_one() -> None:
    one, two = opened(ORDERS), opened(ORDERS, every("orders", "ACC-2"))
    message = account_event("order", order(accountId=None), target="somebody")

    assert len(records(one, message)) == 1
    found, (unreadable,) = two.receive([line(message)], RECEIVED)

    assert list(found) == []
    assert isinstance(unreadable, Unreadable)


def test_account_without_a_subscription_is_never_mixed_into_another() -> None:
    protocol = opened(ORDERS)

    found, (unreadable,) = protocol.receive([line(account_event("order", order(accountId="ACC-9")))], RECEIVED)

    assert list(found) == []
    assert isinstance(unreadable, Unreadable)
    assert unreadable.reason == "an account that is not subscribed"


def test_events_that_go_on_after_giving_up_are_no_noise() -> None:
    protocol = opened(*EVERYTHING, every("orders", "ACC-2"))

    protocol.unsubscribe(EVERYTHING)

    late = (
        account_event("order", order()), topic_event("pnl", {"accountId": "ACC-1", "time": 60, "close": 1}),
        topic_event("watchlist", []), topic_event("news", [{"id": 1}]),
    )  # fmt: skip
    assert records(protocol, *late) == []
