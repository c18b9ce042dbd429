"""ALOR's portfolios: orders, stop orders, own trades, positions, summaries and risks (protocol page §7).

The symbol of a subscription is the portfolio, "D00000" or "MOEX:D00000". Quantities are in pieces, and in lots where a
column says so; money is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from aries_nb.model import ColumnType, Kind, Received, Record, Subscription
from aries_nb.wire.alor_account_fields import TABLE_FIELDS
from aries_nb.wire.alor_cash import CashedSummary
from aries_nb.wire.alor_connection import AlorConnection
from aries_nb.wire.alor_fields import Format
from aries_nb.wire.alor_streams import Stream
from aries_nb.wire.alor_symbols import DEFAULT_EXCHANGE
from aries_nb.wire.alor_tables import PortfolioStream, table_columns

__all__ = ["AlorAccounts"]


class AlorAccounts(AlorConnection):
    """A connection for portfolios, apart from market data.

    Who subscribes to a summary subscribes to the positions as well, out of which its cash is taken.
    """

    MAKERS: ClassVar[Mapping[Kind, type[Stream]]] = {
        kind: PortfolioStream for kind in TABLE_FIELDS if kind != "instruments"
    }

    def __init__(self, *, format: Format = "slim", exchange: str = DEFAULT_EXCHANGE) -> None:  # noqa: A002
        super().__init__(format=format, exchange=exchange)
        self._summaries: dict[Subscription, CashedSummary] = {}  # under both of their subscriptions

    def columns(self, kind: Kind) -> Mapping[str, ColumnType]:
        """Every field that a frame of this kind can have, in this format; those of all brokers first."""
        return table_columns(kind, self._dialect.format) if kind in self.MAKERS else {}

    def open(self, now: float) -> None:
        """Begin a new connection; what is known of cash is from the one before."""
        super().open(now)
        for summary in self._summaries.values():
            summary.forget()

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Add streams, those included that only we need."""
        more: list[Subscription] = []
        for subscription in subscriptions:
            if subscription.kind == "balances" and subscription not in self._summaries:
                summary = CashedSummary(subscription)
                self._summaries |= {subscription: summary, summary.positions: summary}
                more.append(summary.positions)
        return super().subscribe([*subscriptions, *more])

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove streams, those included that only we needed."""
        more: list[Subscription] = []
        for subscription in subscriptions:
            summary = self._summaries.pop(subscription, None)
            if summary is not None:
                del self._summaries[summary.positions]
                more.append(summary.positions)
        super().unsubscribe([*subscriptions, *more])

    def receive(self, frame: bytes, received: int) -> Received:
        """Understand a frame; summaries with their cash."""
        records, notices = super().receive(frame, received)
        if not self._summaries:
            return records, notices
        told: list[Record] = []
        for record in records:
            summary = self._summaries.get(record[0])
            if summary is None:
                told.append(record)
            else:
                summary.take(record)
        for subscription, summary in self._summaries.items():
            if subscription == summary.balances:
                told += summary.drained(received)
        return told, notices
