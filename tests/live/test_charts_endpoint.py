"""The charts endpoint as a second source of quotes and trades, against the simulated market."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.errors import ClosedError, ConnectError, UnknownSymbolError, UsageError
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from aries_nb.live import LiveFrame
    from aries_nb.sim import Simulator


def charted(sim: Simulator) -> list[dict[str, dict[str, Any]]]:
    """What each live client has subscribed in the form of the charts endpoint."""
    clients = [client for client in sim.subscriptions() if client]
    return [client for client in clients if all(what == {"type": "quotes"} for what in client.values())]


def prints_between(frame: LiveFrame, first: pd.Timestamp, last: pd.Timestamp) -> list[list[float]]:
    rows = frame.df
    return rows.loc[(rows.index > first) & (rows.index < last), ["price", "size"]].to_numpy().tolist()


def test_quotes_come_with_the_columns_that_the_endpoint_has(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT", endpoint="charts").wait(rows=50)

    frame = quotes.df

    assert list(frame.columns) == ["received", "symbol", "bid_price", "ask_price", "last_price"]
    assert set(frame["symbol"]) <= {"AAPL", "MSFT"}
    assert (frame["bid_price"] <= frame["ask_price"]).all()


def test_trades_come_with_price_and_size_and_no_aggressor(feed: Feed) -> None:
    trades = feed.trades("AAPL", endpoint="charts").wait(rows=20)

    frame = trades.df

    assert (frame["price"] > 0).all()
    assert (frame["size"] > 0).all()
    assert set(frame["side"]) == {"unknown"}


def test_prints_are_those_of_the_market_endpoint(feed: Feed) -> None:
    market = feed.trades("AAPL", fields=["price", "size"])
    charts = feed.trades("AAPL", fields=["price", "size"], endpoint="charts")
    eventually(lambda: charts.df.index.nunique() >= 6)
    first, last = charts.df.index[0], charts.df.index[-1]
    eventually(lambda: len(market.df) and market.df.index[-1] > last)

    # Both ends are left out: of the prints that share a millisecond with them only some may have come.
    ours, theirs = (prints_between(frame, first, last) for frame in (market, charts))

    assert len(theirs) >= 4
    assert ours == theirs


def test_fields_of_the_endpoint_can_be_asked_for_and_others_cannot(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", fields=["change_percent", "volume"], endpoint="charts").wait()

    assert list(quotes.df.columns) == ["received", "symbol", "change_percent", "volume"]
    with pytest.raises(UsageError, match="unknown field 'bid_size'"):
        feed.quotes("AAPL", fields=["bid_size"], endpoint="charts")


def test_same_call_is_the_same_frame_and_the_other_endpoints_is_another(feed: Feed) -> None:
    charts = feed.quotes("AAPL", fields=["bid_price"], endpoint="charts")
    market = feed.quotes("AAPL", fields=["bid_price"])

    assert feed.quotes("AAPL", fields=["bid_price"], endpoint="charts") is charts
    assert feed.quotes("AAPL", fields=["bid_price"], endpoint="market") is market
    assert charts is not market


def test_connection_is_made_with_the_first_frame_and_only_once(feed: Feed, sim: Simulator) -> None:
    market = feed.quotes("AAPL")
    before = sim.statistics().connections_total

    charts = [
        feed.quotes("AAPL", endpoint="charts"),
        feed.trades("AAPL", endpoint="charts"),
        feed.quotes("MSFT", endpoint="charts"),
    ]

    assert all(frame.is_open for frame in (market, *charts))
    assert (before, sim.statistics().connections_total) == (1, 2)
    assert feed.stats().streams == 4
    assert charted(sim) == [{"AAPL": {"type": "quotes"}, "MSFT": {"type": "quotes"}}]


def test_calls_at_the_same_time_share_frame_and_connection(feed: Feed, sim: Simulator) -> None:
    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(lambda _: feed.trades("AAPL", endpoint="charts"), range(8)))

    assert len(set(map(id, frames))) == 1
    assert sim.statistics().connections_total == 2


def test_after_a_break_rows_go_on_and_the_gap_is_under_its_own_name(feed: Feed, sim: Simulator) -> None:
    quotes = feed.quotes("AAPL", endpoint="charts").wait(rows=5)

    sim.drop_connections()
    eventually(lambda: feed.stats().reconnects == 2 and feed.state == "live")
    quotes.wait(rows=quotes.received + 20)

    gaps = feed.gaps.df
    assert sorted(gaps["stream"]) == ["charts", "market"]
    assert gaps["ended"].notna().all()
    assert charted(sim) == [{"AAPL": {"type": "quotes"}}]


def test_a_frame_that_is_closed_gives_its_symbol_up(feed: Feed, sim: Simulator) -> None:
    quotes, kept = feed.quotes("AAPL", endpoint="charts"), feed.quotes("MSFT", endpoint="charts")

    quotes.close()

    eventually(lambda: charted(sim) == [{"MSFT": {"type": "quotes"}}])
    kept.wait(rows=kept.received + 20)
    assert feed.stats().streams == 1


def test_an_unknown_symbol_is_refused_and_nothing_is_kept(feed: Feed, sim: Simulator) -> None:
    with pytest.raises(UnknownSymbolError) as caught:
        feed.quotes("NOPE", endpoint="charts")

    assert caught.value.symbols == ("NOPE",)
    eventually(lambda: charted(sim) == [])
    assert feed.stats().streams == 0


@pytest.mark.parametrize("endpoint", ["chart", "accounts", "", None, []])
def test_an_unknown_endpoint_is_refused_with_those_known(feed: Feed, sim: Simulator, endpoint: Any) -> None:
    for call in (feed.quotes, feed.trades):
        with pytest.raises(UsageError, match=r"has no endpoint.*It has: market, charts"):
            call("AAPL", endpoint=endpoint)

    assert (sim.statistics().connections_total, feed.stats().streams) == (1, 0)


def test_a_call_that_cannot_work_opens_no_connection(feed: Feed, sim: Simulator) -> None:
    with pytest.raises(UsageError, match="unknown field"):
        feed.quotes("AAPL", fields=["bid_prise"], endpoint="charts")
    with pytest.raises(UsageError, match="no symbol was given"):
        feed.trades(endpoint="charts")

    assert sim.statistics().connections_total == 1


def test_a_broker_without_the_endpoint_says_so(sim: Simulator) -> None:
    broker = replace(BROKERS["aries"], sources={})

    with Feed(broker, sim.url, fixed_token("a token"), at_close=lambda closed: None) as feed:
        feed.wait_open(30)

        with pytest.raises(UsageError, match=r"aries has no endpoint 'charts'.*It has: market"):
            feed.quotes("AAPL", endpoint="charts")


def test_an_endpoint_that_cannot_be_reached_leaves_the_feed_as_it_was(sim: Simulator) -> None:
    charts = BROKERS["aries"].sources["charts"]
    broker = replace(BROKERS["aries"], sources={"charts": replace(charts, path="/v1/nowhere/ws")})

    with Feed(broker, sim.url, fixed_token("a token"), at_close=lambda closed: None) as feed:
        feed.wait_open(30)

        with pytest.raises(ConnectError, match="/v1/nowhere/ws"):
            feed.quotes("AAPL", endpoint="charts")

        assert (feed.state, feed.stats().gaps) == ("live", 0)
        assert feed.quotes("AAPL").wait(rows=5).is_live


def test_closing_the_feed_ends_its_connection(serve: Callable[..., Simulator], open_feed: Callable[..., Feed]) -> None:
    sim = serve(rate=500)
    feed = open_feed(sim)
    quotes = feed.quotes("AAPL", endpoint="charts").wait(rows=5)

    feed.close()

    eventually(lambda: sim.statistics().connections_open == 0)
    assert len(quotes.df) >= 5
    assert not quotes.is_live
    with pytest.raises(ClosedError):
        feed.quotes("AAPL", endpoint="charts")


def test_marks_know_the_quotes_of_this_endpoint_while_they_are_open(feed: Feed) -> None:
    positions = feed.account("ACC-1").positions.wait()
    held = next(row["symbol"] for row in positions.rows() if row["quantity"])
    quotes = feed.quotes(str(held), endpoint="charts")
    feed.quotes(str(held), fields=["last_price"], endpoint="charts")

    eventually(lambda: [each() for each in positions._marks._others] == [quotes])
    quotes.close()

    eventually(lambda: not positions._marks._others)
