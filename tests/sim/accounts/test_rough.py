from __future__ import annotations

import itertools
from collections import defaultdict
from decimal import Decimal

import pytest

from aries_nb.sim.accounts.accounts import BalanceChanged, OrderChanged, PositionChanged
from aries_nb.sim.accounts.brokerage import Brokerage
from aries_nb.sim.aries.account_objects import order_object
from aries_nb.sim.market.market import Market
from aries_nb.sim.market.troubles import Roughness, read_troubles
from tests.sim.rough import AlorSample
from tests.sim.trading import NOW, POOR, RICH, TODAY, check_sums, quiet_accounts, quote


def changes_of(troubles, seconds=30, rate=10.0):
    """All changes that the accounts publish in some seconds, in the order of their publication."""
    accounts = quiet_accounts(orders_per_s=rate, roughness=Roughness(read_troubles(troubles), 1, 3.0))
    found = []
    accounts.add_listener(lambda changes, _now: found.extend(changes))
    for turn in range(seconds * 10):
        accounts.advance(0.1, NOW + turn / 10)
    return accounts, found


def states(changes):
    by_order = defaultdict(list)
    for each in changes:
        if isinstance(each, OrderChanged):
            by_order[each.order.id].append(each.order)
    return by_order


def test_no_trouble_changes_nothing():
    assert changes_of(False, 20)[1] == changes_of("halts", 20)[1]


def test_same_seed_gives_the_same_changes():
    assert changes_of(True, 20)[1] == changes_of(True, 20)[1]


def test_state_of_an_order_comes_after_newer_ones():
    found = states(changes_of("disordered_events")[1])

    older = [
        (before, after)
        for each in found.values()
        for before, after in itertools.pairwise(each)
        if (after.filled, after.updated) < (before.filled, before.updated)
    ]
    assert older


def test_balance_and_position_come_before_their_order():
    def kinds(troubles):
        accounts, found = quiet_accounts(orders_per_s=10.0, roughness=Roughness(read_troubles(troubles), 1, 3.0)), []
        accounts.add_listener(lambda changes, _now: found.append([type(each) for each in changes]))
        for turn in range(300):
            accounts.advance(0.1, NOW + turn / 10)
        return [each for each in found if {OrderChanged, PositionChanged, BalanceChanged} <= set(each)]

    assert all(each[0] is OrderChanged for each in kinds(False))
    assert any(each[0] is BalanceChanged for each in kinds("disordered_events"))


def test_changes_come_twice():
    _, found = changes_of("repeated_events")

    assert len(found) - len(changes_of(False)[1]) >= 5


def test_replaced_order_is_counted_either_way():
    found = states(changes_of("replaced_counts", rate=0.0)[1])

    replaced = [each for each in found.values() if each[0].replaces and found[each[0].replaces][-1].filled]
    assert {bool(each[0].filled) for each in replaced} == {True, False}
    assert {each[-1].status for each in replaced} == {"filled"}
    assert all(each[-1].quantity == each[-1].filled for each in replaced)


def market_and_broker():
    market = Market(1, TODAY)
    return market, Brokerage(market, (RICH, POOR))


def test_busted_fill_is_taken_back_from_order_position_and_money():
    market, broker = market_and_broker()
    quote(market, "AAPL", "99.99", "100.00", ask_size=4)
    broker.place("M", "AAPL", "buy", "limit", 10, price="100.00", now=NOW)
    quote(market, "AAPL", "99.99", "100.00", ask_size=6)
    broker.advance(NOW + 1)

    broker.bust(broker.fills[-1], now=NOW + 2)

    (order,) = broker.active_orders("M")
    assert (order.status, order.filled, order.leaves) == ("partially_filled", 4, 6)
    assert order_object(order)["cumQty"] == "4"
    assert broker.ledger("M").quantity("AAPL") == 4
    assert broker.ledger("M").cash == RICH.cash - 400 - Decimal("0.10")
    check_sums(broker.figures("M"))


def test_only_fill_that_is_busted_leaves_a_closed_position_and_a_working_order():
    market, broker = market_and_broker()
    quote(market, "AAPL", "99.99", "100.00")
    broker.place("M", "AAPL", "buy", "market", 10, now=NOW)

    broker.bust(broker.fills[-1], now=NOW + 2)

    assert broker.ledger("M").cash == RICH.cash
    assert broker.holding("M", "AAPL").position.quantity == 0
    assert [order.status for order in broker.active_orders("M")] == ["new"]
    assert broker.finished_orders("M") == []


def test_cumulative_quantity_falls_and_sums_hold():
    accounts, found = changes_of("busted_fills", 30, rate=5.0)

    falls = [
        (before.filled, after.filled)
        for each in states(found).values()
        for before, after in itertools.pairwise(each)
        if after.filled < before.filled
    ]
    assert falls
    for account in accounts.names:
        check_sums(accounts.figures(account))


@pytest.mark.parametrize("rough", ["busted_fills", "disordered_events,repeated_events,busted_fills,replaced_counts"])
def test_alor_sends_a_busted_fill_again_with_quantity_zero(rough):
    sample = AlorSample(rough=rough, orders_per_s=10.0)
    accounts = sample.server.portfolios.accounts
    for opcode in ("TradesGetAndSubscribeV2", "OrdersGetAndSubscribeV2", "PositionsGetAndSubscribeV2"):
        sample.subscribe(opcode, "", portfolio="D00001")
    for _ in range(600):
        sample.now += 0.1
        accounts.advance(0.1, sample.now)

    fills = sample.data("TradesGetAndSubscribeV2", 0)

    by_number = defaultdict(list)
    for fill in fills:
        by_number[fill["id"]].append(fill["qtyUnits"])
    assert [each for each in by_number.values() if len(each) > 1 and each[0] and not each[-1]] != []
    assert all(len(each) <= 2 for each in by_number.values())


def test_alor_counts_a_replaced_order_either_way():
    sample = AlorSample(rough="replaced_counts", orders_per_s=0.0, rough_seconds=1.0)
    accounts = sample.server.portfolios.accounts
    sample.subscribe("OrdersGetAndSubscribeV2", "", portfolio="D00001")
    for _ in range(300):
        sample.now += 0.1
        accounts.advance(0.1, sample.now)

    orders = {each["id"]: each for each in sample.data("OrdersGetAndSubscribeV2", 0)}

    filled = [each["filledQtyBatch"] for each in orders.values() if each["status"] == "filled"]
    assert {each == 6 for each in filled} == {True, False}
