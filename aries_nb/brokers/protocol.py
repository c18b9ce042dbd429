"""What every broker's protocol looks like from outside: a state machine that knows no socket, loop or clock.

Frames and time go in, requests and records come out. Nothing that a peer sends raises; it becomes a notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal, NamedTuple, Protocol, TypeAlias

from aries_nb.model import BarPage, ColumnType, Kind, Notice, Received, Subscription, Unreadable, Values

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
    "Query",
    "Reference",
    "TokenExchange",
]


class BrokerProtocol(Protocol):
    """One endpoint of one broker. Not thread-safe: the loop's thread owns it.

    `now` is in seconds of any monotonic clock, `received` in ns since the epoch.
    """

    def columns(self, kind: Kind) -> Mapping[str, ColumnType]:
        """Every field that a frame of this kind can have; none of a kind that the endpoint has not.

        Subscriptions name theirs in this order.
        """

    def open(self, now: float) -> None:
        """Begin a new connection: what is subscribed will be asked for again once the session is open."""

    def authenticate(self, token: str, now: float) -> None:
        """Open the session, or renew it in place."""

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Ask for streams, those only that are not running yet; returns the number of the ping sent after it.

        When that ping's `Pong` comes, the server has seen the request, and any refusal came before.
        """

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Give streams up; what another subscription still needs goes on."""

    def receive(self, frames: Sequence[bytes], received: int) -> Received:
        """Decode the frames of one read from the socket: their records in order, and their notices in order."""

    def tick(self, now: float) -> Sequence[Notice]:
        """Let time pass: keepalive and time limits. Call it at least once a second."""

    def outgoing(self) -> Sequence[str]:
        """Drain the frames to send, in order."""


class Query(NamedTuple):
    """One call over HTTP, always a GET: the path under the broker's base address, and its parameters."""

    path: str
    params: tuple[tuple[str, str], ...] = ()


class Reference(Protocol):
    """What a broker tells over HTTP, beside its streams. Each `read_` raises ValueError for an answer it cannot use."""

    def accounts_in(self, token: str) -> tuple[str, ...] | None:
        """The accounts that an access token names; None where the broker is to be asked."""

    def accounts(self) -> Query:
        """Ask which accounts the user has."""

    def read_accounts(self, body: bytes) -> tuple[str, ...]:
        """The identifiers of the accounts, in the broker's order."""

    def bars(self, symbol: str, interval_s: int, start_ns: int, end_ns: int) -> Query:
        """Ask for the bars that start in [start_ns, end_ns), ns since the epoch. Raises UsageError for a length."""

    def read_bars(self, body: bytes) -> BarPage:
        """The bars of one answer; where it names a `next_end_ns`, ask again with that as the end."""

    def bar_start(self, ts_ns: int, interval_s: int) -> int:
        """When the bar begins in which a time lies, as the broker cuts its bars; both in ns since the epoch."""


class OptionContract(NamedTuple):
    """One listed option. `strike` is in the currency of the underlying."""

    symbol: str
    type: Literal["call", "put"]
    strike: float


class OptionReference(Protocol):
    """What a broker tells about listed options. Each `read_` raises ValueError for an answer it cannot use."""

    def expiries(self, symbol: str) -> Query:
        """Ask on which days options of an underlying expire."""

    def read_expiries(self, body: bytes) -> tuple[date, ...]:
        """The days, each once, the nearest first; none where there are no options."""

    def contracts(self, symbol: str, expiry: date) -> Query:
        """Ask which options of an underlying expire on a day."""

    def read_contracts(self, body: bytes) -> tuple[OptionContract, ...]:
        """The options, each once, by strike, the call of a strike before its put."""


class AccountPage(NamedTuple):
    """One answer about what belongs to the user, as rows: exchange time (ns since the epoch, 0: not told) and values.

    `is_full`: with the pages before, these are all rows there are. `following` asks for the next page, None ends it.
    """

    rows: list[tuple[int, Values]]
    is_full: bool
    following: Query | None
    unreadable: Sequence[Unreadable]


