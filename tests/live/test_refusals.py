"""A refusal belongs to the subscription it answers: what runs goes on, and only unknown symbols are unknown symbols."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import aries_nb as anb
from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from tests.net.patience import eventually
from tests.net.rude import RudeServer, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.asyncio.server import ServerConnection

QUOTE = {"bidPrice": 270.1, "askPrice": 270.2, "bidSize": 1, "askSize": 2}
ALOR_QUOTE = {"bid": 270.1, "ask": 270.2, "last": 270.1, "tst": 1_795_000_000_000}


class Aries:
    """A server without level 2 rights; it notes what is asked of it, and sends a quote with every ping."""

    def __init__(self) -> None:
        self.unsubscribed: list[Any] = []
        self.asked: list[Any] = []
        self.server = RudeServer(self.behave)

    async def behave(self, server: RudeServer, connection: ServerConnection) -> None:
        await server.log_in(connection)
        async for text in connection:
            for line in str(text).split("\n"):
                await self.answer(connection, json.loads(line))

    async def answer(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self.asked += message["payload"]
            for item in message["payload"]:
                if item["symbol"] == "NOPE":
                    await refuse(connection, message["id"], "unknown symbol NOPE", code="UNKNOWN_SYMBOL")
                elif "level2" in item:
                    await refuse(connection, message["id"], f"level 2 of {item['symbol']} needs a subscription")
        elif message["type"] == "unsubscribe":
            self.unsubscribed += message["payload"]
        elif message["type"] == "ping":
            data = {"type": "quote", "symbol": "AAPL", "data": QUOTE, "timestamp": 1_795_000_000_000}
            await say(connection, {"type": "event", "payload": {"action": "update", **data}})
            await say(connection, {"type": "pong", "id": message["id"]})


async def refuse(connection: ServerConnection, request: str, text: str, **code: str) -> None:
    error = {"action": "error", "error": text, "id": request, "timestamp": 1, **code}
    await say(connection, {"type": "event", "payload": error})


class Alor:
    """The same of the other broker."""

    def __init__(self) -> None:
        self.unsubscribed: list[Any] = []
        self.asked: list[Any] = []
        self.guids: dict[str, str] = {}
        self.server = RudeServer(self.behave)

    async def behave(self, _: RudeServer, connection: ServerConnection) -> None:
        async for text in connection:
            await self.answer(connection, json.loads(text))

    async def answer(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        code, said = 200, "Handled successfully"
        if message["opcode"] == "unsubscribe":
            self.unsubscribed.append(message["guid"])
        elif message["opcode"] == "OrderBookGetAndSubscribe":
            code, said = 403, "No rights for order books"
        elif message.get("code") == "BUSY":
            code, said = 429, "Too many subscriptions"
        elif message.get("code") == "NOPE":
            code, said = 404, "Instrument 'MOEX:NOPE' is not found"
        elif message["opcode"] == "QuotesSubscribe":
            self.guids["quotes"] = message["guid"]
        if message["opcode"] != "ping":
            self.asked.append(message)
        await say(connection, {"requestGuid": message["guid"], "httpCode": code, "message": said})
        if message["opcode"] == "ping" and "quotes" in self.guids:
            await say(connection, {"data": ALOR_QUOTE, "guid": self.guids["quotes"]})


@pytest.fixture(params=["aries", "alor"])
def broker(request: pytest.FixtureRequest) -> Iterator[Aries | Alor]:
    made = Aries() if request.param == "aries" else Alor()
    with made.server:
        yield made


@pytest.fixture
def feed(broker: Aries | Alor) -> Iterator[Feed]:
    name = "aries" if isinstance(broker, Aries) else "alor"
    source = fixed_token("eyJhbGciOiJIUzI1NiJ9.e30.a-token-of-the-test")
    with Feed(BROKERS[name], broker.server.url, source, at_close=lambda closed: None) as feed:
        feed.wait_open(30)
        yield feed


def test_a_book_without_rights_says_so_and_the_quotes_go_on(broker: Aries | Alor, feed: Feed) -> None:
    quotes = feed.quotes("AAPL")

    with pytest.raises(anb.SubscriptionRefusedError, match="the server refuses book of 'AAPL'") as refused:
        feed.book("AAPL")

    assert not isinstance(refused.value, anb.UnknownSymbolError)
    assert (refused.value.kind, refused.value.symbols) == ("book", ("AAPL",))
    feed.trades("MSFT")  # another request, with it another quote
    eventually(lambda: len(quotes) >= 1)
    assert not quotes._source.refused()
    assert feed.quotes("AAPL") is quotes


def test_what_ran_before_a_refusal_is_ended_when_it_is_closed(broker: Aries | Alor, feed: Feed) -> None:
    quotes = feed.quotes("AAPL")
    with pytest.raises(anb.SubscriptionRefusedError):
        feed.book("AAPL")
    before = len(broker.unsubscribed)

    quotes.close()

    eventually(lambda: len(broker.unsubscribed) > before)


def test_a_stream_that_runs_is_not_asked_for_again_after_a_refusal_of_another(broker: Aries | Alor, feed: Feed) -> None:
    feed.quotes("AAPL")
    with pytest.raises(anb.SubscriptionRefusedError):
        feed.book("AAPL")
    before = len(broker.asked)

    feed.quotes("AAPL", rows=50)
    feed.quotes("AAPL", fields=["bid_price"], rows=70)

    again = [each for each in broker.asked[before:] if "level2" in each or "OrderBook" in str(each.get("opcode"))]
    assert not again


def test_an_unknown_symbol_is_named_as_one(feed: Feed) -> None:
    with pytest.raises(anb.UnknownSymbolError) as unknown:
        feed.quotes("NOPE")

    assert unknown.value.symbols == ("NOPE",)


def test_only_what_a_request_adds_is_refused(broker: Aries | Alor, feed: Feed) -> None:
    quotes = feed.quotes("AAPL", fields=["bid_price"])
    with pytest.raises(anb.SubscriptionRefusedError):
        feed.book("AAPL")

    quotes.close()

    eventually(lambda: bool(broker.unsubscribed))
    assert "level2" not in json.dumps(broker.unsubscribed)


@pytest.mark.parametrize("broker", ["alor"], indirect=True)
def test_too_many_subscriptions_are_no_unknown_symbol(feed: Feed) -> None:
    with pytest.raises(anb.SubscriptionRefusedError, match="Too many subscriptions"):
        feed.trades("BUSY")
