"""Ledger of one simulated account: cash, positions and their costs in exact decimals. No I/O.

Nothing is computed from a rounded average price. A position stores its cost; when a part of it is closed, the cost of
that part is rounded once and subtracted, and the realised profit is the proceeds less exactly that amount. So `equity -
starting equity == realised + unrealised - fees` always holds exactly.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ZERO", "Holding", "Ledger", "Position"]

ZERO = Decimal(0)
#: Costs of closed parts and displayed average prices are rounded to this many USD; prices are whole cents.
QUANTUM = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Position:
    """A position in one share: `quantity` in shares, negative when short; amounts in the share's currency.

    `cost` has the sign of `quantity`. `realised` is the profit of all parts closed so far, before fees. `opened` is
    the time when it last became open, in Unix s; 0 if that was before the simulation's start.
    """

    symbol: str
    quantity: Decimal
    cost: Decimal
    realised: Decimal
    opened: float

    @property
    def average_price(self) -> Decimal:
        """Cost per share, rounded to four decimals for display; zero when the position is closed."""
        return (self.cost / self.quantity).quantize(QUANTUM) if self.quantity else ZERO


@dataclass(frozen=True, slots=True)
class Holding:
    """A position with `mark`, the price per share at which it is valued; None when the position is closed."""

    position: Position
    mark: Decimal | None

    @property
    def market_value(self) -> Decimal:
        """Quantity times the price at which the position is valued; negative when short, zero when closed."""
        return ZERO if self.mark is None else self.position.quantity * self.mark

    @property
    def unrealised(self) -> Decimal:
        """Profit, before fees, of closing the position at the price at which it is valued."""
        return self.market_value - self.position.cost


class Ledger:
    """Cash and positions of one simulated account, changed by `book` alone.

    The initial positions count as bought at their initial value.
    """

    def __init__(self, cash: Decimal, holdings: Mapping[str, tuple[Decimal, Decimal]]) -> None:
        """Open the account with `cash` and with `holdings`, which map a symbol to quantity and price per share."""
        self.cash = self.starting_cash = cash
        self.fees = ZERO
        #: By symbol; closed positions stay, with quantity zero and their realised profit.
        self.positions = {
            symbol: Position(symbol, quantity, quantity * price, ZERO, 0.0)
            for symbol, (quantity, price) in holdings.items()
        }
        self.starting_equity = cash + sum((position.cost for position in self.positions.values()), ZERO)

    @property
    def realised(self) -> Decimal:
        """Realised profit of all positions so far, before fees."""
        return sum((position.realised for position in self.positions.values()), ZERO)

    def quantity(self, symbol: str) -> Decimal:
        """Return how many shares of a symbol the account has, negative when short."""
        position = self.positions.get(symbol)
        return position.quantity if position else ZERO

    def book(self, symbol: str, quantity: Decimal, price: Decimal, *, fee: Decimal, now: float) -> None:
        """Book one fill of `quantity` shares (negative for a sale) at `price`.

        It may open, close or reverse a position. `fee` is subtracted from the cash. `now` is Unix time in s.
        """
        held = self.positions.get(symbol) or Position(symbol, ZERO, ZERO, ZERO, now)
        closed = _closed(held.quantity, quantity)
        removed = held.cost if closed == held.quantity else (held.cost * closed / held.quantity).quantize(QUANTUM)
        left = held.quantity + quantity
        is_new_lot = held.quantity == closed
        self.positions[symbol] = Position(
            symbol,
            left,
            held.cost - removed + (quantity + closed) * price,
            held.realised + closed * price - removed,
            now if is_new_lot else held.opened,
        )
        self.cash -= quantity * price + fee
        self.fees += fee

    def copy(self) -> Ledger:
        """Return a ledger of the same state."""
        other = copy(self)
        other.positions = dict(self.positions)
        return other

    def split(self, symbol: str, ratio: Decimal) -> None:
        """Multiply the quantity of a position by `ratio`; its cost stays."""
        held = self.positions[symbol]
        self.positions[symbol] = replace(held, quantity=held.quantity * ratio)

    def settle(self, symbol: str, price: Decimal) -> None:
        """Realise the profit of a position at `price`, which is its cost from then on; cash is that without it."""
        held = self.positions[symbol]
        value = held.quantity * price
        self.positions[symbol] = replace(held, cost=value, realised=held.realised + value - held.cost)

    def holdings(self, mark: Callable[[str], Decimal]) -> tuple[Holding, ...]:
        """Return all open positions with the prices at which they are valued; `mark` returns the price of a symbol."""
        return tuple(
            Holding(position, mark(symbol)) for symbol, position in self.positions.items() if position.quantity
        )

    def equity(self, mark: Callable[[str], Decimal]) -> Decimal:
        """Return the cash plus the value of all positions.

        `mark` returns the price at which a position in a symbol is valued.
        """
        return self.cash + sum((holding.market_value for holding in self.holdings(mark)), ZERO)


def _closed(held: Decimal, quantity: Decimal) -> Decimal:
    """Return the part of the position `held`, with its sign, that a fill of `quantity` shares closes.

    Zero if the fill opens or increases a position.
    """
    if held * quantity >= 0:
        return ZERO
    part = min(abs(held), abs(quantity))
    return part if held > 0 else -part
