"""Sums over many windows of one series, exact to the last bit, at a cost that does not depend on their length.

Prefix sums are kept in two parts, a sum and its rounding errors: a difference of two of them is as exact as the sum of
the rows between, however many rows came before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Numbers, Times

    Positions: TypeAlias = NDArray[np.intp]

__all__ = ["Extremes", "add_up", "between", "search_sorted", "two_product"]

SHORT = 64  # rows; windows that are shorter on average are looked through
_SPLIT = 134_217_729.0  # 2**27 + 1: halves the digits of a float64


def two_sum(a: Numbers, b: Numbers) -> tuple[Numbers, Numbers]:
    """Return the rounded sums and their errors: together exactly a + b (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: Numbers, b: Numbers) -> tuple[Numbers, Numbers]:
    """Return the rounded products and their errors: together exactly a · b (Dekker)."""
    product = a * b
    high_a, high_b = _high(a), _high(b)
    low_a, low_b = a - high_a, b - high_b
    return product, ((high_a * high_b - product) + high_a * low_b + low_a * high_b) + low_a * low_b


def _high(a: Numbers) -> Numbers:
    scaled = _SPLIT * a
    high: Numbers = scaled - (scaled - a)
    return high


def add_up(total: Numbers, error: Numbers, start: int, values: Numbers, errors: Numbers | None = None) -> None:
    """Write the prefix sums of `values` from position `start` on, continued from the position before, in two parts.

    `errors` are parts of the values that their own rounding left out.
    """
    end = start + len(values)
    run = np.empty(len(values) + 1)
    run[0], run[1:] = total[start - 1], values
    sums = np.cumsum(run)
    total[start:end] = sums[1:]
    part = sums[1:] - sums[:-1]
    run[0], run[1:] = error[start - 1], (sums[:-1] - (sums[1:] - part)) + (values - part)
    if errors is not None:
        run[1:] += errors
    error[start:end] = np.cumsum(run)[1:]


def between(total: Numbers, error: Numbers, before: Positions, start: int, end: int) -> tuple[Numbers, Numbers]:
    """Return the sums of the positions after `before` up to each in [start, end), in two parts: rounded, and rest."""
    high, low = two_sum(total[start:end], -total[before])
    return two_sum(high, low + (error[start:end] - error[before]))


def search_sorted(ascending: Times | Numbers, wanted: Times | Numbers, *, side: str = "right") -> Positions:
    """Return numpy's `searchsorted` of `wanted` that ascend too, at a cost that does not depend on the whole."""
    if not len(wanted):
        return np.empty(0, np.intp)
    first = int(np.searchsorted(ascending, wanted[0], side=side))  # type: ignore[call-overload]
    last = int(np.searchsorted(ascending, wanted[-1], side=side))  # type: ignore[call-overload]
    found: Positions = first + np.searchsorted(ascending[first:last], wanted, side=side)  # type: ignore[call-overload]
    return found


class Extremes:
    """The least or greatest value of each window of a series, as the series grows.

    Windows begin and end later one after another. Between a pivot and the newest row the extreme so far is known, and
    of each row before the pivot the extreme from there to it: a window across it is two look-ups.
    """

    def __init__(self, extreme: np.ufunc) -> None:
        self._extreme = extreme
        self.forget()

    def forget(self) -> None:
        """Begin anew, as the rows before have changed."""
        self._pivot = -1
        self._first = 0
        self._before: Numbers = np.empty(0)
        self._newest = np.nan

    def of(self, values: Numbers, base: int, first: Positions, start: int, end: int) -> Numbers:
        """Return the extreme of [first[k], start + k] for each row of [start, end), positions in `values`; NaN skipped.

        `base` is how many rows there were before `values` begin: positions move as old rows are dropped.
        """
        if end - start > 1 and float((np.arange(start, end) - first).mean()) < SHORT:
            self.forget()
            low = int(first[0])
            padded = np.append(values[low:end], np.nan)
            edges = np.column_stack([first - low, np.arange(start + 1, end + 1) - low]).ravel()
            short: Numbers = self._extreme.reduceat(padded, edges)[::2]
            return short
        found = np.empty(end - start)
        at = start
        while at < end:
            begin = int(first[at - start])
            pivot = self._pivot - base
            if pivot < 0 or begin >= pivot or begin < self._first - base:
                self._pivot, self._first, self._newest = at + 1 + base, begin + base, np.nan
                self._before = self._extreme.accumulate(values[begin : at + 1][::-1])[::-1]
                found[at - start] = self._before[0]
                at += 1
                continue
            stop = start + int(np.searchsorted(first, pivot))
            run = self._extreme.accumulate(np.append(self._newest, values[at:stop]))[1:]
            before = self._before[first[at - start : stop - start] + base - self._first]
            found[at - start : stop - start] = self._extreme(before, run)
            self._newest = run[-1]
            at = stop
        return found
