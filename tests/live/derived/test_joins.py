"""As-of joins of live frames: what was known when a row arrived, and what was true then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.live import Feed
from aries_nb.live.derived.frame import DerivedFrame
from aries_nb.net.background import on_network
from aries_nb.sim import Simulator

SYMBOLS = ("AAPL", "MSFT")


@pytest.fixture
def delayed(serve: Callable[..., Simulator], open_feed: Callable[..., Feed]) -> Feed:
    """A market whose quotes arrive 30 to 80 ms after their time, and its trades 5 to 30 ms."""
    return open_feed(serve(rate=1_000, flush_seconds=0.01, rough=frozenset({"delays"})))


def arrays(frame: anb.LiveFrame, until: int) -> pd.DataFrame:
    """The rows numbered up to `until` over all frames, in the order of arrival, with `seq`."""
    columns, _ = frame._tape.arrays_since(0)
    names = {name: np.asarray(columns[name]) for name in ("seq", "ts", "received", "symbol")}
    if "bid_price" in columns:
        names["bid_price"] = np.asarray(columns["bid_price"])
    rows = pd.DataFrame(names)
    return rows[rows["seq"] <= until]


@pytest.mark.parametrize("on", ["received", "ts"])
def test_a_join_is_that_of_pandas_on_the_final_frames(delayed: Feed, on: Any) -> None:
    quotes, trades = delayed.quotes(*SYMBOLS), delayed.trades(*SYMBOLS)
    joined = trades.join_asof(quotes, on=on)
    joined.wait(rows=300, timeout=60)
    for frame in (trades, quotes):
        delayed._link.release(frame._tape)
    on_network(lambda: None).result(60)  # nothing more comes
    found = joined.df

    key = "seq" if on == "received" else "ts"
    left, right = arrays(trades, 10**12), arrays(quotes, 10**12)
    left, right = left.sort_values(key, kind="stable"), right.sort_values(key, kind="stable")
    expected = pd.merge_asof(left, right[[key, "symbol", "bid_price"]], on=key, by="symbol")
    rows = joined._tape.arrays_since(0)[0]
    void = set(joined._tape.published.void.numbers.tolist())
    own = pd.DataFrame({name: np.asarray(rows[name]) for name in ("seq", "bid_price")})
    own = own[[number not in void for number in own.index]].sort_values("seq")
    expected = expected.sort_values("seq")
    assert own["seq"].tolist() == expected["seq"].tolist()
    np.testing.assert_array_equal(own["bid_price"], expected["bid_price"])
    assert len(found) == len(trades)


def test_of_a_frame_whose_source_began_anew_no_row_is_complete(delayed: Feed) -> None:
    quotes = delayed.quotes(*SYMBOLS)
    mids = quotes.assign(mid=lambda df: (df.bid_price + df.ask_price) / 2).wait(rows=50, timeout=60)
    assert isinstance(mids, DerivedFrame)

    with mids._guard:  # so that nothing is computed in between
        assert mids._complete_until() > 0
        on_network(quotes._tape.restart).result(60)
        assert mids._complete_until() == 0


def test_what_was_true_had_often_not_arrived(delayed: Feed) -> None:
    quotes, trades = delayed.quotes(*SYMBOLS), delayed.trades(*SYMBOLS)
    knew, true = trades.join_asof(quotes).wait(rows=200, timeout=60), trades.join_asof(quotes, on="ts")

    known, unknown = knew.df.dropna(subset=["bid_price"]), true.df.dropna(subset=["bid_price"])
    assert (known["received_right"] <= known["received"]).all()
    assert (unknown["received_right"] > unknown["received"]).sum() > 5
    assert (unknown["ts_right"] <= unknown.index).all()
    assert list(knew.df.columns)[: len(trades.df.columns)] == list(trades.df.columns)
    assert knew.ledger.sources.keys() == {trades._name, quotes._name}


def test_a_join_is_a_live_frame_that_closes_with_either_side(delayed: Feed) -> None:
    quotes, trades = delayed.quotes(*SYMBOLS), delayed.trades("AAPL", "NVDA")
    joined = trades.join_asof(quotes)

    assert trades.join_asof(quotes) is joined
    assert trades.join_asof(quotes, on="ts") is not joined
    excess = joined.assign(excess=lambda df: df.price - (df.bid_price + df.ask_price) / 2).wait(rows=100, timeout=60)
    frame = excess.df
    assert frame.loc[frame["symbol"] == "NVDA", "bid_price"].isna().all()
    assert frame.loc[frame["symbol"] == "AAPL", "excess"].tail(10).notna().all()
    quotes.close()
    assert not joined.is_open
    with pytest.raises(anb.ClosedError, match="which it is computed from, is closed"):
        joined.wait(rows=10**9, timeout=5)


def test_a_frame_of_ones_own_is_joined_by_symbol(delayed: Feed) -> None:
    trades = delayed.trades(*SYMBOLS).wait(rows=20, timeout=60)
    start = pd.Timestamp("2020-01-01", tz="UTC")
    levels = pd.DataFrame(
        {"symbol": ["MSFT", "AAPL"], "level": [300.0, 200.0], "price": [1, 2], "note": ["low", "high"]},
        index=[start, start],
    )
    joined = trades.join_asof(levels)

    frame = joined.df
    assert trades.join_asof(levels) is joined
    assert set(frame.loc[frame["symbol"] == "AAPL", "level"]) == {200.0}
    assert set(frame.loc[frame["symbol"] == "MSFT", "note"]) == {"low"}
    assert set(frame.loc[frame["symbol"] == "MSFT", "price_right"]) == {1.0}
    of_all = trades.join_asof(pd.DataFrame({"ts": [start], "rate": [1.5]}), on="ts").df
    assert set(of_all["rate"]) == {1.5}


def test_what_cannot_be_joined_is_refused(delayed: Feed, feed: Feed) -> None:
    trades = delayed.trades("AAPL")
    frame = pd.DataFrame({"level": [1.0]}, index=[pd.Timestamp("2020-01-01")])

    with pytest.raises(anb.UsageError, match="two feeds"):
        trades.join_asof(feed.quotes("AAPL"))
    with pytest.raises(anb.UsageError, match="no symbol in common"):
        trades.join_asof(delayed.quotes("MSFT"))
    with pytest.raises(anb.UsageError, match="what you knew when"):
        trades.join_asof(delayed.quotes("AAPL"), on="seq")  # type: ignore[arg-type]
    with pytest.raises(anb.UsageError, match="tz_localize"):
        trades.join_asof(frame)
    with pytest.raises(anb.UsageError, match="the index has missing times"):
        trades.join_asof(pd.DataFrame({"level": [1.0]}, index=pd.DatetimeIndex([pd.NaT], tz="UTC")))
    with pytest.raises(anb.UsageError, match="is no frame"):
        trades.join_asof([1, 2])  # type: ignore[arg-type]
    with pytest.raises(anb.UsageError, match=r"'odd'.*Leave it out"):
        trades.join_asof(frame.tz_localize("UTC").assign(odd=[[1, 2]]))
    assert trades.join_asof(feed.quotes("AAPL"), on="ts").wait(rows=10, timeout=60).is_live
