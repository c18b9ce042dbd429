"""A feed at 5,000 messages a second with 20 derived frames and without, in turns: rows that arrive, frames of views.

The simulated market is a process of its own. Views are charts that the painter draws; what they send is serialised
and dropped.
"""

from __future__ import annotations

import time
from statistics import median

import aries_nb as anb
from aries_nb.live.market.frame import LiveFrame
from aries_nb.widgets.painter import Painter
from tests.bench.chart_frame import serialising_comms
from tests.bench.results import Budget, Effort, Outcome
from tests.bench.rounds import ratio as median_ratio

__all__ = ["measure"]

RATE = 5_000
SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "TSLA", "META")
LEAST = 0.9


class _Drawn:
    """A chart as the painter draws it, shown on a page that answers at once."""

    period_s, refresh_s, lags, is_failing = 0.1, None, None, False

    def __init__(self, frame: LiveFrame) -> None:
        self._chart = frame.chart("bid_price", "ask_price", symbols=frame.symbols[:1])
        assert self._chart.figure.model_id  # opens it
        self._frame = frame
        self.frames = 0

    @property
    def version(self) -> int:
        return self._frame._tape.version

    def draw(self) -> int:
        self.frames += 1
        return int(self._chart.draw() and 0)  # nothing is left to be answered

    def beat(self) -> int:
        return 0


def derived(quotes: LiveFrame) -> list[LiveFrame]:
    """Twenty frames, as a user may have them."""
    mids = quotes.assign(mid=lambda df: (df.bid_price + df.ask_price) / 2)
    windows = [
        getattr(mids.rolling(span)["mid"], name)()
        for span in ("5s", "30s", "2min")
        for name in ("mean", "std", "min", "max")
    ]
    first, second = mids.symbols[:2]
    ratio = mids[first]["mid"] / mids[second]["mid"]
    more = [
        mids.ewm(halflife="5s")["mid"].mean(),
        quotes.rolling("30s", weight="time")["bid_price"].mean(),
        quotes.rebased(100),
        ((ratio - 1) * 100).frame,
    ]
    return [mids, *windows, *more, ratio.frame, mids[first], mids[second]]


def measure(effort: Effort) -> Outcome:
    """The budgets of the ingest's rate and the views' frames."""
    seconds, rounds = effort.choose((5.0, 8), (3.0, 4), (0.5, 1))
    rates: dict[bool, list[float]] = {True: [], False: []}
    frames: dict[bool, list[float]] = {True: [], False: []}
    counts = set()
    with serialising_comms(), anb.connect("sim", rate=RATE) as feed:
        quotes = feed.quotes(*SYMBOLS, rows=50_000).wait(rows=10)
        for _ in range(rounds):
            for has_derived in (False, True):
                held = derived(quotes) if has_derived else []
                counts.add(len(held))
                painter, views = Painter(), [_Drawn(quotes) for _ in range(3)]
                for view in views:
                    painter.watch(view)
                time.sleep(seconds / 5)
                begun, first, drawn = time.perf_counter(), quotes.received, sum(view.frames for view in views)
                time.sleep(seconds)
                passed = time.perf_counter() - begun
                rates[has_derived].append((quotes.received - first) / passed)
                frames[has_derived].append((sum(view.frames for view in views) - drawn) / passed)
                painter.stop()
                for each in held:
                    each.close()
    shares = [median_ratio(each[True], each[False]) for each in (rates, frames)]
    beside = f"with {max(counts)} derived frames to without, at {RATE:,} messages/s"
    return Outcome(
        [
            Budget(f"{what} {beside}", f"{share:.2f} × ({median(found[True]):,.0f}/s)", f"≥ {LEAST} ×", share >= LEAST)
            for what, share, found in (("rows", shares[0], rates), ("views' frames", shares[1], frames))
        ]
    )
