"""How long one turn of the network's event loop holds it up, in CPU milliseconds of its thread, at large requests.

    python -m tests.bench.loop_held

CPU time and not wall time, so that other work on the machine does not count. Collections of garbage are left out: they
look through the objects of the whole process, here also the simulator's, on whichever thread they happen.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, Literal

from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.background import Background
from aries_nb.sim import AlorOptions, SimOptions, Simulator

__all__ = ["LoopTurns", "measure"]

COUNT = 3_000
SETTLE_SECONDS = 0.3


class LoopTurns:
    """Keeps the longest turn of the network's event loop, in CPU seconds of its thread."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.collecting = 0.0
        self._began = 0.0

    def collection(self, phase: str, _: object) -> None:
        """Add up the time of collections; a callback of `gc`."""
        if threading.current_thread().name == "aries-nb-network":
            now = time.thread_time()
            if phase == "start":
                self._began = now
            else:
                self.collecting += now - self._began

    def take(self) -> float:
        """Return the longest turn since the last call, in ms."""
        time.sleep(SETTLE_SECONDS)
        longest, self.longest = self.longest, 0.0
        return longest * 1e3


@contextmanager
def loop_turns() -> Iterator[LoopTurns]:
    """Context manager: measures every turn of the network's event loop while its block runs."""
    turns, loop = LoopTurns(), Background.shared()._loop
    run_once: Callable[[], None] = loop._run_once  # type: ignore[attr-defined]

    def measured() -> None:
        before = time.thread_time() - turns.collecting
        run_once()
        turns.longest = max(turns.longest, time.thread_time() - turns.collecting - before)

    loop.call_soon_threadsafe(lambda: setattr(loop, "_run_once", measured))
    gc.callbacks.append(turns.collection)
    try:
        yield turns
    finally:
        gc.callbacks.remove(turns.collection)
        loop.call_soon_threadsafe(lambda: setattr(loop, "_run_once", run_once))


def _shares(count: int) -> list[str]:
    return [f"SIM{number:05d}" for number in range(1, count + 1)]


def _contracts(sim: Any, count: int) -> list[str]:
    market = sim._server.feed.market
    found = (
        f"{root}{expiry:%y%m%d}{right}{round(strike * 1000):08d}"
        for root in market.shares
        for expiry in market.expiries(root)
        for strike in market.strikes(root)
        for right in "CP"
    )
    return list(islice(found, count))


def measure(broker: Literal["aries", "alor"], count: int = COUNT) -> dict[str, float]:
    """Return the longest turn of the loop in ms at each of several large requests to a simulated broker."""
    options: Any = AlorOptions if broker == "alor" else SimOptions
    found: dict[str, float] = {}
    with ExitStack() as stack:
        sim, turns = stack.enter_context(Simulator(options(rate=1.0))), stack.enter_context(loop_turns())
        feed = stack.enter_context(Feed(BROKERS[broker], sim.url, fixed_token("any"), at_close=lambda _: None))
        feed.wait_open(10)
        symbols = sim._call(lambda: _contracts(sim, count)) if broker == "aries" else _shares(count)
        turns.take()
        quotes = feed.quotes(*symbols, rows=10_000)
        found["subscribe"] = turns.take()
        sim.drop_connections()
        time.sleep(1.0)
        feed.wait_open(30)
        time.sleep(1.0)
        found["resubscribe"] = turns.take()
        quotes.close()
        time.sleep(1.0)
        found["unsubscribe"] = turns.take()
    return found


if __name__ == "__main__":
    for name in ("alor", "aries"):
        rows = measure(name)  # type: ignore[arg-type]
        sys.stdout.write("  ".join([name, *(f"{what} {ms:.0f} ms" for what, ms in rows.items())]) + "\n")
