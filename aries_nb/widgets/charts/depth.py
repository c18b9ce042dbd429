"""Depth chart: cumulative size in the book by price, both sides, with the middle marked."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from aries_nb.errors import UsageError
from aries_nb.model.prices import middle
from aries_nb.widgets.number_format import compacts
from aries_nb.widgets.plotly_view import AxisDigits, FigureView, layout
from aries_nb.widgets.sources import integrity_text
from aries_nb.widgets.static_chart import line_chart
from aries_nb.widgets.static_html import BLUE, GREY, ORANGE
from aries_nb.widgets.widget_model import LiveFigure

if TYPE_CHECKING:
    from aries_nb.model import Numbers
    from aries_nb.widgets.sources import BookSource

__all__ = ["DepthChart"]

MOST_LEVELS = 500
BID_FILL, ASK_FILL = "rgba(43,140,206,0.22)", "rgba(224,130,20,0.22)"


class DepthChart(FigureView):
    """A live chart of cumulative size over price, `depth` levels a side (default 20, at most 500).

    A book that cannot be trusted shows why. `height` in pixels (default 300). Raises UsageError for another depth.
    """

    def __init__(self, source: BookSource, *, depth: int = 20, height: int = 300) -> None:
        if not 1 <= depth <= MOST_LEVELS:
            raise UsageError(f"depth={depth}", where="DepthChart", advice=f"Pass 1 to {MOST_LEVELS} levels.")
        self._book_source = source
        self._depth = depth
        self._symbol = source.levels(1).symbol
        self._shown: bytes | None = None
        self._digits = AxisDigits("xaxis", side=""), AxisDigits(is_price=False)
        super().__init__(source, _figure(self._symbol, height))

    def __repr__(self) -> str:
        return f"DepthChart({self._symbol}, depth={self._depth})"

    def _draw(self) -> int:
        book = self._book_source.levels(self._depth)
        content = book.bids.tobytes() + b"|" + book.asks.tobytes()
        changes: dict[int, dict[str, Any]] = {}
        digits: dict[str, Any] = {}
        if content != self._shown:
            self._shown = content
            (bid_x, bid_y), (ask_x, ask_y) = stairs(book.bids), stairs(book.asks)
            # Bids descend from the best; plotly wants x ascending.
            changes = {0: {"x": bid_x[::-1], "y": bid_y[::-1]}, 1: {"x": ask_x, "y": ask_y}}
            for axis, *values in zip(self._digits, (bid_x, bid_y), (ask_x, ask_y), strict=True):
                digits |= axis.changed(values)
            changes[2] = _middle(book.bids, book.asks, max([*bid_y[-1:], *ask_y[-1:], 0.0]))
        return self._update(changes, integrity_text(book), digits)

    def _picture(self) -> str:
        book = self._book_source.levels(self._depth)
        (bid_x, bid_y), (ask_x, ask_y) = stairs(book.bids), stairs(book.asks)
        bids, asks = compacts([max(bid_y, default=0.0), max(ask_y, default=0.0)])
        return line_chart(
            f"{self._symbol} depth {integrity_text(book)}",
            [(f"bids {bids}", BLUE, bid_x, bid_y), (f"asks {asks}", ORANGE, ask_x, ask_y)],
        )


def stairs(side: Numbers) -> tuple[Numbers, Numbers]:
    """Return prices and cumulative sizes from the best level outwards, starting with the best price at size zero.

    `side` is one side of a book, an array of (price, size), best first; both results are empty if it is.
    """
    if not len(side):
        return np.empty(0), np.empty(0)
    return np.concatenate([side[:1, 0], side[:, 0]]), np.concatenate([[0.0], np.cumsum(side[:, 1])])


def _middle(bids: Numbers, asks: Numbers, top: float) -> dict[str, Any]:
    best = middle(bids[0, 0], asks[0, 0]) if len(bids) and len(asks) else np.nan
    if np.isnan(best):
        return {"x": np.empty(0), "y": np.empty(0)}
    return {"x": np.array([best, best]), "y": np.array([0.0, top])}


def _figure(symbol: str, height: int) -> LiveFigure:
    figure_layout = layout(f"{escape(symbol)} · depth", height)
    figure_layout["yaxis"]["rangemode"] = "tozero"
    figure_layout["legend"]["traceorder"] = "normal"
    traces = [
        go.Scatter(
            name=name,
            mode="lines",
            fill="tozeroy",
            fillcolor=fill,
            line={"color": colour, "width": 1.6, "shape": shape},
        )
        for name, colour, fill, shape in (("bids", BLUE, BID_FILL, "vh"), ("asks", ORANGE, ASK_FILL, "hv"))
    ]
    traces.append(
        go.Scatter(name="mid", mode="lines", line={"color": GREY, "width": 1, "dash": "dot"}, hoverinfo="skip")
    )
    return LiveFigure(data=traces, layout=figure_layout)
