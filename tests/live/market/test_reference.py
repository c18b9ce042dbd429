"""Lookups against the simulated market's own HTTP."""

from __future__ import annotations

import json
import math
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from aries_nb.brokers import BROKERS
from aries_nb.errors import ClosedError, ConnectError, FeedError, TokenError, UnknownSymbolError, UsageError
from aries_nb.live.market.reference import MarketReference
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.http_client import HttpClient
from aries_nb.sim.aries import http_bars
from tests.net.http_server import HttpServer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aries_nb.live import Feed
    from aries_nb.sim import Simulator


@pytest.fixture
def reference(feed: Feed) -> MarketReference:
    return feed.reference


@pytest.fixture
def contract(feed: Feed) -> str:
    """A listed call on AAPL."""
    options = feed.options("AAPL")
    return str(options.contracts(options.expiries[0]).index[0])


@pytest.fixture
def answering() -> Iterator[Callable[..., MarketReference]]:
    """Ask where a server of HTTP answers everything alike."""
    with ExitStack() as stack:

        def begin(status: int, body: bytes = b"") -> MarketReference:
            server = stack.enter_context(HttpServer(lambda _: Reply(status, body)))
            http = HttpClient(server.url, fixed_token("a token"), pause=lambda seconds: False)
            stack.callback(http.close)
            return MarketReference(http, BROKERS["aries"].lookup)

        yield begin


def test_details_of_shares_and_options_come_in_the_order_asked_for(reference: MarketReference, contract: str) -> None:
    frame = reference.details("MSFT", contract, "AAPL")

    assert list(frame.index) == ["MSFT", contract, "AAPL"]
    assert frame.index.name == "symbol"
    assert (frame["bid_price"] < frame["ask_price"]).all()
    assert list(frame["has_options"].isna()) == [False, True, False]
    assert list(frame["bid_size"].isna()) == [False, True, False]
    assert str(frame["quote_timestamp"].dtype) == "datetime64[us, UTC]"


def test_details_agree_with_the_stream(feed: Feed, reference: MarketReference) -> None:
    quotes = feed.quotes("AAPL", fields=["open_price", "previous_close_price", "high_52_week"]).wait(timeout=60)

    details = reference.details("AAPL").loc["AAPL"]

    streamed = quotes.latest.loc["AAPL"]
    assert details["open_price"] == streamed["open_price"]
    assert details["close_price"] == streamed["previous_close_price"]
    assert details["high_52_week"] == streamed["high_52_week"]


@pytest.mark.parametrize("method", ["details", "quotes"])
def test_symbols_that_are_not_known_are_named(reference: MarketReference, method: str) -> None:
    with pytest.raises(UnknownSymbolError, match=r"unknown symbol 'NOPE', 'NADA'") as caught:
        getattr(reference, method)("AAPL", "NOPE", "NADA")

    assert caught.value.symbols == ("NOPE", "NADA")


def test_a_symbol_without_bars_of_trades_is_named_as_not_known(reference: MarketReference) -> None:
    with pytest.raises(
        UnknownSymbolError, match=r"unknown symbol 'NOPE' \(the server says: unknown symbol\)"
    ) as caught:
        reference.tick_bars("NOPE")

    assert caught.value.symbols == ("NOPE",)


def test_chart_quotes_have_indices_too(reference: MarketReference) -> None:
    frame = reference.quotes("SPX", "AAPL")

    assert list(frame.index) == ["SPX", "AAPL"]
    assert list(frame["bid_price"].isna()) == [True, False]
    assert (frame["last_price"] > 0).all()
    assert frame.loc["AAPL", "exchange"] == "NASDAQ"


def test_a_search_finds_shares_indices_and_options(reference: MarketReference) -> None:
    shares, options, nothing = reference.search("AAPL"), reference.search(".AAPL", 7), reference.search("/ES")

    assert dict(shares["type"])["AAPL"] == "stock"
    assert set(options["type"]) == {"option"}
    assert len(options) == 7
    assert (len(nothing), list(nothing.columns)) == (0, list(shares.columns))


def test_charts_are_searched_likewise(reference: MarketReference) -> None:
    found = reference.search_charts("SPX")

    assert found.loc["SPX", "type"] == "index"
    assert "exchange" in found.columns


def test_an_instrument_is_described(reference: MarketReference) -> None:
    about = reference.instrument("AAPL")

    assert (about["symbol"], about["type"], about["timezone"]) == ("AAPL", "stock", "America/New_York")
    assert (about["minimum_movement"], about["price_scale"], about["has_daily"]) == (1.0, 100.0, True)


