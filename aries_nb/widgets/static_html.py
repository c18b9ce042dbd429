"""Static pictures: what a view shows where no kernel and no script runs (a code host, an export, a dead kernel).

Every text is escaped, all styles are inline, and the colours come from the page, so that both themes are readable.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["BLUE", "FONT", "GREY", "ORANGE", "PALETTE", "WIDGET_MIME", "bundle", "clock_time", "table"]

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"

# The colours of Okabe and Ito, distinguishable with any colour vision; black and yellow, unreadable on one theme each,
# are replaced.
BLUE, ORANGE = "#2b8cce", "#e08214"
PALETTE = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#9a8c00", "#8c8c8c")
GREY = "rgba(128,128,128,0.95)"

FONT = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:12px"
CELL = "padding:2px 10px;border:0;text-align:{align};font-variant-numeric:tabular-nums;white-space:nowrap"


def bundle(
    *,
    model_id: str | None,
    text_html: str,
    text_plain: str,
    include: Collection[str] | None = None,
    exclude: Collection[str] | None = None,
) -> dict[str, object]:
    """Return the representations of a view by media type, as IPython's `_repr_mimebundle_` has to return them.

    `model_id` is that of the widget, None for a closed view, which has no widget. `text_html` is the view's static
    picture, `text_plain` its text. `include` and `exclude` are media types to keep and to leave out, as IPython
    passes them; None or empty for no restriction.
    """
    data: dict[str, object] = {"text/plain": text_plain, "text/html": text_html}
    if model_id is not None:
        data[WIDGET_MIME] = {"version_major": 2, "version_minor": 0, "model_id": model_id}
    return {
        media: value
        for media, value in data.items()
        if (not include or media in include) and media not in (exclude or ())
    }


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: Collection[int] = (0,)
) -> str:
    """Return an HTML table, with all texts escaped; `caption` "" gives it no caption.

    `header` are the texts of the heading, `rows` those of each row. The columns whose positions are in `text_columns`
    are left-aligned, all others right-aligned.
    """
    aligns = ["left" if number in text_columns else "right" for number in range(len(header))]
    head = "".join(_cell("th", text, align) for text, align in zip(header, aligns, strict=True))
    body = "".join(
        "<tr>" + "".join(_cell("td", text, align) for text, align in zip(row, aligns, strict=True)) + "</tr>"
        for row in rows
    )
    title = f'<caption style="text-align:left;padding:2px 10px">{escape(caption)}</caption>' if caption else ""
    style = f"border-collapse:collapse;{FONT}"
    return f'<table style="{style}">{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(tag: str, text: str, align: str) -> str:
    return f'<{tag} style="{CELL.format(align=align)}">{escape(text)}</{tag}>'


def clock_time(ns: float) -> str:
    """Return the time of day in UTC, as HH:MM:SS, of a time in ns since the epoch; a dash for 0 or NaN."""
    if not ns or math.isnan(ns):
        return "–"
    seconds = int(ns // 1_000_000_000) % 86_400
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
