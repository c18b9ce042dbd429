"""Live series, windows and comparisons of a feed, one line each as a user writes them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.live import Feed
from aries_nb.live.derived.series import LiveSeries
from aries_nb.sim import Simulator
from tests.net.patience import eventually


def mid(df: pd.DataFrame) -> pd.Series:
    return (df.bid_price + df.ask_price) / 2


def grouped(frame: pd.DataFrame, column: str, compute) -> np.ndarray:
    parts = [compute(part[column]) for _, part in frame.assign(at=range(len(frame))).groupby("symbol", observed=True)]
    places = [part["at"] for _, part in frame.assign(at=range(len(frame))).groupby("symbol", observed=True)]
    return pd.concat(parts).to_numpy()[np.argsort(pd.concat(places).to_numpy())]


def test_windows_of_a_feed_are_those_of_pandas(feed: Feed, sim: Simulator) -> None:
    quotes = feed.quotes("AAPL", "MSFT")
    mids = quotes.assign(mid=mid)
    mean, slow = mids.rolling("500ms")["mid"].mean(), mids.ewm(halflife="300ms")["mid"].mean()
    of_rows, median = mids.rolling(7)["mid"].mean(), mids.rolling("500ms")["mid"].median()
    assert mids.rolling("500ms")["mid"].mean() is mean
    assert of_rows._name.endswith("mid mean of 7 rows")
    mean.wait(rows=1_000, timeout=60)
    sim.close()
    eventually(lambda: feed.state != "live")
    frame = mids.df

    np.testing.assert_allclose(mean.df["mid"], grouped(frame, "mid", lambda s: s.rolling("500ms").mean()), rtol=1e-9)
    middle = grouped(frame, "mid", lambda s: s.rolling("500ms").median())
    np.testing.assert_array_equal(median.df["mid"], middle)
    rows = grouped(frame, "mid", lambda s: s.rolling(7).mean())
    np.testing.assert_allclose(of_rows.df["mid"], rows, rtol=1e-9)
    by_age = grouped(frame, "mid", lambda s: s.ewm(halflife=pd.Timedelta("300ms"), times=s.index).mean())
    np.testing.assert_allclose(slow.df["mid"], by_age, rtol=1e-9)
    assert list(mean.df.columns) == ["received", "symbol", "mid", "over_gap"]


def test_aggregates_of_trades(feed: Feed) -> None:
    trades = feed.trades("AAPL", "MSFT")
    signals = trades.rolling("1s").agg(
        vwap=anb.vwap(), rv=anb.realized_volatility(), imbalance=anb.imbalance(), high=("price", "max")
    )
    signals.wait(rows=200)
    frame = signals.df

    assert (frame["vwap"] <= frame["high"] + 1e-9).all()
    assert frame["imbalance"].dropna().between(-1, 1).all()
    assert (frame["rv"].dropna() >= 0).all()
    assert signals.chart() is not None
    assert "agg(vwap, rv, imbalance, high) of 1s" in repr(signals)


def test_a_series_is_one_column_of_one_symbol(feed: Feed) -> None:
    bid = feed.quotes("AAPL", "MSFT")["AAPL"]["bid_price"]
    seen: list[pd.Series] = []
    bid.on_update(seen.append)
    bid.wait(rows=50)

    assert bid.values.dtype == "float64"
    assert bid.latest > 0
    assert isinstance(bid.series, pd.Series)
    assert len(bid.tail(3)) == 3
    assert len(bid.last("1h")) >= 50
    eventually(lambda: sum(map(len, seen)) > 10)
    assert seen[0].name == "bid_price"
    assert "AAPL.bid_price" in repr(bid)
    assert np.asarray(bid).ndim == 1


def test_live_arithmetic_of_two_symbols(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT")
    mids = quotes.assign(mid=mid)
    ratio = mids["AAPL"]["mid"] / mids["MSFT"]["mid"]
    again = mids["AAPL"]["mid"] / mids["MSFT"]["mid"]
    assert ratio.frame is again.frame
    percent = (ratio - 1) * 100
    percent.wait(rows=200, timeout=60)
    frame = mids.df

    assert ratio.latest == pytest.approx(
        frame[frame["symbol"] == "AAPL"]["mid"].iloc[-1] / frame[frame["symbol"] == "MSFT"]["mid"].iloc[-1], rel=0.02
    )
    assert abs(2 * ratio).latest > 0
    assert (-ratio).latest < 0
    assert (1 / ratio).latest == pytest.approx(1 / ratio.latest, rel=0.02)
    assert percent.chart() is not None
    assert (quotes["AAPL"]["ask_price"] - quotes["AAPL"]["bid_price"]).wait(rows=10).latest >= 0


def test_series_of_two_feeds_are_refused(feed: Feed, serve, open_feed) -> None:
    other = open_feed(serve(rate=100))
    left, right = feed.quotes("AAPL")["bid_price"], other.quotes("AAPL")["bid_price"]

    with pytest.raises(anb.UsageError, match="of two feeds"):
        left / right
    with pytest.raises(TypeError):
        left / "text"


def test_symbols_are_compared_from_a_common_beginning(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=100)
    both = quotes.rebased(100).wait(rows=50)
    first = both.df.groupby("symbol", observed=True)["mid"].first()

    assert first.tolist() == [100.0, 100.0]
    assert both.df["mid"].between(50, 200).all()
    assert quotes.rebased(100) is both


def test_whole_numbers_of_numpy_are_numbers_and_its_spans_are_none(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT")

    assert quotes.rolling(np.int64(5))["bid_price"].mean() is quotes.rolling(5)["bid_price"].mean()
    assert quotes.rebased(np.int64(100)) is quotes.rebased(100)
    assert repr(quotes.rolling(np.timedelta64(30, "s"))).startswith("<windows of 30 seconds over")
    assert len(quotes.wait().tail(np.int64(1))) == 1
    bars = feed.trades("AAPL").bars(volume=np.int64(500))
    assert bars is feed.trades("AAPL").bars(volume=500)
    assert bars.chart(bars=np.int64(50)) is bars.chart(bars=50)


@pytest.mark.parametrize(
    "call",
    [
        lambda quotes: quotes["mid"],
        lambda quotes: quotes["bid_price"],
        lambda quotes: quotes.rolling("nonsense"),
        lambda quotes: quotes.rolling("30s", weight="size"),
        lambda quotes: quotes.rolling("30s")["symbol"],
        lambda quotes: quotes.rolling("30s").agg(),
        lambda quotes: quotes.rolling("30s").agg(["mean"]),
        lambda quotes: quotes.rolling("30s").agg(x=("bid_price", ["mean"])),
        lambda quotes: quotes.rolling("30s").agg(x=(["bid_price"], "mean")),
        lambda quotes: quotes.rolling("1ns"),
        lambda quotes: quotes.rolling(0),
        lambda quotes: quotes.rolling(True),
        lambda quotes: quotes.rolling(5, weight="time"),
        lambda quotes: quotes.ewm(halflife="1ns"),
        lambda quotes: quotes.ewm(halflife="0s"),
        lambda quotes: quotes.wide("bid_price", every="1ns"),
        lambda quotes: quotes.rolling("30s").agg(x=3),
        lambda quotes: quotes.rolling("30s").agg(x=("bid_price", "mode")),
        lambda quotes: quotes.rolling("30s").agg(x=anb.vwap()),
        lambda quotes: quotes.rolling("30s").agg(symbol=("bid_price", "mean")),
        lambda quotes: quotes.rolling("30s", weight="time")["bid_price"].sum(),
        lambda quotes: quotes.ewm(halflife="5s").mean(),
        lambda quotes: quotes.ewm(halflife=5),
        lambda quotes: quotes.rebased("x"),
        lambda quotes: quotes.rebased(0),
        lambda quotes: quotes.rebased(10**400),
        lambda quotes: quotes.rolling("30s").agg(**{" ": ("bid_price", "mean")}),
        lambda quotes: quotes.rolling(np.bool_(True)),
        lambda quotes: quotes.rolling(np.int64(0)),
        lambda quotes: quotes.rebased(100, column="nothing"),
    ],
)
def test_wrong_arguments_are_refused(feed: Feed, call) -> None:
    with pytest.raises(anb.UsageError):
        call(feed.quotes("AAPL", "MSFT"))


def test_a_mean_over_time_of_a_feed(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT")
    weighted = quotes.rolling("1h", weight="time")["bid_price"].mean().wait(rows=300, timeout=60)
    frame = weighted.df
    newest = frame[frame["symbol"] == "AAPL"]["bid_price"].iloc[-1]

    assert newest == pytest.approx(quotes.time_weighted_mean("bid_price", symbol="AAPL"), rel=1e-3)


def test_numbers_of_numpy_and_every_operation_with_a_number_on_the_left(feed: Feed) -> None:
    bid = feed.quotes("AAPL").wait(rows=50)["bid_price"]
    powers, rests, quotients, twice = 1.01**bid, 7 % bid, 1_000 // bid, np.float64(2) * bid
    more = [np.float64(2) + bid, np.int64(2) - bid, np.float32(2) / bid, bid * np.float64(2)]
    feed.close()
    values = bid.values

    assert all(isinstance(each, LiveSeries) for each in (powers, rests, quotients, twice, *more))
    np.testing.assert_array_equal(twice.values, 2 * values)
    np.testing.assert_array_equal(powers.values, 1.01**values)
    np.testing.assert_array_equal(rests.values, 7 % values)
    np.testing.assert_array_equal(quotients.values, 1_000 // values)
    for made, expected in zip(more, (2 + values, 2 - values, 2 / values, values * 2), strict=True):
        np.testing.assert_array_equal(made.values, expected)
    with pytest.raises(anb.UsageError, match="beyond"):
        bid * 10**400
