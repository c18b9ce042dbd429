"""The median of each window of a series, as the series grows, at a cost that hardly depends on how long windows are."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas.api.indexers import BaseIndexer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Numbers
    from aries_nb.store.derived.sums import Positions

__all__ = ["Medians"]

MOST_IN_BLOCK = 1_024
NOTHING: Numbers = np.empty(0)
FEW = 64  # rows that are added one by one, whatever windows there are


class Medians:
    """The median of each window of a series: the values of the newest window, a lower and an upper half, are kept.

    The next windows take some values and leave out others. Where rows have changed, those from the first of them on are
    taken out again; where more is new than is kept, pandas computes it.
    """

    def __init__(self) -> None:
        self._begin(0, NOTHING)

    def _begin(self, first: int, values: Numbers) -> None:
        self._first = first  # of the rows in the window, counted from the beginning of the series
        self._held = deque(values.tolist())
        # By numpy, which lets other threads go on while it sorts.
        numbers = np.sort(values[~np.isnan(values)]).tolist()
        half = (len(numbers) + 1) // 2
        self._low, self._high = _Ordered(numbers[:half]), _Ordered(numbers[half:])

    def of(self, values: Numbers, base: int, first: Positions, start: int, end: int) -> Numbers:
        """Return the median of [first[k], start + k] for each row of [start, end), positions in `values`; NaN skipped.

        `base` is how many rows there were before `values` begin. Rows before `start` are as they were.
        """
        low, count = int(first[0]), end - start
        if count > FEW and 4 * count > start - low:
            self._begin(0, NOTHING)
            return _computed(values, first, start, end)
        begin, stop = self._first - base, self._first - base + len(self._held)  # of the window that is kept
        if start > stop or abs(begin - low) + stop - start > len(self._held):
            self._begin(base + low, values[low:start])
        else:
            for _ in range(stop - start):
                self._take_out(self._held.pop())
            for value in values[low : max(begin, low)][::-1].tolist():
                self._held.appendleft(value)
                self._put_in(value)
            self._first = min(self._first, base + low)
        found = np.empty(count)
        for place, (value, begin) in enumerate(zip(values[start:end].tolist(), (first + base).tolist(), strict=True)):
            self._held.append(value)
            self._put_in(value)
            for _ in range(begin - self._first):
                self._take_out(self._held.popleft())
            self._first = begin
            found[place] = self._median()
        return found

    def _put_in(self, value: float) -> None:
        if value == value:
            half = self._low if self._low.count and value <= self._low.last else self._high
            half.add(value)
            self._even_out()

    def _take_out(self, value: float) -> None:
        if value == value:
            half = self._low if value <= self._low.last else self._high
            half.remove(value)
            self._even_out()

    def _even_out(self) -> None:
        """Have as many values in the lower half as in the upper one, or one more."""
        low, high = self._low, self._high
        if low.count > high.count + 1:
            high.add(low.last)
            low.remove(low.last)
        elif low.count < high.count:
            low.add(high.first)
            high.remove(high.first)

    def _median(self) -> float:
        low, high = self._low, self._high
        if not low.count:
            return math.nan
        return low.last if low.count > high.count else (low.last + high.first) / 2


class _Ordered:
    """Numbers in order, in blocks: to add or remove one costs as much as a block is long."""

    def __init__(self, numbers: list[float]) -> None:
        half = MOST_IN_BLOCK // 2
        self._blocks = [numbers[at : at + half] for at in range(0, len(numbers), half)]
        self._lasts = [block[-1] for block in self._blocks]
        self.count = len(numbers)

    @property
    def first(self) -> float:
        """The least number."""
        return self._blocks[0][0]

    @property
    def last(self) -> float:
        """The greatest number."""
        return self._lasts[-1]

    def add(self, number: float) -> None:
        """Add a number."""
        self.count += 1
        if not self._blocks:
            self._blocks, self._lasts = [[number]], [number]
            return
        at = min(bisect_left(self._lasts, number), len(self._blocks) - 1)
        block = self._blocks[at]
        insort(block, number)
        if len(block) > MOST_IN_BLOCK:
            behind = block[MOST_IN_BLOCK // 2 :]
            del block[MOST_IN_BLOCK // 2 :]
            self._blocks.insert(at + 1, behind)
            self._lasts.insert(at + 1, behind[-1])
        self._lasts[at] = block[-1]

    def remove(self, number: float) -> None:
        """Remove a number that is there."""
        self.count -= 1
        at = bisect_left(self._lasts, number)
        block = self._blocks[at]
        del block[bisect_left(block, number)]
        if block:
            self._lasts[at] = block[-1]
        else:
            del self._blocks[at], self._lasts[at]


class _Given(BaseIndexer):
    """Windows for pandas that begin and end where `begins` and `ends` say."""

    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    def get_window_bounds(  # the names are pandas'
        self,
        num_values: int = 0,  # noqa: ARG002
        min_periods: int | None = None,  # noqa: ARG002
        center: bool | None = None,  # noqa: ARG002, FBT001
        closed: str | None = None,  # noqa: ARG002
        step: int | None = None,  # noqa: ARG002
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where each window begins and ends."""
        return self.begins, self.ends


def _computed(values: Numbers, first: Positions, start: int, end: int) -> Numbers:
    low = int(first[0])
    none = np.zeros(start - low, "int64")  # of the rows before
    begins = np.concatenate([none, first - low])
    ends = np.concatenate([none, np.arange(start + 1, end + 1) - low])
    windows = pd.Series(values[low:end]).rolling(_Given(begins=begins, ends=ends), min_periods=1)
    return windows.median().to_numpy()[start - low :]
