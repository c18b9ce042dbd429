"""Recorded markets, played as fast as they go through a real socket: every row, in order, exact."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import aries_nb as anb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aries_nb.sim import Simulator

QUOTE_FIELDS = ["bid_price", "bid_size", "ask_price", "ask_size"]
BUSY_SECONDS = 5.0


def recorded(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path).reset_index(drop=True)


def to_the_millisecond(ts: pd.Series | pd.Index) -> np.ndarray:
    return pd.DatetimeIndex(ts).as_unit("ns").asi8 // 1_000_000


def assert_equal_rows(file: pd.DataFrame, frame: pd.DataFrame, columns: list[str]) -> None:
    assert len(file) == len(frame)
    assert (to_the_millisecond(file["ts"]) == to_the_millisecond(frame.index)).all()
    for column in columns:
        assert (file[column].to_numpy("float64") == frame[column].to_numpy()).all(), column
    assert set(file["symbol"]) == set(frame["symbol"])
    assert frame["received"].is_monotonic_increasing


@pytest.mark.parametrize("name", ["aapl_quotes", "eurusd_quotes"])
def test_recorded_quotes_arrive_exactly_as_they_are_in_the_file(
    name: str, tapes: Path, serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed]
) -> None:
    path = tapes / f"{name}.parquet"
    file = recorded(path)
    feed = open_feed(serve(tapes=(path,), speed=None))

    quotes = feed.quotes(file["symbol"].iloc[0], fields=QUOTE_FIELDS).wait(rows=len(file), timeout=60)

    assert_equal_rows(file, quotes.df, QUOTE_FIELDS)
    assert (feed.stats().unreadable, feed.stats().gaps) == (0, 0)


def test_recorded_quotes_arrive_exactly_with_the_usual_fields_as_well(
    tapes: Path, serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed]
) -> None:
    path = tapes / "eurusd_quotes.parquet"
    file = recorded(path)
    feed = open_feed(serve(tapes=(path,), speed=None))

    quotes = feed.quotes(file["symbol"].iloc[0]).wait(rows=len(file), timeout=60)

    assert_equal_rows(file, quotes.df, QUOTE_FIELDS)


def test_recorded_trades_arrive_exactly_through_time_and_sales(
    tapes: Path, serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed]
) -> None:
    path = tapes / "btcusdt_trades.parquet"
    file = recorded(path)
    feed = open_feed(serve(tapes=(path,), speed=None))

    trades = feed.trades(file["symbol"].iloc[0]).wait(rows=len(file), timeout=60)

    assert_equal_rows(file, trades.df, ["price", "size"])
    assert trades.df["trade_id"].is_unique


def test_recorded_books_end_as_in_the_file(
    tapes: Path, serve: Callable[..., Simulator], open_feed: Callable[..., anb.Feed]
) -> None:
    path = tapes / "xrpusdt_book.parquet"
    file = recorded(path)
    feed = open_feed(serve(tapes=(path,), speed=None))

    book = feed.book(file["symbol"].iloc[0], depth=20).wait(updates=len(file), timeout=60)

    last = file.iloc[-1]
    for side, prices, sizes in (("buy", "bid_prices", "bid_sizes"), ("sell", "ask_prices", "ask_sizes")):
        levels = book.df[book.df["side"] == side]
        assert list(last[prices]) == list(levels["price"])
        assert list(last[sizes]) == list(levels["size"])


def test_nothing_is_lost_while_a_pure_python_loop_runs(tapes: Path) -> None:
    path = tapes / "aapl_quotes.parquet"
    file = recorded(path)

    with anb.connect("sim", tape=path, speed="max") as feed:
        quotes = feed.quotes("AAPL", fields=QUOTE_FIELDS)
        end, turns = time.monotonic() + BUSY_SECONDS, 0
        while time.monotonic() < end:
            turns += sum(range(1000)) % 7
        during = quotes.received
        quotes.wait(rows=len(file), timeout=60)

        assert during > 0
        assert_equal_rows(file, quotes.df, QUOTE_FIELDS)
        assert (feed.stats().unreadable, feed.stats().gaps) == (0, 0)
