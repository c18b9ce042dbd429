"""The candlestick chart of one instrument, with volume bars below where there are sizes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from aries_nb.errors import UsageError
from aries_nb.widgets.figures import BLUE, ORANGE, FigureView, layout, time_anchor
from aries_nb.widgets.ohlc import CandleTape, period_ns
from aries_nb.widgets.static import line_chart

if TYPE_CHECKING:
    from datetime import timedelta

    from aries_nb.model import Numbers, Rows
    from aries_nb.widgets.source import RowsSource

__all__ = ["Candles"]


class Candles(FigureView):
    """A live candlestick chart: at most 500 candles of length `every`, rising ones blue and hollow, falling orange.

    `column` is what the candles are made of; None takes "price", else the middle of bid and ask, else "last_price".
    `symbol` may be None where the frame has one symbol only. Times are UTC.
    """

    def __init__(
        self,
        source: RowsSource,
        every: str | float | timedelta = "5s",
        *,
        symbol: str | None = None,
        column: str | None = None,
        title: str = "",
        height: int = 360,
    ) -> None:
        self._rows_source = source
        self._symbol = _symbol(source, symbol)
        numbers = source.rows(0).numbers
        self._column = _column(numbers, column)
        self._has_volume = "size" in numbers and self._column == "price"
        self._tape = CandleTape(period_ns(every))
        self._every = str(every) if isinstance(every, str) else f"{period_ns(every) / 1e9:g}s"
        self._end = 0
        self._title = title or f"{self._symbol} · {self._every}"
        super().__init__(source, _figure(self._title, height, has_volume=self._has_volume))

    def __repr__(self) -> str:
        return f"Candles({self._symbol}, {self._every})"

    def _draw(self) -> int:
        rows = self._rows_source.rows(self._end)
        if rows.end < self._end:
            # The frame was emptied and filled anew.
            self._tape.clear()
            rows = self._rows_source.rows(0)
        self._end = rows.end
        is_changed = self._tape.drop_before(rows.window_start)
        is_changed |= self._take(rows)
        if not is_changed:
            return self._update({}, self._text())
        starts, bars = self._tape.columns()
        volume = bars.pop("volume")
        changes: dict[int, dict[str, Any]] = {1: {"x": starts, **bars}}
        if self._has_volume:
            changes[2] = {"x": starts, "y": volume}
        return self._update(changes, self._text())

    def _text(self) -> str:
        return "" if len(self._tape.columns()[0]) else "waiting for data"

    def _take(self, rows: Rows) -> bool:
        if self._symbol not in rows.symbols:
            return False
        chosen = np.flatnonzero(rows.codes == rows.symbols.index(self._symbol))
        sizes = rows.numbers["size"][chosen] if self._has_volume else None
        return self._tape.extend(chosen + rows.first, rows.ts[chosen], _prices(rows, self._column)[chosen], sizes)

    def _picture(self) -> str:
        starts, bars = self._tape.columns()
        return line_chart(f"{self._title}, close", [(self._symbol, BLUE, starts, bars["close"])])


def _symbol(source: RowsSource, symbol: str | None) -> str:
    known = source.symbols
    if symbol is None and len(known) == 1:
        return known[0]
    if symbol is None or symbol not in known:
        what = "which symbol?" if symbol is None else f"no symbol {symbol!r} in this frame"
        raise UsageError(what, where="Candles", advice=f"Pass symbol= one of: {', '.join(known) or 'none yet'}.")
    return symbol


def _column(numbers: dict[str, Numbers], column: str | None) -> str:
    """Return the column to draw; "mid" stands for the middle of bid and ask."""
    if column is not None and column not in numbers:
        raise UsageError(
            f"no number column {column!r}", where="Candles", advice=f"Number columns are: {', '.join(numbers)}."
        )
    if column is not None:
        return column
    if "price" in numbers:
        return "price"
    if {"bid_price", "ask_price"} <= numbers.keys():
        return "mid"
    if "last_price" in numbers:
        return "last_price"
    raise UsageError(
        "no price to draw", where="Candles", advice=f"Pass column= one of: {', '.join(numbers) or 'none'}."
    )


def _prices(rows: Rows, column: str) -> Numbers:
    if column == "mid":
        return (rows.numbers["bid_price"] + rows.numbers["ask_price"]) / 2
    return rows.numbers[column]


def _figure(title: str, height: int, *, has_volume: bool) -> go.FigureWidget:
    looks = layout(escape(title), height)
    looks["xaxis"] |= {"type": "date", "rangeslider": {"visible": False}}
    looks |= {"showlegend": False, "dragmode": "pan"}
    traces: list[Any] = [
        time_anchor(),
        go.Candlestick(
            name=escape(title),
            increasing={"line": {"color": BLUE, "width": 1.4}, "fillcolor": "rgba(0,0,0,0)"},
            decreasing={"line": {"color": ORANGE, "width": 1.4}, "fillcolor": ORANGE},
            whiskerwidth=0,
        ),
    ]
    if has_volume:
        looks["yaxis"]["domain"] = [0.26, 1]
        looks["yaxis2"] = {**looks["yaxis"], "domain": [0, 0.2], "nticks": 3, "rangemode": "tozero"}
        looks["xaxis"]["anchor"] = "y2"
        traces.append(
            go.Bar(name="volume", yaxis="y2", marker={"color": "rgba(128,128,128,0.5)", "line": {"width": 0}})
        )
    return go.FigureWidget(data=traces, layout=looks)
