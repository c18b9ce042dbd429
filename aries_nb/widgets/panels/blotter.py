"""Account tables as panels: a blotter has many rows, such as orders or fills; a strip has one, such as balances."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aries_nb.errors import UsageError
from aries_nb.model.settings import settings
from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.row_updates import RowUpdates
from aries_nb.widgets.static_html import table
from aries_nb.widgets.table_export import csv_of, file_name, parquet_of
from aries_nb.widgets.table_format import TableFormatter, caption_of, empty_text, known_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aries_nb.widgets.sources import TableSource
    from aries_nb.widgets.table_format import ColumnHeading, FormattedTable

__all__ = ["Blotter", "Strip"]

ROWS_IN_SIGHT = 12
FILE_TYPES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}


class Blotter(Panel):
    """A live table, sorted in the browser; `rows` (default 12) are visible at once, further ones by scrolling.

    `columns` are the columns to show, in this order; None shows all of the source. Filled and quantity are one
    column, the progress of an order. Money has two decimals; P&L has a sign and a colour. Times are in
    `settings.timezone`. Rows whose key is in `pinned` stay at the end, however the table is sorted, and are
    not in the number of rows shown above the table. Raises UsageError for an unknown column, or fewer than one row.
    """

    script = "blotter"

    def __init__(
        self,
        source: TableSource,
        *,
        columns: Sequence[str] | None = None,
        rows: int = ROWS_IN_SIGHT,
        pinned: Collection[str] = (),
    ) -> None:
        if rows < 1:
            raise UsageError(f"rows={rows}", where="Blotter", advice="Pass 1 or more.")
        self._table_source = source
        self._columns = known_columns(columns, source)
        self._formatter = TableFormatter(self._columns)
        self._rows = rows
        self._pinned = [[key] for key in pinned]
        self._updates = RowUpdates()
        super().__init__(source)
        self.widget.whole_rows = self._updates.whole

    def __repr__(self) -> str:
        return "Blotter()"

    def to_csv(self, path: str | Path) -> None:
        """Write the table's rows to a CSV file: exact values, times in UTC, "" for what is missing.

        A text that a spreadsheet would take for a formula gets an apostrophe in front. Raises OSError.
        """
        Path(path).write_text(csv_of(self._table_source.table(), self._columns), encoding="utf-8")

    def to_parquet(self, path: str | Path) -> None:
        """Write the table's rows to a Parquet file: numbers as float64, times in UTC; null for what is missing.

        Raises OSError.
        """
        Path(path).write_bytes(parquet_of(self._table_source.table(), self._columns))

    def _on_message(self, widget: object, content: object, buffers: object) -> None:
        super()._on_message(widget, content, buffers)
        if not isinstance(content, dict) or str(content.get("save")) not in FILE_TYPES:
            return
        wanted = str(content["save"])
        data = self._table_source.table()
        file = csv_of(data, self._columns).encode() if wanted == "csv" else parquet_of(data, self._columns)
        answer = {"file": file_name(data.title, wanted), "type": FILE_TYPES[wanted], "by": content.get("by")}
        self.widget.send(answer, buffers=[file])

    def _compose(self) -> PanelFrame:
        data = self._table_source.table()
        formatted = self._formatter.format(data)
        description: dict[str, object] = {
            "title": data.title,
            "note": data.note,
            "empty": empty_text(data),
            "rows": self._rows,
            "columns": [heading.plain for heading in formatted.headings],
            "pinned": self._pinned,
        }
        return PanelFrame(description, (float(data.is_stale),), np.empty(0), self._updates.update(formatted.rows))

    def _picture(self) -> str:
        data = self._table_source.table()
        formatted: FormattedTable = self._formatter.format(data)
        labels = [heading.label for heading in _with_zone(formatted.headings)]
        lefts = [place for place, heading in enumerate(formatted.headings) if heading.is_left]
        caption = caption_of(data) if data.rows else f"{caption_of(data)} · {empty_text(data)}".removeprefix(" · ")
        # Sums stay at the end, whatever is left out.
        return table(caption, labels, formatted.texts, text_columns=lefts, kept=len(self._pinned))


class Strip(Panel):
    """A live line of figures, such as an account's balances, each with its label above.

    `columns` are the columns to show, in this order; None shows all of the source. Of a table with several rows only
    the first row is shown. Raises UsageError for an unknown column.
    """

    script = "strip"

    def __init__(self, source: TableSource, *, columns: Sequence[str] | None = None) -> None:
        self._table_source = source
        self._formatter = TableFormatter(known_columns(columns, source))
        super().__init__(source)

    def __repr__(self) -> str:
        return "Strip()"

    def _compose(self) -> PanelFrame:
        data = self._table_source.table()
        formatted = self._formatter.format(data)
        description: dict[str, object] = {
            "title": data.title,
            "note": data.note,
            "empty": empty_text(data),
            "columns": [heading.plain for heading in formatted.headings],
            "texts": formatted.texts[:1],
        }
        return PanelFrame(description, (float(data.is_stale),), formatted.numbers[:1])

    def _picture(self) -> str:
        data = self._table_source.table()
        formatted = self._formatter.format(data)
        if not formatted.texts:
            return table(f"{caption_of(data)} · {empty_text(data)}".removeprefix(" · "), [], [])
        return table(
            caption_of(data), [heading.label for heading in formatted.headings], formatted.texts[:1], text_columns=()
        )


def _with_zone(headings: Sequence[ColumnHeading]) -> list[ColumnHeading]:
    """Return the headings, of which the first one of times names the time zone."""
    first = next((place for place, heading in enumerate(headings) if heading.kind == "time"), None)
    return [
        replace(heading, label=f"{heading.label} ({settings.timezone})") if place == first else heading
        for place, heading in enumerate(headings)
    ]
