"""Accounts of the broker whose executions, money and risks come as tables of their own, against its own books."""

from __future__ import annotations

import math
import time
from decimal import Decimal
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from aries_nb.brokers import BROKERS
from aries_nb.errors import UsageError
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.background import on_network
from aries_nb.store import Fill
from tests.live.alor_feeds import open_alor, serve_alor
from tests.live.at_rest import close_at_the_quotes
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Account
    from aries_nb.live.account.equity import EquityMoment
    from aries_nb.sim import Simulator

__all__ = ["open_alor", "serve_alor"]

FEE = 0.1  # of each fill, in the currency of the exchange
FILL_COLUMNS = [
    "ts", "received", "account", "symbol", "side", "quantity", "price", "multiplier", "amount", "fee", "order_id",
    "is_combined", "source",
]  # fmt: skip


@pytest.fixture
def sim(serve_alor: Callable[..., Simulator]) -> Simulator:
    """A market in which only the test trades."""
    return serve_alor(rate=400, orders_per_s=0.0)


@pytest.fixture
def feed(sim: Simulator, open_alor: Callable[..., Feed]) -> Feed:
    return open_alor(sim, exchange="SPBX")


@pytest.fixture
def account(feed: Feed) -> Account:
    return feed.account("D00001")


@pytest.fixture
def trade(sim: Simulator) -> Callable[..., None]:
    """Have an order at the market filled: symbol, side, pieces."""

    def place(symbol: str, side: str, quantity: int, account: str = "SPBX:D00001") -> None:
        broker = sim._server.portfolios.accounts.brokerage
        sim._call(lambda: broker.place(account, symbol, side, "market", quantity, now=sim._server.clock.now))

    return place


def books(sim: Simulator, account: str = "SPBX:D00001"):
    return sim._call(lambda: sim._server.portfolios.accounts.figures(account))


def held(sim: Simulator) -> dict[str, Decimal]:
    """What the broker's books have, pieces by symbol."""
    return {each.position.symbol: each.position.quantity for each in books(sim).positions}


def shares(account: Account) -> dict[str, Decimal]:
    """What the table of positions has of the same."""
    rows = account.positions.rows()
    return {row["symbol"]: row["quantity"] for row in rows if row["quantity"] and row["is_currency"] != "true"}


def test_a_portfolio_may_be_named_with_its_exchange(feed: Feed) -> None:
    account = feed.account("MOEX:D00001")

    assert account is not feed.account("D00001")
    assert feed.account("SPBX:D00001") is feed.account("D00001")
    assert account.positions.wait().df["exchange"].unique().tolist() == ["MOEX"]


# Which accounts there are.


def test_portfolios_of_the_token_are_the_accounts_and_one_must_be_named(sim: Simulator) -> None:
    token = sim._call(lambda: sim._server.tokens.issue(time.time()))
    with Feed(BROKERS["alor"], sim.url, fixed_token(token), at_close=lambda closed: None) as feed:
        feed.wait_open(30)

        assert feed.accounts == ("D00001", "D00002", "7500001", "E00001")
        with pytest.raises(UsageError, match=r"more than one account.*D00001, D00002, 7500001, E00001"):
            feed.account()
        account = feed.account("moex:d00001")
        assert account.name == "D00001"
        assert account is feed.account("MOEX:D00001") is feed.account("D00001")
        assert feed.account("d00002") is feed.account("D00002")


def test_only_portfolio_of_a_token_needs_no_name(sim: Simulator) -> None:
    token = sim._call(lambda: sim._server.tokens.issue(time.time(), ["D00002"]))
    with Feed(BROKERS["alor"], sim.url, fixed_token(token), at_close=lambda closed: None) as feed:
        feed.wait_open(30)

        assert feed.account().name == "D00002"


def test_portfolio_of_somebody_else_is_refused_with_the_servers_words(feed: Feed) -> None:
    with pytest.raises(UsageError, match=r"'X1'.*not available.*feed\.accounts"):
        _ = feed.account("X1").balances  # the token does not say which there are


# Money, and the equity.


def test_money_is_a_position_that_needs_no_quotes(feed: Feed, account: Account) -> None:
    positions = account.positions.wait()
    eventually(lambda: positions.df["mark_price"].notna().all())

    usd = positions.df.loc["USD"]

    assert (usd["is_currency"], usd["quantity"], usd["mark_price"], usd["mark_pnl"]) == ("true", 250_000.0, 1.0, 0.0)
    assert feed.stats().last_error == ""
    assert feed.stats().unreadable == 0


