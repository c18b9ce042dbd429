"""What HTTP adds to the accounts' stream, against the simulated broker: nothing missed, nothing doubled."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from aries_nb.errors import ClosedError, UsageError
from aries_nb.live.account import snapshots
from aries_nb.net import http_client
from aries_nb.net.backoff import BackoffRule
from aries_nb.sim.accounts.accounts import Accounts
from aries_nb.sim.aries import messages
from aries_nb.sim.aries.accounts import AccountsSession
from aries_nb.sim.aries.http_accounts import AccountRoutes
from aries_nb.sim.http_answers import HttpError
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Account, Feed
    from aries_nb.sim import Simulator
    from aries_nb.sim.accounts.brokerage import Brokerage

PATH = "/v1/accounts/ws"
DAY = 86_400
SEED = 20_260_302


class SilentSession(AccountsSession):
    """A connection that acknowledges, and sends only later changes."""

    def _acknowledge(self, topic: str, ident: str | None, event: dict[str, Any], data: object) -> None:
        self.outbox.append(messages.response(ident, {"status": 200, "topic": topic}))

    def _send_account(self, name: str, account: str, data: object) -> None:
        if name != "account.info":
            super()._send_account(name, account, data)


class Desk:
    """A simulator in whose accounts nothing happens unless the test does it, and a feed on it."""

    def __init__(self, sim: Simulator, open_feed: Callable[..., Feed], *, is_silent: bool) -> None:
        self.sim = sim
        server = sim._server
        self.accounts = Accounts(server.feed.market, 1, orders_per_s=0.0, news_s=math.inf, watchlist_s=math.inf)
        server.accounts = self.accounts
        if is_silent:
            server._endpoints[PATH] = lambda now: SilentSession(sim.options, self.accounts, now)
        self.feed = open_feed(sim)

    def act(self, work: Callable[[Brokerage, float], object], *, is_break: bool = False) -> None:
        """Do something at the broker; with `is_break` while every connection is cut, so that no event gets through."""

        def run() -> None:
            if is_break:
                self.sim._server.drop_connections()
            now = time.time()
            work(self.accounts.brokerage, now)
            self.accounts.publish(now)

        self.sim._call(run)

    def is_back(self, breaks: int) -> None:
        """Wait until the accounts' connection is back from so many breaks."""
        link = self.feed._accounts.link
        assert link is not None
        eventually(lambda: link.statistics().reconnects == breaks and link.state == "live")

    def filled(self) -> Counter[str]:
        """Shares bought and sold by order, as the broker's books have them."""
        fills = self.sim._call(lambda: list(self.accounts.brokerage.fills))
        return Counter(
            {key: sum(fill.quantity for fill in fills if fill.order_id == key) for key in (f.order_id for f in fills)}
        )


@pytest.fixture(params=["with snapshots", "without snapshots"])
def desk(request: pytest.FixtureRequest, sim: Simulator, open_feed: Callable[..., Feed]) -> Desk:
    return Desk(sim, open_feed, is_silent=request.param == "without snapshots")


@pytest.fixture
def silent(sim: Simulator, open_feed: Callable[..., Feed]) -> Desk:
    return Desk(sim, open_feed, is_silent=True)


def far(symbol: str = "AAPL", quantity: int = 10) -> Callable[[Brokerage, float], object]:
    """Place an order that works for ever."""
    return lambda broker, now: broker.place("ACC-1", symbol, "buy", "limit", quantity, price="0.01", now=now)


def at_market(symbol: str = "AAPL", quantity: int = 10, side: Any = "buy") -> Callable[[Brokerage, float], object]:
    return lambda broker, now: broker.place("ACC-1", symbol, side, "market", quantity, now=now)


def states(account: Account) -> list[tuple[Any, ...]]:
    return list(account.orders.log[["order_id", "status", "filled", "updated"]].itertuples(index=False, name=None))


def last_states(account: Account) -> dict[str, str]:
    return account.orders.df["status"].to_dict()


def filled(account: Account) -> Counter[str]:
    return Counter(
        {key: Decimal(value) for key, value in account.fills.df.groupby("order_id")["quantity"].sum().items()}
    )


# On connecting.


def test_a_server_that_brings_no_snapshots_leaves_no_table_empty(silent: Desk) -> None:
    silent.act(far())
    account = silent.feed.account("ACC-1")

    tables = (account.orders, account.positions, account.balances, account.info)
    eventually(lambda: all(len(table) for table in tables))

    assert list(account.orders.df.index) == ["ORD-1"]
    assert set(account.positions.df.index) == {"AAPL", "MSFT", "TSLA"}
    assert account.balances.rows()[0]["cash"] == Decimal("250000.00")
    assert account.info.df.loc["ACC-1", "account_type"] == "margin"
    assert states(account) == [("ORD-1", "NEW", 0.0, account.orders.df.loc["ORD-1", "updated"])]


