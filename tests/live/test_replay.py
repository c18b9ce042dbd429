"""Replays show what the feed showed that was recorded: the hashes are those of the recording process, taken live."""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.model import PlaybackMove
from aries_nb.model.clock import steady_ns
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.background import on_network
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.events.exchange_clock import ExchangeClock
from aries_nb.recording import RecordingReader
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from tests.live.recorded import Day
from tests.net.patience import eventually

SYMBOLS = {"aries": ("AAPL", "MSFT"), "alor": ("SBER", "GAZP")}
MIXES = 20  # of pauses, steps, seeks and speeds


class Recorded(NamedTuple):
    broker: str
    day: Day
    hashes: dict[str, str]


def sha256(frame: pd.DataFrame) -> str:
    """The hash of the visible bytes of each column, the index included."""
    found = hashlib.sha256()
    for name, column in frame.reset_index().items():
        kind = str(column.dtype)
        if kind.startswith("datetime64"):
            content = column.dt.tz_convert(None).to_numpy("datetime64[us]").tobytes()
        elif column.dtype.kind in "fiub":
            content = np.ascontiguousarray(column.to_numpy()).tobytes()
        else:
            content = "\0".join(map(repr, column.astype(object))).encode()
        found.update(f"{name} {kind} {len(column)}\n".encode() + content)
    return found.hexdigest()


def asked(feed: Feed, broker: str) -> dict[str, Any]:
    one, other = SYMBOLS[broker]
    return {
        "quotes": feed.quotes(one, other, rows=20_000),
        "window": feed.quotes(one, window="1s", fields=["bid_price", "last_price"]),
        "trades": feed.trades(one, other),
        "book": feed.book(one, depth=10),
    }


def shown(feed: Feed, live: dict[str, Any]) -> dict[str, str]:
    found = {name: sha256(each.df) for name, each in live.items()}
    found["latest"] = sha256(live["quotes"].latest)
    found["gaps"] = sha256(feed.gaps.df)
    found["ledger"] = sha256(feed.ledger.sort_values(["kind", "symbols"], ignore_index=True))
    return found


