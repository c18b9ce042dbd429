"""Columns of an option chain over its strikes: the smile of the implied volatility, or any Greek, calls and puts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from aries_nb.errors import UsageError
from aries_nb.model.contracts import option_root
from aries_nb.model.prices import is_never_zero
from aries_nb.widgets.plotly_view import FigureView, layout
from aries_nb.widgets.static_chart import line_chart
from aries_nb.widgets.static_html import BLUE, GREY, ORANGE
from aries_nb.widgets.widget_model import LiveFigure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aries_nb.model import BoardData, Numbers
    from aries_nb.widgets.sources import ChainSource

__all__ = ["StrikeChart"]

MOST_SUBPLOTS = 4
APART = 0.09  # of the figure's width, between two subplots: room for the numbers of an axis
COLOURS = {"call": BLUE, "put": ORANGE}
# Where calls and puts have equal values, one must not hide the other.
MARKERS = {"call": {"symbol": "circle", "size": 5}, "put": {"symbol": "circle-open", "size": 9}}
PERCENT = "implied_volatility"
TRACES_A_SUBPLOT = 3


class StrikeChart(FigureView):
    """A live chart of columns of an option chain over the strikes, at most four, each in a subplot.

    A dotted line marks the price of the underlying. The size never changes. Data from before a break in the stream is
    marked as stale. `columns` are number columns of the chain's board; `title` "" shows none; `height` in pixels
    (default 320). Raises UsageError for an unknown column, none, or more than four.
    """

    def __init__(self, source: ChainSource, columns: Sequence[str], *, title: str = "", height: int = 320) -> None:
        known = source.board().columns
        unknown = [column for column in columns if column not in known]
        if unknown:
            advice = f"Number columns are: {', '.join(known)}."
            raise UsageError(f"no number column {unknown[0]!r}", where="StrikeChart", advice=advice)
        if not 1 <= len(columns) <= MOST_SUBPLOTS:
            advice = f"Pass 1 to {MOST_SUBPLOTS}; make another chart for the rest."
            raise UsageError(f"{len(columns)} columns", where="StrikeChart", advice=advice)
        self._chain_source = source
        self._columns = tuple(columns)
        self._title = title
        self._sides = {
            kind: tuple((symbol, strike) for symbol, its_kind, strike in source.contracts if its_kind == kind)
            for kind in COLOURS
        }
        self._shown: dict[int, bytes] = {}
        super().__init__(source, _figure(self._columns, title, height))

    def __repr__(self) -> str:
        return f"StrikeChart({', '.join(self._columns)})"

    def _draw(self) -> int:
        data, spot = self._chain_source.board(), self._chain_source.spot
        changes: dict[int, dict[str, Any]] = {}
        is_empty = True
        for subplot, column in enumerate(self._columns):
            lines = [self._line(data, kind, column) for kind in COLOURS]
            is_empty = is_empty and not any(len(x) for x, _ in lines)
            for place, (x, y) in enumerate([*lines, _upright(spot, lines)], start=TRACES_A_SUBPLOT * subplot):
                content = x.tobytes() + b"|" + y.tobytes()
                if self._shown.get(place) != content:
                    self._shown[place] = content
                    changes[place] = {"x": x, "y": y}
        return self._update(changes, "waiting for data" if is_empty else "stale" if data.is_stale else "")

    def _picture(self) -> str:
        data = self._chain_source.board()
        return "".join(
            line_chart(
                " · ".join(text for text in (self._title, _label(column), "stale" if data.is_stale else "") if text),
                [(f"{kind}s", colour, *self._line(data, kind, column)) for kind, colour in COLOURS.items()],
            )
            for column in self._columns
        )

    def _line(self, data: BoardData, kind: str, column: str) -> tuple[Numbers, Numbers]:
        """Return the strikes, ascending, at which a column of the chain is known, and its values there.

        Each root, such as SPX and SPXW, is a line of its own: a NaN stands between them.

        `kind` is "call" or "put", `column` the name of the column.
        """
        row_of = {symbol: row for row, symbol in enumerate(data.symbols)}
        values = data.numbers[:, data.columns.index(column)]
        points = sorted(
            (option_root(symbol), strike, values[row_of[symbol]])
            for symbol, strike in self._sides[kind]
            if symbol in row_of and _is_known(column, values[row_of[symbol]])
        )
        line: list[tuple[float, float]] = []
        for place, (root, strike, value) in enumerate(points):
            if place and root != points[place - 1][0]:
                line.append((np.nan, np.nan))
            line.append((strike, float(value)))
        x, y = np.array(line, dtype="float64").reshape(-1, 2).T
        return x, y


def _is_known(column: str, value: float) -> bool:
    return bool(np.isfinite(value)) and not (value == 0 and is_never_zero(column))


def _label(column: str) -> str:
    return column.replace("_", " ")


def _upright(spot: float, lines: Sequence[tuple[Numbers, Numbers]]) -> tuple[Numbers, Numbers]:
    """Return x and y of a vertical line at the price `spot` of the underlying; both empty while that is unknown.

    It is as high as the drawn `lines`, each (x, y), so that it does not stretch the axis; empty if they have no
    points.
    """
    values = np.concatenate([y for _, y in lines])
    if not len(values) or not np.isfinite(spot):
        return np.empty(0), np.empty(0)
    return np.array([spot, spot]), np.array([np.nanmin(values), np.nanmax(values)])


def _figure(columns: Sequence[str], title: str, height: int) -> LiveFigure:
    figure_layout = layout(escape(title), height)
    figure_layout["margin"]["b"] = 52
    across, upwards = figure_layout.pop("xaxis"), figure_layout.pop("yaxis")
    traces = []
    for subplot, column in enumerate(columns):
        number = "" if subplot == 0 else str(subplot + 1)
        width = (1 - APART * (len(columns) - 1)) / len(columns)
        left = subplot * (width + APART)
        caption = {"text": f"{_label(column)} by strike", "font": {"size": 12}, "standoff": 6}
        figure_layout[f"xaxis{number}"] = {
            **across,
            "domain": [left, left + width],
            "anchor": f"y{number}",
            "title": caption,
        }
        figure_layout[f"yaxis{number}"] = {**upwards, "anchor": f"x{number}"}
        if column == PERCENT:
            figure_layout[f"yaxis{number}"] |= {"tickformat": ".1%", "hoverformat": ".2%"}
        traces += _traces(number, is_first=subplot == 0)
    return LiveFigure(data=traces, layout=figure_layout)


def _traces(number: str, *, is_first: bool) -> list[go.Scatter]:
    axes = {"xaxis": f"x{number}", "yaxis": f"y{number}", "showlegend": is_first}
    lines = [
        go.Scatter(
            name=f"{kind}s",
            legendgroup=kind,  # a click in the legend applies to all subplots
            mode="lines+markers",
            line={"color": colour, "width": 1.6},
            marker=MARKERS[kind],
            **axes,
        )
        for kind, colour in COLOURS.items()
    ]
    dotted = {"color": GREY, "width": 1, "dash": "dot"}
    return [
        *lines,
        go.Scatter(name="underlying", legendgroup="spot", mode="lines", line=dotted, hoverinfo="skip", **axes),
    ]
