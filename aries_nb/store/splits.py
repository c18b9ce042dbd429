"""Splits of shares, which brokers report in two halves: as a position with other quantities, and as other prices.

No message of a broker says that a share was split (assumed: the protocol pages have none). Between the two halves the
price does not belong to the quantity, and a position is worth an unknown amount. `SplitWatch` finds both halves in
whatever order they come. Pure; times are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from aries_nb.store.values import UNKNOWN, ZERO, exactly

__all__ = ["PRICE_AHEAD", "SETTLING_NS", "Held", "Split", "SplitWatch"]

# A price that has jumped is taken for true after this time, in ns: by then the position would have followed (assumed).
SETTLING_NS = 5_000_000_000
# A price that has moved is remembered for this time, in ns: the position may follow a price that no split explained, as
# the market moved too.
REMEMBERED_NS = 60_000_000_000
# A price that has jumped by such a factor, or by its inverse, to 3 % may be that of a split share.
JUMPS = (4 / 3, 3 / 2, 5 / 2, 7 / 2, *map(float, range(2, 101)))
SAME_JUMP = math.log(1.03)
# The cost of a position stays in a split. Average prices are rounded: to 4 digits or 4 places at least, which says
# nothing of a price near the last of these.
SAME_COST, HALF_STEP, MOST_ROUNDED = Decimal("2e-4"), Decimal("5e-5"), Decimal("0.05")
# A split has this factor at least, and small numbers: anything else is a trade.
LEAST_RATIO, MOST_UNITS = Fraction(6, 5), 10
SAME_RATIO = 1e-3

PRICE_AHEAD = "its price has jumped as at a split, its quantity has not changed yet"
QUANTITY_AHEAD = "its quantity has changed as at a split, its price has not yet"
PRICE_BEHIND = "its price is that of before a split"


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
    `is_last`: the price is that of the last trade, not the middle of the sides; `other` is the newest of the other
    kind. `untraded` is by how much the quantity has changed more than fills (own executions) say, since `untraded_at`.
    `left` is the price, of either kind, that is farthest from `price` of those that it had until `left_at`, or later.
    `behind` is the ratio of the newest split while no price of the other kind has come since, else 1.
    """

    held: Held
    price: Decimal | None
    ratio: Fraction = Fraction(1)
    since: int | None = None
    price_then: Decimal | None = None
    is_last: bool = False
    other: Decimal | None = None
    untraded: Decimal = ZERO
    untraded_at: int = 0
    left: Decimal | None = None
    left_at: int = 0
    behind: Fraction = Fraction(1)

    def comparable(self, *, is_last: bool) -> Decimal | None:
        """Return the known price of that kind; the price whatever its kind while it does not belong to the quantity."""
        return self.price if self.is_last == is_last or (self.since is not None and not self.other) else self.other

    def agreed(self, price: Decimal, now: int, *, is_last: bool) -> _Known:
        """Return what is known once `price` belongs to the quantity."""
        left, left_at = self.left, self.left_at
        is_old = now - left_at >= REMEMBERED_NS
        if self.price != price and (is_old or abs(_moved(left, price)) < abs(_moved(self.price, price))):
            left, left_at = self.price, now
        return self._replace(
            price=price,
            ratio=Fraction(1),
            since=None,
            price_then=None,
            is_last=is_last,
            other=self.other if self.is_last == is_last else self.price,
            left=left,
            left_at=left_at,
            behind=self.behind if self.is_last == is_last else Fraction(1),
        )

    def is_behind(self, price: Decimal, *, is_last: bool) -> bool:
        """Return whether `price`, the first of its kind since a split, is that of before it.

        As that of the last trade is until the next one.
        """
        moved = _moved(self.price, price)
        return self.is_last != is_last and abs(moved - math.log(self.behind)) < abs(moved)

    def is_split_at(self, price: Decimal, before: Decimal) -> bool:
        """Return whether `price` is nearer to what a split by the ratio makes of a price before it than to that one.

        That is the price `before`, or one that it had shortly before the quantity changed.
        """
        is_left = self.since is not None and self.since - self.left_at < REMEMBERED_NS
        moves = [_moved(each, price) for each in (before, self.left if is_left else None)]
        return any(abs(moved + math.log(self.ratio)) < abs(moved) for moved in moves)

    def taken(self, held: Held, traded: Decimal | None, now: int) -> _Known:
        """Return this with what is held now, multiplied by the ratio of the split that this may be.

        There is none where the sum of the fills since the last call, `traded`, explains the quantity, be they a little
        earlier or later than it; None where fills are not known.
        """
        ratio = self.ratio * _ratio(self.held, held)
        if traded is None:
            return self._replace(held=held, ratio=ratio)
        is_old = self.ratio == 1 and now - self.untraded_at >= SETTLING_NS
        change = held.quantity - self.held.quantity - traded
        untraded = change + (ZERO if is_old else self.untraded)
        if change:
            self = self._replace(untraded_at=now)
        return self._replace(held=held, ratio=ratio if untraded else Fraction(1), untraded=untraded)


class _News(NamedTuple):
    """What is new of a position: what is held, its price and its kind, and the sum of new fills; None if unknown."""

    held: Held
    price: Decimal | None
    is_last: bool
    traded: Decimal | None


