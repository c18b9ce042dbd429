"""Faults that need more than a schedule: a wrong certificate, a wrong clock, an end in mid-subscribe, a new server."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.sim import SimOptions, Simulator
from tests.faults import oracle
from tests.faults.course import ALOR, ARIES, RULE, Course, Ground, Schedule
from tests.faults.faults import Cut, Expire, Outage, StallUp, Step
from tests.faults.messages import Aries
from tests.faults.proxy import FaultProxy
from tests.net.forward_proxy import forget_the_network, papers
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BOTH = pytest.mark.parametrize("ground", [ARIES, ALOR], ids=lambda ground: ground.name)
BREAKS = (Step(20, Cut("rst")), Step(20, Outage(0.2)), Step(5, Cut("torn")))


@pytest.fixture
def begin() -> Iterator[Callable[[Ground, Schedule], Course]]:
    with ExitStack() as stack:
        yield lambda ground, schedule: Course(ground, schedule, stack)


@pytest.mark.parametrize(
    ("ground", "minutes"),
    [(ARIES, 7), (ALOR, -7), *(pytest.param(*case, marks=pytest.mark.long) for case in ((ARIES, -7), (ALOR, 7)))],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_server_whose_clock_is_minutes_off_is_followed_as_any_other(
    ground: Ground, minutes: int, begin: Callable[..., Course], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(
        time=lambda: time.time() + 60 * minutes, time_ns=lambda: time.time_ns() + 60 * 10**9 * minutes
    )
    for name in ("serving", "aries.server", "alor.server"):
        monkeypatch.setattr(f"aries_nb.sim.{name}.time", clock)
    course = begin(ground, Schedule(5, BREAKS))

    course.perform_faults()

    both = (course.client, course.witness)
    # A second of messages corrects market time. What came before is minutes ahead, and no newest row.
    eventually(lambda: all(abs(each.feed.stats().clock_offset_s - 60 * minutes) < 5 for each in both))
    newest = [frame for each in both for frame in (each.quotes, each.trades, each.few)]
    eventually(lambda: all(frame.latest["ts"].notna().all() for frame in newest), "a row of each since")
    course.judge()


@BOTH
def test_messages_that_come_while_the_oracle_looks_are_neither_lost_nor_invented(
    ground: Ground, begin: Callable[..., Course], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine answers to pings come between any two counts."""
    course = begin(ground, Schedule(5, ()))
    course.perform_faults()
    course.judge()
    counted = Feed.stats

    def counted_late(feed: Feed) -> Any:
        messages = course.client.feed._link.statistics().messages
        eventually(lambda: course.client.feed._link.statistics().messages > messages, 10)
        return counted(feed)

    monkeypatch.setattr(Feed, "stats", counted_late)

    assert not list(oracle._sums(course))


@BOTH
def test_what_is_subscribed_while_the_session_expires_comes_all_the_same(
    ground: Ground, begin: Callable[..., Course]
) -> None:
    course = begin(ground, Schedule(6, (Step(5, StallUp(0.3)), Step(20, Expire()))))
    feed, symbol = course.client.feed, course.ground.symbols[1]

    course.perform_faults(lambda: feed.book(symbol).wait(updates=1))

    course.judge()
    assert "token" in set(feed.gaps.df["cause"])


@BOTH
def test_a_server_that_begins_anew_is_a_gap_that_says_so(ground: Ground, begin: Callable[..., Course]) -> None:
    course = begin(ground, Schedule(7, ()))
    feed, sim = course.client.feed, course.sim
    eventually(lambda: course.client.trades.received > 10)

    sim.close()
    with Simulator(replace(sim.options, seed=8, port=course.proxy.target[1])):
        eventually(course.is_whole, "every stream to come again")
        gaps = feed.gaps.df
        ledgers = [held.ledger for held in (course.client.quotes, course.client.trades, course.client.book)]

    assert {"restart"} == set(gaps["cause"])
    assert len(gaps[gaps["stream"] == "market"]) == 1
    assert all(2 * (each.received + each.filled) == sum(each) for each in ledgers)


def test_a_server_that_shows_another_certificate_gets_no_token_and_is_left_for_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_the_network(monkeypatch)
    right, wrong = (papers(folder, "localhost") for folder in map(tmp_path.joinpath, "ab") if not folder.mkdir())
    monkeypatch.setenv("SSL_CERT_FILE", str(right.authority))
    with Simulator(SimOptions(rate=400)) as sim, FaultProxy(sim.url, Aries, tls=right.tls) as proxy:
        broker, source = BROKERS["aries"], fixed_token("a token")
        with Feed(broker, proxy.url, source, at_close=lambda closed: None, rule=RULE) as feed:
            quotes = feed.quotes("AAPL").wait(rows=5)

            proxy.restart(tls=wrong.tls)
            eventually(lambda: "certificate" in feed.stats().last_error)
            during = feed.state, len(proxy.crossings)
            proxy.restart(tls=right.tls)
            quotes.wait(rows=quotes.received + 5)

            assert during == ("reconnecting", 1)
            assert (feed.state, len(proxy.crossings), len(feed.gaps)) == ("live", 2, 1)
