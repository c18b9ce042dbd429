"""Values of account data: exact arithmetic on decimals, and rows of Python values as pandas columns.

For stores of thousands of rows; those of millions write typed columns (`aries_nb.store.slab`).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.model import NOT_A_TIME, Column, ColumnType

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["MOST_DIGITS", "RECEIPT", "TIME_TYPE", "UNKNOWN", "ZERO", "exactly", "frame_of", "is_usable", "utc_times"]

AnyArray: TypeAlias = pd.api.extensions.ExtensionArray | NDArray[Any]

ZERO = Decimal(0)
UNKNOWN = Decimal("NaN")
MOST_DIGITS = 30  # before the decimal point and behind it; more is neither a price nor a quantity

TIME_TYPE = pd.DatetimeTZDtype("us", "UTC")  # of every time that a user sees

# Products of three usable numbers have at most 180 digits: none of them is rounded, nor any sum of many.
_EXACT = Context(prec=200, rounding=ROUND_HALF_EVEN)

# First columns of every frame of account data.
RECEIPT = (Column("ts", "time"), Column("received", "time"), Column("account", "text"))


def exactly() -> AbstractContextManager[Context]:
    """Return a context manager within which sums and products of Decimals are exact, whatever context the user has set.

    Quotients may have endless digits: the caller must round them.
    """
    return localcontext(_EXACT)


def is_usable(number: Decimal) -> bool:
    """Return whether a number is finite and has no more digits than a price or a quantity can have.

    That is 30 before the decimal point and 30 behind it.
    """
    if not number.is_finite():
        return False
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -MOST_DIGITS and number.adjusted() < MOST_DIGITS


def utc_times(nanoseconds: Sequence[int] | NDArray[np.int64]) -> pd.api.extensions.ExtensionArray:
    """Times in ns since the epoch as pandas shows them: UTC in microseconds, rounded down; NaT for `NOT_A_TIME`."""
    ns = np.asarray(nanoseconds, "int64")
    return pd.array(np.where(ns == NOT_A_TIME, NOT_A_TIME, ns // 1_000), dtype=TIME_TYPE)


def frame_of(columns: Sequence[Column], rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Return a DataFrame in memory of its own; each tuple is a row with the values of the columns in their order."""
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pd.DataFrame({name: _array(kind, each) for (name, kind), each in zip(columns, values, strict=True)})


def _array(kind: ColumnType, values: Sequence[Any]) -> AnyArray:
    """Return values as a pandas array: texts str, times UTC, integers int64, numbers and decimals float64."""
    if kind == "text":
        return pd.array(list(values), dtype="str")
    if kind == "time":
        return utc_times(values)
    return np.array(values, dtype="int64" if kind == "integer" else "float64")
