"""Formats the cells of an account table as exact texts to read, and numbers by which to sort and compare.

The texts are made here and not in the browser: a decimal of twenty digits would not survive a float.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import numpy as np

from aries_nb.errors import UsageError
from aries_nb.model import NOT_A_TIME
from aries_nb.model.settings import settings
from aries_nb.widgets.number_format import PROFIT_WORDS, Decimals, average_decimals, column_kind, column_label
from aries_nb.widgets.static_html import clock_time

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aries_nb.model import Column, Numbers, TableData, Value
    from aries_nb.widgets.sources import TableSource

__all__ = [
    "CellKind",
    "ColumnHeading",
    "FormattedTable",
    "TableFormatter",
    "caption_of",
    "empty_text",
    "heading_of",
    "known_columns",
    "time_text",
]

# "signed" is profit and loss: always with a plus or a minus sign.
CellKind = Literal["symbol", "text", "side", "status", "progress", "signed", "money", "price", "number", "time"]

TEXT_KINDS: dict[str, CellKind] = {"symbol": "symbol", "side": "side", "status": "status"}
LEFT_KINDS = frozenset({"symbol", "text", "side", "status", "progress"})
SIGNED_WORDS = frozenset({*PROFIT_WORDS, "change"})
SIGNED_NAMES = frozenset({"price_move", "trade", "unexplained", "total"})
MONEY_WORDS = frozenset(
    {
        *("amount", "balance", "basis", "cash", "commission", "cost", "credit", "equity"),
        *("fee", "fees", "funds", "margin", "power", "proceeds", "value"),
    }
)
MONEY_DECIMALS = 2
NS_A_DAY = 86_400_000_000_000
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MINUS = "\N{MINUS SIGN}"
UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class ColumnHeading:
    """One column of a table as it is shown: name, heading (`label`), and `kind`, which decides how its cells look.

    Of the kinds, "signed" is profit and loss, with a plus or a minus sign; "money" has two decimals; "progress" is
    the filled part of an order.
    """

    name: str
    label: str
    kind: CellKind

    @property
    def is_left(self) -> bool:
        """Whether the column's cells are left-aligned."""
        return self.kind in LEFT_KINDS

    @property
    def plain(self) -> dict[str, str]:
        """The column heading as a dict of JSON values, for the browser."""
        return {"name": self.name, "label": self.label, "kind": self.kind}


@dataclass(frozen=True, slots=True)
class FormattedTable:
    """A table ready to be shown: for each row a list of texts in `texts`, and the values of its key in `keys`.

    `numbers` has the shape (rows, columns): NaN for texts, times in epoch milliseconds, of a progress the share
    from 0 to 1.
    """

    headings: tuple[ColumnHeading, ...]
    keys: list[list[str]]
    texts: list[list[str]]
    numbers: Numbers


class TableFormatter:
    """Formats the tables of one source, which all have the same columns; decimals only grow.

    `names` are the columns to show, in this order and as far as the table has them; None shows all. A table with
    the columns filled and quantity shows them as one, the progress of the order. Prices and quantities have the
    decimals of their instrument where the table has a column symbol, else those of their column.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self._names = names
        self._decimals: dict[tuple[str, str], Decimals] = {}  # by kind, and symbol or column

    def format(self, data: TableData) -> FormattedTable:
        """Return the table's headings, texts and numbers as they are to be shown now."""
        places = {column.name: place for place, column in enumerate(data.columns)}
        has_progress = {"filled", "quantity"} <= places.keys()
        names = [name for name in (places if self._names is None else self._names) if name in places]
        if has_progress:
            names = [name for name in names if name != "quantity"]
        headings = tuple(heading_of(data.columns[places[name]], has_progress=has_progress) for name in names)
        decimals = self._decimals_of(data, places)
        today = settings.local_ns(time.time_ns()) // NS_A_DAY
        texts, numbers = [], []
        for number, row in enumerate(data.rows):
            record = dict(zip(places, row, strict=True))
            shown = {name: of_rows[number] for name, of_rows in decimals.items()}
            texts.append([_text(heading, record, shown, today) for heading in headings])
            numbers.append([_number(heading, record) for heading in headings])
        keys = [[str(row[places[name]]) for name in data.key if name in places] for row in data.rows]
        return FormattedTable(
            headings, keys, texts, np.array(numbers, dtype=np.float64).reshape(len(texts), len(headings))
        )

    def _decimals_of(self, data: TableData, places: dict[str, int]) -> dict[str, list[int]]:
        """Return how many decimals each number column is shown with, row by row."""
        symbols = [str(row[places["symbol"]]) for row in data.rows] if "symbol" in places else None
        seen: dict[tuple[str, str], list[Value]] = {}  # values by what they share their decimals with
        shared: dict[str, list[tuple[str, str]]] = {}
        averages: dict[str, list[int]] = {}
        for column, place in _numeric(data):
            kind = heading_of(column, has_progress=False).kind
            if kind in ("money", "signed"):
                continue
            kind = "price" if kind == "price" else "number"
            owners = [column.name] * len(data.rows) if symbols is None else symbols
            shared[column.name] = [(kind, owner) for owner in owners]
            if "average" in column.name.split("_"):
                averages[column.name] = [average_decimals(_number_of(row[place])) for row in data.rows]
                continue
            for key, row in zip(shared[column.name], data.rows, strict=True):
                seen.setdefault(key, []).append(row[place])
        for key, values in seen.items():
            decimals = self._decimals.setdefault(key, Decimals(is_price=key[0] == "price"))
            decimals.of_values([_number_of(value) for value in values])
        found = {
            name: [self._decimals[key].known if key in self._decimals else 0 for key in keys]
            for name, keys in shared.items()
        }
        for name, needed in averages.items():
            found[name] = [max(both) for both in zip(found[name], needed, strict=True)]
        return {column.name: found.get(column.name, [MONEY_DECIMALS] * len(data.rows)) for column, _ in _numeric(data)}


