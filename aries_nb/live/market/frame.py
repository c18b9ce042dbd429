"""`LiveFrame`: a live rolling DataFrame, as `feed.quotes` and `feed.trades` return it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self
from weakref import WeakSet, ref

import numpy as np
import pandas as pd

from aries_nb.errors import ClosedError, GapError, UsageError
from aries_nb.live.arguments import checked_count, checked_span_ns, checked_span_us, finite_number, is_whole
from aries_nb.live.callbacks import Callbacks, News
from aries_nb.live.connection import Link
from aries_nb.live.derived.alerts import FeedAlerts, LiveAlert
from aries_nb.live.derived.bars import DerivedBars, bar_rule
from aries_nb.live.derived.joining import JoinedBy, SameObject, joined, joined_to_fixed
from aries_nb.live.derived.plan import Plan, assigned, function_key, of_symbol, rebased
from aries_nb.live.derived.series import LiveSeries
from aries_nb.live.derived.windows import AgeWeights, Rolling
from aries_nb.live.derived.worker import Job
from aries_nb.live.live_object import LiveObject, LiveRegistry
from aries_nb.live.market.bars import LiveBars
from aries_nb.live.market.frame_views import FrameViews, OwnFills
from aries_nb.live.moments.parts import FrameSnapshot, Moment, latest_rows
from aries_nb.live.staleness import Staleness
from aries_nb.model import (
    Column,
    Kind,
    RecordSink,
)
from aries_nb.store.derived.conditions import Condition
from aries_nb.store.derived.over_time import MOST_INSTANTS, instants, time_weighted, wide
from aries_nb.store.derived.row_by_row import AssignedColumn
from aries_nb.store.derived.windows import GapStart
from aries_nb.store.past.frames import CapturedFrame
from aries_nb.store.values import utc_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LiveFrame"]

SHOWN_SYMBOLS = 10


class LiveFrame(FrameViews):
    """The newest rows of one kind for some symbols, kept current in the background as a rolling DataFrame.

    Index `ts` (exchange time, UTC), columns `received` (local receipt, UTC), `symbol` (str) and the fields:
    numbers float64 (NaN missing), texts str ("" missing). Sizes are in shares, or in lots where the broker
    counts lots. Any thread may read. `window` is `limit` (rows) or `window_ns` (ns) of the `RollingFrame`; `options`
    (pairs of name and text) are sent with the subscriptions. It begins with the rows that open frames of the feed have
    of the same symbols, fields and options; they count as `filled`, and as rows that have arrived. `own_fills`
    refers to the function with the user's fills in some symbols, None where there is none. `derived_by` makes the
    frames that are computed from this one and others; `alerts` keeps its alerts, None for a place of their own.
    """

    def __init__(
        self,
        link: Link,
        callbacks: Callbacks,
        kind: Kind,
        symbols: Sequence[str],
        *,
        columns: Sequence[Column],
        window: dict[str, int | None],
        options: tuple[tuple[str, str], ...] = (),
        own_fills: OwnFills | None = None,
        derived_by: Callable[[Sequence[LiveFrame], Plan], LiveFrame],
        alerts: FeedAlerts | None = None,
    ) -> None:
        self._own_fills = own_fills
        self._derived_by = derived_by
        self._alerts = FeedAlerts() if alerts is None else alerts
        self.kind = kind
        self.symbols = tuple(symbols)
        self._accept_derivations()
        self._tape = link.tape(kind, symbols, columns, options=options, takes_over=True, **window)
        shown = ", ".join(self.symbols[:4]) + (" …" if len(self.symbols) > 4 else "")
        release = partial(link.release, self._tape)
        super().__init__(link, callbacks, self._tape, f"{kind} {shown}", release=release)
        self._staleness = Staleness(self._tape, link, self._gap_selection)

    @property
    def df(self) -> pd.DataFrame:
        """The rows in the window, oldest first by exchange time; a snapshot that belongs to the caller.

        Made without copying while rows arrive in the order of their times; else sorted, once for all readers of the
        same rows. Rows of one time are in the order of arrival. `tail` and `last` sort only what they return. Raises
        the error that ended the connection, or that of refused symbols, where no row has arrived and none can.
        """
        self._check_coming()
        return self._tape.frame()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the rows of `df` to a library that takes Arrow data, without a copy while they arrive in order.

        `pl.DataFrame(quotes)`, `pa.table(quotes)`, `duckdb.sql("select * from quotes")`: columns ts, received, symbol
        and the fields.
        """
        from aries_nb.store.derived.arrow import arrow_table

        self._check_coming()
        return arrow_table(self._tape).__arrow_c_stream__(requested_schema)

    def tail(self, n: int = 5) -> pd.DataFrame:
        """The `n` newest rows by exchange time, oldest first, whatever the size of the window.

        Rows with a wrong time (`misdated`) are left out, as in `last`; they are in `df`.
        """
        count = checked_count(n, "n", "rows")
        self._check_coming()
        return self._tape.tail(count)

    def last(self, span: str) -> pd.DataFrame:
        """The rows of the last `span` of exchange time, such as "30s", before the newest row; oldest first.

        Rows with a wrong time (`misdated`) are left out. Raises UsageError for an invalid span.
        """
        span_us = checked_span_ns(span, "span") // 1_000
        self._check_coming()
        return self._tape.last(span_us)

    @property
    def misdated(self) -> pd.DataFrame:
        """The rows in the window whose exchange time is wrong, more than five minutes ahead of their receipt.

        They are in `df` and count in `received`, but are in no chart, candle, bar, mean, `latest`, `tail`, `last` or
        `wide`, and move no window. Index and columns as in `df`, in the order of arrival.
        """
        self._check_coming()
        return self._tape.misdated()

    @property
    def corrections(self) -> pd.DataFrame:
        """The prints in the window that the exchange corrected or cancelled, as they came first.

        Index and columns as in `df`, and `corrected` (UTC), when that was received, `new_price` and `new_size`: 0 where
        it cancelled the print. In the order of arrival. `df`, charts, candles, bars and means have the corrected print
        alone, whose `source` is "corrected", and no cancelled one; `on_update` gets both as further rows, with
        `source` "corrected" or "cancelled". Prints are recognised by `trade_id`: a frame without that column, or of an
        endpoint without numbers ("charts"), has all of them.
        """
        self._check_coming()
        return self._tape.corrections()

    def wide(self, column: str, *, every: str = "1s") -> pd.DataFrame:
        """One column a symbol, one row an interval: the newest value of a number column at the end of each interval.

        Index `ts`, the ends: the multiples of `every` (UTC) between the first row and the newest; a row stamped exactly
        then counts. NaN before a symbol's first row, where the value is missing, and from the beginning of a gap that
        was not filled to the symbol's next row. Raises UsageError for an unknown column, an invalid span, and for more
        than 1,000,000 intervals.
        """
        self._known_numbers((column,))
        span = checked_span_us(every, "every")
        self._check_coming()
        ticks = self._tape.ticks(column)
        first, last = (int(ticks.ts[0]), int(ticks.ts[-1])) if len(ticks.ts) else (1, 0)
        if not span or (last - first) // span > MOST_INSTANTS:
            what = f"every={every!r} makes too many rows of {(last - first) / 1e6:,.0f} s"
            raise UsageError(what, advice=f"Pass a longer span: at most {MOST_INSTANTS:,} rows.")
        at = instants(first, last, span)
        codes = {symbol: code for code, symbol in enumerate(self.symbols)}
        gaps = {(gap.started // 1_000, codes.get(gap.symbol)) for gap in self._gap_selection.all() if not gap.filled}
        return pd.DataFrame(
            wide(ticks, len(self.symbols), at, gaps),
            index=pd.DatetimeIndex(utc_times(at * 1_000), name="ts"),
            columns=pd.Index(self.symbols, name="symbol", dtype="str"),
        )

    @property
    def latest(self) -> pd.DataFrame:
        """The newest row of each symbol, index `symbol`; missing values before the first row.

        Columns `ts` and `received` (UTC, NaT before the first row), the fields, and `stale`. `stale`, bool: the row is
        not current. The feed is not live, the symbol was refused, the row is from before a gap that was not filled, or
        nothing has arrived for 20 times the symbol's usual interval, at least 5 s, while its market trades without a
        pause (300 s, assumed, where there are few rows yet). In a market that is closed, on holiday, in an auction,
        before or after its regular hours, no update is expected.
        """
        self._check_coming()
        return latest_rows(self._tape, self._source.stale())

    @property
    def silent(self) -> tuple[str, ...]:
        """The symbols without an update for longer than is usual while their market is open; `latest` says how long.

        Empty while the feed is not live.
        """
        return self._staleness.silent(self._link.clock.now_ns()) if self.is_live else ()

    def time_weighted_mean(
        self, column: str, *, symbol: str | None = None, over_gaps: Literal["refuse", "skip"] = "refuse"
    ) -> float:
        """Return the mean of a number column over time, each value weighted by how long it lasted, first to last row.

        `symbol`: None for the first one of the frame. Time with a missing value does not count; NaN where it always is.
        Values in a gap are unknown: "refuse" raises GapError where there was one, "skip" leaves out the time from its
        beginning to the symbol's next row. Gaps that were filled do not count. Raises UsageError for an unknown symbol
        or column.
        """
        name = self._known_symbol(symbol)
        self._known_numbers((column,))
        if over_gaps not in {"refuse", "skip"}:
            raise UsageError(f"over_gaps={over_gaps!r}", advice='Pass "refuse" or "skip".')
        self._use()
        rows = self._tape.rows(0)
        chosen = (rows.codes == rows.symbols.index(name)) & rows.is_credible
        others = set(self.symbols) - {name}
        gaps = sorted(
            {gap.started // 1_000 for gap in self._gap_selection.all() if not gap.filled and gap.symbol not in others}
        )
        received = rows.ts if rows.received is None else rows.received
        found = time_weighted(rows.ts[chosen], received[chosen], rows.numbers[column][chosen], gaps)
        if found.gaps and over_gaps == "refuse":
            raise GapError(f"{column} of {name}", gaps=found.gaps, unknown_s=found.unknown_us / 1e6)
        return found.mean

    def __len__(self) -> int:
        return len(self._tape)

    @property
    def received(self) -> int:
        """The number of rows since the frame was made, those that have left the window included."""
        return self._tape.version

    @property
    def evicted(self) -> int:
        """The number of rows that have left the window since the frame was made."""
        return self._tape.evicted

    @property
    def lag(self) -> pd.DataFrame:
        """Delays of rows in ms: median `p50_ms` and 99th percentile `p99_ms`, with the number of samples.

        "exchange to received": the newest 1,000 rows, as the difference of the exchange's clock and this computer's
        (negative where this one is behind); backfilled rows are left out. "received to visible": until it can be read
        in this frame, of the oldest row of each read of the connection. "received to painted": until the browser has
        painted it, of the views on display in the last minute; NaN where there is none, or while a cell blocks the
        kernel and the browser's answers with it.
        """
        return self._tape.lags.frame(self._tape.received_percentiles())

    def wait(self, *, rows: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until `rows` rows have arrived since the frame was made; returns the frame.

        `timeout` is in seconds, None for no limit. Raises WaitTimeoutError, ClosedError, or the error that ended the
        feed.
        """
        return self._wait(rows, "rows", timeout=timeout, what=f"{rows} rows of {self._name}")

    async def until(self, *, rows: int = 1, timeout: float | None = 10.0) -> Self:
        """Await that `rows` rows have arrived since the frame was made, while the event loop keeps running.

        `wait` for async code: `timeout` is in seconds, None for no limit; returns the frame. Raises WaitTimeoutError,
        ClosedError, or the error that ended the feed.
        """
        return await self._until(rows, "rows", timeout=timeout, what=f"{rows} rows of {self._name}")

    def close(self) -> None:
        """Stop the streams, the callbacks and the views; idempotent. Data received so far stays readable.

        What is computed from this frame is closed with it.
        """
        for each in list(self._dependents):
            each.close()
        super().close()
        for companion in (self._day, self._states):
            if companion is not None:
                companion.close()

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self._tape):,} rows, {'live' if self.is_live else self._state}>"

    __iter__ = None  # not over `__getitem__`; a frame's symbols are `symbols`, its rows `df`

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - by what is in the frame
        """Return the part of a symbol, `quotes["AAPL"]`, as a live frame; of one symbol, a column as a live series.

        `quotes["AAPL"]["bid_price"]` has `values`, `latest`, `chart`, `on_update`, and live arithmetic. Raises
        UsageError for a symbol that is not in this frame, and for what is no number column.
        """
        if key in self.symbols:
            return (
                self
                if len(self.symbols) == 1
                else self._derive(("symbol", key), lambda: of_symbol(self._tape, key, self._name))
            )
        names = [column.name for column in self._tape.columns if column.type == "number"]
        if len(self.symbols) == 1 and key in names:
            return LiveSeries(self, key)
        symbols = ", ".join(map(repr, self.symbols[:SHOWN_SYMBOLS]))
        if key in names:
            advice = f"Choose a symbol first: [{self.symbols[0]!r}][{key!r}]."
            raise UsageError(f"{key!r} is a column of {len(self.symbols)} symbols", advice=advice)
        columns = f"; columns {', '.join(names)}" if len(self.symbols) == 1 else ""
        raise UsageError(f"{key!r} is no symbol of this frame", advice=f"It has {symbols}{columns}.")

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[np.object_]:
        """Return an array with this object: numpy would take what has items for a sequence of them."""
        own = np.empty((), "object")
        own[()] = self
        return own

    def _ipython_key_completions_(self) -> list[str]:
        if len(self.symbols) > 1:
            return list(self.symbols)
        return [column.name for column in self._tape.columns if column.type == "number"]

    def assign(self, **columns: AssignedColumn) -> LiveFrame:
        """Return a live frame with these columns more, each a function of a DataFrame of the newest rows, or a value.

        `quotes.assign(mid=lambda df: (df.bid_price + df.ask_price) / 2)`. As in pandas a later function may use the
        columns of those before, and a column may be replaced. Row by row only: the DataFrame has any number of rows, in
        the order of arrival, columns as in `df`. Functions that depend on other rows (diff, cumsum, shift, rank, a
        mean) raise UsageError; they are found by computing batches in two halves, at first or with later rows. Where a
        function raises later, the values of that row are missing and `error` says why. A call with the same code, and
        the same values that it uses, returns the same frame; another function makes another frame.

        Raises UsageError also for no function and where it raises for the rows that are there.
        """
        key = ("assign", tuple((name, function_key(function)) for name, function in columns.items()))
        return self._derive(key, lambda: assigned(self._tape, columns, self._name))

    def join_asof(self, other: LiveFrame | pd.DataFrame, *, on: JoinedBy = "received") -> LiveFrame:
        """Return a live frame of this one's rows, each with the columns of the newest row of `other` of its symbol.

        `trades.join_asof(quotes)`: what you knew when each trade arrived, by the order of arrival within the feed.
        `on="ts"`: what was true at its exchange time; quotes that arrive later belong to it, so rows are written again
        when they come, and a test on such rows sees what was not known. Further columns are `ts_right` and
        `received_right` of the joined row; a column of a name that is taken ends in "_right". Missing values before the
        first row of the symbol, and from the beginning of a gap of `other` to the symbol's next row.

        `other` may be a DataFrame with times as its index or column `ts`, `symbol` as text if it has one, and if it has
        one, `received`, by which "received" goes; it is copied. Raises UsageError for frames of two feeds on
        "received", without a common symbol, and for times without zone.
        """
        if isinstance(other, LiveFrame):
            return self._derive(("join_asof", on, other), lambda: joined(self, other, on=on), other)
        if not isinstance(other, pd.DataFrame):
            what = f"{type(other).__name__} is no frame"
            raise UsageError(what, advice="Pass a live frame, as of feed.quotes, or a DataFrame.")
        key = "join_asof", on, SameObject(other)
        return self._derive(key, lambda: joined_to_fixed(self, other, on=on))

    def rolling(self, window: str | int, *, weight: Literal["time"] | None = None) -> Rolling[LiveFrame]:
        """Return windows over the last `window` of exchange time, such as "30s", before each row of its symbol.

        A number is so many rows: `rolling(100)` has the last 100 of the symbol, and as in pandas NaN while there are
        fewer, or where one of them has no value.

        `rolling("30s")["mid"].mean()`, also sum, std, var, min, max, median, count: a live frame with that column,
        equal to pandas' `df.groupby("symbol")["mid"].rolling("30s").mean()`. `rolling("1min").agg(vwap=anb.vwap())` for
        several columns. `weight="time"`: in means each value weighs as long as it held, as suits quotes. A late row
        changes rows after it, which are written again; one later than `window` and a minute is in no window, and NaN.
        Column `over_gap` is 1 where the window reaches into a gap that was not filled: rows may be missing. Raises
        UsageError for an invalid span or weight.
        """
        if weight not in {None, "time"}:
            raise UsageError(f"weight={weight!r}", advice='Pass "time", or leave it out.')
        if is_whole(window):
            if weight is not None:
                raise UsageError('weight="time" is for windows over time', advice='Pass a span, such as "30s".')
            rows = checked_count(window, "window", "rows")
            return Rolling(self, 0, f"{rows:,} rows", is_over_time=False, rows=rows)
        span = checked_span_us(window, "window")
        return Rolling(self, span, str(window), is_over_time=weight == "time")

    def ewm(self, *, halflife: str) -> AgeWeights[LiveFrame]:
        """Return weights that halve with each `halflife` of a value's age: `ewm(halflife="5s")["mid"].mean()`.

        Equal to pandas' `df.groupby("symbol")["mid"].ewm(halflife="5s", times=df.index).mean()`. Late rows as in
        `rolling`. Column `over_gap` is 1 until ten half-lives after a gap that was not filled. Raises UsageError for an
        invalid span.
        """
        return AgeWeights(self, checked_span_us(halflife, "halflife"), str(halflife))

    def rebased(self, to: float = 100, *, column: str | None = None) -> LiveFrame:
        """Return a live frame in which each symbol begins with `to`, to compare them: `quotes.rebased(100).chart()`.

        The base of a symbol is its first value after this call, and is kept. `column` None: the price of trades, the
        middle of bid and ask (`mid`) of quotes, else the first column that a chart shows. Raises UsageError for an
        unknown column, and for a `to` that is 0 or no finite number.
        """
        first = finite_number(to)
        if not first or math.isnan(first):
            raise UsageError(f"to={to!r} is no number to begin with", advice="Pass one, such as 100.")
        if column is not None:
            self._known_numbers((column,))
        usual = self._usual_columns()
        columns = (column,) if column else usual if usual == ("bid_price", "ask_price") else usual[:1]
        return self._derive(("rebased", first, columns), lambda: rebased(self._tape, columns, first, self._name))

    def bars(
        self,
        every: str | None = None,
        *,
        ticks: int | None = None,
        volume: float | None = None,
        value: float | None = None,
    ) -> LiveBars:
        """Return live bars of these trades: `trades.bars("1min")`, `(ticks=500)`, `(volume=10_000)`, `(value=1e6)`.

        `every` is a span of exchange time; or each bar ends with the trade that makes it have so many `ticks` (trades),
        so much `volume`, or so much `value` (price times size). They are made of the trades in the window and of those
        that follow; `feed.bars` are the broker's, with history. `df` says which bars are complete: none over a gap is.
        A call with the same arguments returns the same bars while they are open. Raises UsageError for none or several
        of the four, and for a frame without prices, or sizes where they are needed.
        """
        rule, interval = bar_rule(every, ticks, volume, value)

        def make() -> DerivedBars:
            bars = DerivedBars(self, rule, interval, after=self._jobs)
            self._dependents.add(bars)
            return bars

        return self._derivations.same(("bars", rule), make)

    def alert(self, condition: str) -> LiveAlert:
        """Return a live alert, which fires for a symbol when `condition` becomes true: `quotes.alert("mid > 270")`.

        A text of number columns, numbers, + - * /, comparisons, and, or, not; `mid` and `spread` stand for those of bid
        and ask. It fires when it becomes true after it was false, and again after it was false for one second of market
        time. What is true from the beginning, or unknown because a value is missing, does not fire. In a replay
        it fires for rows of before this call as well. `feed.alerts.df`
        has one row a firing, and `on_update` of the alert calls a function with them. A call with the same condition
        returns the same alert while that is open. Raises UsageError for any other text.
        """
        wanted = Condition(condition, [column.name for column in self._tape.columns if column.type == "number"])

        def make() -> LiveAlert:
            alert = LiveAlert(self, wanted, self._alerts, after=self._jobs)
            self._dependents.add(alert)
            return alert

        return self._derivations.same(("alert", wanted.key), make)

    # Inside.

    def _complete_until(self) -> int:
        """Return the arrival number up to which this frame has all its rows; a hook. Ask before reading the rows."""
        complete = self._link.arrivals.complete
        if not self._tape.is_backfilling:
            return complete
        slab, start, end, *_ = self._tape.published
        return min(complete, int(slab.seq[end - 1])) if end > start else 0

    def _gap_starts(self) -> list[GapStart]:
        """Return the starts of gaps that were not filled, by the clock of receipts in us, with the symbol; a hook."""
        return [(gap.started // 1_000, gap.symbol) for gap in self._gap_selection.all() if not gap.filled]

    def _accept_derivations(self) -> None:
        """Begin the lists of what is computed from this frame; `__init__` calls it, as any thread may add to them.

        `_dependents` has the open frames, bars and alerts, `_derivations` what calls of its methods returned.
        """
        own = ref(self)

        def check() -> None:
            frame = own()
            if frame is not None and not frame.is_open:
                raise ClosedError(f"{frame._name} is closed", advice="Ask the feed for it again.")  # noqa: SLF001 - of this class

        self._dependents: WeakSet[LiveObject] = WeakSet()
        self._derivations = LiveRegistry(check)

    @property
    def _jobs(self) -> tuple[Job, ...]:
        """What has to be done before that of frames which are computed from this one; a hook."""
        return ()

    def _derive(self, key: object, plan: Callable[[], Plan], *others: LiveFrame) -> LiveFrame:
        """Return the frame that is computed from this one and `others`; the same for an equal key while it is open."""
        return self._derivations.same(key, lambda: self._derived_by((self, *others), plan()))

    @property
    def _stores(self) -> tuple[RecordSink, ...]:
        added = [each.store for each in (self._day, self._states) if each is not None and each.store is not None]
        return (self._tape, *added)

    def _captured(self, moment: Moment, *, until: int | None = None) -> FrameSnapshot:
        is_live, captured = moment.until is not None or self.is_live, CapturedFrame.of(self._tape)
        gaps, staleness = self._gap_selection, self._staleness
        return FrameSnapshot(
            self.kind, captured, moment, gaps, staleness, is_live=is_live, until=until, name=self._name
        )

    def _count(self) -> int:
        slab, _, end, *_ = self._tape.published
        return slab.base + end - slab.origin

    def _news(self, *, whole: bool = False) -> News:
        self._check_coming()
        slab, start, end, *_ = self._tape.published
        position = slab.base + (start if whole else end)

        def news() -> pd.DataFrame | None:
            nonlocal position
            expected = position
            rows, position = self._tape.frame_since(position)
            missed = position - expected - len(rows)
            if missed and expected >= self._tape.origin:  # else a replay has gone back
                self._callbacks.report(f"a callback on {self._name} was too slow and missed {missed:,} rows")
            return rows if len(rows) else None

        return news

    def _check(self) -> None:
        self._check_coming()
        super()._check()

    def _check_coming(self) -> None:
        """Raise where no row has arrived and none can: all symbols were refused, or the connection failed."""
        self._use()
        if self._is_refused:
            raise self._link.refusal(self._link.refused(self._tape))
        if not self._tape.version and self._link.state == "failed":
            self._link.check()

    @property
    def _is_refused(self) -> bool:
        return not self._tape.version and self._link.is_refused(self._tape)
