"""`LivePnl`: the P&L of an account as candles, and the sources of candles that several tables of one interval share."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas.api.typing import NaTType

from aries_nb.live.account.equity import LiveEquity
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.connection import Link
from aries_nb.live.table import LiveTable, TableSource
from aries_nb.model import PUT, TABLE_KEYS, BarsData, Column, TableData
from aries_nb.model.settings import Engine, check_plotly, settings
from aries_nb.net.background import on_network
from aries_nb.store import Table, TableListener
from aries_nb.store.log import RowChange, TableRow

if TYPE_CHECKING:
    from aries_nb.widgets import BarCandles

__all__ = ["INTERVALS", "CandleSource", "DerivedCandles", "LivePnl", "PnlSource", "ReportedCandles"]

SECOND = 1_000_000_000
INTERVALS: Mapping[str, int] = {
    "15s": 15 * SECOND,
    "1m": 60 * SECOND,
    "5m": 300 * SECOND,
    "15m": 900 * SECOND,
    "1h": 3_600 * SECOND,
    "1d": 86_400 * SECOND,
}
PRICES = ("open", "high", "low", "close")
MOST_CANDLES = 10_000  # of one interval, as many as a table keeps
NETWORK_SECONDS = 10.0
# Of candles that are made of equity.
COLUMNS = (Column("interval", "text"), Column("start", "time"), *map(Column, PRICES))


@dataclass(slots=True, eq=False)
class _Member:
    """A table that a `CandleSource` fills with the candle that contains `since` (ns since the epoch) and later ones.

    `is_admitted` is set once the table has got the candles known so far; only then is it given new ones.
    """

    table: Table
    since: int
    is_admitted: bool = False


class CandleSource(ABC):
    """Base class of the sources of an account's P&L candles of one interval, which fill one or more tables.

    All tables share one stream, whatever their first times; it ends when the last table leaves. The network's thread
    writes the tables; `join` and `leave` may be called on any thread, `leave` also in a finalizer. `columns` are those
    of a candle, `interval` is its length, such as "1m".
    """

    note = ""  # for a view
    streamed: Table | None = None  # the store's table that the broker's own candles fill

    def __init__(self, columns: Sequence[Column], interval: str) -> None:
        self._interval = interval
        self._span = INTERVALS.get(
            interval, 1
        )  # months have no fixed length: they are requested from their first day on
        self.columns = tuple(columns)
        names = [column.name for column in self.columns]
        self._start = names.index("start")
        self._members: dict[int, _Member] = {}
        self._rows: dict[object, TableRow] = {}  # by start, as they arrived
        self._joining = threading.Lock()  # held while a stream begins; `leave` never takes it

    @property
    @abstractmethod
    def is_stale(self) -> bool:
        """Whether a candle is from before an interruption of the stream and not confirmed since, or none can arrive."""

    def check(self) -> None:
        """Raise the error of what the candles are made of, if it can have no more changes; else return. A hook."""
        return

    def join(self, table: Table, since: int, *, is_awaited: bool) -> None:
        """Fill a table with the candles from the one containing `since` on, and keep it current until `leave`.

        `since` is in ns since the epoch. Blocks until the known candles are in the table, unless `is_awaited` is False.
        Raises UsageError where the server refuses the stream, and the error that ended the feed.
        """
        member = _Member(table, since)
        with self._joining:
            # Before the stream begins, so that a table that leaves meanwhile is not the last.
            self._members[id(table)] = member
            try:
                self._begin(since, is_awaited=is_awaited)
                admitted = on_network(lambda: self._admit(member))
                if is_awaited:
                    admitted.result(NETWORK_SECONDS)
            except BaseException:
                self.leave(table)
                raise

    def leave(self, table: Table) -> None:
        """Stop filling a table; the last table that leaves ends the stream. Idempotent."""
        if self._members.pop(id(table), None) is not None and not self._members:
            self._end()

    @abstractmethod
    def _begin(self, since: int, *, is_awaited: bool) -> None:
        """Begin the stream of candles from `since` (ns since the epoch) on, or extend a running one back to it.

        A hook that `join` calls on its caller's thread, one call at a time; it may block if `is_awaited`. The candles
        go to `_put`, on the network's thread.
        """

    @abstractmethod
    def _end(self) -> None:
        """End the stream of candles, so that `_put` is called no more.

        A hook that `leave` calls after the last table left, on any thread, also in a finalizer: it must return at once.
        """

    # The network's thread.

    def _put(self, rows: Iterable[TableRow]) -> None:
        """Write candles to the tables: those of `rows` that are new or differ from the known candle of the same start.

        Subclasses call it on the network's thread with each batch, which may repeat known candles.
        """
        changed = []
        for row in rows:
            known = self._rows.get(row.values[self._start])
            if known is None or known.values != row.values:
                self._rows[row.values[self._start]] = row
                changed.append(row)
        for start in list(self._rows)[: max(len(self._rows) - MOST_CANDLES, 0)]:
            del self._rows[start]
        for member in list(self._members.values()):
            if member.is_admitted:
                self._give(member, changed)

    def _admit(self, member: _Member) -> None:
        member.is_admitted = True
        self._give(member, self._rows.values())

    def _give(self, member: _Member, rows: Iterable[TableRow]) -> None:
        buffer = member.table.buffer
        for row in rows:
            start = row.values[self._start]
            if isinstance(start, int) and start + self._span > member.since:
                buffer.add(0, row.ts, (PUT, *row.values))
                buffer.mark(row.received)
        if buffer.codes:
            member.table.publish()


class ReportedCandles(CandleSource):
    """The P&L candles that the broker itself computes: one subscription, from the earliest time that a table needs."""

    def __init__(self, link: Link, account: str, interval: str, written: Callable[[int], str]) -> None:
        """`written` formats a time in ns since the epoch as text for the option `start` of a subscription."""
        super().__init__(link.table_columns("pnl"), interval)
        self._link = link
        self._account = account
        self._written = written
        self._since = 0

    @property
    def is_stale(self) -> bool:
        """Whether a candle is from before a break of the stream and not confirmed since, or there is no stream."""
        return self.streamed is None or self.streamed.is_stale

    def take(self, changes: Sequence[RowChange]) -> None:
        """Receive changed candles from the stream and write them to the tables; the network's thread only."""
        self._put(change.row for change in changes)

    def restart(self) -> None:
        """Have no candles again, because a replay begins anew; the network's thread only."""
        self._rows.clear()
        for member in list(self._members.values()):
            member.table.restart()

    def _begin(self, since: int, *, is_awaited: bool) -> None:  # noqa: ARG002 - the link knows
        if self.streamed is None:
            self._rows.clear()  # candles since then may be missing
        elif since >= self._since:
            return
        options = (("interval", self._interval), ("start", self._written(since)))
        wider = self._link.table("pnl", self._account, options=options, listeners=(self,))
        narrower, self.streamed, self._since = self.streamed, wider, since
        if narrower is not None:
            self._link.release(narrower)

    def _end(self) -> None:
        table, self.streamed = self.streamed, None
        if table is not None:
            self._link.release(table)


