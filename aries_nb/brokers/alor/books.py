"""Order book of one instrument at ALOR: whole books in, changed levels out (ALOR protocol page §6.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aries_nb.brokers.alor.messages import book_from
from aries_nb.brokers.alor.streams import (
    Found,
    Key,
    ShapedStream,
    frequency_of,
    instrument_body,
    ns_of,
    text_option,
)
from aries_nb.model import Record

__all__ = ["MOST_LEVELS", "BookStream"]

MOST_LEVELS = 50  # a side (§10)


class BookStream(ShapedStream):
    """Order book of one instrument, as of its latest frame; volumes in lots.

    A record has price, bid size and ask size of each changed level, in one flat tuple; a size of 0 means that the side
    has no such level. A frame without changes gives a record with an empty tuple.
    """

    DERIVED = (*ShapedStream.DERIVED, "_bid_levels", "_ask_levels")

    def __init__(self, key: Key, exchange: str) -> None:
        super().__init__(key, exchange)
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}
        self._bid_levels: list[Any] | None = None
        self._ask_levels: list[Any] | None = None

    def derive(self, _: Any) -> None:  # noqa: ANN401
        """Make what a noted state has not: the next frame is compared with the levels."""
        super().derive(None)
        self._bid_levels = self._ask_levels = None

    def body(self) -> dict[str, Any]:
        """Return the server request for the stream, without guid (stream id) and token (ALOR protocol page §6.1).

        It asks for 50 levels a side, or for as many as the option `depth` says, which is limited to 1 to 50.
        """
        text = text_option(self.key, "depth")
        depth = min(max(int(text), 1), MOST_LEVELS) if text.isdecimal() and len(text) < 10 else MOST_LEVELS
        opcode = "OrderBookGetAndSubscribe"
        return {"opcode": opcode, **instrument_body(self), "depth": depth, **frequency_of(self)}

    def forget(self) -> None:
        """Drop the levels, because the connection broke: the next frame is emitted whole."""
        super().forget()
        self.missed()

    def missed(self) -> None:
        """Drop the levels: the next frame is emitted whole."""
        super().missed()
        self._bids, self._asks = {}, {}
        self._bid_levels = self._ask_levels = None

    def take(self, data: Any, received: int) -> Sequence[Record]:  # noqa: ANN401
        """Return one record per subscription for `data`, a whole book received at `received` (ns since the epoch).

        The record has price, bid size and ask size of every level that is new, changed or gone since the frame before.
        """
        self.has_received = True
        if data.time is None and self.is_unusable():
            return ()
        changed: dict[float, None] = {}
        # Most frames change one side only; comparing lists is cheap.
        if data.bids != self._bid_levels:
            self._bid_levels = data.bids
            before, self._bids = self._bids, _side(data.bids)
            _note_changes(before, self._bids, changed)
        if data.asks != self._ask_levels:
            self._ask_levels = data.asks
            before, self._asks = self._asks, _side(data.asks)
            _note_changes(before, self._asks, changed)
        bids, asks = self._bids, self._asks
        values: list[float] = []
        for price in changed:
            values += (price, bids.get(price, 0.0), asks.get(price, 0.0))
        ts = ns_of(data.time) or received
        return [(subscription, ts, tuple(values)) for subscription in self.subscriptions]

    def read(self, data: Mapping[str, Any], received: int, line: bytes) -> Found:
        """Return the records of `data`, a book that the fast decoder rejects, and notices about unusable levels.

        `received` is in ns since the epoch; `line` is the frame, of which notices quote the beginning. A book whose
        bids or asks are not a list counts as unreadable, not as empty.
        """
        book, problems = book_from(data, self.key.format, line)
        if book is None:
            self.count("unreadable")
            return (), problems
        return self.take(book, received), problems


def _side(levels: Iterable[Any] | None) -> dict[float, float]:
    return {level.price: level.volume for level in levels or () if level.volume > 0}


def _note_changes(before: Mapping[float, float], now: Mapping[float, float], changed: dict[float, None]) -> None:
    for price, size in now.items():
        if before.get(price) != size:
            changed[price] = None
    for price in before:
        if price not in now:
            changed[price] = None
