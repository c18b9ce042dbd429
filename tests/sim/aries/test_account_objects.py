from __future__ import annotations

from decimal import Decimal

import pytest

from aries_nb.sim.accounts.accounts import Accounts
from aries_nb.sim.aries import account_objects as objects
from tests.sim.trading import NOW, quiet_accounts, quote


def with_orders(count: int) -> Accounts:
    accounts = quiet_accounts()
    for number in range(count):
        accounts.brokerage.place("ACC-1", "KO", "buy", "limit", 1, price=1, now=NOW + number)
    return accounts


def test_list_of_accounts() -> None:
    assert objects.account_list(quiet_accounts()) == {
        "accounts": [
            {
                "trading_account_id": name,
                "broker_account_id": f"B-{name}",
                "account_type": kind,
                "account_class": "individual",
                "is_sim": True,
                "status": "active",
            }
            for name, kind in (("ACC-1", "margin"), ("ACC-2", "cash"))
        ]
    }


def test_balance_is_the_books_in_decimal_strings() -> None:
    accounts = quiet_accounts()
    accounts.brokerage.place("ACC-1", "KO", "buy", "market", 7, now=NOW)

    balance, books = objects.balance(accounts, "ACC-1"), accounts.figures("ACC-1")

    assert Decimal(balance["cashBalance"]) == books.cash
    assert Decimal(balance["balance"]) == books.equity
    assert Decimal(balance["dayTotalPnl"]) == books.realised + books.unrealised
    assert (
        Decimal(balance["balance"]) - Decimal(balance["sodTtlEquity"]) == Decimal(balance["dayTotalPnl"]) - books.fees
    )


def test_position_adds_up() -> None:
    accounts = quiet_accounts()
    quote(accounts.market, "TSLA", "410.00", "410.04")

    short = next(each for each in objects.positions(accounts, "ACC-1")["positions"] if each["symbol"] == "TSLA")

    assert (short["quantity"], short["price"], short["marketValue"]) == ("-50", "410.02", "-20501.00")
    assert Decimal(short["unrealizedPl"]) == Decimal(short["marketValue"]) - Decimal(short["costBasis"])
    assert "createdAt" not in short  # opened before the start


def test_active_orders_are_paged_newest_first() -> None:
    accounts = with_orders(7)
    pages, cursor = [], 0
    while True:
        page = objects.active_orders(accounts, "ACC-1", limit=3, cursor=cursor)
        pages.append([order["clOrdId"] for order in page["orders"]])
        cursor = page["nextCursor"]
        if not cursor:
            break
        accounts.brokerage.place("ACC-1", "KO", "buy", "limit", 1, price=1, now=NOW + 100)

    assert pages == [["ORD-7", "ORD-6", "ORD-5"], ["ORD-4", "ORD-3", "ORD-2"], ["ORD-1"]]


def test_page_has_at_most_five_hundred_orders() -> None:
    accounts = with_orders(600)

    page = objects.active_orders(accounts, "ACC-1", limit=10_000)

    assert len(page["orders"]) == 500
    assert page["nextCursor"] == 101


def test_no_orders_are_null() -> None:
    assert objects.active_orders(quiet_accounts(), "ACC-2") == {"orders": None, "nextCursor": 0}


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [(0, None, ["ORD-3", "ORD-2", "ORD-1"]), (1, None, ["ORD-3", "ORD-2"]), (1, 1, ["ORD-2"])],
)
def test_history_is_what_ended_within_the_times(start: int, end: int | None, found: list[str]) -> None:
    accounts = with_orders(4)
    for number in (2, 1, 3):
        accounts.brokerage.cancel(f"ORD-{number}", now=NOW + 50)

    history = objects.order_history(accounts, "ACC-1", start=NOW + start, end=None if end is None else NOW + end)

    assert [order["clOrdId"] for order in history["orders"]] == found
    assert {order["ordStatus"] for order in history["orders"]} == {"CANCELED"}


def test_replaced_and_rejected_orders_say_so() -> None:
    accounts = with_orders(1)
    fresh = accounts.brokerage.replace("ORD-1", price="0.50", now=NOW)
    assert fresh is not None
    rejected = accounts.brokerage.place("ACC-2", "KO", "sell", "market", 10_000, now=NOW)

    replacement, refusal = objects.order_object(fresh), objects.order_object(rejected)

    assert (replacement["origClOrdId"], replacement["price"]) == ("ORD-1", "0.50")
    assert (refusal["ordId"], refusal["ordStatus"], refusal["leavesQty"]) == ("", "REJECTED", "0")
    assert refusal["ordRejReason"] == "a cash account cannot sell short"


def test_short_sale_and_cover_have_sides_of_their_own() -> None:
    place = quiet_accounts().brokerage.place

    sides = [
        objects.order_object(place("ACC-1", "KO", side, "market", 5, now=NOW))["side"]
        for side in ("sell", "buy", "buy", "sell")
    ]

    assert sides == ["SELL_SHORT", "BUY_TO_COVER", "BUY", "SELL"]


@pytest.mark.parametrize(("number", "text"), [("1E+3", "1000"), ("0E-10", "0.0000000000"), ("-0.10", "-0.10")])
def test_decimals_have_no_exponent(number: str, text: str) -> None:
    assert objects.decimal_text(Decimal(number)) == text


def test_watchlists_and_news_for_http() -> None:
    accounts = quiet_accounts(news_s=1.0)
    accounts.advance(30.0, NOW)

    items = objects.news(accounts)

    assert [each["id"] for each in objects.watchlists(accounts)["watchlist"]] == [1, 2, 3]
    assert items[0]["timestamp"] == "2026-03-02T15:04:05.000Z"
    assert items[0]["id"] == len(accounts.headlines)
    assert objects.news(accounts, symbols=["NOPE"]) == []
