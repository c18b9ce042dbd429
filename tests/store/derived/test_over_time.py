from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.store.derived.over_time import Ticks, instants, wide

SECOND = 1_000_000
NAN = math.nan


def ticks(*rows: tuple[float, int, float], lag: float = 0.0) -> Ticks:
    """Rows of (second, code, value), received `lag` seconds later."""
    ts = np.array([round(second * SECOND) for second, _, _ in rows], "int64")
    codes, values = np.array([code for _, code, _ in rows], "int8"), np.array([value for *_, value in rows], "float64")
    return Ticks(ts, ts + round(lag * SECOND), codes, values)


def test_each_row_has_the_newest_value_of_each_symbol_at_the_end_of_its_second() -> None:
    rows = ticks((0.2, 0, 1.0), (0.9, 0, 2.0), (1.0, 1, 7.0), (1.5, 0, 3.0), (3.1, 1, 8.0))
    at = instants(int(rows.ts[0]), int(rows.ts[-1]), SECOND)

    found = wide(rows, 2, at, [])

    assert at.tolist() == [1 * SECOND, 2 * SECOND, 3 * SECOND]
    np.testing.assert_array_equal(found, [[2.0, 7.0], [3.0, 7.0], [3.0, 7.0]])


def test_before_its_first_row_and_where_the_value_is_missing_there_is_none() -> None:
    found = wide(
        ticks((0.5, 0, 1.0), (1.5, 0, NAN), (1.6, 1, 5.0), (2.5, 0, 2.0)), 3, instants(0, 3 * SECOND, SECOND), []
    )

    np.testing.assert_array_equal(found, [[NAN] * 3, [1.0, NAN, NAN], [NAN, 5.0, NAN], [2.0, 5.0, NAN]])


def test_in_a_gap_there_is_no_value_until_the_symbols_own_next_row() -> None:
    rows = ticks((0.5, 0, 1.0), (0.6, 1, 5.0), (4.5, 0, 2.0), (6.5, 1, 6.0), lag=0.25)

    found = wide(rows, 2, instants(0, 7 * SECOND, SECOND), [(round(2.5 * SECOND), None)])

    np.testing.assert_array_equal(found[:, 0], [NAN, 1.0, 1.0, NAN, NAN, 2.0, 2.0, 2.0])
    np.testing.assert_array_equal(found[:, 1], [NAN, 5.0, 5.0, NAN, NAN, NAN, NAN, 6.0])


def test_a_gap_of_one_symbol_leaves_the_others() -> None:
    rows = ticks((0.5, 0, 1.0), (0.6, 1, 5.0), (2.5, 0, 2.0))

    found = wide(rows, 2, instants(SECOND, 3 * SECOND, SECOND), [(round(1.5 * SECOND), 1)])

    np.testing.assert_array_equal(found, [[1.0, 5.0], [1.0, NAN], [2.0, NAN]])


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2), st.integers(1, 9)), max_size=30).map(sorted),
    st.integers(1, 7),
)
def test_it_is_what_a_plain_search_finds(rows: list[tuple[int, int, int]], every: int) -> None:
    table = ticks(*((second / 10, code, float(value)) for second, code, value in rows))
    at = instants(0, 6 * SECOND, every * SECOND // 2)

    found = wide(table, 3, at, [])

    expected = [
        [
            ([NAN] + [value for second, code, value in rows if code == each and second * SECOND <= t * 10])[-1]
            for each in range(3)
        ]
        for t in at.tolist()
    ]
    np.testing.assert_array_equal(found, np.array(expected, "float64").reshape(len(at), 3))
