from __future__ import annotations

import functools
import itertools
import json
from collections import defaultdict
from decimal import Decimal

import pytest

from aries_nb.sim.accounts.accounts import BalanceChanged, OrderChanged, PositionChanged
from aries_nb.sim.accounts.brokerage import Brokerage
from aries_nb.sim.aries.account_objects import order_object, position_object
from aries_nb.sim.aries.server import AriesServer
from aries_nb.sim.market.market import Market
from aries_nb.sim.market.options import Contract
from aries_nb.sim.market.troubles import Roughness, read_troubles
from tests.sim.rough import AlorSample, AriesSample
from tests.sim.trading import NOW, POOR, RICH, TODAY, check_sums, quiet_accounts, quote


def changes_made(troubles, seconds=30, rate=10.0):
    """All changes that the accounts publish in some seconds, in the order of their publication."""
    accounts = quiet_accounts(orders_per_s=rate, roughness=Roughness(read_troubles(troubles), 1, 3.0))
    found = []
    accounts.add_listener(lambda changes, _now: found.extend(changes))
    for turn in range(seconds * 10):
        accounts.advance(0.1, NOW + turn / 10)
    return accounts, found


#: The same, computed once for tests that only read them.
changes_of = functools.cache(changes_made)


def states(changes):
    by_order = defaultdict(list)
    for each in changes:
        if isinstance(each, OrderChanged):
            by_order[each.order.id].append(each.order)
    return by_order


def test_no_trouble_changes_nothing():
    assert changes_of(False)[1] == changes_of("halts")[1]


def test_same_seed_gives_the_same_changes():
    assert changes_made(True, 20)[1] == changes_made(True, 20)[1]


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


def test_a_leg_is_not_taken_back_without_the_others():
    market, broker = market_and_broker()
    expiry = market.expiries("AAPL")[2]
    legs = [(Contract("AAPL", expiry, "C", strike).symbol, side) for strike, side in ((270.0, "buy"), (275.0, "sell"))]
    order = broker.trade_legs("M", "AAPL", legs, now=NOW)

    broker.bust(broker.fills[-1], now=NOW + 2)

    assert broker.finished_orders("M") == [order]
    assert [broker.ledger("M").quantity(symbol) for symbol, _ in legs] == [1, -1]


def test_cumulative_quantity_falls_and_sums_hold():
    accounts, found = changes_of("busted_fills", 60, rate=5.0)

    falls = [
        (before.filled, after.filled)
        for each in states(found).values()
        for before, after in itertools.pairwise(each)
        if after.filled < before.filled
    ]
    assert falls
    for account in accounts.names:
        check_sums(accounts.figures(account))


def test_order_of_a_busted_fill_is_open_again_or_ends():
    _, found = changes_of("busted_fills", 60, rate=5.0)

    after = {
        after.status
        for each in states(found).values()
        for before, after in itertools.pairwise(each)
        if after.filled < before.filled
    }
    assert "canceled" in after
    assert after & {"new", "partially_filled"}


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


# Kinds of instruments, splits, clearings.


def aries_accounts(trouble):
    """The accounts of the simulated Aries server after 30 s, and the objects that they sent, by name."""
    sample = AriesSample(rough=trouble, orders_per_s=10.0)
    server = AriesServer(sample.feed._options)
    found = defaultdict(list)

    def listen(changes, _now):
        for each in changes:
            if isinstance(each, OrderChanged):
                found["order"].append(order_object(each.order))
            elif isinstance(each, PositionChanged):
                found["position"].append(position_object(each.account, each.holding))

    server.accounts.add_listener(listen)
    for turn in range(300):
        server.accounts.advance(0.1, NOW + turn / 10)
    return server.accounts, found


def test_an_option_is_held_and_traded_at_a_hundred_times_its_price():
    accounts, sent = aries_accounts("options")

    option = next(each for each in sent["position"] if each["securityType"] == "OPTION")
    orders = [each for each in sent["order"] if each["securityType"] == "OPTION"]
    price, quantity = Decimal(option["price"]), Decimal(option["quantity"])
    assert 1 < price < 60
    assert Decimal(option["marketValue"]) == 100 * price * quantity
    assert all(1 < Decimal(each["avgPrice"]) < 60 for each in orders if each["cumQty"] != "0")
    check_sums(accounts.figures("ACC-1"))


def test_a_spread_is_one_order_with_legs_and_two_positions():
    accounts, sent = aries_accounts("multi_leg_orders")

    filled = [each for each in sent["order"] if each.get("legs")]
    held = {each["symbol"]: each["quantity"] for each in sent["position"] if each["securityType"] == "OPTION"}
    assert len(filled) > 3
    assert {(each["category"], each["symbol"], each["avgPrice"]) for each in filled} == {("MULTI_LEG", "AAPL", "0")}
    assert [leg["side"] for leg in filled[0]["legs"]] == ["BUY", "SELL"]
    assert set(held) == {leg["symbol"] for leg in filled[0]["legs"]}
    check_sums(accounts.figures("ACC-1"))


