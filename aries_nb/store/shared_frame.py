"""DataFrames over memory of ours, which users read without a copy and cannot write to."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.store.texts import CodedTexts
from aries_nb.store.values import TIME_TYPE

__all__ = ["SharedFrame"]

AnyArray: TypeAlias = NDArray[Any]


class SharedFrame:
    """A DataFrame over read-only arrays: what users take of it shares the memory until they write to it.

    `ts` are the times of the index; `columns` by name: numbers, times (those in `times`; in us since the epoch) or
    texts. The arrays of numbers and times must be read-only, as pandas' `.array` gives users the array itself, and
    must not share memory with one another. A write by
    pandas copies first, as long as pandas knows of another owner of the memory. So `frame` stays in memory after this
    object until no DataFrame of a user shares its memory.
    """

    def __init__(self, ts: AnyArray, columns: Mapping[str, AnyArray | CodedTexts], *, times: Sequence[str]) -> None:
        arrays = [ts, *(column for column in columns.values() if isinstance(column, np.ndarray))]
        before = _references(arrays)
        index = pd.DatetimeIndex(pd.array(ts, dtype=TIME_TYPE, copy=False), name="ts", copy=False)
        self._series = {
            name: pd.Series(
                pd.array(column, dtype=TIME_TYPE, copy=False) if name in times else column,
                index=index,
                copy=False,
            )
            for name, column in columns.items()
        }
        own = [now - then for now, then in zip(_references(arrays), before, strict=True)]
        # The index is named: else pandas looks for the union of those of the columns, which takes longer than the rest.
        self.frame = pd.DataFrame(self._series, index=index, copy=False)
        # Last: the parts of an object end in this order, and what is left then is shared with a user.
        self._end = _shared.keep_after(_Columns(self._series, arrays, own))

    def replace(self, name: str, texts: CodedTexts) -> None:
        """Put another column of texts in the place of one; DataFrames made before stay as they are."""
        self._series[name] = pd.Series(texts, index=self.frame.index, copy=False)
        self.frame = pd.DataFrame(self._series, index=self.frame.index, copy=False)


class _Columns(NamedTuple):
    """The columns of a SharedFrame, the arrays in them, and the number of references that they have to each array."""

    series: dict[str, pd.Series[Any]]
    arrays: list[AnyArray]
    own: list[int]

    def is_shared(self) -> bool:
        """Whether anything else refers to an array: a DataFrame, column or array of a user."""
        nothing = _references([np.empty(0)])[0]
        return any(now > own + nothing for now, own in zip(_references(self.arrays), self.own, strict=True))


class _End:
    """An object to be waited for."""


class _SharedFrames:
    """The columns of SharedFrames that are gone, as long as a user shares memory with them. Any thread."""

    def __init__(self) -> None:
        self._columns: list[_Columns] = []
        self._guard = threading.RLock()  # of it; reentrant: the garbage collector may end a frame while it is held

    def keep_after(self, columns: _Columns) -> object:
        """Return an object after the end of which `columns` are kept as long as a user shares memory with them."""
        self._sweep()
        end = _End()
        weakref.finalize(end, self._keep, columns).atexit = False
        return end

    def _keep(self, columns: _Columns) -> None:
        with self._guard:
            self._columns.append(columns)
        self._sweep()

    def _sweep(self) -> None:
        with self._guard:
            self._columns = [columns for columns in self._columns if columns.is_shared()]


def _references(arrays: Sequence[AnyArray]) -> list[int]:
    return [sys.getrefcount(array) for array in arrays]


_shared = _SharedFrames()
