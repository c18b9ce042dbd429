"""Derived frames with a row for each row of their source: those of one symbol, and those with columns more."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from aries_nb.model import MISSING, Column, ColumnType
from aries_nb.store.derived.rows import CodedColumn, DerivedRows, NewRows, joined

if TYPE_CHECKING:
    from aries_nb.store.corrections import Pair
    from aries_nb.store.slab import AnyArray

__all__ = ["Assigned", "AssignedColumn", "DependsOnOtherRows", "OfSymbol", "RowByRow", "trial_rows", "tried"]

MOST_FAILURES = 64  # of single rows, one call: a function that always fails must not be called for each row
CHECKED_BATCHES = 8
MOST_CHECKED = 1_000  # rows
TOLERANCE = 1e-9
SHARE_MISSING = 0.1

# A user's function of a DataFrame, or a value for all rows.
AssignedColumn: TypeAlias = "Callable[[pd.DataFrame], object] | float | str"


class DependsOnOtherRows(ValueError):  # noqa: N818 - what is wrong with a function
    """A function gives other values for rows when it gets them with others: of which column, and of how many rows."""

    def __init__(self, name: str, rows: int) -> None:
        super().__init__(name, rows)
        self.name = name
        self.rows = rows

    def __str__(self) -> str:
        return f"the function of {self.name!r} depends on other rows, such as diff, cumsum, rank or a mean does"


class RowByRow(ABC):
    """Makes one row of each chosen row of a source, with its times, arrival number and place among those that count."""

    columns: tuple[Column, ...]
    symbols: tuple[str, ...]

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew, with row 0."""
        self._count = 0
        self._first = 0  # rows of the source before it were missed, or are of before the beginning

    def advance(self, new: Sequence[Sequence[NewRows]]) -> DerivedRows | None:
        """Return the rows that new rows of the source make; a row that does not count makes one that does not."""
        (pieces,) = new
        made = [self._made(piece) for piece in pieces]
        rows = joined([each for each in made if len(each)])
        pairs: list[Pair] = []
        void: list[int] = []
        for piece in pieces:
            if piece.void or piece.pairs or piece.is_void is not None:
                pairs, void = self._void(piece, pieces[-1], pairs, void)
        if rows is None:
            empty = np.empty(0, "int64")
            return DerivedRows(empty, empty, empty, empty, (), pairs, void) if void else None
        return replace(rows, pairs=pairs, void=void)

    def _made(self, piece: NewRows) -> DerivedRows:
        if piece.missed or not self._count:
            self._first = piece.first
        at = self._chosen(piece)
        columns = self._columns(piece, at)
        self._count += len(piece.ts[at])
        return DerivedRows(piece.ts[at], piece.received[at], piece.seq[at], self._codes(piece, at), columns)

    def _void(self, piece: NewRows, last: NewRows, pairs: list[Pair], void: list[int]) -> tuple[list[Pair], list[int]]:
        end = last.first + len(last)
        slab = last.slab

        def own(number: int) -> int | None:
            if number < max(self._first, slab.base):
                return None
            behind = NewRows(slab, number - slab.base, end - slab.base)
            if not self._is_chosen(behind):
                return None
            return self._count - len(behind.ts[self._chosen(behind)])

        numbers = [*piece.void]
        if piece.is_void is not None:
            numbers += (piece.first + np.flatnonzero(piece.is_void)).tolist()
        found = [(own(old), own(by)) for old, by in piece.pairs]
        pairs = [*pairs, *((old, by) for old, by in found if old is not None and by is not None)]
        return pairs, [*void, *(place for place in map(own, numbers) if place is not None)]

    def _is_chosen(self, rows: NewRows) -> bool:
        """Whether the first of these rows makes a row; a hook."""
        return len(rows) > 0

    def _chosen(self, rows: NewRows) -> slice | AnyArray:  # noqa: ARG002
        """Return the places of the rows that make one; a hook, all by default."""
        return slice(None)

    def _codes(self, rows: NewRows, at: slice | AnyArray) -> AnyArray:
        """Return the codes of the symbols of the rows at these places; a hook."""
        return rows.codes[at]

    @abstractmethod
    def _columns(self, rows: NewRows, at: slice | AnyArray) -> list[Any]:
        """Return the values of the rows at these places by columns; a hook."""