class DerivedCandles(CandleSource):
    """Candles of the change of equity since its first known value in `account.equity`, where the broker has no candles.

    They begin at 0, and reach back as far as `equity` does, 20,000 computations. Deposits and withdrawals count as
    profit and loss. A candle opens at the close of the one before; a time without a known equity has no candle.
    """

    def __init__(self, account: str, equity: LiveEquity, interval: str) -> None:
        super().__init__(COLUMNS, interval)
        self._account = account
        self.equity = equity
        self._taken = 0  # the time of the last moment, in ns
        self._opening: float | None = None
        self._candle: tuple[int, float, float, float, float] | None = None
        self._computing = threading.Lock()
        self._stop: Callable[[], None] | None = None

    @property
    def note(self) -> str:  # type: ignore[override]
        """A remark for views: that the candles are computed here, and since when."""
        since = self.equity.since
        return "computed here" if isinstance(since, NaTType) else f"computed here since {settings.clock(since.value)}"

    @property
    def is_stale(self) -> bool:
        """Whether equity is no longer computed."""
        return not self.equity.is_open

    def check(self) -> None:
        """Raise the error of the equity, if it can have no more changes; else return."""
        self.equity._source.check_coming()

    def _begin(self, since: int, *, is_awaited: bool) -> None:  # noqa: ARG002 - all of them are computed anyway
        if self._stop is not None:
            return
        self._compute(is_awaited=is_awaited)  # the moments so far: the first view is not empty
        worker = self.equity._source.worker()
        worker.add(self._compute)
        forget_equity = self.equity._source.watch(worker.wake)

        def stop() -> None:
            forget_equity()
            worker.close()

        self._stop = stop

    def _end(self) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()

    # The worker's thread; at first the one that joins.

    def _compute(self, *, is_awaited: bool = True) -> None:
        with self._computing:
            rows = []
            for ts, equity in self.equity._source.moments(self._taken):
                self._taken = ts
                if self._opening is None:
                    self._opening = equity
                self._candle = self._after(ts // self._span * self._span, equity - self._opening)
                # A state of each moment: how many are computed at once depends on how busy this process is.
                rows.append(TableRow(ts, ts, self._account, (self._interval, *self._candle)))
            written = on_network(lambda: self._put(rows)) if rows else None
            if written is not None and is_awaited:
                written.result(NETWORK_SECONDS)

    def _after(self, start: int, value: float) -> tuple[int, float, float, float, float]:
        """Return the candle that begins at `start` (ns since the epoch), updated with one more `value`.

        A candle is (start, open, high, low, close); a value is the change of equity since its first known one.
        """
        if self._candle is None:
            return start, value, value, value, value
        begun, open_, high, low, close = self._candle
        if start > begun:
            return start, close, max(close, value), min(close, value), value
        return begun, open_, max(high, value), min(low, value), value


class LivePnl(LiveTable):
    """The P&L of an account as a live table of candles of one interval, in the account's currency.

    History and live candles, kept current. Tables of one interval with different starts share one stream. Any thread
    may read.
    """

    def __init__(
        self, link: Link, callbacks: Callbacks, account: str, source: CandleSource, *, interval: str, since: int
    ) -> None:
        """`since` is a time within the first candle, in ns since the epoch."""
        self._candles = source
        super().__init__(link, callbacks, "pnl", account, options=(("interval", interval),))
        try:
            source.join(self._table, since, is_awaited=not link.is_on_a_loop)
        except BaseException:
            self.close()
            raise

    def chart(self, *, bars: int = 500, height: int = 380, engine: Engine | None = None) -> BarCandles:
        """Return a live chart of the newest `bars` candles, at most 2,000; `height` is in pixels, times are UTC.

        Long times without a candle, such as nights and weekends, are left out of the axis, which only the engine
        "plotly" can: it draws this chart also where `settings.engine` is another. Raises UsageError for `engine`
        "light" and for unknown ones.
        """
        from aries_nb.widgets import BarCandles

        check_plotly(engine, "P&L with nights left out")
        make = lambda: BarCandles(self._source, title=self._title(), most=bars, height=height)  # noqa: E731
        return self._view(("chart", bars, height), make)

    @property
    def is_stale(self) -> bool:
        """Whether a candle is from before an interruption of the stream and not confirmed since, or none can arrive."""
        return self._candles.is_stale or not self.is_live

    @property
    def _source(self) -> PnlSource:
        check = self._check_coming
        return PnlSource(self, self._table, self._gap_selection, self._options, check=check, candles=self._candles)

    @property
    def _streamed(self) -> Table:
        streamed = self._candles.streamed
        return self._table if streamed is None else streamed

    def _check(self) -> None:
        self._candles.check()
        super()._check()

    def _title(self) -> str:
        title = f"P&L {self.account} · {dict(self._options)['interval']}"
        return f"{title} · computed here" if self._candles.note else title

    def _columns(self, link: Link) -> tuple[Column, ...]:  # noqa: ARG002
        return self._candles.columns

    def _filled(self, link: Link, listeners: Sequence[TableListener]) -> Table:
        clock = link.clock.now_ns
        return Table(self._candles.columns, (self.account,), key=TABLE_KEYS["pnl"], listeners=listeners, clock=clock)

    def _releasing(self, link: Link) -> Callable[[], None]:  # noqa: ARG002
        return partial(self._candles.leave, self._table)


class PnlSource(TableSource):
    """Gives views the P&L candles, as a table (`table`) and as arrays (`newest`). Any thread.

    The constructor's `table` are the positional arguments of `TableSource`; `check` goes to it as well and raises the
    error that ended the data. `candles` fills the table, and says in its note who computed the candles.
    """

    def __init__(self, *table: Any, check: Callable[[], None], candles: CandleSource) -> None:  # noqa: ANN401
        super().__init__(*table, check=check)
        self._candles = candles

    def newest(self, most: int) -> BarsData:
        """Return the newest `most` candles as arrays, oldest first."""
        # An older candle may arrive after a newer one; the table's rows are in order of arrival.
        names = [column.name for column in self.store.columns]
        places = [names.index(name) for name in ("start", *PRICES)]
        rows: list[Any] = sorted(tuple(row.values[place] for place in places) for row in self.store.rows())[-most:]
        columns = np.array([row[1:] for row in rows], "float64").reshape(len(rows), len(PRICES)).T
        bars = BarsData(np.array([row[0] for row in rows], "int64"), *columns)
        return replace(bars, is_stale=self._live.is_stale)

    def table(self) -> TableData:
        """Return the candles as a table for views, newest first, with a note where they are not the broker's own."""
        return replace(super().table(), note=self._candles.note)
