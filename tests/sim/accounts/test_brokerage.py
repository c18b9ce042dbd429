from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.errors import UsageError
from aries_nb.sim.accounts.brokerage import FEE
from aries_nb.sim.accounts.orders import FINAL
from tests.sim.trading import NOW, RICH, broker, check_sums, quote


def states(brokerage: Any) -> list[tuple[str, str]]:
    return [(order.id, order.status) for order in brokerage.drain()[0]]


def test_market_order_is_filled_at_the_quote() -> None:
    brokerage = broker()
    quote(brokerage.market, "KO", "71.20", "71.22")

    bought = brokerage.place("M", "KO", "buy", "market", 100, now=NOW)
    sold = brokerage.place("M", "KO", "sell", "market", 40, now=NOW + 1)

    assert [(order.status, order.average_price) for order in (bought, sold)] == [
        ("filled", Decimal("71.22")),
        ("filled", Decimal("71.20")),
    ]
    assert [tuple(fill) for fill in brokerage.fills] == [
        (NOW, "M", "KO", "buy", 100, Decimal("71.22"), FEE, "ORD-1"),
        (NOW + 1, "M", "KO", "sell", 40, Decimal("71.20"), FEE, "ORD-2"),
    ]
    assert states(brokerage) == [
        (ident, status) for ident in ("ORD-1", "ORD-2") for status in ("pending_new", "new", "filled")
    ]


def test_order_larger_than_the_quote_is_filled_in_parts() -> None:
    brokerage = broker()
    quote(brokerage.market, "KO", "71.20", "71.22", ask_size=300)

    first = brokerage.place("M", "KO", "buy", "market", 700, now=NOW)
    brokerage.advance(NOW + 1)
    quote(brokerage.market, "KO", "71.21", "71.23", ask_size=300)
    brokerage.advance(NOW + 2)

    assert (first.status, first.filled, first.leaves) == ("partially_filled", 300, 400)
    (order,) = brokerage.finished_orders("M")
    assert (order.status, order.filled, order.average_price) == ("filled", 700, Decimal("71.2214"))
    assert [fill.quantity for fill in brokerage.fills] == [300, 300, 100]
    assert [status for _, status in states(brokerage)][2:] == ["partially_filled", "partially_filled", "filled"]


def test_limit_order_waits_until_the_quote_crosses_it() -> None:
    brokerage = broker()
    quote(brokerage.market, "KO", "71.20", "71.22")

    order = brokerage.place("M", "KO", "buy", "limit", 10, price="71.10", now=NOW)
    brokerage.advance(NOW + 1)
    waiting = len(brokerage.fills)
    quote(brokerage.market, "KO", "71.05", "71.07")
    brokerage.advance(NOW + 2)

    assert (order.status, waiting) == ("new", 0)
    assert [fill.price for fill in brokerage.fills] == [Decimal("71.07")]


@pytest.mark.parametrize(
    ("side", "stop", "calm", "beyond", "price"),
    [
        ("sell", "71.00", ("71.01", "71.03"), ("70.90", "70.92"), "70.90"),
        ("buy", "71.50", ("71.47", "71.49"), ("71.55", "71.57"), "71.57"),
    ],
)
def test_stop_order_becomes_a_market_order_when_the_quote_reaches_it(
    side: Any, stop: str, calm: tuple[str, str], beyond: tuple[str, str], price: str
) -> None:
    brokerage = broker()
    quote(brokerage.market, "KO", *calm)

    brokerage.place("M", "KO", side, "stop", 1500, stop=stop, now=NOW)
    untouched = len(brokerage.fills)
    quote(brokerage.market, "KO", *beyond)
    brokerage.advance(NOW + 1)
    quote(brokerage.market, "KO", *calm)
    brokerage.advance(NOW + 2)

    assert untouched == 0
    assert brokerage.fills[0].price == Decimal(price)
    assert [fill.quantity for fill in brokerage.fills] == [1000, 500]


def test_order_beyond_the_buying_power_is_rejected() -> None:
    brokerage = broker()
    quote(brokerage.market, "KO", "71.20", "71.22")

    order = brokerage.place("C", "KO", "buy", "market", 141, now=NOW)

    assert (order.status, order.text) == ("rejected", "insufficient buying power")
    assert [status for _, status in states(brokerage)] == ["pending_new", "rejected"]
    assert not brokerage.fills


def test_working_orders_hold_back_buying_power() -> None:
    brokerage = broker()
    quote(brokerage.market, "KO", "71.20", "71.22")

    first = brokerage.place("C", "KO", "buy", "limit", 100, price=60, now=NOW)
    second = brokerage.place("C", "KO", "buy", "limit", 100, price=60, now=NOW)

    assert (first.status, second.status) == ("new", "rejected")
    assert brokerage.buying_power("C") == Decimal(4000)


def test_cash_account_sells_what_it_has_and_no_more() -> None:
    brokerage = broker()
    quote(brokerage.market, "KO", "71.20", "71.22")

    resting = brokerage.place("C", "KO", "sell", "limit", 30, price=80, now=NOW)
    too_much = brokerage.place("C", "KO", "sell", "market", 21, now=NOW)
    rest = brokerage.place("C", "KO", "sell", "market", 20, now=NOW)

    assert [resting.status, too_much.status, rest.status] == ["new", "rejected", "filled"]
    assert too_much.text == "a cash account cannot sell short"


def test_short_sale_and_its_cover_are_named_so() -> None:
    brokerage = broker()

    orders = [brokerage.place("M", "KO", side, "market", 10, now=NOW) for side in ("sell", "buy", "buy", "sell")]

    assert [order.is_short for order in orders] == [True, True, False, False]


