"""The time of a pure-Python cell under a stream of 20,000 messages a second, and of the same cell alone, in turns.

The server is a process of its own and sends to the second; the stream is ended and begun again between the turns.
Time is wall clock, for waiting for the interpreter's lock is what is measured; but not the time that the cell's thread
waits for a processor, which other processes take. A part of a turn does not count where our other threads waited for a
processor: one of them may have had the lock then, and the cell would wait for what other processes do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from aries_nb.live import Feed
from tests.bench.blast import blasting
from tests.bench.frames import SYMBOLS
from tests.bench.pace import busy_loop, queued_seconds
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["RATE", "cell_under_load", "measure"]

RATE = 20_000
PART_SECONDS, SMOKE_SECONDS = 0.1, 0.02
PARTS = 7  # of a turn
MOST_WAITING = 0.04  # of the time of a part, for a processor, by our other threads
LEAST_PARTS = 5


def measure(effort: Effort) -> Outcome:
    """The budget of the busy cell."""
    import aries_nb as anb

    with blasting(RATE) as url, anb.connect("aries", url=url, token="any") as feed:
        return cell_under_load(feed, effort)


class Part(NamedTuple):
    """A part of a turn: its time in s, the rows of it, and CPU and queueing time of our other threads in s."""

    seconds: float
    rows: int
    cpu: float
    queued: float

    @property
    def is_quiet(self) -> bool:
        return self.queued <= MOST_WAITING * self.seconds


def cell_under_load(feed: Feed, effort: Effort, *, name: str = "") -> Outcome:
    """Compare a cell while the feed receives quotes with the same cell alone; `name` is put before the row's text."""
    start = time.thread_time()
    busy_loop(1_000_000)
    loops = int(1_000_000 * effort.choose(PART_SECONDS, PART_SECONDS, SMOKE_SECONDS) / (time.thread_time() - start))
    alone: list[Part] = []
    busy: list[Part] = []
    for _ in range(effort.choose(12, 4, 1)):
        alone += [_part(loops, lambda: 0) for _ in range(PARTS)]
        with feed.quotes(*SYMBOLS, window="1min") as frame:
            frame.wait(rows=RATE // 5)
            busy += [_part(loops, lambda: frame.received) for _ in range(PARTS)]
    quiet = busy if effort is Effort.SMOKE else [part for part in busy if part.is_quiet]
    what = f"{name}a pure-Python cell under 20,000 messages/s"
    if len(quiet) < min(LEAST_PARTS, len(busy)):
        return Outcome(
            [Budget(what, f"no processor was free in {len(busy) - len(quiet)} of {len(busy)} parts", "", None)]
        )
    times = median(part.seconds for part in quiet) / median(part.seconds for part in alone)
    rate = median(part.rows / part.seconds for part in quiet)
    share = median(part.cpu / part.seconds for part in quiet)
    measured = f"{times:.2f} × (at {rate:,.0f} messages/s)"
    note = (
        f"{name}during the cell, the network's thread took {share:.0%} of a processor for its {rate:,.0f} messages/s;"
        f" {len(quiet)} of {len(busy)} parts counted, the others had no processor free"
    )
    figures = {"ratio": times, "rate": rate, "network_share": share}
    return Outcome([Budget(what, measured, "≤ 1.05 × alone", times <= 1.05, figures)], notes=[note])


def _part(loops: int, received: Callable[[], int]) -> Part:
    own, every = queued_seconds(), queued_seconds(is_whole=True)
    rows, cpu, start = received(), time.process_time() - time.thread_time(), time.perf_counter()
    busy_loop(loops)
    elapsed = time.perf_counter() - start
    cpu = time.process_time() - time.thread_time() - cpu
    own, every = queued_seconds() - own, queued_seconds(is_whole=True) - every
    return Part(elapsed - own, received() - rows, cpu, every - own)
