"""Order book built from updates of levels, with its integrity: whether it can be trusted, and if not, why.

What it was at a past instant is known as well, as far as memory reaches back.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from heapq import nlargest, nsmallest
from typing import NamedTuple, Self, TypeAlias

import numpy as np

from aries_nb.model import FLOAT64, BookIntegrity, BookLevels, Checkpoint, Checkpointed, Observers, RecordBuffer
from aries_nb.model.clock import wall_ns
from aries_nb.model.prices import is_price
from aries_nb.store.latency import LatencySamples
from aries_nb.store.message_counts import MessageCounts, counts_of
from aries_nb.store.past.history import Past, StateHistory

__all__ = ["BookPast", "BookUpdate", "OrderBook"]

STALE_SECONDS = 10.0
MAX_LEVELS = 10_000  # of a side, ten times what a user may see; the worst prices are dropped first
CHANGE_BYTES = 250  # of an update in memory, without its levels
LEVEL_BYTES, UPDATE_BYTES = 16, 24  # of a level: price and size; of one in an update: price and both sizes
FEWEST_BYTES = 1_000


class _State(NamedTuple):
    """A whole book: prices and sizes of each side, and what the book knows of its newest update."""

    bids: tuple[array[float], array[float]]
    asks: tuple[array[float], array[float]]
    is_broken: bool
    updates: int
    ts: int
    received: int


class BookUpdate(NamedTuple):
    """So many updates of one read: triples of price and both sizes."""

    values: array[float]
    records: int
    ts: int
    received: int


BookPast: TypeAlias = Past[_State, BookUpdate | None]


class _BookBuffer(RecordBuffer):
    """Updates to be applied; `ends` has the number of values at each of `marks`, as updates differ in length."""

    __slots__ = ("ends",)

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[int] = []

    def mark(self, received: int) -> None:
        """Set the time of receipt (ns since the epoch) of all records added since the last call of `mark`."""
        super().mark(received)
        self.ends.append(len(self.values))

    def clear(self) -> None:
        """Remove all records and marks; `counted` stays."""
        super().clear()
        self.ends.clear()

    def updates(self) -> Iterator[BookUpdate]:
        """Yield what was received, together what has one time of receipt."""
        values, first, start = array(FLOAT64, map(float, self.values)), 0, 0
        for (last, received), end in zip(self.marks, self.ends, strict=True):
            if last > first:
                yield BookUpdate(values[start:end], last - first, self.ts[last - 1], received)
            first, start = last, end


class OrderBook(Checkpointed):
    """Both sides of one symbol's order book: price → size. The network's thread writes, any thread reads.

    The lock is held only while a batch of updates is written or the levels are copied. `clock` gives the time of an
    interruption, in ns since the epoch.
    """

    STATE = "_bids", "_asks", "_is_broken", "updates", "_ts", "_received"

    def __init__(self, symbol: str, clock: Callable[[], int] = wall_ns) -> None:
        self.symbol = symbol
        self.buffer = _BookBuffer()
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
        self._clock = clock
        self._history: StateHistory[_State, BookUpdate | None] = StateHistory()  # None: an interruption
        self._keep(clock())

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
            is_due = False
            for update in buffer.updates():
                self.apply(update)
                octets = CHANGE_BYTES + 8 * len(update.values)
                is_due |= self._history.add(update.received, update, octets)
            self._version += len(buffer.codes)
            if len(self._bids) > MAX_LEVELS or len(self._asks) > MAX_LEVELS:
                self._bids = dict(nlargest(MAX_LEVELS, self._bids.items()))
                self._asks = dict(nsmallest(MAX_LEVELS, self._asks.items()))
                is_due = True
            if is_due:
                self._keep(self._received)
        self.lags.published(buffer)
        buffer.clear()
        self._observers.notify()

    def apply(self, update: BookUpdate | None) -> None:
        """Change the levels by an update, None for an interruption; with the lock, or of a book of one's own."""
        if update is None:
            self._is_broken = True
            return
        if self._is_broken:
            # Levels from before the break may be gone; none of them must pass for fresh.
            self._bids.clear()
            self._asks.clear()
            self._is_broken = False
        bids, asks = self._bids, self._asks
        triples = iter(update.values)
        for price, bid, ask in zip(triples, triples, triples, strict=True):
            if is_price(price):
                _set(bids, price, bid)
                _set(asks, price, ask)
        self._ts, self._received = update.ts, update.received
        self.updates += update.records

    def interrupted(self) -> None:
        """Note that the stream broke: until the next update the old levels are shown, with the integrity "gap".

        What waits in `buffer` was received before, and is applied first. The network's thread only.
        """
        self.publish()
        with self._lock:
            self._is_broken = True
            self._version += 1
            self._history.add(self._clock(), None, CHANGE_BYTES)
        self.lags.interrupted()
        self._observers.notify()

    def restart(self) -> None:
        """Be empty again, because a replay begins anew; the network's thread only."""
        with self._lock:
            self._bids, self._asks, self._is_broken = {}, {}, False
            self._version += 1
            self.updates = self._ts = self._received = 0
            self.buffer.restart()
            self._history.clear()
            self._keep(0)
        self._observers.notify()

    def checkpoint(self) -> Checkpoint | None:
        """Return a copy of its levels and counts."""
        return {**(super().checkpoint() or {}), "counted": dict(self.buffer.counted)}

    def noted(self, counted: object = None) -> Checkpoint | None:  # noqa: ARG002
        """Return its levels and counts."""
        if self.buffer.codes:
            return None
        return {**{name: getattr(self, name) for name in self.STATE}, "counted": self.buffer.counted}

    def from_notes(
        self,
        notes: Sequence[object],
        places: Sequence[tuple[int, int] | None],
        received: int,  # noqa: ARG002 - nothing is missing
        rows_from: Sequence[int] = (),  # noqa: ARG002
    ) -> Checkpoint | None:
        """Return the checkpoint that was noted."""
        note = notes[0] if len(notes) == 1 and list(places) == [(0, 0)] else None
        return note if isinstance(note, dict) and note.keys() == {*self.STATE, "counted"} else None

    def resume(self, checkpoint: Checkpoint) -> None:
        """Have the levels and counts of an earlier moment; the network's thread only."""
        counted, own = checkpoint["counted"], {name: checkpoint[name] for name in self.STATE}
        with self._lock:
            super().resume(own)
            self._version += 1
            self.buffer.restart(counted)
            self._history.clear()
            self._keep(self._received)
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

    @property
    def held_from(self) -> int:
        """The time from which on `past` knows the book, in ns since the epoch."""
        return self._history.held_from or 0

    def frozen(self) -> Self:
        """Return the book as it is now, which never changes; the network's thread only."""
        return self._copy(dict(self._bids), dict(self._asks))

    def past(self, instant: int) -> BookPast | None:
        """Return of what `rebuilt` makes the book as of an instant (ns since the epoch); None before `held_from`.

        Of what was received until then. In memory are at least the newest 60,000 updates of a few levels. Any thread.
        """
        return self._history.until(instant)

    def rebuilt(self, past: BookPast) -> Self:
        """Return the book as it was, which never changes. Any thread."""
        bids, asks = (dict(zip(*side, strict=True)) for side in past.state[:2])
        names = ("_is_broken", "updates", "_ts", "_received")
        book = self._copy(bids, asks, **dict(zip(names, past.state[2:], strict=True)))
        for update in past.changes:
            book.apply(update)
        return book

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._observers.add(callback)

    def _keep(self, at: int) -> None:
        """Note the whole book for `at`."""
        bids, asks = ((array(FLOAT64, side), array(FLOAT64, side.values())) for side in (self._bids, self._asks))
        state = _State(bids, asks, self._is_broken, self.updates, self._ts, self._received)
        octets = FEWEST_BYTES + LEVEL_BYTES * (len(self._bids) + len(self._asks))
        self._history.begin(at, state, octets)

    def _copy(self, bids: dict[float, float], asks: dict[float, float], **state: float) -> Self:
        book, buffer = copy(self), _BookBuffer()
        buffer.counted.update(self.buffer.counted)
        own = {"buffer": buffer, "_lock": threading.Lock(), "_observers": Observers(), "_history": StateHistory()}
        vars(book).update({"_bids": bids, "_asks": asks, **own, **state})
        return book


def _set(side: dict[float, float], price: float, size: float) -> None:
    if size > 0:
        side[price] = size
    else:
        side.pop(price, None)
