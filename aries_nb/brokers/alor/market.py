"""ALOR's market data: quotes, trades, books, bars and instruments (ALOR protocol page §6).

Sizes and volumes are in lots, as the broker counts them; the column `lot_size` of a quote is the number of pieces in a
lot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from msgspec import MsgspecError

from aries_nb.brokers.alor.bars import BarStream
from aries_nb.brokers.alor.books import BookStream
from aries_nb.brokers.alor.connection import AlorConnection
from aries_nb.brokers.alor.fields import MARKET_FIELDS, FieldType, column_types
from aries_nb.brokers.alor.streams import AlorStream, Key, ShapedStream, frequency_of, instrument_body, ns_of, reader_of
from aries_nb.brokers.alor.tables import InstrumentStream
from aries_nb.brokers.alor.trades import SOURCE, TradeStream
from aries_nb.model import BOOK_COLUMNS, NOT_A_TIME, ColumnType, Counted, Kind, Record, Subscription, Value

__all__ = ["AlorMarket", "QuoteStream"]

_TIMES: tuple[FieldType, ...] = ("millis", "seconds")
# A subscription, the getter of its fields from a quote, and whether there are times among them.
_Reader: TypeAlias = tuple[Subscription, Callable[[Any], tuple[Any, ...]], bool]


class QuoteStream(ShapedStream):
    """Quotes of one instrument: best bid and ask, last price and day figures, with sizes in lots.

    Each frame of the server is a whole quote.
    """

    is_shareable = True

    def __init__(self, key: Key, exchange: str) -> None:
        super().__init__(key, exchange)
        self._ts = 0
        self._emitted: list[Record] = []
        self._is_first = True
        self._readers: tuple[_Reader, ...] = ()

    def body(self) -> dict[str, Any]:
        """Return the server request for the stream, without guid (stream id) and token (ALOR protocol page §6.3)."""
        return {"opcode": "QuotesSubscribe", **instrument_body(self), **frequency_of(self)}

    def initial_records(self, subscription: Subscription) -> Sequence[Record]:
        """Return the latest quote as the first record of a subscription that has joined the running stream.

        Returns () if no quote has come on this connection.
        """
        if not self.latest:
            return ()
        try:
            data = self.decode(self.latest).data
        except (MsgspecError, UnicodeDecodeError, RecursionError):
            return ()  # the next frame comes soon
        initial_records = self._records(data, self._ts, [each for each in self._readers if each[0] == subscription])
        self._emitted = [*self._emitted, *initial_records]
        return initial_records

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription, and the stored records that were emitted for it."""
        super().remove(subscription)
        self._emitted = [record for record in self._emitted if record[0] != subscription]

    def reshape(self) -> None:
        """Choose a decoder that has the fields of all subscriptions, and make a getter for those of each."""
        super().reshape()
        self._readers = tuple(
            (each, reader_of(each.fields), any(name.endswith("_timestamp") for name in each.fields))
            for each in self.subscriptions
        )

    def forget(self) -> None:
        """Drop the latest quote, because the connection broke and the quote must not pass for fresh.

        The records emitted last are kept: the first quote after the break is compared with them.
        """
        super().forget()
        self.latest = b""
        self._is_first = True

    def take(self, data: Any, received: int) -> Sequence[Record]:  # noqa: ANN401
        """Return one record per subscription for the quote `data`, received at `received` (ns since the epoch).

        The record's time is that of the book, else of the last trade, else `received`. The first quote after a break is
        emitted only if it differs from the last one before it, else it is counted as duplicated. One in another format
        than requested is counted as unreadable.
        """
        self.has_received = True
        ms, seconds = data.quote_timestamp, data.trade_timestamp
        if ms is None and seconds is None and self.is_unusable():
            return ()
        ts = ns_of(ms) or ns_of(seconds) or received
        self._ts = ts
        records = self._records(data, ts, self._readers)
        emitted, self._emitted = self._emitted, records
        return self._news(records, emitted) if self._is_first else records

    def _news(self, records: list[Record], emitted: list[Record]) -> list[Record]:
        """Return those of a connection's first records that differ from the last ones emitted before the break.

        `emitted` are the latter. The records left out are counted as duplicated.
        """
        self._is_first = False
        before = {record[0]: record for record in emitted}
        news = [record for record in records if before.get(record[0]) != record]
        self.notes += [Counted(each[0], "duplicated") for each in records if each not in news]
        return news

    def _records(self, data: Any, ts: int, readers: Sequence[_Reader]) -> list[Record]:  # noqa: ANN401
        records: list[Record] = []
        for subscription, read, has_times in readers:
            values = read(data)
            if has_times or values.count(None):
                values = _completed("quotes", subscription.fields, values)
            records.append((subscription, ts, values))
        return records


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


def _completed(kind: Kind, fields: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Value, ...]:
    """Return `values` with times converted to ns since the epoch, and None replaced by a missing value.

    `fields` are the columns of the values, `kind` is that of their stream, such as "quotes". The missing value is that
    of the column's type: NaN for a number, 0 for an integer, "" for text, `NOT_A_TIME` for a time.
    """
    done: list[Value] = []
    for name, value in zip(fields, values, strict=True):
        type_ = MARKET_FIELDS[kind][name].type
        if type_ in _TIMES:
            done.append(ns_of(value) or NOT_A_TIME)
        elif value is None:
            done.append(math.nan if type_ == "number" else 0 if type_ == "integer" else "")
        else:
            done.append(value)
    return tuple(done)
