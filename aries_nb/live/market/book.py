"""`LiveBook`: a live order book, as `feed.book` returns it."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self

import pandas as pd

from aries_nb.errors import ClosedError, UsageError, WaitTimeoutError
from aries_nb.live.callbacks import Callbacks, News
from aries_nb.live.connection import Link
from aries_nb.live.gaps import GapSelection
from aries_nb.live.live_object import StreamedObject
from aries_nb.live.market.instruments import TradingState
from aries_nb.live.moments.parts import BookSnapshot, Moment, StandingClock, levels_frame
from aries_nb.live.waiting import wait_for
from aries_nb.model import (
    BookIntegrity,
    BookLevels,
    BookMarks,
    Column,
    GapSpan,
    Kind,
    RecordSink,
    RestingOrder,
    ShownMoment,
    Standing,
)
from aries_nb.net.events.exchange_clock import ExchangeClock
from aries_nb.store import LatencySamples, OrderBook, Table
from aries_nb.store.values import frame_of

if TYPE_CHECKING:
    from aries_nb.widgets import DepthChart, Ladder

__all__ = ["BookSource", "LiveBook"]

KINDS_OF_PRICES: tuple[Kind, Kind] = ("trades", "quotes")
VENUES_SECONDS = 1.0  # how long the first use waits: there is no snapshot, only the next update


class LiveBook(StreamedObject):
    """Both sides of one symbol's order book, kept current in the background. Any thread may read.

    `df` has at most `depth` levels of each side; `options` (pairs of name and text) are sent with the subscription.
    `orders` is a method that returns the user's own orders in a symbol, for the ladder; None for none.
    """

    def __init__(
        self,
        link: Link,
        callbacks: Callbacks,
        symbol: str,
        *,
        depth: int,
        options: tuple[tuple[str, str], ...] = (),
        orders: Callable[[str], tuple[RestingOrder, ...]] | None = None,
    ) -> None:
        self.symbol = symbol
        self.depth = depth
        self._book = link.book(symbol, options)
        self._states: TradingState | None = None  # None until the first ladder
        self._orders = None if orders is None else weakref.WeakMethod(orders)  # its object refers to the whole feed
        self._venues: Table | None = None  # None until the first use
        self._release_venues: Callable[[], object] | None = None
        self._guard = threading.Lock()  # of these two
        release = partial(link.release, self._book)
        super().__init__(link, callbacks, self._book, f"the book of {symbol}", release=release)

    @property
    def df(self) -> pd.DataFrame:
        """The levels, bids before asks, the best first, at most `depth` a side; a snapshot that belongs to the caller.

        Index `ts` (exchange time of the last update, UTC); columns received (local receipt, UTC), symbol, side ("buy",
        "sell"), level (from 1), price, size (in the unit of quotes). Check `integrity` before you use it. Raises
        UnknownSymbolError or SubscriptionRefusedError where the server refused the book, and the error that ended the
        feed before its first update.
        """
        self._check_coming()
        return levels_frame(self._source.levels(self.depth))

    @property
    def integrity(self) -> BookIntegrity:
        """The state of the book.

        "ok"; "empty", without a level on either side; "locked", where the best bid equals the best ask, which is no
        fault; "crossed", where it is above it; "stale", without an update for 10 s; "gap", not live.
        """
        return self._source.levels(1).integrity

    @property
    def venues(self) -> pd.DataFrame:
        """The newest best bid and ask of each venue, one row a venue; sizes in shares.

        Columns venue, bid_price, bid_size, ask_price, ask_size, ts, received. The first use subscribes, and waits up to
        a second for an update. During an interruption the old rows stay, and `integrity` is "gap"; after it there are
        no rows until the next update. Raises UsageError where the broker has no quotes by venue.
        """
        table = self._table_of_venues()
        rows = table.rows() if not (table.is_stale and self.is_live) else ()
        columns = (*table.columns, Column("ts", "time"), Column("received", "time"))
        return frame_of(columns, [(*row.values, row.ts, row.received) for row in rows])

    @property
    def updates(self) -> int:
        """The number of updates received since the subscription was made."""
        return self._book.updates

    @property
    def lag(self) -> pd.DataFrame:
        """Delays of updates in ms: median `p50_ms` and 99th percentile `p99_ms`, with the number of samples.

        "exchange to received": the newest update of each of the last 1,000 reads of the connection, as the difference
        of the exchange's clock and this computer's (negative where this one is behind); backfilled data are left out.
        "received to visible": until it can be read in this book, of the oldest update of each read. "received to
        painted": until the browser has painted it, of the views on display in the last minute; NaN where there is none,
        or while a cell blocks the kernel and the browser's answers with it.
        """
        return self._book.lags.frame(self._book.lags.received_percentiles())

    def wait(self, *, updates: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until `updates` updates have arrived; returns the book.

        `timeout` is in seconds, None for no limit. Raises WaitTimeoutError, ClosedError, or the error that ended the
        feed.
        """
        return self._wait(updates, "updates", timeout=timeout, what=f"{updates} updates of {self.symbol}'s book")

    async def until(self, *, updates: int = 1, timeout: float | None = 10.0) -> Self:
        """Await that `updates` updates have arrived, while the event loop keeps running.

        `wait` for async code: `timeout` is in seconds, None for no limit; returns the book. Raises WaitTimeoutError,
        ClosedError, or the error that ended the feed.
        """
        return await self._until(updates, "updates", timeout=timeout, what=f"{updates} updates of {self.symbol}'s book")

    def ladder(self, depth: int | None = None, *, step: float | None = None) -> Ladder:
        """Return a live price ladder, centred on the spread: a row for each price step, `depth` on each side of it.

        `depth` None takes the depth of the book. `step` is the distance of two rows, None for the instrument's; of a
        larger one a row sums up the levels between. The ladder shows the last trade where a frame of the symbol's
        trades or quotes is open, and the user's own orders where `feed.account().orders` is. Raises UsageError for an
        invalid depth or step.
        """
        levels = depth or self.depth
        return self._view(("ladder", levels, step), lambda: self._new_ladder(levels, step))

    def _new_ladder(self, depth: int, step: float | None) -> Ladder:
        from aries_nb.widgets import Ladder

        self._states = self._states or TradingState(self._link, (self.symbol,))
        return Ladder(self._view_source, depth=depth, step=step)

    def depth_chart(self, depth: int = 20) -> DepthChart:
        """Return a live chart of the cumulated size of the best `depth` levels of each side."""
        from aries_nb.widgets import DepthChart

        return self._view(("depth", depth), lambda: DepthChart(self._view_source, depth=depth))

    def close(self) -> None:
        """Stop the streams, the callbacks and the views; idempotent. Data received so far stays readable."""
        super().close()
        if self._release_venues is not None:
            self._release_venues()
        if self._states is not None:
            self._states.close()

    def __repr__(self) -> str:
        return f"<book {self.symbol}: {self.integrity}, {self._book.updates:,} updates>"

    @property
    def _view_source(self) -> BookViewSource:
        return BookViewSource(self._source, self._book, self._gap_selection)

    @property
    def _source(self) -> BookSource:
        source = BookSource(self, self._book, self._gap_selection, self._link, self._orders, self._states)
        self._sources.add(source)
        return source

    @property
    def _stores(self) -> tuple[RecordSink, ...]:
        states = None if self._states is None else self._states.store
        return tuple(store for store in (self._book, states, self._venues) if store is not None)

    def _table_of_venues(self) -> Table:
        with self._guard:
            self._use()
            if self._venues is not None:
                return self._venues
            self._check()
            if not self.is_open:
                raise ClosedError(f"{self._name} is closed", advice="Ask the feed for it again.")
            if not self._link.columns("venues"):
                raise UsageError(f"this broker has no quotes by venue of {self.symbol}", advice="Use `df`.")
            table = self._venues = self._link.table("venues", self.symbol)
            # Like the book's own stream, it ends when the book is closed or garbage-collected.
            release = self._release_venues = weakref.finalize(self, self._link.release, table)
            release.atexit = False
        timeout = 0 if self._link.is_on_a_loop else VENUES_SECONDS
        with suppress(WaitTimeoutError):
            wait_for(lambda: len(table) > 0, (table.watch,), timeout=timeout, what=f"venues of {self.symbol}")
        return table

    def _check(self) -> None:
        self._check_coming()
        super()._check()

    def _check_coming(self) -> None:
        """Raise where no update has arrived and none can: the server refuses the book, or the connection failed."""
        self._use()
        if self._is_refused:
            raise self._link.refusal(self._link.refused(self._book))
        if not self._book.updates and self._link.state == "failed":
            self._link.check()

    @property
    def _is_refused(self) -> bool:
        return not self._book.updates and self._link.is_refused(self._book)

    def _captured(self, moment: Moment) -> BookSnapshot:
        if moment.until is None:
            return BookSnapshot(self._book.frozen(), None, moment, depth=self.depth, is_live=self.is_live)
        return BookSnapshot(self._book, self._book.past(moment.until), moment, depth=self.depth, is_live=True)

    def _count(self) -> int:
        return self._book.updates

    def _news(self, *, whole: bool = False) -> News:
        self._check_coming()
        seen = 0 if whole else self._book.updates

        def news() -> pd.DataFrame | None:
            nonlocal seen
            before, seen = seen, self._book.updates
            return self.df if seen != before else None

        return news

    def _first_view(self) -> Ladder:
        return self.ladder()


