"""Data of the simulated brokerage: an account's initial state, states of orders, fills, and sums of an account."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from aries_nb.sim.accounts.ledger import QUANTUM, ZERO

if TYPE_CHECKING:
    from aries_nb.sim.accounts.ledger import Holding

__all__ = [
    "FINAL",
    "AccountFigures",
    "AccountTerms",
    "Fill",
    "Leg",
    "Order",
    "OrderSide",
    "OrderStatus",
    "OrderType",
    "Worth",
]

OrderSide = Literal["buy", "sell"]
OrderType = Literal["market", "limit", "stop"]
OrderStatus = Literal["pending_new", "new", "partially_filled", "filled", "canceled", "replaced", "rejected", "expired"]

FINAL: frozenset[OrderStatus] = frozenset({"filled", "canceled", "replaced", "rejected", "expired"})


class Worth(NamedTuple):
    """What one share, contract or bond costs: its quoted price times `point`, and `accrued` interest.

    The brokerage's prices are those costs, in the account's currency.
    """

    point: Decimal = Decimal(1)
    accrued: Decimal = ZERO

    def cost(self, price: Decimal) -> Decimal:
        """Return the cost of one at a quoted price."""
        return price * self.point + self.accrued

    def price(self, cost: Decimal) -> Decimal:
        """Return the quoted price of one that costs `cost`; 0 for 0, which stands for no price."""
        return (cost - self.accrued) / self.point if cost else ZERO


class Leg(NamedTuple):
    """One part of a filled order of several; `cost` is that of one contract."""

    symbol: str
    side: OrderSide
    cost: Decimal


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """Kind and initial state of a simulated account: `cash` in its currency, `holdings` as (symbol, shares).

    A robot also trades the `favourites`, so that an account has several positions.
    """

    account: str
    kind: Literal["margin", "cash"]
    cash: Decimal
    holdings: tuple[tuple[str, int], ...]
    favourites: tuple[str, ...] = ("NVDA", "TSLA", "SPY", "INTC")


@dataclass(frozen=True, slots=True)
class Order:
    """One state of an order in the simulation: quantities in shares, prices in the share's currency, times in Unix s.

    `number` counts all orders. `price` is the limit, None for another type; `stop` the stop price, None for another
    type. `value` is the sum of quantity times price of its fills. `expires` None means never. `replaces` is the id
    of the replaced order, "" for none; its filled quantity counts as filled here as well. `is_short` is True if it
    was placed to open or cover a short position. `text` is the reason of a rejection. An order with `legs` is named by
    the share under them; it has no price of its own.
    """

    number: int
    account: str
    symbol: str
    side: OrderSide
    type: OrderType
    quantity: Decimal
    created: float
    updated: float
    price: Decimal | None = None
    stop: Decimal | None = None
    status: OrderStatus = "pending_new"
    filled: Decimal = ZERO
    value: Decimal = ZERO
    expires: float | None = None
    replaces: str = ""
    is_short: bool = False
    text: str = ""
    legs: tuple[Leg, ...] = ()

    @property
    def id(self) -> str:
        """The order's id, such as "ORD-7", unique over all accounts."""
        return f"ORD-{self.number}"

    @property
    def leaves(self) -> Decimal:
        """The quantity in shares that may still be filled; zero once the order has ended."""
        return ZERO if self.status in FINAL else self.quantity - self.filled

    @property
    def average_price(self) -> Decimal:
        """Mean price of the order's fills, rounded to four decimals for display; zero before the first."""
        return (self.value / self.filled).quantize(QUANTUM) if self.filled else ZERO


class Fill(NamedTuple):
    """One execution of an order of a simulated account.

    `time` is in Unix s, `quantity` in shares; `price` and `fee` are in the account's currency.
    """

    time: float
    account: str
    symbol: str
    side: OrderSide
    quantity: Decimal
    price: Decimal
    fee: Decimal
    order_id: str


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """Sums and open positions of one account at one time; amounts in its currency.

    `realised` and `unrealised` profits are before fees. `starting_cash` and `starting_equity` are those at the start of
    the simulation. `pending_orders` is the number of working orders (those that may still be filled), `pending_value`
    the value of their open quantity.
    """

    account: str
    cash: Decimal
    positions: tuple[Holding, ...]
    realised: Decimal
    unrealised: Decimal
    fees: Decimal
    equity: Decimal
    starting_cash: Decimal
    starting_equity: Decimal
    buying_power: Decimal
    pending_orders: int
    pending_value: Decimal
