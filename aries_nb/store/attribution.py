"""Attribution of a change of equity to instruments and causes; the contributions add up to the change exactly.

The input is a sequence of fills (own executions) and marks (prices at which an instrument is valued) in their order. A
mark that moves contributes to "price", by the quantity held at that time; so do a multiplier that changes, as of a
contract quoted in another currency, and accrued interest. A fill contributes to "trade", by as much as
its price is better than `Fill.mid`, the middle of our quotes at that time, and to "fee"; from the middle on it moves
with the mark. Without a middle, "trade" is 0, and the fill moves from its own price on. So a sequence cut in two has
the same contributions as the whole, cause by cause. What comes from no such event is "unexplained":
`aries_nb.store.reconciliation` finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from aries_nb.store.fills import Fill
from aries_nb.store.valuation import Marks, Portfolio, paid_for, worth
from aries_nb.store.values import UNKNOWN, ZERO, exactly

__all__ = ["Attribution", "Contribution", "MarkUpdate", "RunningAttribution", "Trade", "Worth", "attribute", "trade_of"]

STEP = Decimal("1e-15")  # quantities and prices after a split are rounded to this


class MarkUpdate(NamedTuple):
    """An instrument is valued at `price` from here on; NaN: its price is unknown from here on."""

    symbol: str
    price: Decimal


class Worth(NamedTuple):
    """One unit of quantity of an instrument is worth `worth` in the account's currency from here on; NaN: unknown."""

    symbol: str
    worth: Decimal


class Trade(NamedTuple):
    """A change of the quantity held for which `fair` is paid at the middle of our quotes, below 0 for a sale.

    `gain` is by how much less was paid, `fee` what was paid in addition. In the account's currency.
    """

    symbol: str
    quantity: Decimal
    fair: Decimal
    gain: Decimal = ZERO
    fee: Decimal = ZERO


def trade_of(fill: Fill, multiplier: Decimal) -> Trade:
    """Return an own execution in the account's currency. A fee that is not known counts as 0: the cash has it.

    To be called within `exactly()`.
    """
    paid = paid_for(fill, multiplier)
    fair = paid_for(fill._replace(price=fill.mid), multiplier) if fill.mid.is_finite() else paid
    return Trade(fill.symbol, fill.signed, fair, fair - paid, fill.fee if fill.fee.is_finite() else ZERO)


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
    with exactly():
        for event in events:
            if isinstance(event, MarkUpdate):
                running.take([Worth(event.symbol, worth(portfolio, event.symbol, event.price))])
            else:
                known = portfolio.multiplier(event.symbol) if event.multiplier is None else event.multiplier
                running.take([trade_of(event, known)])
    return running.attribution()


class RunningAttribution:
    """Attributes a change of equity to instruments and causes as `attribute` does, but event by event.

    It starts from a portfolio valued at the prices `marks`. Used by one thread at a time.
    """

    def __init__(self, portfolio: Portfolio, marks: Marks) -> None:
        self._instruments: dict[str, _Instrument] = {}
        with exactly():
            self._worths = {symbol: worth(portfolio, symbol, price) for symbol, price in marks.items()}
            for symbol, held in portfolio.positions.items():
                self._instruments[symbol] = _Instrument(held.quantity, self._worth(symbol), is_held=True)

    def take(self, events: Iterable[Trade | Worth]) -> None:
        """Apply the next events, which are own executions and changes of prices, in their order."""
        with exactly():
            for event in events:
                if isinstance(event, Worth):
                    self._instrument(event.symbol).revalue(event.worth)
                else:
                    self._instrument(event.symbol).trade(event)

    def attribution(self) -> Attribution:
        """Return the attribution of all events so far."""
        known = {symbol: each.contribution() for symbol, each in self._instruments.items() if each.is_held_or_traded}
        return Attribution(known)

    def quantities(self) -> dict[str, Decimal]:
        """Return the current quantity of each instrument, 0 of one that is no longer held."""
        return {symbol: each.quantity for symbol, each in self._instruments.items() if each.is_held_or_traded}

    def split(self, symbol: str, ratio: Fraction) -> Decimal:
        """Make `ratio` units of each of an instrument, at a price that is less by as much.

        Returns what that adds to equity in the account's currency: a rounding.
        """
        with exactly():
            return self._instrument(symbol).split(ratio)

    def charge(self, symbol: str, fee: Decimal) -> None:
        """Add a fee that was in no fill to an instrument's contribution, in the account's currency.

        `fee` is below 0 where it was paid, unlike `Fill.fee`.
        """
        with exactly():
            self._instrument(symbol).charge(fee)

    def correct(self, symbol: str, quantity: Decimal, value: Decimal) -> None:
        """Set the quantity of an instrument that is held from here on.

        `value`, what the difference to that before is worth in the account's currency, is added to "unexplained".
        """
        with exactly():
            self._instrument(symbol).correct(quantity, value)

    def _instrument(self, symbol: str) -> _Instrument:
        if symbol not in self._instruments:
            self._instruments[symbol] = _Instrument(ZERO, self._worth(symbol), is_held=False)
        return self._instruments[symbol]

    def _worth(self, symbol: str) -> Decimal:
        return self._worths.get(symbol, UNKNOWN)


