from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.errors import ConnectError, UsageError
from aries_nb.model import QUOTE_COLUMNS, Subscription
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.intake import Route
from aries_nb.net.limits import ConnectionLimit
from aries_nb.net.pool import SessionPool
from aries_nb.store import GapLog, RollingFrame
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aries_nb.sim import Simulator

    Serve = Callable[..., Simulator]
    Open = Callable[..., SessionPool]

FIELDS = tuple(column.name for column in QUOTE_COLUMNS)
SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "TSLA", "GOOGL", "META", "SPY", "QQQ", "AMD")
QUICK = BackoffRule(first=0.01, cap=0.05, cap_after_live=0.05)


def quotes(*symbols: str) -> tuple[RollingFrame, list[Route]]:
    tape = RollingFrame(QUOTE_COLUMNS, symbols, limit=10_000)
    return tape, [Route(Subscription("quotes", symbol, FIELDS), tape, code) for code, symbol in enumerate(symbols)]


def loads(pool: SessionPool) -> list[int]:
    return [len(session.intake.subscriptions) for session in pool.sessions]


def ask(pool: SessionPool, streams: list[Route]) -> dict[str, str]:
    refused: dict[str, str] = {}
    for answer in pool.subscribe(streams):
        refused |= answer.result(30)
    return refused


@pytest.fixture
def open_pool() -> Iterator[Open]:
    """Open pools of a broker that allows so many streams a connection; closed with the test."""
    pools: list[SessionPool] = []

    def begin(url: str, *, most_streams: int | None, connection_limit: ConnectionLimit | None = None) -> SessionPool:
        endpoint = replace(BROKERS["aries"].market, most_streams=most_streams)
        ledger: Any = GapLog().stream("market")
        pool = SessionPool(
            url + endpoint.path,
            endpoint,
            fixed_token("a token"),
            ledger.of_connection,
            connection_limit=connection_limit or ConnectionLimit(),
            rule=QUICK,
        )
        pools.append(pool)
        pool.sessions[0].wait_open(30)
        return pool

    yield begin
    for pool in pools:
        pool.close()


def test_streams_are_spread_evenly_over_as_many_connections_as_they_need(serve: Serve, open_pool: Open) -> None:
    sim = serve(rate=500)
    pool = open_pool(sim.url, most_streams=4)
    tape, streams = quotes(*SYMBOLS)

    ask(pool, streams)

    assert loads(pool) == [4, 3, 3]
    eventually(lambda: None not in tape.latest(), "a row of each symbol")


def test_streams_asked_for_one_by_one_go_where_the_fewest_are(serve: Serve, open_pool: Open) -> None:
    pool = open_pool(serve().url, most_streams=4)

    for symbol in SYMBOLS[:7]:
        ask(pool, quotes(symbol)[1])

    assert loads(pool) == [4, 3]


def test_the_same_stream_for_another_frame_takes_no_room(serve: Serve, open_pool: Open) -> None:
    pool = open_pool(serve().url, most_streams=2, connection_limit=ConnectionLimit(1))
    ask(pool, quotes("AAPL", "MSFT")[1])

    ask(pool, quotes("MSFT", "AAPL")[1])

    assert loads(pool) == [2]


def test_more_than_the_broker_allows_is_refused_before_anything_is_sent(serve: Serve, open_pool: Open) -> None:
    sim = serve()
    pool = open_pool(sim.url, most_streams=3, connection_limit=ConnectionLimit(2))
    ask(pool, quotes("AAPL")[1])

    with pytest.raises(UsageError, match="6 more streams are beyond the broker's limit: 5 are left, 3 a connection"):
        pool.subscribe(quotes(*SYMBOLS[1:7])[1])

    assert loads(pool) == [1]
    assert sim.statistics().connections_open == 1


def test_no_pool_opens_a_connection_beyond_the_shared_limit(serve: Serve, open_pool: Open) -> None:
    sim = serve()
    connection_limit = ConnectionLimit(4)
    pools = [open_pool(sim.url, most_streams=2, connection_limit=connection_limit) for _ in range(2)]
    most_seen, refusals = [0], [0]

    def ask_and_give_up(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(12):
            pool = chance.choice(pools)
            _, streams = quotes(*chance.sample(SYMBOLS, chance.randint(1, 5)))
            try:
                ask(pool, streams)
            except UsageError:
                refusals[0] += 1
                continue
            most_seen[0] = max(most_seen[0], sim.statistics().connections_open)
            for done in pool.unsubscribe(streams):
                done.result(30)

    threads = [threading.Thread(target=ask_and_give_up, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [sum(loads(pool)) for pool in pools] == [0, 0]
    assert connection_limit.in_use == 2
    assert 2 < most_seen[0] <= 4
    assert refusals[0] > 0


def test_a_connection_without_streams_is_closed_and_given_back(serve: Serve, open_pool: Open) -> None:
    sim = serve()
    connection_limit = ConnectionLimit(3)
    pool = open_pool(sim.url, most_streams=2, connection_limit=connection_limit)
    _, first = quotes("AAPL", "MSFT")
    _, second = quotes("NVDA", "AMZN")
    ask(pool, first)
    ask(pool, second)

    for done in pool.unsubscribe(second):
        done.result(30)

    assert loads(pool) == [2]
    assert connection_limit.in_use == 1
    eventually(lambda: sim.statistics().connections_open == 1, "the second connection to be gone")


def test_a_pool_without_a_connection_left_says_so(serve: Serve, open_pool: Open) -> None:
    sim = serve()
    connection_limit = ConnectionLimit(1)
    first = open_pool(sim.url, most_streams=2, connection_limit=connection_limit)

    with pytest.raises(ConnectError, match="all 1 connections are in use"):
        open_pool(sim.url, most_streams=2, connection_limit=connection_limit)
    first.close()

    assert open_pool(sim.url, most_streams=2, connection_limit=connection_limit).sessions[0].state == "live"


def test_each_connection_has_its_own_line_in_the_ledger(serve: Serve, open_pool: Open) -> None:
    sim = serve()
    pool = open_pool(sim.url, most_streams=1)
    ask(pool, quotes("AAPL", "MSFT")[1])
    eventually(lambda: [session.state for session in pool.sessions] == ["live", "live"])
    ledger: Any = pool.sessions[0]._gap_tracker._gaps

    sim.drop_connections()

    eventually(lambda: len(ledger._log.all()) == 2, "a gap of each")
    assert {"market", "market 2"} == {gap.stream for gap in ledger._log.all()}


def test_streams_that_the_garbage_collector_gives_up_in_the_middle_of_a_call_leave_behind_it(
    serve: Serve, open_pool: Open
) -> None:
    pool = open_pool(serve().url, most_streams=1, connection_limit=ConnectionLimit(3))
    _, (kept, dropped) = quotes("AAPL", "MSFT")
    ask(pool, [kept])
    ask(pool, [dropped])
    _, (wanted,) = quotes("NVDA")

    def streams() -> Iterator[Route]:
        pool.unsubscribe([dropped])
        yield wanted

    refused = [answer.result(30) for answer in pool.subscribe(streams())]

    assert refused == [{}]
    assert [session.intake.subscriptions for session in pool.sessions] == [[kept.subscription], [wanted.subscription]]
