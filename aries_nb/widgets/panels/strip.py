"""Strip: the one row of a table, such as an account's balances, as labelled figures in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aries_nb.widgets.anywidget_view import Panel, PanelFrame
from aries_nb.widgets.static_html import table
from aries_nb.widgets.table_format import TableFormatter, caption_of, empty_text, known_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aries_nb.widgets.sources import TableSource

__all__ = ["Strip"]


class Strip(Panel):
    """A live strip of figures, each with its label above.

    `columns` are the columns to show, in this order; None shows all of the source. Of a table with several rows the
    first is shown.
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
