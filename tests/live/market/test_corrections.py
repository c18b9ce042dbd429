"""Corrected and cancelled prints, as a user of both brokers sees them: compared with the market's log of trades."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from tests.live.alor_feeds import open_alor, serve_alor
from tests.live.market_clock import PRICES, minutes_of, run_fast
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Feed
    from aries_nb.sim import Simulator

__all__ = ["open_alor", "serve_alor"]

TROUBLES = frozenset({"corrected_prints", "cancelled_prints"})
OPTIONS = {"aries": {"auth_seconds": 1e6, "idle_seconds": 1e6, "session_seconds": 1e6}, "alor": {}}
SECOND = 1_000_000_000
LOTS = {"aries": 1, "alor": 10}  # shares in what sizes count
BOTH = pytest.mark.parametrize("broker", ["aries", "alor"])


@pytest.fixture
def rough(request: pytest.FixtureRequest, broker: str) -> Callable[..., tuple[Simulator, Feed, str]]:
    """Start a market that corrects and cancels prints about every so many seconds, and a feed on it."""

    def begin(seconds: float, **options: float) -> tuple[Simulator, Feed, str]:
        is_alor = broker == "alor"
        serve = request.getfixturevalue("serve_alor" if is_alor else "serve")
        sim = serve(rate=400, flush_seconds=0.01, rough=TROUBLES, rough_seconds=seconds, **options)
        feed = request.getfixturevalue("open_alor" if is_alor else "open_feed")(sim)
        return sim, feed, "SBER" if is_alor else "AAPL"

    return begin


@BOTH
def test_rows_are_the_true_trades_and_what_came_first_is_told(
    rough: Callable[..., tuple[Simulator, Feed, str]], broker: str
) -> None:
    sim, feed, symbol = rough(0.5)
    trades = feed.trades(symbol, window="10min").wait(rows=20)
    since = trades.df.index[-1] + pd.Timedelta("1us")

    eventually(lambda: len(trades.corrections) >= 4 and set(trades.corrections["new_size"] == 0) == {True, False})
    sim.set_market("closed")
    log = true_trades(sim, symbol, since, broker)
    until = int(log["time"][-1]) - SECOND // 2  # a market that is closed corrects nothing more

    def rows() -> list[tuple[object, ...]]:
        found = trades.df[(trades.df.index >= since) & (trades.df.index < pd.Timestamp(until, tz="UTC"))]
        return sorted(zip(found.index.as_unit("ns").asi8.tolist(), found["price"], found["size"], strict=True))

    eventually(lambda: rows() == sorted(log[log["time"] < until].tolist()))
    assert trades.df["trade_id"].is_unique
    assert len(trades) == len(trades.df)
    assert "cancelled" not in set(trades.df["source"])
    assert trades.ledger.corrected >= len(trades.corrections)
    assert 2 * (trades.ledger.received + trades.ledger.filled) == sum(trades.ledger)


@BOTH
def test_candles_and_the_latest_trade_follow(rough: Callable[..., tuple[Simulator, Feed, str]], broker: str) -> None:
    sim, feed, symbol = rough(0.3)
    trades = feed.trades(symbol, window="10min").wait(rows=20)
    view, light = trades.candles("1s"), trades.candles("1s", engine="light")
    line = trades.chart("price")

    def draw() -> bool:
        view.draw()
        line.draw()
        return len(trades.corrections) >= 6

    eventually(draw)
    sim.set_market("closed")
    eventually(lambda: len(trades.corrections) == trades.ledger.corrected - (trades.corrections["new_size"] == 0).sum())
    draw()
    shown = trades.df["price"].resample("1s").agg(["max", "min"]).dropna()

    candles = view.figure.data[1]
    assert np.asarray(candles.high).tolist() == shown["max"].tolist()
    assert np.asarray(candles.low).tolist() == shown["min"].tolist()
    assert np.nanmax(np.asarray(line.figure.data[1].y, "float64")) == trades.df["price"].max()
    assert trades.latest["price"].iloc[0] == trades.df["price"].iloc[-1]
    for each in (view, light, line):
        each.close()


@pytest.mark.parametrize("broker", [pytest.param("aries", marks=pytest.mark.long), "alor"])
def test_minute_bars_are_those_of_the_true_trades_and_a_change_of_a_complete_one_is_told(
    rough: Callable[..., tuple[Simulator, Feed, str]], broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = "Europe/Moscow" if broker == "alor" else "America/New_York"
    run_fast(monkeypatch, since=pd.Timestamp("2026-03-03 12:17:40", tz=zone), speed=60)
    # 4 to 12 s late: more than the two seconds after which a bar is complete.
    monkeypatch.setattr("aries_nb.sim.market.rough.LATENESS", (0.5, 1.5))
    sim, feed, symbol = rough(8.0, **OPTIONS[broker])
    bars = feed.bars(symbol, "1min", history="5min")
    complete: dict[pd.Timestamp, tuple[object, ...]] = {}
    silent = []

    def look() -> int:
        frame = bars.df
        for at, row in frame[frame["complete"]].iterrows():
            now = (*(row[name] for name in PRICES), row["source"])
            before = complete.setdefault(at, now)
            if before != now and now[-1] == "live":
                silent.append((at, before, now))
            complete[at] = now
        return int((frame["complete"] & (frame["source"] == "corrected")).sum())

    eventually(lambda: look() >= 4 and len(bars) > 14)
    sim.set_market("closed")
    expected = minutes_of(true_trades(sim, symbol, bars.df.index[0], broker))
    eventually(lambda: look() >= 4 and bars.df["complete"].iloc[:-1].all() and equal(bars.df, expected))

    assert silent == []


def true_trades(sim: Simulator, symbol: str, since: pd.Timestamp, broker: str) -> np.ndarray:
    """The market's trades after a moment: time in ns, price, size as the broker counts it."""
    log = sim.trades(symbol, since.timestamp())
    log["size"] /= LOTS[broker]
    return log[log["time"] >= since.as_unit("ns").value]


def equal(frame: pd.DataFrame, expected: pd.DataFrame) -> bool:
    """Whether bars are those expected, but for the last two: a market that is closed corrects nothing more."""
    found, wanted = (each[PRICES].iloc[:-2].to_numpy() for each in (frame, expected))
    return len(frame) == len(expected) and np.array_equal(found, wanted)
