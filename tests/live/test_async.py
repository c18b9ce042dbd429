"""`connecting` and `async for`: the event loop runs on, every row comes once, and the end of the feed ends the loop."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from websockets.exceptions import ConnectionClosed

import aries_nb as anb
from aries_nb.brokers import BROKERS
from aries_nb.live.account.user_data import UserData
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.store.values import frame_of
from tests.live.account.scripted import Scripted, ScriptedAlor, ScriptedAries
from tests.net.patience import eventually
from tests.net.rude import RudeServer, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response
    from websockets.sync.server import ServerConnection as SyncConnection

    from aries_nb.sim import Simulator


class SlowFeed:
    """Opens and closes only once the event loop has had its turn."""

    def __init__(self, turn: threading.Event) -> None:
        self._loops: set[object] = set()
        self.turn = turn
        self.is_closed = threading.Event()

    def close(self) -> None:
        assert self.turn.wait(30), "the event loop stood still"
        self.is_closed.set()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowFeed:
    feed = SlowFeed(threading.Event())

    def connect(broker: str, **arguments: Any) -> SlowFeed:
        assert (broker, arguments) == ("sim", {"seed": 5})
        assert feed.turn.wait(30), "the event loop stood still"
        feed.turn.clear()
        return feed

    monkeypatch.setattr("aries_nb.live.connect", connect)
    return feed


def test_the_event_loop_runs_while_a_feed_is_opened_and_closed(slow: SlowFeed) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(0.05, slow.turn.set)
        async with anb.connecting("sim", seed=5) as feed:
            assert feed is slow  # type: ignore[comparison-overlap]
            asyncio.get_running_loop().call_later(0.05, slow.turn.set)

    asyncio.run(main())

    assert slow.is_closed.is_set()


def test_a_feed_that_was_given_up_while_it_opened_is_closed(slow: SlowFeed) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), anb.connecting("sim", seed=5):
                pass
        slow.turn.set()
        while not slow.is_closed.is_set():
            slow.turn.set()
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 120))


def test_connecting_raises_what_connect_raises() -> None:
    async def main() -> None:
        async with anb.connecting("aries", url="http://"):
            pass

    with pytest.raises(anb.FeedError):
        asyncio.run(main())


def test_a_feed_closes_with_the_block() -> None:
    async def main() -> anb.Feed:
        async with anb.connecting("sim", seed=71) as feed:
            assert feed.state == "live"
        return feed

    assert asyncio.run(main()).state == "closed"


class SlowServer:
    """Both brokers' servers, which answer subscriptions and pings while they may, and refuse the symbol NOPE."""

    def __init__(self, broker: str) -> None:
        self.broker = broker
        self.may_answer = True
        self.server = RudeServer(self.behave)
        self.tasks: list[asyncio.Task[None]] = []

    async def behave(self, server: RudeServer, connection: ServerConnection) -> None:
        if self.broker == "aries":
            await server.log_in(connection)
        async for text in connection:
            for line in str(text).split("\n"):
                task = asyncio.create_task(self.answer_later(connection, json.loads(line)))
                self.tasks.append(task)

    async def answer_later(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        for _ in iter(lambda: self.may_answer, True):
            await asyncio.sleep(0.01)
        with suppress(ConnectionClosed):
            await self.answer(connection, message)

    async def answer(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        is_refused = "NOPE" in json.dumps(message)
        if self.broker == "alor":
            code = 404 if is_refused else 200
            reply = {"requestGuid": message["guid"], "httpCode": code, "message": "not found" if code == 404 else "ok"}
            await say(connection, reply)
        elif is_refused:
            error = {"action": "error", "error": "unknown symbol NOPE", "id": message["id"], "timestamp": 1}
            await say(connection, {"type": "event", "payload": error})
        elif message["type"] == "ping":
            await say(connection, {"type": "pong", "id": message["id"]})


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_no_call_holds_up_the_loop_while_the_server_answers_slowly(
    broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.live.connection.ANSWER_SECONDS", 30.0)  # for which a call that waits would wait
    for session in ("net.session", "brokers.aries.session", "brokers.alor.session"):
        monkeypatch.setattr(f"aries_nb.{session}.PONG_SECONDS", 600.0)  # the end of a connection would end that
    slow = SlowServer(broker)

    async def main() -> None:
        async with anb.connecting(broker) as feed:
            slow.may_answer = False
            begun = time.monotonic()
            held = [feed.quotes("A", "B"), feed.trades("A"), feed.book("A"), feed.quotes("A", "B", rows=50)]
            unknown = feed.quotes("NOPE")
            assert time.monotonic() - begun < 30
            slow.may_answer = True
            with pytest.raises(anb.UnknownSymbolError, match="NOPE"):
                await unknown.until(timeout=60)
            assert all(each.is_open for each in held)

    with slow.server as server:
        feed = anb.Feed(BROKERS[broker], server.url, fixed_token("a token"), at_close=lambda closed: None)
        feed.wait_open(30)
        monkeypatch.setattr("aries_nb.live.connect", lambda _: feed)
        asyncio.run(asyncio.wait_for(main(), 120))


class Turns:
    """Counts the turns of the event loop within the block."""

    async def __aenter__(self) -> Turns:
        self.count = 0  # not only with the first turn: before it, nobody would wait
        self._task = asyncio.create_task(self._go_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.count = math.inf
        self._task.cancel()

    count: float = math.inf

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            self.count += 1

    def wait(self) -> None:
        """Wait for some turns, on another thread; a loop that waits for it as well has none."""
        until = self.count + 3
        eventually(lambda: self.count >= until, "the event loop to go on")


class SlowConnect(Scripted):
    """Lets the client's event loop have turns before every handshake, and before every answer over HTTP."""

    turns = Turns()

    def _http(self, connection: SyncConnection, request: Request) -> Response | None:
        self.turns.wait()
        return super()._http(connection, request)


class SlowAries(SlowConnect, ScriptedAries):
    pass


class SlowAlor(SlowConnect, ScriptedAlor):
    pass


@contextmanager
def slow_broker(broker: str, monkeypatch: pytest.MonkeyPatch, turns: Turns) -> Iterator[SlowConnect]:
    """A slow server with an account D1, to which `connecting` connects."""
    monkeypatch.setattr(SlowConnect, "turns", turns)
    with SlowAries(["D1"]) if broker == "aries" else SlowAlor() as server:
        assert isinstance(server, SlowAries | SlowAlor)
        if isinstance(server, SlowAries):
            server.open("D1", Decimal(1000), [("A", Decimal(10), Decimal(5))])
        else:
            server.open("D1", Decimal(1000), [("A", Decimal(10), Decimal(5), Decimal(50))])
        server.quote("A", 6, 6, 6)
        token = fixed_token("a token")
        feed = anb.Feed(BROKERS[broker], server.url, token, at_close=lambda closed: None)
        feed.wait_open(30)
        monkeypatch.setattr("aries_nb.live.connect", lambda _: feed)
        yield server


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_accounts_and_bars_hold_up_no_loop_while_connections_and_answers_are_slow(
    broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns()

    async def main() -> None:
        async with anb.connecting(broker) as feed, turns:
            account = feed.account("D1")
            assert account is feed.account("D1")
            bars, equity = feed.bars("A"), account.equity
            tables = [account.positions, account.balances, account.orders, account.fills, account.pnl()]
            tables += [feed.news(), feed.watchlists] if broker == "aries" else []
            assert not len(account.positions)

            assert len(await account.positions.until()) > 0
            await equity.until()
            with pytest.raises(anb.FeedError, match="404"):  # the history of the bars
                await bars.until(timeout=60)
            assert feed.bars("A") is not bars  # asked again
            assert all(each.is_open for each in tables)
            assert equity.df["equity"].iloc[-1] == 1060

    with slow_broker(broker, monkeypatch, turns):
        asyncio.run(asyncio.wait_for(main(), 120))


WAITING: dict[str, Callable[[anb.Feed], object]] = {
    "accounts": lambda feed: feed.accounts,
    "the only account": lambda feed: feed.account(),
    "options": lambda feed: feed.options("A"),
    "a lookup": lambda feed: feed.reference.search("A"),
    "health": lambda feed: feed.reference.is_healthy(),
    "orders of the past": lambda feed: feed.account("D1").order_history("2026-11-01"),
}


@pytest.mark.parametrize("name", WAITING)
def test_what_must_be_waited_for_is_refused_on_the_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()

    async def main() -> None:
        async with anb.connecting("aries") as feed, turns:
            with pytest.raises(anb.UsageError, match="hold up the event loop") as refused:
                WAITING[name](feed)
            assert "asyncio.to_thread" in str(refused.value)

    with slow_broker("aries", monkeypatch, turns):
        asyncio.run(asyncio.wait_for(main(), 120))


def test_accounts_that_were_listed_are_known_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with anb.connecting("aries") as feed:
            assert await asyncio.to_thread(lambda: feed.accounts) == ("D1",)

            assert feed.accounts == ("D1",)
            assert feed.account().name == "D1"
            with pytest.raises(anb.UsageError, match="list"):
                feed.account("D2")

    with slow_broker("aries", monkeypatch, Turns()):
        asyncio.run(asyncio.wait_for(main(), 120))


TABLES: dict[str, Callable[[anb.Account], Any]] = {
    "orders": lambda account: account.orders,
    "fills": lambda account: account.fills,
    "positions": lambda account: account.positions,
    "equity": lambda account: account.equity,
    "pnl": lambda account: account.pnl(),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("broker", ["sim", "sim-alor"])
def test_a_refused_account_raises_when_it_is_awaited(broker: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserData, "names", lambda _: ())  # as of a broker that does not list them

    async def main() -> None:
        async with anb.connecting(broker, seed=75) as feed:
            with pytest.raises(anb.UsageError, match=r"the server refuses .* of account 'D99999'"):
                await TABLES[name](feed.account("D99999")).until()
            with pytest.raises(anb.UsageError, match=r"the server refuses .* of account 'D99999'"):
                await asyncio.to_thread(lambda: TABLES[name](feed.account("D99999")).wait())

    asyncio.run(asyncio.wait_for(main(), 120))


@pytest.mark.parametrize(("broker", "symbol"), [("sim", "AAPL"), ("sim-alor", "SBER")])
def test_bars_of_a_loop_are_those_of_a_cell(broker: str, symbol: str) -> None:
    async def main() -> None:
        async with anb.connecting(broker, seed=76) as feed:
            bars = await feed.bars(symbol, history="5d").until(bars=100)
            there = await asyncio.to_thread(feed.bars, symbol, history="6d")

            old = bars.df.iloc[:-3]
            pd.testing.assert_frame_equal(old, there.df.loc[old.index])
            with pytest.raises(anb.FeedError, match="NOPE"):
                await feed.bars("NOPE").until()

    asyncio.run(asyncio.wait_for(main(), 120))


def test_every_row_comes_once_with_those_that_are_there_first(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=50)
    parts: list[pd.DataFrame] = []

    async def main() -> None:
        async for rows in quotes:
            parts.append(rows)
            if sum(map(len, parts)) > 300:
                break

    asyncio.run(asyncio.wait_for(main(), 120))
    feed.close()

    got = pd.concat(parts)
    assert len(parts[0]) >= 50
    pd.testing.assert_frame_equal(got, quotes._tape.frame_since(0)[0].iloc[: len(got)])


@contextmanager
def busy_executor() -> Iterator[None]:
    """Within a running loop: calls that block have taken up all threads of the loop's executor."""
    end, executor = threading.Event(), ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(executor)
    executor.submit(end.wait)
    try:
        yield
    finally:
        end.set()


def test_blocking_calls_of_the_user_hold_up_neither_connecting_nor_an_iteration() -> None:
    async def main() -> int:
        with busy_executor():
            async with anb.connecting("sim", seed=72) as feed:
                async for rows in feed.quotes("AAPL"):
                    return len(rows)
        return 0

    assert asyncio.run(asyncio.wait_for(main(), 120)) > 0


def test_a_feed_that_opens_after_the_loop_has_ended_is_closed(slow: SlowFeed, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with asyncio.timeout(0.05), anb.connecting("sim", seed=5):
            pass

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    slow.turn.set()
    while not slow.is_closed.wait(0.01):
        slow.turn.set()

    assert not caplog.records


UPDATED: dict[str, Callable[[anb.Feed], Any]] = {
    "trades": lambda feed: feed.trades("AAPL"),
    "book": lambda feed: feed.book("AAPL"),
    "bars": lambda feed: feed.bars("AAPL"),
    "positions": lambda feed: feed.account("ACC-1").positions,
    "chain": lambda feed: feed.options("MSFT", feed.options("MSFT").expiries[0], strikes=1),
}


def test_rows_are_made_on_another_thread_than_the_loops(
    serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The DataFrame of a day of orders takes longer than the loop may be held up."""
    feed = open_feed(serve(orders_per_s=20.0))
    threads: set[int] = set()

    def frame(columns: Any, rows: Any) -> pd.DataFrame:
        threads.add(threading.get_ident())
        return frame_of(columns, rows)

    async def main() -> None:
        async for rows in feed.account("ACC-1").orders:
            if len(rows):
                return

    monkeypatch.setattr("aries_nb.store.log.frame_of", frame)
    asyncio.run(asyncio.wait_for(main(), 120))

    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("name", UPDATED)
def test_all_that_have_updates_can_be_iterated_until_they_are_closed(name: str, feed: anb.Feed) -> None:
    live = UPDATED[name](feed)

    async def main() -> int:
        count = 0
        async for rows in live:
            assert isinstance(rows, pd.DataFrame)
            count += 1
            if count == 2 or name == "positions":
                live.close()
        return count

    assert asyncio.run(asyncio.wait_for(main(), 120)) >= 1


def test_the_end_of_the_feed_ends_an_iteration(feed: anb.Feed) -> None:
    async def main() -> None:
        async for _ in feed.quotes("AAPL"):
            feed.close()

    asyncio.run(asyncio.wait_for(main(), 120))


# What `on_update` gives of each.


def updates_of(live: Any, count: int) -> list[pd.DataFrame]:
    parts: list[pd.DataFrame] = []
    has_come = threading.Event()

    def take(rows: pd.DataFrame) -> None:
        parts.append(rows)
        if len(parts) >= count:
            has_come.set()

    stop = live.on_update(take)
    assert has_come.wait(60)
    stop()
    return parts


def test_a_book_gives_its_levels_after_each_change(feed: anb.Feed) -> None:
    book = feed.book("AAPL", depth=3).wait()

    parts = updates_of(book, 5)

    assert all(list(part.columns) == list(book.df.columns) and 1 <= len(part) <= 6 for part in parts)
    assert all(before.index[0] <= after.index[0] for before, after in pairwise(parts))


def test_bars_give_those_that_changed(feed: anb.Feed) -> None:
    bars = feed.bars("AAPL", history="1h").wait()
    before = bars.df

    parts = updates_of(bars, 3)

    assert all(len(part) <= 3 for part in parts)
    assert all(part.index[-1] >= before.index[-1] for part in parts)
    pd.testing.assert_series_equal(parts[-1].dtypes, before.dtypes)


def test_equity_gives_each_computation_once(feed: anb.Feed) -> None:
    equity = feed.account("ACC-1").equity.wait()

    parts = updates_of(equity, 3)

    got = pd.concat(parts)
    assert got.index.is_monotonic_increasing
    assert got.index.is_unique
    pd.testing.assert_frame_equal(got, equity.df.loc[got.index])


def test_a_chain_gives_its_contracts(feed: anb.Feed) -> None:
    chain = UPDATED["chain"](feed)

    (part, *_) = updates_of(chain, 1)

    assert list(part.index) == list(chain.df.index)
