from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from aries_nb.rooms import address
from tests.rooms.cable import Cable
from tests.rooms.other import OtherProcess
from tests.rooms.test_rooms import assert_same, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def ended(room) -> pd.DataFrame:
    """The gaps of a room, once none lasts."""
    until(lambda: room.state == "live" and not room.gaps.df["ended"].isna().any())
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


def test_a_server_that_lost_all_gets_it_again(server, feed, enter, stack):
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=50)
    serving = feed.serve(server.room())
    cable = stack.enter_context(Cable(server.port))
    room = enter(f"{cable.url}/room42")
    theirs = room.quotes("AAPL", "MSFT")

    cable.hold()
    seen = room._link._pool.session.streams[0].seq
    server.kill()
    server.forget()
    server.start()
    until(lambda: serving._publisher._made != room._link._pool.session.catalog.made)
    until(lambda: serving._publisher._seq > seen + 5)  # the numbers that the reader knows mean other messages now
    cable.let_go()

    until(lambda: len(room.gaps.df) == 1)
    assert ended(room)["filled"].tolist() == [True]
    assert_same(quotes, theirs)
    late = enter(f"{server.url.replace('127.0.0.1', 'localhost')}/room42").quotes("AAPL", "MSFT")
    assert_same(quotes, late)


def test_a_server_that_lost_its_newest_rows_gets_them_again(server, feed, enter, stack):
    quotes = feed.quotes("AAPL").wait(rows=50)
    feed.serve(server.room())
    cable = stack.enter_context(Cable(server.port))
    room = enter(f"{cable.url}/room42")
    theirs = room.quotes("AAPL")
    (stream,) = room._link._pool.session.streams
    until(lambda: stream.seq > 0)

    cable.hold()
    count = quotes._store.version
    until(lambda: quotes._store.version > count + 20)
    stream.seq += 1_000_000  # messages that the server had, and lost when it was killed
    cable.cut()
    cable.let_go()

    until(lambda: len(room.gaps.df) == 1)
    assert ended(room)["filled"].tolist() == [True]
    assert_same(quotes, theirs)


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

    gaps = ended(room)
    assert gaps[["stream", "cause", "filled"]].to_numpy().tolist() == [["market", "publisher gone", False]]
    assert "interruptions: 1>" in repr(room)
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
    assert not room.gaps.df["reason"].str.contains("broker").any()
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


def test_a_reader_that_is_killed_and_started_again_has_every_row_and_the_others_go_on(server, feed, enter, stack):
    quotes, _trades, _book = feed.quotes("AAPL").wait(rows=20), feed.trades("AAPL"), feed.book("AAPL")
    feed.serve(server.room())
    theirs = enter(server.room()).quotes("AAPL")
    first = OtherProcess.reading(server.room(), ["AAPL"])
    stack.callback(first.kill)
    assert len(first.quotes.df) >= 5

    first.kill()
    again = enter(f"{server.url.replace('127.0.0.1', 'localhost')}/room42").quotes("AAPL")

    assert_same(quotes, again)
    assert_same(quotes, theirs)
    assert len(again.gaps.df) == len(theirs.gaps.df) == 0


def test_nothing_is_left_of_a_connection_to_a_server_that_does_not_read(server, stack, monkeypatch):
    monkeypatch.setattr(address, "CLOSE_SECONDS", 0.2)
    cable = stack.enter_context(Cable(server.port))

    async def took(_: object) -> None:
        pass

    async def left() -> list[bool]:
        client: Any = await address.connected(address.RoomAddress.of(f"{cable.url}/room42"), None, on_error=print)
        await client.subscribe("anb.room42.beat", cb=took)
        (task,) = (each._wait_for_msgs_task for each in client._subs.values())
        cable.hold()
        await client._transport.drain()
        client._transport.write(b"PING\r\n" * 4_000_000)
        await client.publish("anb.room42.beat", b"waits")
        await address.closed(client)
        await asyncio.sleep(0)
        return [task.done(), client._transport._io_writer.transport.get_write_buffer_size() == 0]

    assert asyncio.run(left()) == [True, True]


SYMBOLS = {"aries": ("AAPL", "MSFT"), "alor": ("SBER", "GAZP")}
FAULTS = (
    *["cut", "kill the server"] * 3,
    *["hold", "empty the server", "kill the publisher", "kill a reader"] * 2,
    "partition",
)
PARTITION_SECONDS = 10.0


