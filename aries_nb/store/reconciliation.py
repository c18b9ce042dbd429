"""Our explanation of an account against what its broker tells: fees that no fill names, and what nobody explains.

Fills and marks explain how equity should have changed; cash and quantities as the broker tells them say how it did.
What lies between is never left out: it is a fee, or it is unexplained. Pure, and exact in Decimal.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from aries_nb.store.attribution import Attribution, Contribution, MarkUpdate, RunningAttribution
from aries_nb.store.fills import Fill
from aries_nb.store.valuation import Marks, Portfolio
from aries_nb.store.values import UNKNOWN, ZERO, exactly

__all__ = ["CASH", "Reconciliation"]

CASH = "cash"  # stands among the instruments for what belongs to none of them
# The most that is taken for the fees of fills, as a share of what was traded, and of each fill at least.
MOST_FEE_SHARE = Decimal("0.01")
MOST_SMALL_FEE = Decimal(1)
# Orders, positions and cash are told one after the other; a difference that lasts longer than this is one, in ns.
SETTLING_NS = 5_000_000_000
MOST_UNPRICED = 1_000  # fills without a price, of instruments that nobody quotes


class Reconciliation:
    """Explains the change of the equity that the broker's cash and positions make up, from these books on.

    Where cash changed by a little more or less than fills named, at a time when there were some, it is their fee; it
    belongs to their instrument, or to `CASH` if they are of several. Any other difference is unexplained. A fill whose
    price is not known counts at its middle, else at the mark, as soon as there is one: what cash then differs by may be
    its price as well as a fee, and is unexplained. One thread.
    """

    def __init__(self, reported: Portfolio, marks: Marks) -> None:
        self._reported = reported
        self._marks = marks
        self._attribution = RunningAttribution(reported, marks)
        self._cash = reported.cash
        self._pending: dict[str, Decimal] = {}  # of the fills since all was in order: what fees may be, by instrument
        self._differs_since: int | None = None
        self._unpriced: list[Fill] = []  # without a price, and without anything to value them at
        self._is_guessed = False  # whether the price of a pending fill is ours

    def take(self, reported: Portfolio, marks: Marks, fills: Sequence[Fill], now: int) -> None:
        """What the broker tells `now` (ns), at which marks, and the fills since the last call."""
        with exactly():
            self._attribution.add_multipliers(reported.multipliers)
            priced = self._priced((*self._unpriced, *fills), marks)
            for fill in priced:
                self._trade(fill)
            self._attribution.take(priced)
            for symbol in dict.fromkeys((*self._marks, *marks)):
                price = marks.get(symbol, UNKNOWN)
                if not _is_same(price, self._marks.get(symbol, UNKNOWN)):
                    self._attribution.take([MarkUpdate(symbol, price)])
            self._reported, self._marks = reported, marks
            self._settle(now)

    def attribution(self) -> Attribution:
        """The parts so far; their total is the change of equity to the last digit, NaN where that is not known."""
        with exactly():
            rest = {symbol: Contribution(unexplained=value) for symbol, value in self._differences().items()}
            return self._attribution.attribution() + Attribution(rest)

    def _priced(self, fills: Sequence[Fill], marks: Marks) -> list[Fill]:
        """Those that can be counted, each with a price; the others wait until there is one."""
        self._unpriced = []
        priced = []
        for fill in fills:
            known = (fill.price, fill.mid, marks.get(fill.symbol, UNKNOWN), self._marks.get(fill.symbol, UNKNOWN))
            price = next((each for each in known if each.is_finite()), None)
            if price is None:
                self._unpriced.append(fill)
            else:
                self._is_guessed = self._is_guessed or not fill.price.is_finite()
                priced.append(fill._replace(price=price))
        del self._unpriced[:-MOST_UNPRICED]  # what is not counted is unexplained, so nothing is left out
        return priced

    def _trade(self, fill: Fill) -> None:
        value = fill.signed * fill.price * self._attribution.multiplier(fill.symbol)
        self._cash -= value + fill.fee
        fee = max(abs(value) * MOST_FEE_SHARE, MOST_SMALL_FEE) if value.is_finite() else ZERO
        self._pending[fill.symbol] = self._pending.get(fill.symbol, ZERO) + fee

    def _settle(self, now: int) -> None:
        """Say where the differences come from, once they can be no matter of who is told first."""
        differences = self._differences()
        rest = differences.pop(CASH, ZERO)
        if not differences and rest.is_finite() and abs(rest) <= sum(self._pending.values(), ZERO):
            if rest:
                self._charge(next(iter(self._pending)) if len(self._pending) == 1 else CASH, rest)
            self._reset()
        elif self._differs_since is None:
            self._differs_since = now
        elif now - self._differs_since >= SETTLING_NS and all(map(Decimal.is_finite, (*differences.values(), rest))):
            for symbol, value in differences.items():
                held = self._reported.positions.get(symbol)
                quantity = ZERO if held is None else held.quantity
                self._attribution.correct(symbol, (quantity, self._reported.multiplier(symbol)), value)
            if rest:
                self._attribution.correct(CASH, (ZERO, Decimal(1)), rest)
            self._reset()

    def _charge(self, symbol: str, rest: Decimal) -> None:
        if self._is_guessed:
            held = self._attribution.quantities().get(symbol, (ZERO, Decimal(1)))
            self._attribution.correct(symbol, held, rest)
        else:
            self._attribution.charge(symbol, rest)

    def _reset(self) -> None:
        self._cash = self._reported.cash
        self._pending.clear()
        self._is_guessed = False
        self._differs_since = None

    def _differences(self) -> dict[str, Decimal]:
        """What the broker's positions and cash are worth beyond ours, where it is anything; NaN without a mark."""
        held = self._attribution.quantities()
        found = {}
        for symbol in dict.fromkeys((*held, *self._reported.positions)):
            quantity, multiplier = held.get(symbol, (ZERO, ZERO))
            theirs = self._reported.positions.get(symbol)
            units = -quantity * multiplier
            if theirs is not None:
                units += theirs.quantity * self._reported.multiplier(symbol)
            if units:
                found[symbol] = units * self._marks.get(symbol, UNKNOWN)
        rest = self._reported.cash - self._cash
        return {**found, CASH: rest} if rest or not rest.is_finite() else found


def _is_same(a: Decimal, b: Decimal) -> bool:
    return a == b or not (a.is_finite() or b.is_finite())
