"""The broker's limits are kept by us: streams a connection, connections in all, messages that are left unread."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.brokers import BROKERS, Broker
from aries_nb.errors import ConnectError, UsageError
from aries_nb.live import LiveFrame, connect
from aries_nb.net.background import on_network
from aries_nb.net.limits import ConnectionLimit
from aries_nb.sim import Simulator
from aries_nb.sim.alor.portfolios import PORTFOLIOS
from tests.live.alor_feeds import open_alor, serve_alor
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Feed

__all__ = ["open_alor", "serve_alor"]

MOST_CONNECTIONS, MOST_STREAMS = 10, 5_000
MANY = tuple(f"SIM{number:05d}" for number in range(1, 12_001))
TURNS = 8


class MostAtOnce(list[Any]):
    """The server's clients, with how many were open at most."""

    most = 0

    def append(self, client: Any) -> None:
        super().append(client)
        self.most = max(self.most, sum(each.is_open for each in self))


def watched(sim: Simulator) -> MostAtOnce:
    clients = MostAtOnce()
    sim._call(lambda: setattr(sim._server, "clients", clients))
    return clients


def streams_of_each(sim: Simulator) -> list[int]:
    return sim._call(lambda: [len(client.session._open) for client in sim._server.clients])


def narrow(most_streams: int) -> Broker:
    """The broker, if it allowed so few streams on a connection."""
    broker = BROKERS["alor"]
    return replace(broker, market=replace(broker.market, most_streams=most_streams))


