"""The only interface between live objects and the network: subscribe to get a store, release it, statistics, close.

No live object knows what is behind it, so the network may move to another process that fills the same columns.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import cast
from weakref import WeakSet

from aries_nb.brokers import Endpoint, Query
from aries_nb.errors import (
    ClosedError,
    FeedError,
    SubscriptionRefusedError,
    UnknownSymbolError,
    UsageError,
    WaitTimeoutError,
)
from aries_nb.live.gaps import GapSelection
from aries_nb.live.statistics import FeedStatistics, combined, statistics_of, worst
from aries_nb.live.waiting import PendingReply, wait_for
from aries_nb.model import (
    TABLE_KEYS,
    Column,
    ColumnType,
    Kind,
    RecordSink,
    Rejected,
    State,
    StatusReport,
    StatusValue,
    Subscription,
    TradeGap,
    Value,
)
from aries_nb.model.clock import elapsed
from aries_nb.net.auth.tokens import TokenSource
from aries_nb.net.background import Background, on_network, runs_one_of
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.playback import PlaybackPool
from aries_nb.net.intake import Route
from aries_nb.net.limits import ConnectionLimit
from aries_nb.net.pool import SessionPool
from aries_nb.net.session import Session
from aries_nb.net.urls import checked_url, shown_url
from aries_nb.rooms.pool import RoomPool
from aries_nb.store import (
    LatencySamples,
    MessageCounts,
    OrderBook,
    RollingFrame,
    StreamGaps,
    Table,
    TableListener,
)

__all__ = ["Link"]

OF_SYMBOLS: Mapping[Kind, str] = {"venues": "venue", "bars": "start"}  # lists of a symbol, with their keys
ANSWER_SECONDS = 5.0
SETTLE_SECONDS = 60.0


class Link:
    """The connections to one endpoint of a broker, and the stores (frames, books, tables) that their streams fill.

    Any thread may call every method. `url` is the broker's base address; `gaps` is the part of the gap log for these
    connections. `connection_limit` limits connections and requests together with others that share it, None for limits
    of its own; `rule` says how long to wait between attempts to reconnect, None for the usual times. `is_finished` says
    of the status of an order whether it has ended. On the event `loops` no call waits for the connection, nor for the
    server's reply to a subscription: a refusal is raised by what is awaited next. `pool` has the sessions of a replay
    or a room, None for those with a broker; `past` the routes to frames with rows from before, as of a recording that
    goes on.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        url: str,
        token: TokenSource,
        gaps: StreamGaps,
        *,
        connection_limit: ConnectionLimit | None = None,
        rule: BackoffRule | None = None,
        arrivals: Arrivals | None = None,
        is_finished: Callable[[str], bool] = lambda _: False,
        loops: Collection[asyncio.AbstractEventLoop] = (),
        pool: PlaybackPool | RoomPool | None = None,
        past: Sequence[Sequence[Route]] = (),
    ) -> None:
        self._loops = loops
        self._columns = endpoint.columns
        self._is_finished = is_finished
        self.pnl_intervals = endpoint.pnl_intervals
        self.hours = endpoint.hours
        self.conflates = endpoint.conflates
        self._gaps = gaps
        self.arrivals = arrivals = arrivals or Arrivals()
        self.clock = arrivals.clock  # market time
        self._brings_past = pool is not None
        self._past = past
        self._pool: SessionPool | PlaybackPool | RoomPool = pool or SessionPool(
            checked_url(url, endpoint.path),
            endpoint,
            token,
            gaps.of_connection,
            connection_limit=connection_limit or ConnectionLimit(),
            rule=rule,
            name=gaps.name,
            arrivals=arrivals,
        )
        self._streams: dict[int, list[Route]] = {}
        self._lags = LatencySamples(self.clock.now_ns)  # of all its frames and books
        self._given_up: dict[int, tuple[list[Route], int]] = {}  # by store, with the number of its gap
        self._numbers = count(1)  # of queries
        self._own: WeakSet[RecordSink] = WeakSet()  # what symbols they have says what accounts hold
        self._books: dict[Subscription, tuple[OrderBook, int]] = {}
        self._book_requests: dict[Subscription, threading.RLock] = {}
        # Guards `_books`; reentrant: the garbage collector may release a book while this thread holds it.
        self._guard = threading.RLock()

    def wait_open(self, timeout: float) -> None:
        """Block until the first connection to the endpoint is live, at most `timeout` seconds.

        Raises ConnectError or TokenError.
        """
        self._pool.sessions[0].wait_open(timeout)

    def settle(self) -> None:
        """Wait, in a replay that passes its events once more, until it is back: what is read is of one moment then."""
        if (
            isinstance(self._pool, PlaybackPool)
            and not Background.shared().is_current()
            and not runs_one_of(self._loops)
        ):
            self._pool.settle(SETTLE_SECONDS)

    def columns(self, kind: Kind) -> Mapping[str, ColumnType]:
        """Return all fields, with their types, that records of a kind have at the endpoint.

        Empty where the endpoint has no streams of that kind.
        """
        return self._columns.get(kind, {})

    def tape(
        self,
        kind: Kind,
        symbols: Sequence[str],
        columns: Sequence[Column],
        *,
        options: tuple[tuple[str, str], ...] = (),
        takes_over: bool = False,
        is_own: int | None = False,
        **window: int | None,
    ) -> RollingFrame:
        """Subscribe to these symbols, and return the rolling frame that their streams fill.

        `window` is `limit` (rows) or `window_ns` (nanoseconds) of the rolling frame, `options` are sent with the
        subscriptions. `is_own`: it is for a computation, such as about accounts, and goes into no room. With
        `takes_over` it begins with the rows that other frames have of equal subscriptions, as when a user asks for a
        longer window.
        Waits up to 5 s for the server's reply. Raises UnknownSymbolError or SubscriptionRefusedError where the server
        refuses a symbol; then none is subscribed to.
        """
        tape = RollingFrame(columns, symbols, clock=self.clock.now_ns, **window)
        tape.lags.whole = self._lags
        fields = tuple(column.name for column in columns)
        wanted = (Subscription(kind, symbol, fields, options) for symbol in symbols)
        streams = [Route(subscription, tape, code) for code, subscription in enumerate(wanted)]
        if is_own:
            self._own.add(tape)
        lenders = self._lenders(streams) if takes_over and not self._brings_past else []
        self._subscribe(streams, tape)
        if lenders and not self.is_on_a_loop:
            watches = tuple(lender.watch for lender, _ in lenders)
            is_ready = lambda: not any(lender.is_backfilling for lender, _ in lenders)  # noqa: E731
            with suppress(WaitTimeoutError, FutureTimeoutError):  # it goes on without their rows
                wait_for(is_ready, watches, timeout=ANSWER_SECONDS, what="the backfill of the rows")
                on_network(lambda: tape.take_over(lenders)).result(ANSWER_SECONDS)
        return tape

    def table_columns(self, kind: Kind) -> tuple[Column, ...]:
        """Return all columns that the broker has for tables of this kind, () where it has no such table."""
        return tuple(Column(name, type_) for name, type_ in self.columns(kind).items())

    def table(
        self,
        kind: Kind,
        account: str,
        *,
        options: tuple[tuple[str, str], ...] = (),
        listeners: Sequence[TableListener] = (),
        limit: int = 10_000,
    ) -> Table:
        """Subscribe to a table of an account, and return the table that the stream keeps current, of `limit` rows.

        `options` (pairs of name and text) are sent with the subscription. `account` "" is for tables of the user, such
        as watchlists; of kind "venues" or "bars" it is a symbol. `listeners` receive every change of a row. Raises
        UsageError where the broker has no such table, or the server refuses it; UnknownSymbolError for a symbol.
        """
        columns = self.table_columns(kind)
        if not columns:
            what = f"this broker has no {kind.replace('_', ' ')}"
            raise UsageError(what, where=self.address, advice="`feed.tables` names what it has.")
        key = TABLE_KEYS[kind] if kind in TABLE_KEYS else (OF_SYMBOLS[kind],)
        table = Table(
            columns, (account,), key=key, limit=limit, listeners=listeners, is_finished=self._is_finished,
            clock=self.clock.now_ns,
        )  # fmt: skip
        subscription = Subscription(kind, account, tuple(column.name for column in columns), options)
        self._subscribe([Route(subscription, table, 0)], table)
        return table

    def instruments(
        self, symbols: Sequence[str], listeners: Sequence[TableListener] = (), *, only: Collection[str] = ()
    ) -> Table:
        """Subscribe to the trading status of instruments, and return the table that the stream keeps current.

        It has one row for each symbol, with all columns of the broker; `only` names some of them, which are a stream of
        their own. Raises UsageError where the broker does not stream it, UnknownSymbolError or SubscriptionRefusedError
        where the server refuses a symbol; then none is subscribed to.
        """
        columns = self.table_columns("instruments")
        if not columns:
            advice = "Use `feed.reference.instrument` to look one up."
            raise UsageError(
                "this broker does not stream the trading status of instruments", where=self.address, advice=advice
            )
        columns = tuple(column for column in columns if not only or column.name in only)
        table = Table(columns, symbols, key=TABLE_KEYS["instruments"], listeners=listeners, clock=self.clock.now_ns)
        fields = tuple(column.name for column in columns)
        wanted = (Subscription("instruments", symbol, fields) for symbol in symbols)
        self._subscribe([Route(subscription, table, code) for code, subscription in enumerate(wanted)], table)
        return table

    def book(self, symbol: str, options: tuple[tuple[str, str], ...] = ()) -> OrderBook:
        """Subscribe to a symbol's order book, and return it; callers with equal symbol and options share one book.

        `options` (pairs of name and text) are sent with the subscription. Each caller must `release` it. Raises
        UnknownSymbolError or SubscriptionRefusedError.
        """
        wanted = Subscription("book", symbol, options=options)
        with self._guard:
            request = self._book_requests.setdefault(wanted, threading.RLock())
        with request:  # a second caller waits for the answer to the first, which may be a refusal
            with self._guard:
                book, users = self._books.get(wanted) or (OrderBook(symbol, self.clock.now_ns), 0)
                book.lags.whole = self._lags
                self._books[wanted] = (book, users + 1)
            self.take_up(book)
            if not users:
                try:
                    self._subscribe([Route(wanted, book, 0)], book)
                except BaseException:
                    self._books.pop(wanted, None)
                    raise
        return book

    def ask(self, query: Query, timeout: float) -> bytes:
        """Send a query on the WebSocket connection and return the body of the reply; blocks.

        Only where `columns("answers")` is not empty. Raises UsageError with the server's reason where it refuses,
        WaitTimeoutError after `timeout` seconds.
        """
        slip = PendingReply()
        options = (("number", str(next(self._numbers))), *query.params)
        streams = [Route(Subscription("answers", query.path, ("body",), options), slip, 0)]

        def has_come() -> bool:
            self.check()
            return slip.text is not None or bool(self.refused(slip))

        try:
            self._subscribe(streams, slip)
            wait_for(has_come, (slip.watch, self.watch), timeout=timeout, what=f"the answer to {query.path}")
        except (UnknownSymbolError, SubscriptionRefusedError) as refused:
            raise UsageError(f"the server refuses {query.path}: {refused.reason}", where=self.address) from None
        finally:
            self._streams.pop(id(slip), None)
            with suppress(FutureTimeoutError):
                for done in self._pool.unsubscribe(streams):
                    done.result(ANSWER_SECONDS)
        if slip.text is None:
            raise UsageError(f"the server refuses {query.path}", where=self.address)
        return slip.text.encode()

    def fill_gaps_with(self, fill: Callable[[TradeGap, Sequence[Route], StreamGaps], None]) -> None:
        """Set the function `fill` to be called with each gap in numbered trades, on the network's thread.

        It must return at once. Its arguments are the gap (the trades of one symbol missing between two known ones), the
        routes to the stores that miss the trades, and the stream's part of the gap log.
        """
        self._pool.on_trade_gap = lambda number, hole, streams: fill(hole, streams, self._gaps.of_connection(number))

    def gaps_of(self, store: RecordSink) -> GapSelection:
        """Return the interruptions of the streams that fill `store`, from now until the result is closed.

        Where `store` took over rows of another one, from its oldest row; in a replay or a room from the beginning on,
        as its rows are.
        """
        places: dict[tuple[str, Kind], set[str]] = {}
        for stream in self._streams.get(id(store), ()):
            name = self._gaps.of_connection(self._pool.number_of(stream)).name
            places.setdefault((name, stream.subscription.kind), set()).add(stream.subscription.symbol)
        since = 0 if self._brings_past else store.first_taken_ns if isinstance(store, RollingFrame) else None
        return GapSelection(self._gaps.log, places, since=since)

    def ledgers(self) -> list[tuple[str, str, str, MessageCounts]]:
        """Return a tuple for each store that is filled now: stream's name, kind, symbols as one text, counts.

        The counts say what became of each message of the stream. Of a room those of its publisher follow, with the
        name "publisher".
        """
        lines: list[tuple[str, str, str, MessageCounts]] = []
        for streams in list(self._streams.values()):
            store, kind = streams[0].sink, streams[0].subscription.kind
            if isinstance(store, RollingFrame | OrderBook | Table):
                symbols = " ".join(stream.subscription.symbol for stream in streams)
                lines.append((self._gaps.name, kind, symbols, store.message_counts()))
        return lines if not isinstance(self._pool, RoomPool) else lines + self._pool.ledgers()

    @property
    def open_stores(self) -> list[tuple[Subscription, RecordSink]]:
        """What is filled for the user now, each with the subscription of its first symbol."""
        first = [streams[0] for streams in list(self._streams.values()) if streams]
        return [(each.subscription, each.sink) for each in first if each.sink not in self._own]

    def newest(self, kind: Kind, symbol: str) -> dict[str, Value]:
        """Return the newest row of a symbol in any open frame of this kind, by column; {} where there is none."""
        newest: tuple[int, dict[str, Value]] = (0, {})
        for routes in list(self._streams.values()):
            store = routes[0].sink
            if (
                routes[0].subscription.kind != kind
                or not isinstance(store, RollingFrame)
                or symbol not in store.symbols
            ):
                continue
            row = store.latest()[store.symbols.index(symbol)]
            if row is not None and row[0] > newest[0]:
                newest = row[0], {column.name: value for column, value in zip(store.columns, row[2], strict=True)}
        return newest[1]

    def table_rows(self, kind: Kind) -> list[dict[str, Value]]:
        """Return the rows of all open tables of this kind that are current, by column."""
        tables = [routes[0].sink for routes in list(self._streams.values()) if routes[0].subscription.kind == kind]
        return [
            {column.name: value for column, value in zip(table.columns, row.values, strict=True)}
            for table in tables
            if isinstance(table, Table) and not table.is_stale
            for row in table.rows()
        ]

    def release(self, store: RecordSink) -> None:
        """Unsubscribe the streams that fill a store; idempotent.

        A shared order book is unsubscribed with its last user.
        """
        routes = self._streams.get(id(store), ())
        if isinstance(store, OrderBook) and routes:
            wanted = routes[0].subscription
            with self._guard:
                book, users = self._books.pop(wanted, (store, 0))
                if users > 1:
                    self._books[wanted] = (book, users - 1)
                    return
        streams = self._streams.pop(id(store), None)
        if streams and self.state != "closed":
            self._pool.unsubscribe(streams)
        _, gap = self._given_up.pop(id(store), ((), None))
        if gap is not None:
            self._gaps.log.taken_up(gap, ended=self.clock.now_ns())

    def give_up(self, store: RecordSink, reason: str) -> int | None:
        """Unsubscribe the streams that fill a store until `take_up`; the store keeps what it has.

        Returns the number of the gap that begins, with `reason` as its reason; None, and does nothing, where the store
        has no streams, or another user (an order book). The network's thread only.
        """
        with self._guard:
            routes = self._streams.get(id(store))
            if not routes:
                return None
            wanted = routes[0].subscription
            if isinstance(store, OrderBook) and self._books.get(wanted, (store, 1))[1] > 1:
                return None
            name = self._gaps.of_connection(self._pool.number_of(routes[0])).name
            symbol = wanted.symbol if len(routes) == 1 else ""
            gap = self._gaps.log.given_up(f"{name} {wanted.kind}", symbol, started=self.clock.now_ns(), reason=reason)
            self._given_up[id(store)] = self._streams.pop(id(store)), gap
        store.interrupted()
        if isinstance(store, RollingFrame | OrderBook):  # rows still came until the streams ended
            ended = lambda _: self._gaps.log.last_received(gap, store.lags.newest)  # noqa: E731
        else:
            ended = lambda _: None  # noqa: E731
        for done in self._pool.unsubscribe(routes):
            done.add_done_callback(ended)
        return gap

    def is_given_up(self, store: RecordSink) -> bool:
        """Whether the streams that fill a store were given up, and not taken up again."""
        return id(store) in self._given_up

    def take_up(self, store: RecordSink) -> None:
        """Subscribe again to the streams that were given up; returns at once. The gap ends with the server's reply.

        Where that is impossible, as at the broker's limit of streams, the store stays given up, and the reason is the
        `last_error` of the statistics.
        """
        with self._guard:
            routes, gap = self._given_up.pop(id(store), ([], -1))
            if not routes:
                return
            self._streams[id(store)] = routes
        try:
            answers = self._pool.subscribe(routes)
        except FeedError as error:
            with self._guard:
                self._given_up[id(store)] = self._streams.pop(id(store)), gap
            self.report(f"a stream cannot begin again: {error}")
            return
        for answer in answers:
            answer.add_done_callback(lambda _: self._gaps.log.taken_up(gap, ended=self.clock.now_ns()))

    @property
    def is_on_a_loop(self) -> bool:
        """Whether this thread runs one of the event loops that must not be held up."""
        return runs_one_of(self._loops)

    def check(self) -> None:
        """Raise the error that ended a connection for good, or ClosedError after `close`; else return."""
        for session in self._pool.sessions:
            if session.error is not None:
                raise session.error
        if self.state == "closed":
            raise ClosedError("the feed is closed", where=self.address, advice="Connect again.")

    def fail(self, error: FeedError) -> None:
        """End all connections for good with an error, which the user's next call raises."""
        for session in self._pool.sessions if isinstance(self._pool, SessionPool) else ():
            session.fail(error)

    def statistics(self) -> FeedStatistics:
        """Return the current counts and latencies of all connections of this link together."""
        parts = [statistics_of(session, self.clock) for session in self._pool.sessions]
        visible, painted = self._lags.visible_percentiles(), self._lags.painted_percentiles()
        return replace(
            total := combined(parts),
            clock_offset_s=self.clock.offset_s,
            last_error=total.last_error or str(self.clock),
            gaps=self._gaps.count,
            visible_p50_ms=visible.p50_ms,
            visible_p99_ms=visible.p99_ms,
            painted_p50_ms=painted.p50_ms,
            painted_p99_ms=painted.p99_ms,
        )

    def report(self, problem: str) -> None:
        """Make a problem outside the stream, such as a failed HTTP request, the `last_error` of the statistics."""
        self._pool.sessions[0].last_error = problem

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the network's thread when a connection's state changes; return what ends the calls."""
        return self._pool.watch(callback)

    def catch_up(self) -> list[Future[None]]:
        """Return futures that are done when all that was sent until now is read; none of a replay."""
        return [session.catch_up() for session in self._pool.sessions if isinstance(session, Session)]

    def close(self) -> None:
        """End all connections; idempotent. The stores keep what they have."""
        self._pool.close()

    @property
    def state(self) -> State:
        """The worst state of this link's connections, in the order failed, reconnecting, connecting, closed, live."""
        return worst([session.state for session in self._pool.sessions])

    @property
    def address(self) -> str:
        """The endpoint's address without secrets."""
        return shown_url(self._pool.url)

    @property
    def market_status(self) -> Mapping[str, StatusValue]:
        """The broker's last message about the state of the market, as names and values; empty before the first."""
        reports, _ = self.status_reports()
        return reports[-1].entries if reports else {}

    def status_reports(self) -> tuple[Sequence[StatusReport], int]:
        """Return the newest 1,000 reports of the state of the market, oldest first, and the number of all.

        Those of the first connection: the broker sends the same on each.
        """
        return self._pool.sessions[0].status_reports

    def watch_status(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each report of the market's state, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._pool.sessions[0].status_observers.add(callback)

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """The newest messages that could not be parsed: (reason, excerpt of up to 200 characters).

        Up to 50 of each connection, oldest first.
        """
        sessions = self._pool.sessions
        return [(item.reason, item.excerpt) for session in sessions for item in list(session.intake.excerpts)]

    def refused(self, store: RecordSink) -> dict[Subscription, Rejected]:
        """Return the subscriptions of a store that the server has refused, each with its reply; empty if none."""
        refused = {each: why for session in self._pool.sessions for each, why in tuple(session.rejected.items())}
        if not refused:
            return {}
        streams = self._streams.get(id(store), ())
        return {each: refused[each] for each in (stream.subscription for stream in streams) if each in refused}

    def is_refused(self, store: RecordSink) -> bool:
        """Whether the server has refused all subscriptions of a store."""
        refused = self.refused(store)
        return bool(refused) and len(refused) == len(self._streams.get(id(store), ()))

    def refusal(self, refused: Mapping[Subscription, Rejected]) -> UsageError:
        """Return the error to raise for refused subscriptions.

        UnknownSymbolError with the symbols that do not exist, where there are any; else SubscriptionRefusedError with
        the symbols that were refused for another reason; UsageError for tables of an account or of the user.
        """
        unknown = [each for each, why in refused.items() if why.is_unknown_symbol]
        symbols = tuple(dict.fromkeys(each.symbol for each in unknown or refused))
        reason = "; ".join(dict.fromkeys(refused[each].reason for each in unknown or refused))
        kind = next(iter(refused)).kind
        if kind in TABLE_KEYS and kind != "instruments":
            account = symbols[0]
            what = f"{kind} of account {account!r}" if account else kind
            advice = "`feed.accounts` lists the accounts there are." if account else ""
            return UsageError(f"the server refuses {what}: {reason}", where=self.address, advice=advice)
        if unknown:
            return UnknownSymbolError(symbols, where=self.address, reason=reason)
        return SubscriptionRefusedError(kind.replace("_", " "), symbols, where=self.address, reason=reason)

    def _lenders(self, streams: Sequence[Route]) -> list[tuple[RollingFrame, dict[int, int]]]:
        """Return the frames with rows of these subscriptions: of each subscription the frame with the most rows.

        Each with the codes of the symbols there, and their codes in the frame of `streams`.
        """
        wanted = {stream.subscription: stream.code for stream in streams}
        found: dict[Subscription, Route] = {}
        every = [*self._streams.values(), *self._past]
        frames = [routes for routes in every if isinstance(routes[0].sink, RollingFrame)]
        for routes in sorted(frames, key=lambda routes: len(cast("RollingFrame", routes[0].sink)), reverse=True):
            for route in routes:
                if route.subscription in wanted:
                    found.setdefault(route.subscription, route)
        lenders: dict[int, tuple[RollingFrame, dict[int, int]]] = {}
        for subscription, route in found.items():
            _, codes = lenders.setdefault(id(route.sink), (cast("RollingFrame", route.sink), {}))
            codes[route.code] = wanted[subscription]
        return list(lenders.values())

    def _subscribe(self, streams: list[Route], store: RecordSink) -> None:
        self.check()
        self._streams[id(store)] = streams
        refused: dict[Subscription, Rejected] = {}
        until = elapsed() + (0.0 if self.is_on_a_loop else ANSWER_SECONDS)
        try:
            for answer in self._pool.subscribe(streams):
                # A slow reply is no error: rows will arrive, or a refusal that the next call raises.
                with suppress(FutureTimeoutError):
                    refused |= answer.result(max(until - elapsed(), 0.0))
        except BaseException:
            # The protocol cannot encode the request, or the user interrupts: nothing of it may stay.
            self.release(store)
            raise
        if refused:
            self._streams.pop(id(store), None)
            with suppress(FutureTimeoutError):
                for done in self._pool.unsubscribe(streams):
                    done.result(0.0 if self.is_on_a_loop else ANSWER_SECONDS)
            raise self.refusal(refused)
