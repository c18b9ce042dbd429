"""Past and current own executions where a broker sends them, and the prices of orders out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from aries_nb.errors import UsageError
from tests.live.alor_feeds import open_alor, serve_alor
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.live import Account, Feed
    from aries_nb.sim import Simulator

__all__ = ["open_alor", "serve_alor"]

OWNER = "MOEX:D00001"


@pytest.fixture
def sim(serve_alor: Callable[..., Simulator]) -> Simulator:
    """A market in which only the test trades."""
    return serve_alor(rate=400, orders_per_s=0.0)


@pytest.fixture
def account(sim: Simulator, open_alor: Callable[..., Feed]) -> Account:
    return open_alor(sim).account("D00001")


@pytest.fixture
def trade(sim: Simulator) -> Callable[..., None]:
    """Have an order at the market filled: symbol, side, pieces."""

    def place(symbol: str, side: str, quantity: int) -> None:
        broker = sim._server.portfolios.accounts.brokerage
        sim._call(lambda: broker.place(OWNER, symbol, side, "market", quantity, now=sim._server.clock.now))

    return place


def test_past_joins_the_fills_of_now_in_order_and_each_once(account: Account, trade: Callable[..., None]) -> None:
    fills = account.fills
    eventually(lambda: fills._source.is_answered)
    trade("SBER", "buy", 30)
    now = fills.wait().df

    fills.load_history(pd.Timestamp.now("UTC") - pd.Timedelta(days=20))
    few = len(fills)
    fills.load_history("2026-01-01").load_history("2026-01-01")
    known = len(fills)  # before the trade: its fill may be there at once
    trade("SBER", "sell", 30)
    frame = fills.wait(fills=known + 1).df

    assert len(now) < few < len(frame)
    assert len(frame) > 1_000  # more than one page
    assert frame["ts"].is_monotonic_increasing
    assert fills.source.df.index.is_unique
    assert set(now["source"]) <= {"stream", "list"}
    assert frame["source"].value_counts()["history"] == len(frame) - len(now) - 1
    assert frame.loc[now.index].equals(now)
    assert not frame.duplicated(["ts", "order_id", "price", "quantity"]).any()
    assert [fill.ts for fill in fills.entries()] == [ts.value for ts in frame["ts"]]


def test_past_ends_where_it_is_asked_to(account: Account) -> None:
    start, end = (pd.Timestamp.now("UTC").normalize() - pd.Timedelta(days=days) for days in (20, 10))

    ts = account.fills.load_history(start.to_pydatetime(), end.to_pydatetime()).df["ts"]

    assert len(ts) > 50
    assert start <= ts.min() <= ts.max() < end


def test_what_a_session_that_ended_in_a_break_had_is_asked_for(
    sim: Simulator, account: Account, trade: Callable[..., None]
) -> None:
    fills = account.fills
    eventually(lambda: fills._source.is_answered)
    trade("SBER", "buy", 10)
    fills.wait()
    server = sim._server
    now = server.clock.now  # the market's time, as of all its trades

    def end_session() -> None:
        """All before anybody can connect again."""
        server.drop_connections()
        server.portfolios.accounts.brokerage.place(OWNER, "GAZP", "buy", "market", 20, now=now)
        server.portfolios.accounts.advance(0.1, now)
        server.portfolios.begin_session()

    sim._call(end_session)
    eventually(lambda: server.clock.now > now + 0.2)  # the market is behind the trade that was missed
    trade("SBER", "sell", 40)
    frame = fills.wait(fills=3).df

    missed = frame[frame["symbol"] == "GAZP"]
    assert frame["quantity"].tolist() == [10.0, 20.0, 40.0]
    assert frame["ts"].is_monotonic_increasing
    assert missed["source"].tolist() == ["history"]
    eventually(lambda: not fills.source.is_stale)
    assert len(fills) == 3


def test_past_that_cannot_be_is_refused(account: Account) -> None:
    with pytest.raises(UsageError, match="no time"):
        account.fills.load_history("yesterday, perhaps")
    with pytest.raises(UsageError, match="not before the end"):
        account.fills.load_history("2026-03-02", "2026-03-01")


def test_filled_order_has_the_mean_price_of_its_fills(
    sim: Simulator, account: Account, trade: Callable[..., None]
) -> None:
    orders, fills = account.orders, account.fills
    eventually(lambda: fills._source.is_answered)
    trade("SBER", "buy", 30)
    fills.wait()
    eventually(lambda: not orders.df["average_price"].isna().any() and len(orders) == 1)

    order = orders.rows()[0]
    sim.drop_connections()  # the list, over the stream and over HTTP, names no price
    trade("GAZP", "sell", 10)
    eventually(lambda: len(orders) == 2 and not orders.is_stale and not orders.df["average_price"].isna().any())

    frame = fills.df.assign(paid=lambda all_: all_["price"] * all_["quantity"])
    sums = frame.groupby("order_id")[["paid", "quantity"]].sum()
    assert orders.rows()[0]["average_price"] == order["average_price"]
    assert (sums["paid"] / sums["quantity"]).to_dict() == pytest.approx(orders.df["average_price"].to_dict())
