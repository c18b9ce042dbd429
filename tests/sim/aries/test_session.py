from __future__ import annotations

import json
import time
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.sim import SimOptions, Simulator
from aries_nb.sim.aries.feed import AriesFeed
from aries_nb.sim.aries.market import MarketSession
from tests.net.patience import RENEWED_SOON
from tests.sim.bare_client import BareClient, auth, streams

if TYPE_CHECKING:
    from collections.abc import Callable

Connect = Any


def actions(messages: list[dict[str, Any]]) -> list[str]:
    return [message["payload"].get("action", message["type"]) for message in messages]


# Time is passed in: minutes are tested without a socket.


def quiet_session(**options: Any) -> MarketSession:
    made = SimOptions(**options)
    return MarketSession(made, AriesFeed(made, date(2026, 3, 2)), 1000.0)


def drain(session: MarketSession) -> list[dict[str, Any]]:
    messages = [json.loads(line) for line in session.outbox]
    session.outbox.clear()
    return messages


def test_session_is_warned_then_expires() -> None:
    session = quiet_session(idle_seconds=1e6)
    session.receive(json.dumps(auth("t")), 1000.0)
    drain(session)

    session.tick(1000.0 + 2399.9)
    early = drain(session)
    session.tick(1000.0 + 2400.0)
    session.tick(1000.0 + 2401.0)
    warned = drain(session)
    session.tick(1000.0 + 2700.0)
    expired = drain(session)

    assert early == []
    assert [message["payload"] for message in warned] == [
        {"action": "refreshAuth", "data": {"expiresIn": 300_000}, "timestamp": 3_400_000}
    ]
    assert actions(expired) == ["authExpired"]
    assert session.closing == (1008, "session expired")


def test_new_authentication_restarts_the_clock_and_the_warning() -> None:
    session = quiet_session(idle_seconds=1e6)
    session.receive(json.dumps(auth("t")), 1000.0)
    session.tick(3500.0)
    session.receive(json.dumps(auth("t", "auth-2")), 3600.0)
    drain(session)

    session.tick(3600.0 + 2399.0)
    quiet = drain(session)
    session.tick(3600.0 + 2400.0)

    assert quiet == []
    assert actions(drain(session)) == ["refreshAuth"]
    assert session.closing is None


@pytest.mark.parametrize(
    ("options", "warned", "left"),
    [({}, 1005.0, 5000), ({"warn_seconds": 9.0}, 1001.0, 9000)],
    ids=["half", "asked for"],
)
def test_short_session_is_warned_of_when_half_of_it_is_over_or_as_asked_for(
    options: dict[str, float], warned: float, left: int
) -> None:
    session = quiet_session(session_seconds=10.0, **options)
    session.receive(json.dumps(auth("t")), 1000.0)
    drain(session)

    session.tick(warned - 0.1)
    early = drain(session)
    session.tick(warned)

    assert early == []
    assert drain(session)[0]["payload"]["data"] == {"expiresIn": left}


def test_idle_client_is_closed_though_it_receives_much() -> None:
    session = quiet_session()
    session.receive(json.dumps(auth("t")), 1000.0)
    session.receive('{"type":"ping"}', 1100.0)

    session.tick(1219.9)
    before = session.closing
    session.tick(1220.0)

    assert before is None
    assert session.closing == (1000, "idle for 120 s")


def test_time_to_authenticate_is_limited() -> None:
    session = quiet_session()
    session.receive('{"type":"ping"}', 1004.0)
    drain(session)

    session.tick(1004.9)
    before = session.closing
    session.tick(1005.0)

    assert before is None
    assert actions(drain(session)) == ["authTimeout"]
    assert session.closing is not None
    assert session.closing[0] == 1008


