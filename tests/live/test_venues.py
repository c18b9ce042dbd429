"""The best bid and ask of each venue of a live book."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.errors import ClosedError, UsageError
from aries_nb.live import Feed
from aries_nb.live.waiting import wait_for
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from aries_nb.live.market.book import LiveBook
    from aries_nb.sim import Simulator

COLUMNS = ["venue", "bid_price", "bid_size", "ask_price", "ask_size", "ts", "received"]


def looked_at(book: LiveBook) -> pd.DataFrame:
    """The venues, however long the first look takes."""
    wait_for(lambda: len(book.venues) > 0, (book._source.watch,), timeout=60, what="the venues")
    return book.venues


def test_venues_are_one_row_each_with_its_latest_word(feed: Feed) -> None:
    book = feed.book("AAPL").wait(timeout=60)

    first = looked_at(book).set_index("venue")
    seen = first["received"].max()
    wait_for(lambda: book.venues["received"].max() > seen, (book._source.watch,), timeout=60, what="later venues")
    later = book.venues.set_index("venue")

    assert list(book.venues.columns) == COLUMNS
    assert len(first) >= 2
    assert later.index.is_unique
    assert set(first.index) <= set(later.index)
    assert (later.loc[first.index, "received"] >= first["received"]).all()


def test_best_of_the_venues_is_the_best_of_the_book(feed: Feed, sim: Simulator) -> None:
    book = feed.book("AAPL").wait(timeout=60)
    looked_at(book)
    sim.set_market("closed")  # it stands still

    def is_best() -> bool:
        venues, levels = book.venues, book._source.levels(1)
        best = venues["bid_price"].max(), venues["ask_price"].min()
        return best == (levels.bids[0, 0], levels.asks[0, 0])

    eventually(is_best, "the best of the venues, once all that is on its way has come")


def test_looking_at_venues_takes_one_more_stream_and_looking_again_none(feed: Feed) -> None:
    book = feed.book("AAPL")
    before = feed.stats().streams

    counts = [(len(book.venues), feed.stats().streams)[1] for _ in range(3)]

    assert (before, counts) == (1, [2, 2, 2])


def test_a_closed_book_gives_its_venues_up_and_leaves_what_has_come(feed: Feed) -> None:
    book = feed.book("AAPL").wait(timeout=60)
    count = len(looked_at(book))

    book.close()

    other = feed.quotes("MSFT").wait(timeout=60)  # what was given up before is given up now
    assert (feed.stats().streams, other.is_open) == (1, True)
    assert len(book.venues) >= count > 0


def test_a_forgotten_book_gives_its_venues_up(feed: Feed) -> None:
    book = feed.book("AAPL").wait(timeout=60)
    assert len(looked_at(book)) > 0

    del book
    other = feed.quotes("MSFT").wait(timeout=60)

    assert (feed.stats().streams, other.is_open) == (1, True)


def test_a_closed_book_has_no_venues_that_nobody_looked_at(feed: Feed) -> None:
    book = feed.book("AAPL")
    book.close()

    with pytest.raises(ClosedError, match="the book of AAPL is closed"):
        _ = book.venues


def test_while_the_connection_is_down_venues_are_of_before_and_the_book_says_so(
    serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    sim = serve(rate=2000)
    feed = open_feed(sim, rule=BackoffRule(first=60.0, cap=60.0, cap_after_live=60.0))
    book = feed.book("AAPL").wait(timeout=60)
    count = len(looked_at(book))

    sim.drop_connections()
    wait_for(lambda: feed.state == "reconnecting", (feed._link.watch,), timeout=60, what="the break")

    assert book.integrity == "gap"
    assert len(book.venues) >= count > 0


def test_after_a_break_no_venue_is_of_before(feed: Feed, sim: Simulator) -> None:
    book = feed.book("AAPL").wait(timeout=60)
    before = looked_at(book)["received"].max()

    sim.drop_connections()
    quotes = feed.quotes("AAPL").wait(timeout=60)
    wait_for(lambda: book.integrity != "gap", (book._source.watch,), timeout=60, what="the book after the break")

    assert quotes.df["received"].min() > before
    assert (looked_at(book)["received"] > before).all()


def test_a_broker_without_venues_says_so(sim: Simulator) -> None:
    market = BROKERS["aries"].market
    columns = {kind: types for kind, types in market.columns.items() if kind != "venues"}
    broker = replace(BROKERS["aries"], market=replace(market, columns=columns))

    with Feed(broker, sim.url, fixed_token("a token"), at_close=lambda closed: None) as feed:
        feed.wait_open(30)

        with pytest.raises(UsageError, match="has no quotes by venue of AAPL"):
            _ = feed.book("AAPL").venues
