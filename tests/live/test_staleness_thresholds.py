from __future__ import annotations

import numpy as np
import pytest

from aries_nb.live.staleness import staleness_thresholds

SECOND = 1_000_000_000
MINUTE = 60 * SECOND


def arrivals(*seconds_of_each: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Codes and times of receipt of several symbols, in the order of arrival."""
    rows = sorted((second, code) for code, seconds in enumerate(seconds_of_each) for second in seconds)
    codes = np.array([code for _, code in rows], "int32")
    return codes, np.array([round(second * SECOND) for second, _ in rows], "int64")


def test_a_symbol_may_be_silent_for_twenty_times_its_own_usual_interval() -> None:
    codes, received = arrivals([1.0 * n for n in range(60)], [3.0 * n for n in range(20)])

    expected = staleness_thresholds(codes, received, 2)

    assert expected.tolist() == [20 * SECOND, 60 * SECOND]


def test_no_symbol_is_called_silent_within_five_seconds() -> None:
    codes, received = arrivals([0.12 * n for n in range(200)])

    expected = staleness_thresholds(codes, received, 1)

    assert expected.tolist() == [5 * SECOND]


def test_one_long_break_does_not_raise_the_threshold() -> None:
    codes, received = arrivals([*range(30), *range(3_630, 3_660)])

    expected = staleness_thresholds(codes, received, 1)

    assert expected.tolist() == [20 * SECOND]


def test_bursts_count_as_one_moment_each() -> None:
    codes, received = arrivals([10.0 * burst + 0.001 * n for burst in range(8) for n in range(50)])

    expected = staleness_thresholds(codes, received, 1)

    assert expected.tolist() == [pytest.approx(200 * SECOND, rel=0.01)]


def test_one_long_burst_is_known_to_be_quick() -> None:
    codes, received = arrivals([0.01 * n for n in range(500)])

    expected = staleness_thresholds(codes, received, 1)

    assert expected.tolist() == [5 * SECOND]


@pytest.mark.parametrize("seconds", [[], [1.0], [1.0, 2.0, 3.0]])
def test_of_what_has_hardly_come_silence_is_borne_for_five_minutes(seconds: list[float]) -> None:
    codes, received = arrivals(seconds)

    expected = staleness_thresholds(codes, received, 1)

    assert expected.tolist() == [5 * MINUTE]


def test_what_comes_once_an_hour_may_be_silent_for_a_day() -> None:
    codes, received = arrivals([3_600.0 * n for n in range(3)])

    expected = staleness_thresholds(codes, received, 1)

    assert expected.tolist() == [20 * 60 * MINUTE]
