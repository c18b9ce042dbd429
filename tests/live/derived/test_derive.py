"""Functions of live frames, computed at instants of market time; and what all derived objects are in a replay."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import aries_nb as anb
from aries_nb.live import Feed
from aries_nb.live.derived.instants import _TableOfFrame
from tests.net.patience import eventually


def excess(quotes: pd.DataFrame, trades: pd.DataFrame) -> float:
    return float(trades["price"].iloc[-1] - quotes["bid_price"].iloc[-1]) if len(trades) and len(quotes) else 0.0


def test_it_is_computed_at_multiples_of_market_time_from_what_was_there(feed: Feed) -> None:
    quotes, trades = feed.quotes("AAPL"), feed.trades("AAPL")
    seen: list[tuple[pd.DataFrame, pd.DataFrame]] = []

    def counts(q: pd.DataFrame, t: pd.DataFrame) -> pd.Series:
        seen.append((q, t))
        return pd.Series({"quotes": len(q), "trades": len(t)})

    derived = anb.derive(counts, quotes, trades, every="100ms").wait(rows=8, timeout=60)

    frame = derived.df
    assert anb.derive(counts, quotes, trades, every="100ms") is derived
    assert set(frame.columns) == {"received", "symbol", "quotes", "trades"}
    assert (frame.index.as_unit("us").asi8 % 100_000 == 0).all()
    assert (frame.index.to_series().diff().dropna() == pd.Timedelta("100ms")).all()
    for at, row in frame.iterrows():
        known = quotes.df["received"] <= at
        assert row["quotes"] == known.sum()
        assert row["trades"] == (trades.df["received"] <= at).sum()
    assert "counts of quotes AAPL, trades AAPL every 100ms" in repr(derived)
    bundle: Any = derived.chart()._repr_mimebundle_()
    assert bundle
    trades.close()
    assert not derived.is_open


def test_sources_may_be_derived_themselves(feed: Feed) -> None:
    mids = feed.quotes("AAPL", "MSFT").assign(mid=lambda df: (df.bid_price + df.ask_price) / 2)
    spread = anb.derive(lambda df: df["mid"].iloc[-1], mids["AAPL"], every="50ms").wait(rows=5, timeout=60)

    frame, source = spread.df, mids["AAPL"].df
    for at, row in frame.iterrows():
        assert row["value"] == source.loc[source["received"] <= at, "mid"].iloc[-1]


def test_instants_begin_with_rows_of_streams_on_the_networks_thread(feed: Feed) -> None:
    mids = feed.quotes("AAPL").assign(mid=lambda df: (df.bid_price + df.ask_price) / 2)
    derived: Any = anb.derive(lambda one, _: len(one), mids["AAPL"], mids, every="100ms")
    instants = derived._instants

    def notified_elsewhere() -> bool:  # by a computation, while no row of the stream comes
        instants._restart()
        notifier = threading.Thread(target=mids._tape.notify)
        notifier.start()
        notifier.join()
        return instants._cancel is not None

    assert not derived._link.arrivals.do(notified_elsewhere).result(60)
    derived.wait(rows=derived.received + 2, timeout=60)  # it goes on with the next row of the stream


def test_a_frame_replaces_the_newest(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT").wait(rows=100, timeout=60)
    means = anb.derive(lambda df: df.groupby("symbol")[["bid_price"]].mean(), quotes, every="50ms")

    first = means.latest
    assert list(first.index) == ["AAPL", "MSFT"]
    eventually(lambda: not means.latest.equals(first))
    bundle: Any = means._repr_mimebundle_()
    assert "AAPL" in (bundle[0] if isinstance(bundle, tuple) else bundle)["text/html"]
    phases: Any = anb.derive(lambda _: pd.DataFrame({"phase": [0.5 + 2j]}), quotes)
    (row,) = _TableOfFrame(phases).table().rows
    assert row == ("(0.5+2j)",)


def test_an_error_is_shown_in_place_and_the_next_instant_is_computed(feed: Feed) -> None:
    quotes = feed.quotes("AAPL")
    fails = threading.Event()

    def fragile(df: pd.DataFrame) -> float:
        if fails.is_set():
            raise ZeroDivisionError("by hand")
        return float(len(df))

    derived = anb.derive(fragile, quotes, every="50ms").wait(rows=2, timeout=60)
    fails.set()
    eventually(lambda: "ZeroDivisionError: by hand" in repr(derived))
    eventually(lambda: derived.df["value"].isna().any())
    assert derived.ledger.errors > 0
    fails.clear()
    eventually(lambda: derived.df["value"].iloc[-1] > 0)


def test_a_function_that_is_too_slow_gets_fewer_instants_and_says_so(feed: Feed) -> None:
    quotes = feed.quotes("AAPL")

    def slow(df: pd.DataFrame) -> float:
        time.sleep(0.3)
        return float(len(df))

    derived = anb.derive(slow, quotes, every="10ms")
    other = quotes.assign(x=lambda df: df.bid_price)
    eventually(lambda: "slow" in repr(derived))
    eventually(lambda: derived._instants.missed > 0)  # type: ignore[attr-defined]
    before = other.received
    other.wait(rows=before + 100, timeout=60)


@pytest.mark.parametrize(
    ("function", "every", "message"),
    [
        (lambda _: 1 / 0, "1s", "ZeroDivisionError"),
        (lambda _: "text", "1s", "no number, Series or DataFrame"),
        (lambda _: np.complex64(1j), "1s", "complex64 is no number"),
        (lambda _: {"x": np.complex64(1j)}, "1s", "complex numbers are no column"),
        (lambda _: pd.Series({"symbol": 1}), "1s", "cannot be the name of a column"),
        (lambda _: 1, "soon", "soon"),
        (3, "1s", "no function"),
    ],
)
def test_what_cannot_be_derived_is_refused(feed: Feed, function: Any, every: str, message: str) -> None:
    with pytest.raises(anb.UsageError, match=message):
        anb.derive(function, feed.quotes("AAPL"), every=every)
    with pytest.raises(anb.UsageError, match="live frames"):
        anb.derive(len)


def asked(feed: Feed, *symbols: str) -> dict[str, Any]:
    quotes, trades = feed.quotes(*symbols), feed.trades(*symbols)
    return {
        "join": trades.join_asof(quotes),
        "time": trades.bars("500ms"),
        "ticks": trades.bars(ticks=7),
        "volume": trades.bars(volume=2_000),
        "alert": quotes.alert("bid_size > 3 * ask_size"),
        "derived": anb.derive(excess, quotes, trades, every="100ms"),
    }


@pytest.mark.parametrize(
    ("broker", "symbols"),
    [("sim", ("AAPL", "MSFT")), pytest.param("sim-alor", ("SBER", "GAZP"), marks=pytest.mark.long)],
)
def test_a_replay_has_the_same_rows(broker: str, symbols: tuple[str, str], tmp_path: Path) -> None:
    rough, path = "delays,late_prints,corrected_prints,cancelled_prints", tmp_path / "day.anb"
    with anb.connect(broker, rate=1_000, rough=rough, rough_seconds=0.5, record=path) as feed:
        live = asked(feed, *symbols)
        live["join"].wait(rows=600)
        live["derived"].wait(rows=12)
    shown = {name: each.df for name, each in live.items()}

    with anb.replay(path, speed="max") as past:
        again = asked(past, *symbols)
        past.clock.seek(past.clock.end)
        found = {name: each.df for name, each in again.items()}

    pd.testing.assert_frame_equal(found["join"], shown["join"])
    for name in ("time", "ticks", "volume"):
        pd.testing.assert_frame_equal(found[name].drop(columns="complete"), shown[name].drop(columns="complete"))
    common = found["derived"].index.intersection(shown["derived"].index)
    assert len(common) >= 10
    pd.testing.assert_frame_equal(found["derived"].loc[common], shown["derived"].loc[common])
    fired = found["alert"]["seq"].tolist()
    assert [seq for seq in shown["alert"]["seq"].tolist() if seq not in fired] == []
