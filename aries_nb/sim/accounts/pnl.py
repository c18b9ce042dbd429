"""Candles of a simulated account's profit and loss since the simulation's start, by interval. Time is passed in.

Intervals: Aries' protocol page §5.1. A candle opens at the close of the one before. A generated history precedes the
minute of the start and ends at the initial value, so that candles of a minute and less contain only values that the
balances had as well. The history is coarser the further back it goes, so short intervals reach less far back than long
ones.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING

from aries_nb.sim.accounts.ledger import ZERO

if TYPE_CHECKING:
    from random import Random

__all__ = ["INTERVALS", "Candle", "Candles", "bucket_start"]

DAY = 86_400
#: In seconds; months are calendar months, the value here is the shortest length.
INTERVALS = {"15s": 15, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": DAY, "1mo": 28 * DAY}
#: Candles retained of each interval.
MAX_CANDLES = 6000
#: Reach and step of each part of the history, both in s, oldest first.
HISTORY = ((90 * DAY, DAY), (7 * DAY, 900), (6 * 3600, 15))
HISTORY_VOLATILITY = 0.2
YEAR_SECONDS = 365 * DAY
CENTS = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Candle:
    """Profit and loss of an account during one period of an `interval` such as "1m", in its currency.

    `start` is the period's start in Unix s; days and months are UTC.
    """

    interval: str
    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


def bucket_start(interval: str, time: float) -> int:
    """Return the start of the candle of an `interval` such as "1m" that contains `time`, both in Unix s."""
    if interval == "1mo":
        moment = datetime.fromtimestamp(time, UTC)
        return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp())
    seconds = INTERVALS[interval]
    return math.floor(time / seconds) * seconds


class Candles:
    """Profit-and-loss candles of all intervals of one account, beginning with a random history drawn from `rng`.

    `equity` scales the history; `value` is the present profit and loss, at which it ends. Both are in the account's
    currency.
    """

    def __init__(self, rng: Random, equity: Decimal, now: float, *, value: Decimal = ZERO) -> None:
        self._candles: dict[str, deque[Candle]] = {interval: deque(maxlen=MAX_CANDLES) for interval in INTERVALS}
        self._changed: dict[tuple[str, int], Candle] = {}
        self._value: Decimal | None = None
        for time, made_up, step in _history(rng, float(equity), bucket_start("1m", now)):
            self._observe(time, value + made_up, step)
        finest = HISTORY[-1][1]
        for time in (*range(bucket_start("1m", now), math.ceil(now), finest), now):
            self._observe(time, value, finest)
        self._changed.clear()

    def observe(self, now: float, value: Decimal) -> None:
        """Record the profit and loss at `now` (Unix s), in the account's currency, in the candles of all intervals."""
        self._observe(now, value, 0)

    def since(self, interval: str, time: float) -> list[Candle]:
        """Return the profit-and-loss candles of an interval, oldest first, from the one that contains `time` (Unix s).

        `interval` is one of `INTERVALS`, such as "1m".
        """
        first = bucket_start(interval, time)
        return [candle for candle in self._candles[interval] if candle.start >= first]

    def drain(self) -> list[Candle]:
        """Return every candle, of all intervals, that changed since the last call, each in its latest state."""
        changed = list(self._changed.values())
        self._changed.clear()
        return changed

    def _observe(self, time: float, value: Decimal, step: int) -> None:
        before = value if self._value is None else self._value
        self._value = value
        for interval, seconds in INTERVALS.items():
            if seconds < step:
                continue
            start, candles = bucket_start(interval, time), self._candles[interval]
            last = candles[-1] if candles else None
            if last is None or start > last.start:
                candle = Candle(interval, start, before, max(before, value), min(before, value), value)
                candles.append(candle)
            elif value == last.close:
                continue
            else:
                candle = Candle(interval, last.start, last.open, max(last.high, value), min(last.low, value), value)
                candles[-1] = candle
            self._changed[interval, candle.start] = candle


def _history(rng: Random, equity: float, end: int) -> list[tuple[float, Decimal, int]]:
    """Return a random walk before `end` (Unix s), oldest first, whose last value is zero.

    Each step is (time in Unix s, profit and loss, length of the step in s).
    """
    times: list[tuple[float, int]] = []
    for (reach, step), (last, _) in zip(HISTORY, (*HISTORY[1:], (0, 0)), strict=True):
        times += [(end - ago, step) for ago in range(reach, last, -step)]
    a_second = equity * HISTORY_VOLATILITY / math.sqrt(YEAR_SECONDS)
    walk = list(accumulate(rng.gauss(0.0, 1.0) * a_second * math.sqrt(step) for _, step in times))
    values = [Decimal(value - walk[-1]).quantize(CENTS) for value in walk]
    return [(time, value, step) for (time, step), value in zip(times, values, strict=True)]
