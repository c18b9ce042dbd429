"""Charts of the light engine: lines, candles and equity, alone or many in one sheet with a common crosshair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from aries_nb.errors import UsageError
from aries_nb.model.settings import settings
from aries_nb.widgets.charts.chart import STATIC_POINTS, lines_picture
from aries_nb.widgets.charts.frame_candles import FrameCandles
from aries_nb.widgets.charts.frame_lines import FrameLines
from aries_nb.widgets.charts.gap_bands import bands_between, gap_note, over_candles, samples_line, spans_of
from aries_nb.widgets.light_view import LightContent, LightView
from aries_nb.widgets.number_format import Decimals, column_kind, column_label, decimals_of_rows
from aries_nb.widgets.sources import FillsOverlaySource, trading_state
from aries_nb.widgets.static_chart import candle_chart, line_chart
from aries_nb.widgets.static_html import BLUE, PALETTE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import timedelta

    from aries_nb.model import GapSpan, Numbers
    from aries_nb.widgets.charts.gap_bands import GapBand
    from aries_nb.widgets.light_view import Block
    from aries_nb.widgets.sources import EquitySource, RowsSource, VersionedSource

__all__ = ["MOST_CHARTS", "LightCandles", "LightChart", "LightEquity", "LightLines", "LightPart"]

MOST_CHARTS = 40  # of a sheet
# A canvas draws many more points than Plotly in the same time.
POINTS_A_CHART = 8_000
MOST_POINTS = 4_000
NEWEST = 512  # far more than a line gets between two frames
THEIRS_COLOUR = "#8c8c8c"


class LightPart(Protocol):
    """Interface of one chart of a light view, alone or in a sheet. Owned by the view that draws it."""

    title: str

    def content(self) -> LightContent:
        """Return what shows the newest data: the last of the blocks are the marks of own fills."""

    def picture(self) -> str:
        """Return the chart as HTML that needs no script, with all texts escaped."""


class LightChart(LightView):
    """A live chart drawn by the light engine, or a sheet of up to 40 of them with one crosshair.

    `parts` are its charts, `across` how many are side by side where there is room, 0 for a single chart. The times on
    its axes are in `settings.timezone`. Raises UsageError for no chart and for too many.
    """

    def __init__(self, source: VersionedSource, parts: Sequence[LightPart], *, across: int = 0) -> None:
        if not 1 <= len(parts) <= MOST_CHARTS:
            advice = f"Name 1 to {MOST_CHARTS} symbols; more fit in a second sheet."
            raise UsageError(f"{len(parts)} charts in one sheet", where="charts", advice=advice)
        self._parts = parts
        self._across = across
        super().__init__(source)

    def __repr__(self) -> str:
        return f"LightChart({', '.join(part.title for part in self._parts)})"

    def content(self) -> LightContent:
        """Return what shows the newest data of all charts; called with `lock` held."""
        charts: list[dict[str, object]] = []
        blocks: list[Block] = []
        for part in self._parts:
            each = part.content()
            charts.append({**each.description, "at": len(blocks), "blocks": len(each.blocks)})
            blocks += each.blocks
        height = charts[0]["height"]
        return LightContent({"charts": charts, "across": self._across, "height": height}, blocks)

    def _picture(self) -> str:
        return "".join(part.picture() for part in self._parts)


class LightLines:
    """One chart of lines of a rolling frame. The arguments and errors are those of `Chart`."""

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
        self._source = source
        self._lines = FrameLines(
            source, columns, symbols, or_last=or_last, points_a_chart=POINTS_A_CHART, points_a_line=MOST_POINTS
        )
        self.title = title
        self._height = height
        names = self._lines.names
        self._symbols = tuple(dict.fromkeys(symbol for symbol, _ in names))
        self._decimals = Decimals(is_price=any(column_kind(column) == "price" for _, column in names))
        self._size_decimals = Decimals(is_price=False)
        has_prices = all(column_kind(column) == "price" for _, column in names)
        self._has_marks = has_prices and isinstance(source, FillsOverlaySource)

    def content(self) -> LightContent:
        """Return what shows the newest rows: a block (x in epoch milliseconds, y) for each line."""
        lines = self._lines
        lines.read()
        for points, is_size in zip(lines.points, lines.are_sizes, strict=True):
            if points.is_changed:
                points.is_changed = False
                _grow(self._size_decimals if is_size else self._decimals, points.y)
        description = {
            **_description(self._source, "lines", self.title, self._height, lines.bands, lines.spans),
            "lines": [self._line(place) for place in range(len(lines.names))],
            "decimals": self._decimals.known,
            "sizeDecimals": self._size_decimals.known,
        }
        blocks: list[Block] = [lines.line(place) for place in range(len(lines.names))]
        return LightContent(description, [*blocks, _marks(self._source if self._has_marks else None, self._symbols)])

    def picture(self) -> str:
        """Return the chart as HTML that needs no script."""
        return lines_picture(self.title, self._lines)

    def _line(self, place: int) -> dict[str, object]:
        _, column = self._lines.names[place]
        return {
            # The title has the symbol where there is only one.
            "label": column_label(column) if len(self._symbols) == 1 else self._lines.label(place),
            "colour": PALETTE[place % len(PALETTE)],
            "isSize": self._lines.are_sizes[place],
            "isStep": self._lines.are_steps[place],
            "isSpare": place >= self._lines.first_substitute,
        }


class LightCandles:
    """One candlestick chart of a rolling frame. The arguments and errors are those of `Candles`.

    Each candle is drawn over its time, from its start on.
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
        self._source = source
        self._candles = FrameCandles(source, every, symbol=symbol, column=column)
        self.title = title or f"{self._candles.symbol} · {self._candles.every}"
        self._height = height
        self._decimals = Decimals(is_price=True)
        self._size_decimals = Decimals(is_price=False)
        self._block: Block = (np.empty(0),) * (6 if self._candles.has_volume else 5)

    def content(self) -> LightContent:
        """Return what shows the newest rows: a block of starts (epoch milliseconds), open, high, low, close, volume."""
        candles = self._candles
        if candles.read():
            starts, columns = candles.columns()
            names = (
                ("open", "high", "low", "close", "volume") if candles.has_volume else ("open", "high", "low", "close")
            )
            self._block = (starts, *(columns[name] for name in names))
            for values in self._block[1:5]:
                _grow(self._decimals, values)
            if candles.has_volume:
                _grow(self._size_decimals, self._block[5])
        half = candles.step / 2  # `over_candles` takes a candle to be around its start
        bands = [
            band._replace(first=band.first + half, last=band.last + half)
            for band in over_candles(candles.bands, self._block[0], candles.step)
        ]
        description = {
            **_description(self._source, "candles", self.title, self._height, candles.bands, candles.spans),
            "bands": _drawn(bands),
            "lines": [],
            "decimals": self._decimals.known,
            "sizeDecimals": self._size_decimals.known,
            "step": candles.step,
            "hasVolume": candles.has_volume,
        }
        return LightContent(description, [self._block, _marks(self._source, (candles.symbol,))])

    def picture(self) -> str:
        """Return the candles as HTML that needs no script."""
        starts, *columns = self._block
        named = dict(zip(("open", "high", "low", "close"), columns, strict=False))
        return candle_chart(self.title, starts, named, idle=())


