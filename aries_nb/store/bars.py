"""Bars of one instrument: history and live trades as one series, with no bar doubled, missing or half counted.

The rule: a live bar is complete only if every trade of it was received. The bar that was running when the trades began,
and bars that overlap a gap, are incomplete; once such a bar has ended it is fetched from the history again and
replaced. While it runs it is an estimate, until the history's part and the live trades are joined: an answer of the
history does not say up to which trade it counts, but `live/market/current_bar.py` works it out.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from aries_nb.model import BarPage, BarsData
from aries_nb.store.values import utc_times

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
    # Exchange times of the live trades that made open and close, in ns; 0 for those of the broker's bar, of which no
    # earlier trade is received and every later one counts.
    first: int = 0
    last: int = 0


class BarSeries:
    """The newest `limit` bars of one instrument. One thread writes, any thread reads.

    `start_of` maps a time to the start of its bar; all times are exchange time in ns since the epoch.
    """

    def __init__(self, start_of: Callable[[int], int], *, limit: int = MOST_BARS) -> None:
        self._start_of = start_of
        self._limit = limit
        self._bars: dict[int, _Bar] = {}
        self._starts: list[int] = []  # of `_bars`, ascending
        self._newest = 0  # start of the newest bar that has a live trade
        self._final = 0  # earlier bars are final: late trades do not change them
        self._incomplete = (_NEVER, 0)  # starts of the first and the last incomplete bar
        self._is_interrupted = False
        self.marks = 0  # calls of `mark_incomplete`: an answer requested before the newest one may lack trades
        self._joined: set[int] = set()  # incomplete bars in which history and live trades are joined
        self._corrected: set[int] = set()  # bars that a late or corrected trade changed after their end
        self._guard = threading.Lock()  # guards `_bars`, `_starts`, `_joined`, `_corrected` and `_incomplete`
        self.version = 0
        self._frozen: tuple[int, BarSeries | None] = (-1, None)

    def __len__(self) -> int:
        return len(self._bars)

    def frozen(self) -> BarSeries:
        """Return the bars as they are now, which never change; the same object until one does."""
        version, found = self._frozen
        if found is None or version != self.version:
            found = BarSeries(self._start_of, limit=self._limit)
            with self._guard:
                version = self.version
                vars(found).update(
                    _bars=self._bars.copy(),
                    _starts=self._starts.copy(),
                    _incomplete=self._incomplete,
                    _is_interrupted=self._is_interrupted,
                    _joined=self._joined.copy(),
                    _corrected=self._corrected.copy(),
                )
            self._frozen = version, found
        return found

    def restart(self) -> None:
        """Have no bars again, because a replay begins anew."""
        with self._guard:
            self._bars, self._starts = {}, []
            self._newest = self._final = 0
            self._incomplete, self._is_interrupted = (_NEVER, 0), False
            self._joined, self._corrected = set(), set()
            self.marks += 1
            self.version += 1

    def trades(self, trades: Iterable[tuple[int, float, float]], now: int = 0) -> None:
        """Count live trades, each (exchange time in ns since the epoch, price, size), in their bars.

        Open and close are the first and the last by exchange time, of equal times by arrival. A trade without a price
        (NaN) or in a final bar is skipped; one without a size counts as 0. A bar that had ended at `now`, in ns since
        the epoch, may have been read as complete: it becomes "corrected".
        """
        running = self._start_of(now)
        with self._guard:
            for ts, price, size in trades:
                start = self._start_of(ts)
                if price != price or start < self._final:
                    continue
                self._newest = max(self._newest, start)
                if start not in self._bars:
                    insort(self._starts, start)
                self._bars[start] = _with(self._bars.get(start), ts, price, size if size == size else 0.0)
                if start < running:
                    self._corrected.add(start)
            self._evict()
            self.version += 1

    def recount(self, start: int, trades: Sequence[tuple[int, float, float]], now: int) -> bool:
        """Make the bar that begins at `start` anew of these trades, all of it that count, as some were corrected.

        Trades and `now` are as in `trades`: a bar that had ended at `now` becomes "corrected", and stays, with NaN for
        prices, where none of its trades counts. Returns False, and changes nothing, for a bar that is not made of live
        trades alone.
        """
        with self._guard:
            low, high = self._incomplete
            known = self._bars.get(start)
            is_incomplete = low <= start <= (_NEVER if self._is_interrupted else high)
            if start < self._final or is_incomplete or (known is not None and not known.is_live):
                return False
            bar: _Bar | None = None
            for ts, price, size in trades:
                bar = _with(bar, ts, price, size)
            has_ended = start < self._start_of(now)
            if bar is None and known is not None and has_ended:
                nan = float("nan")
                bar = _Bar(nan, nan, nan, nan, 0.0, 0.0, is_live=True, first=_NEVER)
            if bar is None:
                if self._bars.pop(start, None) is not None:
                    self._starts.remove(start)
            else:
                if start not in self._bars:
                    insort(self._starts, start)
                self._bars[start] = bar
                self._newest = max(self._newest, start)
                self._evict()
            if bar is not None and has_ended:
                self._corrected.add(start)
            self.version += 1
            return True

    def history(self, bars: BarPage, *, final_before: int) -> None:
        """Replace bars by those that the broker's history returned.

        Bars that begin before `final_before` (ns since the epoch) had ended at the request: they are final and no
        longer incomplete, and `trades` skips later trades in them.
        Where `bars` lacks a bar that has live trades and may miss others, the history lags behind: from that bar on
        none is final.
        """
        columns = (bars.start_ns, *_values(bars))
        with self._guard:
            answered = {
                start: _Bar(o, h, l, c, v, float("nan"), is_live=False)
                for start, o, h, l, c, v in zip(*columns, strict=True)  # noqa: E741 - the usual letters for the fields of a bar
            }
            low, high = self._incomplete
            behind = (start for start in self._bars if low <= start < final_before and start not in answered)
            final_before = min(behind, default=final_before)
            self._bars.update(answered)
            self._corrected -= answered.keys()
            if len(self._bars) > len(self._starts):
                self._starts = sorted(self._bars)
            self._final = max(self._final, final_before)
            low = max(low, final_before)
            self._joined = {start for start in self._joined if start >= low}
            self._incomplete = (low, high) if low <= high or self._is_interrupted else (_NEVER, 0)
            self._evict()
            self.version += 1

    def mark_incomplete(self, first: int, last: int | None) -> None:
        """Note that trades between two times may be missing: bars that overlap this span are incomplete.

        They are until `history` replaces them. Incomplete bars form one span: bars between this one and an earlier one
        become incomplete too. Exchange times in ns since the epoch, both included. `last` is None while a gap lasts;
        the caller must call this again with its end, and then `resume`.
        """
        with self._guard:
            self.marks += 1
            low, high = self._incomplete
            begin = self._start_of(first)
            self._incomplete = (min(low, begin), high if last is None else max(high, self._start_of(last)))
            self._is_interrupted |= last is None
            self._final = min(self._final, begin)
            self._joined = {start for start in self._joined if start < begin}
            self.version += 1

    def resume(self) -> None:
        """Note that a gap has ended and all trades are received again.

        The caller must have called `mark_incomplete` with the times of the gap before.
        """
        with self._guard:
            low, high = self._incomplete
            self._incomplete = (low, high) if low <= high else (_NEVER, 0)
            self._is_interrupted = False
            self.version += 1

    def incomplete_running_bar(self, now: int) -> int | None:
        """Return the start of the bar that is running at `now`, if it may lack trades; else None.

        None also while a gap lasts, and once history and live trades were joined in it. Times in ns since the epoch.
        """
        start = max(self._newest, self._start_of(now))
        low, high = self._incomplete
        is_open = not self._is_interrupted and low <= start <= high and start not in self._joined
        return start if is_open else None

    def is_final(self, now: int) -> bool:
        """Return whether all bars had ended by `now` (ns since the epoch), and none may lack trades."""
        low, _ = self._incomplete
        return low == _NEVER and not self._is_interrupted and self._newest_start < self._start_of(now)

    @property
    def _newest_start(self) -> int:
        return self._starts[-1] if self._starts else -_NEVER

    def estimate(self, start: int, bars: BarPage) -> None:
        """Replace the running bar, which begins at `start` (ns since the epoch), by that in the history's reply `bars`.

        Has no effect where `bars` lacks it. The new bar counts trades up to about the request; which was the last is
        not known.
        """
        if start in bars.start_ns:
            at = bars.start_ns.index(start)
            o, h, l, c, v = (column[at] for column in _values(bars))  # noqa: E741 - the usual letters for the fields of a bar
            self._put(start, _Bar(o, h, l, c, v, float("nan"), is_live=False))

    def join(
        self, start: int, bar: BarPage, prices: Sequence[float], volume: float, *, times: Sequence[int] = ()
    ) -> None:
        """Replace the running bar, which begins at `start`, by the history's `bar` plus the live trades after it.

        `start` is in ns since the epoch. `bar` is a page with one bar, empty where the history has none. `prices` are
        those of the live trades and `times` their exchange times in ns, oldest first; `volume` is that of the whole
        bar. The bar counts as joined until `mark_incomplete` is called for it or for an earlier time.
        """
        count = float("nan") if bar.start_ns else float(len(prices))
        seen = [*bar.open, *prices]
        if seen:
            high, low = max([*bar.high, *prices]), min([*bar.low, *prices])
            close = prices[-1] if prices else bar.close[0]
            last = times[-1] if times else 0
            first = times[0] if times and not bar.start_ns else 0
            joined = _Bar(seen[0], high, low, close, volume, count, is_live=not bar.start_ns, first=first, last=last)
            self._put(start, joined)
        with self._guard:
            self._joined.add(start)
            self.version += 1

    def bars_to_fetch(self, now: int) -> tuple[int, int] | None:
        """Return (first, second): the bars that may lack trades and have ended by `now` begin in [first, second).

        None without any. Times in ns since the epoch.
        """
        low, high = self._incomplete
        end = min(self._start_of(now), _NEVER if self._is_interrupted else high + 1)
        return (low, end) if low < end else None

    def is_incomplete(self, first: int, last: int) -> bool:
        """Return whether any bar between two times (ns since the epoch) may lack trades.

        A bar in which history and live trades were joined exactly does not.
        """
        with self._guard:
            low, high = self._incomplete
            begin = max(self._start_of(first), low)
            end = min(self._start_of(last), _NEVER if self._is_interrupted else high)
            known = self._starts[bisect_left(self._starts, begin) : bisect_right(self._starts, end)]
            open_ = [start for start in known if start not in self._joined]
            # Bars with neither history nor trades may be missing as well.
            return begin <= end and (bool(open_) or not known)

    def newest_bars(self, most: int) -> BarsData:
        """Return the newest `most` bars as arrays for a chart, oldest first.

        The cost does not grow with the number of all bars.
        """
        with self._guard:
            starts = self._starts[-most:]
            bars = [self._bars[start] for start in starts]
        columns = np.array([bar[:5] for bar in bars], "float64").reshape(len(bars), 5).T
        return BarsData(np.array(starts, "int64"), *columns)

    def frame(self, now: int, *, newest: int | None = None) -> pd.DataFrame:
        """Return one row a bar, oldest first, in memory of its own; an interval without a trade has no row.

        `newest` is the number of rows at most, None for all. `now` is in ns since the epoch: bars that had ended by
        then can be complete.

        Index `ts` (start of the bar, UTC); open, high, low, close, volume, trades (NaN where the history gives none)
        float64; `source` is "history", "live", "corrected" for a live one that a late or corrected trade changed after
        its end, "history+live" where both are joined exactly, or "estimate" before; `complete` bool: the bar has ended
        and no trade of it is missing.
        """
        with self._guard:
            chosen = self._starts[:] if newest is None else self._starts[-newest:]
            bars = [self._bars[start] for start in chosen]
            low, high = self._incomplete
            high = _NEVER if self._is_interrupted else high
            joined, corrected = self._joined.copy(), self._corrected.copy()
        starts = np.array(chosen, "int64")
        names = _Bar._fields[:6]
        numbers = np.array([bar[:6] for bar in bars], "float64").reshape(len(bars), len(names))
        running = self._start_of(now)
        index = pd.DatetimeIndex(utc_times(starts), name="ts")
        frame = pd.DataFrame(numbers, columns=pd.Index(names), index=index)
        is_incomplete = (starts >= low) & (starts <= high)
        live = ("corrected" if start in corrected else "live" for start in chosen)
        sources = [each if bar.is_live else "history" for each, bar in zip(live, bars, strict=True)]
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
            self._corrected.discard(start)
        del self._starts[:surplus]


def _values(bars: BarPage) -> tuple[list[float], ...]:
    return bars.open, bars.high, bars.low, bars.close, bars.volume


def _with(bar: _Bar | None, ts: int, price: float, size: float) -> _Bar:
    """Return a bar after one more trade at exchange time `ts` (ns); `bar` None for the first trade of a bar."""
    if bar is None:
        return _Bar(price, price, price, price, size, 1, is_live=True, first=ts, last=ts)
    high, low = max(price, bar.high), min(price, bar.low)  # NaN where no trade counted
    is_first, is_last = ts < bar.first, ts >= bar.last
    return _Bar(
        price if is_first else bar.open,
        high,
        low,
        price if is_last else bar.close,
        bar.volume + size,
        bar.trades + 1,
        is_live=True,
        first=ts if is_first else bar.first,
        last=ts if is_last else bar.last,
    )
