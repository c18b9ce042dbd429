"""Options as a user holds them, against the simulated market's own Black-Scholes."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from aries_nb.brokers import BROKERS
from aries_nb.errors import (
    ClosedError,
    ConnectError,
    FeedError,
    TokenError,
    UnknownSymbolError,
    UsageError,
    WaitTimeoutError,
)
from aries_nb.live.connection import Link
from aries_nb.live.market import options as live_options
from aries_nb.live.market.options import Options
from aries_nb.live.waiting import wait_for
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.http_client import HttpClient
from aries_nb.store import GapLog
from tests.net.http_server import HttpServer, Reply
from tests.net.rude import RudeServer, answer_pings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from websockets.asyncio.server import ServerConnection

    from aries_nb.live import Feed
    from aries_nb.live.market.options import OptionChain
    from aries_nb.sim import Simulator

COLUMNS = [
    *("type", "strike", "bid_price", "bid_size", "ask_price", "ask_size", "last_price"),
    *("implied_volatility", "delta", "gamma", "theta", "vega", "rho", "ts", "received"),
]


@pytest.fixture
def expiry(feed: Feed) -> date:
    return feed.options("MSFT").expiries[3]


@pytest.fixture
def chain(feed: Feed, expiry: date) -> OptionChain:
    return feed.options("MSFT", expiry).wait(timeout=60)


def test_expiries_are_days_the_nearest_first(feed: Feed) -> None:
    options = feed.options("MSFT")

    assert len(options.expiries) > 8
    assert all(isinstance(day, date) for day in options.expiries)
    assert list(options.expiries) == sorted(options.expiries)
    assert repr(options).startswith("<options of MSFT: ")


def test_asking_for_expiries_subscribes_to_nothing(feed: Feed) -> None:
    _ = feed.options("MSFT").expiries

    assert feed.stats().streams == 0


def test_a_chain_is_one_row_a_contract_by_strike_with_the_call_before_the_put(chain: OptionChain) -> None:
    frame = chain.chain

    assert list(frame.columns) == COLUMNS
    assert frame.index.name == "symbol"
    assert frame.index.is_unique
    assert list(frame["type"]) == ["call", "put"] * 21
    assert frame["strike"].is_monotonic_increasing
    assert str(frame["ts"].dtype) == "datetime64[us, UTC]"
    assert (frame["strike"].dtype, frame["delta"].dtype) == (np.float64, np.float64)


def test_symbols_name_their_type_and_strike(chain: OptionChain) -> None:
    frame = chain.chain

    for symbol, row in frame.iterrows():
        assert str(symbol)[-9] == row["type"][0].upper()
        assert int(str(symbol)[-8:]) == row["strike"] * 1000


def test_greeks_are_those_of_calls_and_puts(chain: OptionChain) -> None:
    frame = chain.chain

    calls, puts = (frame[frame["type"] == kind].set_index("strike") for kind in ("call", "put"))
    assert calls["delta"].between(0, 1).all()
    assert puts["delta"].between(-1, 0).all()
    assert calls["delta"].is_monotonic_decreasing
    assert calls["delta"].iloc[0] > 0.5 > calls["delta"].iloc[-1]
    # One is dearer by a forward on the share, whose delta is 1; the two may be from different moments.
    assert np.allclose(calls["delta"] - puts["delta"], 1, atol=0.05)
    assert (frame[["gamma", "vega", "implied_volatility"]] > 0).all(axis=None)
    assert (calls["rho"] > 0).all()
    assert (puts["rho"] < 0).all()


def test_prices_are_those_of_a_market(chain: OptionChain) -> None:
    frame = chain.chain

    assert (frame["bid_price"] <= frame["ask_price"]).all()
    call, put = frame.iloc[0], frame.iloc[-1]
    assert call["ask_price"] > max(chain.spot - call["strike"], 0) * 0.9
    assert put["ask_price"] > max(put["strike"] - chain.spot, 0) * 0.9


def test_the_strikes_lie_around_the_price_of_the_underlying(feed: Feed, expiry: date) -> None:
    narrow = feed.options("MSFT", expiry, strikes=2)

    strikes = sorted({strike for _, _, strike in narrow._source.contracts})
    assert len(strikes) == 5
    assert len(narrow) == len(narrow.chain) == 10
    assert strikes[1] < narrow.spot < strikes[3]


def test_a_whole_chain_can_be_had(feed: Feed, expiry: date) -> None:
    whole = feed.options("MSFT", expiry, strikes=None).wait()

    assert len(whole) > 60
    assert whole.chain["delta"].notna().all()


def test_a_chain_goes_on(feed: Feed, chain: OptionChain) -> None:
    before = chain.chain

    chain.quotes.wait(rows=chain.quotes.received + 300, timeout=60)

    assert (chain.chain["received"] >= before["received"]).all()
    assert (chain.chain["received"] > before["received"]).any()


def test_an_expiry_may_be_written_as_text_or_timestamp_and_is_the_same_chain(
    feed: Feed, chain: OptionChain, expiry: date
) -> None:
    assert feed.options("MSFT", f" {expiry} ") is chain
    assert feed.options("MSFT", pd.Timestamp(expiry)) is chain
    assert feed.options("MSFT", expiry, strikes=3) is not chain


def test_an_expiry_not_listed_is_refused_with_the_nearest_before_anything_is_subscribed(
    feed: Feed, expiry: date
) -> None:
    wrong = expiry + timedelta(days=1)

    with pytest.raises(UsageError, match=rf"no options of 'MSFT' expire on {wrong}.*The nearest:.* {expiry}"):
        feed.options("MSFT", wrong)

    assert feed.stats().streams == 0


@pytest.mark.parametrize("symbol", ["NOPE", "SPX", "../x", "<b>"])
def test_an_underlying_without_options_is_refused_before_anything_is_subscribed(feed: Feed, symbol: str) -> None:
    with pytest.raises(UsageError, match="no options of"):
        feed.options(symbol, "2026-12-18")

    assert feed.stats().streams == 0


@pytest.mark.parametrize("expiry", ["", "soon", "2026-13-01", 20261218, 1.5, pd.NaT])
def test_an_expiry_that_is_no_day_is_refused(feed: Feed, expiry: object) -> None:
    with pytest.raises(UsageError, match="is no expiry"):
        feed.options("MSFT", expiry)  # type: ignore[call-overload]


@pytest.mark.parametrize("strikes", [0, -1, True, 2.5, "10"])
def test_a_number_of_strikes_that_is_none_is_refused(feed: Feed, strikes: object) -> None:
    with pytest.raises(UsageError, match="is no number of strikes"):
        feed.options("MSFT", "2026-12-18", strikes=strikes)  # type: ignore[call-overload]


def test_closing_a_chain_ends_its_streams_and_leaves_what_has_come(feed: Feed, chain: OptionChain) -> None:
    before = feed.stats().streams

    chain.close()
    chain.close()

    feed.quotes("AAPL").wait()  # what was given up before is given up now
    assert before == 43
    assert feed.stats().streams <= 1
    assert len(chain.chain) == 42
    assert not chain.is_open
    with pytest.raises(ClosedError):
        chain._wait(len(chain) + 1, "contracts", timeout=5, what="more")


def test_a_closed_chain_is_made_anew(feed: Feed, chain: OptionChain, expiry: date) -> None:
    chain.close()

    again = feed.options("MSFT", expiry)

    assert again is not chain
    assert again.is_open


def test_a_forgotten_chain_gives_its_streams_up(feed: Feed, expiry: date) -> None:
    chain = feed.options("MSFT", expiry, strikes=1)
    assert feed.stats().streams == 7

    del chain
    feed.quotes("AAPL").wait()

    assert feed.stats().streams <= 1


def test_who_keeps_only_the_quotes_of_a_chain_keeps_their_stream(feed: Feed, expiry: date) -> None:
    quotes = feed.options("MSFT", expiry, strikes=1).quotes

    quotes.wait(rows=quotes.received + 50, timeout=60)

    assert quotes.is_live
    assert len(quotes.latest) == 6


def test_a_closed_feed_closes_its_chains(feed: Feed, chain: OptionChain) -> None:
    feed.close()

    assert not chain.is_open
    assert "closed" in repr(chain)
    with pytest.raises(ClosedError):
        feed.options("MSFT")


def test_waiting_says_what_did_not_come(feed: Feed, chain: OptionChain) -> None:
    with pytest.raises(UsageError, match="from 1 to 42"):
        chain.wait(contracts=43)
    with pytest.raises(WaitTimeoutError, match=r"more of options of MSFT"):
        chain._wait(43, "contracts", timeout=0.1, what=f"more of {chain._name}")


@pytest.mark.parametrize("seconds", [5.0, 0.0], ids=["at once", "after the call"])
def test_of_a_chain_with_refused_contracts_the_others_are_there(
    feed: Feed, expiry: date, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    listed = feed.options("MSFT").contracts(expiry)
    unknown = listed.iloc[[0]].set_axis(["MSFT991231C00500000"]).assign(strike=listed["strike"].median())
    monkeypatch.setattr(Options, "contracts", lambda *_: pd.concat([listed, unknown]))
    monkeypatch.setattr("aries_nb.live.connection.ANSWER_SECONDS", seconds)

    chain = feed.options("MSFT", expiry, strikes=2).wait(timeout=60)

    known = chain.df.drop(index=list(unknown.index), errors="ignore")
    assert list(chain.refused) == list(unknown.index)
    assert (len(known), int(known["delta"].notna().sum())) == (10, 10)
    assert "1 refused" in repr(chain)
    assert chain.chart() is not None


def test_a_chain_of_refused_contracts_alone_is_refused(
    feed: Feed, expiry: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = pd.DataFrame(
        {"type": ["call"], "strike": [500.0]}, index=pd.Index(["MSFT991231C00500000"], name="symbol")
    )
    monkeypatch.setattr(Options, "contracts", lambda *_: unknown)

    with pytest.raises(UnknownSymbolError, match="MSFT991231C00500000"):
        feed.options("MSFT", expiry)
    monkeypatch.setattr("aries_nb.live.connection.ANSWER_SECONDS", 0.0)
    with pytest.raises(UnknownSymbolError, match="MSFT991231C00500000"):
        feed.options("MSFT", expiry).wait(timeout=60)


def test_async_code_waits_for_a_chain_too(feed: Feed, expiry: date) -> None:
    chain = feed.options("MSFT", expiry, strikes=1)

    assert asyncio.run(chain.until(contracts=3, timeout=60)) is chain


def test_after_a_break_the_chain_is_whole_again(sim: Simulator, chain: OptionChain) -> None:
    seen = chain.chain["received"].max()

    sim.drop_connections()
    chain.quotes.wait(rows=chain.quotes.received + 200, timeout=60)

    assert (chain.chain["received"] > seen).all()


def test_a_quiet_market_gives_a_chain_from_its_snapshots(
    serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    feed = open_feed(serve(rate=1))
    expiry = feed.options("AAPL").expiries[0]

    chain = feed.options("AAPL", expiry).wait(timeout=60)

    assert chain.chain[["bid_price", "ask_price", "delta"]].notna().all(axis=None)


def test_the_same_chain_again_asks_the_broker_nothing(
    feed: Feed, chain: OptionChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed._link, "ask", lambda query, timeout: pytest.fail(f"asked for {query.path}"))
    monkeypatch.setattr(feed._http, "get", lambda path, params: pytest.fail(f"asked for {path}"))

    assert feed.options("MSFT", chain.expiry) is chain
    assert feed.options("MSFT", str(chain.expiry)) is chain


def test_in_a_cell_a_chain_is_a_table_of_strikes(chain: OptionChain) -> None:
    bundle = chain._repr_mimebundle_()

    assert isinstance(bundle, dict)
    assert f"MSFT {chain.expiry}" in bundle["text/html"]
    assert "Strike" in bundle["text/html"]
    assert len(bundle["text/html"].split("<tr>")) == 1 + 1 + 21


def test_options_are_asked_for_on_the_live_connection(feed: Feed) -> None:
    with HttpServer(lambda _: Reply(500)) as server:
        http = HttpClient(server.url, fixed_token("a token"), pause=lambda seconds: False)

        options = Options(http, BROKERS["aries"], "MSFT", link=feed._link)
        contracts = options.contracts(options.expiries[0])

        http.close()
        assert server.asked == []
    assert options.expiries == Options(feed._http, BROKERS["aries"], "MSFT").expiries
    assert len(contracts) > 20
    assert feed.stats().streams == 0


def test_what_the_live_connection_refuses_is_asked_over_http(feed: Feed) -> None:
    with HttpServer(lambda _: Reply(body=b'{"expiryDates": ["2026-12-18"]}')) as server:
        http = HttpClient(server.url, fixed_token("a token"), pause=lambda seconds: False)

        options = Options(http, BROKERS["aries"], "NOPE", link=feed._link)

        http.close()
    assert options.expiries == (date(2026, 12, 18),)
    with pytest.raises(UsageError, match=r"the server refuses /v1/options/NOPE/expiry-dates: no options of NOPE"):
        feed._link.ask(BROKERS["aries"].options.expiries("NOPE"), 5.0)
    assert not feed._link._pool.sessions[0].rejected


def test_while_the_connection_is_down_options_are_asked_for_over_http(
    serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    sim = serve(rate=10)
    feed = open_feed(sim, rule=BackoffRule(first=60.0, cap=60.0, cap_after_live=60.0))
    sim.drop_connections()
    wait_for(lambda: feed.state == "reconnecting", (feed._link.watch,), timeout=60, what="the break")

    options = feed.options("MSFT")

    assert len(options.expiries) > 8
    assert feed.state == "reconnecting"


def test_a_connection_that_does_not_answer_is_not_waited_for_twice(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_options, "ASK_SECONDS", 0.2)

    async def ignore_requests(server: RudeServer, connection: ServerConnection) -> None:
        await server.log_in(connection)
        await answer_pings(connection)

    with RudeServer(ignore_requests) as server:
        link = Link(BROKERS["aries"].market, server.url, fixed_token("a token"), GapLog().stream("market"))
        link.wait_open(30)

        options = Options(feed._http, BROKERS["aries"], "MSFT", link=link)

        link.close()
    assert options._link is None
    assert len(options.expiries) > 8
    assert link.statistics().streams == 0


@pytest.fixture
def ask() -> Iterator[Callable[[Reply], Options]]:
    """Ask for the options of MSFT where a server answers everything alike."""
    with ExitStack() as stack:

        def begin(reply: Reply) -> Options:
            server = stack.enter_context(HttpServer(lambda _: reply))
            http = HttpClient(server.url, fixed_token("a token"), pause=lambda seconds: False)
            stack.callback(http.close)
            return Options(http, BROKERS["aries"], "MSFT")

        yield begin


@pytest.mark.parametrize("body", [b"no JSON", b"{}", b'{"expiryDates": 7}'])
def test_an_answer_that_cannot_be_read_says_whose_and_where(ask: Callable[[Reply], Options], body: bytes) -> None:
    with pytest.raises(FeedError, match=r"the options of 'MSFT' cannot be parsed: the answer .*expiry-dates"):
        ask(Reply(body=body))


def test_an_underlying_with_an_empty_list_has_no_options(ask: Callable[[Reply], Options]) -> None:
    with pytest.raises(UsageError, match="no options of 'MSFT' are listed"):
        ask(Reply(body=b'{"expiryDates": []}'))


def test_an_expiry_without_a_single_contract_is_refused(ask: Callable[[Reply], Options]) -> None:
    options = ask(Reply(body=b'{"expiryDates": ["2026-12-18"], "calls": [], "puts": null}'))

    with pytest.raises(UsageError, match="no options of 'MSFT' on 2026-12-18"):
        options.contracts(date(2026, 12, 18))


@pytest.mark.parametrize(("status", "error"), [(403, UsageError), (401, TokenError), (503, ConnectError)])
def test_a_refusal_is_told_apart_from_a_broken_server_and_a_refused_token(
    ask: Callable[[Reply], Options], status: int, error: type[FeedError]
) -> None:
    with pytest.raises(error) as caught:
        ask(Reply(status, b"because"))

    assert type(caught.value) is error
    assert f"HTTP {status}: because" in str(caught.value)
