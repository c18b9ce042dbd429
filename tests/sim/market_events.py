"""The first events that a seeded market generates at a pace, and their sha256; run in a process of its own.

python -m tests.sim.market_events BROKER SPEED COUNT PAUSES ROUGH prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import sys
import time
from random import Random
from typing import Any

from aries_nb.sim import AlorOptions, SimOptions, read_troubles
from aries_nb.sim.accounts.accounts import TERMS
from aries_nb.sim.alor.requests import OPCODES, PORTFOLIO_KINDS
from aries_nb.sim.alor.server import AlorServer
from aries_nb.sim.alor.session import AlorSession
from aries_nb.sim.aries.accounts import AccountsSession
from aries_nb.sim.aries.charts import ChartsSession
from aries_nb.sim.aries.market import MarketSession
from aries_nb.sim.aries.server import AriesServer
from tests.sim.bare_client import auth

START = 1_772_463_845.25
RATE = 8_000.0


class AriesWitness:
    """Sessions of all endpoints, without sockets, that subscribe to all there is of some symbols."""

    def __init__(self, rough: str, shuffle: Random) -> None:
        options = SimOptions(seed=7, rate=RATE, start=START, rough=read_troubles(rough), rough_seconds=3.0)
        self.server = AriesServer(options)
        self.server._are_accounts_active = True
        wall = time.time()
        self.sessions: list[Any] = [
            MarketSession(options, self.server.feed, wall),
            ChartsSession(options, self.server.feed, wall),
            AccountsSession(options, self.server.accounts, wall),
        ]
        for session in self.sessions:
            session.receive(json.dumps(auth("a token")), START, wall)
        symbols = ["AAPL", "MSFT", "TSLA", "SPX", "AAPL260320C00270000"]
        shuffle.shuffle(symbols)
        for symbol in symbols:
            fields = {"quoteFields": "*", "tradeFields": "*", "timeAndSales": True, "level2": True, "greeksFields": "*"}
            self.send(0, "s", [{"symbol": symbol, **fields}])
            self.send(1, "c", {"type": "quotes", "symbol": symbol})
        for topic in ("news", "watchlist"):
            self.send(2, topic, {"topic": topic})
        for terms in TERMS:
            self.send(2, "a", {"topic": "account", "params": {"account": terms.account}})
        self.drain()

    def send(self, number: int, ident: str, payload: object) -> None:
        message = {"type": "subscribe", "id": ident, "payload": payload}
        self.sessions[number].receive(json.dumps(message), START, time.time())

    def drain(self) -> list[str]:
        lines = [line for session in self.sessions for line in session.outbox]
        for session in self.sessions:
            session.outbox.clear()
        return lines


class AlorWitness:
    """A session without a socket that subscribes to all there is of some instruments and a portfolio."""

    def __init__(self, rough: str, shuffle: Random) -> None:
        options = AlorOptions(seed=7, rate=RATE, start=START, rough=read_troubles(rough), rough_seconds=3.0)
        self.server = AlorServer(options)
        self.server.activate_accounts()
        self.session = AlorSession(options, self.server, time.time())
        codes = ["SBER", "GAZP", "LKOH"]
        shuffle.shuffle(codes)
        for opcode, kind in OPCODES.items():
            # A portfolio has no code: the messages of equal subscriptions come in their order.
            for code in ("",) if kind in PORTFOLIO_KINDS else codes:
                request = {"opcode": opcode, "guid": f"{opcode} {code}", "token": "a token", "exchange": "MOEX"}
                more = {"code": code, "instrumentGroup": "TQBR", "depth": 20, "tf": "15", "from": 0, "frequency": 25}
                owner = {"portfolio": "D00001", "skipHistory": True, "format": "Simple"}
                self.session.receive(json.dumps({**request, **more, **owner}), START, time.time())
        while self.session.histories:
            self.session.pull(1000)
        self.drain()

    def drain(self) -> list[str]:
        lines = list(self.session.outbox)
        self.session.outbox.clear()
        return lines


async def run(witness: AriesWitness | AlorWitness, speed: float, count: int, pauses: int) -> dict[str, Any]:
    """Let the server's own loop make the turns; return the sha256 of the first `count` messages."""
    server: Any = witness.server
    digest, total, full = hashlib.sha256(), 0, asyncio.Event()
    advance = server._advance

    def noted(seconds: float, now: float) -> None:
        nonlocal total
        advance(seconds, now)
        for line in witness.drain():
            if total < count:
                digest.update(line.encode() + b"\n")
                total += 1
        if total >= count:
            full.set()

    server._advance = noted
    server.clock.is_steered = True
    pacing = asyncio.create_task(server._pace())
    server.play(speed)
    waits = Random()  # real time, other in each run
    for _ in range(pauses):
        await asyncio.sleep(waits.uniform(0.0, 0.1))
        await server.pause()
        await asyncio.sleep(waits.uniform(0.0, 0.03))
        server.play(speed)
    await full.wait()
    pacing.cancel()
    return {"sha256": digest.hexdigest(), "turns": server.clock.turns, "now": server.clock.now}


if __name__ == "__main__":
    broker, pace, most, times, troubles = sys.argv[1:]
    made = (AlorWitness if broker == "alor" else AriesWitness)(troubles, Random())
    sys.stdout.write(
        json.dumps(asyncio.run(run(made, math.inf if pace == "max" else float(pace), int(most), int(times))))
    )
