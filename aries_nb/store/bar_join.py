"""Where live trades go on from what the history says of a running bar.

An answer says how much was traded in the bar so far, but not up to which trade. What was traded before the first trade
that was heard, the base, is the same in every answer, however: of each, only those bases can be true that some cut of
the trades heard around it leaves. What no cut of any answer contradicts is soon a single one. Pure: no clock is read.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BarJoin", "HistoryBar", "LiveTrades"]

DIGITS = 6  # of a volume, so that sums of fractions can be compared
AGREEING = 2  # answers that must agree on a base, where more than one cut was to be had


class HistoryBar(NamedTuple):
    """What the history said of the running bar; `close` NaN where it had none. Volume in the history's unit.

    `asked` and `answered`: between these times, ns since the epoch by our clock, it was made.
    """

    asked: int
    answered: int
    close: float
    volume: float


class LiveTrades(NamedTuple):
    """The trades of the running bar in the order of arrival; `received` in ns since the epoch by our clock."""

    received: NDArray[np.int64]
    prices: NDArray[np.float64]
    sizes: NDArray[np.float64]


class BarJoin:
    """One running bar, and the bases that are still possible. One thread uses it.

    `lag_ns` is how much later at most a trade comes by one way than by the other. That the close is the price of the
    last trade counted, and that the history counts every trade in the order in which they are heard, is assumed: where
    it does not hold, answers contradict each other and there is no base.
    """

    def __init__(self, *, lag_ns: int) -> None:
        self._lag_ns = lag_ns
        self._bases: set[float] | None = None
        self._answers = 0

    def add(self, answer: HistoryBar, trades: LiveTrades) -> float | None:
        """The base, once only one is possible; `trades` is all from the first trade on, to `lag_ns` after the answer.

        It must have been asked for `lag_ns` after the first trade could be heard, or later.
        """
        first = int(np.searchsorted(trades.received, answer.asked - self._lag_ns))
        last = int(np.searchsorted(trades.received, answer.answered + self._lag_ns, side="right"))
        counted = np.concatenate([[0.0], trades.sizes.cumsum()])[first : last + 1]
        # Only trades that were heard have a price to compare; before the first of them any close will do.
        prices = np.concatenate([[math.nan], trades.prices])[first : last + 1]
        is_close = (prices == answer.close) | np.isnan(prices) | math.isnan(answer.close)
        left = np.round(answer.volume - counted[is_close], DIGITS)
        bases = set(left[left >= 0].tolist())
        self._answers += 1
        self._bases = bases if self._bases is None else self._bases & bases
        if not self._bases:  # an answer was from before the others, or counts what we do not: begin anew
            self._bases, self._answers = bases or None, min(len(bases), 1)
            return None
        is_sure = len(self._bases) == 1 and (first == last or self._answers >= AGREEING)
        return next(iter(self._bases)) if is_sure else None
