"""ALOR's market data: quotes, trades, books, bars and instruments (protocol page §6).

Sizes and volumes are in lots, as the broker counts them; a quote's `lot_size` is the number of pieces in a lot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aries_nb.brokers.alor.bars import BarStream
from aries_nb.brokers.alor.books import BookStream
from aries_nb.brokers.alor.connection import AlorConnection
from aries_nb.brokers.alor.fields import MARKET_FIELDS, column_types
from aries_nb.brokers.alor.streams import AlorStream, QuoteStream
from aries_nb.brokers.alor.tables import InstrumentStream
from aries_nb.brokers.alor.trades import SOURCE, TradeStream
from aries_nb.model import BOOK_COLUMNS, ColumnType, Kind

__all__ = ["AlorMarket"]


class AlorMarket(AlorConnection):
    """A connection for market data; see `streams` for the options of a subscription.

    Symbols are "SBER", "SPBX:AAPL" or, with a board, "MOEX:SBER@TQBR".
    """

    MAKERS: ClassVar[Mapping[Kind, type[AlorStream]]] = {
        "quotes": QuoteStream,
        "trades": TradeStream,
        "book": BookStream,
        "bars": BarStream,
        "instruments": InstrumentStream,
    }

    def columns(self, kind: Kind) -> Mapping[str, ColumnType]:
        """Columns of a kind."""
        if kind == "book":
            return {column.name: column.type for column in BOOK_COLUMNS}
        types = column_types(MARKET_FIELDS.get(kind, {}))
        return {**types, SOURCE: "text"} if kind == "trades" else types
