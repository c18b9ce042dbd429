"""Which prints (public trades) were corrected or cancelled: rows that stay in memory and no longer count.

A print that comes under the number of an earlier one of its symbol, within twelve hours of it, replaces it; with a size
of 0 it cancels it (assumed, as no protocol page says how a correction is sent). Numbers of one symbol ascend where the
broker numbers prints at all, so a new print is known by its number alone. Numbers may be those of a venue: a print of
another venue is another print.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from aries_nb.model import CANCELLED, CORRECTED, RecordBuffer, Values
from aries_nb.model.clock import MOST_AHEAD_US

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Column, Times
    from aries_nb.store.slab import AnyArray, Slab

__all__ = ["NOTHING_VOID", "Corrections", "LatestRow", "PrintNumbers", "VoidRows", "WindowThen"]

MOST_APART_US = 12 * 3_600 * 1_000_000  # of the receipts of a print and its correction: numbers may begin anew each day
BLOCK = 65_536  # rows that are searched at once, from the newest back
# The newest row of a symbol: exchange time, time of receipt (both ns, receipt in whole us), values.
LatestRow: TypeAlias = tuple[int, int, Values]
# Numbers of a row that counts no more, and of the row that says so.
Pair: TypeAlias = tuple[int, int]


class Corrections(NamedTuple):
    """What a publication corrects: pairs of rows, and the numbers of rows that only cancel another."""

    pairs: list[Pair]
    cancelling: list[int]


class VoidRows(NamedTuple):
    """The rows of a rolling frame that do not count, by their numbers since it was made; never changed once made.

    `numbers` are those still in the window, ascending; `total` is how many there were in all. `pairs` has each row that
    was replaced or cancelled with the row that says so; `cancelling` are those that only cancel another. `placed` has
    each row that has the place of one which has left the window, with that one before it.
    """

    numbers: Times
    total: int
    pairs: tuple[Pair, ...]
    cancelling: tuple[int, ...] = ()
    placed: tuple[Pair, ...] = ()

    @property
    def is_none(self) -> bool:
        """Whether all rows in the window count, each in the place of its arrival among those of its time."""
        return not len(self.numbers) and not self.placed

    def within(self, slab: Slab, start: int, end: int) -> NDArray[np.bool_] | None:
        """Return which rows at the positions [start, end) of a slab do not count; None where all count."""
        first, last = np.searchsorted(self.numbers, (slab.base + start, slab.base + end)) if self.total else (0, 0)
        if first == last:
            return None
        found = np.zeros(end - start, "bool")
        found[self.numbers[first:last] - slab.base - start] = True
        return found

    def reaches_before(self, window_start: int) -> bool:
        """Return whether it has rows that have left a window which begins with the row of this number."""
        return bool(len(self.numbers) and self.numbers[0] < window_start) or any(
            new < window_start for _, new in self.placed
        )

    def moved(self, by: int) -> VoidRows:
        """Return these rows where each row has a number that is higher by `by`."""
        pairs, placed = (tuple((old + by, new + by) for old, new in each) for each in (self.pairs, self.placed))
        cancelling = tuple(number + by for number in self.cancelling)
        return VoidRows(self.numbers + by, self.total, pairs, cancelling, placed)

    def until(self, limit: int) -> VoidRows:
        """Return what did not count while the rows numbered below `limit` were all."""
        if not self.total:
            return self
        pairs = tuple(pair for pair in self.pairs if pair[1] < limit)
        cancelling = tuple(number for number in self.cancelling if number < limit)
        numbers = np.array(sorted({*cancelling, *(old for old, _ in pairs)}), "int64")
        left = self.total - len(self.numbers)  # the window
        placed = tuple(pair for pair in self.placed if pair[1] < limit)
        return VoidRows(numbers, left + len(numbers), pairs, cancelling, placed)

    def without(self, slab: Slab, positions: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return those of the positions in a slab whose rows count."""
        if not len(self.numbers):
            return positions
        return positions[~np.isin(positions + slab.base, self.numbers)]

    def in_order(self, slab: Slab, positions: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return those of positions in the order of time whose rows count, also in that order.

        Of equal times, a corrected print has the place of the one that it replaces.
        """
        positions = self.without(slab, positions)
        places = _places(self.placed, self.pairs)
        if not places:
            return positions
        numbers = positions + slab.base
        moved = np.flatnonzero(np.isin(numbers, list(places)))
        numbers[moved] = [places[number] for number in numbers[moved].tolist()]
        return positions[np.lexsort((numbers, slab.ts[positions]))] if len(moved) else positions

    def credible(self, slab: Slab, positions: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return those of `in_order` whose time is not more than five minutes ahead of their receipt."""
        found = self.in_order(slab, positions)
        return found[slab.ts[found] <= slab.received[found] + MOST_AHEAD_US]

    def newest(self, slab: Slab, start: int, end: int, code: int) -> int | None:
        """Return the position of a symbol's newest row by time at [start, end) of a slab; None without one."""
        rows = start + np.flatnonzero(slab.codes[start:end] == code)
        rows = self.without(slab, rows[slab.ts[rows] <= slab.received[rows] + MOST_AHEAD_US])
        found = self.in_order(slab, rows[slab.ts[rows] == slab.ts[rows].max(initial=0)])
        return int(found[-1]) if len(found) else None

    def after(self, found: Corrections, window_start: int) -> VoidRows:
        """Return these rows with those found since, and without those that have left the window."""
        new = {old for old, _ in found.pairs} | set(found.cancelling)
        new -= set(self.numbers[np.isin(self.numbers, list(new))].tolist())
        numbers = np.union1d(self.numbers, np.array(sorted(new), "int64"))
        pairs = *self.pairs, *found.pairs
        places = _places(self.placed, pairs)
        left = *self.placed, *(pair for pair in pairs if pair[0] < window_start)
        return VoidRows(
            numbers[np.searchsorted(numbers, window_start) :],
            self.total + len(new),
            tuple(pair for pair in pairs if pair[0] >= window_start),
            tuple(number for number in (*self.cancelling, *found.cancelling) if number >= window_start),
            tuple((places[new], new) for _, new in left if new >= window_start),
        )


def _places(placed: Iterable[Pair], pairs: Iterable[Pair]) -> dict[int, int]:
    """Return of each correcting row the number of the first row of its print, whose place it has."""
    places = {new: old for old, new in placed}
    for old, new in pairs:
        places[new] = places.get(old, old)
    return places


NOTHING_VOID = VoidRows(np.empty(0, "int64"), 0, ())


class WindowThen:
    """The rows of a frame that are in its window at each print of a buffer, which is not written yet.

    `rows` are slab, start and end of the rows written so far; `ts` and `received` are those of the buffer's, in us, and
    `newest` the newest credible time before. The window has the newest `limit` rows, of the last `span`, in us or None.
    """

    def __init__(
        self,
        rows: tuple[Slab, int, int],
        ts: AnyArray,
        received: AnyArray,
        *,
        newest: int,
        limit: int,
        span: int | None,
    ) -> None:
        self._rows, self._limit, self._span = rows, limit, span
        self._ts, self._latest = ts, received + MOST_AHEAD_US
        credible = np.where(ts <= self._latest, ts, 0)
        self._newest = np.maximum.accumulate(np.concatenate(([newest], credible)))  # before each

    def has(self, row: int, place: int) -> bool:
        """Return whether a row, by its position in the slab or behind it, is there at the print at a place."""
        _, start, end = self._rows
        if row < end + place - self._limit:
            return False
        if self._span is None:
            return True
        oldest = self._newest[place] - self._span
        # Rows leave in their order: one that is too old stays behind one that is not. Mostly it is not.
        return self._is_any_inside(row, row + 1, oldest) or self._is_any_inside(start, row, oldest)

    def _is_any_inside(self, first: int, stop: int, oldest: int) -> bool:
        slab, _, end = self._rows
        written, waiting = slice(first, min(stop, end)), slice(max(first - end, 0), max(stop - end, 0))
        ts = np.concatenate((slab.ts[written], self._ts[waiting]))
        latest = np.concatenate((slab.received[written] + MOST_AHEAD_US, self._latest[waiting]))
        return bool(((ts >= oldest) & (ts <= latest)).any())


class PrintNumbers:
    """The highest number of a print of each symbol, by which one that may be a correction is found. One thread.

    `columns` are those of the rolling frame; without a column `trade_id` no print is a correction.
    """

    def __init__(self, columns: Sequence[Column], symbols: int) -> None:
        names = [column.name for column in columns]
        self._width = len(names)
        places = {name: place for place, name in enumerate(names)}
        self._number = places.get("trade_id")
        self._size, self._venue, self._source = (places.get(name) for name in ("size", "venue", "source"))
        self.highest = [0] * symbols

    def know(self, codes: AnyArray, numbers: AnyArray) -> None:
        """Take the numbers of prints that were not in a buffer: rows of another frame."""
        highest = np.array(self.highest, "int64")
        np.maximum.at(highest, codes.astype("int64"), numbers)
        self.highest = highest.tolist()

    def unusual(self, buffer: RecordBuffer) -> list[int]:
        """Return the places in a buffer of prints whose number is not above all earlier ones of their symbol."""
        if self._number is None:
            return []
        highest: list[Any] = self.highest
        found: list[int] = []
        at, width = self._number, self._width
        numbers: Iterable[Any] = chain(buffer.values[at::width], *(block.columns[at] for block in buffer.blocks))
        codes = chain(buffer.codes, *(block.codes for block in buffer.blocks))
        for place, (code, number) in enumerate(zip(codes, numbers, strict=True)):
            if number > highest[code]:
                highest[code] = number
            elif number:
                found.append(place)
        return found

    def uncorrected(
        self, places: Iterable[int], buffer: RecordBuffer, latest: Mapping[int, LatestRow | None]
    ) -> dict[int, LatestRow | None]:
        """Return the newest row of each symbol that prints at these places of a buffer are of.

        None where one of them has its number, and may correct it.
        """
        assert self._number is not None
        at, found = self._number, dict[int, LatestRow | None]()
        for place in places:
            code = buffer.codes[place]
            row = found.get(code, latest[code])
            own = buffer.values[place * self._width : (place + 1) * self._width]
            is_same = row is not None and row[2][at] == own[at]
            if row is not None and self._venue is not None and not self._cancels(own):
                is_same &= row[2][self._venue] == own[self._venue]
            found[code] = None if is_same else row
        return found

    def corrections(
        self,
        places: Sequence[int],
        buffer: RecordBuffer,
        received: Sequence[int],
        rows: tuple[Slab, int, int],
        window: WindowThen,
    ) -> Corrections:
        """Return what the prints at these places of a buffer correct, in it or in rows written before.

        Their `source` in the buffer becomes "corrected" or "cancelled". `received` are times of receipt of the buffer's
        prints in us. `rows` are slab, start and end of the rows written so far: the buffer's follow them. Of them and
        the buffer's those are corrected that are in the `window` at the print, however many are written together.
        """
        slab, _, end = rows
        found = Corrections([], [])
        waiting: dict[tuple[object, ...], int] = {}  # newest place of a print in the buffer
        next_place = 0
        for place in places:
            for at in range(next_place, place):
                waiting[self._key(buffer, at)] = at
            next_place = place
            is_cancelled = self._cancels(buffer.values[place * self._width : (place + 1) * self._width])
            key = self._key(buffer, place)
            earlier = waiting.get(key)
            if earlier is None and is_cancelled:
                earlier = max((at for other, at in waiting.items() if other[:2] == key[:2]), default=None)
            old = self._written(key, received[place], rows, is_cancelled) if earlier is None else end + earlier
            if old is not None and not window.has(old, place):
                old = None
            number = slab.base + end + place
            if old is not None:
                found.pairs.append((slab.base + old, number))
            if is_cancelled:
                found.cancelling.append(number)
            if self._source is not None and (is_cancelled or old is not None):
                buffer.values[place * self._width + self._source] = CANCELLED if is_cancelled else CORRECTED
        return found

    def _cancels(self, values: Sequence[object]) -> bool:
        """Return whether a print only takes back another; it may name no venue."""
        return self._size is not None and values[self._size] == 0

    def _key(self, buffer: RecordBuffer, place: int) -> tuple[object, ...]:
        values, start = buffer.values, place * self._width
        assert self._number is not None
        venue = "" if self._venue is None else values[start + self._venue]
        return buffer.codes[place], values[start + self._number], venue

    def _written(
        self,
        key: tuple[object, ...],
        received: int,
        rows: tuple[Slab, int, int],
        is_cancelled: bool,  # noqa: FBT001
    ) -> int | None:
        """Return the position in the slab of the newest print with this key that counts; None without one."""
        slab, start, end = rows
        code, number, venue = key
        while start < end:
            first = max(start, end - BLOCK)
            same = (slab.arrays["trade_id"][first:end] == number) & (slab.codes[first:end] == code)
            at = first + np.flatnonzero(same & (slab.received[first:end] >= received - MOST_APART_US))
            if self._venue is not None and not is_cancelled:
                at = at[[slab.text("venue", each) == venue for each in at.tolist()]]
            if len(at):
                return int(at[-1])
            end = first
        return None
