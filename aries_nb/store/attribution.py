"""Why equity changed: by instrument, and by cause. The parts add up exactly to the change.

What happened is told as a sequence of fills and marks in their order. A mark that moves is the cause of "price", for
what is held at that moment. A fill is the cause of "trade", by as much as its price is better than `Fill.mid`, the
middle of our quotes when it happened, and of "fee"; from the middle on it moves with the mark. Without a middle nothing
is said of how well it was traded: "trade" is 0 then, and it moves from its own price on. So a sequence cut in two
explains the same, part by part, as the whole. What no such event tells of is "unexplained": `reconciliation` finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from aries_nb.store.fills import Fill
from aries_nb.store.valuation import Marks, Portfolio, Position
from aries_nb.store.values import UNKNOWN, ZERO, exactly

__all__ = ["Attribution", "Contribution", "MarkUpdate", "RunningAttribution", "attribute"]


class MarkUpdate(NamedTuple):
    """From here on an instrument is valued at this price; NaN: its price is not known any more."""

    symbol: str
    price: Decimal


class Contribution(NamedTuple):
    """What one instrument added to equity, by cause; NaN where it is not known. `fee` is below 0 for a fee paid."""

    price: Decimal = ZERO
    trade: Decimal = ZERO
    fee: Decimal = ZERO
    unexplained: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """All causes together."""
        with exactly():
            return self.price + self.trade + self.fee + self.unexplained


@dataclass(frozen=True, slots=True)
class Attribution:
    """The parts of each instrument that was held or traded."""

    contributions: Mapping[str, Contribution]

    @property
    def total(self) -> Decimal:
        """The change of equity; NaN where equity at the beginning or at the end is not known."""
        with exactly():
            return sum((parts.total for parts in self.contributions.values()), ZERO)

    @property
    def causes(self) -> Contribution:
        """The change of equity by cause."""
        with exactly():
            return Contribution(*(sum(each, ZERO) for each in zip(*self.contributions.values(), strict=True)))

    def __add__(self, later: Attribution) -> Attribution:
        """The explanation of this stretch and the one that follows it at once."""
        symbols = dict.fromkeys((*self.contributions, *later.contributions))
        with exactly():
            return Attribution(
                {
                    symbol: Contribution(*(a + b for a, b in zip(self._of(symbol), later._of(symbol), strict=True)))
                    for symbol in symbols
                }
            )

    def _of(self, symbol: str) -> Contribution:
        return self.contributions.get(symbol, Contribution())


def attribute(portfolio: Portfolio, marks: Marks, events: Iterable[Fill | MarkUpdate]) -> Attribution:
    """The change of equity from these books at these marks on, through the events in their order.

    For two moments only, with nothing known between: the fills, then the marks of the second moment. A fill whose
    price is not known (NaN) makes its instrument's trade unknown, and its price move where it has no middle either.
    """
    running = RunningAttribution(portfolio, marks)
    running.take(events)
    return running.attribution()


class RunningAttribution:
    """Explains while it happens: what `attribute` does, told bit by bit. One thread at a time."""

    def __init__(self, portfolio: Portfolio, marks: Marks) -> None:
        self._portfolio = portfolio
        self._marks = marks
        self._multipliers = dict(portfolio.multipliers)
        self._instruments: dict[str, _Instrument] = {}
        with exactly():
            for symbol in portfolio.positions:
                self._instrument(symbol)

    def add_multipliers(self, multipliers: Mapping[str, Decimal]) -> None:
        """What one unit stands for, of instruments that were not held or traded yet."""
        self._multipliers |= multipliers

    def multiplier(self, symbol: str) -> Decimal:
        """What one unit of quantity of this instrument stands for."""
        known = self._instruments.get(symbol)
        return self._multipliers.get(symbol, Decimal(1)) if known is None else known.multiplier

    def take(self, events: Iterable[Fill | MarkUpdate]) -> None:
        """What happened next."""
        with exactly():
            for event in events:
                if isinstance(event, MarkUpdate):
                    self._instrument(event.symbol).revalue(event.price)
                else:
                    self._instrument(event.symbol).trade(event)

    def attribution(self) -> Attribution:
        """All that happened so far."""
        known = {symbol: each.parts() for symbol, each in self._instruments.items() if each.is_held_or_traded}
        return Attribution(known)

    def quantities(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Quantity and multiplier of what is held by now; what was held or traded before is 0."""
        return {
            symbol: (each.quantity, each.multiplier)
            for symbol, each in self._instruments.items()
            if each.is_held_or_traded
        }

    def charge(self, symbol: str, fee: Decimal) -> None:
        """Take a fee (below 0 where paid) of which no fill told."""
        with exactly():
            self._instrument(symbol).charge(fee)

    def correct(self, symbol: str, held: tuple[Decimal, Decimal], value: Decimal) -> None:
        """From here on this quantity is held, with this multiplier; why it is worth `value` more, nobody knows."""
        with exactly():
            self._instrument(symbol).correct(held, value)

    def _instrument(self, symbol: str) -> _Instrument:
        if symbol not in self._instruments:
            held, mark = self._portfolio.positions.get(symbol), self._marks.get(symbol, UNKNOWN)
            self._instruments[symbol] = _Instrument(held, self.multiplier(symbol), mark)
        return self._instruments[symbol]


