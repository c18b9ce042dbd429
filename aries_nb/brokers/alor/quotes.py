"""Quotes of ALOR: a stream an instrument, each frame of which is a whole quote (ALOR protocol page §6.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import MsgspecError

from aries_nb.brokers.alor.fields import MARKET_FIELDS
from aries_nb.brokers.alor.streams import TIME_TYPES, Key, ShapedStream, frequency_of, instrument_body, ns_of, reader_of
from aries_nb.model import NOT_A_TIME, Counted, Kind, Record, Subscription, Value
from aries_nb.model.prices import empty_sides, sides_of

__all__ = ["QuoteStream"]

# A subscription, the getter of its fields from a quote, and whether there are times among them.
_Reader: TypeAlias = tuple[Subscription, Callable[[Any], tuple[Any, ...]], bool]


class QuoteStream(ShapedStream):
    """Quotes of one instrument: best bid and ask, last price and day figures, with sizes in lots.

    Each frame of the server is a whole quote.
    """

    is_shareable = True

    DERIVED = (*ShapedStream.DERIVED, "_readers", "_newest")

    def __init__(self, key: Key, exchange: str) -> None:
        super().__init__(key, exchange)
        # The newest quote, its time, and for whom records were made of it; and their first records of those who joined.
        self._newest: tuple[Any, int, Sequence[_Reader]] = (None, 0, ())
        self._joined: list[Record] = []
        self.is_held = True  # the first quote of a connection, which may repeat the last one before it
        self._readers: tuple[_Reader, ...] = ()

    def noted(self) -> tuple[Any, int, Sequence[Subscription]]:
        """Return the newest quote, its time, and for whom records were made of it, for a state that is noted."""
        data, ts, readers = self._newest
        fields = None if data is None else {name: getattr(data, name) for name in data.__struct_fields__}
        return fields, ts, tuple(each for each, *_ in readers)

    def derive(self, noted: tuple[Mapping[str, Any] | None, int, Sequence[Subscription]]) -> None:
        """Make what a noted state has not."""
        super().derive(None)
        fields, ts, users = noted
        names = self.shape.data.__struct_fields__
        data = None if fields is None else self.shape.data(**{name: fields[name] for name in names if name in fields})
        self._newest = data, ts, [each for each in self._readers if each[0] in users]

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
        own = [each for each in self._readers if each[0] == subscription]
        initial_records = self._records(data, self._newest[1], own)
        self._joined += initial_records
        return initial_records

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription, and the stored records that were emitted for it."""
        super().remove(subscription)
        data, ts, readers = self._newest
        self._newest = data, ts, [each for each in readers if each[0] != subscription]
        self._joined = [record for record in self._joined if record[0] != subscription]

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
        self.is_held = True

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
        records = self._records(data, ts, self._readers)
        news = self._news(records) if self.is_held else records
        self.note(self.latest, data, ts)
        return news

    def note(self, frame: bytes, data: Any, ts: int) -> None:  # noqa: ANN401
        """Note the newest frame with its quote, of which records are made for all subscriptions; `ts` in ns."""
        self.latest = frame
        self.has_received = True
        self._newest = data, ts, self._readers
        if self._joined:
            self._joined = []

    def _emitted(self) -> list[Record]:
        return [*self._records(*self._newest), *self._joined]

    def _news(self, records: list[Record]) -> list[Record]:
        """Return those of a connection's first records that differ from the last ones emitted before the break.

        The records left out are counted as duplicated.
        """
        self.is_held = False
        before = {record[0]: record for record in self._emitted()}
        news = [record for record in records if before.get(record[0]) != record]
        self.notes += [Counted(each[0], "duplicated") for each in records if each not in news]
        return news

    def _records(self, data: Any, ts: int, readers: Sequence[_Reader]) -> list[Record]:  # noqa: ANN401
        records: list[Record] = []
        for subscription, read, has_times in readers:
            values = read(data)
            if has_times or values.count(None):
                values = _completed("quotes", subscription.fields, values)
            if 0.0 in values:  # a side whose size alone is 0 has no price (assumed)
                values = empty_sides(values, sides_of(subscription.fields))
            records.append((subscription, ts, values))
        return records


def _completed(kind: Kind, fields: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Value, ...]:
    """Return `values` with times converted to ns since the epoch, and None replaced by a missing value.

    `fields` are the columns of the values, `kind` is that of their stream, such as "quotes". The missing value is that
    of the column's type: NaN for a number, 0 for an integer, "" for text, `NOT_A_TIME` for a time.
    """
    done: list[Value] = []
    for name, value in zip(fields, values, strict=True):
        type_ = MARKET_FIELDS[kind][name].type
        if type_ in TIME_TYPES:
            done.append(ns_of(value) or NOT_A_TIME)
        elif value is None:
            done.append(math.nan if type_ == "number" else 0 if type_ == "integer" else "")
        else:
            done.append(value)
    return tuple(done)
