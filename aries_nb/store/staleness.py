"""Staleness threshold: how long a symbol may be silent, from the intervals between its own rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from aries_nb.model import Codes, Times

__all__ = ["staleness_thresholds"]

SECOND_NS = 1_000_000_000
MOMENT_NS = SECOND_NS // 10  # rows closer than this belong to one burst, whose intervals say nothing
TIMES_USUAL = 20  # random arrivals are silent for 20 times their mean interval once in 500 million intervals
LEAST_NS = 5 * SECOND_NS
FEWEST_INTERVALS = 4
UNKNOWN_NS = 300 * SECOND_NS  # assumed for a symbol with few rows


def staleness_thresholds(codes: Codes, received: Times, count: int) -> Times:
    """How long each of `count` symbols may be silent, in ns: 20 times the median interval of its rows, 5 s at least.

    `codes` and `received`, ns, are those of the newest rows in the order of arrival. Intervals of less than 0.1 s do
    not count. Where a symbol has fewer than five moments among the rows, it is 300 s (assumed), or 20 times the median
    of the intervals it has, if that is longer.
    """
    order = np.argsort(codes, kind="stable")
    codes, received = codes[order], received[order]
    ways = np.diff(received)
    counts = (codes[1:] == codes[:-1]) & (ways >= MOMENT_NS)
    owners, ways = codes[1:][counts], ways[counts]
    order = np.lexsort((ways, owners))
    owners, ways = owners[order], ways[order]
    first = np.searchsorted(owners, np.arange(count))
    numbers = np.searchsorted(owners, np.arange(count), side="right") - first
    usual = np.zeros(count, "int64")
    some = numbers > 0
    usual[some] = ways[first[some] + numbers[some] // 2]
    # Many rows without any interval that counts are one long burst.
    is_known = (numbers >= FEWEST_INTERVALS) | (np.bincount(codes, minlength=count) > 100)
    least = np.where(is_known, LEAST_NS, UNKNOWN_NS)
    longest: Times = np.maximum(usual * TIMES_USUAL, least)
    return longest