def test_charts_are_described(reference: MarketReference) -> None:
    config = reference.chart_config()

    assert config["supports_search"] is True
    assert {"1", "1D", "100T"} <= set(config["resolutions"])  # type: ignore[call-overload]


def test_the_market_is_open_or_not(sim: Simulator, reference: MarketReference) -> None:
    before = reference.market_status()

    sim.set_market("closed")
    after = reference.market_status()

    assert (before["is_open"], before["session"], after["is_open"]) == (True, "regular", False)
    assert isinstance(after["ts"], pd.Timestamp)


def test_the_servers_clock_is_ours_here(reference: MarketReference) -> None:
    begun = time.monotonic()
    clock = reference.server_time()
    lasted = time.monotonic() - begun

    assert clock.ts.tzinfo is not None
    assert abs(clock.ahead_s) <= clock.within_s < 1 + lasted  # a second is a step of its clock


def test_a_server_that_is_well_says_so(reference: MarketReference) -> None:
    assert reference.is_healthy() is True


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_that_is_not_well_is_not_healthy(answering: Callable[..., MarketReference], status: int) -> None:
    assert answering(status).is_healthy() is False


def test_a_whole_chain_with_greeks_comes_over_many_pages(feed: Feed, reference: MarketReference) -> None:
    options = feed.options("AAPL")

    frame = reference.chain("AAPL")

    assert len(frame) > 3 * 250
    assert frame.index.is_unique
    assert sorted(set(frame["expiry"].dt.date)) == list(options.expiries)
    assert frame[["bid_price", "ask_price", "delta", "gamma", "theta", "vega"]].notna().all(axis=None)
    calls, puts = frame[frame["type"] == "call"], frame[frame["type"] == "put"]
    assert len(calls) == len(puts)
    assert calls["delta"].between(0, 1).all()
    assert puts["delta"].between(-1, 0).all()


def test_a_chain_is_filtered_by_day_type_and_strikes(feed: Feed, reference: MarketReference) -> None:
    options = feed.options("AAPL")
    listed = options.contracts(options.expiries[2])
    lowest, highest = listed["strike"].iloc[4], listed["strike"].iloc[-5]

    frame = reference.chain("AAPL", options.expiries[2], type="put", strikes=(lowest, highest))

    expected = listed[(listed["type"] == "put") & listed["strike"].between(lowest, highest)]
    assert list(frame.index) == list(expected.index)
    assert list(frame["strike"]) == list(expected["strike"])


