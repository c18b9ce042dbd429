"""A slab: preallocated columns of one width, filled once from left to right, and the DataFrame that shares them.

Rows once written are never written again, so whoever holds a piece of a slab may read it for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.model import Column, ColumnType

__all__ = ["Slab", "code_type"]

_DTYPES: dict[ColumnType, str] = {"number": "float64", "time": "int64", "integer": "int64", "text": "int8"}
_TIME = pd.DatetimeTZDtype("ns", "UTC")
AnyArray: TypeAlias = NDArray[Any]  # float64, int64 or codes, as the column is


def code_type(categories: int) -> str:
    """The narrowest integer that pandas uses for codes of so many categories; any other would be copied."""
    return "int8" if categories <= 127 else "int16" if categories <= 32_767 else "int32"


class Slab:
    """Columns for `capacity` rows; row 0 is absolute row number `base` of the tape.

    `numbers` is one (columns, capacity) block, so that a batch of all-number rows is written in one go; `arrays` holds
    every other column by name, texts as codes.
    """

    __slots__ = ("arrays", "base", "capacity", "codes", "columns", "frame", "numbers", "received", "symbols", "ts")

    def __init__(
        self, columns: Sequence[Column], symbols: Sequence[str], *, capacity: int, base: int, wide: frozenset[str]
    ) -> None:
        self.columns = tuple(columns)
        self.symbols = tuple(symbols)
        self.capacity = capacity
        self.base = base
        self.ts = np.empty(capacity, "int64")
        self.received = np.empty(capacity, "int64")
        self.codes = np.zeros(capacity, code_type(len(symbols)))
        self.numbers = np.empty((sum(column.type == "number" for column in columns), capacity))
        self.arrays: dict[str, AnyArray] = {}
        row = 0
        for name, kind in columns:
            if kind == "number":
                self.arrays[name] = self.numbers[row]
                row += 1
            else:
                self.arrays[name] = np.zeros(capacity, "int16" if name in wide else _DTYPES[kind])
        self.frame = pd.DataFrame()

    def build_frame(self, texts: dict[str, list[str]]) -> None:
        """Make the DataFrame over the whole slab, sharing its memory; again when a text column has a new category."""
        data: dict[str, object] = {
            "received": pd.array(self.received, dtype=_TIME, copy=False),
            "symbol": _categorical(self.codes, self.symbols),
        }
        for name, kind in self.columns:
            array = self.arrays[name]
            if kind == "text":
                data[name] = _categorical(array, texts[name])
            else:
                data[name] = pd.array(array, dtype=_TIME, copy=False) if kind == "time" else array
        index = pd.DatetimeIndex(pd.array(self.ts, dtype=_TIME, copy=False), name="ts", copy=False)
        self.frame = pd.DataFrame(data, index=index, copy=False)

    def copy_from(self, other: Slab, start: int, end: int) -> None:
        """Take rows `start` to `end` of another slab (positions there) as the first rows here."""
        count = end - start
        self.ts[:count] = other.ts[start:end]
        self.received[:count] = other.received[start:end]
        self.codes[:count] = other.codes[start:end]
        for name, array in self.arrays.items():
            array[:count] = other.arrays[name][start:end]


def _categorical(codes: AnyArray, categories: Sequence[str]) -> pd.Categorical[str]:
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(categories), dtype="str"), validate=False)
