"""Equity chart: an account's equity over time, the broker's own figure, and contributions by instrument and cause."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import plotly.graph_objects as go

from aries_nb.model.contracts import OPTION_SYMBOL
from aries_nb.widgets.charts.gap_bands import GapOverlay, bands_between, samples_line, shapes, spans_of, title_with_gaps
from aries_nb.widgets.number_format import MINUS, column_label
from aries_nb.widgets.plotly_view import TIME_AXIS, FigureView, layout, time_anchor
from aries_nb.widgets.static_chart import line_chart
from aries_nb.widgets.static_html import BLUE, GREY, PALETTE, table
from aries_nb.widgets.widget_model import LiveFigure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aries_nb.model import EquityData
    from aries_nb.widgets.sources import EquitySource

__all__ = ["EquityChart", "bars_of"]

# Both lines together have at most two thousand points, which a browser redraws in time.
POINTS_A_LINE = 1_000
STATIC_POINTS = 300
MOST_BARS = 8
# Characters of a label's line that fit below one of so many bars.
LABEL_SIGNS = 11
OURS, THEIRS = "equity", "broker's figure"
# Other colours than those of up and down: a cause is neither.
CAUSE_COLOURS = (PALETTE[2], PALETTE[3], PALETTE[6], PALETTE[7])
MOST_CAUSES = len(CAUSE_COLOURS)
FIRST_BAR = 3  # place of the first cause's trace, after the time anchor and the two lines

# An instrument, and the contribution of each cause to equity.
CauseBars: TypeAlias = "list[tuple[str, tuple[float, ...]]]"


class EquityChart(FigureView):
    """A live chart of equity over time, above bars of what each instrument added, at most eight, stacked by cause.

    With more instruments, those that added or cost least are one bar, "others". Times are on the clock of
    `settings.timezone` when the chart is made. In a gap of the quotes or of the account's stream the lines are
    interrupted, with a band behind. `height` in pixels (default 380).
    """

    period_s = 0.5

    def __init__(self, source: EquitySource, *, title: str = "Equity", height: int = 380) -> None:
        self._equity_source = source
        self._title = title
        self._gap_overlay = GapOverlay(title)
        self._shown: tuple[bytes, ...] = ()
        self._shown_bars: CauseBars = []
        super().__init__(source, _figure(title, height))

    def __repr__(self) -> str:
        return f"EquityChart({self._title!r})"

    def _draw(self) -> int:
        data = self._equity_source.equity()
        spans = spans_of(self._equity_source)
        shown = (data.ts[0] / 1e6, data.ts[-1] / 1e6) if len(data.ts) else (0.0, 0.0)
        bands = bands_between(spans, *shown)
        lines = [samples_line(data.ts, y, POINTS_A_LINE, bands) for y in (data.ours, data.theirs)]
        changes: dict[int, dict[str, Any]] = {}
        content = tuple(array.tobytes() for line in lines for array in line)
        if content != self._shown:
            self._shown = content
            changes = {place: {"x": x, "y": y} for place, (x, y) in enumerate(lines, start=1)}
            changes[2]["showlegend"] = bool(len(lines[1][0]))
        bars = bars_of(data)
        if bars != self._shown_bars:
            self._shown_bars = bars
            changes |= {FIRST_BAR + place: each for place, each in enumerate(_bar_properties(bars, data.causes))}
        # Only behind the lines: the bars below have no time axis.
        drawn = [shape | {"yref": "y domain"} for shape in shapes(bands, shown)]
        layout_changes = self._gap_overlay.changed(drawn, title_with_gaps(self._title, bands, spans))
        return self._update(changes, "" if any(len(x) for x, _ in lines) else "waiting for data", layout_changes)

    def _picture(self) -> str:
        data = self._equity_source.equity()
        bands = bands_between(spans_of(self._equity_source), -np.inf, np.inf)
        lines = [
            (label, colour, *samples_line(data.ts, y, STATIC_POINTS, bands))
            for label, colour, y in ((OURS, BLUE, data.ours), (THEIRS, GREY, data.theirs))
        ]
        chart = line_chart(self._title, lines)
        bars = bars_of(data)
        if not bars:
            return chart
        rows = [[name, *map(_signed, values), _signed(sum(values))] for name, values in bars]
        return chart + table("", ["", *map(column_label, data.causes), "Total"], rows)


def bars_of(data: EquityData) -> CauseBars:
    """Return the instruments and the contribution of each cause to their change of equity, in the source's order.

    Instruments with an unknown contribution and those without any are left out. Of more than eight, the seven with
    the largest contributions are kept, and the rest are summed up as the last, "others".
    """
    known = [(symbol, values) for symbol, values in data.by_cause if np.isfinite(values).all() and any(values)]
    if len(known) <= MOST_BARS:
        return known
    large = sorted(known, key=lambda pair: -sum(map(abs, pair[1])))[: MOST_BARS - 1]
    small = [values for symbol, values in known if (symbol, values) not in large]
    others = tuple(map(sum, zip(*small, strict=True)))
    return [*(pair for pair in known if pair in large), ("others", others)]


def _lines(symbol: str) -> list[str]:
    """Return the parts of a name that are lines of a label: its words, and long ones in pieces.

    That of an option is its root, its expiry with the right, and its strike.
    """
    option = OPTION_SYMBOL.fullmatch(symbol)
    if option is not None:
        root, expiry, right, strike = option.groups()
        return [root, f"{expiry}{right}", strike]
    return [word[at : at + LABEL_SIGNS] for word in symbol.split(" ") for at in range(0, len(word) or 1, LABEL_SIGNS)]


def _signed(value: float) -> str:
    return f"{value:+,.2f}".replace("-", MINUS)


def _bar_properties(bars: CauseBars, causes: Sequence[str]) -> list[dict[str, Any]]:
    """Return new properties of the traces below the equity: one for each cause, one for the totals, one for space.

    That of the totals shows their texts; the last is invisible and keeps room for these texts on the axis. `bars` are
    the instruments with their contributions, `causes` the names of the causes.
    """
    names = ["<br>".join(map(escape, _lines(symbol))) for symbol, _ in bars]
    heights = [[values[place] for _, values in bars] for place in range(len(causes))]
    stacked = [
        {
            "name": column_label(cause),
            "x": names,
            "y": y,
            "visible": any(y),
            "hovertext": [_signed(value) for value in y],
        }
        for cause, y in zip(causes, heights, strict=True)
    ]
    blank = [{"x": [], "y": [], "visible": False}] * (MOST_CAUSES - len(stacked))
    totals = [sum(values) for _, values in bars]
    # Above the bars above zero, or below those below, so that no text lies on a bar.
    tops = [
        sum(value for value in values if (value > 0) == (total >= 0))
        for (_, values), total in zip(bars, totals, strict=True)
    ]
    sides = ["top center" if total >= 0 else "bottom center" for total in totals]
    total = {"x": names, "y": tops, "text": [_signed(total) for total in totals], "textposition": sides}
    return [*stacked[:MOST_CAUSES], *blank, total, {"x": names, "y": tops}]


def _figure(title: str, height: int) -> LiveFigure:
    figure_layout = layout(escape(title), height)
    figure_layout["xaxis"] |= {**TIME_AXIS, "anchor": "y"}
    figure_layout["yaxis"] |= {"domain": [0.48, 1], "hoverformat": ",.2f", "tickformat": ",.6~r"}
    # A symbol of digits only is a name, not a number.
    figure_layout["xaxis2"] = {
        "type": "category",
        "autotypenumbers": "strict",
        "anchor": "y2",
        "showgrid": False,
        "tickangle": 0,
    }
    figure_layout["xaxis2"]["tickfont"] = {"size": 10}
    figure_layout["yaxis2"] = {**figure_layout["yaxis"], "domain": [0, 0.28], "anchor": "x2", "nticks": 4}
    figure_layout["showlegend"] = True
    figure_layout["barmode"] = "relative"
    figure_layout["bargap"] = 0.45
    figure_layout["legend2"] = {**figure_layout["legend"], "y": 0.3}
    traces: list[Any] = [
        time_anchor(),
        go.Scatter(name=OURS, mode="lines", line={"color": BLUE, "width": 1.8}),
        go.Scatter(name=THEIRS, mode="lines", line={"color": GREY, "width": 1.3, "dash": "dot"}, showlegend=False),
        *(
            go.Bar(
                xaxis="x2",
                yaxis="y2",
                legend="legend2",
                marker={"color": colour, "line": {"width": 0}},
                hovertemplate="%{hovertext}<extra>%{fullData.name}</extra>",
            )
            for colour in CAUSE_COLOURS
        ),
        go.Scatter(
            mode="markers+text",
            marker={"size": 8, "opacity": 0},  # keeps the text off the bar
            xaxis="x2",
            yaxis="y2",
            showlegend=False,
            cliponaxis=False,
            textfont={"size": 11},
            hovertemplate="%{text}<extra>total</extra>",
        ),
        # Texts do not widen an axis, points do.
        go.Scatter(
            mode="markers",
            xaxis="x2",
            yaxis="y2",
            showlegend=False,
            hoverinfo="skip",
            marker={"size": 36, "opacity": 0},
        ),
    ]
    return LiveFigure(data=traces, layout=figure_layout)
