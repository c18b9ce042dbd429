"""The description of the broker Aries: endpoints, HTTP calls, login."""

from __future__ import annotations

from aries_nb.brokers.aries.account_http import AriesAccountHttp
from aries_nb.brokers.aries.accounts import AriesAccounts
from aries_nb.brokers.aries.charts import AriesCharts
from aries_nb.brokers.aries.http import AriesHttp
from aries_nb.brokers.aries.lookup import AriesLookup
from aries_nb.brokers.aries.market import AriesMarket
from aries_nb.brokers.aries.options import AriesOptions
from aries_nb.brokers.aries.topics import PNL_INTERVALS
from aries_nb.brokers.spec import ALWAYS_OPEN, UNKNOWN_HOURS, Broker, Endpoint, Hours, Login

__all__ = ["ARIES_HOURS", "aries"]

# Shares, funds and options of the American exchanges, which keep the same days and hours.
ARIES_HOURS = Hours(lambda _: "XNYS", UNKNOWN_HOURS.is_quiet, zone="America/New_York")


def aries(name: str, url: str, *, simulates: str = "") -> Broker:
    """Return the description of Aries, called `name`, at the base address `url`.

    `simulates` is the name of the broker that a simulated market imitates, "" for the real one; a simulated market is
    always open.
    """
    hours = ALWAYS_OPEN if simulates else ARIES_HOURS
    return Broker(
        name,
        url,
        market=Endpoint("/v1/market/ws", AriesMarket, hours=hours),
        accounts=Endpoint("/v1/accounts/ws", AriesAccounts, pnl_intervals=PNL_INTERVALS, hours=ARIES_HOURS),
        sources={"charts": Endpoint("/v1/charts/ws", AriesCharts, hours=hours)},
        reference=AriesHttp(),
        options=AriesOptions(),
        # Protocol page §6.
        login=Login("https://app.aries.com", "/oauth2/authorize", "/v1/oauth2/token", is_json=True),
        simulates=simulates,
        account_reference=AriesAccountHttp(),
        lookup=AriesLookup(),
    )