@pytest.fixture(scope="module", params=["aries", "alor"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    broker, path = request.param, tmp_path_factory.mktemp("recorded") / "day.anb"
    options = SimOptions(rate=2_000) if broker == "aries" else AlorOptions(rate=2_000)
    with (
        Simulator(options) as market,
        _feed(broker, market.url, record=path, rule=BackoffRule(first=0.01, cap=0.05)) as feed,
    ):
        feed.wait_open(30)
        live = asked(feed, broker)
        eventually(lambda: len(live["trades"].df) > 300)
        market.drop_connections()
        eventually(lambda: len(feed.gaps.df) and feed.gaps.df["ended"].notna().all())
        trades = len(live["trades"].df)
        eventually(lambda: len(live["trades"].df) > trades + 100)
        ring = feed._recorder._ring
        hashes, count = on_network(lambda: (shown(feed, live), len(ring.events))).result()
    return Recorded(broker, Day(list(islice(RecordingReader(path).events(), count))), hashes)


def _feed(broker: str, url: str, **options: Any) -> Feed:
    return Feed(BROKERS[broker], url, fixed_token("a token"), at_close=lambda _: None, **options)


@pytest.fixture
def replay(recorded: Recorded) -> Iterator[Feed]:
    with _feed(recorded.broker, "ws://127.0.0.1:1", recorded=recorded.day) as past:
        yield past


def to_the_end(past: Feed) -> None:
    past.clock.play("max")
    eventually(lambda: not past.clock.is_playing)


def test_a_replay_shows_what_was_recorded(recorded: Recorded, replay: Feed) -> None:
    live = asked(replay, recorded.broker)
    assert [len(each.df) for each in live.values()] == [0] * len(live)
    to_the_end(replay)
    assert shown(replay, live) == recorded.hashes
    assert len(replay.gaps.df)


def test_what_is_asked_for_late_is_as_if_it_had_been_there_from_the_start(recorded: Recorded, replay: Feed) -> None:
    to_the_end(replay)
    assert shown(replay, asked(replay, recorded.broker)) == recorded.hashes


@pytest.mark.parametrize("seed", range(2))
def test_pauses_steps_seeks_and_speeds_change_nothing(recorded: Recorded, replay: Feed, seed: int) -> None:
    rng, clock = random.Random(seed), replay.clock
    live = asked(replay, recorded.broker)
    middle = clock.start + (clock.end - clock.start) / 2
    clock.seek(middle)
    there = shown(replay, live)
    moves: list[Callable[[], None]] = [
        clock.pause,
        lambda: clock.play(rng.choice([1, 10, "max"])),
        lambda: clock.step(rng.choice(["1ms", "50ms"])),
        lambda: clock.step(events=rng.randint(1, 300)),
        lambda: clock.seek(clock.start + (clock.end - clock.start) * rng.random()),
    ]
    for move in rng.choices(moves, k=MIXES):
        move()
        assert clock.start <= clock.now <= clock.end
    clock.pause()
    clock.seek(middle)
    assert shown(replay, live) == there
    to_the_end(replay)
    assert shown(replay, live) == recorded.hashes


def test_what_is_asked_for_late_has_the_gaps_of_before(recorded: Recorded, replay: Feed) -> None:
    early = asked(replay, recorded.broker)["quotes"]
    to_the_end(replay)
    late = replay.quotes(*SYMBOLS[recorded.broker], rows=5)
    assert len(early.gaps) > 0
    assert late.gaps.all() == early.gaps.all()
    replay.clock.seek(replay.clock.start)
    assert len(late.gaps) == len(early.gaps) == 0


def test_what_was_not_recorded_is_refused_with_a_list_of_what_was(recorded: Recorded, replay: Feed) -> None:
    one, other = SYMBOLS[recorded.broker]
    with pytest.raises(anb.UsageError, match=rf"trades of NONE.* it has .*{one}"):
        replay.trades("NONE")
    with pytest.raises(anb.UsageError, match="bid_price, last_price"):
        replay.quotes(one, fields=["ask_price"])
    with pytest.raises(anb.UsageError, match=f"book of {other}"):
        replay.book(other)


@pytest.mark.parametrize("instant", ["04:00", "2020-01-01", "later", None, 5, pd.Timestamp("2200-01-01", tz="UTC")])
def test_a_seek_to_no_moment_of_the_recording_is_refused(replay: Feed, instant: Any) -> None:
    before = replay.clock.now
    with pytest.raises(anb.UsageError, match=r"is outside of the recording|is no time"):
        replay.clock.seek(instant)
    assert replay.clock.now == before


@pytest.mark.parametrize("speed", [0, -1, float("nan"), "fast", True])
def test_a_speed_that_is_none_is_refused(replay: Feed, speed: Any) -> None:
    with pytest.raises(anb.UsageError, match="is no speed"):
        replay.clock.play(speed)


def test_a_live_market_cannot_be_held(open_feed: Callable[..., Feed], serve: Callable[..., Simulator]) -> None:
    clock = open_feed(serve()).clock
    for move in (clock.pause, clock.play, clock.step, lambda: clock.seek("14:30")):
        with pytest.raises(anb.UsageError, match="a live market"):
            move()


def bar_of(past: Feed) -> Any:
    past.clock._repr_mimebundle_()
    return past._views.shown("clock", lambda: pytest.fail("the bar is not kept"))


def test_a_seek_to_the_end_stops_there(replay: Feed) -> None:
    replay.clock.play(1)
    replay.clock.seek(replay.clock.end)
    assert not replay.clock.is_playing
    replay.clock.seek(replay.clock.start)
    assert not replay.clock.is_playing


def test_a_bar_asks_the_networks_thread_and_waits_for_nothing(replay: Feed) -> None:
    bar, clock = bar_of(replay), replay.clock
    go_on, done = threading.Event(), []
    held = on_network(lambda: go_on.wait(30))
    middle = (clock.start + (clock.end - clock.start) / 2).as_unit("ns").value
    for what, value in (("play", 0), ("speed", 5), ("pause", 0), ("seek", middle + 1_000), ("seek", middle)):
        bar._playback_source.move(PlaybackMove(what, value), lambda what=what: done.append(what))
    assert not held.done()
    assert done == ["seek", "seek"]
    assert bar._playback_source.playback().now == middle
    go_on.set()
    eventually(lambda: clock.now == pd.Timestamp(middle // 1_000, unit="us", tz="UTC"))
    eventually(lambda: len(done) == 7)  # a seek at once, and when it is there
    assert (clock.speed, clock.is_playing) == (5, False)


def test_before_the_first_frame_is_emptied_no_record_counts_as_complete(
    recorded: Recorded, replay: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotes, arrivals, complete = replay.quotes(*SYMBOLS[recorded.broker]), replay._link.arrivals, list[int]()

    def noting(change: Callable[..., None]) -> Callable[..., None]:
        def changed(*state: Any) -> None:
            complete.append(arrivals.complete)
            change(*state)

        return changed

    to_the_end(replay)
    assert arrivals.complete > 0
    for change in (quotes._tape.restart, quotes._tape.resume):
        monkeypatch.setattr(quotes._tape, change.__name__, noting(change))

    for _ in range(2):
        replay.clock.seek(replay.clock.start)
        replay.clock.seek(replay.clock.end)

    assert complete
    assert set(complete) == {0}


def test_of_many_seeks_only_the_newest_is_carried_out(replay: Feed) -> None:
    clock, source = replay.clock, bar_of(replay)._playback_source
    clock.seek(clock.end)
    begun: list[int] = []
    replay._playback.arrivals.restarted.add(lambda: begun.append(1))
    go_on = threading.Event()
    on_network(lambda: go_on.wait(30))
    wanted = [(clock.start + (clock.end - clock.start) * part / 10).as_unit("ns").value for part in (8, 2, 5, 3)]
    for instant in wanted:
        source.move(PlaybackMove("seek", instant), lambda: None)
    go_on.set()
    eventually(lambda: not source.playback().is_moving)
    assert clock.now_ns() == wanted[-1]
    assert len(begun) == 1


def test_steps_of_a_bar_add_up(replay: Feed) -> None:
    clock, source = replay.clock, bar_of(replay)._playback_source
    clock.seek(clock.start)
    go_on = threading.Event()
    on_network(lambda: go_on.wait(30))
    for _ in range(3):
        source.move(PlaybackMove("step", 50_000_000), lambda: None)
    go_on.set()
    eventually(lambda: clock.now_ns() == replay._playback.first + 150_000_000)


def test_gaps_stay_marked_after_the_replay_went_back(replay: Feed) -> None:
    clock, source = replay.clock, bar_of(replay)._playback_source
    clock.seek(clock.end)
    marks = source.playback().marks
    assert {mark.kind for mark in marks} == {"gap"}
    assert {mark.started for mark in marks} == {gap.started for gap in replay.gaps.all() if not gap.filled}
    clock.seek(clock.start)
    assert len(replay.gaps) == 0
    assert source.playback().marks == marks


def test_a_closed_replay_closes_its_bar(recorded: Recorded) -> None:
    with _feed(recorded.broker, "ws://127.0.0.1:1", recorded=recorded.day) as past:
        bar = bar_of(past)
        assert "paused" in past.clock._repr_mimebundle_()["text/plain"]
    assert bar.is_closed


def test_a_live_clock_shows_the_time_with_advice(
    open_feed: Callable[..., Feed], serve: Callable[..., Simulator]
) -> None:
    clock = open_feed(serve()).clock
    assert re.search(r"Market time <b>\d\d:\d\d:\d\d UTC</b><br>.*anb.replay", clock._repr_html_())


@pytest.mark.parametrize(
    "wrong",
    [
        {"what": "lost", "body": b'["cut","no cause"]'},
        {"what": "tick", "body": b"{"},
        {"what": "frame", "seq": 2**63 - 2},
        {"what": "http", "body": b"no answer"},
    ],
)
def test_an_event_that_cannot_be_read_is_a_gap_and_the_replay_goes_on(
    recorded: Recorded, wrong: dict[str, Any]
) -> None:
    events = list(recorded.day.events())
    place = next(  # the first of its read, whose number counts
        place
        for place, each in enumerate(events)
        if place > len(events) // 3 and each.what == "frame" and events[place - 1].received < each.received
    )
    events[place] = events[place]._replace(**wrong)
    with _feed(recorded.broker, "ws://127.0.0.1:1", recorded=Day(events)) as past:
        live = asked(past, recorded.broker)
        to_the_end(past)
        assert past.clock.now == past.clock.end
        assert "recording" in set(past.gaps.df["cause"])
        assert len(live["trades"].df)


def test_after_a_seek_back_one_waits_for_rows_and_a_callback_gets_them_again(recorded: Recorded, replay: Feed) -> None:
    clock, quotes = replay.clock, asked(replay, recorded.broker)["quotes"]
    got: list[pd.DataFrame] = []
    quotes.on_update(got.append)
    to_the_end(replay)
    count = len(quotes.df)
    eventually(lambda: sum(map(len, got)) == count)
    got.clear()

    clock.seek(clock.start)
    with pytest.raises(anb.WaitTimeoutError):
        quotes.wait(rows=count, timeout=0.05)
    to_the_end(replay)
    quotes.wait(rows=count)

    eventually(lambda: sum(map(len, got)) == count)
    assert "missed" not in str(replay.stats().last_error)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a checkpoint after each burst."""
    monkeypatch.setattr("aries_nb.net.events.checkpoints.EVERY_SECONDS", 0.0)
    monkeypatch.setattr("aries_nb.net.events.playback.BURST_SECONDS", 0.002)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seed", range(3))
def test_a_seek_that_goes_on_from_a_checkpoint_shows_what_one_from_the_start_does(
    recorded: Recorded, replay: Feed, seed: int
) -> None:
    rng, playback = random.Random(seed), replay._playback
    live = asked(replay, recorded.broker)
    to_the_end(replay)
    assert shown(replay, live) == recorded.hashes
    states = playback._checkpoints._states
    assert len(states) > 5
    for _ in range(5):
        instant = rng.randrange(playback.first + 1, playback.last)
        playback.seek(instant).result(30)
        found = shown(replay, live)
        states[:], known = [], states[:]
        playback.seek(playback.first).result(30)
        playback.seek(instant).result(30)
        assert shown(replay, live) == found
        states[:] = known
    to_the_end(replay)
    assert shown(replay, live) == recorded.hashes


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_what_came_in_several_reads_at_one_time_keeps_it(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a clock of coarse steps, or on a simulated market that stands: few frames are taken one after the other."""
    step, path = 200_000_000, tmp_path / "day.anb"
    monkeypatch.setattr(ExchangeClock, "running_ns", lambda clock: (steady_ns() + clock.base) // step * step)
    options = SimOptions(rate=1_000) if broker == "aries" else AlorOptions(rate=1_000)
    with Simulator(options) as market, _feed(broker, market.url, record=path) as feed:
        feed.wait_open(30)
        live = asked(feed, broker)
        eventually(lambda: len(live["trades"].df) > 100)
        ring = feed._recorder._ring
        hashes, count = on_network(lambda: (shown(feed, live), len(ring.events))).result()
    day = Day(list(islice(RecordingReader(path).events(), count)))
    received = [event.received for event in day.events() if event.what == "frame"]
    assert len(set(received)) < len(received)

    with _feed(broker, "ws://127.0.0.1:1", recorded=day) as past:
        again = asked(past, broker)
        to_the_end(past)
        assert shown(past, again) == hashes
