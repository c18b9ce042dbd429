"""How long rows take on their way, as a user sees it: of a frame, of a book, of the feed."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from aries_nb.live import FeedStatistics
from aries_nb.store import Percentiles
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Feed
    from aries_nb.sim import Simulator

STEPS = ["exchange to received", "received to visible", "received to painted"]


def test_a_frame_and_a_book_tell_each_step_of_the_way(feed: Feed) -> None:
    begun = time.monotonic()
    quotes, book = feed.quotes("AAPL", "MSFT").wait(rows=300), feed.book("AAPL").wait(updates=50)

    lags = [quotes.lag, book.lag]

    longest_ms = 1000 * (time.monotonic() - begun)  # a busy machine is late, and none later than that
    for lag in lags:
        assert list(lag.index) == STEPS
        assert tuple(lag.columns) == Percentiles._fields
        assert (lag.loc[STEPS[:2], "samples"] > 0).all()
        assert (lag.loc[STEPS[:2], "p50_ms"] <= lag.loc[STEPS[:2], "p99_ms"]).all()
        assert 0 < lag.loc["received to visible", "p50_ms"] < longest_ms
        # One machine, one clock, but the exchange's is in whole milliseconds.
        assert -1 <= lag.loc["exchange to received", "p50_ms"] < longest_ms
        assert lag.loc["received to painted", "samples"] == 0
        assert lag.loc["received to painted", ["p50_ms", "p99_ms"]].isna().all()


def test_statistics_and_card_tell_the_lags_of_the_feed(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=300)
    quotes._source.lags.painted(quotes._source.lags.newest, quotes._source.lags.newest + 80_000_000)
    eventually(lambda: not math.isnan(feed.stats().lag_p99_ms))

    now, card = feed.stats(), feed._source.card()

    assert now.lag_ms <= now.lag_p99_ms
    assert 0 < now.visible_p50_ms <= now.visible_p99_ms
    assert (now.painted_p50_ms, now.painted_p99_ms) == (80.0, 80.0)
    assert (card.painted_p50_ms, card.painted_p99_ms) == (80.0, 80.0)
    assert not math.isnan(card.lag_p99_ms)


def test_what_is_known_before_the_first_message_is_nothing(
    serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    feed = open_feed(serve(rate=1))

    now = feed.stats()

    lags = (now.lag_ms, now.lag_p99_ms, now.visible_p50_ms, now.painted_p50_ms)
    assert all(math.isnan(lag) for lag in lags)


def test_statistics_are_a_table_in_a_cell() -> None:
    stats = FeedStatistics(
        state="failed", messages=1_234, messages_per_s=132.494_7, octets=1, records=1, unreadable=0, unasked=0,
        streams=1, reconnects=0, renewals=0, gaps=0, lag_ms=math.nan, lag_p99_ms=1.0, behind_s=0.0, silence_s=0.1,
        last_error="<b>refused",
    )  # fmt: skip

    picture = stats._repr_html_()

    assert "<td>132.5</td>" in picture
    assert "&lt;b&gt;refused" in picture
