"""Slab: columns of one length in memory, filled once from start to end, and the DataFrame that shares this memory.

Rows are never written twice, so a reader may keep a slice of a slab for as long as it likes.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.model import Column, ColumnType, Value
from aries_nb.store.values import TIME_TYPE

__all__ = ["FEW", "Slab", "code_type"]

_DTYPES: dict[ColumnType, str] = {"number": "float64", "time": "int64", "integer": "int64"}
_MOST_AT_ONCE = 500  # elements; of more, numpy releases the interpreter lock
FEW = 100  # elements; of fewer, numpy is not quicker
_NS_A_US = np.array(1_000)  # as an array: numpy would take 2 us each time to convert the number
AnyArray: TypeAlias = NDArray[Any]  # float64, int64 or codes, depending on the column


def code_type(categories: int) -> str:
    """Return the narrowest integer type that pandas uses for codes of so many categories; any other would be copied."""
    return "int8" if categories < 127 else "int16" if categories < 32_767 else "int32"


class Slab:
    """Memory for `capacity` rows in columns; row 0 is row number `base` of the rolling frame.

    `arrays` has the columns by name, those of texts as codes. `texts` are the categories of each text column. Times are
    in us since the epoch. `seq` is the arrival number of each row over all connections of the feed, 0 where it has
    none. `frame` is the DataFrame of all rows, those not yet written included, without `seq`.
    """

    __slots__ = (
        "_memory", "_series", "arrays", "base", "capacity", "codes", "columns", "frame", "received", "seq", "symbols",
        "ts",
    )  # fmt: skip

    def __init__(
        self,
        columns: Sequence[Column],
        symbols: Sequence[str],
        *,
        capacity: int,
        base: int,
        texts: Mapping[str, Sequence[str]],
    ) -> None:
        self.columns = tuple(columns)
        self.symbols = tuple(symbols)
        self.capacity = capacity
        self.base = base
        self.ts = _allocate("int64", capacity)
        self.received = _allocate("int64", capacity)
        self.seq = _allocate("int64", capacity)
        self.codes = _allocate(code_type(len(symbols)), capacity)
        self.arrays: dict[str, AnyArray] = {
            name: _allocate(code_type(len(texts[name])) if kind == "text" else _DTYPES[kind], capacity)
            for name, kind in columns
        }
        own = {"ts": self.ts, "received": self.received, "seq": self.seq, "symbol": self.codes}
        self._memory = {name: (column.data, column.data.format) for name, column in (own | self.arrays).items()}
        index = pd.DatetimeIndex(pd.array(self.ts, dtype=TIME_TYPE, copy=False), name="ts", copy=False)
        # Kept as long as the slab: pandas copies on a write to a snapshot only while it knows of another owner of the
        # memory, and the `frame` from before a new category is gone.
        self._series: dict[str, pd.Series[Any]] = {}
        for name, column in self._arrays_to_show(texts):
            self._series[name] = pd.Series(column, index=index, copy=False)
        self.frame = pd.DataFrame(self._series, copy=False)

    def write(self, name: str, at: int, values: Iterable[Value]) -> None:
        """Fill a column from position `at` on; "ts", "received", "seq" and "symbol" (codes) are columns as well.

        Times are in microseconds.

        Not by numpy assignment: of more than 500 elements it releases the interpreter lock, and while a cell computes
        it takes up to 5 ms to get the lock back, for each column.
        """
        memory, format_ = self._memory[name]
        piece: array[Any] = values if isinstance(values, array) else array(format_, values)
        memory[at : at + len(piece)] = piece

    def has_zero(self, name: str, at: int, values: Sequence[Value]) -> bool:
        """Whether any of these values, which were written to a column at `at`, is 0."""
        if len(values) <= FEW:
            return 0.0 in values
        written, all_of = self.arrays[name][at : at + len(values)], np.logical_and.reduce
        return not all(all_of(written[start : start + _MOST_AT_ONCE]) for start in range(0, len(values), _MOST_AT_ONCE))

    def write_ts(self, at: int, nanoseconds: Sequence[int]) -> None:
        """Fill `ts` from position `at` on, rounded down to microseconds."""
        self.write("ts", at, nanoseconds)
        end = at + len(nanoseconds)
        for start in range(at, end, _MOST_AT_ONCE):
            written = self.ts[start : min(start + _MOST_AT_ONCE, end)]
            np.floor_divide(written, _NS_A_US, written)

    def add_categories(self, name: str, texts: Sequence[str], filled: int) -> None:
        """Set the categories of a text column to `texts`, which begin with those so far.

        The codes of the `filled` rows move to new memory: DataFrames made before keep the old memory.
        """
        codes = _allocate(code_type(len(texts)), self.capacity)
        codes[:filled] = self.arrays[name][:filled]
        self.arrays[name] = codes
        self._memory[name] = codes.data, codes.data.format
        self._series[name] = pd.Series(_categorical(codes, texts), index=self.frame.index, copy=False)
        self.frame = pd.DataFrame(self._series, copy=False)

    def copy_from(self, other: Slab, start: int, end: int) -> None:
        """Copy the rows at positions [start, end) of another slab of the same columns to the beginning of this one."""
        count = end - start
        self.ts[:count] = other.ts[start:end]
        self.received[:count] = other.received[start:end]
        self.seq[:count] = other.seq[start:end]
        self.codes[:count] = other.codes[start:end]
        for name, column in self.arrays.items():
            column[:count] = other.arrays[name][start:end]

    def _arrays_to_show(self, texts: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Any]]:
        yield "received", pd.array(self.received, dtype=TIME_TYPE, copy=False)
        yield "symbol", _categorical(self.codes, self.symbols)
        for name, kind in self.columns:
            column = self.arrays[name]
            if kind == "text":
                yield name, _categorical(column, texts[name])
            else:
                yield name, pd.array(column, dtype=TIME_TYPE, copy=False) if kind == "time" else column


def _allocate(dtype: str, count: int) -> AnyArray:
    """Return an array of zeros in a memory mapping of its own, which returns to the system with the last view of it.

    On the heap, the columns of a discarded slab would stay with the process: the allocator keeps blocks of up to 32 MB
    that it has handed out once.
    """
    octets = max(count, 1) * np.dtype(dtype).itemsize
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    return np.frombuffer(mmap.mmap(-1, octets, **private), dtype, count)


def _categorical(codes: AnyArray, categories: Sequence[str]) -> pd.Categorical[str]:
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(categories), dtype="str"), validate=False)
