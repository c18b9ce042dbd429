"""Cost of `.df` of a full frame of 1,000,000 rows, compared with one of 10,000, with new rows before every look.

Then that of the same rows as an Arrow table, as pyarrow, polars and duckdb ask for it.
"""

from __future__ import annotations

import time
from itertools import islice
from statistics import median

import pyarrow as pa

from aries_nb.live import Feed
from tests.bench.filled import FilledFrame, silent_feed
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["measure"]

LARGE, SMALL = 1_000_000, 10_000
SMOKE_LARGE = 20_000


def measure(effort: Effort) -> Outcome:
    """Budgets of `.df`, microseconds at the large window and its ratio to the small one, and of the export."""
    with silent_feed() as feed:
        return _compared(feed, effort)


def _compared(feed: Feed, effort: Effort) -> Outcome:
    size = effort.choose(LARGE, LARGE, SMOKE_LARGE)
    frames = {rows: FilledFrame.of(feed, rows) for rows in (size, SMALL)}
    rounds, looks = effort.choose((60, 100), (15, 50), (1, 5))
    costs: dict[int, list[float]] = {size: [], SMALL: []}
    for _ in range(rounds):
        for rows, filled in frames.items():
            costs[rows].append(median(islice(_looks(filled), looks)))
    large = median(costs[size])
    times = median(a / b for a, b in zip(costs[size], costs[SMALL], strict=True))
    measured = f"{large * 1e6:.1f} µs, {times:.2f} × (10,000 rows: {median(costs[SMALL]) * 1e6:.1f} µs)"
    is_met = large <= 100e-6 and times <= 2
    look = Budget(f".df at {size:,} rows", measured, "≤ 100 µs, ≤ 2 ×", is_met, {"us": large * 1e6, "ratio": times})
    return Outcome([look, _export(frames[size], rounds)])


def _export(filled: FilledFrame, rounds: int) -> Budget:
    costs = []
    for _ in range(rounds):
        filled.grow(3)
        start = time.perf_counter()
        table = pa.table(filled.live)
        costs.append(time.perf_counter() - start)
    ms = median(costs) * 1e3
    what = f"export of {table.num_rows:,} × {table.num_columns} to Arrow"
    return Budget(what, f"{ms:.2f} ms", "≤ 2 ms", ms <= 2, {"ms": ms})


def _looks(filled: FilledFrame):
    while True:
        filled.grow(3)
        start = time.perf_counter()
        frame = filled.live.df
        elapsed = time.perf_counter() - start
        assert len(frame) == len(filled.live)
        yield elapsed