class BookSource:
    """The data of a live order book for views; keeps the book from being garbage-collected. Any thread."""

    def __init__(
        self,
        book: LiveBook,
        levels: OrderBook,
        gaps: GapSelection,
        link: Link,
        orders: weakref.WeakMethod[Callable[[str], tuple[RestingOrder, ...]]] | None,
        states: TradingState | None,
    ) -> None:
        self._live = book
        self._orders = orders
        self._states = states
        self._link = link
        self._book = levels
        self._gaps = gaps

    @property
    def clock(self) -> ExchangeClock:
        """The market time, by which the age of the newest update counts."""
        return self._link.clock

    @property
    def lags(self) -> LatencySamples:
        """The latency samples of the book, to which views add the times when an update was painted."""
        return self._book.lags

    @property
    def version(self) -> int:
        """A number that grows with every update, and changes when the book becomes stale or the feed not live."""
        return 2 * self._book.version + (self.levels(1).integrity in {"stale", "gap"})

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._book.watch(callback)

    def levels(self, depth: int) -> BookLevels:
        """Return the best `depth` levels of each side as arrays of price and size, and whether the book can be trusted.

        `integrity` says that: "ok", "empty", "crossed", "stale" or "gap" (see `BookLevels`); "gap" while not live.
        """
        now = self._book.levels(depth, now=self._book.lags.now_ns())
        return now if self._live.is_live or not now.ts else replace(now, integrity="gap")

    def marks(self) -> BookMarks:
        """Return the last trade of an open frame of trades, else of quotes, and the user's own orders in the symbol."""
        symbol = self._live.symbol
        own_orders = None if self._orders is None else self._orders()
        trade, quote = (self._link.newest(kind, symbol) for kind in KINDS_OF_PRICES)
        price = trade.get("price", quote.get("last_price", math.nan))
        size = trade.get("size", math.nan)
        states = self._states
        state = "" if states is None else states.by_symbol().get(symbol) or states.market
        return BookMarks(float(price), float(size), own_orders(symbol) if own_orders else (), state)

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that were not filled, oldest first."""
        return self._gaps.spans()

    @property
    def shown(self) -> ShownMoment:
        """At which moment the views of the feed stand."""
        return self._link.arrivals.shown


class BookViewSource:
    """The data of a live order book for one view: those of now, or of the past moment at which the feed's views stand.

    `live` are the data of now, `book` and `gaps` what they come from. Any thread.
    """

    def __init__(self, live: BookSource, book: OrderBook, gaps: GapSelection) -> None:
        self._live = live
        self._book = book
        self._gaps = gaps
        self._number = 0  # of the moment that is shown
        self._past: tuple[BookSnapshot, OrderBook] | None = None  # an empty one where it is not held

    @property
    def lags(self) -> LatencySamples:
        """The latency samples of the book, to which views add the times when an update was painted."""
        return self._live.lags

    @property
    def clock(self) -> ExchangeClock | StandingClock:
        """The market time, by which the age of the newest update counts; one that stands for a past moment."""
        past = self._moved()
        return self._live.clock if past is None else StandingClock(past[0].moment.now)

    @property
    def version(self) -> int:
        """A number that grows with every update and move, and changes when the book becomes stale or not live."""
        past, number = self._moved(), self._number << 56
        return number + (self._live.version if past is None else 0)

    @property
    def standing(self) -> Standing | None:
        """What a view says that stands at a past moment; None for one that shows what is new."""
        past = self._moved()
        if past is None:
            return None
        behind = max(self._book.updates - past[1].updates, 0)
        return Standing(past[0].moment.now, behind, "update", past[0].is_held)

    def resume(self) -> None:
        """Have all views of the feed show what is new again."""
        self._live.shown.move(None)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._live.watch(callback)

    def levels(self, depth: int) -> BookLevels:
        """Return the best `depth` levels of each side as arrays of price and size, and whether it can be trusted."""
        past = self._moved()
        return self._live.levels(depth) if past is None else past[1].levels(depth, now=past[0].moment.now)

    def marks(self) -> BookMarks:
        """Return the last trade and the user's own orders in the symbol; of the past none, as they are of now."""
        return self._live.marks() if self._moved() is None else BookMarks(math.nan, math.nan, (), "")

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that were not filled, oldest first."""
        past = self._moved()
        return self._live.gap_spans() if past is None else self._gaps.over(past[0].moment.gaps).spans()

    def _moved(self) -> tuple[BookSnapshot, OrderBook] | None:
        """Return the book at the moment that the feed's views show, None for now."""
        number, at = self._live.shown.state
        if number != self._number:
            past = None
            if at is not None:
                moment = Moment(at, at, self._gaps.log.frozen(at))
                part = BookSnapshot(self._book, self._book.past(at), moment, depth=1, is_live=True)
                past = part, part.book if part.is_held else OrderBook(self._book.symbol)
            self._number, self._past = number, past
        return self._past
