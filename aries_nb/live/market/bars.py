"""Live bars: the broker's history and the live trades of one instrument, joined into one series without gaps."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.brokers import Reference
from aries_nb.errors import FeedError, UsageError
from aries_nb.live.arguments import checked_span_ns
from aries_nb.live.callbacks import Callbacks, News
from aries_nb.live.connection import Link
from aries_nb.live.live_object import LiveObject
from aries_nb.live.market.current_bar import CurrentBar, Trades, trades_in
from aries_nb.live.notebook import LoadProgress
from aries_nb.model import CANCELLED, CORRECTED, BarPage, BarsData, Column, GapSpan, Observers, RecordSink, TableData
from aries_nb.model.clock import MOST_AHEAD_NS, elapsed
from aries_nb.model.settings import Engine, check_plotly
from aries_nb.net.background import run_on_thread
from aries_nb.net.http_client import HttpClient
from aries_nb.store import Gap, GapLog
from aries_nb.store.bars import MOST_BARS, BarSeries

if TYPE_CHECKING:
    from aries_nb.widgets import BarCandles, Blotter

__all__ = ["INTERVALS", "BarHistory", "BarsSource", "LiveBars", "checked_span"]

log = logging.getLogger("aries_nb")

INTERVALS: Mapping[str, int] = {  # in seconds
    "1min": 60, "3min": 180, "5min": 300, "15min": 900, "30min": 1_800,
    "1h": 3_600, "2h": 7_200, "3h": 10_800, "4h": 14_400, "1d": 86_400,
}  # fmt: skip

DAY_SECONDS = 86_400
SECOND = 1_000_000_000
MARGIN_NS = 5 * SECOND  # the largest difference between the exchange's clock and ours, at a gap or the beginning
GRACE_NS = 2 * SECOND  # after which the history has the last trade of a bar (assumed)
MOST_PAGES = 1_000  # the limit of requests for one history
PACE_SECONDS = 0.1
LOOK_SECONDS = 1.0
MOST_PAUSE_SECONDS = 60.0
HELD_TRADES = 100_000
# The id distinguishes a repeated trade from an equal one, the source a backfilled trade from a live one.
TRADE_FIELDS = ("price", "size", "trade_id", "source")
DAY = 86_400 * SECOND
MOST_AHEAD = pd.Timedelta(MOST_AHEAD_NS, "ns")
LONG_WEEKEND = 4  # days without a bar that are usual
MOST_LOOKS_BACK = 3
TABLE_ROWS = 20
TABLE_COLUMNS = (
    Column("start", "time"),
    *map(Column, ("open", "high", "low", "close", "volume", "trades")),
    Column("source", "text"),
)


class BarHistory:
    """Requests the historical bars of one instrument over HTTP, in as many pages as necessary.

    `interval_s` is the length of a bar in seconds. Its methods block: any thread but the network's may call them.
    """

    def __init__(self, http: HttpClient, reference: Reference, symbol: str, interval_s: int) -> None:
        self._http = http
        self._reference = reference
        self.symbol = symbol
        self._interval_s = interval_s
        self._before: int | None = None  # what the newest page said of earlier bars

    def start_of(self, ts: int) -> int:
        """Return the start of the bar that contains the time `ts`; both in ns since the epoch."""
        return self._reference.bar_start(ts, self._interval_s)

    def ask(self, start: int, end: int, *, reached: Callable[[int], object] | None = None) -> BarPage:
        """Return the bars that begin in [start, end), both in ns since the epoch. Blocks.

        The newest page is requested first, and no further one once there are 200,000 bars. `reached` is called before
        each further page with the time from which on the bars have arrived. Raises FeedError for a page that cannot be
        parsed or is refused, ConnectError or TokenError without a reply.
        """
        pages: list[BarPage] = []
        next_end = end
        while start < next_end and sum(len(page.start_ns) for page in pages) < MOST_BARS and len(pages) < MOST_PAGES:
            page = self._page(start, next_end)
            pages.append(page)
            self._before = page.next_end_ns
            if page.next_end_ns is None or page.next_end_ns >= next_end:
                break  # a server without an earlier page has no more
            next_end = page.next_end_ns
            if reached is not None and start < next_end:
                reached(next_end)
        return _joined(pages, start, end)

    def days(self, start: int, end: int, *, days: int, reached: Callable[[int], object] | None = None) -> BarPage:
        """Return the bars that begin in [start, end), and earlier ones until those of `days` trading days are there.

        Times are in ns since the epoch. A trading day is one with bars, such as Friday on a Sunday, or the day before a
        holiday. Looks back over at most some weeks without a bar. Blocks, and raises the errors of `ask`.
        """
        bars = self.ask(start, end, reached=reached)
        span = (2 * days + LONG_WEEKEND) * DAY
        for _ in range(MOST_LOOKS_BACK):
            known = {self._day(each) for each in bars.start_ns}
            missing = days - len(known)
            if missing <= 0:
                break
            begin, end = start - span, start
            earlier = self.ask(self.start_of(begin), end)
            newest = sorted({self._day(each) for each in earlier.start_ns} - known)[-missing:]
            first = newest[0] if newest else end
            bars = _joined([bars, earlier], min(first, end), 2**63 - 1)
            # The server may say where the newest bar before an empty span is.
            start = begin if self._before is None else min(begin, self._before)
        return bars

    def _day(self, ts: int) -> int:
        return self._reference.bar_start(ts, DAY // SECOND)

    def _page(self, start: int, end: int) -> BarPage:
        query = self._reference.bars(self.symbol, self._interval_s, start, end)
        body = self._http.get(query.path, dict(query.params))
        try:
            return self._reference.read_bars(body)
        except ValueError as error:
            what = f"the bars of {self.symbol!r} cannot be read: {error}"
            raise FeedError(what, where=self._http.base + query.path, advice="Check the symbol.") from error


class LiveBars(LiveObject):
    """The bars of one instrument, history and live as one series of at most 200,000, kept current in the background.

    A bar that begins while trades are received is made of these trades (`source` "live"). All other bars are the
    broker's ("history"): earlier ones, the one that was running when this was made, and those that overlap a gap. Of
    these, a bar that was running or overlaps a gap is requested again some seconds after its end, and has `complete`
    False until then. While it is running it is the broker's bar so far plus later trades. At first that is an
    "estimate", as a reply does not say which trade it counted last. It is exact, and called "history+live", once
    further replies leave one possibility, usually within seconds; where no reply fits, the estimate is renewed once a
    minute. Assumed: the broker's own bars count every trade. Any thread may read. `interval` is the length of a bar as
    text, such as "1min", `span_ns` how far the history reaches back, in ns.
    """

    def __init__(
        self,
        link: Link,
        callbacks: Callbacks,
        gaps: GapLog,
        history: BarHistory,
        *,
        interval: str,
        span_ns: int,
    ) -> None:
        self.symbol = history.symbol
        self.interval = interval
        self._upkeep = upkeep = _BarUpdater(link, gaps, history)
        try:
            upkeep.begin(span_ns, f"{interval} bars of {self.symbol}", is_awaited=not link.is_on_a_loop)
        except BaseException:
            upkeep.close()
            raise
        super().__init__(
            link, callbacks, upkeep.observers.add, f"{interval} bars of {self.symbol}", release=upkeep.close
        )

    @property
    def df(self) -> pd.DataFrame:
        """One row a bar, oldest first, with the running bar; a snapshot that belongs to the caller, at most 0.1 s old.

        Index `ts` (start of the bar, UTC); open, high, low, close, volume and trades float64 (NaN where the broker
        sends none); `source` "live" (made of received trades), "history" (the broker's bar), "history+live" (both
        joined exactly) or "estimate" (both joined as far as known); `complete` bool: the bar ended two seconds ago or
        earlier and no trade of it is missing. A print that comes later still counts, by its exchange time: `source` is
        then "corrected", and `complete` stays; the broker's own bars are not changed. So it is with a print that is
        corrected or cancelled; prices are NaN where none is left. A bar of the broker's is requested again then
        (assumed: it follows the correction). A time without trades has no bar.
        """
        self._use()
        return self._upkeep.bars()

    def __len__(self) -> int:
        return len(self._upkeep.series)

    def wait(self, *, bars: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until there are `bars` bars, history included; returns this object.

        `timeout` is in seconds, None for no limit. Raises WaitTimeoutError, ClosedError, or the error that ended the
        feed.
        """
        return self._wait(bars, timeout=timeout, what=f"{bars} {self._name}")

    async def until(self, *, bars: int = 1, timeout: float | None = 10.0) -> Self:
        """Await that there are `bars` bars, history included, while the event loop keeps running.

        `wait` for async code: `timeout` is in seconds, None for no limit; returns this object. Raises WaitTimeoutError,
        ClosedError, or the error that ended the feed.
        """
        return await self._until(bars, timeout=timeout, what=f"{bars} {self._name}")

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self):,} bars, {'live' if self.is_live else self._state}>"

    def chart(self, *, bars: int = 500, height: int = 380, engine: Engine | None = None) -> BarCandles:
        """Return a live chart of the newest `bars` bars, at most 2,000, with volume.

        `height` is in pixels, times are UTC. Nights and weekends are left out of the time axis, which only the engine
        "plotly" can: it draws this chart also where `settings.engine` is another. Raises UsageError for `engine`
        "light" and for unknown ones.
        """
        from aries_nb.widgets import BarCandles

        check_plotly(engine, "bars with nights left out")
        title = f"{self.symbol} · {self.interval}"
        return self._view(
            ("chart", bars, height), lambda: BarCandles(self._source, title=title, most=bars, height=height)
        )

    # Inside.

    @property
    def _source(self) -> BarsSource:
        source = BarsSource(self, self._upkeep)
        self._sources.add(source)
        return source

    @property
    def _stores(self) -> tuple[RecordSink, ...]:
        return (self._upkeep.trades,)

    def _give_up(self, reason: str) -> None:
        self._upkeep.give_up(reason)

    @property
    def _is_refused(self) -> bool:
        return not len(self) and (self._upkeep.error is not None or self._link.is_refused(self._upkeep.trades))

    def _check(self) -> None:
        if self._is_refused:
            refused = self._link.refused(self._upkeep.trades)
            raise self._link.refusal(refused) if refused or self._upkeep.error is None else self._upkeep.error
        super()._check()

    def _count(self) -> int:
        return len(self)

    def _news(self, *, whole: bool = False) -> News:
        bars = self._upkeep.bars()
        before = bars.iloc[:0] if whole else bars

        def news() -> pd.DataFrame | None:
            nonlocal before
            now = self._upkeep.bars()
            old = before.reindex(now.index)
            before = now
            changed = now[~((now == old) | (now.isna() & old.isna())).all(axis=1)]
            return changed if len(changed) else None

        return news

    def _first_view(self) -> Blotter:
        from aries_nb.widgets import Blotter

        return self._view("blotter", lambda: Blotter(self._source))


