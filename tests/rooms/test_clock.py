from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import aries_nb as anb
from aries_nb import UsageError
from tests.rooms.test_rooms import assert_same, until

if TYPE_CHECKING:
    from pathlib import Path

    from aries_nb.live import Feed

CLOSE_NS = 100_000_000


@pytest.fixture
def recorded(feed: Feed, tmp_path: Path) -> Path:
    """A recording of a second."""
    recording = feed.record(tmp_path / "day.anb")
    quotes = feed.quotes("AAPL", "MSFT")
    time.sleep(1.2)
    quotes.wait(rows=100)
    recording.close()
    return tmp_path / "day.anb"


def assert_follows(clock, other) -> None:
    """Both show the same instant, within 100 ms of real time."""
    until(lambda: abs(clock.now_ns() - other.now_ns()) < CLOSE_NS * max(clock.speed, 1.0))


def test_a_reader_follows_a_simulated_market(server, enter, stack):
    feed = stack.enter_context(anb.connect("sim", seed=5, rate=500))
    quotes = feed.quotes("AAPL").wait(rows=20)
    feed.serve(server.room())
    room = enter(server.room())
    theirs = room.quotes("AAPL")
    chance = random.Random(1)

    for _ in range(6):
        move = chance.choice(["pause", "play", "faster", "seek"])
        if move == "pause":
            feed.clock.pause()
        elif move == "play":
            feed.clock.play(1)
        elif move == "faster":
            feed.clock.play(chance.choice([2, 5]))
        else:
            is_playing = feed.clock.is_playing
            feed.clock.pause()  # else it may have passed the time before it is asked to go there
            feed.clock.seek(feed.clock.now + pd.Timedelta(chance.randint(1, 5), "s"))
            if is_playing:
                feed.clock.play()
        assert_follows(feed.clock, room.clock)
    feed.clock.pause()

    until(lambda: room.clock.now_ns() == feed.clock.now_ns())
    assert_same(quotes, theirs)
    assert len(room.gaps.df) == 0


def test_a_reader_follows_a_replay_back_and_forth(server, recorded, enter, stack):
    past = stack.enter_context(anb.replay(recorded, speed=1))
    quotes = past.quotes("AAPL", "MSFT")
    past.serve(server.room())
    room = enter(server.room())
    theirs = room.quotes("AAPL", "MSFT")
    clock = past.clock
    clock.pause()
    span = clock.end - clock.start

    for share in (0.9, 0.2, 0.6, 0.1, 1.0):
        clock.seek(clock.start + share * span)
        assert_follows(clock, room.clock)
        until(lambda: len(theirs.df) == len(quotes.df))
        assert_same(quotes, theirs)
    assert len(quotes.df) >= 100
    assert len(room.gaps.df) == len(past.gaps.df)


def test_what_is_computed_at_instants_begins_anew_where_the_replay_goes_back(server, recorded, enter, stack):
    past = stack.enter_context(anb.replay(recorded, speed=1))
    quotes = past.quotes("AAPL", "MSFT")
    past.serve(server.room())
    clock = past.clock
    clock.pause()
    span = clock.end - clock.start
    clock.seek(clock.start + 0.3 * span)
    room = enter(server.room())
    until(lambda: len(quotes.df) > 0)
    counts = anb.derive(len, room.quotes("AAPL", "MSFT"), every="100ms")

    for share in (0.7, 0.4):
        clock.seek(clock.start + share * span)
        until(lambda: room.clock.now_ns() == clock.now_ns())
        until(lambda: (counts.df["received"] <= clock.now).all())
    assert len(counts.df) == 0
    clock.seek(clock.start + 0.9 * span)

    until(lambda: len(counts.df) > 0)
    assert counts.df["received"].is_monotonic_increasing


def test_who_does_not_follow_keeps_the_rows_and_joins_again(server, recorded, enter, stack):
    past = stack.enter_context(anb.replay(recorded, speed=1))
    quotes = past.quotes("AAPL", "MSFT")
    past.serve(server.room())
    past.clock.pause()
    past.clock.seek(past.clock.end)
    room = enter(server.room())
    theirs = room.quotes("AAPL", "MSFT")
    assert_same(quotes, theirs)
    rows = len(theirs.df)

    room.clock.follow(False)
    past.clock.seek(past.clock.start)
    at = room.clock.now_ns()
    time.sleep(0.3)

    assert room.clock.now_ns() > at
    assert len(theirs.df) == rows
    assert "alone" in repr(room.clock)
    room.clock.follow()
    assert_follows(past.clock, room.clock)
    until(lambda: len(theirs.df) == len(quotes.df))


def test_a_reader_cannot_move_the_market(server, feed, enter):
    feed.serve(server.room())
    room = enter(server.room())

    with pytest.raises(UsageError, match="cannot be paused by a reader"):
        room.clock.pause()
