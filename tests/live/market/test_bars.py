"""History and live trades as one frame: compared bar by bar with the simulator's log of all trades, by pandas."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pytest

from aries_nb.brokers import Query
from aries_nb.errors import ClosedError, FeedError, UnknownSymbolError, UsageError
from aries_nb.live.market import bars as live_bars
from aries_nb.live.market.bar_history import MOST_PAGES, BarHistory
from aries_nb.model import BarPage
from aries_nb.net.background import on_network
from aries_nb.net.backoff import BackoffRule
from aries_nb.sim.market.history import SESSION_MINUTES, Resolution
from tests.live.alor_feeds import open_alor, serve_alor
from tests.live.market_clock import PRICES, minutes_of, run_fast
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import aries_nb as anb
    from aries_nb.sim import Simulator

__all__ = ["open_alor", "serve_alor"]

SECOND = 1_000_000_000
DAY = 86_400
DAY_NS = DAY * SECOND


def bars_of(trades: np.ndarray) -> pd.DataFrame:
    """One row a second, index its beginning in ns."""
    groups = pd.DataFrame({name: trades[name] for name in ("price", "size")}).groupby(trades["time"] // SECOND * SECOND)
    bars = groups["price"].agg(open="first", high="max", low="min", close="last")
    return bars.assign(volume=groups["size"].sum())


class SecondBars:
    """In the place of the broker's history, which has no bar below a minute: bars of a second, of the same log."""

    symbol = key = "AAPL"

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim

    def get(self, path: str, params: object = None) -> bytes:
        return b""

    def asking(self, _: object) -> SecondBars:
        return self

    def start_of(self, ts: int) -> int:
        return ts // SECOND * SECOND

    def ask(self, start: int, end: int, *, reached: object = None) -> BarPage:
        bars = bars_of(self._sim.trades(self.symbol, time.time() - 60))
        bars = bars[(bars.index >= start) & (bars.index < end)]
        return BarPage(bars.index.tolist(), *(bars[name].tolist() for name in PRICES))


@pytest.mark.parametrize(
    ("rule", "least_seconds"),
    [(BackoffRule(0.4, 0.4, 0.4), 1), (BackoffRule(2.2, 2.2, 2.2), 60)],
    ids=["within a bar", "across bars"],
)
def test_minute_bars_across_a_reconnect_equal_those_of_the_full_trade_log(
    serve: Callable[..., Simulator],
    open_feed: Callable[..., anb.Feed],
    monkeypatch: pytest.MonkeyPatch,
    rule: BackoffRule,
    least_seconds: int,
) -> None:
    # A second for what travels meanwhile, as a busy machine lets it wait, and half a second for the end of a bar. Two
    # days hold a Sunday, a session, a night and part of another session.
    monkeypatch.setattr(live_bars, "MARGIN_NS", 60 * SECOND)
    monkeypatch.setattr(live_bars, "GRACE_NS", 30 * SECOND)
    run_fast(monkeypatch, since=pd.Timestamp("2026-03-03 12:17:40", tz="America/New_York"), speed=60)
    sim = serve(rate=1000, flush_seconds=0.01, auth_seconds=1e6, idle_seconds=1e6, session_seconds=1e6)
    other = open_feed(sim).trades("AAPL")  # back at once after a drop: the market goes on while we are away
    other.wait(rows=50)
    feed = open_feed(sim, rule=rule)

    bars = feed.bars("AAPL", "1min", history="2d")
    first = len(bars)
    eventually(lambda: has_live_bar(bars, after=first))
    eventually(lambda: 5 <= other.df.index[-1].second <= 25)
    sim.drop_connections()
    eventually(lambda: [span.cause for span in bars._source.gap_spans()] == ["cut"])
    eventually(lambda: feed.stats().reconnects == 1 and feed.state == "live")
    cut = len(bars)
    eventually(lambda: has_live_bar(bars, after=cut))
    sim.set_market("closed")
    log = sim.trades("AAPL", bars.df.index[0].timestamp())
    eventually(lambda: is_settled(bars, log))
    frame = bars.df

    expected = minutes_of(log)
    gap = feed.gaps.df.iloc[-1]
    missed = log[(log["time"] > gap["started"].value) & (log["time"] < gap["ended"].value)]
    assert len(missed) > 0
    assert (gap["ended"] - gap["started"]).total_seconds() > least_seconds
    # At 60 times the speed prints come seconds late.
    assert {"history", "live"} == set(frame["source"].iloc[first:]) - {"corrected"}
    assert bars._source.gap_spans() == ()  # filled, and so no band in a chart any more
    assert len(expected) > SESSION_MINUTES + 160
    assert expected.index.as_unit("ns").equals(frame.index.as_unit("ns"))
    np.testing.assert_array_equal(frame[PRICES].to_numpy(), expected[PRICES].to_numpy())


