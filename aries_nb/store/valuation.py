"""Position and P&L accounting at average cost: cash, positions, realised and unrealised P&L, equity. Pure; exact.

Two equations hold to the last digit of the Decimals, whatever was traded:

cash + value of the positions at their marks = equity
change of (realised + unrealised - fees) = change of equity

Costs are kept as sums paid, never as averages. What is not known is `Decimal("NaN")`, and so is everything computed
from it; nothing unknown counts as zero.

A margined instrument, such as a future, is not paid for: its value is its variation margin, that is the value of the
quantity held less its cost. Accrued interest of a bond is part of its value, and paid in addition to its price.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from aries_nb.model.prices import is_believable, is_price
from aries_nb.store.fills import Fill
from aries_nb.store.values import UNKNOWN, ZERO, exactly

__all__ = [
    "Mark",
    "Marks",
    "Portfolio",
    "Position",
    "apply_fill",
    "apply_fills",
    "equity",
    "mark_of",
    "market_value",
    "middle_of",
    "open_portfolio",
    "paid_for",
    "unmarked",
    "unrealized",
    "worth",
]

COST_STEP = Decimal("1e-12")  # the cost of a part of a position is rounded to this

# The price at which each instrument is valued; a missing or NaN one is unknown.
Marks: TypeAlias = Mapping[str, Decimal]


class Mark(NamedTuple):
    """The price at which an instrument is valued; NaN with the reason where there is none, "" otherwise.

    `accrued` is the accrued interest of one unit of quantity, NaN where the quotes have none. `is_last`: the price is
    that of the last trade, not the middle of the sides.
    """

    price: Decimal
    reason: str = ""
    accrued: Decimal = UNKNOWN
    is_last: bool = False


class Position(NamedTuple):
    """The `quantity` held of an instrument (below 0: short), and its `cost`: the sum paid for it (below 0: received).

    Both are NaN where the quantity is unknown.
    """

    quantity: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Portfolio:
    """An account's cash and positions at one time. `positions` has no entry for an instrument with quantity 0.

    `realized` is before fees; it and `fees` count from when the portfolio was opened. `multipliers` are what one unit
    of quantity stands for, where it is not 1 (100 for most options); NaN where that is not known. `margined` are the
    instruments that are not paid for; `accrued` is the accrued interest of one unit of quantity, where there is any.
    `is_cash_derived`: the broker names no money, it is what others of its figures leave, which are not of one moment.
    """

    cash: Decimal
    positions: Mapping[str, Position] = field(default_factory=dict)
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    multipliers: Mapping[str, Decimal] = field(default_factory=dict)
    margined: frozenset[str] = frozenset()
    accrued: Mapping[str, Decimal] = field(default_factory=dict)
    is_cash_derived: bool = False

    def average_price(self, symbol: str) -> Decimal:
        """Return the average price paid for what is held, as prices are quoted: its cost by quantity and multiplier.

        NaN where nothing is held. For display, as it may be rounded.
        """
        held = self.positions.get(symbol)
        return UNKNOWN if held is None else held.cost / (held.quantity * self.multiplier(symbol))

    def multiplier(self, symbol: str) -> Decimal:
        """Return what one unit of quantity of this instrument stands for, such as 100 shares; 1 by default."""
        return self.multipliers.get(symbol, Decimal(1))


def middle_of(bid: float, ask: float) -> Decimal:
    """The middle of bid and ask in exact decimals; NaN where they are not believable (`aries_nb.model.prices`)."""
    if not is_believable(bid, ask):
        return UNKNOWN
    with exactly():
        # The shortest text of a float is the price that the broker sent.
        return (Decimal(repr(bid)) + Decimal(repr(ask))) / 2


def mark_of(bid: float, ask: float, last: float, *, is_fresh: bool = False) -> Mark:
    """The middle where both sides are believable, else the last price where it is inside or fresh, else NaN.

    Inside: not beyond a side that is there; between both where they are crossed. `is_fresh`: the last trade is newer
    than the sides.
    """
    if is_believable(bid, ask):
        return Mark(middle_of(bid, ask))
    missing = [name for name, side in (("bid", bid), ("ask", ask)) if not is_price(side)]
    quote = " and ".join(f"no {name}" for name in missing) or ("crossed" if bid > ask else "stub quotes")
    if not is_price(last):
        return Mark(UNKNOWN, f"{quote}, no last price")
    low, high = bid if is_price(bid) else -math.inf, ask if is_price(ask) else math.inf
    if is_fresh or min(low, high) <= last <= max(low, high):
        return Mark(Decimal(repr(last)), is_last=True)
    return Mark(UNKNOWN, f"{quote}, the last price is outside")


def open_portfolio(
    cash: Decimal,
    holdings: Mapping[str, tuple[Decimal, Decimal]] | None = None,
    *,
    multipliers: Mapping[str, Decimal] | None = None,
    margined: Iterable[str] = (),
    accrued: Mapping[str, Decimal] | None = None,
) -> Portfolio:
    """Return a portfolio to begin with: cash, and quantity and average price of each instrument held.

    An average price of NaN makes cost and realised P&L of the instrument unknown, equity only if it is margined. A
    quantity or a multiplier that is not a number makes equity unknown. `unmarked` names the instrument. The other
    arguments are those of `Portfolio`; accrued interest is not part of an average price, nor of the cost.
    """
    portfolio = Portfolio(
        cash, multipliers=dict(multipliers or {}), margined=frozenset(margined), accrued=dict(accrued or {})
    )
    positions: dict[str, Position] = {}
    with exactly():
        for symbol, (quantity, average_price) in (holdings or {}).items():
            if not quantity.is_finite():
                positions[symbol] = Position(UNKNOWN, UNKNOWN)
            elif quantity:
                positions[symbol] = Position(quantity, quantity * average_price * portfolio.multiplier(symbol))
    return replace(portfolio, positions=positions)


def apply_fill(portfolio: Portfolio, fill: Fill) -> Portfolio:
    """Return the portfolio after a fill, at average cost; the given one is unchanged.

    A fill that goes through zero closes the position first and opens a new one with the rest. The fill's own multiplier
    counts, where it has one; a fee that is not known makes cash and fees unknown.
    """
    with exactly():
        multiplier = portfolio.multiplier(fill.symbol) if fill.multiplier is None else fill.multiplier
        paid = paid_for(fill, multiplier)
        held = portfolio.positions.get(fill.symbol, Position(ZERO, ZERO))
        closing = _closing(held.quantity, fill.signed)
        opening = fill.signed - closing
        cost_closed = _cost_share(held, -closing)
        paid_to_close = _cost_share(Position(fill.signed, paid), closing)
        opened = paid - paid_to_close if opening else ZERO
        after = Position(held.quantity + fill.signed, held.cost - cost_closed + opened)
        positions = {**portfolio.positions, fill.symbol: after}
        if not after.quantity:
            del positions[fill.symbol]
        gained = -paid_to_close - cost_closed if closing else ZERO
        known = fill.multiplier is not None and fill.multiplier != portfolio.multiplier(fill.symbol)
        return replace(
            portfolio,
            cash=portfolio.cash + (gained if fill.symbol in portfolio.margined else -paid) - fill.fee,
            positions=positions,
            realized=portfolio.realized + gained,
            fees=portfolio.fees + fill.fee,
            multipliers={**portfolio.multipliers, fill.symbol: multiplier} if known else portfolio.multipliers,
        )


def paid_for(fill: Fill, multiplier: Decimal) -> Decimal:
    """Return what is paid for a fill without its fee, below 0 for a sale: price and accrued interest.

    To be called within `exactly()`.
    """
    return fill.signed * fill.price * multiplier + (fill.accrued if fill.side == "buy" else -fill.accrued)


def apply_fills(portfolio: Portfolio, fills: Iterable[Fill]) -> Portfolio:
    """Return the portfolio after these fills, applied in their order."""
    for fill in fills:
        portfolio = apply_fill(portfolio, fill)
    return portfolio


def market_value(portfolio: Portfolio, marks: Marks) -> Decimal:
    """Return the value of the positions (a short one below 0); NaN while that of any is unknown.

    Of a margined position it is the variation margin since its average price.

    A mark is the price at which an instrument is valued.
    """
    with exactly():
        return sum((_value(portfolio, symbol, marks) for symbol in portfolio.positions), ZERO)


def unrealized(portfolio: Portfolio, marks: Marks) -> Decimal:
    """Return the value of the positions less their cost; NaN while the mark or the cost of any is unknown.

    A mark is the price at which an instrument is valued.
    """
    with exactly():
        paid = (held.cost for symbol, held in portfolio.positions.items() if symbol not in portfolio.margined)
        return market_value(portfolio, marks) - sum(paid, ZERO)


def equity(portfolio: Portfolio, marks: Marks) -> Decimal:
    """Return cash plus the value of the positions; NaN while the mark (valuation price) of any is unknown.

    `unmarked` names the instruments without one.
    """
    with exactly():
        return portfolio.cash + market_value(portfolio, marks)


def unmarked(portfolio: Portfolio, marks: Marks) -> tuple[str, ...]:
    """Return the instruments held of unknown value, because of which equity is NaN.

    Of unknown mark (valuation price), quantity or multiplier; a margined one of unknown cost as well.
    """
    with exactly():
        return tuple(symbol for symbol in portfolio.positions if not _value(portfolio, symbol, marks).is_finite())


def worth(portfolio: Portfolio, symbol: str, price: Decimal) -> Decimal:
    """Return what one unit of quantity of an instrument is worth at a price, with the accrued interest.

    In the account's currency; NaN where the price or the multiplier is unknown. To be called within `exactly()`.
    """
    return price * portfolio.multiplier(symbol) + portfolio.accrued.get(symbol, ZERO)


def _closing(held: Decimal, change: Decimal) -> Decimal:
    """Return how much of a change of quantity closes the position, with the change's sign; NaN if that is unknown."""
    if not held.is_finite():
        return UNKNOWN
    if not held or (held > 0) == (change > 0):
        return ZERO
    return change if abs(change) <= abs(held) else -held


def _cost_share(held: Position, quantity: Decimal) -> Decimal:
    """Return the cost of `quantity` of the position, in proportion; all of the cost for the whole quantity."""
    if not quantity or quantity == held.quantity:
        return held.cost if quantity else ZERO
    return (held.cost * quantity / held.quantity).quantize(COST_STEP)


def _value(portfolio: Portfolio, symbol: str, marks: Marks) -> Decimal:
    held, mark = portfolio.positions[symbol], marks.get(symbol, UNKNOWN)
    value = held.quantity * worth(portfolio, symbol, mark if mark.is_finite() else UNKNOWN)
    return value - held.cost if symbol in portfolio.margined else value
