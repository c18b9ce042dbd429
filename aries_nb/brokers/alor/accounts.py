"""ALOR's portfolios: orders, stop orders, own trades, positions, summaries and risks (protocol page §7).

The symbol of a subscription is the portfolio, "D00000" or "MOEX:D00000". Quantities are in pieces, and in lots where a
column says so; money is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from aries_nb.brokers.alor.account_fields import TABLE_FIELDS
from aries_nb.brokers.alor.averages import PricedOrders
from aries_nb.brokers.alor.cash import CashedSummary
from aries_nb.brokers.alor.connection import AlorConnection
from aries_nb.brokers.alor.fields import Format
from aries_nb.brokers.alor.streams import Stream
from aries_nb.brokers.alor.symbols import DEFAULT_EXCHANGE
from aries_nb.brokers.alor.tables import PortfolioStream, table_columns
from aries_nb.model import ColumnType, Kind, Notice, Received, Record, Subscription

__all__ = ["AlorAccounts"]


class AlorAccounts(AlorConnection):
    """A connection for portfolios, apart from market data.

    Who subscribes to a summary subscribes to the positions as well, out of which its cash is taken, and who subscribes
    to orders to own trades, which name their prices.
    """

    MAKERS: ClassVar[Mapping[Kind, type[Stream]]] = {
        kind: PortfolioStream for kind in TABLE_FIELDS if kind != "instruments"
    }

    def __init__(self, *, format: Format = "slim", exchange: str = DEFAULT_EXCHANGE) -> None:  # noqa: A002
        super().__init__(format=format, exchange=exchange)
        # Each under both of its subscriptions.
        self._summaries: dict[Subscription, CashedSummary] = {}
        self._priced: dict[Subscription, list[PricedOrders]] = {}

    def columns(self, kind: Kind) -> Mapping[str, ColumnType]:
        """Every field that a frame of this kind can have, in this format; those of all brokers first."""
        return table_columns(kind, self._dialect.format) if kind in self.MAKERS else {}

    def open(self, now: float) -> None:
        """Begin a new connection; what is known of cash is from the one before."""
        super().open(now)
        for summary in self._summaries.values():
            summary.forget()
        for users in self._priced.values():
            for orders in users:
                orders.forget()

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Add streams, those included that only we need."""
        more: list[Subscription] = []
        for subscription in subscriptions:
            if subscription.kind == "balances" and subscription not in self._summaries:
                summary = CashedSummary(subscription)
                self._summaries |= {subscription: summary, summary.positions: summary}
                more.append(summary.positions)
            elif subscription.kind == "orders" and subscription not in self._priced:
                orders = PricedOrders(subscription)
                if orders.is_wanted:
                    self._priced[subscription] = [orders]
                    self._priced.setdefault(orders.fills, []).append(orders)
                    more.append(orders.fills)
        return super().subscribe([*subscriptions, *more])

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove streams, those included that only we needed."""
        more: list[Subscription] = []
        for subscription in subscriptions:
            summary = self._summaries.pop(subscription, None)
            if summary is not None:
                del self._summaries[summary.positions]
                more.append(summary.positions)
            for orders in self._priced.pop(subscription, []):
                users = self._priced[orders.fills]
                users.remove(orders)
                if not users:
                    del self._priced[orders.fills]
                    more.append(orders.fills)
        super().unsubscribe([*subscriptions, *more])

    def receive(self, frame: bytes, received: int) -> Received:
        """Understand a frame; summaries with their cash, orders with their average price."""
        records, notices = super().receive(frame, received)
        if self._priced:
            records, notices = self._with_prices(records, notices)
        if not self._summaries:
            return records, notices
        told: list[Record] = []
        counted: list[Notice] = []
        for record in records:
            summary = self._summaries.get(record[0])
            if summary is None:
                told.append(record)
            else:
                summary.take(record)
        for subscription, summary in self._summaries.items():
            if subscription == summary.balances:
                summed, count = summary.drained(received)
                told += summed
                counted += count
        return told, [*notices, *counted]

    def _with_prices(self, records: Sequence[Record], notices: Sequence[Notice]) -> Received:
        told: list[Record] = []
        counted: list[Notice] = []
        for record in records:
            users = self._priced.get(record[0])
            if users is None:
                told.append(record)
                continue
            for orders in users:
                priced, count = orders.take(record)
                told += [priced] if priced is not None else []
                counted += [count] if count is not None else []
        return told, [*notices, *counted] if counted else notices
