"""`Track`: the newest rows of one symbol in the order of time, with what aggregates keep of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from aries_nb.model import Numbers, Times
    from aries_nb.store.derived.medians import Medians
    from aries_nb.store.derived.sums import Extremes

__all__ = ["Track"]

FIRST_CAPACITY = 64
LONG_AGO = -(2**62)  # us; the time of the row before the first, which has zeros


class Track:
    """Rows in arrays, oldest first, at the positions [start, end); the row before `start` is there as well.

    `floats` has one array for each series and for each that an aggregate keeps, `known` how long the value of the row
    before each is known to have held, in us (infinite: until the row). `base` rows were dropped before position 0.
    """

    def __init__(self, floats: int, span: int) -> None:
        self.span = span
        self.base = 0
        self.start = self.end = 1
        self.floats: Numbers = np.zeros((floats, FIRST_CAPACITY))
        self.known: Numbers = np.full(FIRST_CAPACITY, np.inf)
        self._integers: Times = np.zeros((4, FIRST_CAPACITY), "int64")
        self._integers[0, 0] = LONG_AGO
        self.received = 0  # of the newest row by arrival, in us; 0 before the first
        self.newest = LONG_AGO  # the latest time so far, in us
        self.extremes: dict[int, Extremes] = {}
        self.medians: dict[int, Medians] = {}
        self.is_merged = False
        """Whether rows before the newest changed in the present call."""

    @property
    def ts(self) -> Times:
        """Exchange times in us."""
        found: Times = self._integers[0]
        return found

    @property
    def numbers(self) -> Times:
        """The numbers of the rows in the source."""
        found: Times = self._integers[1]
        return found

    @property
    def places(self) -> Times:
        """The numbers by which rows of one time are in order: of a corrected print that of the one it replaces."""
        found: Times = self._integers[2]
        return found

    @property
    def gaps(self) -> Times:
        """How many rows until each are the first ones after a gap."""
        found: Times = self._integers[3]
        return found

    def add(
        self,
        ts: Times,
        numbers: Times,
        places: Times,
        series: Sequence[tuple[int, Numbers]],
        after_gap: Times,
        known: Numbers,
    ) -> None:
        """Add rows behind the newest ones, for which `make_room` was called. `series` has the place of each."""
        start, self.end = self.end, self.end + len(ts)
        self._integers[0, start : self.end] = ts
        self._integers[1, start : self.end] = numbers
        self._integers[2, start : self.end] = places
        self._integers[3, start : self.end] = self._integers[3, start - 1] + np.cumsum(after_gap)
        self.known[start : self.end] = known
        for place, values in series:
            self.floats[place, start : self.end] = values

    def sort(self, start: int) -> None:
        """Put the rows from `start` on in the order of time."""
        after_gap = np.diff(self._integers[3, start - 1 : self.end])
        order = np.lexsort((self._integers[2, start : self.end], self._integers[0, start : self.end]))
        self._integers[:, start : self.end] = self._integers[:, start : self.end][:, order]
        self._integers[3, start : self.end] = self._integers[3, start - 1] + np.cumsum(after_gap[order])
        self.known[start : self.end] = self.known[start : self.end][order]
        self.floats[:, start : self.end] = self.floats[:, start : self.end][:, order]

    def remove(self, position: int) -> None:
        """Remove the row at a position; that it is the first after a gap passes to the next one."""
        was = self._integers[3, position] - self._integers[3, position - 1]
        following = slice(position + 1, self.end)
        if position + 1 < self.end and was and self._integers[3, position + 1] > self._integers[3, position]:
            self._integers[3, following] -= 1
        if was and position + 1 < self.end:
            self.known[position + 1] = min(self.known[position], self.known[position + 1])
        self._integers[:, position : self.end - 1] = self._integers[:, following].copy()
        self.known[position : self.end - 1] = self.known[following].copy()
        self.floats[:, position : self.end - 1] = self.floats[:, following].copy()
        self.end -= 1

    def find(self, number: int, ts: int) -> int | None:
        """Return the position of the row with this number in the source and this time; None where it was dropped."""
        low = int(np.searchsorted(self.ts[self.start : self.end], ts)) + self.start
        high = int(np.searchsorted(self.ts[self.start : self.end], ts, side="right")) + self.start
        found = np.flatnonzero(self.numbers[low:high] == number)
        return low + int(found[0]) if len(found) else None

    def drop_before(self, ts: int, rows: int = 0) -> None:
        """Mark rows before this time, but for the last `rows`, as not needed any more; their memory is used again."""
        ahead = int(np.searchsorted(self.ts[self.start : self.end], ts)) - rows
        self.start = min(self.start + max(ahead, 0), self.end)

    def make_room(self, count: int) -> None:
        """Have memory for so many rows more; positions become less by as much as `base` grows."""
        capacity = len(self.known)
        if self.end + count <= capacity:
            return
        first = self.start - 1
        kept = self.end - first
        wanted = 2 * (kept + count)
        floats, known, integers = self.floats, self.known, self._integers
        if wanted > capacity:
            self.floats = np.zeros((len(floats), wanted))
            self.known = np.full(wanted, np.inf)
            self._integers = np.zeros((4, wanted), "int64")
        self.floats[:, :kept] = floats[:, first : self.end].copy()
        self.known[:kept] = known[first : self.end].copy()
        self._integers[:, :kept] = integers[:, first : self.end].copy()
        self.base += first
        self.start, self.end = 1, kept
