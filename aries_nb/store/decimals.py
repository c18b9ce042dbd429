"""Exact arithmetic with money: the same digits on every thread, whatever decimal context the user has set."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["MOST_DIGITS", "UNKNOWN", "ZERO", "exactly", "is_usable"]

ZERO = Decimal(0)
UNKNOWN = Decimal("NaN")
MOST_DIGITS = 30  # before the point and behind it; what has more is no price and no quantity

# Products of three usable numbers have at most 180 digits: none of them is rounded, nor any sum of many.
_EXACT = Context(prec=200, rounding=ROUND_HALF_EVEN)


def exactly() -> AbstractContextManager[Context]:
    """Within it sums and products are exact; quotients must be rounded by who forms them."""
    return localcontext(_EXACT)


def is_usable(number: Decimal) -> bool:
    """Whether it is finite, and neither so large nor so finely divided that it can be no price and no quantity."""
    if not number.is_finite():
        return False
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -MOST_DIGITS and number.adjusted() < MOST_DIGITS