@pytest.mark.parametrize("count", [1_200, pytest.param(len(MANY), marks=pytest.mark.long)])
def test_thousands_of_streams_lie_evenly_on_three_connections(
    count: int, serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    """Of twelve thousand with the broker's limit; of fewer where it is as much smaller."""
    assert BROKERS["alor"].market.most_streams == MOST_STREAMS
    most_streams = MOST_STREAMS * count // len(MANY)
    sim = serve_alor(rate=1_000, queue_limit=100_000)  # in one process with its client it may be the slower one
    clients = watched(sim)
    feed = open_alor(sim, broker=narrow(most_streams))

    quotes = feed.quotes(*MANY[:count])
    eventually(lambda: sum(streams_of_each(sim)) == count, seconds=30)
    spread = streams_of_each(sim)
    statistics = sim.statistics()
    eventually(lambda: quotes.latest["ask_price"].notna().all(), "a quote of each", seconds=30)

    assert spread == [count // 3] * 3
    assert max(spread) <= most_streams
    assert (statistics.subscribe_requests, clients.most) == (count, 3)
    assert (feed.state, feed.stats().streams, feed.stats().gaps, feed.stats().unreadable) == ("live", count, 0, 0)
    quotes.close()
    eventually(lambda: streams_of_each(sim) == [0], "one connection, without streams", seconds=30)


def test_streams_asked_for_one_by_one_cost_the_same_whatever_there_is(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked at for each call, frame and row does not grow with the frames that are held."""
    sim = serve_alor()
    feed = open_alor(sim)
    sim.set_market("closed")  # nothing comes but what is asked for
    frames = [feed.trades(symbol, rows=10) for symbol in MANY[:60]]
    (session,) = feed._link._pool.sessions
    published: list[int] = []
    for frame in frames:
        publish = frame._tape.publish
        monkeypatch.setattr(frame._tape, "publish", lambda publish=publish: (published.append(1), publish())[1])

    another = feed.quotes(MANY[60], rows=10).wait()

    assert another.received >= 1
    assert published == []
    assert session._protocol._unsettled == {}  # type: ignore[attr-defined]


def test_more_than_fifty_thousand_streams_are_refused_before_anything_is_sent(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor()
    feed = open_alor(sim)
    too_many = [f"SIM{number:05d}" for number in range(1, MOST_CONNECTIONS * MOST_STREAMS + 2)]

    with pytest.raises(UsageError) as refused:
        feed.quotes(*too_many)

    assert "50,001 more streams are beyond the broker's limit: 50,000 are left, 5,000 a connection" in str(
        refused.value
    )
    assert "Close frames, books or feeds" in str(refused.value)
    statistics = sim.statistics()
    assert (statistics.subscribe_requests, statistics.connections_total) == (0, 1)
    assert (feed.state, feed.stats().streams) == ("live", 0)
    assert feed.quotes("SBER").wait().is_live


def test_the_connection_of_accounts_counts_as_well(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor()
    clients = watched(sim)
    feed = open_alor(sim, broker=narrow(2), connection_limit=ConnectionLimit(MOST_CONNECTIONS))
    feed.account(PORTFOLIOS[0]).orders  # noqa: B018 - opens the connection

    with pytest.raises(UsageError, match="19 more streams are beyond the broker's limit: 18 are left, 2 a connection"):
        feed.quotes(*MANY[:19])
    quotes = feed.quotes(*MANY[:18])

    # The account has two on a connection of its own: its orders, and its own trades, which have the prices.
    eventually(lambda: streams_of_each(sim) == [2] * MOST_CONNECTIONS)
    assert clients.most == MOST_CONNECTIONS
    assert quotes.is_open


def test_feeds_of_one_address_share_its_connections_however_it_is_written(
    serve_alor: Callable[..., Simulator],
) -> None:
    sim = serve_alor()

    with (
        connect("alor", url=sim.url, token=lambda: "one") as feed,
        connect("alor", url=f"{sim.url}/", token=lambda: "another") as other,
    ):
        assert feed is not other
        assert feed._link._pool._connection_limit is other._link._pool._connection_limit
        assert feed._link._pool._connection_limit.in_use == 2


def test_the_eleventh_connection_is_never_opened_whatever_is_asked_on_however_many_threads(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor(rate=1)
    clients = watched(sim)
    connection_limit = ConnectionLimit(MOST_CONNECTIONS)
    feeds = [open_alor(sim, broker=narrow(3), connection_limit=connection_limit) for _ in range(2)]
    refused: list[str] = []
    wrong: list[BaseException] = []

    def ask(seed: int) -> None:
        chance = Random(seed)
        try:
            for _ in range(TURNS):
                use(chance.choice(feeds), chance, refused)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    most, total = clients.most, sim.statistics().connections_total
    rest: list[LiveFrame] = []
    eventually(
        lambda: take_all_that_is_left(feeds[0], connection_limit, rest), "all that was given up to be free again"
    )

    assert wrong == []
    assert most <= MOST_CONNECTIONS < total  # they were closed and opened again and again
    assert len(refused) > 0
    assert rest[0].is_open
    eventually(lambda: len(clients) == MOST_CONNECTIONS, "all connections that may be")
    assert (clients.most, connection_limit.in_use) == (MOST_CONNECTIONS, MOST_CONNECTIONS)
    eventually(lambda: [feed.state for feed in feeds] == ["live", "live"])
    assert [feed.stats().last_error for feed in feeds] == ["", ""]


def test_a_frame_that_is_given_up_on_the_networks_thread_makes_room_when_its_connection_is_closed(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor(rate=1)
    clients = watched(sim)
    feed = open_alor(sim, broker=narrow(1), connection_limit=ConnectionLimit(2))
    first = feed.quotes("SBER", rows=10)

    for number in range(20):
        another = feed.quotes(MANY[number], rows=10)
        on_network(another.close).result(30)
        with suppress(UsageError):  # the connection before is on its way out still
            feed.quotes(MANY[-1], rows=10).close()
        eventually(lambda: feed._link._pool._connection_limit.in_use == 1)

    assert clients.most == 2
    assert first.is_live


def take_all_that_is_left(feed: Feed, connection_limit: ConnectionLimit, in_use: list[LiveFrame]) -> bool:
    """Fill what connections there may still be; False while one is on its way out."""
    try:
        in_use.append(feed.quotes(*MANY[: 3 * (MOST_CONNECTIONS - connection_limit.in_use + 1)]))
    except UsageError:
        return False
    return True


def use(feed: Feed, chance: Random, refused: list[str]) -> None:
    """Hold something of a feed for a moment, or be refused by us."""
    names = chance.sample(MANY[:60], chance.randint(1, 14))
    try:
        what = chance.choice(["quotes", "trades", "books", "account"])
        if what == "account":
            feed.account(PORTFOLIOS[0]).orders  # noqa: B018 - its connection stays
            return
        if what == "books":
            held: list[Any] = [feed.book(name) for name in names[:5]]
        else:
            held = [feed.quotes(*names, rows=10) if what == "quotes" else feed.trades(*names, rows=10)]
    except (UsageError, ConnectError) as error:
        refused.append(str(error))
        return
    for each in held:
        each.close()


def test_whoever_is_cut_off_for_not_reading_is_told_and_has_every_trade_all_the_same(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor(rate=8_000, queue_limit=300)
    others = open_alor(sim).trades("SBER", "GAZP", "VTBR", "LKOH")  # reads as slowly, and asks for the past as well
    feed = open_alor(sim)
    trades = feed.trades("SBER", "GAZP", "VTBR", "LKOH").wait(rows=50)

    def stall() -> None:
        deadline = time.monotonic() + 10
        while sim._server._counts["slow"] < 2 and time.monotonic() < deadline:  # both are cut off
            time.sleep(0.02)

    on_network(stall).result(15)
    patient = replace(sim._server.options, queue_limit=100_000)  # else a busy machine is cut off again and again
    sim._call(lambda: setattr(sim._server, "options", patient))
    eventually(lambda: feed.stats().reconnects >= 1 and feed.state == "live")
    sim.set_market("closed")
    numbers = sim._call(lambda: sim._server.feed._channels)
    expected = {key[1]: channel.prints.last.number for key, channel in numbers.items()}
    newest = lambda: trades.df.groupby("symbol")["trade_id"].max().to_dict()  # noqa: E731
    eventually(lambda: newest() == expected)
    gaps = feed.gaps.df
    steps = [rows["trade_id"].diff().dropna() for _, rows in trades.df.groupby("symbol")]

    assert sim.statistics().closed_slow >= 1
    assert others.is_open
    assert gaps["reason"].iloc[0] == "the connection was cut"
    assert bool(gaps["filled"].iloc[0]) is all((step == 1).all() for step in steps)
    assert all((step >= 1).all() for step in steps)


def test_what_is_in_use_of_what_the_broker_allows_is_told(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed], sim: Simulator, open_feed: Callable[..., Feed]
) -> None:
    limited, unlimited = open_alor(serve_alor(rate=100)), open_feed(sim)
    held = limited.quotes("SBER"), unlimited.quotes("AAPL")
    _ = limited.account("D00001").balances

    now, other = limited.stats(), unlimited.stats()

    assert (now.connections, now.most_connections, now.streams, now.most_streams) == (2, 10, 2, 50_000)
    assert (other.connections, other.most_connections, other.streams, other.most_streams) == (1, None, 1, None)
    assert (limited.card().connections, limited.card().most_streams) == (2, 50_000)
    assert all(each.is_open for each in held)


def test_reading_too_slowly_is_told_before_the_broker_cuts_off(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = serve_alor(rate=2_000)
    feed = open_alor(sim)
    trades = feed.trades("SBER").wait(rows=200)
    (session,) = feed._link._pool.sessions
    eventually(lambda: (feed.stats().behind_s, feed._source.card().behind_s) == (0.0, 0.0))
    take = session.intake.take

    def slowly(frame: bytes, received: int) -> Any:
        time.sleep(0.002)
        return take(frame, time.time_ns())

    monkeypatch.setattr(session.intake, "take", slowly)
    monkeypatch.setattr(session.intake, "take_columns", lambda unread, received: len(unread))  # one after the other
    eventually(lambda: feed.stats().behind_s > 0)
    told, shown = feed._source.card(), repr(feed.stats())
    closed = sim.statistics().closed_slow
    monkeypatch.undo()
    eventually(lambda: feed.stats().behind_s == 0)

    assert (told.state, closed) == ("live", 0)
    assert told.behind_s > 0.5
    assert "behind_s=" in shown
    assert "live, but" in feed_card_picture(told)
    assert trades.df["trade_id"].diff().dropna().eq(1).all()


def feed_card_picture(data: Any) -> str:
    """The status card as it is drawn where there is no kernel."""
    from aries_nb.widgets import Card

    class Source:
        version = 0

        def card(self) -> Any:
            return data

    card = Card(Source())
    try:
        return card._picture()
    finally:
        card.close()
