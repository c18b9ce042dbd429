"""Splits of shares: found in positions and prices, in whatever order these come; nothing else is taken for one."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction

import pytest

from aries_nb.store.splits import (
    PRICE_AHEAD,
    PRICE_BEHIND,
    QUANTITY_AHEAD,
    REMEMBERED_NS,
    SETTLING_NS,
    Held,
    Split,
    SplitWatch,
)


def held(quantity: str, average: str, *, is_share: bool = True) -> Held:
    return Held(Decimal(quantity), Decimal(quantity) * Decimal(average), is_share)


class Watched:
    """A watch of one instrument; each state is taken a nanosecond after the one before."""

    def __init__(self) -> None:
        self.watch = SplitWatch()
        self.now = 0

    def take(
        self, position: Held, price: str, after: int = 1, *, is_last: bool = False, traded: str | None = None
    ) -> tuple[str, list[Fraction]]:
        self.now += after
        doubtful, splits = self.watch.take(
            {"AAPL": position},
            {"AAPL": Decimal(price)},
            self.now,
            lasts={"AAPL"} if is_last else (),
            traded=None if traded is None else {"AAPL": Decimal(traded)},
        )
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
@pytest.mark.parametrize("is_last", [True, False])
def test_a_price_of_before_a_split_is_doubtful_until_it_is_another(
    split: tuple[Held, str, Held, str], ratio: Fraction, *, is_last: bool
) -> None:
    before, price, after, price_after = split
    watched = Watched()
    watched.take(before, price, is_last=is_last)
    watched.take(before, price_after, is_last=not is_last)
    assert watched.take(after, price_after, is_last=not is_last) == ("", [ratio])

    assert watched.take(after, price, is_last=is_last) == (PRICE_BEHIND, [])
    assert watched.take(after, price_after, is_last=not is_last) == ("", [])
    assert watched.take(after, price, 100 * SETTLING_NS, is_last=is_last) == (PRICE_BEHIND, [])
    assert watched.take(after, price_after, is_last=is_last) == ("", [])  # somebody has traded


def test_a_split_back_is_one_whichever_price_shows_it() -> None:
    watched = Watched()
    watched.take(held("10", "100"), "110")
    watched.take(held("20", "50"), "110")
    assert watched.take(held("20", "50"), "55") == ("", [2])

    assert watched.take(held("10", "100"), "55") == (QUANTITY_AHEAD, [])
    assert watched.take(held("10", "100"), "111", is_last=True) == ("", [Fraction(1, 2)])


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


# Prices after 110 that do not show by themselves that ten shares have become thirty, and whether they are a last trade.
UNNOTICED = {
    "the market moved too": [("33.5", False)],
    "and moves on": [("33.5", False), ("37", False), ("36.9", False)],
    "by and by": [("90", False), ("33.5", False)],
    "the sides are gone": [("36", True)],
    "the sides went before": [("111", True), ("33.5", True)],
    "it is taken for true": [("36.5", False)],
}


@pytest.mark.parametrize("prices", UNNOTICED.values(), ids=UNNOTICED)
def test_a_split_whose_price_came_first_and_was_not_noticed(prices: list[tuple[str, bool]]) -> None:
    watched = Watched()
    watched.take(held("10", "100"), "110", REMEMBERED_NS)
    for price, is_last in prices:
        watched.take(held("10", "100"), price, is_last=is_last)
        assert watched.take(held("10", "100"), price, SETTLING_NS, is_last=is_last) == ("", [])

    price, is_last = prices[-1]
    assert watched.take(held("30", "33.3333"), price, is_last=is_last) == ("", [Fraction(3)])
    assert watched.take(held("30", "33.3333"), "37", is_last=is_last) == ("", [])


def test_a_price_of_long_before_shows_no_split() -> None:
    watched = Watched()
    watched.take(held("10", "100"), "110", REMEMBERED_NS)
    watched.take(held("10", "100"), "60")

    assert watched.take(held("20", "50"), "60", REMEMBERED_NS) == (QUANTITY_AHEAD, [])
    assert watched.take(held("20", "50"), "30") == ("", [Fraction(2)])


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


SMALL_TRADES = {
    "one of many": ("10000", "200", "10001", "200"),
    "one sold": ("5001", "30", "5000", "30"),
    "a low price": ("100000", "0.005", "100900", "0.005"),
    "the lowest price": ("300", "0.0001", "400", "0.0001"),
    "a quarter more for nothing": ("10000", "200", "12345", "162.0090"),
}


@pytest.mark.parametrize("trade", SMALL_TRADES.values(), ids=SMALL_TRADES)
def test_a_trade_that_hardly_changes_the_cost_is_no_split(trade: tuple[str, str, str, str]) -> None:
    old, average, new, average_after = trade
    watched = Watched()
    watched.take(held(old, average), average)

    assert watched.take(held(new, average_after), average) == ("", [])
    lower = str(Decimal(average) * Decimal(old) / Decimal(new))
    assert watched.take(held(new, average_after), lower)[1] == []


def test_a_quantity_before_the_first_price_is_no_split() -> None:
    watched = Watched()
    watched.take(held("10", "100"), "NaN")
    watched.take(held("20", "50"), "NaN")

    assert watched.take(held("20", "50"), "55") == ("", [])


WHEN_FILLED = {"with it": ("0", "10", "0"), "before": ("10", "0", "0"), "after": ("0", "0", "10")}


@pytest.mark.parametrize("traded", WHEN_FILLED.values(), ids=WHEN_FILLED)
def test_what_a_fill_explains_is_no_split(traded: tuple[str, str, str]) -> None:
    watched = Watched()
    watched.take(held("10", "100"), "0.01")

    watched.take(held("10", "100"), "0.01", traded=traded[0])
    reason, splits = watched.take(held("20", "50.005"), "0.01", traded=traded[1])

    assert (reason, splits) == (QUANTITY_AHEAD if traded[2] != "0" else "", [])
    assert watched.take(held("20", "50.005"), "0.01", traded=traded[2]) == ("", [])


def test_a_fill_that_is_old_explains_no_split() -> None:
    watched = Watched()
    watched.take(held("10", "100"), "110", traded="0")
    watched.take(held("10", "100"), "110", traded="10")  # of what was held before

    assert watched.take(held("20", "50"), "110", SETTLING_NS, traded="0") == (QUANTITY_AHEAD, [])
    assert watched.take(held("20", "50"), "55", SETTLING_NS, traded="0") == ("", [Fraction(2)])


def test_the_last_price_is_not_compared_with_the_middle() -> None:
    watched = Watched()

    found = [
        watched.take(held("100", "0.75"), "0.50" if is_last else "0.75", 10**9, is_last=is_last)
        for is_last in [False, True] * 5
    ]

    assert found == [("", [])] * 10


@pytest.mark.parametrize("is_last", [True, False])
def test_a_split_is_found_whatever_kind_of_price_comes_after_it(*, is_last: bool) -> None:
    watched = Watched()
    watched.take(held("10", "100"), "110")
    watched.take(held("10", "100"), "55")

    assert watched.take(held("10", "100"), "55", is_last=is_last) == (PRICE_AHEAD, [])
    assert watched.take(held("20", "50"), "56", is_last=is_last) == ("", [Fraction(2)])


@pytest.mark.parametrize("price", ["60", "90", "170", "230"])
def test_a_price_that_no_split_explains_is_true_at_once(price: str) -> None:
    watched = Watched()
    watched.take(held("10", "100"), "100")

    assert watched.take(held("10", "100"), price) == ("", [])


def test_the_quantity_of_what_is_no_share_is_traded() -> None:
    watched = Watched()
    watched.take(held("10", "100", is_share=False), "110")

    assert watched.take(held("20", "50", is_share=False), "110") == ("", [])
    assert watched.take(held("20", "50", is_share=False), "55") == ("", [])


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
