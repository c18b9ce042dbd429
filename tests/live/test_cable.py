"""A cable that is pulled: nothing travels any more, nothing is closed, and no message is sent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.live.alor_feeds import open_alor, serve_alor
from tests.net.forward_proxy import Cable
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aries_nb.live import Feed
    from aries_nb.sim import Simulator

__all__ = ["open_alor", "serve_alor"]

PING, PONG = 0.3, 1.5  # a busy machine answers late


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for session in ("aries.session", "alor.session"):
        monkeypatch.setattr(f"aries_nb.brokers.{session}.PING_SECONDS", PING)
        monkeypatch.setattr(f"aries_nb.brokers.{session}.PONG_SECONDS", PONG)
    monkeypatch.setattr("aries_nb.net.session.TICK_SECONDS", 0.05)


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how many seconds the machine has slept; one more makes it longer."""
    seconds: list[float] = []
    monkeypatch.setattr("aries_nb.net.lag._clocks", lambda: (time.monotonic() + sum(seconds), 0.0))
    return seconds


@pytest.fixture(params=["aries", "alor"])
def wired(request: pytest.FixtureRequest) -> Iterator[tuple[Feed, Cable, str]]:
    """A feed of each broker, the cable between it and its market, and a symbol there."""
    is_alor = request.param == "alor"
    sim: Simulator = request.getfixturevalue("serve_alor" if is_alor else "serve")(rate=500)
    begin: Callable[..., Feed] = request.getfixturevalue("open_alor" if is_alor else "open_feed")
    with Cable(int(sim.url.rpartition(":")[2])) as cable:
        feed = begin(cast("Any", cable))
        yield feed, cable, "SBER" if is_alor else "AAPL"
        feed.close()


def test_it_is_found_by_a_ping_and_is_a_gap_from_the_last_message_on(wired: tuple[Feed, Cable, str]) -> None:
    feed, cable, symbol = wired
    trades = feed.trades(symbol).wait(rows=5)

    cable.pull()
    eventually(lambda: feed.state == "reconnecting")
    last = feed._link._pool.sessions[0].intake.last_received
    before = len(trades.df)
    cable.plug_in()
    eventually(lambda: feed.state == "live")
    eventually(lambda: len(trades.df) > before)
    gap = feed.gaps.df.iloc[0]

    assert gap.started.value == last // 1_000 * 1_000  # shown in whole microseconds
    assert gap.reason == f"no answer to a ping within {PONG:.0f} s"
    assert feed.stats().reconnects == 1


def test_a_feed_is_closed_quickly_though_nobody_hears_the_goodbye(
    wired: tuple[Feed, Cable, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, cable, symbol = wired
    monkeypatch.setattr("aries_nb.net.pool.CLOSE_SECONDS", 60.0)  # it waits for the sessions
    feed.trades(symbol).wait(rows=5)
    sockets = [session._socket for session in feed._link._pool.sessions]
    cable.pull()
    began = time.monotonic()

    feed.close()

    assert feed.state == "closed"
    assert time.monotonic() - began < 60
    assert [socket.close_timeout for socket in sockets if socket is not None] == [1] * len(sockets)  # seconds


def test_whoever_listens_and_says_nothing_is_tried_again(
    wired: tuple[Feed, Cable, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.net.websocket.OPEN_SECONDS", 0.1)
    feed, cable, _ = wired

    cable.pull()
    eventually(lambda: feed.stats().last_error == "no answer in time")
    monkeypatch.setattr("aries_nb.net.websocket.OPEN_SECONDS", 60.0)  # a busy machine answers late
    cable.plug_in()
    eventually(lambda: feed.state == "live")

    assert feed.stats().reconnects == 1
    assert len(feed.gaps.df) == 1


def test_after_a_sleep_of_the_machine_a_feed_doubts_until_its_server_answers(
    asleep: list[float], wired: tuple[Feed, Cable, str]
) -> None:
    feed, _, symbol = wired
    trades = feed.trades(symbol).wait(rows=5)

    asleep.append(600.0)
    eventually(lambda: len(feed.gaps.df) and feed.gaps.df["ended"].notna().all())
    trades.wait(rows=trades.received + 1)
    gap = feed.gaps.df.iloc[0]

    assert (gap.reason, gap.filled) == ("this process stood still for 600 s", True)
    assert (feed.state, feed.stats().reconnects) == ("live", 0)
    assert set(trades.df["trade_id"].diff().dropna()) == {1}
