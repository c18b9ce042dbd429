"""The engine of charts as a user chooses it, sheets of charts, and the user's own fills in charts of market data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from aries_nb.errors import UsageError
from aries_nb.model.settings import settings
from aries_nb.widgets import BarCandles, Candles, Chart, EquityChart, LightChart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aries_nb.live import Feed


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    settings.engine = "plotly"


def test_each_chart_has_the_engine_of_its_call_or_of_the_settings(feed: Feed) -> None:
    trades, account = feed.trades("AAPL"), feed.account("ACC-1")
    makers = (trades.chart, trades.candles, account.chart)

    plotly = [type(make()) for make in makers]
    settings.engine = "light"
    light = [type(make()) for make in makers]
    chosen = [type(make(engine="plotly")) for make in makers]

    assert plotly == chosen == [Chart, Candles, EquityChart]
    assert light == [LightChart] * 3


def test_a_view_of_the_same_engine_is_shown_again(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT")

    assert quotes.chart(engine="light") is quotes.chart(engine="light")
    assert quotes.charts() is quotes.charts()
    assert quotes.charts(every="1s", symbols=["AAPL"]) is not quotes.charts(symbols=["AAPL"])


def test_bars_stay_on_plotly_and_say_so_when_asked_for_another(feed: Feed) -> None:
    bars, pnl = feed.bars("AAPL"), feed.account("ACC-1").pnl()
    settings.engine = "light"

    assert isinstance(bars.chart(), BarCandles)
    for make in (bars.chart, pnl.chart):
        with pytest.raises(UsageError, match=r"with nights left out\. Use \"plotly\", which leaves times"):
            make(engine="light")
        with pytest.raises(UsageError, match="engine='bokeh' does not exist"):
            make(engine="bokeh")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"columns": ["nothing"]}, "'nothing' is no number column"),
        ({"columns": ["bid_price", "ask_price"], "every": "1s"}, "candles of 2 columns"),
        ({"symbols": ["IBM"]}, "'IBM' is not in this frame"),
        ({"symbols": []}, "0 charts in one sheet"),
        ({"across": 0}, "across=0"),
        ({"every": "soon"}, "'soon' is not a length of time"),
    ],
)
def test_what_a_sheet_cannot_show_is_refused(feed: Feed, arguments: dict, what: str) -> None:
    columns = arguments.pop("columns", [])

    with pytest.raises(UsageError, match=re.escape(what)):
        feed.quotes("AAPL", "MSFT").charts(*columns, **arguments)


@pytest.mark.parametrize("make", ["chart", "candles"])
def test_an_unknown_engine_is_refused(feed: Feed, make: str) -> None:
    with pytest.raises(UsageError, match="engine='canvas' does not exist"):
        getattr(feed.trades("AAPL"), make)(engine="canvas")


def test_own_fills_of_accounts_in_use_are_known_to_charts(feed: Feed) -> None:
    quotes = feed.quotes("AAPL", "MSFT")
    assert quotes._source.own_fills(["AAPL"]) == []

    account = feed.account("ACC-1")
    frame = account.fills.wait(timeout=60).df
    symbol = frame["symbol"].iloc[-1]
    marks = feed.trades(symbol)._source.own_fills([symbol])

    ours = frame[frame["symbol"] == symbol]
    assert {mark.symbol for mark in marks} == {symbol}
    assert marks[0].ts == ours["ts"].iloc[0].value
    assert abs(marks[0].quantity) == float(ours["quantity"].iloc[0])
    assert (marks[0].quantity > 0) == (ours["side"].iloc[0] == "buy")
    account.close()
    assert quotes._source.own_fills([symbol]) == []
