"""Positions at the feed's own quotes, and the change of equity explained, against the simulated broker's own books."""

from __future__ import annotations

import asyncio
import json
import math
import time
from decimal import Decimal
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from aries_nb.errors import ClosedError, UsageError, WaitTimeoutError
from aries_nb.live.account import positions as live_positions
from aries_nb.net.background import on_network
from aries_nb.store import Fill
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Account, Feed
    from aries_nb.live.account.positions import LivePositions
    from aries_nb.sim import Simulator

FEE = 0.1  # of each fill, in USD


@pytest.fixture
def sim(serve: Callable[..., Simulator]) -> Simulator:
    """A market that sends what it has in small portions, so that a hundred of them are soon here."""
    return serve(rate=2000, flush_seconds=0.005)


@pytest.fixture
def account(sim: Simulator, feed: Feed) -> Account:
    """An account in which only the test trades."""
    sim._server.accounts._robot._wait = math.inf
    return feed.account("ACC-1")


@pytest.fixture
def trade(sim: Simulator) -> Callable[[str, str, int], None]:
    """Have an order at the market filled: symbol, side, shares."""

    def place(symbol: str, side: str, quantity: int) -> None:
        broker = sim._server.accounts.brokerage
        sim._call(lambda: broker.place("ACC-1", symbol, side, "market", quantity, now=sim._server.clock.now))

    return place


def test_equity_is_awaited_like_all_live_objects(account: Account) -> None:
    async def main() -> None:
        equity = await account.equity.until(moments=2)
        assert equity is account.equity
        assert equity.df["equity"].notna().sum() >= 2
        with pytest.raises(
            WaitTimeoutError, match=r"10000 moments of a known equity did not come within 0\.05 s\. What is"
        ):
            await equity.until(moments=10_000, timeout=0.05)
        waiting = asyncio.ensure_future(equity.until(moments=10_000))
        await asyncio.sleep(0)
        equity.close()
        with pytest.raises(ClosedError, match="the equity is closed"):
            await waiting

    asyncio.run(asyncio.wait_for(main(), 120))


def test_positions_are_marked_at_the_middle_of_the_feeds_own_quotes(sim: Simulator, account: Account) -> None:
    positions = account.positions.wait()
    # The first quote of a book may be from before its subscription.
    eventually(lambda: positions.df["mark_price"].notna().all() and positions._source.marks.version > 100)

    sim.set_market("closed")  # what is on its way arrives, and nothing moves any more
    broker = sim._server.accounts.brokerage
    holdings = sim._call(lambda: broker.figures("ACC-1").positions)
    marks = {holding.position.symbol: float(holding.mark) for holding in holdings}

    eventually(lambda: positions.df["mark_price"].to_dict() == marks)
    frame = positions.df
    expected = (frame["mark_price"] - frame["average_price"]) * frame["quantity"]
    pd.testing.assert_series_equal(frame["mark_pnl"], expected, check_names=False)


def test_the_marks_are_exact_in_rows_and_part_of_what_views_show(account: Account) -> None:
    positions = account.positions.wait()
    eventually(lambda: positions.df["mark_price"].notna().all())

    rows, table = positions.rows(), positions._source.table()

    assert all(isinstance(row["mark_pnl"], Decimal) for row in rows)
    assert [column.name for column in table.columns][-2:] == ["mark_price", "mark_pnl"]
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_every_quote_is_a_new_version_of_the_positions(sim: Simulator, account: Account) -> None:
    positions = account.positions.wait()
    eventually(lambda: positions.df["mark_price"].notna().all())
    told = len(positions.log)

    before = positions._source.version
    eventually(lambda: positions._source.version > before + 20 * 2)

    assert positions._source.version - before > 2 * (len(positions.log) - told)


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


def test_a_fill_counts_against_the_middle_of_our_quotes_at_its_time(sim: Simulator, account: Account) -> None:
    equity = account.equity.wait()
    eventually(lambda: account.positions._source.marks.version > 100)
    broker = sim._server.accounts.brokerage

    def trade(side: str, quantity: int) -> Decimal:
        prices = broker.prices("AAPL")
        broker.place("ACC-1", "AAPL", side, "market", quantity, now=sim._server.clock.now)
        return quantity * ((prices.mark - prices.ask) if side == "buy" else (prices.bid - prices.mark))

    sim.set_market("closed")  # the quotes that we have stay those of the broker
    eventually(lambda: equity.marks()["AAPL"] == sim._call(lambda: broker.mark("AAPL")))
    better = [sim._call(lambda side=side: trade(side, 10)) for side in ("buy", "sell", "sell")]
    sim.set_market("open")
    account.fills.wait(fills=3)
    eventually(lambda: equity.moment().fills["quantity"].sum() == 30)

    assert sum(better) < 0
    expected = pytest.approx(float(sum(better)))
    eventually(lambda: equity.explained.loc["AAPL", "trade"] == expected)  # a fill counts with its position


