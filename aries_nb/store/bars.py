"""Bars of one instrument: history and live trades as one series, with no bar doubled, missing or only half counted.

The rule: a bar is ours only where every trade of it was heard. Any other, the one that ran when the trades began to
come and those that a gap touches, is in doubt; once it has ended it is asked of the history again, and replaced. The
other way, to cut the history's running bar at the last trade that it covers, would need to know which trade that was,
and no answer tells.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from aries_nb.model import Bars, BarsData

__all__ = ["MOST_BARS", "BarSeries"]

MOST_BARS = 200_000  # half a year of minutes around the clock; some 50 MB
_NEVER = 2**63 - 1


class _Bar(NamedTuple):
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: float
    is_live: bool


class BarSeries:
    """The newest `limit` bars. One thread writes, any thread reads.

    `start_of` gives when the bar begins in which a time lies; all times are ns since the epoch, exchange time.
    """

    def __init__(self, start_of: Callable[[int], int], *, limit: int = MOST_BARS) -> None:
        self._start_of = start_of
        self._limit = limit
        self._bars: dict[int, _Bar] = {}
        self._starts: list[int] = []  # of `_bars`, ascending
        self._newest = 0  # when the newest bar of a trade begins
        self._final = 0  # bars that begin earlier are the history's last word: late trades do not change them
        self._doubt = (_NEVER, 0)  # the first and the last start that is in doubt
        self._is_deaf = False
        self._guard = threading.Lock()  # of `_bars`, `_starts` and what is in doubt
        self.version = 0

    def __len__(self) -> int:
        return len(self._bars)

    def trades(self, trades: Iterable[tuple[int, float, float]]) -> None:
        """Count live trades: time, price, size. One without a price is none, one without a size counts as 0."""
        with self._guard:
            for ts, price, size in trades:
                start = self._start_of(ts)
                if price != price or start < self._final:
                    continue
                self._newest = max(self._newest, start)
                if start not in self._bars:
                    insort(self._starts, start)
                self._bars[start] = _with(self._bars.get(start), price, size if size == size else 0.0)
            self._evict()
            self.version += 1

    def history(self, bars: Bars, *, final_before: int) -> None:
        """Take an answer of the history; it replaces what is here.

        Bars that begin before `final_before` had ended when it was asked, so they are final. A bar in doubt of which
        the answer knows nothing, though trades of it were heard, stays in doubt: the history is behind.
        """
        columns = (bars.start_ns, bars.open, bars.high, bars.low, bars.close, bars.volume)
        with self._guard:
            answered = {
                start: _Bar(o, h, l, c, v, float("nan"), is_live=False)
                for start, o, h, l, c, v in zip(*columns, strict=True)  # noqa: E741 - of a bar nobody says more
            }
            low, high = self._doubt
            behind = (start for start in self._bars if low <= start < final_before and start not in answered)
            final_before = min(behind, default=final_before)
            self._bars.update(answered)
            if len(self._bars) > len(self._starts):
                self._starts = sorted(self._bars)
            self._final = max(self._final, final_before)
            low = max(low, final_before)
            self._doubt = (low, high) if low <= high or self._is_deaf else (_NEVER, 0)
            self._evict()
            self.version += 1

    def doubt(self, first: int, last: int | None) -> None:
        """Trades between these times may have been missed; None for `last` while it lasts."""
        with self._guard:
            low, high = self._doubt
            self._doubt = (min(low, self._start_of(first)), high if last is None else max(high, self._start_of(last)))
            self._is_deaf = last is None
            self.version += 1

    def due(self, now: int) -> tuple[int, int] | None:
        """The bars in doubt that have ended: they begin in [first, second) of the answer. None where there are none."""
        low, high = self._doubt
        end = min(self._start_of(now), _NEVER if self._is_deaf else high + 1)
        return (low, end) if low < end else None

    def shown(self, most: int) -> BarsData:
        """The newest `most` bars for a view that draws; what this costs does not grow with the number of all."""
        with self._guard:
            starts = self._starts[-most:]
            bars = [self._bars[start] for start in starts]
        columns = np.array([bar[:5] for bar in bars], "float64").reshape(len(bars), 5).T
        return BarsData(np.array(starts, "int64"), *columns)

    def frame(self, now: int, *, newest: int | None = None) -> pd.DataFrame:
        """One row a bar, oldest first, in a memory of its own; an interval without a trade has none.

        `newest` is how many rows at most, None for all.

        Index `ts` (when the bar begins, UTC); open, high, low, close, volume, trades (NaN where the history does not
        tell) float64; `source` "history" or "live"; `complete` bool: it has ended, and nothing of it was missed.
        """
        with self._guard:
            chosen = self._starts[:] if newest is None else self._starts[-newest:]
            bars = [self._bars[start] for start in chosen]
            low, high = self._doubt
            high = _NEVER if self._is_deaf else high
        starts = np.array(chosen, "int64")
        names = _Bar._fields[:-1]
        numbers = np.array([bar[:-1] for bar in bars], "float64").reshape(len(bars), len(names))
        running = max(self._newest, self._start_of(now))
        index = pd.DatetimeIndex(pd.array(starts, dtype=pd.DatetimeTZDtype("ns", "UTC")), name="ts")
        frame = pd.DataFrame(numbers, columns=pd.Index(names), index=index)
        frame["source"] = pd.array(["live" if bar.is_live else "history" for bar in bars], dtype="str")
        frame["complete"] = (starts < running) & ~((starts >= low) & (starts <= high))
        return frame

    def _evict(self) -> None:
        surplus = max(len(self._starts) - self._limit, 0)
        for start in self._starts[:surplus]:
            del self._bars[start]
        del self._starts[:surplus]


def _with(bar: _Bar | None, price: float, size: float) -> _Bar:
    """A bar after one more trade."""
    if bar is None:
        return _Bar(price, price, price, price, size, 1, is_live=True)
    high, low = max(bar.high, price), min(bar.low, price)
    return _Bar(bar.open, high, low, price, bar.volume + size, bar.trades + 1, is_live=True)
