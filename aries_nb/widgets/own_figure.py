"""A user's own Plotly figures: without a script in them, and with our looks. `anb.figure` and `anb.template`."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from aries_nb.errors import UsageError
from aries_nb.model.settings import settings
from aries_nb.widgets.charts.line_points import thinned
from aries_nb.widgets.plotly_view import our_template
from aries_nb.widgets.static_chart import Line, line_chart
from aries_nb.widgets.static_html import FONT, PALETTE
from aries_nb.widgets.view import View
from aries_nb.widgets.widget_model import LiveFigure

if TYPE_CHECKING:
    from aries_nb.model import Numbers

    template: go.layout.Template

__all__ = ["figure", "template"]

STATIC_POINTS = 300
MOST_LINES = 8


def figure(figure: go.Figure | dict[str, Any] | None = None) -> LiveFigure:
    """Return a FigureWidget with the data and layout of `figure` that carries no script of its own, as our charts.

    >>> own = anb.figure(px.line(quotes.df, y="bid_price", template=anb.template))

    Events (`on_click`, `on_hover`, `on_change`), later edits, styling and further traces work as in any FigureWidget;
    `figure` itself is not changed, and None makes an empty one. A saved notebook needs kilobytes for it instead of
    5 MB, and shows its lines and bars without a kernel. No button uploads it. `close()` frees it.

    Raises UsageError for what is no Plotly figure.
    """
    if isinstance(figure, go.FigureWidget):
        figure = go.Figure(figure.data, figure.layout)
    if figure is not None and not isinstance(figure, (go.Figure, dict)):
        raise UsageError(
            f"{type(figure).__name__} is no Plotly figure", where="figure", advice="Pass a plotly.graph_objects.Figure."
        )
    return _OwnFigure(LiveFigure(figure)).widget


class _Still:
    """The source of a figure that only its user changes."""

    version = 0


class _OwnFigure(View):
    """The view of a user's own figure: nothing draws it, but it gives the page signs of life as all views do."""

    period_s = refresh_s = 1.0  # no frames: only signs of life every two seconds

    def __init__(self, own: LiveFigure) -> None:
        super().__init__(_Still())
        self._own = own
        own.belongs_to(self.lock, self._before_open, self._repr_mimebundle_)
        own.listen(self._on_report)

    def __repr__(self) -> str:
        return f"figure({self._own.layout.title.text or ''})"

    @property
    def widget(self) -> LiveFigure:
        return self._own

    def _before_open(self) -> None:
        self._own.timezone = settings.timezone
        self._own.static_picture = self._static_html()

    def _draw(self) -> int:
        return 0

    def _picture(self) -> str:
        return _picture(self._own)

    def _show_problem(self, text: str) -> int:  # noqa: ARG002  # a user's figure shows what its user put there
        return 0

    def _release(self) -> None:
        self._own.close()


def __getattr__(name: str) -> go.layout.Template:
    if name == "template":
        return our_template()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _picture(own: LiveFigure) -> str:
    """Return the static picture of a figure: its lines and bars, or a paragraph that names what it has instead."""
    title = own.layout.title.text or "figure"
    lines: list[Line] = []
    for place, trace in enumerate(own.data):
        points = _points(trace)
        if points is not None and trace.visible in (None, True):
            colour = (trace.line.color if trace.type == "scatter" else trace.marker.color) or ""
            shown = colour if isinstance(colour, str) and colour else PALETTE[place % len(PALETTE)]
            lines.append((trace.name or f"trace {place}", escape(shown), *points))
    if lines:
        return line_chart(title, lines[:MOST_LINES])
    kinds = ", ".join(sorted({trace.type for trace in own.data})) or "no data yet"
    return f'<p style="{FONT}">{escape(title)}: {escape(kinds)}</p>'


def _points(trace: Any) -> tuple[Numbers, Numbers] | None:  # noqa: ANN401  # plotly has no types
    """Return x and y of a line or of bars, at most 300 finite points; None for other traces and other values."""
    if trace.type not in ("scatter", "scattergl", "bar") or trace.y is None:
        return None
    try:
        y = np.asarray(trace.y, "float64")
        x = np.arange(len(y), dtype="float64") if trace.x is None else np.asarray(trace.x)
        x = (
            x.astype("float64")
            if x.dtype.kind in "iuf"
            else pd.to_datetime(x, utc=True, format="ISO8601").as_unit("ns").asi8 / 1e6
        )
    except (TypeError, ValueError):
        return None
    is_finite = np.isfinite(y) & np.isfinite(x)
    x, y = x[is_finite], y[is_finite]
    keep = thinned(x, y, STATIC_POINTS)
    return (x[keep], y[keep]) if len(x) else None
