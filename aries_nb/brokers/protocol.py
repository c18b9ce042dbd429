"""Interfaces that a broker implements: streaming protocol, HTTP calls, token exchange, all without I/O and clock.

Frames and time go in, requests and records come out. Nothing that a server sends to a stream raises; what cannot be
used becomes a notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from aries_nb.model import BarPage, ColumnType, Notice, Received, ReceivedColumns, Subscription, Unreadable, Values

__all__ = [
    "AccountPage",
    "AccountReference",
    "Argument",
    "BrokerProtocol",
    "ColumnProtocol",
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
    "ResumableProtocol",
    "TokenExchange",
]


class BrokerProtocol(Protocol):
    """State machine for one WebSocket endpoint of a broker. Not thread-safe: used on the event loop's thread only.

    `now` is in seconds of any monotonic clock, `received` in ns since the epoch.
    """

    def open(self, now: float) -> None:
        """Reset for a new connection at time `now`.

        All subscribed streams are requested again once the session on it is open. `now` is in seconds of a monotonic
        clock.
        """

    def authenticate(self, token: str, now: float) -> None:
        """Queue the login with `token`, which opens the session, or renews an open one on the same connection.

        `now` is in seconds of a monotonic clock.
        """

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Add subscriptions, and queue requests for those whose streams are not running yet, then a ping.

        Returns the number of the ping. When the notice `Pong` with that number comes, the server has processed the
        requests, and any refusal came before it. Returns 0 while the session is not open: the streams are requested
        when it is.
        """

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove these subscriptions and queue the requests that end streams which no other subscription needs."""

    def receive(self, frames: Sequence[bytes], received: int) -> Received:
        """Decode frames received at `received` (ns since the epoch).

        Returns their records and their notices, each in order. Without frames it returns what is already pending, such
        as first records of a subscription to a running stream. After the notice `Unfinished` it has to be called again
        without frames, before the next frame.
        """

    def tick(self, now: float) -> Sequence[Notice]:
        """Queue keepalive pings that are due, check time limits at time `now`, and return the notices that result.

        The caller must call it at least once a second. `now` is in seconds of a monotonic clock.
        """

    def outgoing(self) -> Sequence[str | bytes | Ping]:
        """Return the queued messages in the order of sending, and clear the queue.

        A text or binary frame is str or bytes; `Ping` is a ping of the WebSocket protocol itself.
        """


@runtime_checkable
class ColumnProtocol(Protocol):
    """What a `BrokerProtocol` may have besides: decoding of many frames at once, in columns."""

    def receive_columns(self, frames: Sequence[bytes], received: int) -> ReceivedColumns | None:
        """Decode frames as `receive` does, but together; None, and nothing has happened, if any is unusual.

        Unusual is what needs more than its values: all but updates of running streams that the fast decoder takes. The
        blocks hold the records that `receive` would return for the same frames, and the notices are `Counted` alone.
        """


@runtime_checkable
class ResumableProtocol(Protocol):
    """What a `BrokerProtocol` may have besides: a replay goes on on the same connection where frames are missing."""

    @property
    def request_number(self) -> int:
        """The number of the newest request or ping."""

    def missed(self, request_number: int) -> None:
        """Go on after frames that were not received, on the same session with the same streams.

        Values that may have changed are missing until the server sends them again; what cannot be told from then on,
        such as a book of which only changes are sent, makes no records until the next connection. `request_number` is
        that of the newest request or ping now.
        """


class Ping(NamedTuple):
    """A request to send a ping of the WebSocket protocol itself, for a broker whose own protocol has none.

    It is sent in its place among the queued frames. Its answer is reported by the notice `Pong(number)`. Each ping has
    a larger number than those before.
    """

    number: int


class Query(NamedTuple):
    """One HTTP GET request: the path, to be appended to the broker's base address, and the parameters of its query."""

    path: str
    params: tuple[tuple[str, str], ...] = ()


class Reference(Protocol):
    """HTTP calls for accounts and bars. Each `read_` method decodes an answer and raises ValueError if it cannot."""

    def accounts_in(self, token: str) -> tuple[str, ...] | None:
        """Return the accounts that an access token names.

        Returns None if the broker's tokens name none, so that `accounts` has to be called.
        """

    def accounts(self) -> Query:
        """Return the HTTP call that lists the user's accounts. Raises UsageError if the broker has no such call."""

    def read_accounts(self, body: bytes) -> tuple[str, ...]:
        """Return the account identifiers in `body`, an answer to `accounts`, in the broker's order.

        Raises ValueError for an answer that cannot be used.
        """

    def account_id(self, name: str) -> tuple[str, str]:
        """Return an account that a user names, as subscriptions name it and as the list of accounts names it."""

    def bars(self, symbol: str, interval_s: int, start_ns: int, end_ns: int) -> Query:
        """Return the call for bars of `interval_s` seconds that start in [start_ns, end_ns), in ns since the epoch.

        Raises UsageError for a bar length that the broker does not have.
        """

    def read_bars(self, body: bytes) -> BarPage:
        """Return the bars in `body`, an answer to `bars`, oldest first. Raises ValueError if it cannot be used.

        If the page's `next_end_ns` is not None, earlier bars follow: call `bars` again with that as `end_ns`.
        """

    def bar_start(self, ts_ns: int, interval_s: int) -> int:
        """Return the start of the bar of `interval_s` seconds that contains the time `ts_ns`, by the broker's rule.

        Both times are in ns since the epoch.
        """


