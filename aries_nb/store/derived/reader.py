"""`RowReader`: reads each row of a rolling frame once, in the order of arrival, for what is computed from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aries_nb.store.derived.rows import NewRows

if TYPE_CHECKING:
    from aries_nb.model import Times
    from aries_nb.store.corrections import Pair
    from aries_nb.store.rolling import PublishedRows, RollingFrame
    from aries_nb.store.slab import Slab

__all__ = ["RowReader"]

NOTHING: Times = np.empty(0, "int64")


class RowReader:
    """Reads each row of a rolling frame once, in the order of arrival; the first ones are those in its window now.

    Rows that leave the window are read all the same as long as their memory is there: it is kept by the reader until it
    has read all of it. `is_from_now`: the first ones are those that come from now on. One thread at a time.
    """

    def __init__(self, frame: RollingFrame, *, is_from_now: bool = False) -> None:
        self._frame = frame
        frame.readers.add(self)
        self._begin()
        if is_from_now:
            self.take()

    def _begin(self) -> None:
        slab, start, *_ = self._frame.published
        self._slab: Slab = slab  # of the newest rows that were read
        self.position = slab.base + start  # the number of the next row
        self._void: Times = NOTHING  # numbers of rows that were known not to count
        self._pairs: frozenset[Pair] = frozenset()
        self._corrected = 0

    @property
    def is_restarted(self) -> bool:
        """Whether the frame has begun anew, as a replay does; `restart` then begins with its first row."""
        return self._frame.origin != self._slab.origin

    def restart(self) -> None:
        """Begin with the frame's first row."""
        self._begin()

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to read."""
        slab, _, end, _, void = self._frame.published
        return slab.base + end == self.position and void.total == self._corrected

    def take(self, until: int | None = None) -> list[NewRows]:
        """Return the rows since the last call, in pieces; [] where nothing is new, or the frame has begun anew.

        `until`: only rows up to this arrival number; those behind the first one above it are left for the next call.
        """
        published = self._frame.published
        if published.slab.origin != self._slab.origin:  # the old slab has no rows behind those that were read
            return []
        pieces = [NewRows(slab, start, end, missed=missed) for slab, start, end, missed in self._pieces(published)]
        if until is not None:
            pieces = _until(pieces, until)
        if pieces:
            self.position = pieces[-1].first + len(pieces[-1])
            self._slab = pieces[-1].slab
        return self._with_void(pieces, published)

    def _pieces(self, published: PublishedRows) -> list[tuple[Slab, int, int, int]]:
        slab, _, end, *_ = published
        found: list[tuple[Slab, int, int, int]] = []
        position, missed = self.position, 0
        if slab is not self._slab and position < slab.base:
            old = self._slab  # it was filled to its end before the next one began
            if position < old.base + old.capacity:
                found.append((old, position - old.base, old.capacity, 0))
                position = old.base + old.capacity
            missed = max(slab.base - position, 0)
            position += missed
        if position < slab.base + end:
            found.append((slab, position - slab.base, end, missed))
        return found

    def _with_void(self, pieces: list[NewRows], published: PublishedRows) -> list[NewRows]:
        slab, _, end, _, void = published
        if void.total == self._corrected and not len(void.numbers):
            return pieces
        # What rows say that are not read yet is not known yet.
        said = void if self.position >= slab.base + end else void.until(self.position)
        known, pairs = said.numbers, frozenset(said.pairs)
        first = pieces[0].first if pieces else self.position
        new = np.setdiff1d(known, self._void, assume_unique=True)
        new_pairs = sorted(pairs - self._pairs, key=lambda pair: pair[1])
        self._void, self._pairs = known, pairs
        if len(known) == len(void.numbers):
            self._corrected = void.total
        before = new[: np.searchsorted(new, first)].tolist()
        if not pieces:
            if not before:
                return []
            at = self.position - slab.base
            pieces = [NewRows(slab, at, at)]
        pieces = [replace(piece, is_void=_within(piece, known), cancelling=said.cancelling) for piece in pieces]
        pieces[-1] = replace(pieces[-1], void=before, pairs=new_pairs)
        return pieces


def _until(pieces: list[NewRows], until: int) -> list[NewRows]:
    kept: list[NewRows] = []
    for piece in pieces:
        above = np.flatnonzero(piece.seq > until)
        if len(above):
            if above[0]:
                kept.append(replace(piece, end=piece.start + int(above[0])))
            break
        kept.append(piece)
    return kept


def _within(piece: NewRows, void: Times) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
    first, last = np.searchsorted(void, (piece.first, piece.first + len(piece)))
    if first == last:
        return None
    flags = np.zeros(len(piece), "bool")
    flags[void[first:last] - piece.first] = True
    return flags
