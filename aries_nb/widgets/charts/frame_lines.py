"""The lines of a chart over a rolling frame: one for each symbol and column, of new rows alone. Draws nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aries_nb.errors import UsageError
from aries_nb.model.prices import has_sides, sides_to_draw
from aries_nb.widgets.charts.gap_bands import GapPlaces, spans_of, with_breaks
from aries_nb.widgets.charts.line_points import LinePoints, thinned
from aries_nb.widgets.number_format import column_kind, column_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aries_nb.model import FrameRows, GapSpan, Numbers
    from aries_nb.widgets.charts.gap_bands import GapBand
    from aries_nb.widgets.sources import RowsSource

__all__ = ["FrameLines"]

MOST_LINES = 8
# A quote is valid until the next one: a slanted line would show prices that never were.
STEPPED = ("price", "size")


class FrameLines:
    """The lines of `columns` of a rolling frame for `symbols` (None: all), at most eight, and its gaps.

    `or_last`: a symbol that has had neither bid nor ask, as an index, has a line of its last price; `names` has one
    such line for each symbol at its end, from position `first_substitute` on. `points_a_chart` is the most points of
    all lines together, `points_a_line` of one. Owned by the view that draws it, which clears `is_changed` of the
    points. Raises UsageError for an unknown column, no line, or more than eight.
    """

    def __init__(
        self,
        source: RowsSource,
        columns: Sequence[str],
        symbols: Sequence[str] | None,
        *,
        or_last: bool,
        points_a_chart: int,
        points_a_line: int,
    ) -> None:
        self._source = source
        self.names = _names(source, columns, symbols)
        self._without_sides = set(dict(self.names)) if or_last and _has_quotes(source) else set()
        # One more line for each such symbol, behind the others; it is shown while it has points.
        self.first_substitute = len(self.names)
        self.names += [
            (symbol, "last_price") for symbol in dict.fromkeys(dict(self.names)) if symbol in self._without_sides
        ]
        self.points = [LinePoints(min(points_a_line, points_a_chart // len(self.names))) for _ in self.names]
        self._end = self._corrected = 0
        self._gap_places = GapPlaces()
        self.spans: tuple[GapSpan, ...] = ()

    def read(self) -> None:
        """Append the rows that have arrived since the last call, drop evicted ones, and locate the stream's gaps.

        Points of lines that have changed, also by a gap that interrupts them, are marked as changed.
        """
        rows = self._source.rows(self._end)
        if rows.end < self._end or rows.corrected != self._corrected:
            # The frame was emptied and filled again, or prints that were read count no more.
            self._gap_places = GapPlaces()
            for points in self.points:
                points.clear()
            rows = self._source.rows(0)
        self._take(rows)
        self._end, self._corrected = rows.end, rows.corrected
        self.spans = spans_of(self._source)  # after the rows: a gap is known before the first row behind it
        if self._gap_places.update(self.spans, self._source.rows, window_start=rows.window_start):
            for points in self.points:
                points.is_changed = True

    @property
    def are_sizes(self) -> list[bool]:
        """Which lines are sizes, to be drawn on an axis of their own; none where there are only sizes."""
        has_prices = any(column_kind(column) != "size" for _, column in self.names)
        return [has_prices and column_kind(column) == "size" for _, column in self.names]

    @property
    def are_steps(self) -> list[bool]:
        """Which lines keep each value until the next: those of quotes, and not of trades."""
        return [column_kind(column) in STEPPED and column != "price" for _, column in self.names]

    @property
    def bands(self) -> list[GapBand]:
        """The located gaps (times without data) that have ended, oldest first."""
        return self._gap_places.bands

    @property
    def is_empty(self) -> bool:
        """Whether no line has a point."""
        return not any(len(points.x) for points in self.points)

    @property
    def shown(self) -> tuple[float, float]:
        """The times of the first and of the last point, in epoch milliseconds; (0.0, 0.0) without points."""
        ends = [points.x[[0, -1]] for points in self.points if len(points.x)]
        return (min(end[0] for end in ends), max(end[1] for end in ends)) if ends else (0.0, 0.0)

    def line(self, place: int) -> tuple[Numbers, Numbers]:
        """Return x (epoch milliseconds) and y of a line; y is NaN where a gap or a missing value interrupts it."""
        points = self.points[place]
        return with_breaks(points.x, points.y, points.places_of(self._breaks(points)))

    def thin_line(self, place: int, count: int) -> tuple[Numbers, Numbers]:
        """Return a line as `line` does, with at most `count` points besides those that interrupt it."""
        points = self.points[place]
        keep = thinned(points.x, points.y, count)
        places = np.searchsorted(keep, points.places_of(self._breaks(points)))
        return with_breaks(points.x[keep], points.y[keep], places)

    def label(self, place: int) -> str:
        """Return the name of a line for readers: its symbol, its column, or both, as far as the lines differ in them.

        The only line has both.
        """
        symbol, column = self.names[place]
        if len({name for name, _ in self.names}) == 1 and len(self.names) > 1:
            return f"{symbol} {column_label(column).lower()}"
        has_one_column = len({name for _, name in self.names}) == 1
        return symbol if has_one_column else f"{symbol} {column_label(column).lower()}"

    def _breaks(self, points: LinePoints) -> NDArray[np.int64]:
        """The rows before which a line is interrupted: those behind gaps, and those without the value."""
        return np.concatenate([np.array(self._gap_places.rows, "int64"), points.breaks])

    def _take(self, rows: FrameRows) -> None:
        drawn = _drawn(rows)
        for symbol in {symbol for symbol, _ in self.names}:
            chosen = _rows_of(rows, symbol)
            numbers = chosen + rows.first
            x = rows.ts[chosen] / 1e3
            if symbol in self._without_sides and has_sides(rows, chosen):
                self._without_sides.discard(symbol)
            for place, (line, points) in enumerate(zip(self.names, self.points, strict=True)):
                if line[0] != symbol:
                    continue
                if place >= self.first_substitute and symbol not in self._without_sides:
                    if len(points.x):
                        points.clear()
                    continue
                points.drop_before(rows.window_start)
                points.extend(numbers, x, drawn[line[1]][chosen])


def _has_quotes(source: RowsSource) -> bool:
    return {"bid_price", "ask_price", "last_price"} <= source.rows(0).numbers.keys()


def _rows_of(rows: FrameRows, symbol: str) -> np.ndarray:
    if symbol not in rows.symbols:
        return np.empty(0, dtype=np.int64)
    is_its = (rows.codes == rows.symbols.index(symbol)) & rows.is_credible
    if {"price", "size"} <= rows.numbers.keys():
        is_its &= ~(rows.numbers["size"] <= 0)  # no trade
    return np.flatnonzero(is_its)


def _drawn(rows: FrameRows) -> Mapping[str, Numbers]:
    """The number columns of the rows, without stub quotes."""
    numbers = rows.numbers
    if not {"bid_price", "ask_price"} <= numbers.keys():
        return numbers
    lasts = numbers.get("last_price", np.full(len(rows.ts), np.nan))
    bids, asks = sides_to_draw(numbers["bid_price"], numbers["ask_price"], lasts)
    return {**numbers, "bid_price": bids, "ask_price": asks}


def _names(source: RowsSource, columns: Sequence[str], symbols: Sequence[str] | None) -> list[tuple[str, str]]:
    if isinstance(columns, str):
        columns = (columns,)
    known = source.rows(0).numbers
    for column in columns:
        if column not in known:
            advice = f"Number columns are: {', '.join(known) or 'none'}."
            raise UsageError(f"no number column {column!r}", where="Chart", advice=advice)
    names = [(symbol, column) for symbol in (source.symbols if symbols is None else symbols) for column in columns]
    if not names:
        raise UsageError("nothing to draw", where="Chart", advice="Name at least one column and one symbol.")
    if len(names) > MOST_LINES:
        raise UsageError(
            f"{len(names)} lines are too many to read, and to redraw ten times a second",
            where="Chart",
            advice=f"Pass at most {MOST_LINES} (symbols times columns), or make a second chart.",
        )
    return names