def test_order_is_cancelled_once() -> None:
    brokerage = broker()
    order = brokerage.place("M", "KO", "buy", "limit", 10, price=1, now=NOW)

    assert brokerage.cancel(order.id, now=NOW + 1)
    assert not brokerage.cancel(order.id, now=NOW + 2)

    (ended,) = brokerage.finished_orders("M")
    assert (ended.status, ended.updated, ended.leaves) == ("canceled", NOW + 1, 0)
    assert brokerage.active_orders("M") == []


def test_order_expires_at_its_time() -> None:
    brokerage = broker()
    brokerage.place("M", "KO", "buy", "limit", 10, price=1, expires=NOW + 10, now=NOW)

    brokerage.advance(NOW + 9.9)
    working = len(brokerage.active_orders("M"))
    brokerage.advance(NOW + 10)

    assert working == 1
    assert [order.status for order in brokerage.finished_orders("M")] == ["expired"]


def test_replacement_goes_on_from_what_was_filled_under_a_new_id() -> None:
    brokerage = broker()
    quote(brokerage.market, "KO", "71.20", "71.22", ask_size=100)
    old = brokerage.place("M", "KO", "buy", "limit", 250, price="71.22", now=NOW)
    states(brokerage)

    new = brokerage.replace(old.id, price="71.00", now=NOW + 1)

    assert new is not None
    assert (new.replaces, new.quantity, new.leaves, new.price) == (old.id, 250, 150, Decimal(71))
    assert (new.filled, new.average_price) == (100, Decimal("71.22"))
    assert states(brokerage) == [(old.id, "replaced"), (new.id, "pending_new"), (new.id, "new")]
    assert brokerage.replace(old.id, price="71.00", now=NOW + 2) is None


def test_books_without_events_are_priced_at_the_fair_price() -> None:
    brokerage = broker()
    share = brokerage.market.shares["KO"]
    untouched = share.quote()

    share.move(0.1)
    prices = brokerage.prices("KO")

    assert float(prices.mark) == pytest.approx(share.fair() / 100, abs=0.02)
    assert prices.ask > prices.bid > Decimal(str(untouched.ask_price))
    assert share.quote() == untouched


@pytest.mark.parametrize(
    ("account", "symbol", "kind", "quantity", "prices"),
    [
        ("X", "KO", "market", 1, {}),
        ("M", "NOPE", "market", 1, {}),
        ("M", "KO", "market", 0, {}),
        ("M", "KO", "market", "1.5", {}),
        ("M", "KO", "market", "NaN", {}),
        ("M", "KO", "market", 1, {"price": 5}),
        ("M", "KO", "limit", 1, {}),
        ("M", "KO", "limit", 1, {"price": -5}),
        ("M", "KO", "stop", 1, {"price": 5}),
    ],
)
def test_order_that_cannot_be_is_refused_and_leaves_nothing(
    account: str, symbol: str, kind: Any, quantity: Any, prices: dict[str, Any]
) -> None:
    brokerage = broker()

    with pytest.raises(UsageError):
        brokerage.place(account, symbol, "buy", kind, quantity, now=NOW, **prices)

    assert states(brokerage) == []


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["M", "C"]),
        st.sampled_from(["KO", "AAPL", "TSLA"]),
        st.sampled_from(["buy", "sell"]),
        st.sampled_from(["market", "limit", "stop", "cancel", "replace", "turn"]),
        st.integers(1, 900),
        st.integers(-30, 30),
    ),
    max_size=50,
)


@settings(max_examples=60, deadline=None)
@given(acts=ACTS)
def test_money_adds_up_whatever_is_ordered(acts: list[Any]) -> None:
    brokerage = broker()
    for number, (account, symbol, side, act, quantity, away) in enumerate(acts):
        now = NOW + number
        near = max(Decimal("0.01"), brokerage.prices(symbol).bid + Decimal(away) / 100)
        active = brokerage.active_orders(account)
        if act == "turn":
            brokerage.market.drift(60.0)
            brokerage.advance(now)
        elif act == "cancel" and active:
            brokerage.cancel(active[quantity % len(active)].id, now=now)
        elif act == "replace" and active:
            order = active[quantity % len(active)]
            brokerage.replace(order.id, quantity=quantity, price=near if order.price else None, now=now)
        elif act in ("market", "limit", "stop"):
            given_prices = {"limit": {"price": near}, "stop": {"stop": near}}.get(act, {})
            brokerage.place(account, symbol, side, act, quantity, now=now, **given_prices)
        for each in ("M", "C"):
            check_sums(brokerage.figures(each))

    by_order: dict[str, Decimal] = {}
    for fill in brokerage.fills:
        by_order[fill.order_id] = by_order.get(fill.order_id, Decimal(0)) + fill.quantity
    orders = [
        order for each in ("M", "C") for order in (*brokerage.active_orders(each), *brokerage.finished_orders(each))
    ]
    filled = {order.id: order.filled for order in orders}
    own = {order.id: order.filled - filled.get(order.replaces, Decimal(0)) for order in orders}
    assert by_order == {name: quantity for name, quantity in own.items() if quantity}
    assert all((order.filled == order.quantity) == (order.status == "filled") for order in orders)
    assert all(order.leaves == 0 for order in orders if order.status in FINAL)
    assert all(holding.position.quantity > 0 for holding in brokerage.figures("C").positions)


def test_ten_thousand_fills_add_up() -> None:
    brokerage = broker(RICH)
    for number in range(10_000):
        if number % 50 == 0:
            brokerage.market.drift(30.0)
        side = "sell" if number // 40 % 2 else "buy"
        brokerage.place("M", ("KO", "AAPL")[number % 2], side, "market", 1 + number % 7, now=NOW + number)

    check_sums(brokerage.figures("M"))
    assert len(brokerage.fills) == 10_000
    assert brokerage.figures("M").fees == 10_000 * FEE
