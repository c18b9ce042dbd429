"""The equity chart: an account's equity over time, the broker's own figure beside it, and the P&L by instrument."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from aries_nb.widgets.figures import BLUE, GREY, ORANGE, FigureView, layout, time_anchor
from aries_nb.widgets.static import line_chart, table
from aries_nb.widgets.traces import thinned

if TYPE_CHECKING:
    from aries_nb.model import EquityData, Numbers
    from aries_nb.widgets.source import EquitySource

__all__ = ["EquityChart", "bars_of"]

# Both lines together stay below two thousand points, which a browser redraws in time.
POINTS_A_LINE = 1_000
STATIC_POINTS = 300
MOST_BARS = 8
OURS, THEIRS = "equity", "broker's figure"


class EquityChart(FigureView):
    """A live chart of equity over time, above bars of the P&L of each instrument, at most eight. Times are UTC.

    Where there are more instruments, those with the smallest P&L are one bar, "others".
    """

    period_s = 0.5

    def __init__(self, source: EquitySource, *, title: str = "Equity", height: int = 380) -> None:
        self._equity_source = source
        self._title = title
        self._shown: tuple[bytes, ...] = ()
        self._shown_bars: list[tuple[str, float]] = []
        super().__init__(source, _figure(title, height))

    def __repr__(self) -> str:
        return f"EquityChart({self._title!r})"

    def _draw(self) -> int:
        data = self._equity_source.equity()
        lines = [_line(data.ts, y, POINTS_A_LINE) for y in (data.ours, data.theirs)]
        changes: dict[int, dict[str, Any]] = {}
        content = tuple(array.tobytes() for line in lines for array in line)
        if content != self._shown:
            self._shown = content
            changes = {place: {"x": x, "y": y} for place, (x, y) in enumerate(lines, start=1)}
            changes[2]["showlegend"] = bool(len(lines[1][0]))
        bars = bars_of(data)
        if bars != self._shown_bars:
            self._shown_bars = bars
            changes[3] = _bar_properties(bars)
        return self._update(changes, "" if any(len(x) for x, _ in lines) else "waiting for data")

    def _picture(self) -> str:
        data = self._equity_source.equity()
        lines = [
            (label, colour, *_line(data.ts, y, STATIC_POINTS))
            for label, colour, y in ((OURS, BLUE, data.ours), (THEIRS, GREY, data.theirs))
        ]
        chart = line_chart(self._title, lines)
        bars = bars_of(data)
        if not bars:
            return chart
        return chart + table("", ["P&L", *(name for name, _ in bars)], [["", *(_signed(value) for _, value in bars)]])


def bars_of(data: EquityData) -> list[tuple[str, float]]:
    """Return the instruments and their P&L in the source's order; NaN left out, the smallest summed up as "others"."""
    known = [(symbol, float(value)) for symbol, value in data.by_symbol if np.isfinite(value)]
    if len(known) <= MOST_BARS:
        return known
    large = sorted(known, key=lambda pair: -abs(pair[1]))[: MOST_BARS - 1]
    others = sum(value for pair in known if pair not in large for value in pair[1:])
    return [*(pair for pair in known if pair in large), ("others", others)]


def _line(ts: np.ndarray, y: Numbers, count: int) -> tuple[Numbers, Numbers]:
    is_finite = np.isfinite(y)
    x, y = ts[is_finite] / 1e6, y[is_finite]
    keep = thinned(x, y, count)
    return x[keep], y[keep]


def _signed(value: float) -> str:
    return f"{value:+,.2f}".replace("-", "\N{MINUS SIGN}")


def _bar_properties(bars: list[tuple[str, float]]) -> dict[str, Any]:
    values = [value for _, value in bars]
    return {
        "x": [escape(symbol).replace(" ", "<br>") for symbol, _ in bars],
        "y": values,
        "text": [_signed(value) for value in values],
        "marker": {"color": [BLUE if value >= 0 else ORANGE for value in values], "line": {"width": 0}},
    }


def _figure(title: str, height: int) -> go.FigureWidget:
    looks = layout(escape(title), height)
    looks["xaxis"] |= {"type": "date", "anchor": "y"}
    looks["yaxis"] |= {"domain": [0.46, 1], "hoverformat": ",.2f", "tickformat": ",.6~r"}
    # A symbol of digits only is a name, not a number.
    looks["xaxis2"] = {
        "type": "category",
        "autotypenumbers": "strict",
        "anchor": "y2",
        "showgrid": False,
        "tickangle": 0,
    }
    looks["xaxis2"]["tickfont"] = {"size": 10}
    looks["yaxis2"] = {**looks["yaxis"], "domain": [0, 0.27], "anchor": "x2", "nticks": 4}
    looks["showlegend"] = True
    traces: list[Any] = [
        time_anchor(),
        go.Scatter(name=OURS, mode="lines", line={"color": BLUE, "width": 1.8}),
        go.Scatter(name=THEIRS, mode="lines", line={"color": GREY, "width": 1.3, "dash": "dot"}, showlegend=False),
        go.Bar(
            name="P&L",
            xaxis="x2",
            yaxis="y2",
            showlegend=False,
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{x} %{text}<extra></extra>",
        ),
    ]
    return go.FigureWidget(data=traces, layout=looks)
