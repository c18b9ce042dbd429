"""Quotes of ALOR: a stream an instrument, each frame of which is a whole quote (ALOR protocol page §6.3).

Many frames at once become records by columns (`QuoteColumns`): the same as `QuoteStream.take` makes of one after the
other, in a third of the time. Both ways leave the same state in the streams, so that either may take the next frames.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from msgspec import MsgspecError

from aries_nb.brokers.alor.fields import MARKET_FIELDS, FieldType
from aries_nb.brokers.alor.streams import Key, ShapedStream, frequency_of, instrument_body, ns_of, reader_of
from aries_nb.brokers.parsing import MAX_MS, SECONDS_AS_MS_NS, column_values, each_field, rows_at
from aries_nb.model import (
    FLOAT64,
    INT64,
    NOT_A_TIME,
    Block,
    Counted,
    Kind,
    ReceivedColumns,
    Record,
    Subscription,
    Value,
    ValueColumn,
)

__all__ = ["QuoteColumns", "QuoteStream"]

_EARLIEST_MS = SECONDS_AS_MS_NS // 1_000_000
_BLANKS: Mapping[FieldType, Value] = {"number": math.nan, "integer": 0}  # "" for the others
_FORMATS: Mapping[FieldType, str] = {"number": FLOAT64, "integer": INT64, "millis": INT64, "seconds": INT64}
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
        self.is_first = True
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
        self.is_first = True

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
        return self._news(records, emitted) if self.is_first else records

    def keep(self, frame: bytes, records: list[Record]) -> None:
        """Note the newest of several frames, and the records made of it."""
        self.latest = frame
        self.has_received = True
        self._ts = records[0][1]
        self._emitted = records

    def _news(self, records: list[Record], emitted: list[Record]) -> list[Record]:
        """Return those of a connection's first records that differ from the last ones emitted before the break.

        `emitted` are the latter. The records left out are counted as duplicated.
        """
        self.is_first = False
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


class _Share(NamedTuple):
    """Which of several frames are records of subscriptions with the same fields, by their places.

    `which` are the places of their subscriptions among all with these fields, `numbers` those of the records among all.
    """

    frames: Sequence[int]
    which: Sequence[int]
    numbers: Sequence[int]


class QuoteColumns:
    """Makes records of frames by columns, for these streams; made anew where a stream or a subscription is another."""

    def __init__(self, streams: Iterable[QuoteStream]) -> None:
        self._streams = list(streams)
        self._place_of = {stream.guid: place for place, stream in enumerate(self._streams)}
        tables: dict[tuple[str, ...], list[Subscription]] = {}
        # Of each stream, the fields of its subscriptions, and the place of each among all with these fields.
        self._subscribed: list[list[tuple[tuple[str, ...], int]]] = []
        for stream in self._streams:
            own: list[tuple[tuple[str, ...], int]] = []
            for subscription in stream.subscriptions:
                table = tables.setdefault(subscription.fields, [])
                own.append((subscription.fields, len(table)))
                table.append(subscription)
            self._subscribed.append(own)
        self._tables = {fields: tuple(table) for fields, table in tables.items()}
        # Most often one decoder is for all streams, and all have subscriptions of the same fields.
        self._is_decoded_alike = len({stream.decode for stream in self._streams}) == 1
        alike = ([(fields, place) for fields in self._tables] for place in range(len(self._streams)))
        self._is_alike = self._subscribed == list(alike)

    def read(self, frames: Sequence[bytes]) -> ReceivedColumns | None:
        """Return the records of frames; None, and nothing has happened, if any is unusual or of another stream."""
        try:
            which, quotes = self._decoded(frames)
            ts = _times(quotes)
            shares, ends = self._shares(which)
            read = {
                fields: _columns(quotes if share.which is which else [quotes[at] for at in share.frames], fields)
                for fields, share in shares.items()
            }
        except (MsgspecError, UnicodeDecodeError, RecursionError, KeyError, TypeError, OverflowError):
            return None
        last = dict(zip(which, range(len(which)), strict=True))
        if any(self._streams[place].is_first for place in last):
            return None
        blocks: list[Block] = []
        newest: dict[tuple[str, ...], dict[int, tuple[Any, ...]]] = {}
        for fields, share in shares.items():
            times: Sequence[int] = ts if share.which is which else [ts[at] for at in share.frames]
            own = last if share.which is which else dict(zip(share.which, range(len(times)), strict=True))
            rows = rows_at([column for column, _ in read[fields]], own.values())
            newest[fields], columns = dict(zip(own, rows, strict=True)), [made for _, made in read[fields]]
            blocks.append(Block(self._tables[fields], share.which, array(INT64, times), columns, share.numbers, own))
        for place, at in last.items():
            records: list[Record] = []
            for fields, number in self._subscribed[place]:
                records.append((self._tables[fields][number], ts[at], newest[fields][number]))
            self._streams[place].keep(frames[at], records)
        return ReceivedColumns(blocks, (), len(frames), ends)

    def _decoded(self, frames: Sequence[bytes]) -> tuple[list[int], list[Any]]:
        """Return the place of each frame's stream, and its quote. Raises what a decoder does, KeyError for another."""
        if self._is_decoded_alike:
            messages = list(map(self._streams[0].decode, frames))
            return [self._place_of[message.guid] for message in messages], [message.data for message in messages]
        which: list[int] = []
        quotes: list[Any] = []
        for frame in frames:
            end = frame.rfind(b'"')  # a frame ends in its guid
            guid = frame[frame.rfind(b'"', 0, end) + 1 : end].decode()
            place = self._place_of[guid]
            message = self._streams[place].decode(frame)
            if message.guid != guid:
                raise KeyError(guid)
            which.append(place)
            quotes.append(message.data)
        return which, quotes

    def _shares(self, which: list[int]) -> tuple[dict[tuple[str, ...], _Share], Sequence[int]]:
        """Return the frames for the subscriptions with the same fields, by these fields, and `ReceivedColumns.ends`."""
        if self._is_alike:
            step, count = len(self._tables), len(which)
            numbers = [range(first, first + step * count, step) for first in range(step)]
            each = zip(self._tables, numbers, strict=True)
            shared = {fields: _Share(range(count), which, own) for fields, own in each}
            return shared, range(step, step * count + 1, step)
        shares: dict[tuple[str, ...], tuple[list[int], list[int], list[int]]] = {}
        ends: list[int] = []
        number = 0
        for at, place in enumerate(which):
            for fields, own in self._subscribed[place]:
                frames, owns, those = shares.get(fields) or shares.setdefault(fields, ([], [], []))
                frames.append(at)
                owns.append(own)
                those.append(number)
                number += 1
            ends.append(number)
        return {fields: _Share(*share) for fields, share in shares.items()}, ends


def _times(quotes: Sequence[Any]) -> list[int]:
    """Return the exchange times of quotes in ns since the epoch. Raises TypeError if any has none of its book in ms."""
    times = each_field("quote_timestamp")(quotes)
    if min(times) < _EARLIEST_MS or max(times) >= MAX_MS:
        raise TypeError("no time in ms")
    return [ms * 1_000_000 for ms in times]


def _columns(quotes: Sequence[Any], fields: Sequence[str]) -> list[tuple[list[Any], ValueColumn]]:
    """Return the values of each field, as read and as a block has them, with missing values for None."""
    found: list[tuple[list[Any], ValueColumn]] = []
    for name in fields:
        type_ = MARKET_FIELDS["quotes"][name].type
        column = each_field(name)(quotes)
        if type_ in _TIMES:
            column = [ns_of(value) or NOT_A_TIME for value in column]
        try:
            found.append((column, column_values(_FORMATS.get(type_, ""), column)))
        except TypeError:
            blank = _BLANKS.get(type_, "")
            column = [blank if value is None else value for value in column]
            found.append((column, column_values(_FORMATS.get(type_, ""), column)))
    return found


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