class OfSymbol(RowByRow):
    """The rows of one symbol of a source."""

    def __init__(self, columns: Sequence[Column], symbols: Sequence[str], symbol: str) -> None:
        super().__init__()
        self.columns, self.symbols = tuple(columns), (symbol,)
        self._code = list(symbols).index(symbol)

    def _is_chosen(self, rows: NewRows) -> bool:
        return len(rows) > 0 and int(rows.codes[0]) == self._code

    def _chosen(self, rows: NewRows) -> AnyArray:
        return np.flatnonzero(rows.codes == self._code)

    def _codes(self, rows: NewRows, at: slice | AnyArray) -> AnyArray:
        return np.zeros(len(rows.codes[at]), "int8")

    def _columns(self, rows: NewRows, at: slice | AnyArray) -> list[Any]:
        return [_at(rows.column(column), at) for column in self.columns]


class Assigned(RowByRow):
    """The rows of a source with columns more, which functions compute from a DataFrame of the new rows.

    `columns` are those of the source, `assigned` functions or values by name, `types` the types of their values. The
    DataFrame has the rows in the order of arrival. Where a function raises, the value of the row is missing: `errors`
    counts such rows, `error` is the newest. Its first batches are computed in two halves as well: one that depends on
    other rows raises `DependsOnOtherRows`.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        symbols: Sequence[str],
        assigned: Mapping[str, AssignedColumn],
        types: Mapping[str, ColumnType],
    ) -> None:
        super().__init__()
        self._source = {column.name for column in columns if column.name not in assigned}
        new = [Column(name, types[name]) for name in assigned if name not in {column.name for column in columns}]
        self.columns = (*(Column(name, types.get(name, kind)) for name, kind in columns), *new)
        self.symbols = tuple(symbols)
        self._assigned = dict(assigned)
        self._batches = 0
        self.errors = 0
        self.error: Exception | None = None

    def _columns(self, rows: NewRows, at: slice | AnyArray) -> list[Any]:  # noqa: ARG002 - all
        frame = rows.slab.frame.iloc[rows.start : rows.end]
        self._batches += 1
        if len(frame) > 1 and (self._batches <= CHECKED_BATCHES or not self._batches & (self._batches - 1)):
            try:
                checked_rows(frame.iloc[:MOST_CHECKED], self._assigned)
            except DependsOnOtherRows:
                raise
            except Exception as error:  # the border to the user's code
                self.error = error
        made = self._computed(frame, [MOST_FAILURES])
        return [rows.column(column) if column.name in self._source else made[column.name] for column in self.columns]

    def _computed(self, frame: pd.DataFrame, left: list[int]) -> dict[str, Any]:
        """Return the assigned columns; of rows for which a function raises, missing values."""
        try:
            made = computed(frame, self._assigned)
            return {name: values_of(made[name], self._type(name)) for name in self._assigned}
        except Exception as error:  # the border to the user's code
            self.error = error
        if len(frame) > 1 and left[0] > 0:  # which rows are the cause does not depend on what they came with
            half = len(frame) // 2
            parts = [self._computed(part, left) for part in (frame.iloc[:half], frame.iloc[half:])]
            return {name: np.concatenate([part[name] for part in parts]) for name in self._assigned}
        left[0] -= 1
        self.errors += len(frame)
        return {name: _missing(self._type(name), len(frame)) for name in self._assigned}

    def _type(self, name: str) -> ColumnType:
        return next(column.type for column in self.columns if column.name == name)


def trial_rows(
    columns: Sequence[Column], symbols: Sequence[str], count: int = 64, *, is_missing: bool = False
) -> pd.DataFrame:
    """Return rows such as a source has, to try functions with: whole numbers at random, which repeat, and no texts.

    `is_missing`: some numbers are missing, above all those in the middle, where the rows are cut to be tried in halves.
    """
    source = np.random.default_rng(1)
    index = pd.date_range("2026-01-02", periods=count, freq="s", tz="UTC", unit="us", name="ts")
    frame = pd.DataFrame({"received": index, "symbol": pd.array([*symbols] * count, "str")[:count]}, index=index)
    for name, kind in columns:
        if kind == "text":
            frame[name] = pd.array([""] * count, "str")
        else:
            frame[name] = index if kind == "time" else source.integers(90, 110, count).astype("float64")
        if is_missing and kind == "number":
            frame.loc[source.random(count) < SHARE_MISSING, name] = np.nan
            frame.loc[index[count // 2 - 2 : count // 2 + 3], name] = np.nan
    return frame


def computed(frame: pd.DataFrame, assigned: Mapping[str, AssignedColumn]) -> pd.DataFrame:
    """Return a DataFrame with the columns more, as pandas' `assign` does; raises what the functions raise."""
    made = frame.copy(deep=False)
    for name, function in assigned.items():
        value: Any = function(made) if callable(function) else function
        if value is None:
            raise TypeError(f"the function of {name!r} returned None")
        made[name] = value
        _refuse_complex(made[name])
    return made


