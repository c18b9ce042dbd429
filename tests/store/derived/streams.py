"""Random streams of rows for derived frames: several symbols, late rows, equal times, missing values, corrections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from aries_nb.store import RollingFrame
from aries_nb.store.derived.computed import ComputedFrame
from aries_nb.store.derived.reader import RowReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aries_nb.model import Column
    from aries_nb.store.derived.rows import Machine

__all__ = ["MICROSECOND", "NOW", "Row", "add", "cuts", "derived", "rows_of", "streams"]

NOW = 1_795_994_502_000_000_000
MICROSECOND = 1_000
SECOND = 1_000_000_000
SYMBOLS = ("A", "B", "C")

# The symbol's code, exchange time in ns after NOW, price or None for missing, number of a print it replaces or 0.
Row = tuple[int, int, float | None]


@st.composite
def streams(draw: st.DrawFn, *, most: int = 60, most_late: int = 3) -> list[Row]:
    """Rows in the order of arrival: times grow by some milliseconds to some seconds, now and then one is late."""
    count = draw(st.integers(1, most))
    now, rows = 0, []
    for _ in range(count):
        now += draw(st.sampled_from([0, 1, 40, 700, 3_000, 11_000])) * 1_000_000
        late = draw(st.sampled_from([0] * 6 + [1, 500, 2_500][:most_late])) * 1_000_000
        price = draw(st.one_of(st.none(), st.integers(9_000, 11_000).map(lambda cents: cents / 100)))
        rows.append((draw(st.integers(0, 2)), max(now - late, 0), price))
    return rows


cuts = st.lists(st.integers(0, 60), max_size=12)


def rows_of(columns: Sequence[Column], **window: int) -> RollingFrame:
    return RollingFrame(columns, SYMBOLS, **(window or {"limit": 1_000}))  # type: ignore[arg-type]


def add(frame: RollingFrame, seq: int, code: int, ts: int, values: tuple[object, ...]) -> None:
    """Add a row that is received 50 ms after the newest one that could be, and do not publish it."""
    frame.buffer.number(seq)
    frame.buffer.add(code, NOW + ts, values)  # type: ignore[arg-type]
    frame.buffer.mark(NOW + seq * SECOND // 1_000 + 3_600 * SECOND)


class derived:  # noqa: N801 - reads as a function
    """A derived frame without threads: a machine between a source and a store."""

    def __init__(self, source: RollingFrame, machine: Machine, **window: int) -> None:
        self.store = ComputedFrame(machine.columns, machine.symbols, **(window or source.window))  # type: ignore[arg-type]
        self.reader = RowReader(source)
        self.machine = machine

    def advance(self) -> None:
        if self.reader.is_restarted:
            self.reader.restart()
            self.machine.restart()
            self.store.restart()
        new = self.reader.take()
        if new:
            rows = self.machine.advance([new])
            if rows is not None:
                self.store.append(rows)

    def frame(self) -> pd.DataFrame:
        return self.store.frame()

    def exact(self) -> list[tuple[object, ...]]:
        """All that is visible, with the arrival numbers, as values that compare exactly."""
        slab, start, end, _, void = self.store.published
        at = void.in_order(slab, start + np.argsort(slab.ts[start:end], kind="stable"))
        arrays = {"ts": slab.ts, "received": slab.received, "seq": slab.seq, "codes": slab.codes, **slab.arrays}
        texts = {column.name for column in slab.columns if column.type == "text"}
        columns = [
            [slab.texts_of(name)[code] for code in array[at]] if name in texts else array[at].tolist()
            for name, array in arrays.items()
        ]
        return [tuple("nan" if value != value else value for value in row) for row in zip(*columns, strict=True)]
