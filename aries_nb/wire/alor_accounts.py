"""ALOR's portfolios: orders, stop orders, own trades, positions, summaries and risks (protocol page §7).

The symbol of a subscription is the portfolio, "D00000" or "MOEX:D00000". Quantities are in pieces, and in lots where a
column says so; money is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aries_nb.model import ColumnType, Kind
from aries_nb.wire.alor_account_fields import TABLE_FIELDS
from aries_nb.wire.alor_connection import AlorConnection
from aries_nb.wire.alor_streams import Stream
from aries_nb.wire.alor_tables import PortfolioStream, table_columns

__all__ = ["AlorAccounts"]


class AlorAccounts(AlorConnection):
    """A connection for portfolios, apart from market data."""

    MAKERS: ClassVar[Mapping[Kind, type[Stream]]] = {
        kind: PortfolioStream for kind in TABLE_FIELDS if kind != "instruments"
    }

    def columns(self, kind: Kind) -> Mapping[str, ColumnType]:
        """Every field that a frame of this kind can have, in this format; those of all brokers first."""
        return table_columns(kind, self._dialect.format) if kind in self.MAKERS else {}