class SplitWatch:
    """Finds splits by how positions and their prices change from one call to the next. `take` is for one thread."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def take(
        self,
        held: Mapping[str, Held],
        prices: Mapping[str, Decimal],
        now: int,
        *,
        lasts: Collection[str] = (),
        traded: Mapping[str, Decimal] | None = None,
    ) -> tuple[dict[str, str], list[Split]]:
        """Take the positions and the prices at `now`, in ns; return what is doubtful, and the splits that are complete.

        The first are the instruments whose price does not belong to their quantity, with the reason. That ends with the
        other half of the split, or when it turns out that there is none: 5 s after the price has jumped, or with a
        price that comes 5 s after the quantity has changed. A price of before the split, as that of the last trade
        until the next one, is doubtful as long as it is that. `lasts` are the instruments whose price is
        that of the last trade: it is compared with such a price, and the middle of the sides with a middle. `traded` is
        the sum of the fills (own executions) since the last call, by instrument: what they explain is no split.
        """
        steps = self._steps(held, prices, now, lasts, traded)
        self._known = {symbol: known for symbol, (known, _, _) in steps.items()}
        splits = [Split(symbol, ratio) for symbol, (_, _, ratio) in steps.items() if ratio != 1]
        return {symbol: reason for symbol, (_, reason, _) in steps.items() if reason}, splits

    def doubtful(
        self, held: Mapping[str, Held], prices: Mapping[str, Decimal], now: int, *, lasts: Collection[str] = ()
    ) -> dict[str, str]:
        """Return what `take` would return as doubtful, without taking anything; any thread."""
        steps = self._steps(held, prices, now, lasts, None)
        return {symbol: reason for symbol, (_, reason, _) in steps.items() if reason}

    def _steps(
        self,
        held: Mapping[str, Held],
        prices: Mapping[str, Decimal],
        now: int,
        lasts: Collection[str],
        traded: Mapping[str, Decimal] | None,
    ) -> dict[str, tuple[_Known, str, Fraction]]:
        known = self._known
        found = {}
        with exactly():
            for symbol, each in held.items():
                price = prices.get(symbol, UNKNOWN)
                if each.quantity.is_finite() and each.quantity:
                    fills = None if traded is None else traded.get(symbol, ZERO)
                    news = _News(each, price if price.is_finite() else None, symbol in lasts, fills)
                    found[symbol] = _step(known.get(symbol), news, now)
                elif each.quantity.is_nan() and symbol in known:
                    found[symbol] = known[symbol], "", Fraction(1)
        return found


def _step(known: _Known | None, news: _News, now: int) -> tuple[_Known, str, Fraction]:
    """Return what is known from now on, why the price is doubtful ("" if it is not), and the ratio of a split, else 1.

    To be called within `exactly()`.
    """
    held, price, is_last, traded = news
    if known is None:
        return _Known(held, price, is_last=is_last), "", Fraction(1)
    ratio_before, known = known.ratio, known.taken(held, traded, now)
    if known.ratio not in (1, ratio_before):
        known = known._replace(since=now, price_then=price)
    if price is None:
        return known, "", Fraction(1)
    if known.ratio == 1 and known.is_behind(price, is_last=is_last):
        return known, PRICE_BEHIND, Fraction(1)
    agreed = known.agreed(price, now, is_last=is_last)
    before = known.comparable(is_last=is_last)
    if before is None or before <= 0 or price <= 0:  # nothing to compare with, so that nothing shows a split
        return agreed, "", Fraction(1)
    is_over = known.since is not None and now - known.since >= SETTLING_NS
    alone = _Known(held, price, is_last=is_last)  # neither the other kind of price nor fills belong to what it is now
    if known.ratio != 1:
        if known.is_split_at(price, before):
            return alone._replace(behind=known.ratio), "", known.ratio
        is_over = is_over and price != known.price_then
        return (alone, "", Fraction(1)) if is_over else (known, QUANTITY_AHEAD, Fraction(1))
    if not held.is_share or not _is_jump(_moved(before, price)):
        return agreed, "", Fraction(1)
    if is_over:
        return alone._replace(left=agreed.left, left_at=agreed.left_at), "", Fraction(1)
    return (known if known.since is not None else known._replace(since=now)), PRICE_AHEAD, Fraction(1)


def _moved(before: Decimal | None, now: Decimal) -> float:
    """Return the logarithm of the quotient of two prices; 0 where there is none before or one is not above 0."""
    return math.log(now / before) if before is not None and before > 0 and now > 0 else 0.0


def _is_jump(moved: float) -> bool:
    """Return whether a price may be that of before and after a split, by the logarithm of their quotient."""
    return any(abs(abs(moved) - math.log(each)) < SAME_JUMP for each in JUMPS)


def _ratio(before: Held, now: Held) -> Fraction:
    """Return the ratio of the split by which a position became another one, 1 if it was none.

    Its cost is the same as before, or less by that of a fraction of one unit, which is paid out.
    """
    amounts = (before.quantity, now.quantity, before.cost, now.cost)
    if before.quantity == now.quantity or not now.is_share or not all(each.is_finite() and each for each in amounts):
        return Fraction(1)
    old, new = Fraction(before.quantity), Fraction(now.quantity)
    if old * new < 0 or before.cost * now.cost < 0:
        return Fraction(1)
    rounded = min(abs(now.quantity) * HALF_STEP, abs(before.cost) * MOST_ROUNDED)
    is_same_cost = abs(before.cost - now.cost) <= max(abs(before.cost) * SAME_COST, rounded)
    ratio = new / old if is_same_cost else Fraction(before.cost) / old / (Fraction(now.cost) / new)
    near = _near(ratio) if ratio > 1 else 1 / _near(1 / ratio)
    if abs(near / ratio - 1) >= SAME_RATIO or max(near, 1 / near) < LEAST_RATIO:
        return Fraction(1)
    if is_same_cost:
        return ratio
    return near if 0 < abs(old * near) - abs(new) < 1 else Fraction(1)


def _near(ratio: Fraction) -> Fraction:
    return ratio.limit_denominator(MOST_UNITS)
