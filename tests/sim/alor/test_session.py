"""Requests and replies of the simulated ALOR session, and conflation, with a clock set by the test."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings, strategies
from websockets.protocol import State

from aries_nb.sim import AlorOptions
from aries_nb.sim.alor.requests import OPCODES
from aries_nb.sim.alor.server import AlorServer, FrameClient
from aries_nb.sim.alor.session import AlorSession

SBER = {"exchange": "MOEX", "code": "SBER"}
OURS = {"exchange": "MOEX", "portfolio": "D00001"}
QUOTES = {"opcode": "QuotesSubscribe", "guid": "q-1", "token": "t", **SBER}
HANDLED = "Handled successfully"


class OfflineServer:
    """A server that does not run, one session on it, and the time."""

    def __init__(self, **options: Any) -> None:
        self.server = AlorServer(AlorOptions(**{"rate": 1000, "orders_per_s": 0.0, **options}))
        self.now = self.server.feed.history.start
        self.session = self.enter()

    def enter(self) -> AlorSession:
        session = AlorSession(self.server.options, self.server, self.now)
        self.server.clients.append(FrameClient(SimpleNamespace(state=State.OPEN), session))  # type: ignore[arg-type]
        return session

    def request(self, message: Any) -> list[dict[str, Any]]:
        """Send a message, and return all frames that follow."""
        self.session.receive(message if isinstance(message, (str, bytes)) else json.dumps(message), self.now)
        return self.drain()

    def drain(self) -> list[dict[str, Any]]:
        while self.session.histories:
            self.session.pull(1000)
        frames = [json.loads(text) for text in self.session.outbox]
        self.session.outbox.clear()
        return frames

    def live(self, seconds: float, turn: float = 0.01) -> None:
        """Advance the time as the server does."""
        feed = self.server.feed
        for _ in range(round(seconds / turn)):
            self.now += turn
            feed.advance(turn, self.now)
            feed.play_recordings(self.now)
            feed.flush(self.now)


def reply(code: int, text: str = HANDLED, guid: str = "q-1") -> dict[str, Any]:
    return {"requestGuid": guid, "httpCode": code, "message": text}


def without(*names: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in (QUOTES | more).items() if name not in names}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("{", reply(400, "Request message should be a valid JSON", "")),
        ("[" * 100_000, reply(400, "Request message should be a valid JSON", "")),
        ("[1]", reply(400, "Request message should be a JSON object", "")),
        (b"{}", reply(400, "Request message should be a text", "")),
        (without("opcode", "token"), reply(400, "Request message should contain 'opcode' field!")),
        (without("token", opcode="Dance"), reply(400, "Unknown opcode 'Dance'")),
        (without("token"), reply(400, "Request message should contain 'token' field!")),
        (without("token", opcode="unsubscribe"), reply(400, "Request message should contain 'token' field!")),
        (without(token=""), reply(401, "Invalid JWT token!")),
        (without(token=7), reply(401, "Invalid JWT token!")),
        (without(token="not.ours.x"), reply(401, "Invalid JWT token!")),
        (without("guid", token=""), reply(401, "Invalid JWT token!", "")),
        (without("guid"), reply(400, "Request message should contain 'guid' field!", "")),
        (without("exchange"), reply(400, "Request message should contain 'exchange' field!")),
        (without(exchange="NYSE"), reply(400, "Unknown exchange 'NYSE'")),
        (without("code"), reply(400, "Request message should contain 'code' field!")),
        (without(format="Fat"), reply(400, "Unknown format 'fat'")),
        (without(frequency="fast"), reply(400, "Field 'frequency' should be a number")),
        (without(frequency=True), reply(400, "Field 'frequency' should be a number")),
        (without(code="NONE"), reply(404, "Instrument 'MOEX:NONE' is not found")),
        (without(instrumentGroup="RFUD"), reply(404, "Instrument 'MOEX:SBER' is not found")),
        (without(opcode="BarsGetAndSubscribe"), reply(400, "Request message should contain 'tf' field!")),
        (without(opcode="BarsGetAndSubscribe", tf="7X"), reply(400, "Unknown tf '7X'")),
        (without(opcode="BarsGetAndSubscribe", tf=60), reply(400, "Request message should contain 'from' field!")),
        (without(opcode="RisksGetAndSubscribe"), reply(400, "Request message should contain 'portfolio' field!")),
        (
            without(opcode="RisksGetAndSubscribe", portfolio="D99999"),
            reply(403, "Portfolio 'D99999' is not available"),
        ),
        (
            without(opcode="OrdersGetAndSubscribeV2", **OURS, orderStatuses=["open"]),
            reply(400, "Unknown order status, use some of: canceled, filled, rejected, working"),
        ),
    ],
)  # fmt: skip
def test_bad_request_is_answered_and_opens_nothing(message: Any, expected: dict[str, Any]) -> None:
    offline = OfflineServer()

    answers = offline.request(message)

    assert answers == [expected]
    assert (offline.session.subscriptions(), offline.session.closing) == ({}, None)


@pytest.fixture(scope="module")
def patient() -> OfflineServer:
    return OfflineServer(rate=1)


JSON = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers(-(10**400), 10**400)
    | strategies.floats()
    | strategies.text(max_size=20)
    | strategies.sampled_from(["60", "D", "M", "9" * 5000, "Slim", "MOEX", "SBER", "SIM00001", "D00001", "working"]),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(max_size=5), inner),
    max_leaves=4,
)


@given(
    opcode=strategies.sampled_from([*OPCODES, "ping", "unsubscribe"]),
    fields=strategies.dictionaries(
        strategies.sampled_from(
            ["guid", "exchange", "code", "instrumentGroup", "depth", "frequency", "tf", "from", "format", "portfolio",
             "skipHistory", "orderStatuses"]
        ),
        JSON,
    ),
)  # fmt: skip
@settings(max_examples=150)
def test_whatever_is_asked_has_one_reply(patient: OfflineServer, opcode: str, fields: dict[str, Any]) -> None:
    usual = {"guid": "f", "token": "t", **SBER, **OURS, "tf": "60", "from": int(patient.now) - 3600}

    frames = patient.request({**usual, **fields, "opcode": opcode})
    patient.request({"opcode": "unsubscribe", "guid": fields.get("guid", "f"), "token": "t"})

    assert len([frame for frame in frames if "requestGuid" in frame]) == 1
    assert patient.session.subscriptions() == {}


@pytest.mark.parametrize("opcode", ["ping", "PING", "unsubscribe", "Unsubscribe"])
def test_ping_and_an_unsubscribe_of_nothing_are_handled(opcode: str) -> None:
    assert OfflineServer().request({"opcode": opcode, "guid": "p-1", "token": "t", "confirm": True}) == [
        reply(200, guid="p-1")
    ]


def test_enumerations_are_read_in_any_case() -> None:
    offline = OfflineServer()

    frames = offline.request(without(opcode="quotessubscribe", exchange="moex", format="sLIM"))

    assert [next(iter(frame)) for frame in frames] == ["data", "requestGuid"]
    assert frames[0]["data"]["sym"] == "SBER"


def test_a_guid_in_use_is_refused_and_the_first_one_goes_on() -> None:
    offline = OfflineServer()
    offline.request(QUOTES)

    answers = offline.request(without(code="GAZP"))

    assert answers == [reply(400, "Subscription with such guid already exists")]
    assert offline.session.subscriptions()["q-1"]["code"] == "SBER"


def test_a_guid_in_use_may_be_replaced() -> None:
    offline = OfflineServer(duplicate_guid="replace")
    offline.request(QUOTES)

    offline.request(without(code="GAZP"))

    assert offline.session.subscriptions()["q-1"]["code"] == "GAZP"


def test_an_unknown_instrument_may_be_met_with_silence() -> None:
    offline = OfflineServer(unknown_instrument="silent")

    answers = offline.request(without(code="NONE"))
    offline.live(0.5)

    assert answers == [reply(200)]
    assert offline.drain() == []


def test_an_unknown_guid_may_be_refused() -> None:
    answers = OfflineServer(unknown_guid_code=404).request({"opcode": "unsubscribe", "guid": "q-1", "token": "t"})

    assert answers == [reply(404, "Subscription not found")]


def test_subscriptions_of_a_connection_are_limited_and_those_there_go_on() -> None:
    offline = OfflineServer(subscription_limit=2)
    for guid in ("a", "b"):
        offline.request(without(guid=guid))

    answers = offline.request(without(guid="c"))
    offline.request({"opcode": "unsubscribe", "guid": "a", "token": "t"})
    again = offline.request(without(guid="c"))

    assert answers == [reply(429, "Too many subscriptions, 2 are allowed", "c")]
    assert again[-1] == reply(200, guid="c")


def test_requests_may_be_limited_by_the_second() -> None:
    offline = OfflineServer(request_rate=2.0)
    ping = {"opcode": "ping", "guid": "p", "token": "t"}

    codes = [offline.request(ping)[0]["httpCode"] for _ in range(3)]
    offline.now += 0.6
    later = offline.request(ping)[0]["httpCode"]

    assert (codes, later) == ([200, 200, 429], 200)


def test_an_expired_token_opens_nothing_new_and_what_runs_goes_on() -> None:
    offline = OfflineServer(token_seconds=30)
    token = offline.server.tokens.issue(offline.now)
    offline.request(without(token=token))
    offline.now += 31

    answers = offline.request(without(guid="q-2", token=token))
    offline.live(1.0)

    assert answers == [reply(401, "Invalid JWT token!", "q-2")]
    assert len(offline.drain()) > 2


def test_a_connection_may_end_with_its_newest_token() -> None:
    offline = OfflineServer(token_seconds=30, kill_on_expiry=True)
    first = offline.server.tokens.issue(offline.now)
    offline.request(without(token=first))
    offline.now += 20
    offline.request({"opcode": "ping", "guid": "p", "token": offline.server.tokens.issue(offline.now)})

    offline.session.tick(offline.now + 25)
    still = offline.session.is_cut
    offline.session.tick(offline.now + 30)

    assert (still, offline.session.is_cut) == (False, True)


def test_a_401_may_come_without_the_guid() -> None:
    answers = OfflineServer(faults=frozenset({"empty_guid"})).request(without(token=""))

    assert answers == [reply(401, "Invalid JWT token!", "")]


def test_a_frame_may_come_after_the_unsubscribe() -> None:
    offline = OfflineServer(faults=frozenset({"late_frames"}))
    (first, _) = offline.request(QUOTES)

    answers = offline.request({"opcode": "unsubscribe", "guid": "q-1", "token": "t"})

    assert answers == [reply(200), first]


def test_bars_may_come_twice_and_be_followed_by_the_one_before() -> None:
    offline = OfflineServer(faults=frozenset({"stale_bars"}), conflate=False, rate=20)
    offline.request(
        {**QUOTES, "opcode": "BarsGetAndSubscribe", "tf": "1", "from": int(offline.now), "skipHistory": True}
    )

    offline.live(5.0, turn=0.1)
    times = [frame["data"]["time"] for frame in offline.drain()]

    assert len(times) > 100
    assert times[0] == times[1]
    later = times[times.index(times[0] + 1) :]
    assert later[0::3] == later[1::3] == sorted(later[0::3])
    assert [time - before for time, before in zip(later[0::3], later[2::3], strict=True)] == [1] * (len(later) // 3)


def test_decimals_may_have_trailing_zeros() -> None:
    offline = OfflineServer(faults=frozenset({"trailing_zeros"}))
    offline.session.receive(json.dumps(QUOTES), offline.now)

    text = offline.session.outbox[0]
    quote = json.loads(text)["data"]

    assert f'"bid":{quote["bid"]!r}00,' in text


def test_times_may_lack_their_zone() -> None:
    offline = OfflineServer(faults=frozenset({"no_zone"}))
    offline.request({**QUOTES, "opcode": "AllTradesSubscribe"})
    offline.live(0.2)

    assert offline.drain()[0]["data"]["time"][-1].isdigit()


def test_the_eleventh_connection_is_refused_with_its_first_request() -> None:
    offline = OfflineServer(connection_limit=2)
    offline.request(QUOTES)
    others = [offline.enter() for _ in range(2)]

    for session in others:
        session.receive(json.dumps(QUOTES), offline.now)

    assert [session.closing for session in others] == [None, (1008, "too many connections")]
    assert json.loads(others[1].outbox[-1]) == reply(429, "Too many connections")


def test_quotes_are_held_back_within_the_interval_and_counted() -> None:
    offline = OfflineServer()
    offline.request(without(frequency=100))
    before = offline.server.feed.events

    offline.live(2.0)
    events = offline.server.feed.events - before
    counts = offline.session.subscriptions()["q-1"]
    frames = offline.drain()

    assert 18 <= len(frames) <= 20
    assert counts["sent"] == 1 + len(frames)
    assert events - len(frames) - 1 <= counts["held_back"] <= events - len(frames)
    assert offline.session.held_back == counts["held_back"] == offline.server.statistics().held_back
    stamps = [frame["data"]["ob_ms_timestamp"] for frame in frames]
    assert min(later - sooner for sooner, later in pairwise(stamps)) >= 90


def test_the_newest_state_is_the_one_that_is_sent() -> None:
    offline = OfflineServer()
    offline.request(without(guid="every", frequency=10, format="Slim"))
    offline.request(without(guid="some", frequency=250, format="Slim"))

    offline.live(3.0)
    frames = offline.drain()

    every = {frame["data"]["tso"]: frame["data"] for frame in frames if frame["guid"] == "every"}
    some = [frame["data"] for frame in frames if frame["guid"] == "some"]
    assert len(every) > 200
    assert 11 <= len(some) <= 12
    assert some == [every[quote["tso"]] for quote in some]


@pytest.mark.parametrize(
    ("asked", "form", "expected"),
    [
        ({}, "Slim", 175),
        ({"frequency": 0}, "Slim", 10),
        ({"frequency": "0"}, "Simple", 25),
        ({"frequency": -5}, "Heavy", 500),
        ({"frequency": 300}, "Slim", 300),
        ({"frequency": 300}, "Heavy", 500),
    ],
)
def test_frequency_is_brought_within_its_limits(asked: dict[str, Any], form: str, expected: int) -> None:
    offline = OfflineServer()

    offline.request({**QUOTES, **asked, "format": form})

    assert offline.session.subscriptions()["q-1"]["frequency"] == expected


def test_trades_are_never_held_back() -> None:
    offline = OfflineServer()
    offline.request({**QUOTES, "opcode": "AllTradesGetAndSubscribe", "frequency": 1000})

    offline.live(1.0)
    numbers = [frame["data"]["id"] for frame in offline.drain()]

    assert len(numbers) > 900
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def bars_of(trades: list[dict[str, Any]], seconds: int) -> dict[int, tuple[float, ...]]:
    bars: dict[int, list[float]] = {}
    for trade in trades:
        start = trade["timestamp"] // 1000 // seconds * seconds
        price, size = trade["price"], trade["qty"]
        bar = bars.setdefault(start, [price, price, price, price, 0])
        bars[start] = [bar[0], max(bar[1], price), min(bar[2], price), price, bar[4] + size]
    return {start: tuple(bar) for start, bar in bars.items()}


def test_the_last_state_of_a_bar_is_sent_whatever_the_interval() -> None:
    offline = OfflineServer(rate=100)
    offline.now = offline.now // 15 * 15
    offline.request({**QUOTES, "opcode": "AllTradesGetAndSubscribe", "guid": "t-1"})
    asked = {"tf": "15", "from": int(offline.now), "frequency": 20_000}
    offline.request({**QUOTES, "opcode": "BarsGetAndSubscribe", "guid": "b-1", **asked})

    offline.live(100.0, turn=0.05)
    frames = offline.drain()
    trades = [frame["data"] for frame in frames if frame.get("guid") == "t-1"]
    bars = [frame["data"] for frame in frames if frame.get("guid") == "b-1"]

    expected = bars_of(trades, 15)
    last = {bar["time"]: (bar["open"], bar["high"], bar["low"], bar["close"], bar["volume"]) for bar in bars}
    closed = sorted(last)[:-1]
    assert [bar["time"] for bar in bars] == sorted(bar["time"] for bar in bars)
    assert len(bars) < 14
    assert len(closed) >= 5
    assert [last[start] for start in closed] == [expected[start] for start in closed]


def test_bars_of_history_go_on_where_the_live_ones_begin() -> None:
    offline = OfflineServer(rate=100)
    offline.request({**QUOTES, "opcode": "AllTradesGetAndSubscribe", "guid": "t-1"})
    offline.live(130.0, turn=0.5)
    trades = [frame["data"] for frame in offline.drain()]

    asked = {"opcode": "BarsGetAndSubscribe", "tf": 60, "from": str(int(offline.now) - 30 * 86_400)}
    bars = [frame["data"] for frame in offline.request({**QUOTES, **asked})[:-1]]

    times = [bar["time"] for bar in bars]
    assert times == sorted(set(times))
    assert len(times) > 5000
    recent = {bar["time"]: bar["volume"] for bar in bars if bar["time"] > offline.server.feed.history.start}
    assert len(recent) >= 2
    assert recent == {start: bar[4] for start, bar in bars_of(trades, 60).items() if start in recent}


def test_a_long_history_does_not_wait_for_a_client_in_the_outbox() -> None:
    offline = OfflineServer()
    asked = {"opcode": "BarsGetAndSubscribe", "tf": "60", "from": 0}

    offline.session.receive(json.dumps({**QUOTES, **asked}), offline.now)
    offline.live(1.0)

    assert len(offline.session.outbox) == 100
    assert len(offline.session.histories) == 1


def test_what_is_traded_while_a_history_goes_out_follows_it() -> None:
    offline = OfflineServer(rate=5000)
    offline.request({**QUOTES, "opcode": "AllTradesGetAndSubscribe", "guid": "all"})
    offline.live(1.0)
    offline.drain()

    asked = {**QUOTES, "opcode": "AllTradesGetAndSubscribe", "guid": "late", "depth": 1000}
    offline.session.receive(json.dumps(asked), offline.now)
    offline.live(0.5)
    frames = [frame for frame in offline.drain() if "late" in (frame.get("guid"), frame.get("requestGuid"))]
    offline.live(0.1)
    frames += [frame for frame in offline.drain() if frame.get("guid") == "late"]

    numbers = [frame["data"]["id"] for frame in frames if "data" in frame]
    flags = [frame["data"]["existing"] for frame in frames if "data" in frame]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert (flags.count(True), flags[:1000]) == (1000, [True] * 1000)
    assert len(numbers) > 2500


@pytest.fixture(scope="module")
def traded() -> OfflineServer:
    """An offline server whose portfolios have traded, and do not trade any more."""
    offline = OfflineServer(orders_per_s=100.0)
    for _ in range(100):
        offline.now += 0.2
        offline.server.portfolios.accounts.advance(0.2, offline.now)
    return offline


def listed(offline: OfflineServer, opcode: str, **more: Any) -> list[dict[str, Any]]:
    """The history of a new subscription to the first portfolio."""
    frames = offline.request({**QUOTES, "opcode": opcode, "guid": f"{opcode} {more}", **OURS, **more})
    assert frames.pop()["httpCode"] == 200
    return [frame["data"] for frame in frames]


def test_orders_of_the_asked_statuses_alone_are_history(traded: OfflineServer) -> None:
    every = listed(traded, "OrdersGetAndSubscribeV2")
    filled = listed(traded, "OrdersGetAndSubscribeV2", orderStatuses=["FILLED"])
    none = listed(traded, "OrdersGetAndSubscribeV2", skipHistory=True)

    assert {order["status"] for order in every} == {"working", "filled", "canceled", "rejected"}
    assert filled == [order for order in every if order["status"] == "filled"]
    assert none == []


def test_money_and_positions_add_up_to_the_portfolio(traded: OfflineServer) -> None:
    positions = listed(traded, "PositionsGetAndSubscribeV2")
    (summary,) = listed(traded, "SummariesGetAndSubscribeV2")

    assert round(sum(each["currentVolume"] for each in positions), 4) == round(summary["portfolioEvaluation"], 4)
    assert [each["isCurrency"] for each in positions] == [False] * (len(positions) - 1) + [True]
    assert [each["qtyUnits"] for each in positions[:-1]] == [
        each["qtyBatch"] * each["lotSize"] for each in positions[:-1]
    ]


def test_own_trades_are_those_that_filled_the_orders(traded: OfflineServer) -> None:
    fills = listed(traded, "TradesGetAndSubscribeV2")
    orders = listed(traded, "OrdersGetAndSubscribeV2", format="Heavy")

    filled: dict[str, int] = {}
    for fill in fills:
        filled[fill["orderno"]] = filled.get(fill["orderno"], 0) + fill["qtyUnits"]
    assert len(fills) > 50
    assert len({fill["id"] for fill in fills}) == len(fills)
    assert filled == {order["id"]: order["filledQtyUnits"] for order in orders if order["filledQtyUnits"]}


def test_a_triggered_stop_order_names_the_order_it_became(traded: OfflineServer) -> None:
    stops = listed(traded, "StopOrdersGetAndSubscribeV2")
    orders = {order["id"]: order for order in listed(traded, "OrdersGetAndSubscribeV2", format="Simple")}

    triggered = [stop for stop in stops if stop["status"] == "filled"]
    assert triggered
    assert {orders[stop["exchangeOrderId"]]["type"] for stop in triggered} == {"market"}
    assert {stop["exchangeOrderId"] for stop in stops if stop["status"] != "filled"} == {None}


def test_a_portfolio_without_anything_on_an_exchange_is_empty() -> None:
    offline = OfflineServer()

    answers = offline.request(
        {**QUOTES, "opcode": "PositionsGetAndSubscribeV2", "exchange": "SPBX", "portfolio": "7500001"}
    )

    assert answers == [reply(200)]


def test_any_number_of_instruments_can_be_subscribed() -> None:
    offline = OfflineServer()

    answers = offline.request(without(code="SIM04711"))
    unknown = offline.request(without(code="SIM00000", guid="q-2"))

    assert [answers[0]["data"]["symbol"], answers[1]["httpCode"]] == ["SIM04711", 200]
    assert unknown[0]["httpCode"] == 404
