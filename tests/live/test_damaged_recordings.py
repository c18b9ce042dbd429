"""What is left of a recording after a part of it was lost: sealed rows, and a replay that goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.model.journal import HOLE, Event, Hole
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.recording import RecordingReader
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from tests.live.recorded import Day
from tests.live.test_replay import SYMBOLS, to_the_end
from tests.net.patience import eventually

Opener = Callable[..., Feed]


@pytest.fixture(scope="module", params=["aries", "alor"])
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def market(broker: str) -> Iterator[Opener]:
    """Open feeds on a simulated market of the broker."""
    with ExitStack() as stack:
        options = SimOptions(rate=500) if broker == "aries" else AlorOptions(rate=500, conflate=False)
        url = stack.enter_context(Simulator(options)).url

        def opened(**options: Any) -> Feed:
            feed = Feed(BROKERS[broker], url, fixed_token("a token"), at_close=lambda _: None, **options)
            feed.wait_open(30)
            return stack.enter_context(feed)

        yield opened


@pytest.fixture
def begin(broker: str) -> Iterator[Opener]:
    with market(broker) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "day.anb"


def record(begin: Opener, path: Path, broker: str, *, rows: int = 100) -> None:
    with begin(record=path) as feed:
        quotes = feed.quotes(*SYMBOLS[broker])
        before = len(quotes.df)
        eventually(lambda: len(quotes.df) >= before + rows)


def test_sealed_rows_stay_whose_events_were_deleted(begin: Opener, path: Path, broker: str) -> None:
    record(begin, path, broker)
    record(begin, path, broker)
    before = anb.recordings(path).df("quotes")

    (path / "000001.arrows").unlink()
    kept = anb.recordings(path).df("quotes")
    record(begin, path, broker)
    more = anb.recordings(path).df("quotes")

    assert before["seq"].is_unique
    assert len(before) > 200
    assert kept.equals(before)
    assert more["seq"].is_unique
    assert set(before["seq"]) < set(more["seq"])


@pytest.fixture(scope="module")
def events(broker: str, tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """What was recorded of quotes, trades and a book, for some seconds on one connection."""
    one, other = SYMBOLS[broker]
    path = tmp_path_factory.mktemp("events") / "day.anb"
    with market(broker) as begin, begin(record=path) as feed:
        opened = feed.clock.now
        held = feed.trades(one), feed.book(one).wait(timeout=60)
        quotes = feed.quotes(one, other).wait(timeout=60)
        begun = feed.clock.now
        span = max(pd.Timedelta("2s"), 2 * (begun - opened))
        eventually(lambda: feed.clock.now - begun > span and len(quotes.df) > 200)
        del held
    return list(RecordingReader(path).events())


def without(events: Sequence[Event], start: float, end: float, *, reason: str = "damaged: a test") -> list[Event]:
    """The events without those of a part, from 0 to 1, and a hole there; it begins and ends with a frame."""
    span = events[-1].received - events[0].received
    bounds = [events[0].received + span * part for part in (start, end)]
    return cut(events, *(_frame_at(events, bound) for bound in bounds), reason=reason)


def _frame_at(events: Sequence[Event], bound: float) -> int:
    return next(place for place, each in enumerate(events) if each.what == "frame" and each.received >= bound)


def cut(events: Sequence[Event], first: int, last: int, *, reason: str = "damaged: a test") -> list[Event]:
    before, after = events[first - 1], events[last]
    hole = Hole(reason, before.seq, before.received, after.seq, after.received)
    return [*events[:first], hole.event(), *events[last:]]


@contextmanager
def replay(broker: str, events: Sequence[Event]) -> Iterator[Feed]:
    day = Day(events)
    past = Feed(BROKERS[broker], "ws://127.0.0.1:1", fixed_token("x"), at_close=lambda _: None, recorded=day)
    with past:
        yield past


def test_after_lost_frames_a_replay_goes_on_within_a_second(events: list[Event], broker: str) -> None:
    one, other = SYMBOLS[broker]
    with replay(broker, events) as whole, replay(broker, without(events, 0.4, 0.6)) as past:
        frames = [(feed.quotes(one, other), feed.trades(one)) for feed in (whole, past)]
        to_the_end(whole)
        to_the_end(past)
        (quotes, trades), (left_quotes, left_trades) = frames
        gaps = past.gaps.df
        hole = next(Hole.of(each) for each in without(events, 0.4, 0.6) if each.what == HOLE)

        assert list(gaps["cause"]) == ["recording"]
        assert gaps["reason"][0] == "the recording has no events here (damaged: a test)"
        assert 0 <= gaps["ended"][0].value - hole.next_received < 1_000_000_000
        for all_rows, rows in ((quotes.df, left_quotes.df), (trades.df, left_trades.df)):
            after = rows["received"] > gaps["ended"][0]
            expected = all_rows[all_rows["received"] > gaps["ended"][0]]
            assert list(rows[after]["received"]) == list(expected["received"])
            known = rows[after].notna() & (rows[after] != "")
            assert rows[after].where(known).equals(expected.where(known))
            assert known.tail(10).all(axis=None)
        assert past.state == "live"


def test_a_book_of_changes_waits_for_the_next_login_after_lost_frames(events: list[Event], broker: str) -> None:
    with replay(broker, without(events, 0.4, 0.6)) as past:
        book = past.book(SYMBOLS[broker][0])
        to_the_end(past)

        times, lost = book.df["received"], past.gaps.df.iloc[0]

        assert len(times) > 0
        if broker == "aries":
            assert (book.integrity, (times <= lost["started"]).all()) == ("gap", True)
        else:  # it sends whole books
            assert (book.integrity, (times >= lost["ended"]).all()) == ("ok", True)


def test_after_a_lost_subscription_a_replay_waits_for_the_next_login(events: list[Event], broker: str) -> None:
    place = next(place for place, each in enumerate(events) if each.what == "subscribe" and b"quotes" in each.body)
    lost = cut(events, place, place + 1)
    with replay(broker, lost) as past:
        to_the_end(past)

        assert past.clock.end - past.gaps.df["ended"][0] < pd.Timedelta("0.5s")  # where the recording was closed


def test_a_kill_within_a_gap_of_damage_is_a_gap_of_its_own(events: list[Event], broker: str) -> None:
    torn = [each for each in without(events, 0.4, 0.5) if each.what != "state"]
    killed = without(torn, 0.6, 0.7, reason="not recorded: killed")
    with replay(broker, killed) as past:
        to_the_end(past)
        gaps = past.gaps.df

        assert [("damaged" in each, "killed" in each) for each in gaps["reason"]] == [(True, False), (False, True)]
        assert gaps["ended"][0] == gaps["started"][1]


def test_counts_of_a_replay_are_those_of_the_whole_recording(begin: Opener, path: Path, broker: str) -> None:
    for _ in range(2):
        record(begin, path, broker, rows=50)
    frames = sum(each.what == "frame" for each in RecordingReader(path).events())
    with replay(broker, list(RecordingReader(path).events())) as past:
        quotes = past.quotes(*SYMBOLS[broker])
        to_the_end(past)
        now = past.stats()

        assert now.messages >= frames
        assert now.records >= len(quotes.df) > 100
