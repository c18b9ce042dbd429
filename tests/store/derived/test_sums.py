"""Sums and extremes over many windows, against exact fractions and plain loops."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from aries_nb.store.derived.sums import Extremes, add_up, between, search_sorted, two_product


@pytest.mark.parametrize("length", [1, 3, 100, 1_500])
@pytest.mark.parametrize("extreme", [np.fmin, np.fmax])
def test_extremes_of_windows_as_a_series_grows(length: int, extreme: np.ufunc) -> None:
    source = np.random.default_rng(length)
    values = np.where(source.random(4_000) < 0.1, np.nan, source.normal(size=4_000))
    first = np.maximum.accumulate(np.maximum(np.arange(4_000) - source.integers(0, length, 4_000), 0))
    extremes, found, dropped = Extremes(extreme), [], 0
    for start, end in [(0, 1), (1, 2), (2, 900), (900, 901), (901, 3_000), (3_000, 4_000)]:
        found += extremes.of(
            values[dropped:], dropped, first[start:end] - dropped, start - dropped, end - dropped
        ).tolist()
        dropped = int(first[end - 1])

    wanted = [extreme.reduce(values[begin : end + 1]) for end, begin in enumerate(first.tolist())]
    np.testing.assert_array_equal(found, wanted)


def test_sums_of_windows_are_exact() -> None:
    source = np.random.default_rng(1)
    values = source.normal(size=500) * 10.0 ** source.integers(-8, 8, 500)
    total, error = np.zeros(501), np.zeros(501)
    for start in range(1, 501, 100):
        add_up(total, error, start, values[start - 1 : start + 99])
    before = np.maximum(np.arange(1, 501) - 20, 0)
    high, low = between(total, error, before, 1, 501)

    exact = [
        float(sum(map(Fraction, values[begin:end].tolist()))) for end, begin in enumerate(before.tolist(), start=1)
    ]
    np.testing.assert_allclose(high + low, exact, rtol=1e-15)


def test_products_are_exact_in_two_parts() -> None:
    a, b = np.array([0.1, 123.456, 1e8 + 0.1]), np.array([0.3, 7.7, 1e-3])
    product, rest = two_product(a, b)

    for place in range(3):
        assert Fraction(float(product[place])) + Fraction(float(rest[place])) == Fraction(a[place]) * Fraction(b[place])


def test_search_of_ascending_values_is_that_of_numpy() -> None:
    source = np.random.default_rng(2)
    ascending, wanted = np.sort(source.integers(0, 50, 200)), np.sort(source.integers(-5, 60, 30))

    for side in ("left", "right"):
        np.testing.assert_array_equal(
            search_sorted(ascending, wanted, side=side), np.searchsorted(ascending, wanted, side)
        )
    assert len(search_sorted(ascending, wanted[:0])) == 0
