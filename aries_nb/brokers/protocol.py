"""Interfaces of a broker: streaming protocol, HTTP calls, token exchange. They know no socket, event loop or clock.

Frames and time go in, requests and records come out. Nothing that a server sends raises; it becomes a notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal, NamedTuple, Protocol, TypeAlias

from aries_nb.model import BarPage, ColumnType, Notice, Received, Subscription, Unreadable, Values

__all__ = [
    "AccountPage",
    "AccountReference",
    "Argument",
    "BrokerProtocol",
    "Lookup",
    "LookupPage",
    "LookupTopic",
    "LookupType",
    "LookupValue",
    "OptionContract",
    "OptionReference",
    "Ping",
    "Query",
    "Reference",
    "TokenExchange",
]


class BrokerProtocol(Protocol):
    """State machine for one endpoint of one broker. Not thread-safe: the event loop's thread owns it.

    `now` is in seconds of any monotonic clock, `received` in ns since the epoch.
    """

    def open(self, now: float) -> None:
        """Start a new connection; all subscriptions are requested again once the session is open."""

    def authenticate(self, token: str, now: float) -> None:
        """Open the session with a token, or renew it without reconnecting."""

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Request those streams that are not running yet; returns the number of the ping sent after the request.

        When that ping's `Pong` comes, the server has processed the request, and any refusal came before it.
        """

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """End streams; what another subscription still needs continues."""

    def receive(self, frames: Sequence[bytes], received: int) -> Received:
        """Decode the frames of one read from the socket: their records in order, and their notices in order."""

    def tick(self, now: float) -> Sequence[Notice]:
        """Run keepalive and time limits. Call it at least once a second."""

    def outgoing(self) -> Sequence[str | bytes | Ping]:
        """Drain what is to be sent, in order: text and binary frames, and pings of the WebSocket."""


class Ping(NamedTuple):
    """A ping of the WebSocket itself, for a broker without one of its own; its answer is the notice `Pong(number)`.

    It is sent in the order of the frames, and numbers only grow.
    """

    number: int


class Query(NamedTuple):
    """One call over HTTP, always a GET: the path under the broker's base address, and its parameters."""

    path: str
    params: tuple[tuple[str, str], ...] = ()


class Reference(Protocol):
    """Calls over HTTP for accounts and bars. Each `read_` raises ValueError for an answer it cannot use."""

    def accounts_in(self, token: str) -> tuple[str, ...] | None:
        """The accounts that an access token names; None where `accounts` has to be called instead."""

    def accounts(self) -> Query:
        """The call that lists the user's accounts."""

    def read_accounts(self, body: bytes) -> tuple[str, ...]:
        """The identifiers of the accounts, in the broker's order."""

    def bars(self, symbol: str, interval_s: int, start_ns: int, end_ns: int) -> Query:
        """The call for bars that start in [start_ns, end_ns), ns since the epoch.

        Raises UsageError for a bar length that the broker does not have.
        """

    def read_bars(self, body: bytes) -> BarPage:
        """The bars of one answer; if it has a `next_end_ns`, older bars follow: call again with that as the end."""

    def bar_start(self, ts_ns: int, interval_s: int) -> int:
        """Start of the bar that contains a time, by the broker's own rule; both in ns since the epoch."""


class OptionContract(NamedTuple):
    """One listed option. `strike` is in the currency of the underlying."""

    symbol: str
    type: Literal["call", "put"]
    strike: float


class OptionReference(Protocol):
    """Calls over HTTP for listed options. Each `read_` raises ValueError for an answer it cannot use."""

    def expiries(self, symbol: str) -> Query:
        """The call for the expiry dates of an underlying's options."""

    def read_expiries(self, body: bytes) -> tuple[date, ...]:
        """The expiry dates, each once, the nearest first; empty where there are no options."""

    def contracts(self, symbol: str, expiry: date) -> Query:
        """The call for the options of an underlying that expire on a date."""

    def read_contracts(self, body: bytes) -> tuple[OptionContract, ...]:
        """The options, each once, by strike, the call of a strike before its put."""


