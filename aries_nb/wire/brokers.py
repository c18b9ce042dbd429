"""The table of brokers: the only place outside a protocol's own modules where one is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aries_nb.wire.aries_accounts import AriesAccounts
from aries_nb.wire.aries_charts import AriesCharts
from aries_nb.wire.aries_http import AriesHttp
from aries_nb.wire.aries_market import AriesMarket
from aries_nb.wire.aries_options import AriesOptions, OptionReference
from aries_nb.wire.interface import Reference, Wire

__all__ = ["BROKERS", "Broker", "Endpoint", "Login"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where some of a broker's streams are, and who speaks the protocol there; `path` lies under the base address."""

    path: str
    make: Callable[[], Wire]


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
    `options` what is asked about listed options, `charts` is a second source of quotes and trades or None.
    """

    name: str
    url: str
    market: Endpoint
    accounts: Endpoint
    charts: Endpoint | None
    reference: Reference
    options: OptionReference
    login: Login
    simulates: str = ""


_ARIES = (
    Endpoint("/v1/market/ws", AriesMarket),
    Endpoint("/v1/accounts/ws", AriesAccounts),
    Endpoint("/v1/charts/ws", AriesCharts),
    AriesHttp(),
    AriesOptions(),
    Login("https://app.aries.com", "/oauth2/authorize", "/v1/oauth2/token", is_json=True),  # protocol page §6
)

BROKERS: Mapping[str, Broker] = {
    broker.name: broker
    for broker in (
        Broker("aries", "wss://api.aries.com", *_ARIES),
        Broker("sim", "", *_ARIES, simulates="aries"),
    )
}
