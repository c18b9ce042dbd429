"""Cost of a derived row at windows of 1,000 and 1,000,000 rows, and the drift of sums over 100,000,000 rows.

Rows come in batches of 250, as at 5,000 rows/s and twenty passes a second; both windows get the same, in turns. Time
is CPU time of this thread.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator
from itertools import islice
from statistics import median

import numpy as np

from aries_nb.model import Column
from aries_nb.store.derived.aggregates import SIMPLE, Aggregate
from aries_nb.store.derived.rows import NewRows
from aries_nb.store.derived.windows import Windows
from aries_nb.store.slab import Slab
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["drift", "measure"]

LONG, SHORT = 1_000_000, 1_000
STEP_US = 1_000
START_US = 1_772_463_845_000_000
BATCH, BLOCK = 250, 100_000
MOST_RATIO, MOST_DRIFT = 1.2, 1e-9


def measure(effort: Effort) -> Outcome:
    """The budgets of a derived row at two windows, and of the drift."""
    aggregates = ("mean", "std", "max")
    found = {name: _compared(name, effort) for name in aggregates}
    budgets = [
        Budget(
            f"a row's {name} over {effort.choose(LONG, LONG, 20_000):,} rows to {SHORT:,}",
            f"{ratio:.2f} × ({cost * 1e6:.2f} µs)",
            f"≤ {MOST_RATIO} ×",
            ratio <= MOST_RATIO,
            {"ratio": ratio, "us": cost * 1e6},
        )
        for name, (ratio, cost) in found.items()
    ]
    rows = effort.choose(100_000_000, 5_000_000, 200_000)
    errors = drift(rows)
    worst = max(errors.values())
    measured = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    budgets.append(
        Budget(
            f"drift of sums over {rows:,} rows", measured, f"≤ {MOST_DRIFT:g}", worst <= MOST_DRIFT, {"drift": worst}
        )
    )
    return Outcome(budgets)


def drift(rows: int, window: int = SHORT) -> dict[str, float]:
    """The greatest relative error of mean and standard deviation of windows after so many rows, to exact sums."""
    machine = _machine({"mean": SIMPLE["mean"]("x"), "std": SIMPLE["std"]("x")}, window)
    errors = {"mean": 0.0, "std": 0.0}
    for piece, values in islice(_pieces(BLOCK), math.ceil(rows / BLOCK)):
        found = machine.advance([[piece]])
        assert found is not None
        newest = values[-window:]
        mean = math.fsum(newest) / window
        std = math.sqrt(math.fsum((newest - mean) ** 2) / (window - 1))
        for place, (name, exact) in enumerate((("mean", mean), ("std", std))):
            errors[name] = max(errors[name], abs(float(found.columns[place][-1]) / exact - 1))
    return errors


def _compared(name: str, effort: Effort) -> tuple[float, float]:
    long = effort.choose(LONG, LONG, 20_000)
    machines = {window: _machine({"x": SIMPLE[name]("x")}, window) for window in (long, SHORT)}
    pieces = _pieces(BLOCK)
    for piece, _ in islice(pieces, math.ceil(long / BLOCK) + 1):
        for machine in machines.values():
            machine.advance([[piece]])
    costs: dict[int, list[float]] = {window: [] for window in machines}
    gc.collect()
    for piece, _ in islice(pieces, effort.choose(20, 6, 1)):
        for start in range(piece.start, piece.end, BATCH):
            part = NewRows(piece.slab, start, start + BATCH)
            for window, machine in machines.items():
                begun = time.thread_time()
                machine.advance([[part]])
                costs[window].append(time.thread_time() - begun)
    size = 40
    middle = {
        window: [median(each[at : at + size]) for at in range(0, len(each), size)] for window, each in costs.items()
    }
    ratio = median(a / b for a, b in zip(middle[long], middle[SHORT], strict=True))
    return ratio, median(costs[long]) / BATCH


def _machine(aggregates: dict[str, Aggregate], window: int) -> Windows:
    return Windows(("A",), aggregates, window * STEP_US)


def _pieces(size: int) -> Iterator[tuple[NewRows, np.ndarray]]:
    """Rows a millisecond apart, of a price that walks about 250, and their prices."""
    source, price, number = np.random.default_rng(7), 250.0, 0
    while True:
        slab = Slab([Column("x")], ("A",), capacity=size, base=number, texts={})
        steps = source.normal(0, 0.01, size)
        values = 250 + (price - 250) * 0.5 + np.cumsum(steps)
        slab.ts[:] = START_US + (number + np.arange(size)) * STEP_US
        slab.received[:] = slab.ts
        slab.arrays["x"][:] = values
        price, number = float(values[-1]), number + size
        yield NewRows(slab, 0, size), values
