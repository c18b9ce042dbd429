"""The blotter: a live table of an account's rows, such as positions, working orders, fills or a watchlist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aries_nb.errors import UsageError
from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.static_html import table
from aries_nb.widgets.table_format import TableFormatter, caption_of, empty_text, known_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aries_nb.widgets.sources import TableSource
    from aries_nb.widgets.table_format import FormattedTable

__all__ = ["Blotter"]

ROWS_IN_SIGHT = 12


class Blotter(Panel):
    """A live table, sorted in the browser; `rows` are in sight at once, the others a scroll away.

    `columns` are the columns to show, in this order; None shows all of the source. Filled and quantity are one column,
    the progress of an order. Money has two decimals; P&L has a sign and, beside it, a colour. Times are UTC. `pinned`
    are keys of rows that stay at the end, whatever the others are sorted by, and count as none.
    """

    looks = "blotter"

    def __init__(
        self,
        source: TableSource,
        *,
        columns: Sequence[str] | None = None,
        rows: int = ROWS_IN_SIGHT,
        pinned: Collection[str] = (),
    ) -> None:
        if rows < 1:
            raise UsageError(f"rows={rows}", where="Blotter", advice="Choose 1 row or more to be in sight.")
        self._table_source = source
        self._cells = TableFormatter(known_columns(columns, source))
        self._rows = rows
        self._pinned = [[key] for key in pinned]
        super().__init__(source)

    def __repr__(self) -> str:
        return "Blotter()"

    def _compose(self) -> PanelFrame:
        data = self._table_source.table()
        sheet = self._cells.sheet(data)
        description: dict[str, object] = {
            "title": data.title,
            "note": data.note,
            "empty": empty_text(data),
            "rows": self._rows,
            "columns": [heading.plain for heading in sheet.headings],
            "keys": sheet.keys,
            "pinned": self._pinned,
            "texts": sheet.texts,
        }
        return PanelFrame(description, (float(data.is_stale),), sheet.numbers)

    def _picture(self) -> str:
        data = self._table_source.table()
        sheet: FormattedTable = self._cells.sheet(data)
        labels = [heading.label for heading in sheet.headings]
        lefts = [place for place, heading in enumerate(sheet.headings) if heading.is_left]
        caption = caption_of(data) if data.rows else f"{caption_of(data)} · {empty_text(data)}".removeprefix(" · ")
        return table(caption, labels, sheet.texts, text_columns=lefts)