def has_live_bar(bars: live_bars.LiveBars, *, after: int) -> bool:
    """Whether one that is complete was made of live trades alone, after so many bars."""
    later = bars.df.iloc[after:]
    return bool((later["complete"] & (later["source"] == "live")).any())


def is_settled(bars: live_bars.LiveBars, log: np.ndarray) -> bool:
    """Whether the last trade of all is counted, and nothing in doubt but perhaps the bar that it belongs to."""
    tape = bars._upkeep._tape
    last = tape.frame().iloc[-1]
    is_heard = (last.name.value, last["price"], last["size"]) == log[-1].tolist()
    return is_heard and bars._upkeep._position == tape.version and bool(bars.df["complete"].iloc[:-1].all())


def minutes(sim: Simulator, symbol: str, *, days: int) -> Any:
    """The server's own bars of these days, but for the last two minutes, which may still change."""
    now = time.time()
    return sim._call(lambda: sim._server._history.bars(symbol, Resolution("minute", 1), now - days * DAY, now - 120))


def test_the_brokers_history_and_the_running_minute_are_one_frame(sim: Simulator, feed: anb.Feed) -> None:
    feed.trades("AAPL").wait(rows=20)

    bars = feed.bars("AAPL", "1min", history="10d")
    count = bars.df["volume"].iloc[-1]
    eventually(lambda: bars.df["volume"].iloc[-1] > count)
    frame = bars.df

    theirs = minutes(sim, "AAPL", days=9)
    same = frame[np.isin(frame.index.as_unit("s").asi8, theirs["time"])]
    assert len(theirs) > 1000
    assert frame.index.is_monotonic_increasing
    assert not frame.index.has_duplicates
    assert same["complete"].all()
    np.testing.assert_array_equal(same[PRICES].to_numpy(), np.array(theirs[PRICES].tolist()))
    assert not frame["complete"].iloc[-1]
    assert frame["close"].iloc[0] > 0


def test_a_history_of_more_than_one_page_comes_whole(sim: Simulator, feed: anb.Feed) -> None:
    bars = feed.bars("MSFT", "1min", history="100d")

    theirs = minutes(sim, "MSFT", days=99)
    starts = set(bars.df.index.as_unit("s").asi8.tolist())
    assert len(bars) > 20_000
    assert set(theirs["time"].tolist()) <= starts


def test_pages_are_told_as_they_come_and_the_last_is_not(feed: anb.Feed) -> None:
    told: list[int] = []
    end = time.time_ns()
    start = end - 130 * DAY * SECOND

    bars = feed.bars("MSFT", history="1h")._upkeep._history.ask(start, end, reached=told.append)

    assert len(bars.start_ns) > 20_000
    assert len(told) == 1
    assert start < told[0] < end


