"""What is computed over the rows of a window: mean, sum, std, …, VWAP, realized volatility, order-flow imbalance.

An aggregate has some arrays of each symbol's `Track`, which it continues as rows are added, and computes the value of
each window from them. Values that are missing or infinite do not count, as in pandas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from aries_nb.store.derived.medians import Medians
from aries_nb.store.derived.sums import Extremes, add_up, between, search_sorted, two_product

if TYPE_CHECKING:
    from aries_nb.model import Column, Numbers
    from aries_nb.store.derived.rows import NewRows
    from aries_nb.store.derived.sums import Positions
    from aries_nb.store.derived.track import Track

__all__ = [
    "FORGOTTEN",
    "NEGLIGIBLE",
    "SIMPLE",
    "Aggregate",
    "Count",
    "Extreme",
    "Imbalance",
    "Mean",
    "Median",
    "RealizedVolatility",
    "Spread",
    "Sum",
    "TimeWeightedMean",
    "Vwap",
    "WeightedByAge",
    "checked_types",
    "inputs",
]

NEGLIGIBLE = 64.0  # half-lives, after which a value has less weight than the last bit of a float64
FORGOTTEN = 10.0  # half-lives after a gap, until what is missing has less than a thousandth of the weight
US = 1e6


class Aggregate(ABC):
    """Base class: `columns` are those of the source that it takes, `width` the number of arrays that it needs.

    `place` is set to the first of its arrays in a track; before them come those of `inputs`. One thread at a time.
    """

    columns: tuple[str, ...] = ()
    width = 0
    place = 0
    takes_next = False
    """Whether a row also matters to windows that begin between it and the next."""

    def types(self) -> dict[str, str]:
        """Return the types that the columns must have, by name: "number" if not otherwise."""
        return dict.fromkeys(self.columns, "number")

    def input(self, rows: NewRows) -> Numbers:
        """Return the series that it is computed from, NaN where it does not count; a hook, its first column."""
        return finite(rows.values(self.columns[0]))

    @abstractmethod
    def extend(self, track: Track, start: int, end: int) -> None:
        """Continue its arrays over the positions [start, end) of a track."""

    @abstractmethod
    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:
        """Return the value of each window [first[k], start + k] of a track, for the positions [start, end)."""


def finite(values: Numbers) -> Numbers:
    """Return numbers with NaN in place of infinite ones, as pandas' windows take them."""
    return values if np.isfinite(values).all() else np.where(np.isinf(values), np.nan, values)


@dataclass
class Count(Aggregate):
    """The number of values."""

    column: str

    def __post_init__(self) -> None:
        self.columns, self.width = (self.column,), 2

    def extend(self, track: Track, start: int, end: int) -> None:
        """Count the values."""
        value, count = track.floats[self.place], track.floats[self.place + 1]
        count[start:end] = count[start - 1] + np.cumsum(~np.isnan(value[start:end]))

    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:
        """Return the counts, 0.0 where there is no value."""
        count = track.floats[self.place + 1]
        found: Numbers = count[start:end] - count[first - 1]
        return found


@dataclass
class Sum(Aggregate):
    """The sum of the values."""

    column: str

    def __post_init__(self) -> None:
        self.columns, self.width = (self.column,), 4

    def extend(self, track: Track, start: int, end: int) -> None:
        """Add up the values, and count them."""
        value, count, total, error = track.floats[self.place : self.place + 4]
        is_value = ~np.isnan(value[start:end])
        count[start:end] = count[start - 1] + np.cumsum(is_value)
        add_up(total, error, start, np.where(is_value, value[start:end], 0.0))

    def sums(self, track: Track, first: Positions, start: int, end: int) -> tuple[Numbers, Numbers]:
        """Return counts and sums."""
        _, count, total, error = track.floats[self.place : self.place + 4]
        high, low = between(total, error, first - 1, start, end)
        return count[start:end] - count[first - 1], high + low

    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:
        """Return the sums, NaN without a value."""
        count, total = self.sums(track, first, start, end)
        return np.where(count > 0, total, np.nan)


class Mean(Sum):
    """The mean of the values."""

    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:
        """Return the means, NaN without a value."""
        count, total = self.sums(track, first, start, end)
        return _ratio(total, count)


