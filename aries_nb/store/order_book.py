"""Order book built from updates of levels, with its integrity: whether it can be trusted, and if not, why."""

from __future__ import annotations

import threading
from collections.abc import Callable
from heapq import nlargest, nsmallest

import numpy as np

from aries_nb.model import BookIntegrity, BookLevels, Observers, RecordBuffer
from aries_nb.model.clock import wall_ns
from aries_nb.model.prices import is_price
from aries_nb.store.latency import LatencySamples
from aries_nb.store.message_counts import MessageCounts, counts_of

__all__ = ["OrderBook"]

STALE_SECONDS = 10.0
MAX_LEVELS = 10_000  # of a side, ten times what a user may see; the worst prices are dropped first


class OrderBook:
    """Both sides of one symbol's order book: price → size. The network's thread writes, any thread reads.

    The lock is held only while a batch of updates is written or the levels are copied.
    """

    def __init__(self, symbol: str, clock: Callable[[], int] = wall_ns) -> None:
        self.symbol = symbol
        self.buffer = RecordBuffer()
        self.lags = LatencySamples(clock)
        self._lock = threading.Lock()
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}
        self._is_broken = False
        self._version = 0
        self.updates = 0
        self._ts = 0
        self._received = 0
        self._observers = Observers()

    def publish(self) -> None:
        """Apply the updates in `buffer`, clear it, and notify the observers; the network's thread only.

        An update is (price, bid size, ask size): it sets both sizes at that price, and a size of 0 removes the level.
        The first updates after an interruption replace all older levels.
        """
        buffer = self.buffer
        if not buffer.codes:
            buffer.clear()
            return
        with self._lock:
            if self._is_broken:
                # Levels from before the break may be gone; none of them must pass for fresh.
                self._bids.clear()
                self._asks.clear()
                self._is_broken = False
            triples = iter(buffer.values)
            for price, bid, ask in zip(triples, triples, triples, strict=True):
                if is_price(float(price)):
                    _set(self._bids, float(price), float(bid))
                    _set(self._asks, float(price), float(ask))
            self._ts, self._received = buffer.ts[-1], buffer.marks[-1][1]
            if len(self._bids) > MAX_LEVELS or len(self._asks) > MAX_LEVELS:
                self._bids = dict(nlargest(MAX_LEVELS, self._bids.items()))
                self._asks = dict(nsmallest(MAX_LEVELS, self._asks.items()))
            self._version += len(buffer.codes)
            self.updates += len(buffer.codes)
        self.lags.published(buffer)
        buffer.clear()
        self._observers.notify()

    def interrupted(self) -> None:
        """Note that the stream broke: until the next update the old levels are shown, with the integrity "gap"."""
        with self._lock:
            self._is_broken = True
            self._version += 1
        self.lags.interrupted()
        self._observers.notify()

    def restart(self) -> None:
        """Be empty again, because a replay begins anew; the network's thread only."""
        with self._lock:
            self._bids, self._asks, self._is_broken = {}, {}, False
            self._version += 1
            self.updates = self._ts = self._received = 0
            self.buffer.restart()
        self._observers.notify()

    @property
    def version(self) -> int:
        """A number that grows with every update and every interruption."""
        return self._version

    def message_counts(self) -> MessageCounts:
        """Return the counts of the stream's messages by outcome.

        The newest update counts as visible, all earlier ones as conflated: replaced by a newer state.
        """
        updates = self.updates
        visible = min(updates, 1)
        return counts_of(self.buffer.counted, rows=updates, filled=0, visible=visible, conflated=updates - visible)

    def levels(self, depth: int, *, now: int) -> BookLevels:
        """Return the best `depth` levels of each side, and the book's integrity at time `now` (ns since the epoch).

        The integrity is the first that applies: "empty" before the first update, "gap" after an interruption, "crossed"
        where the best bid is at or above the best ask, "stale" without an update for 10 s, else "ok".
        """
        with self._lock:
            # Of the prices alone: comparing pairs takes twice as long, and this is under the lock.
            bids = [(price, self._bids[price]) for price in nlargest(depth, self._bids)]
            asks = [(price, self._asks[price]) for price in nsmallest(depth, self._asks)]
            is_broken, ts, received = self._is_broken, self._ts, self._received
        integrity: BookIntegrity = "ok"
        if not ts:
            integrity = "empty"
        elif is_broken:
            integrity = "gap"
        elif not bids and not asks:
            integrity = "empty"
        elif bids and asks and bids[0][0] > asks[0][0]:
            integrity = "crossed"
        elif now - received > STALE_SECONDS * 1e9:
            integrity = "stale"
        elif bids and asks and bids[0][0] == asks[0][0]:
            integrity = "locked"
        shape = (-1, 2)
        return BookLevels(
            symbol=self.symbol,
            bids=np.array(bids, "float64").reshape(shape),
            asks=np.array(asks, "float64").reshape(shape),
            integrity=integrity,
            ts=ts,
            received=received,
        )

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._observers.add(callback)


def _set(side: dict[float, float], price: float, size: float) -> None:
    if size > 0:
        side[price] = size
    else:
        side.pop(price, None)