def test_a_split_changes_quantity_and_price_and_not_the_equity():
    accounts, _ = aries_accounts("splits")
    brokerage = accounts.brokerage
    before, held, mark = brokerage.equity("ACC-1"), brokerage.ledger("ACC-1").quantity("TSLA"), brokerage.mark("TSLA")

    brokerage.split("TSLA", Decimal(2), now=NOW + 100)

    assert brokerage.ledger("ACC-1").quantity("TSLA") == 2 * held
    assert float(brokerage.mark("TSLA")) == pytest.approx(float(mark) / 2, rel=1e-3)
    assert float(brokerage.equity("ACC-1")) == pytest.approx(float(before), rel=1e-4)
    assert not [each for each in brokerage.active_orders("ACC-1") if each.symbol == "TSLA"]
    check_sums(accounts.figures("ACC-1"))


def test_splits_leave_whole_shares_and_are_undone():
    accounts, _ = aries_accounts("splits")
    brokerage = accounts.brokerage
    marks, quantities = set(), set()

    for turn in range(400):
        accounts.advance(0.1, NOW + 200 + turn / 10)
        marks.add(round(brokerage.mark("TSLA") / 200))
        quantities |= {brokerage.ledger(account).quantity("TSLA") % 1 for account in accounts.names}

    assert marks == {1, 2}
    assert quantities == {0}


def portfolio_sample(trouble, rate=10.0):
    """Objects of a portfolio of the simulated ALOR, by opcode, with the accounts behind it."""
    sample = AlorSample(rough=trouble, orders_per_s=rate)
    sent = defaultdict(list)
    portfolio = "7500001" if trouble == "margined_futures" else "D00001"
    for opcode in ("PositionsGetAndSubscribeV2", "TradesGetAndSubscribeV2", "OrdersGetAndSubscribeV2"):
        request = {"opcode": opcode, "guid": opcode, "token": "a token", "exchange": "MOEX", "portfolio": portfolio}
        sample.session.receive(json.dumps({"format": "Simple", **request}), NOW)
    for turn in range(300):
        sample.server.portfolios.accounts.advance(0.1, NOW + turn / 10)
    for frame in map(json.loads, sample.session.outbox):
        if "data" in frame:
            sent[frame["guid"]].append(frame["data"])
    return sample.server.portfolios.accounts, sent


def test_a_bond_is_not_split():
    _, sent = portfolio_sample("bonds,splits", rate=0.0)

    held = [each for each in sent["PositionsGetAndSubscribeV2"] if each["symbol"] == "SU26238RMFS4"]
    assert len({each["qty"] for each in held}) == 1
    assert len({each["qty"] for each in sent["PositionsGetAndSubscribeV2"] if each["symbol"] == "LKOH"}) > 1


def test_a_bond_is_paid_in_percent_of_its_face_value_with_accrued_interest():
    accounts, sent = portfolio_sample("bonds")

    fills = [each for each in sent["TradesGetAndSubscribeV2"] if each["symbol"] == "SU26238RMFS4"]
    position = next(each for each in sent["PositionsGetAndSubscribeV2"] if each["symbol"] == "SU26238RMFS4")
    assert fills
    for fill in fills:
        assert 50 < fill["price"] < 70
        assert fill["accruedInt"] == pytest.approx(24.51 * fill["qty"])
        assert fill["volume"] == pytest.approx(10 * fill["price"] * fill["qty"] + fill["accruedInt"])
    assert position["volume"] == pytest.approx((10 * position["avgPrice"] + 24.51) * position["qty"])
    check_sums(accounts.figures("MOEX:D00001"))


def test_variation_margin_becomes_money_and_the_price_of_settlement_the_average():
    accounts, sent = portfolio_sample("margined_futures")

    held = [each for each in sent["PositionsGetAndSubscribeV2"] if each["symbol"].startswith("BR")]
    averages = {each["avgPrice"] for each in held}
    assert held[0]["currentVolume"] == pytest.approx(held[0]["qty"] * 64.4 * 812.5, rel=0.1)
    assert len(averages) > 3
    check_sums(accounts.figures("MOEX:7500001"))


def test_a_clearing_is_told_as_money_as_well():
    accounts, sent = portfolio_sample("margined_futures", rate=0.0)

    rows = sent["PositionsGetAndSubscribeV2"]
    money = [each["volume"] for each in rows if each["isCurrency"]]
    costs = {each["symbol"]: each["volume"] for each in rows if not each["isCurrency"]}
    cleared = len({each["avgPrice"] for each in rows if each["symbol"].startswith("BR")})
    assert len(money) >= cleared > 1
    assert money[-1] == pytest.approx(float(accounts.figures("MOEX:7500001").cash) + sum(costs.values()))


def test_money_is_told_by_the_summary_alone():
    _, kind = portfolio_sample("halts")
    _, rough = portfolio_sample("summary_money")

    money = [[each for each in sent["PositionsGetAndSubscribeV2"] if each["isCurrency"]] for sent in (kind, rough)]
    assert money[0]
    assert not money[1]
