"""Splits of shares: found in positions and prices, in whatever order these come; nothing else is taken for one."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction

import pytest

from aries_nb.store.splits import PRICE_AHEAD, QUANTITY_AHEAD, SETTLING_NS, Held, Split, SplitWatch


def held(quantity: str, average: str, *, is_share: bool = True) -> Held:
    return Held(Decimal(quantity), Decimal(quantity) * Decimal(average), is_share)


class Watched:
    """A watch of one instrument; each state is taken a nanosecond after the one before."""

    def __init__(self) -> None:
        self.watch = SplitWatch()
        self.now = 0

    def take(self, position: Held, price: str, after: int = 1) -> tuple[str, list[Fraction]]:
        self.now += after
        doubtful, splits = self.watch.take({"AAPL": position}, {"AAPL": Decimal(price)}, self.now)
        return doubtful.get("AAPL", ""), [split.ratio for split in splits]


SPLITS = {
    "2:1": (held("10", "100"), "110", held("20", "50"), "55.5"),
    "3:2, a rounded average": (held("10", "100"), "110", held("15", "66.6667"), "73"),
    "a short position": (held("-10", "100"), "110", held("-40", "25"), "27"),
    "1:10": (held("250", "1.2345"), "1.01", held("25", "12.345"), "10.05"),
    "1:3, a fraction is paid out": (held("10", "100"), "110", held("3", "300"), "331"),
    "7:2, a fraction is paid out": (held("5", "70"), "77", held("17", "20"), "22.5"),
}
RATIOS = [Fraction(2), Fraction(3, 2), Fraction(4), Fraction(1, 10), Fraction(1, 3), Fraction(7, 2)]
each_split = pytest.mark.parametrize(("split", "ratio"), list(zip(SPLITS.values(), RATIOS, strict=True)), ids=SPLITS)


@each_split
def test_a_split_whose_position_comes_first(split: tuple[Held, str, Held, str], ratio: Fraction) -> None:
    before, price, after, price_after = split
    watched = Watched()

    assert watched.take(before, price) == ("", [])
    assert watched.take(after, price) == (QUANTITY_AHEAD, [])
    assert watched.take(after, price, 10 * SETTLING_NS) == (QUANTITY_AHEAD, [])  # as over night: no newer price
    assert watched.take(after, price_after) == ("", [ratio])
    assert watched.take(after, price_after) == ("", [])


@each_split
def test_a_split_whose_price_comes_first(split: tuple[Held, str, Held, str], ratio: Fraction) -> None:
    before, price, after, price_after = split
    watched = Watched()

    assert watched.take(before, price) == ("", [])
    assert watched.take(before, price_after) == (PRICE_AHEAD, [])
    assert watched.take(before, price_after, SETTLING_NS - 1) == (PRICE_AHEAD, [])
    assert watched.take(after, price_after) == ("", [ratio])


@each_split
def test_a_split_whose_halves_come_together(split: tuple[Held, str, Held, str], ratio: Fraction) -> None:
    before, price, after, price_after = split
    watched = Watched()
    watched.take(before, price)

    assert watched.take(after, price_after) == ("", [ratio])


def test_a_price_that_has_jumped_is_true_once_the_position_would_have_followed() -> None:
    watched = Watched()
    watched.take(held("10", "100"), "110")

    assert watched.take(held("10", "100"), "55") == (PRICE_AHEAD, [])
    assert watched.take(held("10", "100"), "56", SETTLING_NS) == ("", [])
    assert watched.take(held("10", "100"), "57") == ("", [])


def test_a_price_that_returns_was_no_split() -> None:
    watched = Watched()
    watched.take(held("10", "100"), "110")

    watched.take(held("10", "100"), "55")

    assert watched.take(held("10", "100"), "109") == ("", [])
    assert watched.take(held("10", "100"), "56") == (PRICE_AHEAD, [])


def test_a_quantity_that_no_price_follows_was_no_split() -> None:
    watched = Watched()
    watched.take(held("10", "100"), "110")
    watched.take(held("20", "50"), "110")

    assert watched.take(held("20", "50"), "111") == (QUANTITY_AHEAD, [])
    assert watched.take(held("20", "50"), "112", SETTLING_NS) == ("", [])
    assert watched.take(held("20", "50"), "113") == ("", [])


TRADES = {
    "bought": held("20", "80"),
    "bought for little": held("11", "91.8182"),
    "sold in part": held("5", "100"),
    "sold short": held("-10", "100"),
    "sold": held("0", "0"),
    "the average is not known": held("20", "NaN"),
    "the quantity is not known": held("NaN", "50"),
}


@pytest.mark.parametrize("after", TRADES.values(), ids=TRADES)
def test_a_trade_is_no_split(after: Held) -> None:
    watched = Watched()
    watched.take(held("10", "100"), "60")

    assert watched.take(after, "60") == ("", [])
    assert watched.take(after, "61") == ("", [])


def test_a_price_of_what_is_no_share_may_jump() -> None:
    watched = Watched()
    watched.take(held("10", "0.05", is_share=False), "0.05")

    assert watched.take(held("10", "0.05", is_share=False), "0.10") == ("", [])


def test_a_price_below_zero_is_compared_with_none() -> None:
    watched = Watched()
    watched.take(held("10", "5"), "-37.63")

    assert watched.take(held("10", "5"), "10") == ("", [])


def test_reading_takes_nothing() -> None:
    watched = Watched()
    watched.take(held("10", "100"), "110")

    for _ in range(2):
        state = {"AAPL": held("10", "100")}, {"AAPL": Decimal(55)}
        assert watched.watch.doubtful(*state, watched.now + SETTLING_NS) == {"AAPL": PRICE_AHEAD}


def test_the_decimal_context_of_the_user_changes_nothing() -> None:
    watched = Watched()
    watched.take(held("10.000001", "100"), "110.0007")

    with localcontext(Context(prec=3, traps=[Inexact])):
        after = Held(Decimal("20.000002"), Decimal("1000.0001"), is_share=True)
        doubtful = watched.watch.doubtful({"AAPL": after}, {"AAPL": Decimal("110.0007")}, 2)
        found = watched.take(after, "55.00077")

    assert doubtful == {"AAPL": QUANTITY_AHEAD}
    assert found == ("", [Fraction(2)])


def test_a_split_says_what_became_of_what() -> None:
    assert Split("AAPL", Fraction(3, 2)).label == "AAPL split 3:2"
