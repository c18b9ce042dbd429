"""Formats the cells of an account table as exact texts to read, and numbers by which to sort and compare.

The texts are made here and not in the browser: a decimal of twenty digits would not survive a float.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from aries_nb.errors import UsageError
from aries_nb.model import NOT_A_TIME
from aries_nb.model.clock import wall_ns
from aries_nb.model.settings import settings
from aries_nb.widgets.number_format import (
    MINUS,
    PROFIT_WORDS,
    Decimals,
    average_decimals,
    column_kind,
    column_label,
    exact_decimals,
)
from aries_nb.widgets.static_html import clock_time

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aries_nb.model import Column, Numbers, TableData, Value, Values
    from aries_nb.widgets.sources import TableSource

__all__ = [
    "CellKind",
    "ColumnHeading",
    "FormattedRow",
    "FormattedTable",
    "TableFormatter",
    "caption_of",
    "empty_text",
    "heading_of",
    "known_columns",
    "time_text",
]

# "signed" is profit and loss: always with a plus or a minus sign.
CellKind = Literal["symbol", "text", "id", "side", "status", "progress", "signed", "money", "price", "number", "time"]

TEXT_KINDS: dict[str, CellKind] = {"symbol": "symbol", "side": "side", "status": "status"}
LEFT_KINDS = frozenset({"symbol", "text", "id", "side", "status", "progress"})
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
UNKNOWN = "–"


# A number column, its position, and "price" or "number".
CountedColumn: TypeAlias = "tuple[Column, int, str]"


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
class FormattedRow:
    """One row ready to be shown: the text of each column in `texts`, and the values of the table's key in `key`.

    `key` is a JSON list as text, as `JSON.stringify` writes it. `numbers` has a value for each column: NaN for texts,
    times in epoch milliseconds, of a progress the share from 0 to 1. `values` are the row's own values.
    """

    values: Values
    key: str
    texts: tuple[str, ...]
    numbers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FormattedTable:
    """A table ready to be shown. A row that did not change is the same object as in the table formatted before it."""

    headings: tuple[ColumnHeading, ...]
    rows: list[FormattedRow]

    @property
    def keys(self) -> list[list[str]]:
        """For each row the values of its key."""
        return [json.loads(row.key) for row in self.rows]

    @property
    def texts(self) -> list[list[str]]:
        """For each row the text of each column."""
        return [list(row.texts) for row in self.rows]

    @property
    def numbers(self) -> Numbers:
        """An array (rows, columns): NaN for texts, times in epoch milliseconds, of a progress the share from 0 to 1."""
        return np.array([row.numbers for row in self.rows], dtype="float64").reshape(-1, len(self.headings))


class TableFormatter:
    """Formats the tables of one source, which all have the same columns; decimals only grow.

    `names` are the columns to show, in this order and as far as the table has them; None shows all. A table with
    the columns filled and quantity shows them as one, the progress of the order. Prices and quantities have the
    decimals of their instrument where the table has a column symbol, else those of their column. The cost is that of
    the rows that changed: one with the same values as before is not formatted again, unless its instrument needs more
    decimals, or the day or the time zone is another.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self._names = names
        self._decimals: dict[tuple[str, str], Decimals] = {}  # by kind, and symbol or column
        self._rows: dict[int, FormattedRow] = {}  # by the id of their values, which they keep alive
        self._looks: object = None  # what all texts depend on

    def format(self, data: TableData) -> FormattedTable:
        """Return the table's headings, texts and numbers as they are to be shown now."""
        places = {column.name: place for place, column in enumerate(data.columns)}
        has_progress = {"filled", "quantity"} <= places.keys()
        # Identifiers are long and seldom read: they come last, unless the order was chosen.
        usual = sorted(places, key=lambda name: name.endswith("_id") and name in data.key)
        names = [name for name in (usual if self._names is None else self._names) if name in places]
        if has_progress:
            names = [name for name in names if name != "quantity"]
        headings = tuple(heading_of(data.columns[places[name]], has_progress=has_progress) for name in names)
        today = settings.local_ns(wall_ns()) // NS_A_DAY
        looks = (data.columns, data.key, today, settings.timezone)
        if looks != self._looks:
            self._looks, self._rows = looks, {}
        known = self._rows
        fresh = [row for row in data.rows if id(row) not in known]
        counted, symbol = _counted(data), places.get("symbol")
        owners = self._note_decimals(counted, symbol, fresh)
        if owners:
            fresh = [row for row in data.rows if id(row) not in known or symbol is None or str(row[symbol]) in owners]
        money = {column.name: MONEY_DECIMALS for column, _ in _numeric(data)}
        key_places = [places[name] for name in data.key if name in places]
        for values in fresh:
            record = dict(zip(places, values, strict=True))
            decimals = money | self._decimals_of(counted, symbol, values)
            known[id(values)] = FormattedRow(
                values,
                json.dumps([str(values[place]) for place in key_places], ensure_ascii=False, separators=(",", ":")),
                tuple(_text(heading, record, decimals, today) for heading in headings),
                tuple(_number(heading, record) for heading in headings),
            )
        rows = [known[id(values)] for values in data.rows]
        self._rows = {id(row.values): row for row in rows}
        return FormattedTable(headings, rows)

    def _note_decimals(self, counted: Sequence[CountedColumn], symbol: int | None, rows: Sequence[Values]) -> set[str]:
        """Learn how many decimals these rows need; return the symbols, or columns, that need more than before.

        `symbol` is the position of that column, None where the table has none.
        """
        seen: dict[tuple[str, str], list[Value]] = {}  # values by what they share their decimals with
        for column, place, kind in counted:
            if "average" not in column.name.split("_"):
                for row in rows:
                    owner = column.name if symbol is None else str(row[symbol])
                    seen.setdefault((kind, owner), []).append(row[place])
        grown = set()
        for key, values in seen.items():
            decimals = self._decimals.setdefault(key, Decimals(is_price=key[0] == "price"))
            before = decimals.known
            decimals.of_values([_number_of(value) for value in values])
            if decimals.known != before:
                grown.add(key[1])
        return grown

    def _decimals_of(self, counted: Sequence[CountedColumn], symbol: int | None, row: Values) -> dict[str, int]:
        """Return how many decimals each counted column of a row is shown with."""
        found = {}
        for column, place, kind in counted:
            known = self._decimals.get((kind, column.name if symbol is None else str(row[symbol])))
            decimals = known.known if known is not None else 0
            if "average" in column.name.split("_"):
                decimals = max(decimals, average_decimals(_number_of(row[place])))
            found[column.name] = decimals
        return found


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
    if words[-1] == "id":
        return "id"
    if column.type == "text":
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


def _counted(data: TableData) -> list[CountedColumn]:
    """Return the number columns whose decimals are counted, with their positions, and "price" or "number"."""
    kinds = [(column, place, heading_of(column, has_progress=False).kind) for column, place in _numeric(data)]
    return [
        (column, place, "price" if kind == "price" else "number")
        for column, place, kind in kinds
        if kind not in ("money", "signed")
    ]


def _text(heading: ColumnHeading, record: dict[str, Value], decimals: dict[str, int], today: int) -> str:
    value = record[heading.name]
    if heading.kind == "side":
        return str(value).replace("_", " ").upper()
    if heading.name in ("status", "type"):
        return str(value).replace("_", " ").lower()
    if heading.kind in ("symbol", "text", "id"):
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
    size = f"{value.copy_abs() if isinstance(value, Decimal) else abs(value):,.{exact_decimals(value, decimals)}f}"
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
