"""Multipliers of contracts: out of the symbol, or out of amounts that are rounded."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.model.contracts import expiry_month, implied_multiplier, is_future_code, is_option_symbol


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("MSFT261218C00500000", True),
        ("BABA2261218P00090000", True),
        ("BRK.B261218C00500000", True),
        ("MSFT", False),
        ("2SPX261218P06000000", True),
        ("12345261218C00500000", False),
        ("", False),
    ],
)
def test_an_option_is_known_by_its_symbol(symbol: str, *, expected: bool) -> None:
    assert is_option_symbol(symbol) is expected


@pytest.mark.parametrize(
    ("value", "quantity", "price", "expected"),
    [
        ("356400", "2", "110000", "1.62"),
        ("1782.0", "10", "1100.0", "0.162"),
        ("55422", "3", "200.0", "92.37"),
        ("368000", "-4", "92000", "1"),
        ("-368000", "-4", "92000", "1"),
        ("9850", "10", "98.5", "10"),
        ("8725", "1000000", "0.0087", "1"),  # the average is 0.008725, rounded
        ("33.33", "10", "3.33", "1"),
        ("200", "3", "0.02", "NaN"),  # 2,700 to 4,400
        ("5542.20", "3", "20", "92.37"),
        ("300", "2", "0.00015", "1000000"),
        ("0", "3", "5", "NaN"),
        ("5", "0", "5", "NaN"),
        ("NaN", "1", "5", "NaN"),
        ("5", "1", "0.0", "NaN"),
        ("1e999", "1", "5", "NaN"),
    ],
)
def test_a_multiplier_is_the_simplest_that_the_rounded_amounts_allow(
    value: str, quantity: str, price: str, expected: str
) -> None:
    with localcontext() as context:
        context.prec = 3
        found = implied_multiplier(Decimal(value), Decimal(quantity), Decimal(price))

    assert str(found) == expected


@given(
    st.sampled_from(["1", "10", "100", "0.162", "1.62", "92.37", "0.01", "1000"]).map(Decimal),
    st.integers(1, 500),
    st.decimals(10_000, 90_000, places=2),
)
def test_a_multiplier_comes_back_out_of_amounts_in_cents(multiplier: Decimal, quantity: int, price: Decimal) -> None:
    value = round(multiplier * quantity * price, 2)

    found = implied_multiplier(value, Decimal(quantity), price, is_exact=True)

    assert abs(found - multiplier) <= multiplier * Decimal("0.005")


MONTHS = {
    "SiZ6": date(2026, 12, 1),
    "SiH7": date(2027, 3, 1),
    "SiH2": date(2022, 3, 1),
    "Si-3.27": date(2027, 3, 1),
    "Si92500BL6": date(2026, 12, 1),
    "Si92500BX6": date(2026, 12, 1),
    "Si92500BM6A": date(2026, 1, 1),
    "Si-13.26": None,
    "USDRUBF": None,
    "SU26238RMFS4": None,
    "SBER": None,
}


@pytest.mark.parametrize(("symbol", "month"), MONTHS.items())
def test_a_future_expires_in_the_month_of_its_code(symbol: str, month: date | None) -> None:
    assert expiry_month(symbol, date(2026, 11, 27)) == month


@pytest.mark.parametrize(("symbol", "month"), MONTHS.items())
def test_a_future_is_known_by_its_code(symbol: str, month: date | None) -> None:
    assert is_future_code(symbol) == (month is not None or symbol == "Si-13.26")
