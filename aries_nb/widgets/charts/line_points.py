"""The points of one line of a chart: new rows are appended, evicted rows are dropped, and too many are thinned.

Drawing a chart costs the same over ten thousand rows and over a million, because a line only reads rows that it has not
seen, and its own points, which are at most `LIMIT`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Numbers

__all__ = ["LIMIT", "LinePoints", "thinned"]

LIMIT = 2_000


def thinned(x: Numbers, y: Numbers, count: int) -> NDArray[np.int64]:
    """Return the positions of at most `count` points that keep the shape of a line, ascending; `count` is 4 at least.

    They are the first, the last, and the lowest and highest of each of `count / 2 - 1` buckets; of equal ones the
    first. Buckets are equally long in x, so that points thinned before are not thinned again and again while newer
    ones stay dense; where all points have one x, they hold equally many. x must not decrease. Points whose y is NaN
    are left out.
    """
    if len(y) and np.isnan(y.min()):
        known = np.flatnonzero(~np.isnan(y))
        return known[thinned(x[known], y[known], count)]
    if len(x) <= count:
        return np.arange(len(x))
    buckets = count // 2 - 1
    has_length = x[-1] > x[0]
    edges = np.searchsorted(x, np.linspace(x[0], x[-1], buckets + 1)) if has_length else _equal_parts(len(x), buckets)
    starts = np.unique(np.append(0, edges[:-1]))  # of buckets that are not empty
    sizes = np.diff(np.append(starts, len(x)))
    picked = [np.array([0, len(x) - 1])]
    for extreme in (np.minimum, np.maximum):
        hits = np.flatnonzero(y == np.repeat(extreme.reduceat(y, starts), sizes))
        picked.append(hits[np.searchsorted(hits, starts)])
    return np.unique(np.concatenate(picked))


def _equal_parts(length: int, parts: int) -> NDArray[np.int64]:
    return np.linspace(0, length, parts + 1).astype("int64")


class LinePoints:
    """The points of one line of a chart, at most `limit`: x in epoch milliseconds, never decreasing, and y.

    `breaks` are the absolute numbers of rows at which the value vanished, the newest `limit`. Owned by the view that
    draws it, which clears `is_changed`.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._numbers = np.empty(0, dtype=np.int64)
        self.breaks = np.empty(0, dtype=np.int64)
        self._is_there = False  # the newest value
        self.x: Numbers = np.empty(0)
        self.y: Numbers = np.empty(0)
        self.is_changed = False

    def extend(self, numbers: NDArray[np.int64], x: Numbers, y: Numbers) -> None:
        """Append a point for each new row; rows whose y is NaN are skipped. x is in epoch milliseconds.

        `numbers` are the rows' numbers since the rolling frame began. A row that is earlier than the one before
        is drawn at the end of the line.
        """
        is_finite = np.isfinite(y)
        if not is_finite.all():
            was_there = np.concatenate([[self._is_there], is_finite[:-1]])
            self.breaks = np.concatenate([self.breaks, numbers[was_there & ~is_finite]])[-self._limit :]
        self._is_there = bool(is_finite[-1]) if len(y) else self._is_there
        if not is_finite.all():
            numbers, x, y = numbers[is_finite], x[is_finite], y[is_finite]
        if not len(y):
            return
        # A late tick is drawn at the end of the line: a line that runs backwards cannot be read.
        x = np.maximum.accumulate(x)
        if len(self.x):
            x = np.maximum(x, self.x[-1])
        if len(x) > self._limit:
            keep = thinned(x, y, self._limit // 2)
            numbers, x, y = numbers[keep], x[keep], y[keep]
        self._set(np.concatenate([self._numbers, numbers]), np.concatenate([self.x, x]), np.concatenate([self.y, y]))
        if len(self.x) > self._limit:
            keep = thinned(self.x, self.y, self._limit // 2)
            self._set(self._numbers[keep], self.x[keep], self.y[keep])

    def drop_before(self, number: int) -> None:
        """Drop the points of rows whose number is below `number`: they were evicted from the rolling frame.

        Rows are numbered from the beginning of the rolling frame.
        """
        gone = int(np.searchsorted(self._numbers, number))
        self.breaks = self.breaks[np.searchsorted(self.breaks, number) :]
        if gone:
            self._set(self._numbers[gone:], self.x[gone:], self.y[gone:])

    def places_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions among the points at which the rows with these numbers start.

        That is the number of points for a row that is newer than all of them. Rows are numbered from the
        beginning of the rolling frame.
        """
        return np.searchsorted(self._numbers, numbers)

    def clear(self) -> None:
        """Drop all points."""
        self.breaks, self._is_there = self.breaks[:0], False
        self._set(self._numbers[:0], self.x[:0], self.y[:0])

    def _set(self, numbers: NDArray[np.int64], x: Numbers, y: Numbers) -> None:
        self._numbers, self.x, self.y = numbers, x, y
        self.is_changed = True
