"""Minute bars across two interruptions, in real time: `python tests/soak/bars_across_reconnect.py` takes five minutes.

One interruption is within a bar, the other spans two. Then every bar of two days is compared
with what pandas makes of the simulator's log of all trades, and the figures are printed. Exits with 1 if any differs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])

from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.sim import SimOptions, Simulator
from tests.live.market_clock import PRICES, minutes_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["main"]

RATE = 1000.0
AWAY = BackoffRule(first=10.0, cap=10.0, cap_after_live=10.0)  # stays away for five to ten seconds
WITHIN, ACROSS, END = 60 + 10, 60 + 55, 4 * 60 + 5  # seconds after the first whole minute


def main() -> int:
    """Run it and print the figures; return the number of bars that differ."""
    with Simulator(SimOptions(rate=RATE)) as sim, opened(sim, BackoffRule(0.05, 0.05, 0.05)) as other:
        heard = other.trades("AAPL").wait(rows=50)  # the market goes on while the one that is looked at is away
        with opened(sim, AWAY) as feed:
            bars = feed.bars("AAPL", "1min", history="2d")
            began = time.time()
            first = (began // 60 + 1) * 60
            for moment in (WITHIN, ACROSS):
                until(first + moment)
                sim.drop_connections()
            until(first + END)
            assert heard.is_live
            sim.set_market("closed")
            log = sim.trades("AAPL", bars.df.index[0].timestamp())
            until(time.time() + 15)  # what is in doubt is asked for, the last trades arrive
            return report(bars.df, log, feed.gaps.df, began)


def opened(sim: Simulator, rule: BackoffRule) -> Feed:
    """A feed that is live."""
    feed = Feed(BROKERS["aries"], sim.url, fixed_token("any"), at_close=lambda _: None, rule=rule)
    feed.wait_open(10)
    return feed


def until(moment: float) -> None:
    """Wait until a time."""
    while time.time() < moment:
        time.sleep(0.05)


def report(frame: pd.DataFrame, log: np.ndarray, gaps: pd.DataFrame, began: float) -> int:
    """Print the comparison; return the number of bars that differ, are missing or are too many."""
    expected = minutes_of(log)
    both = expected.index.intersection(frame.index)
    differ = int((frame.loc[both, PRICES].to_numpy() != expected.loc[both, PRICES].to_numpy()).any(axis=1).sum())
    alone = len(expected.index.symmetric_difference(frame.index))
    spans = zip(gaps["started"], gaps["ended"], strict=True)
    missed = [log[(log["time"] > start.value) & (log["time"] < end.value)] for start, end in spans]
    live = log[log["time"] > began * 1e9]
    figures = {
        "bars compared": len(both),
        "of them made of live trades alone": int((frame["source"] == "live").sum()),
        "of them since the beginning": int((frame.index.as_unit("ns").asi8 >= began // 60 * 60 * 1e9).sum()),
        "trades in the log": len(log),
        "of them live": len(live),
        "interruptions": len(gaps),
        "seconds missed": round((gaps["ended"] - gaps["started"]).dt.total_seconds().sum(), 1),
        "trades made meanwhile": sum(map(len, missed)),
        "bars incomplete": int((~frame["complete"]).sum()),
        "bars missing or too many": alone,
        "bars that differ": differ,
    }
    for name, figure in figures.items():
        print(f"{name:36} {figure:>12,}")  # noqa: T201 - what it is run for
    return differ + alone


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
