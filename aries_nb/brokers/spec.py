"""What a broker is made of: its endpoints, where its users log in, and when its instruments are traded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aries_nb.brokers.protocol import (
    AccountReference,
    BrokerProtocol,
    Lookup,
    OptionReference,
    Reference,
    TokenExchange,
)

__all__ = ["ALWAYS_OPEN", "UNKNOWN_HOURS", "Broker", "Endpoint", "Hours", "Login"]


@dataclass(frozen=True, slots=True)
class Hours:
    """When a broker's instruments are traded.

    `calendar_of` names the calendar that a symbol follows, by its exchange's market identifier code; "24/7" where it
    is always open, "" where that is not known. `is_quiet` is whether the broker's market status says that the market
    is not in its regular hours: pre-market and after-hours count as quiet.
    """

    calendar_of: Callable[[str], str]
    is_quiet: Callable[[Mapping[str, str | float | bool]], bool]


def _is_quiet(status: Mapping[str, str | float | bool]) -> bool:
    """Market page §3.1: `market` is "open" in regular hours; any other text is taken for quiet (assumed)."""
    is_extended = any(status.get(name) is True for name in ("early_hours", "after_hours"))
    return status.get("market", "open") != "open" or is_extended


UNKNOWN_HOURS = Hours(lambda _: "", _is_quiet)
ALWAYS_OPEN = Hours(lambda _: "24/7", _is_quiet)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where some of a broker's streams are, and who speaks the protocol there; `path` lies under the base address.

    `most_streams` is how many the broker allows on one connection, None where it names no limit. `conflates`: of quotes
    and books only the newest is sent within an interval, which the option "min_interval_ms" of a subscription chooses.
    `pnl_intervals` are the lengths of its candles of profit and loss, none where it has no such candles.
    `hours` is when what it streams is traded; where that is not known, silence is never taken for a fault.
    """

    path: str
    make: Callable[[], BrokerProtocol]
    most_streams: int | None = None
    conflates: bool = False
    pnl_intervals: tuple[str, ...] = ()
    hours: Hours = UNKNOWN_HOURS


@dataclass(frozen=True, slots=True)
class Login:
    """Where a broker's users log in and where tokens are issued; paths lie under the base address.

    `page` is the address of the login page and `host` that of the token service, where they are on hosts of their own.
    `is_json`: codes go as JSON, not as form. With an `exchange` there is no OAuth 2: refresh tokens are traded its way.
    """

    page: str
    authorize: str
    token: str
    is_json: bool = False
    host: str = ""
    exchange: TokenExchange | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker: its base address, "" where a simulated market is to be started, and its endpoints.

    `market` has quotes, trades and books, `accounts` what belongs to the user, `reference` is what is asked over HTTP,
    `options` what is asked about listed options, `charts` is a second source of quotes and trades, `login` where tokens
    are issued by OAuth; None where there is none.
    `account_reference` is what is asked over HTTP beside the streams of accounts, `lookup` what can be looked up of the
    market; None where nothing is.
    `most_connections` is how many a user may have open at once, `requests_per_second` how often a user may ask over
    HTTP, None where the broker names no limit. `choices` are what the user may choose when connecting, by `choose`.
    """

    name: str
    url: str
    market: Endpoint
    accounts: Endpoint
    charts: Endpoint | None
    reference: Reference
    options: OptionReference | None
    login: Login | None
    simulates: str = ""
    account_reference: AccountReference | None = None
    lookup: Lookup | None = None
    most_connections: int | None = None
    requests_per_second: float | None = None
    choices: tuple[str, ...] = ()
    choose: Callable[..., Broker] | None = None
