from __future__ import annotations

import json
import re
from contextlib import ExitStack
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aries_nb.sim import SimOptions, Simulator
from aries_nb.sim.aries.charts import ChartsSession
from aries_nb.sim.aries.feed import AriesFeed
from aries_nb.sim.aries.market import MarketSession
from tests.sim.bare_client import BareClient, auth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATH = "/v1/charts/ws"


@pytest.fixture
def client(serve: Callable[..., Simulator]) -> Iterator[Callable[..., BareClient]]:
    """Connect a logged-in bare client to the charts endpoint of its own simulator."""
    with ExitStack() as stack:

        def make(*, sim: Simulator | None = None, **options: Any) -> BareClient:
            made = stack.enter_context(BareClient((sim or serve(**options)).url, PATH))
            made.log_in()
            return made

        yield make


def say(bare: BareClient, kind: str, ident: str, **payload: Any) -> None:
    bare.send({"type": kind, "id": ident, "payload": payload})


def quiet_market(rate: float = 2000.0, **options: Any) -> tuple[AriesFeed, SimOptions]:
    made = SimOptions(rate=rate, **options)
    return AriesFeed(made, date(2026, 3, 2)), made


def charts_of(feed: AriesFeed, options: SimOptions, *symbols: str, **payload: Any) -> ChartsSession:
    session = ChartsSession(options, feed, 1000.0)
    session.receive(json.dumps(auth("t")), 1000.0)
    for symbol in symbols:
        asked = {"type": "subscribe", "payload": {"type": "quotes", "symbol": symbol, **payload}}
        session.receive(json.dumps(asked), 1000.0)
    return session


def drain(session: ChartsSession | MarketSession) -> list[dict[str, Any]]:
    messages = [json.loads(line) for line in session.outbox]
    session.outbox.clear()
    return [message["payload"] for message in messages]


def datas(payloads: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [payload["data"] for payload in payloads if payload.get("type") == kind]


def test_no_market_status_follows_the_authentication(client: Callable[..., BareClient]) -> None:
    bare = client(rate=1)

    assert bare.sync() == []


def test_first_event_is_a_snapshot_and_later_ones_say_what_changed(client: Callable[..., BareClient]) -> None:
    bare = client(rate=500)

    say(bare, "subscribe", "c-1", type="quotes", symbol="AAPL")
    first, *later = bare.receive_updates("quote", 50)

    assert first.keys() == {"action", "type", "symbol", "data"}
    assert (first["symbol"], first["data"]["s"], first["data"]["n"]) == ("AAPL", "ok", "AAPL")
    values = first["data"]["v"]
    assert values.keys() == {
        "lp", "ch", "chp", "bid", "ask", "open_price", "high_price", "low_price", "prev_close_price", "volume",
        "exchange", "short_name",
    }  # fmt: skip
    assert values["bid"] < values["ask"]
    assert values["ch"] == pytest.approx(values["lp"] - values["prev_close_price"], abs=0.006)
    assert (values["exchange"], values["short_name"]) == ("NASDAQ", "AAPL")
    for payload in later:
        changed = payload["data"]["v"]
        assert changed
        assert all(values[name] != value for name, value in changed.items())
        values |= changed


def test_events_have_their_time_on_the_envelope(client: Callable[..., BareClient]) -> None:
    bare = client()

    say(bare, "subscribe", "c-1", type="quotes", symbol="AAPL")
    event = bare.receive_until(lambda message: message["payload"].get("type") == "trade")[-1]

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["timestamp"])
    assert event["payload"]["data"].keys() == {"s", "t", "lp", "v"}
    assert round(datetime.fromisoformat(event["timestamp"]).timestamp() * 1000) == event["payload"]["data"]["t"]


