"""The regular hours of exchanges, as the calendar library has them."""

from __future__ import annotations

import pandas as pd
import pytest

from aries_nb.live.calendars import _begin, _lookup, open_since, sessions
from tests.net.patience import eventually

FIRST, LAST = (pd.Timestamp(day, tz="UTC").value for day in ("2026-11-01", "2026-12-01"))


def ns(text: str) -> int:
    return pd.Timestamp(text).value


@pytest.fixture(scope="module")
def new_york():
    return sessions("XNYS", FIRST, LAST)


@pytest.fixture(scope="module")
def moscow():
    return sessions("XMOS", FIRST, LAST)


@pytest.mark.parametrize(
    "now",
    [
        "2026-11-22 12:00-05:00",  # a Sunday
        "2026-11-26 12:00-05:00",  # Thanksgiving
        "2026-11-27 13:30-05:00",  # the day after closes at one
        "2026-11-24 08:00-05:00",  # before the market
        "2026-11-24 17:00-05:00",  # after hours
        "2026-11-24 09:35-05:00",  # the opening auction may last
        "2026-11-24 15:55-05:00",  # the closing auction gathers
    ],
)
def test_new_york_may_be_quiet_out_of_its_regular_hours(new_york, now):
    assert _begin(new_york, ns(now)) is None


def test_new_york_trades_in_its_regular_hours(new_york):
    since = _begin(new_york, ns("2026-11-24 12:00-05:00"))

    assert since == ns("2026-11-24 09:40-05:00")


@pytest.mark.parametrize("now", ["2026-11-04 12:00+03:00", "2026-11-24 09:00+03:00", "2026-11-24 18:42+03:00"])
def test_moscow_may_be_quiet_on_a_holiday_in_the_morning_and_in_the_closing_auction(moscow, now):
    assert _begin(moscow, ns(now)) is None


def test_moscow_trades_in_its_main_session(moscow):
    since = _begin(moscow, ns("2026-11-24 15:00+03:00"))

    assert since == ns("2026-11-24 10:10+03:00")


def test_a_market_that_never_closes_needs_no_calendar():
    assert open_since("24/7", ns("2026-11-22 12:00Z")) == 0


def test_where_an_exchange_is_not_known_nothing_must_trade():
    assert open_since("", ns("2026-11-24 17:00Z")) is None


def test_a_calendar_that_cannot_be_had_is_told_in_the_log_and_nothing_must_trade(caplog):
    now = ns("2026-11-24 17:00Z")

    first = open_since("XNOWHERE", now)
    eventually(lambda: "the trading hours of XNOWHERE are not known" in caplog.text)

    assert (first, open_since("XNOWHERE", now)) == (None, None)


def test_a_calendar_comes_by_itself_while_nobody_waits():
    now = ns("2026-11-24 12:00-05:00")
    # A lookup of an earlier test may have failed, and is not repeated: between two tests there is a moment in which the
    # library's warnings are errors.
    _lookup.cache_clear()

    first = open_since("XNYS", now)
    eventually(lambda: open_since("XNYS", now) == ns("2026-11-24 09:40-05:00"))

    assert first in {None, ns("2026-11-24 09:40-05:00")}
