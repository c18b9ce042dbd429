"""Rows of a rolling frame by exchange time, although a slab holds them in the order of arrival.

What a reader needs to know of the rows is found by readers, of each row once: the writer does no work for it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal

import numpy as np

from aries_nb.store.slab import Slab

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Times

__all__ = ["TimeOrder"]

BLOCK = 4_096  # rows
_EARLIEST = np.iinfo(np.int64).min


class TimeOrder:
    """Which rows of a slab came late, and the newest time in each block of rows. Any thread may ask.

    Positions are those of the slab; rows with equal times keep the order of arrival. `column` has the times.
    """

    def __init__(self, column: Literal["ts", "received"] = "ts") -> None:
        self._column = column
        self._guard = threading.Lock()  # of all below
        self._slab: Slab | None = None
        self._end = 0  # rows before it have been looked at
        self._newest = _EARLIEST
        self._late = 0  # position of the last row that is older than one before it
        self._peaks: Times = np.empty(0, "int64")  # the newest time of each block

    def copy_of(self, slab: Slab, start: int, end: int) -> TimeOrder:
        """Return an order of its own that knows what is known here of the rows up to `end`, after a look at them."""
        new = TimeOrder(self._column)
        with self._guard:
            self._look(slab, start, end)
            new._slab, new._end, new._newest, new._late = slab, self._end, self._newest, self._late
            new._peaks = self._peaks.copy()
        return new

    def is_ordered(self, slab: Slab, start: int, end: int) -> bool:
        """Whether the rows from `start` to `end` are in the order of their times."""
        with self._guard:
            self._look(slab, start, end)
            return self._late <= start

    def sorted(self, slab: Slab, start: int, end: int) -> NDArray[np.intp]:
        """The positions of the rows from `start` to `end`, oldest first."""
        return start + np.argsort(slab.ts[start:end], kind="stable")

    def since(self, slab: Slab, start: int, end: int, first: int) -> NDArray[np.intp]:
        """The positions of the rows whose time is `first` (us since the epoch) or later, oldest first."""
        if self.is_ordered(slab, start, end):
            return np.arange(start + np.searchsorted(slab.ts[start:end], first), end)
        found = self._not_before(slab, start, end, first)
        return found[np.argsort(slab.ts[found], kind="stable")]

    def newest(self, slab: Slab, start: int, end: int, count: int) -> NDArray[np.intp]:
        """The positions of the `count` newest rows, oldest first."""
        count = min(count, end - start)
        if not count:
            return np.empty(0, np.intp)
        if self.is_ordered(slab, start, end):
            return np.arange(end - count, end)
        # Of all rows the one at this place is no older than of those that came last.
        few = slab.ts[max(start, end - 2 * count - BLOCK) : end]
        oldest = int(np.partition(few, len(few) - count)[len(few) - count])
        return self.since(slab, start, end, oldest)[-count:]

    def _not_before(self, slab: Slab, start: int, end: int, first: int) -> NDArray[np.intp]:
        """The positions of rows with this time or a later one, in the order of arrival."""
        with self._guard:
            self._look(slab, start, end)
            blocks = np.flatnonzero(self._peaks >= first)
        parts = [
            begin + np.flatnonzero(slab.ts[begin:stop] >= first)
            for begin, stop in ((max(at, start), min(at + BLOCK, end)) for at in (blocks * BLOCK).tolist())
            if begin < stop
        ]
        return np.concatenate([np.empty(0, np.intp), *parts])

    def _look(self, slab: Slab, start: int, end: int) -> None:
        """Look at the rows that are new, with the guard held."""
        if slab is not self._slab:
            self._slab, self._end, self._newest, self._late = slab, start, _EARLIEST, start
            self._peaks = np.full(-(-slab.capacity // BLOCK), _EARLIEST)
        if end <= self._end:
            return
        ts = (slab.ts if self._column == "ts" else slab.received)[self._end : end]
        if ts[0] < self._newest or (ts[1:] < ts[:-1]).any():
            before = np.maximum.accumulate(np.concatenate([[self._newest], ts[:-1]]))
            self._late = self._end + int(np.flatnonzero(ts < before)[-1])
        newest, blocks = int(ts.max()), range(self._end // BLOCK, -(-end // BLOCK))
        if len(blocks) == 1:  # the rule between two looks at a frame: its fixed cost is most of a look's
            self._peaks[blocks[0]] = max(self._peaks[blocks[0]], newest)
        else:
            cuts = np.maximum(np.array(blocks) * BLOCK - self._end, 0)
            peaks = self._peaks[blocks.start : blocks.stop]
            np.maximum(peaks, np.maximum.reduceat(ts, cuts), out=peaks)
        self._newest = max(self._newest, newest)
        self._end = end