class _Instrument:
    """The running attribution of one instrument; its methods are to be called within `exactly()`, for exact decimals.

    `_mark` is what a unit was worth when that was last known, None before; `_is_marked`: it is still valid. Trades
    before that have no price move yet: `_unmarked_trades` has their net quantity, and their worth when traded.
    """

    def __init__(self, quantity: Decimal, mark: Decimal, *, is_held: bool) -> None:
        self.quantity = quantity
        self._is_marked = mark.is_finite()
        self._mark = mark if self._is_marked else None
        self._unmarked_trades = (ZERO, ZERO)
        self._contribution = Contribution()
        self.is_held_or_traded = is_held
        if is_held and not self._is_marked:
            self._contribution = Contribution(price=UNKNOWN)  # and so is any sum with it

    def revalue(self, mark: Decimal) -> None:
        self._is_marked = mark.is_finite()
        if self._is_marked:
            if self._mark is None:
                self._settle(mark)
            else:
                self._add(price=self.quantity * (mark - self._mark))
            self._mark = mark
        self._reset_when_flat()

    def trade(self, trade: Trade) -> None:
        self.is_held_or_traded = True
        self.quantity += trade.quantity
        self._add(trade=trade.gain, fee=-trade.fee)
        if self._mark is None:
            quantity, fair = self._unmarked_trades
            self._unmarked_trades = quantity + trade.quantity, fair + trade.fair
        else:
            self._add(price=trade.quantity * self._mark - trade.fair)
        self._reset_when_flat()

    def split(self, ratio: Fraction) -> Decimal:
        before = self.quantity
        self.quantity = _times(before, ratio)
        units, fair = self._unmarked_trades
        self._unmarked_trades = _times(units, ratio), fair
        if self._mark is None:
            return ZERO
        value = before * self._mark
        self._mark = _times(self._mark, 1 / ratio)
        return self.quantity * self._mark - value

    def charge(self, fee: Decimal) -> None:
        self.is_held_or_traded = True
        self._add(fee=fee)

    def correct(self, quantity: Decimal, value: Decimal) -> None:
        self.is_held_or_traded = True
        self.quantity = quantity
        self._contribution = self._contribution._replace(unexplained=self._contribution.unexplained + value)
        self._reset_when_flat()

    def contribution(self) -> Contribution:
        if self.quantity and not self._is_marked:
            return self._contribution._replace(price=UNKNOWN)
        return self._contribution

    def _settle(self, mark: Decimal) -> None:
        quantity, fair = self._unmarked_trades
        self._add(price=quantity * mark - fair)
        self._unmarked_trades = (ZERO, ZERO)

    def _reset_when_flat(self) -> None:
        """Forget the last worth if nothing is held and it is unknown now.

        Later events do not depend on it.
        """
        if not self.quantity and not self._is_marked:
            self._settle(ZERO)  # as much was bought as sold: what a unit is worth makes no difference
            self._mark = None

    def _add(self, *, price: Decimal = ZERO, trade: Decimal = ZERO, fee: Decimal = ZERO) -> None:
        before = self._contribution
        self._contribution = before._replace(
            price=before.price + price, trade=before.trade + trade, fee=before.fee + fee
        )


def _times(number: Decimal, ratio: Fraction) -> Decimal:
    found = number * ratio.numerator / ratio.denominator
    return found if not found.is_finite() or found == found.quantize(STEP) else found.quantize(STEP)
