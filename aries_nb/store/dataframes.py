"""Rows of plain Python values to pandas columns, for stores of thousands of rows and not of millions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.model import Column, ColumnType

__all__ = ["RECEIPT", "frame_of"]

AnyArray: TypeAlias = pd.api.extensions.ExtensionArray | NDArray[Any]

# What stands before the fields in every frame of account data.
RECEIPT = (Column("ts", "time"), Column("received", "time"), Column("account", "text"))


def frame_of(columns: Sequence[Column], rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """One row a tuple, in a memory of its own. Each tuple holds the values of the columns in their order."""
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pd.DataFrame({name: _array(kind, each) for (name, kind), each in zip(columns, values, strict=True)})


def _array(kind: ColumnType, values: Sequence[Any]) -> AnyArray:
    """The values as pandas shows them: texts str, times UTC, integers int64, numbers and decimals float64."""
    if kind == "text":
        return pd.array(list(values), dtype="str")
    if kind == "time":
        return pd.array(np.array(values, dtype="int64"), dtype=pd.DatetimeTZDtype("ns", "UTC"))
    return np.array(values, dtype="int64" if kind == "integer" else "float64")
