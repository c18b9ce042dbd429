"""Live bars: the broker's history and the live trades of one instrument, joined into one series without gaps."""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.errors import FeedError, UsageError
from aries_nb.live.callbacks import Callbacks, News
from aries_nb.live.connection import Link
from aries_nb.live.live_object import LiveObject
from aries_nb.live.market.bar_history import DAY, BarHistory
from aries_nb.live.market.current_bar import CurrentBar, Trades, counted, nanoseconds, trades_in
from aries_nb.live.moments.series import BarsSnapshot
from aries_nb.live.notebook import LoadProgress
from aries_nb.model import (
    CANCELLED,
    CORRECTED,
    BarPage,
    BarsData,
    Column,
    GapSpan,
    Observers,
    RecordSink,
    TableData,
)
from aries_nb.model.clock import MOST_AHEAD_NS
from aries_nb.model.settings import Engine, check_plotly
from aries_nb.net.events.answers import Get, Reply
from aries_nb.net.events.market_timer import GRID_NS
from aries_nb.store import Gap, GapLog
from aries_nb.store.bars import BarSeries

if TYPE_CHECKING:
    from aries_nb.live.moments.parts import Moment
    from aries_nb.widgets import BarCandles, Blotter

__all__ = ["BarUpdates", "BarsSource", "LiveBars", "updated_bars"]

log = logging.getLogger("aries_nb")

SECOND = 1_000_000_000
NEVER = 2**63 - 1
MARGIN_NS = 5 * SECOND  # the largest difference between the exchange's clock and ours, at a gap or the beginning
GRACE_NS = 2 * SECOND  # after which the history has the last trade of a bar (assumed)
LOOK_NS = SECOND  # between two looks without a change
MOST_PAUSE_NS = 60 * SECOND
HELD_TRADES = 100_000
# The id distinguishes a repeated trade from an equal one, the source a backfilled trade from a live one.
TRADE_FIELDS = ("price", "size", "trade_id", "source")
MOST_AHEAD = pd.Timedelta(MOST_AHEAD_NS, "ns")
TABLE_ROWS = 20
TABLE_COLUMNS = (
    Column("start", "time"),
    *map(Column, ("open", "high", "low", "close", "volume", "trades")),
    Column("source", "text"),
)


class LiveBars(LiveObject):
    """The bars of one instrument, history and live as one series of at most 200,000, kept current in the background.

    A bar that begins while trades are received is made of these trades (`source` "live"). All other bars are the
    broker's ("history"): earlier ones, the one that was running when this was made, and those that overlap a gap. Of
    these, a bar that was running or overlaps a gap is requested again some seconds after its end, and has `complete`
    False until then. While it is running it is the broker's bar so far plus later trades. At first that is an
    "estimate", as a reply does not say which trade it counted last. It is exact, and called "history+live", once
    further replies leave one possibility, usually within seconds; where no reply fits, the estimate is renewed once a
    minute. Assumed: the broker's own bars count every trade. Any thread may read. `interval` is the length of a bar as
    text, such as "1min", `upkeep` what keeps the bars current.
    """

    def __init__(self, link: Link, callbacks: Callbacks, upkeep: BarUpdates, *, interval: str) -> None:
        self.symbol, self.interval, self._upkeep = upkeep.symbol, interval, upkeep
        name = f"{interval} bars of {self.symbol}"
        super().__init__(link, callbacks, upkeep.observers.add, name, release=upkeep.close)

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
        return self._wait(bars, "bars", timeout=timeout, what=f"{bars} {self._name}")

    async def until(self, *, bars: int = 1, timeout: float | None = 10.0) -> Self:
        """Await that there are `bars` bars, history included, while the event loop keeps running.

        `wait` for async code: `timeout` is in seconds, None for no limit; returns this object. Raises WaitTimeoutError,
        ClosedError, or the error that ended the feed.
        """
        return await self._until(bars, "bars", timeout=timeout, what=f"{bars} {self._name}")

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

    def _captured(self, moment: Moment) -> BarsSnapshot | None:
        is_past = moment.until is not None  # what they were then is not kept
        return None if is_past else BarsSnapshot(self._name, (self.symbol,), moment, self._upkeep.frozen())

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


class Bars(Protocol):
    """Interface of the bars of one instrument. Any thread."""

    @property
    def version(self) -> int:
        """A number that grows with every change."""

    def __len__(self) -> int:
        """The number of bars."""

    def newest_bars(self, most: int) -> BarsData:
        """Return the newest `most` bars as arrays for a chart, oldest first."""


