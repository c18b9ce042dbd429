"""One message with a wrong exchange time, as a user of both brokers sees it: kept, named, and in no result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from aries_nb.net.background import on_network
from tests.live.alor_feeds import open_alor, serve_alor  # noqa: F401 - fixtures
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Feed, LiveFrame
    from aries_nb.sim import Simulator

BOTH = pytest.mark.parametrize("broker", ["aries", "alor"])


@pytest.fixture
def feed_and_symbol(request: pytest.FixtureRequest, broker: str) -> tuple[Feed, str]:
    is_alor = broker == "alor"
    sim: Simulator = request.getfixturevalue("serve_alor" if is_alor else "serve")(rate=300, flush_seconds=0.01)
    opened: Callable[[Simulator], Feed] = request.getfixturevalue("open_alor" if is_alor else "open_feed")
    return opened(sim), "SBER" if is_alor else "AAPL"


def put(frame: LiveFrame, ts: int) -> None:
    """Add a copy of the frame's newest row with another exchange time, as if a message had brought it."""

    def add() -> None:
        tape = frame._tape
        row = tape.latest()[0]
        assert row is not None
        tape.buffer.add(0, ts, row[2])
        tape.buffer.mark(frame._link.clock.now_ns())
        tape.publish()

    on_network(add).result(30)


@BOTH
@pytest.mark.parametrize("days", [0.01, 1, 30])
def test_a_message_of_the_future_spoils_nothing(feed_and_symbol: tuple[Feed, str], days: float, broker: str) -> None:
    feed, symbol = feed_and_symbol
    quotes, trades = feed.quotes(symbol, window="1h"), feed.trades(symbol, window="1h")
    frames = (quotes.wait(rows=3), trades.wait(rows=2))
    for frame in frames:
        put(frame, time.time_ns() + round(days * 86_400e9))
    before = quotes.received
    eventually(lambda: quotes.received > before + 3)
    now = pd.Timestamp.now("UTC") + pd.Timedelta("1min")

    assert [len(frame.misdated) for frame in frames] == [1, 1]
    assert feed.clock.offset_s == 0.0
    assert quotes.latest["ts"].iloc[0] < now
    assert (quotes.misdated.index > now).all()
    assert quotes.evicted == 0, "no window has moved"
    assert quotes.wide("bid_price", every="10ms").index[-1] < now
    assert min(quotes.df["bid_price"]) <= quotes.time_weighted_mean("bid_price") <= max(quotes.df["bid_price"])
    assert quotes.last("1h").index[0] == quotes.df.index[0]
    assert max(quotes.last("1h").index[-1], quotes.tail(2).index[-1]) < now
    for view in (quotes.chart("bid_price"), trades.candles("1s")):
        view.draw()
        shown = np.concatenate([np.asarray(each.x, "float64") for each in view.figure.data[1:]])
        assert np.nanmax(shown) <= now.timestamp() * 1e3
        view.close()
    assert abs(quotes.lag.loc["exchange to received", "p50_ms"]) < 5_000
    assert abs(feed.stats().lag_ms) < 5_000
