"""A wall clock that is set to a moment and runs faster, and what pandas makes of a log of trades.

Simulator and client share the process and so the clock; asyncio and all waiting go by the monotonic one, which stays,
and so does the check for a suspended machine: a wall clock that runs 60 times as fast looks like 15 s of sleep a turn.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pandas as pd

from aries_nb.net import lag
from aries_nb.net.events import exchange_clock

if TYPE_CHECKING:
    import numpy as np
    import pytest

__all__ = ["PRICES", "minutes_of", "run_fast"]

PRICES = ["open", "high", "low", "close", "volume"]


def run_fast(monkeypatch: pytest.MonkeyPatch, *, since: pd.Timestamp, speed: int) -> None:
    """Let the process's wall clock begin at a moment, and run `speed` times as fast as time does."""
    began, base = time.monotonic_ns(), since.value

    def time_ns() -> int:
        return base + (time.monotonic_ns() - began) * speed

    monkeypatch.setattr(time, "time_ns", time_ns)
    monkeypatch.setattr(time, "time", lambda: time_ns() / 1e9)
    monkeypatch.setattr(lag, "_clocks", lambda: (time.monotonic(), time.monotonic()))
    monkeypatch.setattr(exchange_clock, "steady_ns", time_ns)


def minutes_of(trades: np.ndarray) -> pd.DataFrame:
    """One row a minute that has a trade, by pandas alone; `trades` has time in ns, price and size."""
    index = pd.to_datetime(trades["time"], unit="ns", utc=True)
    groups = pd.DataFrame({"price": trades["price"], "size": trades["size"]}, index=index).resample("1min")
    bars = groups["price"].ohlc().assign(volume=groups["size"].sum())
    return bars[groups.size() > 0]
