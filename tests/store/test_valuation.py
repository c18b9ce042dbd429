"""Position and P&L accounting: worked examples, and identities that hold for any trades."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.model.prices import is_price
from aries_nb.store.fills import Fill
from aries_nb.store.valuation import (
    Portfolio,
    Position,
    apply_fill,
    apply_fills,
    equity,
    mark_of,
    market_value,
    middle_of,
    open_portfolio,
    unmarked,
    unrealized,
)

NAN = Decimal("NaN")
SYMBOLS = ("MSFT", "AAPL", "OPTION")
MULTIPLIERS = {"OPTION": Decimal(100)}


def fill(quantity: str | int, price: str | int, symbol: str = "MSFT", fee: str | int = 0) -> Fill:
    signed = Decimal(quantity)
    side = "buy" if signed > 0 else "sell"
    return Fill(0, "ACC-1", symbol, side, abs(signed), Decimal(price), "ORD-1", Decimal(fee))


def after(*fills: Fill, cash: int = 1000) -> Portfolio:
    return apply_fills(open_portfolio(Decimal(cash)), fills)


# Worked examples.


def test_buying_moves_cash_into_a_position_at_average_cost() -> None:
    portfolio = after(fill(2, 10), fill(2, 13))

    assert portfolio.cash == 954
    assert portfolio.positions == {"MSFT": Position(Decimal(4), Decimal(46))}
    assert portfolio.average_price("MSFT") == Decimal("11.5")
    assert portfolio.realized == 0


def test_selling_a_part_realizes_the_difference_to_average_cost() -> None:
    portfolio = after(fill(2, 10), fill(2, 13), fill(-1, 14))

    assert portfolio.realized == Decimal("2.5")
    assert portfolio.positions["MSFT"] == Position(Decimal(3), Decimal("34.5"))


def test_selling_short_and_buying_back_realizes_what_is_left() -> None:
    short = after(fill(-4, 10))
    assert short.positions["MSFT"] == Position(Decimal(-4), Decimal(-40))
    assert short.average_price("MSFT") == 10

    closed = apply_fill(short, fill(4, 8))
    assert (closed.realized, closed.cash, closed.positions) == (8, 1008, {})


def test_a_fill_through_zero_closes_first_and_opens_with_the_rest() -> None:
    portfolio = after(fill(3, 10), fill(-5, 12))

    assert portfolio.realized == 6
    assert portfolio.positions["MSFT"] == Position(Decimal(-2), Decimal(-24))
    assert portfolio.average_price("MSFT") == 12


def test_fees_leave_cash_and_are_counted_apart_from_what_is_realized() -> None:
    portfolio = after(fill(1, 10, fee=1), fill(-1, 12, fee="0.5"))

    assert (portfolio.cash, portfolio.realized, portfolio.fees) == (Decimal("1000.5"), 2, Decimal("1.5"))


def test_a_contract_stands_for_as_many_units_as_its_multiplier_says() -> None:
    portfolio = open_portfolio(Decimal(1000), {"OPTION": (Decimal(1), Decimal(2))}, multipliers=MULTIPLIERS)

    sold = apply_fill(portfolio, fill(-1, 3, "OPTION"))

    assert equity(portfolio, {"OPTION": Decimal("2.5")}) == 1250
    assert (sold.cash, sold.realized) == (1300, 100)
    assert portfolio.average_price("OPTION") == 2


def test_books_given_are_not_changed() -> None:
    portfolio = after(fill(2, 10))

    apply_fill(portfolio, fill(5, 10))

    assert portfolio.positions["MSFT"].quantity == 2


def test_the_average_price_of_nothing_is_not_known() -> None:
    assert after().average_price("MSFT").is_nan()


# Unknown values.


@pytest.mark.parametrize("marks", [{}, {"MSFT": NAN}, {"MSFT": Decimal("Infinity")}])
def test_without_the_mark_of_what_is_held_worth_is_unknown_and_the_reason_named(marks: dict[str, Decimal]) -> None:
    portfolio = after(fill(2, 10), fill(1, 5, "AAPL"))
    marks = marks | {"AAPL": Decimal(5)}

    assert equity(portfolio, marks).is_nan()
    assert market_value(portfolio, marks).is_nan()
    assert unrealized(portfolio, marks).is_nan()
    assert unmarked(portfolio, marks) == ("MSFT",)


def test_the_mark_of_what_is_no_more_held_is_not_needed() -> None:
    portfolio = after(fill(2, 10), fill(-2, 11))

    assert equity(portfolio, {}) == 1002
    assert unmarked(portfolio, {}) == ()


def test_a_fill_without_price_makes_cash_unknown() -> None:
    portfolio = after(fill(2, "NaN"))

    assert portfolio.cash.is_nan()
    assert equity(portfolio, {"MSFT": Decimal(10)}).is_nan()


def test_a_sale_without_price_leaves_the_cost_of_the_rest_known() -> None:
    portfolio = after(fill(4, 10), fill(-1, "NaN"))

    assert portfolio.positions["MSFT"] == Position(Decimal(3), Decimal(30))
    assert portfolio.realized.is_nan()


def test_an_unknown_cost_at_the_opening_leaves_equity_known_and_what_is_realized_unknown() -> None:
    portfolio = open_portfolio(Decimal(100), {"MSFT": (Decimal(2), NAN)})

    sold = apply_fill(portfolio, fill(-1, 10))

    assert equity(portfolio, {"MSFT": Decimal(10)}) == 120
    assert equity(sold, {"MSFT": Decimal(10)}) == 120
    assert sold.realized.is_nan()


def test_an_unknown_quantity_makes_equity_unknown_and_is_named() -> None:
    portfolio = open_portfolio(Decimal(100), {"MSFT": (NAN, Decimal(10)), "KO": (Decimal(1), Decimal(5))})
    marks = {"MSFT": Decimal(10), "KO": Decimal(6)}

    traded = apply_fill(portfolio, fill(3, 10))

    assert equity(portfolio, marks).is_nan()
    assert unmarked(portfolio, marks) == unmarked(traded, marks) == ("MSFT",)
    assert traded.cash == 70


def test_an_empty_holding_is_none() -> None:
    assert open_portfolio(Decimal(100), {"MSFT": (Decimal(0), NAN)}).positions == {}


# Property tests.

quantities = st.integers(-30, 30).filter(bool) | st.decimals(-5, 5, places=3).filter(bool)
prices = st.decimals("0.01", 999, places=4)
fees = st.sampled_from(["0", "1", "0.35", "0.000119"])
fills = st.builds(fill, quantities, prices, st.sampled_from(SYMBOLS), fees)
sequences = st.lists(fills, max_size=25)
all_marks = st.fixed_dictionaries(dict.fromkeys(SYMBOLS, prices))
openings = st.dictionaries(st.sampled_from(SYMBOLS), st.tuples(quantities.map(Decimal), prices))


def opened(holdings: dict[str, tuple[Decimal, Decimal]]) -> Portfolio:
    return open_portfolio(Decimal("100000.01"), holdings, multipliers=MULTIPLIERS)


@given(openings, sequences, all_marks)
def test_cash_and_positions_at_their_marks_are_equity(
    holdings: dict[str, tuple[Decimal, Decimal]], done: list[Fill], marks: dict[str, Decimal]
) -> None:
    portfolio = apply_fills(opened(holdings), done)

    held = {symbol: quantity for symbol, (quantity, _) in holdings.items()}
    cash = Decimal("100000.01")
    with localcontext() as context:
        context.prec = 200
        for each in done:
            held[each.symbol] = held.get(each.symbol, Decimal(0)) + each.signed
            cash -= each.signed * each.price * MULTIPLIERS.get(each.symbol, 1) + each.fee
        worth = sum(quantity * marks[symbol] * MULTIPLIERS.get(symbol, 1) for symbol, quantity in held.items())
        expected = cash + worth
    assert {symbol: quantity for symbol, quantity in held.items() if quantity} == {
        symbol: position.quantity for symbol, position in portfolio.positions.items()
    }
    assert portfolio.cash == cash
    assert equity(portfolio, marks) == expected


@given(openings, sequences, all_marks)
def test_what_was_realized_and_not_less_fees_is_the_change_of_equity(
    holdings: dict[str, tuple[Decimal, Decimal]], done: list[Fill], marks: dict[str, Decimal]
) -> None:
    before = opened(holdings)

    portfolio = apply_fills(before, done)

    with localcontext() as context:
        context.prec = 200
        earned = portfolio.realized + unrealized(portfolio, marks) - portfolio.fees
        assert earned - unrealized(before, marks) == equity(portfolio, marks) - equity(before, marks)


@given(sequences)
def test_the_average_price_lies_between_the_prices_paid(done: list[Fill]) -> None:
    portfolio = apply_fills(opened({}), done)

    for symbol in portfolio.positions:
        paid = [each.price for each in done if each.symbol == symbol]
        assert min(paid) - Decimal("1e-6") <= portfolio.average_price(symbol) <= max(paid) + Decimal("1e-6")


@given(sequences)
def test_the_users_own_decimal_context_changes_nothing(done: list[Fill]) -> None:
    expected = apply_fills(opened({}), done)

    with localcontext() as context:
        context.prec = 4
        actual = apply_fills(opened({}), done)

    assert actual == expected


@given(*(st.floats(allow_infinity=False, width=32) | st.sampled_from([0.0, 0.01, 199_999.99, -37.5]) for _ in range(3)))
def test_a_mark_is_the_middle_or_the_last_price_or_unknown_with_a_reason(bid: float, ask: float, last: float) -> None:
    mark = mark_of(bid, ask, last)

    assert mark.price.is_nan() == bool(mark.reason)
    assert mark.is_last == (mark.price.is_finite() and middle_of(bid, ask).is_nan())
    if mark.price.is_finite() and middle_of(bid, ask).is_nan():
        assert mark.price == Decimal(repr(last)) != 0
        beyond = [is_price(bid) and last < bid, is_price(ask) and last > ask]
        assert not any(beyond) or ask <= last <= bid  # or crossed, and between
    assert mark_of(bid, ask, last, is_fresh=True).price.is_finite() or not is_price(last)


# Margined instruments, and bonds.


def futures(cash: str, **held: tuple[str, str]) -> Portfolio:
    holdings = {symbol: (Decimal(quantity), Decimal(average)) for symbol, (quantity, average) in held.items()}
    return open_portfolio(Decimal(cash), holdings, multipliers={"RTS": Decimal("1.62")}, margined=["RTS"])


def test_a_margined_position_is_worth_its_variation_margin() -> None:
    portfolio = futures("500000", RTS=("-2", "110000"))

    assert equity(portfolio, {"RTS": Decimal(112_000)}) == 500_000 - 2 * 2000 * Decimal("1.62")
    assert unrealized(portfolio, {"RTS": Decimal(112_000)}) == -6480


def test_a_margined_position_is_not_paid_for_and_pays_what_it_realises() -> None:
    fills = [fill(4, 110_000, "RTS"), fill(-1, 111_000, "RTS"), fill(-5, 109_000, "RTS"), fill(2, 108_000, "RTS")]
    portfolio = apply_fills(futures("500000"), fills)

    assert portfolio.positions == {}
    assert portfolio.realized == (1000 - 3 * 1000 + 2 * 1000) * Decimal("1.62")
    assert portfolio.cash == 500_000 + portfolio.realized


def test_a_margined_position_without_average_price_has_no_value() -> None:
    portfolio = futures("500000", RTS=("2", "NaN"))

    assert unmarked(portfolio, {"RTS": Decimal(112_000)}) == ("RTS",)


def test_accrued_interest_is_paid_and_owned() -> None:
    before = open_portfolio(Decimal(20_000), multipliers={"BOND": Decimal(10)}, accrued={"BOND": Decimal("5.7")})

    after = apply_fills(before, [fill(10, "98.5", "BOND")._replace(accrued=Decimal(57))])

    assert after.cash == 20_000 - 9850 - 57
    assert equity(after, {"BOND": Decimal("98.5")}) == 20_000
    assert unrealized(after, {"BOND": Decimal("99.5")}) == 100


@pytest.mark.parametrize("quantity", [10, -10])
def test_an_execution_that_is_taken_back_leaves_the_cash_as_it_was(quantity: int) -> None:
    before = open_portfolio(Decimal(20_000), multipliers={"BOND": Decimal(10)})
    made = fill(quantity, "98.5", "BOND", "1.3")._replace(accrued=Decimal(57))
    taken_back = made._replace(quantity=-made.quantity, fee=-made.fee, accrued=-made.accrued)

    assert apply_fills(before, [made, taken_back]) == before


def test_a_multiplier_that_is_not_known_makes_the_value_unknown() -> None:
    portfolio = open_portfolio(Decimal(0), {"X": (Decimal(1), Decimal(1))}, multipliers={"X": NAN})

    assert unmarked(portfolio, {"X": Decimal(1)}) == ("X",)
