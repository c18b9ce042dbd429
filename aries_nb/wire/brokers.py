"""The table of brokers: the only place outside a protocol's own modules where one is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aries_nb.wire.alor_accounts import AlorAccounts
from aries_nb.wire.alor_http import AlorHttp
from aries_nb.wire.alor_market import AlorMarket
from aries_nb.wire.alor_portfolio_http import AlorPortfolioHttp
from aries_nb.wire.aries_account_http import AriesAccountHttp
from aries_nb.wire.aries_accounts import AriesAccounts
from aries_nb.wire.aries_charts import AriesCharts
from aries_nb.wire.aries_http import AriesHttp
from aries_nb.wire.aries_lookup import AriesLookup
from aries_nb.wire.aries_market import AriesMarket
from aries_nb.wire.aries_options import AriesOptions, OptionReference
from aries_nb.wire.interface import AccountReference, Lookup, Reference, Wire

__all__ = ["BROKERS", "Broker", "Endpoint", "Login"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where some of a broker's streams are, and who speaks the protocol there; `path` lies under the base address.

    `most_streams` is how many the broker allows on one connection, None where it names no limit.
    """

    path: str
    make: Callable[[], Wire]
    most_streams: int | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """Where a broker's users log in and where tokens are issued; paths lie under the base address.

    `page` is the address of the login page, where it is on a host of its own. `is_json`: codes go as JSON, not as form.
    """

    page: str
    authorize: str
    token: str
    is_json: bool = False


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker: its base address, "" where a simulated market is to be started, and its endpoints.

    `market` has quotes, trades and books, `accounts` what belongs to the user, `reference` is what is asked over HTTP,
    `options` what is asked about listed options, `charts` is a second source of quotes and trades, `login` where tokens
    are issued by OAuth; None where there is none.
    `account_reference` is what is asked over HTTP beside the streams of accounts, `lookup` what can be looked up of the
    market; None where nothing is.
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


_ARIES = (
    Endpoint("/v1/market/ws", AriesMarket),
    Endpoint("/v1/accounts/ws", AriesAccounts),
    Endpoint("/v1/charts/ws", AriesCharts),
    AriesHttp(),
    AriesOptions(),
    Login("https://app.aries.com", "/oauth2/authorize", "/v1/oauth2/token", is_json=True),  # protocol page §6
)

_ALOR_STREAMS = 5_000  # on one connection (its protocol page §10)

BROKERS: Mapping[str, Broker] = {
    broker.name: broker
    for broker in (
        Broker("aries", "wss://api.aries.com", *_ARIES, account_reference=AriesAccountHttp(), lookup=AriesLookup()),
        Broker(
            "alor",
            "wss://api.alor.ru",
            Endpoint("/ws", AlorMarket, _ALOR_STREAMS),
            Endpoint("/ws", AlorAccounts, _ALOR_STREAMS),
            None,
            AlorHttp(),
            None,
            None,
            account_reference=AlorPortfolioHttp(),
        ),
        Broker("sim", "", *_ARIES, simulates="aries", account_reference=AriesAccountHttp(), lookup=AriesLookup()),
    )
}