class AccountPage(NamedTuple):
    """Rows of one answer about an account: exchange time (ns since the epoch, 0: unknown) and values.

    `is_full`: with the pages before, these are all rows there are. `following` is the call for the next page, if any.
    """

    rows: list[tuple[int, Values]]
    is_full: bool
    following: Query | None
    unreadable: Sequence[Unreadable]


class AccountReference(Protocol):
    """Calls over HTTP for the tables of an account. Times are in ns since the epoch."""

    def snapshot(self, subscription: Subscription) -> Sequence[Query]:
        """The calls for the present content of a subscription's table; () where the broker has none."""

    def order_history(self, account: str, start_ns: int, end_ns: int) -> Sequence[Query]:
        """The calls for finished orders placed from `start_ns` to `end_ns`."""

    def fill_history(self, account: str, start_ns: int) -> Sequence[Query]:
        """The calls for own executions since `start_ns`, perhaps some earlier; () where the broker has none."""

    def read(self, subscription: Subscription, query: Query, body: bytes) -> AccountPage:
        """The rows of one answer to `query`, in the fields of the subscription. Raises ValueError."""

    def is_finished(self, status: str) -> bool:
        """Whether an order of this status has ended."""


# Topics that can be looked up, with their arguments. Each broker has some of them.
LookupTopic = Literal[
    "details",  # the present state of instruments, shares and options alike: symbols
    "quotes",  # the newest prices: symbols
    "search",  # instruments: text, limit
    "chart_search",  # the same in the charts' list: text, limit
    "instrument",  # trading and quoting rules of one: symbol
    "instruments",  # all instruments of an exchange: exchange, market (each may be None)
    "boards",  # boards where an instrument is traded: symbol
    "trades",  # its trades: symbol, and each may be None: count, start_ms, end_ms; without a start the newest first
    "book",  # its order book: symbol, depth
    "chain",  # options with Greeks: underlying, and each may be None: expiry, type, strike_from, strike_to
    "tick_bars",  # the newest bars of equally many trades, pages latest first: symbol, trades, count
    "aggregates",  # bars that start in [start_ms, end_ms): symbol, multiplier, timespan, start_ms, end_ms, is_adjusted
    "market_status",  # whether the market is open
    "chart_config",  # capabilities of the charts service
    "server_time",  # the server's clock
    "health",  # whether the server works: any answer but an error means yes
]
Argument: TypeAlias = str | float | tuple[str, ...] | None
# As `ColumnType`; besides, a flag is a bool or None (unknown), texts are a tuple.
LookupType: TypeAlias = ColumnType | Literal["flag", "texts"]
LookupValue: TypeAlias = str | float | tuple[str, ...] | None


class LookupPage(NamedTuple):
    """Rows of one answer, each with one value per column.

    `refused` maps symbols that the server does not know to its error text. `following` is the call for the next page.
    """

    columns: Mapping[str, LookupType]
    rows: Sequence[tuple[LookupValue, ...]]
    refused: Mapping[str, str] = {}
    following: Query | None = None


class Lookup(Protocol):
    """Calls over HTTP that look up instruments, prices and history, in one vocabulary for all brokers."""

    def topics(self) -> frozenset[LookupTopic]:
        """The topics that this broker has."""

    def queries(self, topic: LookupTopic, arguments: Mapping[str, Argument]) -> Sequence[Query]:
        """The calls for a topic. Raises UsageError for an argument that the broker cannot take."""

    def read(self, topic: LookupTopic, query: Query, body: bytes) -> LookupPage:
        """The rows of one answer to `query`, in the broker's order; bars the oldest first.

        Raises ValueError for an answer that cannot be used, with the server's text where it reports an error.
        """


class TokenExchange(Protocol):
    """A broker's own way, other than OAuth 2, to exchange refresh tokens for access tokens."""

    def is_access(self, token: str) -> bool:
        """Whether a token is an access token; any other is a refresh token."""

    def request(self, refresh_token: str) -> bytes:
        """The JSON to post to the token service."""

    def read(self, body: bytes) -> str:
        """The access token in the service's answer. Raises ValueError if there is none."""

    def expiry(self, token: str) -> float | None:
        """Expiry of an access token in s since the epoch; None if it does not name one."""