class AccountReference(Protocol):
    """What a broker tells over HTTP beside the streams of an account. Times are in ns since the epoch."""

    def snapshot(self, subscription: Subscription) -> Sequence[Query]:
        """Ask for what the table of a subscription holds, as far as the broker tells it here; () where it does not."""

    def order_history(self, account: str, start_ns: int, end_ns: int) -> Sequence[Query]:
        """Ask for the orders that were placed from `start_ns` to `end_ns`, and have ended."""

    def fill_history(self, account: str, start_ns: int) -> Sequence[Query]:
        """Ask for own executions from `start_ns` until now, and perhaps some before; () where it does not tell them."""

    def read(self, subscription: Subscription, query: Query, body: bytes) -> AccountPage:
        """The rows of one answer to `query`, in the fields of the subscription. Raises ValueError."""

    def is_finished(self, status: str) -> bool:
        """Whether an order of this status has ended."""


# What can be looked up, and its arguments. Each broker has some of them.
LookupTopic = Literal[
    "details",  # what is known of instruments now, shares and options alike: symbols
    "quotes",  # the newest prices: symbols
    "search",  # instruments: text, limit
    "chart_search",  # the same, of the charts: text, limit
    "instrument",  # how one is traded and quoted: symbol
    "instruments",  # all that an exchange lists, and each may be None: exchange, market
    "boards",  # where one instrument is traded: symbol
    "trades",  # its prints: symbol, each may be None: count, start_ms, end_ms; without a start the newest first
    "book",  # its order book: symbol, depth
    "chain",  # options with Greeks: underlying, and each may be None: expiry, type, strike_from, strike_to
    "tick_bars",  # the newest bars of equally many trades, pages latest first: symbol, trades, count
    "aggregates",  # bars that start in [start_ms, end_ms): symbol, multiplier, timespan, start_ms, end_ms, is_adjusted
    "market_status",  # whether the market is open
    "chart_config",  # what charts can be asked for
    "server_time",  # the server's clock
    "health",  # whether the server is well; any answer that is no error says so
]
Argument: TypeAlias = str | float | tuple[str, ...] | None
# As `ColumnType`, and: a flag is a bool, None where it is not known; texts are a tuple.
LookupType: TypeAlias = ColumnType | Literal["flag", "texts"]
LookupValue: TypeAlias = str | float | tuple[str, ...] | None


class LookupPage(NamedTuple):
    """One answer as rows, each with one value for each of `columns`.

    `refused` are symbols that the server does not know, with its words. `following` asks for the next page, None ends
    it.
    """

    columns: Mapping[str, LookupType]
    rows: Sequence[tuple[LookupValue, ...]]
    refused: Mapping[str, str] = {}
    following: Query | None = None


class Lookup(Protocol):
    """What a broker tells when it is asked, in one vocabulary for all; pure, as everything here."""

    def topics(self) -> frozenset[LookupTopic]:
        """What can be asked of this broker."""

    def queries(self, topic: LookupTopic, arguments: Mapping[str, Argument]) -> Sequence[Query]:
        """The calls that together answer a question. Raises UsageError for an argument that the broker cannot take."""

    def read(self, topic: LookupTopic, query: Query, body: bytes) -> LookupPage:
        """The rows of one answer to `query`, in the broker's order; bars the oldest first.

        Raises ValueError for an answer that cannot be used, with the server's words where it says "error".
        """


class TokenExchange(Protocol):
    """How a broker issues access tokens for refresh tokens, where it is none of the ways of OAuth 2."""

    def is_access(self, token: str) -> bool:
        """Whether a token is an access token; anything else is taken for a refresh token."""

    def request(self, refresh_token: str) -> bytes:
        """The JSON to post to the token service."""

    def read(self, body: bytes) -> str:
        """The access token in the service's answer. Raises ValueError where there is none."""

    def expiry(self, token: str) -> float | None:
        """When an access token ends, in s since the epoch; None where it does not say."""
