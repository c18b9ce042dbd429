"""Snapshots of a feed, and the past of it, on a simulated market."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.errors import UsageError
from aries_nb.live.local_simulator import SimulatedClock
from aries_nb.live.moments.parts import Moment
from aries_nb.live.moments.series import BarsSnapshot
from aries_nb.store import GapLog
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aries_nb.live import Feed
    from aries_nb.net.events.steered_clock import Course
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
    with pytest.raises(UsageError, match=r"aries: nothing is open, .*Open what you want to look back at"):
        feed.at(feed.clock.now - pd.Timedelta("1D"))
    bars = feed.bars("AAPL", "1min")
    with pytest.raises(UsageError, match=r"aries: of what is open no past is kept.*Open what you want to look back at"):
        feed.at(feed.clock.now)
    assert "1 series of bars" in repr(feed.snapshot())
    bars.close()


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


@pytest.fixture(scope="module", params=["sim", "sim-alor"])
def paused(request: pytest.FixtureRequest) -> Iterator[Feed]:
    """A feed of either broker's simulated market, which stands."""
    with anb.connect(request.param, rate=100, seed=11) as feed:
        feed.quotes("MSFT" if request.param == "sim" else "GAZP").wait()
        feed.clock.pause()
        yield feed


def symbol_of(feed: Feed) -> str:
    return "AAPL" if feed.name == "sim" else "SBER"


def test_present_of_a_paused_market_is_held_whole(paused: Feed) -> None:
    feed, symbol = paused, symbol_of(paused)
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


