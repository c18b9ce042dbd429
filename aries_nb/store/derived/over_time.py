"""Values over time: the newest of each symbol at the end of each interval, and means weighted by time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from aries_nb.model import Codes, Numbers, Times

__all__ = ["MOST_INSTANTS", "Ticks", "TimeWeightedMean", "by_exchange_clock", "instants", "time_weighted", "wide"]

MOST_INSTANTS = 1_000_000
ROWS_OF_LAG = 100


class Ticks(NamedTuple):
    """Rows oldest first by exchange time: times in us since the epoch, code of the symbol, value."""

    ts: Times
    received: Times
    codes: Codes
    values: Numbers


def instants(first: int, last: int, every: int) -> Times:
    """The multiples of `every` from the first row to the last, both in us since the epoch."""
    return np.arange(-(-first // every), last // every + 1, dtype="int64") * every


def wide(ticks: Ticks, symbols: int, at: Times, gaps: Iterable[tuple[int, int | None]]) -> Numbers:
    """The values as (instants, symbols): those of the newest row at or before each instant; NaN before the first.

    `gaps` are the starts of gaps by the clock of `received`, in us, and the code of their symbol, None for all: from
    there on a value is NaN until the symbol's next row.
    """
    found = np.full((len(at), symbols), np.nan)
    all_gaps = tuple(gaps)
    for code in range(symbols):
        chosen = ticks.codes == code
        ts, received, values = ticks.ts[chosen], ticks.received[chosen], ticks.values[chosen]
        place = np.searchsorted(ts, at, side="right") - 1
        is_known = place >= 0
        for start in (start for start, of in all_gaps if of in {None, code}):
            begin = by_exchange_clock(start, ts, received)
            if len(ts):
                is_known &= (at <= begin) | (received[np.maximum(place, 0)] > start)
        found[is_known, code] = values[place[is_known]]
    return found


def by_exchange_clock(start: int, ts: Times, received: Times) -> int:
    """Return the start of a gap, given by the clock of `received`, by that of `ts`, which rows are in the order of.

    That is earlier by the smallest latency of the newest 100 rows from before the gap: a late row says nothing about
    the clocks. Without such a row, the end of time: there is nothing that the gap makes unknown.
    """
    newest = np.flatnonzero(received <= start)[-ROWS_OF_LAG:]
    if not len(newest):
        return int(np.iinfo("int64").max)
    return start - int((received[newest] - ts[newest]).min())


class TimeWeightedMean(NamedTuple):
    """The mean of a column over time; NaN without a value.

    `gaps` is the number of gaps within that time, `unknown_us` how much of the time they leave out, in us.
    """

    mean: float
    gaps: int
    unknown_us: int


def time_weighted(ts: Times, received: Times, values: Numbers, gaps: Iterable[int]) -> TimeWeightedMean:
    """Return the mean of values that hold from one row to the next, weighted by time; times in us.

    Times are in ns. Rows are in the order of arrival; a late one counts from its own `ts`, and of several with one `ts`
    the last counts. A NaN value has no weight. `gaps` are the starts of gaps by the clock of `received`: the value that
    held then is known up to that time only. Where no time passes, the mean is the last value.
    """
    order = np.argsort(ts, kind="stable")
    # A gap is located by time of receipt, since the exchange's clock may differ; a late row must not locate it too
    # early.
    ts, received, values = ts[order], np.maximum.accumulate(received[order]), values[order]
    known = np.diff(ts)
    lasted = int(known.sum())
    touched = 0
    for begin in gaps:
        place = int(np.searchsorted(received, begin, side="right")) - 1
        if 0 <= place < len(known):
            touched += 1
            known[place] = min(known[place], begin - received[place])
    unknown = lasted - int(known.sum())
    held, is_number = values[:-1], ~np.isnan(values[:-1])
    weights = known[is_number].astype("float64")
    if weights.sum() > 0:
        return TimeWeightedMean(float(np.average(held[is_number], weights=weights)), touched, unknown)
    numbers = values[~np.isnan(values)]
    return TimeWeightedMean(float(numbers[-1]) if len(numbers) else float("nan"), touched, unknown)
