"""Attribution of a change of equity to instruments and causes; the contributions add up to the change exactly.

The input is a sequence of fills (own executions) and marks (prices at which an instrument is valued) in their order. A
mark that moves contributes to "price", by the quantity held at that time. A fill contributes to "trade", by as much as
its price is better than `Fill.mid`, the middle of our quotes at that time, and to "fee"; from the middle on it moves
with the mark. Without a middle, "trade" is 0, and the fill moves from its own price on. So a sequence cut in two has
the same contributions as the whole, cause by cause. What comes from no such event is "unexplained":
`aries_nb.store.reconciliation` finds it.
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
    """An instrument is valued at `price` from here on; NaN: its price is unknown from here on."""

    symbol: str
    price: Decimal


class Contribution(NamedTuple):
    """What one instrument added to equity, by cause, in the account's currency; NaN where unknown.

    `price` is the move of its price, `trade` how much better its fills (own executions) were than the middle of our
    quotes, `fee` is below 0 for a fee paid, `unexplained` is the rest.
    """

    price: Decimal = ZERO
    trade: Decimal = ZERO
    fee: Decimal = ZERO
    unexplained: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """The instrument's whole contribution to the change of equity: the sum of all causes."""
        with exactly():
            return self.price + self.trade + self.fee + self.unexplained


@dataclass(frozen=True, slots=True)
class Attribution:
    """The contribution to a change of equity of each instrument that was held or traded, by symbol."""

    contributions: Mapping[str, Contribution]

    @property
    def total(self) -> Decimal:
        """The whole change of equity; NaN where equity at the start or at the end is unknown."""
        with exactly():
            return sum((contribution.total for contribution in self.contributions.values()), ZERO)

    @property
    def causes(self) -> Contribution:
        """The change of equity by cause, summed over all instruments."""
        with exactly():
            return Contribution(*(sum(each, ZERO) for each in zip(*self.contributions.values(), strict=True)))

    def __add__(self, later: Attribution) -> Attribution:
        """Return the attribution of this period and the `later` one together."""
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
    """Return the attribution, by instrument and cause, of the change of equity from a portfolio through the events.

    `marks` are the prices at which the portfolio is valued at first, `events` fills (own executions) and changes of
    prices, in their order. To compare two times, pass the fills between them, then the prices of the second. A fill
    with an unknown price (NaN) makes "trade" of its instrument unknown, and if its `mid` is unknown too, also "price".
    """
    running = RunningAttribution(portfolio, marks)
    running.take(events)
    return running.attribution()


class RunningAttribution:
    """Attributes a change of equity to instruments and causes as `attribute` does, but event by event.

    It starts from a portfolio valued at the prices `marks`. Used by one thread at a time.
    """

    def __init__(self, portfolio: Portfolio, marks: Marks) -> None:
        self._portfolio = portfolio
        self._marks = marks
        self._multipliers = dict(portfolio.multipliers)
        self._instruments: dict[str, _Instrument] = {}
        with exactly():
            for symbol in portfolio.positions:
                self._instrument(symbol)

    def add_multipliers(self, multipliers: Mapping[str, Decimal]) -> None:
        """Set the multipliers of instruments that were not held or traded yet.

        A multiplier is what one unit of quantity stands for, such as 100 shares for an option contract.
        """
        self._multipliers |= multipliers

    def multiplier(self, symbol: str) -> Decimal:
        """Return what one unit of quantity of this instrument stands for, 1 where that is unknown."""
        known = self._instruments.get(symbol)
        return self._multipliers.get(symbol, Decimal(1)) if known is None else known.multiplier

    def take(self, events: Iterable[Fill | MarkUpdate]) -> None:
        """Apply the next events, which are own executions and changes of prices, in their order."""
        with exactly():
            for event in events:
                if isinstance(event, MarkUpdate):
                    self._instrument(event.symbol).revalue(event.price)
                else:
                    self._instrument(event.symbol).trade(event)

    def attribution(self) -> Attribution:
        """Return the attribution of all events so far."""
        known = {symbol: each.contribution() for symbol, each in self._instruments.items() if each.is_held_or_traded}
        return Attribution(known)

    def quantities(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Return the current quantity and multiplier of each instrument; quantity 0 of one that is no longer held."""
        return {
            symbol: (each.quantity, each.multiplier)
            for symbol, each in self._instruments.items()
            if each.is_held_or_traded
        }

    def charge(self, symbol: str, fee: Decimal) -> None:
        """Add a fee that was in no fill to an instrument's contribution, in the account's currency.

        `fee` is below 0 where it was paid, unlike `Fill.fee`.
        """
        with exactly():
            self._instrument(symbol).charge(fee)

    def correct(self, symbol: str, held: tuple[Decimal, Decimal], value: Decimal) -> None:
        """Set the quantity and multiplier of an instrument that are held from here on: the pair `held`.

        `value`, what the difference to those before is worth in the account's currency, is added to "unexplained".
        """
        with exactly():
            self._instrument(symbol).correct(held, value)

    def _instrument(self, symbol: str) -> _Instrument:
        if symbol not in self._instruments:
            held, mark = self._portfolio.positions.get(symbol), self._marks.get(symbol, UNKNOWN)
            self._instruments[symbol] = _Instrument(held, self.multiplier(symbol), mark)
        return self._instruments[symbol]


class _Instrument:
    """The running attribution of one instrument; its methods are to be called within `exactly()`, for exact decimals.

    `_mark` is the last known price at which it is valued, None before one; `_is_marked`: that price is still valid.
    Trades before any price have no price move yet: `_unmarked_trades` has their net quantity, and their worth when
    traded.
    """

    def __init__(self, held: Position | None, multiplier: Decimal, mark: Decimal) -> None:
        self.quantity = ZERO if held is None else held.quantity
        self.multiplier = multiplier
        self._is_marked = mark.is_finite()
        self._mark = mark if self._is_marked else None
        self._unmarked_trades = (ZERO, ZERO)
        self._contribution = Contribution()
        self.is_held_or_traded = held is not None
        if held is not None and not self._is_marked:
            self._contribution = Contribution(price=UNKNOWN)  # and so is any sum with it

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
        if fill.fee.is_finite():  # else it is found in the cash
            self._contribution = self._contribution._replace(fee=self._contribution.fee - fill.fee)
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
        self._contribution = self._contribution._replace(fee=self._contribution.fee + fee)

    def correct(self, held: tuple[Decimal, Decimal], value: Decimal) -> None:
        self.is_held_or_traded = True
        self.quantity, self.multiplier = held
        self._contribution = self._contribution._replace(unexplained=self._contribution.unexplained + value)
        self._reset_when_flat()

    def contribution(self) -> Contribution:
        if self.quantity and not self._is_marked:
            return self._contribution._replace(price=UNKNOWN)
        return self._contribution

    def _settle(self, price: Decimal) -> None:
        quantity, worth = self._unmarked_trades
        self._add(price=quantity * price - worth)
        self._unmarked_trades = (ZERO, ZERO)

    def _reset_when_flat(self) -> None:
        """Forget the last price if nothing is held and the price is unknown now.

        Later events do not depend on that price.
        """
        if not self.quantity and not self._is_marked:
            self._settle(ZERO)  # as much was bought as sold: the price at which it is valued makes no difference
            self._mark = None

    def _add(self, *, price: Decimal = ZERO, trade: Decimal = ZERO) -> None:
        before = self._contribution
        self._contribution = before._replace(
            price=before.price + price * self.multiplier, trade=before.trade + trade * self.multiplier
        )
