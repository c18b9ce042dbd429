from __future__ import annotations

import math
from datetime import date, timedelta

import exchange_calendars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.sim.market.options import RATE, Contract, black_scholes, expiries, parse_contract, smile, strikes, years


def test_price_agrees_with_a_textbook_value() -> None:
    # Hull, Options, Futures and Other Derivatives: S=42, K=40, half a year, 20%; there r=10%, here the strike is moved
    # so that its discounted value is the same.
    strike = 40 * math.exp(-0.10 * 0.5 + RATE * 0.5)

    call = black_scholes(42, strike, 0.5, 0.2, right="C").price

    # d1 uses the forward, which the moved strike keeps as it was.
    assert call == pytest.approx(4.76, abs=0.005)


@given(spot=st.floats(50, 500), ratio=st.floats(0.7, 1.4), term=st.floats(0.02, 2), volatility=st.floats(0.1, 0.8))
def test_call_and_put_keep_parity(spot: float, ratio: float, term: float, volatility: float) -> None:
    strike = spot * ratio

    call = black_scholes(spot, strike, term, volatility, right="C")
    put = black_scholes(spot, strike, term, volatility, right="P")

    assert call.price - put.price == pytest.approx(spot - strike * math.exp(-RATE * term), abs=1e-6)
    assert call.delta - put.delta == pytest.approx(1.0)
    assert call.gamma == put.gamma
    assert call.vega == put.vega


@given(spot=st.floats(50, 500), ratio=st.floats(0.8, 1.25), term=st.floats(0.05, 2), right=st.sampled_from("CP"))
def test_greeks_are_the_derivatives_of_the_price(spot: float, ratio: float, term: float, right: str) -> None:
    strike, bump = spot * ratio, spot * 1e-4

    greeks = black_scholes(spot, strike, term, 0.3, right=right)  # type: ignore[arg-type]
    up, down = (black_scholes(spot + move, strike, term, 0.3, right=right) for move in (bump, -bump))  # type: ignore[arg-type]
    nervous = black_scholes(spot, strike, term, 0.301, right=right)  # type: ignore[arg-type]
    later = black_scholes(spot, strike, term - 0.01 / 365, 0.3, right=right)  # type: ignore[arg-type]

    assert greeks.delta == pytest.approx((up.price - down.price) / (2 * bump), abs=1e-4)
    assert greeks.gamma == pytest.approx((up.delta - down.delta) / (2 * bump), abs=1e-4)
    assert greeks.vega == pytest.approx((nervous.price - greeks.price) * 10, rel=0.02, abs=1e-3)
    assert greeks.theta == pytest.approx((later.price - greeks.price) * 100, rel=0.02, abs=1e-3)


def test_osi_symbol_is_read_and_written_as_the_protocol_page_shows() -> None:
    contract = parse_contract("AAPL240119C00150000")

    assert contract == Contract("AAPL", date(2024, 1, 19), "C", 150.0)
    assert contract.symbol == "AAPL240119C00150000"


@pytest.mark.parametrize("symbol", ["", "AAPL", "AAPL240119X00150000", "AAPL241319C00150000", "AAPL 240119C00150000"])
def test_other_text_is_no_contract(symbol: str) -> None:
    assert parse_contract(symbol) is None


@given(today=st.dates(date(2024, 1, 1), date(2040, 12, 31)))
def test_expiries_are_fridays_to_come_in_order_with_a_year_of_months(today: date) -> None:
    dates = expiries(today)

    assert sorted(set(dates)) == list(dates)
    assert all(day.weekday() in {3, 4} and day >= today for day in dates)
    assert (dates[-1] - today).days > 330
    assert all(years(today, day) > 0 for day in dates)


def test_no_option_expires_on_a_holiday() -> None:
    open_days = set(exchange_calendars.get_calendar("XNYS", start="2024-01-02", end="2028-06-30").sessions.date)
    for week in range(170):
        today = date(2024, 1, 3) + timedelta(weeks=week)

        listed = expiries(today)

        assert [day for day in listed if day not in open_days] == []
        assert len({day.isocalendar()[:2] for day in listed}) == len(listed)

    assert {date(2026, 12, 24), date(2026, 12, 31)} <= set(expiries(date(2026, 11, 29)))
    assert date(2027, 3, 25) in expiries(date(2027, 3, 22))  # Good Friday is the 26th
    assert expiries(date(2026, 12, 25))[0] == date(2026, 12, 31)


@given(price=st.floats(5, 2000))
def test_strikes_lie_round_the_price_on_whole_thousandths(price: float) -> None:
    listed = strikes(price)

    assert listed[0] < price < listed[-1]
    assert all(strike * 1000 == round(strike * 1000) for strike in listed)
    assert len(listed) < 200


def test_a_smile_is_higher_below_the_money_and_bends_more_near_the_expiry() -> None:
    near, far = (
        [smile(0.24, 500, strike, term=term) for strike in (350.0, 430.0, 500.0, 650.0)] for term in (0.05, 1.0)
    )

    assert near[0] > near[1] > near[2]
    assert near[0] > near[3]
    assert near[0] - near[2] > far[0] - far[2] > 0
    assert far[2] > near[2]
