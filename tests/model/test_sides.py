"""A side has no price where its size alone is 0; markets without sizes, as those of currencies, keep their prices."""

from __future__ import annotations

from math import isnan, nan

import pytest

from aries_nb.model.prices import empty_sides, sides_of

FIELDS = ("bid_price", "bid_size", "ask_price", "ask_size")


@pytest.mark.parametrize(
    ("bid_size", "ask_size", "is_without"),
    [(3.0, 0.0, (False, True)), (0.0, 4.0, (True, False)), (0.0, 0.0, (False, False)), (3.0, 4.0, (False, False)),
     (0.0, nan, (True, False))],
)  # fmt: skip
def test_a_side_whose_size_alone_is_0_has_no_price(bid_size, ask_size, is_without) -> None:
    bid, _, ask, _ = empty_sides((1.1, bid_size, 1.2, ask_size), sides_of(FIELDS))

    assert (isnan(bid), isnan(ask)) == is_without


def test_a_size_without_its_price_is_no_side() -> None:
    assert sides_of(("bid_price", "bid_size", "last_price")) == [(0, 1, None)]
    assert sides_of(("bid_size", "ask_price")) == []
