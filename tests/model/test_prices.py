from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aries_nb.model.prices import is_believable, is_price, is_price_column, middle, middles, sides_to_draw, spreads

NAN = math.nan
SIDES = st.floats(width=32) | st.sampled_from([0.0, -0.0, NAN, 0.01, 199_999.99, 500.0, 499.9, 500.1, -37.5, -37.63])


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, False), (-0.0, False), (NAN, False), (math.inf, False), (-37.63, True), (1e-8, True)]
)
def test_zero_and_nan_are_no_price_and_a_number_below_zero_is_one(value: float, *, expected: bool) -> None:
    assert is_price(value) is expected


@pytest.mark.parametrize(
    ("bid", "ask", "expected"),
    [
        (499.9, 500.1, 500.0),
        (500.0, 500.0, 500.0),  # locked
        (500.1, 499.9, NAN),  # crossed
        (499.9, 0.0, NAN),
        (0.0, 0.0, NAN),
        (NAN, 500.1, NAN),
        (0.01, 199_999.99, NAN),  # stub quotes
        (0.25, 0.75, 0.5),  # a cheap option
        (0.1, 1.0, NAN),
        (-37.63, -37.5, -37.565),
        (-1.0, 1.0, NAN),  # nothing says where between
        (-math.inf, math.inf, NAN),
    ],
)
def test_the_middle_is_a_price_only_of_two_believable_sides(bid: float, ask: float, expected: float) -> None:
    assert middle(bid, ask) == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.tuples(SIDES, SIDES), max_size=20))
def test_many_middles_are_those_of_each_pair(pairs: list[tuple[float, float]]) -> None:
    bids, asks = np.array([bid for bid, _ in pairs], "f8"), np.array([ask for _, ask in pairs], "f8")

    np.testing.assert_array_equal(middles(bids, asks), [middle(bid, ask) for bid, ask in pairs])
    np.testing.assert_array_equal(~np.isnan(middles(bids, asks)), [is_believable(bid, ask) for bid, ask in pairs])


def test_a_spread_needs_two_sides_and_is_below_zero_where_they_are_crossed() -> None:
    bids, asks = np.array([499.5, 500.5, 499.5, 0.0, NAN, 0.01]), np.array([500.0, 500.0, 0.0, 0.0, 500.0, 199_999.99])

    np.testing.assert_array_equal(spreads(bids, asks), [0.5, -0.5, NAN, NAN, NAN, NAN])


def test_columns_of_prices_are_known_by_their_names() -> None:
    names = ["price", "bid_price", "last_price", "bid_size", "spread", "net_change", "size"]

    assert [name for name in names if is_price_column(name)] == ["price", "bid_price", "last_price"]


@pytest.mark.parametrize(
    ("bid", "ask", "last", "expected"),
    [
        (499.9, 500.1, 500.0, (499.9, 500.1)),
        (0.01, 199_999.99, 500.0, (NAN, NAN)),
        (0.01, 199_999.99, NAN, (NAN, NAN)),
        (499.9, 199_999.99, 500.0, (499.9, NAN)),
        (0.01, 500.1, 500.0, (NAN, 500.1)),
        (0.05, 0.2, 0.1, (0.05, 0.2)),
        (0.01, 1.0, NAN, (0.01, 1.0)),  # a cheap option that was never traded
        (-0.05, 0.05, NAN, (-0.05, 0.05)),  # of a spread
        (NAN, 500.1, 500.0, (NAN, 500.1)),
        (500.2, 500.1, 500.0, (500.2, 500.1)),
        (-199_999.99, -0.01, -37.5, (NAN, NAN)),
    ],
)
def test_stub_quotes_are_not_drawn(bid: float, ask: float, last: float, expected: tuple[float, float]) -> None:
    drawn = sides_to_draw(np.array([bid]), np.array([ask]), np.array([last]))

    np.testing.assert_array_equal(drawn, [[side] for side in expected])
