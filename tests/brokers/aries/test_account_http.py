"""Accounts over HTTP: what is asked, and that the simulator's answers read as the rows that its socket brings."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from aries_nb.brokers.aries.account_http import AriesAccountHttp
from aries_nb.brokers.aries.accounts import AriesAccounts
from aries_nb.brokers.protocol import Query
from aries_nb.model import PUT, Kind, Subscription
from aries_nb.sim import SimOptions
from aries_nb.sim.aries import account_objects as objects
from aries_nb.sim.aries.accounts import AccountsSession
from aries_nb.sim.aries.http_accounts import AccountRoutes
from aries_nb.sim.http_answers import Query as Asked
from tests.brokers.aries.account_lines import (
    ACCOUNTS,
    BALANCES,
    LISTS,
    MINUTES,
    NEWS,
    ORDERS,
    POSITIONS,
    every,
    fields,
    order,
)
from tests.properties import holds_for
from tests.sim.trading import NOW, quiet_accounts

if TYPE_CHECKING:
    from aries_nb.sim.accounts.accounts import Accounts

DAY_NS = 86_400 * 10**9
HTTP = AriesAccountHttp()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["orders", "news", "id"]), inner),
)


def lived() -> Accounts:
    """Accounts with orders that work and that ended, changed positions, lists and news."""
    accounts = quiet_accounts(news_s=1.0)
    broker = accounts.brokerage
    broker.place("ACC-1", "AAPL", "buy", "market", 25, now=NOW)
    for cents in range(1, 9):
        broker.place("ACC-1", "MSFT", "buy", "limit", 10, price=Decimal(cents) / 100, now=NOW + cents)
    broker.cancel("ORD-3", now=NOW + 10)
    accounts.advance(60.0, NOW + 60)
    return accounts


def body(answer: object) -> bytes:
    return json.dumps(answer).encode()


def values(subscription: Subscription, answer: object) -> list[dict[str, Any]]:
    """The rows of an answer that has nothing unusable."""
    page = HTTP.read(subscription, HTTP.snapshot(subscription)[0], body(answer))
    assert list(page.unreadable) == []
    return [dict(zip(subscription.fields, row, strict=True)) for _, row in page.rows]


def sent_by_the_socket(accounts: Accounts, *subscriptions: Subscription) -> list[tuple[Subscription, dict[str, Any]]]:
    """The rows that the simulator's socket brings when it is asked for all of these."""
    session, protocol = AccountsSession(SimOptions(), accounts, NOW + 60), AriesAccounts()
    protocol.open(0.0)
    protocol.authenticate("a token", 0.0)
    protocol.subscribe(subscriptions)
    rows = []
    while frames := protocol.outgoing():
        for frame in frames:
            session.receive(frame, NOW + 60)
        lines, session.outbox[:] = list(session.outbox), []
        found, _ = protocol.receive(["\n".join(lines).encode()], 1)
        rows += [(record[0], fields(record)) for record in found if record[2][0] == PUT]
    return rows


def comparable(rows: list[dict[str, Any]]) -> list[str]:
    """Rows as texts in an order of their own: a missing decimal does not equal itself."""
    return sorted(str(sorted((name, str(value)) for name, value in row.items())) for row in rows)


# Questions.


@pytest.mark.parametrize(
    ("subscription", "path"),
    [
        (BALANCES, "/v2/accounts/ACC-1/balance"),
        (POSITIONS, "/v1/accounts/ACC-1/positions"),
        (ORDERS, "/v2/accounts/ACC-1/orders"),
        (ACCOUNTS, "/v2/users/me/accounts"),
        (LISTS, "/v1/config/watchlist"),
        (NEWS, "/v1/news"),
        (every("balances", "A/../B"), "/v2/accounts/A%2F..%2FB/balance"),
    ],
)
def test_each_table_has_its_call(subscription: Subscription, path: str) -> None:
    assert [path] == [query.path for query in HTTP.snapshot(subscription)]


def test_profit_and_loss_comes_by_the_socket_alone() -> None:
    assert list(HTTP.snapshot(MINUTES)) == []


