"""Files of a table, of its exact values: CSV for spreadsheets, Parquet for programs.

A file holds what the table holds, not what is shown of it: decimals with all their digits, times with date and zone.
"""

from __future__ import annotations

import csv
import io
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from aries_nb.model import NOT_A_TIME

if TYPE_CHECKING:
    from collections.abc import Collection

    from aries_nb.model import Column, TableData, Value

__all__ = ["csv_of", "file_name", "parquet_of"]

# A spreadsheet reads a text that begins like this as a formula, which may load data from elsewhere (CWE-1236).
FORMULA = re.compile(r"^\s*[=+\-@\t\r]")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def csv_of(data: TableData, names: Collection[str] | None = None) -> str:
    """Return a table as CSV: a heading of column names, a line for each row; times in UTC, "" for what is missing.

    `names` are the columns, None for all. A text that a spreadsheet would take for a formula gets an apostrophe in
    front.
    """
    places = _places(data, names)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([data.columns[place].name for place in places])
    writer.writerows([_text(data.columns[place], row[place]) for place in places] for row in data.rows)
    return file.getvalue()


def parquet_of(data: TableData, names: Collection[str] | None = None) -> bytes:
    """Return a table as a Parquet file: numbers as float64, times as microseconds in UTC, null for what is missing.

    `names` are the columns, None for all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {}
    for place in _places(data, names):
        column, values = data.columns[place], [row[place] for row in data.rows]
        if column.type == "time":
            times = [None if _is_missing(column, value) else int(value) // 1_000 for value in values]
            columns[column.name] = pa.array(times, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        elif column.type == "text":
            columns[column.name] = pa.array([str(value) for value in values], pa.string())
        else:
            numbers = [None if _is_missing(column, value) else float(value) for value in values]
            columns[column.name] = pa.array(numbers, pa.float64())
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def file_name(title: str, ending: str) -> str:
    """Return a name for the file of a table, of letters, digits and dashes: "orders-ACC-1.csv"."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:60] or "table"
    return f"{words}.{ending}"


def _places(data: TableData, names: Collection[str] | None) -> list[int]:
    known = {column.name: place for place, column in enumerate(data.columns)}
    return [known[name] for name in (known if names is None else names) if name in known]


def _is_missing(column: Column, value: Value) -> bool:
    if column.type == "time":
        return value in (NOT_A_TIME, 0)
    return isinstance(value, str) or (isinstance(value, (float, Decimal)) and math.isnan(value))


def _text(column: Column, value: Value) -> str:
    if isinstance(value, str):
        return f"'{value}" if FORMULA.match(value) else value
    if _is_missing(column, value):
        return ""
    if column.type == "time":
        return (EPOCH + timedelta(microseconds=int(value) // 1_000)).isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
