"""Slab: columns of one length in memory, filled once from start to end, and the DataFrame that shares this memory.

`Rows` are what is on its way from a buffer to a slab.

Rows are never written twice, so a reader may keep a slice of a slab for as long as it likes.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, islice, pairwise
from math import nan
from operator import le
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aries_nb.model import FLOAT64, INT64, NOT_A_TIME, Column, ColumnType, RecordBuffer, StoreBlock, Value, Values
from aries_nb.model.clock import MOST_AHEAD_NS
from aries_nb.store.shared_frame import SharedFrame
from aries_nb.store.texts import CodedTexts

if TYPE_CHECKING:
    import pandas as pd


__all__ = ["FEW", "Rows", "Slab", "code_type", "microseconds", "receipt_times"]

_DTYPES: dict[ColumnType, str] = {"number": "float64", "time": "int64", "integer": "int64"}
_MOST_AT_ONCE = 500  # elements; of more, numpy releases the interpreter lock
_FEW_TIMES = 10
FEW = 100  # elements; of fewer, numpy is not quicker
_NS_A_US = np.array(1_000)  # as an array: numpy would take 2 us each time to convert the number
AnyArray: TypeAlias = NDArray[Any]  # float64, int64 or codes, depending on the column


def code_type(categories: int) -> str:
    """Return the narrowest integer type for codes of so many texts."""
    return "int8" if categories < 127 else "int16" if categories < 32_767 else "int32"


class Slab:
    """Memory for `capacity` rows in columns; row 0 is row number `base` of the rolling frame.

    `origin` is the number of the first row since the frame began: a slab of another origin does not follow this one.

    `arrays` has the columns by name, those of texts as codes. `texts` are the texts of each text column: codes are
    places in it, and more may be added at its end. Times are in us since the epoch. `seq` is the arrival number of each
    row over all connections of the feed, 0 where it has none.
    """

    __slots__ = (
        "_memory", "_shared", "_texts", "arrays", "base", "capacity", "codes", "columns", "origin", "received", "seq",
        "symbols", "ts",
    )  # fmt: skip

    def __init__(
        self,
        columns: Sequence[Column],
        symbols: Sequence[str],
        *,
        capacity: int,
        base: int,
        origin: int = 0,
        texts: Mapping[str, Sequence[str]],
    ) -> None:
        self.columns = tuple(columns)
        self.symbols = tuple(symbols)
        self.capacity = capacity
        self.base = base
        self.origin = origin
        self.ts = _allocate("int64", capacity)
        self.received = _allocate("int64", capacity)
        self.seq = _allocate("int64", capacity)
        self.codes = _allocate(code_type(len(symbols)), capacity)
        self.arrays: dict[str, AnyArray] = {
            name: _allocate(code_type(len(texts[name])) if kind == "text" else _DTYPES[kind], capacity)
            for name, kind in columns
        }
        self._texts = texts
        own = {"ts": self.ts, "received": self.received, "seq": self.seq, "symbol": self.codes}
        self._memory = {name: column.data for name, column in (own | self.arrays).items()}
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

    def write(self, at: int, rows: Rows) -> None:
        """Fill all columns from position `at` on; columns of texts have their codes.

        Not by numpy assignment: of more than 500 elements it releases the interpreter lock, and while a cell computes
        it takes up to 5 ms to get the lock back, for each column.
        """
        memory, end = self._memory, at + len(rows.codes)
        where = slice(at, end)
        for (name, kind), column in zip(self.columns, rows.columns, strict=True):
            own = memory[name]
            if kind == "number" or kind == "integer":
                own[where] = column
            elif kind == "time":
                own[where] = array(INT64, map(microseconds, column))
            else:
                own[where] = array(own.format, column)
        codes = memory["symbol"]
        codes[where] = array(codes.format, rows.codes)
        memory["received"][where] = rows.received
        memory["seq"][where] = rows.seq
        if end - at < _FEW_TIMES:
            memory["ts"][where] = array(INT64, [ns // 1_000 for ns in rows.ts])
            return
        memory["ts"][where] = rows.ts if isinstance(rows.ts, array) else array(INT64, rows.ts)
        for start in range(at, end, _MOST_AT_ONCE):
            written = self.ts[start : min(start + _MOST_AT_ONCE, end)]
            np.floor_divide(written, _NS_A_US, written)

    def texts_of(self, name: str) -> Sequence[str]:
        """Return the texts of a text column, of which codes are places; more may be added at its end."""
        return self._texts[name]

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

    def has(self, row: tuple[int, int, Values], code: int, start: int, end: int) -> bool:
        """Return whether a row of a symbol, as from `row`, is at [start, end); by its times alone."""
        here = self.ts[start:end] == row[0] // 1_000
        here &= (self.received[start:end] == row[1] // 1_000) & (self.codes[start:end] == code)
        return bool(here.any())

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
        self._memory[name] = codes.data
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


class Rows(NamedTuple):
    """Rows to be written: codes, exchange times in ns, values by columns, arrival numbers, times of receipt in us.

    `columns` are arrays, of texts lists. `latest` is the latest exchange time. `last` has the place of the last row of
    each code where it is known.
    """

    codes: Sequence[int]
    ts: Sequence[int]
    columns: list[Any]
    seq: array[int]
    received: array[int]
    latest: int
    last: Mapping[int, int] | None

    @classmethod
    def of(cls, buffer: RecordBuffer, columns: Sequence[Column]) -> Rows:
        """Return the rows in a buffer, with values of these columns; at least one."""
        if buffer.blocks:
            return cls._of_blocks(buffer.blocks)
        count, width = len(buffer.codes), len(columns)
        values = [_column(kind, buffer.values[place::width]) for place, (_, kind) in enumerate(columns)]
        seq, received = _arrival_numbers(buffer.runs, count), receipt_times(buffer.marks, count)
        return cls(buffer.codes, buffer.ts, values, seq, received, max(buffer.ts), None)

    @classmethod
    def _of_blocks(cls, blocks: Sequence[StoreBlock]) -> Rows:
        received = array(INT64)
        for block in blocks:
            received.extend(array(INT64, (block.received // 1_000,)) * len(block.ts))
        if len(blocks) == 1:
            codes, ts, columns, seq, _, last = blocks[0]
            columns, numbers = list(columns), _numbers(seq)
        else:
            codes = [*chain.from_iterable(block.codes for block in blocks)]
            ts, numbers = _joined([block.ts for block in blocks]), _joined([_numbers(block.seq) for block in blocks])
            columns = [_joined(pieces) for pieces in zip(*(block.columns for block in blocks), strict=True)]
            starts = accumulate((len(block.ts) for block in blocks), initial=0)
            last = {
                code: start + at
                for start, block in zip(starts, blocks, strict=False)
                for code, at in block.last.items()
            }
        latest = max([_latest(block.ts) for block in blocks])
        return cls(codes, ts, columns, numbers, received, latest, last)

    def without_zeros(self, prices: Iterable[int]) -> None:
        """Replace 0 by NaN in the columns at these places: the price of a side that is not there."""
        for place in prices:
            column = self.columns[place]
            if 0.0 in column if len(column) <= FEW else _has_zero(np.asarray(column)):
                self.columns[place] = array(FLOAT64, [value or nan for value in column])

    def some(self, start: int, end: int) -> Rows:
        """Return the rows at the places [start, end)."""
        if not start and end == len(self.codes):
            return self
        cut = slice(start, end)
        codes, ts, seq, received = self.codes[cut], self.ts[cut], self.seq[cut], self.received[cut]
        return self._replace(
            codes=codes, ts=ts, seq=seq, received=received, columns=[column[cut] for column in self.columns]
        )

    def newest(self, *, are_events: bool) -> Mapping[int, int]:
        """Return the place of the newest row of each code: by its time where they are events, else the last.

        One more than five minutes ahead of its receipt has a wrong time, and is none.
        """
        codes, ts, received = self.codes, self.ts, self.received
        order: Iterable[int] = range(len(codes))
        if self.latest > received[0] * 1_000 + MOST_AHEAD_NS:
            order = [at for at in order if ts[at] <= received[at] * 1_000 + MOST_AHEAD_NS]
        if are_events and not _is_ascending(ts):
            order = sorted(order, key=ts.__getitem__)
        elif isinstance(order, range):
            return self.last or dict(zip(codes, order, strict=True))  # it keeps the last place of each code
        return {codes[at]: at for at in order}


def microseconds(ns: Value) -> int:
    """Return a time in ns in us, rounded down; `NOT_A_TIME` stays as it is."""
    assert isinstance(ns, int), "times are whole numbers"
    return ns if ns == NOT_A_TIME else ns // 1_000


def _column(kind: ColumnType, values: list[Any]) -> array[Any] | list[Any]:
    return values if kind == "text" else array(FLOAT64 if kind == "number" else INT64, values)


def _joined(pieces: Sequence[Any]) -> Any:  # noqa: ANN401 - arrays of one type, or lists
    if isinstance(pieces[0], array):
        return array(pieces[0].typecode, b"".join(pieces))
    return [*chain.from_iterable(pieces)]


def _numbers(seq: Sequence[int]) -> array[int]:
    if isinstance(seq, range) and len(seq) > FEW:
        return array(INT64, np.arange(seq.start, seq.stop, seq.step).tobytes())
    return array(INT64, seq)


def _latest(ts: array[int]) -> int:
    return max(ts) if len(ts) <= FEW else int(np.asarray(ts).max())


def _has_zero(column: AnyArray) -> bool:
    all_of = np.logical_and.reduce
    return not all(all_of(column[start : start + _MOST_AT_ONCE]) for start in range(0, len(column), _MOST_AT_ONCE))


def _is_ascending(ts: Sequence[int]) -> bool:
    return all(map(le, ts, islice(ts, 1, None)))


def _arrival_numbers(runs: Sequence[tuple[int, int]], count: int) -> array[int]:
    """Return the arrival number of each of `count` records, from runs of (place, number less place); 0 before them."""
    if len(runs) == 1 and not runs[0][0]:  # most often
        return array(INT64, range(runs[0][1], runs[0][1] + count))
    numbers = array(INT64, bytes(8 * (runs[0][0] if runs else count)))
    for (start, offset), (end, _) in pairwise((*runs, (count, 0))):
        numbers.extend(range(start + offset, end + offset))
    return numbers


def receipt_times(marks: Sequence[tuple[int, int]], count: int) -> array[int]:
    """Return the time of receipt, in us, of each of `count` records.

    `marks` are pairs (number of records so far, time in ns). Raises ValueError where they do not cover all records.
    """
    received = array(INT64)
    for upto, when in marks:
        received.extend(array(INT64, (when // 1_000,)) * (upto - len(received)))
    if len(received) < count:
        raise ValueError("records without a time of receipt")
    return received
