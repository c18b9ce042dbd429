"""Slab: columns of one length in memory, filled once from start to end, and the DataFrame that shares this memory.

Rows are never written twice, so a reader may keep a slice of a slab for as long as it likes.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aries_nb.model import NOT_A_TIME, Column, ColumnType, Value, Values
from aries_nb.store.shared_frame import SharedFrame
from aries_nb.store.texts import CodedTexts

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FEW", "Slab", "code_type"]

_DTYPES: dict[ColumnType, str] = {"number": "float64", "time": "int64", "integer": "int64"}
_MOST_AT_ONCE = 500  # elements; of more, numpy releases the interpreter lock
FEW = 100  # elements; of fewer, numpy is not quicker
_NS_A_US = np.array(1_000)  # as an array: numpy would take 2 us each time to convert the number
AnyArray: TypeAlias = NDArray[Any]  # float64, int64 or codes, depending on the column


def code_type(categories: int) -> str:
    """Return the narrowest integer type for codes of so many texts."""
    return "int8" if categories < 127 else "int16" if categories < 32_767 else "int32"


class Slab:
    """Memory for `capacity` rows in columns; row 0 is row number `base` of the rolling frame.

    `arrays` has the columns by name, those of texts as codes. `texts` are the texts of each text column: codes are
    places in it, and more may be added at its end. Times are in us since the epoch. `seq` is the arrival number of each
    row over all connections of the feed, 0 where it has none.
    """

    __slots__ = (
        "_memory", "_shared", "_texts", "arrays", "base", "capacity", "codes", "columns", "received", "seq", "symbols",
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
        self._texts = texts
        own = {"ts": self.ts, "received": self.received, "seq": self.seq, "symbol": self.codes}
        self._memory = {name: (column.data, column.data.format) for name, column in (own | self.arrays).items()}
        columns_to_show = {name: self._shown(name, _read_only(array)) for name, array in self._columns().items()}
        self._shared = SharedFrame(_read_only(self.ts), columns_to_show, times=self._times)

    @property
    def frame(self) -> pd.DataFrame:
        """The DataFrame of all rows, those not yet written included, without `seq`; no user can write to its memory."""
        return self._shared.frame

    def all_arrays(self) -> dict[str, AnyArray]:
        """Return the memory of all columns by name: also `ts`, `received`, `seq` and `symbol` (codes)."""
        return {"ts": self.ts, "seq": self.seq, **self._columns()}

    def sorted(self, positions: NDArray[np.intp]) -> SharedFrame:
        """Return the rows at these positions in memory of their own, which no user can write to."""
        columns = {name: self._shown(name, _locked(array[positions])) for name, array in self._columns().items()}
        return SharedFrame(_locked(self.ts[positions]), columns, times=self._times)

    def write(self, name: str, at: int, values: Iterable[Value]) -> None:
        """Fill a column from position `at` on; "ts", "received", "seq" and "symbol" (codes) are columns as well.

        Times are in microseconds.

        Not by numpy assignment: of more than 500 elements it releases the interpreter lock, and while a cell computes
        it takes up to 5 ms to get the lock back, for each column.
        """
        memory, format_ = self._memory[name]
        piece: array[Any] = values if isinstance(values, array) else array(format_, values)
        memory[at : at + len(piece)] = piece

    def text(self, name: str, at: int) -> str:
        """Return the text of a text column at a position."""
        return self._texts[name][int(self.arrays[name][at])]

    def row(self, at: int) -> tuple[int, int, Values]:
        """Return the row at a position: exchange time and receipt in ns since the epoch, values as in a record."""
        values: list[Value] = []
        for name, kind in self.columns:
            value = self.arrays[name][at].item()
            is_known_time = kind == "time" and value != NOT_A_TIME
            values.append(self.text(name, at) if kind == "text" else value * 1_000 if is_known_time else value)
        return int(self.ts[at]) * 1_000, int(self.received[at]) * 1_000, tuple(values)

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

    def widen(self, name: str, filled: int) -> None:
        """Make room for the codes of a text column that has more texts now, if there is none.

        The codes of the `filled` rows move to new memory: DataFrames made before keep the old memory.
        """
        wanted = code_type(len(self._texts[name]))
        if self.arrays[name].dtype == wanted:
            return
        codes = _allocate(wanted, self.capacity)
        codes[:filled] = self.arrays[name][:filled]
        self.arrays[name] = codes
        self._memory[name] = codes.data, codes.data.format
        self._shared.replace(name, CodedTexts.of(codes, self._texts[name]))

    def copy_from(self, other: Slab, start: int, end: int) -> None:
        """Copy the rows at positions [start, end) of another slab of the same columns to the beginning of this one."""
        count = end - start
        self.ts[:count] = other.ts[start:end]
        self.received[:count] = other.received[start:end]
        self.seq[:count] = other.seq[start:end]
        self.codes[:count] = other.codes[start:end]
        for name, column in self.arrays.items():
            column[:count] = other.arrays[name][start:end]

    @property
    def _times(self) -> tuple[str, ...]:
        return ("received", *(name for name, kind in self.columns if kind == "time"))

    def _columns(self) -> dict[str, AnyArray]:
        return {"received": self.received, "symbol": self.codes, **self.arrays}

    def _shown(self, name: str, array: AnyArray) -> AnyArray | CodedTexts:
        if name == "symbol":
            return CodedTexts.of(array, self.symbols)
        return CodedTexts.of(array, self._texts[name]) if name in self._texts else array


def _allocate(dtype: str, count: int) -> AnyArray:
    """Return an array of zeros in a memory mapping of its own, which returns to the system with the last view of it.

    On the heap, the columns of a discarded slab would stay with the process: the allocator keeps blocks of up to 32 MB
    that it has handed out once.
    """
    octets = max(count, 1) * np.dtype(dtype).itemsize
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    return np.frombuffer(mmap.mmap(-1, octets, **private), dtype, count)


def _read_only(array: AnyArray) -> AnyArray:
    """Return an array of the same memory that cannot be made writeable."""
    return np.frombuffer(array.data.toreadonly(), array.dtype, len(array))


def _locked(array: AnyArray) -> AnyArray:
    array.flags.writeable = False
    return array