def test_watchlists_and_the_newest_news_are_there_at_once(silent: Desk) -> None:
    items = silent.sim._call(lambda: _published(silent.accounts, 5))

    watchlists, news = (
        silent.feed.watchlists,
        silent.feed.news(*sorted({name for item in items for name in item.symbols})),
    )
    eventually(lambda: len(watchlists) and len(news))

    assert set(watchlists.df["name"]) == {"Core", "Funds", "Ideas"}
    assert list(news.df.index) == [item.number for item in items]


def _published(accounts: Accounts, count: int) -> list[Any]:
    """So many headlines, a second apart."""
    room = accounts._newsroom
    items = [room._write_headline(1_772_463_845.0 + number) for number in range(count)]
    room.headlines += items
    return items


def test_what_the_stream_has_told_already_is_not_logged_again(desk: Desk) -> None:
    desk.act(far())
    account = desk.feed.account("ACC-1")
    eventually(lambda: len(account.orders))

    desk.act(at_market())
    eventually(lambda: last_states(account).get("ORD-2") == "FILLED")
    whole(desk, account)

    assert len(set(states(account))) == len(states(account))
    assert Counter(order for order, *_ in states(account)) == {"ORD-1": 1, "ORD-2": 3}


def whole(desk: Desk, account: Account) -> None:
    """Wait until everything that is asked for over HTTP has been put in its place."""
    held = desk.feed._accounts._snapshots
    assert held is not None
    eventually(lambda: held.is_whole)
    eventually(lambda: not account.orders.is_stale)


# After a break.


def test_orders_that_ended_during_a_break_are_told_once_and_their_fills_as_well(desk: Desk) -> None:
    account = desk.feed.account("ACC-1")
    fills = account.fills
    whole(desk, account)
    desk.act(far("MSFT"))
    desk.act(far("TSLA"))
    desk.act(at_market("AAPL", 7))
    eventually(lambda: len(states(account)) == 7)
    whole(desk, account)

    def meanwhile(broker: Brokerage, now: float) -> None:
        broker.cancel("ORD-1", now=now)
        broker.place("ACC-1", "AAPL", "buy", "market", 5, now=now)
        broker.place("ACC-1", "NVDA", "sell", "market", 3, now=now)
        broker.place("ACC-1", "KO", "buy", "limit", 2, price="0.01", now=now)

    desk.act(meanwhile, is_break=True)
    desk.is_back(1)
    eventually(lambda: len(last_states(account)) == 6)
    whole(desk, account)

    assert last_states(account) == {
        "ORD-1": "CANCELED",
        "ORD-2": "NEW",
        "ORD-3": "FILLED",
        "ORD-4": "FILLED",
        "ORD-5": "FILLED",
        "ORD-6": "NEW",
    }
    assert len(set(states(account))) == len(states(account))
    assert filled(account) == desk.filled() == {"ORD-3": 7, "ORD-4": 5, "ORD-5": 3}
    assert list(fills.df["is_combined"]) == [False, True, True]


def test_positions_and_balances_are_those_of_after_the_break(desk: Desk) -> None:
    account = desk.feed.account("ACC-1")
    eventually(lambda: len(account.positions) == 3 and len(account.balances) == 1)
    desk.sim.set_market("closed")

    desk.act(at_market("AAPL", 5), is_break=True)
    cash = desk.sim._call(lambda: desk.accounts.brokerage.ledger("ACC-1").cash)
    eventually(lambda: account.balances.rows()[0]["cash"] == cash)
    whole(desk, account)

    held = {row["symbol"]: row["quantity"] for row in account.positions.rows()}
    assert held == {"AAPL": 205, "MSFT": 100, "TSLA": -50}
    assert not account.positions.is_stale
    assert not account.balances.is_stale


def test_breaks_in_which_nothing_happens_add_nothing_to_the_log(desk: Desk) -> None:
    account = desk.feed.account("ACC-1")
    _ = account.orders
    whole(desk, account)
    desk.act(far())
    desk.act(at_market())
    eventually(lambda: len(states(account)) == 5)
    before = states(account)

    for number in range(1, 4):
        desk.sim.drop_connections()
        desk.is_back(number)
        whole(desk, account)

    assert states(account) == before


def test_an_order_from_long_before_a_break_that_ends_in_it_is_found(desk: Desk) -> None:
    placed = time.time() - 200 * DAY
    desk.act(lambda broker, _: broker.place("ACC-1", "KO", "buy", "limit", 1, price="0.01", now=placed))
    desk.act(lambda broker, now: broker.place("ACC-1", "KO", "buy", "market", 4, now=now - 100 * DAY))
    account = desk.feed.account("ACC-1")
    eventually(lambda: last_states(account) == {"ORD-1": "NEW"})

    desk.act(lambda broker, now: broker.cancel("ORD-1", now=now), is_break=True)
    eventually(lambda: last_states(account).get("ORD-1") == "CANCELED")
    whole(desk, account)

    assert list(last_states(account)) == ["ORD-1"], "what ended before anybody looked is no news"
    assert len(account.fills) == 0


