"""One column a symbol, one row an interval: the newest value of each symbol at the end of each interval."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from aries_nb.model import Codes, Numbers, Times

__all__ = ["MOST_INSTANTS", "Ticks", "instants", "wide"]

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
            before = np.flatnonzero(received <= start)
            if len(before):
                # By the exchange's clock; the smallest latency, as a late row says nothing about the clocks.
                newest = before[-ROWS_OF_LAG:]
                begin = start - int((received[newest] - ts[newest]).min())
                is_known &= (at <= begin) | (received[np.maximum(place, 0)] > start)
        found[is_known, code] = values[place[is_known]]
    return found
