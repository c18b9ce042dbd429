"""The log of all trades, including the past, against the simulator's bars of the same time."""

from __future__ import annotations

import time
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from aries_nb.errors import UsageError
from aries_nb.sim.market import trade_log
from aries_nb.sim.market.history import NEW_YORK, History, Resolution, session_open
from aries_nb.sim.market.market import Market
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.sim import Simulator
    from tests.sim.bare_client import BareClient

#: Monday, 2026-03-02, 12:17:25 in New York.
NOON = datetime(2026, 3, 2, 12, 17, 25, tzinfo=NEW_YORK).timestamp()
DAY = 86_400
SECOND = 1_000_000_000
PRICES = ["open", "high", "low", "close"]


def resampled(trades: np.ndarray, rule: str) -> pd.DataFrame:
    """Bars made by pandas; intervals without a trade are left out."""
    frame = pd.DataFrame({name: trades[name] for name in ("price", "size")})
    frame["turnover"] = frame["price"] * frame["size"]
    frame.index = pd.to_datetime(trades["time"], unit="ns", utc=True)
    groups = frame.resample(rule)
    bars = (
        groups["price"]
        .ohlc()
        .assign(volume=groups["size"].sum(), turnover=groups["turnover"].sum(), trades=groups.size())
    )
    return bars[bars["trades"] > 0]


@pytest.mark.parametrize(("seed", "symbol"), [(1, "AAPL"), (7, "GS"), (7, "SPY")])
def test_bars_of_the_past_are_made_of_its_trades(seed: int, symbol: str) -> None:
    history = History(Market(seed, date(2026, 3, 2)), NOON)
    first = NOON // 60 * 60 - 4 * DAY

    bars = history.bars(symbol, Resolution("minute", 1), first, NOON)
    expected = resampled(history.trades(symbol, first, NOON), "1min")

    assert len(bars) > 500
    assert bars["time"].tolist() == (expected.index.as_unit("s").asi8).tolist()
    for name in (*PRICES, "volume", "trades"):
        np.testing.assert_array_equal(bars[name], expected[name], err_msg=name)
    np.testing.assert_allclose(bars["turnover"], expected["turnover"])


def test_trades_of_the_past_are_possible_and_in_order() -> None:
    history = History(Market(1, date(2026, 3, 2)), NOON)

    trades = history.trades("AAPL", NOON - 3 * DAY, NOON)

    assert len(trades) > 100_000
    assert (np.diff(trades["time"]) >= 0).all()
    assert (trades["size"] > 0).all()
    assert 0 <= trades["time"][0] - (NOON - 3 * DAY) * SECOND < SECOND
    assert trades["time"][-1] < NOON // 60 * 60 * SECOND


def test_range_of_the_log_takes_the_start_and_leaves_the_end() -> None:
    history = History(Market(1, date(2026, 3, 2)), NOON)
    opened = session_open(date(2026, 3, 2))
    history.trade("AAPL", int(NOON) * SECOND, 100.0, 5.0)

    past = history.trades("AAPL", opened, opened + 60)
    live = history.trades("AAPL", NOON // 1, NOON + 10)

    assert past["time"][0] == opened * SECOND
    assert past["time"][-1] < (opened + 60) * SECOND
    assert live.tolist() == [(int(NOON) * SECOND, 100.0, 5.0)]


def test_a_log_that_has_lost_trades_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trade_log, "RETAINED_TRADES", 10)
    history = History(Market(1, date(2026, 3, 2)), NOON)
    for number in range(20):
        history.trade("AAPL", int(NOON) * SECOND + number, 100.0, 5.0)

    with pytest.raises(UsageError, match="10 live trades of AAPL were dropped"):
        history.trades("AAPL", 0, 4e9)


def test_log_of_a_running_simulator_holds_past_and_live_trades(
    serve: Callable[..., Simulator], client: Callable[..., BareClient]
) -> None:
    sim = serve(rate=2000)
    listener = client(sim=sim)
    began = time.time() - 1

    listener.subscribe({"symbol": "AAPL", "timeAndSales": True})
    prints = [update["data"] for update in listener.receive_updates("timeAndSales", 200)]
    live = sim.trades("AAPL", began)

    received = [(int(each["tradeTimestamp"]) * 1_000_000, float(each["price"]), float(each["size"])) for each in prints]
    assert live[: len(received)].tolist() == received
    assert len(sim.trades("AAPL", began - 4 * DAY)) > len(live) + 100_000
    eventually(lambda: len(sim.trades("AAPL", began)) > len(live))
