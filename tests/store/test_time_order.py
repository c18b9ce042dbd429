"""Rows by exchange time against a plain sort, whatever comes late and however often it is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.model import Column
from aries_nb.store import RollingFrame
from aries_nb.store import rolling as rolling_module
from aries_nb.store import time_order as time_order_module

NOW = 1_772_463_845_000_000
SECOND = 1_000_000


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rolling_module, "FIRST_CAPACITY", 8)
        patch.setattr(time_order_module, "BLOCK", 4)
        yield


def put(rolling: RollingFrame, seconds: list[int], first: int = 0) -> None:
    """Rows at these seconds, numbered as they arrive."""
    for number, second in enumerate(seconds, start=first):
        rolling.buffer.add(0, (NOW + second * SECOND) * 1_000, (float(number + 1),))
        rolling.buffer.mark(NOW * 1_000)
    rolling.publish()


def rows_of(frame: pd.DataFrame) -> list[tuple[int, int]]:
    return [((ts - NOW) // SECOND, int(value) - 1) for ts, value in zip(frame.index.asi8, frame["value"], strict=True)]


@given(
    st.lists(st.lists(st.integers(-3, 30), max_size=9), max_size=12),
    st.integers(1, 14),
    st.integers(0, 20),
    st.integers(0, 40),
)
def test_rows_are_oldest_first_and_equal_times_in_the_order_of_arrival(
    written: list[list[int]], limit: int, count: int, span: int
) -> None:
    rolling = RollingFrame((Column("value"),), ("A",), limit=limit)
    arrived: list[tuple[int, int]] = []
    for at, batch in enumerate(written):
        put(rolling, batch, len(arrived))
        arrived += [(second, len(arrived) + place) for place, second in enumerate(batch)]
        if at % 3 == 2:
            continue  # not every version is read

        expected = sorted(arrived[-limit:], key=lambda row: row[0])
        newest = max((second for second, _ in expected), default=0)

        assert rows_of(rolling.frame()) == expected
        assert rows_of(rolling.tail(count)) == expected[max(len(expected) - count, 0) :]
        assert rows_of(rolling.last(span * SECOND)) == [row for row in expected if row[0] >= newest - span]
        assert rows_of(rolling.frame_since(0)[0]) == arrived[-limit:]


def test_rows_in_order_are_shared_and_sorted_ones_made_once_a_version() -> None:
    rolling = RollingFrame((Column("value"),), ("A",), limit=100)
    put(rolling, [1, 2, 3])
    shared = [rolling.frame(), rolling.frame()]
    put(rolling, [2, 4], 3)
    made = [rolling.frame(), rolling.frame()]

    assert np.shares_memory(shared[0]["value"].to_numpy(), rolling._published.slab.arrays["value"])
    assert np.shares_memory(made[0]["value"].to_numpy(), made[1]["value"].to_numpy())
    made[0].iloc[0, 0] = pd.Timestamp(0, unit="us", tz="UTC")
    made[0]["value"] = 0.0
    assert rows_of(made[1]) == rows_of(rolling.frame()) == [(1, 0), (2, 1), (2, 3), (3, 2), (4, 4)]


def test_once_a_late_row_has_left_the_rows_are_shared_again() -> None:
    rolling = RollingFrame((Column("value"),), ("A",), limit=3)
    put(rolling, [1, 5, 3, 6])
    late = rolling.frame()
    put(rolling, [7], 4)

    assert rows_of(late) == [(3, 2), (5, 1), (6, 3)]
    assert rows_of(rolling.frame()) == [(3, 2), (6, 3), (7, 4)]
    assert np.shares_memory(rolling.frame()["value"].to_numpy(), rolling._published.slab.arrays["value"])


def test_a_time_far_ahead_is_neither_among_the_newest_rows_nor_empties_them() -> None:
    rolling = RollingFrame((Column("value"),), ("A",), limit=100)

    put(rolling, [1, 2, 2_600_000, 30])

    assert rows_of(rolling.last(29 * SECOND)) == [(1, 0), (2, 1), (30, 3)]
    assert rows_of(rolling.last(5 * SECOND)) == [(30, 3)]
    assert rows_of(rolling.tail(2)) == [(2, 1), (30, 3)]
    assert rows_of(rolling.tail(9)) == [(1, 0), (2, 1), (30, 3)]
    assert len(rolling.frame()) == 4


def test_newest_rows_are_found_among_more_times_far_ahead() -> None:
    rolling = RollingFrame((Column("value"),), ("A",), limit=10_000)

    put(rolling, [1, 2, *range(1_000_000, 1_003_000), 30])

    assert rows_of(rolling.tail(2)) == [(2, 1), (30, 3_002)]
    assert rows_of(rolling.last(28 * SECOND)) == [(2, 1), (30, 3_002)]


def test_a_few_newest_rows_of_many_are_found_without_sorting_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling_module, "FIRST_CAPACITY", 4_096)
    monkeypatch.setattr(time_order_module, "BLOCK", 4_096)
    rolling = RollingFrame((Column("value"),), ("A",), limit=500_000)
    numbers = np.arange(500_000)
    rolling.buffer.codes.extend([0] * len(numbers))
    rolling.buffer.ts.extend(((NOW + (numbers ^ 1) * 100) * 1_000).tolist())  # each second row comes late
    rolling.buffer.values.extend(numbers.astype("f8").tolist())
    rolling.buffer.mark(NOW * 1_000)
    rolling.publish()
    expected = rolling.frame()

    def quickest(work: object) -> float:
        assert callable(work)
        times = []
        for _ in range(5):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        return min(times)

    few = quickest(lambda: rolling.tail(1_000))
    all_sorted = quickest(lambda: rolling.frame_since(0)[0].sort_index(kind="stable"))

    pd.testing.assert_frame_equal(rolling.tail(1_000), expected.iloc[-1_000:])
    assert few < all_sorted / 10
