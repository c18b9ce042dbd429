"""ALOR's market data: quotes, trades, books, bars and instruments (ALOR protocol page §6).

Sizes and volumes are in lots, as the broker counts them; the column `lot_size` of a quote is the number of pieces in a
lot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from aries_nb.brokers.alor.bars import BarStream
from aries_nb.brokers.alor.books import BookStream
from aries_nb.brokers.alor.columns import ColumnReader, ColumnStream
from aries_nb.brokers.alor.connection import AlorConnection
from aries_nb.brokers.alor.fields import DEFAULT_EXCHANGE, MARKET_FIELDS, column_types
from aries_nb.brokers.alor.quotes import QuoteStream
from aries_nb.brokers.alor.streams import AlorStream, ShapedStream
from aries_nb.brokers.alor.tables import InstrumentStream
from aries_nb.brokers.alor.trades import SOURCE, TradeStream
from aries_nb.model import BOOK_COLUMNS, ColumnType, Kind, ReceivedColumns, Subscription

__all__ = ["AlorMarket"]


class AlorMarket(AlorConnection):
    """A connection for market data.

    Implements `BrokerProtocol`; the module `streams` lists the options of a subscription.

    Symbols are "SBER", "SPBX:AAPL" or, with a board, "MOEX:SBER@TQBR".
    """

    MAKERS: ClassVar[Mapping[Kind, type[AlorStream]]] = {
        "quotes": QuoteStream,
        "trades": TradeStream,
        "book": BookStream,
        "bars": BarStream,
        "instruments": InstrumentStream,
    }

    COLUMNS: ClassVar[Mapping[Kind, Mapping[str, ColumnType]]] = {
        **{kind: column_types(MARKET_FIELDS.get(kind, {})) for kind in MAKERS},
        "trades": {**column_types(MARKET_FIELDS["trades"]), SOURCE: "text"},
        "book": dict(BOOK_COLUMNS),
    }
    DERIVED: ClassVar[tuple[str, ...]] = ("_columns",)
    LEAST_FRAMES = 3  # with fewer `receive_columns` takes longer than `receive`

    def __init__(self, *, exchange: str = DEFAULT_EXCHANGE) -> None:
        super().__init__(exchange=exchange)
        self._columns: ColumnReader | None = None  # made when it is needed

    def derive(self, _: object) -> None:
        """Make what a noted state has not."""
        self._columns = None

    def receive_columns(self, frames: Sequence[bytes], received: int) -> ReceivedColumns | None:
        """Decode frames as `receive` does, but together; None, and nothing has happened, if any is unusual.

        Unusual are all frames but quotes and live trades of running streams, the first quote of a connection, trades
        while past ones wait, fewer than 3 frames, and frames for which records or notices wait.
        """
        waiting = self._session.notices or self._notes or self._deferred or self._new_subscriptions
        if len(frames) < self.LEAST_FRAMES or waiting:
            return None
        if self._columns is None:
            streams = self._streams.values()
            self._columns = ColumnReader(stream for stream in streams if isinstance(stream, ColumnStream))
        found = self._columns.read(frames, received)
        if found is not None:
            self._session.has_received = True
        return found

    @property
    def request_number(self) -> int:
        """The number of the newest request or ping."""
        return self._session.count

    def missed(self, request_number: int) -> None:
        """Go on after messages that were not received: each of the next ones is whole, and no older one is news."""
        self._session.missed(request_number)
        self._unsettled.clear()
        self._new_subscriptions.clear()
        for stream in self._streams.values():
            if isinstance(stream, ShapedStream):
                stream.missed()

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Add subscriptions, and queue requests for their streams, as any connection does."""
        self._columns = None
        return super().subscribe(subscriptions)

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove subscriptions, and queue requests, as any connection does."""
        self._columns = None
        super().unsubscribe(subscriptions)
