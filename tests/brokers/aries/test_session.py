from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.brokers.aries.accounts import AriesAccounts
from aries_nb.brokers.aries.charts import AriesCharts
from aries_nb.brokers.aries.market import AriesMarket
from aries_nb.errors import UsageError
from aries_nb.model import (
    Kind,
    Pong,
    SessionLost,
    SessionOpened,
    SessionRefused,
    Subscription,
    TokenWanted,
    Unreadable,
)
from tests.brokers.aries.lines import RECEIVED, answer_pings, auth_success, event, line, opened, sent
from tests.brokers.refusals import by_symbol

if TYPE_CHECKING:
    from aries_nb.brokers import BrokerProtocol

TOKEN = "eyJhbGciOiJub25lIn0.secret"


def asking(now: float = 0.0) -> tuple[AriesMarket, str]:
    """A market that waits for the answer to its token, and the id of that request."""
    market = AriesMarket()
    market.open(now)
    market.authenticate(TOKEN, now)
    (request,) = sent(market)
    return market, request["id"]


def notices(market: AriesMarket, message: object) -> list[Any]:
    found, said = market.receive([line(message)], RECEIVED)
    assert list(found) == []
    return list(said)


def test_token_goes_out_in_the_form_that_every_documented_variant_reads() -> None:
    market = AriesMarket()
    market.open(0.0)

    market.authenticate(TOKEN, 0.0)

    (text,) = market.outgoing()
    request = json.loads(text)
    assert isinstance(request.pop("id"), str)
    expected = {
        "type": "request",
        "payload": {"method": "post", "path": "/auth", "body": {"action": "auth", "token": TOKEN}},
    }
    assert expected == request
    assert "\n" not in text


def test_nothing_is_asked_for_before_the_session_is_open() -> None:
    market, _ = asking()

    number = market.subscribe([])

    assert number == 0
    assert sent(market) == []


@pytest.mark.parametrize("form", ["event with payload.id", "response with id", "event without any id"])
def test_each_form_of_acceptance_opens_the_session(form: str) -> None:
    market, request = asking()
    body = {"action": "authSuccess", "data": {"expiresIn": 2_700_000}}
    message = {
        "event with payload.id": {"type": "event", "payload": {**body, "id": request}},
        "response with id": {"type": "response", "id": request, "payload": body},
        "event without any id": {"type": "event", "payload": body},
    }[form]

    said = notices(market, message)

    assert said == [SessionOpened(2700.0, is_renewal=False)]


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        ({}, None),
        ({"expiresIn": None}, None),
        ({"expiresIn": "3900000"}, 3900.0),
        ({"expiresIn": -5}, None),
        ({"expiresIn": True}, None),
        ({"expiresIn": []}, None),
        ([], None),
        ("soon", None),
    ],
)
def test_life_of_a_session_is_none_where_the_server_does_not_say(data: object, seconds: float | None) -> None:
    market, _ = asking()

    said = notices(market, event("authSuccess", data=data))

    assert said == [SessionOpened(seconds, is_renewal=False)]


@pytest.mark.parametrize(
    "payload",
    [
        {"action": "error", "error": "authentication failed"},
        {"error": "authentication failed"},
        {"status": 401, "message": "authentication failed"},
        {"status": "401", "message": "authentication failed"},
        {"action": "authRequired", "error": "authentication failed"},
    ],
)
@pytest.mark.parametrize("id_inside", [True, False])
def test_refusal_of_the_token_is_reported_with_its_reason(payload: dict[str, Any], *, id_inside: bool) -> None:
    market, request = asking()
    message = {"type": "event", "payload": payload | {"id": request}}
    if not id_inside:
        message = {"type": "response", "id": request, "payload": payload}

    said = notices(market, message)

    assert said == [SessionRefused("authentication failed")]


def test_refusal_without_an_id_is_taken_for_the_token_while_it_is_waited_for() -> None:
    market, _ = asking()

    said = notices(market, event("error", error="token is required"))

    assert said == [SessionRefused("token is required")]


def test_authrequired_without_an_id_is_a_refusal_while_the_token_is_waited_for() -> None:
    market, _ = asking()

    said = notices(market, event("authRequired", error="authentication required"))
    once_more = notices(market, event("authRequired"))

    assert said == [SessionRefused("authentication required")]
    assert once_more == [SessionLost("authRequired", "token")]