class BarsSource:
    """The data of live bars for views; keeps the bars from being garbage-collected. Any thread."""

    def __init__(self, bars: LiveBars, upkeep: _BarUpdater) -> None:
        self._bars = bars
        self._upkeep = upkeep

    @property
    def version(self) -> int:
        """A number that grows with every change of a bar, and changes with the state of the feed."""
        return 2 * self._upkeep.series.version + (not self._bars.is_live)

    def newest(self, most: int) -> BarsData:
        """Return the newest `most` bars as arrays, oldest first."""
        return replace(self._upkeep.series.newest_bars(most), is_stale=not self._bars.is_live)

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that overlap incomplete bars, oldest first; filled gaps are left out."""
        return self._upkeep.gap_spans()

    def table(self) -> TableData:
        """Return the newest 20 bars as a table for a view, the newest first."""
        newest = self._upkeep.series.frame(self._upkeep.clock.now_ns() - GRACE_NS, newest=TABLE_ROWS).iloc[::-1]
        starts = _nanoseconds(newest.index).tolist()
        rows = tuple((start, *row[1:-1]) for start, row in zip(starts, newest.itertuples(name=None), strict=True))
        title = f"{self._bars.interval} bars of {self._bars.symbol}"
        return TableData(title, TABLE_COLUMNS, rows, key=("start",), is_stale=not self._bars.is_live)


class _Request(NamedTuple):
    """A request for the bars before `final_before`, made when `marks` gaps were known, and its future reply."""

    final_before: int
    marks: int
    reply: Future[BarPage]


class _BarUpdater:
    """Fills a `BarSeries` from history and live trades, on a thread of its own.

    It does not refer to the `LiveBars`, so that these can be garbage-collected.
    """

    def __init__(self, link: Link, gaps: GapLog, history: BarHistory) -> None:
        self.series = BarSeries(history.start_of)
        self.observers = Observers()
        self.clock = link.clock
        self._clock_base = link.clock.base
        self._link = link
        self._gaps = gaps
        self._history = history
        self._begun = self._told_until = self.clock.now_ns()
        self._lasting: dict[int, Gap] = {}  # by number
        self._own_gaps: set[int] = set()  # that are of one object alone, this one
        self._over = {
            gap.number for gap in gaps.all() if gap.ended is not None
        }  # the gaps that ended before the beginning or were handled
        kinds = link.columns("trades")
        columns = [Column(name, kind) for name, kind in kinds.items() if name in TRADE_FIELDS]
        self._tape = link.tape("trades", (history.symbol,), columns, limit=HELD_TRADES)
        self._position = 0
        self._running = CurrentBar(self._tape, self.series, history, link.clock, lag_ns=GRACE_NS, margin_ns=MARGIN_NS)
        self._closed_until = 0  # start of the first bar that may be incomplete
        self._ask_at = 0.0
        self._pause = LOOK_SECONDS
        self.error: FeedError | None = None  # why the history never came
        self._request: _Request | None = None
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._undo = (self._tape.watch(self._wake.set), gaps.watch(self._wake.set))

    def begin(self, span_ns: int, name: str, *, is_awaited: bool) -> None:
        """Request the history on the caller's thread, which blocks, then start the thread that keeps the bars current.

        `span_ns` is the length of the history in ns; `name` is shown with the progress. Raises FeedError, ConnectError
        or TokenError where the history could not be requested. Unless `is_awaited` this returns at once: the history
        is requested on that thread, and what would be raised becomes `error`.
        """
        if is_awaited:
            self._load(span_ns, name)
        work = self._run if is_awaited else partial(self._load_and_run, span_ns, name)
        threading.Thread(target=work, name="aries-nb-bars", daemon=True).start()

    def _load_and_run(self, span_ns: int, name: str) -> None:
        try:
            self._load(span_ns, name)
        except FeedError as error:
            self.error = error
            self.observers.notify()
        else:
            self.observers.notify()
            self._run()

    def _load(self, span_ns: int, name: str) -> None:
        live_from = self.clock.now_ns() - MARGIN_NS
        start = self._history.start_of(max(live_from - span_ns, 0))
        end = self.clock.now_ns() + MARGIN_NS
        with LoadProgress(name, start, end) as loading:
            days = span_ns // DAY
            ask = partial(self._history.days, days=days) if days else self._history.ask
            bars = ask(start, end, reached=loading.reached)
        self._position = self._tape.version  # the reply counts these trades (assumed)
        self.series.mark_incomplete(live_from, max([self.clock.now_ns() + MARGIN_NS, *bars.start_ns[-1:]]))
        self.series.history(bars, final_before=self._history.start_of(live_from))

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that overlap incomplete bars. Any thread.

        Only gaps that lasted until after this object was made.
        """
        now = self.clock.now_ns()
        spans = {
            gap.started: GapSpan(gap.started, gap.ended, gap.cause)
            for gap in self._gaps.all()
            if self._is_ours(gap) and (gap.ended or now) > self._begun
        }
        return tuple(span for span in spans.values() if self.series.is_incomplete(span.started, span.ended or now))

    @property
    def trades(self) -> RecordSink:
        """What the stream of trades fills."""
        return self._tape

    def bars(self) -> pd.DataFrame:
        """Return all bars as `LiveBars.df` does."""
        return self.series.frame(self.clock.now_ns() - GRACE_NS)

    def give_up(self, reason: str) -> None:
        """Unsubscribe from the trades until the link takes them up again; a gap with `reason` begins."""
        gap = self._link.give_up(self._tape, reason)
        if gap is not None:
            self._own_gaps.add(gap)

    def close(self) -> None:
        """Unsubscribe from the trades and end the thread; idempotent."""
        self._closed.set()
        self._wake.set()
        for undo in self._undo:
            undo()
        self._link.release(self._tape)

    def _run(self) -> None:
        while not self._closed.wait(PACE_SECONDS) and self._link.state != "closed":
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
            if self._link.is_given_up(self._tape):
                continue
            before, now = self.series.version, self.clock.now_ns()
            try:
                self._follow_clock()
                self._take_gaps()
                self._take_trades()
                self._ask_again()
                self._running.look(now, self._position)  # `now` from before: a request may have taken long
            except Exception:  # the border of the thread: the bars stay, and the next round tries again
                log.exception("bars of %s", self._history.symbol)
            closed, self._closed_until = self._closed_until, self._history.start_of(now - GRACE_NS)
            if self.series.version != before or self._closed_until != closed:  # a bar ends also without a trade
                self.observers.notify()

    def _follow_clock(self) -> None:
        """Ask again for all bars since the beginning if market time was corrected: trades may lie in the wrong ones."""
        moved, self._clock_base = self.clock.base - self._clock_base, self.clock.base
        if moved:
            self.series.mark_incomplete(self._begun + min(moved, 0) - MARGIN_NS, self.clock.now_ns() + MARGIN_NS)
            self._begun, self._told_until = self._begun + moved, self._told_until + moved
            self._running.restart(self._tape.version)

    def _take_gaps(self) -> None:
        now = self.clock.now_ns()
        ours = {gap.number: gap for gap in self._gaps.all() if self._is_ours(gap)}
        lasting = {number: gap for number, gap in ours.items() if gap.ended is None}
        over = {number: gap for number, gap in ours.items() if number not in lasting}
        # The gap log drops the oldest of very many gaps, even one that lasts: it is taken as ended.
        dropped = [gap for number, gap in self._lasting.items() if number not in ours]
        finished = [*dropped, *(gap for number, gap in over.items() if number not in self._over)]
        for started, ended in {(gap.started, gap.ended or now) for gap in finished}:  # each kind may have a row
            self.series.mark_incomplete(self._last_before(started), ended + MARGIN_NS)
            self._told_until = max(self._told_until, ended)
        for number in lasting.keys() - self._lasting.keys():
            self.series.mark_incomplete(self._last_before(lasting[number].started), None)
        if self._lasting and not lasting:
            self.series.resume()
        if finished:
            self._running.restart(self._tape.version)
        self._lasting, self._over = lasting, set(over)

    def _is_ours(self, gap: Gap) -> bool:
        """Return whether trades of the bars may be missing because of this gap: it is of the market endpoint.

        Its stream is then "market", or "market 2" and so on for further connections, any of which may carry the trades.
        A gap of one frame or book alone is none of other bars.
        """
        return gap.stream.split()[0] == "market" and (not gap.is_of_one or gap.number in self._own_gaps)

    def _last_before(self, started: int) -> int:
        """Return the exchange time, in ns, from which on trades may be missing because of a gap.

        `started` is the start of the gap by our clock, in ns since the epoch.
        """
        frame, _ = self._tape.frame_since(0)  # in the order of arrival
        before = frame.index[frame["received"] <= pd.Timestamp(started, tz="UTC")]
        return min(started - MARGIN_NS, int(_nanoseconds(before)[-1])) if len(before) else started - MARGIN_NS

    def _take_trades(self) -> None:
        expected = self._position
        rows, self._position = self._tape.frame_since(expected)
        if self._position - expected > len(rows):  # this thread was delayed until trades had left the window
            self.series.mark_incomplete(self._told_until, self.clock.now_ns() + MARGIN_NS)
            self._running.restart(self._position)
        if not len(rows):
            return
        if "source" in rows:
            late = trades_in(rows[rows["source"] == "history"])
            if len(late.ts):  # the replies so far may count them
                self.series.mark_incomplete(int(late.ts.min()), int(late.ts.max()))
                self._running.restart(self._position)
        sources = rows["source"] if "source" in rows else pd.Series("", rows.index)
        is_correction = sources.isin((CORRECTED, CANCELLED)).to_numpy("bool")
        self.series.trades(_listed(trades_in(rows[~is_correction])), self.clock.now_ns() - GRACE_NS)
        if is_correction.any():
            self._correct(rows["trade_id"][is_correction])

    def _correct(self, numbers: pd.Series[Any]) -> None:
        """Count the trades of a bar anew in which any with these numbers were corrected or cancelled."""
        frame, _ = self._tape.frame_since(0)
        trades = trades_in(self._tape.counted_until(self._position))
        times, listed = trades.ts.tolist(), list(_listed(trades))
        begin = self._history.start_of
        touched = frame[frame["trade_id"].isin(numbers) & (frame.index <= frame["received"] + MOST_AHEAD)]
        for start in sorted(set(map(begin, _nanoseconds(touched.index).tolist()))):
            first, last = bisect_left(times, start), bisect_right(times, start, key=begin)
            is_whole = not self._tape.evicted or int(_nanoseconds(frame.index[:1])[0]) < start
            if not (is_whole and self.series.recount(start, listed[first:last], self.clock.now_ns() - GRACE_NS)):
                self.series.mark_incomplete(start, start)
                self._running.restart(self._position)

    def _ask_again(self) -> None:
        """Take the reply of the history if it has arrived, else request bars that are due; returns at once.

        A request waits on a thread of its own: a history that does not answer must not hold up the running bar.
        """
        if self._request is not None:
            if self._request.reply.done():
                self._take_reply(self._request)
            return
        now = elapsed()
        due = self.series.bars_to_fetch(self.clock.now_ns() - GRACE_NS)
        if due is None:
            self._pause = LOOK_SECONDS
        elif now >= self._ask_at:
            self._ask_at = now + self._pause
            self._pause = min(2 * self._pause, MOST_PAUSE_SECONDS)
            reply = run_on_thread(partial(self._history.ask, *due), name="aries-nb-bars-request")
            self._request = _Request(due[1], self.series.marks, reply)
            reply.add_done_callback(lambda _: self._wake.set())

    def _take_reply(self, request: _Request) -> None:
        self._request = None
        try:
            bars = request.reply.result()
        except FeedError as error:
            problem = f"bars of {self._history.symbol} stay incomplete for now: {error}"
            self._link.report(problem)
            log.warning("%s", problem)
            return
        if request.marks == self.series.marks:  # else trades were missed meanwhile: requested again
            self.series.history(bars, final_before=request.final_before)


