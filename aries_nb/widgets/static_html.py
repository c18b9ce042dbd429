"""Static pictures: what a view shows where no kernel and no script runs (a code host, an export, a dead kernel, a log).

Every text is escaped, all styles are inline, and the colours come from the page, so that both themes are readable.
"""

from __future__ import annotations

import math
from html import escape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["BLUE", "FONT", "GREY", "ORANGE", "PALETTE", "WIDGET_MIME", "bundle", "clock_time", "plain_text", "table"]

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"

# The colours of Okabe and Ito, distinguishable with any colour vision; black and yellow, unreadable on one theme each,
# are replaced.
BLUE, ORANGE = "#2b8cce", "#e08214"
PALETTE = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#9a8c00", "#8c8c8c")
# Of texts in figures: 4.6:1 on white. static/model.css replaces exactly this colour by the page's own, for dark pages.
GREY = "rgb(117,117,118)"

FONT = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:12px"
CELL = "padding:2px 10px;text-align:{align};white-space:nowrap"  # once a cell: a table is little else
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
MOST_ROWS = 100  # of a table's static picture
PLAIN_ROWS = 24  # of a table as text
PLAIN_WIDTH = 40  # characters of a cell
LABELLED = 2  # columns of a table of labels and values, which has no heading
UNKNOWN = "–"
BLOCKS = frozenset({"p", "div", "figure", "figcaption", "table", "caption", "tr"})


def bundle(
    *,
    model_id: str | None,
    text_html: str,
    include: Collection[str] | None = None,
    exclude: Collection[str] | None = None,
) -> dict[str, object]:
    """Return the representations of a view by media type, as IPython's `_repr_mimebundle_` has to return them.

    `model_id` is that of the widget, None for a closed view, which has no widget. `text_html` is the view's static
    picture, which terminals, logs and exports show as text. `include` and `exclude` are media types to keep and to
    leave out, as IPython passes them; None or empty for no restriction.
    """
    data: dict[str, object] = {"text/plain": plain_text(text_html), "text/html": text_html}
    if model_id is not None:
        data[WIDGET_MIME] = {"version_major": 2, "version_minor": 0, "model_id": model_id}
    return {
        media: value
        for media, value in data.items()
        if (not include or media in include) and media not in (exclude or ())
    }


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    text_columns: Collection[int] = (0,),
    kept: int = 0,
) -> str:
    """Return an HTML table, with all texts escaped; `caption` "" gives it no caption.

    `header` are the texts of the heading, `rows` those of each row. The columns whose positions are in `text_columns`
    are left-aligned, all others right-aligned. Of more than 100 rows the first 100 and the last `kept` are in the
    table, with a line that says how many there are.
    """
    rows = list(rows)
    if len(rows) > MOST_ROWS + kept:
        left_out = [ELLIPSIS, f"{MOST_ROWS} of {len(rows) - kept:,} rows", *[""] * len(header)][: len(header)]
        rows = [*rows[:MOST_ROWS], left_out, *rows[len(rows) - kept :]]
    aligns = ["left" if number in text_columns else "right" for number in range(len(header))]
    # A heading over nothing is a plain cell: a screen reader would announce a column without data.
    heads = ["th" if text and any(row[at] for row in rows) else "td" for at, text in enumerate(header)]
    head = "".join(map(_cell, heads, header, aligns))
    body = "".join(
        "<tr>" + "".join(_cell("td", text, align) for text, align in zip(row, aligns, strict=True)) + "</tr>"
        for row in rows
    )
    title = f'<caption style="text-align:left;padding:2px 10px">{escape(caption)}</caption>' if caption else ""
    style = f"border-collapse:collapse;font-variant-numeric:tabular-nums;{FONT}"
    return f'<table style="{style}">{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(tag: str, text: str, align: str) -> str:
    return f'<{tag} style="{CELL.format(align=align)}">{escape(text)}</{tag}>'


def plain_text(picture: str) -> str:
    """Return a static picture as lines of text, its tables with aligned columns, for terminals and logs.

    `picture` is HTML made by this package. A table has at most 24 rows, cells of at most 40 characters, and no empty
    columns. The figures of its first row are in the line above it, for logs that cut what they print.
    """
    reader = _PlainReader()
    reader.feed(picture)
    reader.close()
    return "\n".join(reader.lines)


_Cells: TypeAlias = "list[tuple[str, bool]]"  # of each cell its text, and whether it is left-aligned


class _PlainReader(HTMLParser):
    """Reads the HTML of a static picture into `lines` of text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self._text: list[str] = []
        self._rows: list[_Cells] = []  # of the table that is read
        self._has_caption = False
        self._is_left = True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self._end_line()
        if tag == "table":
            self._has_caption = False
        elif tag == "caption":
            self._has_caption = True
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._text = []
            self._is_left = "text-align:right" not in (dict(attrs).get("style") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._rows[-1].append((self._taken(), self._is_left))
        elif tag == "table":
            rows, self._rows = [row for row in self._rows if row], []
            if len(rows) > 1 and len(rows[0]) > LABELLED:
                first = " ".join(text for place in range(len(rows[1])) if (text := _figure(rows[1], place)))
                self.lines.append(f"{self.lines.pop()}: {first}" if self._has_caption else first)
            self.lines += _aligned(rows)
        elif tag in BLOCKS:
            self._end_line()

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def close(self) -> None:
        super().close()
        self._end_line()

    def _taken(self) -> str:
        # A terminal obeys control characters, which a server's text may hold.
        text = " ".join("".join(each if each.isprintable() else " " for each in "".join(self._text)).split())
        self._text = []
        return text

    def _end_line(self) -> None:
        text = self._taken()
        if text:
            self.lines.append(text)


def _aligned(rows: Sequence[_Cells]) -> list[str]:
    """Return the rows of a table as lines with aligned columns; empty columns are left out."""
    note = rows[-1] if rows and rows[-1] and rows[-1][0][0] == ELLIPSIS else None
    shown = list(rows[:-1] if note is not None else rows)
    if len(shown) > PLAIN_ROWS + 1:  # one is the heading
        note = note or [(ELLIPSIS, True), (f"{len(shown) - 1:,} rows", True)]
        shown = shown[: PLAIN_ROWS + 1]
    filled = [
        place for place in range(max(map(len, shown), default=0)) if any(_figure(row, place) for row in shown[1:])
    ]
    cut = [[_cut(row[place] if place < len(row) else ("", True)) for place in filled] for row in shown]
    widths = [max(len(row[place][0]) for row in cut) for place in range(len(filled))]
    lines = [
        "  ".join(
            text.ljust(width) if left else text.rjust(width) for (text, left), width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cut
    ]
    lines = [line for line in lines if line]  # a heading without texts
    return lines if note is None else [*lines, " ".join(text for text, _ in note if text)]


def _figure(row: _Cells, place: int) -> str:
    """Return the text of a cell; "" for one that shows no value."""
    text = row[place][0] if place < len(row) else ""
    return "" if text == UNKNOWN else text


def _cut(cell: tuple[str, bool]) -> tuple[str, bool]:
    text, is_left = cell
    return (text if len(text) <= PLAIN_WIDTH else f"{text[: PLAIN_WIDTH - 1]}{ELLIPSIS}"), is_left


def clock_time(ns: float) -> str:
    """Return the time of day in UTC, as HH:MM:SS, of a time in ns since the epoch; a dash for 0 or NaN."""
    if not ns or math.isnan(ns):
        return UNKNOWN
    seconds = int(ns // 1_000_000_000) % 86_400
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
