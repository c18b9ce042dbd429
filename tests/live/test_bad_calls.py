"""Calls that cannot work: the right error, at once, with advice, and nothing kept."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import aries_nb as anb
from tests.live.alor_feeds import open_alor, serve_alor
from tests.live.selected import selected
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.sim import Simulator

__all__ = ["open_alor", "serve_alor"]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda feed: feed.quotes(), r"no symbol was given.*feed\.quotes\(\"AAPL\"\)"),
        (lambda feed: feed.quotes(["AAPL", "MSFT"]), r"is not a symbol.*Pass each as text"),
        (lambda feed: feed.quotes("  "), "is not a symbol"),
        (lambda feed: feed.quotes("A" * 65), "is not a symbol"),
        (lambda feed: feed.quotes("AA\x00PL"), "is not a symbol"),
        (lambda feed: feed.quotes("AA\ud800"), "is not a symbol"),
        (lambda feed: feed.quotes(5), "is not a symbol"),
        (lambda feed: feed.book(""), "is not a symbol"),
        (lambda feed: feed.quotes("AAPL", fields=["bid_prise"]), r"unknown field 'bid_prise'.*Did you mean bid_price"),
        (lambda feed: feed.quotes("AAPL", fields=["zzz"]), r"unknown field 'zzz'.*Known are: bid_price"),
        (lambda feed: feed.trades("AAPL", fields=["bid_price"]), "unknown field 'bid_price'"),
        (lambda feed: feed.quotes("AAPL", fields="bid_price"), r"is text.*fields=\['bid_price'\]"),
        (lambda feed: feed.quotes("AAPL", fields=[]), "names no field"),
        (lambda feed: feed.quotes("AAPL", window="15 parsecs"), r"is no span of time.*15min"),
        (lambda feed: feed.quotes("AAPL", window="0s"), "is no positive span"),
        (lambda feed: feed.quotes("AAPL", window="-5min"), "is no positive span"),
        (lambda feed: feed.quotes("AAPL", window=""), "no positive span"),
        (lambda feed: feed.quotes("AAPL", window=15), "has no unit"),
        (lambda feed: feed.quotes("AAPL", window="999999999 days"), "no span of time"),
        (lambda feed: feed.quotes("AAPL", window=object()), "no span of time"),
        (lambda feed: feed.quotes("AAPL", rows=0), r"rows=0 is no number of rows.*at least 1"),
        (lambda feed: feed.quotes("AAPL", rows=-1), "is no number of rows"),
        (lambda feed: feed.quotes("AAPL", rows=1.5), "is no number of rows"),
        (lambda feed: feed.quotes("AAPL", rows=True), "is no number of rows"),
        (lambda feed: feed.quotes("AAPL", rows=10**12), r"does not fit into memory.*at most 100,000,000"),
        (lambda feed: feed.quotes("AAPL", rows=5, window="1min"), r"both rows= and window=.*Choose one"),
        (lambda feed: feed.book("AAPL", depth=0), r"depth=0 is no number of levels.*1 to 1,000"),
        (lambda feed: feed.book("AAPL", depth=1001), "no number of levels"),
        (lambda feed: feed.book("AAPL", depth=2.0), "no number of levels"),
        (lambda feed: feed.book("AAPL", depth=True), "no number of levels"),
    ],
)
def test_a_call_that_cannot_work_is_a_usage_error(call: Any, match: str, feed: anb.Feed, sim: Simulator) -> None:
    with pytest.raises(anb.UsageError, match=match):
        call(feed)

    assert 0 == feed.stats().streams == sim.statistics().subscribe_requests


def test_usage_errors_are_value_errors(feed: anb.Feed) -> None:
    with pytest.raises(ValueError, match="depth"):
        feed.book("AAPL", depth=0)


def test_number_to_wait_for_is_a_whole_number_above_0(feed: anb.Feed) -> None:
    quotes, account = feed.quotes("AAPL"), feed.account("ACC-1")
    counted = {
        "rows": [quotes],
        "updates": [feed.book("AAPL")],
        "bars": [feed.bars("AAPL", "1min")],
        "changes": [account.positions, account.orders],
        "fills": [account.fills],
        "moments": [account.equity],
        "firings": [quotes.alert("mid > 0")],
    }

    for name, objects in counted.items():
        for live in objects:
            for wrong in ("5", None, float("nan"), -5, 0, 1.5, True):
                with pytest.raises(anb.UsageError, match=f"{name}=.* is no number of {name}.*at least 1"):
                    live.wait(**{name: wrong}, timeout=0.01)
                with pytest.raises(anb.UsageError, match=f"{name}=.* is no number of {name}"):
                    asyncio.run(live.until(**{name: wrong}, timeout=0.01))


@pytest.mark.parametrize("kind", ["quotes", "trades", "book"])
def test_an_unknown_symbol_is_refused_at_once_with_what_the_server_says(kind: str, feed: anb.Feed) -> None:
    with pytest.raises(anb.UnknownSymbolError, match=r"'NOPE'.*server says: unknown symbol.*spelling") as caught:
        getattr(feed, kind)("NOPE")

    assert caught.value.symbols == ("NOPE",)
    assert (feed.state, feed.stats().streams) == ("live", 0)


def test_a_spelling_is_refused_whatever_is_open_and_no_right_symbol_with_it(feed: anb.Feed) -> None:
    answers = []
    for _ in ("fresh", "with AAPL open"):
        for symbols in (("aapl",), ("AAPL", "aapl"), ("aapl", "AAPL")):
            for ask in (feed.quotes, feed.trades):
                with pytest.raises(anb.UnknownSymbolError) as caught:
                    ask(*symbols)
                answers.append(caught.value.symbols)
        quotes = feed.quotes("AAPL").wait()

    assert set(answers) == {("aapl",)}
    assert quotes.wait(rows=quotes.received + 5).is_live
    assert feed.stats().streams == 1


def test_of_a_call_with_good_and_bad_symbols_nothing_is_kept(feed: anb.Feed, sim: Simulator) -> None:
    kept = feed.quotes("MSFT", fields=["bid_price"])
    before = selected(sim)

    with pytest.raises(anb.UnknownSymbolError) as caught:
        feed.quotes("AAPL", "NOPE", "MSFT", "NADA")

    assert tuple(sorted(caught.value.symbols)) == ("NADA", "NOPE")
    eventually(lambda: selected(sim) == before)
    assert feed.stats().streams == 1
    kept.wait(rows=kept.received + 20)


def test_a_symbol_refused_once_can_be_asked_for_again(feed: anb.Feed) -> None:
    for _ in range(2):
        with pytest.raises(anb.UnknownSymbolError):
            feed.book("NOPE")

    assert feed.stats().streams == 0


def test_a_symbol_asked_for_twice_is_one(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL", " AAPL ", "AAPL")

    assert quotes.symbols == ("AAPL",)
    assert feed.stats().streams == 1


def test_an_unknown_broker_is_named_with_those_known() -> None:
    for wrong in ("arise", "", None, 5):
        with pytest.raises(anb.UsageError, match=r"unknown broker.*Known are: aries, "):
            anb.connect(wrong)  # type: ignore[arg-type]


def test_options_of_the_simulated_market_are_for_it_alone(sim: Simulator) -> None:
    with pytest.raises(anb.UsageError, match=r"rate= is for the embedded simulated market"):
        anb.connect("aries", url=sim.url, token="a token", rate=5)
    with pytest.raises(anb.UsageError, match=r"unknown option sede=.*seed, rate, tape, speed"):
        anb.connect("sim", sede=5)


def test_an_address_that_cannot_be_is_refused_before_anything_is_sent() -> None:
    for wrong in ("ws://192.0.2.1:80", "https://127.0.0.1", "wss://user:pass@127.0.0.1"):
        with pytest.raises(anb.UsageError, match=r"Use wss|Give it as|Pass a token"):
            anb.connect("aries", url=wrong, token="a token")


def test_no_token_is_said_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch, sim: Simulator) -> None:
    monkeypatch.delenv("ARIES_NB_TOKEN", raising=False)

    with pytest.raises(anb.TokenError, match="ARIES_NB_TOKEN"):
        anb.connect("aries", url=sim.url)
    with pytest.raises(anb.TokenError, match="blank"):
        anb.connect("aries", url=sim.url, token=" ")

    assert sim.statistics().connections_total == 0


def test_an_address_that_does_not_answer_is_a_connect_error() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(anb.ConnectError, match="cannot connect"):
            anb.connect("aries", url=url, token="a token")
        deaf.listen()
        with pytest.raises(anb.ConnectError, match=r"no session.*after 0\.2 s"):
            anb.connect("aries", url=url, token="a token", timeout=0.2)


def test_after_a_failed_connect_the_same_call_works_once_the_cause_is_gone(sim: Simulator) -> None:
    tokens = iter([" ", "a token"])

    def fetch() -> str:
        return next(tokens)

    with pytest.raises(anb.TokenError):
        anb.connect("aries", url=sim.url, token=fetch)
    with anb.connect("aries", url=sim.url, token=fetch) as feed:
        assert feed.state == "live"


def test_a_chart_of_what_is_not_there_is_refused(feed: anb.Feed) -> None:
    quotes = feed.quotes("AAPL")

    with pytest.raises(anb.UsageError, match=r"'price' is no number column.*bid_price"):
        quotes.chart("price")
    with pytest.raises(anb.UsageError, match=r"'MSFT' is not in this frame.*AAPL"):
        quotes.chart(symbols=["MSFT"])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda feed: feed.account("ACC-1").pnl("1min", start=object()), "is no time"),
        (lambda feed: feed.account("ACC-1").pnl("1min", start="\ud800"), "is no time"),
        (lambda feed: feed.account("ACC-1").pnl(object()), "no length of a candle.*15s, 1m"),
        (lambda feed: feed.account("ACC-1").pnl("\ud800"), "no length of a candle"),
        (lambda feed: feed.account("ACC-1").pnl("2m"), "no length of a candle"),
        (lambda feed: feed.account("\ud800").positions, "is no account"),
        (lambda feed: feed.news(topics=["\ud800"]), "no topic of news"),
        (lambda feed: feed.news(topics=5), "no list of topics"),
        # Past the checks: the protocol itself keeps nothing that it cannot say.
        (lambda feed: feed._accounts.link.table("positions", "\ud800"), "cannot be sent"),
        (lambda feed: feed._accounts.link.table("pnl", "ACC-1", options=(("start", object()),)), "cannot be sent"),
    ],
)
def test_a_call_that_no_frame_can_hold_is_refused_and_the_next_reconnect_goes_well(
    call: Any, match: str, feed: anb.Feed, sim: Simulator
) -> None:
    balances = feed.account("ACC-1").balances.wait()
    before = feed.stats().streams

    with pytest.raises(anb.UsageError, match=match):
        call(feed)
    eventually(lambda: feed.stats().streams == before)
    sim.drop_connections()

    eventually(lambda: feed.stats().reconnects == 2 and feed.state == "live")
    assert balances.is_live


@pytest.mark.parametrize(
    "call",
    [
        lambda feed: feed._accounts.link.table("positions", "\ud800"),
        lambda feed: feed._accounts.link.table("positions", "D00001", options=(("start", object()),)),
    ],
)
def test_what_no_frame_can_hold_is_refused_at_alor_too(
    call: Any, serve_alor: Callable[..., Simulator], open_alor: Callable[..., anb.Feed]
) -> None:
    sim = serve_alor(rate=100)
    feed = open_alor(sim)
    balances = feed.account("D00001").balances.wait()
    before = feed.stats().streams

    with pytest.raises(anb.UsageError, match="cannot be sent"):
        call(feed)
    streams = feed.stats().streams
    sim.drop_connections()

    eventually(lambda: feed.stats().reconnects == 2 and feed.state == "live")
    assert streams == before
    assert balances.is_live


def test_candles_can_be_asked_for_from_a_timestamp(feed: anb.Feed) -> None:
    account = feed.account("ACC-1")
    start = pd.Timestamp.now("UTC").floor("1h")

    candles = account.pnl("1min", start=start).wait()

    assert candles.df.index.get_level_values("start").min() == start
    assert account.pnl("1min", start=start.isoformat()) is candles


def test_one_topic_of_news_may_be_a_text(feed: anb.Feed) -> None:
    assert feed.news(topics="earnings") is feed.news(topics=["earnings"])