def test_response_to_the_token_that_does_not_say_authsuccess_is_a_refusal() -> None:
    market, request = asking()

    (refused,) = notices(market, {"type": "response", "id": request, "payload": {"status": 200}})

    assert isinstance(refused, SessionRefused)
    assert list(market.tick(100.0)) == []


def test_refused_token_is_reported_once_and_no_time_limit_runs_on() -> None:
    market, request = asking()
    notices(market, event("error", error="no", id=request))

    said = market.tick(60.0)

    assert list(said) == []


def test_reason_of_a_refusal_shows_no_token_and_at_most_200_characters() -> None:
    market, request = asking()

    (refused,) = notices(market, event("error", error=f"bad token {TOKEN} " + "x" * 1000, id=request))

    assert isinstance(refused, SessionRefused)
    assert TOKEN not in refused.reason
    assert len(refused.reason) <= 200


def test_reason_of_a_refusal_may_be_an_object() -> None:
    market, request = asking()

    (refused,) = notices(market, event("error", error={"code": 7, "token": "abcdefgh"}, id=request))

    assert refused == SessionRefused('{"code": 7, "token": "***"}')


@pytest.mark.parametrize("action", ["authExpired", "authTimeout", "authRequired"])
@pytest.mark.parametrize("error", [None, "too late"])
def test_session_that_ended_is_lost(action: str, error: str | None) -> None:
    market = opened()

    said = notices(market, event(action, **({"error": error} if error else {})))

    assert said == [SessionLost(f"{action}: {error}" if error else action, "token")]


@pytest.mark.parametrize("payload", [{}, {"data": {"expiresIn": 300_000}}, {"timestamp": 5}])
def test_server_s_warning_asks_for_a_token(payload: dict[str, Any]) -> None:
    market = opened()

    said = notices(market, event("refreshAuth", **payload))

    assert said == [TokenWanted()]


def test_renewal_happens_in_place_and_asks_for_nothing_again() -> None:
    market = opened()

    market.authenticate("another", 10.0)
    (request,) = sent(market)
    said = notices(market, auth_success(expiresIn=1000))

    assert request["payload"]["body"]["token"] == "another"
    assert said == [SessionOpened(1.0, is_renewal=True)]
    assert sent(market) == []


@pytest.mark.parametrize(("life_s", "wanted_at"), [(2700, 2400), (600, 450), (100, 75)])
def test_without_a_warning_a_token_is_asked_for_before_the_session_ends(life_s: int, wanted_at: int) -> None:
    market, _ = asking()
    notices(market, auth_success(expiresIn=life_s * 1000))
    answer_pings(market)

    before = market.tick(wanted_at - 1)
    market.receive([line({"type": "pong"})], RECEIVED)
    at = market.tick(wanted_at)
    after = market.tick(wanted_at + 1)

    assert [list(said) for said in (before, at, after)] == [[], [TokenWanted()], []]


def test_no_renewal_of_its_own_where_the_server_did_not_say_how_long() -> None:
    market, _ = asking()
    notices(market, auth_success())

    said = []
    for now in range(0, 100_000, 20):
        said += market.tick(now)
        market.receive([line({"type": "pong"})], RECEIVED)

    assert said == []


def test_silence_after_the_token_is_a_lost_session() -> None:
    market, _ = asking(now=100.0)

    early, late = market.tick(104.0), market.tick(105.5)

    assert list(early) == []
    assert late == [SessionLost("no answer to the token within 5 s", "silence")]


def test_ping_goes_out_every_30_seconds() -> None:
    market = opened(now=0.0)

    pings = []
    for now in range(120):
        market.tick(float(now))
        pings += [now for _ in sent(market, "ping")]
        market.receive([line({"type": "pong"})], RECEIVED)

    assert pings == [30, 60, 90]


def test_ping_has_the_typed_form_with_an_id_of_its_own() -> None:
    market = opened()
    market.tick(30.0)
    (first,) = sent(market)
    market.receive([line({"type": "pong", "id": first["id"]})], RECEIVED)

    market.tick(60.0)
    (second,) = sent(market)

    assert first["type"] == second["type"] == "ping"
    assert isinstance(first["id"], str)
    assert first["id"] != second["id"]


@pytest.mark.parametrize(
    "pong",
    [
        {"type": "pong", "id": "ID"},
        {"type": "pong"},
        {"action": "pong"},
        {"type": "event", "payload": {"action": "pong"}},
        {"action": "ping", "message": "pong"},
    ],
)
def test_each_form_of_pong_keeps_the_session(pong: dict[str, Any]) -> None:
    market = opened()
    market.tick(30.0)
    (ping,) = sent(market)
    if "id" in pong:
        pong = pong | {"id": ping["id"]}

    said = notices(market, pong)

    assert [type(notice) for notice in said] == [Pong]
    assert list(market.tick(59.0)) == []


