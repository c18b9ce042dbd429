"""The table of brokers: the only place outside a protocol's own modules where one is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import get_args

from aries_nb.brokers.alor.account_http import AlorPortfolioHttp
from aries_nb.brokers.alor.accounts import AlorAccounts
from aries_nb.brokers.alor.exchange import AlorExchange
from aries_nb.brokers.alor.fields import Format
from aries_nb.brokers.alor.http import AlorHttp
from aries_nb.brokers.alor.lookup import AlorLookup
from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.brokers.alor.symbols import DEFAULT_EXCHANGE
from aries_nb.brokers.aries.account_http import AriesAccountHttp
from aries_nb.brokers.aries.accounts import AriesAccounts
from aries_nb.brokers.aries.charts import AriesCharts
from aries_nb.brokers.aries.http import AriesHttp
from aries_nb.brokers.aries.lookup import AriesLookup
from aries_nb.brokers.aries.market import AriesMarket
from aries_nb.brokers.aries.options import AriesOptions, OptionReference
from aries_nb.brokers.aries.topics import PNL_INTERVALS
from aries_nb.brokers.hours import ALWAYS_OPEN, ARIES_HOURS, UNKNOWN_HOURS, Hours, alor_hours
from aries_nb.brokers.protocol import AccountReference, Lookup, Reference, TokenExchange, Wire
from aries_nb.errors import UsageError

__all__ = ["BROKERS", "Broker", "Endpoint", "Login"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where some of a broker's streams are, and who speaks the protocol there; `path` lies under the base address.

    `most_streams` is how many the broker allows on one connection, None where it names no limit. `conflates`: of quotes
    and books only the newest is sent within an interval, which the option "min_interval_ms" of a subscription chooses.
    `pnl_intervals` are the lengths of its candles of profit and loss, none where it has no such candles.
    `hours` is when what it streams is traded; where that is not known, silence is never taken for a fault.
    """

    path: str
    make: Callable[[], Wire]
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


def _aries(name: str, url: str, *, simulates: str = "") -> Broker:
    hours = ALWAYS_OPEN if simulates else ARIES_HOURS
    return Broker(
        name,
        url,
        market=Endpoint("/v1/market/ws", AriesMarket, hours=hours),
        accounts=Endpoint("/v1/accounts/ws", AriesAccounts, pnl_intervals=PNL_INTERVALS),
        charts=Endpoint("/v1/charts/ws", AriesCharts, hours=hours),
        reference=AriesHttp(),
        options=AriesOptions(),
        # Protocol page §6.
        login=Login("https://app.aries.com", "/oauth2/authorize", "/v1/oauth2/token", is_json=True),
        simulates=simulates,
        account_reference=AriesAccountHttp(),
        lookup=AriesLookup(),
    )


def _alor(
    name: str,
    url: str,
    tokens: str,
    *,
    simulates: str = "",
    exchange: str = DEFAULT_EXCHANGE,
    format: Format = "slim",  # noqa: A002 - the broker's own word, which its users know
) -> Broker:
    """`exchange` is that of symbols and portfolios which name none. Limits: its protocol page §10."""
    if format not in get_args(Format):
        raise UsageError(f"unknown format {format!r}", advice=f"Known are: {', '.join(get_args(Format))}.")
    if not isinstance(exchange, str) or not exchange.isalnum():
        raise UsageError(f"{exchange!r} is no exchange", advice='Give its name, such as "MOEX" or "SPBX".')
    exchange = exchange.upper()
    return Broker(
        name,
        url,
        market=Endpoint(
            "/ws",
            partial(AlorMarket, format=format, exchange=exchange),
            most_streams=5_000,
            conflates=True,
            hours=ALWAYS_OPEN if simulates else alor_hours(exchange),
        ),
        accounts=Endpoint("/ws", partial(AlorAccounts, format=format, exchange=exchange), most_streams=5_000),
        charts=None,
        reference=AlorHttp(exchange=exchange),
        options=None,
        login=Login("", "", "/refresh", host=tokens, exchange=AlorExchange()),
        simulates=simulates,
        account_reference=AlorPortfolioHttp(exchange=exchange),
        lookup=AlorLookup(exchange=exchange),
        most_connections=10,
        requests_per_second=100.0,
        choices=("exchange", "format"),
        choose=partial(_alor, name, url, tokens, simulates=simulates),
    )


# The two environments of ALOR have tokens of their own, which are of no use in the other.
BROKERS: Mapping[str, Broker] = {
    broker.name: broker
    for broker in (
        _aries("aries", "wss://api.aries.com"),
        _alor("alor", "wss://api.alor.ru", "https://oauth.alor.ru"),
        _alor("alor-test", "wss://apidev.alor.ru", "https://oauthdev.alor.ru"),
        _aries("sim", "", simulates="aries"),
        _alor("sim-alor", "", "", simulates="alor"),
    )
}