class BarUpdates(Protocol):
    """Interface of what keeps bars current, and does not refer to their `LiveBars`. Any thread."""

    symbol: str
    observers: Observers
    error: FeedError | None
    """Why no bars came."""

    @property
    def series(self) -> Bars:
        """The bars."""

    @property
    def version(self) -> int:
        """A number that grows with every change, also where a bar ends without a trade."""

    @property
    def trades(self) -> RecordSink:
        """What the stream fills."""

    def bars(self, *, newest: int | None = None) -> pd.DataFrame:
        """Return the newest bars, None for all, as `LiveBars.df` does."""

    def frozen(self) -> Callable[[], pd.DataFrame]:
        """Return a function that returns what `bars` returns now; quick if nothing changed since the last call."""

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that overlap incomplete bars."""

    def give_up(self, reason: str) -> None:
        """End the stream until the link takes it up again. The network's thread."""

    def close(self) -> None:
        """End the updates; idempotent."""


class BarsSource:
    """The data of live bars for views; keeps the bars from being garbage-collected. Any thread."""

    def __init__(self, bars: LiveBars, upkeep: BarUpdates) -> None:
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
        newest = self._upkeep.bars(newest=TABLE_ROWS).iloc[::-1]
        starts = nanoseconds(newest.index).tolist()
        rows = tuple((start, *row[1:-1]) for start, row in zip(starts, newest.itertuples(name=None), strict=True))
        return TableData(self._bars._name, TABLE_COLUMNS, rows, key=("start",), is_stale=not self._bars.is_live)  # noqa: SLF001


class _Request(NamedTuple):
    """A request for the bars before `final_before`, made when `marks` gaps were known, and its future reply."""

    final_before: int
    marks: int
    reply: Future[tuple[BarPage, int]]


