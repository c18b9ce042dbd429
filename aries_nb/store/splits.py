"""Splits of shares, which brokers report in two halves: as a position with other quantities, and as other prices.

No message of a broker says that a share was split (assumed: the protocol pages have none). Between the two halves the
price does not belong to the quantity, and a position is worth an unknown amount. `SplitWatch` finds both halves in
whatever order they come. Pure; times are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from aries_nb.store.values import UNKNOWN, exactly

__all__ = ["PRICE_AHEAD", "SETTLING_NS", "Held", "Split", "SplitWatch"]

# A price that has jumped is taken for true after this time, in ns: by then the position would have followed (assumed).
SETTLING_NS = 5_000_000_000
# A price that has jumped by this factor or more may be that of a split share: a little less than 4 for 3.
JUMP = 1.28
# The cost of a position stays in a split. Average prices are rounded: to 4 digits or 4 places at least.
SAME_COST, HALF_STEP = Decimal("2e-4"), Decimal("5e-5")
# In a split of more than this factor, and between such small numbers, a fraction of a share may be paid out.
LEAST_RATIO, MOST_UNITS = Fraction(6, 5), 10
SAME_RATIO = 1e-3

PRICE_AHEAD = "its price has jumped as at a split, its quantity has not changed yet"
QUANTITY_AHEAD = "its quantity has changed as at a split, its price has not yet"


class Held(NamedTuple):
    """What a broker reports of a position: `quantity`, and `cost`, in any unit; a share or fund if `is_share`."""

    quantity: Decimal
    cost: Decimal
    is_share: bool


class Split(NamedTuple):
    """`ratio` new units of an instrument for each that was held."""

    symbol: str
    ratio: Fraction

    @property
    def label(self) -> str:
        """The split as text, such as "AAPL split 2:1"."""
        return f"{self.symbol} split {self.ratio.numerator}:{self.ratio.denominator}"


class _Known(NamedTuple):
    """A position, and `price`, the newest that belonged to its quantity before it was multiplied by `ratio`, or None.

    `since` is when the price ceased to belong to the quantity, None while it does; `price_then` is that of this time.
    """

    held: Held
    price: Decimal | None
    ratio: Fraction = Fraction(1)
    since: int | None = None
    price_then: Decimal | None = None


class SplitWatch:
    """Finds splits by how positions and their prices change from one call to the next. `take` is for one thread."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def take(
        self, held: Mapping[str, Held], prices: Mapping[str, Decimal], now: int
    ) -> tuple[dict[str, str], list[Split]]:
        """Take the positions and the prices at `now`, in ns; return what is doubtful, and the splits that are complete.

        The first are the instruments whose price does not belong to their quantity, with the reason. That ends with the
        other half of the split, or when it turns out that there is none: 5 s after the price has jumped, or with a
        price that comes 5 s after the quantity has changed.
        """
        steps = self._steps(held, prices, now)
        self._known = {symbol: known for symbol, (known, _, _) in steps.items()}
        splits = [Split(symbol, ratio) for symbol, (_, _, ratio) in steps.items() if ratio != 1]
        return {symbol: reason for symbol, (_, reason, _) in steps.items() if reason}, splits

    def doubtful(self, held: Mapping[str, Held], prices: Mapping[str, Decimal], now: int) -> dict[str, str]:
        """Return what `take` would return as doubtful, without taking anything; any thread."""
        return {symbol: reason for symbol, (_, reason, _) in self._steps(held, prices, now).items() if reason}

    def _steps(
        self, held: Mapping[str, Held], prices: Mapping[str, Decimal], now: int
    ) -> dict[str, tuple[_Known, str, Fraction]]:
        known = self._known
        found = {}
        with exactly():
            for symbol, each in held.items():
                price = prices.get(symbol, UNKNOWN)
                if each.quantity.is_finite() and each.quantity:
                    found[symbol] = _step(known.get(symbol), each, price if price.is_finite() else None, now)
                elif each.quantity.is_nan() and symbol in known:
                    found[symbol] = known[symbol], "", Fraction(1)
        return found


def _step(known: _Known | None, held: Held, price: Decimal | None, now: int) -> tuple[_Known, str, Fraction]:
    """Return what is known from now on, why the price is doubtful ("" if it is not), and the ratio of a split, else 1.

    `price` is None where it is unknown. To be called within `exactly()`.
    """
    if known is None:
        return _Known(held, price), "", Fraction(1)
    more = _ratio(known.held, held)
    known = known._replace(held=held, ratio=known.ratio * more)
    if more != 1:
        known = known._replace(since=now, price_then=price)
    if price is None:
        return known, "", Fraction(1)
    agreed = _Known(held, price)
    if known.price is None or known.price <= 0 or price <= 0:  # nothing to compare with
        return agreed, "", known.ratio
    moved = math.log(price / known.price)
    is_over = known.since is not None and now - known.since >= SETTLING_NS
    if known.ratio != 1:
        if abs(moved + math.log(known.ratio)) < abs(moved):
            return agreed, "", known.ratio
        is_over = is_over and price != known.price_then
        return (agreed, "", Fraction(1)) if is_over else (known, QUANTITY_AHEAD, Fraction(1))
    if is_over or not held.is_share or abs(moved) < math.log(JUMP):
        return agreed, "", Fraction(1)
    return (known if known.since is not None else known._replace(since=now)), PRICE_AHEAD, Fraction(1)


def _ratio(before: Held, now: Held) -> Fraction:
    """Return the ratio of the split by which a position became another one, 1 if it was none.

    Its cost is the same as before, or less by that of a fraction of one unit, which is paid out.
    """
    amounts = (before.quantity, now.quantity, before.cost, now.cost)
    if before.quantity == now.quantity or not all(each.is_finite() and each for each in amounts):
        return Fraction(1)
    old, new = Fraction(before.quantity), Fraction(now.quantity)
    if old * new < 0 or before.cost * now.cost < 0:
        return Fraction(1)
    tolerance = max(abs(before.cost) * SAME_COST, abs(now.quantity) * HALF_STEP)
    if abs(before.cost - now.cost) <= tolerance:
        return new / old
    ratio = Fraction(before.cost) / old / (Fraction(now.cost) / new)
    near = _near(ratio) if ratio > 1 else 1 / _near(1 / ratio)
    is_split = abs(near / ratio - 1) < SAME_RATIO and max(near, 1 / near) >= LEAST_RATIO
    return near if is_split and 0 < abs(old * near) - abs(new) < 1 else Fraction(1)


def _near(ratio: Fraction) -> Fraction:
    return ratio.limit_denominator(MOST_UNITS)
