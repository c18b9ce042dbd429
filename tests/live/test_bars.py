"""History and live trades as one frame: compared bar by bar with the simulated market's own log of all its trades."""

from __future__ import annotations

import gc
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from aries_nb.errors import ClosedError, FeedError, UnknownSymbolError, UsageError
from aries_nb.live import bars as live_bars
from aries_nb.model import Bars
from aries_nb.net import BackoffRule
from aries_nb.sim.history import Resolution
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import aries_nb as anb
    from aries_nb.sim import Simulator

SECOND = 1_000_000_000
DAY = 86_400
PRICES = ["open", "high", "low", "close", "volume"]
SLOW = BackoffRule(first=1.0, cap=1.0, cap_after_live=1.0)


def trade_log(sim: Simulator, symbol: str) -> pd.DataFrame:
    """Every trade that the server has made: time in ns, price, size."""

    def read() -> tuple[list[int], list[float], list[float]]:
        trades = sim._server._history.log._symbols[symbol]
        return list(trades.times), list(trades.prices), list(trades.sizes)

    times, prices, sizes = sim._call(read)
    return pd.DataFrame({"ts": np.array(times, "int64") * 1_000_000, "price": prices, "size": sizes})


def bars_of(log: pd.DataFrame) -> pd.DataFrame:
    """One row a second, index its beginning in ns."""
    groups = log.groupby(log["ts"] // SECOND * SECOND)
    bars = groups["price"].agg(open="first", high="max", low="min", close="last")
    return bars.assign(volume=groups["size"].sum())


class SecondBars:
    """In the place of the broker's history, which has no bar below a minute: bars of a second, of the same log.

    `on_the_way` is done between the server's answer and its arrival.
    """

    symbol = "AAPL"

    def __init__(self, sim: Simulator, on_the_way: Callable[[], object] = lambda: None) -> None:
        self._sim = sim
        self._on_the_way = on_the_way

    def start_of(self, ts: int) -> int:
        return ts // SECOND * SECOND

    def ask(self, start: int, end: int) -> Bars:
        bars = bars_of(trade_log(self._sim, self.symbol))
        bars = bars[(bars.index >= start) & (bars.index < end)]
        self._on_the_way()
        return Bars(bars.index.tolist(), *(bars[name].tolist() for name in PRICES))


def test_bars_across_a_reconnect_equal_those_of_the_full_trade_log(
    serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both clocks are one here; short margins leave bars that are made of the live trades alone.
    monkeypatch.setattr(live_bars, "MARGIN_NS", SECOND // 5)
    monkeypatch.setattr(live_bars, "GRACE_NS", SECOND // 2)
    sim = serve(rate=1000)
    other = open_feed(sim).trades("AAPL")  # back at once after a drop: the market goes on while we are away
    other.wait(rows=50)
    feed = open_feed(sim, rule=SLOW)
    history = SecondBars(sim, on_the_way=lambda: other.wait(rows=other.received + 20))
    bars = live_bars.LiveBars(feed._link, feed._gaps, history, interval="1s", span_ns=60 * SECOND)

    time_of = lambda: pd.Timestamp.now("UTC")  # noqa: E731
    two_live = lambda since: len(settled(bars, since=since, source="live")) >= 2  # noqa: E731
    began = time_of()
    eventually(lambda: two_live(began))
    sim.drop_connections()
    eventually(lambda: feed.stats().reconnects == 1 and feed.state == "live")
    after = time_of()
    eventually(lambda: two_live(after))
    frame, log = bars.df, trade_log(sim, "AAPL")
    bars.close()

    gap = feed.gaps.df.iloc[-1]
    missed = log[(log["ts"] > gap["started"].value + SECOND // 20) & (log["ts"] < gap["ended"].value - SECOND // 20)]
    complete, expected = (
        frame[frame["complete"]].iloc[:-1],
        bars_of(log),
    )  # the last may be on its way on a slow machine
    assert len(missed) > 10
    assert {"history", "live"} == set(complete["source"])
    assert not complete.index.has_duplicates
    starts = complete.index.as_unit("ns").asi8
    assert expected.index[: len(starts)].tolist() == starts.tolist()
    np.testing.assert_array_equal(complete[PRICES].to_numpy(), expected.loc[starts, PRICES].to_numpy())


def settled(bars: live_bars.LiveBars, *, since: pd.Timestamp, source: str) -> pd.DataFrame:
    frame = bars.df
    return frame[frame["complete"] & (frame["source"] == source) & (frame.index > since)]


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


def test_the_same_call_again_returns_the_same_bars(feed: anb.Feed) -> None:
    bars = feed.bars("AAPL", history="1h")

    assert feed.bars("AAPL", "1min", history="60min") is bars
    assert feed.bars("AAPL", "5min", history="1h") is not bars


def test_bars_that_are_forgotten_end_their_thread_and_their_stream(sim: Simulator, feed: anb.Feed) -> None:
    threads = lambda: [each for each in threading.enumerate() if each.name == "aries-nb-bars"]  # noqa: E731
    bars = feed.bars("AAPL", history="1h")
    assert len(threads()) == 1

    del bars
    gc.collect()

    eventually(lambda: not threads() and not any(sim.subscriptions()))
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
        ({"history": "5"}, "no span of time"),
        ({"history": "-1d"}, "no span of time"),
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
    bars = live_bars.LiveBars(feed._link, feed._gaps, history, interval="1s", span_ns=60 * SECOND)

    def fail(start: int, end: int) -> Bars:
        raise FeedError(f"no bars from {start} to {end}")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "aries_nb"):
        patch.setattr(history, "ask", fail)
        eventually(lambda: "stay incomplete" in caplog.text)
        during = bars.df
    held = during.index[~during["complete"]][0]
    eventually(lambda: bars.df.loc[held, "complete"])
    after = bars.df
    bars.close()

    assert len(during) > during.index.get_loc(held) + 1  # it has ended: the next one runs
    assert after.loc[held, "source"] == "history"


def test_a_cell_shows_the_newest_bars_first(feed: anb.Feed) -> None:
    bars = feed.bars("AAPL", "1d", history="30d")

    data = bars.table()

    frame = bars.df
    assert [column.name for column in data.columns] == ["ts", *frame.columns[:-1]]
    assert data.rows[-1][0] < data.rows[0][0] == frame.index[-1].value
    assert repr(bars).startswith("<1d bars of AAPL: ")
