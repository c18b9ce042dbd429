"""Rows of docs/aries.md that no other test meets: one feed asks for everything, and all that is said is kept."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.oauth import oauth_login
from aries_nb.net.auth.token_endpoint import OAuthEndpoints
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.sim import SimOptions, Simulator
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd

    from aries_nb.brokers import BrokerProtocol, Endpoint
    from aries_nb.model import Received


class Tapped:
    """A protocol as it is, with every message that goes through it written down."""

    def __init__(self, protocol: BrokerProtocol, talk: Talk) -> None:
        self._protocol = protocol
        self._talk = talk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)

    def receive(self, frames: Sequence[bytes], received: int) -> Received:
        for frame in frames:
            lines = [json.loads(line) for line in frame.split(b"\n") if line.strip()]
            self._talk.frames.append(len(lines))
            self._talk.heard += lines
        return self._protocol.receive(frames, received)

    def outgoing(self) -> Sequence[str]:
        frames = self._protocol.outgoing()
        self._talk.said += map(json.loads, frames)
        return frames


class Talk:
    """What was said on one endpoint, both ways."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.heard: list[dict[str, Any]] = []
        self.frames: list[int] = []  # messages in each

    def tap(self, endpoint: Endpoint) -> Endpoint:
        make = endpoint.make
        return replace(endpoint, make=lambda: Tapped(make(), self))

    def sent(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in list(self.said) if message["type"] == kind]

    def payloads(self, **wanted: object) -> list[dict[str, Any]]:
        """The received payloads that have these values."""
        found = [message.get("payload") or {} for message in list(self.heard)]
        return [each for each in found if all(each.get(name) == value for name, value in wanted.items())]

    def answers(self, request: str) -> list[dict[str, Any]]:
        return [message for message in list(self.heard) if message.get("id") == request]


class Everything:
    """One feed that has asked for whatever there is, and what was said on its three endpoints."""

    def __init__(self, sim: Simulator, feed: Feed, talks: dict[str, Talk]) -> None:
        self.sim = sim
        self.feed = feed
        self.market, self.charts, self.accounts = (talks[name] for name in ("market", "charts", "accounts"))
        self.talks = talks
        options = feed.options("AAPL")
        self.contract = str(options.contracts(options.expiries[0]).index[0])
        self.quotes = feed.quotes("AAPL", fields=["bid_price", "last_price", "spread"])
        self.greeks = feed.quotes(self.contract, fields=["delta", "bid_price"])
        self.trades = feed.trades("AAPL")
        self.book = feed.book("AAPL")
        self.charted = feed.quotes("MSFT", endpoint="charts")
        self.account = feed.account("ACC-1")
        self.tables = [getattr(self.account, name) for name in ("orders", "positions", "balances", "info")]
        self.tables += [self.account.pnl("1min"), feed.watchlists, feed.news()]

    def unreadable(self) -> list[tuple[str, str]]:
        """The received messages that could not be parsed."""
        return [each for link in self.feed._links() for each in link.unreadable]

    def items(self) -> dict[str, dict[str, Any]]:
        """What was asked for of each symbol on the market endpoint, all requests together."""
        items: dict[str, dict[str, Any]] = {}
        for request in self.market.sent("subscribe"):
            for item in request["payload"]:
                items.setdefault(item["symbol"], {}).update(item)
        return items


@pytest.fixture(scope="module")
def everything() -> Iterator[Everything]:
    talks = {name: Talk() for name in ("market", "charts", "accounts")}
    broker = BROKERS["aries"]
    tapped = replace(
        broker,
        market=talks["market"].tap(broker.market),
        sources={"charts": talks["charts"].tap(broker.sources["charts"])},
        accounts=talks["accounts"].tap(broker.accounts),
    )
    options = SimOptions(rate=2000, orders_per_s=10.0, flush_seconds=0.01, ack_subscribes=True)
    rule = BackoffRule(first=0.01, cap=0.05, cap_after_live=0.05)
    with (
        Simulator(options) as sim,
        Feed(tapped, sim.url, fixed_token("a token"), at_close=lambda closed: None, rule=rule) as feed,
    ):
        feed.wait_open(30)
        sim._call(lambda: setattr(sim._server.accounts._newsroom, "_wait", 0.0))  # a headline is due now
        yield Everything(sim, feed, talks)


ENDPOINTS = pytest.mark.parametrize("endpoint", ["market", "charts", "accounts"])


# Sessions.


def test_every_message_of_a_frame_that_holds_several_is_read(everything: Everything) -> None:
    everything.quotes.wait(rows=200, timeout=60)

    talks = everything.talks.values()
    assert max(everything.market.frames) > 1
    eventually(lambda: everything.feed.stats().messages == sum(len(talk.heard) for talk in talks))
    assert everything.unreadable() == []


