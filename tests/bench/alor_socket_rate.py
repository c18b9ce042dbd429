"""ALOR's quotes through a real loopback socket: as `socket_rate` measures Aries, but a frame is one message here.

ALOR has no client of its own in Python. In its place stands what those that there are do: `websockets`, and `json` for
each message, into a queue.
"""

from __future__ import annotations

import gc
import json
import queue
import time
from statistics import median
from typing import Any

from websockets.sync.client import connect

from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.tokens import fixed_token
from tests.bench.blast import blasting
from tests.bench.frames import SYMBOLS
from tests.bench.results import Budget, Effort, Outcome, Peer
from tests.bench.rounds import ratio
from tests.bench.socket_rate import CELL_SECONDS, SMOKE_SECONDS, TURN_SECONDS, busy_loop

__all__ = ["connected", "measure"]


def measure(effort: Effort) -> Outcome:
    """The two budgets of the socket for ALOR."""
    ours: list[float] = []
    plain: list[float] = []
    during_cell: list[float] = []
    turn_seconds = effort.choose(TURN_SECONDS, TURN_SECONDS, SMOKE_SECONDS)
    cell_seconds = effort.choose(CELL_SECONDS, CELL_SECONDS, SMOKE_SECONDS)
    with blasting(0, 1, is_alor=True) as url:
        for _ in range(effort.choose(7, 2, 1)):
            for rates, turn in ((ours, _ours), (plain, _plain)):
                gc.collect()
                rates.append(turn(url, turn_seconds))
        for _ in range(effort.choose(3, 1, 1)):
            gc.collect()
            during_cell.append(_ours(url, cell_seconds, is_busy=True))
    times, busy = ratio(ours, plain), median(during_cell)
    budgets = [
        Budget(
            "ALOR: through a loopback socket, to websockets and json",
            f"{times:.1f} × ({median(ours):,.0f} to {median(plain):,.0f} events/s)",
            "≥ 3 ×",
            times >= 3,
            {"ratio": times, "rows_per_s": median(ours), "plain_per_s": median(plain)},
        ),
        Budget(
            "ALOR: the same while a pure-Python cell computes",
            f"{busy:,.0f} messages/s over {cell_seconds:g} s",
            "≥ 100,000/s",
            busy >= 100_000,
            {"rows_per_s": busy},
        ),
    ]
    return Outcome(budgets, [Peer("websockets, json", "ALOR: socket → event", median(plain), times)])


def connected(url: str) -> Feed:
    """A feed with a token that needs no token service."""
    feed = Feed(BROKERS["alor"], url, fixed_token("any"), at_close=lambda _: None)
    feed.wait_open(15)
    return feed


def _ours(url: str, seconds: float, *, is_busy: bool = False) -> float:
    with connected(url) as feed:
        frame = feed.quotes(*SYMBOLS)
        frame.wait(rows=1)
        begun, start = frame.received, time.perf_counter()
        if is_busy:
            while time.perf_counter() - start < seconds:
                busy_loop(100_000)
        else:
            time.sleep(seconds)
        return (frame.received - begun) / (time.perf_counter() - start)


def _plain(url: str, seconds: float) -> float:
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with connect(f"{url}/ws", compression=None, max_size=None, max_queue=None, close_timeout=0.5) as socket:
        for symbol in SYMBOLS:
            request = {"opcode": "QuotesSubscribe", "exchange": "MOEX", "code": symbol, "format": "Slim"}
            socket.send(json.dumps({**request, "guid": symbol, "token": "any"}))
        count, start = 0, 0.0
        for message in socket:
            event = json.loads(message)
            if "data" not in event:
                continue
            start = start or time.perf_counter()
            events.put(event)
            events.get()
            count += 1
            if (elapsed := time.perf_counter() - start) >= seconds:
                return count / elapsed
    raise RuntimeError("the server ended the connection")