def test_through_ten_breaks_every_share_is_filled_once_and_no_state_told_twice(desk: Desk) -> None:
    account = desk.feed.account("ACC-1")
    _ = account.fills
    draw = Random(SEED)
    for number in range(1, 61):
        symbol, side = draw.choice(("AAPL", "MSFT", "NVDA")), draw.choice(("buy", "sell"))
        is_break = number % 6 == 0
        desk.act(at_market(symbol, draw.randrange(1, 9), side), is_break=is_break)
        if is_break and draw.random() < 0.5:  # else the next orders come while it is still on its way back
            eventually(lambda: desk.feed.state == "live", "the feed is back")

    eventually(lambda: len(account.fills.df["order_id"].unique()) == 60, "a fill of every order")
    whole(desk, account)

    assert filled(account) == desk.filled()
    assert set(last_states(account).values()) == {"FILLED"}
    assert len(set(states(account))) == len(states(account))
    assert desk.feed.gaps.df["ended"].notna().all()


def test_replaced_orders_fill_as_the_brokers_books_say(desk: Desk) -> None:
    account = desk.feed.account("ACC-1")
    _ = account.fills

    def replaced(broker: Brokerage, now: float) -> None:
        prices = broker.prices("AAPL")
        first = broker.place("ACC-1", "AAPL", "buy", "limit", prices.ask_size + 10, price=prices.ask, now=now)
        second = broker.replace(first.id, price="0.01", now=now + 1)
        assert second is not None
        broker.replace(second.id, quantity=3, price=broker.prices("AAPL").ask + 1, now=now + 2)

    desk.act(replaced)
    eventually(lambda: last_states(account).get("ORD-3") == "FILLED")
    desk.act(replaced, is_break=True)
    eventually(lambda: last_states(account).get("ORD-6") == "FILLED")
    whole(desk, account)

    assert len(desk.filled()) == 4
    assert filled(account) == desk.filled()


# Where HTTP fails.


def test_a_refusal_leaves_the_stream_alone_and_is_said(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> None:
        raise HttpError(403, "no scope for that")

    monkeypatch.setattr(AccountRoutes, "of_account", refused)
    caplog.set_level(logging.WARNING, "aries_nb")
    account = desk.feed.account("ACC-1")
    _ = account.orders
    eventually(lambda: "orders of ACC-1 could not be filled over HTTP" in desk.feed.stats().last_error)

    desk.act(far())
    eventually(lambda: last_states(account) == {"ORD-1": "NEW"})

    assert "no scope for that" in desk.feed.stats().last_error
    assert any("the stream goes on" in record.getMessage() for record in caplog.records)
    assert account.orders.is_live


def test_what_fails_for_a_while_is_asked_for_again(silent: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "RULE", BackoffRule(first=0.001, cap=0.001))
    monkeypatch.setattr(snapshots, "PAUSES", (0.01, 0.01))
    answered, failures = AccountRoutes.of_account, iter(range(http_client.ATTEMPTS))

    def late(*asked: Any) -> object:
        if next(failures, None) is not None:
            raise HttpError(503, "not now")
        return answered(*asked)

    monkeypatch.setattr(AccountRoutes, "of_account", late)
    silent.act(far())
    account = silent.feed.account("ACC-1")

    eventually(lambda: last_states(account) == {"ORD-1": "NEW"})

    assert "not now" in silent.feed.stats().last_error


# The history as the user asks for it.


def test_order_history_is_whole_over_pages_and_ninety_days(silent: Desk) -> None:
    now = time.time()

    def long_ago(broker: Brokerage, _: float) -> None:
        for number in range(600):
            placed = now - (199 - number % 200) * DAY
            broker.cancel(broker.place("ACC-1", "KO", "buy", "limit", 1, price="0.01", now=placed).id, now=placed + 1)

    silent.act(long_ago)
    account = silent.feed.account("ACC-1")

    whole_of_it = account.order_history(pd.Timestamp(now - 200 * DAY, unit="s", tz="UTC"))
    some = account.order_history(pd.Timestamp(now - 10.5 * DAY, unit="s"), pd.Timestamp(now - 8.5 * DAY, unit="s"))

    assert set(whole_of_it.index) == {f"ORD-{number}" for number in range(1, 601)}
    assert whole_of_it.index.is_unique
    assert whole_of_it["created"].is_monotonic_increasing
    assert set(whole_of_it["status"]) == {"CANCELED"}
    assert len(some) == 6
    assert list(whole_of_it.columns) == list(account.orders.df.columns)
    assert (whole_of_it.dtypes == account.orders.df.dtypes).all()


@pytest.mark.parametrize("start", ["soon", 7, None, ""])
def test_a_time_that_is_none_is_refused_before_anything_is_asked(silent: Desk, start: Any) -> None:
    with pytest.raises(UsageError, match="is no time"):
        silent.feed.account("ACC-1").order_history(start)


def test_a_span_that_ends_before_it_begins_is_refused(silent: Desk) -> None:
    with pytest.raises(UsageError, match="not before the end"):
        silent.feed.account("ACC-1").order_history("2026-03-02", "2026-03-01")


def test_a_closed_account_has_no_history(silent: Desk) -> None:
    account = silent.feed.account("ACC-1")
    account.close()

    with pytest.raises(ClosedError):
        account.order_history("2026-03-02")