def test_asking_ends_with_a_server_whose_pages_have_nothing(feed: anb.Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    history = feed.bars("MSFT", history="1h")._upkeep._history
    asked: list[int] = []

    def page(start: int, end: int) -> BarPage:
        asked.append(end)
        return BarPage([], [], [], [], [], [], end - SECOND)

    monkeypatch.setattr(history, "_page", page)
    bars = history.ask(0, 10_000 * SECOND)

    assert bars.start_ns == []
    assert len(asked) == MOST_PAGES


def test_a_page_without_bars_that_names_earlier_ones_is_asked_on(
    feed: anb.Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = feed.bars("MSFT", history="1h")._upkeep._history
    pages = {100: BarPage([], [], [], [], [], [], 31), 31: BarPage([10, 30], *[[1.0, 2.0]] * 5)}
    monkeypatch.setattr(history, "_page", lambda start, end: pages[end])

    bars = history.ask(0, 100)

    assert bars.start_ns == [10, 30]


def test_where_nothing_was_traded_there_is_no_bar(sim: Simulator, feed: anb.Feed) -> None:
    bars = feed.bars("BAC", "1min", history="4d")

    frame = bars.df
    traded = minutes_of(sim.trades("BAC", frame.index[0].timestamp()))
    assert set(frame.index) <= set(traded.index)
    assert frame.index.to_series().diff().max() > pd.Timedelta("12h")  # a night


def test_bars_have_a_chart_of_the_newest_of_them(feed: anb.Feed) -> None:
    bars = feed.bars("AAPL", "1min", history="10d")
    chart = bars.chart(bars=300)

    chart.draw()

    candle, volume = chart.figure.data[1:]
    assert chart is bars.chart(bars=300)
    assert len(candle.x) == len(volume.y) == 300
    assert candle.x[-1] >= bars.df.index[-2].timestamp() * 1000
    assert candle.open[0] == bars.df["open"].loc[pd.Timestamp(candle.x[0], unit="ms", tz="UTC")]
    bars.close()
    assert chart.is_closed


def test_the_brokers_pnl_has_candles_of_its_own(sim: Simulator, feed: anb.Feed) -> None:
    pnl = (
        feed.account("ACC-1")
        .pnl("1min", start=f"{pd.Timestamp.now('UTC') - pd.Timedelta('3h'):%Y-%m-%dT%H:%M:%SZ}")
        .wait()
    )

    chart = pnl.chart()
    chart.draw()

    frame = pnl.df.reset_index().sort_values("start")
    (candle,) = chart.figure.data[1:]
    assert chart.figure.layout.title.text == "P&amp;L ACC-1 · 1m"
    assert len(candle.x) > 150
    assert candle.x[0] == frame["start"].iloc[0].timestamp() * 1000
    assert candle.open[:100].tolist() == frame["open"].iloc[:100].tolist()
    assert min(candle.low) < 0


@pytest.mark.parametrize("interval", ["1h", "4h", "1d"])
def test_longer_bars_begin_where_the_brokers_do(sim: Simulator, feed: anb.Feed, interval: str) -> None:
    feed.trades("AAPL").wait(rows=5)

    bars = feed.bars("AAPL", interval, history="10d")
    before = bars._upkeep._tape.version
    eventually(lambda: bars._upkeep._tape.version > before + 20)

    last = bars.df.index[-1]
    resolution = Resolution("day", 1) if interval == "1d" else Resolution("minute", 60 * int(interval[0]))
    theirs = sim._call(lambda: sim._server._history.bars("AAPL", resolution, 0, time.time()))
    assert last.value // SECOND == theirs["time"][-1]
    assert not bars.df["complete"].iloc[-1]


def test_what_a_gap_of_a_second_connection_touches_is_asked_again(
    feed: anb.Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = feed.bars("AAPL", "1min", history="10d")
    touched = bars.df.index[-10].value
    asked: list[int] = []
    ask = bars._upkeep._history.ask
    monkeypatch.setattr(bars._upkeep._history, "ask", lambda start, end: asked.append(start) or ask(start, end))

    feed._gaps.stream("market").of_connection(2).opened(started=touched, reason="a test", cause="cut")

    eventually(lambda: asked)
    assert asked[0] <= touched


def test_of_gaps_that_overlap_the_last_one_ends_the_doubt_whatever_the_clock_says(
    serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed]
) -> None:
    feed = open_feed(serve(rate=2000))
    feed.trades("AAPL").wait(rows=5)
    bars = feed.bars("AAPL", "1d", history="5d")
    series = bars._upkeep.series
    gaps, now = feed._gaps.stream("market"), time.time_ns()

    gaps.of_connection(2).opened(started=now, reason="a test", cause="cut")
    gaps.of_connection(3).opened(started=now + 1, reason="a test", cause="cut")
    eventually(lambda: series.incomplete_running_bar(now) is None)
    gaps.of_connection(3).closed(ended=now + 9)
    eventually(lambda: bars._upkeep._told_until == now + 9)
    version = series.version
    eventually(lambda: series.version > version + 5)  # it has looked again
    during = series.incomplete_running_bar(now)
    gaps.of_connection(2).closed(ended=now + 5)

    eventually(lambda: series.incomplete_running_bar(now) is not None)
    assert during is None


def test_a_gap_that_the_ledger_forgets_is_over(feed: anb.Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    feed.trades("AAPL").wait(rows=5)
    bars = feed.bars("AAPL", "1d", history="5d")
    series = bars._upkeep.series
    gaps, now = feed._gaps, time.time_ns()
    gaps.opened("market 2", started=now, reason="a test")
    eventually(lambda: series.incomplete_running_bar(now) is None)

    monkeypatch.setattr("aries_nb.store.gaps.MAX_GAPS", 1)
    gaps.opened("accounts", started=now, reason="a test")

    eventually(lambda: series.incomplete_running_bar(now) is not None)


RESOLUTIONS = {"1min": Resolution("minute", 1), "1h": Resolution("minute", 60), "1d": Resolution("day", 1)}
ESTIMATED = ("close", "volume")


def newest(sim: Simulator, interval: str) -> tuple[float, ...]:
    """Start, close and volume of the newest bar that the server has."""
    bars = sim._call(lambda: sim._server._history.bars("AAPL", RESOLUTIONS[interval], 0, time.time() + DAY))
    return tuple(bars[-1][["time", *ESTIMATED]].tolist())


def last_row(bars: live_bars.LiveBars) -> tuple[float, ...]:
    frame = bars.df
    return (frame.index[-1].value // SECOND, *frame[list(ESTIMATED)].iloc[-1].tolist())


def is_joined(bars: live_bars.LiveBars) -> bool:
    return "estimate" not in set(bars.df["source"])


@pytest.mark.parametrize("drops", [pytest.param(0, marks=pytest.mark.long), 3])
def test_the_running_bar_equals_the_servers_once_the_market_rests(
    serve: Callable[..., Simulator],
    open_feed: Callable[..., anb.Feed],
    drops: int,
) -> None:
    sim = serve(rate=2000)
    feed = open_feed(sim)
    trades = feed.trades("AAPL").wait(rows=20)
    held = {interval: feed.bars("AAPL", interval, history="2d") for interval in RESOLUTIONS}

    for drop in range(drops):
        sim.drop_connections()
        eventually(lambda drop=drop: feed.stats().reconnects == drop + 1 and feed.state == "live")
        count = trades._tape.version
        eventually(lambda count=count: trades._tape.version > count + 50)
    sim.set_market("closed")
    expected = {interval: newest(sim, interval) for interval in held}
    # Those that were joined before get the last trades yet.
    eventually(lambda: expected == {interval: last_row(bars) for interval, bars in held.items()}, "the server's bars")
    eventually(lambda: all(map(is_joined, held.values())))

    assert expected == {interval: last_row(bars) for interval, bars in held.items()}
    assert [held[name].df["source"].iloc[-1] for name in ("1h", "1d")] == ["history+live"] * 2
    assert not held["1d"].df["complete"].iloc[-1]


def test_the_running_bar_joined_in_a_busy_market_stays_exact_and_is_not_asked_for_again(
    serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = serve(rate=2000, flush_seconds=0.005)
    feed = open_feed(sim)
    feed.trades("AAPL").wait(rows=20)
    bars = feed.bars("AAPL", "1d", history="5d")
    tape = bars._upkeep._tape

    eventually(lambda: is_joined(bars))
    asked: list[int] = []
    monkeypatch.setattr(bars._upkeep._history, "ask", lambda start, end: asked.append(start))
    then = tape.version
    eventually(lambda: tape.version > then + 100)
    sim.set_market("closed")
    count = len(sim.trades("AAPL", sim._server._history.start))
    eventually(lambda: count_of(bars, sim) >= count)

    assert newest(sim, "1d") == last_row(bars)
    assert bars.df["source"].iloc[-1] == "history+live"
    assert asked == []
    feed._gaps.stream("market").of_connection(2).opened(started=time.time_ns(), reason="a test", cause="cut")
    eventually(lambda: bars.df["source"].iloc[-1] == "estimate")


def test_a_joined_bar_is_joined_anew_when_trades_come_late(
    serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_bars, "GRACE_NS", SECOND // 4)
    sim = serve(rate=2000)
    bars = open_feed(sim).bars("AAPL", "1d", history="5d")
    tape = bars._upkeep._tape
    eventually(lambda: len(tape))
    sim.set_market("closed")
    eventually(lambda: is_joined(bars))
    row = tape.latest()[0]
    assert row is not None

    late = tuple("history" if value == "live" else value for value in row[2])
    on_network(lambda: tape.backfill(tape.begin_backfill(), [(0, row[0], late)], time.time_ns()))
    eventually(lambda: not is_joined(bars))
    eventually(lambda: is_joined(bars))

    assert newest(sim, "1d") == last_row(bars)  # whose answers have had it all along


def test_until_it_is_joined_the_running_bar_is_called_an_estimate(
    feed: anb.Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_bars, "GRACE_NS", 3_600 * SECOND)  # none is joined so soon
    feed.trades("AAPL").wait(rows=20)

    bars = feed.bars("AAPL", "1d", history="5d")
    volume = bars.df["volume"].iloc[-1]
    eventually(lambda: bars.df["volume"].iloc[-1] > volume)

    assert bars.df["source"].tolist() == ["history"] * (len(bars) - 1) + ["estimate"]
    assert not bars.df["complete"].iloc[-1]


def count_of(bars: live_bars.LiveBars, sim: Simulator) -> int:
    """How many of the server's trades have come and are counted, if the newest is one of them."""
    log = sim.trades("AAPL", sim._server._history.start)
    row = bars._upkeep._tape.frame().iloc[-1]
    is_last = (row.name.value, row["price"], row["size"]) == log[-1].tolist()
    return len(log) if is_last and bars._upkeep._position == bars._upkeep._tape.version else 0


def test_the_running_bar_of_a_broker_that_fills_gaps_equals_the_servers_too(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., anb.Feed]
) -> None:
    sim = serve_alor(rate=2000)
    feed = open_alor(sim, exchange="SPBX")
    trades = feed.trades("AAPL").wait(rows=20)
    held = {interval: feed.bars("AAPL", interval, history="2h") for interval in ("1min", "1h")}

    sim.drop_connections()
    eventually(lambda: feed.stats().reconnects == 1 and feed.state == "live")
    count = trades._tape.version
    eventually(lambda: trades._tape.version > count + 50)
    sim.set_market("closed")
    eventually(lambda: all(map(is_joined, held.values())))

    for bars in held.values():
        end = time.time_ns()
        theirs = bars._upkeep._history.ask(end - 7_200 * SECOND, end)
        expected = (theirs.start_ns[-1] // SECOND, theirs.close[-1], theirs.volume[-1])
        eventually(lambda bars=bars, expected=expected: expected == last_row(bars), "the server's bar")  # type: ignore[misc]


def test_the_same_call_again_returns_the_same_bars(feed: anb.Feed) -> None:
    bars = feed.bars("AAPL", history="1h")

    assert feed.bars("AAPL", "1min", history="60min") is bars
    assert feed.bars("AAPL", "5min", history="1h") is not bars


def test_bars_that_are_forgotten_end_their_updates_and_their_stream(sim: Simulator, feed: anb.Feed) -> None:
    bars = feed.bars("AAPL", history="1h")
    upkeep = weakref.ref(bars._upkeep)

    del bars

    # Another thread may hold it for a moment, so that one look is not enough.
    eventually(lambda: gc.collect() >= 0 and upkeep() is None and not any(sim.subscriptions()))
    assert feed.stats().streams == 0


def test_a_closed_feed_leaves_the_bars_readable_and_gives_no_more(feed: anb.Feed) -> None:
    bars = feed.bars("AAPL", history="10d").wait(bars=100)

    feed.close()

    assert len(bars.df) == len(bars) >= 100
    assert not bars.is_live
    with pytest.raises(ClosedError):
        feed.bars("AAPL")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"interval": "7min"}, "There are: 1min, 3min, 5min, 15min, 30min, 1h, 2h, 3h, 4h, 1d"),
        ({"interval": 60}, "There are: 1min"),
        ({"history": "soon"}, "no span of time"),
        ({"history": "5"}, "history='5' has no unit"),
        ({"history": "-1d"}, "history='-1d' is no positive span"),
        ({"history": "400d"}, 'ask for "138d" at most'),
    ],
)
def test_a_bad_call_is_refused_before_anything_is_sent(
    sim: Simulator, feed: anb.Feed, call: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        feed.bars("AAPL", **call)

    assert sim.statistics().subscribe_requests == 0


def test_an_unknown_symbol_is_refused_at_the_call_and_nothing_is_kept(sim: Simulator, feed: anb.Feed) -> None:
    with pytest.raises(UnknownSymbolError, match="NOSUCH"):
        feed.bars("NOSUCH")

    eventually(lambda: feed.stats().streams == 0)
    assert not any(sim.subscriptions())


def test_a_history_that_fails_raises_at_the_call_and_nothing_is_kept(
    sim: Simulator, feed: anb.Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(sim._server._history), "bars", lambda *_: 1 / 0)
    monkeypatch.setattr(feed._http, "_pause", lambda _: False)

    with pytest.raises(FeedError, match="500"):
        feed.bars("AAPL")

    eventually(lambda: not any(sim.subscriptions()))
    assert feed.stats().streams == 0


def test_a_refusal_later_is_logged_and_the_bar_stays_incomplete(
    sim: Simulator, feed: anb.Feed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_bars, "MARGIN_NS", SECOND // 5)
    monkeypatch.setattr(live_bars, "GRACE_NS", SECOND // 5)
    history = SecondBars(sim)
    feed.trades("AAPL").wait(rows=20)
    updates = live_bars.updated_bars(feed._link, feed._gaps, history, interval="1s", span_ns=60 * SECOND)
    bars = live_bars.LiveBars(feed._link, feed._callbacks, updates, interval="1s")

    def fail(start: int, end: int) -> BarPage:
        raise FeedError(f"no bars from {start} to {end}")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "aries_nb"):
        patch.setattr(history, "ask", fail)
        eventually(lambda: "stay incomplete" in caplog.text and not bars.df["complete"].iloc[:-1].all())
        during = bars.df
    held = during.index[~during["complete"]][0]
    eventually(lambda: bars.df.loc[held, "complete"])
    after = bars.df
    bars.close()

    assert len(during) > during.index.get_loc(held) + 1  # it has ended: the next one runs
    assert after.loc[held, "source"] == "history"


def test_a_cell_shows_the_newest_bars_first(feed: anb.Feed) -> None:
    bars = feed.bars("AAPL", "1d", history="30d")

    data = bars._source.table()

    frame = bars.df
    assert [column.name for column in data.columns] == ["start", *frame.columns[:-1]]
    assert data.rows[-1][0] < data.rows[0][0] == frame.index[-1].value
    assert repr(bars).startswith("<1d bars of AAPL: ")


def test_a_history_that_does_not_answer_holds_up_neither_the_running_bar_nor_the_end(
    serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = serve(rate=500, flush_seconds=0.01)
    feed = open_feed(sim)
    bars = feed.bars("AAPL", history="30min").wait()
    released = threading.Event()
    ask = BarHistory.ask

    def hanging(self: BarHistory, *args: int, **options: Any) -> BarPage:
        released.wait(60)
        return ask(self, *args, **options)

    monkeypatch.setattr(BarHistory, "ask", hanging)
    now = feed.clock.now_ns()
    bars._upkeep.series.mark_incomplete(now - 120 * SECOND, now - 60 * SECOND)  # as after a gap
    feed._link.arrivals.do(bars._upkeep._changed)
    eventually(lambda: bars._upkeep._request is not None)

    for _ in range(3):
        before = bars.df["volume"].iloc[-1], len(bars)
        eventually(lambda before=before: (bars.df["volume"].iloc[-1], len(bars)) != before, 3)  # type: ignore[misc]
    span = now - 120 * SECOND, now - 60 * SECOND
    assert bars._upkeep.series.is_incomplete(*span)

    released.set()
    eventually(lambda: not bars._upkeep.series.is_incomplete(*span))


class Days:
    """A history that has bars on some days only, at most one a day, and counts its requests."""

    def __init__(self, *days: int, hint: bool = False) -> None:
        self.days, self.hint, self.requests = days, hint, 0

    def bars(self, symbol: str, interval_s: int, start_ns: int, end_ns: int) -> Query:
        return Query("/bars", (("from", str(start_ns)), ("to", str(end_ns))))

    def bar_start(self, ts: int, interval_s: int) -> int:
        return ts // (interval_s * SECOND) * interval_s * SECOND

    def get(self, path: str, params: dict[str, str]) -> bytes:
        self.requests += 1
        start, end = int(params["from"]), int(params["to"])
        found = [day * DAY_NS for day in self.days if start <= day * DAY_NS < end]
        earlier = [day * DAY_NS for day in self.days if day * DAY_NS < start]
        return json.dumps([found, earlier[-1] + SECOND if self.hint and not found and earlier else None]).encode()

    def read_bars(self, body: bytes) -> BarPage:
        starts, before = json.loads(body)
        return BarPage(starts, *([[1.0] * len(starts)] * 5), before)


@pytest.mark.parametrize(
    ("days", "wanted", "expected"),
    [
        ((90, 91, 94, 95), 1, [95]),  # today has bars
        ((90, 91, 94), 1, [94]),  # the last session was some days ago
        ((80, 81, 94), 3, [80, 81, 94]),
        ((80, 81, 82, 94), 3, [81, 82, 94]),
        ((40,), 1, []),  # nothing for weeks
        ((), 2, []),
    ],
)
def test_days_of_history_are_trading_days(days: tuple[int, ...], wanted: int, expected: list[int]) -> None:
    history = Days(*days)
    bars = BarHistory(cast("Any", history), cast("Any", history), "AAPL", 60)
    now = 97 * DAY_NS if days[-1:] != (95,) else 95 * DAY_NS + 9 * 3_600 * SECOND

    found = bars.days(now - wanted * DAY_NS, now, days=wanted)

    assert [start // DAY_NS for start in found.start_ns] == expected
    assert history.requests <= 4


def test_the_server_s_word_on_where_earlier_bars_are_is_followed() -> None:
    history = Days(20, hint=True)
    bars = BarHistory(cast("Any", history), cast("Any", history), "AAPL", 60)

    found = bars.days(96 * DAY_NS, 97 * DAY_NS, days=1)

    assert [start // DAY_NS for start in found.start_ns] == [20]