def test_ended_session_has_no_subscriptions() -> None:
    options = SimOptions(session_seconds=10.0, rate=1000)
    feed = AriesFeed(options, date(2026, 3, 2))
    session = MarketSession(options, feed, 1000.0)
    session.receive(json.dumps(auth("t")), 1000.0)
    session.receive(json.dumps({"type": "subscribe", "payload": [{"symbol": "AAPL"}]}), 1000.0)
    session.tick(1010.0)
    session.close(1006, "too late to say why")
    drain(session)

    feed.advance(0.5, 1011.0)

    assert session.closing == (1008, "session expired")
    assert (session.outbox, session.subscriptions(), feed.sessions, feed.events) == ([], {}, [], 0)


def test_long_texts_come_back_short() -> None:
    session = quiet_session()
    session.receive(json.dumps(auth("t")), 1000.0)
    drain(session)

    session.receive(json.dumps({"type": "subscribe", "id": "s", "payload": [{"symbol": "\u2028" * 10**6}]}), 1001.0)
    session.receive(json.dumps({"type": "ping", "id": "x" * 10**6}), 1001.0)

    assert max(len(line) for line in session.outbox) < 20_000
    assert all(line.isascii() for line in session.outbox)


# Over the real socket.


@pytest.mark.parametrize(
    "payload",
    [
        {"method": "post", "path": "/auth", "body": {"action": "auth", "token": "t"}},
        {"method": "POST", "path": "/auth", "body": {"action": "auth", "token": "t"}},
        {"method": "POST", "path": "/auth", "body": {"token": "t"}},
        {"method": "Post", "path": "/auth", "body": {"token": "t", "more": 1}},
    ],
)
def test_every_form_of_authentication_is_accepted(client: Connect, payload: dict[str, Any]) -> None:
    bare = client(log_in=False)

    bare.send({"type": "request", "id": "auth-7", "payload": payload})
    success, status = bare.receive(), bare.receive()

    assert success["type"] == "event"
    assert "id" not in success
    assert success["payload"]["action"] == "authSuccess"
    assert success["payload"]["id"] == "auth-7"
    assert success["payload"]["data"] == {"expiresIn": 2_700_000}
    assert abs(success["payload"]["timestamp"] - time.time() * 1000) < 5000
    assert status["payload"]["type"] == "marketStatus"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("event", ("event", None, "auth-1")),
        ("response", ("response", "auth-1", None)),
        ("anonymous", ("event", None, None)),
    ],
)
def test_success_is_said_in_the_form_that_was_chosen(client: Connect, form: str, expected: Any) -> None:
    bare = client(log_in=False, auth_reply=form)

    success = bare.log_in()

    assert (success["type"], success.get("id"), success["payload"].get("id")) == expected
    assert success["payload"]["data"]["expiresIn"] == 2_700_000


@pytest.mark.parametrize("body", [None, {}, {"token": ""}, {"token": "  "}, {"token": 7}, {"data": {"token": "t"}}])
def test_missing_token_is_an_error_and_the_socket_stays_open(client: Connect, body: Any) -> None:
    bare = client(log_in=False)

    bare.send({"type": "request", "id": "auth-1", "payload": {"method": "post", "path": "/auth", "body": body}})
    answer = bare.receive()["payload"]

    assert (answer["action"], answer["error"], answer["id"]) == ("error", "token is required", "auth-1")
    assert bare.log_in(ident="auth-2")["payload"]["id"] == "auth-2"


def test_wrong_token_is_an_error_and_the_end(client: Connect) -> None:
    bare = client(log_in=False, token="secret")

    bare.send(auth("guess", "auth-7"))
    answer = bare.receive()["payload"]

    assert (answer["action"], answer["error"], answer["id"]) == ("error", "authentication failed", "auth-7")
    assert bare.receive_close() == (1008, "authentication failed")


def test_right_token_is_accepted(client: Connect) -> None:
    bare = client(log_in=False, token="secret")

    assert bare.log_in("secret")["payload"]["action"] == "authSuccess"


