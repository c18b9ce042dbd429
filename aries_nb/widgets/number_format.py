"""Decides with how many decimals numbers are shown: enough to distinguish them, and never fewer than before.

The decimals belong to an instrument, not to a column: a coin of 1e-8 has others than a share of 500.12.
"""

from __future__ import annotations

import functools
import math
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aries_nb.model import Numbers

__all__ = [
    "MINUS",
    "WHOLE_FROM",
    "Decimals",
    "average_decimals",
    "column_kind",
    "column_label",
    "compact",
    "compacts",
    "decimals_beyond",
    "decimals_of",
    "decimals_of_rows",
    "exact_decimals",
    "grouped",
    "shown_decimals",
    "signed",
]

# Python, Intl.NumberFormat and d3-format write at most 20.
MOST_DECIMALS = 18
# A float64 holds 15 digits of any decimal number; what comes behind them is noise (0.1 + 0.2).
EXACT_DIGITS = 15
# More digits than a price has: a quotient, or a float32 that was widened. It is cut, or one such number would give
# its instrument fifteen decimals for good.
MOST_DIGITS = 13
# What is left of a small price when 0.01 was added and taken away is noise from the nineteenth decimal on.
NOISE_DECIMALS, MOST_SMALL_DIGITS = 12, 9
CUT_DECIMALS = 8
CUT_DIGITS = 6
# An average is a quotient: four decimals, and six digits of one that is smaller.
AVERAGE_DECIMALS = 4
# Prices have two decimals at least, unless they are whole and as large as an index or a future.
LEAST_PRICE_DECIMALS = 2
WHOLE_PRICE_FROM = 10_000.0
# Of a number and its decimals: as far as 15 digits are exact.
NOISE = 5e-15

LABELS = {
    "bid_price": "Bid",
    "ask_price": "Ask",
    "last_price": "Last",
    "bid_size": "Bid size",
    "ask_size": "Ask size",
    "net_change": "Change",
    "change_percent": "Change %",
    "high_price": "High",
    "low_price": "Low",
    "open_price": "Open",
    "close_price": "Close",
    "previous_close_price": "Previous close",
    "total_volume": "Volume",
    "vwap": "VWAP",
}
MINUS = "\N{MINUS SIGN}"
PERCENT_DECIMALS = 2
PRICE_WORDS = ("price", "bid", "ask", "last", "open", "high", "low", "close", "vwap", "spread", "mid")
PROFIT_WORDS = ("pnl", "pl")
# Columns computed of prices, and how many decimals more than these they may have; their float noise is no digit.
COMPUTED_WORDS = {"change": 0, "spread": 0, "mid": 1, "average": 2, "vwap": 2}
# From here on a text of all digits before the point is longer than any cell, and is not exact in any case.
EXPONENT_FROM = 1e21
WHOLE_FROM = 2.0**53  # a float of this size has no decimals
SIZE_WORDS = ("size", "volume", "quantity", "lots", "interest")


def column_kind(name: str) -> str:
    """Return the kind of a column by its last word: "price" of "bid_price", "size" of "total_volume", a quantity.

    "change" is a difference of prices, with a sign, "percent" a share in per cent, with a sign, "number" all else.
    """
    last_word = name.rsplit("_", 1)[-1]
    if last_word in ("change", "percent"):
        return "size" if "size" in name.split("_") else last_word
    if last_word in PRICE_WORDS:
        return "price"
    return "size" if last_word in SIZE_WORDS else "number"


def column_label(name: str) -> str:
    """Return the heading of the column `name`: "Bid" for "bid_price", "Open interest" for "open_interest".

    The words "pnl" and "pl" become "P&L".
    """
    first, *others = ["P&L" if word in PROFIT_WORDS else word for word in name.split("_")]
    return LABELS.get(name, " ".join([first[:1].upper() + first[1:], *others]))


def decimals_beyond(name: str) -> int | None:
    """Return by how many decimals more than its instrument's prices a column computed of them is shown.

    None for all other columns, whose own digits decide.
    """
    return next((more for word, more in COMPUTED_WORDS.items() if word in name.split("_")), None)


@functools.lru_cache(maxsize=8192)
def shown_decimals(value: float | Decimal) -> int:
    """Return how many decimals show a number in full, at most 18; 0 for NaN and infinity.

    A Decimal is exact; of a float the first 15 digits count. A float with more than 13 digits is a quotient and is cut:
    to eight decimals, or to its first six digits where it is smaller.
    """
    if not math.isfinite(value) or not value:
        return 0
    if isinstance(value, Decimal):
        return _decimals_to(value, MOST_DECIMALS)
    exact = Decimal(f"{value:.{EXACT_DIGITS - 1}e}")
    decimals = _decimals_to(exact, MOST_DECIMALS)
    digits = exact.adjusted() + decimals + 1
    if digits <= (MOST_DIGITS if decimals <= NOISE_DECIMALS else MOST_SMALL_DIGITS):
        return decimals
    return _decimals_to(exact, max(CUT_DECIMALS, CUT_DIGITS - 1 - exact.adjusted()))


