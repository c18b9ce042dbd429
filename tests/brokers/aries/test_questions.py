"""Questions on the market socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aries_nb.model import Subscription
from tests.brokers.aries.lines import RECEIVED, event, line, opened, quotes, records, reopen, sent
from tests.brokers.refusals import by_symbol

PATH = "/v1/options/MSFT/expiry-dates"
BODY = {"symbol": "MSFT", "expiryDates": ["2026-12-18"]}


def question(number: int = 1, *parameters: tuple[str, str], path: str = PATH) -> Subscription:
    return Subscription("answers", path, ("body",), (("number", str(number)), *parameters))


def response(request: str, **payload: Any) -> dict[str, Any]:
    return {"type": "response", "id": request, "payload": payload}


def test_a_question_is_a_request_without_the_version_and_a_ping_behind_it() -> None:
    market = opened()

    market.subscribe([question(1), question(2, ("limit", "5"))])

    first, second, ping = sent(market)
    assert first["payload"] == {"method": "GET", "path": "/options/MSFT/expiry-dates"}
    assert second["payload"] == {"method": "GET", "path": "/options/MSFT/expiry-dates", "query": {"limit": "5"}}
    assert (first["type"], second["type"], ping["type"]) == ("request", "request", "ping")
    assert first["id"] != second["id"]


@pytest.mark.parametrize("payload", [{"status": 200, "body": BODY}, {"data": BODY}, {"status": 200, **BODY}])
def test_the_answer_is_found_wherever_it_is(payload: dict[str, Any]) -> None:
    market = opened()
    market.subscribe([question()])
    (request, _) = sent(market)

    ((asked, ts, (text,)),) = records(market, response(request["id"], **payload))

    assert (asked, ts) == (question(), RECEIVED)
    assert json.loads(str(text)).items() >= BODY.items()


def test_answers_are_distinguished_by_their_ids() -> None:
    market = opened()
    market.subscribe([question(1), question(2)])
    one, two, _ = sent(market)

    found = records(market, response(two["id"], body=[2]), response("other", body=[3]), response(one["id"], body=[1]))

    assert found == [(question(2), RECEIVED, ("[2]",)), (question(1), RECEIVED, ("[1]",))]


def test_an_answer_counts_once() -> None:
    market = opened()
    market.subscribe([question()])
    (request, _) = sent(market)
    answer = response(request["id"], body=BODY)

    assert (len(records(market, answer)), records(market, answer)) == (1, [])


@pytest.mark.parametrize(
    "payload",
    [{"status": 404, "error": "no options"}, {"error": "no options"}, {"status": 500, "message": "no options"}],
)
def test_a_refusal_names_the_path_and_not_the_symbols_streams(payload: dict[str, Any]) -> None:
    market = opened(quotes())
    market.subscribe([question()])
    (request, _) = sent(market)

    found, notices = market.receive([line(response(request["id"], **payload))], RECEIVED)

    assert list(found) == []
    assert by_symbol(notices) == [((PATH,), "no options")]


def test_a_refusal_may_be_an_event() -> None:
    market = opened()
    market.subscribe([question()])
    (request, _) = sent(market)

    _, notices = market.receive([line(event("error", error="no options", id=request["id"]))], RECEIVED)

    assert by_symbol(notices) == [((PATH,), "no options")]


def test_what_has_no_answer_is_asked_again_on_a_new_connection() -> None:
    market = opened()
    market.subscribe([question(1), question(2)])
    (first, _, _) = sent(market)
    records(market, response(first["id"], body=BODY))

    messages = [message for message in reopen(market) if message["type"] == "request"]

    assert len(messages) == 1
    assert records(market, response(messages[0]["id"], body=BODY))[0][0] == question(2)


def test_what_is_asked_before_the_session_is_open_goes_out_after() -> None:
    market = opened()
    market.open(0.0)

    fence = market.subscribe([question()])
    before = sent(market, "request")
    after = [message for message in reopen(market) if message["type"] == "request"]

    assert (fence, before, len(after)) == (0, [], 1)


def test_a_question_given_up_is_forgotten_without_a_word() -> None:
    market = opened(quotes())
    market.subscribe([question()])
    (request, _) = sent(market)

    market.unsubscribe([question()])

    assert sent(market) == []
    assert records(market, response(request["id"], body=BODY)) == []


@pytest.mark.parametrize("body", ['{"\\ud800": 1}', '["\\udfff"]'])
def test_an_answer_that_no_json_can_say_is_empty(body: str) -> None:
    market = opened()
    market.subscribe([question()])
    (request, _) = sent(market)

    said = line(response(request["id"], body="BODY")).replace(b'"BODY"', body.encode())
    emitted, notices = market.receive([said], RECEIVED)

    assert list(emitted) == [(question(), RECEIVED, ("",))]
    assert list(notices) == []
