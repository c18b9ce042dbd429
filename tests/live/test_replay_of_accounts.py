"""Replays show the accounts and bars of the recording: the hashes are those of the recording process, taken live."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import pytest

import aries_nb as anb
from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.model.journal import Hole
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.events.answers import ANSWER, Answer
from aries_nb.net.events.market_timer import MarketTimer
from aries_nb.recording import RecordingReader
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from tests.live.recorded import Day
from tests.live.test_replay import SYMBOLS, sha256
from tests.net.patience import eventually

DAY_NS = 86_400_000_000_000
ACCOUNTS = {"aries": "ACC-1", "alor": "D00001"}


class Recorded(NamedTuple):
    broker: str
    day: Day
    hashes: dict[str, str]
    until: int


def opened(broker: str, url: str, **options: Any) -> Feed:
    return Feed(BROKERS[broker], url, fixed_token("a token"), at_close=lambda _: None, **options)


def asked(feed: Feed, broker: str) -> dict[str, Any]:
    account = feed.account(ACCOUNTS[broker])
    more: dict[str, Any] = {}
    if BROKERS[broker].options is not None:
        share = SYMBOLS[broker][0]
        more["chain"] = feed.options(share, feed.options(share).expiries[0], strikes=2)
    if "news" in feed.tables:
        more |= {"news": feed.news(), "watchlists": feed.watchlists}
    return more | {
        "orders": account.orders,
        "fills": account.fills,
        "positions": account.positions,
        "balances": account.balances,
        "equity": account.equity,
        "bars": feed.bars(SYMBOLS[broker][0], "1min", history="30min"),
    }


def is_computed(live: dict[str, Any]) -> bool:
    return live["equity"]._source.is_computed and live["positions"]._marks._sampling.is_computed


def shown(live: dict[str, Any]) -> dict[str, str]:
    found = {name: sha256(each.df) for name, each in live.items()}
    found["log"] = sha256(live["orders"].log)
    found["explained"] = sha256(live["equity"].explained)
    found["reasons"] = str(live["equity"].reasons)
    return found


@pytest.fixture(scope="module", params=["aries", "alor"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    broker, path = request.param, tmp_path_factory.mktemp("recorded") / "day.anb"
    options = SimOptions(rate=500) if broker == "aries" else AlorOptions(rate=500)
    rule = BackoffRule(first=0.01, cap=0.05)
    with Simulator(options) as market, opened(broker, market.url, record=path, rule=rule) as feed:
        feed.wait_open(30)
        live = asked(feed, broker)
        live["equity"].wait(moments=5)
        market.drop_connections()
        eventually(lambda: len(feed.gaps.df) and feed.gaps.df["ended"].notna().all())
        moments = live["equity"]._source.known
        eventually(lambda: live["equity"]._source.known > moments + 20 and len(live["fills"]) > 1)
        ring = feed._recorder._ring

        def look() -> tuple[bool, dict[str, str], int, int]:
            return is_computed(live), shown(live), len(ring.events), feed._link.clock.now_ns()

        looks = iter(lambda: feed._link.arrivals.do(look).result(), None)  # what was due before is done
        hashes, count, until = next(rest for is_done, *rest in looks if is_done)
    return Recorded(broker, Day(list(islice(RecordingReader(path).events(), count)), until), hashes, until)


@pytest.fixture
def replay(recorded: Recorded) -> Iterator[Feed]:
    with opened(recorded.broker, "ws://127.0.0.1:1", recorded=recorded.day) as past:
        yield past


def at_the_end(past: Feed, recorded: Recorded, live: dict[str, Any]) -> dict[str, str]:
    past._playback.seek(recorded.until).result(60)
    eventually(lambda: is_computed(live))
    return shown(live)


def test_a_replay_shows_accounts_and_bars_as_they_were(recorded: Recorded, replay: Feed) -> None:
    live = asked(replay, recorded.broker)

    assert at_the_end(replay, recorded, live) == recorded.hashes


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_what_was_seen_before_a_seek_back_changes_nothing(recorded: Recorded, replay: Feed, share: float) -> None:
    live = asked(replay, recorded.broker)
    first = replay._playback.first
    at_the_end(replay, recorded, live)

    replay._playback.seek(first + round(share * (recorded.until - first))).result(60)

    assert at_the_end(replay, recorded, live) == recorded.hashes


def test_speed_and_pauses_change_nothing(recorded: Recorded, replay: Feed) -> None:
    live = asked(replay, recorded.broker)
    playback: Any = replay._playback

    for speed in (50.0, 3.0, 20.0):
        playback.play(speed).result(60)
        time.sleep(0.05)  # for a part of the recording, wherever that ends
        playback.step(7).result(60)

    assert at_the_end(replay, recorded, live) == recorded.hashes


def test_what_is_asked_for_late_is_as_if_it_had_been_there_from_the_start(recorded: Recorded, replay: Feed) -> None:
    replay._playback.seek(recorded.until).result(60)
    live = asked(replay, recorded.broker)

    eventually(lambda: is_computed(live) and shown(live) == recorded.hashes)


def test_the_accounts_of_a_replay_are_those_that_were_recorded(recorded: Recorded, replay: Feed) -> None:
    live = asked(replay, recorded.broker)
    names = replay.accounts

    assert len(names) == 1
    assert replay.account().name == names[0] == live["positions"].account


def test_a_hole_of_a_day_is_passed_at_once(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    events = list(recorded.day.events())
    place = len(events) // 2
    before, rest = events[:place], events[place:]
    later = [each._replace(received=each.received + DAY_NS) for each in rest]
    ends = before[-1].seq, before[-1].received, later[0].seq, later[0].received
    hole = Hole("not recorded: the recording was closed", *ends).event()
    done: list[int] = []
    run = MarketTimer.at
    monkeypatch.setattr(MarketTimer, "at", lambda *call: done.append(call[1]) or run(*call))

    with opened(recorded.broker, "ws://127.0.0.1:1", recorded=Day([*before, hole, *later])) as past:
        live = asked(past, recorded.broker)
        past._playback.seek(past._playback.last).result(60)

        assert live["bars"].df is not None
        assert "recording" in set(past.gaps.df["cause"])
    assert len(done) < 5_000


def test_an_answer_is_taken_where_the_feed_had_not_asked_before_the_break(recorded: Recorded) -> None:
    """A replay asks as soon as the connection is live, where the feed was asked for the table a moment later."""
    events = list(recorded.day.events())
    broke = next(event.received for event in events if event.what == "lost")
    answers = {event: Answer.from_bytes(event.body) for event in events if event.what == ANSWER}
    early = [
        event
        for event, answer in answers.items()
        if answer.kind == "snapshot" and answer.key.startswith("balances") and answer.asked < broke
    ]
    filled = []
    for kept in (events, [event for event in events if event not in early]):
        with opened(recorded.broker, "ws://127.0.0.1:1", recorded=Day(kept, recorded.until)) as past:
            live = asked(past, recorded.broker)
            past._playback.seek(recorded.until).result(60)
            filled.append(live["balances"].ledger.filled)

    assert filled[0] - filled[1] == len(early)


def test_options_that_were_not_asked_for_are_not_in_a_replay(recorded: Recorded, replay: Feed) -> None:
    if BROKERS[recorded.broker].options is None:
        with pytest.raises(anb.UsageError, match="no options"):
            replay.options(SYMBOLS[recorded.broker][0])
        return
    share, other = SYMBOLS[recorded.broker]
    listed = replay.options(share)
    assert len(replay.options(share, listed.expiries[0], strikes=2).df) >= 2
    with pytest.raises(anb.UsageError, match="were not recorded"):
        replay.options(other)
    with pytest.raises(anb.UsageError, match="were not recorded"):
        replay.options(share, listed.expiries[1])
