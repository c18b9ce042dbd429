"""A feed: the streams, tables and lookups of one broker; `connect` makes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

import pandas as pd

from aries_nb.brokers import Broker, Endpoint
from aries_nb.errors import ClosedError, UsageError
from aries_nb.live.account.account import Account
from aries_nb.live.account.user_data import UserData, tables_at
from aries_nb.live.arguments import checked_columns, checked_count, checked_interval_ms, checked_symbols, checked_window
from aries_nb.live.callbacks import Callbacks, Registrations
from aries_nb.live.connection import Link, opened
from aries_nb.live.gap_fill import GapFill
from aries_nb.live.gaps import Gaps, GapSelection
from aries_nb.live.live_object import LiveRegistry
from aries_nb.live.market.bars import BarHistory, LiveBars, checked_interval, checked_span
from aries_nb.live.market.book import LiveBook
from aries_nb.live.market.frame import LiveFrame
from aries_nb.live.market.instruments import LiveInstruments
from aries_nb.live.market.options import OptionChain, Options, checked_expiry
from aries_nb.live.market.reference import MarketReference
from aries_nb.live.statistics import FeedStatistics, card_data, combined
from aries_nb.live.table import LiveTable
from aries_nb.model import QUOTE_COLUMNS, TRADE_COLUMNS, CardData, Column, ColumnType, Kind, State
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.http_client import HttpClient, http_base
from aries_nb.net.limits import ConnectionLimit
from aries_nb.net.tokens import TokenSource
from aries_nb.store import Gap, GapLog, MessageCounts

if TYPE_CHECKING:
    from aries_nb.widgets import Card

__all__ = ["Feed", "FeedSource"]

T = TypeVar("T")

MOST_LEVELS = 1_000  # of a side of a book


class Feed:
    """Live quotes, trades and order books of one broker. Every method may be called from any thread."""

    def __init__(
        self,
        broker: Broker,
        url: str,
        token: TokenSource,
        *,
        at_close: Callable[[Feed], None],
        connection_limit: ConnectionLimit | None = None,
        rule: BackoffRule | None = None,
    ) -> None:
        self.name = broker.name
        self._at_close = at_close
        self._gaps = GapLog()
        self._gap_selection = GapSelection(self._gaps)
        self._missed = Gaps(self._gap_selection)
        shared = connection_limit or ConnectionLimit(
            broker.most_connections, requests_per_second=broker.requests_per_second
        )
        self._endpoints = {"market": broker.market, **broker.sources}
        self._link_to: Callable[[str, Endpoint], Link] = lambda stream, endpoint: Link(
            endpoint, url, token, self._gaps.stream(stream), connection_limit=shared, rule=rule
        )
        self._link = self._link_to("market", broker.market)
        self._sources: dict[str, Link] = {}  # by endpoint, each from its first frame on
        self._sources_guard = threading.Lock()
        self._callbacks = Callbacks()
        self._registrations = Registrations(self._callbacks, "the feed")
        self._http = HttpClient(http_base(url), token, rate_limit=shared.rate_limit)
        self._reference = MarketReference(self._http, broker.lookup)
        self._link.fill_gaps_with(GapFill(self._reference).start)
        self._accounts = UserData(
            lambda: self._link_to("accounts", self._existing(broker.accounts, "accounts")),
            self._http,
            broker.reference,
            self._callbacks,
            lambda symbols: self.quotes(*symbols, rows=20_000),
            account_reference=broker.account_reference,
        )
        self._account_endpoint = broker.accounts
        self._tables = tables_at(broker.accounts)
        self._registry = LiveRegistry(self._check)
        self._history = broker.reference
        self._options_of = partial(Options, self._http, broker, link=self._link)
        self._card: Card | None = None
        self._is_closed = False

    def quotes(
        self,
        *symbols: str,
        window: str | None = None,
        rows: int | None = None,
        fields: Sequence[str] | Literal["*"] | None = None,
        endpoint: str = "market",
        min_interval_ms: int | None = None,
    ) -> LiveFrame:
        """Best bid and ask, and the last price, of these symbols as a rolling frame.

        Sizes are in shares, or in lots where the broker counts lots (`feed.reference.instrument` has their size).
        `window` is a span of time such as "15min", `rows` a number of rows (default 100,000). `fields` chooses the
        columns, "*" all that the broker has; only they go over the wire. The same call again returns the same frame.
        `endpoint` "charts" is a second source, where the broker has one, on a connection of its own that is made with
        the first frame; its columns are those it has, without sizes.
        `min_interval_ms` is for brokers that send a symbol's newest quote so often at most and leave out those between:
        whole milliseconds, None for the broker's own interval.

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
            options=checked_interval_ms(min_interval_ms, conflates=self._endpoint(endpoint).conflates),
        )

    def trades(
        self,
        *symbols: str,
        window: str | None = None,
        rows: int | None = None,
        fields: Sequence[str] | Literal["*"] | None = None,
        endpoint: str = "market",
    ) -> LiveFrame:
        """Every trade of these symbols, never conflated, as a rolling frame; arguments and errors as for `quotes`.

        Sizes as those of quotes. `side` is that of the aggressor, "unknown" where the broker does not send it.
        """
        return self._frame("trades", symbols, fields, TRADE_COLUMNS, checked_window(window, rows), endpoint=endpoint)

    def book(self, symbol: str, *, depth: int = 10, min_interval_ms: int | None = None) -> LiveBook:
        """The order book of a symbol, `depth` levels a side. The same call again returns the same book.

        `min_interval_ms` is as for `quotes`. Raises UsageError for an invalid argument, UnknownSymbolError for a symbol
        that the server refuses.
        """
        (name,) = checked_symbols([symbol])
        checked_count(depth, "depth", "levels", most=MOST_LEVELS)
        options = checked_interval_ms(min_interval_ms, conflates=self._endpoint("market").conflates)
        self._columns("book")
        return self._registry.same(
            ("book", name, depth, options),
            lambda: LiveBook(self._link, self._callbacks, name, depth=depth, options=options),
        )

    def instruments(self, *symbols: str) -> LiveInstruments:
        """Trading status, price limits and margins of these symbols, kept current. The same call is the same table.

        Raises UsageError where the broker does not stream them, UnknownSymbolError for a symbol that the server
        refuses.
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
        """The options of an underlying: its `expiries`, or with one of them given the live `chain` of that day.

        `strikes` is the number of strikes on each side of the money, None for all. The same chain again is the same
        object. Raises UsageError where there are no such options, before anything is subscribed; ConnectError or
        TokenError.
        """
        (name,) = checked_symbols([symbol])
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
        """The bars of a symbol, of the last `history` and from now on, as one frame without gaps.

        `interval` is one of 1min, 3min, 5min, 15min, 30min, 1h, 2h, 3h, 4h, 1d; `history` a span of time such as "2d".
        Volume is in the unit of quotes' sizes. Blocks until the history has arrived. The same call again returns the
        same bars.

        Raises UsageError for an unknown interval or an invalid span, UnknownSymbolError for a symbol that the server
        refuses, ConnectError, TokenError or FeedError where the broker sends no history.
        """
        (name,) = checked_symbols([symbol])
        seconds = checked_interval(interval)
        span_ns = checked_span(history, seconds)
        past = BarHistory(self._http, self._existing(self._history, "history of bars"), name, seconds)
        return self._registry.same(
            ("bars", name, seconds, span_ns),
            lambda: LiveBars(self._link, self._gaps, past, interval=interval, span_ns=span_ns),
        )

    def account(self, name: str | None = None) -> Account:
        """An account of the user; without a name the only one there is. The same call again returns the same object.

        It uses a connection of its own, which is made by the first call. Raises UsageError where there are
        several accounts and none is named, ConnectError or TokenError where there is no connection.
        """
        self._check()
        self._existing(self._account_endpoint, "accounts")
        return self._accounts.account(name)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The names of the user's accounts; the broker is asked now, and the call blocks."""
        self._check()
        self._existing(self._account_endpoint, "accounts")
        return self._accounts.names()

    @property
    def tables(self) -> tuple[str, ...]:
        """The user's tables that this broker has, by name: attributes of an account, and `watchlists` and `news`."""
        return self._tables

    @property
    def watchlists(self) -> LiveTable:
        """The user's watchlists: one row a symbol of a list, kept current. Raises UsageError where there are none."""
        self._check()
        self._existing(self._account_endpoint, "accounts")
        return self._accounts.watchlists()

    def news(self, *symbols: str, topics: str | Sequence[str] = ()) -> LiveTable:
        """News about these symbols and topics, without any all that the broker sends; one row an item, newest last.

        Headlines are the broker's text, shown as text and never as markup. Raises UsageError where the broker has no
        news.
        """
        self._check()
        self._existing(self._account_endpoint, "accounts")
        return self._accounts.news(symbols, topics)

    @property
    def reference(self) -> MarketReference:
        """Lookups over HTTP: details, searches, snapshots of chains, market hours, bars of trades."""
        self._check()
        return self._reference

    @property
    def state(self) -> State:
        """connecting, live, reconnecting, failed or closed: the worst state of the feed's connections."""
        return self.stats().state

    @property
    def url(self) -> str:
        """The address of the market endpoint, without secrets."""
        return self._link.address

    @property
    def gaps(self) -> Gaps:
        """The interruptions of all streams: one row each in `.df`."""
        return self._missed

    @property
    def ledger(self) -> pd.DataFrame:
        """Message counts by outcome, one row for each open frame, book or table: stream, kind, symbols, and counts.

        The counts are those of `frame.ledger`: received + filled = visible + evicted + conflated + duplicated + rowless
        + unreadable. Messages without a subscription are counted in `stats().unasked`.
        """
        lines = [line for link in self._links() for line in link.ledgers()]
        return pd.DataFrame(
            [(*names, *ledger) for *names, ledger in lines],
            columns=pd.Index(("stream", "kind", "symbols", *MessageCounts._fields)),
        )

    @property
    def market_status(self) -> dict[str, str | float | bool]:
        """The broker's last message about the market, such as {"market": "open", "after_hours": False, …}."""
        return self._link.market_status

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """The newest messages that could not be used, as (reason, excerpt); `stats().unreadable` counts them all."""
        return [each for link in self._links() for each in link.unreadable]

    def stats(self) -> FeedStatistics:
        """Counts since the connection: messages, rows, unreadable messages, gaps, lag; see `FeedStatistics`."""
        return combined([link.statistics() for link in self._links()])

    def on_gap(self, callback: Callable[[Gap], object]) -> Callable[[], None]:
        """Call back with each gap as it begins, as it ends and when it is filled, on a thread of its own.

        Returns the undo. The same function again replaces the one before; `close` removes it.
        """
        return self._gap_selection.on_gap(self._registrations, callback)

    def _links(self) -> list[Link]:
        links = (self._link, *self._sources.values(), self._accounts.link)
        return [link for link in links if link is not None]

    def close(self) -> None:
        """End the connections, the streams and the views; idempotent. Data received so far stays readable."""
        if self._is_closed:
            return
        self._is_closed = True
        with ExitStack() as steps:  # the last is done first; an interrupt of one step does not skip the others
            steps.callback(self._at_close, self)
            steps.callback(self._link.close)
            steps.callback(self._close_sources)
            steps.callback(self._callbacks.close)
            steps.callback(self._registrations.close)
            steps.callback(self._accounts.close)
            if self._card is not None:
                steps.callback(self._card.close)
            steps.callback(self._registry.close)

    def wait_open(self, timeout: float) -> None:
        """Block until the session is live, at most `timeout` seconds. Raises ConnectError or TokenError."""
        self._link.wait_open(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        now = self.stats()
        return f"<feed {self.name} at {self.url}: {now.state}, {now.messages:,} messages, {now.gaps} gaps>"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        from aries_nb.widgets import Card

        if self._card is None:
            self._card = Card(self._source)
        return self._card._repr_mimebundle_(include, exclude)

    @property
    def _source(self) -> FeedSource:
        return FeedSource(self, self._callbacks, self._registry)

    def _close_sources(self) -> None:
        with self._sources_guard:  # a thread that is opening one finishes first, or it would outlive the feed
            for link in self._sources.values():
                link.close()

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
        known = self._columns(kind, endpoint)
        named = [column for column in usual if column.name in known]
        columns = checked_columns("*" if fields is None and not named else fields, known, named)
        key = (endpoint, kind, names, columns, tuple(window.items()), options)
        return self._registry.same(
            key,
            lambda: LiveFrame(
                self._opened(endpoint), self._callbacks, kind, names, columns=columns, window=window, options=options
            ),
        )

    def _endpoint(self, name: str) -> Endpoint:
        """An endpoint with quotes and trades, by its name. Raises UsageError where the broker has none of that name."""
        if name not in list(self._endpoints):
            raise UsageError(f"{self.name} has no endpoint {name!r}", advice=f"It has: {', '.join(self._endpoints)}.")
        return self._endpoints[name]

    def _columns(self, kind: Kind, endpoint: str = "market") -> Mapping[str, ColumnType]:
        """The columns of a kind at an endpoint. Raises UsageError where the endpoint has no such streams."""
        columns = self._endpoint(endpoint).columns
        if kind not in columns:
            has = ", ".join(columns)
            raise UsageError(f"{self.name} has no {kind} at its endpoint {endpoint!r}", advice=f"It has: {has}.")
        return columns[kind]

    def _existing(self, part: T | None, what: str) -> T:
        """A part of the broker. Raises UsageError where it has none."""
        if part is None:
            raise UsageError(f"{self.name} has no {what}", where=self.url, advice="Use another broker for it.")
        return part

    def _opened(self, name: str) -> Link:
        """The connection to an endpoint; any other than the market's is made on first use."""
        if name == "market":
            return self._link
        with self._sources_guard:  # one connection each, from however many threads
            if name not in self._sources:
                self._check()
                self._sources[name] = opened(self._link_to(name, self._endpoint(name)))
            return self._sources[name]

    def _check(self) -> None:
        if self._is_closed:
            raise ClosedError("the feed is closed", where=self.url, advice="Connect again.")
        self._link.check()


class FeedSource:
    """What the status card reads of a feed."""

    def __init__(self, feed: Feed, callbacks: Callbacks, registry: LiveRegistry) -> None:
        self._feed = feed
        self._callbacks = callbacks
        self._registry = registry

    @property
    def version(self) -> int:
        """Changes twice a second: the card shows how long nothing has arrived."""
        return time.monotonic_ns() // 500_000_000

    def card(self) -> CardData:
        """The state, counts and problems of this moment."""
        now = self._feed.stats()
        problems = (now.state == "live" and self._callbacks.last_error) or now.last_error
        silent = sum(len(live.silent) for live in self._registry.open_objects() if isinstance(live, LiveFrame))
        return replace(card_data(now, name=self._feed.name, url=self._feed.url, error=problems), silent=silent)
