"""Rolling line chart: one line for each symbol and column, on a Plotly FigureWidget."""

from __future__ import annotations

from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from aries_nb.widgets.charts.frame_lines import FrameLines
from aries_nb.widgets.charts.gap_bands import GapOverlay, shapes, title_with_gaps
from aries_nb.widgets.number_format import column_kind
from aries_nb.widgets.plotly_view import TIME_AXIS, AxisDigits, FigureView, layout, time_anchor
from aries_nb.widgets.sources import trading_state
from aries_nb.widgets.static_chart import Line, line_chart
from aries_nb.widgets.static_html import PALETTE
from aries_nb.widgets.widget_model import LiveFigure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aries_nb.widgets.sources import RowsSource

__all__ = ["STATIC_POINTS", "Chart", "lines_picture"]

# A chart is some 900 pixels wide, and the browser's time to draw it grows with the number of all its points.
POINTS_A_CHART = 2_400
MOST_POINTS = 1_200
STATIC_POINTS = 300


class Chart(FigureView):
    """A live line chart of `columns` of a rolling frame, for `symbols` (None: all), at most eight lines.

    Sizes are drawn against an axis of their own when there are prices too. Times are on the clock of
    `settings.timezone` when the chart is made. In a gap of the stream the lines are interrupted, with a band behind,
    and without a band where a value is missing, as a side that is not there. `or_last`: a symbol that has had neither
    bid nor ask, as an index, has a line of its last price. `title` "" shows none; `height` in pixels (default 320).
    Raises UsageError for an unknown column, no line, or more than eight.
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
        self._lines = FrameLines(
            source, columns, symbols, or_last=or_last, points_a_chart=POINTS_A_CHART, points_a_line=MOST_POINTS
        )
        self._title = title
        self._gap_overlay = GapOverlay(title)
        self._digits = {
            False: AxisDigits(is_price=any(column_kind(column) == "price" for _, column in self._lines.names)),
            True: AxisDigits("yaxis2", side="l", is_price=False),
        }
        super().__init__(source, _figure(self._lines, title, height))

    def __repr__(self) -> str:
        return f"Chart({', '.join(map(self._lines.label, range(len(self._lines.names))))})"

    def _draw(self) -> int:
        lines = self._lines
        lines.read()
        digits_changes: dict[str, Any] = {}
        for is_size, digits in self._digits.items():
            on_axis = [points for points, each in zip(lines.points, lines.are_sizes, strict=True) if each == is_size]
            if any(points.is_changed for points in on_axis):
                digits_changes |= digits.changed([points.y for points in on_axis])
        changes: dict[int, dict[str, Any]] = {}
        for place, points in enumerate(lines.points):
            if points.is_changed:
                points.is_changed = False
                x, y = lines.line(place)
                changes[place + 1] = {"x": x, "y": y}
                if place >= lines.first_substitute:
                    changes[place + 1]["showlegend"] = bool(len(x))
        bands = lines.bands
        title = title_with_gaps(self._title, bands, lines.spans, trading_state(self._source))
        layout_changes = self._gap_overlay.changed(shapes(bands, lines.shown), title) | digits_changes
        return self._update(changes, "waiting for data" if lines.is_empty else "", layout_changes)

    def _picture(self) -> str:
        return lines_picture(self._title, self._lines)


def lines_picture(title: str, lines: FrameLines) -> str:
    """Return the lines of a rolling frame as HTML that needs no script, sizes on an axis of their own."""
    drawn: dict[bool, list[Line]] = {False: [], True: []}
    for place, (colour, is_size) in enumerate(zip(cycle(PALETTE), lines.are_sizes, strict=False)):
        drawn[is_size].append((lines.label(place), colour, *lines.thin_line(place, STATIC_POINTS)))
    return line_chart(title, drawn[False], left=drawn[True])


def _figure(lines: FrameLines, title: str, height: int) -> LiveFigure:
    traces, figure_layout = [time_anchor()], layout(escape(title), height)
    figure_layout["xaxis"] |= TIME_AXIS
    for place, (is_size, colour) in enumerate(zip(lines.are_sizes, cycle(PALETTE), strict=False)):
        shape = "hv" if lines.are_steps[place] else "linear"
        traces.append(
            go.Scatter(
                name=escape(lines.label(place)),
                mode="lines",
                yaxis="y2" if is_size else "y",
                line={"color": colour, "width": 1 if is_size else 1.6, "shape": shape},
                opacity=0.55 if is_size else 1.0,
                showlegend=place < lines.first_substitute,
            )
        )
        if is_size:
            figure_layout["margin"]["l"] = 72
            figure_layout["yaxis2"] = {**figure_layout["yaxis"], "overlaying": "y", "side": "left", "showgrid": False}
    figure_layout["showlegend"] = True
    return LiveFigure(data=traces, layout=figure_layout)
