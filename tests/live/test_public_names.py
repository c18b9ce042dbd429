"""What tab completion offers on the objects that a user holds: these names, each with its docstring, and no other."""

from __future__ import annotations

import gc
import inspect

import pytest

import aries_nb as anb
from aries_nb.live.account.equity import EquityMoment, LiveEquity
from aries_nb.live.account.fills import LiveFills
from aries_nb.live.account.pnl import LivePnl
from aries_nb.live.account.positions import LivePositions
from aries_nb.live.derived.alerts import FeedAlerts, LiveAlert
from aries_nb.live.gaps import Gaps
from aries_nb.live.local_simulator import Simulation
from aries_nb.live.market.bars import LiveBars
from aries_nb.live.market.instruments import LiveInstruments
from aries_nb.live.market.options import OptionChain, Options
from aries_nb.live.market.reference import MarketReference
from aries_nb.live.rooms.serving import Serving
from aries_nb.live.screen.desk import Desk
from tests.net.patience import eventually

LIVE = "close is_live is_open on_update until wait"
STREAMED = f"{LIVE} gaps ledger on_gap"
TABLE = f"{STREAMED} columns df is_stale log rows"
NAMES = {
    anb.Feed: (
        "account accounts annotate at bars book capture card clock close desk gaps instruments ledger market_status"
        " news on_gap options quotes record reference serve simulate snapshot state stats streams tables timeline"
        " trades unreadable url wait_open watchlists"
    ),
    anb.LiveFrame: (
        f"{STREAMED} alert assign bars candles chart charts corrections df evicted ewm join_asof lag last latest"
        " misdated rebased received rolling silent tail time_weighted_mean wide"
    ),
    anb.LiveBook: f"{STREAMED} depth_chart df integrity ladder lag updates venues",
    LiveBars: f"{LIVE} chart df",
    LiveAlert: f"{LIVE} df true_now",
    FeedAlerts: "add close df ended open table version",
    anb.LiveTable: TABLE,
    LiveInstruments: TABLE,
    LivePositions: TABLE,
    LivePnl: f"{TABLE} chart",
    LiveFills: f"{LIVE} df entries load_history",
    LiveEquity: (
        "assumptions books close df explained is_open marks moment on_update reasons since unmarked unpriced until wait"
    ),
    anb.Account: (
        "balances chart close dashboard derivative_risks equity fills info is_open order_history orders pnl positions"
        " risks stop_orders"
    ),
    Options: "contracts",
    OptionChain: f"{LIVE} at_the_money chain chart df refused spot",
    Gaps: "all df",
    Serving: "address close last_error rows state",
    Desk: "close is_closed layout save show symbol views",
    Simulation: "troubles",
    MarketReference: (
        "aggregates boards book chain chart_config details instrument instruments is_healthy market_status quotes"
        " search search_charts server_time tick_bars trades"
    ),
}
# Plain values that an object has from the beginning; its class's docstring or its maker's says what they are.
VALUES = {
    anb.Feed: "alerts name",
    anb.LiveFrame: "kind symbols",
    anb.LiveBook: "depth symbol",
    LiveBars: "interval symbol",
    anb.LiveTable: "account kind",
    LiveInstruments: "account kind symbols",
    LiveFills: "account source",
    anb.Account: "name",
    OptionChain: "expiries expiry quotes symbol",
}


@pytest.mark.parametrize("kind", NAMES, ids=lambda kind: kind.__name__)
def test_a_class_has_these_public_names_and_no_other(kind: type) -> None:
    assert sorted(name for name in dir(kind) if not name.startswith("_")) == sorted(NAMES[kind].split())


@pytest.mark.parametrize("kind", [*NAMES, EquityMoment], ids=lambda kind: kind.__name__)
def test_each_public_name_has_a_docstring(kind: type) -> None:
    blank = [
        name
        for name, value in inspect.getmembers(kind)
        if not name.startswith("_") and callable(value) | isinstance(value, property) and not inspect.getdoc(value)
    ]

    assert blank == []
    assert inspect.getdoc(kind)


def test_an_object_offers_its_values_besides(feed: anb.Feed) -> None:
    account = feed.account("ACC-1")
    chain = feed.options("MSFT", feed.options("MSFT").expiries[0], strikes=1)
    held = [feed, feed.quotes("AAPL"), feed.book("AAPL"), feed.bars("AAPL"), account, account.balances, account.fills]

    for each in (*held, chain):
        expected = {*NAMES[type(each)].split(), *VALUES[type(each)].split()}
        assert {name for name in dir(each) if not name.startswith("_")} == expected, each


def test_a_view_keeps_its_frame_open_and_known_to_the_feed(feed: anb.Feed) -> None:
    chart = feed.quotes("AAPL").chart("bid_price")

    gc.collect()

    assert feed.quotes("AAPL").chart("bid_price") is chart
    assert feed.stats().streams == 1


def test_a_frame_that_is_not_held_ends_its_stream(feed: anb.Feed) -> None:
    feed.quotes("AAPL").chart("bid_price").close()

    eventually(lambda: gc.collect() >= 0 and feed.stats().streams == 0)  # the network's thread unsubscribes
