"""Bars in a room: those of the publisher, as it has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from aries_nb.errors import FeedError
from aries_nb.live.connection import Link
from aries_nb.model import BarsData, GapSpan, Observers, RecordSink, Values
from aries_nb.store import GapLog, Table
from aries_nb.store.bars import MOST_BARS
from aries_nb.store.values import utc_times

__all__ = ["CopiedBars", "bar_options"]

NUMBERS = ("open", "high", "low", "close", "volume", "trades")


def bar_options(interval: str) -> tuple[tuple[str, str], ...]:
    """Return the options of a subscription to bars in a room."""
    return (("interval", interval),)


class CopiedBars:
    """The bars of a publisher: each with its `source` and `complete`, as far back as the publisher has them.

    `interval` is the length of a bar. A `BarUpdates`. Raises UnknownSymbolError where they are not served.
    """

    def __init__(self, link: Link, gaps: GapLog, symbol: str, interval: str) -> None:
        self.symbol = symbol
        self.observers = Observers()
        self.error: FeedError | None = None
        self._link, self._gaps = link, gaps
        self._table = link.table("bars", symbol, options=bar_options(interval), limit=MOST_BARS)
        self.series = _CopiedSeries(self._table)
        self._undo = self._table.watch(self.observers.notify)

    @property
    def version(self) -> int:
        """A number that grows with every change."""
        return self._table.version

    @property
    def trades(self) -> RecordSink:
        """What the stream fills."""
        return self._table

    def bars(self, *, newest: int | None = None) -> pd.DataFrame:
        """Return the newest bars, None for all, as `LiveBars.df` does."""
        return self.series.frame(newest)

    def frozen(self) -> Callable[[], pd.DataFrame]:
        """Return a function that returns what `bars` returns now."""
        series = _CopiedSeries(self._table.frozen())
        return lambda: series.frame(None)

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps of the room and the publisher since the first incomplete bar."""
        since = min((int(row[0]) for row in self.series.rows() if not row[8]), default=None)
        return tuple(
            GapSpan(gap.started, gap.ended, gap.cause)
            for gap in self._gaps.all()
            if since is not None and not gap.is_of_one and (gap.ended is None or gap.ended >= since)
        )

    def give_up(self, reason: str) -> None:
        """End the stream until the link takes it up again."""
        self._link.give_up(self._table, reason)

    def close(self) -> None:
        """End the updates; idempotent."""
        self._undo()
        self._link.release(self._table)


class _CopiedSeries:
    """The rows of a table of bars in the order of time, as `store/bars.py` has bars. Any thread."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._sorted: tuple[int, list[Values]] = (-1, [])

    @property
    def version(self) -> int:
        """A number that grows with every change."""
        return self._table.version

    def __len__(self) -> int:
        return len(self._table)

    def newest_bars(self, most: int) -> BarsData:
        """Return the newest `most` bars as arrays for a chart, oldest first."""
        rows = self.rows()[-most:]
        columns = np.array([row[1:6] for row in rows], "float64").reshape(len(rows), 5).T
        return BarsData(np.array([row[0] for row in rows], "int64"), *columns)

    def frame(self, newest: int | None) -> pd.DataFrame:
        """Return the newest bars, None for all, as `BarSeries.frame` does."""
        rows = self.rows()
        rows = rows if newest is None else rows[-newest:]
        index = pd.DatetimeIndex(utc_times(np.array([row[0] for row in rows], "int64")), name="ts")
        numbers = np.array([row[1:7] for row in rows], "float64").reshape(len(rows), len(NUMBERS))
        frame = pd.DataFrame(numbers, columns=pd.Index(NUMBERS), index=index)
        frame["source"] = pd.array([str(row[7]) for row in rows], dtype="str")
        frame["complete"] = np.array([row[8] for row in rows], "int64").astype("bool")
        return frame

    def rows(self) -> list[Values]:
        """Return the values of all bars, oldest first, in the order of `BAR_FIELDS`."""
        version, rows = self._sorted
        now = self._table.version
        if version != now:
            rows = sorted((row.values for row in self._table.rows()), key=lambda values: values[0])
            self._sorted = now, rows
        return rows
