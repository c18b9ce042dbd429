"""Bars that keep themselves current: the broker's history and the live trades as one frame without a hole."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.brokers import Reference
from aries_nb.errors import FeedError, UsageError
from aries_nb.live.connection import Link
from aries_nb.live.live_object import LiveObject
from aries_nb.live.market.current_bar import CurrentBar, trades_in
from aries_nb.model import BarPage, BarsData, Column, GapSpan, Observers, TableData
from aries_nb.net.http_client import HttpClient
from aries_nb.store import Gap, GapLog
from aries_nb.store.bars import MOST_BARS, BarSeries

if TYPE_CHECKING:
    from aries_nb.widgets import BarCandles, Blotter, Progress

__all__ = ["INTERVALS", "BarHistory", "BarsSource", "LiveBars", "LoadProgress", "checked_interval", "checked_span"]

log = logging.getLogger("aries_nb")

INTERVALS: Mapping[str, int] = {  # in seconds
    "1min": 60, "3min": 180, "5min": 300, "15min": 900, "30min": 1_800,
    "1h": 3_600, "2h": 7_200, "3h": 10_800, "4h": 14_400, "1d": 86_400,
}  # fmt: skip

UNITS = {"min": 60, "h": 3_600, "d": 86_400, "w": 604_800}  # in seconds
SPAN = re.compile(rf"([0-9]{{1,7}}) *({'|'.join(UNITS)})")
SECOND = 1_000_000_000
MARGIN_NS = 5 * SECOND  # how far the exchange's clock and ours may be apart round a gap or the beginning
GRACE_NS = 2 * SECOND  # after which the history is believed to have the last trade of a bar
MOST_PAGES = 1_000  # however little a server puts into each, asking comes to an end
PACE_SECONDS = 0.1
LOOK_SECONDS = 1.0
MOST_PAUSE_SECONDS = 60.0
HELD_TRADES = 100_000
# The number tells a print that is repeated from one that is alike, the source one that was late from one that was not.
TRADE_FIELDS = ("price", "size", "trade_id", "source")
LONG_SECONDS = 1.0  # what takes less in all is not worth a sight that is gone at once
ROWS_IN_SIGHT = 20
SIGHT_COLUMNS = (
    Column("start", "time"),
    *map(Column, ("open", "high", "low", "close", "volume", "trades")),
    Column("source", "text"),
)


class BarHistory:
    """The bars of one instrument over HTTP, however many pages they take. Any thread, but the network's: it blocks."""

    def __init__(self, http: HttpClient, reference: Reference, symbol: str, interval_s: int) -> None:
        self._http = http
        self._reference = reference
        self.symbol = symbol
        self._interval_s = interval_s

    def start_of(self, ts: int) -> int:
        """When the bar begins in which a time lies; both in ns since the epoch."""
        return self._reference.bar_start(ts, self._interval_s)

    def ask(self, start: int, end: int, *, reached: Callable[[int], object] | None = None) -> BarPage:
        """The bars that begin in [start, end), ns since the epoch. Raises FeedError, and what `HttpClient.get` does.

        `reached` is told, before each further page, from when on the bars are here.
        """
        pages: list[BarPage] = []
        next_end = end
        while start < next_end and sum(len(page.start_ns) for page in pages) < MOST_BARS and len(pages) < MOST_PAGES:
            page = self._page(start, next_end)
            pages.append(page)
            if page.next_end_ns is None or page.next_end_ns >= next_end:
                break  # a server that names no earlier page has no more
            next_end = page.next_end_ns
            if reached is not None and start < next_end:
                reached(next_end)
        return _joined(pages, start, end)

    def _page(self, start: int, end: int) -> BarPage:
        query = self._reference.bars(self.symbol, self._interval_s, start, end)
        body = self._http.get(query.path, dict(query.params))
        try:
            return self._reference.read_bars(body)
        except ValueError as error:
            what = f"the bars of {self.symbol!r} cannot be read: {error}"
            raise FeedError(what, where=self._http.base + query.path, advice="Check the symbol.") from error


