from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.rooms.cable import Cable
from tests.rooms.test_rooms import assert_same, until

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd


def ended(room) -> pd.DataFrame:
    """The gaps of a room, once none lasts."""
    until(lambda: room.state == "live" and not room.gaps.df["ended"].isna().any(), 20)
    return room.gaps.df


def of_quotes(gaps: pd.DataFrame) -> pd.DataFrame:
    """The entries that count for quotes: those of a whole connection where it has none of its own."""
    own = gaps[gaps["stream"] == "market quotes"]
    return own if len(own) else gaps


def test_a_server_that_was_killed_loses_nothing(server, feed, enter):
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=50)
    feed.serve(server.room())
    room = enter(server.room())
    theirs = room.quotes("AAPL", "MSFT")

    server.kill()
    until(lambda: room.state == "reconnecting")
    server.start()

    gaps = ended(room)
    assert gaps["cause"].tolist() == ["room"]
    assert gaps["filled"].tolist() == [True]
    assert_same(quotes, theirs)


def test_a_server_that_lost_all_gets_it_again(server, feed, enter):
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=50)
    feed.serve(server.room())
    room = enter(server.room())
    theirs = room.quotes("AAPL", "MSFT")

    server.kill()
    server.forget()
    server.start()

    until(lambda: len(room.gaps.df) == 1)
    assert ended(room)["filled"].tolist() == [True]
    assert_same(quotes, theirs)
    late = enter(f"{server.url.replace('127.0.0.1', 'localhost')}/room42").quotes("AAPL", "MSFT")
    assert_same(quotes, late)


@pytest.mark.parametrize("is_held", [False, True], ids=["cut", "held"])
def test_a_reader_that_was_cut_off_reads_on(server, feed, enter, stack, is_held):
    quotes = feed.quotes("AAPL").wait(rows=50)
    feed.serve(server.room())
    cable = stack.enter_context(Cable(server.port))
    room = enter(f"{cable.url}/room42")
    theirs = room.quotes("AAPL")

    if is_held:
        cable.hold()
        until(lambda: room.state == "reconnecting")
        cable.let_go()
    else:
        cable.cut()

    until(lambda: len(room.gaps.df) > 0)
    gaps = ended(room)
    assert gaps["cause"].tolist() == ["publisher gone" if is_held else "room"]
    assert gaps["filled"].tolist() == [True]
    assert_same(quotes, theirs)


def test_a_publisher_that_was_cut_off_sends_what_is_missing(server, feed, enter, stack):
    quotes = feed.quotes("AAPL").wait(rows=50)
    cable = stack.enter_context(Cable(server.port))
    serving = feed.serve(f"{cable.url}/room42")
    room = enter(server.room())
    theirs = room.quotes("AAPL")

    cable.hold()
    until(lambda: room.state == "reconnecting")
    cable.cut()
    cable.let_go()

    gaps = ended(room)
    assert gaps["cause"].tolist() == ["publisher gone"]
    assert gaps["filled"].tolist() == [True]
    assert serving.state == "live"
    assert_same(quotes, theirs)


def test_a_feed_that_is_served_anew_fills_the_gap(server, feed, enter):
    quotes = feed.quotes("AAPL").wait(rows=50)
    first = feed.serve(server.room())
    room = enter(server.room())
    theirs = room.quotes("AAPL")
    first.close()
    until(lambda: room.state == "reconnecting")

    feed.serve(server.room())

    gaps = ended(room)
    assert gaps["cause"].tolist() == ["publisher gone"]
    assert gaps["filled"].tolist() == [True]
    assert_same(quotes, theirs)


def test_another_feed_in_the_place_of_one_that_ended_is_a_gap(server, feed, make_feed, enter):
    quotes = feed.quotes("AAPL").wait(rows=50)
    feed.serve(server.room())
    room = enter(server.room())
    theirs = room.quotes("AAPL").wait(rows=50)
    assert_same(quotes, theirs)
    feed.close()
    until(lambda: room.state == "reconnecting")
    mine = len(theirs.df)

    other = make_feed()
    others = other.quotes("AAPL").wait(rows=50)
    other.serve(server.room())

    gaps = of_quotes(ended(room))
    assert gaps["cause"].tolist() == ["publisher gone"]
    assert gaps["filled"].tolist() == [False]
    rows = others.df
    until(lambda: len(theirs.df) >= mine + len(rows))
    received = theirs.df["received"]
    assert received[mine : mine + len(rows)].tolist() == rows["received"].tolist()
    seq = theirs._store.arrays_since(0)[0]["seq"]
    assert (seq[1:] > seq[:-1]).all()


