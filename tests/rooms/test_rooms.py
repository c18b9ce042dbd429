from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from aries_nb import UsageError
from aries_nb.errors import ConnectError, UnknownSymbolError
from aries_nb.rooms.publisher import RoomPublisher

if TYPE_CHECKING:
    from collections.abc import Callable


def until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def assert_same(mine, theirs) -> None:
    """The reader's frame has every row that the publisher's has now, in the same order with the same values."""
    rows = mine.df
    until(lambda: len(theirs.df) >= len(rows))

    pd.testing.assert_frame_equal(theirs.df.iloc[: len(rows)], rows)


def test_a_room_has_the_rows_of_the_feed_those_from_before_included(server, feed, enter):
    quotes, trades = feed.quotes("AAPL", "MSFT").wait(rows=200), feed.trades("AAPL")
    feed.serve(server.room())

    room = enter(server.room())
    their_quotes, their_trades = room.quotes("AAPL", "MSFT"), room.trades("AAPL")

    assert len(their_quotes.df) >= 200
    assert_same(quotes, their_quotes)
    assert_same(trades, their_trades)
    assert room.state == "live"
    assert len(room.gaps.df) == 0
    # After a break it asks for what is new: not again for all that the server keeps.
    until(lambda: all(stream.seq > 0 for stream in room._link._pool.session.streams))
    time.sleep(0.3)
    assert all(stream.seq > 0 for stream in room._link._pool.session.streams)


def test_rows_have_the_arrival_numbers_of_the_feed(server, feed, enter):
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=100)
    feed.serve(server.room())

    theirs = enter(server.room()).quotes("AAPL", "MSFT").wait(rows=100)

    first = [frame._store.arrays_since(0)[0]["seq"][:100].tolist() for frame in (quotes, theirs)]
    assert first[0] == first[1]
    assert len({*first[0]}) == 100


def test_a_reader_chooses_symbols_and_fields(server, feed, enter):
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=200)
    feed.serve(server.room())

    theirs = enter(server.room()).quotes("MSFT", fields=["bid_price", "ask_price"]).wait(rows=50)

    rows = quotes.df.query("symbol == 'MSFT'")[["received", "symbol", "bid_price", "ask_price"]]
    until(lambda: len(theirs.df) >= len(rows))
    pd.testing.assert_frame_equal(theirs.df.iloc[: len(rows)], rows)


def test_two_frames_of_one_reader_have_each_row_once(server, feed, enter):
    quotes = feed.quotes("AAPL").wait(rows=50)
    feed.serve(server.room())
    room = enter(server.room())

    first, second = room.quotes("AAPL"), room.quotes("AAPL", rows=50_000)

    assert_same(quotes, first)
    assert_same(quotes, second)


def test_a_book_is_the_publishers(server, feed, enter):
    book = feed.book("AAPL").wait()
    feed.serve(server.room())

    theirs = enter(server.room()).book("AAPL").wait()

    def is_same() -> bool:
        mine, other = book.df, theirs.df
        return len(other) > 0 and mine.equals(other)

    until(is_same)
    assert theirs.integrity == "ok"


def test_what_is_opened_later_comes_into_the_room(server, feed, enter):
    feed.serve(server.room())
    room = enter(server.room())
    with pytest.raises(UsageError, match="no quotes"):
        room.quotes("AAPL")

    quotes = feed.quotes("AAPL").wait(rows=10)
    until(lambda: "quotes" in room._endpoints.endpoint("market").columns)

    assert_same(quotes, room.quotes("AAPL"))


def test_what_nobody_serves_is_refused_with_what_there_is(server, feed, enter):
    quotes = feed.quotes("AAPL", "MSFT", fields=["bid_price"])
    feed.serve(server.room())
    room = enter(server.room())

    with pytest.raises(UnknownSymbolError, match="the room has quotes of: AAPL, MSFT"):
        room.quotes("TSLA")
    with pytest.raises(UsageError, match="ask_price"):
        room.quotes("AAPL", fields=["ask_price"])
    assert quotes.symbols == ("AAPL", "MSFT")


def test_a_room_that_nobody_serves_is_an_error(server, enter):
    with pytest.raises(ConnectError, match="this room has no publisher"):
        enter(server.room("empty"), timeout=1.5)


def test_a_room_has_one_publisher(server, feed, monkeypatch):
    feed.serve(server.room())
    # A busy machine may stand still for a part of it.
    monkeypatch.setattr("aries_nb.rooms.publisher.LOOK_SECONDS", 1.2)

    from aries_nb.rooms.address import RoomAddress
    from aries_nb.rooms.publisher import Offer

    second = RoomPublisher(
        RoomAddress.of(server.room()), None, lambda: Offer((), "live", 0, 1.0), feed="aries", window_s=60, lives={}
    )
    with pytest.raises(UsageError, match="another process serves this room"):
        second.wait_open(60)


def test_a_server_that_is_slow_to_answer_holds_no_rows_up(server, feed, enter, monkeypatch):
    quotes = feed.quotes("AAPL").wait(rows=20)
    check, looks = RoomPublisher._check_streams, []

    async def slow(publisher: RoomPublisher, client: object) -> None:
        looks.append(client)
        if len(looks) > 1:
            await asyncio.Event().wait()
        await check(publisher, client)

    monkeypatch.setattr(RoomPublisher, "_check_streams", slow)
    feed.serve(server.room())
    theirs = enter(server.room()).quotes("AAPL")
    until(lambda: len(looks) == 2)
    count = len(quotes.df)

    until(lambda: len(theirs.df) > count)
    assert len(looks) == 2


def test_serving_again_is_the_same_and_close_ends_it(server, feed):
    serving = feed.serve(server.room())

    assert feed.serve(server.room()) is serving
    assert "live" in repr(serving)
    feed.close()
    assert serving.state == "closed"


def test_serving_anew_goes_on_with_the_same_rows(server, feed, enter):
    quotes = feed.quotes("AAPL").wait(rows=50)
    feed.serve(server.room()).close()
    feed.serve(server.room())

    theirs = enter(server.room()).quotes("AAPL")

    assert_same(quotes, theirs)
    assert len(theirs.gaps.df) == 0


def test_a_reader_that_comes_late_is_told_where_a_publisher_began_anew(server, feed, enter):
    quotes = feed.quotes("AAPL").wait(rows=50)
    feed.serve(server.room()).close()
    quotes.close()
    quotes = feed.quotes("AAPL").wait(rows=50)
    feed.serve(server.room())

    room = enter(server.room())
    theirs = room.quotes("AAPL").wait(rows=100)

    gaps = theirs.gaps.df
    assert gaps["cause"].tolist() == ["room"]
    assert not gaps["filled"].any()
    assert gaps["ended"].iloc[0] == quotes.df["received"].iloc[0]
    received = theirs.df["received"]
    assert gaps["started"].iloc[0] == received[received < gaps["ended"].iloc[0]].max()


def test_a_room_is_neither_served_again_nor_recorded(server, feed, enter, tmp_path):
    feed.serve(server.room())
    room = enter(server.room())

    with pytest.raises(UsageError, match="not served again"):
        room.serve(server.room("other"))
    with pytest.raises(UsageError, match="not recorded"):
        room.record(tmp_path / "room.anb")
    with pytest.raises(UsageError, match="this user has no account"):
        room.account()


def test_market_time_is_the_publishers(server, feed, enter):
    feed.serve(server.room())

    room = enter(server.room())

    until(lambda: abs(room.clock.now_ns() - feed.clock.now_ns()) < 500_000_000)
