"""Snapshots of a feed, and the past of it, on a simulated market."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.errors import UsageError
from tests.net.patience import eventually

if TYPE_CHECKING:
    from aries_nb.live import Feed
    from aries_nb.sim import Simulator


def test_what_is_open_is_of_one_moment_and_stays(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=50)
    trades = feed.trades("AAPL").wait(rows=5)
    book = feed.book("AAPL").wait()

    now = feed.snapshot()
    df, latest, levels = now[quotes].df, now[quotes].latest, now.book("AAPL").df
    quotes.wait(rows=now[quotes].received + 200)

    assert now[quotes].df.equals(df)
    assert len(df) == now[quotes].received == now[quotes].ledger.visible
    assert now[quotes].latest.equals(latest)
    assert latest["ts"].tolist() == df.reset_index().groupby("symbol")["ts"].last()[latest.index].tolist()
    assert now.book("AAPL").df.equals(levels)
    assert now[book].df.equals(levels)
    assert now.book("AAPL").integrity == "ok"
    assert df["received"].max() <= now.ts
    assert now[trades].df["received"].max() <= now.ts
    assert list(now.ledger.columns) == list(feed.ledger.columns)
    assert now.ledger.loc[now.ledger["kind"] == "quotes", "visible"].sum() >= len(df)
    assert now.gaps.empty
    assert "2 frames, 1 book" in repr(now)


def test_each_snapshot_has_all_rows_of_all_frames_up_to_one_number(feed: Feed) -> None:
    one, other = feed.quotes("AAPL", "MSFT"), feed.trades("AAPL", "MSFT", "NVDA")
    one.wait(rows=10)
    first = feed.snapshot()
    found = []
    for _ in range(200):
        now = feed.snapshot()
        rows = [now[frame].rows for frame in (one, other)]
        numbers = np.concatenate([each.published.slab.seq[each.published.start : each.published.end] for each in rows])
        found.append((now.seq, int(numbers.max()), numbers))
    last = found[-1][2]

    assert all(newest <= seq for seq, newest, _ in found)
    for seq, _, numbers in found:  # nothing up to its number is missing, and nothing later is there
        assert np.array_equal(np.sort(numbers), np.sort(last[last <= seq]))
    assert [seq for seq, *_ in found] == sorted(seq for seq, *_ in found)
    assert found[-1][0] > first.seq


def test_past_instant_has_what_was_there_then(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=20)
    book = feed.book("AAPL").wait()
    noted = []
    for _ in range(5):
        now = feed.snapshot()
        noted.append((now.ts, now[quotes].df, now[quotes].latest, now[book].df, now[book].updates))
        time.sleep(0.05)
    quotes.wait(rows=quotes.received + 50)

    for ts, df, latest, levels, updates in noted:
        then = feed.at(ts)
        pd.testing.assert_frame_equal(then[quotes].df, df)
        pd.testing.assert_frame_equal(then[quotes].latest, latest)
        pd.testing.assert_frame_equal(then.book("AAPL").df, levels)
        assert then[book].updates == updates
        assert then.ts == ts
        assert then.seq == then[quotes].seq > 0


def test_text_is_a_time_of_the_clocks_day_in_the_zone_of_the_settings(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotes = feed.quotes("AAPL").wait()
    monkeypatch.setattr(anb.settings, "timezone", "America/New_York")
    now = feed.clock.now
    text = f"{now.tz_convert('America/New_York'):%H:%M:%S.%f}"

    then = feed.at(text)

    assert then.ts == now.floor("us")
    assert len(then[quotes]) > 0
    assert f"{text[:8]}" in repr(then)


def test_instant_that_is_not_held_says_from_when_on_it_is(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", rows=10).wait(rows=100)
    book = feed.book("AAPL").wait()
    quotes.wait(rows=quotes.received + 20)  # so that its ten rows are later than the book
    opened = feed.clock.now - pd.Timedelta("1h")

    with pytest.raises(UsageError, match=r"is not held as of .*\n?.*from \d\d:\d\d:\d\d\.\d{3} UTC on"):
        feed.at(opened)
    with pytest.raises(UsageError, match="has not come yet"):
        feed.at(feed.clock.now + pd.Timedelta("1h"))
    with pytest.raises(UsageError, match="is no time"):
        feed.at("soon")
    then = feed.at(pd.Timestamp(book._book.held_from, tz="UTC"))
    assert then[book].df.empty
    with pytest.raises(UsageError, match=r"quotes AAPL is not held as of"):
        then[quotes]
    assert "not held" in repr(then._parts[quotes])


def test_past_of_a_feed_with_nothing_open_says_what_to_open(feed: Feed) -> None:
    with pytest.raises(UsageError, match=r"nothing of aries is open.*Open what you want to look back at"):
        feed.at(feed.clock.now - pd.Timedelta("1D"))


@pytest.mark.parametrize("text", ["now", "today", "NOW"])
def test_word_for_a_day_is_no_time(feed: Feed, text: str) -> None:
    feed.quotes("AAPL").wait()

    with pytest.raises(UsageError, match=rf"'{text}' is no time\. Pass a time such as"):
        feed.at(text)
    with pytest.raises(UsageError, match=rf"'{text}' is no time"):
        feed.timeline().seek(text)


def test_days_are_named_where_they_differ(feed: Feed) -> None:
    few, book = feed.quotes("AAPL", rows=10).wait(rows=100), feed.book("AAPL").wait()
    now = feed.clock.now
    earlier = now - pd.Timedelta("1D")
    days = rf"{earlier:%Y-%m-%d} .* {now:%Y-%m-%d} \d\d:\d\d:\d\d"

    with pytest.raises(UsageError, match=rf"not held as of {days}"):
        feed.at(earlier)
    with pytest.raises(UsageError, match=rf"what came from {now:%Y-%m-%d} \d\d:"):
        feed.timeline().seek(earlier)
    with pytest.raises(UsageError, match=rf"has not come yet\. It is {now:%Y-%m-%d} \d\d:"):
        feed.at(now + pd.Timedelta("1D"))
    assert few.is_open
    assert book.is_open


@pytest.mark.parametrize(("name", "symbol"), [("sim", "AAPL"), ("sim-alor", "SBER")])
def test_present_of_a_paused_market_is_held_whole(name: str, symbol: str) -> None:
    with anb.connect(name, rate=100, seed=11) as feed:
        feed.quotes("MSFT" if name == "sim" else "GAZP").wait()
        feed.clock.pause()
        late, book = feed.quotes(symbol).wait(), feed.book(symbol)
        clock = feed._arrivals.clock
        assert clock.now_ns() == clock.now_ns()  # it stands

        for _ in range(5):
            then = feed.at(feed.clock.now)
            now = feed.snapshot()
            assert len(then[late]) == len(now[late])
            pd.testing.assert_frame_equal(then[book].df, now[book].df)
            feed.timeline().seek(feed.clock.now)
            assert len(late._view_source.rows(0).ts) == len(late)
            feed.timeline().live()
            feed.clock.step("7ms")


def test_bars_and_chains_are_not_in_snapshots_which_is_said(feed: Feed) -> None:
    trades = feed.trades("AAPL").wait(rows=5)
    of_trades, bars = trades.bars("1s"), feed.bars("AAPL", "1min")
    computed = trades.assign(value=lambda df: df.price * df["size"])

    for now in (feed.snapshot(), feed.at(feed.clock.now)):
        assert len(now[computed]) == len(now[trades])
        for live in (of_trades, bars):
            with pytest.raises(UsageError, match=r"snapshots have frames, books and tables, not <.*now\[trades\]\.df"):
                now[live]  # type: ignore[call-overload]


def test_what_is_not_in_a_snapshot_is_said(feed: Feed) -> None:
    now = feed.snapshot()
    late = feed.quotes("AAPL")

    with pytest.raises(UsageError, match="is not in this snapshot"):
        now[late]
    with pytest.raises(UsageError, match="no book of MSFT is in this snapshot"):
        now.book("MSFT")
    with pytest.raises(UsageError, match="counts of messages of the past are not kept"):
        _ = feed.at(feed.clock.now).ledger
    assert "nothing open" in repr(now)


def test_snapshot_keeps_no_stream_open(feed: Feed) -> None:
    quotes = feed.quotes("AAPL").wait()
    now = feed.snapshot()

    del quotes

    eventually(lambda: feed.stats().streams == 0)
    assert "1 frame" in repr(now)


def test_interruption_shows_in_a_snapshot_as_it_was_then(sim: Simulator, feed: Feed) -> None:
    book = feed.book("AAPL").wait()
    quotes = feed.quotes("AAPL").wait(rows=20)
    before = quotes.df["received"].iloc[0]  # a gap begins with the last message before it
    sim.drop_connections()
    eventually(lambda: len(feed.gaps) > 0)
    during = feed.snapshot()
    eventually(lambda: feed.gaps.df["ended"].notna().all())
    quotes.wait(rows=quotes.received + 5)
    eventually(lambda: book.integrity == "ok")

    broken = feed.at(during.ts)

    assert during[quotes].latest["stale"].all()
    assert broken[quotes].latest["stale"].all()
    assert broken[book].integrity == during[book].integrity == "gap"
    assert broken.gaps["ended"].isna().all()
    assert feed.at(before)[book].integrity == "ok"
    assert feed.at(before).gaps.empty
    assert not feed.at(before)[quotes].latest["stale"].any()
    assert feed.gaps.df["ended"].notna().all()


def test_derived_frame_of_a_snapshot_has_a_row_for_each_of_its_source(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=50)
    mids = quotes.assign(mid=lambda df: (df.bid_price + df.ask_price) / 2)

    for _ in range(20):
        now = feed.snapshot()
        pd.testing.assert_index_equal(now[mids].df.index, now[quotes].df.index)
        expected = (now[quotes].df["bid_price"] + now[quotes].df["ask_price"]) / 2
        assert now[mids].df["mid"].equals(expected.rename("mid"))
    then = feed.at(now.ts)
    assert len(then[mids]) == len(then[quotes]) == len(now[quotes])
    pd.testing.assert_frame_equal(then[mids].df, now[mids].df)


def test_differences_name_derived_frames_apart_from_their_sources(feed: Feed) -> None:
    quotes = feed.quotes("AAPL").wait(rows=5)
    mids = quotes.assign(mid=lambda df: (df.bid_price + df.ask_price) / 2)
    mean = mids.rolling("1h")["mid"].mean()

    before = feed.snapshot()
    quotes.wait(rows=before[quotes].received + 20)
    now = feed.snapshot()
    found = now.diff(before).set_index(["what", "field"])["after"]

    names = ["quotes AAPL", "quotes AAPL with mid", "quotes AAPL with mid mid mean of 1h"]
    for name, live in zip(names, (quotes, mids, mean), strict=True):
        assert found[name, "rows"] == len(now[live])
