"""The messages of a simulated broker in some simulated seconds: no socket, no clock, the same for the same seed."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from aries_nb.sim import AlorOptions, SimOptions
from aries_nb.sim.alor.feed import AlorFeed
from aries_nb.sim.alor.requests import OPCODES
from aries_nb.sim.alor.server import AlorServer
from aries_nb.sim.alor.session import AlorSession
from aries_nb.sim.aries.charts import ChartsSession
from aries_nb.sim.aries.feed import AriesFeed
from aries_nb.sim.aries.market import MarketSession
from tests.sim.bare_client import auth

__all__ = ["NOW", "OPCODES", "AlorSample", "AriesSample"]

TODAY = date(2026, 3, 2)
NOW = 1_772_463_845.0
TURN = 0.1
#: Enough for each symbol, whatever a busy machine does: a turn has far more time than its events take.
RATE = 100.0
#: Mean interval between two occurrences of a trouble, in s, and a time in which each has happened.
INTERVAL, LONG = 3.0, 12.0


class AriesSample:
    """One client of the market endpoint and one of charts; `advance` gives the payloads sent meanwhile."""

    def __init__(self, *symbols: str, **options: Any) -> None:
        chosen = SimOptions(**{"rate": RATE, "rough_seconds": INTERVAL, "start": NOW, **options})
        self.feed = AriesFeed(chosen, TODAY)
        self.now = NOW
        self.lines: list[str] = []
        self.market = MarketSession(chosen, self.feed, NOW)
        self.charts = ChartsSession(chosen, self.feed, NOW)
        for session in (self.market, self.charts):
            session.receive(json.dumps(auth("a token")), NOW)
        items = [
            {"symbol": symbol, "quoteFields": "*", "tradeFields": "*", "timeAndSales": True, "level2": True}
            for symbol in symbols
        ]
        self.market.receive(json.dumps({"type": "subscribe", "id": "s", "payload": items}), NOW)

    def chart(self, symbol: str) -> None:
        payload = {"type": "quotes", "symbol": symbol}
        self.charts.receive(json.dumps({"type": "subscribe", "id": "c", "payload": payload}), NOW)

    def advance(self, seconds: float = LONG) -> list[dict[str, Any]]:
        for _ in range(int(seconds / TURN)):
            self.now += TURN
            self.feed.advance(TURN, self.now)
        new = [*self.market.outbox, *self.charts.outbox]
        self.market.outbox.clear()
        self.charts.outbox.clear()
        self.lines += new
        return [{"type": "", **json.loads(line)["payload"]} for line in new]

    def data(self, stream: str, seconds: float = LONG) -> list[dict[str, Any]]:
        return [each["data"] for each in self.advance(seconds) if each.get("type") == stream]


class AlorSample:
    """One client of /ws; `advance` gives the data frames sent meanwhile, with their guid."""

    def __init__(self, **options: Any) -> None:
        self.server = AlorServer(AlorOptions(**{"rate": RATE, "rough_seconds": INTERVAL, "start": NOW, **options}))
        self.feed: AlorFeed = self.server.feed
        self.now = NOW
        self.session = AlorSession(self.server.options, self.server, NOW)

    def subscribe(self, opcode: str, code: str, exchange: str = "MOEX", **more: Any) -> None:
        request = {"opcode": opcode, "guid": opcode, "token": "a token", "code": code, "exchange": exchange, **more}
        self.session.receive(json.dumps({"format": "Simple", "frequency": 0, **request}), NOW)

    def advance(self, seconds: float = LONG) -> list[dict[str, Any]]:
        for _ in range(int(seconds / TURN)):
            self.now += TURN
            self.feed.advance(TURN, self.now)
            self.feed.flush(self.now)
        frames = [json.loads(frame) for frame in self.session.outbox]
        self.session.outbox.clear()
        return frames

    def data(self, opcode: str, seconds: float = LONG) -> list[dict[str, Any]]:
        return [frame["data"] for frame in self.advance(seconds) if frame.get("guid") == opcode]
