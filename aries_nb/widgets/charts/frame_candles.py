"""The candles of one symbol of a rolling frame, built from new rows alone. Draws nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aries_nb.errors import UsageError
from aries_nb.model.prices import has_sides, middles
from aries_nb.widgets.charts.candle_buckets import CandleBuckets, period_us
from aries_nb.widgets.charts.gap_bands import GapPlaces, spans_of

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

    from aries_nb.model import FrameRows, GapSpan, Numbers
    from aries_nb.widgets.charts.candle_buckets import Ohlc
    from aries_nb.widgets.charts.gap_bands import GapBand
    from aries_nb.widgets.sources import RowsSource

__all__ = ["FrameCandles"]


class FrameCandles:
    """The newest 500 candles of one symbol of a rolling frame, each of length `every`, and the gaps of its stream.

    `symbol`, `column` and `every` are as in `Candles`, and so are the errors. As attributes, `symbol` is the one
    shown, `every` the length as text, `step` in milliseconds; `has_volume` says whether the candles have volumes. Owned
    by the view that draws it.
    """

    def __init__(
        self, source: RowsSource, every: str | float | timedelta, *, symbol: str | None, column: str | None
    ) -> None:
        self._source = source
        self.symbol = _symbol(source, symbol)
        numbers = source.rows(0).numbers
        self._column = _column(numbers, column)
        # An index has no bid and ask. Which symbol is one shows in its rows alone.
        self._has_sides = self._column != "mid" or "last_price" not in numbers
        self._buckets = CandleBuckets(period_us(every))
        self.every = str(every) if isinstance(every, str) else f"{period_us(every) / 1e6:g}s"
        self.step = period_us(every) / 1e3
        self.has_volume = "size" in numbers and self._column == "price"
        self._gap_places = GapPlaces()
        self.spans: tuple[GapSpan, ...] = ()
        self._end = self._corrected = 0

    def read(self) -> bool:
        """Add the rows that have arrived since the last call, and locate the gaps; return whether a candle changed."""
        rows = self._source.rows(self._end)
        if rows.end < self._end:
            # The frame was emptied and filled again.
            self._buckets.clear()
            self._gap_places = GapPlaces()
            rows = self._source.rows(0)
        anew: NDArray[np.bool_] | None = None
        if rows.corrected != self._corrected:
            rows = self._source.rows(0)
            anew = self._corrected_since(rows)
        is_corrected, self._corrected = rows.corrected != self._corrected, rows.corrected
        self._end = rows.end
        self.spans = spans_of(self._source)  # after the rows: a gap is known before the first row behind it
        self._gap_places.update(self.spans, self._source.rows, window_start=rows.window_start)
        is_changed = self._buckets.drop_before(rows.window_start)
        return self._take(rows, anew) or is_changed or is_corrected

    @property
    def bands(self) -> list[GapBand]:
        """The located gaps (times without data) that have ended, oldest first."""
        return self._gap_places.bands

    def columns(self) -> Ohlc:
        """Return the candles as columns: their starts, and open, high, low, close and volume by name.

        The starts are in epoch milliseconds, ascending.
        """
        return self._buckets.columns()

    def _corrected_since(self, rows: FrameRows) -> NDArray[np.bool_]:
        """Drop the candles with prints that were corrected or cancelled; return which rows to add, theirs or new ones.

        `rows` are all of the window.
        """
        is_void = np.zeros(len(rows.ts), "bool") if rows.void is None else rows.void
        is_in_dropped = self._buckets.drop(rows.ts, rows.ts[is_void])
        return is_in_dropped | (np.arange(rows.first, rows.end) >= self._end)

    def _take(self, rows: FrameRows, wanted: NDArray[np.bool_] | None = None) -> bool:
        if self.symbol not in rows.symbols:
            return False
        is_chosen = (rows.codes == rows.symbols.index(self.symbol)) & rows.is_credible
        chosen = np.flatnonzero(is_chosen if wanted is None else is_chosen & wanted)
        sizes = rows.numbers["size"][chosen] if self.has_volume else None
        if not self._has_sides:
            if not has_sides(rows, chosen):
                last = rows.numbers["last_price"][chosen]
                return self._buckets.extend(chosen + rows.first, rows.ts[chosen], last, sizes)
            self._has_sides = True
            self._buckets.clear()  # of last prices, while the first bid or ask had not come
            rows = self._source.rows(0)
            self._end = rows.end
            self._take(rows)
            return True
        return self._buckets.extend(chosen + rows.first, rows.ts[chosen], _prices(rows, self._column)[chosen], sizes)


def _symbol(source: RowsSource, symbol: str | None) -> str:
    known = source.symbols
    if symbol is None and len(known) == 1:
        return known[0]
    if symbol is None or symbol not in known:
        what = "which symbol?" if symbol is None else f"no symbol {symbol!r} in this frame"
        raise UsageError(what, where="Candles", advice=f"Pass symbol= one of: {', '.join(known) or 'none yet'}.")
    return symbol


def _column(numbers: dict[str, Numbers], column: str | None) -> str:
    """Return the name of the column to draw; "mid" stands for the middle of bid and ask.

    `numbers` are the frame's number columns by name, `column` the user's choice, None for none. Raises UsageError for
    an unknown column, or if there is no price to choose.
    """
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


def _prices(rows: FrameRows, column: str) -> Numbers:
    if column == "mid":
        return middles(rows.numbers["bid_price"], rows.numbers["ask_price"])
    return rows.numbers[column]
