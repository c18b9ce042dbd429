"""Joins the history's part of a running bar with its live trades: finds the trade from which these continue it.

An answer of the history has the volume of the bar so far, but does not say up to which trade. The volume before the
first live trade, called the base, is the same in every answer. Each answer allows only the bases that result from a cut
somewhere among the live trades received around it; after a few answers a single base is left that all of them allow.
Pure: reads no clock.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BarJoin", "HistoryBar", "LiveTrades"]

DIGITS = 6  # decimals of a volume, so that sums of fractions compare equal
AGREEING = 2  # answers that must agree on a base where more than one cut was possible


class HistoryBar(NamedTuple):
    """The running bar as one answer of the history has it; `close` is NaN where the history had no such bar.

    It was requested at `asked` and received at `answered`, ns since the epoch by our clock. `volume` is in the
    history's unit.
    """

    asked: int
    answered: int
    close: float
    volume: float


class LiveTrades(NamedTuple):
    """The live trades of the running bar as arrays, in the order of arrival; `received` in ns since the epoch."""

    received: NDArray[np.int64]
    prices: NDArray[np.float64]
    sizes: NDArray[np.float64]


class BarJoin:
    """Finds the base of one running bar: the volume that the history counts before the first live trade.

    `lag_ns` is the largest difference in delay between the history and the live trades. Assumed: the close is the price
    of the last trade counted, and the history counts every trade in the order in which the live trades arrive. Where
    this does not hold, answers contradict each other and there is no base. Used by one thread.
    """

    def __init__(self, *, lag_ns: int) -> None:
        self._lag_ns = lag_ns
        self._bases: set[float] | None = None
        self._answers = 0

    def add(self, answer: HistoryBar, trades: LiveTrades) -> float | None:
        """Take one answer of the history; return the bar's volume before the first live trade if one is possible only.

        Returns None where several are, where a second answer must confirm it, and where the answers contradict each
        other: then the earlier ones are discarded. Volumes are in the history's unit. `trades` are all from the first
        live trade to `lag_ns` after the answer. The answer must have been requested `lag_ns` after the first live trade
        could arrive, or later.
        """
        first = int(np.searchsorted(trades.received, answer.asked - self._lag_ns))
        last = int(np.searchsorted(trades.received, answer.answered + self._lag_ns, side="right"))
        counted = np.concatenate([[0.0], trades.sizes.cumsum()])[first : last + 1]
        # Only live trades have a price to compare; before the first of them any close fits.
        prices = np.concatenate([[math.nan], trades.prices])[first : last + 1]
        is_close = (prices == answer.close) | np.isnan(prices) | math.isnan(answer.close)
        left = np.round(answer.volume - counted[is_close], DIGITS)
        bases = set(left[left >= 0].tolist())
        self._answers += 1
        self._bases = bases if self._bases is None else self._bases & bases
        if not self._bases:  # the answer was older than the others, or counts other trades than we do: start again
            self._bases, self._answers = bases or None, min(len(bases), 1)
            return None
        is_sure = len(self._bases) == 1 and (first == last or self._answers >= AGREEING)
        return next(iter(self._bases)) if is_sure else None
