"""Records by columns, for the protocols of all brokers: fields of many messages as arrays, and blocks of records."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import chain, compress
from typing import Any

import numpy as np

from aries_nb.brokers.parsing import SECONDS_AS_MS_NS
from aries_nb.model import FLOAT64, INT64, Block, ColumnType, ValueColumn

__all__ = [
    "EARLIEST_MS",
    "FORMATS",
    "chosen",
    "column_values",
    "each_of",
    "in_nanoseconds",
    "renumbered",
    "rows_at",
    "without_empty_sides",
]

EARLIEST_MS = SECONDS_AS_MS_NS // 1_000_000  # a smaller number is a time in another unit
FORMATS: Mapping[ColumnType, str] = {"number": FLOAT64, "time": INT64, "integer": INT64}  # texts are in lists
_FEW = 50  # values; of fewer, `array` is quicker than `struct`
_MOST_AT_ONCE = 500  # elements; of more, numpy releases the interpreter lock
_NS_A_MS = np.array(1_000_000)  # as an array: numpy would take 2 us each time to convert the number


@cache
def each_of(names: Sequence[str]) -> Callable[[Sequence[Any]], tuple[list[Any], ...]]:
    """Return a function that returns a list for each of these fields of many structs: names of ours, no server's."""
    # With the names in the code, a comprehension takes half the time of `attrgetter`.
    lists = "".join(f"[each.{name} for each in structs], " for name in names)
    return eval(f"lambda structs: ({lists})", {})  # type: ignore[no-any-return]  # noqa: S307


def column_values(format: str, column: Sequence[Any]) -> ValueColumn:  # noqa: A002 - as array has it
    """Return the values of a field as a block has them: an array of this format, "" for a list of texts.

    Raises TypeError if any value is missing, OverflowError if one is too large.
    """
    if not format:
        "".join(column)
        return list(column)
    if len(column) > _FEW:
        with_count = f"{len(column)}{format}"
        try:
            return array(format, struct.pack(with_count, *column))  # a third of the time
        except struct.error:
            pass
    return array(format, column)


def without_empty_sides(
    columns: Sequence[ValueColumn], sides: Sequence[tuple[int, int, int | None]]
) -> list[ValueColumn]:
    """Return the columns of quotes as `model.prices.empty_sides` has it; `sides` are the places that it takes."""
    found = list(columns)
    for price, size, other in sides:
        is_empty = np.asarray(columns[size]) == 0
        if is_empty.any():
            is_empty &= other is None or np.asarray(columns[other]) != 0
            found[price] = array(FLOAT64, np.where(is_empty, np.nan, np.asarray(columns[price])).tobytes())
    return found


def in_nanoseconds(times: Sequence[int]) -> array[int]:
    """Return times in ms as an array of times in ns."""
    ns = column_values(INT64, times)
    assert isinstance(ns, array)
    every = np.frombuffer(ns, INT64)
    for start in range(0, len(every), _MOST_AT_ONCE):
        some = every[start : start + _MOST_AT_ONCE]
        np.multiply(some, _NS_A_MS, some)
    return ns


def rows_at(columns: Sequence[Sequence[Any]], places: Collection[int]) -> list[tuple[Any, ...]]:
    """Return rows out of columns of equal length, those at some places."""
    if len(places) * 8 < len(columns[0]):
        return [tuple([column[at] for column in columns]) for at in places]
    rows = list(zip(*columns, strict=True))  # quicker for many of the rows
    return [rows[at] for at in places]


def chosen(block: Block, is_chosen: Sequence[bool]) -> Block:
    """Return those records of a block that are chosen, with the numbers that they have."""
    which, numbers = list(compress(block.which, is_chosen)), list(compress(block.numbers, is_chosen))
    columns: list[ValueColumn] = []
    for column in block.columns:
        some = list(compress(column, is_chosen))
        columns.append(array(column.typecode, some) if isinstance(column, array) else some)
    ts = array(INT64, compress(block.ts, is_chosen))
    last = dict(zip(which, range(len(which)), strict=True))
    return Block(block.subscriptions, which, ts, columns, numbers, last)


def renumbered(blocks: Sequence[Block], ends: Sequence[int]) -> tuple[list[Block], list[int]]:
    """Return blocks and ends of frames numbered without the messages between the records that have none."""
    numbers = sorted(chain.from_iterable(each.numbers for each in blocks))
    places = {number: place for place, number in enumerate(numbers)}
    numbered = [each._replace(numbers=[places[number] for number in each.numbers]) for each in blocks]
    return numbered, [bisect_left(numbers, end) for end in ends]
