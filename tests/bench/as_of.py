"""Cost of an as-of join of a million trades with a million quotes, to numpy's searchsorted on the same arrays.

Ours is a join machine that has the quotes and gets the trades. The plain way has the quotes by symbol, seeks the place
of each trade among those of its symbol, and takes their columns. By exchange time a later quote may belong to any of
the trades: these are sorted when the first such quote comes, which is not in it. CPU time of this thread, in turns.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import numpy as np

from aries_nb.model import QUOTE_COLUMNS, Column
from aries_nb.store.derived.as_of import AsOfJoin, JoinedColumn
from aries_nb.store.derived.rows import NewRows
from aries_nb.store.slab import Slab
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["measure"]

LARGE, SMALL = 1_000_000, 10_000
START_US = 1_772_463_845_000_000
SYMBOLS = ("A", "B", "C", "D")
PRICE = (Column("price"),)
RIGHT = tuple(JoinedColumn(column, column.name) for column in QUOTE_COLUMNS if column.type == "number")
MOST = 1.2


def measure(effort: Effort) -> Outcome:
    """The budget of a join by arrival and of one by exchange time."""
    size, rounds = effort.choose((LARGE, 7), (LARGE, 3), (SMALL, 1))
    return Outcome([_budget(by, size, rounds) for by in ("seq", "ts")])


def _budget(by: str, size: int, rounds: int) -> Budget:
    source = np.random.default_rng(1)
    sides = np.sort(source.permutation(2 * size)[:size]), np.arange(size)
    trades = _rows(PRICE, np.sort(source.permutation(2 * size)[:size]) * 2, source)
    quotes = _rows(QUOTE_COLUMNS, sides[0] * 2 + 1, source)

    def ours() -> float:
        machine = AsOfJoin(PRICE, SYMBOLS, RIGHT, range(len(SYMBOLS)), by=by, most=size)  # type: ignore[arg-type]
        machine.advance([[], [quotes]])
        return _seconds(lambda: machine.advance([[trades], []]))

    keys = getattr(trades, by), getattr(quotes, by)
    columns = [quotes.ts, quotes.received, *(quotes.values(column.name) for column, _ in RIGHT)]
    places = [np.flatnonzero(quotes.codes == code) for code in range(len(SYMBOLS))]
    parts = [(keys[1][at], [column[at] for column in columns]) for at in places]

    def join() -> object:
        found = [np.empty(len(trades), column.dtype) for column in columns]
        for code, (right, values) in enumerate(parts):
            left = np.flatnonzero(trades.codes == code)
            at = np.searchsorted(right, keys[0][left], side="right") - 1
            for own, column in zip(found, values, strict=True):
                own[left] = column[at]
        return found

    def plain() -> float:
        return _seconds(join)

    times = _in_turns((ours, plain), rounds)
    ratio = min(times[0]) / min(times[1])
    what = f"as-of join of {size:,} trades and quotes by {by}, to numpy's searchsorted"
    measured = f"{ratio:.2f} × ({min(times[0]) * 1e3:.0f} ms)"
    return Budget(what, measured, f"≤ {MOST} ×", ratio <= MOST, {"ratio": ratio})


def _rows(columns: tuple[Column, ...], seq: np.ndarray, source: np.random.Generator) -> NewRows:
    """Rows of all symbols with these arrival numbers, and exchange times in their order."""
    texts: dict[str, list[str]] = {column.name: [""] for column in columns if column.type == "text"}
    slab = Slab(columns, SYMBOLS, capacity=len(seq), base=0, texts=texts)
    slab.seq[:], slab.ts[:] = seq, START_US + seq
    slab.received[:] = slab.ts + 100
    slab.codes[:] = source.integers(0, len(SYMBOLS), len(seq))
    for name, kind in columns:
        if kind == "number":
            slab.arrays[name][:] = source.uniform(90, 110, len(seq))
    return NewRows(slab, 0, len(seq))


def _in_turns(work: tuple[Callable[[], float], ...], rounds: int) -> list[list[float]]:
    for each in work:
        each()
    found = [[each() for each in work] for _ in range(rounds)]
    return [list(times) for times in zip(*found, strict=True)]


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    begun = time.thread_time()
    work()
    return time.thread_time() - begun
