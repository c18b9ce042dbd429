"""Events a second through a loopback socket into a frame: compared with the vendor's client, and during a busy cell.

The server (`blast`) is a process of its own and sends as fast as it is read. Ours is `connect("aries").quotes(…)`: the
count of rows readable in the frame. The vendor's is `finance-dev`, its queue so long that it never overflows, its
events taken off the queue by a loop that does nothing else, in its threaded and its asyncio form. Clients take turns;
each runs for a fixed time and only what it delivered in that time counts.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from statistics import median

from tests.bench.blast import blasting
from tests.bench.frames import SYMBOLS
from tests.bench.results import Budget, Effort, Outcome, Peer
from tests.bench.rounds import ratio

__all__ = ["busy_loop", "measure"]

TURN_SECONDS, CELL_SECONDS = 1.0, 5.0
SMOKE_SECONDS = 0.2
WANTED = ["bidPrice", "bidSize", "askPrice", "askSize", "quoteTimestamp"]
VENDOR_QUEUE = 50_000_000


def measure(effort: Effort) -> Outcome:
    """The two budgets of the socket."""
    turn_seconds = effort.choose(TURN_SECONDS, TURN_SECONDS, SMOKE_SECONDS)
    cell_seconds = effort.choose(CELL_SECONDS, CELL_SECONDS, SMOKE_SECONDS)
    turns: dict[str, Callable[[str, float], float]] = {
        "ours": _ours,
        "asyncio": _vendor_async,
        "threads": _vendor_threads,
    }
    rates: dict[str, list[float]] = {name: [] for name in turns}
    during_cell: list[float] = []
    with blasting(0) as url:
        for _ in range(effort.choose(7, 2, 1)):
            for name, turn in turns.items():
                gc.collect()
                rates[name].append(turn(url, turn_seconds))
        for _ in range(effort.choose(3, 1, 1)):
            gc.collect()
            during_cell.append(_ours_during_a_cell(url, cell_seconds))
    best = max(("asyncio", "threads"), key=lambda name: median(rates[name]))
    times, busy = ratio(rates["ours"], rates[best]), median(during_cell)
    ours, theirs = median(rates["ours"]), median(rates[best])
    budgets = [
        Budget(
            "through a loopback socket, to finance-dev 0.9.0",
            f"{times:.1f} × ({ours:,.0f} to {theirs:,.0f} events/s)",
            "≥ 3 ×",
            times >= 3,
            {"ratio": times, "rows_per_s": ours, "vendor_per_s": theirs},
        ),
        Budget(
            "the same while a pure-Python cell computes",
            f"{busy:,.0f} messages/s over {cell_seconds:g} s",
            "≥ 100,000/s",
            busy >= 100_000,
            {"rows_per_s": busy},
        ),
    ]
    peers = [
        Peer("finance-dev", f"socket → event, {name}", median(rates[name]), ratio(rates["ours"], rates[name]))
        for name in ("asyncio", "threads")
    ]
    return Outcome(budgets, peers)


def busy_loop(count: int) -> int:
    """A cell that only computes, in Python alone."""
    total = 0
    for number in range(count):
        total += number * number % 7
    return total


def _ours(url: str, seconds: float) -> float:
    import aries_nb as anb

    with anb.connect("aries", url=url, token="any") as feed:
        frame = feed.quotes(*SYMBOLS)
        frame.wait(rows=1)
        begun, start = frame.received, time.perf_counter()
        time.sleep(seconds)
        return (frame.received - begun) / (time.perf_counter() - start)


def _ours_during_a_cell(url: str, seconds: float) -> float:
    import aries_nb as anb

    with anb.connect("aries", url=url, token="any") as feed:
        frame = feed.quotes(*SYMBOLS)
        frame.wait(rows=1)
        begun, start = frame.received, time.perf_counter()
        while time.perf_counter() - start < seconds:
            busy_loop(100_000)
        return (frame.received - begun) / (time.perf_counter() - start)


def _vendor_async(url: str, seconds: float) -> float:
    return asyncio.run(_vendor_async_turn(url, seconds))


async def _vendor_async_turn(url: str, seconds: float) -> float:
    from finance_dev.websocket.auth import StaticTokenProvider
    from finance_dev.websocket.config import WebSocketConfig
    from finance_dev.websocket.transport.async_connection import AsyncConnection

    config = WebSocketConfig(incoming_queue_size=VENDOR_QUEUE, reconnect=False, close_timeout=0.5)
    stream = AsyncConnection(url + "/v1/market/ws", StaticTokenProvider("any"), config)
    await stream.connect()
    await stream.send_message(_subscription())
    await stream.get_event()
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        await stream.get_event()
        count += 1
    await stream.close()
    return count / elapsed


def _vendor_threads(url: str, seconds: float) -> float:
    from finance_dev.websocket.auth import StaticTokenProvider
    from finance_dev.websocket.config import WebSocketConfig
    from finance_dev.websocket.transport.sync_connection import SyncConnection

    config = WebSocketConfig(incoming_queue_size=VENDOR_QUEUE, reconnect=False, close_timeout=0.5)
    stream = SyncConnection(url + "/v1/market/ws", StaticTokenProvider("any"), config)
    stream.connect()
    stream.send_message(_subscription())
    next(stream)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        next(stream)
        count += 1
    stream.close()
    return count / elapsed


def _subscription() -> dict[str, object]:
    items = [{"symbol": symbol, "quoteFields": WANTED} for symbol in SYMBOLS]
    return {"type": "subscribe", "id": "subscribe-1", "payload": items}