class _Instrument:
    """One instrument on its way through the events; to be used within `exactly`.

    `_mark` is the last one known while anything is held, `_is_marked` whether it is valid now. What is traded before
    there is any mark waits in `_unmarked_trades` for its price move: quantity, and its worth when it was traded.
    """

    def __init__(self, held: Position | None, multiplier: Decimal, mark: Decimal) -> None:
        self.quantity = ZERO if held is None else held.quantity
        self.multiplier = multiplier
        self._is_marked = mark.is_finite()
        self._mark = mark if self._is_marked else None
        self._unmarked_trades = (ZERO, ZERO)
        self._parts = Contribution()
        self.is_held_or_traded = held is not None
        if held is not None and not self._is_marked:
            self._parts = Contribution(price=UNKNOWN)  # and whatever is added to it

    def revalue(self, price: Decimal) -> None:
        self._is_marked = price.is_finite()
        if self._is_marked:
            if self._mark is None:
                self._settle(price)
            else:
                self._add(price=self.quantity * (price - self._mark))
            self._mark = price
        self._reset_when_flat()

    def trade(self, fill: Fill) -> None:
        self.is_held_or_traded = True
        self.quantity += fill.signed
        self._parts = self._parts._replace(fee=self._parts.fee - fill.fee)
        fair = fill.mid if fill.mid.is_finite() else fill.price
        self._add(trade=fill.signed * (fair - fill.price))
        if self._mark is None:
            quantity, worth = self._unmarked_trades
            self._unmarked_trades = quantity + fill.signed, worth + fill.signed * fair
        else:
            self._add(price=fill.signed * (self._mark - fair))
        self._reset_when_flat()

    def charge(self, fee: Decimal) -> None:
        self.is_held_or_traded = True
        self._parts = self._parts._replace(fee=self._parts.fee + fee)

    def correct(self, held: tuple[Decimal, Decimal], value: Decimal) -> None:
        self.is_held_or_traded = True
        self.quantity, self.multiplier = held
        self._parts = self._parts._replace(unexplained=self._parts.unexplained + value)
        self._reset_when_flat()

    def parts(self) -> Contribution:
        if self.quantity and not self._is_marked:
            return self._parts._replace(price=UNKNOWN)
        return self._parts

    def _settle(self, price: Decimal) -> None:
        quantity, worth = self._unmarked_trades
        self._add(price=quantity * price - worth)
        self._unmarked_trades = (ZERO, ZERO)

    def _reset_when_flat(self) -> None:
        """Where nothing is held and no mark known, what comes does not depend on what was."""
        if not self.quantity and not self._is_marked:
            self._settle(ZERO)  # as much was bought as sold: at which price it is valued makes no difference
            self._mark = None

    def _add(self, *, price: Decimal = ZERO, trade: Decimal = ZERO) -> None:
        before = self._parts
        self._parts = before._replace(
            price=before.price + price * self.multiplier, trade=before.trade + trade * self.multiplier
        )