def test_rows_that_left_the_publishers_frame_are_a_gap(server, feed, enter, stack):
    quotes = feed.quotes("AAPL", rows=20).wait(rows=20)
    cable = stack.enter_context(Cable(server.port))
    feed.serve(f"{cable.url}/room42")
    room = enter(server.room())
    theirs = room.quotes("AAPL").wait(rows=20)

    cable.cut()
    cable.hold()
    count = quotes._store.version
    until(lambda: quotes._store.version > count + 50)
    cable.let_go()

    until(lambda: len(room.gaps.df) > 0)
    assert not of_quotes(ended(room))["filled"].any()
    assert theirs.df["received"].is_monotonic_increasing


def test_the_gaps_of_the_publishers_feed_are_in_the_room(server, feed, enter, stack):
    quotes = feed.quotes("AAPL").wait(rows=50)
    feed.serve(server.room())
    room = enter(server.room())
    theirs = room.quotes("AAPL")

    feed._link._pool.sessions[0]._socket.transport.abort()

    until(lambda: len(feed.gaps.df) > 0 and not feed.gaps.df["ended"].isna().any())
    until(lambda: room.gaps.df.equals(feed.gaps.df))
    assert theirs.gaps.df.equals(quotes.gaps.df)
    assert_same(quotes, theirs)


READER = """
import sys
import aries_nb as anb
room = anb.connect(sys.argv[1])
quotes = room.quotes("AAPL").wait(rows=20)
print(len(quotes.df), flush=True)
sys.stdin.readline()
count = int(sys.stdin.readline())
quotes.wait(rows=count)
df = quotes.df.iloc[:count]
print(df["received"].astype("int64").sum(), df["bid_price"].sum(), len(room.gaps.df), flush=True)
"""


def test_a_reader_that_is_killed_and_started_again_has_every_row_and_the_others_go_on(server, feed, enter):
    quotes = feed.quotes("AAPL").wait(rows=20)
    feed.serve(server.room())
    theirs = enter(server.room()).quotes("AAPL")

    def started() -> subprocess.Popen[str]:
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, server.room()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert reader.stdout is not None
        assert int(reader.stdout.readline()) >= 20
        return reader

    with started() as first:
        first.kill()
    with started() as again:
        df = quotes.df
        said, _ = again.communicate(f"\n{len(df)}\n")

    assert said.split() == [str(df["received"].astype("int64").sum()), str(df["bid_price"].sum()), "0"]
    assert_same(quotes, theirs)
    assert len(theirs.gaps.df) == 0


SYMBOLS = {"aries": ("AAPL", "MSFT"), "alor": ("SBER", "GAZP")}


def schedule(seed: int, server, make_feed: Callable, enter: Callable, stack) -> None:
    """Let things break in a random order; then the frames are equal, or a gap that is not filled says otherwise.

    The feed behind the room is by turns of Aries and of ALOR.
    """
    chance = random.Random(seed)
    broker = ("aries", "alor")[seed % 2]
    one, other = SYMBOLS[broker]
    feed = make_feed(broker)
    quotes, trades, book = feed.quotes(one, other), feed.trades(one), feed.book(one)
    quotes.wait(rows=20)
    to_server, to_reader = (stack.enter_context(Cable(server.port)) for _ in range(2))
    feed.serve(f"{to_server.url}/room42")
    room = enter(f"{to_reader.url}/room42")
    theirs, their_trades, their_book = room.quotes(one, other), room.trades(one), room.book(one)
    for _ in range(chance.randint(1, 4)):
        what = chance.choice(["cut", "cut", "hold", "kill", "empty"])
        cable = chance.choice([to_server, to_reader])
        if what == "cut":
            cable.cut()
        elif what == "hold":
            cable.hold()
            time.sleep(chance.uniform(0.1, 1.5))
            if chance.random() < 0.5:
                cable.cut()
            cable.let_go()
        else:
            server.kill()
            if what == "empty":
                server.forget()
            time.sleep(chance.uniform(0, 0.5))
            server.start()
        time.sleep(chance.uniform(0, 1.0))
    time.sleep(0.7)  # breaks of a moment ago are known
    gaps = ended(room)
    if of_quotes(gaps)["filled"].all():
        assert_same(quotes, theirs)
        assert_same(trades, their_trades)
    until(lambda: their_book.df.equals(book.df))


@pytest.mark.parametrize("seed", range(3))
def test_after_a_schedule_of_faults_all_is_there_or_told(server, make_feed, enter, stack, seed):
    schedule(seed, server, make_feed, enter, stack)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3, 203))
def test_after_many_schedules_of_faults_all_is_there_or_told(server, make_feed, enter, stack, seed):
    schedule(seed, server, make_feed, enter, stack)
