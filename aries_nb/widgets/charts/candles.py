"""Candlestick charts with volume bars where there are sizes: of a rolling frame, or of finished bars."""

from __future__ import annotations

from abc import abstractmethod
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from aries_nb.errors import UsageError
from aries_nb.widgets.charts.candle_buckets import idle_spans
from aries_nb.widgets.charts.frame_candles import FrameCandles
from aries_nb.widgets.charts.gap_bands import GapOverlay, bands_between, over_candles, shapes, spans_of, title_with_gaps
from aries_nb.widgets.plotly_view import TIME_AXIS, AxisDigits, FigureView, layout, time_anchor
from aries_nb.widgets.sources import trading_state
from aries_nb.widgets.static_chart import candle_chart
from aries_nb.widgets.static_html import BLUE, ORANGE
from aries_nb.widgets.widget_model import LiveFigure

if TYPE_CHECKING:
    from datetime import timedelta

    from aries_nb.widgets.charts.candle_buckets import Ohlc
    from aries_nb.widgets.sources import BarsSource, RowsSource, VersionedSource

__all__ = ["MOST_SHOWN", "BarCandles", "Candles"]

# Digits of such volumes would not fit next to the axis, and a number that is cut is another one.
HUGE_VOLUMES = [{"dtickrange": [1e12, None], "value": "~g"}]
MOST_SHOWN = 2_000  # a browser draws each candle as a shape of its own


class _CandleChart(FigureView):
    """Base of candlestick charts: rising candles blue and hollow, falling ones orange. Times are local."""

    waiting = "waiting for data"

    def __init__(self, source: VersionedSource, title: str, *, height: int, has_volume: bool) -> None:
        self._title = title
        self._gap_overlay = GapOverlay(title)
        self._has_volume = has_volume
        self._drawn: Ohlc = (np.empty(0), {})
        self._digits = AxisDigits()
        self._is_stale = False
        self._idle: list[tuple[float, float]] = []  # times without candles that are left out
        super().__init__(source, _figure(title, height, has_volume=has_volume))

    @abstractmethod
    def _fresh(self) -> Ohlc | None:
        """Return the current candles, as starts and columns; None where they are unchanged since the last call."""

    def _layout_changes(self) -> dict[str, Any]:
        """Return the properties of the figure's layout that have changed since the last call; called after `_fresh`.

        Empty in this base class.
        """
        return {}

    def _shown(self) -> tuple[float, float]:
        """Return the start of the first and of the last candle, in epoch milliseconds; (0.0, 0.0) without candles."""
        starts = self._drawn[0]
        return (float(starts[0]), float(starts[-1])) if len(starts) else (0.0, 0.0)

    def _draw(self) -> int:
        fresh = self._fresh()
        changes: dict[int, dict[str, Any]] = {}
        digits: dict[str, Any] = {}
        if fresh is not None:
            self._drawn = starts, columns = fresh
            digits = self._digits.changed(
                [columns["high"], columns["low"], columns["open"][-1:], columns["close"][-1:]]
            )
            changes[1] = {"x": starts, **{name: columns[name] for name in ("open", "high", "low", "close")}}
            if self._has_volume:
                changes[2] = {"x": starts, "y": columns["volume"]}
        return self._update(changes, "" if len(self._drawn[0]) else self.waiting, self._layout_changes() | digits)

    def _picture(self) -> str:
        starts, columns = self._drawn
        title = f"{self._title} · not live" if self._is_stale else self._title
        return candle_chart(title, starts, columns, idle=self._idle)


