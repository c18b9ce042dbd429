"""Cost of `.df` once it has to be sorted, to `sort_index` of the same rows; and of an as-of join, to plain frames.

The least CPU time of this thread, in turns, so that other work on the machine does not count: what it evicts from the
caches doubles the median. Each look comes after a new row. On the rough market of each broker: how many versions of a
frame have to be sorted.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

import aries_nb as anb
from aries_nb.live.market.frame import LiveFrame
from aries_nb.model import QUOTE_COLUMNS, TRADE_COLUMNS, Column
from aries_nb.store import RollingFrame
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["measure"]

LARGE, SMALL = 1_000_000, 20_000
START = 1_772_463_845_000_000_000
STEP = 20_000  # ns between two rows
BEHIND = 3_000_000  # ns by which the stamps of one of two symbols are older
BATCH = 50_000
VALUES = {"number": 100.25, "text": "buy", "integer": 0, "time": START}
ROUGH = {"sim": ("AAPL", "NVDA", "AMZN"), "sim-alor": ("SBER", "GAZP", "LKOH")}


def measure(effort: Effort) -> Outcome:
    """The budgets of a late print, of two symbols whose stamps interleave, and of `pd.merge_asof`."""
    size, rounds = effort.choose((LARGE, 9), (LARGE, 5), (SMALL, 1))
    times = START + np.arange(size) * STEP
    late = times.copy()
    late[size // 2] -= 1_000_000_000
    interleaved = times - BEHIND * (np.arange(size) % 2)
    budgets = [
        _sorted(what, stamps, rounds) for what, stamps in (("with a late print", late), ("interleaved", interleaved))
    ]
    notes = [_shares(broker, effort.choose(25.0, 10.0, 0.5)) for broker in ROUGH]
    return Outcome([*budgets, _joined(times, rounds)], notes=notes)


def _sorted(what: str, times: np.ndarray, rounds: int) -> Budget:
    rolling = _filled(QUOTE_COLUMNS, times)

    def look() -> float:
        rolling.buffer.add(0, int(times[-1]) + 10 * BEHIND, _row(QUOTE_COLUMNS))
        rolling.buffer.mark(int(times[-1]) + 10 * BEHIND)
        rolling.publish()
        return _seconds(rolling.frame)

    ours, theirs = _in_turns(
        (look, lambda: _seconds(lambda: rolling.frame_since(0)[0].sort_index(kind="stable"))), rounds
    )
    ratio = min(ours) / min(theirs)
    measured = f"{ratio:.2f} × ({min(ours) * 1e3:.0f} ms)"
    return Budget(
        f".df at {len(times):,} rows, {what}, to sort_index", measured, "≤ 1.0 ×", ratio <= 1, {"ratio": ratio}
    )


def _joined(times: np.ndarray, rounds: int) -> Budget:
    trades, quotes = _filled(TRADE_COLUMNS, times), _filled(QUOTE_COLUMNS, times)
    plain = [_plain(rolling.frame()) for rolling in (trades, quotes)]

    def join(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
        return pd.merge_asof(left, right, left_index=True, right_index=True, by="symbol")

    work = (lambda: _seconds(lambda: join(trades.frame(), quotes.frame())), lambda: _seconds(lambda: join(*plain)))
    ours, theirs = _in_turns(work, rounds)
    ratio = min(ours) / min(theirs)
    what = f"merge_asof of trades and quotes over {len(times):,} rows, to plain frames"
    return Budget(what, f"{ratio:.2f} ×", "≤ 1.3 ×", ratio <= 1.3, {"ratio": ratio})


def _filled(columns: Sequence[Column], times: np.ndarray) -> RollingFrame:
    rolling, row = RollingFrame(columns, ("A", "B"), limit=5_000_000), _row(columns)
    for first in range(0, len(times), BATCH):
        batch = times[first : first + BATCH].tolist()
        for place, ts in enumerate(batch, first):
            rolling.buffer.add(place % 2, ts, row)
        rolling.buffer.mark(max(batch))
        rolling.publish()
    return rolling


def _row(columns: Sequence[Column]) -> tuple[float | str, ...]:
    return tuple(VALUES[column.type] for column in columns)  # type: ignore[misc]


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows in arrays that pandas has made itself."""
    columns = {
        name: pd.array(frame[name].tolist(), dtype="str") if frame[name].dtype == "str" else frame[name].array.copy()
        for name in frame.columns
    }
    return pd.DataFrame(columns, index=pd.DatetimeIndex(frame.index.array.copy(), name="ts"))


def _in_turns(work: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    for each in work:
        each()
    found = [[each() for each in work] for _ in range(rounds)]
    return [list(times) for times in zip(*found, strict=True)]


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def _shares(broker: str, seconds: float) -> str:
    """Return a line that says which share of the versions of quotes and trades had to be sorted."""
    counts: list[str] = []
    with anb.connect(broker, rough=True, seed=5) as feed:
        frames = [
            (kind, symbols, getattr(feed, kind)(*symbols, rows=LARGE))
            for kind in ("quotes", "trades")
            for symbols in (ROUGH[broker][:1], ROUGH[broker])
        ]
        looks = [_Looks(frame) for _, _, frame in frames]
        time.sleep(seconds)
        for (kind, symbols, _), each in zip(frames, looks, strict=True):
            counts.append(f"{kind} of {len(symbols)} {each.sorted / max(each.all, 1):.0%}")
    return f"versions of .df that have to be sorted, {broker} with rough=True: {', '.join(counts)}"


class _Looks:
    """Counts the versions of a frame, and those that a reader has to sort."""

    def __init__(self, frame: LiveFrame) -> None:
        self.all = self.sorted = 0
        self._tape = frame._tape
        self._tape.watch(self._look)

    def _look(self) -> None:
        slab, start, end, _, void = self._tape._published
        self.all += 1
        self.sorted += bool(len(void.numbers)) or not self._tape._order.is_ordered(slab, start, end)
