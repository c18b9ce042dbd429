"""Bars that are made of the trades of a live frame."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.live import Feed
from aries_nb.live.market.bars import LiveBars
from aries_nb.sim import Simulator
from tests.net.patience import eventually

NUMBERS = ["open", "high", "low", "close", "volume", "trades"]


def by_time(trades: pd.DataFrame, every: str) -> pd.DataFrame:
    """The bars of pandas, by symbol."""
    rows = trades[~(trades["size"] <= 0)]
    groups = rows.groupby(["symbol", pd.Grouper(freq=every)])
    bars = groups["price"].agg(["first", "max", "min", "last"])
    bars["volume"], bars["trades"] = groups["size"].sum(), groups["price"].count()
    bars.columns = pd.Index(NUMBERS)
    bars = bars[bars["trades"] > 0].reset_index("symbol").sort_index(kind="stable")
    return bars.sort_values("symbol", kind="stable").sort_index(kind="stable")


def still(feed: Feed, trades: anb.LiveFrame) -> pd.DataFrame:
    """All trades of a frame whose stream ends now."""
    feed._link.release(trades._tape)
    feed._link.arrivals.do(lambda: None).result()
    return trades.df


def test_bars_of_time_are_those_of_pandas(feed: Feed) -> None:
    trades = feed.trades("AAPL", "MSFT")
    bars = trades.bars("200ms")
    bars.wait(bars=12, timeout=60)

    rows = still(feed, trades)
    found = bars.df
    expected = by_time(rows, "200ms")
    assert found["symbol"].tolist() == expected["symbol"].tolist()
    assert (found.index == expected.index).all()
    np.testing.assert_allclose(found[NUMBERS].to_numpy("float64"), expected[NUMBERS].to_numpy("float64"))
    assert list(found.columns) == ["symbol", *feed.bars("AAPL").df.columns]
    assert isinstance(bars, LiveBars)
    eventually(lambda: bars.df["complete"].iloc[2:].all())
    assert not bars.df["complete"].iloc[:2].any()  # they began before the first trade


@pytest.mark.parametrize(
    ("options", "column", "amount"), [({"ticks": 20}, "trades", 20), ({"volume": 5_000}, "volume", 5_000)]
)
def test_bars_of_ticks_and_volume_have_all_trades_in_their_order(
    feed: Feed, options: dict[str, Any], column: str, amount: float
) -> None:
    trades = feed.trades("AAPL")
    bars = trades.bars(**options).wait(bars=6, timeout=60)

    rows = still(feed, trades)
    found = bars.df
    assert found["trades"].sum() == len(rows)
    assert found["volume"].sum() == rows["size"].sum()
    assert (found[column].iloc[:-1] >= amount).all()
    assert found["complete"].iloc[:-1].all()
    assert found["open"].iloc[0] == rows["price"].iloc[0]
    assert found["close"].iloc[-1] == rows["price"].iloc[-1]


def test_they_are_live_objects_like_the_brokers_bars(feed: Feed) -> None:
    trades = feed.trades("AAPL", "MSFT")
    bars = trades.bars(ticks=10)
    seen: list[pd.DataFrame] = []
    bars.on_update(seen.append)
    bars.wait(bars=10, timeout=60)

    eventually(lambda: sum(len(each) for each in seen) > 10)
    chart = bars.chart(symbol="MSFT")
    assert bars.chart(symbol="MSFT") is chart
    for shown in (bars, chart):
        bundle: Any = shown._repr_mimebundle_()
        assert "text/html" in (bundle[0] if isinstance(bundle, tuple) else bundle)
    assert trades.bars(ticks=10) is bars
    assert trades["AAPL"].bars("1s").wait(bars=1, timeout=60).df["symbol"].unique().tolist() == ["AAPL"]
    assert "10 ticks bars of trades AAPL, MSFT" in repr(bars)
    trades.close()
    assert not bars.is_open
    with pytest.raises(anb.ClosedError, match="which it is computed from, is closed"):
        bars.wait(bars=10**9, timeout=5)


def test_they_are_collected_without_a_user_and_keep_their_trades(feed: Feed) -> None:
    part = weakref.ref(feed.trades("AAPL").bars("1s"))
    eventually(lambda: gc.collect() >= 0 and part() is None)
    bars = feed.trades("AAPL").bars("100ms")
    gc.collect()

    assert bars.wait(bars=3, timeout=60).is_live


def test_corrected_trades_are_counted_as_in_the_frame(
    serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    rough = frozenset({"late_prints", "corrected_prints", "cancelled_prints"})
    feed = open_feed(serve(rate=1_000, flush_seconds=0.01, rough=rough, rough_seconds=0.5))
    trades = feed.trades("AAPL", "MSFT")
    bars = trades.bars("500ms")
    eventually(lambda: len(trades.corrections) > 4, seconds=30)

    rows = still(feed, trades)
    found, expected = bars.df, by_time(rows, "500ms")
    found = found[found["trades"] > 0]
    assert (found.index == expected.index).all()
    np.testing.assert_allclose(found[NUMBERS].to_numpy("float64"), expected[NUMBERS].to_numpy("float64"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "bars of no length"),
        ({"ticks": 5, "volume": 3}, "bars of ticks and volume"),
        ({"ticks": 0}, "ticks"),
        ({"volume": -1}, "no amount of a bar"),
        ({"value": float("nan")}, "no amount of a bar"),
        ({"every": "soon"}, "soon"),
    ],
)
def test_other_lengths_are_refused(feed: Feed, options: dict[str, Any], message: str) -> None:
    with pytest.raises(anb.UsageError, match=message):
        feed.trades("AAPL").bars(**options)


def test_bars_of_quotes_or_without_sizes_are_refused(feed: Feed) -> None:
    with pytest.raises(anb.UsageError, match="made of trades with price"):
        feed.quotes("AAPL").bars("1s")
    with pytest.raises(anb.UsageError, match="price and size"):
        feed.trades("AAPL", fields=["price"]).bars(volume=10)
    assert feed.trades("AAPL", fields=["price"]).bars(ticks=1).wait(bars=2, timeout=60).df["volume"].isna().all()
