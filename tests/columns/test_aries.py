from __future__ import annotations

import json
import random
from collections import deque
from datetime import UTC, datetime
from typing import Any

import pytest

from aries_nb.brokers.aries.market import AriesMarket
from aries_nb.brokers.aries.messages import GREEKS_FIELDS, QUOTE_FIELDS, TRADE_FIELDS
from aries_nb.brokers.aries.prints import PRINT_COLUMN_TYPES
from aries_nb.brokers.aries.streams import QUOTE_COLUMN_TYPES
from aries_nb.model import QUOTE_COLUMNS, TRADE_COLUMNS, Subscription
from tests.brokers.aries import lines
from tests.brokers.aries.lines import MS
from tests.columns.streams import Client, assert_equal

USUAL = tuple(column.name for column in QUOTE_COLUMNS)
SIDES = USUAL[:4]
CHOICES: tuple[tuple[str, ...], ...] = (
    USUAL,
    USUAL,
    SIDES,
    ("last_price", "size", "tick"),
    ("ask_price", "bid_exchange", "last_price", "delta"),
    ("bid_price", "mid_price", "spread"),
    ("bid_price", "bid_timestamp", "high_price"),
)
WITH_TRADES = (USUAL, USUAL, ("ask_price", "bid_exchange", "last_price", "tick"), ("bid_size", "high_price"))
USUAL_TRADES = tuple(column.name for column in TRADE_COLUMNS)
RECEIVED = MS * 1_000_000 + 5_000_000
TAKEN: dict[int, tuple[int, int]] = {}  # records by columns, and all, by seed
EVENTS = {"quote": QUOTE_FIELDS, "trade": TRADE_FIELDS, "greeks": GREEKS_FIELDS}


