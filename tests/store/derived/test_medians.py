from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aries_nb.store.derived import medians
from aries_nb.store.derived.medians import Medians

VALUES = st.sampled_from([-1.5, -0.0, 0.0, 1.0, 2.0, 2.0, 3.5, 7.0, math.nan])
# How many of the newest rows are made anew, and what follows.
STEPS = st.lists(st.tuples(st.integers(0, 6), st.lists(VALUES, min_size=1, max_size=9)), min_size=1, max_size=30)


@pytest.mark.parametrize("few", [0, 64])
@settings(max_examples=60)
@given(steps=STEPS, length=st.sampled_from([1, 2, 5, 40]), dropped=st.integers(0, 60))
def test_they_are_those_of_pandas_however_the_series_grows(
    few: int, steps: list[tuple[int, list[float]]], length: int, dropped: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(medians, "MOST_IN_BLOCK", 4)  # so that blocks are divided
        patch.setattr(medians, "FEW", few)
        found, series = Medians(), list[float]()
        for back, new in steps:
            start = max(len(series) - back, 0)
            series[start:] = new
            first = np.maximum(np.arange(start, len(series)) - length + 1, 0)
            base = min(dropped, int(first[0]))  # rows that are not needed any more

            values = found.of(np.array(series)[base:], base, first - base, start - base, len(series) - base)

            expected = pd.Series(series).rolling(length, min_periods=1).median()
            np.testing.assert_array_equal(values, expected[start:])


def test_a_row_costs_a_look_at_few_of_those_in_its_window() -> None:
    size = 50_000
    series = np.random.default_rng(1).normal(size=2 * size)
    found = Medians()
    found.of(series, 0, np.zeros(size, "int64"), 0, size)

    for at in range(size, size + 100):
        values = found.of(series, 0, np.array([at - size]), at, at + 1)
        assert values[0] == np.median(series[at - size : at + 1])

    assert max(map(len, found._low._blocks)) <= medians.MOST_IN_BLOCK
    assert len(found._held) == size + 1
