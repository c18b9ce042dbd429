"""Static pictures: what a view shows where no kernel and no script runs (a code host, an export, a dead kernel).

Every text is escaped, all styles are inline, and the colours come from the page, so that both themes are readable.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from aries_nb.widgets.number_format import compact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from aries_nb.model import Numbers

__all__ = ["BLUE", "GREY", "ORANGE", "PALETTE", "WIDGET_MIME", "Line", "bundle", "clock_time", "line_chart", "table"]

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"

Line = tuple[str, str, "Numbers", "Numbers"]  # label, colour, x, y

# The colours of Okabe and Ito, distinguishable with any colour vision; black and yellow, unreadable on one theme each,
# are replaced.
BLUE, ORANGE = "#2b8cce", "#e08214"
PALETTE = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#9a8c00", "#8c8c8c")
GREY = "rgba(128,128,128,0.95)"

FONT = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:12px"
CELL = "padding:2px 10px;border:0;text-align:{align};font-variant-numeric:tabular-nums;white-space:nowrap"
WIDTH, HEIGHT, MARGIN = 720, 220, 8


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


def line_chart(title: str, lines: Sequence[Line]) -> str:
    """Return lines over a common x as inline SVG, with the range of y and a legend; x is in epoch milliseconds.

    Each line is (label, colour, x, y). A y of NaN interrupts its line; it may be neither the first nor the last.
    Without any point the result is a paragraph that says so.
    """
    drawn = [line for line in lines if len(line[2])]
    if not drawn:
        return f'<p style="{FONT}">{escape(title)}: no data yet</p>'
    x_low, x_high = min(float(x.min()) for _, _, x, _ in drawn), max(float(x.max()) for _, _, x, _ in drawn)
    y_low, y_high = min(float(np.nanmin(y)) for *_, y in drawn), max(float(np.nanmax(y)) for *_, y in drawn)
    paths = "".join(
        f'<polyline fill="none" stroke="{escape(colour)}" stroke-width="1.3" '
        f'points="{_points(x, y, (x_low, x_high), (y_low, y_high))}"/>'
        for _, colour, *line in drawn
        for x, y in _pieces(*line)
    )
    legend = " ".join(
        f'<span style="color:{escape(colour)}">&#9632;</span> {escape(label)} {compact(float(y[-1]))}'
        for label, colour, _, y in drawn
    )
    span = (
        f"{clock_time(x_low * 1e6)}–{clock_time(x_high * 1e6)} UTC"
        if x_low > 1e11
        else f"{compact(x_low)}–{compact(x_high)}"
    )
    return (
        f'<figure style="margin:0;{FONT}"><figcaption>{escape(title)} {legend}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" style="max-width:100%" role="img" '
        f'aria-label="{escape(title)}">{paths}</svg>'
        f"<div>{span} · low {compact(y_low)} · high {compact(y_high)}</div></figure>"
    )


def _pieces(x: Numbers, y: Numbers) -> list[tuple[Numbers, Numbers]]:
    """Return the parts of a line between its NaN values, each as (x, y)."""
    holes = np.flatnonzero(np.isnan(y))
    parts = np.split(np.arange(len(x)), holes)
    return [(x[part], y[part]) for part in (part[np.isfinite(y[part])] for part in parts) if len(part)]


def _points(x: Numbers, y: Numbers, x_range: tuple[float, float], y_range: tuple[float, float]) -> str:
    across = (WIDTH - 2 * MARGIN) / ((x_range[1] - x_range[0]) or 1.0)
    up = (HEIGHT - 2 * MARGIN) / ((y_range[1] - y_range[0]) or 1.0)
    return " ".join(
        f"{MARGIN + (a - x_range[0]) * across:.1f},{HEIGHT - MARGIN - (b - y_range[0]) * up:.1f}"
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
    )