def test_price_of_a_position_is_that_of_the_brokers_books(sim: Simulator, account: Account) -> None:
    sim.set_market("closed")
    positions = account.positions.wait()

    marks = {each.position.symbol: float(each.mark) for each in books(sim).positions}

    eventually(lambda: positions.df["price"].drop("USD").to_dict() == marks)


def test_cash_of_the_balances_follows_every_fill(sim: Simulator, account: Account, trade: Callable[..., None]) -> None:
    balances = account.balances.wait()
    before = balances.df["cash"].iloc[0]

    trade("KO", "buy", 7)
    eventually(lambda: balances.rows()[0]["cash"] == books(sim).cash)

    cash = balances.log["cash"]
    assert (before, cash.iloc[0], len(balances)) == (250_000.0, 250_000.0, 1)
    assert cash.iloc[-1] == float(books(sim).cash)
    assert balances.df["equity"].notna().all()


def test_snapshot_over_http_takes_no_cash_away(sim: Simulator, account: Account) -> None:
    balances = account.balances.wait()

    for _ in range(2):
        told = balances._source.store.version
        sim.drop_connections()
        eventually(lambda told=told: balances._source.store.version >= told + 3 and not balances.is_stale)

    assert balances.log["cash"].notna().all()


@pytest.mark.parametrize(("exchange", "portfolio"), [("SPBX", "D00001"), ("MOEX", "D00001"), ("MOEX", "7500001")])
def test_equity_reckoned_here_is_that_of_the_brokers_books_to_the_cent(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed], exchange: str, portfolio: str
) -> None:
    sim = serve_alor(rate=400, orders_per_s=20.0)
    account = open_alor(sim, exchange=exchange).account(portfolio)
    equity, fills = account.equity.wait(), account.fills

    fills.wait()
    close_at_the_quotes(sim, sim._server.portfolios.accounts, f"{exchange}:{portfolio}")
    theirs = float(books(sim, f"{exchange}:{portfolio}").equity)

    eventually(lambda: abs(equity.df["equity"].iloc[-1] - theirs) < 0.005, "the same to the cent")
    assert equity.unmarked == ()