def schedule(faults: Sequence[str], chance: random.Random, broker: str, server, make_market, make_feed, enter, stack):
    """Let things break, one after the other; then the frames of all readers are the publisher's, or a gap says not.

    Where one does, they are the same from its end on, and before it have rows of the publishers alone, each once. A
    publisher that is killed is a process of its own, as is one of the readers. Each has a cable to the server.
    """
    market, symbols = make_market(broker), SYMBOLS[broker]
    to_server, to_reader = (stack.enter_context(Cable(server.port)) for _ in range(2))
    served, read = f"{to_server.url}/room42", f"{to_reader.url}/room42"

    def started(make: Callable[..., OtherProcess], *arguments: object) -> OtherProcess:
        process = make(*arguments)
        stack.callback(process.kill)
        return process

    def publisher() -> OtherProcess:
        return started(OtherProcess.serving, broker, market.url, served, symbols)

    def shown(feed) -> SimpleNamespace:
        one, *_ = symbols
        return SimpleNamespace(quotes=feed.quotes(*symbols), trades=feed.trades(one), book=feed.book(one))

    if "kill the publisher" in faults:
        mine: Any = publisher()
    else:
        feed = make_feed(broker, market)
        mine = shown(feed)
        mine.quotes.wait(rows=5, timeout=60)
        feed.serve(served)
    room = enter(read)
    readers: list[Any] = [shown(room)]
    readers[0].quotes.wait(rows=5, timeout=60)
    if "kill a reader" in faults:
        readers.append(started(OtherProcess.reading, read, symbols))

    before: list[Any] = []  # what publishers had that were killed
    for fault in faults:
        cable = chance.choice([to_server, to_reader])
        if fault == "cut":
            cable.cut()
        elif fault in {"hold", "partition"}:
            cable.hold()
            time.sleep(PARTITION_SECONDS if fault == "partition" else chance.uniform(0.1, 1.5))
            if chance.random() < 0.5:
                cable.cut()
            cable.let_go()
        elif fault == "kill the publisher":
            before.append({name: getattr(mine, name).df for name in ("quotes", "trades")})
            mine.kill()
            mine = publisher()
        elif fault == "kill a reader":
            readers.pop().kill()
            readers.append(started(OtherProcess.reading, read, symbols))
        else:
            server.kill()
            if fault == "empty the server":
                server.forget()
            time.sleep(chance.uniform(0, 0.5))
            server.start()
        time.sleep(chance.uniform(0, 1.0))

    ended(room)
    count = len(mine.quotes.df)
    until(lambda: len(mine.quotes.df) >= count + 5)
    market.set_market("closed")
    for reader in readers:
        for name in ("quotes", "trades"):
            theirs = getattr(reader, name)
            killed = [each[name] for each in before]
            until(lambda: agrees(getattr(mine, name), theirs, killed))  # noqa: B023 - called here
        until(lambda: reader.book.df.equals(mine.book.df))  # noqa: B023


def agrees(mine, theirs, killed: Sequence[pd.DataFrame] = ()) -> bool:
    """Whether a reader's frame has the publisher's rows; where its gaps say that some are missing, those after them.

    Before them it has rows alone that the publisher had, or `killed` ones before it, and each as often.
    """
    rows, gaps, read = mine.df, theirs.gaps.df, theirs.df
    told = gaps[~gaps["filled"]]
    if told["ended"].isna().any() or not all(has_each_once(read, frame) for frame in (*killed, rows)):
        return False
    if len(told):
        since = told["ended"].max()
        rows, read = rows[rows["received"] > since], read[read["received"] > since]
    return rows.equals(read)


def has_each_once(read: pd.DataFrame, frame: pd.DataFrame) -> bool:
    """Whether the rows of a reader from the time of a publisher's frame are rows of that, none of them more often.

    Those of the same read as its newest may have come after it was looked at.
    """
    if not len(frame):
        return True
    first, last = frame["received"].iloc[[0, -1]]
    own = read[(read["received"] >= first) & (read["received"] < last)]
    counts = [Counter(pd.util.hash_pandas_object(each.reset_index(), index=False)) for each in (own, frame)]
    return counts[0] <= counts[1]


def frame_of(*numbers: int) -> pd.DataFrame:
    times = pd.to_datetime([*numbers], unit="s", utc=True)
    return pd.DataFrame({"received": times, "price": [float(each) for each in numbers]}, index=times)


@pytest.mark.parametrize(
    ("read", "agreeing"),
    [((3, 4, 5, 6, 7, 8), True), ((4, 6, 7, 8), True), ((3, 3, 4, 6, 7, 8), False), ((4, 6, 8), False)],
)
def test_rows_that_a_reader_has_twice_are_seen_before_a_gap_as_well(read, agreeing):
    gaps = pd.DataFrame({"filled": [False], "ended": pd.to_datetime([6], unit="s", utc=True)})
    theirs = SimpleNamespace(df=frame_of(1, *read), gaps=SimpleNamespace(df=gaps))
    mine = SimpleNamespace(df=frame_of(3, 4, 5, 6, 7, 8))

    assert agrees(mine, theirs) is agreeing
    assert agrees(mine, theirs, [frame_of(1, 2)]) is agreeing
    assert not agrees(mine, theirs, [frame_of(0, 2)])


@pytest.mark.parametrize("broker", SYMBOLS)
def test_after_faults_all_is_there_or_told(server, make_market, make_feed, enter, stack, broker):
    faults = ["cut", "empty the server", "hold"]
    schedule(faults, random.Random(1), broker, server, make_market, make_feed, enter, stack)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("broker", SYMBOLS)
@pytest.mark.parametrize("seed", range(100))
def test_after_many_schedules_of_faults_all_is_there_or_told(
    server, make_market, make_feed, enter, stack, broker, seed
):
    chance = random.Random(f"{broker} {seed}")
    faults = [chance.choice(FAULTS) for _ in range(chance.randint(1, 4))]
    schedule(faults, chance, broker, server, make_market, make_feed, enter, stack)