@functools.lru_cache(maxsize=8192)
def average_decimals(value: float | Decimal) -> int:
    """Return with how many decimals an average is shown: at most four, or six digits of one below 0.01."""
    if not math.isfinite(value) or not value:
        return 0
    exact = Decimal(value)
    return _decimals_to(exact, max(AVERAGE_DECIMALS, CUT_DIGITS - 1 - exact.adjusted()))


def _decimals_to(value: Decimal, most: int) -> int:
    """Return how many decimals a number has that is rounded to `most` decimals, without zeros at the end."""
    return len(f"{value:.{min(most, MOST_DECIMALS)}f}".rstrip("0").partition(".")[2])


def decimals_of(values: Numbers) -> int:
    """Return how many decimals show every one of `values` in full, as `shown_decimals` does of one.

    NaN and infinity are ignored; the result is 0 if nothing else is there.
    """
    return max(map(shown_decimals, values.tolist()), default=0)


class Decimals:
    """The number of decimals with which the numbers of one instrument or column are shown; it only grows.

    Prices (`is_price`) have at least two, unless they are whole and 10,000 or more. `step` is the smallest change of a
    price where it is known, else NaN; then prices have its decimals, and more only where they need them.
    """

    def __init__(self, *, is_price: bool, step: float = math.nan) -> None:
        self._is_price = is_price
        self._has_step = math.isfinite(step) and step > 0
        self._shown = shown_decimals(step) if self._has_step else -1

    def of(self, values: Numbers) -> int:
        """Return how many decimals show these values, and all values of earlier calls, in full; at most 18.

        NaN and infinity are ignored; the result is 0 before the first other value.
        """
        return self.of_values(values.tolist())

    def of_values(self, values: Sequence[float | Decimal]) -> int:
        """Return `of` for single numbers, exactly for those that are Decimals."""
        finite = {value for value in values if math.isfinite(value)}
        if finite:
            needed = max(map(shown_decimals, finite))
            is_whole = needed == 0 and any(not -WHOLE_PRICE_FROM < value < WHOLE_PRICE_FROM for value in finite)
            if self._is_price and not self._has_step and not is_whole:
                needed = max(needed, LEAST_PRICE_DECIMALS)
            self._shown = max(self._shown, needed)
        return self.known

    @property
    def known(self) -> int:
        """The number of decimals by all values so far; 0 before the first."""
        return max(self._shown, 0)


def decimals_of_rows(rows: Sequence[Decimals], values: Numbers) -> list[int]:
    """Return `rows[i].of(values[i])` for each row of a table, all at once where nothing grows."""
    shown = np.array([row.known for row in rows], dtype=np.float64)[:, np.newaxis]
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.abs(values) * 10.0**shown
        is_new = np.abs(scaled - np.rint(scaled)) > NOISE * scaled
    # A first price has two decimals, also where it is whole.
    is_new |= (shown == 0) & np.isfinite(values)
    for place in np.flatnonzero(is_new.any(axis=1)).tolist():
        rows[place].of(values[place])
    return [row.known for row in rows]


def grouped(value: float, decimals: int) -> str:
    """Return a number as text with this many decimals and its thousands grouped; an en dash for NaN and infinity.

    A float has no more decimals than are exact: none from 2**53 on. From 1e21 on it is a power of ten. Below zero it
    has a minus sign, not a hyphen, unless it rounds to zero.
    """
    if not math.isfinite(value):
        return "–"
    text = f"{value:,.{exact_decimals(value, decimals)}f}" if abs(value) < EXPONENT_FROM else repr(float(value))
    return text.replace("-", MINUS if text.strip("-0.,") else "")


def exact_decimals(value: float | Decimal, decimals: int) -> int:
    """Return `decimals`, or as many of them as a number has, where it is a float too large for so many.

    The further ones would be noise: a size of 2**53 next to one of 0.375 has no thousandths.
    """
    if isinstance(value, Decimal) or abs(value) * 10.0**decimals < WHOLE_FROM:
        return decimals
    return 0 if abs(value) >= WHOLE_FROM else min(decimals, len(repr(float(value)).partition(".")[2]))


def signed(value: float, decimals: int, unit: str = "") -> str:
    """Return a number as `grouped` does, with a plus or minus sign unless it rounds to zero, and its unit behind."""
    text = grouped(abs(value), decimals)
    if not math.isfinite(value):
        return text
    sign = "" if not text.strip("0.,") else MINUS if value < 0 else "+"
    return f"{sign}{text}{unit}"


def compact(value: float) -> str:
    """Return a number as text with six digits, or all of those before the point; never a power of ten."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    decimals = 0 if size >= 1e5 else CUT_DIGITS - 1 - math.floor(math.log10(size)) if size else 0
    text = grouped(value, min(decimals, MOST_DECIMALS))
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def compacts(values: Sequence[float]) -> list[str]:
    """Return numbers that stand together, each as `compact` does; in full if two of them would look alike."""
    texts = [compact(value) for value in values]
    if len(set(texts)) == len(set(values)):
        return texts
    return [grouped(value, shown_decimals(value)) for value in values]
