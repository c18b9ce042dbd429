"""What a look costs: `.df` of a full frame of 1,000,000 rows beside one of 10,000, with new rows before every look."""

from __future__ import annotations

import time
from itertools import islice
from statistics import median

from tests.bench.filled import FilledFrame
from tests.bench.results import Budget, Outcome

__all__ = ["measure"]

LARGE, SMALL = 1_000_000, 10_000


def measure(*, is_quick: bool) -> Outcome:
    """The budget of `.df`: microseconds at the large window, and its ratio to the small one."""
    frames = {rows: FilledFrame.of(rows) for rows in (LARGE, SMALL)}
    rounds, looks = (15, 50) if is_quick else (60, 100)
    costs: dict[int, list[float]] = {LARGE: [], SMALL: []}
    for _ in range(rounds):
        for rows, filled in frames.items():
            costs[rows].append(median(islice(_looks(filled), looks)))
    large = median(costs[LARGE])
    times = median(a / b for a, b in zip(costs[LARGE], costs[SMALL], strict=True))
    measured = f"{large * 1e6:.1f} µs, {times:.2f} × (10,000 rows: {median(costs[SMALL]) * 1e6:.1f} µs)"
    is_met = large <= 100e-6 and times <= 2
    return Outcome(
        [Budget(".df at 1,000,000 rows", measured, "≤ 100 µs, ≤ 2 ×", is_met, {"us": large * 1e6, "ratio": times})]
    )


def _looks(filled: FilledFrame):
    while True:
        filled.grow(3)
        start = time.perf_counter()
        frame = filled.live.df
        elapsed = time.perf_counter() - start
        assert len(frame) == len(filled.live)
        yield elapsed
