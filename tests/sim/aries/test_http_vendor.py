"""The vendor's client from PyPI against the simulated HTTP API: its models read every answer."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, date, datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import finance_dev
import pytest
from aiohttp import web

from aries_nb.sim import SimOptions
from aries_nb.sim.accounts.accounts import Accounts
from aries_nb.sim.aries.feed import AriesFeed
from aries_nb.sim.aries.http import AriesHttpServer
from aries_nb.sim.aries.oauth import OAuthServer, OAuthSettings
from aries_nb.sim.market.history import History

if TYPE_CHECKING:
    from collections.abc import Callable


def with_vendor(work: Callable[[Any, AriesHttpServer], None]) -> None:
    """Run a function with the vendor's client, logged in by client credentials, in another thread."""
    options, now = SimOptions(token="only-issued-ones-beside"), time.time()
    feed = AriesFeed(options, datetime.now(UTC).date())
    history = History(feed.market, now)
    accounts = Accounts(feed.market, 1, orders_per_s=5.0)
    for second in range(60):
        accounts.advance(1.0, now - 60 + second)
    for number in range(30):
        history.trade("AAPL", int((now + number / 10) * 1e9), 260.0 + number % 3, 10)
    # The client keeps the tokens of a pair of id and secret for the whole process.
    secret = token_hex()
    oauth = OAuthServer(OAuthSettings(client_secret=secret), options.token)
    api = AriesHttpServer(options, feed, history, oauth=oauth, accounts=accounts)

    async def run() -> None:
        runner = web.ServerRunner(web.Server(api.handle, access_log=None))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            url = f"http://{host}:{port}"
            security = finance_dev.models.Security(
                client_id="sim-client",
                client_secret=secret,
                token_url=f"{url}/v1/oauth2/token",
            )
            with finance_dev.FinanceDev(security=security, server_url=url) as client:
                await asyncio.to_thread(work, client, api)
        finally:
            await runner.cleanup()

    asyncio.run(run())


def plain(answer: Any) -> Any:
    """The body of an answer as read by the vendor's model."""
    (body,) = (getattr(answer, name) for name in type(answer).model_fields if name not in ("http_meta", "next"))
    return body


def test_vendors_client_reads_bars() -> None:
    def work(client: Any, api: AriesHttpServer) -> None:
        now = int(time.time()) + 3600
        bars = plain(client.chart.get_chart_history(symbol="AAPL", resolution="1D", from_=0, to=now))
        ticks = plain(client.chart.get_tick_history(symbol="AAPL", resolution="10T", countback=2))
        days = plain(
            client.stocks.get_stock_aggregates(
                ticker="AAPL", multiplier=1, timespan="day", from_="2020-01-01", to="2100-01-01", limit=7
            )
        )

        assert bars.s == "ok"
        assert len(bars.t) == len(bars.c) >= 780
        assert (ticks.s, len(ticks.t), ticks.next_to) == ("ok", 2, "1")
        assert (days.results_count, len(days.results)) == (7, 7)
        assert days.results[0].vw > 0

    with_vendor(work)


def test_vendors_client_reads_the_market() -> None:
    def work(client: Any, api: AriesHttpServer) -> None:
        equities = plain(client.market.get_equity_details(symbols="AAPL,NOPE"))
        config = plain(client.chart.get_chart_config())
        symbol = plain(client.chart.get_symbol_info(symbol="AAPL"))
        quotes = plain(client.chart.get_quotes(symbols="AAPL"))
        found = plain(client.market.search_market_symbols(query="AA"))
        status = plain(client.market.get_market_status(exchange="US"))
        dates = plain(client.options.list_option_expiry_dates(symbol="AAPL")).expiry_dates
        chain = client.options.get_option_chain_snapshot(underlying_asset="AAPL", limit=3)

        assert [row.symbol for row in equities.data] == ["AAPL"]
        assert equities.data[0].bid_price < equities.data[0].ask_price
        assert [row.symbol for row in equities.errors] == ["NOPE"]
        assert "1T" in config.supported_resolutions
        assert symbol.name == "AAPL"
        assert quotes.s == "ok"
        assert "AAPL" in {row.symbol for row in found}
        assert status.is_open is True
        assert all(isinstance(day, date) for day in dates)
        assert all(row.greeks.delta is not None for row in plain(chain).results)

    with_vendor(work)


def test_vendors_client_reads_the_accounts() -> None:
    def work(client: Any, api: AriesHttpServer) -> None:
        accounts = plain(client.accounts.get_user_accounts()).accounts
        balance = plain(client.accounts.get_account_balance(id="ACC-1"))
        positions = plain(client.accounts.get_account_positions(id="ACC-1"))
        news = plain(client.news.get_news(symbols="AAPL")).news
        watchlists = plain(client.watchlist.list())

        assert [each.trading_account_id for each in accounts] == ["ACC-1", "ACC-2"]
        assert balance.account_id == "ACC-1"
        assert {"AAPL", "MSFT"} <= {row.symbol for row in positions.positions}
        assert isinstance(news, list)
        assert isinstance(watchlists.user_id, int)
        assert [each.name for each in watchlists.watchlist] == ["Core", "Funds", "Ideas"]
        assert client.orders.list_active_orders(id="ACC-1", limit=5)

    with_vendor(work)


def test_vendors_client_meets_an_error_it_understands() -> None:
    def work(client: Any, api: AriesHttpServer) -> None:
        with pytest.raises(finance_dev.errors.NotFound) as caught:
            client.accounts.get_account_balance(id="ACC-9")

        assert caught.value.status_code == 404
        assert "unknown account" in str(caught.value)

    with_vendor(work)
