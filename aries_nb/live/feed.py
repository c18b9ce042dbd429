"""`Feed`: the streams, tables and lookups of one broker, as `connect` returns it."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Literal, Self, overload
from weakref import WeakMethod, WeakSet

import pandas as pd

from aries_nb.brokers import Broker, Endpoint
from aries_nb.errors import ClosedError, UsageError
from aries_nb.live.account.account import Account
from aries_nb.live.account.marks import FeedQuotes
from aries_nb.live.account.user_data import UserData, tables_at
from aries_nb.live.arguments import (
    checked_columns,
    checked_count,
    checked_interval,
    checked_interval_ms,
    checked_symbol,
    checked_symbols,
    checked_window,
)
from aries_nb.live.callbacks import Callbacks, Registrations
from aries_nb.live.completion import Symbols, complete_symbols
from aries_nb.live.connection import Link
from aries_nb.live.derived.alerts import FeedAlerts
from aries_nb.live.derived.frame import DerivedFrame
from aries_nb.live.endpoints import FeedEndpoints
from aries_nb.live.gap_fill import GapFill
from aries_nb.live.gaps import Gaps, GapSelection
from aries_nb.live.idle import IdleStreams
from aries_nb.live.live_object import LiveObject, LiveRegistry, SessionViews
from aries_nb.live.local_simulator import EmbeddedMarket, SimulatedClock, Simulation
from aries_nb.live.market.bar_history import INTERVALS, BarHistory, checked_span
from aries_nb.live.market.bars import BarUpdates, LiveBars, updated_bars
from aries_nb.live.market.book import LiveBook
from aries_nb.live.market.frame import LiveFrame
from aries_nb.live.market.instruments import LiveInstruments
from aries_nb.live.market.options import OptionChain, Options, checked_expiry
from aries_nb.live.market.reference import MarketReference
from aries_nb.live.market.status import LiveMarketStatus
from aries_nb.live.moments.clock import FeedClock, PlaybackClock, PlaybackMarks
from aries_nb.live.moments.feed_moments import FeedMoments
from aries_nb.live.moments.snapshot import SnapshotMaker
from aries_nb.live.moments.timeline import Timeline
from aries_nb.live.recordings.recording import Recorder, Recording, checked_path, endpoints_of, passing
from aries_nb.live.rooms.bars import CopiedBars
from aries_nb.live.rooms.entering import RoomClock, RoomHttp
from aries_nb.live.rooms.serving import Rooms, Serving
from aries_nb.live.screen.feed_views import FeedViews
from aries_nb.live.statistics import FeedStatistics, combined, ledger_frame, most_streams
from aries_nb.live.streams import Streams
from aries_nb.live.table import LiveTable
from aries_nb.model import QUOTE_COLUMNS, TRADE_COLUMNS, Column, Kind, State
from aries_nb.net.auth.tokens import TokenSource, masked
from aries_nb.net.background import merged_on_network
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.playback import Playback, Recorded
from aries_nb.net.http_client import HttpClient, NoHttp, http_base
from aries_nb.net.limits import ConnectionLimit
from aries_nb.rooms.pool import RoomPool
from aries_nb.store import Gap, GapLog

__all__ = ["Feed"]

MOST_LEVELS = 1_000  # of a side of a book


class Feed(FeedViews, FeedMoments):
    """A connection to one broker: its quotes, trades, order books, bars, options, accounts and lookups.

    `connect` makes it. Every method may be called from any thread. A context manager: leaving the block closes the
    feed. `at_close` is called with the feed once it is closed; `connection_limit` is shared by all feeds of one
    address, None for one of its own; `rule` says how long to wait between attempts to reconnect, None for the usual
    times. `choices` are the arguments of `connect` by which the broker was chosen. `record` is where all is recorded
    from the beginning; a recording that is there goes on, and the feed begins with its rows. `events` returns those of
    a recording, which are played back in place of connecting to `url`; None for a live feed. `market` is the
    simulated market that was started for this feed, `room` the connection to a room, whose rows it has.
    """

    def __init__(
        self,
        broker: Broker,
        url: str,
        token: TokenSource,
        *,
        at_close: Callable[[Feed], None],
        connection_limit: ConnectionLimit | None = None,
        rule: BackoffRule | None = None,
        choices: Mapping[str, str] | None = None,
        record: Path | None = None,
        recorded: Recorded | None = None,
        market: EmbeddedMarket | None = None,
        room: RoomPool | None = None,
    ) -> None:
        self.name = broker.name
        self._at_close = at_close
        self._gaps = gaps = GapLog()
        self._playback: Playback | None = None
        arrivals = Arrivals(None if market is None else market.clock)
        if recorded is not None:
            to_log = lambda name, number: gaps.stream(name).of_connection(number)  # noqa: E731
            self._playback = Playback(recorded, endpoints_of(broker), to_log, where=url, parts=[gaps])
            self._playback.again = passing(broker, url)
            arrivals = self._playback.arrivals
        if room is not None:
            room.report_to(gaps.stream("market"))
            arrivals = room.arrivals
        gaps.clock = arrivals.clock
        self._recorder = Recorder(broker, arrivals, choices or {}, lambda problem: self._link.report(problem), [gaps])
        past = {} if record is None else self._recorder.resume(record, endpoints_of(broker), gaps)
        token = masked(token, arrivals.mask)
        self._arrivals = arrivals
        self._views = SessionViews()
        self._gap_selection = GapSelection(self._gaps)
        self._clock = FeedClock(arrivals.clock) if room is None else RoomClock(room)
        marks = PlaybackMarks(self._gap_selection, lambda: self._accounts.own_fills(None), arrivals)
        if self._playback is not None:
            self._clock = PlaybackClock(self._playback, self._views, marks)
        if market is not None:
            market.clock.changed.add(merged_on_network(arrivals.timer.look_again))
            self._clock = SimulatedClock(market, lambda: [each for link in self._links() for each in link.catch_up()])
        self._simulation = Simulation(broker.name, market)
        self._missed = Gaps(self._gap_selection)
        self._limit = shared = connection_limit or ConnectionLimit(
            broker.most_connections, requests_per_second=broker.requests_per_second
        )
        self._loops: WeakSet[AbstractEventLoop] = WeakSet()  # of `connecting`: its calls must not hold them up

        def connect(stream: str, endpoint: Endpoint) -> Link:
            is_finished = broker.account_reference.is_finished if broker.account_reference else lambda _: False
            return Link(
                endpoint,
                url,
                token,
                gaps.stream(stream),
                connection_limit=shared,
                rule=rule,
                arrivals=arrivals,
                is_finished=is_finished,
                loops=self._loops,
                pool=room if self._playback is None else self._playback.pools[stream],
                past=past.get(stream, ()),
            )

        self._endpoints = FeedEndpoints(broker, connect, self._check)
        self._link = self._endpoints.market
        self._callbacks = Callbacks()
        self._registrations = Registrations(self._callbacks, "the feed")
        self.alerts = FeedAlerts()
        """All alerts of this feed's frames: `df` has one row a firing, `open` are those that watch."""
        self._market_status = LiveMarketStatus(self._link, self._registrations)
        self._http: HttpClient
        if room is not None:
            self._http = RoomHttp(room)
        elif self._playback is not None:
            self._http = NoHttp(url)
        else:
            self._http = HttpClient(http_base(url), token, rate_limit=shared.rate_limit, loops=self._loops)
        self._reference = MarketReference(self._http, broker.lookup, arrivals.clock)
        gap_fill = GapFill.of(self._http, broker, arrivals, self._link.report)
        self._link.fill_gaps_with(gap_fill.start)
        (self._recorder if self._playback is None else self._playback).parts.append(gap_fill)
        self._registry = LiveRegistry(self._check)
        playback, recorded_accounts = self._playback, None if room is None else room.accounts
        if playback is not None:
            recorded_accounts = lambda: playback.accounts  # noqa: E731
        self._accounts = UserData(
            lambda: connect("accounts", broker.accounts) if room is None and broker.accounts else self._link,
            self._http,
            broker.reference,
            self._callbacks,
            FeedQuotes(self._frame, self._link, self._registry),
            account_reference=broker.account_reference,
            recorded=recorded_accounts,
        )
        self._account_endpoint = broker.accounts
        self._snapshots = SnapshotMaker(self.name, arrivals, gaps, self._links, self._open_objects)
        self._timeline = Timeline(arrivals, self._views, marks, self._snapshots.held_from)
        IdleStreams(self._registry).start()
        self._history = broker.reference
        self._options_of = partial(Options, self._http, broker, link=self._link)
        self._rooms = Rooms(self, self._links, self._gap_selection, self._registry, is_room=room is not None)
        self._symbols = Symbols(self._open_objects, lambda text: self._reference.search(text, 50).index)
        complete_symbols(self)
        self._is_closed = False
        if market is not None:
            market.when_ended(self._market_ended)

    def quotes(
        self,
        *symbols: str,
        window: str | None = None,
        rows: int | None = None,
        fields: Sequence[str] | Literal["*"] | None = None,
        endpoint: str = "market",
        min_interval_ms: int | None = None,
    ) -> LiveFrame:
        """Return the quotes of these symbols as a rolling frame: best bid and ask, and last price; one row a change.

        `window` is a span of time such as "15min", `rows` a number of rows; give one of them, by default 100,000 rows
        are kept. `fields` chooses the columns by name, "*" all that the broker has; only these are requested. Sizes are
        in shares, or in lots where the broker counts lots (`feed.reference.instrument` has the size of a lot).
        `endpoint` "charts" is a second source, where the broker has one: it has a connection of its own, made with its
        first frame, and no sizes. `min_interval_ms` is the shortest time between two quotes of a symbol, for brokers
        that then send only the newest: whole milliseconds, None for the broker's own interval. A call with equal
        arguments returns the same frame while that is open; one with another window or other symbols begins with the
        rows that the feed has of them.

        Raises UsageError for an invalid argument, UnknownSymbolError for a symbol that the server refuses, ConnectError
        or TokenError where there is no connection to that endpoint.
        """
        return self._frame(
            "quotes",
            symbols,
            fields,
            QUOTE_COLUMNS,
            checked_window(window, rows),
            endpoint=endpoint,
            options=checked_interval_ms(min_interval_ms, conflates=self._endpoints.endpoint(endpoint).conflates),
        )

    def trades(
        self,
        *symbols: str,
        window: str | None = None,
        rows: int | None = None,
        fields: Sequence[str] | Literal["*"] | None = None,
        endpoint: str = "market",
    ) -> LiveFrame:
        """Return every trade of these symbols, never conflated, as a rolling frame; one row a trade.

        `window` is a span of time such as "15min", `rows` a number of rows; give one of them, by default 100,000 rows
        are kept. `fields` chooses the columns by name, "*" all that the broker has. `endpoint` "charts" is a second
        source, where the broker has one. Sizes are in the unit of quotes: shares, or lots where the broker counts lots.
        `side` is that of the aggressor, "unknown" where the broker does not send it. A call with equal arguments
        returns the same frame while that is open; one with another window or other symbols begins with the rows that
        the feed has of them.

        Raises UsageError for an invalid argument, UnknownSymbolError for a symbol that the server refuses, ConnectError
        or TokenError where there is no connection to that endpoint.
        """
        return self._frame("trades", symbols, fields, TRADE_COLUMNS, checked_window(window, rows), endpoint=endpoint)

    def book(self, symbol: str, *, depth: int = 10, min_interval_ms: int | None = None) -> LiveBook:
        """Return the live order book of a symbol, with at most `depth` levels on each side (up to 1,000).

        `min_interval_ms` is the shortest time between two updates, for brokers that then send only the newest state:
        whole milliseconds, None for the broker's own interval. A call with equal arguments returns the same book while
        that is open. Raises UsageError for an invalid argument, UnknownSymbolError for a symbol that the server
        refuses.
        """
        name = checked_symbol(symbol)
        depth = checked_count(depth, "depth", "levels", most=MOST_LEVELS)
        options = checked_interval_ms(min_interval_ms, conflates=self._link.conflates)
        self._endpoints.columns("book")
        return self._registry.same(
            ("book", name, depth, options),
            lambda: LiveBook(
                self._link, self._callbacks, name, depth=depth, options=options, orders=self._accounts.working_orders
            ),
        )

    def instruments(self, *symbols: str) -> LiveInstruments:
        """Return trading status, price limits and margins of these symbols as a live table, one row each.

        A call with the same symbols returns the same table while that is open. Raises UsageError where the broker does
        not stream them, UnknownSymbolError for a symbol that the server refuses.
        """
        names = checked_symbols(symbols)
        return self._registry.same(("instruments", names), lambda: LiveInstruments(self._link, self._callbacks, names))

    @overload
    def options(self, symbol: str) -> Options: ...

    @overload
    def options(self, symbol: str, expiry: str | date, *, strikes: int | None = 10) -> OptionChain: ...

    def options(
        self, symbol: str, expiry: str | date | None = None, *, strikes: int | None = 10
    ) -> Options | OptionChain:
        """Return the listed options of an underlying, with their `expiries`; given `expiry`, that day's live chain.

        `expiry` is a date or text such as "2026-12-18". `strikes` is the number of strikes on each side of the money,
        None for all. A call with equal arguments returns the same chain while that is open. Raises UsageError where
        there are no such options, before anything is subscribed to; ConnectError or TokenError without a reply.
        """
        name = checked_symbol(symbol)
        self._check()
        count = None
        if strikes is not None:
            count = checked_count(strikes, "strikes", "strikes", or_none=" for each side, or None for all")
        if expiry is None:
            return self._options_of(name)
        day = checked_expiry(expiry)
        return self._registry.same(
            ("options", name, day, count),
            lambda: OptionChain(self._link, self._callbacks, self._options_of(name), day, strikes=count),
        )

    def bars(self, symbol: str, interval: str = "1min", *, history: str = "1d") -> LiveBars:
        """Return the bars of a symbol, those of the last `history` and the live ones, as one series without gaps.

        `interval` is one of 1min, 3min, 5min, 15min, 30min, 1h, 2h, 3h, 4h, 1d, or the same as pandas takes it ("300s",
        a timedelta); `history` a span of time such as "2d". Its days are trading days: on a Sunday, on a holiday or
        before the open, "1d" is the last session. Volume is in the unit of the sizes of quotes. Blocks until the
        history has arrived. A call with equal arguments returns the same bars while these are open.

        Raises UsageError for an unknown interval or an invalid span, UnknownSymbolError for a symbol that the server
        refuses, ConnectError, TokenError or FeedError where the broker sends no history.
        """
        name = checked_symbol(symbol)
        interval = checked_interval(interval, INTERVALS, "length of bars")
        seconds = INTERVALS[interval]
        span_ns = checked_span(history, seconds)

        def updates() -> BarUpdates:
            if self._rooms.is_room:
                return CopiedBars(self._link, self._gaps, name, interval)
            past = BarHistory(self._http, self._endpoints.existing(self._history, "history of bars"), name, seconds)
            return updated_bars(self._link, self._gaps, past, interval=interval, span_ns=span_ns)

        return self._registry.same(
            ("bars", name, seconds, span_ns),
            lambda: LiveBars(self._link, self._callbacks, updates(), interval=interval),
        )

    def account(self, name: str | None = None) -> Account:
        """Return an account of the user by its name; None for the only account there is.

        A call with the same name returns the same object while that is open. Accounts use a connection of their own,
        made by the first call. Raises UsageError for an unknown name, and for None where there are several accounts;
        ConnectError or TokenError where there is no connection.
        """
        self._check()
        self._endpoints.existing(self._account_endpoint, "accounts")
        return self._accounts.account(name)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The names of the user's accounts. Blocks: each access requests the list, unless the token names the accounts.

        On the event loop of `connecting`, they are those of the newest list.

        Raises UsageError where the broker has no such list, ConnectError, TokenError or FeedError without a usable
        reply.
        """
        self._check()
        self._endpoints.existing(self._account_endpoint, "accounts")
        return self._accounts.names()

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the user's tables that this broker has.

        They are attributes of an account, except `watchlists` and `news`, which are the feed's.
        """
        return tables_at(self._account_endpoint)

    @property
    def watchlists(self) -> LiveTable:
        """The user's watchlists as one live table: a row for each symbol of each list.

        The same object on each access while it is open. Raises UsageError where there are none.
        """
        self._check()
        self._endpoints.existing(self._account_endpoint, "accounts")
        return self._accounts.watchlists()

    def news(self, *symbols: str, topics: str | Sequence[str] = ()) -> LiveTable:
        """Return news about these symbols and topics as a live table, one row an item, the newest last.

        Without symbols and topics: all news that the broker sends. Headlines are the broker's text, shown as text and
        never as markup. A call with equal arguments returns the same table while that is open. Raises UsageError where
        the broker has no news.
        """
        self._check()
        self._endpoints.existing(self._account_endpoint, "accounts")
        return self._accounts.news(symbols, topics)

    @property
    def reference(self) -> MarketReference:
        """Lookups over HTTP: instrument details, searches, snapshots of option chains, market hours, bars of trades."""
        self._check()
        return self._reference

    @property
    def state(self) -> State:
        """The worst state of the feed's connections: "connecting", "live", "reconnecting", "failed" or "closed"."""
        return self.stats().state

    @property
    def url(self) -> str:
        """The address of the market endpoint, without secrets."""
        return self._link.address

    @property
    def gaps(self) -> Gaps:
        """The interruptions of all streams of this feed; `.df` has one row each."""
        return self._missed

    @property
    def ledger(self) -> pd.DataFrame:
        """Message counts by outcome as a DataFrame, one row for each open frame, book or table.

        Columns stream, kind, symbols and the counts of `MessageCounts`: received + filled = visible + evicted +
        conflated + duplicated + rowless + unreadable + corrected. Messages without a subscription are counted in
        `stats().unasked`. In a room the publisher's counts of what is read here have rows of their own, with the stream
        "publisher".
        """
        self._link.settle()
        return ledger_frame(line for link in self._links() for line in link.ledgers())

    @property
    def market_status(self) -> LiveMarketStatus:
        """The broker's reports of the market's state as a live mapping, such as {"market": "open"}; `ts`, `df`."""
        return self._market_status

    @property
    def streams(self) -> Streams:
        """What is open now and what in the notebook holds it: `df` has one row each, `close(0, 2)` closes by number."""
        return Streams(self._links(), self.clock, self._accounts.holders)

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """The newest messages that could not be parsed, as (reason, excerpt); `stats().unreadable` counts all."""
        return [each for link in self._links() for each in link.unreadable]

    def stats(self) -> FeedStatistics:
        """Return counts and latencies since the connection was made: messages, rows, unreadable messages, gaps, lag.

        And how many connections and subscriptions are in use, of those that the broker allows. `FeedStatistics`
        describes each.
        """
        return replace(
            combined([link.statistics() for link in self._links()]),
            connections=self._limit.in_use,
            most_connections=self._limit.most,
            most_streams=most_streams(self._endpoints.endpoint("market").most_streams, self._limit.most),
        )

    @property
    def clock(self) -> FeedClock:
        """The market time of this feed: this computer's clock, corrected where it is far from the exchange's."""
        return self._clock

    @property
    def simulate(self) -> Simulation:
        """Troubles of the simulated market: `feed.simulate("outage", seconds=5)`; `feed.simulate()` shows buttons."""
        return self._simulation

    def record(self, path: str | Path, *, keep: str | None = None, max_gb: float | None = None) -> Recording:
        """Record all that this feed receives into the folder `path`, and return the recording that runs.

        It has all since the feed was made. `anb.replay(path)` plays it back, `anb.recordings(path)` reads it. `keep`
        such as "30 days" and `max_gb` delete the oldest parts. A call with the same path returns the recording that
        runs. Account data are recorded where an account is open; tokens never. The folder is for the user alone.

        Raises UsageError for an invalid argument, for what is there and is no recording of this broker, and where the
        feed has received more than 48 MiB before: then record from the beginning with `connect(record=…)`.
        RecordingError where the disk or another process does not allow it.
        """
        self._check()
        if self._playback is not None:
            raise UsageError("a replay is not recorded", advice="Copy the folder of its recording.")
        if self._rooms.is_room:
            raise UsageError("a room is not recorded", advice="Let the one who serves it record the feed.")
        return self._recorder.record(checked_path(path), keep=keep, max_gb=max_gb)

    def capture(self, path: str | Path, *, last: str = "5min") -> Path:
        """Write a notebook that replays what this feed had, from `last` before now on; return its path.

        Beside `why.ipynb` is `why.anb`, the market data since the feed was made, without accounts and tokens. Raises
        UsageError where either is there, and where more than 48 MiB came and no recording runs; RecordingError.
        """
        self._check()
        if self._playback is not None or self._rooms.is_room:
            raise UsageError("only a live feed is captured", advice="Copy the recording, or ask the one who serves.")
        return self._recorder.capture(path, last, self._accounts.known)

    def serve(
        self, address: str, *, token: object = None, window: str = "15min", accounts: Sequence[str] = ()
    ) -> Serving:
        """Publish what is open here, now or later, to a room, and return what serves it.

        That is quotes, trades, books, bars, instruments, option chains, news and the state of the market. Of accounts
        nothing, except the tables that are open of those named by `accounts`; never watchlists. `address` is that of a
        NATS server with JetStream and a name, such as "tls://teacher:4222/room42", or nats://127.0.0.1:4222/room42 on
        this machine. `token` is a token, or USER:PASSWORD; a text, a function or `anb.keyring_token()`; None takes it
        from ARIES_NB_ROOM_TOKEN, where that is set. Others call `anb.connect(address, token=…)`. The server keeps the
        rows of the last `window`. A call with the same address and accounts returns what serves it. Raises UsageError
        for an invalid argument and where another process serves the room, ConnectError or TokenError without a
        connection.
        """
        self._check()
        return self._rooms.serve(address, token=token, window=window, accounts=accounts)

    def on_gap(self, callback: Callable[[Gap], object]) -> Callable[[], None]:
        """Call `callback` with each gap when it begins, when it ends and when it is filled, on the callbacks' thread.

        Returns a function that ends the calls. A function that is registered again, as when its cell runs again,
        replaces itself; `close` removes it. Raises ClosedError after `close`, UsageError for what is no function.
        """
        return self._gap_selection.on_gap(self._registrations, callback)

    def _open_objects(self) -> list[LiveObject]:
        held = [each for _, objects in self._accounts.holders() for each in objects if each.is_open]
        return [*self._registry.open_objects(), *held]

    def _links(self) -> list[Link]:
        links = (*self._endpoints.links, self._accounts.link)  # in a room these are one
        return [link for link in dict.fromkeys(links) if link is not None]

    def close(self) -> None:
        """End the connections, the streams and the views; idempotent. Data received so far stays readable."""
        if self._is_closed:
            return
        self._is_closed = True
        with ExitStack() as steps:  # the last is done first; an interrupt of one step does not skip the others
            steps.callback(self._at_close, self)
            steps.callback(self._recorder.close)
            steps.callback(self._rooms.close)
            steps.callback(self._link.close)
            steps.callback(self._endpoints.close_others)
            steps.callback(self._callbacks.close)
            steps.callback(self._registrations.close)
            steps.callback(self._accounts.close)
            steps.callback(self._views.close)
            steps.callback(self._registry.close)
            steps.callback(self.alerts.close)

    def wait_open(self, timeout: float) -> None:
        """Block until the connection to the market endpoint is live, at most `timeout` seconds.

        Raises ConnectError or TokenError.
        """
        self._link.wait_open(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        now = self.stats()  # an interruption may have several entries in `gaps`
        return f"<feed {self.name} at {self.url}: {now.state}, {now.messages:,} messages, interruptions: {now.gaps}>"

    def _frame(
        self,
        kind: Kind,
        symbols: Sequence[str],
        fields: Sequence[str] | Literal["*"] | None,
        usual: Sequence[Column],
        window: dict[str, int | None],
        *,
        endpoint: str = "market",
        options: tuple[tuple[str, str], ...] = (),
    ) -> LiveFrame:
        names = checked_symbols(symbols)
        known = self._endpoints.columns(kind, endpoint)
        named = [column for column in usual if column.name in known]
        columns = checked_columns("*" if fields is None and not named else fields, known, named)
        key = (endpoint, kind, names, columns, tuple(window.items()), options)
        return self._registry.same(
            key,
            lambda: LiveFrame(
                self._endpoints.link(endpoint),
                self._callbacks,
                kind,
                names,
                columns=columns,
                window=window,
                options=options,
                own_fills=WeakMethod(self._accounts.own_fills),
                derived_by=DerivedFrame,
                alerts=self.alerts,
            ),
        )

    def _market_ended(self, error: ClosedError) -> None:
        for link in self._links():
            link.fail(error)

    def _check(self) -> None:
        if self._is_closed:
            raise ClosedError("the feed is closed", where=self.url, advice="Connect again.")
        self._link.check()