def test_of_an_instrument_that_was_not_quoted_nothing_is_said_of_trading(
    account: Account, trade: Callable[[str, str, int], None]
) -> None:
    equity = account.equity.wait()

    trade("KO", "buy", 7)
    eventually(lambda: equity.explained["total"].reindex(["KO"]).notna().all())

    # The first quote that comes for it may be of before the fill: then that is what it counts against.
    fill = account.fills.df.iloc[-1]
    frame = next(frame for frame in account.positions._marks.frames if "KO" in frame.symbols)
    before = frame.df.loc[lambda rows: (rows.index <= fill["ts"]) & (rows["symbol"] == "KO")]
    middle = before[["bid_price", "ask_price"]].mean(axis=1)
    expected = 7 * (middle.iloc[-1] - fill["price"]) if len(middle) else 0
    assert equity.explained.loc["KO", "trade"] == pytest.approx(expected, abs=1e-6)


def test_a_moment_adds_up_whenever_it_is_read(account: Account, trade: Callable[[str, str, int], None]) -> None:
    equity = account.equity.wait()

    for number in range(1, 9):
        trade("AAPL", "buy" if number % 2 else "sell", number)
        seen = equity.moment().ts
        eventually(lambda seen=seen: equity.moment().ts > seen)
        now = equity.moment()

        value = (now.fills["quantity"] * now.fills["price"]).where(now.fills["side"] == "sell", lambda paid: -paid)
        total = now.explained.loc["total"]
        assert now.equity - now.opening_equity == pytest.approx(total["total"], abs=1e-6)
        assert now.ts in equity.df.index
        if now.explained.drop(index=["cash", "total"])["unexplained"].eq(0).all():
            rest = total["fee"] + total["unexplained"]
            assert now.cash - now.opening_cash - value.sum() == pytest.approx(rest, abs=1e-6)


def test_before_equity_is_known_there_is_no_moment(feed: Feed) -> None:
    equity = feed.account("ACC-2").equity
    equity.close()

    with pytest.raises(UsageError, match=r"equity is not known yet.*wait"):
        equity.moment()


def test_a_fill_without_a_price_is_named_and_later_totals_are_known(
    account: Account, trade: Callable[[str, str, int], None]
) -> None:
    equity, fills = account.equity.wait(), account.fills
    now = time.time_ns()

    unknown = Fill(now, "ACC-1", "AAPL", "buy", Decimal(1), Decimal("NaN"), "ORD-0")
    on_network(lambda: fills._log.extend([(unknown, now)])).result(30)
    eventually(lambda: equity.unpriced == ("AAPL",))
    trade("MSFT", "buy", 7)
    eventually(lambda: "MSFT" in equity.moment().fills["symbol"].to_list())

    assert equity.explained["total"].notna().all()
    assert equity._source.table().note.endswith("fills without a price: AAPL")


def test_what_is_not_known_is_said_in_words_without_a_stray_mark(feed: Feed) -> None:
    equity = feed.account("ACC-2").equity
    source = equity._source
    eventually(lambda: source.version)
    source.opening = None
    source.reasons = {"KO": "no last price"}

    assert repr(equity) == f"<equity: {float(equity.df['equity'].iloc[-1]):,.2f}>"
    assert source.table().note.startswith("KO not known: no last price")


def test_marks_are_there_after_the_first_wait(account: Account) -> None:
    positions = account.positions.wait()

    assert positions.df["mark_price"].notna().all()
    assert positions.df["mark_pnl"].notna().all()


async def _until(positions: LivePositions) -> LivePositions:
    return await positions.until()


def test_marks_are_there_after_the_first_wait_of_async_code(account: Account) -> None:
    positions = asyncio.run(_until(account.positions))

    assert positions.df["mark_price"].notna().all()


def test_a_position_that_nobody_quotes_does_not_keep_wait_for_long(
    sim: Simulator, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_positions, "FIRST_MARKS_SECONDS", 1.0)  # in place of 3 s
    positions = account.positions.wait()
    position = {"accountId": "ACC-1", "symbol": "NO-SUCH", "quantity": "3", "averagePrice": "1"}
    event = {"topic": "account", "name": "account.position", "target": "ACC-1", "data": position}
    sim.broadcast(json.dumps({"type": "event", "payload": event}))
    eventually(lambda: "NO-SUCH" in positions.df.index)

    begun = time.monotonic()
    positions.wait(timeout=60)

    assert time.monotonic() - begun < 60
    assert positions.df.loc[["NO-SUCH"], "mark_price"].isna().all()


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
