"""A cell that is edited and runs again: a longer or shorter window, more or fewer symbols. No row in memory is lost."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import aries_nb as anb
from tests.live.alor_feeds import open_alor, serve_alor
from tests.net.patience import eventually

if TYPE_CHECKING:
    from aries_nb.sim import Simulator


__all__ = ["open_alor", "serve_alor"]


@pytest.fixture(params=["aries", "alor"])
def market(request: pytest.FixtureRequest) -> tuple[anb.Feed, tuple[str, ...]]:
    """A feed of each broker, and symbols of it."""
    if request.param == "aries":
        return request.getfixturevalue("feed"), ("AAPL", "MSFT", "NVDA", "TSLA")
    sim = request.getfixturevalue("serve_alor")(rate=2_000, flush_seconds=0.01, conflate=False)
    return request.getfixturevalue("open_alor")(sim), ("SBER", "GAZP", "LKOH", "ROSN")


def rows_of(frame: anb.LiveFrame) -> pd.DataFrame:
    """All rows in the order of arrival, with their arrival numbers."""
    slab, start, end, *_ = frame._tape._published
    return slab.frame.iloc[start:end].assign(seq=slab.seq[start:end])


EDITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "longer window": ({"window": "15min"}, {"window": "30min"}),
    "shorter window": ({"window": "15min"}, {"window": "10min"}),
    "more rows": ({"rows": 5_000}, {"rows": 50_000}),
    "a window instead of rows": ({"rows": 50_000}, {"window": "1h"}),
}


@pytest.mark.parametrize("kind", ["quotes", "trades"])
@pytest.mark.parametrize("edit", EDITS)
def test_another_window_keeps_every_row_once_while_more_arrive(edit: str, kind: str, market: Any) -> None:
    before, after = EDITS[edit]
    feed, symbols = market
    live = getattr(feed, kind)(*symbols[:2], **before).wait(rows=300)

    edited = getattr(feed, kind)(*symbols[:2], **after)
    edited.wait(rows=edited.received + 200)
    feed.close()

    pd.testing.assert_frame_equal(rows_of(edited), rows_of(live).iloc[-len(edited) :])
    assert len(edited) == len(live)
    assert edited.ledger.filled >= 300
    received, filled, *become = edited.ledger
    assert received + filled == sum(become)


def test_fewer_rows_are_the_newest(feed: anb.Feed) -> None:
    live = feed.quotes("AAPL").wait(rows=200)

    edited = feed.quotes("AAPL", rows=50)
    feed.close()

    pd.testing.assert_frame_equal(rows_of(edited), rows_of(live).iloc[-50:])


def test_symbols_come_and_go_and_their_rows_stay(market: Any) -> None:
    feed, (first, second, third, fourth) = market
    one, other = feed.trades(first).wait(rows=50), feed.trades(third, second).wait(rows=50)

    more = feed.trades(second, first, fourth)
    more.wait(rows=more.received + 100)
    fewer = feed.trades(fourth)
    feed.close()

    whole, whole_one, whole_other = rows_of(more), rows_of(one), rows_of(other)
    pd.testing.assert_frame_equal(whole[whole["symbol"] == first], whole_one)
    pd.testing.assert_frame_equal(whole[whole["symbol"] == second], whole_other[whole_other["symbol"] == second])
    pd.testing.assert_frame_equal(rows_of(fewer), whole[whole["symbol"] == fourth].iloc[: len(fewer)])
    assert whole["received"].is_monotonic_increasing


def test_a_rebound_variable_loses_nothing_and_leaves_one_subscription(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL", window="15min").wait(rows=100)
    first = quotes.df.iloc[:100]

    quotes = feed.quotes("AAPL", window="30min")

    pd.testing.assert_frame_equal(quotes.df.iloc[:100], first)
    eventually(lambda: gc.collect() >= 0 and len(feed._link._streams) == 1)


def test_a_new_frame_on_a_quiet_symbol_has_its_last_quote(sim: Simulator, feed: anb.Feed) -> None:
    first = feed.quotes("AAPL").wait(rows=5)
    sim.set_market("closed")
    eventually(lambda: feed.market_status["market"] == "closed" and feed.stats().records == first.received)

    second = feed.quotes("AAPL", "MSFT", rows=10)

    pd.testing.assert_series_equal(second.latest.loc["AAPL"], first.latest.loc["AAPL"])


def test_a_gap_between_rows_that_were_taken_over_is_known(sim: Simulator, feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL").wait(rows=100)
    sim.drop_connections()
    eventually(lambda: len(quotes.gaps) == 1 and quotes.gaps.all()[0].ended is not None)
    quotes.wait(rows=quotes.received + 10)

    edited = feed.quotes("AAPL", window="1h")

    assert edited.gaps.all() == quotes.gaps.all()
    with pytest.raises(anb.GapError):
        edited.time_weighted_mean("bid_price")


def test_other_fields_begin_anew(feed: anb.Feed) -> None:
    feed.quotes("AAPL").wait(rows=50)

    other = feed.quotes("AAPL", fields=["bid_price"])

    assert other.ledger.filled == 0
