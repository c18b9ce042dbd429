"""The tape of one instrument at ALOR: every trade once, in order, also across a break (protocol page §6.4 and §9).

No trade carries a mark of where it was missed, and there is no resuming: after a break the newest trades are asked for
again, and those that are known already are left out by their ids.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aries_nb.brokers.alor.streams import Dialect, Key, ShapedStream, instrument_body, reader_of
from aries_nb.brokers.parsing import MAX_INTEGER, MAX_MS, nanoseconds
from aries_nb.model import Record, Subscription, TradeGap, Value

__all__ = ["MOST_TRADES", "SOURCE", "TradeStream"]

MOST_TRADES = 5_000  # that the server sends of the past (§10)
IDS_KEPT = 1_000  # the newest; enough to find where the past goes on
SOURCE = "source"  # the column that says whether a trade came live, or out of the past
_SIDES = ("buy", "sell")
_BLANK: Mapping[str, Value] = {"venue": "", "side": "unknown", "trade_id": 0}


class _Trade(NamedTuple):
    """A trade of the past, waiting until all of them are here; sorts by time, then by id."""

    ts: int
    trade_id: int
    records: list[Record]


class _Reader(NamedTuple):
    """What takes the fields of a subscription off a trade; `source` is the place of what no trade says of itself."""

    subscription: Subscription
    fields: tuple[str, ...]
    read: Callable[[Any], tuple[Any, ...]]
    source: int | None


class TradeStream(ShapedStream):
    """Every trade, never conflated; sizes in lots, `venue` is the board, `side` the aggressor's.

    At first no history is asked for. That the past comes in ascending order is not relied on.
    """

    is_shareable = True

    def __init__(self, key: Key, dialect: Dialect) -> None:
        super().__init__(key, dialect)
        self._readers: tuple[_Reader, ...] = ()
        self._seen: deque[int] = deque(maxlen=IDS_KEPT)
        self._last_id = 0
        self._last_ts = 0
        self._known: frozenset[int] = frozenset()  # ids, and the newest trade, as of the latest break
        self._known_until = (0, 0)
        self._since = 0  # when the stream was accepted at first, by our clock; 0 before
        self._is_resuming = False
        self._is_past_over = False
        self._is_joined = False  # whether the past reaches back to what was known at the break
        self._past_count = 0
        self._is_hole_reported = False  # whether it has been told that the past does not reach back so far
        self._waiting: list[_Trade] = []

    def body(self) -> dict[str, Any]:
        """The request of §6.4; after a break with as much of the past as there is."""
        depth = MOST_TRADES if self._is_resuming else 0
        opcode = "AllTradesGetAndSubscribe"
        return {"opcode": opcode, **instrument_body(self), "depth": depth, "includeVirtualTrades": False}

    def forget(self) -> None:
        """A break: what has been told is remembered, so that it is not told twice."""
        super().forget()
        self._is_resuming = self._since > 0
        self._is_past_over = self._is_joined = self._is_hole_reported = False
        self._past_count = 0
        self._known = frozenset(self._seen) - {0}
        self._known_until = (self._last_ts, self._last_id)
        self.count("duplicated", len(self._waiting))  # they are among what will be asked for
        self._waiting.clear()

    def reshape(self) -> None:
        """Decode the union of what is wanted, and read what each subscription wants."""
        super().reshape()
        self._readers = tuple(map(_reader_of, self.subscriptions))
        self._has_side = "side" in self.shape.names

    def replied(self, received: int) -> Sequence[Record]:
        """The past, if it came before the reply, is complete."""
        self._since = self._since or received
        return self._past() if self._waiting else ()

    def settled(self, received: int) -> Sequence[Record]:  # noqa: ARG002 - a trade has its own time
        """What of the past came by now is all of it."""
        records = self._past() if self._waiting else ()
        if self._is_resuming and not self._is_past_over:
            # Where nothing was known, a past that is shorter than it may be is all there is.
            is_whole = not self._known_until[0] and self._past_count < MOST_TRADES
            self.is_filled = self._is_joined or is_whole
        self._is_past_over = True
        return records

    def take(self, data: Any, received: int) -> Sequence[Record]:  # noqa: ANN401
        """The records of one trade, none where it is of the past or known already."""
        self.has_received = True
        trade_id = data.trade_id
        if trade_id is None or not 0 <= trade_id <= MAX_INTEGER:
            trade_id = data.trade_id = 0  # no id that a column can hold; such a trade cannot be told from another
        ms = data.time_ms
        ts = ms * 1_000_000 if ms is not None and 0 < ms < MAX_MS else _other_time(data, received)
        records = self._records(ts, data)
        if data.existing:
            return self._take_past(_Trade(ts, trade_id, records))
        if self._waiting:
            records[:0] = self._past()
        if trade_id > self._last_id:
            self._last_id = trade_id
        elif trade_id and trade_id in self._seen:
            self.count("duplicated")
            return records[: -len(self._readers)]
        self._seen.append(trade_id)
        if ts > self._last_ts:
            self._last_ts = ts
            self._since = self._since or received
        return records

    def _take_past(self, trade: _Trade) -> Sequence[Record]:
        if not self._is_resuming:
            self.count("rowless")
            self._note(trade)  # nobody asked for it, but it says where the past ends
            return ()
        self._waiting.append(trade)
        self._past_count += 1
        # Once the past is over nothing is waited for any more; late ones are told one by one.
        return self._past() if self._is_past_over or len(self._waiting) > 2 * MOST_TRADES else ()

    def _past(self) -> Sequence[Record]:
        """The trades that were missed, of those that wait."""
        trades = sorted(self._waiting, key=lambda trade: trade[:2])
        self._waiting.clear()
        self._is_joined |= trades[0][:2] <= self._known_until
        first = next((place for place, trade in enumerate(trades) if trade.trade_id in self._known), None)
        if first is not None:
            # What lies before a known trade is known as well, or from before the first subscription.
            missed = trades[first:]
        elif self._known_until[0]:
            missed = [trade for trade in trades if trade[:2] > self._known_until]
        else:
            # Nothing came before the break: what the exchange's clock puts behind ours (assumed to agree).
            missed = [trade for trade in trades if trade.ts >= self._since]
        known_ids = (set(self._seen) | self._known) - {0}
        records: list[Record] = []
        for trade in missed:
            if trade.trade_id not in known_ids:
                if not records and not self._is_joined:
                    self._report_hole(trade)
                known_ids |= {trade.trade_id} - {0}
                self._note(trade)
                self.filled_count += 1
                records += trade.records
            else:
                self.count("duplicated")
        before = trades[: len(trades) - len(missed)]
        known = sum(trade.ts >= self._since for trade in before)
        self.count("duplicated", known)
        self.count("rowless", len(before) - known)  # of before the first subscription
        return records

    def _report_hole(self, first: _Trade) -> None:
        """What lies between the newest trade known at the break and the first of the past, if anything may."""
        is_whole = not self._known_until[0] and self._past_count < MOST_TRADES
        if self._is_hole_reported or is_whole:
            return
        self._is_hole_reported = True
        after = self._known_until if self._known_until[0] else (self._since, 0)
        self.notes += [TradeGap(subscription, after, first[:2]) for subscription in self.subscriptions]

    def _note(self, trade: _Trade) -> None:
        self._seen.append(trade.trade_id)
        self._last_id = max(trade.trade_id, self._last_id)
        self._last_ts = max(trade.ts, self._last_ts)

    def _records(self, ts: int, data: Any) -> list[Record]:  # noqa: ANN401
        if self._has_side and data.side not in _SIDES:
            word = (data.side or "").lower()
            data.side = word if word in _SIDES else "unknown"
        records: list[Record] = []
        for subscription, fields, read, source in self._readers:
            values = read(data)
            if values.count(None):
                values = _completed(fields, values)
            if source is not None:
                values = (*values[:source], "history" if data.existing else "live", *values[source:])
            records.append((subscription, ts, values))
        return records


def _other_time(data: Any, received: int) -> int:  # noqa: ANN401
    """When a trade happened that does not say so in ms."""
    return (nanoseconds(data.time_text) if data.time_text else 0) or received


def _reader_of(subscription: Subscription) -> _Reader:
    fields = tuple(field for field in subscription.fields if field != SOURCE)
    source = subscription.fields.index(SOURCE) if len(fields) < len(subscription.fields) else None
    return _Reader(subscription, fields, reader_of(fields), source)


def _completed(fields: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Value, ...]:
    named = zip(fields, values, strict=True)
    return tuple([_BLANK.get(name, math.nan) if value is None else value for name, value in named])
