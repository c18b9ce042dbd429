"""The vendor's client from PyPI against the simulator: what it accepts is the protocol."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from finance_dev.websocket.config import WebSocketConfig
from finance_dev.websocket.errors import WebSocketAuthenticationError, WebSocketRequestError
from finance_dev.websocket.market import MarketWebSocket
from finance_dev.websocket.models import (
    MarketSubscription,
    MarketUnsubscribe,
    QuoteData,
    TimeAndSalesData,
    TradeData,
)

from aries_nb.sim.aries.subscriptions import QUOTE_FIELDS
from tests.net.patience import RENEWED_SOON
from tests.sim.bare_client import streams

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aries_nb.sim import Simulator


def talk(sim: Simulator, work: Callable[[Any], Awaitable[None]], *, token: str = "t", **config: Any) -> None:
    async def run() -> None:
        resource = MarketWebSocket(None)
        stream = resource.connect_async(
            access_token=token,
            url=f"{sim.url}/v1/market/ws",
            config=WebSocketConfig(reconnect=False, incoming_queue_size=100_000, **config),
        )
        async with asyncio.timeout(60), stream:
            await work(stream)

    asyncio.run(run())


async def updates(stream: Any, kind: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count:
        payload = (await stream.get_event()).payload
        if payload.get("type") == kind:
            found.append(payload)
    return found


@pytest.mark.parametrize("auth_reply", ["event", "response", "anonymous"])
def test_it_authenticates_and_gets_the_market_status(serve: Callable[..., Simulator], auth_reply: str) -> None:
    sim = serve(token="right", auth_reply=auth_reply)

    async def work(stream: Any) -> None:
        assert stream.state == "READY"
        assert (await updates(stream, "marketStatus", 1))[0]["data"]["market"] == "open"

    talk(sim, work, token="right")

    assert sim.statistics().auths == 1


def test_its_wrong_token_is_rejected(serve: Callable[..., Simulator]) -> None:
    async def work(_: Any) -> None: ...

    with pytest.raises(WebSocketAuthenticationError, match="rejected"):
        talk(serve(token="right"), work, token="wrong")


def test_it_reads_quotes_trades_and_prints(serve: Callable[..., Simulator]) -> None:
    async def work(stream: Any) -> None:
        both = MarketSubscription(symbol="AAPL", quote_fields="*", trade_fields=["*"], time_and_sales=True)
        await stream.subscribe([both])
        for payload in await updates(stream, "quote", 20):
            assert QuoteData.model_validate(payload["data"], strict=True).model_extra == {}
        for payload in await updates(stream, "trade", 5):
            assert TradeData.model_validate(payload["data"], strict=True).model_extra == {}
        for payload in await updates(stream, "timeAndSales", 5):
            assert TimeAndSalesData.model_validate(payload["data"], strict=True).symbol == "AAPL"

    talk(serve(rate=1000), work)


def test_it_asks_for_options(serve: Callable[..., Simulator]) -> None:
    async def work(stream: Any) -> None:
        dates = await stream.get_option_expiry_dates_async("MSFT")
        expiry = dates["payload"]["body"]["expiryDates"][0]
        contracts = await stream.get_option_contract_symbols_async("MSFT", expiry)
        symbol = contracts["payload"]["body"]["puts"][0]["symbol"]
        await stream.subscribe([MarketSubscription(symbol=symbol, symbol_type="option", greeks_fields="*")])
        assert (await updates(stream, "greeks", 3))[0]["symbol"] == symbol
        with pytest.raises(WebSocketRequestError) as refused:
            await stream.get_option_expiry_dates_async("NOPE")
        assert (refused.value.status, refused.value.code) == (404, "NOT_FOUND")

    talk(serve(), work)


def test_its_pings_are_answered(serve: Callable[..., Simulator]) -> None:
    sim = serve(idle_seconds=1.0)

    async def work(stream: Any) -> None:
        await stream.subscribe([MarketSubscription(symbol="AAPL", quote_fields="*")])
        # Without its pings it would be closed before half of these updates at this rate.
        assert len(await updates(stream, "quote", 500)) == 500
        assert stream.state == "READY"

    talk(sim, work, ping_interval=0.1, pong_timeout=60.0)


def test_it_renews_its_token_on_the_live_socket(serve: Callable[..., Simulator]) -> None:
    sim = serve(**RENEWED_SOON)

    async def work(stream: Any) -> None:
        await stream.subscribe([MarketSubscription(symbol="AAPL", quote_fields=["bidPrice", "bidSize"])])
        while sim.statistics().auths < 4:
            await updates(stream, "quote", 5)
        assert stream.state == "READY"
        assert sim.subscriptions() == [{"AAPL": streams(quote=["bidPrice", "bidSize"])}]

    talk(sim, work)

    assert sim.statistics().connections_total == 1


def test_it_unsubscribes(serve: Callable[..., Simulator]) -> None:
    sim = serve()

    async def work(stream: Any) -> None:
        await stream.subscribe([MarketSubscription(symbol="AAPL", quote_fields="*", level2=True)])
        await stream.subscribe([MarketSubscription(symbol="MSFT", quote_fields="*")])
        await updates(stream, "quote", 2)
        await stream.unsubscribe(["MSFT", MarketUnsubscribe(symbol="AAPL", level2=True, quote_fields=["spread"])])
        await stream.get_option_expiry_dates_async("MSFT")  # answered after the unsubscribe was

    def check() -> None:
        (held,) = sim.subscriptions()
        assert held.keys() == {"AAPL"}
        assert held["AAPL"] == streams(quote=[name for name in QUOTE_FIELDS if name != "spread"])

    async def work_and_check(stream: Any) -> None:
        await work(stream)
        check()

    talk(sim, work_and_check)
