"""The vendor's client from PyPI against the simulated charts endpoint."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from finance_dev.websocket.chart import ChartWebSocket
from finance_dev.websocket.config import WebSocketConfig
from finance_dev.websocket.errors import WebSocketAuthenticationError
from finance_dev.websocket.models import ChartEvent, TradingViewQuote, TradingViewTrade

from tests.net.patience import RENEWED_SOON

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aries_nb.sim import Simulator


def talk(sim: Simulator, work: Callable[[Any], Awaitable[None]], *, token: str = "t", **config: Any) -> None:
    async def run() -> None:
        stream = ChartWebSocket(None).connect_async(
            access_token=token,
            url=f"{sim.url}/v1/charts/ws",
            config=WebSocketConfig(reconnect=False, incoming_queue_size=100_000, **config),
        )
        async with asyncio.timeout(60), stream:
            await work(stream)

    asyncio.run(run())


async def events(stream: Any, kind: str, count: int) -> list[ChartEvent]:
    found: list[ChartEvent] = []
    while len(found) < count:
        payload = (await stream.get_event()).payload
        if payload.get("type") == kind:
            found.append(ChartEvent.model_validate(payload))
    return found


def test_it_reads_quotes_and_trades_of_a_share(serve: Callable[..., Simulator]) -> None:
    async def work(stream: Any) -> None:
        assert stream.state == "READY"
        await stream.subscribe("AAPL")
        quotes = [
            TradingViewQuote.model_validate(event.data, strict=True) for event in await events(stream, "quote", 20)
        ]
        trades = [
            TradingViewTrade.model_validate(event.data, strict=True) for event in await events(stream, "trade", 5)
        ]
        assert quotes[0].values.bid < quotes[0].values.ask
        assert all((quote.status, quote.name) == ("ok", "AAPL") for quote in quotes)
        assert all(quote.model_extra == {} and quote.values.model_extra == {} for quote in quotes)
        assert all(trade.volume > 0 and trade.last_price > 0 and trade.model_extra == {} for trade in trades)

    talk(serve(rate=1000), work)


def test_it_ends_a_subscription(serve: Callable[..., Simulator]) -> None:
    sim = serve()

    async def work(stream: Any) -> None:
        await stream.subscribe("AAPL")
        await stream.subscribe("MSFT")
        await events(stream, "quote", 2)
        await stream.unsubscribe("AAPL")
        while sim.statistics().unsubscribe_requests == 0:
            await events(stream, "quote", 1)
        assert sim.subscriptions() == [{"MSFT": {"type": "quotes"}}]

    talk(sim, work)


def test_its_wrong_token_is_rejected(serve: Callable[..., Simulator]) -> None:
    async def work(_: Any) -> None: ...

    with pytest.raises(WebSocketAuthenticationError, match="rejected"):
        talk(serve(token="right"), work, token="wrong")


def test_it_renews_its_token_on_the_live_socket(serve: Callable[..., Simulator]) -> None:
    sim = serve(**RENEWED_SOON)

    async def work(stream: Any) -> None:
        await stream.subscribe("AAPL")
        while sim.statistics().auths < 3:
            await events(stream, "quote", 5)
        assert stream.state == "READY"

    talk(sim, work)

    assert sim.statistics().connections_total == 1
