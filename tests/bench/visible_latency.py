"""One message at a time, from the server's socket to a row that can be read, beside the path by message.

The server is a process of its own on the same machine, and sends each message with the reading of the steady clock that
both processes share. Paths take turns, each on a connection of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from math import ceil
from statistics import median

from aries_nb.live import Feed
from tests.bench.blast import blasting
from tests.bench.frames import SYMBOLS
from tests.bench.pace import by_message
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["measure", "times_visible"]

RATE = 500
TURN_SECONDS, SMOKE_SECONDS = 2.0, 0.2
SETTLE = 50  # messages; the first ones come while the subscription is answered


def measure(effort: Effort) -> Outcome:
    """The budgets of the latency: the median and the 99th percentile, to the path by message."""
    import aries_nb as anb

    seconds = effort.choose(TURN_SECONDS, TURN_SECONDS, SMOKE_SECONDS)
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "by message": []}
    with blasting(RATE, 1, is_clock=True) as url:
        connected: Callable[[], Feed] = partial(anb.connect, "aries", url=url, token="any")
        for _ in range(effort.choose(7, 3, 1)):
            for name, path in (("ours", nullcontext), ("by message", by_message)):
                with path():
                    times = sorted(times_visible(connected, seconds))
                found[name].append((_share(times, 0.5), _share(times, 0.99)))
    budgets = []
    for place, (name, most) in enumerate((("median", 1.1), ("99th percentile", 1.25))):
        ours, theirs = ([pair[place] for pair in found[path]] for path in ("ours", "by message"))
        times_slower = median(a / b for a, b in zip(ours, theirs, strict=True))
        budgets.append(
            Budget(
                f"one message, server → row, {name} to the path by message",
                f"{times_slower:.2f} × ({median(ours):,.0f} to {median(theirs):,.0f} µs)",
                f"≤ {most:g} ×",
                times_slower <= most,
                {"ratio": times_slower, "us": median(ours), "by_message_us": median(theirs)},
            )
        )
    return Outcome(budgets)


def times_visible(connected: Callable[[], Feed], seconds: float) -> list[float]:
    """Return for each message how long it took from the server to a row, in µs."""
    seen: list[tuple[int, float]] = []
    with connected() as feed:
        frame = feed.quotes(*SYMBOLS, fields=["bid_size"])
        tape = frame._tape

        def visible() -> None:
            now = time.monotonic_ns()
            sent = max(row[2][0] for row in tape.latest() if row is not None)
            seen.append((now, sent))

        stop = tape.watch(visible)
        frame.wait(rows=SETTLE)
        seen.clear()
        time.sleep(seconds)
        while not seen:  # a busy machine gave no turn
            frame.wait(changes=1)
        stop()
    return [(now - sent) / 1e3 for now, sent in seen]


def _share(times: list[float], share: float) -> float:
    return times[ceil(len(times) * share) - 1]
