from __future__ import annotations

import pytest

from aries_nb.brokers.registry import BROKERS


@pytest.mark.parametrize(
    ("broker", "symbol", "calendar"),
    [
        ("aries", "AAPL", "XNYS"),
        ("alor", "SBER", "XMOS"),
        ("alor", "MOEX:SBER@TQBR", "XMOS"),
        ("alor", "SPBX:AAPL", "XNYS"),
        ("alor", "TEREX:SBER", ""),
        ("sim", "AAPL", "24/7"),
        ("sim-alor", "SBER", "24/7"),
    ],
)
def test_each_symbol_follows_the_calendar_of_its_exchange(broker: str, symbol: str, calendar: str) -> None:
    hours = BROKERS[broker].market.hours

    assert calendar == hours.calendar_of(symbol)


def test_a_chosen_exchange_is_that_of_symbols_which_name_none() -> None:
    choose = BROKERS["alor"].choose
    assert choose is not None

    hours = choose(exchange="SPBX").market.hours

    assert hours.calendar_of("AAPL") == "XNYS"


@pytest.mark.parametrize(
    ("status", "is_quiet"),
    [
        ({}, False),
        ({"market": "open", "early_hours": False, "after_hours": False}, False),
        ({"market": "open", "early_hours": True, "after_hours": False}, True),
        ({"market": "closed"}, True),
        ({"market": "extended-hours"}, True),
    ],
)
def test_a_market_that_says_it_is_not_in_its_regular_hours_may_be_quiet(
    status: dict[str, str | float | bool], is_quiet: bool
) -> None:
    hours = BROKERS["aries"].market.hours

    assert is_quiet == hours.is_quiet(status)
