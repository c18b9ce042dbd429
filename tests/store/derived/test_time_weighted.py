from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.store.derived.over_time import TimeWeightedMean, time_weighted

NAN = math.nan


def weighted(rows: list[tuple[int, float]], gaps: list[int], lag: int = 0) -> TimeWeightedMean:
    """Of rows as exchange time and value, each received `lag` later."""
    ts, values = zip(*rows, strict=True) if rows else ((), ())
    times = np.array(ts, "int64")
    return time_weighted(times, times + lag, np.array(values, "float64"), gaps)


def test_a_value_counts_as_long_as_it_is_valid() -> None:
    found = weighted([(0, 10.0), (9, 20.0), (10, 99.0)], [])

    assert TimeWeightedMean(11.0, gaps=0, unknown_us=0) == found


def test_time_in_which_the_value_was_missing_does_not_count() -> None:
    found = weighted([(0, 10.0), (10, NAN), (90, 30.0), (100, 0.0)], [])

    assert found.mean == 20.0


def test_a_value_is_known_until_the_gap_begins_and_no_longer() -> None:
    found = weighted([(0, 10.0), (10, 20.0), (100, 40.0), (110, 0.0)], [20])

    assert TimeWeightedMean((100 + 200 + 400) / 30, gaps=1, unknown_us=80) == found


def test_a_server_whose_clock_is_hours_off_does_not_move_the_gap() -> None:
    hours = 7_200

    found = weighted([(0, 10.0), (10, 20.0), (100, 40.0), (110, 0.0)], [20 + hours], lag=hours)

    assert TimeWeightedMean((100 + 200 + 400) / 30, gaps=1, unknown_us=80) == found


@pytest.mark.parametrize("gap", [-5, 110, 500])
def test_a_gap_before_the_first_row_or_behind_the_last_is_none_within(gap: int) -> None:
    found = weighted([(0, 10.0), (10, 20.0), (110, 0.0)], [gap])

    assert found.gaps == 0


def test_of_one_row_the_mean_is_its_value() -> None:
    found = weighted([(5, 7.0), (5, 8.0)], [])

    assert found.mean == 8.0


@pytest.mark.parametrize("rows", [[], [(1, NAN), (2, NAN)]])
def test_without_a_value_there_is_no_mean(rows: list[tuple[int, float]]) -> None:
    found = weighted(rows, [])

    assert math.isnan(found.mean)


def by_the_tick(rows: list[tuple[int, float]], gaps: list[int], lag: int) -> float:
    """The same, one tick after the other: a value counts at each tick at which it is known to hold."""
    rows = sorted(rows, key=lambda row: row[0])
    seen: list[float] = []
    for tick in range(rows[0][0], rows[-1][0]):
        ts, value = next(row for row in reversed(rows) if row[0] <= tick)
        is_known = not any(ts + lag <= gap <= tick + lag for gap in gaps)
        if is_known and value == value:
            seen.append(value)
    if seen:
        return sum(seen) / len(seen)
    return next((value for _, value in reversed(rows) if value == value), NAN)


VALUES = st.one_of(st.integers(1, 9).map(float), st.just(NAN))


@given(
    st.lists(st.tuples(st.integers(0, 60), VALUES), min_size=1, max_size=20),
    st.lists(st.integers(-10, 80), max_size=4),
    st.integers(0, 30),
)
def test_the_mean_is_that_of_every_tick_at_which_the_value_is_known(
    rows: list[tuple[int, float]], gaps: list[int], lag: int
) -> None:
    rows = sorted(rows, key=lambda row: row[0])

    found = weighted(rows, [gap + lag for gap in gaps], lag=lag)

    assert found.mean == pytest.approx(by_the_tick(rows, [gap + lag for gap in gaps], lag), nan_ok=True)
