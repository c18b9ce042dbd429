"""The points of one line: what is new is appended, what left the window is dropped, and what is too much is thinned.

A frame of a chart costs the same over ten thousand rows and over a million, because a line only ever looks at rows
that it has not seen, and at its own points, of which there are never more than `LIMIT`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tsdownsample import MinMaxDownsampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Numbers

__all__ = ["LIMIT", "Points", "thinned"]

LIMIT = 2_000
# It holds no state; its library is untyped.
DOWNSAMPLER: Any = MinMaxDownsampler()  # type: ignore[no-untyped-call]


def thinned(x: Numbers, y: Numbers, count: int) -> NDArray[np.int64]:
    """Return the positions of about `count` points that keep the shape: first, last, and each stretch's extremes.

    The stretches are equally long in x, so points that were thinned before are not thinned again and again while
    newer ones stay dense. x must not decrease; neither may hold NaN.
    """
    if len(x) <= count:
        return np.arange(len(x))
    pairs = (count - 2) // 2 * 2
    if x[-1] > x[0]:
        picked = DOWNSAMPLER.downsample(np.ascontiguousarray(x), np.ascontiguousarray(y), n_out=pairs)
    else:
        picked = DOWNSAMPLER.downsample(np.ascontiguousarray(y), n_out=pairs)
    ends = np.array([0, len(x) - 1], dtype=np.int64)
    return np.unique(np.concatenate([ends, picked.astype(np.int64)]))


class Points:
    """The points of one line, at most `limit`; x is in epoch milliseconds and never decreases.

    Owned by the view that draws it. `is_changed` is for that view to clear.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._numbers = np.empty(0, dtype=np.int64)
        self.x: Numbers = np.empty(0)
        self.y: Numbers = np.empty(0)
        self.is_changed = False

    def extend(self, numbers: NDArray[np.int64], x: Numbers, y: Numbers) -> None:
        """Append rows with their absolute row `numbers`; rows whose y is not a number are skipped."""
        is_finite = np.isfinite(y)
        if not is_finite.all():
            numbers, x, y = numbers[is_finite], x[is_finite], y[is_finite]
        if not len(y):
            return
        # A late tick is drawn where the line has got to: a line that runs backwards cannot be read.
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
        """Drop the points of rows before absolute row `number`: they have left the window."""
        gone = int(np.searchsorted(self._numbers, number))
        if gone:
            self._set(self._numbers[gone:], self.x[gone:], self.y[gone:])

    def places_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where among the points the rows with these absolute numbers begin."""
        return np.searchsorted(self._numbers, numbers)

    def clear(self) -> None:
        """Drop all points."""
        self._set(self._numbers[:0], self.x[:0], self.y[:0])

    def _set(self, numbers: NDArray[np.int64], x: Numbers, y: Numbers) -> None:
        self._numbers, self.x, self.y = numbers, x, y
        self.is_changed = True
