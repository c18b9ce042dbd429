"""Quotes and trades of ALOR by columns: what many frames say, in a list of values for each field.

It makes the records that `QuoteStream.take` and `TradeStream.take` make of the same frames one after the other, in a
third of the time. Both ways leave the same state in the streams, so that either may take the next frames.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import MsgspecError

from aries_nb.brokers.alor.fields import MARKET_FIELDS, FieldType
from aries_nb.brokers.alor.quotes import QuoteStream
from aries_nb.brokers.alor.streams import TIME_TYPES, ns_of
from aries_nb.brokers.alor.trades import LIVE, SOURCE, TradeStream, name_side
from aries_nb.brokers.columns import (
    EARLIEST_MS,
    chosen,
    column_values,
    each_of,
    in_nanoseconds,
    renumbered,
    without_empty_sides,
)
from aries_nb.brokers.parsing import MAX_INTEGER, MAX_MS
from aries_nb.model import (
    FLOAT64,
    INT64,
    NOT_A_TIME,
    Block,
    Counted,
    Kind,
    ReceivedColumns,
    Subscription,
    Value,
    ValueColumn,
)
from aries_nb.model.prices import sides_of

__all__ = ["ColumnReader", "ColumnStream"]

ColumnStream: TypeAlias = QuoteStream | TradeStream
_QUOTE_TIMES = each_of(("quote_timestamp",))
_BLANKS: Mapping[FieldType, Value] = {"number": math.nan, "integer": 0}  # "" for the others
_FORMATS: Mapping[FieldType, str] = {"number": FLOAT64, "integer": INT64, "millis": INT64, "seconds": INT64}


class _UnusualError(Exception):
    """A frame takes more than its values."""


class _Table:
    """All subscriptions of a kind with the same fields."""

    def __init__(self, kind: Kind, fields: Sequence[str]) -> None:
        self.subscriptions: tuple[Subscription, ...] = ()
        self._source = fields.index(SOURCE) if kind == "trades" and SOURCE in fields else None
        own = tuple(field for at, field in enumerate(fields) if at != self._source)
        self._read = each_of(own)
        self._types = [MARKET_FIELDS[kind][field].type for field in own]
        self._has_times = not set(TIME_TYPES).isdisjoint(self._types)
        self._formats = [_FORMATS.get(type_, "") for type_ in self._types]
        self._sides = sides_of(own) if kind == "quotes" else []
        self._blanks = [_BLANKS.get(type_, "") for type_ in self._types]

    def columns(self, data: Sequence[Any]) -> list[ValueColumn]:
        """Return the values of each field, with missing values for None."""
        read: Sequence[Sequence[Any]] = self._read(data)
        if self._has_times:
            read = [
                [ns_of(value) or NOT_A_TIME for value in column] if type_ in TIME_TYPES else column
                for type_, column in zip(self._types, read, strict=True)
            ]
        try:
            found = list(map(column_values, self._formats, read))
        except TypeError:
            found = [
                column_values(format_, [blank if value is None else value for value in column])
                for format_, blank, column in zip(self._formats, self._blanks, read, strict=True)
            ]
        found = without_empty_sides(found, self._sides)
        if self._source is not None:
            found.insert(self._source, [LIVE] * len(data))
        return found


class ColumnReader:
    """Makes records of frames by columns, for these streams; made anew where a stream or a subscription is another."""

    def __init__(self, streams: Iterable[ColumnStream]) -> None:
        self._streams = list(streams)
        self._place_of = {stream.guid: place for place, stream in enumerate(self._streams)}
        self._by_guid = {
            stream.guid.encode(): (place, stream.decode, stream.guid) for place, stream in enumerate(self._streams)
        }
        self._has_trades = any(isinstance(stream, TradeStream) for stream in self._streams)
        tables: dict[tuple[str, ...], _Table] = {}
        # Of each stream, the tables of its subscriptions, and the place of each in its table.
        self._subscribed: list[list[tuple[_Table, int]]] = []
        for stream in self._streams:
            own: list[tuple[_Table, int]] = []
            for subscription in stream.subscriptions:
                table = tables.setdefault(
                    (stream.key.kind, *subscription.fields), _Table(stream.key.kind, subscription.fields)
                )
                own.append((table, len(table.subscriptions)))
                table.subscriptions += (subscription,)
            self._subscribed.append(own)
        # Most often one decoder is for all streams, and all have one subscription, of the same fields.
        self._decode = self._streams[0].decode if len({stream.decode for stream in self._streams}) == 1 else None
        self._only = next(iter(tables.values())) if len(tables) == 1 else None
        if self._only is not None and len(self._only.subscriptions) != len(self._streams):
            self._only = None

    def read(self, frames: Sequence[bytes], received: int) -> ReceivedColumns | None:
        """Return the records of frames; None, and nothing has happened, if any is unusual or of another stream."""
        try:
            which, data = self._decoded(frames)
            times = self._times(which, data)
            last = dict(zip(which, range(len(which)), strict=True))
            if any(self._streams[place].is_held for place in last):
                return None
            blocks, ends = self._blocks(which, data, in_nanoseconds(times), last)
        except (MsgspecError, UnicodeDecodeError, RecursionError, KeyError, TypeError, OverflowError, _UnusualError):
            return None
        notices: list[Counted] = []
        if self._has_trades:
            blocks, ends, notices = self._without_repetitions(which, data, times, (blocks, ends), received)
        for place, at in last.items():
            self._streams[place].note(frames[at], data[at], times[at] * 1_000_000)
        return ReceivedColumns(blocks, notices, len(frames), ends)

    def _decoded(self, frames: Sequence[bytes]) -> tuple[list[int], list[Any]]:
        """Return the place of each frame's stream, and its data. Raises what a decoder does, KeyError for another."""
        if self._decode is not None:
            messages = list(map(self._decode, frames))
            return [self._place_of[message.guid] for message in messages], [message.data for message in messages]
        which: list[int] = []
        data: list[Any] = []
        for frame in frames:
            end = frame.rfind(b'"')  # a frame ends in its guid
            place, decode, guid = self._by_guid[frame[frame.rfind(b'"', 0, end) + 1 : end]]
            message = decode(frame)
            if message.guid != guid:
                raise KeyError(guid)
            which.append(place)
            data.append(message.data)
        return which, data

    def _times(self, which: Sequence[int], data: Sequence[Any]) -> list[int]:
        """Return the exchange times in ms. Raises TypeError or _UnusualError if a frame has none, or is no live trade.

        Sides of trades are named.
        """
        if not self._has_trades:
            (times,) = _QUOTE_TIMES(data)
        else:
            times = []
            for place, each in zip(which, data, strict=True):
                if isinstance(self._streams[place], QuoteStream):
                    times.append(each.quote_timestamp)
                    continue
                if each.existing or each.trade_id is None or not 0 <= each.trade_id <= MAX_INTEGER:
                    raise _UnusualError
                name_side(each)
                times.append(each.time_ms)
        if min(times) < EARLIEST_MS or max(times) >= MAX_MS:
            raise _UnusualError
        return times

    def _blocks(
        self, which: Sequence[int], data: Sequence[Any], ts: array[int], last: Mapping[int, int]
    ) -> tuple[list[Block], Sequence[int]]:
        """Return the records of all frames, and `ReceivedColumns.ends`."""
        count = len(which)
        if self._only is not None:
            columns = self._only.columns(data)
            return [Block(self._only.subscriptions, which, ts, columns, range(count), last)], range(1, count + 1)
        shares: dict[_Table, tuple[list[int], list[int], list[int]]] = {}
        ends: list[int] = []
        number = 0
        for at, place in enumerate(which):
            for table, own in self._subscribed[place]:
                frames, owns, numbers = shares.get(table) or shares.setdefault(table, ([], [], []))
                frames.append(at)
                owns.append(own)
                numbers.append(number)
                number += 1
            ends.append(number)
        blocks: list[Block] = []
        for table, (frames, owns, numbers) in shares.items():
            own_ts = array(INT64, [ts[at] for at in frames])
            newest = dict(zip(owns, range(len(owns)), strict=True))
            columns = table.columns([data[at] for at in frames])
            blocks.append(Block(table.subscriptions, owns, own_ts, columns, numbers, newest))
        return blocks, ends

    def _without_repetitions(
        self,
        which: Sequence[int],
        data: Sequence[Any],
        times: Sequence[int],
        made: tuple[list[Block], Sequence[int]],
        received: int,
    ) -> tuple[list[Block], Sequence[int], list[Counted]]:
        """Let the streams of trades remember those that are new; return the records but those of repeated trades.

        Returns also the notices that count the latter.
        """
        is_new: list[bool] = []
        counts: Counter[int] = Counter()
        for place, each, ms in zip(which, data, times, strict=True):
            stream = self._streams[place]
            is_news = isinstance(stream, QuoteStream) or stream.is_new(
                each.trade_id, (ms, each.price, each.size, each.side), ms * 1_000_000, received
            )
            is_new.append(is_news)
            if not is_news:
                counts[place] += 1
        blocks, ends = made
        if not counts:
            return blocks, ends, []
        frame_of = [at for at, place in enumerate(which) for _ in self._subscribed[place]]  # by number
        blocks = [chosen(block, [is_new[frame_of[number]] for number in block.numbers]) for block in blocks]
        notices = [
            Counted(subscription, "duplicated", count)
            for place, count in counts.items()
            for subscription in self._streams[place].subscriptions
        ]
        return *renumbered([block for block in blocks if block.ts], ends), notices
