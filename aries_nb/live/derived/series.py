"""`LiveSeries`: one column of one symbol, as `quotes["AAPL"]["bid_price"]` returns it, with live arithmetic."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from numbers import Real
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np
import pandas as pd

from aries_nb.errors import BoundToProcess, UsageError
from aries_nb.live.derived.plan import Plan
from aries_nb.store.derived.combined import VALUE, Combined, Operation, Side, WithNumber

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model.settings import Engine
    from aries_nb.widgets import Chart, LightChart

__all__ = ["LiveSeries"]

FrameT = TypeVar("FrameT", bound="SeriesFrame")


class SeriesFrame(Protocol):
    """Interface of the live frame of one symbol that a series is a column of."""

    symbols: tuple[str, ...]

    @property
    def df(self) -> pd.DataFrame: ...

    def tail(self, n: int = 5) -> pd.DataFrame: ...

    def last(self, span: str) -> pd.DataFrame: ...

    def on_update(self, callback: Callable[[pd.DataFrame], object]) -> Callable[[], None]: ...

    def wait(self, *, rows: int = 1, timeout: float | None = 10.0) -> Any: ...  # noqa: ANN401

    def chart(self, *columns: str, height: int = 320, engine: Engine | None = None) -> Chart | LightChart: ...


class LiveSeries(BoundToProcess, Generic[FrameT]):
    """One number column of a live frame of one symbol; kept current as that is. Any thread.

    `+ - * / // % **` and `abs` with another series of the same feed, or with a number, are live series as well: of two,
    there is a row at each row of either, with the other's newest value by arrival; NaN before both are known, while
    either is stale, and from the beginning of a gap that was not filled to the next row.
    """

    def __init__(self, frame: FrameT, column: str, *, label: str = "") -> None:
        self.frame = frame
        self.column = column
        self._label = label or f"{frame.symbols[0]}.{column}"

    @property
    def series(self) -> pd.Series[float]:
        """The values in the window as a pandas Series, index `ts` (exchange time, UTC), oldest first."""
        return self.frame.df[self.column].rename(self._label)

    @property
    def values(self) -> NDArray[np.float64]:
        """The values in the window, oldest first by exchange time; float64, NaN missing."""
        return self.frame.df[self.column].to_numpy()

    @property
    def latest(self) -> float:
        """The newest value by exchange time; NaN before the first."""
        rows = self.frame.tail(1)[self.column]
        return float(rows.iloc[-1]) if len(rows) else float("nan")

    def tail(self, n: int = 5) -> pd.Series[float]:
        """Return the `n` newest values by exchange time, oldest first."""
        return self.frame.tail(n)[self.column].rename(self._label)

    def last(self, span: str) -> pd.Series[float]:
        """Return the values of the last `span` of exchange time, such as "30s". Raises UsageError for no span."""
        return self.frame.last(span)[self.column].rename(self._label)

    def on_update(self, callback: Callable[[pd.Series[float]], object]) -> Callable[[], None]:
        """Call `callback` with the new values as a Series, on the callbacks' thread; returns what ends the calls."""
        if not callable(callback):
            what = f"{type(callback).__name__} is no function to call back"
            raise UsageError(what, advice="Pass the function itself, without brackets.")
        column = self.column
        return self.frame.on_update(lambda rows: callback(rows[column]))

    def wait(self, *, rows: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until `rows` rows have arrived since the frame was made, at most `timeout` seconds; returns the series.

        Raises as `wait` of a frame does.
        """
        self.frame.wait(rows=rows, timeout=timeout)
        return self

    def chart(self, *, height: int = 320, engine: Engine | None = None) -> Chart | LightChart:
        """Return a live line chart of the values; `height` in pixels, `engine` as in `chart` of a frame."""
        return self.frame.chart(self.column, height=height, engine=engine)

    def __len__(self) -> int:
        return len(self.frame.df)

    def __repr__(self) -> str:
        return f"<{self._label}: {self.latest:,.6g}, of {self.frame!r}>"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        bundle: dict[str, Any] = self.chart()._repr_mimebundle_(include, exclude)
        return bundle

    # Not over the values, and never an element-wise comparison; numpy's numbers leave arithmetic to the series.
    __iter__ = None
    __array_ufunc__ = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401, FBT001
        """Return the values, for numpy."""
        return self.values if dtype is None else self.values.astype(dtype)

    def __add__(self, other: LiveSeries[FrameT] | float) -> LiveSeries[FrameT]:
        return self._with(other, operator.add, "+")

    def __radd__(self, other: float) -> LiveSeries[FrameT]:
        return self._with(other, operator.add, "+", is_right=True)

    def __sub__(self, other: LiveSeries[FrameT] | float) -> LiveSeries[FrameT]:
        return self._with(other, operator.sub, "-")

    def __rsub__(self, other: float) -> LiveSeries[FrameT]:
        return self._with(other, operator.sub, "-", is_right=True)

    def __mul__(self, other: LiveSeries[FrameT] | float) -> LiveSeries[FrameT]:
        return self._with(other, operator.mul, "*")

    def __rmul__(self, other: float) -> LiveSeries[FrameT]:
        return self._with(other, operator.mul, "*", is_right=True)

    def __truediv__(self, other: LiveSeries[FrameT] | float) -> LiveSeries[FrameT]:
        return self._with(other, operator.truediv, "/")

    def __rtruediv__(self, other: float) -> LiveSeries[FrameT]:
        return self._with(other, operator.truediv, "/", is_right=True)

    def __floordiv__(self, other: LiveSeries[FrameT] | float) -> LiveSeries[FrameT]:
        return self._with(other, operator.floordiv, "//")

    def __rfloordiv__(self, other: float) -> LiveSeries[FrameT]:
        return self._with(other, operator.floordiv, "//", is_right=True)

    def __mod__(self, other: LiveSeries[FrameT] | float) -> LiveSeries[FrameT]:
        return self._with(other, operator.mod, "%")

    def __rmod__(self, other: float) -> LiveSeries[FrameT]:
        return self._with(other, operator.mod, "%", is_right=True)

    def __pow__(self, other: LiveSeries[FrameT] | float) -> LiveSeries[FrameT]:
        return self._with(other, operator.pow, "**")

    def __rpow__(self, other: float) -> LiveSeries[FrameT]:
        return self._with(other, operator.pow, "**", is_right=True)

    def __neg__(self) -> LiveSeries[FrameT]:
        return self._of_one(operator.neg, f"-{self._label}", "-")

    def __abs__(self) -> LiveSeries[FrameT]:
        return self._of_one(np.abs, f"abs({self._label})", "abs")

    def _with(
        self, other: LiveSeries[FrameT] | float, operation: Operation, sign: str, *, is_right: bool = False
    ) -> LiveSeries[FrameT]:
        if isinstance(other, LiveSeries):
            return self._with_series(other, operation, sign)
        if not isinstance(other, Real) or isinstance(other, bool):
            return NotImplemented  # type: ignore[no-any-return]
        try:
            number = float(other)
        except OverflowError:
            raise UsageError(f"{self._label} {sign} a number beyond 1.8e308", advice="Use a smaller one.") from None
        if is_right:
            label = _label(number, sign, self._label)
            return self._of_one(lambda values: operation(number, values), label, (repr(number), sign, "right"))
        label = _label(self._label, sign, number)
        return self._of_one(lambda values: operation(values, number), label, (sign, repr(number)))

    def _of_one(self, operation: Callable[[Any], Any], label: str, key: object) -> LiveSeries[FrameT]:
        frame: Any = self.frame
        plan = lambda: Plan(WithNumber(operation, self.column, label), label, shown=(VALUE,))  # noqa: E731
        made: FrameT = frame._derive((key, self.column), plan)
        return LiveSeries(made, VALUE, label=label)

    def _with_series(self, other: LiveSeries[FrameT], operation: Operation, sign: str) -> LiveSeries[FrameT]:
        left: Any = self.frame
        right: Any = other.frame
        if left._link.arrivals is not right._link.arrivals:
            what = f"{self._label} and {other._label} are of two feeds"
            raise UsageError(what, advice="Each feed numbers its rows by itself: use series of one.")
        label = _label(self._label, sign, other._label)

        def side(series: LiveSeries[FrameT], frame: Any) -> Side:  # noqa: ANN401
            return Side(series.column, frame.symbols[0], is_by_time=frame._tape._are_events, gaps=frame._gap_starts)

        def plan() -> Plan:
            return Plan(Combined(operation, side(self, left), side(other, right), label), label, shown=(VALUE,))

        key = sign, self.column, other.column, id(right)  # it is held by the frame that is made
        return LiveSeries(left._derive(key, plan, right), VALUE, label=label)


def _label(left: str | float, sign: str, right: str | float) -> str:
    texts = [f"{each:g}" if isinstance(each, float) else f"({each})" if " " in each else each for each in (left, right)]
    return f"{texts[0]} {sign} {texts[1]}"