@dataclass
class Spread(Aggregate):
    """The standard deviation of the values, or the variance; of n values by n - 1."""

    column: str
    is_variance: bool = False

    def __post_init__(self) -> None:
        self.columns, self.width = (self.column,), 8

    def extend(self, track: Track, start: int, end: int) -> None:
        """Add up the values and their squares, and note since when the value is the same."""
        value, count, total, error, squares, rest, since, filled = track.floats[self.place : self.place + 8]
        new = value[start:end]
        is_value = ~np.isnan(new)
        count[start:end] = count[start - 1] + np.cumsum(is_value)
        places = np.maximum.accumulate(np.where(is_value, np.arange(start, end), start - 1))
        filled[start:end] = np.where(places >= start, value[places], filled[start - 1])
        known = np.where(is_value, new, 0.0)
        add_up(total, error, start, known)
        square, left = two_product(known, known)
        add_up(squares, rest, start, square, left)
        # The count of values at which the run of equal ones began that each belongs to.
        begun = np.where(is_value & (new != filled[start - 1 : end - 1]), count[start:end], 0.0)
        since[start:end] = np.maximum(np.maximum.accumulate(begun), since[start - 1])

    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:
        """Return the standard deviations or variances, NaN for fewer than two values."""
        _, count, total, error, squares, rest, since, _ = track.floats[self.place : self.place + 8]
        number = count[start:end] - count[first - 1]
        sum_high, sum_low = between(total, error, first - 1, start, end)
        square_high, square_low = between(squares, rest, first - 1, start, end)
        left, left_rest = two_product(number, square_high)
        right, right_rest = two_product(sum_high, sum_high)
        apart = (left - right) + ((left_rest - right_rest) + number * square_low - 2 * sum_high * sum_low)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.maximum(apart, 0.0) / (number * (number - 1))
        found = np.where(since[start:end] <= count[first - 1] + 1, 0.0, found)  # all values are the same
        return np.where(number > 1, found if self.is_variance else np.sqrt(found), np.nan)


@dataclass
class Extreme(Aggregate):
    """The least or the greatest value."""

    column: str
    is_max: bool

    def __post_init__(self) -> None:
        self.columns, self.width = (self.column,), 1

    def extend(self, track: Track, start: int, end: int) -> None:  # noqa: ARG002
        """Have extremes, which begin anew where rows changed."""
        track.extremes.setdefault(self.place, Extremes(np.fmax if self.is_max else np.fmin))

    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:
        """Return the extremes, NaN without a value."""
        extremes: Extremes = track.extremes[self.place]
        return extremes.of(track.floats[self.place], track.base, first, start, end)


@dataclass
class Median(Aggregate):
    """The value in the middle, of an even number the mean of the two in the middle."""

    column: str

    def __post_init__(self) -> None:
        self.columns, self.width = (self.column,), 1

    def extend(self, track: Track, start: int, end: int) -> None:  # noqa: ARG002
        """Have medians, which look at the rows themselves."""
        track.medians.setdefault(self.place, Medians())

    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:
        """Return the medians, NaN without a value."""
        return track.medians[self.place].of(track.floats[self.place], track.base, first, start, end)


@dataclass
class TimeWeightedMean(Aggregate):
    """The mean over time: each value holds from its row to the next, and weighs as long as it holds within the window.

    A missing value has no weight, nor has the time from a gap's start to the symbol's next row. Where no time passes,
    the newest value.
    """

    column: str
    takes_next = True

    def __post_init__(self) -> None:
        self.columns, self.width = (self.column,), 8

    def extend(self, track: Track, start: int, end: int) -> None:
        """Add up the times that values held until each row, and the values times these."""
        value, filled, count, held, lasted, lasted_rest, total, rest = track.floats[self.place : self.place + 8]
        new = value[start:end]
        is_value = ~np.isnan(new)
        count[start:end] = count[start - 1] + np.cumsum(is_value)
        places = np.maximum.accumulate(np.where(is_value, np.arange(start, end), start - 1))
        filled[start:end] = np.where(places >= start, value[places], filled[start - 1])
        before = value[start - 1 : end - 1]
        passed = (track.ts[start:end] - track.ts[start - 1 : end - 1]).astype("float64")
        passed = np.minimum(passed, track.known[start:end])
        if start - 1 + track.base == 0:
            passed[0] = 0.0  # before the first row
        passed = np.where(np.isnan(before), 0.0, passed)
        held[start:end] = passed  # how long the value before held, as far as it is known
        add_up(lasted, lasted_rest, start, passed)
        product, left = two_product(np.where(np.isnan(before), 0.0, before), passed)
        add_up(total, rest, start, product, left)

    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:
        """Return the means over time, NaN without a value."""
        value, filled, count, held, lasted, lasted_rest, total, rest = track.floats[self.place : self.place + 8]
        high, low = between(lasted, lasted_rest, first, start, end)
        time = high + low
        high, low = between(total, rest, first, start, end)
        weighted = high + low
        # The value before the first row holds from the beginning of the window on, if it is still known then.
        begin = track.ts[start:end] - track.span
        edge = held[first] - (begin - track.ts[first - 1])
        edge = np.where(held[first] > 0, np.maximum(edge, 0.0), 0.0)
        before = np.where(edge > 0, value[first - 1], 0.0)
        time, weighted = time + edge, weighted + edge * before
        newest = np.where(count[start:end] > count[first - 1], filled[start:end], np.nan)
        return np.where(time > 0, _ratio(weighted, time), newest)