class LiveBars(LiveObject):
    """The bars of one instrument, history and live as one series, at most 200,000, kept current in the background.

    Bars that begin while the trades come are made here of every trade (`source` "live"). The others are the broker's
    ("history"): those from before, the one that ran when this was made, and those that a gap touches. Such a bar is
    asked for again some seconds after its end; until then it has `complete` False. While it runs it is the broker's
    bar so far and the trades since then: "estimate" at first, as an answer does not say up to which trade it counts;
    "history+live" within seconds, when further answers leave only one trade that it can have been, and from then on
    exact. Where no answer fits, it stays an estimate that is renewed once a minute.
    That every print counts in the broker's own bars as well is assumed. Any thread may read.
    """

    def __init__(self, link: Link, gaps: GapLog, history: BarHistory, *, interval: str, span_ns: int) -> None:
        self.symbol = history.symbol
        self.interval = interval
        self._upkeep = upkeep = _BarUpdater(link, gaps, history)
        try:
            upkeep.begin(span_ns, f"{interval} bars of {self.symbol}")
        except BaseException:
            upkeep.close()
            raise
        super().__init__(link, upkeep.observers.add, f"{interval} bars of {self.symbol}", release=upkeep.close)

    @property
    def df(self) -> pd.DataFrame:
        """One row a bar, oldest first, the running one included; a snapshot of your own, 0.1 s behind at most.

        Index `ts` (when the bar begins, UTC); open, high, low, close, volume and trades float64 (NaN where the broker
        does not tell); `source` "history", "live", "history+live" or "estimate"; `complete` bool. Where nothing was
        traded there is no bar.
        """
        return self._upkeep.series.frame(time.time_ns() - GRACE_NS)

    def __len__(self) -> int:
        return len(self._upkeep.series)

    def wait(self, *, bars: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until there are so many bars, history included. `timeout` in seconds, None for ever.

        Raises WaitTimeoutError, or what has gone wrong with the feed.
        """
        return self._wait(bars, timeout=timeout, what=f"{bars} {self._name}")

    async def until(self, *, bars: int = 1, timeout: float | None = 10.0) -> Self:
        """The same as `wait` for async code: the event loop goes on meanwhile."""
        return await self._until(bars, timeout=timeout, what=f"{bars} {self._name}")

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self):,} bars, {'live' if self.is_live else self._state}>"

    def chart(self, *, bars: int = 500, height: int = 380) -> BarCandles:
        """Live candles of the newest `bars`, at most 2,000, volume below; height in pixels. Times are UTC.

        Nights and weekends are left out of the time axis.
        """
        from aries_nb.widgets import BarCandles

        title = f"{self.symbol} · {self.interval}"
        return self._view(
            ("chart", bars, height), lambda: BarCandles(self._source, title=title, most=bars, height=height)
        )

    # Inside.

    @property
    def _source(self) -> BarsSource:
        return BarsSource(self, self._upkeep)

    def _count(self) -> int:
        return len(self)

    def _first_view(self) -> Blotter:
        from aries_nb.widgets import Blotter

        return self._view("blotter", lambda: Blotter(self._source))


class BarsSource:
    """What views read of bars; it keeps them alive. Any thread."""

    def __init__(self, bars: LiveBars, upkeep: _BarUpdater) -> None:
        self._bars = bars
        self._upkeep = upkeep

    @property
    def version(self) -> int:
        """Grows with every change, and with the state of the feed."""
        return 2 * self._upkeep.series.version + (not self._bars.is_live)

    def newest(self, most: int) -> BarsData:
        """The newest `most` bars as arrays, oldest first."""
        return replace(self._upkeep.series.newest_bars(most), is_stale=not self._bars.is_live)

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """The gaps that bars which are incomplete lie over, oldest first; one that is filled is none."""
        return self._upkeep.gap_spans()

    def table(self) -> TableData:
        """The newest bars, newest first."""
        newest = self._upkeep.series.frame(time.time_ns() - GRACE_NS, newest=ROWS_IN_SIGHT).iloc[::-1]
        starts = _nanoseconds(newest.index).tolist()
        rows = tuple((start, *row[1:-1]) for start, row in zip(starts, newest.itertuples(name=None), strict=True))
        title = f"{self._bars.interval} bars of {self._bars.symbol}"
        return TableData(title, SIGHT_COLUMNS, rows, key=("start",), is_stale=not self._bars.is_live)


class _BarUpdater:
    """What fills a series, on a thread of its own that does not keep the `LiveBars` alive."""

    def __init__(self, link: Link, gaps: GapLog, history: BarHistory) -> None:
        self.series = BarSeries(history.start_of)
        self.observers = Observers()
        self._link = link
        self._gaps = gaps
        self._history = history
        self._begun = self._told_until = time.time_ns()
        self._lasting: dict[int, Gap] = {}  # by number
        self._over = {gap.number for gap in gaps.all() if gap.ended is not None}  # these are of no concern
        kinds = link.columns("trades")
        columns = [Column(name, kind) for name, kind in kinds.items() if name in TRADE_FIELDS]
        self._tape = link.tape("trades", (history.symbol,), columns, limit=HELD_TRADES)
        self._position = 0
        self._running = CurrentBar(self._tape, self.series, history, lag_ns=GRACE_NS, margin_ns=MARGIN_NS)
        self._ask_at = 0.0
        self._pause = LOOK_SECONDS
        self._closed = threading.Event()
        self._news = threading.Event()
        self._undo = (self._tape.watch(self._news.set), gaps.watch(self._news.set))

    def begin(self, span_ns: int, name: str) -> None:
        """Ask for the history, on the caller's thread, and start the other. Raises what `BarHistory.ask` does."""
        heard_from = time.time_ns() - MARGIN_NS
        start = self._history.start_of(max(heard_from - span_ns, 0))
        end = time.time_ns() + MARGIN_NS
        with LoadProgress(name, start, end) as loading:
            bars = self._history.ask(start, end, reached=loading.reached)
        self._position = self._tape.version  # the answer has them, as far as can be told
        self.series.mark_incomplete(heard_from, max([time.time_ns() + MARGIN_NS, *bars.start_ns[-1:]]))
        self.series.history(bars, final_before=self._history.start_of(heard_from))
        threading.Thread(target=self._run, name="aries-nb-bars", daemon=True).start()

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """The gaps since the beginning whose bars are in doubt; any thread."""
        now = time.time_ns()
        spans = {
            gap.started: GapSpan(gap.started, gap.ended, gap.cause)
            for gap in self._gaps.all()
            if _is_ours(gap) and (gap.ended or now) > self._begun
        }
        return tuple(span for span in spans.values() if self.series.is_incomplete(span.started, span.ended or now))

    def close(self) -> None:
        """Give the trades up and end the thread; idempotent."""
        self._closed.set()
        self._news.set()
        for undo in self._undo:
            undo()
        self._link.release(self._tape)

    def _run(self) -> None:
        while not self._closed.wait(PACE_SECONDS) and self._link.state != "closed":
            self._news.wait(LOOK_SECONDS)
            self._news.clear()
            before, now = self.series.version, time.time_ns()
            try:
                self._hear_gaps()
                self._take_trades()
                self._ask_again()
                self._running.look(now, self._position)  # `now` from before: to ask again may have taken long
            except Exception:  # the border of the thread: what is here stays, and is tried again
                log.exception("bars of %s", self._history.symbol)
            if self.series.version != before:
                self.observers.notify()

    def _hear_gaps(self) -> None:
        now = time.time_ns()
        ours = {gap.number: gap for gap in self._gaps.all() if _is_ours(gap)}
        lasting = {number: gap for number, gap in ours.items() if gap.ended is None}
        over = {number: gap for number, gap in ours.items() if number not in lasting}
        # Of very many gaps the oldest are forgotten, one that lasts as well: then it is over, as far as can be told.
        forgotten = [gap for number, gap in self._lasting.items() if number not in ours]
        news = [*forgotten, *(gap for number, gap in over.items() if number not in self._over)]
        for started, ended in {(gap.started, gap.ended or now) for gap in news}:  # each kind may have a line
            self.series.mark_incomplete(self._last_before(started), ended + MARGIN_NS)
            self._told_until = max(self._told_until, ended)
        for number in lasting.keys() - self._lasting.keys():
            self.series.mark_incomplete(self._last_before(lasting[number].started), None)
        if self._lasting and not lasting:
            self.series.resume()
        if news:
            self._running.restart(self._tape.version)
        self._lasting, self._over = lasting, set(over)

    def _last_before(self, started: int) -> int:
        """From when on trades may be missing, in the exchange's time, if nothing came after `started`, in ours."""
        frame = self._tape.frame()
        heard = frame.index[frame["received"] <= pd.Timestamp(started, tz="UTC")]
        return min(started - MARGIN_NS, int(_nanoseconds(heard)[-1])) if len(heard) else started - MARGIN_NS

    def _take_trades(self) -> None:
        expected = self._position
        rows, self._position = self._tape.frame_since(expected)
        if self._position - expected > len(rows):  # this thread was held up longer than the tape lasts
            self.series.mark_incomplete(self._told_until, time.time_ns() + MARGIN_NS)
            self._running.restart(self._position)
        if not len(rows):
            return
        if "source" in rows:
            late = trades_in(rows[rows["source"] == "history"])
            if len(late.ts):  # the answers so far may have them
                self.series.mark_incomplete(int(late.ts.min()), int(late.ts.max()))
                self._running.restart(self._position)
        ts, _, prices, sizes = (column.tolist() for column in trades_in(rows))
        self.series.trades(zip(ts, prices, sizes, strict=True))

    def _ask_again(self) -> None:
        now = time.monotonic()
        due = self.series.bars_to_fetch(time.time_ns() - GRACE_NS)
        if due is None:
            self._pause = LOOK_SECONDS
        elif now >= self._ask_at:
            self._ask_at = now + self._pause
            self._pause = min(2 * self._pause, MOST_PAUSE_SECONDS)
            try:
                self.series.history(self._history.ask(*due), final_before=due[1])
            except FeedError as error:
                log.warning("bars of %s stay incomplete for now: %s", self._history.symbol, error)


def _is_ours(gap: Gap) -> bool:
    """Whether trades may be missing: "market", and "market 2" of a second connection; which has ours is not asked."""
    return gap.stream.split()[0] == "market"


def checked_interval(interval: object) -> int:
    """The length of a bar in seconds. Raises UsageError for one that there is not."""
    if not isinstance(interval, str) or interval not in INTERVALS:
        raise UsageError(f"no bars of {interval!r}", advice=f"There are: {', '.join(INTERVALS)}.")
    return INTERVALS[interval]


def checked_span(history: object, interval_s: int) -> int:
    """A span of time such as "2d" in ns. Raises UsageError for what is none, and for more than 200,000 bars."""
    # Not pandas' reading: there "d" is on its way out, and a bare number means nanoseconds.
    found = SPAN.fullmatch(history.strip().lower()) if isinstance(history, str) else None
    if found is None:
        raise UsageError(f"history={history!r} is no span of time", advice='Write it like "2d", "6h" or "30min".')
    seconds = int(found[1]) * UNITS[found[2]]
    if seconds > MOST_BARS * interval_s:
        longest = MOST_BARS * interval_s // UNITS["d"]
        raise UsageError(f"history={history!r} is too long", advice=f'For this interval ask for "{longest}d" at most.')
    return seconds * SECOND


def _joined(pages: list[BarPage], start: int, end: int) -> BarPage:
    """The pages as one, those of the latest first; bars that nobody asked for are left out."""
    columns: list[list[Any]] = [[] for _ in BarPage._fields[:-1]]
    for page in reversed(pages):
        wanted = [start <= each < end for each in page.start_ns]
        for column, part in zip(columns, page[:-1], strict=True):
            column.extend(compress(part, wanted))  # type: ignore[arg-type]  # all fields but the last are lists
    return BarPage._make([*columns, None])


def _nanoseconds(times: pd.Index[Any]) -> NDArray[np.int64]:
    return times.to_numpy(dtype="datetime64[ns]").astype("int64")


class LoadProgress:
    """A history on its way, the newest part first. Belongs to the thread that waits for it."""

    def __init__(self, name: str, start: int, end: int) -> None:
        self._name = name
        self._start, self._end = start, end
        self._began = time.monotonic()
        self._progress: Progress | None = None

    def reached(self, back_to: int) -> None:
        """Note that everything from this time on is here (ns since the epoch), and that more is to come.

        Nothing is told before the pace so far makes it long.
        """
        done = (self._end - back_to) / (self._end - self._start)
        if self._progress is None and time.monotonic() - self._began <= LONG_SECONDS * done:
            return
        text = f"{self._name}: back to {pd.Timestamp(back_to, tz='UTC'):%Y-%m-%d}"
        if self._progress is None and _runs_a_cell():
            from aries_nb.widgets import Progress

            self._progress = Progress()
        if self._progress is None:
            log.info("%s so far", text)
        else:
            self._progress.show(done, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.close()


def _runs_a_cell() -> bool:
    """Whether this is the thread that runs the cells of a notebook's kernel."""
    # IPython is not imported for a script's sake: a kernel has imported it.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None and threading.current_thread() is threading.main_thread()