def test_news_are_asked_for_ten_symbols_at_a_time() -> None:
    symbols = [f"S{number:02}" for number in range(12)]
    options = (("symbols", ",".join(symbols)), ("topics", "earnings"))

    queries = HTTP.snapshot(every("news", "", options))

    assert [
        {"symbols": ",".join(symbols[:10]), "topics": "earnings"},
        {"symbols": ",".join(symbols[10:]), "topics": "earnings"},
    ] == [dict(query.params) for query in queries]


@pytest.mark.parametrize(("days", "spans"), [(1, 1), (90, 1), (91, 2), (365, 5)])
def test_history_is_asked_for_in_spans_of_at_most_ninety_days(days: int, spans: int) -> None:
    start = int(datetime(2025, 3, 2, tzinfo=UTC).timestamp()) * 10**9

    queries = HTTP.order_history("ACC-1", start, start + days * DAY_NS)

    ends = [tuple(datetime.fromisoformat(dict(query.params)[name]) for name in ("from", "to")) for query in queries]
    assert len(ends) == spans
    assert all((to - since).days <= 90 for since, to in ends)
    assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(ends))
    assert ends[0][0] == datetime(2025, 3, 2, tzinfo=UTC)
    assert (ends[-1][1] - ends[0][0]).days == days


# Answers of the simulator.


@pytest.mark.parametrize(
    ("subscription", "answer"),
    [
        (ORDERS, lambda accounts: objects.active_orders(accounts, "ACC-1")),
        (POSITIONS, lambda accounts: objects.positions(accounts, "ACC-1")),
        (BALANCES, lambda accounts: objects.balance(accounts, "ACC-1")),
        (ACCOUNTS, objects.account_list),
        (LISTS, objects.watchlists),
        (NEWS, lambda accounts: {"news": objects.news(accounts)}),
        (NEWS, objects.news),
    ],
    ids=["orders", "positions", "balances", "accounts", "watchlists", "news", "news without a wrapping"],
)
def test_rows_are_those_of_the_socket(subscription: Subscription, answer: Any) -> None:
    accounts = lived()
    socket = [row for about, row in sent_by_the_socket(accounts, subscription) if about == subscription]

    rows = values(subscription, answer(accounts))

    assert rows
    assert comparable(socket) == comparable(rows)


def test_pages_follow_each_other_by_the_cursor() -> None:
    answers, query = AccountRoutes(lived()), HTTP.snapshot(ORDERS)[0]
    query = Query(query.path, tuple({**dict(query.params), "limit": "3"}.items()))
    found, pages = [], 0
    while query is not None:
        answer = answers.of_account("ACC-1", ("v2", "orders"), Asked(dict(query.params)), NOW + 60)
        page = HTTP.read(ORDERS, query, body(answer))
        found += [row[0] for _, row in page.rows]
        pages, query = pages + 1, page.following  # type: ignore[assignment]

    assert pages == 3
    assert [f"ORD-{number}" for number in (9, 8, 7, 6, 5, 4, 2)] == found


def test_history_is_read_as_orders_and_is_no_full_list() -> None:
    accounts = lived()
    query = HTTP.order_history("ACC-1", int(NOW - 60) * 10**9, int(NOW + 60) * 10**9)[0]
    asked = Asked(dict(query.params))

    page = HTTP.read(
        ORDERS, query, body(AccountRoutes(accounts).of_account("ACC-1", ("v2", "orders", "history"), asked, NOW))
    )

    statuses = {
        row["order_id"]: row["status"] for row in (dict(zip(ORDERS.fields, row, strict=True)) for _, row in page.rows)
    }
    assert statuses == {"ORD-1": "FILLED", "ORD-3": "CANCELED"}
    assert all(HTTP.is_finished(str(status)) for status in statuses.values())
    assert not page.is_full


