from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.brokers.aries.http import RESOLUTIONS, bar_start, bars_from, bars_query
from aries_nb.errors import UsageError
from aries_nb.model import BarPage

SECOND = 1_000_000_000
GOOD: dict[str, Any] = {"s": "ok", "t": [60, 120], "o": [1, 2], "h": [3, 4], "l": [0.5, 1], "c": [2, 3], "v": [10, 20]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


def test_bars_are_asked_for_in_seconds_and_by_the_brokers_name_of_the_length() -> None:
    query = bars_query("BRK.B", 3_600, 60 * SECOND + 1, 120 * SECOND)

    assert query.path == "/v1/chart/history"
    expected = {"symbol": "BRK.B", "resolution": "60", "from": "61", "to": "120", "includeExtended": "true"}
    assert dict(query.params) == expected


def test_a_length_that_there_is_not_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="14400, 86400"):
        bars_query("AAPL", 7, 0, 1)


def test_parallel_arrays_become_bars() -> None:
    expected = BarPage(
        [60 * SECOND, 120 * SECOND], [1.0, 2.0], [3.0, 4.0], [0.5, 1.0], [2.0, 3.0], [10.0, 20.0], next_end_ns=None
    )

    assert expected == bars_from(GOOD)


def test_times_in_milliseconds_and_numbers_as_text_are_read_too() -> None:
    found = bars_from({**GOOD, "t": [1_700_000_040_000, "1700000100000"], "o": ["1", "2"]})

    assert found.start_ns == [1_700_000_040 * SECOND, 1_700_000_100 * SECOND]
    assert found.open == [1.0, 2.0]


def test_next_to_says_where_the_page_before_ends() -> None:
    assert bars_from({**GOOD, "nextTo": "60"}).next_end_ns == 60 * SECOND


def test_bars_come_in_order_and_each_start_once() -> None:
    found = bars_from({name: [*values, *values[:1]] for name, values in GOOD.items() if name != "s"} | {"s": "ok"})
    turned = bars_from({name: values[::-1] for name, values in GOOD.items() if name != "s"})

    assert found.start_ns == [60 * SECOND, 120 * SECOND]
    assert bars_from(GOOD) == turned


def test_a_bar_without_a_usable_time_or_price_is_left_out() -> None:
    assert bars_from({**GOOD, "t": ["soon", 120]}).start_ns == [120 * SECOND]
    assert bars_from({**GOOD, "c": [2, None]}).start_ns == [60 * SECOND]


def test_a_volume_that_is_missing_is_not_a_number() -> None:
    without = {name: values for name, values in GOOD.items() if name != "v"}

    assert [math.isnan(volume) for volume in bars_from(without).volume] == [True, True]
    assert [math.isnan(volume) for volume in bars_from({**GOOD, "v": [None, 5]}).volume] == [True, False]


def test_no_data_is_no_bars_and_may_say_where_earlier_ones_are() -> None:
    assert bars_from({"s": "no_data"}) == BarPage([], [], [], [], [], [])
    assert bars_from({"s": "no_data", "nextTime": 60}) == BarPage([], [], [], [], [], [], 61 * SECOND)
    assert bars_from({"s": "no_data", "nextTime": "never"}).next_end_ns is None
    assert bars_from({"s": "ok", "t": [], "o": [], "h": [], "l": [], "c": [], "v": []}).start_ns == []


def test_an_error_is_reported_in_the_servers_words_without_its_secrets() -> None:
    with pytest.raises(ValueError, match="unknown symbol"):
        bars_from({"s": "error", "errmsg": "unknown symbol"})
    with pytest.raises(ValueError, match=r"\*\*\*"):
        bars_from({"s": "error", "errmsg": "bad token eyJhbGciOiJub25lIn0.e30."})


@pytest.mark.parametrize("change", [{"t": [60]}, {"o": None}, {"v": [1]}, {"h": "text"}, {"t": {}}])
def test_arrays_that_do_not_fit_are_a_value_error(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="of one length"):
        bars_from({**GOOD, **change})


@given(st.dictionaries(st.sampled_from("stohlcv") | st.just("nextTo"), JSON | st.lists(JSON, max_size=2)))
def test_whatever_comes_gives_bars_of_one_length_or_a_value_error(answer: dict[str, Any]) -> None:
    try:
        found = bars_from(json.loads(json.dumps(answer)))
    except ValueError:
        return
    assert len({len(column) for column in found[:-1]}) == 1
    assert sorted(set(found.start_ns)) == found.start_ns


@pytest.mark.parametrize(
    ("interval", "moment", "start"),
    [
        (60, "2026-07-01T13:30:59+00:00", "2026-07-01T13:30:00+00:00"),
        (1_800, "2026-07-01T14:10:00+00:00", "2026-07-01T14:00:00+00:00"),
        (3_600, "2026-07-01T14:29:59+00:00", "2026-07-01T13:30:00+00:00"),
        (14_400, "2026-07-01T17:29:59+00:00", "2026-07-01T13:30:00+00:00"),  # summer: 09:30 is 13:30 UTC
        (14_400, "2026-01-05T18:29:59+00:00", "2026-01-05T14:30:00+00:00"),  # winter: 14:30 UTC
        (86_400, "2026-07-02T03:59:00+00:00", "2026-07-01T00:00:00+00:00"),  # 23:59 of the day before
    ],
)
def test_bars_begin_as_the_broker_cuts_them(interval: int, moment: str, start: str) -> None:
    assert ns(start) == bar_start(ns(moment) + 7, interval)


@given(st.integers(0, 4_000_000_000), st.sampled_from(sorted(RESOLUTIONS)))
def test_the_start_of_a_bar_lies_in_the_bar_itself(second: int, interval: int) -> None:
    if interval == 86_400:
        return  # a day's stamp is a date, and not a time in it
    start = bar_start(second * SECOND, interval)

    assert 0 <= second * SECOND - start < interval * SECOND
