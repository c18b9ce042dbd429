"""Accounts in snapshots: their tables, and the equity that cash, quantities and marks make, computed once more here."""

from __future__ import annotations

import math
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from aries_nb.errors import UsageError
from aries_nb.store import exactly, middle_of
from tests.live.alor_feeds import open_alor, serve_alor
from tests.net.patience import eventually

__all__ = ["open_alor", "serve_alor"]

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Feed
    from aries_nb.live.account.account import Account
    from aries_nb.live.moments.snapshot import Snapshot
    from aries_nb.sim import Simulator


class Market:
    """A simulated market of which account ACC-1 is the test's."""

    def __init__(self, sim: Simulator, feed: Feed) -> None:
        self._sim = sim
        sim._server.accounts._robot._wait = math.inf
        self.account = feed.account("ACC-1")
        self.account.equity.wait()

    def trade(self, symbol: str, quantity: int) -> None:
        broker, server = self._sim._server.accounts.brokerage, self._sim._server
        side = "buy" if quantity > 0 else "sell"
        self._sim._call(lambda: broker.place("ACC-1", symbol, side, "market", abs(quantity), now=server.clock.now))


@pytest.fixture
def hammered(serve: Callable[..., Simulator], open_feed: Callable[..., Feed]) -> tuple[Feed, Market]:
    sim = serve(rate=5_000, flush_seconds=0.002)
    feed = open_feed(sim)
    return feed, Market(sim, feed)


def by_hand(now: Snapshot, account: Account) -> Decimal:
    """Cash and what is held at the middles of the newest quotes of the snapshot."""
    then = now.account("ACC-1")
    prices = {}
    for frame in account.positions._marks.frames:
        with suppress(UsageError):  # made after the snapshot
            part = now[frame]
            rows = zip(part.symbols, part.rows.latest(), strict=True)
            prices |= {symbol: middle_of(*row[2][:3:2]) for symbol, row in rows if row is not None}
    with exactly():
        total = Decimal(then.balances.rows()[0]["cash"])
        for row in then.positions.rows():
            if row["quantity"]:
                total += Decimal(row["quantity"]) * prices.get(row["symbol"], Decimal("NaN")) * 1  # a share
    return total