def test_one_watchlist_is_asked_for_and_read_by_its_number() -> None:
    answers = AccountRoutes(lived())
    query = HTTP.watchlist(2)

    page = HTTP.read(LISTS, query, body(answers.watchlist(query.path.rpartition("/")[2])))

    rows = [dict(zip(LISTS.fields, row, strict=True)) for _, row in page.rows]
    assert [(row["list_id"], row["name"], row["place"], row["symbol"]) for row in rows] == [
        (2, "Funds", 0, "SPY"),
        (2, "Funds", 1, "QQQ"),
        (2, "Funds", 2, "IWM"),
    ]


# Answers of every kind.


def test_a_row_has_the_time_of_its_last_change() -> None:
    page = HTTP.read(ORDERS, HTTP.snapshot(ORDERS)[0], body({"orders": [order()], "nextCursor": 0}))

    assert [ts for ts, _ in page.rows] == [1_772_463_845_000_000_000]
    assert (page.is_full, page.following) == (True, None)


@pytest.mark.parametrize("orders", [None, []])
def test_no_orders_are_an_empty_full_list(orders: object) -> None:
    page = HTTP.read(ORDERS, HTTP.snapshot(ORDERS)[0], body({"orders": orders, "nextCursor": 0}))

    assert (page.rows, page.is_full) == ([], True)


@pytest.mark.parametrize("cursor", [0, "0", "", None, {}, [7]])
def test_a_cursor_that_leads_nowhere_ends_the_walk(cursor: object) -> None:
    page = HTTP.read(ORDERS, HTTP.snapshot(ORDERS)[0], body({"orders": [], "nextCursor": cursor}))

    assert page.following is None


def test_a_cursor_that_stands_still_ends_the_walk() -> None:
    first = HTTP.read(ORDERS, HTTP.snapshot(ORDERS)[0], body({"orders": [], "nextCursor": 7})).following
    assert first is not None

    again = HTTP.read(ORDERS, first, body({"orders": [], "nextCursor": 7}))

    assert dict(first.params)["cursor"] == "7"
    assert again.following is None


def test_news_come_oldest_first_and_only_about_the_symbols_meant() -> None:
    subscription = every("news", "", (("symbols", "MSFT"), ("topics", "")))
    items = [
        {"id": 3, "title": "c", "symbols": ["MSFT"], "timestamp": "2026-03-02T15:03:00Z"},
        {"id": 2, "title": "b", "symbols": ["KO"], "timestamp": "2026-03-02T15:02:00Z"},
        {"id": 1, "title": "a", "symbols": ["MSFT", "KO"], "timestamp": "2026-03-02T15:01:00Z"},
    ]

    rows = values(subscription, items)

    assert [row["news_id"] for row in rows] == [1, 3]


def test_accounts_of_others_are_left_out() -> None:
    answer = {"accounts": [{"trading_account_id": name, "status": "active"} for name in ("ACC-1", "ACC-2")]}

    assert [row["trading_account_id"] for row in values(ACCOUNTS, answer)] == ["ACC-1"]


def test_what_cannot_be_used_is_named_and_the_rest_is_read() -> None:
    page = HTTP.read(ORDERS, HTTP.snapshot(ORDERS)[0], body({"orders": [order(1), {"no": "order"}, 7, order(2)]}))

    assert [row[0] for _, row in page.rows] == ["ORD-1", "ORD-2"]
    assert [each.reason for each in page.unreadable] == [
        "orders without a usable order_id",
        "orders hold something that is no object",
    ]


@pytest.mark.parametrize("answer", [b"", b"no JSON", b"[]", b"7", b"{}", b'{"orders": {}}', b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("subscription", [ORDERS, POSITIONS, ACCOUNTS, LISTS])
def test_an_answer_that_is_none_is_a_value_error(subscription: Subscription, answer: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        HTTP.read(subscription, HTTP.snapshot(subscription)[0], answer)


@holds_for(20, 50, st.sampled_from(["orders", "positions", "balances", "accounts", "watchlists", "news"]), JSON)
def test_whatever_json_comes_gives_rows_or_a_value_error(kind: Kind, answer: object) -> None:
    subscription = every(kind)
    try:
        page = HTTP.read(subscription, HTTP.snapshot(subscription)[0], json.dumps(answer).encode())
    except ValueError:
        return
    assert all(len(row) == len(subscription.fields) for _, row in page.rows)
