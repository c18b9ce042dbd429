"""`LiveFrame`: a live rolling DataFrame, as `feed.quotes` and `feed.trades` return it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias
from weakref import WeakMethod

import numpy as np
import pandas as pd

from aries_nb.errors import GapError, UsageError
from aries_nb.live.arguments import checked_count, checked_span_ns
from aries_nb.live.callbacks import Callbacks, News
from aries_nb.live.connection import Link
from aries_nb.live.gaps import GapSelection
from aries_nb.live.live_object import StreamedObject
from aries_nb.live.market.day_figures import DayFigures
from aries_nb.live.market.instruments import TradingState
from aries_nb.live.staleness import Staleness
from aries_nb.model import (
    MISSING,
    NOT_A_TIME,
    BoardData,
    Column,
    FillMark,
    FrameRows,
    GapSpan,
    Kind,
    PrintsData,
    RecordSink,
)
from aries_nb.model.settings import Engine, checked_engine
from aries_nb.net.events.exchange_clock import ExchangeClock
from aries_nb.store import LatencySamples, RollingFrame
from aries_nb.store.derived.wide import MOST_INSTANTS, instants, wide
from aries_nb.store.rolling import time_weighted
from aries_nb.store.values import utc_times

if TYPE_CHECKING:
    from aries_nb.widgets import Board, Candles, Chart, LightChart, Tape

__all__ = ["FrameSource", "LiveFrame"]


# A weak reference: a frame must not keep the accounts of its feed alive.
OwnFills: TypeAlias = "WeakMethod[Callable[[Collection[str]], list[FillMark]]]"


class LiveFrame(StreamedObject):
    """The newest rows of one kind for some symbols, kept current in the background as a rolling DataFrame.

    Index `ts` (exchange time, UTC), columns `received` (local receipt, UTC), `symbol` (str) and the fields:
    numbers float64 (NaN missing), texts str ("" missing). Sizes are in shares, or in lots where the broker
    counts lots. Any thread may read. `window` is `limit` (rows) or `window_ns` (ns) of the `RollingFrame`; `options`
    (pairs of name and text) are sent with the subscriptions. It begins with the rows that open frames of the feed have
    of the same symbols, fields and options; they count as `filled`, and as rows that have arrived. `own_fills`
    refers to the function with the user's fills in some symbols, None where there is none.
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
    ) -> None:
        self._own_fills = own_fills
        self.kind = kind
        self.symbols = tuple(symbols)
        self._tape = link.tape(kind, symbols, columns, options=options, takes_over=True, **window)
        shown = ", ".join(self.symbols[:4]) + (" …" if len(self.symbols) > 4 else "")
        release = partial(link.release, self._tape)
        super().__init__(link, callbacks, self._tape, f"{kind} {shown}", release=release)
        self._staleness = Staleness(self._tape, link, self._gap_selection)
        self._day: DayFigures | None = None  # both None until the first board
        self._states: TradingState | None = None

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
        checked_count(n, "n", "rows")
        self._check_coming()
        return self._tape.tail(n)

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
        span = checked_span_ns(every, "every") // 1_000
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
        rows = self._tape.latest()
        names = [column.name for column in self._tape.columns]
        blank: tuple[Any, ...] = tuple(MISSING[column.type] for column in self._tape.columns)
        data = pd.DataFrame(
            [blank if row is None else row[2] for row in rows],
            columns=pd.Index(names),
            index=pd.Index(self.symbols, name="symbol", dtype="str"),
        )
        data.insert(0, "ts", _times([NOT_A_TIME if row is None else row[0] for row in rows]))
        data.insert(1, "received", _times([NOT_A_TIME if row is None else row[1] for row in rows]))
        for name, kind in self._tape.columns:
            if kind == "time":
                data[name] = _times(data[name])
        stale = set(self._source.stale())
        data["stale"] = [symbol in stale for symbol in self.symbols]
        return data

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
        return self._wait(rows, timeout=timeout, what=f"{rows} rows of {self._name}")

    async def until(self, *, rows: int = 1, timeout: float | None = 10.0) -> Self:
        """Await that `rows` rows have arrived since the frame was made, while the event loop keeps running.

        `wait` for async code: `timeout` is in seconds, None for no limit; returns the frame. Raises WaitTimeoutError,
        ClosedError, or the error that ended the feed.
        """
        return await self._until(rows, timeout=timeout, what=f"{rows} rows of {self._name}")

    def chart(
        self,
        *columns: str,
        symbols: Sequence[str] | None = None,
        height: int = 320,
        engine: Engine | None = None,
    ) -> Chart | LightChart:
        """Return a live line chart of these columns.

        By default bid and ask, or the trade price; of an index, which has no bid and ask, the last price. `symbols`
        None shows all of the frame; `height` is in pixels. `engine` is "plotly", a figure to be styled, or "light", a
        canvas for many charts on a page; None for `settings.engine`. Raises UsageError for an unknown column, symbol or
        engine.
        """
        from aries_nb.widgets import Chart, LightChart, LightLines

        names = columns or self._usual_columns()
        self._known_numbers(names)
        for symbol in symbols or ():
            self._known_symbol(symbol)
        chosen = None if symbols is None else tuple(symbols)
        title = f"{self.kind} · {', '.join(chosen or self.symbols)}"
        drawn_by = checked_engine(engine)

        def make() -> Chart | LightChart:
            if drawn_by == "plotly":
                return Chart(self._source, names, symbols=chosen, title=title, height=height, or_last=not columns)
            lines = LightLines(self._source, names, symbols=chosen, title=title, height=height, or_last=not columns)
            return LightChart(self._source, [lines])

        return self._view(("chart", names, chosen, height, drawn_by), make)

    def charts(
        self,
        *columns: str,
        symbols: Sequence[str] | None = None,
        every: str | None = None,
        across: int = 3,
        height: int = 200,
    ) -> LightChart:
        """Return one live sheet with a light chart for each symbol, at most 40, whose crosshairs move together.

        The columns are drawn as lines, by default as in `chart`; or the price as candles of length `every`, as in
        `candles`, with at most one column. `symbols` None shows all of the frame, `across` is the number of charts side
        by side where there is room, `height` that of each in pixels. Raises UsageError for an unknown column or symbol,
        for columns that `every` cannot use, and for fewer than 1 across.
        """
        from aries_nb.widgets import LightCandles, LightChart, LightLines

        checked_count(across, "across", "charts")
        if every is not None and len(columns) > 1:
            raise UsageError(f"candles of {len(columns)} columns", advice="Pass at most one column with `every`.")
        names = columns or self._usual_columns()
        self._known_numbers(names)
        chosen = tuple(map(self._known_symbol, self.symbols if symbols is None else symbols))
        column = columns[0] if columns else None
        source = self._source

        def make() -> LightChart:
            parts = [
                LightLines(source, names, symbols=[symbol], title=symbol, height=height, or_last=not columns)
                if every is None
                else LightCandles(source, every, symbol=symbol, column=column, height=height)
                for symbol in chosen
            ]
            return LightChart(source, parts, across=min(across, len(parts)))

        return self._view(("charts", names, chosen, every, across, height), make)

    def candles(
        self,
        every: str = "5s",
        *,
        symbol: str | None = None,
        column: str | None = None,
        engine: Engine | None = None,
    ) -> Candles | LightChart:
        """Return live candles of one symbol (None: the first), each over `every`, a pandas offset such as "5s".

        `column` is the price to use; None for the trade's, else the middle of bid and ask where both are believable,
        and of an index, which has none, the last price. `engine` is "plotly" or "light", as in `chart`; None for
        `settings.engine`. Raises UsageError for an unknown symbol, column or engine.
        """
        from aries_nb.widgets import Candles, LightCandles, LightChart

        shown = self._known_symbol(symbol)
        if column is not None:
            self._known_numbers((column,))
        drawn_by = checked_engine(engine)

        def make() -> Candles | LightChart:
            if drawn_by == "plotly":
                return Candles(self._source, every=every, symbol=shown, column=column)
            return LightChart(self._source, [LightCandles(self._source, every, symbol=shown, column=column)])

        return self._view(("candles", every, shown, column, drawn_by), make)

    def close(self) -> None:
        """Stop the streams, the callbacks and the views; idempotent. Data received so far stays readable."""
        super().close()
        for companion in (self._day, self._states):
            if companion is not None:
                companion.close()

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self):,} rows, {'live' if self.is_live else self._state}>"

    # Inside.

    @property
    def _source(self) -> FrameSource:
        source = FrameSource(
            self, self._tape, self._link, self._staleness, self._gap_selection, self._day, self._states, self._own_fills
        )
        self._sources.add(source)
        return source

    @property
    def _stores(self) -> tuple[RecordSink, ...]:
        added = [each.store for each in (self._day, self._states) if each is not None and each.store is not None]
        return (self._tape, *added)

    def _count(self) -> int:
        return self._tape.version

    def _news(self, *, whole: bool = False) -> News:
        self._check_coming()
        position = self._tape.evicted if whole else self._tape.version

        def news() -> pd.DataFrame | None:
            nonlocal position
            expected = position
            rows, position = self._tape.frame_since(position)
            missed = position - expected - len(rows)
            if missed:
                self._callbacks.report(f"a callback on {self._name} was too slow and missed {missed:,} rows")
            return rows if len(rows) else None

        return news

    def _first_view(self) -> Board | Tape:
        from aries_nb.widgets import Board, Tape

        if self.kind == "trades" and any(column.name == "price" for column in self._tape.columns):
            whose = self.symbols[0] if len(self.symbols) == 1 else f"of {len(self.symbols)} symbols"
            return self._view("tape", lambda: Tape(self._source, title=f"Trades {whose}"))

        def make() -> Board:
            if self.kind == "quotes" and self._day is None:
                self._day = DayFigures(self._link, self.symbols, [column.name for column in self._tape.columns])
            self._states = self._states or TradingState(self._link, self.symbols)
            return Board(self._source, title=self.kind)

        return self._view("board", make)

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

    def _known_symbol(self, symbol: str | None) -> str:
        if symbol is not None and symbol not in self.symbols:
            raise UsageError(f"{symbol!r} is not in this frame", advice=f"It has {', '.join(self.symbols)}.")
        return symbol or self.symbols[0]

    def _usual_columns(self) -> tuple[str, ...]:
        numbers = [column.name for column in self._tape.columns if column.type == "number"]
        usual = [name for name in ("bid_price", "ask_price", "price") if name in numbers]
        return tuple(usual or numbers[:1])

    def _known_numbers(self, names: Sequence[str]) -> None:
        numbers = [column.name for column in self._tape.columns if column.type == "number"]
        for name in names:
            if name not in numbers:
                raise UsageError(f"{name!r} is no number column of this frame", advice=f"It has {', '.join(numbers)}.")