@ENDPOINTS
def test_the_token_goes_first_and_opens_the_session(everything: Everything, endpoint: str) -> None:
    talk = everything.talks[endpoint]

    first = talk.said[0]

    wanted = {"method": "post", "path": "/auth", "body": {"action": "auth", "token": "a token"}}
    assert (first["type"], first["payload"]) == ("request", wanted)
    assert [each["id"] for each in talk.payloads(action="authSuccess")] == [first["id"]]
    assert everything.sim.statistics().auths == 3


@ENDPOINTS
def test_every_ping_is_answered_with_its_own_pong(everything: Everything, endpoint: str) -> None:
    talk = everything.talks[endpoint]
    pings = [ping["id"] for ping in talk.sent("ping")]

    eventually(lambda: all(talk.answers(ping) for ping in pings))

    assert pings
    assert {message["type"] for ping in pings for message in talk.answers(ping)} == {"pong"}


@pytest.mark.parametrize("action", ["authRequired", "authTimeout", "authExpired"])
def test_a_session_that_the_server_calls_ended_is_opened_anew(
    action: str, serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    sim = serve(rate=2000)
    feed = open_feed(sim)
    quotes = feed.quotes("AAPL").wait()

    sim.broadcast(json.dumps({"type": "event", "payload": {"action": action, "error": "it is over"}}))
    eventually(lambda: feed.stats().reconnects == 1 and quotes.is_live)

    assert list(feed.gaps.df["reason"]) == [f"{action}: it is over"]
    assert sim.statistics().auths == 2


def test_without_a_warning_the_session_is_renewed_before_it_ends(
    serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    sim = serve(session_seconds=4.0, warn_seconds=0.0)  # of which a second is left: a busy machine takes its time
    feed = open_feed(sim)

    eventually(lambda: feed.stats().renewals >= 1)

    assert (feed.state, len(feed.gaps), sim.statistics().connections_total) == ("live", 0, 1)


def test_a_bare_confirmation_says_nothing(everything: Everything) -> None:
    (first, *_) = everything.market.sent("subscribe")

    eventually(lambda: everything.market.answers(first["id"]))

    (answer,) = everything.market.answers(first["id"])
    assert (answer["type"], answer["payload"]["status"]) == ("response", 200)
    assert everything.unreadable() == []


# The market.


def test_each_kind_is_asked_for_by_its_own_option_and_comes(everything: Everything) -> None:
    items = everything.items()
    share, option = items["AAPL"], items[everything.contract]

    everything.greeks.wait()
    everything.trades.wait()
    eventually(lambda: len(everything.book.df))

    assert {"quoteFields", "tradeFields", "timeAndSalesFields"} <= share.keys()
    assert (share["level2"], share["timeAndSales"]) == (True, True)
    assert "greeksFields" in option
    assert option["symbolType"] == "option"
    heard = {each.get("type") for each in everything.market.payloads(action="update")}
    assert {"quote", "trade", "timeAndSales", "level2", "greeks", "marketStatus"} <= heard


def test_what_is_said_of_the_market_is_shown_as_flags_and_texts(everything: Everything) -> None:
    sim, feed = everything.sim, everything.feed

    sim.set_market("open", after_hours=True)
    eventually(lambda: feed.market_status.get("after_hours") is True)
    sim.set_market("open")
    eventually(lambda: feed.market_status["after_hours"] is False)

    assert feed.market_status["market"] == feed.market_status["exchanges.nyse"] == "open"
    assert "server_time" in feed.market_status


@pytest.mark.parametrize("action", ["update", "snapshot"])
def test_a_snapshot_is_read_as_an_update_is(
    action: str, serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    sim = serve(rate=2000)
    quotes = open_feed(sim).quotes("AAPL", fields=["bid_price"]).wait()
    sim.set_market("closed")

    ms = round(time.time() * 1_000)
    data = {"bidPrice": 12345.5, "quoteTimestamp": ms}
    sim.broadcast(
        json.dumps({"type": "event", "payload": {"action": action, "type": "quote", "symbol": "AAPL", "data": data}})
    )

    eventually(lambda: quotes.latest.loc["AAPL", "bid_price"] == 12345.5)
    assert quotes.df[quotes.df["bid_price"] == 12345.5].index[-1].timestamp() == ms / 1_000


# Charts.


def test_a_quote_that_is_an_error_refuses_its_symbol(
    serve: Callable[..., Simulator], open_feed: Callable[..., Feed]
) -> None:
    sim = serve(rate=2000)
    feed = open_feed(sim)
    quotes = feed.quotes("AAPL", endpoint="charts").wait()

    row = {"s": "error", "n": "AAPL", "errmsg": "it is listed no more"}
    sim.broadcast(json.dumps({"type": "event", "payload": {"symbol": "AAPL", "data": row}}))

    eventually(lambda: quotes._source.board().rejected == {"AAPL": "refused"})
    assert feed.stats().last_error == "it is listed no more"


# Accounts.


def test_each_table_is_asked_for_by_its_topic_and_answered(everything: Everything) -> None:
    talk = everything.accounts
    asked = {request["payload"]["topic"]: request for request in talk.sent("subscribe")}

    for table in everything.tables:
        table.wait(timeout=60)

    assert asked.keys() == {"account", "pnl", "watchlist", "news"}
    assert asked["account"]["payload"]["params"] == {"accountId": "ACC-1"}
    assert asked["pnl"]["payload"]["params"]["interval"] == "1m"
    for request in asked.values():
        assert {message["type"] for message in talk.answers(request["id"])} == {"subscribed"}


def test_a_topic_that_nobody_holds_any_more_is_given_up(everything: Everything) -> None:
    talk = everything.accounts
    orders = everything.feed.account("ACC-2").orders.wait()

    orders.close()

    eventually(lambda: talk.sent("unsubscribe"))
    (request,) = talk.sent("unsubscribe")
    assert request["payload"] == {"topic": "account", "params": {"accountId": "ACC-2"}}


def test_the_objects_of_an_account_come_by_their_names(everything: Everything) -> None:
    names = {"account.order", "account.position", "account.balance"}

    eventually(lambda: names <= {each.get("name") for each in everything.accounts.payloads(topic="account")})

    orders, positions, balances, _ = everything.tables[:4]
    assert all(len(table.rows()) >= 1 for table in (orders, positions, balances))


def test_what_kind_of_account_it_is_comes_too(everything: Everything) -> None:
    info = everything.account.info.wait().df

    assert list(info.index) == ["ACC-1"]
    assert (info["trading_account_id"].iloc[0], info["is_sim"].iloc[0]) == ("ACC-1", "true")


def test_an_order_that_has_no_price_shows_none(everything: Everything) -> None:
    orders = everything.account.orders
    is_there = lambda: {"MARKET", "LIMIT"} <= set(orders.df["type"])  # noqa: E731

    eventually(is_there)

    frame: pd.DataFrame = orders.df
    market, limit = frame[frame["type"] == "MARKET"], frame[frame["type"] == "LIMIT"]
    assert market[["price", "stop_price"]].isna().all(axis=None)
    assert (limit["price"] > 0).all()
    assert limit["stop_price"].isna().all()


def test_legs_of_an_order_are_kept(serve: Callable[..., Simulator], open_feed: Callable[..., Feed]) -> None:
    sim = serve(orders_per_s=0.0)
    orders = open_feed(sim).account("ACC-1").orders
    legs = [{"symbol": "AAPL261218C00200000", "side": "BUY", "ratioQty": "1"}]
    order = {"accountId": "ACC-1", "clOrdId": "SPREAD-1", "symbol": "AAPL", "type": "LIMIT", "qty": "1", "legs": legs}

    payload = {"topic": "account", "name": "account.order", "target": "ACC-1", "data": order}
    sim.broadcast(json.dumps({"type": "event", "payload": payload}))
    eventually(lambda: "SPREAD-1" in orders.df.index)

    assert json.loads(orders.df.loc["SPREAD-1", "legs"]) == legs


def test_candles_watchlists_and_news_come_as_rows(everything: Everything) -> None:
    candles, watchlists, news = (table.wait(timeout=60) for table in everything.tables[4:])

    assert set(candles.df.index.get_level_values("interval")) == {"1m"}
    assert (candles.df["low"] <= candles.df["high"]).all()
    assert (watchlists.df["name"] != "").all()
    assert (news.df["title"] != "").all()


# Tokens.


def test_a_login_asks_for_codes_and_tokens_and_never_for_a_password(
    serve: Callable[..., Simulator], caplog: pytest.LogCaptureFixture
) -> None:
    sim = serve(token="only this or what the token endpoint gives")
    base = "http" + sim.url.removeprefix("ws")
    endpoints = OAuthEndpoints(f"{base}/oauth2/authorize", f"{base}/v1/oauth2/token", is_json=True)
    threads: list[threading.Thread] = []

    def in_browser(url: str) -> None:
        visit = threading.Thread(target=lambda: httpx.get(url, follow_redirects=True, trust_env=False))
        threads.append(visit)
        visit.start()

    with caplog.at_level("INFO", "httpx"):
        login = oauth_login(client_id="sim-client", open_url=in_browser, endpoints=endpoints)
        first = login()
        login.refused(first)
        second = login()
        for thread in threads:
            thread.join()

    asked = re.findall(rf"HTTP Request: (\w+) {base}([^? ]*)", caplog.text)
    assert sorted(asked) == [("GET", "/oauth2/authorize"), ("POST", "/v1/oauth2/token"), ("POST", "/v1/oauth2/token")]
    assert "password" not in caplog.text
    assert first != second
    with Feed(BROKERS["aries"], sim.url, login, at_close=lambda closed: None) as feed:
        feed.wait_open(30)
        assert feed.accounts == ("ACC-1", "ACC-2")
