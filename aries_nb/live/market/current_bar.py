"""The running bar, where not all of its trades were heard: the broker's bar so far and live trades, joined exactly."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.errors import FeedError
from aries_nb.model import BarPage
from aries_nb.net.background import run_on_thread
from aries_nb.store import RollingFrame
from aries_nb.store.bar_join import BarJoin, HistoryBar, LiveTrades
from aries_nb.store.bars import BarSeries

__all__ = ["CurrentBar", "Trades", "trades_in"]

log = logging.getLogger("aries_nb")

SECOND = 1_000_000_000
AHEAD_NS = 3_600 * SECOND  # a trade stamped later than that after its receipt has no time that can be believed
PAUSE_SECONDS = 1.0
MOST_PAUSE_SECONDS = 60.0


class Asked(Protocol):
    """Where bars are asked for, as `BarHistory` is."""

    symbol: str

    def start_of(self, ts: int) -> int:
        """When the bar begins in which a time lies."""

    def ask(self, start: int, end: int) -> BarPage:
        """The bars that begin in [start, end). Raises FeedError."""


class Trades(NamedTuple):
    """Trades as columns: the exchange's time and that of receipt in ns since the epoch, price, size."""

    ts: NDArray[np.int64]
    received: NDArray[np.int64]
    prices: NDArray[np.float64]
    sizes: NDArray[np.float64]

    def where(self, chosen: NDArray[np.bool_]) -> Trades:
        """Some of them."""
        return Trades(self.ts[chosen], self.received[chosen], self.prices[chosen], self.sizes[chosen])


def trades_in(frame: pd.DataFrame) -> Trades:
    """The rows of a tape that count in bars: with a price, and a time that can be believed; no size is one of 0."""
    ts, received = (
        times.to_numpy(dtype="datetime64[ns]").astype("int64") for times in (frame.index, frame["received"])
    )
    prices, sizes = frame["price"].to_numpy("float64"), frame["size"].to_numpy("float64")
    rows = Trades(ts, received, prices, np.nan_to_num(sizes, nan=0.0))
    return rows.where((ts <= received + AHEAD_NS) & ~np.isnan(prices))


class _Question(NamedTuple):
    asked: int
    future: Future[tuple[BarPage, int]]  # the answer, and when it was here


class CurrentBar:
    """What asks for the running bar while it is in doubt, until answers and trades fit; of the bars' own thread.

    It asks every few seconds, then ever more rarely, down to once a minute; no more once the bar is joined. Questions
    wait on a thread of their own: the trades that come meanwhile are shown. While the tape holds trades back it waits,
    and then begins anew with those that come next: answers from before count trades that were not visible here.
    """

    def __init__(self, tape: RollingFrame, series: BarSeries, history: Asked, *, lag_ns: int, margin_ns: int) -> None:
        self._tape = tape
        self._series = series
        self._history = history
        self._lag_ns = lag_ns
        self._margin_ns = margin_ns
        self._start = 0
        self._asked: tuple[HistoryBar, BarPage] | None = None
        self._question: _Question | None = None
        self._ask_at = 0.0
        self._was_held = False
        self.restart(0)

    def restart(self, first: int) -> None:
        """Go by the trades from number `first` of the tape on: from now on none is missing between any two of them."""
        self._first = first
        self._since = time.time_ns()
        self._turn_to(self._start)

    def look(self, now: int, end: int) -> None:
        """Weigh the last answer or ask for another, where it is time; the series has the trades before number `end`.

        These are all that came until `now`, ns since the epoch by our clock.
        """
        if self._tape.is_backfilling:
            self._was_held = True
            return
        if self._was_held:
            self._was_held = False
            self.restart(self._tape.version)
        start = self._series.incomplete_running_bar(now)
        if start is None:
            return
        if start != self._start:
            self._turn_to(start)
        if self._question is not None and self._question.future.done():
            self._take(self._question)
        if self._question is not None:
            return
        if self._asked is not None:
            if now <= self._asked[0].answered + self._lag_ns or self._is_joined(*self._asked, end):
                return
            self._asked = None
        # An answer from right after the beginning may not even count all trades from before it.
        if now > self._since + self._lag_ns and time.monotonic() >= self._ask_at:
            self._ask(start, now)

    def _turn_to(self, start: int) -> None:
        self._start = start
        self._join = BarJoin(lag_ns=self._lag_ns)
        self._asked = None
        self._question = None  # one that is still out is forgotten
        self._ask_at = 0.0
        self._pause = PAUSE_SECONDS

    def _ask(self, start: int, now: int) -> None:
        self._ask_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, MOST_PAUSE_SECONDS)
        history, end = self._history, now + self._margin_ns
        work: Callable[[], tuple[BarPage, int]] = lambda: (history.ask(start, end), time.time_ns())  # noqa: E731
        self._question = _Question(now, run_on_thread(work, name="aries-nb-bars-question"))

    def _take(self, question: _Question) -> None:
        self._question = None
        try:
            bars, answered = question.future.result()
        except FeedError as error:
            log.warning("the running bar of %s stays an estimate for now: %s", self._history.symbol, error)
            return
        self._series.estimate(self._start, bars)
        at = bars.start_ns.index(self._start) if self._start in bars.start_ns else None
        bar = BarPage(*([] if at is None else column[at : at + 1] for column in bars[:-1]))  # type: ignore[arg-type]
        close, volume = (math.nan, 0.0) if at is None else (bar.close[0], bar.volume[0])
        self._asked = (HistoryBar(question.asked, answered, close, volume), bar)

    def _is_joined(self, answer: HistoryBar, bar: BarPage, end: int) -> bool:
        """Whether the bar can be joined, and is now."""
        heard = self._heard(end)
        if heard is None:
            self.restart(end)
            return False
        base = self._join.add(answer, LiveTrades(*heard[1:]))
        if base is None:
            return False
        self._series.join(self._start, bar, heard.prices.tolist(), base + float(heard.sizes.sum()))
        return True

    def _heard(self, end: int) -> Trades | None:
        """The trades of the bar, None where the tape has lost the first of them."""
        frame, until = self._tape.frame_since(self._first)
        if until - self._first > len(frame):
            return None
        rows = trades_in(frame.iloc[: max(end - self._first, 0)])
        rows = rows.where(rows.ts >= self._start)
        if len(rows.ts) and self._history.start_of(int(rows.ts.max())) != self._start:  # the next one has begun
            starts = self._history.start_of
            rows = rows.where(np.array([starts(ts) == self._start for ts in rows.ts.tolist()], "bool"))
        return rows