def test_past_of_a_paused_market_ends_where_it_goes_on_though_its_clock_comes_late(
    paused: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(paused.clock, SimulatedClock)
    quotes = paused.quotes(symbol_of(paused)).wait()
    paused.clock.step("1s")
    now, clock = paused.snapshot(), paused.clock._market.clock
    steer = clock.steer

    def steer_late(course: Course) -> None:
        time.sleep(0.3)  # rows come by another way
        steer(course)

    monkeypatch.setattr(clock, "steer", steer_late)
    paused.clock.step("1s")

    assert quotes.received > len(now[quotes])
    pd.testing.assert_frame_equal(paused.at(now.ts)[quotes].df, now[quotes].df)


def test_bars_of_trades_are_made_of_the_trades_in_the_snapshot(feed: Feed) -> None:
    trades = feed.trades("AAPL", "MSFT").wait(rows=50)
    valued = trades.assign(value=lambda df: df.price * df["size"])
    bars = {every: trades.bars(every) for every in ("1s", "1h")} | {7: trades.bars(ticks=7), 9: valued.bars(ticks=9)}
    found = []

    for _ in range(20):
        now = feed.snapshot()
        found.append((now, {each: now[live].df for each, live in bars.items() if each != "1h"}))
    trades.wait(rows=trades.received + 100)

    for now, before in found:
        for every, live in bars.items():
            df, rows = now[live].df, now[trades].df
            assert df["trades"].sum() == len(rows)
            assert df["volume"].sum() == pytest.approx(rows["size"].sum())
            newest = rows[rows["symbol"] == df["symbol"].iloc[-1]]["price"].iloc[-1]
            assert df["close"].iloc[-1] == newest
            if every in before:
                pd.testing.assert_frame_equal(df, before[every])
    assert len(now[bars[7]]) < len(bars[7])
    assert "4 series of bars" in repr(now)


def test_bars_of_the_broker_are_as_they_were(paused: Feed) -> None:
    symbol = symbol_of(paused)
    bars = paused.bars(symbol, "1min", history="1h")
    paused.clock.step("5s")
    expected = bars.wait().df

    now = paused.snapshot()
    paused.clock.step("3s")
    later = paused.snapshot()
    changes = later.diff(now).set_index(["what", "key", "field"])["after"][f"1min bars of {symbol}"]

    pd.testing.assert_frame_equal(now[bars].df, expected)
    pd.testing.assert_frame_equal(later[bars].df, bars.df)
    assert not bars.df.equals(expected)
    assert changes[symbol, "volume"] == bars.df["volume"].iloc[-1]
    assert later[bars].values()["", "bars"] == len(later[bars]) == len(bars)
    assert later[bars].values()[symbol, "start"] == bars.df.index[-1]


def test_option_chain_is_of_the_moment_also_in_the_past(paused: Feed) -> None:
    if paused.name != "sim":
        with pytest.raises(UsageError, match="this broker lists no options"):
            paused.options("SBER")
        return
    chain = paused.options("MSFT", paused.options("MSFT").expiries[3], strikes=2)
    doubled = chain.quotes.assign(twice=lambda df: 2 * df.bid_price)
    paused.clock.step("3s")
    df, spot, money = chain.df, chain.spot, chain.at_the_money

    now = paused.snapshot()
    paused.clock.step("3s")
    later, then = paused.snapshot(), paused.at(now.ts)
    changes = later.diff(now).set_index(["what", "key", "field"])["after"]
    of_chain = changes[now[chain].name].drop(index=["rows", "spot"], level="field")

    for snapshot in (now, then):
        pd.testing.assert_frame_equal(snapshot[chain].df, df)
        assert snapshot[chain].spot == spot
        assert snapshot[chain].at_the_money == money
        assert len(snapshot[chain.quotes]) == len(snapshot[doubled]) > 0
    assert len(of_chain) > 0
    assert all(after == later[chain].df.loc[place] for place, after in of_chain.items())
    assert (changes.index.get_level_values("what") == chain.quotes._name).sum() == 0  # they are those of the chain
    assert "1 option chain" in repr(now)


@pytest.mark.parametrize("paused", ["sim"], indirect=True)
def test_spot_of_a_chain_is_refused_where_the_quotes_of_its_underlying_have_left(
    paused: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.live.market.options.SPOT_ROWS", 3)
    chain = paused.options("MSFT", paused.options("MSFT").expiries[3], strikes=2)
    paused.clock.step("3s")
    df, now = chain.df, paused.snapshot()
    paused.clock.step("3s")
    then = paused.at(now.ts)

    pd.testing.assert_frame_equal(then[chain].df, df)
    for name in ("spot", "at_the_money"):
        with pytest.raises(UsageError, match=r"quotes MSFT is not held as of .* It is from"):
            getattr(then[chain], name)
    for differences in (paused.snapshot().diff(then), then.diff(now)):
        assert not (differences["field"] == "spot").any()
    assert now[chain].spot > 0


def test_bars_of_a_snapshot_are_made_once_though_another_thread_asks_meanwhile() -> None:
    made: list[int] = []

    def make() -> pd.DataFrame:
        made.append(1)
        if len(made) == 1:
            other.start()
            other.join(0.2)  # without a lock it would make them as well
        return pd.DataFrame({"close": [float(len(made))]})

    bars = BarsSnapshot("bars", ["A"], Moment(1, None, GapLog()), make)
    other = threading.Thread(target=lambda: bars.df)

    first = bars.df
    other.join()

    assert made == [1]
    pd.testing.assert_frame_equal(bars.df, first)


def test_bars_of_the_past_are_not_kept_which_is_said(feed: Feed) -> None:
    trades = feed.trades("AAPL").wait(rows=5)
    of_trades, bars = trades.bars("1s"), feed.bars("AAPL", "1min")
    then = feed.at(feed.clock.now)

    for live in (of_trades, bars):
        with pytest.raises(UsageError, match=r"what <.* were in the past is not kept.*then\[trades\]\.df"):
            then[live]
    with pytest.raises(UsageError, match=r"snapshots have frames, bars, .* not <.*now\[trades\]\.df"):
        feed.snapshot()[trades.alert("price > 1")]  # type: ignore[call-overload]


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
    bars, of_the_broker = feed.trades("AAPL").wait().bars("1s"), feed.bars("AAPL", "1min").wait()
    now = feed.snapshot()

    del quotes, bars, of_the_broker

    eventually(lambda: feed.stats().streams == 0)
    assert "2 frames, 2 series of bars" in repr(now)


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
