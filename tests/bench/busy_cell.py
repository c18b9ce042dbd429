"""The time of a pure-Python cell under a stream of 20,000 messages a second, and of the same cell alone, in turns.

The server is a process of its own and sends to the second; the stream is ended and begun again between the turns.
Time is wall clock, for waiting for the interpreter's lock is what is measured; but not the time that the cell's thread
waits for a processor, which other processes take.
"""

from __future__ import annotations

import time
from statistics import median

from aries_nb.live import Feed
from tests.bench.blast import blasting
from tests.bench.frames import SYMBOLS
from tests.bench.pace import busy_loop, queued_seconds
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["RATE", "cell_under_load", "measure"]

RATE = 20_000
CELL_SECONDS, SMOKE_SECONDS = 0.7, 0.1


def measure(effort: Effort) -> Outcome:
    """The budget of the busy cell."""
    import aries_nb as anb

    with blasting(RATE) as url, anb.connect("aries", url=url, token="any") as feed:
        return cell_under_load(feed, effort)


def cell_under_load(feed: Feed, effort: Effort, *, name: str = "") -> Outcome:
    """Compare a cell while the feed receives quotes with the same cell alone; `name` is put before the row's text."""
    start = time.perf_counter()
    busy_loop(1_000_000)
    seconds = effort.choose(CELL_SECONDS, CELL_SECONDS, SMOKE_SECONDS)
    loops = int(1_000_000 * seconds / (time.perf_counter() - start))
    alone: list[float] = []
    busy: list[float] = []
    rates: list[float] = []
    shares: list[float] = []
    for _ in range(effort.choose(12, 3, 1)):
        alone.append(_seconds(loops))
        with feed.quotes(*SYMBOLS, window="1min") as frame:
            frame.wait(rows=RATE // 5)
            begun, start, ours = frame.received, time.perf_counter(), _other_threads()
            busy.append(_seconds(loops))
            elapsed = time.perf_counter() - start
            rates.append((frame.received - begun) / elapsed)
            shares.append((_other_threads() - ours) / elapsed)
    times = median(b / a for a, b in zip(alone, busy, strict=True))
    measured = f"{times:.2f} × (at {median(rates):,.0f} messages/s)"
    what = f"{name}a pure-Python cell under 20,000 messages/s"
    figures = {"ratio": times, "rate": median(rates), "network_share": median(shares)}
    share = f"{median(shares):.0%} of a processor for its {RATE:,} messages/s"
    note = f"{name}during the cell, the network's thread took {share}"
    return Outcome([Budget(what, measured, "≤ 1.05 × alone", times <= 1.05, figures)], notes=[note])


def _other_threads() -> float:
    """CPU seconds of every thread of this process but the one that computes."""
    return time.process_time() - time.thread_time()


def _seconds(loops: int) -> float:
    start = time.perf_counter() - queued_seconds()
    busy_loop(loops)
    return time.perf_counter() - queued_seconds() - start
