"""Data of the simulated brokerage: terms of an account, states of orders, fills, figures of an account. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from aries_nb.sim.accounts.ledger import QUANTUM, ZERO

if TYPE_CHECKING:
    from aries_nb.sim.accounts.ledger import Holding

__all__ = ["FINAL", "AccountFigures", "AccountTerms", "Fill", "Order", "OrderSide", "OrderStatus", "OrderType"]

OrderSide = Literal["buy", "sell"]
OrderType = Literal["market", "limit", "stop"]
OrderStatus = Literal["pending_new", "new", "partially_filled", "filled", "canceled", "replaced", "rejected", "expired"]

FINAL: frozenset[OrderStatus] = frozenset({"filled", "canceled", "replaced", "rejected", "expired"})


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """Kind and initial state of an account: `cash` in its currency, `holdings` in shares by symbol.

    A robot also trades the `favourites`, so that an account has several positions.
    """

    account: str
    kind: Literal["margin", "cash"]
    cash: Decimal
    holdings: tuple[tuple[str, int], ...]
    favourites: tuple[str, ...] = ("NVDA", "TSLA", "SPY", "INTC")


@dataclass(frozen=True, slots=True)
class Order:
    """One state of an order: quantities in shares, prices in USD, times in Unix s.

    `number` counts all orders. `value` is the sum of quantity times price of its fills. `replaces` is the id of the
    replaced order, "" for none; its filled quantity counts as filled here as well. `is_short` is True if it was placed
    to open or cover a short position.
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

    @property
    def id(self) -> str:
        """The client's id of the order, unique over all accounts."""
        return f"ORD-{self.number}"

    @property
    def leaves(self) -> Decimal:
        """The quantity that may still be filled."""
        return ZERO if self.status in FINAL else self.quantity - self.filled

    @property
    def average_price(self) -> Decimal:
        """Mean price of its fills, rounded for display; zero before the first."""
        return (self.value / self.filled).quantize(QUANTUM) if self.filled else ZERO


class Fill(NamedTuple):
    """One own execution: time in Unix s, shares, USD."""

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
    """Figures of one account at one moment, amounts in USD. `realised` and `unrealised` are before fees."""

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
