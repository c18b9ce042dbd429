"""Rolling line chart: one line for each symbol and column, on a Plotly FigureWidget."""

from __future__ import annotations

from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from aries_nb.errors import UsageError
from aries_nb.model.prices import has_sides
from aries_nb.widgets.charts.gap_bands import GapOverlay, GapPlaces, shapes, spans_of, title_with_gaps, with_breaks
from aries_nb.widgets.charts.line_points import LinePoints, thinned
from aries_nb.widgets.number_format import column_kind, column_label
from aries_nb.widgets.plotly_view import AxisDigits, FigureView, layout, time_anchor
from aries_nb.widgets.static_html import PALETTE, line_chart
from aries_nb.widgets.widget_model import LiveFigure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aries_nb.model import FrameRows, Numbers
    from aries_nb.widgets.sources import RowsSource

__all__ = ["Chart"]

MOST_LINES = 8
# A chart is some 900 pixels wide, and the browser's time to draw it grows with the number of all its points.
POINTS_A_CHART = 2_400
MOST_POINTS = 1_200
STATIC_POINTS = 300
# A quote is valid until the next one: a slanted line would show prices that never were.
STEPPED = ("price", "size")


class Chart(FigureView):
    """A live line chart of `columns` of a rolling frame, for `symbols` (None: all), at most eight lines.

    Sizes are drawn against an axis of their own when there are prices too. Times are UTC. In a gap of the stream the
    lines are interrupted, with a band behind, and without a band where a value is missing, as a side that is not there.
    `or_last`: a symbol that has had neither bid nor ask, as an index, has a line of its last price. `title` "" shows
    none; `height` in pixels (default 320). Raises UsageError for an unknown column, no line, or more than eight.
    """

    def __init__(
        self,
        source: RowsSource,
        columns: Sequence[str],
        *,
        symbols: Sequence[str] | None = None,
        title: str = "",
        height: int = 320,
        or_last: bool = False,
    ) -> None:
        self._rows_source = source
        self._lines = _lines(source, columns, symbols)
        self._without_sides = set(dict(self._lines)) if or_last and _has_quotes(source) else set()
        # One more line for each such symbol, behind the others; it is in the legend while it has points.
        self._first_substitute = len(self._lines)
        self._lines += [
            (symbol, "last_price") for symbol in dict.fromkeys(dict(self._lines)) if symbol in self._without_sides
        ]
        self._points = [LinePoints(min(MOST_POINTS, POINTS_A_CHART // len(self._lines))) for _ in self._lines]
        self._end = 0
        self._title = title
        self._gap_places = GapPlaces()
        self._gap_overlay = GapOverlay(title)
        self._are_sizes = _are_sizes(self._lines)
        self._digits = {
            False: AxisDigits(is_price=any(column_kind(column) == "price" for _, column in self._lines)),
            True: AxisDigits("yaxis2", side="l", is_price=False),
        }
        super().__init__(source, _figure(self._lines, title, height, substitutes_from=self._first_substitute))

    def __repr__(self) -> str:
        return f"Chart({', '.join(_label(line, self._lines) for line in self._lines)})"

    def _draw(self) -> int:
        rows = self._rows_source.rows(self._end)
        if rows.end < self._end:
            # The frame was emptied and filled again.
            self._gap_places = GapPlaces()
            for points in self._points:
                points.clear()
            rows = self._rows_source.rows(0)
        self._take(rows)
        self._end = rows.end
        layout_changes = self._layout_changes(rows.window_start)
        for is_size, digits in self._digits.items():
            on_axis = [points for points, each in zip(self._points, self._are_sizes, strict=True) if each == is_size]
            if any(points.is_changed for points in on_axis):
                layout_changes |= digits.changed([points.y for points in on_axis])
        changes: dict[int, dict[str, Any]] = {}
        for place, points in enumerate(self._points, start=1):
            if points.is_changed:
                points.is_changed = False
                x, y = self._line(points)
                changes[place] = {"x": x, "y": y}
                if place > self._first_substitute:
                    changes[place]["showlegend"] = bool(len(x))
        is_empty = not any(len(points.x) for points in self._points)
        return self._update(changes, "waiting for data" if is_empty else "", layout_changes)

    def _layout_changes(self, window_start: int) -> dict[str, Any]:
        """Return the bands of gaps and the title of the figure's layout, where they differ from the last call.

        It also marks all lines as changed if the located gaps have changed: these interrupt them. `window_start` is
        the number of the oldest row in the rolling frame.
        """
        spans = spans_of(self._rows_source)  # read after the rows: a gap is known before the first row behind it
        if self._gap_places.update(spans, self._rows_source.rows, window_start=window_start):
            for points in self._points:
                points.is_changed = True
        ends = [points.x[[0, -1]] for points in self._points if len(points.x)]
        shown = (min(end[0] for end in ends), max(end[1] for end in ends)) if ends else (0.0, 0.0)
        bands = self._gap_places.bands
        return self._gap_overlay.changed(shapes(bands, shown), title_with_gaps(self._title, bands, spans))

    def _line(self, points: LinePoints) -> tuple[Numbers, Numbers]:
        return with_breaks(points.x, points.y, points.places_of(self._breaks(points)))

    def _breaks(self, points: LinePoints) -> NDArray[np.int64]:
        """The rows before which a line is interrupted: those behind gaps, and those without the value."""
        return np.concatenate([np.array(self._gap_places.rows, "int64"), points.breaks])

    def _take(self, rows: FrameRows) -> None:
        for symbol in {symbol for symbol, _ in self._lines}:
            chosen = _rows_of(rows, symbol)
            numbers = chosen + rows.first
            x = rows.ts[chosen] / 1e3
            if symbol in self._without_sides and has_sides(rows, chosen):
                self._without_sides.discard(symbol)
            for place, (line, points) in enumerate(zip(self._lines, self._points, strict=True)):
                if line[0] != symbol:
                    continue
                if place >= self._first_substitute and symbol not in self._without_sides:
                    if len(points.x):
                        points.clear()
                    continue
                points.drop_before(rows.window_start)
                points.extend(numbers, x, rows.numbers[line[1]][chosen])

    def _picture(self) -> str:
        drawn = []
        for line, points, colour in zip(self._lines, self._points, cycle(PALETTE), strict=False):
            keep = thinned(points.x, points.y, STATIC_POINTS)
            x, y = points.x[keep], points.y[keep]
            places = np.searchsorted(keep, points.places_of(self._breaks(points)))
            drawn.append((_label(line, self._lines), colour, *with_breaks(x, y, places)))
        return line_chart(self._title, drawn)


def _has_quotes(source: RowsSource) -> bool:
    return {"bid_price", "ask_price", "last_price"} <= source.rows(0).numbers.keys()


def _rows_of(rows: FrameRows, symbol: str) -> np.ndarray:
    if symbol not in rows.symbols:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(rows.codes == rows.symbols.index(symbol))


def _lines(source: RowsSource, columns: Sequence[str], symbols: Sequence[str] | None) -> list[tuple[str, str]]:
    if isinstance(columns, str):
        columns = (columns,)
    known = source.rows(0).numbers
    for column in columns:
        if column not in known:
            advice = f"Number columns are: {', '.join(known) or 'none'}."
            raise UsageError(f"no number column {column!r}", where="Chart", advice=advice)
    lines = [(symbol, column) for symbol in (source.symbols if symbols is None else symbols) for column in columns]
    if not lines:
        raise UsageError("nothing to draw", where="Chart", advice="Name at least one column and one symbol.")
    if len(lines) > MOST_LINES:
        raise UsageError(
            f"{len(lines)} lines are too many to read, and to redraw ten times a second",
            where="Chart",
            advice=f"Pass at most {MOST_LINES} (symbols times columns), or make a second chart.",
        )
    return lines


def _label(line: tuple[str, str], lines: Sequence[tuple[str, str]]) -> str:
    symbol, column = line
    if len({name for name, _ in lines}) == 1 and len(lines) > 1:
        return f"{symbol} {column_label(column).lower()}"
    return symbol if len({name for _, name in lines}) == 1 else f"{symbol} {column_label(column).lower()}"


def _are_sizes(lines: Sequence[tuple[str, str]]) -> list[bool]:
    """Return which lines are sizes on an axis of their own; none where there are only sizes."""
    has_prices = any(column_kind(column) != "size" for _, column in lines)
    return [has_prices and column_kind(column) == "size" for _, column in lines]


def _figure(lines: Sequence[tuple[str, str]], title: str, height: int, *, substitutes_from: int) -> LiveFigure:
    traces, figure_layout = [time_anchor()], layout(escape(title), height)
    figure_layout["xaxis"]["type"] = "date"
    for place, ((symbol, column), colour, is_size) in enumerate(
        zip(lines, cycle(PALETTE), _are_sizes(lines), strict=False)
    ):
        shape = "hv" if column_kind(column) in STEPPED and column != "price" else "linear"
        traces.append(
            go.Scatter(
                name=escape(_label((symbol, column), lines)),
                mode="lines",
                yaxis="y2" if is_size else "y",
                line={"color": colour, "width": 1 if is_size else 1.6, "shape": shape},
                opacity=0.55 if is_size else 1.0,
                showlegend=place < substitutes_from,
            )
        )
        if is_size:
            figure_layout["margin"]["l"] = 72
            figure_layout["yaxis2"] = {**figure_layout["yaxis"], "overlaying": "y", "side": "left", "showgrid": False}
    figure_layout["showlegend"] = True
    return LiveFigure(data=traces, layout=figure_layout)
