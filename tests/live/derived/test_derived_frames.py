"""Derived frames of a feed: one symbol's part and columns more, as live frames like any other."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.live import Feed
from tests.net.patience import eventually


def mid(df: pd.DataFrame) -> pd.Series:
    return (df.bid_price + df.ask_price) / 2


def test_a_derived_frame_is_a_live_frame_like_any_other(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT", rows=500)
    mids = quotes.assign(mid=mid, name=lambda df: df.symbol.str.lower())
    seen: list[pd.DataFrame] = []
    mids.on_update(seen.append)
    mids.wait(rows=1_200, timeout=60)
    apple = mids["AAPL"]

    eventually(lambda: sum(map(len, seen)) > 1_000)
    frame = mids.df
    assert list(frame.columns) == [*quotes.df.columns, "mid", "name"]
    assert frame["mid"].equals(mid(frame))
    assert set(frame["name"]) == {"aapl", "msft"}
    assert 0 < len(frame) <= 500
    assert mids.latest["mid"].between(1, 1e6).all()
    assert apple.symbols == ("AAPL",)
    assert set(apple.df["symbol"]) == {"AAPL"}
    assert apple["AAPL"] is apple
    assert mids.ledger.sources[quotes._name].received >= mids.ledger.received > 0
    assert len(pd.DataFrame(mids.wide("mid", every="50ms"))) > 0


def test_a_reader_sees_all_rows_that_the_source_has(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT", rows=1_000)
    part = quotes.assign(mid=mid)["AAPL"]
    for _ in range(20):
        rows = quotes.df
        newest = rows["received"][rows["symbol"] == "AAPL"].max()
        assert not part.df["received"].max() < newest


def test_the_same_call_returns_the_same_frame(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT")
    factor = 2

    def twice(factor: float) -> anb.LiveFrame:
        return quotes.assign(x=lambda df: df.bid_price * factor)

    assert quotes["MSFT"] is quotes["MSFT"]
    assert twice(factor) is twice(factor)
    assert twice(3.0) is not twice(2.0)
    assert quotes.assign(x=1.0) is not quotes.assign(x=2.0)


def test_the_lists_of_what_is_computed_are_there_before_any_thread_asks(feed: Feed) -> None:
    """A `cached_property` would make two of them for two threads, from Python 3.12 on, and forget what is in one."""
    quotes = feed.quotes("AAPL")

    for frame in (quotes, quotes.assign(mid=mid)):
        assert {"_dependents", "_derivations"} <= vars(frame).keys()


def test_a_source_closes_what_is_computed_from_it(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=50)
    part = quotes.assign(mid=mid)["AAPL"]
    before = len(part.df)
    quotes.close()

    assert not part.is_open
    assert len(part.df) >= before > 0
    with pytest.raises(anb.ClosedError, match="which it is computed from, is closed"):
        part.wait(rows=10**9, timeout=5)
    with pytest.raises(anb.ClosedError):
        quotes.assign(mid=mid)


def test_a_derived_frame_closes_alone(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=10)
    part = quotes["AAPL"]
    part.close()

    assert quotes.is_open
    assert quotes["AAPL"] is not part
    assert quotes["AAPL"].wait(rows=10).is_live


def test_a_derived_frame_keeps_its_source_and_is_collected_without_a_user(feed: Feed) -> None:
    part = weakref.ref(feed.quotes("AAPL", "MSFT")["AAPL"])
    eventually(lambda: gc.collect() >= 0 and part() is None)
    kept = feed.quotes("AAPL", "MSFT").assign(mid=mid)
    gc.collect()
    kept.wait(rows=10)
    assert kept.is_live


def test_errors_of_a_function_are_shown_and_stop_no_other(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=10)
    fails = threading.Event()

    def fragile(df: pd.DataFrame) -> pd.Series:
        if fails.is_set():
            raise ZeroDivisionError("by hand")
        return df.bid_price

    bad, good = quotes.assign(x=fragile), quotes.assign(mid=mid)
    fails.set()
    newest = bad.received + 200
    bad.wait(rows=newest, timeout=60)
    good.wait(rows=newest, timeout=60)

    assert bad.df["x"].tail(50).isna().all()
    assert "ZeroDivisionError: by hand" in repr(bad)
    ledger = bad.ledger
    assert ledger.errors > 0
    assert f"errors={ledger.errors}, sources=[{quotes._name!r}]" in repr(ledger)
    assert good.df["mid"].notna().all()
    fails.clear()
    eventually(lambda: bad.df["x"].iloc[-1] > 0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no column"),
        ({"symbol": mid}, "cannot be the name"),
        ({"x": [1, 2]}, "is no function"),
        ({"x": lambda df: df.nothing}, "raised AttributeError"),
        ({"x": lambda df: None}, "returned None"),
        ({" ": mid}, "cannot be the name"),
        ({"x": lambda df: df.bid_price * 1j}, "complex numbers are no column"),
        ({"x": 1j}, "is no function"),
        ({"x": lambda df: df.bid_price.diff()}, "depends on other rows"),
    ],
)
def test_wrong_functions_are_refused(feed: Feed, columns: dict, message: str) -> None:
    quotes = feed.quotes("AAPL", "MSFT")
    with pytest.raises(anb.UsageError, match=message):
        quotes.assign(**columns)


def test_numbers_of_numpy_are_values_for_all_rows(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=10)

    made = quotes.assign(whole=np.int64(3), small=np.float32(0.5), flag=np.bool_(True))

    assert made.df[["whole", "small", "flag"]].iloc[-1].tolist() == [3.0, 0.5, 1.0]


def test_an_unknown_symbol_is_refused_and_a_frame_is_not_iterated_over(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT")
    with pytest.raises(anb.UsageError, match="no symbol of this frame"):
        quotes["TSLA"]
    with pytest.raises(TypeError, match="not iterable"):
        list(quotes)
    assert quotes._ipython_key_completions_() == ["AAPL", "MSFT"]


def test_a_derived_frame_knows_the_gaps_of_its_source() -> None:
    with anb.connect("sim", seed=5) as feed:
        quotes = feed.quotes("AAPL", "MSFT").wait(rows=20)
        mids = quotes.assign(mid=mid)
        frames = [mids, mids.rolling("3s")["mid"].mean(), mids["AAPL"], mids["AAPL"]["mid"].frame]
        assert [each.ledger.gaps for each in frames] == [0] * 4

        feed.simulate("outage", seconds=1.5)
        eventually(lambda: any(gap.ended is not None for gap in quotes._gap_selection.all()))
        quotes.wait(rows=quotes.received + 50, timeout=60)

        gaps = sum(not gap.filled for gap in quotes._gap_selection.all())
        assert gaps > 0
        assert [each.ledger.gaps for each in frames] == [gaps] * 4
        assert [len(each.gaps.df) for each in frames] == [len(quotes.gaps.df)] * 4
        assert frames[1].df["over_gap"].sum() > 0


def test_a_frame_that_an_error_ended_is_not_live_and_lets_no_one_wait(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=10)
    is_wrong = threading.Event()
    bad = quotes.assign(x=lambda df: df.bid_price.diff() if is_wrong.is_set() else df.bid_price)
    mean = bad.rolling("1s")["x"].mean()
    is_wrong.set()

    for each in (bad, mean):
        with pytest.raises(anb.UsageError, match="with x has stopped: the function of 'x' depends on other rows"):
            each.wait(rows=10**9, timeout=60)
        assert not each.is_live
        assert "stopped" in repr(each) or "depends on other rows" in repr(each)
        assert len(each.df) > 0
    assert quotes.is_live


def test_others_and_closing_and_showing_do_not_wait_for_a_function_that_hangs(feed: Feed) -> None:
    is_hanging, end, has_ended = threading.Event(), threading.Event(), threading.Event()

    def hangs(df: pd.DataFrame) -> pd.Series:
        if is_hanging.is_set():
            end.wait(60)
            has_ended.set()
        return df.bid_price

    quotes = feed.quotes("AAPL", "MSFT").wait(rows=10)
    frame, other = quotes.assign(x=hangs), quotes.assign(mid=mid)
    seen: list[pd.DataFrame] = []
    is_hanging.set()
    try:
        eventually(lambda: "slow: computing for" in repr(frame))
        other.on_update(seen.append)
        eventually(lambda: len(seen) > 3)
        frame.close()
        assert not frame.is_open
        assert not has_ended.is_set()
    finally:
        end.set()