def test_bars_of_trades_come_page_by_page_without_a_doubled_or_missing_one(
    feed: Feed, reference: MarketReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.trades("AAPL").wait(rows=300, timeout=60)

    with monkeypatch.context() as patch:
        patch.setattr(http_bars, "MOST_TICK_BARS", 7)
        paged = reference.tick_bars("AAPL", 5, 40)
    whole = reference.tick_bars("AAPL", 5, 5_000)

    assert len(paged) == 40
    start = whole.index.get_loc(paged.index[0])
    pd.testing.assert_frame_equal(whole.iloc[start : start + 39], paged.iloc[:39])  # the last one was still running


def test_bars_of_trades_are_fewer_where_there_are_no_more(feed: Feed, reference: MarketReference) -> None:
    feed.trades("AAPL").wait(rows=50, timeout=60)

    bars = reference.tick_bars("AAPL", 25, 100_000)
    none = reference.tick_bars("KO", 1000, 5)

    assert 2 <= len(bars) < 100_000
    assert bars.index.is_monotonic_increasing
    assert list(none.columns) == list(bars.columns)


def test_aggregates_come_over_many_pages_and_agree_with_the_bars(feed: Feed, reference: MarketReference) -> None:
    now = pd.Timestamp.now("UTC").floor("1min")
    start = now - pd.Timedelta("30D")

    frame = reference.aggregates("AAPL", "1min", start=start, end=now)

    assert len(frame) > 5_000
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique
    assert frame.index[0] >= start
    assert frame.index[-1] < now
    assert frame["average_price"].between(frame["low"], frame["high"]).all()
    assert (frame["trades"] >= 1).all()
    history = feed.bars("AAPL", "1min", history="5d").df
    common = frame.index.intersection(history.index[history["complete"]])[:-5]
    assert len(common) > 300
    columns = ["open", "high", "low", "close", "volume"]
    pd.testing.assert_frame_equal(frame.loc[common, columns], history.loc[common, columns], check_names=False)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda ask: ask.details(), "no symbol"),
        (lambda ask: ask.search("  "), "no text to search for"),
        (lambda ask: ask.search(5), "no text to search for"),
        (lambda ask: ask.search("\ud800"), "no text to search for.*Pass a symbol"),
        (lambda ask: ask.search_charts("A\ud800"), "no text to search for"),
        (lambda ask: ask.search("A", 101), "limit=101"),
        (lambda ask: ask.tick_bars("AAPL", 7), "no bars of 7 trades"),
        (lambda ask: ask.tick_bars("AAPL", count=0), "count=0"),
        (lambda ask: ask.aggregates("AAPL", "1s", start="2026-01-01"), "interval='1s'"),
        (lambda ask: ask.aggregates("AAPL", start="soon"), "start='soon' is no time"),
        (lambda ask: ask.aggregates("AAPL", start=20260101), "start=20260101 is no time"),
        (lambda ask: ask.aggregates("AAPL", start="2026-01-02", end="2026-01-01"), "not before the end"),
        (lambda ask: ask.chain("AAPL", "someday"), "expiry='someday'"),
        (lambda ask: ask.chain("AAPL", type="straddle"), "type='straddle'"),
        (lambda ask: ask.chain("AAPL", strikes=5), "strikes=5"),
        (lambda ask: ask.chain("AAPL", strikes=("a", None)), "no pair of prices"),
    ],
)
def test_a_call_that_cannot_work_is_refused_before_anything_is_asked(
    answering: Callable[..., MarketReference], call: Callable[[MarketReference], object], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        call(answering(500))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda ask: ask.instrument("NOPE"), r"refuses a lookup of 'NOPE'.*\(HTTP 404: [^{}\"]+\) \("),
        (lambda ask: ask.chain("NOPE"), r"refuses a lookup of options of 'NOPE'.*\(HTTP 404: no options of NOPE\)"),
        (lambda ask: ask.aggregates("NOPE", start="2026-11-16"), "refuses a lookup of bars of 'NOPE'"),
    ],
)
def test_what_the_server_does_not_know_is_told_in_its_words(
    reference: MarketReference, call: Callable[[MarketReference], object], match: str
) -> None:
    with pytest.raises(FeedError, match=match):
        call(reference)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [(200, b"[]", FeedError), (403, b"scope", UsageError), (401, b"", TokenError), (503, b"", ConnectError)],
)
def test_a_bad_answer_a_refusal_and_a_broken_server_are_told_apart(
    answering: Callable[..., MarketReference], status: int, body: bytes, error: type[FeedError]
) -> None:
    with pytest.raises(error) as caught:
        answering(status, body).market_status()

    assert type(caught.value) is error


def test_a_broker_that_tells_nothing_says_so(sim: Simulator) -> None:
    http = HttpClient("http" + sim.url.removeprefix("ws"), fixed_token("a token"))
    reference = MarketReference(http, None)

    with pytest.raises(UsageError, match="this broker has no lookup of tick bars"):
        reference.tick_bars("AAPL")

    http.close()
    assert repr(reference).endswith(": nothing>")


def test_a_closed_feed_is_not_asked(feed: Feed) -> None:
    reference = feed.reference
    feed.close()

    with pytest.raises(ClosedError):
        reference.market_status()
    with pytest.raises(ClosedError):
        _ = feed.reference


def test_frames_have_types_also_without_a_row(reference: MarketReference) -> None:
    found = reference.chain("AAPL", "2031-01-01")

    assert len(found) == 0
    assert (found["strike"].dtype, str(found["expiry"].dtype)) == (np.float64, "datetime64[us, UTC]")


def test_its_repr_names_what_there_is_to_call(reference: MarketReference) -> None:
    where, _, named = repr(reference).strip("<>").rpartition(": ")

    assert where.startswith("reference at http://127.0.0.1:")
    assert {"search_charts", "is_healthy", "tick_bars"} <= set(named.split(", "))
    assert [name for name in named.split(", ") if not callable(getattr(reference, name, None))] == []


def test_prices_that_are_not_there_are_missing_and_so_are_their_middle_and_spread(
    answering: Callable[..., MarketReference],
) -> None:
    quote = {"symbol": "A", "bidPrice": 0, "askPrice": 500, "midPrice": 250, "spread": 500, "lastPrice": 0}
    stub = {"symbol": "B", "bidPrice": 0.01, "askPrice": 199_999.99, "midPrice": 100_000, "lastPrice": 499}

    empty = {"symbol": "C", "bidPrice": 9, "bidSize": 0, "askPrice": 10, "midPrice": 9.5, "spread": 1, "lastPrice": 9}

    details = answering(200, json.dumps({"data": [quote, stub, empty]}).encode()).details("A", "B", "C")

    assert details[["mid_price", "spread"]].isna().all(axis=None)
    assert details["bid_price"].isna().tolist() == [True, False, True]
    assert details["last_price"].tolist() == pytest.approx([math.nan, 499, 9], nan_ok=True)