def checked_span(history: object, interval_s: int) -> int:
    """Return a span of time such as "2d" in ns.

    Raises UsageError for an invalid one, and for one of more than 200,000 bars of `interval_s` seconds.
    """
    span_ns = checked_span_ns(history, "history")
    if span_ns > MOST_BARS * interval_s * SECOND:
        longest = MOST_BARS * interval_s // DAY_SECONDS
        raise UsageError(f"history={history!r} is too long", advice=f'For this interval ask for "{longest}d" at most.')
    return span_ns


def _joined(pages: list[BarPage], start: int, end: int) -> BarPage:
    """Return the pages joined in order of time, without bars that begin outside of [start, end), in ns since the epoch.

    `pages` has the latest page first.
    """
    columns: list[list[Any]] = [[] for _ in BarPage._fields[:-1]]
    for page in reversed(pages):
        wanted = [start <= each < end for each in page.start_ns]
        for column, part in zip(columns, page[:-1], strict=True):
            column.extend(compress(part, wanted))  # type: ignore[arg-type]  # all fields but the last are lists
    return BarPage._make([*columns, None])


def _listed(trades: Trades) -> Iterator[tuple[int, float, float]]:
    return zip(trades.ts.tolist(), trades.prices.tolist(), trades.sizes.tolist(), strict=True)


def _nanoseconds(times: pd.Index[Any]) -> NDArray[np.int64]:
    return times.to_numpy(dtype="datetime64[ns]").astype("int64")
