"""Small recorded markets, made by a seed: Parquet tapes with the columns, spacing and quirks of real ones.

The numbers are random walks; they have what is difficult in recordings: rows that repeat the one
before, several prints of one millisecond, quotes without sizes, sizes and prices with many digits, pauses of minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_tapes"]

SEED = 20_261_129
DEPTH = 20


def write_tapes(folder: Path) -> None:
    """Write four tapes: quotes of a share and of a currency pair, trades and a book of a coin."""
    source = np.random.default_rng(SEED)
    for name, tape in {
        "aapl_quotes": _share_quotes(source, 59_248),
        "eurusd_quotes": _currency_quotes(source, 9_500),
        "btcusdt_trades": _coin_trades(source, 1_000),
        "xrpusdt_book": _coin_book(source, 50),
    }.items():
        tape.to_parquet(folder / f"{name}.parquet", index=False)


def _share_quotes(source: np.random.Generator, count: int) -> pd.DataFrame:
    """Best bid and ask of half a trading day, 197 or 198 ms apart; every tenth row or so repeats the one before."""
    stays = source.random(count) < 0.1
    bid = _walk(source, 58_533, np.where(stays, 0, source.integers(-3, 4, count)))
    spread = _held(stays, source.integers(1, 40, count))
    return pd.DataFrame(
        {
            "ts": _times("2012-06-21 13:30", np.arange(count) * 197_475 // 1_000),
            "symbol": "AAPL",
            "bid_price": bid / 100,
            "bid_size": _held(stays, source.geometric(0.006, count)),
            "ask_price": (bid + spread) / 100,
            "ask_size": _held(stays, source.geometric(0.006, count)),
        }
    )


def _currency_quotes(source: np.random.Generator, count: int) -> pd.DataFrame:
    """Bid and ask ticks of six hours without sizes: 50 ms to over a minute apart, each at a different time."""
    gaps = 50 + np.minimum(source.lognormal(5.8, 2.0, count), 85_000).astype("int64")
    bid = _walk(source, 112_120, source.integers(-1, 2, count))
    return pd.DataFrame(
        {
            "ts": _times("2020-01-01 17:00", np.cumsum(gaps)),
            "symbol": "EURUSD",
            "bid_price": bid / 100_000,
            "bid_size": 0,
            "ask_price": (bid + source.integers(1, 60, count)) / 100_000,
            "ask_size": 0,
        }
    )


def _coin_trades(source: np.random.Generator, count: int) -> pd.DataFrame:
    """Prints of half a minute, two of five in the millisecond of the one before; sizes down to a millionth."""
    gaps = np.where(source.random(count) < 0.4, 0, source.integers(1, 85, count))
    return pd.DataFrame(
        {
            "ts": _times("2021-01-08", 278 + np.cumsum(gaps)),
            "symbol": "BTCUSDT",
            "price": _walk(source, 3_943_248, source.integers(-700, 701, count)) / 100,
            "size": np.maximum(source.lognormal(-5.2, 2.2, count), 1e-6).round(6),
            "side": source.choice(["buy", "sell"], count),
        }
    )


def _coin_book(source: np.random.Generator, count: int) -> pd.DataFrame:
    """The best 20 levels a side after each of some messages, most 100 ms apart; each changes sizes, some the prices."""
    best = _walk(source, 19_531, np.where(source.random(count) < 0.15, source.integers(-2, 3, count), 0))
    levels = np.arange(DEPTH)
    sizes = np.cumsum(source.integers(-400, 401, (count, 2, DEPTH)) * (source.random((count, 2, DEPTH)) < 0.5), axis=0)
    sizes += source.integers(8_000, 43_000, (2, DEPTH))
    return pd.DataFrame(
        {
            "ts": _times("2024-12-01", 691 + np.cumsum(source.integers(96, 105, count))),
            "symbol": "XRPUSDT",
            "bid_prices": list((best[:, None] - levels) / 10_000),
            "bid_sizes": list(np.maximum(sizes[:, 0], 1).astype("float64")),
            "ask_prices": list((best[:, None] + 1 + levels) / 10_000),
            "ask_sizes": list(np.maximum(sizes[:, 1], 1).astype("float64")),
        }
    )


def _walk(source: np.random.Generator, start: int, steps: np.ndarray) -> np.ndarray:
    """Random walk in whole price steps that reverts to its start."""
    places = np.empty(len(steps), "int64")
    place = start
    for number, step in enumerate(steps.tolist()):
        pull = -1 if place > start else 1
        place += step + (pull if step and source.random() < abs(place - start) / 1_000 else 0)
        places[number] = place
    return places


def _held(stays: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values, each repeated where the row stays as it was."""
    kept = np.maximum.accumulate(np.where(stays, 0, np.arange(len(values))))
    return values[kept]


def _times(start: str, milliseconds: np.ndarray) -> pd.DatetimeIndex:
    begun = pd.Timestamp(start, tz="UTC").as_unit("ns").value
    return pd.DatetimeIndex(begun + milliseconds * 1_000_000).tz_localize("UTC")