class LightEquity:
    """One chart of an account's equity over time, and of the broker's own figure. The arguments are `EquityChart`'s."""

    def __init__(self, source: EquitySource, *, title: str = "Equity", height: int = 260) -> None:
        self._source = source
        self.title = title
        self._height = height
        self._decimals = Decimals(is_price=True)

    def content(self) -> LightContent:
        """Return what shows the newest equity: a block (x in epoch milliseconds, y) for each of the two lines."""
        data = self._source.equity()
        spans = spans_of(self._source)
        bands = bands_between(spans, *((data.ts[0] / 1e6, data.ts[-1] / 1e6) if len(data.ts) else (0.0, 0.0)))
        blocks: list[Block] = [samples_line(data.ts, y, MOST_POINTS, bands) for y in (data.ours, data.theirs)]
        _grow(self._decimals, np.round(blocks[0][1], 2))
        lines = [("equity", BLUE, False), ("broker's figure", THEIRS_COLOUR, True)]
        description = {
            **_description(self._source, "lines", self.title, self._height, bands, spans),
            "lines": [
                {"label": label, "colour": colour, "isSize": False, "isStep": False, "isSpare": is_dotted}
                | {"isDotted": is_dotted}
                for label, colour, is_dotted in lines
            ],
            "decimals": self._decimals.known,
            "sizeDecimals": 0,
        }
        return LightContent(description, [*blocks, _marks(None, ())])

    def picture(self) -> str:
        """Return both lines as HTML that needs no script."""
        data = self._source.equity()
        bands = bands_between(spans_of(self._source), -np.inf, np.inf)
        drawn = (("equity", BLUE, data.ours), ("broker's figure", THEIRS_COLOUR, data.theirs))
        lines = [(label, colour, *samples_line(data.ts, y, STATIC_POINTS, bands)) for label, colour, y in drawn]
        return line_chart(self.title, lines)


def _description(
    source: object, kind: str, title: str, height: int, bands: Sequence[GapBand], spans: Sequence[GapSpan]
) -> dict[str, object]:
    """Return what the descriptions of all charts have.

    The note names a halt of trading, by `source`, and the gaps: `bands`, which are drawn, and `spans`.
    """
    notes = trading_state(source), gap_note(bands, spans)
    return {
        "kind": kind,
        "title": title,
        "height": height,
        "zone": settings.timezone,
        "note": " · ".join(note for note in notes if note),
        "bands": _drawn(bands),
        "waiting": "waiting for data",
    }


def _drawn(bands: Sequence[GapBand]) -> list[list[object]]:
    return [[band.first, band.last, f"{band.cause} {band.lasted}"] for band in bands]


def _grow(decimals: Decimals, values: Numbers) -> None:
    values = values[-NEWEST:] if decimals.known else values  # the earlier ones were looked at before
    if len(values):
        decimals_of_rows([decimals], values[np.newaxis])


def _marks(source: object, symbols: Collection[str]) -> Block:
    """Return the user's own fills in these symbols as a block: x in epoch milliseconds, price, side, quantity.

    The side is 1 for a purchase and -1 for a sale. Without a source that knows fills the block has no rows.
    """
    fills = source.own_fills(symbols) if isinstance(source, FillsOverlaySource) else []
    known = sorted((fill for fill in fills if np.isfinite(fill.price)), key=lambda fill: fill.ts)
    rows = [(fill.ts / 1e6, fill.price, np.sign(fill.quantity), abs(fill.quantity)) for fill in known]
    return tuple(np.array(rows, dtype=np.float64).reshape(-1, 4).T.copy())
