"""Builds the candles of a chart from new rows alone, and limits their number. Draws nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from aries_nb.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Numbers, Times

__all__ = ["MOST_CANDLES", "Candle", "CandleBuckets", "Ohlc", "idle_spans", "period_us"]

# Starts in epoch milliseconds, ascending, and open, high, low, close, and volume where there is one.
Ohlc: TypeAlias = "tuple[Numbers, dict[str, Numbers]]"

MOST_CANDLES = 500
UNITS_US = {
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}


def period_us(every: str | float | timedelta) -> int:
    """Return a candle's length in us, from "500ms", "5s", "1min", "1h", "1d", a number of seconds, or a timedelta.

    A text without a number means one unit. Raises UsageError for any other text, and for a length that is not above
    zero.
    """
    microseconds = 0
    if isinstance(every, timedelta):
        microseconds = round(every.total_seconds() * 1e6)
    elif isinstance(every, str):
        match = re.fullmatch(r"\s*(\d*)\s*(ms|s|sec|min|t|h|d)\s*", every.lower())
        if match:
            unit = {"sec": "s", "t": "min"}.get(match[2], match[2])
            microseconds = int(match[1] or 1) * UNITS_US[unit]
    else:
        microseconds = round(every * 1e6)
    if microseconds <= 0:
        advice = 'Write for example "5s", "1min", "1h", or a number of seconds.'
        raise UsageError(f"every={every!r} is not a length of time", where="Candles", advice=advice)
    return microseconds


# Nights and weekends are left out of a time axis, not every quiet interval: at least so many bars and so much time must
# be missing. Every position on the axis is found by going through all spans, so their number is limited.
IDLE_BARS, IDLE_MS = 3, 3_600_000
MOST_IDLE_SPANS = 100


def idle_spans(starts: Numbers) -> list[tuple[float, float]]:
    """Return the spans without a bar, as (begin, end), between bars of one length that start at `starts`.

    All times are in epoch milliseconds. Only long ones count: at least three bars are missing, and the starts of
    the bars on both sides are at least an hour apart. Each span begins with the end of a bar and ends with the
    start of the next: with the span left out of an axis, the two are as far apart as any others. Of more than 100
    the longest are returned.
    """
    intervals = np.diff(starts)
    if not len(intervals):
        return []
    step = intervals.min()
    places = np.flatnonzero((intervals > IDLE_BARS * step) & (intervals >= IDLE_MS))
    longest = np.argsort(-intervals[places], kind="stable")[:MOST_IDLE_SPANS]
    places = places[np.sort(longest)]
    return list(zip((starts[places] + step).tolist(), starts[places + 1].tolist(), strict=True))


@dataclass(slots=True)
class Candle:
    """One candle of prices, with its volume.

    `first_us` and `last_us` are the exchange times of `open` and `close`, in us. `last_row` is the number of its newest
    row since the rolling frame began.
    """

    open: float
    high: float
    low: float
    close: float
    volume: float
    first_us: int
    last_us: int
    last_row: int


class CandleBuckets:
    """The newest candles of one instrument, at most `limit`, each `every_us` us long.

    Open and close are the first and the last price by exchange time, of equal times by arrival. A candle whose
    first rows have been evicted from the rolling frame stays whole; it is dropped with its last row.
    """

    def __init__(self, every_us: int, limit: int = MOST_CANDLES) -> None:
        self._every_us = every_us
        self._limit = limit
        self._candles: dict[int, Candle] = {}

    def extend(self, rows: NDArray[np.int64], ts: Times, prices: Numbers, sizes: Numbers | None) -> bool:
        """Add new rows to the candles; return whether any candle changed. Rows with a NaN price are skipped.

        Prints of size 0 are skipped as well: they are no trades. `rows` are their numbers since the rolling frame
        began, `ts` their times in Unix us, `prices` and `sizes` their values; with `sizes` None the volume of the
        candles is zero.
        """
        is_finite = np.isfinite(prices)
        if sizes is not None:
            is_finite &= ~(sizes <= 0)
        rows, ts, prices = rows[is_finite], ts[is_finite], prices[is_finite]
        if not len(prices):
            return False
        volumes = np.zeros(len(prices)) if sizes is None else np.nan_to_num(sizes[is_finite], nan=0.0)
        buckets = ts // self._every_us
        if np.any(ts[1:] < ts[:-1]):
            order = np.argsort(ts, kind="stable")
            rows, ts, prices, volumes, buckets = rows[order], ts[order], prices[order], volumes[order], buckets[order]
        starts = np.flatnonzero(np.concatenate([[True], buckets[1:] != buckets[:-1]]))
        ends = np.append(starts[1:], len(buckets)) - 1
        columns = (
            buckets[starts],
            prices[starts],
            np.maximum.reduceat(prices, starts),
            np.minimum.reduceat(prices, starts),
            prices[ends],
            np.add.reduceat(volumes, starts),
            ts[starts],
            ts[ends],
            np.maximum.reduceat(rows, starts),
        )
        for bucket, *bar in zip(*(column[-self._limit :].tolist() for column in columns), strict=True):
            self._merge(bucket, Candle(*bar))
        self._trim()
        return True

    def drop_before(self, row: int) -> bool:
        """Drop the candles all of whose rows have a number below `row`; return whether there were any.

        Rows are numbered from the beginning of the rolling frame; those below `row` were evicted from it.
        """
        gone = [bucket for bucket, candle in self._candles.items() if candle.last_row < row]
        for bucket in gone:
            del self._candles[bucket]
        return bool(gone)

    def drop(self, ts: Times, times: Times) -> NDArray[np.bool_]:
        """Drop the candles in which any of `times` lies; return which of `ts` lie in the same; all times in Unix us."""
        touched = np.unique(times // self._every_us)
        for bucket in touched.tolist():
            self._candles.pop(bucket, None)
        return np.isin(ts // self._every_us, touched)

    def clear(self) -> None:
        """Drop all candles of the instrument."""
        self._candles.clear()

    def columns(self) -> Ohlc:
        """Return the candles as columns: their starts, and open, high, low, close and volume by name.

        The starts are in epoch milliseconds, ascending.
        """
        buckets = sorted(self._candles)
        candles = [self._candles[bucket] for bucket in buckets]
        starts = np.array(buckets, dtype=np.float64) * (self._every_us / 1e3)
        names = ("open", "high", "low", "close", "volume")
        return starts, {name: np.array([getattr(candle, name) for candle in candles]) for name in names}

    def _merge(self, bucket: int, new: Candle) -> None:
        old = self._candles.get(bucket)
        if old is None:
            self._candles[bucket] = new
            return
        old.high, old.low = max(old.high, new.high), min(old.low, new.low)
        if new.first_us < old.first_us:
            old.open, old.first_us = new.open, new.first_us
        if new.last_us >= old.last_us:
            old.close, old.last_us = new.close, new.last_us
        old.volume += new.volume
        old.last_row = max(old.last_row, new.last_row)

    def _trim(self) -> None:
        for bucket in sorted(self._candles)[: max(0, len(self._candles) - self._limit)]:
            del self._candles[bucket]
