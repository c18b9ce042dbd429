"""The description of the broker ALOR: endpoints, HTTP calls, login, limits, trading hours."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from aries_nb.brokers.alor.account_http import AlorPortfolioHttp
from aries_nb.brokers.alor.accounts import AlorAccounts
from aries_nb.brokers.alor.fields import DEFAULT_EXCHANGE, instrument_of
from aries_nb.brokers.alor.http import AlorHttp
from aries_nb.brokers.alor.lookup import AlorLookup
from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.brokers.alor.tokens import AlorTokenExchange
from aries_nb.brokers.spec import ALWAYS_OPEN, Broker, Endpoint, Hours, Login
from aries_nb.errors import UsageError
from aries_nb.model import Value

__all__ = ["alor", "alor_hours"]

# American shares in St. Petersburg trade when their home market does (assumed). The hours of other exchanges are not
# known, and their streams never count as stale.
NORMAL_TRADING = 17
TRADING_STATES: Mapping[Value, str] = {
    2: "halted: break in trading",
    18: "closed",
    102: "closing auction",
    103: "closing",
    106: "auction of large blocks",
    107: "auction",
    118: "opening",
    119: "opening auction",
    120: "trading at the closing price",
}
_OF_EXCHANGE = {"MOEX": "XMOS", "SPBX": "XNYS", "UNITED": "XMOS"}  # protocol page §4


def alor(
    name: str,
    url: str,
    tokens: str,
    *,
    simulates: str = "",
    exchange: str = DEFAULT_EXCHANGE,
    format: str | None = None,  # noqa: A002 - the broker's own name, which its users may look for
) -> Broker:
    """Return the description of ALOR, called `name`, at the base address `url`, with its token service at `tokens`.

    `exchange` is the default for symbols and portfolios without one. `simulates` is the name of the broker that a
    simulated market imitates, "" for the real one. `format` must be None: it cannot be chosen. Limits are those of ALOR
    protocol page §10. Raises UsageError for a format, and for an invalid exchange.
    """
    if format is not None:
        advice = "Leave it out: each stream uses the smallest of ALOR's formats that has the fields it is asked for."
        raise UsageError("the format of messages cannot be chosen", where="ALOR", advice=advice)
    if not isinstance(exchange, str) or not exchange.isalnum():
        raise UsageError(f"{exchange!r} is no exchange", advice='Give its name, such as "MOEX" or "SPBX".')
    exchange = exchange.upper()
    return Broker(
        name,
        url,
        market=Endpoint(
            "/ws",
            partial(AlorMarket, exchange=exchange),
            columns=AlorMarket.COLUMNS,
            most_streams=5_000,
            conflates=True,
            hours=ALWAYS_OPEN if simulates else alor_hours(exchange),
        ),
        accounts=Endpoint(
            "/ws",
            partial(AlorAccounts, exchange=exchange),
            columns=AlorAccounts.COLUMNS,
            most_streams=5_000,
            hours=alor_hours(exchange),
        ),
        reference=AlorHttp(exchange=exchange),
        login=Login("", "", "/refresh", host=tokens, exchange=AlorTokenExchange()),
        simulates=simulates,
        account_reference=AlorPortfolioHttp(exchange=exchange),
        lookup=AlorLookup(exchange=exchange),
        most_connections=10,
        requests_per_second=100.0,
        choices=("exchange",),
        refuses=("format",),
        choose=partial(alor, name, url, tokens, simulates=simulates),
    )


def alor_hours(exchange: str) -> Hours:
    """Return the trading hours of ALOR's instruments; `exchange` is the default for symbols without one.

    The hours of an exchange other than MOEX, SPBX and UNITED are unknown. `is_quiet` is always False, as the broker
    sends no market status.
    """
    calendar_of = partial(_calendar_of, exchange=exchange)
    return Hours(calendar_of, lambda _: False, trading_state=_trading_state, zone="Europe/Moscow")


def _trading_state(row: Mapping[str, Value]) -> str:
    """Return the words for a row's trading status (ALOR protocol page §6.5); "" for normal trading."""
    code = row.get("trading_status", NORMAL_TRADING)
    return "" if code in (0, NORMAL_TRADING) else TRADING_STATES.get(code, f"status {code}")


def _calendar_of(symbol: str, *, exchange: str) -> str:
    return _OF_EXCHANGE.get(instrument_of(symbol, exchange).exchange, "")
