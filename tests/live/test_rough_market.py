"""Frames, bars, accounts and views on the rough market as on the kind one, of both brokers, against the simulator."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.sim import AlorOptions, SimOptions, Simulator, read_troubles
from aries_nb.sim.accounts.orders import Worth
from aries_nb.sim.market.rough import EXTREME_SIZES
from tests.live.conftest import QUICK
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aries_nb.live import Account, LiveBars, LiveBook, LiveFrame

#: Refusals and a hanging answer keep what these tests look at from coming at all. A print that is still to be withdrawn
#: when the market comes to rest would stay.
LEFT_OUT = {"stream_refusals", "hanging_http", "cancelled_prints", "corrected_prints"}
CHOSEN = sorted(read_troubles("all") - LEFT_OUT)
EXTREME = set(map(float, EXTREME_SIZES))
MARKETS = [
    *(("aries", "kind"), ("aries", "rough"), ("alor", "rough")),
    pytest.param(("alor", "kind"), marks=pytest.mark.long),
]


@dataclass
class Scene:
    """A feed with everything open on a market that has come to rest."""

    sim: Simulator
    feed: Feed
    is_rough: bool
    symbol: str
    name: str
    quotes: LiveFrame
    trades: LiveFrame
    book: LiveBook
    bars: LiveBars
    account: Account

    @property
    def accounts(self) -> Any:
        server: Any = self.sim._server
        return server.accounts if self.symbol == "AAPL" else server.portfolios.accounts

    def has_seen_enough(self) -> bool:
        """Whether there are rows and, on the rough market, what comes with the third trouble of a kind alone."""
        is_rough = len(self.trades.misdated) > 1 and self.extreme_sizes() == EXTREME
        counts = len(self.quotes), len(self.trades) / 2, len(self.account.fills) * 5
        return min(counts) > 8 and (is_rough or not self.is_rough)

    def extreme_sizes(self) -> set[float]:
        return EXTREME & set(self.trades.df["size"])


@pytest.fixture(scope="module", params=MARKETS, ids="-".join)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    broker, market = request.param
    is_rough = market == "rough"
    make = SimOptions if broker == "aries" else AlorOptions
    options = make(rate=600, rough=CHOSEN if is_rough else [], rough_seconds=1.0, orders_per_s=10.0)  # type: ignore[arg-type]
    symbol, name = ("AAPL", "ACC-1") if broker == "aries" else ("SBER", "D00001")
    source, close = fixed_token("a token"), lambda _: None
    with (
        Simulator(options) as sim,
        Feed(BROKERS[broker], sim.url, source, at_close=close, rule=QUICK) as feed,
    ):
        feed.wait_open(30)
        account = feed.account(name)
        quotes, trades = feed.quotes(symbol, rows=50_000), feed.trades(symbol, rows=50_000)
        book, bars = feed.book(symbol), feed.bars(symbol)
        found = Scene(sim, feed, is_rough, symbol, name, quotes, trades, book, bars, account)
        account.equity.wait(timeout=60)
        eventually(found.has_seen_enough, "the market has been as it is", seconds=30)
        sim.set_market("closed")
        time.sleep(0.3)  # what is on its way arrives
        yield found


def truth(scene: Scene) -> Any:
    """The state of the symbol at the simulator."""
    return scene.accounts.market.shares[scene.symbol]


def test_rows_are_in_order_and_of_now(scene: Scene) -> None:
    now = pd.Timestamp.now("UTC") + pd.Timedelta("1min")

    for frame in (scene.quotes, scene.trades):
        rows = frame.df
        right = rows.drop(frame.misdated.index)
        assert rows.index.is_monotonic_increasing
        assert len(right) > 3
        assert (right.index < now).all()
        assert (right.index > now - pd.Timedelta("1D")).all()
        assert (frame.latest["ts"] < now).all()


def test_prices_are_those_of_the_market_or_missing(scene: Scene) -> None:
    share = truth(scene)
    rows = scene.quotes.df
    believable = rows[(rows["bid_price"] != 0.01) & (rows["ask_price"] != 199_999.99)]

    for name in ("bid_price", "ask_price"):
        prices = believable[name].dropna()
        assert (abs(prices / share.last.price - 1) < 0.02).all()
    assert abs(scene.quotes.time_weighted_mean("last_price") / share.last.price - 1) < 0.06


def test_sizes_of_trades_are_those_that_were_sent(scene: Scene) -> None:
    assert scene.extreme_sizes() == (EXTREME if scene.is_rough else set())


def test_bars_are_as_high_and_low_as_the_market_was(scene: Scene) -> None:
    share = truth(scene)

    newest = scene.bars.df.iloc[-1]

    assert share.low <= newest["low"] <= newest["close"] <= newest["high"] <= share.high


def test_accounts_are_the_brokers_own(scene: Scene) -> None:
    account = scene.account
    name = scene.name if scene.symbol == "AAPL" else f"MOEX:{scene.name}"
    brokerage = scene.accounts.brokerage
    figures = scene.sim._call(lambda: brokerage.figures(name))
    held = {each.position.symbol: float(each.position.quantity) for each in figures.positions}

    def quantities() -> dict[str, float]:
        rows = account.positions.df["quantity"]
        return {symbol: float(quantity) for symbol, quantity in rows.items() if quantity and symbol in held}

    eventually(lambda: quantities() == held)
    equity, explained = account.equity.df["equity"].iloc[-1], account.equity.explained
    if math.isnan(equity):
        assert account.equity.reasons
    else:
        assert equity == pytest.approx(float(figures.equity), rel=2e-3)
    causes = explained.drop(columns="total")
    np.testing.assert_allclose(causes.sum(axis=1, skipna=False), explained["total"], atol=1e-6)


def test_fills_are_those_that_the_broker_booked(scene: Scene) -> None:
    name = scene.name if scene.symbol == "AAPL" else f"MOEX:{scene.name}"
    brokerage = scene.accounts.brokerage

    def net(fills: Iterable[tuple[str, str, float, float]]) -> dict[str, tuple[float, float]]:
        """What was bought and paid, by symbol; what is paid only where a price is that of one share."""
        found: dict[str, tuple[float, float]] = {}
        for symbol, side, quantity, price in fills:
            signed = quantity if side == "buy" else -quantity
            cost = price if brokerage.worth(symbol) == Worth() else 0.0
            bought, paid = found.get(symbol, (0.0, 0.0))
            found[symbol] = bought + signed, paid + signed * cost
        return found

    def is_equal() -> bool:
        # Aries derives fills from orders: those that had ended before the account was opened are none of them.
        orders = set(scene.account.orders.log["order_id"])
        booked = net(
            (each.symbol, each.side, float(each.quantity), float(each.price))
            for each in scene.sim._call(lambda: list(brokerage.fills))
            if each.account == name and each.quantity and (scene.symbol != "AAPL" or each.order_id in orders)
        )
        known = scene.account.fills.df[["symbol", "side", "quantity", "price"]]
        seen = {symbol: each for symbol, each in net(known.itertuples(index=False, name=None)).items() if any(each)}
        # The broker rounds average prices.
        return seen == {symbol: pytest.approx(each, abs=0.05) for symbol, each in booked.items() if any(each)}

    eventually(is_equal)


def test_fees_are_those_that_the_fills_name(scene: Scene) -> None:
    now = scene.account.equity.moment()
    fees = now.fills.groupby("symbol")["fee"].sum(min_count=1).dropna()

    for symbol, fee in fees.items():
        assert now.explained.loc[str(symbol), "fee"] == pytest.approx(-fee)


def test_views_draw_what_there_is_up_to_now(scene: Scene) -> None:
    limit = (time.time() + 60) * 1e3
    charts = (scene.quotes.chart("bid_price", "ask_price"), scene.trades.candles("1s"))

    for chart in charts:
        chart.draw()
        times = [np.asarray(each.x, "float64") for each in chart.figure.data[1:] if each.x is not None and len(each.x)]
        assert times
        assert np.nanmax(np.concatenate(times)) <= limit
    account = scene.account
    tables = (account.orders, account.positions, account.fills, account)
    for each in (scene.quotes, scene.trades, scene.book, *tables):
        bundle: Any = each._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        assert len(data["text/plain"]) > 20
    for chart in charts:
        chart.close()