def checked_rows(frame: pd.DataFrame, assigned: Mapping[str, AssignedColumn]) -> pd.DataFrame:
    """Return `computed`. Raises DependsOnOtherRows where the rows have other values in two halves than as a whole."""
    half = len(frame) // 2
    whole = computed(frame, assigned)
    parts = [computed(part, assigned) for part in (frame.iloc[:half], frame.iloc[half:])]
    for name in assigned:
        if not _are_same(whole[name], pd.concat([part[name] for part in parts])):
            raise DependsOnOtherRows(name, len(frame))
    return whole


def tried(
    columns: Sequence[Column], symbols: Sequence[str], rows: pd.DataFrame, assigned: Mapping[str, AssignedColumn]
) -> dict[str, ColumnType]:
    """Return the types of the values of functions, from `rows` of the source and from rows made up.

    Raises DependsOnOtherRows, what a function raises for the rows of the source, and of what it raises for those made
    up, errors of names and types: others may come of values that do not occur.
    """
    types: dict[str, ColumnType] = dict.fromkeys(assigned, "number")
    for is_missing in (True, False):
        try:
            trial = trial_rows(columns, symbols, is_missing=is_missing)
            # Warnings about made-up rows. Those of Python are for all threads: for no longer than the trial.
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore", category=RuntimeWarning):
                made = checked_rows(trial, assigned)
            types = {name: type_of(made[name]) for name in assigned}
        except DependsOnOtherRows:
            raise
        except Exception as error:  # the border to the user's code
            if not is_missing and isinstance(error, AttributeError | KeyError | NameError | TypeError):
                raise
    if len(rows):
        made = checked_rows(rows, assigned)
        types = {name: type_of(made[name]) for name in assigned}
    return types


def type_of(values: pd.Series[Any]) -> ColumnType:
    """Return the type of a column that holds these values. Raises TypeError where none does."""
    _refuse_complex(values)
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_numeric_dtype(values):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(values):
        return "time"
    if all(isinstance(value, str) or pd.isna(value) for value in values):
        return "text"
    raise TypeError(f"values of type {values.dtype} are no column of a live frame")


def values_of(values: pd.Series[Any], kind: ColumnType) -> Any:  # noqa: ANN401 - an array of this type
    """Return values as a column of this type. Raises ValueError or TypeError where they are none."""
    if kind == "number":
        return values.to_numpy("float64", na_value=np.nan)
    if kind == "time":
        times = pd.DatetimeIndex(values)
        return (times if times.tz is None else times.tz_convert("UTC").tz_localize(None)).as_unit("us").asi8
    if kind == "integer":
        return values.to_numpy("int64")
    return np.array(["" if pd.isna(value) else str(value) for value in values], "object")


def _refuse_complex(values: pd.Series[Any]) -> None:
    if pd.api.types.is_complex_dtype(values):  # pandas takes them for numbers, and drops their imaginary part
        raise TypeError("complex numbers are no column of a live frame")


def _missing(kind: ColumnType, count: int) -> AnyArray:
    return np.full(count, MISSING[kind], {"number": "float64", "text": "object"}.get(kind, "int64"))


def _are_same(one: pd.Series[Any], other: pd.Series[Any]) -> bool:
    if pd.api.types.is_numeric_dtype(one) and pd.api.types.is_numeric_dtype(other):
        left, right = one.to_numpy("float64", na_value=np.nan), other.to_numpy("float64", na_value=np.nan)
        return bool(np.allclose(left, right, rtol=TOLERANCE, atol=0, equal_nan=True))
    return bool(one.reset_index(drop=True).astype("object").equals(other.reset_index(drop=True).astype("object")))


def _at(column: AnyArray | CodedColumn, at: slice | AnyArray) -> AnyArray | CodedColumn:
    return CodedColumn(column.codes[at], column.texts) if isinstance(column, CodedColumn) else column[at]
