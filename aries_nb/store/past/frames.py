"""A rolling frame as it was at an instant, of the rows that are still in memory; it never changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aries_nb.model import Observers, RecordBuffer
from aries_nb.model.clock import MOST_AHEAD_US
from aries_nb.store.rolling import RollingFrame
from aries_nb.store.time_order import TimeOrder

if TYPE_CHECKING:
    from aries_nb.store.corrections import LatestRow
    from aries_nb.store.rolling import PublishedRows

__all__ = ["CapturedFrame", "FrozenFrame"]

FIRST_BLOCK = 4_096  # rows that are searched for the newest one of each symbol; then twice as many each time


class CapturedFrame(NamedTuple):
    """What a rolling frame holds at one moment of its writer's thread; no rows are copied."""

    frame: RollingFrame
    published: PublishedRows
    latest: tuple[LatestRow | None, ...]
    buffer: RecordBuffer

    @classmethod
    def of(cls, frame: RollingFrame) -> CapturedFrame:
        """Return what `frame` holds now; its writer's thread only."""
        buffer = RecordBuffer()
        buffer.counted.update(frame.buffer.counted)
        return cls(frame, frame._published, tuple(frame.latest()), buffer)  # noqa: SLF001

    @property
    def held_from(self) -> int | None:
        """The time of receipt of the oldest row, in ns since the epoch; None without one."""
        slab, start, end, *_ = self.published
        return int(slab.received[start]) * 1_000 if start < end else None


class FrozenFrame(RollingFrame):
    """The rows that a rolling frame had at one moment, to be read as that frame is, by any thread.

    With `until` (ns since the epoch) it has those of them that were received until then, as they were: a print that was
    corrected or cancelled later counts. Rows that were in the window then and have left it since are missing. `behind`
    is how many rows it lacks that the other frame had.
    """

    def __init__(self, captured: CapturedFrame, until: int | None = None) -> None:
        frame, self._published, known, buffer = captured
        slab, start, end, _, void = self._published
        # What both have in common only grows, as their texts.
        vars(self).update({**vars(frame), **vars(self)})
        self.buffer, self._observers, self._sorted = buffer, Observers(), None
        is_newest = frame._published.slab is slab  # noqa: SLF001 - of the base class
        self._order = self._order.copy_of(slab, start, end) if is_newest else TimeOrder()
        self._until = None if until is None else until // 1_000
        self._known = known
        self._found: list[LatestRow | None] | None = list(known) if until is None else None
        self.behind = 0
        if self._until is not None:
            received = slab.received[start:end]
            if not self.receipts.is_ordered(slab, start, end):  # the market's clock was set back
                received = np.maximum.accumulate(received)
            cut = start + int(np.searchsorted(received, self._until, side="right"))
            self.behind = end - cut
            self._published = self._published._replace(end=cut, void=void.until(slab.base + cut))

    @property
    def published(self) -> PublishedRows:
        """The rows in their memory."""
        return self._published

    def latest(self) -> list[LatestRow | None]:
        """Return the newest row of each symbol, in the order of `symbols`; None where none was held.

        A trade is newest by its exchange time, a quote by its arrival; rows with a wrong time are left out.
        """
        if self._found is None:
            places = self._newest_places(range(len(self._known)))
            slab, until = self._published.slab, self._until
            self._found = []
            for code, old in enumerate(self._known):
                found = slab.row(places[code]) if code in places else None
                if old and until is not None and old[1] // 1_000 <= until:  # it may have left the window
                    found = self._newer(old, found)
                self._found.append(found)
        return list(self._found)

    def _newest_places(self, codes: Iterable[int]) -> dict[int, int]:
        """Return the place of the newest row of each symbol that has one in the window."""
        slab, start, end, _, void = self._published
        missing, found = set(codes), dict[int, int]()
        # Of equal times, a corrected print has the place of the first.
        is_by_arrival = not self._are_events or (
            not (void.pairs or void.placed) and self._order.is_ordered(slab, start, end)
        )
        block = FIRST_BLOCK if is_by_arrival else end - start
        while missing and start < end:
            first = max(start, end - block)
            rows = np.arange(first, end)
            rows = void.without(slab, rows[slab.ts[rows] <= slab.received[rows] + MOST_AHEAD_US])
            if not is_by_arrival:
                rows = void.in_order(slab, rows[np.argsort(slab.ts[rows], kind="stable")])
            some, last = np.unique(slab.codes[rows][::-1], return_index=True)
            newest = dict(zip(some.tolist(), rows[::-1][last].tolist(), strict=True))
            found |= {code: at for code, at in newest.items() if code in missing}
            missing -= found.keys()
            end, block = first, 2 * block
        return found