def check(feed: Feed, market: Market, snapshots: int) -> None:
    known, cash, account = 0, set(), market.account
    for symbol in ("AAPL", "MSFT", "TSLA"):  # what is held first has no mark for as long as its subscription takes
        market.trade(symbol, 50)
        eventually(lambda symbol=symbol: symbol in feed.snapshot().account("ACC-1").marks)  # type: ignore[misc]
    for at in range(snapshots):
        if at % 10 == 0:
            market.trade(("AAPL", "MSFT", "TSLA")[at // 10 % 3], 5 if at % 20 else -5)
        now = feed.snapshot()
        then = now.account("ACC-1")
        expected = by_hand(now, account)

        assert then.equity == float(expected) or (math.isnan(then.equity) and expected.is_nan())
        known += not expected.is_nan()
        cash.add(then.cash)
    assert known > snapshots * 0.9
    eventually(lambda: cash.add(feed.snapshot().account("ACC-1").cash) or len(cash) > 1)  # it traded meanwhile


def test_equity_is_cash_and_quantities_at_their_marks_in_each_snapshot(hammered: tuple[Feed, Market]) -> None:
    check(*hammered, 300)


@pytest.mark.long
def test_equity_is_cash_and_quantities_at_their_marks_in_ten_thousand_snapshots(hammered: tuple[Feed, Market]) -> None:
    check(*hammered, 10_000)


def test_account_of_a_past_moment_is_what_it_was(
    serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    sim = serve(rate=200, flush_seconds=0.01)
    feed = open_feed(sim)
    market = Market(sim, feed)
    account, noted = market.account, []
    for at in range(6):
        now = feed.snapshot()
        then = now.account("ACC-1")
        noted.append((now.ts, then.positions.df, then.orders.df, then.fills.df, then.equity, then.cash, then.marks))
        count = len(account.fills)
        market.trade(("AAPL", "KO")[at % 2], 5)
        eventually(lambda count=count: len(account.fills) > count)

    for ts, positions, orders, fills, equity, cash, marks in noted:
        then = feed.at(ts).account()
        known = [name for name in positions.columns if not name.startswith("mark_")]
        pd.testing.assert_frame_equal(then.positions.df[known], positions[known])
        pd.testing.assert_frame_equal(then.orders.df, orders)
        pd.testing.assert_frame_equal(then.fills.df, fills)
        # For a moment after a trade, a price may not belong to the quantity, as in a split; that is not kept.
        assert marks.items() <= then.marks.items()
        assert then.equity == equity or math.isnan(equity)
        assert then.cash == cash
    assert len({len(orders) for _, _, orders, *_ in noted}) > 3
    assert noted[-1][1].index.tolist() != noted[0][1].index.tolist()


def test_what_was_not_in_use_is_said(feed: Feed) -> None:
    now = feed.snapshot()
    with pytest.raises(UsageError, match=r"no one account .*positions"):
        now.account()
    orders = feed.account("ACC-2").orders.wait()
    then = feed.snapshot()

    assert then[orders].df.equals(then.account("acc-2").orders.df)
    with pytest.raises(UsageError, match="the positions of ACC-2 were not in use"):
        _ = then.account().equity
    with pytest.raises(UsageError, match=r'no one account ACC-9 .*ACC-2.*`feed\.account\("ACC-9"\)\.positions`'):
        then.account("ACC-9")
    with pytest.raises(UsageError, match=r'no one account ACC-1 .*`feed\.account\("ACC-1"\)\.positions`'):
        now.account("ACC-1")
    assert repr(then.account()).startswith("<account ACC-2 at ")


def test_difference_of_two_moments_names_what_has_changed_and_by_how_much(
    serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    sim = serve(rate=200, flush_seconds=0.01)
    feed = open_feed(sim)
    market = Market(sim, feed)
    quotes, _ = feed.quotes("AAPL", "MSFT").wait(rows=10), feed.book("AAPL").wait()
    before = feed.snapshot()
    market.trade("AAPL", 7)
    eventually(lambda: feed.snapshot().account().fills.df.shape[0] > before.account().fills.df.shape[0])
    held = before.account().positions.df["quantity"]["AAPL"]
    eventually(lambda: feed.snapshot().account().positions.df["quantity"]["AAPL"] != held)
    quotes.wait(rows=quotes.received + 20)
    after = feed.snapshot()

    found = after.diff(before)

    rows = found.set_index(["what", "key", "field"])["change"]
    assert rows["quotes AAPL, MSFT", "", "rows"] == after[quotes].received - before[quotes].received
    assert rows["positions of ACC-1", "AAPL", "quantity"] == 7
    bid = [each[quotes].latest["bid_price"]["MSFT"] for each in (before, after)]
    assert rows.get(("quotes AAPL, MSFT", "MSFT", "bid_price"), 0.0) == pytest.approx(bid[1] - bid[0])
    assert rows["account ACC-1", "", "cash"] == pytest.approx(after.account().cash - before.account().cash)
    assert rows["account ACC-1", "", "equity"] == pytest.approx(after.account().equity - before.account().equity)
    assert rows["fills of ACC-1", "", "fills"] == 1
    assert "book AAPL" in rows.index.get_level_values(0)
    assert after.diff(after).empty
    assert before.diff(after)["change"].dropna().tolist() == (-found["change"].dropna()).tolist()
    with pytest.raises(UsageError, match="is no snapshot"):
        after.diff(found)


@pytest.mark.long  # as those of Aries above
def test_alors_accounts_and_books_are_what_they_were_as_well(
    serve_alor: Callable[..., Simulator], open_alor: Callable[..., Feed]
) -> None:
    feed = open_alor(serve_alor(rate=300))
    quotes, book = feed.quotes("SBER", "GAZP").wait(rows=30), feed.book("SBER").wait()
    account = feed.account("D00001")
    account.equity.wait()
    assert account.orders.is_open
    eventually(lambda: feed.snapshot().account().reasons == {})
    now = feed.snapshot()
    quotes.wait(rows=quotes.received + 50)

    then = feed.at(now.ts)

    pd.testing.assert_frame_equal(then[quotes].df, now[quotes].df)
    pd.testing.assert_frame_equal(then[book].df, now[book].df)
    one, other = now.account(), then.account(account.name)
    books = one.books
    with exactly():
        by_hand = books.cash
        for symbol, held in books.positions.items():
            a_unit = one.marks[symbol] * books.multiplier(symbol) + books.accrued[symbol]
            by_hand += held.quantity * a_unit - (held.cost if symbol in books.margined else 0)
    assert one.equity == float(by_hand)
    assert other.equity == one.equity
    assert other.marks == one.marks
    pd.testing.assert_frame_equal(other.positions.df, one.positions.df)
    pd.testing.assert_frame_equal(other.orders.df, one.orders.df)
    pd.testing.assert_frame_equal(other.fills.df, one.fills.df)
