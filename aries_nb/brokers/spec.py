"""Description of a broker: endpoints, login, trading hours, limits."""

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
from aries_nb.model import ColumnType, Kind

__all__ = ["ALWAYS_OPEN", "UNKNOWN_HOURS", "Broker", "Endpoint", "Hours", "Login"]


@dataclass(frozen=True, slots=True)
class Hours:
    """Trading hours of a broker's instruments.

    `calendar_of` names the calendar that a symbol follows, by its exchange's market identifier code; "24/7" where it
    is always open, "" where the hours are not known. `is_quiet` is whether the broker's market status says that the
    market is outside its regular hours: pre-market and after-hours count as quiet.
    """

    calendar_of: Callable[[str], str]
    is_quiet: Callable[[Mapping[str, str | float | bool]], bool]


def _is_quiet(status: Mapping[str, str | float | bool]) -> bool:
    """Market page §3.1: `market` is "open" in regular hours; any other text counts as quiet (assumed)."""
    is_extended = any(status.get(name) is True for name in ("early_hours", "after_hours"))
    return status.get("market", "open") != "open" or is_extended


UNKNOWN_HOURS = Hours(lambda _: "", _is_quiet)
ALWAYS_OPEN = Hours(lambda _: "24/7", _is_quiet)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One WebSocket endpoint: its `path` under the base address, and `make`, which creates its protocol.

    `columns` names the kinds of streams that it has, and of each kind every column with its type, in the order in which
    subscriptions name them; by default the `COLUMNS` of the class that `make` is.
    `most_streams` is how many the broker allows on one connection, None where it names no limit. `conflates`: of quotes
    and books only the newest state per interval is sent; a subscription's option "min_interval_ms" sets the interval.
    `pnl_intervals` are the lengths of its P&L candles, empty where it has none. `hours` are the trading hours of what
    it streams; where they are not known, a quiet stream never counts as stale.
    `headers` makes the headers of the handshake from the token, for a broker that wants it signed. `address` finds the
    whole address in a token answer that names it. They are called for each connection on the network's thread; neither
    the token nor what they return is kept or shown.
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
        """Take the columns of the protocol's class if none are given. Raises UsageError if it has none.

        Raises UsageError for a path that would run into the host of the address.
        """
        if not (isinstance(self.path, str) and self.path[:1] in {"", "/", "?"}):
            raise UsageError(f"the endpoint's path {self.path!r} has no slash in front", advice='Write it as "/v2".')
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
    """Login page and token service of a broker; paths lie under the base address.

    `page` is the address of the login page and `host` that of the token service, if they are on hosts of their own.
    `is_json`: codes are posted as JSON, not as a form. With an `exchange`, refresh tokens are exchanged its way, not by
    OAuth 2.
    """

    page: str
    authorize: str
    token: str
    is_json: bool = False
    host: str = ""
    exchange: TokenExchange | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker: name, base address ("" starts a simulated market), endpoints, HTTP calls, limits.

    `market` streams quotes, trades and books, `accounts` the tables of accounts; `sources` are further endpoints with
    quotes and trades, by the name that `feed.quotes(…, endpoint=…)` takes. HTTP calls: `reference` for accounts and
    bars, `options` for listed options, `account_reference` for the tables of accounts, `lookup` for everything else
    about the market. `login` is where tokens are issued. Where a part is None, a feed raises UsageError for what needs
    it: an adapter needs a name, an address and `market`.
    `most_connections` is how many a user may have open at once, `requests_per_second` how often a user may ask over
    HTTP, None where the broker names no limit. `choices` are what the user may choose when connecting, by `choose`,
    and `refuses` what `choose` refuses with its reason.
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