class Candles(_CandleChart):
    """A live candlestick chart of a rolling frame: the newest 500 candles of length `every` (default "5s").

    `every` is a text such as "1min", a number of seconds, or a timedelta. Candles that a gap of the stream touches
    are incomplete and have a band behind them. `column` is what the candles are made of; None takes "price", else the
    middle of bid and ask, else "last_price", also while the symbol has had neither bid nor ask, as an index. `symbol`
    may be None where the frame has one symbol only. `title` "" shows symbol and length. `height` in pixels (default
    360). Raises UsageError for an unknown symbol or column, or an invalid length.
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
        self._candles = candles = FrameCandles(source, every, symbol=symbol, column=column)
        title = title or f"{candles.symbol} · {candles.every}"
        super().__init__(source, title, height=height, has_volume=candles.has_volume)

    def __repr__(self) -> str:
        return f"Candles({self._candles.symbol}, {self._candles.every})"

    def _fresh(self) -> Ohlc | None:
        return self._candles.columns() if self._candles.read() else None

    def _layout_changes(self) -> dict[str, Any]:
        candles = self._candles
        touched = over_candles(candles.bands, self._drawn[0], candles.step)
        title = title_with_gaps(self._title, candles.bands, candles.spans, trading_state(self._source))
        return self._gap_overlay.changed(shapes(touched, self._shown()), title)


class BarCandles(_CandleChart):
    """A live candlestick chart of the newest `most` bars (default 500); nights and weekends are left out.

    Bars that an unfilled gap touches are incomplete and have a band behind them. `height` in pixels (default 380).

    Raises UsageError for fewer than 1 and more than 2,000 bars.
    """

    waiting = "no bars yet"

    def __init__(self, source: BarsSource, *, title: str, most: int = 500, height: int = 380) -> None:
        if isinstance(most, bool) or not isinstance(most, int | np.integer) or not 1 <= most <= MOST_SHOWN:
            advice = f"Pass a whole number from 1 to {MOST_SHOWN:,}."
            raise UsageError(f"{most!r} is not a number of bars to draw", where="BarCandles", advice=advice)
        self._bars_source = source
        self._most = int(most)
        self._name = title
        self._content: object = None
        super().__init__(source, title, height=height, has_volume=source.newest(most).volume is not None)

    def __repr__(self) -> str:
        return f"BarCandles({self._name})"

    def _fresh(self) -> Ohlc | None:
        bars = self._bars_source.newest(self._most)
        self._is_stale = bars.is_stale
        columns = {"open": bars.open, "high": bars.high, "low": bars.low, "close": bars.close}
        if bars.volume is not None:
            columns["volume"] = bars.volume
        content = (bars.ts.tobytes(), *(column.tobytes() for column in columns.values()))
        if content == self._content:
            return None
        self._content = content
        return bars.ts / 1e6, columns

    def _layout_changes(self) -> dict[str, Any]:
        idle = idle_spans(self._drawn[0])
        spans = spans_of(self._bars_source)
        step = float(np.diff(self._drawn[0]).min()) if len(self._drawn[0]) > 1 else 0.0
        first, last = self._shown()
        bands = bands_between(spans, first, last + step)
        # Bars from before a break must not look live.
        title = f"{self._name} · not live" if self._is_stale else self._name
        touched = over_candles(bands, self._drawn[0], step)
        layout_changes = self._gap_overlay.changed(shapes(touched, self._shown()), title_with_gaps(title, bands, spans))
        if idle != self._idle:
            self._idle = idle
            local = [self._on_clock(np.array(span)) for span in idle]
            breaks = [{"bounds": span.astype("M8[ms]").astype(str).tolist()} for span in local]
            layout_changes["xaxis"] = {"rangebreaks": breaks}
        return layout_changes


def _figure(title: str, height: int, *, has_volume: bool) -> LiveFigure:
    figure_layout = layout(escape(title), height)
    figure_layout["xaxis"] |= {**TIME_AXIS, "rangeslider": {"visible": False}}
    figure_layout |= {"showlegend": False, "dragmode": "pan"}
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
        figure_layout["yaxis"]["domain"] = [0.26, 1]
        figure_layout["yaxis2"] = {**figure_layout["yaxis"], "domain": [0, 0.2], "nticks": 3, "rangemode": "tozero"}
        figure_layout["yaxis2"]["tickformatstops"] = HUGE_VOLUMES
        figure_layout["xaxis"]["anchor"] = "y2"
        traces.append(
            go.Bar(name="volume", yaxis="y2", marker={"color": "rgba(128,128,128,0.5)", "line": {"width": 0}})
        )
    return LiveFigure(data=traces, layout=figure_layout)
