"""ALOR's quotes through a real loopback socket: as `socket_rate` measures Aries, but a frame is one message here.

ALOR has no client of its own in Python. In its place stands what those that there are do: `websockets`, and `json` for
each message, into a queue.
"""

from __future__ import annotations

import json
import queue
from functools import partial
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from tests.bench.blast import blasting
from tests.bench.frames import SYMBOLS
from tests.bench.pace import Meter, Pace
from tests.bench.results import Effort, Outcome
from tests.bench.socket_rate import SMOKE_SECONDS, TOKEN, TURN_SECONDS, Goals, compared

__all__ = ["connected", "measure", "requests"]


def measure(effort: Effort) -> Outcome:
    """The budgets of the socket for ALOR."""
    with blasting(0, 1, is_alor=True) as url:
        seconds = effort.choose(TURN_SECONDS, TURN_SECONDS, SMOKE_SECONDS)
        peers = {"websockets and json": partial(_plain, url, seconds)}
        goals = Goals(to_peer=5, cpu=5, busy=4, busy_rate=40_000)
        return compared(partial(connected, url), peers, effort, goals, name="ALOR: ")


def connected(url: str, record: Path | None = None) -> Feed:
    """A feed with a token that needs no token service."""
    feed = Feed(BROKERS["alor"], url, fixed_token(TOKEN), at_close=lambda _: None, record=record)
    feed.wait_open(15)
    return feed


def requests() -> list[str]:
    """The requests of the quotes of all symbols."""
    request = {"opcode": "QuotesSubscribe", "exchange": "MOEX", "format": "Slim", "token": "any"}
    return [json.dumps({**request, "code": symbol, "guid": symbol}) for symbol in SYMBOLS]


def _plain(url: str, seconds: float) -> Pace:
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with connect(f"{url}/ws", compression=None, max_size=None, max_queue=None, close_timeout=0.5) as socket:
        for request in requests():
            socket.send(request)
        count, meter = 0, Meter()
        for message in socket:
            event = json.loads(message)
            if "data" not in event:
                continue
            meter = meter if count else Meter()
            events.put(event)
            events.get()
            count += 1
            if meter.seconds >= seconds:
                return meter.pace(count)
    raise RuntimeError("the server ended the connection")
