"""One painted frame of a chart over a window of 1,000,000 rows, compared with one over 10,000.

The real `Chart` on the real frame; about 100 new rows come before every frame, as at 1,000 rows/s and ten frames/s.
What it sends is serialised as the kernel's own comm does it, signed and in parts, and then dropped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from statistics import median
from typing import Any

from aries_nb.live import Feed
from tests.bench.filled import FilledFrame, silent_feed
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["measure"]

LARGE, SMALL = 1_000_000, 10_000
SMOKE_LARGE = 20_000
NEW_ROWS = 100
WARM_FRAMES = 60  # the first frames of a line hold fewer points than the following ones


class Sent:
    """Counts what went out through all comms."""

    messages = 0
    octets = 0


def measure(effort: Effort) -> Outcome:
    """The budget of a painted frame: the ratio of the two windows."""
    with serialising_comms(), silent_feed() as feed:
        return _compared(feed, effort)


def _compared(feed: Feed, effort: Effort) -> Outcome:
    size = effort.choose(LARGE, LARGE, SMOKE_LARGE)
    draws: dict[int, Iterator[float]] = {}
    for rows in (size, SMALL):
        filled = FilledFrame.of(feed, rows, ("AAPL",))
        chart = filled.live.chart("bid_price", "ask_price")
        assert chart.figure.model_id  # opens it, as its first display does: a chart that is not open sends nothing
        draws[rows] = _draws(filled, chart)
        for _ in islice(draws[rows], effort.choose(WARM_FRAMES, WARM_FRAMES, 1)):
            pass
    Sent.messages = Sent.octets = 0
    rounds, frames = effort.choose((30, 20), (10, 10), (1, 5))
    costs: dict[int, list[float]] = {size: [], SMALL: []}
    for _ in range(rounds):
        for rows, drawing in draws.items():
            costs[rows].append(median(islice(drawing, frames)))
    times = median(a / b for a, b in zip(costs[size], costs[SMALL], strict=True))
    large, small = median(costs[size]) * 1e3, median(costs[SMALL]) * 1e3
    painted = 2 * rounds * frames
    assert painted <= Sent.messages, "a frame is at least one message"
    measured = f"{times:.2f} × ({large:.2f} ms to {small:.2f} ms)"
    budget = Budget(
        f"a chart's frame over {size:,} rows to 10,000", measured, "≤ 2 ×", times <= 2, {"ratio": times, "ms": large}
    )
    note = f"a chart's frame of two lines: {Sent.messages / painted:.1f} messages, {Sent.octets / painted / 1e3:.1f} kB"
    return Outcome([budget], notes=[note])


def _draws(filled: FilledFrame, chart: Any) -> Iterator[float]:
    while True:
        filled.grow(NEW_ROWS)
        start = time.perf_counter()
        messages = chart.draw()
        elapsed = time.perf_counter() - start
        assert messages
        assert chart.error is None
        yield elapsed


@contextmanager
def serialising_comms() -> Iterator[None]:
    """Give widgets comms without a kernel that do the kernel's work on a message, but for the socket."""
    import comm
    from comm.base_comm import BaseComm
    from jupyter_client.session import Session

    session = Session(packer="json", key=b"a key", check_pid=False)

    class SerialisingComm(BaseComm):
        def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
            content = {"data": data or {}, "comm_id": self.comm_id, **keys}
            message = session.msg(msg_type, content=content, metadata=metadata or {})
            parts = session.serialize(message) + [memoryview(buffer).cast("B") for buffer in buffers or ()]
            Sent.messages += 1
            Sent.octets += sum(len(part) for part in parts)

    before, comm.create_comm = comm.create_comm, SerialisingComm
    try:
        yield
    finally:
        comm.create_comm = before