def test_missing_pong_is_a_lost_session_reported_once() -> None:
    market = opened()
    market.tick(30.0)

    said = [list(market.tick(now)) for now in (39.0, 41.0, 42.0)]

    assert said == [[], [SessionLost("no answer to a ping within 10 s", "silence")], []]


def test_pong_answers_every_ping_before_it() -> None:
    market = opened()
    first, second = market.subscribe([]), market.subscribe([])
    sent(market)

    said = notices(market, {"type": "pong", "id": f"ping-{second}"})

    assert said == [Pong(second)]
    assert first < second
    assert list(market.tick(29.0)) == []


@pytest.mark.parametrize("number", ["ping-999", "ping--1", "ping-", "else", "ping-²", "ping-" + "9" * 5000, 7, [], {}])
def test_pong_to_no_ping_of_ours_says_nothing(number: object) -> None:
    market = opened()

    said = notices(market, {"type": "pong", "id": number})

    assert said == []


def test_answer_that_comes_after_a_new_connection_matches_nothing() -> None:
    market = opened()
    number = market.subscribe([])
    market.open(0.0)

    said = notices(market, {"type": "pong", "id": f"ping-{number}"})

    assert said == []


def test_new_connection_forgets_what_was_to_be_sent_and_every_time_limit() -> None:
    market = opened()
    market.tick(30.0)
    market.open(35.0)

    said = market.tick(60.0)

    assert list(said) == []
    assert sent(market) == []


def test_acknowledgements_say_nothing() -> None:
    market = opened()

    said = notices(market, {"type": "response", "id": "subscribe-2", "payload": {"status": 200}})
    said += notices(market, {"type": "subscribed", "id": "subscribe-2", "payload": {}})

    assert said == []


def test_error_of_something_else_is_a_rejection() -> None:
    market = opened()

    said = notices(market, event("error", error="slow down", id="no-such"))

    assert by_symbol(said) == [((), "slow down")]


@pytest.mark.parametrize("kind", [None, "news", 7, [], {}, [{}], "x" * 1000, {"type": {}}])
def test_unknown_type_is_named_and_kept(kind: object) -> None:
    market = opened()

    (unreadable,) = notices(market, {"type": kind, "payload": {}})

    assert isinstance(unreadable, Unreadable)
    assert "unknown type" in unreadable.reason
    assert len(unreadable.excerpt) <= 200


@pytest.mark.parametrize("action", [None, "celebrate", 7, [], {}, [{}], {"update": 1}])
def test_unknown_event_is_named_and_kept(action: object) -> None:
    market = opened()

    (unreadable,) = notices(market, {"type": "event", "payload": {"action": action}})

    assert isinstance(unreadable, Unreadable)
    assert "unknown event" in unreadable.reason


@pytest.mark.parametrize("payload", [None, [], "text", 5, True])
def test_event_whose_payload_is_no_object_is_kept(payload: object) -> None:
    market = opened()

    (unreadable,) = notices(market, {"type": "event", "payload": payload})

    assert isinstance(unreadable, Unreadable)


# What cannot be sent.


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize(
    "protocol", [AriesMarket(), AriesCharts(), AriesAccounts()], ids=lambda protocol: type(protocol).__name__
)
@pytest.mark.parametrize(
    "word", ["\ud800", datetime(2026, 3, 2, tzinfo=UTC), object(), 5, None], ids=lambda word: type(word).__name__
)
def test_what_no_frame_can_hold_is_refused_and_not_kept(protocol: BrokerProtocol, word: Any, is_open: bool) -> None:
    kind: Kind = "pnl" if isinstance(protocol, AriesAccounts) else "trades"
    protocol = type(protocol)()
    good, bad = Subscription(kind, "A", ("price",)), Subscription(kind, "B", ("price",), (("start", word),))
    protocol.open(0.0)
    if is_open:
        protocol.receive([line(auth_success())], RECEIVED)

    for wrong in (bad, Subscription(kind, word, ("price",)), Subscription(kind, "B", (word,))):
        with pytest.raises(UsageError, match="cannot be sent"):
            protocol.subscribe([good, wrong])
    protocol.open(1.0)
    protocol.receive([line(auth_success())], RECEIVED)

    assert [json.loads(text)["type"] for text in protocol.outgoing()] == ["ping"]
