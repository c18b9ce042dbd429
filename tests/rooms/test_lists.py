"""Bars, tables, options, news and the state of the market in a room; and what of accounts is in none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

import aries_nb as anb
from aries_nb import UsageError
from aries_nb.errors import UnknownSymbolError
from tests.rooms.cable import Cable
from tests.rooms.test_rooms import until

if TYPE_CHECKING:
    from aries_nb.live import Feed


@pytest.fixture
def market(stack) -> Feed:
    """A feed of a simulated market that can stand, so that two frames can be compared."""
    return stack.enter_context(anb.connect("sim", seed=5, rate=40))


def assert_same(mine, theirs) -> None:
    until(lambda: len(mine.df) > 0 and theirs.df.equals(mine.df))


def test_bars_are_the_publishers(server, market: Feed, enter):
    bars = market.bars("AAPL", "1min", history="2d").wait()
    market.serve(server.room())

    room = enter(server.room())
    theirs = room.bars("AAPL", "1min").wait()

    before = room.snapshot()
    known = before[theirs].df
    market.clock.step("70s")
    assert_same(bars, theirs)
    assert room.snapshot()[theirs].df.equals(bars.df)
    assert before[theirs].df.equals(known)
    assert len(known) < len(bars)
    assert {*theirs.df["source"]} >= {"history", "live"}
    assert theirs._source.newest(5).close.tolist() == bars.df["close"].tolist()[-5:]
    assert "trades" not in room._endpoints.endpoint("market").columns
    with pytest.raises(UnknownSymbolError, match="the room has bars of: AAPL"):
        room.bars("MSFT")
    with pytest.raises(UsageError, match="the room has bars of interval 1min"):
        room.bars("AAPL", "5min")


def test_a_crossed_book_is_crossed_in_the_room(server, market: Feed, enter):
    book = market.book("AAPL").wait()
    market.serve(server.room())
    theirs = enter(server.room()).book("AAPL")
    market.clock.pause()

    market.simulate("crossed book", seconds=3, symbol="AAPL")
    market.clock.step("1s")

    assert book.integrity == "crossed"
    until(lambda: theirs.df.equals(book.df))
    assert theirs.integrity == "crossed"


def test_tables_of_named_accounts_alone_are_in_a_room(server, market: Feed, enter):
    account = market.account("ACC-1")
    orders, positions = account.orders, account.positions
    until(lambda: len(orders.df) > 0 and len(positions.df) > 0)
    quotes, trades = market.quotes("AAPL", fields="*").wait(), market.trades("AAPL").wait()
    market.serve(server.room("mine"), accounts=["ACC-1"])
    market.serve(server.room("market"))

    mine, other = enter(server.room("mine")), enter(server.room("market"))
    their_orders, their_positions = mine.account("ACC-1").orders, mine.account().positions
    their_quotes, their_trades = mine.quotes("AAPL", fields="*"), mine.trades("AAPL")
    market.clock.pause()

    assert mine.accounts == ("ACC-1",)
    assert_same(orders, their_orders)
    assert_same(quotes, their_quotes)
    until(lambda: broker_part(their_positions.df).equals(broker_part(positions.df)))
    assert their_positions.rows()[0]["quantity"] == positions.rows()[0]["quantity"]
    until(lambda: adds_up(mine.ledger, "orders"))
    assert_same(trades, their_trades)
    until(lambda: adds_up(mine.ledger, "trades"))
    with pytest.raises(UsageError, match="no account 'ACC-2'"):
        mine.account("ACC-2")
    assert other.accounts == ()
    with pytest.raises(UsageError, match="no account"):
        other.account("ACC-1")
    with pytest.raises(UsageError, match="no list of names"):
        market.serve(server.room("third"), accounts="ACC-1")


@pytest.mark.parametrize(("broker", "name"), [("aries", "ACC-1"), ("alor", "D00001")])
def test_every_table_of_a_named_account_is_the_publishers(server, make_feed, enter, broker, name):
    feed = make_feed(broker)
    tables = [each for each in feed.tables if each not in {"watchlists", "news", "pnl"}]
    mine = {table: getattr(feed.account(name), table) for table in tables}
    feed.serve(server.room(), accounts=[name])
    room = enter(server.room())

    theirs = {table: getattr(room.account(name), table) for table in tables}

    assert {*tables} <= {*room.tables}
    for table in tables:
        until(lambda: broker_part(theirs[table].df).equals(broker_part(mine[table].df)))  # noqa: B023 - called here


def test_tables_and_bars_are_the_same_after_any_break(server, market: Feed, enter, stack):
    bars, orders = market.bars("AAPL", "1min", history="1d"), market.account("ACC-1").orders
    cable = stack.enter_context(Cable(server.port))
    market.serve(server.room(), accounts=["ACC-1"])
    room = enter(f"{cable.url}/room42")
    their_bars, their_orders = room.bars("AAPL", "1min").wait(), room.account("ACC-1").orders

    cable.cut()
    until(lambda: room.state == "reconnecting")
    assert their_orders.is_stale
    market.clock.step("20s")
    server.kill()
    server.forget()
    server.start()
    market.clock.pause()

    assert_same(bars, their_bars)
    assert_same(orders, their_orders)
    until(lambda: not their_orders.is_stale, 20)


def broker_part(df: pd.DataFrame) -> pd.DataFrame:
    """What of a table is the broker's: marks are of each feed's own quotes."""
    return df.drop(columns=[name for name in df if str(name).startswith("mark")])


def adds_up(ledger: pd.DataFrame, kind: str) -> bool:
    """Whether a reader shows and has shown what the publisher does; the counts of each add up in any case."""
    lines = ledger[ledger["kind"] == kind].set_index("stream")
    for _, each in lines.iterrows():
        out = each[["visible", "evicted", "conflated", "duplicated", "rowless", "unreadable", "corrected"]].sum()
        assert each["received"] + each["filled"] == out
    counts = ["visible", "evicted", "corrected"]
    return bool((lines.loc["market", counts] == lines.loc["publisher", counts]).all())


def test_options_news_and_the_state_of_the_market_are_in_a_room(server, market: Feed, enter):
    expiry = market.options("AAPL").expiries[0]
    chain = market.options("AAPL", expiry, strikes=2).wait()
    news = market.news()
    market.serve(server.room())

    room = enter(server.room())
    theirs = room.options("AAPL", expiry).wait()
    their_news = room.news()
    market.clock.step("90s")

    assert room.options("AAPL").expiries == (expiry,)
    pd.testing.assert_frame_equal(theirs.df[["type", "strike"]], chain.df[["type", "strike"]])
    until(lambda: dict(room.market_status) == dict(market.market_status) != {})
    assert_same(news, their_news)
    with pytest.raises(UsageError, match="the room has news of symbols any, topics any"):
        room.news("AAPL")
