"""Derived frames of a replay equal those of the feed that was recorded, at any pace and after a seek back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import aries_nb as anb
from tests.net.patience import eventually

SYMBOLS = {"sim": ("AAPL", "MSFT"), "sim-alor": ("SBER", "GAZP")}


def asked(feed: anb.Feed, symbols: tuple[str, ...]) -> dict[str, anb.LiveFrame]:
    quotes, trades = feed.quotes(*symbols), feed.trades(*symbols)
    mids = quotes.assign(mid=lambda df: (df.bid_price + df.ask_price) / 2)
    one, other = (mids[symbol]["mid"] for symbol in symbols)
    return {
        "quotes": quotes,
        "mids": mids,
        "mean": mids.rolling("500ms")["mid"].mean(),
        "held": quotes.rolling("1s", weight="time")["bid_price"].mean(),
        "by age": mids.ewm(halflife="200ms")["mid"].mean(),
        "flow": trades.rolling("1s").agg(vwap=anb.vwap(), rv=anb.realized_volatility(), imbalance=anb.imbalance()),
        "ratio": (one / other).frame,
        "percent": ((one / other - 1) * 100).frame,
    }


def shown(live: dict[str, anb.LiveFrame]) -> dict[str, pd.DataFrame]:
    found = {}
    for name, each in live.items():
        frame, tape = each.df, each._tape.published
        at = tape.void.in_order(tape.slab, tape.start + np.argsort(tape.slab.ts[tape.start : tape.end], kind="stable"))
        found[name] = frame.assign(seq=tape.slab.seq[at]) if len(at) == len(frame) else frame
    return found


@pytest.mark.parametrize("market", ["sim", "sim-alor"])
def test_replayed_frames_equal_recorded_ones(market: str, tmp_path: Path) -> None:
    path, symbols = tmp_path / "day.anb", SYMBOLS[market]
    with anb.connect(
        market,
        rate=1_000,
        record=path,
        rough="late_prints,corrected_prints,cancelled_prints,times_ahead",
        rough_seconds=1,
        seed=3,
    ) as feed:
        live = asked(feed, symbols)
        live["mids"].wait(rows=1_000 if market == "sim" else 70, timeout=60)
    recorded = shown(live)

    with anb.replay(path, speed="max") as past:
        again = asked(past, symbols)
        for _ in range(2):
            eventually(lambda: len(again["quotes"].df) >= len(recorded["quotes"]), seconds=60)
            replayed = shown(again)
            for name, frame in recorded.items():
                pd.testing.assert_frame_equal(replayed[name], frame, check_exact=True, obj=name)
            past.clock.seek(past.clock.start + (past.clock.end - past.clock.start) / 3)
            assert len(again["mids"].df) == len(again["quotes"].df) < len(recorded["quotes"])
            past.clock.play(speed="max")
