"""Windows over time of a live frame, as `quotes.rolling("30s")` and `quotes.ewm(halflife="5s")` return them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeGuard, TypeVar

from aries_nb.errors import UsageError
from aries_nb.live.derived.plan import Plan, check_names
from aries_nb.model import Kind
from aries_nb.store import RollingFrame
from aries_nb.store.derived.aggregates import (
    FORGOTTEN,
    NEGLIGIBLE,
    SIMPLE,
    Aggregate,
    Imbalance,
    RealizedVolatility,
    TimeWeightedMean,
    Vwap,
    WeightedByAge,
    checked_types,
)
from aries_nb.store.derived.windows import OVER_GAP, GapStart, Windows

__all__ = ["AgeWeights", "Rolling", "RollingColumn", "imbalance", "realized_volatility", "vwap"]

FrameT = TypeVar("FrameT", covariant=True)


class WindowedFrame(Protocol[FrameT]):
    """Interface of the live frame that windows are over."""

    kind: Kind
    symbols: tuple[str, ...]
    _tape: RollingFrame
    _name: str

    def _derive(self, key: object, plan: Callable[[], Plan]) -> FrameT: ...

    def _known_numbers(self, names: Sequence[str]) -> None: ...

    def _gap_starts(self) -> Sequence[GapStart]: ...


class Rolling(Generic[FrameT]):
    """Windows over the last `span_us` of exchange time before each row, or the last `rows` rows, by symbol.

    `text` is the window in words.
    """

    def __init__(
        self, frame: WindowedFrame[FrameT], span_us: int, text: str, *, is_over_time: bool, rows: int | None = None
    ) -> None:
        self._frame = frame
        self._rows = rows
        self._span = span_us
        self._text = text
        self._is_over_time = is_over_time

    def __getitem__(self, column: str) -> RollingColumn[FrameT]:
        """Return the windows of one number column. Raises UsageError for any other."""
        self._frame._known_numbers((column,))
        return RollingColumn(self, column)

    def agg(self, *unnamed: object, **aggregates: Aggregate | tuple[str, str]) -> FrameT:
        """Return a live frame with these columns: `vwap=anb.vwap()`, or as in pandas a column and a name.

        `mean=("price", "mean")`; the names are mean, sum, std, var, min, max, median and count. A row for each row of
        the source, and `over_gap` as in `rolling`. Raises UsageError for unknown names and for columns that the frame
        does not have.
        """
        if unnamed or not aggregates:
            what = "an aggregate has no name" if unnamed else "no aggregate was given"
            raise UsageError(what, advice='Name each: agg(vwap=anb.vwap(), mean=("price", "mean")).')
        if self._is_over_time:
            raise UsageError('weight="time" is for means', advice='Call rolling(…, weight="time")["…"].mean().')
        made: dict[str, Aggregate] = {}
        for name, wanted in aggregates.items():
            if isinstance(wanted, Aggregate):
                made[name] = wanted
            elif _is_pair_of_texts(wanted) and wanted[1] in SIMPLE:
                made[name] = SIMPLE[wanted[1]](wanted[0])
            else:
                advice = f'Pass anb.vwap(), or a column and one of {", ".join(SIMPLE)}: {name}=("price", "mean").'
                raise UsageError(f"{name}={wanted!r} is no aggregate", advice=advice)
        key = tuple((name, repr(aggregate)) for name, aggregate in made.items())
        return self._made(key, made, f"agg({', '.join(made)})")

    def _made(self, key: object, aggregates: dict[str, Aggregate], what: str) -> FrameT:
        frame = self._frame
        check_names(aggregates, [OVER_GAP])
        problem = checked_types(list(aggregates.values()), frame._tape.columns)
        if problem:
            names = ", ".join(column.name for column in frame._tape.columns)
            raise UsageError(problem, advice=f"It has {names}.")
        machine = Windows(frame.symbols, aggregates, self._span, frame._gap_starts, rows=self._rows)
        plan = Plan(machine, f"{frame._name} {what} of {self._text}", shown=tuple(aggregates), is_by_time=True)
        return frame._derive(("rolling", self._span, self._rows, self._is_over_time, key), lambda: plan)

    def __repr__(self) -> str:
        return f"<windows of {self._text} over {self._frame._name}>"


class RollingColumn(Generic[FrameT]):
    """Windows of one column; each method returns a live frame with a row for each row of the source.

    Missing values do not count; of a window without any the result is NaN. Equal to pandas'
    `df.groupby("symbol")[column].rolling(span)` on the final frame.
    """

    def __init__(self, windows: Rolling[FrameT], column: str) -> None:
        self._windows = windows
        self._column = column

    def mean(self) -> FrameT:
        """Return the mean; with `weight="time"` each value weighs as long as it held."""
        if self._windows._is_over_time:
            return self._made("mean", TimeWeightedMean(self._column))
        return self._simple("mean")

    def sum(self) -> FrameT:
        """Return the sum."""
        return self._simple("sum")

    def count(self) -> FrameT:
        """Return the number of values."""
        return self._simple("count")

    def std(self) -> FrameT:
        """Return the standard deviation, of n values by n - 1; NaN for fewer than two."""
        return self._simple("std")

    def var(self) -> FrameT:
        """Return the variance, of n values by n - 1; NaN for fewer than two."""
        return self._simple("var")

    def min(self) -> FrameT:
        """Return the least value."""
        return self._simple("min")

    def max(self) -> FrameT:
        """Return the greatest value."""
        return self._simple("max")

    def median(self) -> FrameT:
        """Return the value in the middle, of an even number of values the mean of the two in the middle."""
        return self._simple("median")

    def _simple(self, name: str) -> FrameT:
        if self._windows._is_over_time:
            raise UsageError('weight="time" is for means', advice="Leave it out.")
        return self._made(name, SIMPLE[name](self._column))

    def _made(self, name: str, aggregate: Aggregate) -> FrameT:
        return self._windows._made((self._column, name), {self._column: aggregate}, f"{self._column} {name}")

    def __repr__(self) -> str:
        return f"<{self._column} in {self._windows!r}>"


class AgeWeights(Generic[FrameT]):
    """Weights of values that halve with each `halflife_us` of their age, by symbol; `text` is that as it was given."""

    def __init__(self, frame: WindowedFrame[FrameT], halflife_us: int, text: str, column: str = "") -> None:
        self._frame = frame
        self._halflife = halflife_us
        self._text = text
        self._column = column

    def __getitem__(self, column: str) -> AgeWeights[FrameT]:
        """Return the weights of the values of one number column. Raises UsageError for any other."""
        self._frame._known_numbers((column,))
        return AgeWeights(self._frame, self._halflife, self._text, column)

    def mean(self) -> FrameT:
        """Return a live frame with the weighted mean of all values so far, a row for each row of the source.

        Equal to pandas' `df.groupby("symbol")[column].ewm(halflife=…, times=df.index).mean()`. Raises UsageError where
        no column was chosen.
        """
        frame, column = self._frame, self._column
        if not column:
            raise UsageError("no column was chosen", advice='Choose one: ewm(halflife="5s")["mid"].mean().')
        aggregate = WeightedByAge(column, self._halflife)
        span, marked = (int(times * self._halflife) for times in (NEGLIGIBLE, FORGOTTEN))
        machine = Windows(frame.symbols, {column: aggregate}, span, frame._gap_starts, marked_us=marked)
        name = f"{frame._name} {column} ewm of {self._text}"
        plan = Plan(machine, name, shown=(column,), is_by_time=True)
        return frame._derive(("ewm", column, self._halflife), lambda: plan)

    def __repr__(self) -> str:
        return f"<weights with a half-life of {self._text} over {self._frame._name}>"


def _is_pair_of_texts(value: object) -> TypeGuard[tuple[str, str]]:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(each, str) for each in value)


def vwap(price: str = "price", size: str = "size") -> Aggregate:
    """Return the volume-weighted average price of a window, for `rolling(…).agg(vwap=anb.vwap())`; names of columns."""
    return Vwap(price, size)


def realized_volatility(price: str = "price") -> Aggregate:
    """Return the square root of the sum of squared log returns from row to row within a window; not annualized."""
    return RealizedVolatility(price)


def imbalance(size: str = "size", side: str = "side") -> Aggregate:
    """Return the volume bought less that sold by aggressors as a share of both, from -1 to 1; known sides only."""
    return Imbalance(size, side)
