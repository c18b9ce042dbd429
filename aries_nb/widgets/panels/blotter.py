"""Account tables as panels: a blotter has many rows, such as orders or fills; a strip has one, such as balances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aries_nb.errors import UsageError
from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.row_updates import RowUpdates
from aries_nb.widgets.static_html import table
from aries_nb.widgets.table_format import TableFormatter, caption_of, empty_text, known_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aries_nb.widgets.sources import TableSource
    from aries_nb.widgets.table_format import FormattedTable

__all__ = ["Blotter", "Strip"]

ROWS_IN_SIGHT = 12


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
        self._formatter = TableFormatter(known_columns(columns, source))
        self._rows = rows
        self._pinned = [[key] for key in pinned]
        self._updates = RowUpdates()
        super().__init__(source)
        self.widget.whole_rows = self._updates.whole

    def __repr__(self) -> str:
        return "Blotter()"

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
        labels = [heading.label for heading in formatted.headings]
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
