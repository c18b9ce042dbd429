"""Trades of one instrument at ALOR as a stream: each once, in order, also across a break (ALOR protocol page §6.4, §9).

The protocol cannot resume a stream. After a break the newest trades are requested again, and known ones are left out by
their ids. A trade that comes under a known id with another time, price, size or side is a correction, with a size of 0
a cancellation (assumed: the pages do not say), and is emitted too: the store replaces the first one by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from aries_nb.brokers.alor.streams import Key, ShapedStream, instrument_body, ns_of, reader_of
from aries_nb.brokers.parsing import MAX_INTEGER
from aries_nb.model import Record, Subscription, TradeGap, Value
from aries_nb.model.clock import MOST_AHEAD_NS

__all__ = ["LIVE", "MOST_TRADES", "SOURCE", "TradeState", "TradeStream", "name_side"]

MOST_TRADES = 5_000  # the server's limit for past trades (§10)
IDS_KEPT = 1_000  # the newest; enough to find where the past continues
SOURCE, LIVE = "source", "live"  # the column with "live" or "history"
_SIDES = ("buy", "sell")
_STATE = ("price", "size", "side")  # what, with the time, distinguishes a correction from a repetition
_STATES_KEPT = 8  # of one id
_BLANK: Mapping[str, Value] = {"venue": "", "side": "unknown", "trade_id": 0}


# The time (Unix ms; None where it has none) of a trade and its values of `_STATE`.
TradeState: TypeAlias = tuple[Any, ...]


class _Trade(NamedTuple):
    """A past trade that waits until all past trades have come: its exchange time (ns since the epoch), id and records.

    Sorts by time, then by id. The id is 0 if the trade has no usable one.
    """

    ts: int
    trade_id: int
    state: TradeState
    records: list[Record]


class _Reader(NamedTuple):
    """How to get a subscription's values from a trade: `read` returns those of `fields`, all fields but "source".

    The server's trades have no "source" ("live" or "history"): it is inserted among the values at the position
    `source`; None if it is not requested.
    """

    subscription: Subscription
    fields: tuple[str, ...]
    read: Callable[[Any], tuple[Any, ...]]
    source: int | None


class TradeStream(ShapedStream):
    """All trades of one instrument, each once. Sizes are in lots, `venue` is the board, `side` that of the aggressor.

    The first request asks for no past trades. After a break past trades are requested, and may come in any order.
    """

    is_shareable = True
    ALWAYS_DECODED = frozenset(_STATE)
    DERIVED = (*ShapedStream.DERIVED, "_readers")

    def __init__(self, key: Key, exchange: str) -> None:
        super().__init__(key, exchange)
        self._readers: tuple[_Reader, ...] = ()
        self._seen: dict[int, tuple[TradeState, ...]] = {}  # what came under each of the newest ids, the oldest first
        self._last_id = 0
        self._last_ts = 0  # without times too far ahead, which would make the trades missed in a break look known
        self._latest_credible = 0
        self._known: frozenset[int] = frozenset()  # ids, and time and id of the newest trade, at the latest break
        self._known_until = (0, 0)
        self._since = 0  # first acceptance of the stream by our clock; 0 before
        self._is_resuming = False
        self._is_past_over = False
        self._is_joined = False  # whether the past reaches back to the trades known at the break
        self._past_count = 0
        self._is_hole_reported = False  # whether a hole was reported: the past does not reach back so far
        self._waiting: list[_Trade] = []

    def body(self) -> dict[str, Any]:
        """Return the server request for the stream, without guid (stream id) and token (ALOR protocol page §6.4).

        After a break it asks for 5,000 past trades, the server's limit.
        """
        depth = MOST_TRADES if self._is_resuming else 0
        opcode = "AllTradesGetAndSubscribe"
        return {"opcode": opcode, **instrument_body(self), "depth": depth, "includeVirtualTrades": False}

    def forget(self) -> None:
        """Reset the state, because the connection broke: the next request asks for past trades.

        The ids of the newest 1,000 trades are remembered, so that none of them is emitted twice.
        """
        super().forget()
        self._is_resuming = self._since > 0
        self._is_past_over = self._is_joined = self._is_hole_reported = False
        self._past_count = 0
        self._known = frozenset(self._seen)
        self._known_until = (self._last_ts, self._last_id)
        self.count("duplicated", len(self._waiting))  # they will be requested again
        self._waiting.clear()

    def reshape(self) -> None:
        """Choose a decoder that has the fields of all subscriptions, and make a getter for those of each."""
        super().reshape()
        self._readers = tuple(map(_reader_of, self.subscriptions))

    def replied(self, received: int) -> Sequence[Record]:
        """Return the records of the past trades received so far that were missed in the break; () if none wait.

        The reply to the request usually shows that all past trades have come; later ones are processed as they come.
        `received` is in ns since the epoch.
        """
        self._since = self._since or received
        return self._past() if self._waiting else ()

    def settled(self, received: int) -> Sequence[Record]:  # noqa: ARG002 - a trade has its own time
        """Return the records of past trades held back until now that were missed while the connection was lost.

        Hook, called once the server has sent all past trades of a subscription that it accepted; () if none were held
        back. After a lost connection `is_filled` is set: True if the past trades reach back to the loss, so that none
        is missing; False if some may be. `received` is not used: a trade has its own time.
        """
        records = self._past() if self._waiting else ()
        if self._is_resuming and not self._is_past_over:
            # Without a known trade, a past shorter than the limit is complete.
            is_whole = not self._known_until[0] and self._past_count < MOST_TRADES
            self.is_filled = self._is_joined or is_whole
        self._is_past_over = True
        return records

    def take(self, data: Any, received: int) -> Sequence[Record]:  # noqa: ANN401
        """Return the records of the trade `data`, one per subscription, received at `received` (ns since the epoch).

        A trade whose id is among the newest 1,000 emitted ones makes none, unless it corrects that one. A past trade
        waits until all past trades have come; the first live trade shows that they have, and is returned after those
        that were missed.
        """
        self.has_received = True
        trade_id = data.trade_id
        if trade_id is None or not 0 <= trade_id <= MAX_INTEGER:
            trade_id = data.trade_id = 0  # no id that a column can hold: repetitions of it cannot be recognised
        ms = data.time_ms
        if ms is None and self.is_unusable():
            return ()
        self._latest_credible = received + MOST_AHEAD_NS
        ts = ns_of(ms) or received
        records = self._records(ts, data)
        state = (ms, *_state_of(data))
        if data.existing:
            return self._take_past(_Trade(ts, trade_id, state, records))
        if self._waiting:
            records[:0] = self._past()
        if self.is_new(trade_id, state, ts, received):
            return records
        self.count("duplicated")
        return records[: -len(self._readers)]

    @property
    def is_held(self) -> bool:
        """Whether past trades wait, which come before the next live one."""
        return bool(self._waiting)

    def note(self, frame: bytes, data: Any, ts: int) -> None:  # noqa: ANN401, ARG002 - as for quotes
        """Note the newest frame."""
        self.latest = frame
        self.has_received = True

    def is_new(self, trade_id: int, state: TradeState, ts: int, received: int) -> bool:
        """Return whether a live trade is new or a correction, and then remember it; times in ns since the epoch."""
        if trade_id > self._last_id:
            self._last_id = trade_id
        elif trade_id and self._is_repeated(trade_id, state):
            return False
        self._remember(trade_id, state)
        if self._last_ts < ts <= received + MOST_AHEAD_NS:
            self._last_ts = ts
            self._since = self._since or received
        return True

    def _take_past(self, trade: _Trade) -> Sequence[Record]:
        if not self._is_resuming:
            self.count("rowless")
            self._note(trade)  # not requested, but it shows where the past ends
            return ()
        self._waiting.append(trade)
        self._past_count += 1
        # Once the past is over, late past trades are emitted one by one.
        return self._past() if self._is_past_over or len(self._waiting) > 2 * MOST_TRADES else ()

    def _past(self) -> Sequence[Record]:
        """Return the records of those waiting past trades that were missed in the break, oldest first.

        The other waiting trades are counted as duplicated, or as rowless if they are older than the first subscription.
        None wait afterwards.
        """
        trades = sorted(self._waiting, key=lambda trade: trade[:2])
        self._waiting.clear()
        self._is_joined |= trades[0][:2] <= self._known_until
        first = next((place for place, trade in enumerate(trades) if trade.trade_id in self._known), None)
        if first is not None:
            # Trades before a known one are known too, or older than the first subscription.
            missed = trades[first:]
        elif self._known_until[0]:
            missed = [trade for trade in trades if trade[:2] > self._known_until]
        else:
            # No trade came before the break: those after the acceptance (the clocks are assumed to agree).
            missed = [trade for trade in trades if trade.ts >= self._since]
        known_ids = self._seen.keys() | self._known
        records: list[Record] = []
        for trade in missed:
            is_known = trade.trade_id in known_ids
            if is_known and self._is_repeated(trade.trade_id, trade.state):
                self.count("duplicated")
                continue
            if not is_known:
                if not records and not self._is_joined:
                    self._report_hole(trade)
                known_ids |= {trade.trade_id} - {0}
                self.filled_count += 1
            self._note(trade)
            records += trade.records
        before = trades[: len(trades) - len(missed)]
        known = sum(trade.ts >= self._since for trade in before)
        self.count("duplicated", known)
        self.count("rowless", len(before) - known)  # from before the first subscription
        return records

    def _report_hole(self, first: _Trade) -> None:
        """Append a notice of missing trades after the newest one known at the break and before `first`.

        `first` is the first missed trade that was received. No notice is appended if the past trades certainly reach
        back to the break, or if one was appended since it.
        """
        is_whole = not self._known_until[0] and self._past_count < MOST_TRADES
        if self._is_hole_reported or is_whole:
            return
        self._is_hole_reported = True
        after = self._known_until if self._known_until[0] else (self._since, 0)
        self.notes += [TradeGap(subscription, after, first[:2]) for subscription in self.subscriptions]

    def _is_repeated(self, trade_id: int, state: TradeState) -> bool:
        """Return whether a trade that came under a known id says nothing new.

        What came before under that id says nothing new either: a server repeats corrected trades from the first on.
        Everything is a repetition of an id that is no more among the newest 1,000.
        """
        states = self._seen.get(trade_id)
        return trade_id in self._known if states is None else state in states

    def _remember(self, trade_id: int, state: TradeState) -> None:
        if trade_id:
            self._seen[trade_id] = (*self._seen.get(trade_id, ()), state)[-_STATES_KEPT:]
            if len(self._seen) > IDS_KEPT:
                del self._seen[next(iter(self._seen))]

    def _note(self, trade: _Trade) -> None:
        self._remember(trade.trade_id, trade.state)
        self._last_id = max(trade.trade_id, self._last_id)
        if trade.ts <= self._latest_credible:
            self._last_ts = max(trade.ts, self._last_ts)

    def _records(self, ts: int, data: Any) -> list[Record]:  # noqa: ANN401
        name_side(data)
        records: list[Record] = []
        for subscription, fields, read, source in self._readers:
            values = read(data)
            if values.count(None):
                values = _completed(fields, values)
            if source is not None:
                values = (*values[:source], "history" if data.existing else LIVE, *values[source:])
            records.append((subscription, ts, values))
        return records


_state_of = reader_of(_STATE)


def name_side(trade: Any) -> None:  # noqa: ANN401
    """Name the aggressor's side of a decoded trade as the column does."""
    if trade.side not in _SIDES:
        word = (trade.side or "").lower()
        trade.side = word if word in _SIDES else "unknown"


def _reader_of(subscription: Subscription) -> _Reader:
    fields = tuple(field for field in subscription.fields if field != SOURCE)
    source = subscription.fields.index(SOURCE) if len(fields) < len(subscription.fields) else None
    return _Reader(subscription, fields, reader_of(fields), source)


def _completed(fields: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Value, ...]:
    named = zip(fields, values, strict=True)
    return tuple([_BLANK.get(name, math.nan) if value is None else value for name, value in named])
