"""Description of a broker: its endpoints, login, HTTP calls, trading hours and limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aries_nb.brokers.protocol import (
    AccountReference,
    BrokerProtocol,
    Lookup,
    OptionReference,
    Reference,
    TokenExchange,
)
from aries_nb.errors import UsageError
from aries_nb.model import ColumnType, Kind, Value

__all__ = ["ALWAYS_OPEN", "UNKNOWN_HOURS", "Broker", "Endpoint", "Hours", "Login"]


USUAL_STATES = ("open", "closed")
EXTENDED_HOURS = {"early_hours": "pre-market", "after_hours": "after hours"}


def _is_quiet(status: Mapping[str, str | float | bool]) -> bool:
    """Return whether a market status says that the market is outside its regular hours.

    By Aries' protocol page §3.1 `market` is "open" in regular hours; any other text counts as outside (assumed).
    """
    is_extended = any(status.get(name) is True for name in EXTENDED_HOURS)
    return status.get("market", "open") != "open" or is_extended


def _market_state(status: Mapping[str, str | float | bool]) -> str:
    """Return the words for a market status by the same rules, with the exchanges that are neither open nor closed."""
    market = str(status.get("market", "open"))
    if market not in USUAL_STATES:
        return f"market {market}"
    words = [word for name, word in EXTENDED_HOURS.items() if status.get(name) is True]
    words += ["market closed"] if market == "closed" and not words else []
    exchanges = {name.removeprefix("exchanges."): value for name, value in status.items() if name[:10] == "exchanges."}
    words += [f"{name.upper()} {value}" for name, value in exchanges.items() if value not in USUAL_STATES]
    return ", ".join(words)


@dataclass(frozen=True, slots=True)
class Hours:
    """Trading hours of a broker's instruments, needed to distinguish a stale stream from a closed market.

    `calendar_of` returns the calendar that a symbol follows, by its exchange's market identifier code such as "XNYS";
    "24/7" for a symbol that always trades, "" for unknown hours. `is_quiet` returns whether the broker's market status,
    as name → value, says that the market is outside its regular hours; pre-market and after-hours count as outside.
    `market_state` returns what a market status says in a few words, "" while the market is open. `trading_state` does
    the same for a row of the stream of instruments, as column → value; "" for normal trading. `zone` is the time zone,
    an IANA name, in which the exchange's day begins at midnight.
    """

    calendar_of: Callable[[str], str]
    is_quiet: Callable[[Mapping[str, str | float | bool]], bool]
    market_state: Callable[[Mapping[str, str | float | bool]], str] = _market_state
    trading_state: Callable[[Mapping[str, Value]], str] = lambda _: ""
    zone: str = "UTC"


UNKNOWN_HOURS = Hours(lambda _: "", _is_quiet)
ALWAYS_OPEN = Hours(lambda _: "24/7", _is_quiet)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One WebSocket endpoint of a broker: its `path` below the base address, and `make`, which creates its protocol.

    `columns` maps each kind of stream that it has to the name and type of every column, in the order in which
    subscriptions name them; by default it is `COLUMNS` of the class passed as `make`. `most_streams` is how many
    streams the broker allows on one connection, None for no limit. `conflates`: of quotes and books the server sends
    only the newest state per interval, which the option "min_interval_ms" of a subscription sets. `pnl_intervals` are
    the lengths of its P&L candles as the broker names them, such as "1m", () if it has none. `hours` are the trading
    hours of its instruments; while they are unknown, a quiet stream never counts as stale. `headers` makes the headers
    of the WebSocket handshake from the token, for a broker that wants it signed. `address` returns the whole address to
    connect to, from a token answer that contains it. Both are called for each connection on the network's thread;
    neither the token nor their result is kept or shown.
    """

    path: str
    make: Callable[[], BrokerProtocol]
    columns: Mapping[Kind, Mapping[str, ColumnType]] = field(default_factory=dict, hash=False)
    most_streams: int | None = None
    conflates: bool = False
    pnl_intervals: tuple[str, ...] = ()
    hours: Hours = UNKNOWN_HOURS
    headers: Callable[[str], Mapping[str, str]] | None = None
    address: Callable[[str], str] | None = None

    def __post_init__(self) -> None:
        """Check the path, and set `columns` to a copy of `COLUMNS` of the protocol's class if none are given.

        Raises UsageError for a path that has no "/" or "?" in front and is not empty, for a protocol that cannot be
        called, such as an instance, and if there are no columns.
        """
        if not (isinstance(self.path, str) and self.path[:1] in {"", "/", "?"}):
            raise UsageError(f"the endpoint's path {self.path!r} has no slash in front", advice='Write it as "/v2".')
        if not callable(self.make):
            what = f"the endpoint {self.path!r} got {type(self.make).__name__} itself, not a way to make one"
            raise UsageError(what, advice="Leave out the parentheses: pass its class. Each connection makes one.")
        if self.columns:
            return
        columns = getattr(self.make, "COLUMNS", None)
        if not columns:
            advice = "Give the protocol's class COLUMNS, or pass columns=…."
            raise UsageError(f"the endpoint {self.path!r} names no columns", advice=advice)
        # A copy: what an instance does to the columns of its class is not to change what users may ask for.
        object.__setattr__(self, "columns", {kind: dict(types) for kind, types in columns.items()})


@dataclass(frozen=True, slots=True)
class Login:
    """Login page and token service of a broker. `authorize` and `token` are their paths below the base address.

    `page` is the base address of the login page and `host` that of the token service if they are on hosts of their own,
    else "". `is_json`: codes and refresh tokens are posted as JSON, not as a form. `exchange` is the broker's own way
    to exchange refresh tokens, None for OAuth 2.
    """

    page: str
    authorize: str
    token: str
    is_json: bool = False
    host: str = ""
    exchange: TokenExchange | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """Description of a broker: name, base address ("" starts a simulated market), endpoints, HTTP calls and limits.

    `market` streams quotes, trades and books, `accounts` the tables of accounts; `sources` are further endpoints with
    quotes and trades, by the name that `feed.quotes(…, endpoint=…)` takes. HTTP calls: `reference` for accounts and
    bars, `options` for listed options, `account_reference` for the tables of accounts, `lookup` for all else about the
    market. `login` is where tokens are issued. If one of these is None, calls of a feed that need it raise UsageError;
    an adapter needs a name, an address and `market` only. `simulates` is the name of the broker that a simulated market
    imitates, "" for a real one. `most_connections` is how many connections a user may have open at once,
    `requests_per_second` how many HTTP requests a user may make, None for no limit. `choices` are the names of the
    arguments of `connect` that are passed to `choose`, which returns the broker adapted to them; `refuses` names
    arguments for which `choose` raises UsageError with the reason.
    """

    name: str
    url: str
    market: Endpoint
    accounts: Endpoint | None = None
    sources: Mapping[str, Endpoint] = field(default_factory=dict, hash=False)
    reference: Reference | None = None
    options: OptionReference | None = None
    login: Login | None = None
    simulates: str = ""
    account_reference: AccountReference | None = None
    lookup: Lookup | None = None
    most_connections: int | None = None
    requests_per_second: float | None = None
    choices: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    choose: Callable[..., Broker] | None = None
