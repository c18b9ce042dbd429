"""`ComputedFrame`: a rolling frame whose rows are computed from those of others, and written by columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aries_nb.model.clock import MOST_AHEAD_US
from aries_nb.store.corrections import Corrections, LatestRow
from aries_nb.store.derived.rows import CodedColumn, DerivedRows
from aries_nb.store.rolling import PublishedRows, RollingFrame

if TYPE_CHECKING:
    from aries_nb.model import Column
    from aries_nb.store.slab import AnyArray, Slab

__all__ = ["ComputedFrame"]

_NO_CODES = np.empty(0, "int32")


class ComputedFrame(RollingFrame):
    """A rolling frame whose rows are computed from those of other frames.

    `is_by_time`: the newest row of a symbol is that with the latest exchange time; None as of any rolling frame, whose
    other arguments are taken as well. One thread at a time writes, by `append`, and has rows made anew by `restart`;
    nothing is written by `buffer`. Any thread reads.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        symbols: Sequence[str],
        *,
        is_by_time: bool | None = None,
        **more: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(columns, symbols, **more)
        if is_by_time is not None:
            self._are_events = is_by_time

    def _clear(self) -> None:
        super()._clear()
        self._translated: dict[str, tuple[Sequence[str], AnyArray]] = {}  # own codes of other frames' texts, by column

    def append(self, rows: DerivedRows) -> None:
        """Write rows, and make them visible. Call `notify` afterwards, when no lock is held."""
        self.buffer.counted["filled"] += rows.filled
        corrected = None
        if rows.pairs or rows.void:
            by = self.origin
            pairs = [(old + by, new + by) for old, new in rows.pairs]
            replaced = {old for old, _ in rows.pairs}
            corrected = Corrections(pairs, [number + by for number in rows.void if number not in replaced])
        before = self._uncorrected(corrected)
        if len(rows):
            self._append_columns(rows, corrected)
            self.lags.computed(int(rows.ts[-1]) * 1_000, int(rows.received[0]) * 1_000, int(rows.received[-1]) * 1_000)
        elif corrected is not None:
            slab, start, end, filled, void = self._published
            self._published = PublishedRows(slab, start, end, filled, void.after(corrected, slab.base + start))
        self._find_latest(before)
        self._take_latest(rows)

    def notify(self) -> None:
        """Call the observers, after `append` or `restart`."""
        self._observers.notify()

    def _append_columns(self, rows: DerivedRows, corrected: Corrections | None) -> None:
        done, count = 0, len(rows)
        while done < count:
            slab, start, end, filled, void = self._published
            if end == slab.capacity:
                slab, start, end = self._next_slab(slab, start, end)
            step = min(count - done, slab.capacity - end)
            self._fill(slab, end, rows.some(done, done + step))
            done += step
            start = self._first(slab, start, end + step, end)
            if done == count:
                filled = self.buffer.counted["filled"]
                if corrected or void.reaches_before(slab.base + start):
                    void = void.after(corrected or Corrections([], []), slab.base + start)
            self._published = PublishedRows(slab, start, end + step, filled, void)

    def _fill(self, slab: Slab, at: int, rows: DerivedRows) -> None:
        where = slice(at, at + len(rows))
        slab.ts[where], slab.received[where], slab.seq[where] = rows.ts, rows.received, rows.seq
        slab.codes[where] = rows.codes
        for column, values in zip(self.columns, rows.columns, strict=True):
            own = self._own(slab, at, column, values) if column.type == "text" else values
            slab.arrays[column.name][where] = own

    def _own(self, slab: Slab, filled: int, column: Column, values: Any) -> AnyArray:  # noqa: ANN401
        """Return a column of texts with the codes that they have here, and make room for these."""
        name = column.name
        if isinstance(values, CodedColumn):
            known, own = self._translated.get(name, (None, _NO_CODES))
            own = own if known is values.texts else _NO_CODES
            if len(own) < len(values.texts):
                own = np.concatenate([own, self._codes_here(name, values.texts[len(own) :])])
                self._translated[name] = values.texts, own
            codes = own[values.codes]
        else:
            places, texts = pd.factorize(np.asarray(values, "object"), use_na_sentinel=False)
            codes = self._codes_here(name, ["" if pd.isna(text) else str(text) for text in texts])[places]
        slab.widen(name, filled)
        return codes

    def _codes_here(self, name: str, texts: Iterable[str]) -> AnyArray:
        return np.array([self._code(name, text) for text in texts], "int32")

    def _uncorrected(self, corrected: Corrections | None) -> dict[int, LatestRow | None]:
        """Return the newest row of each symbol of which rows of before are corrected; None where it is one of them."""
        slab, start, end, *_ = self._published
        found: dict[int, LatestRow | None] = {}
        numbers = [] if corrected is None else [*corrected.cancelling, *(old for old, _ in corrected.pairs)]
        for at in (each - slab.base for each in numbers):
            if start <= at < end:
                code = int(slab.codes[at])
                newest = found.get(code, self._latest[code])
                is_it = newest is not None and newest[:2] == slab.row(at)[:2]
                found[code] = None if is_it else newest
        return found

    def _take_latest(self, rows: DerivedRows) -> None:
        slab, start, end, _, void = self._published
        place = end - len(rows) + np.flatnonzero(rows.ts <= rows.received + MOST_AHEAD_US)
        place = void.without(slab, place[place >= start])
        if self._are_events:
            place = place[np.argsort(slab.ts[place], kind="stable")]
        for code, at in dict(zip(slab.codes[place].tolist(), place.tolist(), strict=True)).items():
            known = self._latest[code]
            if known is None or not self._are_events or known[0] <= int(slab.ts[at]) * 1_000:
                self._latest[code] = slab.row(at)