@dataclass
class WeightedByAge(Aggregate):
    """The mean where the weight of a value halves with each half-life of its age (exponentially weighted), as pandas'.

    `ewm(halflife=…, times=ts).mean()`: at a missing value it is as before.
    """

    column: str
    halflife_us: int

    def __post_init__(self) -> None:
        self.columns, self.width = (self.column,), 4

    def extend(self, track: Track, start: int, end: int) -> None:
        """Continue the means and the sums of weights."""
        value, mean, weight, seen = track.floats[self.place : self.place + 4]
        passed = track.ts[start:end] - track.ts[start - 1 : end - 1]
        if start - 1 + track.base == 0:
            passed[0] = 0
        with np.errstate(under="ignore"):
            decays = np.exp2(-passed / self.halflife_us)
        now, old = float(mean[start - 1]), float(weight[start - 1])
        means, weights = [], []
        for each, decay in zip(value[start:end].tolist(), decays.tolist(), strict=True):
            old *= decay
            if each == each:  # no NaN
                now = (old * now + each) / (old + 1.0)
                old += 1.0
            means.append(now)
            weights.append(old)
        mean[start:end], weight[start:end] = means, weights
        seen[start:end] = seen[start - 1] + np.cumsum(~np.isnan(value[start:end]))

    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:  # noqa: ARG002 - of all rows
        """Return the weighted means, NaN before the first value."""
        _, mean, _, seen = track.floats[self.place : self.place + 4]
        found: Numbers = np.where(seen[start:end] > 0, mean[start:end], np.nan)
        return found


@dataclass
class Vwap(Aggregate):
    """The mean price weighted by size (volume-weighted average price)."""

    price: str = "price"
    size: str = "size"

    def __post_init__(self) -> None:
        self.columns, self.width = (self.price, self.size), 6

    def input(self, rows: NewRows) -> Numbers:
        """Return the prices of rows with a size; the sizes are taken by `second`."""
        price, size = finite(rows.values(self.price)), finite(rows.values(self.size))
        return np.where(np.isnan(size), np.nan, price)

    def second(self, rows: NewRows) -> Numbers:
        """Return the sizes of rows with a price."""
        price, size = finite(rows.values(self.price)), finite(rows.values(self.size))
        return np.where(np.isnan(price), np.nan, size)

    def extend(self, track: Track, start: int, end: int) -> None:
        """Add up sizes and values."""
        price, size, volume, volume_rest, value, value_rest = track.floats[self.place : self.place + 6]
        sizes = np.nan_to_num(size[start:end], nan=0.0)
        add_up(volume, volume_rest, start, sizes)
        product, left = two_product(np.nan_to_num(price[start:end], nan=0.0), sizes)
        add_up(value, value_rest, start, product, left)

    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:
        """Return the prices, NaN where the window has no volume."""
        _, _, volume, volume_rest, value, value_rest = track.floats[self.place : self.place + 6]
        high, low = between(value, value_rest, first - 1, start, end)
        sizes, rest = between(volume, volume_rest, first - 1, start, end)
        return _ratio(high + low, sizes + rest)