def test_united_account_has_everything_of_its_portfolios(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    sim = serve_alor(rate=400, orders_per_s=20.0)
    feed = open_alor(sim, exchange="MOEX")
    united, *parts = [feed.account(name) for name in ("UNITED:E00001", "D00001", "7500001")]
    tables = [united, *parts]
    equity = united.equity.wait()
    for each in tables:
        each.fills.wait()
    names = ("MOEX:D00001", "MOEX:7500001")
    close_at_the_quotes(sim, sim._server.portfolios.accounts, *names)
    theirs = sum(float(books(sim, name).equity) for name in names)

    eventually(lambda: abs(equity.df["equity"].iloc[-1] - theirs) < 0.005, "the same to the cent")
    cash = lambda account: account.balances.rows()[0]["cash"]  # noqa: E731
    eventually(lambda: cash(united) == sum(map(cash, parts)))
    eventually(lambda: shares(united) == shares(parts[0]) | shares(parts[1]))
    eventually(lambda: len(united.fills) == sum(len(each.fills) for each in parts))
    assert any(row["is_margined"] == "true" for row in united.positions.rows())
    assert set(united.orders.df.index) == {key for each in parts for key in each.orders.df.index}
    assert equity.unmarked == ()
    eventually(lambda: equity.explained.loc["total", "unexplained"] == pytest.approx(0))
    for each in tables:
        each.fills.load_history("2026-11-01")
    assert len(united.fills) == sum(len(each.fills) for each in parts)


def test_what_moved_equity_adds_up_and_commissions_are_the_fees(
    sim: Simulator, account: Account, trade: Callable[..., None]
) -> None:
    equity = account.equity.wait()

    trade("AAPL", "buy", 10)
    trade("KO", "buy", 7)
    eventually(lambda: len(account.fills) == 2 and equity.explained["total"].notna().all())
    sim.set_market("closed")
    eventually(lambda: is_whole(equity.moment()))

    moment = equity.moment()
    explained = moment.explained
    assert explained.loc[["AAPL", "KO"], "fee"].tolist() == [-FEE, -FEE]
    assert "USD" not in explained.index
    assert explained["unexplained"].abs().max() == 0
    assert abs(explained.loc["total", "total"] - float(moment.equity - moment.opening_equity)) < 1e-6


def is_whole(moment: EquityMoment) -> bool:
    """Whether both fills are in it and every figure of it is known: what was just bought may have no mark yet."""
    has_both = math.isclose(moment.explained.loc["total", "fee"], -2 * FEE)
    return has_both and not math.isnan(moment.equity - moment.opening_equity)


def test_fill_that_a_late_list_tells_from_before_moves_nothing(account: Account, trade: Callable[..., None]) -> None:
    equity, fills = account.equity.wait(), account.fills
    before = Fill(1, "D00001", "NKE", "buy", Decimal(5), Decimal(60), "1", Decimal("0.1"), is_listed=True)

    on_network(lambda: fills._log.extend([(before, time.time_ns())])).result(30)
    trade("KO", "buy", 7)
    eventually(lambda: "KO" in equity.explained.index)

    assert len(fills) == 2
    assert "NKE" not in equity.explained.index


# Fills.


def test_fills_are_the_brokers_own_with_their_commissions(
    sim: Simulator, account: Account, trade: Callable[..., None]
) -> None:
    trade("KO", "buy", 7)
    _ = account.positions.wait()  # first use: orders placed from now on are streamed
    eventually(lambda: held(sim).get("KO") == 7)
    fills = account.fills.wait()
    orders = account.orders

    trade("KO", "sell", 3)
    fills.wait(fills=2)

    frame = fills.df
    assert list(frame.columns) == FILL_COLUMNS
    assert frame["side"].tolist() == ["buy", "sell"]
    assert frame["quantity"].tolist() == [7.0, 3.0]
    assert frame["fee"].tolist() == [FEE, FEE]
    assert not frame["is_combined"].any()
    assert fills.entries()[0].is_listed
    eventually(lambda: set(frame["order_id"]) <= set(orders.df.index))
    assert {"fill_value", "board"} <= set(fills.source.df.columns)


def test_quantities_are_in_pieces_and_lots_say_so(
    sim: Simulator, open_alor: Callable[..., Feed], trade: Callable[..., None]
) -> None:
    account = open_alor(sim, exchange="MOEX").account("D00001")
    fills, orders, positions = account.fills, account.orders, account.positions.wait()
    eventually(lambda: fills._source.is_answered)

    trade("SBER", "buy", 30, "MOEX:D00001")
    fills.wait()
    orders.wait()

    order, position = orders.rows()[-1], positions.df.loc["SBER"]
    assert fills.df["quantity"].sum() == 30
    assert (order["quantity"], order["quantity_lots"]) == (30, 3)
    assert position["lot_size"] == 10
    eventually(lambda: positions.df.loc["SBER", "quantity"] == 1030)


def test_tables_are_whole_after_breaks_and_no_fill_is_doubled_or_lost(
    sim: Simulator, account: Account, trade: Callable[..., None]
) -> None:
    tables = (account.positions.wait(), account.orders, account.balances, account.fills.source)
    equity = account.equity.wait()
    fills = account.fills
    # In a list of all fills, one from before the opening is an old one: the market's time is that of its last turn.
    eventually(lambda: sim._server.clock.now > equity.since.timestamp())

    for number in range(1, 4):
        trade("KO", "buy", number)
        sim.drop_connections()
        trade("MSFT", "sell", number)
        eventually(lambda number=number: len(fills) == 2 * number)
        eventually(lambda: shares(account) == held(sim))

    eventually(lambda: not any(table.is_stale for table in tables))
    frame = fills.df
    assert len(frame) == 6
    assert frame.groupby("symbol")["quantity"].sum().to_dict() == {"KO": 6.0, "MSFT": 6.0}
    assert account.balances.rows()[0]["cash"] == books(sim).cash
    assert len(account.orders) == 6
    eventually(lambda: math.isclose(equity.explained.loc["total", "fee"], -6 * FEE))


# P&L where the broker has no candles.


def test_pnl_is_reckoned_out_of_our_own_equity(sim: Simulator, account: Account) -> None:
    equity = account.equity.wait(moments=3)
    candles = account.pnl("15s").wait()
    eventually(lambda: len(equity.df) > 12)
    sim.set_market("closed")
    eventually(lambda: candles._candles._taken == equity._source.version)

    frame, moments = candles.df, equity.df.loc[equity.since :, "equity"]
    gained = moments - moments.iloc[0]
    expected = gained.resample("15s").ohlc()
    starts = frame.index.get_level_values("start")
    assert frame.index.names == ["interval", "start"]
    assert list(frame.columns) == ["ts", "received", "account", "open", "high", "low", "close"]
    assert list(starts) == list(expected.index)
    assert frame["close"].tolist() == pytest.approx(expected["close"].tolist())
    assert frame["open"].iloc[0] == 0
    assert frame["open"].tolist()[1:] == frame["close"].tolist()[:-1]
    assert candles._source.table().note.startswith("computed here since ")


def test_pnl_has_no_candle_before_the_start_asked_for(account: Account) -> None:
    account.equity.wait()
    late = "2099-01-01T00:00:00Z"
    now = pd.Timestamp.now("UTC").isoformat()

    later, sooner = account.pnl("1min", start=late), account.pnl("1min", start=now).wait()

    assert (len(later), len(sooner) > 0) == (0, True)
    assert account.pnl("1min", start=late) is later


def test_pnl_chart_says_that_it_is_reckoned_here(account: Account) -> None:
    account.equity.wait()
    candles = account.pnl("1min").wait()

    chart = candles.chart()

    assert "P&L D00001 · 1m · computed here" in repr(chart)
    assert len(candles._source.newest(10).ts) == len(candles)


@pytest.mark.parametrize("interval", ["7m", "", 5])
def test_pnl_of_a_length_that_cannot_be_is_refused_with_those_that_can(account: Account, interval: object) -> None:
    with pytest.raises(UsageError, match=r"15s, 1min, 5min, 15min, 1h, 1d\.$"):
        account.pnl(interval)  # type: ignore[arg-type]


@pytest.mark.parametrize("start", ["soon", "", "2026-13-01"])
def test_pnl_from_a_time_that_is_none_is_refused(account: Account, start: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        account.pnl("1min", start=start)


# What one broker has and another has not.


def test_stop_orders_and_risks_are_tables(sim: Simulator, account: Account, open_alor: Callable[..., Feed]) -> None:
    broker = sim._server.portfolios.accounts.brokerage
    stops = account.stop_orders
    price = float(books(sim).positions[0].mark) * 0.5
    sim._call(
        lambda: broker.place(
            "SPBX:D00001", "AAPL", "sell", "stop", 5, stop=Decimal(int(price)), now=sim._server.clock.now
        )
    )

    stops.wait()
    risks = account.risks.wait().df
    derivatives = open_alor(sim, exchange="MOEX").account("7500001").derivative_risks.wait().df

    order = stops.rows()[-1]
    assert (order["symbol"], order["type"], order["quantity"], order["stop_price"]) == ("AAPL", "stop", 5, int(price))
    assert risks["risk_status"].tolist() == ["Ok"]
    assert risks["initial_margin"].iloc[0] > 0
    assert derivatives["money_free"].iloc[0] > 0


def test_what_this_broker_has_not_is_said_and_the_rest_is_named(feed: Feed, account: Account) -> None:
    tables = ("orders", "fills", "positions", "balances", "pnl", "stop_orders", "risks", "derivative_risks")

    assert feed.tables == tables
    with pytest.raises(UsageError, match=r"no news.*feed\.tables"):
        feed.news("AAPL")
    with pytest.raises(UsageError, match=r"no watchlists.*feed\.tables"):
        _ = feed.watchlists
    with pytest.raises(UsageError, match=r"sends no properties of an account.*feed\.tables"):
        _ = account.info
    with pytest.raises(UsageError, match=r"no history of orders"):
        account.order_history("2026-01-01")


def test_dashboard_has_figures_everywhere(account: Account, trade: Callable[..., None]) -> None:
    account.equity.wait(moments=2)
    trade("KO", "buy", 7)
    account.fills.wait()
    eventually(lambda: account.equity.explained["total"].notna().all())

    html = account.dashboard()._repr_mimebundle_(include={"text/html"})["text/html"]

    assert "nan" not in html.lower()
    assert all(text in html for text in ("Cash", "Buying power", "USD", "KO", "AAPL"))