class Market:
    """What a server sends: `is_whole` updates have all fields, and `oddity` is the share of unusual lines."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.symbols = [f"S{number}" for number in range(self.random.choice((1, 3, 30)))]
        self.ms = MS
        self.numbers: dict[str, int] = {}
        self.latest: list[bytes] = []  # lines, which a snapshot repeats

    def read(self) -> list[bytes]:
        """The frames of a read."""
        source = self.random
        kinds = source.choice(
            (("quote",), ("quote",), ("quote",) * 3 + ("trade",), ("quote", "trade", "timeAndSales", "greeks"))
        )
        chance, oddity = source.choice((0.0, 0.0, 0.3, 0.7)), source.choice((0.0, 0.0, 0.0, 0.0, 0.005, 0.1))
        frames = [
            b"\n".join(self.line(source.choice(kinds), chance, oddity) for _ in range(source.randrange(1, 40)))
            for _ in range(source.randrange(1, 6))
        ]
        repeated = source.choice((0, 0, 1, 3))
        snapshot, self.latest = self.latest[-repeated:] if repeated else [], b"\n".join(frames).split(b"\n")
        return [b"\n".join(snapshot), *frames] if snapshot else frames

    def line(self, kind: str, chance: float, oddity: float) -> bytes:
        source = self.random
        if source.random() < oddity:
            return self.odd()
        return json.dumps(
            lines.update(kind, self.data(kind, chance), source.choice(self.symbols), **self.stamp())
        ).encode()

    def stamp(self) -> dict[str, int]:
        self.ms += self.random.randrange(3)
        return {"timestamp": self.ms + 1} if self.random.random() < 0.998 else {}

    def data(self, kind: str, chance: float) -> dict[str, Any]:
        """The data of an update, from which each field is missing by a chance."""
        source = self.random
        if kind == "timeAndSales":
            return self.sale(chance)
        said: dict[str, Any] = {}
        for column, name in EVENTS[kind].items():
            if source.random() < chance:
                continue
            type_ = QUOTE_COLUMN_TYPES[column]
            said[name] = source.choice("QZV") if type_ == "text" else self.ms if type_ == "time" else self.number()
        return said

    def sale(self, chance: float) -> dict[str, Any]:
        source, symbol = self.random, "all"
        number = self.numbers[symbol] = self.numbers.get(symbol, 0) + 1
        if source.random() < 0.05:
            number = max(number - source.randrange(9), 1)  # comes again, or corrects an earlier one
        said = {
            "price": str(self.number()), "size": str(source.randrange(0, 9)), "tradeSeq": str(number),
            "tradeExchange": source.choice("QZ"), "tradeTimestamp": str(self.ms), "tick": source.choice("+-"),
        }  # fmt: skip
        if source.random() < 0.01:
            moment = datetime.fromtimestamp(self.ms / 1_000, UTC).isoformat()
            said["tradeTimestamp"] = source.choice(
                (self.ms, str(self.ms // 1_000), moment, "0" * 13, "9" * 13, "", "x")
            )
        return {name: value for name, value in said.items() if source.random() >= chance / 4}

    def number(self) -> float | int:
        source = self.random
        return (
            0
            if source.random() < 0.05
            else source.randrange(1, 900)
            if source.random() < 0.3
            else source.randrange(9_000) / 100
        )

    def odd(self) -> bytes:
        source = self.random
        symbol = source.choice(self.symbols)
        return source.choice((
            b"rubbish",
            json.dumps(lines.quote("UNKNOWN", bidPrice=1.0)).encode(),
            json.dumps(lines.quote(symbol.lower(), bidPrice=2.5, quoteTimestamp=self.ms)).encode(),
            json.dumps(lines.quote(symbol, bidPrice="12.5", askSize=None)).encode(),
            json.dumps(lines.quote(symbol, bidPrice=3.5, quoteTimestamp=self.ms // 1_000)).encode(),
            json.dumps(lines.quote(symbol, bidPrice=3.5, quoteTimestamp=self.ms + 86_400_000)).encode(),
            json.dumps(lines.quote(symbol, bidPrice=3.5, quoteTimestamp=self.ms - 60_000)).encode(),
            json.dumps(lines.update("quotes", {"bidPrice": 7.0}, symbol)).encode(),
            json.dumps(lines.update("timeAndSales", {"price": "7"}, symbol)).encode(),
            json.dumps(lines.event("error", message=f"no data for {symbol}")).encode(),
            json.dumps(lines.update("marketStatus", {"open": True})).encode(),
            json.dumps(lines.update("level2", {"orderBook": ["1:10.5:2"]}, symbol)).encode(),
            b'{"type":"pong","id":"0"}',
        ))  # fmt: skip


def clients() -> tuple[Client, Client]:
    return tuple(Client(AriesMarket(), is_by_columns=is_by_columns) for is_by_columns in (True, False))  # type: ignore[return-value]


def opened(client: Client) -> None:
    pings = [message["id"] for message in lines.reopen(client.protocol) if message["type"] == "ping"]
    client.protocol.receive([lines.line({"type": "pong", "id": each}) for each in pings], lines.RECEIVED)


def chosen(market: Market, seed: int) -> list[list[Subscription]]:
    """The subscriptions of each frame."""
    source = random.Random(seed)
    found = []
    for _ in range(source.choice((1, 1, 2, 3))):
        fields = source.choice(CHOICES if seed % 3 == 0 else WITH_TRADES)
        few = source.randrange(1, len(market.symbols) + 1) if source.random() < 0.2 else len(market.symbols)
        found.append([Subscription("quotes", symbol, fields) for symbol in source.sample(market.symbols, few)])
    if source.random() < 0.4:
        fields = source.choice((USUAL_TRADES, ("price", "size"), tuple(PRINT_COLUMN_TYPES)))
        found.append([Subscription("trades", symbol, fields) for symbol in market.symbols])
    return found


@pytest.mark.parametrize("seed", range(60))
def test_by_columns_comes_what_comes_by_message(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AriesMarket, "LEAST_BYTES", 0)
    source, market = random.Random(seed), Market(seed)
    both = clients()
    routes: list[list[Any]] = []
    for client in both:
        opened(client)
        limit = {} if seed % 3 else {"limit": 50}
        routes.append([client.add(each, **limit) for each in chosen(market, seed)])
        if seed % 5 == 0:
            client.list_all([Subscription("book", market.symbols[0])])
        if seed % 4:
            lines.answer_pings(client.protocol)

    for number in range(source.randrange(4, 16)):
        event, is_answered, received = source.random(), source.random() < 0.8, RECEIVED + number * 3_000_000
        is_published, frames = source.random() < 0.7, market.read()
        for client, own in zip(both, routes, strict=True):
            if event < 0.1:
                opened(client)
            elif event < 0.2:
                fields = (*USUAL, tuple(TRADE_FIELDS)[number])
                own.append(client.add([Subscription("quotes", symbol, fields) for symbol in market.symbols]))
            elif event < 0.25 and own:
                client.remove(own.pop())
            client.read(frames, received)
            if is_answered:
                lines.answer_pings(client.protocol)
            if is_published:
                client.publish()
    for client in both:
        client.publish()

    assert_equal(*both)
    TAKEN[seed] = both[0].by_columns, both[0].intake.records


def test_much_of_it_is_taken_by_columns() -> None:
    assert sum(taken for taken, _ in TAKEN.values()) >= 0.3 * sum(records for _, records in TAKEN.values())


def subscribed() -> tuple[Market, Client]:
    """A market, and a client with the quotes of all its symbols, by columns."""
    market = Market(1)
    client, _ = clients()
    opened(client)
    client.add([Subscription("quotes", symbol, USUAL) for symbol in market.symbols])
    lines.answer_pings(client.protocol)
    return market, client


def test_most_usual_reads_are_taken_by_columns() -> None:
    market, client = subscribed()
    frames = [b"\n".join(market.line(kind, 0.0, 0.0) for _ in range(40)) for kind in ("quote", "trade") * 25]

    client.read(frames, RECEIVED)

    assert client.by_columns == client.intake.records == 2_000


def test_few_messages_are_taken_by_message() -> None:
    market, client = subscribed()

    client.read([market.line("quote", 0.0, 0.0)], RECEIVED)

    assert (client.by_columns, client.intake.records) == (0, 1)


def test_by_message_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aries_nb.net.intake.Intake.IS_BY_COLUMNS", False)
    monkeypatch.setattr(AriesMarket, "LEAST_BYTES", 0)
    client, _ = clients()
    opened(client)
    client.add([Subscription("quotes", "S0", USUAL)])
    lines.answer_pings(client.protocol)

    assert client.intake.take_columns(deque([json.dumps(lines.quote("S0", **lines.FULL)).encode()]), RECEIVED) == 1


def test_a_side_that_ends_by_its_size_alone_has_no_price_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AriesMarket, "LEAST_BYTES", 0)
    client, _ = clients()
    client.add([Subscription("quotes", "S0", USUAL)])
    opened(client)
    said = ({"bidPrice": 5.0, "bidSize": 100}, {"bidSize": 0}, {"askSize": 3}, {"bidSize": 200})
    updates = [json.dumps(lines.quote("S0", quoteTimestamp=MS + at, **each)) for at, each in enumerate(said)]

    assert client.intake.take_columns(deque([each.encode() for each in updates]), RECEIVED) == 0
    client.publish()

    frame = client.frames[0].frame()
    assert frame["bid_price"].fillna(-1).tolist() == [5.0, -1, -1, 5.0]
    assert frame["bid_size"].tolist() == [100, 0, 0, 200]
