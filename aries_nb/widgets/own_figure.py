"""A user's own Plotly figures: without a script in them, and with our looks. `anb.figure` and `anb.template`."""

from __future__ import annotations

import threading
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
from aries_nb.widgets.static_html import FONT, PALETTE, bundle
from aries_nb.widgets.widget_model import LiveFigure

if TYPE_CHECKING:
    from collections.abc import Collection

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
        figure = go.Figure(figure.to_dict())
    if figure is not None and not isinstance(figure, (go.Figure, dict)):
        raise UsageError(
            f"{type(figure).__name__} is no Plotly figure", where="figure", advice="Pass a plotly.graph_objects.Figure."
        )
    own = LiveFigure(figure)

    def display(include: Collection[str] | None = None, exclude: Collection[str] | None = None) -> dict[str, object]:
        model_id, picture = own.model_id, _picture(own)
        return bundle(model_id=model_id, text_html=picture, include=include, exclude=exclude)

    def before_open() -> None:
        own.timezone = settings.timezone
        own.static_picture = _picture(own)

    own.belongs_to(threading.RLock(), before_open, display)
    return own


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
        x = x.astype("float64") if x.dtype.kind in "iuf" else pd.to_datetime(x, utc=True).as_unit("ns").asi8 / 1e6
    except (TypeError, ValueError):
        return None
    is_finite = np.isfinite(y) & np.isfinite(x)
    x, y = x[is_finite], y[is_finite]
    keep = thinned(x, y, STATIC_POINTS)
    return (x[keep], y[keep]) if len(x) else None
