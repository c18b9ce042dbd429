"""`LiveAlert`: fires when a condition over the rows of a live frame becomes true; `FeedAlerts`: those of a feed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pandas as pd

from aries_nb.errors import ClosedError
from aries_nb.live.callbacks import NewRows, News
from aries_nb.live.derived.worker import Job
from aries_nb.live.live_object import LiveObject, SessionViews
from aries_nb.live.market.frame_views import FrameViews
from aries_nb.live.notebook import Cell, running_cell
from aries_nb.model import CANCELLED, CORRECTED, NOT_A_TIME, Column, TableData
from aries_nb.model.clock import MOST_AHEAD_US
from aries_nb.net.background import Background
from aries_nb.store.derived.conditions import Condition, Transitions
from aries_nb.store.derived.reader import RowReader
from aries_nb.store.derived.rows import NewRows as SourceRows
from aries_nb.store.log import Log
from aries_nb.store.values import frame_of

if TYPE_CHECKING:
    from aries_nb.widgets import Blotter, Strip

__all__ = ["FeedAlerts", "LiveAlert"]

SHOWN_FIRINGS = 100
SHOWN_SYMBOLS = 5
_COLUMNS = (
    Column("ts", "time"),
    Column("received", "time"),
    Column("symbol", "text"),
    Column("alert", "text"),
    Column("values", "text"),
    Column("seq", "integer"),
)
_BADGE = (
    Column("alert", "text"),
    Column("now", "text"),
    Column("fired", "integer"),
    Column("last", "time"),
    Column("values", "text"),
)


class _Firing(NamedTuple):
    """One firing: exchange time and receipt of its row in ns, symbol, text, values in words, arrival number."""

    ts: int
    received: int
    symbol: str
    alert: str
    values: str
    seq: int


class LiveAlert(LiveObject):
    """Watches a condition over the rows of a live frame: it fires for a symbol when it becomes true after false.

    It fires again only after it was false for one second of market time without a break. `text` is the condition.
    In a cell it is a badge. It stays until it is closed, its frame is, or the cell that made it makes another one.
    """

    def __init__(self, frame: FrameViews, condition: Condition, alerts: FeedAlerts, *, after: Sequence[Job]) -> None:
        self._condition = condition
        self.text = condition.text
        self.symbols = frame.symbols
        self._of = frame
        self._firings: Log[_Firing] = Log()
        self._guard = threading.RLock()  # of what is below
        self._reader = RowReader(frame._tape)
        self._begin()
        self._job = Job(self._advance, after)
        release = partial(_end, frame._tape.watch(self._job.wake), alerts, self._firings)
        name = f"alert {self.text!r} on {frame._name}"
        super().__init__(frame._link, frame._callbacks, self._firings.watch, name, release=release)
        with self._guard:
            self._take(is_past=not frame._link.arrivals.is_replay)
        alerts.add(self, self._firings)
        self._job.wake()

    @property
    def df(self) -> pd.DataFrame:
        """One row a firing, the newest 50,000, oldest first; a snapshot that belongs to the caller.

        Columns `ts` (exchange time of the row that made it true, UTC), `received` (UTC), `symbol`, `alert` (the text),
        `values` (those that the text uses, in words) and `seq`, the arrival number of the row.
        """
        self._catch_up()
        return self._since(0)

    @property
    def true_now(self) -> tuple[str, ...]:
        """The symbols for which the condition holds by their newest row with known values."""
        self._catch_up()
        return self._holding()

    def __len__(self) -> int:
        self._catch_up()
        return len(self._firings)

    def wait(self, *, firings: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until it has fired that often since it was made; returns the alert.

        `timeout` is in seconds, None for no limit. Raises WaitTimeoutError, ClosedError, or the error that ended the
        feed.
        """
        return self._wait(firings, "firings", timeout=timeout, what=f"{firings} firings of {self._name}")

    async def until(self, *, firings: int = 1, timeout: float | None = 10.0) -> Self:
        """Await that it has fired that often since it was made, while the event loop keeps running; as `wait`."""
        return await self._until(firings, "firings", timeout=timeout, what=f"{firings} firings of {self._name}")

    def __repr__(self) -> str:
        return f"<{self._name}: fired {len(self._firings):,} times, {'live' if self.is_live else self._state}>"

    # Inside.

    @property
    def _uses(self) -> tuple[LiveObject, ...]:
        return (self._of,)

    @property
    def _is_given_up(self) -> bool:
        return self._of._is_given_up

    def _use(self) -> None:
        self._of._use()
        super()._use()

    def _check(self) -> None:
        if not self.is_open:
            because = "" if self._of.is_open else f", as {self._of._name} is"
            raise ClosedError(f"{self._name} is closed{because}", advice="Ask for it again.")
        super()._check()

    def _count(self) -> int:
        return self._firings.version

    def _news(self, *, whole: bool = False) -> News:
        return NewRows(self._since, 0 if whole else self._firings.version)

    def _since(self, first: int) -> pd.DataFrame:
        found, end = self._firings.entries(first)
        return frame_of(_COLUMNS, found).set_index(pd.RangeIndex(end - len(found), end))

    def _first_view(self) -> Strip:
        from aries_nb.widgets import Strip

        source = _BadgeSource(self)
        self._sources.add(source)
        return self._view("badge", lambda: Strip(source))

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        bundle: dict[str, Any] = self._first_view()._repr_mimebundle_(include, exclude)  # it need not have fired
        return bundle

    def _holding(self) -> tuple[str, ...]:
        return tuple(self.symbols[code] for code in np.flatnonzero(self._transitions.holds == 1.0).tolist())

    def _begin(self) -> None:
        self._transitions = Transitions(len(self.symbols))
        self._newest = 0  # time of receipt of the newest row, in us

    def _catch_up(self) -> None:
        if Background.shared().is_current():
            return
        self._of._use()
        self._advance()

    def _advance(self) -> None:
        with self._guard:
            if self._reader.is_restarted:
                self._reader.restart()
                self._begin()
                self._firings.restart()
            self._take(is_past=False)

    def _take(self, *, is_past: bool) -> None:
        """Take new rows; those of before the alert was made only say what holds."""
        for piece in self._reader.take():
            chosen = self._chosen(piece)
            if not len(chosen):
                continue
            values = {name: piece.values(name)[chosen] for name in self._condition.names}
            received, codes = piece.received[chosen], piece.codes[chosen]
            fired = self._transitions.take(codes, received, self._condition.over(values))
            self._newest = int(received[-1])
            if fired and not is_past:
                self._firings.extend([self._firing(piece, int(chosen[place])) for place in fired])

    def _chosen(self, piece: SourceRows) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Return the places of the rows that count: no corrections of earlier ones, none with a wrong time."""
        received = piece.received
        counts = (piece.ts <= received + MOST_AHEAD_US) & (received >= self._newest)
        names = [column.name for column in self._of._tape.columns]
        if "source" in names:
            counts &= ~np.isin(piece.values("source"), self._of._tape.codes_of("source", CORRECTED, CANCELLED))
        for _, by in piece.pairs:
            if 0 <= by - piece.first < len(piece):
                counts[by - piece.first] = False
        return np.flatnonzero(counts)

    def _firing(self, piece: SourceRows, at: int) -> _Firing:
        names = sorted(self._condition.names)
        values = ", ".join(f"{name} {piece.values(name)[at]:.10g}" for name in names)
        symbol = self.symbols[int(piece.codes[at])]
        ts, received = int(piece.ts[at]) * 1_000, int(piece.received[at]) * 1_000
        return _Firing(ts, received, symbol, self.text, values, int(piece.seq[at]))

    def _badge(self) -> tuple[object, ...]:
        """Return the values of `_BADGE`."""
        newest, _ = self._firings.entries(self._firings.version - 1)
        holding = self._holding()
        more = "" if len(holding) <= SHOWN_SYMBOLS else f" and {len(holding) - SHOWN_SYMBOLS} more"
        if not np.isfinite(self._transitions.holds).any():
            now = "unknown"
        elif len(self.symbols) == 1:
            now = "true" if holding else "false"
        else:
            now = f"true for {', '.join(holding[:SHOWN_SYMBOLS])}{more}" if holding else "false"
        last = newest[-1] if newest else None
        values = "" if last is None else last.values if len(self.symbols) == 1 else f"{last.symbol}: {last.values}"
        return self.text, now, self._firings.version, NOT_A_TIME if last is None else last.received, values


def _end(undo: Callable[[], None], alerts: FeedAlerts, firings: Log[_Firing]) -> None:
    undo()
    alerts.ended(firings)


class _BadgeSource:
    """What the badge of an alert shows. Any thread."""

    def __init__(self, alert: LiveAlert) -> None:
        self._alert = alert

    @property
    def version(self) -> int:
        """A number that grows with every firing, and changes with what holds, and with the state of the feed."""
        holds = self._alert._transitions.holds
        return hash((self._alert._firings.version, holds.tobytes(), self._alert.is_live))

    def table(self) -> TableData:
        """Return one row: text, what holds now, how often it fired, when last, and by which values."""
        row: Any = self._alert._badge()
        return TableData(f"Alert {self._alert.text}", _BADGE, (row,), key=(), is_stale=not self._alert.is_live)


class FeedAlerts:
    """All alerts of a feed: `df` has one row a firing, also of alerts that were closed. Any thread.

    In a cell it is a live table of the newest firings.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()  # of the three
        self._logs: list[Log[_Firing]] = []
        self._open: dict[int, LiveAlert] = {}  # by log: an alert stays although no variable refers to it
        self._cells: dict[int, Cell | None] = {}
        self._views = SessionViews()

    def add(self, alert: LiveAlert, firings: Log[_Firing]) -> None:
        """Keep an alert, and close those that an earlier run of the same cell made."""
        cell, key = running_cell(), id(firings)
        with self._guard:
            self._logs.append(firings)
            known = [(self._open[each], of) for each, of in self._cells.items() if each in self._open]
            self._open[key], self._cells[key] = alert, cell
        for each, of in known:
            if cell is not None and of is not None and of.cell == cell.cell and of.run < cell.run:
                each.close()

    def ended(self, firings: Log[_Firing]) -> None:
        """Let go of an alert that was closed; its firings stay."""
        with self._guard:
            self._open.pop(id(firings), None)
            self._cells.pop(id(firings), None)

    @property
    def open(self) -> tuple[LiveAlert, ...]:
        """The alerts that are open, in the order in which they were made."""
        with self._guard:
            return tuple(self._open.values())

    @property
    def df(self) -> pd.DataFrame:
        """One row a firing of any alert, by receipt; columns as in `df` of an alert; belongs to the caller."""
        for each in self.open:
            each._catch_up()
        return frame_of(_COLUMNS, self._all())

    def close(self) -> None:
        """Close all alerts and the view; their firings stay."""
        for each in self.open:
            each.close()
        self._views.close()

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"<{len(self.open)} alerts, {len(self):,} firings>"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        from aries_nb.widgets import Blotter

        view: Blotter = self._views.shown("alerts", lambda: Blotter(self))
        bundle: dict[str, Any] = view._repr_mimebundle_(include, exclude)
        return bundle

    @property
    def version(self) -> int:
        """A number that grows with every firing."""
        with self._guard:
            return sum(log.version for log in self._logs)

    def table(self) -> TableData:
        """Return the newest 100 firings for a view, the newest first."""
        rows: Sequence[Any] = self._all()[: -SHOWN_FIRINGS - 1 : -1]
        columns, shown = _COLUMNS[1:5], tuple(row[1:5] for row in rows)
        return TableData("Alerts", columns, shown, key=())

    def _all(self) -> list[_Firing]:
        with self._guard:
            logs = list(self._logs)
        return sorted((each for log in logs for each in log.entries()[0]), key=lambda each: (each.received, each.seq))
