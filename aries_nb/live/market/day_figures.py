"""Figures of the trading day of each symbol of a quotes frame, for its board: change, high, low, volume.

They are no columns of the frame: they would make each of its rows wider, and change with trades alone. A displayed
board subscribes to them on its own, and the newest of each symbol are kept.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from aries_nb.errors import FeedError
from aries_nb.live.connection import Link
from aries_nb.model import BoardData, Column, RecordSink
from aries_nb.store import RollingFrame

__all__ = ["DayFigures"]

# Columns of a board, in their order; those that the broker has not are left out. The first two are also computed.
CHANGE, PERCENT = "net_change", "change_percent"
SHOWN = (CHANGE, PERCENT, "high_price", "low_price", "total_volume", "vwap")
PREVIOUS, LAST = "previous_close_price", "last_price"
# Nothing is read faster; each message of a broker that conflates has all fields.
INTERVAL_MS = 1_000


class DayFigures:
    """The newest figures of the day of `symbols`, apart from the columns that their frame has (`columns`).

    Made when a board is displayed: waits for the server's reply like every subscription. Where the server refuses it,
    or the broker has no such fields, there are no figures. Any thread.
    """

    def __init__(self, link: Link, symbols: Sequence[str], columns: Collection[str]) -> None:
        known = link.columns("quotes")
        wanted = [name for name in (*SHOWN, PREVIOUS) if known.get(name) == "number" and name not in columns]
        options = (("min_interval_ms", str(INTERVAL_MS)),) if link.conflates else ()
        self._tape: RollingFrame | None = None
        self.close: Callable[[], object] = lambda: None
        if wanted and LAST in columns:
            with suppress(FeedError):
                self._tape = link.tape("quotes", symbols, [*map(Column, wanted)], options=options, limit=len(symbols))
                self.close = weakref.finalize(self, link.release, self._tape)
                self.close.atexit = False

    @property
    def store(self) -> RecordSink | None:
        """What the stream of the figures fills; None where there is none."""
        return self._tape

    @property
    def version(self) -> int:
        """A number that grows with every change of a figure."""
        return 0 if self._tape is None else self._tape.version

    def with_figures(self, data: BoardData) -> BoardData:
        """Return the board `data` with the figures as further columns.

        A change is that of the last price against the previous close where the frame knows both, else the broker's.
        """
        figures = {name: data.numbers[:, place] for place, name in enumerate(data.columns)}
        if self._tape is not None:
            own = self._tape.board(is_stale=data.is_stale)
            figures |= {name: own.numbers[:, place] for place, name in enumerate(own.columns)}
        unknown = np.full(len(data.symbols), np.nan)
        last, previous = (figures.get(name, unknown) for name in (LAST, PREVIOUS))
        with np.errstate(all="ignore"):
            change = np.where(np.isfinite(last - previous), last - previous, figures.get(CHANGE, unknown))
            base = np.where(np.isfinite(previous), previous, last - change)
            percent = np.where(base > 0, 100 * change / base, figures.get(PERCENT, unknown))
        if CHANGE in figures or PREVIOUS in figures:
            figures = {CHANGE: change, PERCENT: percent} | {
                name: values
                for name, values in figures.items()
                if name in data.columns or name not in (CHANGE, PERCENT)
            }
        added = [name for name in SHOWN if name in figures and name not in data.columns]
        if not added:
            return data
        numbers = np.column_stack([data.numbers, *(figures[name] for name in added)])
        return replace(data, columns=(*data.columns, *added), numbers=numbers)
