"""A rolling tape: rows of a stream in columns, the newest so many or those of the newest so many seconds.

One thread writes (`add`, `publish`); any thread reads, without a lock: a reader takes the published view, a tuple that
is replaced whole, and whatever it points at is never written again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd

from aries_nb.model import BoardData, Column, Row, Rows
from aries_nb.store.slab import Slab

__all__ = ["Tape"]

MAX_ROWS = 5_000_000  # a window of time holds no more than this, whatever the rate
MAX_TEXTS = 30_000  # distinct texts of one column; a server cannot grow it without bound
FIRST_CAPACITY = 4_096
_BEYOND = "…"
_AHEAD_NS = 3_600_000_000_000  # a time of the exchange more than an hour ahead of ours does not move the window


class View(NamedTuple):
    """What is published: rows `start` to `end` of the slab (positions)."""

    slab: Slab
    start: int
    end: int


class Tape:
    """Rows of the symbols given, in the order of arrival.

    `limit` keeps the newest so many rows; `window_ns` those whose `ts` is at most so much older than the newest.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        symbols: Sequence[str],
        *,
        limit: int | None = None,
        window_ns: int | None = None,
    ) -> None:
        self.columns = tuple(columns)
        self.symbols = tuple(symbols)
        self._limit = limit or MAX_ROWS
        self._window_ns = window_ns
        self._newest = 0
        self._plain = all(column.type == "number" for column in self.columns)
        self._texts: dict[str, dict[str, int]] = {name: {} for name, kind in self.columns if kind == "text"}
        self._pending: list[Row] = []
        self.add: Callable[[Row], None] = self._pending.append
        self._latest: dict[int, Row | None] = dict.fromkeys(range(len(self.symbols)))
        self._bells: tuple[Callable[[], None], ...] = ()
        capacity = 2 * limit if limit is not None else FIRST_CAPACITY
        self._view = View(self._new_slab(capacity, 0), 0, 0)

    # Writing: the network's thread.

    def publish(self) -> None:
        """Write what was added and make it visible."""
        if not self._pending:
            return
        batch = self._pending[:]
        self._pending.clear()
        self._latest.update((row[0], row) for row in batch)
        done = 0
        while done < len(batch):
            slab, start, end = self._view
            if end == slab.capacity:
                slab, start, end = self._turn_over(slab, start, end)
            part = batch[done : done + slab.capacity - end]
            slab = self._write(slab, end, part)
            end += len(part)
            done += len(part)
            self._view = View(slab, self._first(slab, start, end), end)
        for ring in self._bells:
            ring()

    def interrupted(self) -> None:
        """Rows stay what they were; that the stream broke is told by its state and the gap ledger."""

    # Reading: any thread.

    @property
    def version(self) -> int:
        """How many rows have been written since the beginning."""
        slab, _, end = self._view
        return slab.base + end

    @property
    def evicted(self) -> int:
        """How many rows have left the window since the beginning."""
        slab, start, _ = self._view
        return slab.base + start

    def __len__(self) -> int:
        _, start, end = self._view
        return end - start

    def frame(self) -> pd.DataFrame:
        """The rows in the window: index `ts`, columns `received`, `symbol` and the fields; no copy is made.

        The memory is shared with the tape until the caller writes to it (copy-on-write).
        """
        slab, start, end = self._view
        return slab.frame.iloc[start:end]

    def frame_since(self, first: int) -> tuple[pd.DataFrame, int]:
        """Rows from absolute number `first` on as far as they are still there, and the number after the newest."""
        slab, start, end = self._view
        return slab.frame.iloc[max(first - slab.base, start) : end], slab.base + end

    def rows(self, first: int) -> Rows:
        """The same as arrays, for a view that draws."""
        slab, start, end = self._view
        begin = min(max(first - slab.base, start), end)
        return Rows(
            first=slab.base + begin,
            end=slab.base + end,
            window_start=slab.base + start,
            symbols=self.symbols,
            ts=slab.ts[begin:end],
            codes=slab.codes[begin:end],
            numbers={name: slab.arrays[name][begin:end] for name, kind in self.columns if kind == "number"},
        )

    def latest(self) -> list[Row | None]:
        """The newest row of each symbol, in the order of `symbols`; None where nothing came yet."""
        return list(self._latest.values())

    def board(self, *, is_stale: bool, rejected: tuple[str, ...] = ()) -> BoardData:
        """The newest numbers of each symbol, for a quote board."""
        places = [place for place, column in enumerate(self.columns) if column.type == "number"]
        numbers = np.full((len(self.symbols), len(places)), np.nan)
        received = np.zeros(len(self.symbols), "int64")
        for code, row in enumerate(self.latest()):
            if row is not None:
                numbers[code] = [row[3][place] for place in places]
                received[code] = row[2]
        names = tuple(self.columns[place].name for place in places)
        return BoardData(self.symbols, names, numbers, received, is_stale, rejected)

    def watch(self, ring: Callable[[], None]) -> Callable[[], None]:
        """Have `ring` called after each publish, on the writer's thread; it must return at once. Returns the undo."""
        self._bells = (*self._bells, ring)

        def undo() -> None:
            self._bells = tuple(bell for bell in self._bells if bell is not ring)

        return undo

    # Inside.

    def _new_slab(self, capacity: int, base: int) -> Slab:
        wide = frozenset(name for name, texts in self._texts.items() if len(texts) > 127)
        slab = Slab(self.columns, self.symbols, capacity=capacity, base=base, wide=wide)
        slab.build_frame({name: list(texts) for name, texts in self._texts.items()})
        return slab

    def _turn_over(self, slab: Slab, start: int, end: int) -> View:
        kept = min(end - start, self._limit)
        capacity = slab.capacity if self._window_ns is None else min(max(2 * kept, FIRST_CAPACITY), 2 * MAX_ROWS)
        new = self._new_slab(capacity, slab.base + end - kept)
        new.copy_from(slab, end - kept, end)
        return View(new, 0, kept)

    def _write(self, slab: Slab, at: int, rows: Sequence[Row]) -> Slab:
        codes, ts, received, values = zip(*rows, strict=True)
        stop = at + len(rows)
        if self._plain:
            flat = np.fromiter(chain.from_iterable(values), "float64", len(rows) * len(self.columns))
            slab.numbers[:, at:stop] = flat.reshape(len(rows), len(self.columns)).T
        else:
            slab = self._write_mixed(slab, at, values)
        slab.codes[at:stop] = codes
        slab.ts[at:stop] = ts
        slab.received[at:stop] = received
        return slab

    def _write_mixed(self, slab: Slab, at: int, values: Sequence[tuple[float | int | str, ...]]) -> Slab:
        encoded: dict[str, list[int]] = {}
        columns = list(zip(*values, strict=True))
        before = sum(map(len, self._texts.values()))
        for (name, kind), column in zip(self.columns, columns, strict=True):
            if kind == "text":
                encoded[name] = [self._code(name, str(text)) for text in column]
        if any(slab.arrays[name].dtype == "int8" and len(self._texts[name]) > 127 for name in encoded):
            wider = self._new_slab(slab.capacity, slab.base)
            wider.copy_from(slab, 0, at)
            slab = wider
        elif sum(map(len, self._texts.values())) > before:
            slab.build_frame({name: list(texts) for name, texts in self._texts.items()})
        stop = at + len(values)
        for (name, _), column in zip(self.columns, columns, strict=True):
            slab.arrays[name][at:stop] = encoded.get(name, column)
        return slab

    def _code(self, name: str, text: str) -> int:
        texts = self._texts[name]
        code = texts.get(text)
        if code is None:
            text = text if len(texts) < MAX_TEXTS else _BEYOND
            code = texts.setdefault(text, len(texts))
        return code

    def _first(self, slab: Slab, start: int, end: int) -> int:
        start = max(start, end - self._limit)
        if self._window_ns is None:
            return start
        believable = slab.ts[max(end - 4096, start) : end]
        believable = believable[believable <= slab.received[end - 1] + _AHEAD_NS]
        self._newest = max(self._newest, int(believable.max(initial=0)))
        oldest = self._newest - self._window_ns
        while start < end and slab.ts[start] < oldest:
            inside = slab.ts[start : start + 4096] >= oldest
            inside = inside[: end - start]
            step = int(inside.argmax())
            start += step if inside[step] else len(inside)
        return start