def test_charts_send_the_same_events_as_the_market_endpoint() -> None:
    feed, options = quiet_market()
    market = MarketSession(options, feed, 1000.0)
    market.receive(json.dumps(auth("t")), 1000.0)
    item = {"symbol": "AAPL", "quoteFields": "*", "timeAndSales": True}
    market.receive(json.dumps({"type": "subscribe", "payload": [item]}), 1000.0)
    charts = charts_of(feed, options, "AAPL")

    for turn in range(20):
        feed.advance(0.05, 1000.0 + 0.05 * turn)
    market_messages, chart_messages = drain(market), drain(charts)

    prints = [
        (float(p["price"]), int(p["size"]), int(p["tradeTimestamp"])) for p in datas(market_messages, "timeAndSales")
    ]
    assert len(prints) > 20
    assert [(data["lp"], data["v"], data["t"]) for data in datas(chart_messages, "trade")] == prints
    bids = [data["bidPrice"] for data in datas(market_messages, "quote") if "bidPrice" in data]
    drawn_bids = [data["v"]["bid"] for data in datas(chart_messages, "quote") if "bid" in data["v"]]
    assert drawn_bids == [bid for bid, before in zip(bids, [None, *bids], strict=False) if bid != before]


def test_late_subscriber_gets_the_state_that_others_know() -> None:
    feed, options = quiet_market()
    early = charts_of(feed, options, "MSFT")
    feed.advance(0.5, 1001.0)
    known: dict[str, Any] = {}
    for data in datas(drain(early), "quote"):
        known |= data["v"]

    late = charts_of(feed, options, "MSFT")

    (snapshot,) = datas(drain(late), "quote")
    assert snapshot["v"] == known
    assert drain(early) == []


def test_second_subscribe_brings_a_snapshot_and_no_event_twice() -> None:
    feed, options = quiet_market()
    session = charts_of(feed, options, "MSFT", "MSFT")
    assert len(datas(drain(session), "quote")) == 2

    feed.advance(0.5, 1001.0)

    assert len(session.outbox) == feed.events > 0


def test_index_has_a_level_but_neither_sides_nor_trades() -> None:
    feed, options = quiet_market()
    session = charts_of(feed, options, "SPX")

    for turn in range(20):
        feed.advance(0.05, 1001.0 + turn)

    payloads = drain(session)[1:]
    snapshot, *later = datas(payloads, "quote")
    assert {"bid", "ask", "volume", "exchange"}.isdisjoint(snapshot["v"])
    assert any("lp" in data["v"] for data in later)
    assert datas(payloads, "trade") == []


def test_option_is_drawn_under_its_symbol() -> None:
    feed, options = quiet_market()
    strike = feed.market.strikes("AAPL")[5]
    symbol = f"AAPL{feed.market.expiries('AAPL')[0]:%y%m%d}C{round(strike * 1000):08d}"

    session = charts_of(feed, options, symbol, symbolType="option")

    (snapshot,) = datas(drain(session), "quote")
    assert (snapshot["n"], snapshot["v"]["exchange"]) == (symbol, "OPRA")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ([{"symbol": "AAPL"}], "BAD_REQUEST"),
        ("AAPL", "BAD_REQUEST"),
        ({"type": "quotes"}, "BAD_REQUEST"),
        ({"type": "quotes", "symbol": 7}, "BAD_REQUEST"),
        ({"type": "bars", "symbol": "AAPL"}, "BAD_REQUEST"),
        ({"type": ["quotes"], "symbol": "AAPL"}, "BAD_REQUEST"),
        ({"type": "quotes", "symbol": "AAPL", "symbolType": 1}, "BAD_REQUEST"),
        ({"type": "quotes", "symbol": "AAPL", "symbolType": "option"}, "UNKNOWN_SYMBOL"),
        ({"type": "quotes", "symbol": "NOPE"}, "UNKNOWN_SYMBOL"),
    ],
)
def test_what_cannot_be_subscribed_is_an_error_with_the_id(
    client: Callable[..., BareClient], payload: Any, code: str
) -> None:
    bare = client()

    bare.send({"type": "subscribe", "id": "c-1", "payload": payload})

    answer = bare.receive_answer("c-1")["payload"]
    assert (answer["action"], answer["code"]) == ("error", code)
    assert bare.sync() == []


@pytest.mark.parametrize("mode", [{}, {"type": "trades"}, {"type": "quotes"}])
def test_every_mode_means_quotes_and_trades(client: Callable[..., BareClient], mode: dict[str, str]) -> None:
    bare = client()

    say(bare, "subscribe", "c-1", symbol="AAPL", **mode)

    assert bare.receive_updates("quote", 1)
    assert bare.receive_updates("trade", 1)


