"""The lines that a notebook is promised, with no `await` and no notebook."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import aries_nb as anb
from tests.live.selected import selected
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.sim import Simulator


def test_the_promised_lines_work_in_a_plain_script() -> None:
    feed = anb.connect("sim", rate=1000)
    quotes = feed.quotes("AAPL", "MSFT", window="15min")
    trades = feed.trades("AAPL")
    book = feed.book("AAPL", depth=10)
    quotes.wait(rows=100)
    trades.wait()
    book.wait()
    frame, latest, ladder = quotes.df, quotes.latest, book.df
    statistics, gaps = feed.stats(), feed.gaps.df
    feed.close()

    assert list(frame.columns) == [
        "received", "symbol", "bid_price", "bid_size", "ask_price", "ask_size", "last_price",
    ]  # fmt: skip
    assert pd.DatetimeTZDtype("us", "UTC") == frame.index.dtype == frame["received"].dtype
    assert len(frame) >= 100
    assert list(latest.index) == ["AAPL", "MSFT"]
    assert {"buy", "sell"} == set(ladder["side"])
    assert len(ladder) <= 20
    assert list(trades.df.columns) == ["received", "symbol", "price", "size", "side", "trade_id", "venue", "source"]
    assert (statistics.state, statistics.unreadable, len(gaps)) == ("live", 0, 0)
    assert feed.state == "closed"


def test_rows_of_all_connections_are_numbered_in_the_order_of_their_arrival(feed: anb.Feed) -> None:
    frames = [feed.quotes("AAPL", "MSFT"), feed.trades("AAPL"), feed.quotes("AAPL", endpoint="charts")]
    for frame in frames:
        frame.wait(rows=20)

    slabs = [(frame._tape._published.slab, len(frame)) for frame in frames]
    rows = sorted(
        (seq, received)
        for slab, count in slabs
        for seq, received in zip(slab.seq[:count].tolist(), slab.received[:count].tolist(), strict=True)
    )

    assert len({seq for seq, _ in rows}) == len(rows)
    assert [received for _, received in rows] == sorted(received for _, received in rows)
    assert all("seq" not in frame.df for frame in frames)


def test_the_same_call_gives_the_same_feed_frame_and_book(sim: Simulator) -> None:
    with anb.connect("aries", url=sim.url, token="a token") as feed:
        again = anb.connect("aries", url=sim.url, token="a token")
        frames = [each.quotes("AAPL", "MSFT", window="15min") for each in (feed, again)]
        books = [each.book("AAPL", depth=5) for each in (feed, again)]

        assert feed is again
        assert frames[0] is frames[1]
        assert books[0] is books[1]
        assert (sim.statistics().connections_total, feed.stats().streams) == (1, 3)


def test_a_cell_that_defines_its_token_function_runs_again_on_the_same_feed(sim: Simulator) -> None:
    cell = "feed = anb.connect('aries', url=url, token=lambda: 'a token')"
    space = {"anb": anb, "url": sim.url}
    feeds = []

    for _ in range(2):
        exec(cell, space)
        feeds.append(space["feed"])
    anb.connect("aries", url=sim.url, token=lambda: "another token").close()
    feeds[0].close()  # type: ignore[attr-defined]

    assert feeds[0] is feeds[1]
    assert sim.statistics().connections_total == 2


def test_a_closed_feed_is_not_handed_out_again(sim: Simulator) -> None:
    first = anb.connect("aries", url=sim.url, token="a token")
    first.close()

    with anb.connect("aries", url=sim.url, token="a token") as second:
        assert first is not second
        assert second.state == "live"


def test_another_token_or_window_or_order_of_symbols_is_another_object(sim: Simulator) -> None:
    with (
        anb.connect("aries", url=sim.url, token="one token") as one,
        anb.connect("aries", url=sim.url, token="other token") as other,
    ):
        frames = {one.quotes("AAPL", "MSFT"), one.quotes("MSFT", "AAPL"), one.quotes("AAPL", "MSFT", rows=10)}

        assert one is not other
        assert len(frames) == 3


def test_a_frame_closed_and_asked_for_again_runs_again(sim: Simulator, feed: anb.Feed) -> None:
    first = feed.quotes("AAPL")
    first.close()

    second = feed.quotes("AAPL").wait()

    assert first is not second
    assert (first.is_open, second.is_open) == (False, True)


def test_only_the_fields_asked_for_go_over_the_wire(sim: Simulator, feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL", fields=["ask_price", "bid_price"]).wait(rows=20)

    assert selected(sim) == [{"AAPL": {"quote": ["askPrice", "bidPrice", "quoteTimestamp"]}}]
    assert list(quotes.df.columns) == ["received", "symbol", "bid_price", "ask_price"]
    assert not quotes.df[["bid_price", "ask_price"]].isna().any(axis=None)


def test_views_of_one_symbol_share_what_goes_over_the_wire_and_the_last_ends_it(sim: Simulator, feed: anb.Feed) -> None:
    wide = feed.quotes("AAPL", fields=["bid_price", "ask_price"])
    narrow = feed.quotes("AAPL", fields=["bid_price", "bid_size"])
    book, other = feed.book("AAPL", depth=5), feed.book("AAPL", depth=10)
    all_four = selected(sim)
    wide.close()
    book.close()
    eventually(lambda: "askPrice" not in selected(sim)[0]["AAPL"]["quote"])
    two = selected(sim)
    other.close()
    narrow.close()
    eventually(lambda: selected(sim) == [{}])

    assert {"quote", "level2"} == set(all_four[0]["AAPL"]) == set(two[0]["AAPL"])
    assert {"askPrice", "bidPrice", "bidSize", "quoteTimestamp"} == set(all_four[0]["AAPL"]["quote"])
    assert {"bidPrice", "bidSize", "quoteTimestamp"} == set(two[0]["AAPL"]["quote"])
    assert feed.stats().streams == 0


def test_what_stays_open_goes_on_when_another_view_of_the_symbol_closes(sim: Simulator, feed: anb.Feed) -> None:
    kept = feed.quotes("AAPL", fields=["bid_price"])
    feed.quotes("AAPL", fields=["bid_price", "ask_size"]).wait().close()

    before = kept.received
    kept.wait(rows=before + 50)

    assert kept.df["bid_price"].notna().all()


def test_a_frame_that_nobody_holds_gives_its_stream_up(sim: Simulator, feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL").wait()
    book = feed.book("MSFT").wait()

    del quotes, book

    eventually(lambda: selected(sim) == [{}])
    assert feed.stats().streams == 0


def test_closing_is_idempotent_and_what_came_stays_readable(sim: Simulator, feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL").wait(rows=20)
    book = feed.book("AAPL").wait()

    for _ in range(2):
        quotes.close()
        book.close()
        feed.close()

    assert len(quotes.df) >= 20
    assert len(quotes.latest) == 1
    assert len(book.df) > 0
    assert feed.stats().records >= 20
    assert (feed.state, quotes.is_live) == ("closed", False)
    assert "closed" in repr(quotes) + repr(feed)


def test_a_closed_feed_says_so_when_it_is_asked_for_more(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL").wait()
    feed.close()

    for ask in (lambda: feed.quotes("MSFT"), lambda: feed.trades("AAPL"), lambda: feed.book("AAPL")):
        with pytest.raises(anb.ClosedError, match=r"closed.*Connect again"):
            ask()
    with pytest.raises(anb.ClosedError):
        quotes.wait(rows=10**9)


def test_a_with_block_closes_frame_book_and_feed(sim: Simulator, open_feed: Callable[..., anb.Feed]) -> None:
    with open_feed(sim) as feed, feed.quotes("AAPL") as quotes, feed.book("AAPL") as book:
        quotes.wait()

    assert (quotes.is_open, book.is_open, feed.state) == (False, False, "closed")


def test_latest_has_a_row_for_a_symbol_that_nothing_came_for(sim: Simulator, feed: anb.Feed) -> None:
    sim.set_market("closed")

    latest = feed.trades("AAPL", "MSFT").latest

    assert list(latest.index) == ["AAPL", "MSFT"]
    assert [pd.DatetimeTZDtype("us", "UTC")] * 2 == [latest["ts"].dtype, latest["received"].dtype]
    assert latest[["ts", "received", "price", "size"]].isna().all(axis=None)
    assert list(latest["venue"]) == ["", ""]
    assert list(latest["trade_id"]) == [0, 0]


def test_equal_calls_at_the_same_time_get_the_same_frame_and_book(sim: Simulator) -> None:
    feed = anb.connect("aries", url=sim.url, token="any")
    with ThreadPoolExecutor(6) as pool, feed:
        frames = list(pool.map(lambda _: feed.quotes("AAPL"), range(6)))
        books = list(pool.map(lambda _: feed.book("AAPL"), range(6)))

    assert frames == [frames[0]] * 6
    assert books == [books[0]] * 6


def test_the_same_callback_of_a_cell_that_runs_again_replaces_the_one_before(sim: Simulator) -> None:
    source = "def callback(rows):\n    counted.append(len(rows))\n"
    counted: list[int] = []
    with anb.connect("aries", url=sim.url, token="any") as feed:
        quotes = feed.quotes("AAPL")
        for _ in range(2):
            cell: dict[str, Any] = {"counted": counted}
            exec(compile(source, "cell", "exec"), cell)
            quotes.on_update(cell["callback"])
        running = len(quotes._registrations._removers)

    assert running == 1


def test_a_book_is_not_believed_once_its_feed_is_closed(sim: Simulator) -> None:
    feed = anb.connect("aries", url=sim.url, token="any")
    book = feed.book("AAPL").wait()

    feed.close()

    assert book.integrity == "gap"


def test_a_closed_feed_leaves_neither_its_lock_nor_its_token(sim: Simulator) -> None:
    registry = sys.modules["aries_nb.live.connect"]._open_feeds
    before = len(registry._feeds)

    for number in range(3):
        anb.connect("aries", url=sim.url, token=f"token {number}").close()

    assert len(registry._feeds) == before
    assert len(registry._making) == 0  # their keys have the tokens


def test_a_simulated_market_that_has_died_is_replaced() -> None:
    feed = anb.connect("sim", seed=77)
    feed.close()
    first = anb.connect("sim", seed=77)
    (market,) = (
        market for feed, market, _ in sys.modules["aries_nb.live.connect"]._open_feeds._feeds.values() if feed is first
    )
    market._process.kill()
    market._process.wait()

    second = anb.connect("sim", seed=77)

    assert second is not first
    assert second.state == "live"
    second.close()
