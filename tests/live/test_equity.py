"""Positions at the feed's own quotes, and the change of equity explained, against the simulated broker's own books."""

from __future__ import annotations

import math
import time
from decimal import Decimal
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Account, Feed
    from aries_nb.sim import Simulator

FEE = 0.1  # of each fill, in USD


@pytest.fixture
def account(sim: Simulator, feed: Feed) -> Account:
    """An account in which nobody trades unless the test does."""
    sim._server.accounts._robot._wait = math.inf
    return feed.account("ACC-1")


@pytest.fixture
def trade(sim: Simulator) -> Callable[[str, str, int], None]:
    """Have an order at the market filled: symbol, side, shares."""

    def place(symbol: str, side: str, quantity: int) -> None:
        broker = sim._server.accounts.brokerage
        sim._call(lambda: broker.place("ACC-1", symbol, side, "market", quantity, now=time.time()))

    return place


def test_positions_are_marked_at_the_middle_of_the_feeds_own_quotes(sim: Simulator, account: Account) -> None:
    positions = account.positions.wait()
    eventually(lambda: positions.df["mark_price"].notna().all())

    sim.set_market("closed")  # what is on its way arrives, and nothing moves any more
    broker = sim._server.accounts.brokerage
    holdings = sim._call(lambda: broker.books("ACC-1").positions)
    marks = {holding.position.symbol: float(holding.mark) for holding in holdings}

    eventually(lambda: positions.df["mark_price"].to_dict() == marks)
    frame = positions.df
    expected = (frame["mark_price"] - frame["average_price"]) * frame["quantity"]
    pd.testing.assert_series_equal(frame["mark_pnl"], expected, check_names=False)


def test_the_marks_are_exact_in_rows_and_part_of_what_views_show(account: Account) -> None:
    positions = account.positions.wait()
    eventually(lambda: positions.df["mark_price"].notna().all())

    rows, table = positions.rows(), positions.table()

    assert all(isinstance(row["mark_pnl"], Decimal) for row in rows)
    assert [column.name for column in table.columns][-2:] == ["mark_price", "mark_pnl"]
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_every_quote_is_a_new_version_of_the_positions(sim: Simulator, account: Account) -> None:
    positions = account.positions.wait()
    eventually(lambda: positions.df["mark_price"].notna().all())
    told = len(positions.log)

    before = positions.version
    eventually(lambda: positions.version > before + 20 * 2)

    assert positions.version - before > 2 * (len(positions.log) - told)


def test_without_live_quotes_there_is_no_mark(feed: Feed, account: Account) -> None:
    positions = account.positions.wait()
    eventually(lambda: positions.df["mark_price"].notna().all())

    feed.close()

    assert positions.df["mark_price"].isna().all()
    assert positions.df["price"].notna().any()


def test_what_moved_equity_adds_up_and_the_fees_are_found(
    sim: Simulator, account: Account, trade: Callable[[str, str, int], None]
) -> None:
    equity = account.equity.wait()

    trade("AAPL", "buy", 10)
    trade("KO", "buy", 7)
    eventually(lambda: len(account.fills) == 2 and equity.explained["total"].notna().all())
    sim.set_market("closed")
    eventually(lambda: equity.explained.loc["total", "fee"] == -2 * FEE)

    explained, moments = equity.explained, equity.df["equity"]
    assert {"AAPL", "KO", "cash", "total"} <= set(explained.index)
    assert explained["unexplained"].abs().max() == 0
    assert abs(explained.loc["total", "total"] - (moments.iloc[-1] - moments[equity.since])) < 1e-6
    parts = explained.drop(columns="total")
    pd.testing.assert_series_equal(parts.sum(axis="columns"), explained["total"], check_names=False)
    pd.testing.assert_series_equal(parts.drop(index="total").sum(), parts.loc["total"], check_names=False)


def test_cash_that_no_fill_brought_is_shown_as_unexplained(sim: Simulator, account: Account) -> None:
    equity = account.equity.wait()
    ledger = sim._server.accounts.brokerage.ledger("ACC-1")

    sim._call(lambda: setattr(ledger, "cash", ledger.cash + 500))

    eventually(lambda: equity.explained.loc["cash", "unexplained"] == 500)
    assert equity.explained.loc["total", "unexplained"] == 500


def test_two_explanations_subtracted_explain_what_lies_between(
    account: Account, trade: Callable[[str, str, int], None]
) -> None:
    equity = account.equity.wait()
    before = equity.explained

    trade("KO", "buy", 7)
    eventually(lambda: equity.explained["total"].reindex(["KO"]).notna().all())
    after = equity.explained

    between = after.sub(before, fill_value=0)
    assert between.loc["KO"].to_dict() == after.loc["KO"].to_dict()
    assert list(between.columns) == ["price_move", "trade", "fee", "unexplained", "total"]


def test_before_anything_is_known_there_is_an_empty_explanation(feed: Feed) -> None:
    equity = feed.account("ACC-2").equity

    columns = list(equity.explained.columns)

    assert columns == ["price_move", "trade", "fee", "unexplained", "total"]
