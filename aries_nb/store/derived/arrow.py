"""Rows of a rolling frame as an Arrow table: the same memory, which other libraries read without a copy.

A table keeps its memory alive, which is never written again. Times are timestamps in us, UTC; texts and symbols
are dictionaries; a missing number is NaN, a missing time null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from aries_nb.model import NOT_A_TIME
from aries_nb.store.rolling import RollingFrame
from aries_nb.store.slab import Slab

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["arrow_rows", "arrow_table"]

TIME = pa.timestamp("us", tz="UTC")


def arrow_table(frame: RollingFrame) -> pa.Table:
    """Return the rows of `frame.frame()` in the same order: `ts`, `received`, `symbol`, the fields. Any thread."""
    slab, start, end, _, void = frame._published  # noqa: SLF001 - of this room
    if void.is_none and frame._order.is_ordered(slab, start, end):  # noqa: SLF001
        return _table(slab, start, end, has_seq=False)
    order = void.in_order(slab, frame._order.sorted(slab, start, end))  # noqa: SLF001
    return _table(slab, 0, end, has_seq=False).take(pa.array(order))


def arrow_rows(frame: RollingFrame, first: int) -> tuple[pa.Table, int]:
    """Return the rows from number `first` on in the order of arrival, with `seq`, and the number after the newest.

    Rows that have left the window are missing without an error. Prints that were corrected are among them.
    """
    slab, start, end, *_ = frame._published  # noqa: SLF001 - of this room
    return _table(slab, min(max(first - slab.base, start), end), end, has_seq=True), slab.base + end


def _table(slab: Slab, start: int, end: int, *, has_seq: bool) -> pa.Table:
    columns: dict[str, Any] = {"ts": _times(slab.ts[start:end]), "received": _times(slab.received[start:end])}
    columns["symbol"] = _texts(slab.codes[start:end], slab.symbols)
    for name, kind in slab.columns:
        values = slab.arrays[name][start:end]
        if kind == "text":
            columns[name] = _texts(values, slab.texts_of(name))
        else:
            columns[name] = _times(values) if kind == "time" else _shared(values, pa.from_numpy_dtype(values.dtype))
    if has_seq:
        columns["seq"] = _shared(slab.seq[start:end], pa.int64())
    return pa.table(columns)


def _shared(values: NDArray[Any], type_: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(values)])


def _times(values: NDArray[Any]) -> pa.Array:
    missing = values == NOT_A_TIME
    if missing.any():
        return pa.array(values, mask=missing).cast(TIME)
    return _shared(values, TIME)


def _texts(codes: NDArray[Any], texts: Any) -> pa.Array:  # noqa: ANN401 - a list that may grow at its end
    known = pa.array(list(texts), pa.string())
    return pa.DictionaryArray.from_arrays(_shared(codes, pa.from_numpy_dtype(codes.dtype)), known, safe=False)
