"""Means over time: a value counts for as long as it held, and nothing counts while nobody was listening."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from aries_nb.model import Numbers, Times

__all__ = ["Weighted", "time_weighted"]


class Weighted(NamedTuple):
    """`mean` is NaN where there is no value. `gaps` lay within, and `unknown_ns` of its time nothing is known."""

    mean: float
    gaps: int
    unknown_ns: int


def time_weighted(ts: Times, received: Times, values: Numbers, gaps: Iterable[int]) -> Weighted:
    """The mean of what holds from one row to the next, between the first row and the last; times in ns.

    Rows are in the order of arrival; one that is late counts from its own `ts`, and of several at one time the last.
    While a value is NaN nothing counts. `gaps` are when gaps began by the clock of `received`: a value then held is
    known until there, and no longer. Where no time passes, the mean is the last value.
    """
    order = np.argsort(ts, kind="stable")
    # A gap is placed by receipt, since the exchange's clock may be another; a late row must not place it too early.
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
        return Weighted(float(np.average(held[is_number], weights=weights)), touched, unknown)
    numbers = values[~np.isnan(values)]
    return Weighted(float(numbers[-1]) if len(numbers) else float("nan"), touched, unknown)