class FrameSource:
    """The data of a live frame for views and other live objects; keeps the frame from being garbage-collected.

    Any thread.
    """

    def __init__(
        self,
        frame: LiveFrame,
        tape: RollingFrame,
        link: Link,
        staleness: Staleness,
        gaps: GapSelection,
        day: DayFigures | None = None,
        states: TradingState | None = None,
        own_fills: OwnFills | None = None,
    ) -> None:
        self._own_fills = own_fills
        self.symbols = frame.symbols
        self._frame = frame
        self._tape = tape
        self._link = link
        self._staleness = staleness
        self._gaps = gaps
        self._day = day
        self._states = states

    @property
    def link(self) -> Link:
        """The endpoint that the rows come from."""
        return self._link

    @property
    def clock(self) -> ExchangeClock:
        """The market time, by which the ages of rows count."""
        return self._link.clock

    @property
    def lags(self) -> LatencySamples:
        """The latency samples of the frame, to which views add the times when a row was painted."""
        return self._tape.lags

    @property
    def version(self) -> int:
        """A number that grows with every row, and changes with the state of the feed."""
        rows = self._tape.version + sum(each.version for each in (self._day, self._states) if each is not None)
        return 2 * rows + (not self._frame.is_live)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._tape.watch(callback)

    def rows(self, first: int) -> FrameRows:
        """Return the rows in the window from number `first` on as arrays.

        Rows are numbered from 0 since the frame was made.
        """
        return self._tape.rows(first)

    def prints(self, first: int, most: int) -> PrintsData:
        """Return the rows from number `first` on as prints, of these the newest `most`; only of a frame of trades."""
        rows, end = self._tape.frame_since(first)
        rows = rows.tail(most)
        texts = {name: rows[name].astype("str").tolist() for name in ("symbol", "side", "venue") if name in rows}
        nothing = [""] * len(rows)
        return PrintsData(
            end=end,
            ts=pd.DatetimeIndex(rows.index).as_unit("us").asi8.tolist(),
            symbol=texts.get("symbol", nothing),
            price=rows["price"].tolist(),
            size=rows["size"].tolist() if "size" in rows else [math.nan] * len(rows),
            side=texts.get("side", nothing),
            source=rows["source"].astype("str").tolist() if "source" in rows else nothing,
            venue=texts.get("venue", nothing),
            received_ns=max((row[1] for row in self._tape.latest() if row is not None), default=0),
            rejected=self.refused(),
            is_stale=not self._frame.is_live,
            origin=self._tape.origin,
        )

    def board(self) -> BoardData:
        """Return the newest numbers of each symbol for a quote board, with the symbols that are stale or refused."""
        data = self._tape.board(is_stale=not self._frame.is_live, rejected=self.refused())
        data = replace(data, stale=self.stale())
        if self._states is not None:
            data = replace(data, states=self._states.by_symbol(), market=self._states.market)
        return data if self._day is None else self._day.with_figures(data)

    def newest(self) -> BoardData:
        """Return the newest numbers of each symbol, without what only a quote board shows."""
        return self._tape.board(is_stale=not self._frame.is_live)

    def trading_state(self) -> str:
        """Return in a few words what does not trade as usual, the market or a symbol, if that is known; else ""."""
        if self._states is None:
            return self._link.hours.market_state(self._link.market_status)
        halted = [f"{symbol} {state}" for symbol, state in self._states.by_symbol().items()]
        return ", ".join(text for text in (self._states.market, *halted) if text)

    def stale(self) -> tuple[str, ...]:
        """Return the symbols whose newest row is not current; all of them while the feed is not live."""
        if not self._frame.is_live:
            return self.symbols
        flags = self._staleness.stale(self._link.clock.now_ns())
        refused = self.refused()
        return tuple(
            symbol for symbol, flag in zip(self.symbols, flags.tolist(), strict=True) if flag or symbol in refused
        )

    def own_fills(self, symbols: Collection[str]) -> list[FillMark]:
        """Return the user's newest fills in these symbols, of the accounts whose fills are in use."""
        ask = None if self._own_fills is None else self._own_fills()
        return [] if ask is None else ask(symbols)

    def refused(self) -> dict[str, str]:
        """Return the symbols that the server refuses, each with the reason in one or two words."""
        refused = self._link.refused(self._tape).items()
        return {each.symbol: "unknown symbol" if why.is_unknown_symbol else "refused" for each, why in refused}

    def from_before_a_gap(self) -> frozenset[str]:
        """Return the symbols whose newest row is from before a gap that was not filled."""
        return self._staleness.from_before_a_gap()

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that were not filled, oldest first."""
        return self._gaps.spans()


def _times(nanoseconds: Sequence[int] | pd.Series[int]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(utc_times(np.asarray(nanoseconds, dtype="int64")))