def test_silent_client_gets_a_notice_and_is_closed(client: Connect) -> None:
    bare = client(log_in=False, auth_seconds=0.05)

    assert bare.receive()["payload"]["action"] == "authTimeout"
    assert bare.receive_close() == (1008, "not authenticated in time")


def test_session_that_is_not_renewed_ends(client: Connect) -> None:
    bare = client(session_seconds=0.4, warn_seconds=0.2)

    messages = bare.receive_until(lambda m: m["payload"].get("action") == "authExpired")

    assert actions(messages) == ["update", "refreshAuth", "authExpired"]
    assert 0 < messages[1]["payload"]["data"]["expiresIn"] <= 200
    assert bare.receive_close() == (1008, "session expired")


def test_renewal_on_the_live_socket_keeps_subscriptions(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve(**RENEWED_SOON)
    bare = client(sim=sim)
    bare.subscribe({"symbol": "AAPL", "quoteFields": ["bidPrice"]})

    renewals = []
    for number in range(3):
        bare.receive_until(lambda m: m["payload"].get("action") == "refreshAuth")
        bare.send(auth("fresh", f"auth-{number}"))
        renewals.append(bare.receive_answer(f"auth-{number}")["payload"])

    assert [renewal["data"]["expiresIn"] for renewal in renewals] == [20_000] * 3
    assert sim.subscriptions() == [{"AAPL": streams(quote=["bidPrice"])}]
    assert bare.receive_updates("quote", 1)


def test_market_status_comes_once_and_again_when_it_changes(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve()
    bare = client(sim=sim, log_in=False)
    for ident in ("auth-1", "auth-2"):
        bare.send(auth("t", ident))
    payloads = [message["payload"] for message in bare.sync()]
    (first,) = (payload for payload in payloads if payload["action"] == "update")

    sim.set_market("closed", after_hours=True)
    second = bare.receive()["payload"]
    sim.set_market("closed", after_hours=True)

    assert first["data"].keys() == {
        "market", "earlyHours", "afterHours", "exchanges", "currencies", "indicesGroups", "serverTime"
    }  # fmt: skip
    assert first["data"]["serverTime"].endswith("Z")
    assert (second["data"]["market"], second["data"]["afterHours"]) == ("closed", True)
    assert bare.sync() == []


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe", "request"])
def test_nothing_is_given_before_authentication(client: Connect, kind: str) -> None:
    bare = client(log_in=False)
    payload: Any = {"method": "GET", "path": "/options/AAPL/expiry-dates"} if kind == "request" else ["AAPL"]

    bare.send({"type": kind, "id": "early", "payload": payload})
    answer = bare.receive()["payload"]

    assert (answer["action"], answer["id"]) == ("authRequired", "early")
    assert bare.log_in()["payload"]["action"] == "authSuccess"


@pytest.mark.parametrize(
    ("ping", "expected"),
    [
        ({"type": "ping", "id": "p-1"}, {"type": "pong", "id": "p-1"}),
        ({"type": "ping"}, {"type": "pong"}),
        ({"action": "ping"}, {"type": "pong"}),
    ],
)
def test_ping_is_answered_even_before_authentication(client: Connect, ping: Any, expected: Any) -> None:
    bare = client(log_in=False)

    bare.send(ping)

    assert bare.receive() == expected


def test_several_objects_and_binary_frames_are_understood(client: Connect) -> None:
    bare = client(log_in=False)
    lines = "\n".join(json.dumps({"type": "ping", "id": name}) for name in "ab")

    bare.send(f"{lines}\n\n")
    bare.send(lines.encode())

    assert [bare.receive()["id"] for _ in range(4)] == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    "rubbish",
    [
        "no json", "[]", "7", "null", "{}", '{"type":"dance"}', '{"type":"subscribe"}', '{"type":"ping","id":7}',
        '{"type":"request"}', '{"type":"request","payload":{"path":7}}', '{"type":"subscribe","payload":{"a":1}}',
        '{"type":"subscribe","payload":["AAPL"]}', b"\xff", "[" * 100_000,
    ],
)  # fmt: skip
def test_rubbish_is_an_error_and_the_socket_stays_open(client: Connect, rubbish: str | bytes) -> None:
    bare = client()
    bare.sync()

    bare.send(rubbish)
    answer = bare.receive()["payload"]

    assert (answer["action"], answer["code"]) == ("error", "BAD_REQUEST")
    assert bare.sync() == []


def test_bad_request_names_its_id(client: Connect) -> None:
    bare = client()

    bare.send({"type": "subscribe", "id": "sub-3", "payload": 7})

    assert bare.receive_answer("sub-3")["payload"]["error"] == "payload must be an array"


def test_unknown_symbols_are_named_and_the_others_proceed(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve()
    bare = client(sim=sim)

    bare.subscribe({"symbol": "NOPE"}, {"symbol": "AAPL", "level2": True}, {"symbol": "AAPL240119C00150000"})
    answer = bare.receive_answer("sub-1")["payload"]

    assert answer["action"] == "error"
    assert answer["code"] == "UNKNOWN_SYMBOL"
    assert "NOPE" in answer["error"]
    assert "AAPL240119C00150000" in answer["error"]
    assert sim.subscriptions() == [{"AAPL": streams(level2=True)}]


def test_subscribe_is_acknowledged_only_where_asked(client: Connect) -> None:
    silent, loud = client(), client(ack_subscribes=True)
    silent.sync()
    for bare in (silent, loud):
        bare.subscribe({"symbol": "AAPL", "level2": True})
        bare.unsubscribe("AAPL")

    answers = [message for message in loud.sync() if message["type"] == "response"]

    assert [message for message in silent.sync() if message["type"] == "response"] == []
    assert answers == [{"type": "response", "id": name, "payload": {"status": 200}} for name in ("sub-1", "unsub-1")]


def test_option_queries_lead_to_contracts_that_can_be_subscribed(client: Connect) -> None:
    bare = client()

    dates = bare.request("/options/MSFT/expiry-dates", ident="r-1")
    expiry = dates["payload"]["body"]["expiryDates"][2]
    contracts = bare.request(f"/options/MSFT/contracts/{expiry}", ident="r-2")
    calls = contracts["payload"]["body"]["calls"]
    bare.subscribe({"symbol": calls[0]["symbol"], "symbolType": "option", "greeksFields": "*"})

    assert (dates["type"], dates["id"], dates["payload"]["status"]) == ("response", "r-1", 200)
    assert dates["payload"]["body"]["symbol"] == "MSFT"
    assert contracts["payload"]["body"].keys() == {"symbol", "expiryDate", "calls", "puts"}
    assert contracts["payload"]["body"]["expiryDate"] == expiry
    assert calls[0]["symbol"].endswith(f"C{round(calls[0]['strikePrice'] * 1000):08d}")
    assert bare.receive_updates("greeks", 1)[0]["symbol"] == calls[0]["symbol"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"), ("GET", "/options/NOPE/expiry-dates"), ("GET", "/options/SPX/expiry-dates"),
        ("GET", "/options/MSFT/contracts/2020-01-01"), ("POST", "/options/MSFT/expiry-dates"), ("GET", "/auth"),
    ],
)  # fmt: skip
def test_unknown_path_is_answered_with_404(client: Connect, method: str, path: str) -> None:
    answer = client().request(path, method)

    assert answer["type"] == "response"
    assert answer["payload"]["status"] == 404
    assert answer["payload"]["error"]


def test_old_ids_are_welcome_on_a_new_connection(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve()
    for _ in range(2):
        bare: BareClient = client(sim=sim)
        bare.subscribe({"symbol": "AAPL", "quoteFields": "*"}, ident="same")

        assert bare.receive_updates("quote", 1)