class OptionContract(NamedTuple):
    """One listed option: its symbol, its type, and its strike in the currency of the underlying."""

    symbol: str
    type: Literal["call", "put"]
    strike: float


class OptionReference(Protocol):
    """HTTP calls for listed options. Each `read_` method decodes an answer and raises ValueError if it cannot."""

    def expiries(self, symbol: str) -> Query:
        """Return the call for the expiry dates of the options on the underlying `symbol`."""

    def read_expiries(self, body: bytes) -> tuple[date, ...]:
        """Return the expiry dates in `body`, an answer, each once, the nearest first; () if there are no options."""

    def contracts(self, symbol: str, expiry: date) -> Query:
        """Return the call for the options on the underlying `symbol` that expire on the date `expiry`."""

    def read_contracts(self, body: bytes) -> tuple[OptionContract, ...]:
        """Return the options in `body`, an answer, each once, in the order of strikes, a call before its put."""


class AccountPage(NamedTuple):
    """The rows of one HTTP answer about an account, each as exchange time (ns since the epoch, 0: unknown) and values.

    `is_full`: this page and the pages before it together have all rows of the table, so any other known row is
    outdated. `following` is the call for the next page, None at the last. `unreadable` are notices of what could not be
    decoded.
    """

    rows: list[tuple[int, Values]]
    is_full: bool
    following: Query | None
    unreadable: Sequence[Unreadable]


class AccountReference(Protocol):
    """HTTP calls for the tables of an account, such as orders or positions. Times are in ns since the epoch."""

    def snapshot(self, subscription: Subscription) -> Sequence[Query]:
        """Return the calls for all present rows of a subscription's table; () if the broker has no such call."""

    def order_history(self, account: str, start_ns: int, end_ns: int) -> Sequence[Query]:
        """Return the calls for finished orders placed from `start_ns` to `end_ns`, in ns since the epoch.

        `account` is the account's id, or the portfolio. Returns () if the broker has no such call. Both ends are
        included; a caller has to expect orders twice, where two calls meet.
        """

    def fill_history(self, account: str, start_ns: int) -> Sequence[Query]:
        """Return the calls for own executions of `account` (id or portfolio) since `start_ns` (ns since the epoch).

        The answers may also have executions from before `start_ns`. Returns () if the broker has no such call.
        """

    def read(self, subscription: Subscription, query: Query, body: bytes) -> AccountPage:
        """Return the rows in `body`, the answer to `query`, with values in the order of the subscription's fields.

        Raises ValueError for an answer that cannot be used.
        """

    def is_finished(self, status: str) -> bool:
        """Return whether an order with this status has ended: filled, cancelled, replaced, rejected or expired."""


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
    """The rows of one answer to a look-up, each with one value per column of `columns` (name → type).

    `refused` maps symbols that the server does not know to its error text. `following` is the call for the next page,
    None at the last.
    """

    columns: Mapping[str, LookupType]
    rows: Sequence[tuple[LookupValue, ...]]
    refused: Mapping[str, str] = {}
    following: Query | None = None


class Lookup(Protocol):
    """HTTP calls that look up instruments, prices and history; topics and arguments are the same for all brokers."""

    def topics(self) -> frozenset[LookupTopic]:
        """Return the topics that this broker has."""

    def queries(self, topic: LookupTopic, arguments: Mapping[str, Argument]) -> Sequence[Query]:
        """Return the calls for a topic, whose arguments are listed at `LookupTopic`.

        Raises UsageError for an argument that the broker cannot take.
        """

    def read(self, topic: LookupTopic, query: Query, body: bytes) -> LookupPage:
        """Return the rows in `body`, the answer to `query`, for a topic, in the broker's order; bars the oldest first.

        Raises ValueError for an answer that cannot be used, with the server's text if it reports an error.
        """


class TokenExchange(Protocol):
    """A broker's own way, other than OAuth 2, to exchange refresh tokens for access tokens."""

    def is_access(self, token: str) -> bool:
        """Return whether a token is an access token; any other text counts as a refresh token."""

    def request(self, refresh_token: str) -> bytes:
        """Return the JSON body to post to the token service, which exchanges `refresh_token` for an access token."""

    def read(self, body: bytes) -> str:
        """Return the access token in the body of the token service's answer. Raises ValueError if there is none."""

    def expiry(self, token: str) -> float | None:
        """Return when an access token expires, in s since the epoch; None if it does not say."""