def test_unsubscribed_symbol_is_silent(serve: Callable[..., Simulator], client: Callable[..., BareClient]) -> None:
    sim = serve()
    bare = client(sim=sim)
    for symbol in ("AAPL", "MSFT"):
        say(bare, "subscribe", "c-1", type="quotes", symbol=symbol)
    bare.receive_updates("trade", 2)

    say(bare, "unsubscribe", "c-2", type="quotes", symbol="AAPL")
    bare.sync()

    assert sim.subscriptions() == [{"MSFT": {"type": "quotes"}}]
    assert {payload["symbol"] for payload in bare.receive_updates("quote", 50)} == {"MSFT"}


def test_subscribe_is_acknowledged_only_where_asked(client: Callable[..., BareClient]) -> None:
    bare = client(ack_subscribes=True)

    say(bare, "subscribe", "c-1", type="quotes", symbol="AAPL")

    assert bare.receive_until(lambda message: message["type"] == "response")[-1]["id"] == "c-1"


def test_ended_session_has_no_subscriptions() -> None:
    feed, options = quiet_market(session_seconds=10.0)
    session = charts_of(feed, options, "AAPL", "SPX")
    session.tick(1010.0)
    drain(session)

    feed.advance(0.5, 1011.0)

    assert session.closing == (1008, "session expired")
    assert (session.outbox, feed.events) == ([], 0)


def test_recording_is_charted_row_by_row(tmp_path: Path) -> None:
    stamps = pa.array([1_600_000_000_000_000_000 + row * 1_000_000 for row in range(3)], pa.timestamp("ns", "UTC"))
    trades = {"ts": stamps, "symbol": ["A"] * 3, "price": [1.5, 1.5, 0.1 + 0.2], "size": [10.0, 20.0, 0.5]}
    quotes = {"bid_price": [1.0, 1.0, 2.0], "bid_size": [1.0] * 3, "ask_price": [3.0] * 3, "ask_size": [1.0] * 3}
    pq.write_table(pa.table(trades | {"side": ["buy"] * 3}), tmp_path / "trades.parquet")
    pq.write_table(pa.table({"ts": stamps, "symbol": ["A"] * 3} | quotes), tmp_path / "quotes.parquet")
    tapes = (tmp_path / "trades.parquet", tmp_path / "quotes.parquet")
    feed, options = quiet_market(tapes=tapes, speed=None)
    session = charts_of(feed, options, "A")

    assert feed.pump_recordings(1000.0, 1000)

    payloads = drain(session)
    chart_messages = [(data["t"], data["lp"], data["v"]) for data in datas(payloads, "trade")]
    assert chart_messages == [
        (1_600_000_000_000, 1.5, 10),
        (1_600_000_000_001, 1.5, 20),
        (1_600_000_000_002, 0.1 + 0.2, 0.5),
    ]
    values = [data["v"] for data in datas(payloads, "quote")]
    assert values == [{"lp": 1.5}, {"lp": 0.1 + 0.2}, {"bid": 1.0, "ask": 3.0}, {"bid": 2.0}]
    assert datas(drain(charts_of(feed, options, "A")), "quote")[0]["v"] == {"lp": 0.1 + 0.2, "bid": 2.0, "ask": 3.0}


def test_unpaced_recording_waits_for_a_chart_that_is_behind(tmp_path: Path) -> None:
    stamps = pa.array([1_600_000_000_000_000_000] * 100, pa.timestamp("ns", "UTC"))
    rows = {"ts": stamps, "symbol": ["A"] * 100, "price": [1.5] * 100, "size": [1.0] * 100, "side": ["buy"] * 100}
    pq.write_table(pa.table(rows), tmp_path / "trades.parquet")
    feed, options = quiet_market(tapes=(tmp_path / "trades.parquet",), speed=None)
    session = charts_of(feed, options, "A")
    drain(session)

    while feed.pump_recordings(1000.0, 10):
        pass

    assert 10 <= len(session.outbox) < 20
    drain(session)
    assert feed.pump_recordings(1000.0, 10)