def heading_of(column: Column, *, has_progress: bool) -> ColumnHeading:
    """Return how a column is shown, by its type and the words of its name.

    `has_progress`: the table shows the columns filled and quantity as one, the progress of the order.
    """
    label = "Average" if column.name == "average_price" else column_label(column.name)
    return ColumnHeading(column.name, label, _kind(column, has_progress=has_progress))


def caption_of(data: TableData) -> str:
    """Return the line above a table's static picture: its title, its note, and "stale" if its rows may be old."""
    return " · ".join(text for text in (data.title, data.note, "stale" if data.is_stale else "") if text)


def empty_text(data: TableData) -> str:
    """Return the text to show in place of the rows of an empty table, such as "no positions"."""
    return f"no {data.title.lower() or 'rows'}"


def known_columns(columns: Sequence[str] | None, source: TableSource) -> Sequence[str] | None:
    """Return the names of the columns to show as a tuple, or None if `columns` is None, which means all.

    Raises UsageError for a name that the source's table does not have.
    """
    if columns is None:
        return None
    known = [column.name for column in source.table().columns]
    for name in columns:
        if name not in known:
            raise UsageError(f"no column {name!r}", where="Blotter", advice=f"Columns are: {', '.join(known)}.")
    return tuple(columns)


def _kind(column: Column, *, has_progress: bool) -> CellKind:
    words = column.name.split("_")
    if column.type == "text" or words[-1] == "id":
        return TEXT_KINDS.get(column.name, "text")
    if column.type == "time":
        return "time"
    if has_progress and column.name == "filled":
        return "progress"
    if SIGNED_WORDS & set(words) or column.name in SIGNED_NAMES:
        return "signed"
    if column_kind(column.name) == "price":
        return "price"
    return "money" if MONEY_WORDS & set(words) else "number"


def _numeric(data: TableData) -> list[tuple[Column, int]]:
    return [
        (column, place)
        for place, column in enumerate(data.columns)
        if column.type in ("number", "decimal", "integer") and not column.name.endswith("_id")
    ]


def _text(heading: ColumnHeading, record: dict[str, Value], decimals: dict[str, int], today: int) -> str:
    value = record[heading.name]
    if heading.kind == "side":
        return str(value).replace("_", " ").upper()
    if heading.name in ("status", "type"):
        return str(value).replace("_", " ").lower()
    if heading.kind in ("symbol", "text"):
        return str(value)
    if heading.kind == "time":
        return time_text(int(value), today)
    if heading.name == "price" and not value and "limit" not in str(record.get("type", "limit")).lower():
        return UNKNOWN  # an order without a limit; elsewhere a price of 0 is a price
    shown = _grouped(value, decimals[heading.name], is_signed=heading.kind == "signed")
    if heading.kind != "progress":
        return shown
    places = max(decimals["filled"], decimals["quantity"])
    return f"{_grouped(value, places)} of {_grouped(record['quantity'], places)}"


def _number(heading: ColumnHeading, record: dict[str, Value]) -> float:
    value = record[heading.name]
    if heading.kind == "time":
        return math.nan if value == NOT_A_TIME else int(value) / 1e6
    if heading.kind == "progress":
        quantity = abs(_float(record["quantity"]))
        return abs(_float(value)) / quantity if quantity else math.nan
    return _float(value)


def _float(value: Value) -> float:
    return math.nan if isinstance(value, str) else float(value)


def _number_of(value: Value) -> float | Decimal:
    return math.nan if isinstance(value, str) else value


def _grouped(value: Value, decimals: int, *, is_signed: bool = False) -> str:
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return UNKNOWN
    # Not abs(): it would round a decimal to 28 digits.
    size = f"{value.copy_abs() if isinstance(value, Decimal) else abs(value):,.{decimals}f}"
    if not size.strip("0.,"):
        return size  # what rounds to zero has no sign
    return f"{MINUS if value < 0 else '+' if is_signed else ''}{size}"


def time_text(ns: int, today: int) -> str:
    """Return a time in ns since the epoch as text, as short as is clear: on the day `today` the time of day alone.

    The text is in the time zone `settings.timezone`; `today` is the number of the present day there since 1970-01-01. A
    missing time (`NOT_A_TIME` or 0) gives a dash.
    """
    if ns in (NOT_A_TIME, 0):
        return UNKNOWN
    ns = settings.local_ns(ns)
    if ns // NS_A_DAY == today:
        return clock_time(ns)
    date, now = (str(np.datetime64(day, "D")).split("-") for day in (ns // NS_A_DAY, today))
    ending = clock_time(ns)[:5] if date[0] == now[0] else date[0]
    return f"{date[2]} {MONTHS[int(date[1]) - 1]} {ending}"
