"""The vendor's client from PyPI on the accounts endpoint: what it accepts is the protocol."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from finance_dev.websocket.account import AccountWebSocket
from finance_dev.websocket.config import WebSocketConfig
from finance_dev.websocket.errors import WebSocketRequestError
from finance_dev.websocket.models.account import AccountEvent, AccountSnapshot, PnlEvent, TopicEvent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aries_nb.sim import Simulator


def talk(sim: Simulator, work: Callable[[Any], Awaitable[None]]) -> None:
    async def run() -> None:
        stream = AccountWebSocket(None).connect_async(
            access_token="t",
            url=f"{sim.url}/v1/accounts/ws",
            config=WebSocketConfig(reconnect=False, incoming_queue_size=100_000),
        )
        async with asyncio.timeout(30), stream:
            await work(stream)

    asyncio.run(run())


async def receive(stream: Any, topic: str, name: str | None = None) -> dict[str, Any]:
    """The next payload of a topic."""
    while True:
        payload: dict[str, Any] = (await stream.get_event()).payload
        if payload.get("topic") == topic and name in (None, payload.get("name")):
            return payload


def test_it_takes_the_snapshot_and_follows_an_account(serve: Callable[..., Simulator]) -> None:
    async def work(stream: Any) -> None:
        ack = await stream.subscribe_account_async("ACC-1")
        snapshot = AccountSnapshot.model_validate(ack["payload"]["data"], strict=True)
        assert snapshot.account["accountId"] == "ACC-1"
        assert {position["symbol"] for position in snapshot.positions} >= {"AAPL"}
        info = AccountEvent.model_validate(await receive(stream, "account", "account.info"), strict=True)
        assert info.target == "ACC-1"
        await stream.subscribe_account_async("ACC-2")
        states: dict[str, list[str]] = {}
        while not any(len(each) >= 2 and each[0] == "PENDING_NEW" for each in states.values()):
            order = AccountEvent.model_validate(await receive(stream, "account", "account.order"), strict=True)
            states.setdefault(order.data["clOrdId"], []).append(order.data["ordStatus"])
        assert {each[1] for each in states.values() if each[0] == "PENDING_NEW"} <= {"NEW", "REJECTED"}
        balance = AccountEvent.model_validate(await receive(stream, "account", "account.balance"), strict=True)
        assert Decimal(balance.data["balance"]) > 0

    talk(serve(), work)


def test_it_follows_profit_and_loss(serve: Callable[..., Simulator]) -> None:
    async def work(stream: Any) -> None:
        start = datetime.now(UTC) - timedelta(minutes=10)
        await stream.subscribe_pnl_async("ACC-2", start, interval="1m")
        candles = [PnlEvent.model_validate(await receive(stream, "pnl"), strict=True).data for _ in range(12)]
        times = [candle["time"] for candle in candles]
        assert times[:11] == [times[0] + 60_000 * number for number in range(11)]
        assert times[11] >= times[10]

    talk(serve(), work)


def test_it_reads_watchlists_and_news(serve: Callable[..., Simulator]) -> None:
    async def work(stream: Any) -> None:
        lists = TopicEvent.model_validate((await stream.subscribe_watchlist_async())["payload"], strict=True)
        ack = await stream.subscribe_news_async(symbols=["AAPL"], topics=["earnings"])
        assert [each["id"] for each in lists.data] == [1, 2, 3]
        assert TopicEvent.model_validate(ack["payload"], strict=True).topic == "news"

    talk(serve(), work)


def test_it_gets_an_error_for_a_foreign_account(serve: Callable[..., Simulator]) -> None:
    async def work(stream: Any) -> None:
        with pytest.raises(WebSocketRequestError, match="ACC-77"):
            await stream.subscribe_account_async("ACC-77")
        await stream.subscribe_account_async("ACC-1")

    talk(serve(), work)


def test_it_unsubscribes(serve: Callable[..., Simulator]) -> None:
    sim = serve()

    async def work(stream: Any) -> None:
        start = datetime.now(UTC)
        await stream.subscribe_account_async("ACC-1")
        await stream.subscribe_pnl_async("ACC-1", start)
        await stream.subscribe_watchlist_async()
        await stream.subscribe_news_async()
        assert sim.subscriptions()[0].keys() == {"account", "pnl", "watchlist", "news"}
        await stream.unsubscribe_account_async("ACC-1")
        await stream.unsubscribe_pnl_async("ACC-1")
        await stream.unsubscribe_watchlist_async()
        await stream.unsubscribe_news_async()
        assert sim.subscriptions() == [{}]

    talk(sim, work)
