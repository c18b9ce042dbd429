"""Bars of one instrument: history and live trades as one series, with no bar doubled, missing or only half counted.

The rule: a bar is ours only where every trade of it was heard. Any other, the one that ran when the trades began to
come and those that a gap touches, is in doubt; once it has ended it is asked of the history again, and replaced. While
it runs it is an estimate, until the history's part and the trades heard are joined: up to which trade an answer counts
it does not say, but `aries_nb.store.bar_join` works it out.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
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
        self._incomplete = (_NEVER, 0)  # the first and the last start that is in doubt
        self._is_interrupted = False
        self._joined: set[int] = set()  # of those in doubt, where history and trades meet without a hole
        self._guard = threading.Lock()  # of `_bars`, `_starts`, `_joined` and what is in doubt
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
        columns = (bars.start_ns, *_values(bars))
        with self._guard:
            answered = {
                start: _Bar(o, h, l, c, v, float("nan"), is_live=False)
                for start, o, h, l, c, v in zip(*columns, strict=True)  # noqa: E741 - of a bar nobody says more
            }
            low, high = self._incomplete
            behind = (start for start in self._bars if low <= start < final_before and start not in answered)
            final_before = min(behind, default=final_before)
            self._bars.update(answered)
            if len(self._bars) > len(self._starts):
                self._starts = sorted(self._bars)
            self._final = max(self._final, final_before)
            low = max(low, final_before)
            self._joined = {start for start in self._joined if start >= low}
            self._incomplete = (low, high) if low <= high or self._is_interrupted else (_NEVER, 0)
            self._evict()
            self.version += 1

    def mark_incomplete(self, first: int, last: int | None) -> None:
        """Trades between these times may have been missed; None for `last` while it lasts, until `resume`."""
        with self._guard:
            low, high = self._incomplete
            begin = self._start_of(first)
            self._incomplete = (min(low, begin), high if last is None else max(high, self._start_of(last)))
            self._is_interrupted |= last is None
            self._joined = {start for start in self._joined if start < begin}
            self.version += 1

    def resume(self) -> None:
        """All trades come again; what was missed until now is to be told by `mark_incomplete` before."""
        with self._guard:
            low, high = self._incomplete
            self._incomplete = (low, high) if low <= high else (_NEVER, 0)
            self._is_interrupted = False
            self.version += 1

    def incomplete_running_bar(self, now: int) -> int | None:
        """When the running bar begins, if it is in doubt, not joined yet, and trades come; else None."""
        start = max(self._newest, self._start_of(now))
        low, high = self._incomplete
        is_open = not self._is_interrupted and low <= start <= high and start not in self._joined
        return start if is_open else None

    def estimate(self, start: int, bars: Bars) -> None:
        """Take what the history says of the running bar, if anything: it counts up to about now."""
        if start in bars.start_ns:
            at = bars.start_ns.index(start)
            o, h, l, c, v = (column[at] for column in _values(bars))  # noqa: E741 - of a bar nobody says more
            self._put(start, _Bar(o, h, l, c, v, float("nan"), is_live=False))

    def join(self, start: int, bar: Bars, prices: Sequence[float], volume: float) -> None:
        """Replace the running bar by the history's, empty where it has none, with the trades that were heard in it.

        `prices` are those of all that were counted here; `volume` is that of the whole bar.
        """
        count = float("nan") if bar.start_ns else float(len(prices))
        seen = [*bar.open, *prices]
        if seen:
            high, low = max([*bar.high, *prices]), min([*bar.low, *prices])
            close = prices[-1] if prices else bar.close[0]
            self._put(start, _Bar(seen[0], high, low, close, volume, count, is_live=not bar.start_ns))
        with self._guard:
            self._joined.add(start)
            self.version += 1

    def bars_to_fetch(self, now: int) -> tuple[int, int] | None:
        """The bars in doubt that have ended: they begin in [first, second) of the answer. None where there are none."""
        low, high = self._incomplete
        end = min(self._start_of(now), _NEVER if self._is_interrupted else high + 1)
        return (low, end) if low < end else None

    def is_incomplete(self, first: int, last: int) -> bool:
        """Whether of the bars between these times any is in doubt, and not joined."""
        with self._guard:
            low, high = self._incomplete
            begin = max(self._start_of(first), low)
            end = min(self._start_of(last), _NEVER if self._is_interrupted else high)
            known = self._starts[bisect_left(self._starts, begin) : bisect_right(self._starts, end)]
            open_ = [start for start in known if start not in self._joined]
            # Bars of which nothing is known yet may be missing as well.
            return begin <= end and (bool(open_) or not known)

    def newest_bars(self, most: int) -> BarsData:
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
        tell) float64; `source` is "history", "live", "history+live" where both are joined exactly, or "estimate" while
        that is not known; `complete` bool: it has ended, and nothing of it was missed.
        """
        with self._guard:
            chosen = self._starts[:] if newest is None else self._starts[-newest:]
            bars = [self._bars[start] for start in chosen]
            low, high = self._incomplete
            high = _NEVER if self._is_interrupted else high
            joined = self._joined.copy()
        starts = np.array(chosen, "int64")
        names = _Bar._fields[:-1]
        numbers = np.array([bar[:-1] for bar in bars], "float64").reshape(len(bars), len(names))
        running = max(self._newest, self._start_of(now))
        index = pd.DatetimeIndex(pd.array(starts, dtype=pd.DatetimeTZDtype("ns", "UTC")), name="ts")
        frame = pd.DataFrame(numbers, columns=pd.Index(names), index=index)
        is_incomplete = (starts >= low) & (starts <= high)
        sources = ["live" if bar.is_live else "history" for bar in bars]
        for at in np.flatnonzero(is_incomplete).tolist():
            sources[at] = "history+live" if chosen[at] in joined else "estimate"
        frame["source"] = pd.array(sources, dtype="str")
        frame["complete"] = (starts < running) & ~is_incomplete
        return frame

    def _put(self, start: int, bar: _Bar) -> None:
        with self._guard:
            if start not in self._bars:
                insort(self._starts, start)
            self._bars[start] = bar
            self._evict()
            self.version += 1

    def _evict(self) -> None:
        surplus = max(len(self._starts) - self._limit, 0)
        for start in self._starts[:surplus]:
            del self._bars[start]
        del self._starts[:surplus]


def _values(bars: Bars) -> tuple[list[float], ...]:
    return bars.open, bars.high, bars.low, bars.close, bars.volume


def _with(bar: _Bar | None, price: float, size: float) -> _Bar:
    """A bar after one more trade."""
    if bar is None:
        return _Bar(price, price, price, price, size, 1, is_live=True)
    high, low = max(bar.high, price), min(bar.low, price)
    return _Bar(bar.open, high, low, price, bar.volume + size, bar.trades + 1, is_live=True)
