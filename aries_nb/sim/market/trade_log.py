"""Log of the simulated market's live trades, and bars that each contain equally many of them."""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import NamedTuple, TypeAlias

import numpy as np

from aries_nb.errors import UsageError

__all__ = ["RETAINED_TRADES", "TickBars", "TradeLog"]

#: Trades of a symbol that are retained at least; at most twice as many.
RETAINED_TRADES = 300_000
NS_PER_MS = 1_000_000

Ints: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
Floats: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]


class TickBars(NamedTuple):
    """Bars that each contain equally many trades, oldest first: `rows` are (time, open, high, low, close, volume).

    Times are Unix ms of the first trade, made strictly increasing. `older` is the number of the first of these bars, to
    pass as `end` to `TradeLog.bars` for earlier ones; None if there are none.
    """

    rows: list[tuple[int, float, float, float, float, float]]
    older: int | None


class _Trades:
    """Columns of one symbol's trades: `times` in Unix ms, `prices`, `sizes`; the oldest `dropped` ones were removed."""

    def __init__(self) -> None:
        self.dropped = 0
        self.times, self.prices, self.sizes = array("q"), array("d"), array("d")


class TradeLog:
    """The newest live trades (those since the simulation's start) of all symbols: of each at least the last 300,000."""

    def __init__(self) -> None:
        self._symbols: defaultdict[str, _Trades] = defaultdict(_Trades)

    def add(self, symbol: str, ts_ns: int, price: float, size: float) -> None:
        """Append one trade of a symbol at `ts_ns` (Unix ns, stored in whole ms).

        The oldest are dropped beyond 600,000.
        """
        trades = self._symbols[symbol]
        trades.times.append(ts_ns // NS_PER_MS)
        trades.prices.append(price)
        trades.sizes.append(size)
        if len(trades.times) >= 2 * RETAINED_TRADES:
            for column in (trades.times, trades.prices, trades.sizes):
                del column[:RETAINED_TRADES]
            trades.dropped += RETAINED_TRADES

    def trades(self, symbol: str) -> tuple[Ints, Floats, Floats]:
        """Return times (Unix ns), prices and sizes of all live trades of a symbol, oldest first.

        Raises UsageError if the oldest were dropped.
        """
        trades = self._symbols.get(symbol) or _Trades()
        if trades.dropped:
            what = f"the oldest {trades.dropped:,} live trades of {symbol} were dropped"
            raise UsageError(what, where="TradeLog", advice="Ask sooner, or lower `rate`.")
        return np.array(trades.times, "i8") * NS_PER_MS, np.array(trades.prices, "f8"), np.array(trades.sizes, "f8")

    def last(self, symbol: str) -> float | None:
        """Return the time of the symbol's last trade in Unix s; None if there was none."""
        trades = self._symbols.get(symbol)
        return trades.times[-1] / 1000 if trades else None

    def bars(self, symbol: str, size: int, count: int, end: int | None = None) -> TickBars:
        """Return the last `count` bars of `size` trades each before bar number `end`; None means up to now.

        Bars are numbered from the very first trade, so that numbers stay valid. The last bar may be incomplete.
        """
        trades = self._symbols.get(symbol)
        if trades is None:
            return TickBars([], None)
        first = -(-trades.dropped // size)  # a bar whose first trades were dropped is dropped
        skipped = first * size - trades.dropped
        times, prices, sizes = (np.array(column[skipped:]) for column in (trades.times, trades.prices, trades.sizes))
        edges = np.arange(0, len(times), size)
        if not len(edges):
            return TickBars([], None)
        order = np.arange(len(edges))
        starts = np.maximum.accumulate(times[edges] - order) + order
        last = np.minimum(edges + size, len(times)) - 1
        highs, lows = np.maximum.reduceat(prices, edges), np.minimum.reduceat(prices, edges)
        columns = (starts, prices[edges], highs, lows, prices[last], np.add.reduceat(sizes, edges))
        stop = len(edges) if end is None else max(0, min(len(edges), end - first))
        begin = max(0, stop - count)
        rows = list(zip(*(column[begin:stop].tolist() for column in columns), strict=True))
        return TickBars(rows, first + begin if begin > 0 else None)
