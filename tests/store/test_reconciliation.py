"""Our attribution against the broker's figures: fees found, the rest unexplained, and nothing left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.store.attribution import Contribution
from aries_nb.store.fills import Fill
from aries_nb.store.reconciliation import CASH, SETTLING_NS, Reconciliation
from aries_nb.store.valuation import Portfolio, equity, open_portfolio

SYMBOLS = ("MSFT", "KO", "OPTION")
MULTIPLIERS = {"OPTION": Decimal(100)}
SECOND = 10**9


def fill(
    quantity: int, price: str | int, symbol: str = "MSFT", fee: str = "0", *, mid: Decimal | str | int = "NaN"
) -> Fill:
    side = "buy" if quantity > 0 else "sell"
    number = Decimal(abs(quantity))
    return Fill(0, "ACC-1", symbol, side, number, Decimal(price), "ORD-1", Decimal(fee), mid=Decimal(mid))


def reported(cash: str | int, **quantities: int) -> Portfolio:
    holdings = {symbol: (Decimal(quantity), Decimal(1)) for symbol, quantity in quantities.items()}
    return open_portfolio(Decimal(cash), holdings, multipliers=MULTIPLIERS)


def at(**prices: int | str) -> dict[str, Decimal]:
    return {symbol: Decimal(price) for symbol, price in prices.items()}


def contribution(
    price: Decimal | str | int = 0, trade: str | int = 0, fee: str | int = 0, unexplained: str | int = 0
) -> Contribution:
    return Contribution(Decimal(price), Decimal(trade), Decimal(fee), Decimal(unexplained))


def test_what_cash_lost_beyond_a_fill_is_its_fee() -> None:
    account = Reconciliation(reported(1000), at(MSFT=10))

    account.take(reported("899.90", MSFT=10), at(MSFT=12), [fill(10, 10)], 1)

    assert account.attribution().contributions == {"MSFT": contribution(price=20, fee="-0.1")}


def test_a_fee_that_the_fill_names_is_no_difference() -> None:
    account = Reconciliation(reported(1000), at(MSFT=10))

    account.take(reported("899.90", MSFT=10), at(MSFT=10), [fill(10, 10, fee="0.1")], 1)

    assert account.attribution().contributions == {"MSFT": contribution(fee="-0.1")}


@pytest.mark.parametrize(("is_derived", "fee"), [(True, "-0.1"), (False, "-1.6")])
def test_money_that_is_derived_is_off_without_a_fee(*, is_derived: bool, fee: str) -> None:
    books = [replace(reported(cash), is_cash_derived=is_derived) for cash in ("1000", "898.40", "899.90")]
    held = reported(0, MSFT=10).positions
    account = Reconciliation(books[0], at(MSFT=10))

    account.take(replace(books[1], positions=held), at(MSFT=10), [fill(10, 10, fee="0.1")], 1)

    assert account.attribution().contributions["MSFT"].fee == Decimal(fee)
    account.take(replace(books[2], positions=held), at(MSFT=10), [], 2)
    if is_derived:
        assert account.attribution().contributions == {"MSFT": contribution(fee="-0.1")}


def test_a_fee_of_fills_in_several_instruments_belongs_to_none_of_them() -> None:
    account = Reconciliation(reported(1000), at(MSFT=10, KO=5))

    account.take(reported("849.80", MSFT=10, KO=10), at(MSFT=10, KO=5), [fill(10, 10), fill(10, 5, "KO")], 1)

    assert account.attribution().contributions == {
        "MSFT": contribution(),
        "KO": contribution(),
        CASH: contribution(fee="-0.2"),
    }


def test_cash_that_comes_without_a_fill_is_unexplained_from_the_first_moment_on() -> None:
    account = Reconciliation(reported(1000), {})

    for now in (1, 2, 2 + SETTLING_NS, 3 + SETTLING_NS):
        account.take(reported(1500), {}, [], now)
        assert account.attribution().contributions == {CASH: contribution(unexplained=500)}

    account.take(reported("1399.90", MSFT=10), at(MSFT=10), [fill(10, 10)], 4 + SETTLING_NS)
    assert account.attribution().contributions == {
        CASH: contribution(unexplained=500),
        "MSFT": contribution(fee="-0.1"),
    }


def test_more_than_a_fee_can_be_is_unexplained() -> None:
    account = Reconciliation(reported(1000), at(MSFT=10))

    account.take(reported(880, MSFT=10), at(MSFT=10), [fill(10, 10)], 1)

    assert account.attribution().contributions == {"MSFT": contribution(), CASH: contribution(unexplained=-20)}


def test_a_position_reported_before_its_fill_is_explained_once_the_fill_comes() -> None:
    account = Reconciliation(reported(1000), at(MSFT=10))

    account.take(reported("899.90", MSFT=10), at(MSFT=10), [], 1)
    early = account.attribution()
    account.take(reported("899.90", MSFT=10), at(MSFT=11), [fill(10, 10)], 2)

    assert early.contributions == {"MSFT": contribution(unexplained=100), CASH: contribution(unexplained="-100.1")}
    assert account.attribution().contributions == {"MSFT": contribution(price=10, fee="-0.1")}


def test_what_may_come_from_the_order_of_messages_is_underway_until_they_rest() -> None:
    account = Reconciliation(reported(1000), at(MSFT=10))

    account.take(reported(1000, MSFT=10), at(MSFT=10), [], 1)
    ahead = account.underway(1)
    assert ahead == {"MSFT": 100}
    assert account.attribution(ahead).contributions == {}
    assert 0 < account.pause(1) <= 1
    account.take(reported(900, MSFT=10), at(MSFT=10), [], SECOND)
    assert account.underway(SECOND) == {"MSFT": 100, CASH: -100}
    account.take(reported(900, MSFT=10), at(MSFT=10), [fill(10, 10)], 2 * SECOND)
    assert account.underway(2 * SECOND) == {}

    account.take(reported(1500, MSFT=10), at(MSFT=10), [], 3 * SECOND)  # a deposit
    assert account.underway(3 * SECOND) == {CASH: 600}
    account.take(reported(1500, MSFT=10), at(MSFT=10), [], 4 * SECOND)
    assert account.underway(4 * SECOND) == {}
    assert account.attribution().total == 600


def test_what_never_rests_is_underway_for_five_seconds() -> None:
    account = Reconciliation(reported(1000), {})

    for now in range(10):
        account.take(reported(1100 + now), {}, [], 1 + now * SECOND // 2)
        assert account.underway(1 + now * SECOND // 2) == {CASH: 100 + now}
    account.take(reported(2000), {}, [], 1 + SETTLING_NS)

    assert account.underway(1 + SETTLING_NS) == {}


def test_a_fill_reported_before_its_cash_is_no_fee_of_its_whole_value() -> None:
    account = Reconciliation(reported(1000, MSFT=10), at(MSFT=10))

    account.take(reported(1000), at(MSFT=10), [fill(-10, 10)], 1)
    early = account.attribution()
    account.take(reported("1099.90"), {}, [], 2)

    assert early.contributions == {"MSFT": contribution(), CASH: contribution(unexplained=-100)}
    assert account.attribution().contributions == {"MSFT": contribution(fee="-0.1")}


@pytest.mark.parametrize("signed", [4, -4])
def test_the_cash_of_a_trade_worth_no_more_than_a_fee_is_none(signed: int) -> None:
    account = Reconciliation(reported(1000, KO=10), at(MSFT=10, KO="0.25"))
    held = 10 + signed
    account.take(reported("899.90", MSFT=10, KO=10), at(MSFT=10, KO="0.25"), [fill(10, 10)], 1)

    trades = [fill(10, 10), fill(signed, "0.25", "KO")]
    account.take(reported("799.80", MSFT=20, KO=held), at(MSFT=10, KO="0.25"), trades, 2)
    cash = Decimal("799.70") - signed * Decimal("0.25")
    account.take(reported(str(cash), MSFT=20, KO=held), at(MSFT=10, KO="0.25"), [], 3)
    account.take(reported(str(cash), MSFT=20, KO=held), at(MSFT=10, KO="0.25"), [], 3 + SECOND)

    assert account.attribution().contributions == {
        "MSFT": contribution(fee="-0.1"),
        "KO": contribution(),
        CASH: contribution(fee="-0.2"),
    }


def test_a_round_trip_waits_for_its_cash() -> None:
    account = Reconciliation(reported(1000), at(MSFT=10))

    account.take(reported(1000), at(MSFT=10), [fill(10, 10), fill(-10, "10.1")], 1)
    account.take(reported("1000.80"), at(MSFT=10), [], 2)

    assert account.attribution().contributions == {"MSFT": contribution(price=1, fee="-0.2")}


def margined(cash: str, quantity: int, average: str = "0", symbol: str = "RTS") -> Portfolio:
    holdings = {symbol: (Decimal(quantity), Decimal(average))}
    return open_portfolio(Decimal(cash), holdings, multipliers={symbol: Decimal("1.62")}, margined=[symbol])


BOUGHT = [fill(2, 110_000, "RTS")._replace(multiplier=Decimal("1.62"), fee=Decimal("NaN"))]


@pytest.mark.parametrize("order", list(permutations(["fill", "position", "money"])))
def test_a_future_is_explained_in_whatever_order_its_messages_come(order: Sequence[str]) -> None:
    account = Reconciliation(margined("500000", 0), at(RTS=110_000))
    cash, held = "500000", 0

    for now, what in enumerate(order):
        cash, held = "499990" if what == "money" else cash, 2 if what == "position" else held
        account.take(margined(cash, held, "110000"), at(RTS=110_000), BOUGHT if what == "fill" else [], now)
    account.take(margined(cash, held, "110000"), at(RTS=112_000), [], 4 * SECOND)

    assert account.attribution().contributions == {"RTS": contribution(price=6480, fee=-10)}


def test_the_fees_of_two_futures_may_come_one_by_one() -> None:
    account = Reconciliation(margined("500000", 0), at(RTS=110_000))

    account.take(margined("500000", 4, "110000"), at(RTS=110_000), [*BOUGHT, *BOUGHT], 1)
    for now, cash in enumerate(("499990", "499980", "499980"), 2):
        account.take(margined(cash, 4, "110000"), at(RTS=110_000), [], now * SECOND)

    assert account.attribution().contributions == {"RTS": contribution(fee=-20)}


@pytest.mark.parametrize("order", list(permutations(["fill", "position", "money"])))
@pytest.mark.parametrize(("multiplier", "accrued", "price"), [("100", "0", "12"), ("10", "57", "98.5")])
def test_what_is_bought_is_explained_in_whatever_order_its_messages_come(
    order: Sequence[str], multiplier: str, accrued: str, price: str
) -> None:
    terms = {"multipliers": {"X": Decimal(multiplier)}, "accrued": {"X": Decimal(accrued) / 10}}
    nothing = open_portfolio(Decimal(20_000))
    account = Reconciliation(nothing, {})
    bought = fill(10, price, "X")._replace(accrued=Decimal(accrued), multiplier=Decimal(multiplier), fee=Decimal("NaN"))
    paid = 10 * Decimal(price) * Decimal(multiplier) + Decimal(accrued) + Decimal("1.30")
    cash, held = Decimal(20_000), {}

    for now, what in enumerate(order):
        cash = cash - paid if what == "money" else cash
        held = {"X": (Decimal(10), Decimal(price))} if what == "position" else held
        account.take(
            open_portfolio(cash, held, **terms) if held else open_portfolio(cash),
            {"X": Decimal(price)} if held else {},
            [bought] if what == "fill" else [],
            now,
        )
    account.take(open_portfolio(cash, held, **terms), {"X": Decimal(price) + 1}, [], 4)

    expected = contribution(price=10 * Decimal(multiplier), fee="-1.30")
    assert account.attribution().contributions == {"X": expected}


def test_shares_that_no_fill_brought_are_unexplained_and_move_with_the_price_from_then_on() -> None:
    account = Reconciliation(reported(0, MSFT=1), at(MSFT=10))

    account.take(reported(0, MSFT=3), at(MSFT=10), [], 1)
    account.take(reported(0, MSFT=3), at(MSFT=11), [], 1 + SETTLING_NS)
    account.take(reported(0, MSFT=3), at(MSFT=12), [], 2 + SETTLING_NS)

    assert account.attribution().contributions == {"MSFT": contribution(price=1 + 3, unexplained=22)}


def test_a_contract_first_seen_in_a_fill_counts_with_its_multiplier() -> None:
    account = Reconciliation(reported(1000), at(OPTION=2))

    account.take(reported(799, OPTION=1), at(OPTION=3), [fill(1, 2, "OPTION", mid=2)], 1)

    assert account.attribution().contributions == {"OPTION": contribution(price=100, fee=-1)}


def test_contracts_of_a_few_cents_have_fees_by_the_contract() -> None:
    account = Reconciliation(reported(1000), at(OPTION="0.05"))

    account.take(reported("943.50", OPTION=10), at(OPTION="0.05"), [fill(10, "0.05", "OPTION")], 1)

    assert account.attribution().contributions == {"OPTION": contribution(fee="-6.50")}


def test_a_price_that_is_lost_makes_the_total_unknown_until_it_is_back() -> None:
    account = Reconciliation(reported(0, MSFT=1), at(MSFT=10))

    account.take(reported(0, MSFT=1), {}, [], 1)
    lost = account.attribution().total
    account.take(reported(0, MSFT=1), at(MSFT=12), [], 2)

    assert lost.is_nan()
    assert account.attribution().contributions == {"MSFT": contribution(price=2)}


@pytest.mark.parametrize("is_quoted_to_the_end", [True, False])
def test_what_leaves_the_account_without_a_fill_as_at_expiry_counts_at_its_last_mark(
    is_quoted_to_the_end: bool,
) -> None:
    account = Reconciliation(reported(1000, OPTION=-2), at(OPTION=12))
    account.take(reported(1000, OPTION=-2), at(OPTION=14), [], 1)
    if not is_quoted_to_the_end:
        account.take(reported(1000, OPTION=-2), {}, [], 2)

    for now in (3, 3 + SETTLING_NS, 4 + SETTLING_NS):
        account.take(reported(1000), {}, [], now)
        assert account.attribution().contributions == {"OPTION": contribution(price=-400, unexplained=2800)}


def test_a_fill_after_the_position_and_its_quotes_are_gone_explains_it() -> None:
    account = Reconciliation(reported(1000, OPTION=-2), at(OPTION=12))

    account.take(reported(-1800), {}, [], 1)
    account.take(reported(-1800), {}, [fill(2, 14, "OPTION")], 2)

    assert account.attribution().contributions == {"OPTION": contribution(price=-400)}


def test_a_fill_without_a_price_counts_at_its_middle_and_the_rest_of_cash_is_unexplained() -> None:
    account = Reconciliation(reported(1000), at(MSFT=10))

    account.take(reported("880", MSFT=10), at(MSFT=12), [fill(10, "NaN", mid=10)], 1)

    assert account.attribution().contributions == {"MSFT": contribution(price=20), CASH: contribution(unexplained=-20)}


def test_a_fill_without_price_or_quote_waits_for_the_first_mark_and_poisons_nothing() -> None:
    account = Reconciliation(reported(1000, KO=1), at(KO=5))

    account.take(reported(900, KO=1, MSFT=10), at(KO=5), [fill(10, "NaN")], 1)
    before = account.attribution()
    account.take(reported(900, KO=1, MSFT=10), at(KO=6, MSFT=10), [], 2)

    assert before.contributions["MSFT"].total.is_nan()
    assert before.contributions["KO"] == contribution()
    assert account.attribution().contributions == {"KO": contribution(price=1), "MSFT": contribution()}


def test_a_fee_after_a_fill_without_a_price_is_a_fee_again() -> None:
    account = Reconciliation(reported(1000), at(MSFT=10))

    account.take(reported("899.50", MSFT=10), at(MSFT=10), [fill(10, "NaN", mid=10)], 1)
    account.take(reported("799.40", MSFT=20), at(MSFT=10), [fill(10, 10, mid=10)], 2)

    assert account.attribution().contributions == {"MSFT": contribution(fee="-0.1", unexplained="-0.5")}


def test_an_unknown_quantity_makes_the_total_unknown_until_it_is_reported_again() -> None:
    account = Reconciliation(reported(0, MSFT=1), at(MSFT=10))
    unknown = open_portfolio(Decimal(0), {"MSFT": (Decimal("NaN"), Decimal(1))})

    for now in (1, 1 + SETTLING_NS, 2 + SETTLING_NS):
        account.take(unknown, at(MSFT=11), [], now)
    lost = account.attribution().total
    account.take(reported(0, MSFT=1), at(MSFT=12), [], 3 + SETTLING_NS)

    assert lost.is_nan()
    assert account.attribution().contributions == {"MSFT": contribution(price=2)}


def test_cash_that_is_not_reported_for_a_while_is_no_loss() -> None:
    account = Reconciliation(reported(100), {})

    for now in (1, 1 + SETTLING_NS, 2 + SETTLING_NS):
        account.take(reported("NaN"), {}, [], now)
    lost = account.attribution().total
    account.take(reported(100), {}, [], 3 + SETTLING_NS)

    assert lost.is_nan()
    assert account.attribution().total == 0


# Property: any reports in any order.

prices = st.decimals("0.01", 99, places=3)
quantities = st.integers(-9, 9).filter(bool)
mids = prices | st.just(Decimal("NaN"))
fees = st.sampled_from(["0", "0.35"])
fills = st.builds(fill, quantities, prices, st.sampled_from(SYMBOLS), fees, mid=mids)
unpriced = st.builds(fill, quantities, st.just("NaN"), st.sampled_from(SYMBOLS), fees, mid=mids)
portfolio = st.builds(
    lambda cash, held: reported(cash, **held),
    st.decimals(-999, 999, places=2),
    st.dictionaries(st.sampled_from(SYMBOLS), st.integers(-3, 3)),
)
marks = st.fixed_dictionaries(dict.fromkeys(SYMBOLS, prices))
moments = st.lists(st.tuples(portfolio, marks, st.lists(fills, max_size=2), st.integers(0, 4 * SECOND)), max_size=8)
some_fills = st.lists(fills | unpriced, max_size=2)
some_moments = st.lists(st.tuples(portfolio, marks, some_fills, st.integers(0, 4 * SECOND)), max_size=8)


@given(portfolio, marks, some_moments)
@settings(max_examples=100)
def test_contributions_add_up_exactly_to_the_change_that_the_broker_reports(
    opening: Portfolio,
    first: dict[str, Decimal],
    told_later: list[tuple[Portfolio, dict[str, Decimal], Sequence[Fill], int]],
) -> None:
    account = Reconciliation(opening, first)
    now = 0

    for later, marked, happened, passed in told_later:
        now += passed
        account.take(later, marked, happened, now)

        with localcontext() as context:
            context.prec = 200
            change = equity(later, marked) - equity(opening, first)
        assert account.attribution().total == change


@given(portfolio, marks, moments)
def test_with_complete_fills_nothing_is_unexplained(
    opening: Portfolio,
    first: dict[str, Decimal],
    moved: list[tuple[Portfolio, dict[str, Decimal], Sequence[Fill], int]],
) -> None:
    account = Reconciliation(opening, first)
    cash = opening.cash
    held = {symbol: position.quantity for symbol, position in opening.positions.items()}

    for place, (_, marked, happened, _) in enumerate(moved):
        for each in happened:
            multiplier = MULTIPLIERS.get(each.symbol, Decimal(1))
            cash -= each.signed * each.price * multiplier + each.fee + Decimal("0.1")
            held[each.symbol] = held.get(each.symbol, Decimal(0)) + each.signed
        holdings = {symbol: (quantity, Decimal(1)) for symbol, quantity in held.items()}
        books = open_portfolio(cash, holdings, multipliers=MULTIPLIERS)
        account.take(books, marked, happened, place)
    if moved:
        account.take(books, marked, [], SECOND + len(moved))  # of fills that are worth no more than a fee

    causes = account.attribution().causes
    count = sum(len(happened) for _, _, happened, _ in moved)
    named = sum((each.fee for _, _, happened, _ in moved for each in happened), Decimal(0))
    assert causes.unexplained == 0
    assert causes.fee == -named - count * Decimal("0.1")


@pytest.mark.parametrize("is_cash_first", [True, False])
def test_a_fee_that_comes_later_is_a_fee_whether_its_cash_or_its_report_comes_first(*, is_cash_first: bool) -> None:
    account = Reconciliation(reported(1000), at(MSFT=10))
    account.take(reported(900, MSFT=10), at(MSFT=10), [fill(10, 10, fee="NaN")], 1)
    late = fill(10, 10, fee="1.3")._replace(quantity=Decimal(0))

    account.take(reported("898.7" if is_cash_first else 900, MSFT=10), at(MSFT=10), [], 8 * SECOND)
    account.take(reported("898.7" if is_cash_first else 900, MSFT=10), at(MSFT=10), [late], 9 * SECOND)
    account.take(reported("898.7", MSFT=10), at(MSFT=10), [], 10 * SECOND)

    assert account.attribution().contributions == {"MSFT": contribution(fee="-1.3")}


def test_a_corrected_execution_leaves_nothing_unexplained() -> None:
    account = Reconciliation(reported(1000), at(MSFT=10))
    account.take(reported("899.9", MSFT=10), at(MSFT=12), [fill(10, 10, fee="0.1")], 1)
    taken_back = fill(10, 10, fee="-0.1")._replace(quantity=Decimal(-10))

    account.take(reported("919.9", MSFT=8), at(MSFT=12), [taken_back, fill(8, 10, fee="0.1")], 2)

    assert account.attribution().contributions == {"MSFT": contribution(price=16, fee="-0.1")}


def test_a_correction_that_comes_before_the_cash_of_the_first_report_is_no_loss() -> None:
    account = Reconciliation(reported(1000), at(MSFT=10))
    made, taken_back = fill(10, 10, fee="NaN"), fill(10, 10, fee="NaN")._replace(quantity=Decimal(-10))

    account.take(reported(1000, MSFT=10), at(MSFT=10), [made, taken_back, fill(10, "10.05", fee="NaN")], 1)
    for now, cash in enumerate(("899.1", "898.6", "898.6"), 2):
        account.take(reported(cash, MSFT=10), at(MSFT=10), [], now)

    assert account.attribution().contributions == {"MSFT": contribution(price="-0.5", fee="-0.9")}


@pytest.mark.parametrize("is_alone", [True, False])
def test_cash_of_a_correction_that_comes_late_is_no_fee_of_all_fills(*, is_alone: bool) -> None:
    """The cash of the first report differs by more than 1 % of this fill, but not of both."""
    account = Reconciliation(reported(20_000), at(MSFT=10, AAPL=100))
    others, held, cash = [fill(100, 100, symbol="AAPL")], {"MSFT": 10, "AAPL": 100}, 10_000
    if is_alone:
        others, held, cash = [], {"MSFT": 10}, 20_000
    taken_back = fill(10, 10)._replace(quantity=Decimal(-10))

    corrected = [*others, fill(10, 10), taken_back, fill(10, 13)]
    account.take(reported(cash - 100, **held), at(MSFT=10, AAPL=100), corrected, 1)
    for now in (SECOND, 20 * SECOND):
        account.take(reported(cash - 130, **held), at(MSFT=10, AAPL=100), [], now)

    causes = account.attribution().causes
    assert (causes.fee, causes.unexplained, causes.price) == (0, 0, -30)


NOVEMBER = 1_795_785_300_000_000_000  # 2026-11-27 13:15 UTC
FRIDAY = 1_797_625_800_000_000_000  # 2026-12-18 20:30 UTC


@pytest.mark.parametrize("margin", ["0", "25920"])
@pytest.mark.parametrize(
    ("symbol", "now"), [("RIZ6", FRIDAY), ("RIZ6", NOVEMBER), ("IMOEXF", FRIDAY), ("RIX6", NOVEMBER)]
)
def test_a_future_that_leaves_without_a_fill_is_explained_by_its_variation_margin_once(
    symbol: str, now: int, margin: str
) -> None:
    """Four of them, 1.62 a point, bought at 110,000 and worth 114,000: 25,920 were won, and booked or lost."""
    account = Reconciliation(margined("500000", 4, "110000", symbol), {symbol: Decimal(110_000)})
    account.take(margined("500000", 4, "110000", symbol), {symbol: Decimal(114_000)}, [], now)

    after = margined(str(500_000 + Decimal(margin)), 0, symbol=symbol)
    account.take(after, {}, [], now)
    early = account.attribution()
    account.take(after, {}, [], now + 10 * SECOND)

    is_due = (symbol, now) in (("RIZ6", FRIDAY), ("RIX6", NOVEMBER))
    lost = {symbol: contribution(price=25_920, unexplained=-25_920)}
    won = {symbol: contribution(price=25_920), f"{symbol} settled": contribution()}
    cash = {} if margin == "0" else {CASH: contribution(unexplained=margin)}
    assert early.contributions == {**lost, **cash}
    assert account.attribution().contributions == (won if is_due and margin != "0" else {**lost, **cash})


def test_part_of_a_future_that_leaves_without_a_fill_is_explained_by_its_part_of_the_margin() -> None:
    account = Reconciliation(margined("500000", 4, "110000"), at(RTS=110_000))
    account.take(margined("500000", 4, "110000"), at(RTS=114_000), [], 1)

    account.take(margined("500000", 3, "110000"), at(RTS=114_000), [], 2)

    assert account.attribution().contributions == {"RTS": contribution(price=25_920, unexplained=-6_480)}


def test_futures_that_are_settled_at_another_price_than_the_last_say_so() -> None:
    account = Reconciliation(margined("500000", 4, "110000", "RIZ6"), at(RIZ6=114_000))

    for now in (FRIDAY, FRIDAY + SETTLING_NS):
        account.take(margined("525000", 0, symbol="RIZ6"), {}, [], now)  # 920 less than at the last price

    assert account.attribution().contributions == {"RIZ6": contribution(), "RIZ6 settled": contribution(price=-920)}


def cleared(*, position: bool, money: bool, fee: str = "0") -> Portfolio:
    """Two bought at 110,000 and one at 112,000, cleared at 112,000: 6,480 are paid."""
    cash = 500_000 + (6_480 if money else 0) - Decimal(fee)
    return margined(str(cash), 3, "112000" if position else "110666.666666666666666667")


@pytest.mark.parametrize("is_position_first", [True, False])
def test_a_clearing_beside_a_fill_is_no_fee(*, is_position_first: bool) -> None:
    account = Reconciliation(margined("500000", 2, "110000"), at(RTS=112_000))
    bought = fill(1, 112_000, "RTS", "NaN")._replace(multiplier=Decimal("1.62"))

    first = cleared(position=is_position_first, money=not is_position_first, fee="1.5")
    account.take(first, at(RTS=112_000), [bought], 1)
    account.take(cleared(position=True, money=True, fee="1.5"), at(RTS=112_000), [], SECOND // 2)
    account.take(cleared(position=True, money=True, fee="1.5"), at(RTS=112_000), [], 2 * SECOND)

    assert account.attribution().contributions == {"RTS": contribution(fee="-1.5")}


def test_a_clearing_whose_money_comes_seconds_later_is_no_fee() -> None:
    """One of three held is bought for 1.5, and a clearing pays 97.20 (20 points of three), as much as fees could be."""
    account = Reconciliation(margined("500000", 2, "112000"), at(RTS=112_020))
    bought = fill(1, 112_000, "RTS", "NaN")._replace(multiplier=Decimal("1.62"))

    account.take(margined("499998.5", 3, "112000"), at(RTS=112_020), [bought], SECOND)
    for now in (2, 3, 4):
        account.take(margined("499998.5", 3, "112020"), at(RTS=112_020), [], now * SECOND)
    early = account.attribution().causes
    for now in (5, 7):
        account.take(margined("500095.7", 3, "112020"), at(RTS=112_020), [], now * SECOND)

    assert (early.fee, early.unexplained) == (0, Decimal("-98.7"))
    assert account.attribution().contributions == {"RTS": contribution(price="32.4", fee="-1.5")}


CALL, PUT, HIGH_CALL = "X261218C00090000", "X261218P00110000", "X261218C00095000"
ENDINGS: dict[str, tuple[dict[str, int], int, int, dict[str, int]]] = {
    # Options held, shares and cash that came, and what each ending added, at 100 a share and 12 an option.
    "a call is exercised": ({CALL: 2}, 200, -18_000, {f"{CALL} exercised": -400}),
    "a call is assigned": ({CALL: -2}, -200, 18_000, {f"{CALL} assigned": 400}),
    "a put is exercised": ({PUT: 1}, -100, 11_000, {f"{PUT} exercised": -200}),
    "a put is assigned": ({PUT: -1}, 100, -11_000, {f"{PUT} assigned": 200}),
    "an option expires": ({CALL: 1}, 0, 0, {f"{CALL} expired": -1200}),
    "one is settled in cash": ({CALL: 1}, 0, 1190, {f"{CALL} settled": -10}),
    "a spread is exercised": ({CALL: 1, HIGH_CALL: -1}, 0, 500,
                              {f"{CALL} exercised": -200, f"{HIGH_CALL} assigned": 700}),
    "one leg is exercised": ({CALL: -1, PUT: -1}, -100, 9000, {f"{CALL} assigned": 200, f"{PUT} expired": 1200}),
    "with a fee": ({CALL: -1}, -100, 8995, {f"{CALL} assigned": 195}),
}  # fmt: skip


@pytest.mark.parametrize(("options", "shares", "cash", "added"), ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("held", [0, 50])
def test_what_became_of_options_is_named(
    options: dict[str, int], shares: int, cash: int, added: dict[str, int], held: int
) -> None:
    terms = dict.fromkeys(options, Decimal(100))
    before = {name: (Decimal(number), Decimal(1)) for name, number in {**options, "X": held}.items()}
    account = Reconciliation(
        open_portfolio(Decimal(50_000), before, multipliers=terms), at(X=100, **dict.fromkeys(options, 12))
    )
    after = open_portfolio(Decimal(50_000 + cash), {"X": (Decimal(held + shares), Decimal(1))})

    for now in (FRIDAY, FRIDAY + SETTLING_NS):
        account.take(after, at(X=100), [], now)
    account.take(after, at(X=101), [], FRIDAY + SETTLING_NS + 1)

    found = account.attribution().contributions
    assert {name: found[name].total for name in added} == added
    assert all(not each.unexplained for each in found.values())
    assert sum(each.total for name, each in found.items() if name not in added) == held + shares  # a point of each


@pytest.mark.parametrize(
    ("shares", "cash", "now"),
    [(0, 0, FRIDAY - 4 * 3600 * SECOND), (100, -8000, FRIDAY), (99, -9000, FRIDAY), (0, 600, FRIDAY)],
    ids=["before its end of trading", "another price", "other shares", "other cash"],
)
def test_what_no_ending_explains_stays_unexplained(shares: int, cash: int, now: int) -> None:
    terms = {CALL: Decimal(100)}
    account = Reconciliation(
        open_portfolio(Decimal(50_000), {CALL: (Decimal(1), Decimal(1))}, multipliers=terms), at(X=100, **{CALL: 12})
    )
    after = open_portfolio(Decimal(50_000 + cash), {"X": (Decimal(shares), Decimal(1))})

    for moment in (now, now + SETTLING_NS):
        account.take(after, at(X=100), [], moment)

    found = account.attribution().contributions
    assert found[CALL] == contribution(unexplained=-1200)
    assert not [name for name in found if " " in name]


def test_a_difference_is_decided_about_without_another_report() -> None:
    account = Reconciliation(reported(1000), {})
    before = account.pause(10 * SECOND)

    account.take(reported(1500), {}, [], 10 * SECOND)
    pauses = [account.pause(now * SECOND) for now in (10, 11, 14, 15)]
    account.take(reported(1500), {}, [], 15 * SECOND)

    assert (before, pauses, account.pause(16 * SECOND)) == (None, [1.0, 4.0, 1.0, None], None)


def never_quoted(cash: str, contracts: int, shares: int = 0) -> Portfolio:
    holdings = {CALL: (Decimal(contracts), Decimal(2)), "X": (Decimal(shares), Decimal(10))}
    return open_portfolio(Decimal(cash), holdings, multipliers={CALL: Decimal(100)})


# What comes for an option bought for 200, and what `explained` then has: of the option, of its ending, of the cash.
NEVER_QUOTED = {
    "nothing": ("9800", FRIDAY, {CALL: contribution(price=-200), f"{CALL} expired": contribution()}),
    "cash": ("9950", FRIDAY, {CALL: contribution(price=-50), f"{CALL} settled": contribution()}),
    "nothing, before it can": ("9800", NOVEMBER, {CALL: contribution(price=-200)}),
}


@pytest.mark.parametrize(("cash", "begun", "explained"), NEVER_QUOTED.values(), ids=NEVER_QUOTED)
def test_what_never_had_a_price_and_is_gone_was_worth_the_cash_that_came(
    cash: str, begun: int, explained: dict[str, Contribution]
) -> None:
    bought = fill(1, 2, CALL)._replace(multiplier=Decimal(100), fee=Decimal(0))
    account = Reconciliation(reported(10_000), {})
    account.take(never_quoted("9800", 1), {}, [bought], begun)

    account.take(never_quoted(cash, 0), {}, [], begun + 1)
    early = account.attribution().total
    account.take(never_quoted(cash, 0), {}, [], begun + 1 + SETTLING_NS)
    account.take(never_quoted(cash, 0), {}, [], begun + 2 + SETTLING_NS)

    assert early.is_nan()
    assert account.attribution().contributions == explained


def test_what_never_had_a_price_and_is_gone_blocks_nothing_that_comes_later() -> None:
    bought = fill(1, 2, CALL)._replace(multiplier=Decimal(100), fee=Decimal(0))
    account = Reconciliation(reported(10_000), at(X=10))
    account.take(never_quoted("9800", 1), at(X=10), [bought], FRIDAY)
    for now in (FRIDAY + 1, FRIDAY + 1 + SETTLING_NS):
        account.take(never_quoted("9800", 0), at(X=10), [], now)

    account.take(never_quoted("8799", 0, 100), at(X=10), [fill(100, 10, "X", "NaN")], FRIDAY + 2 * SETTLING_NS)

    assert account.attribution().contributions["X"] == contribution(fee=-1)
    assert account.attribution().total == -201


def test_what_never_had_a_price_is_valued_by_its_fill_where_that_is_late() -> None:
    bought = fill(1, 2, CALL)._replace(multiplier=Decimal(100), fee=Decimal(0))
    sold = bought._replace(side="sell", price=Decimal(3))
    account = Reconciliation(reported(10_000), {})
    account.take(never_quoted("9800", 1), {}, [bought], NOVEMBER)
    after = never_quoted("10100", 0)
    for now in (1, 1 + SETTLING_NS):
        account.take(after, {}, [], NOVEMBER + now)

    for now in (2, 4):
        account.take(after, {}, [sold] if now == 2 else [], NOVEMBER + now * SETTLING_NS)

    assert account.attribution().total == 100
    assert not account.attribution().causes.unexplained


def test_what_has_no_price_and_is_held_waits_for_one() -> None:
    account = Reconciliation(reported(10_000), {})

    for now in (FRIDAY, FRIDAY + SETTLING_NS):
        account.take(never_quoted("9800", 1), {}, [], now)

    assert account.attribution().total.is_nan()
