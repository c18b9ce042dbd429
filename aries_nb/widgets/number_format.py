"""Decides with how many decimals numbers are shown: enough, the same for one instrument, never fewer than before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from aries_nb.model import Numbers

__all__ = ["Decimals", "column_kind", "column_label", "decimals_of", "grouped"]

MOST_DECIMALS = 6
# Prices have two decimals at least, unless they are whole and as large as an index or a future.
LEAST_PRICE_DECIMALS = 2
WHOLE_PRICE_FROM = 10_000.0

LABELS = {"bid_price": "Bid", "ask_price": "Ask", "last_price": "Last", "bid_size": "Bid size", "ask_size": "Ask size"}
PRICE_WORDS = ("price", "bid", "ask", "last", "open", "high", "low", "close", "vwap", "spread", "mid")
PROFIT_WORDS = ("pnl", "pl")
SIZE_WORDS = ("size", "volume", "quantity", "lots", "interest")


def column_kind(name: str) -> str:
    """Return "price", "size" or "number" for a column, by the last word of its name, such as "price" in "bid_price".

    "size" is a quantity, "number" anything whose last word is not known.
    """
    last_word = name.rsplit("_", 1)[-1]
    if last_word in PRICE_WORDS:
        return "price"
    return "size" if last_word in SIZE_WORDS else "number"


def column_label(name: str) -> str:
    """Return the heading of the column `name`: "Bid" for "bid_price", "Open interest" for "open_interest".

    The words "pnl" and "pl" become "P&L".
    """
    first, *others = ["P&L" if word in PROFIT_WORDS else word for word in name.split("_")]
    return LABELS.get(name, " ".join([first[:1].upper() + first[1:], *others]))


def decimals_of(values: Numbers) -> int:
    """Return how many decimals show every one of `values` in full, at most 6.

    NaN and infinity are ignored; the result is 0 if nothing else is there.
    """
    finite = values[np.isfinite(values)]
    for decimals in range(MOST_DECIMALS):
        scaled = finite * 10.0**decimals
        # A price computed as 0.1 + 0.2 has one decimal to a reader, not seventeen.
        if np.all(np.abs(scaled - np.rint(scaled)) <= 1e-7 * np.maximum(1.0, np.abs(scaled) * 1e-3)):
            return decimals
    return MOST_DECIMALS


class Decimals:
    """The number of decimals with which the numbers of one instrument or column are shown; it only grows.

    Prices (`is_price`) have at least two, unless they are whole and 10,000 or more.
    """

    def __init__(self, *, is_price: bool) -> None:
        self._is_price = is_price
        self._decimals = -1

    def of(self, values: Numbers) -> int:
        """Return how many decimals show these values, and all values of earlier calls, in full; at most 6.

        NaN and infinity are ignored; the result is 0 before the first other value.
        """
        finite = values[np.isfinite(values)]
        if len(finite):
            needed = decimals_of(finite)
            if self._is_price and not (needed == 0 and np.abs(finite).max() >= WHOLE_PRICE_FROM):
                needed = max(needed, LEAST_PRICE_DECIMALS)
            self._decimals = max(self._decimals, needed)
        return max(self._decimals, 0)


def grouped(value: float, decimals: int) -> str:
    """Return a number as text with this many decimals and its thousands grouped; an en dash for NaN and infinity."""
    return f"{value:,.{decimals}f}" if np.isfinite(value) else "–"