@dataclass
class Imbalance(Aggregate):
    """The volume bought less that sold by aggressors, as a share of both: from -1 to 1. Unknown sides do not count."""

    size: str = "size"
    side: str = "side"

    def __post_init__(self) -> None:
        self.columns, self.width = (self.size, self.side), 5

    def types(self) -> dict[str, str]:
        """Return the types of the columns."""
        return {self.size: "number", self.side: "text"}

    def input(self, rows: NewRows) -> Numbers:
        """Return the sizes, of prints that were sold negative, NaN where the side is not known."""
        codes, texts = rows.values(self.side), rows.slab.texts_of(self.side)
        signs = np.array([{"buy": 1.0, "sell": -1.0}.get(text, np.nan) for text in texts] or [np.nan])
        signed: Numbers = finite(rows.values(self.size)) * signs[codes]
        return signed

    def extend(self, track: Track, start: int, end: int) -> None:
        """Add up the sizes with and without their signs."""
        value, net, net_rest, volume, volume_rest = track.floats[self.place : self.place + 5]
        sizes = np.nan_to_num(value[start:end], nan=0.0)
        add_up(net, net_rest, start, sizes)
        add_up(volume, volume_rest, start, np.abs(sizes))

    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:
        """Return the shares, NaN where the window has no volume of a known side."""
        _, net, net_rest, volume, volume_rest = track.floats[self.place : self.place + 5]
        high, low = between(net, net_rest, first - 1, start, end)
        sizes, rest = between(volume, volume_rest, first - 1, start, end)
        return _ratio(high + low, sizes + rest)


@dataclass
class RealizedVolatility(Aggregate):
    """The square root of the sum of squared log returns from row to row within the window; not annualized."""

    price: str = "price"

    def __post_init__(self) -> None:
        self.columns, self.width = (self.price,), 6

    def input(self, rows: NewRows) -> Numbers:
        """Return the logarithms of the prices, NaN where there is none."""
        values = finite(rows.values(self.price))
        return np.log(np.where(values > 0, values, np.nan))

    def extend(self, track: Track, start: int, end: int) -> None:
        """Add up the squared returns, each at the later of its two rows."""
        value, filled, count, own, total, rest = track.floats[self.place : self.place + 6]
        new = value[start:end]
        is_value = ~np.isnan(new)
        count[start:end] = count[start - 1] + np.cumsum(is_value)
        places = np.maximum.accumulate(np.where(is_value, np.arange(start, end), start - 1))
        filled[start:end] = np.where(places >= start, value[places], filled[start - 1])
        change = np.where(is_value & (count[start:end] > 1), new - filled[start - 1 : end - 1], 0.0)
        own[start:end] = change * change
        add_up(total, rest, start, own[start:end])

    def values(self, track: Track, first: Positions, start: int, end: int) -> Numbers:
        """Return the volatilities, NaN for fewer than two prices."""
        _, _, count, _, total, rest = track.floats[self.place : self.place + 6]
        number = count[start:end] - count[first - 1]
        low = int(first[0]) - 1 if len(first) else 0
        # The return of the first price is from one before the window.
        begin = low + search_sorted(count[low:end], count[first - 1])
        high, left = between(total, rest, np.minimum(begin, end - 1), start, end)
        return np.where(number > 1, np.sqrt(np.maximum(high + left, 0.0)), np.nan)


SIMPLE: dict[str, Callable[[str], Aggregate]] = {
    "mean": Mean,
    "sum": Sum,
    "count": Count,
    "std": Spread,
    "var": partial(Spread, is_variance=True),
    "min": partial(Extreme, is_max=False),
    "max": partial(Extreme, is_max=True),
    "median": Median,
}


def checked_types(aggregates: Sequence[Aggregate], columns: Sequence[Column]) -> str:
    """Return what is wrong with the columns that aggregates take, "" where nothing is."""
    known = {column.name: column.type for column in columns}
    for aggregate in aggregates:
        for name, kind in aggregate.types().items():
            if known.get(name) != kind:
                return f"{name!r} is no {kind} column of this frame"
    return ""


def inputs(aggregate: Aggregate, rows: NewRows) -> list[Numbers]:
    """Return the series of an aggregate, in the order of its first arrays."""
    return [aggregate.input(rows), aggregate.second(rows)] if isinstance(aggregate, Vwap) else [aggregate.input(rows)]


def _ratio(one: Numbers, other: Numbers) -> Numbers:
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Numbers = np.where(other > 0, one / other, np.nan)
    return found