class _BarUpdater:
    """Fills a `BarSeries` from history and live trades, on the network's thread.

    It looks at multiples of 0.1 s of market time after a change, and each second until all bars are final. So the bars
    are a function of the feed's events. It does not refer to the `LiveBars`, so that these can be garbage-collected.
    """

    def __init__(self, link: Link, gaps: GapLog, history: BarHistory) -> None:
        self.series = BarSeries(history.start_of)
        self.observers = Observers()
        self.symbol = history.symbol
        self._arrivals = link.arrivals
        self._clock = link.clock
        self._clock_base = link.clock.base
        self._link = link
        self._gaps = gaps
        self._history = history
        self.at = self._begun = self._told_until = self._arrivals.now
        self._lasting: dict[int, Gap] = {}  # by number
        self._own_gaps: set[int] = set()  # that are of one object alone, this one
        # The gaps that ended before the beginning or were handled.
        self._over = {gap.number for gap in gaps.all() if gap.ended is not None}
        kinds = link.columns("trades")
        columns = [Column(name, kind) for name, kind in kinds.items() if name in TRADE_FIELDS]
        self._tape = link.tape("trades", (history.symbol,), columns, limit=HELD_TRADES, is_own=True)
        self._position = 0
        self._running = CurrentBar(self._tape, self.series, self, link.clock, lag_ns=GRACE_NS, margin_ns=MARGIN_NS)
        self._closed_until = 0  # start of the first bar that may be incomplete
        self._ask_at = 0
        self._pause = LOOK_NS
        self._request: _Request | None = None
        self.error: FeedError | None = None  # why the history never came
        self._has_begun = self._is_closed = False
        self._begin_again: Callable[[], None] = lambda: None
        self._look_at = NEVER
        self._cancel: Callable[[], None] = lambda: None
        self._undo = (
            self._tape.watch(self._changed),
            gaps.watch(lambda: self._arrivals.soon(self._changed)),
            self._arrivals.restarted.add(self._restart),
        )

    # Any thread.

    def begin(self, span_ns: int, name: str, *, is_awaited: bool) -> None:
        """Request the history on the caller's thread, which blocks, then keep the bars current.

        `span_ns` is the length of the history in ns; `name` is shown with the progress. Raises FeedError, ConnectError
        or TokenError where the history could not be requested. Unless `is_awaited`, and in a replay, this returns at
        once: the history is requested on another thread, and what would be raised becomes `error`.
        """
        answers, history = self._arrivals.answers, self._history
        self._begin_again = lambda: self.begin(span_ns, name, is_awaited=False)
        question = "bars", f"{history.key} history", history.get, partial(self._loaded, span_ns, name), self._take
        if is_awaited and not answers.is_replay:
            answers.fetch(*question)
        else:
            self._arrivals.soon(lambda: answers.ask(*question))  # at once where a replay begins anew

    def _loaded(self, span_ns: int, name: str, get: Get, asked: int) -> BarPage:
        history, days, end = self._history.asking(get), span_ns // DAY, asked + MARGIN_NS
        start = history.start_of(max(asked - MARGIN_NS - span_ns, 0))
        with LoadProgress(name, start, end) as loading:
            ask = partial(history.days, days=days) if days else history.ask
            return ask(start, end, reached=loading.reached)

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that overlap incomplete bars.

        Only gaps that lasted until after this object was made.
        """
        now = self._arrivals.now
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

    @property
    def version(self) -> int:
        """A number that grows with every change, also where a bar ends without a trade."""
        return self.series.version + self._closed_until // SECOND

    def bars(self, *, newest: int | None = None) -> pd.DataFrame:
        """Return all bars as `LiveBars.df` does, or the newest ones, with those complete that had ended at `at`."""
        return self.series.frame(self.at - GRACE_NS, newest=newest)

    def frozen(self) -> Callable[[], pd.DataFrame]:
        """Return a function that returns what `bars` returns now; quick if nothing changed since the last call."""
        return partial(self.series.frozen().frame, self.at - GRACE_NS)

    def close(self) -> None:
        """Unsubscribe from the trades and end the updates; idempotent."""
        self._is_closed = True
        self._cancel()
        for undo in self._undo:
            undo()
        self._link.release(self._tape)

    # The network's thread.

    def give_up(self, reason: str) -> None:
        """Unsubscribe from the trades until the link takes them up again; a gap with `reason` begins."""
        gap = self._link.give_up(self._tape, reason)
        if gap is not None:
            self._own_gaps.add(gap)

    def start_of(self, ts: int) -> int:
        """Return the start of the bar that contains the time `ts`; both in ns since the epoch."""
        return self._history.start_of(ts)

    def request(self, start: int, end: int) -> Future[tuple[BarPage, int]]:
        """Request the bars that begin in [start, end), in ns, for the running bar; returns at once."""
        return self._requested("running", start, end)

    def _requested(self, what: str, start: int, end: int) -> Future[tuple[BarPage, int]]:
        history = self._history
        reply = self._arrivals.answers.ask(
            "bars",
            f"{history.key} {what}",
            history.get,
            lambda get, _: history.asking(get).ask(start, end),
            lambda reply: (reply.value(), reply.received),
        )
        reply.add_done_callback(lambda _: self._changed())
        return reply

    def _take(self, reply: Reply[BarPage]) -> None:
        """Take the history as the bars so far, and look for changes from now on."""
        try:
            bars, live_from = reply.value(), reply.asked - MARGIN_NS
        except FeedError as error:
            self.error = error
            self.observers.notify()
            raise
        self._begun = self._told_until = reply.asked
        self._clock_base = self._clock.base
        self._over |= {gap.number for gap in self._gaps.all() if gap.ended is not None and gap.ended <= self._begun}
        self._position = self._tape.version  # the reply counts these trades (assumed)
        self.series.mark_incomplete(live_from, max([reply.received + MARGIN_NS, *bars.start_ns[-1:]]))
        self.series.history(bars, final_before=self._history.start_of(live_from))
        self.at = reply.received
        self._running.restart(0)
        self._has_begun = True
        self._closed_until = self._history.start_of(reply.received - GRACE_NS)
        self.observers.notify()
        self._changed()

    def _restart(self) -> None:
        """Begin anew, as a replay does."""
        self.series.restart()
        self._lasting, self._over, self._request = {}, set(), None
        self._position, self._closed_until, self._ask_at, self._pause = 0, 0, 0, LOOK_NS
        self._has_begun, self._look_at = False, NEVER
        self.observers.notify()
        self._begin_again()

    def _changed(self) -> None:
        self._look_by((self._arrivals.now // GRID_NS + 1) * GRID_NS)

    def _look_by(self, instant: int) -> None:
        if self._has_begun and not self._is_closed and instant < self._look_at:
            self._cancel()
            self._look_at = instant
            self._cancel = self._arrivals.timer.at(instant, self._look)

    def _look(self, now: int) -> None:
        self._look_at = NEVER
        if self._is_closed or self._link.state == "closed":
            return
        if not self._link.is_given_up(self._tape):
            self._update(now)
        if not (self._request is None and self.series.is_final(now - GRACE_NS)):
            self._look_by((now // LOOK_NS + 1) * LOOK_NS)

    def _update(self, now: int) -> None:
        before = self.series.version
        try:
            self._follow_clock()
            self._take_gaps()
            self._take_trades()
            self._ask_again(now)
            self._running.look(now, self._position)
        except Exception:  # the border to the adapter's code: the bars stay, and the next round tries again
            log.exception("bars of %s", self._history.symbol)
        self.at = now
        closed, self._closed_until = self._closed_until, self._history.start_of(now - GRACE_NS)
        if self.series.version != before or self._closed_until != closed:  # a bar ends also without a trade
            self.observers.notify()

    def _follow_clock(self) -> None:
        """Ask again for all bars since the beginning if market time was corrected: trades may lie in the wrong ones."""
        moved, self._clock_base = self._clock.base - self._clock_base, self._clock.base
        if moved:
            self.series.mark_incomplete(self._begun + min(moved, 0) - MARGIN_NS, self._arrivals.now + MARGIN_NS)
            self._begun, self._told_until = self._begun + moved, self._told_until + moved
            self._running.restart(self._tape.version)

    def _take_gaps(self) -> None:
        now = self._arrivals.now
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
        return min(started - MARGIN_NS, int(nanoseconds(before)[-1])) if len(before) else started - MARGIN_NS

    def _take_trades(self) -> None:
        expected = self._position
        rows, self._position = self._tape.arrays_since(expected)
        count = len(rows["ts"])
        if self._position - expected > count:  # these trades had left the window before this look
            self.series.mark_incomplete(self._told_until, self._arrivals.now + MARGIN_NS)
            self._running.restart(self._position)
        if not count:
            return
        trades = Trades(rows["ts"] * 1_000, rows["received"] * 1_000, rows["price"], rows["size"])
        is_correction = self._is_source(rows, CORRECTED, CANCELLED)
        late = counted(trades.where(self._is_source(rows, "history")))
        if len(late.ts):  # the replies so far may count them
            self.series.mark_incomplete(int(late.ts.min()), int(late.ts.max()))
            self._running.restart(self._position)
        self.series.trades(counted(trades.where(~is_correction)).listed(), self._arrivals.now - GRACE_NS)
        if is_correction.any():
            self._correct(self._tape.frame_since(expected)[0]["trade_id"][is_correction])

    def _is_source(self, rows: Mapping[str, NDArray[Any]], *texts: str) -> NDArray[np.bool_]:
        """Return which of the rows have one of these texts as their source."""
        found = np.zeros(len(rows["ts"]), "bool")
        for code in self._tape.codes_of("source", *texts) if "source" in rows else ():
            found |= rows["source"] == code
        return found

    def _correct(self, numbers: pd.Series[Any]) -> None:
        """Count the trades of a bar anew in which any with these numbers were corrected or cancelled."""
        frame, _ = self._tape.frame_since(0)
        trades = trades_in(self._tape.counted_until(self._position))
        times, listed, begin = trades.ts.tolist(), list(trades.listed()), self._history.start_of
        touched = frame[frame["trade_id"].isin(numbers) & (frame.index <= frame["received"] + MOST_AHEAD)]
        for start in sorted(set(map(begin, nanoseconds(touched.index).tolist()))):
            first, last = bisect_left(times, start), bisect_right(times, start, key=begin)
            is_whole = not self._tape.evicted or int(nanoseconds(frame.index[:1])[0]) < start
            if not (is_whole and self.series.recount(start, listed[first:last], self._arrivals.now - GRACE_NS)):
                self.series.mark_incomplete(start, start)
                self._running.restart(self._position)

    def _ask_again(self, now: int) -> None:
        """Take the reply of the history if it has arrived, else request bars that are due; returns at once."""
        if self._request is not None:
            if self._request.reply.done():
                self._take_reply(self._request)
            return
        due = self.series.bars_to_fetch(now - GRACE_NS)
        if due is None:
            self._pause = LOOK_NS
        elif now >= self._ask_at:
            self._ask_at = now + self._pause
            self._pause = min(2 * self._pause, MOST_PAUSE_NS)
            self._request = _Request(due[1], self.series.marks, self._requested("ended", *due))

    def _take_reply(self, request: _Request) -> None:
        self._request = None
        try:
            bars, _ = request.reply.result()
        except FeedError as error:
            problem = f"bars of {self._history.symbol} stay incomplete for now: {error}"
            self._link.report(problem)
            log.warning("%s", problem)
            return
        if request.marks == self.series.marks:  # else trades were missed meanwhile: requested again
            self.series.history(bars, final_before=request.final_before)


def updated_bars(link: Link, gaps: GapLog, history: BarHistory, *, interval: str, span_ns: int) -> BarUpdates:
    """Return what keeps bars current from now on, with a history of `span_ns` ns; blocks until that has arrived.

    Raises FeedError, ConnectError or TokenError where it could not be requested, UsageError in a replay without them.
    """
    try:
        upkeep = _BarUpdater(link, gaps, history)
    except UsageError as error:
        if not link.arrivals.is_replay or type(error) is not UsageError:
            raise
        advice = f'Make them of trades that were: feed.trades("{history.symbol}").bars("{interval}").'
        raise UsageError(f"bars of {history.symbol} were not recorded", where=error.where, advice=advice) from None
    try:
        upkeep.begin(span_ns, f"{interval} bars of {history.symbol}", is_awaited=not link.is_on_a_loop)
    except BaseException:
        upkeep.close()
        raise
    return upkeep
