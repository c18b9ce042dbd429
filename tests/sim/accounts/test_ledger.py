from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from aries_nb.sim.accounts.ledger import ZERO, Ledger

MARKS = {"A": Decimal("101.235"), "B": Decimal("7.5")}
FILLS = st.lists(
    st.tuples(
        st.sampled_from(["A", "B"]),
        st.integers(-500, 500).filter(bool),
        st.decimals("0.01", "1000", places=2),
    ),
    max_size=60,
)


def booked(*fills: tuple[int, str], cash: str = "1000", fee: str = "0") -> Ledger:
    ledger = Ledger(Decimal(cash), {})
    for quantity, price in fills:
        ledger.book("A", Decimal(quantity), Decimal(price), fee=Decimal(fee), now=1.0)
    return ledger


@given(fills=FILLS, held=st.integers(-300, 300))
def test_equity_is_explained_to_the_last_digit(fills: list[tuple[str, int, Decimal]], held: int) -> None:
    ledger = Ledger(Decimal("5000.01"), {"A": (Decimal(held), MARKS["A"])})
    for number, (symbol, quantity, price) in enumerate(fills):
        ledger.book(symbol, Decimal(quantity), price, fee=Decimal("0.10"), now=float(number))

        holdings = ledger.holdings(MARKS.__getitem__)
        unrealised = sum((holding.unrealised for holding in holdings), ZERO)
        equity = ledger.equity(MARKS.__getitem__)
        assert equity == ledger.cash + sum(holding.market_value for holding in holdings)
        assert equity - ledger.starting_equity == ledger.realised + unrealised - ledger.fees
    assert ledger.fees == Decimal("0.10") * len(fills)


@given(fills=FILLS)
def test_what_is_closed_has_no_cost_left(fills: list[tuple[str, int, Decimal]]) -> None:
    ledger = Ledger(ZERO, {})
    for symbol, quantity, price in fills:
        ledger.book(symbol, Decimal(quantity), price, fee=ZERO, now=0.0)
    for symbol in list(ledger.positions):
        quantity = ledger.quantity(symbol)
        if quantity:
            ledger.book(symbol, -quantity, Decimal("3.33"), fee=ZERO, now=0.0)

    assert [position.cost for position in ledger.positions.values()] == [ZERO] * len(ledger.positions)
    assert ledger.holdings(MARKS.__getitem__) == ()
    assert ledger.cash == ledger.realised


def test_average_price_is_that_of_what_is_still_held() -> None:
    ledger = booked((10, "10.00"), (20, "13.00"), (-15, "20.00"))

    assert ledger.positions["A"].average_price == Decimal(12)
    assert ledger.realised == Decimal(120)
    assert ledger.quantity("A") == 15


def test_sale_through_zero_closes_the_long_and_opens_a_short_at_its_price() -> None:
    ledger = booked((10, "10.00"), (-25, "11.00"))

    assert ledger.positions["A"].quantity == -15
    assert ledger.positions["A"].cost == Decimal(-165)
    assert ledger.positions["A"].average_price == Decimal(11)
    assert ledger.realised == Decimal(10)


def test_short_gains_when_the_price_falls() -> None:
    ledger = booked((-10, "10.00"), (4, "8.00"))

    assert ledger.realised == Decimal(8)
    assert ledger.equity(lambda _: Decimal(9)) == Decimal(1000) + 8 + 6


def test_fees_are_paid_from_cash() -> None:
    ledger = booked((1, "10.00"), (-1, "10.00"), fee="0.10")

    assert (ledger.cash, ledger.fees, ledger.realised) == (Decimal("999.80"), Decimal("0.20"), ZERO)
