"""Accounts as a user holds them, against the simulated broker's own books."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from aries_nb.brokers import BROKERS
from aries_nb.errors import ClosedError, UsageError, WaitTimeoutError
from aries_nb.live.account.account import day_start
from aries_nb.net.background import run_on_thread
from tests.live.at_rest import close_at_the_quotes
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Feed
    from aries_nb.sim import Simulator


@pytest.fixture
def sim(serve: Callable[..., Simulator]) -> Simulator:
    return serve(rate=2000, orders_per_s=10.0, flush_seconds=0.01)


def test_accounts_are_listed_as_the_broker_has_them(feed: Feed) -> None:
    assert feed.accounts == ("ACC-1", "ACC-2")


def test_without_a_name_and_with_two_accounts_the_error_names_them(feed: Feed) -> None:
    with pytest.raises(UsageError, match=r"more than one account.*ACC-1, ACC-2"):
        feed.account()


@pytest.mark.parametrize("name", ["", "  ", 7])
def test_a_name_that_is_none_is_refused_at_once(feed: Feed, name: object) -> None:
    with pytest.raises(UsageError, match="is no account"):
        feed.account(name)  # type: ignore[arg-type]


def test_an_account_of_somebody_else_is_refused_at_once_with_those_there_are(sim: Simulator, feed: Feed) -> None:
    with pytest.raises(UsageError, match=r"no account 'ACC-9'.*ACC-1, ACC-2.*feed\.accounts"):
        feed.account("ACC-9")

    assert sim.statistics().connections_total == 1


def test_where_accounts_cannot_be_listed_the_server_refuses_a_wrong_one(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.net.http_client.ATTEMPTS", 1)
    monkeypatch.setattr(feed._accounts._http, "base", "http://127.0.0.1:1")
    account = feed.account("ACC-9")

    with pytest.raises(UsageError, match=r"refuses orders of account 'ACC-9'"):
        _ = account.orders


def test_accounts_are_listed_once_however_many_are_asked_for(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    feed.account("ACC-1")
    monkeypatch.setattr(feed._accounts, "names", lambda: pytest.fail("asked again"))

    assert feed.account("ACC-2").name == "ACC-2"
    assert feed.account("acc-2") is feed.account("ACC-2")


@pytest.mark.parametrize("table", ["positions", "orders", "fills", "balances", "info", "equity"])
def test_what_was_closed_is_made_anew_when_it_is_asked_for_again(feed: Feed, table: str) -> None:
    account = feed.account("ACC-1")
    before = getattr(account, table)

    before.close()
    again = getattr(account, table)

    assert again is not before
    assert again is getattr(account, table)
    assert again.is_open
    assert again.wait(timeout=60) is again


def test_equity_goes_on_with_the_positions_that_are_open(feed: Feed) -> None:
    account = feed.account("ACC-1")
    before, dashboard = account.equity.wait(), account.dashboard()

    account.positions.close()

    assert account.equity is not before
    assert account.equity.wait().unmarked == ()
    assert dashboard is not account.dashboard()
    assert dashboard.is_closed


def test_the_same_call_gives_the_same_account_and_the_same_tables(feed: Feed) -> None:
    account = feed.account("ACC-1")

    assert feed.account("ACC-1") is account
    assert account.positions is account.positions
    assert account.fills is account.fills


def test_positions_come_with_their_symbols_and_exact_quantities(feed: Feed) -> None:
    positions = feed.account("ACC-1").positions.wait()

    frame = positions.df

    assert frame.index.name == "symbol"
    assert frame.index.is_unique
    assert (frame["account"] == "ACC-1").all()
    assert str(frame["ts"].dtype) == "datetime64[us, UTC]"
    assert all(isinstance(row["quantity"], Decimal) for row in positions.rows())


def test_balances_are_one_row(feed: Feed) -> None:
    balances = feed.account("ACC-2").balances.wait()

    assert list(balances.df.index) == ["ACC-2"]
    assert balances.df["cash"].iloc[0] > 0


def test_orders_go_through_their_life_in_the_log(feed: Feed) -> None:
    orders = feed.account("ACC-1").orders.wait(changes=8, timeout=60)

    log = orders.log

    assert len(log) >= 8
    assert log.index.is_monotonic_increasing
    assert set(log["order_id"]) >= set(orders.df.index[-1:])


def test_fills_follow_from_orders(feed: Feed) -> None:
    account = feed.account("ACC-1")
    fills = account.fills.wait(timeout=60)

    frame = fills.df

    assert (frame["quantity"] > 0).all()
    assert set(frame["side"]) <= {"buy", "sell"}
    assert set(frame["order_id"]) <= set(account.orders.df.index)


def test_new_states_reach_a_callback(feed: Feed) -> None:
    seen: list[pd.DataFrame] = []
    orders = feed.account("ACC-1").orders

    orders.on_update(seen.append)
    orders.wait(changes=len(orders.log) + 3, timeout=60)

    with pytest.raises(WaitTimeoutError):
        orders.wait(changes=10**9, timeout=0.3)
    eventually(lambda: sum(len(rows) for rows in seen) >= 3)
    assert pd.concat(seen).index.is_unique


def test_accounts_live_on_a_connection_of_their_own(sim: Simulator, feed: Feed) -> None:
    before = sim.statistics().connections_open

    _ = feed.account("ACC-1").balances

    assert (before, sim.statistics().connections_open) == (1, 2)
    assert feed.stats().streams == 1


def test_after_a_break_the_tables_are_whole_again_and_the_gap_is_in_the_ledger(sim: Simulator, feed: Feed) -> None:
    positions = feed.account("ACC-1").positions.wait()

    sim.drop_connections()
    positions.wait(changes=positions._source.version + 1, timeout=60)

    assert {gap.stream for gap in feed._gaps.all()} >= {"accounts"}


def test_a_closed_feed_leaves_what_has_come_readable(feed: Feed) -> None:
    account = feed.account("ACC-1")
    positions = account.positions.wait()

    feed.close()

    assert len(positions.df) == len(positions)
    with pytest.raises(ClosedError):
        _ = account.balances


def test_watchlists_and_news_are_tables_too(open_feed: Callable[..., Feed], sim: Simulator) -> None:
    feed = open_feed(sim)

    watchlists = feed.watchlists.wait()
    news = feed.news("AAPL")

    assert {"name", "symbol"} <= {*watchlists.df.columns, *watchlists.df.index.names}
    assert "title" in news.df.columns


def test_pnl_candles_come_for_the_interval_asked(feed: Feed) -> None:
    candles = feed.account("ACC-1").pnl("1min").wait(timeout=60)

    assert set(candles.df.index.get_level_values("interval")) == {"1m"}


def test_starts_of_one_interval_share_one_stream_from_the_earliest_on(feed: Feed) -> None:
    account, now = feed.account("ACC-1"), pd.Timestamp.now("UTC")
    late, early = now.floor("5min") - pd.Timedelta("20min"), now.floor("5min") - pd.Timedelta("50min")
    before = feed.stats().streams

    later = account.pnl("5min", start=late).wait(timeout=60)
    first = later.df.index.get_level_values("start")
    earlier = account.pnl("5min", start=early.isoformat()).wait(changes=len(first) + 5, timeout=60)
    for minutes in range(5):
        account.pnl("5min", start=now - pd.Timedelta(minutes=minutes))

    starts = earlier.df.index.get_level_values("start")
    assert feed.stats().streams == before + 1
    assert starts.min() >= early
    assert starts.min() < first.min()
    assert first.min() >= late
    assert later.df.index.get_level_values("start").min() == first.min()
    assert later.log.groupby("start")["received"].count().iloc[0] == 1
    assert account.pnl("5min", start=late) is later


@pytest.mark.parametrize("interval", ["1min", "1h", "1d", "1mo"])
def test_pnl_from_now_on_has_the_candle_of_now(feed: Feed, interval: str) -> None:
    account = feed.account("ACC-1")
    now = pd.Timestamp.now("UTC")

    account.pnl(interval, start=now - pd.Timedelta("70D")).wait(timeout=60)
    candles = account.pnl(interval, start=now).wait(timeout=60)

    assert candles.df.index.get_level_values("start")[0] <= now


def test_pnl_that_nobody_holds_any_more_ends_its_stream(feed: Feed) -> None:
    account = feed.account("ACC-1")
    before = feed.stats().streams
    candles = account.pnl("15s").wait(timeout=60)

    candles.close()

    eventually(lambda: feed.stats().streams == before)
    assert not candles.is_live
    assert account.pnl("15s").wait(timeout=60).is_live


def test_pnl_in_the_old_spelling_warns_and_is_the_same(feed: Feed) -> None:
    account = feed.account("ACC-1")
    candles = account.pnl("5min")

    with pytest.warns(DeprecationWarning, match=r'pnl\("5m"\) is written pnl\("5min"\) now'):
        old = account.pnl("5m")

    assert old is candles
    assert account.pnl("300s") is candles


@pytest.mark.parametrize("interval", ["7m", "", None, 5, ["1m"]])
def test_pnl_of_a_length_that_cannot_be_is_refused_with_those_that_can(feed: Feed, interval: object) -> None:
    with pytest.raises(UsageError, match=r"15s, 1min, 5min, 15min, 1h, 1d, 1mo\.$"):
        feed.account("ACC-1").pnl(interval)  # type: ignore[arg-type]


@pytest.mark.parametrize("start", ["soon", "", "0001-01-01", 7, "2026-13-01"])
def test_pnl_from_a_time_that_is_none_is_refused(feed: Feed, start: object) -> None:
    with pytest.raises(UsageError, match=r"is no time|too far away"):
        feed.account("ACC-1").pnl("1min", start=start)  # type: ignore[arg-type]


@pytest.mark.parametrize("start", ["soon", "0001-01-01", 7, None])
def test_order_history_from_a_time_that_is_none_is_refused(feed: Feed, start: object) -> None:
    with pytest.raises(UsageError, match=r"is no time|too far away"):
        feed.account("ACC-1").order_history(start)  # type: ignore[arg-type]


def test_order_history_takes_a_date(feed: Feed) -> None:
    today = pd.Timestamp.now("UTC").date()

    assert "status" in feed.account("ACC-1").order_history(today).columns


@pytest.mark.parametrize("timeout", ["x", float("nan"), True])
def test_a_time_to_wait_that_is_none_is_refused(feed: Feed, timeout: object) -> None:
    account = feed.account("ACC-1")

    for waiting in (account.positions.wait, account.fills.wait, account.equity.wait):
        with pytest.raises(UsageError, match=r"is no time to wait.*seconds"):
            waiting(timeout=timeout)


def test_equity_reckoned_here_is_that_of_the_brokers_books(sim: Simulator, feed: Feed) -> None:
    account = feed.account("ACC-1")
    equity = account.equity
    eventually(lambda: len(equity.df) > 5 and not equity.unmarked)

    for _ in range(3):
        close_at_the_quotes(sim, sim._server.accounts, "ACC-1")
        theirs = float(sim._call(lambda: sim._server.accounts.equity("ACC-1")))
        eventually(lambda theirs=theirs: abs(equity.df["equity"].iloc[-1] - theirs) < 0.005, "the same to the cent")
        sim.set_market("open")
        before = len(equity.df)
        eventually(lambda before=before: len(equity.df) > before + 3)

    held = account.positions.df.query("quantity != 0").index
    assert set(equity.explained.index) >= {*held, "cash", "total"}


def test_a_position_that_has_no_quotes_is_named_and_equity_is_unknown(sim: Simulator, feed: Feed) -> None:
    account = feed.account("ACC-1")
    equity = account.equity
    eventually(lambda: len(equity.df) > 1 and not equity.unmarked)

    position = {"accountId": "ACC-1", "symbol": "NO-SUCH", "quantity": "3", "averagePrice": "1"}
    event = {"topic": "account", "name": "account.position", "target": "ACC-1", "data": position}
    sim.broadcast(json.dumps({"type": "event", "payload": event}))

    eventually(lambda: equity.unmarked == ("NO-SUCH",))
    assert pd.isna(equity.df["equity"].iloc[-1])
    assert pd.isna(equity.explained.loc["NO-SUCH", "total"])


def test_a_position_without_a_quantity_is_named_and_equity_goes_on(sim: Simulator, feed: Feed) -> None:
    equity = feed.account("ACC-1").equity.wait()

    position = {"accountId": "ACC-1", "symbol": "T", "averagePrice": "1", "price": "2"}
    event = {"topic": "account", "name": "account.position", "target": "ACC-1", "data": position}
    sim.broadcast(json.dumps({"type": "event", "payload": event}))

    eventually(lambda: equity.unmarked == ("T",))
    before = len(equity.df)
    eventually(lambda: len(equity.df) > before + 1)
    assert pd.isna(equity.df["equity"].iloc[-1])
    assert equity.books().positions["T"].quantity.is_nan()


@pytest.mark.parametrize("end", ["feed", "account", "equity"])
def test_who_waits_for_equity_hears_of_the_end_at_once(feed: Feed, end: str) -> None:
    account = feed.account("ACC-1")
    equity = account.equity.wait()
    waiting = run_on_thread(lambda: equity.wait(moments=10**6, timeout=None), name="waiting")
    closing = {"feed": feed, "account": account, "equity": equity}[end]

    closing.close()

    with pytest.raises(ClosedError):
        waiting.result(60)


@pytest.mark.parametrize("table", ["stop_orders", "risks", "derivative_risks"])
def test_what_this_broker_does_not_tell_is_said_so(feed: Feed, table: str) -> None:
    account = feed.account("ACC-1")

    with pytest.raises(UsageError, match=r"this broker .*feed\.tables"):
        getattr(account, table)


def test_tables_are_those_that_the_feed_and_its_accounts_have(feed: Feed) -> None:
    account = feed.account("ACC-1")

    assert feed.tables == ("orders", "fills", "positions", "balances", "info", "pnl", "watchlists", "news")
    assert all(hasattr(account, name) or hasattr(feed, name) for name in feed.tables)


@pytest.mark.parametrize(
    ("now", "zone", "expected"),
    [
        ("2026-11-30T02:00Z", "America/New_York", "2026-11-29T05:00Z"),  # the evening before, there
        ("2026-11-30T14:00Z", "America/New_York", "2026-11-30T05:00Z"),
        ("2026-07-01T03:59Z", "America/New_York", "2026-06-30T04:00Z"),
        ("2026-11-08T12:00Z", "America/New_York", "2026-11-08T05:00Z"),
        ("2026-11-01T12:00Z", "America/New_York", "2026-11-01T04:00Z"),  # the day on which clocks are set back
        ("2026-11-30T22:00Z", "Europe/Moscow", "2026-11-30T21:00Z"),  # the next day, there
        ("2026-11-30T22:00Z", "UTC", "2026-11-30T00:00Z"),
    ],
)
def test_the_day_begins_at_midnight_at_the_exchange(now: str, zone: str, expected: str) -> None:
    assert day_start(pd.Timestamp(now).value, zone) == pd.Timestamp(expected)


@pytest.mark.parametrize(("broker", "zone"), [("aries", "America/New_York"), ("alor", "Europe/Moscow")])
def test_each_broker_s_accounts_know_the_exchange_s_day(broker: str, zone: str) -> None:
    accounts = BROKERS[broker].accounts

    assert accounts is not None
    assert accounts.hours.zone == zone
