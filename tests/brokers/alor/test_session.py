from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.model import Notice, Pong, Rejected, SessionLost, SessionOpened, SessionRefused, TokenWanted
from tests.brokers.alor.lines import (
    RECEIVED,
    answer,
    begin,
    book,
    data,
    guid_of,
    heard,
    opened,
    order_book,
    quote,
    quotes,
    reply,
    sent,
    trades,
)

BAD = (401, "Invalid JWT token!")


def jwt(**claims: Any) -> str:
    parts = ({"alg": "ES256", "typ": "JWT"}, claims)
    return ".".join([*(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "x"])


def ticked(wire: AlorMarket, *times: float) -> list[Notice]:
    return [notice for now in times for notice in wire.tick(now)]


# Opening.


def test_token_asks_for_what_is_subscribed_and_pings_behind_it() -> None:
    wire = AlorMarket()
    wire.subscribe([quotes(), trades()])

    asked = begin(wire, "fresh")

    assert [(each["opcode"], each["guid"], each["token"]) for each in asked] == [
        ("QuotesSubscribe", "quotes-1", "fresh"),
        ("AllTradesGetAndSubscribe", "trades-2", "fresh"),
        ("ping", "ping-3", "fresh"),
    ]


def test_without_streams_a_ping_finds_out_whether_the_token_is_good() -> None:
    wire = AlorMarket()
    asked = begin(wire)

    _, notices = heard(wire, reply("ping-1"))

    assert asked == [{"opcode": "ping", "confirm": True, "guid": "ping-1", "token": "token-1"}]
    assert notices == [SessionOpened(None, is_renewal=False), Pong(1)]


@pytest.mark.parametrize("guid", ["quotes-1", "ping-2", ""])
def test_refusal_before_the_session_is_open_is_that_of_the_token(guid: str) -> None:
    wire = AlorMarket()
    wire.subscribe([quotes()])
    begin(wire)

    _, notices = heard(wire, reply(guid, *BAD))

    assert notices == [SessionRefused("Invalid JWT token!")]


def test_refusal_without_a_guid_afterwards_is_that_of_the_connection() -> None:
    wire = opened(AlorMarket(), quotes())

    _, notices = heard(wire, reply("", *BAD))

    assert notices == [SessionLost("the server refuses the token: Invalid JWT token!", "token")]


# Pongs.


@pytest.mark.parametrize("is_pong_first", [False, True])
def test_pong_waits_for_the_reply_to_every_request_before_it(is_pong_first: bool) -> None:
    wire = opened(AlorMarket())
    number = wire.subscribe([quotes(), trades()])
    first, second, ping = sent(wire)
    early, late = (ping, second) if is_pong_first else (second, ping)

    _, before = heard(wire, reply(first["guid"]), reply(early["guid"]))
    _, after = heard(wire, reply(late["guid"]))

    assert before == []
    assert after == [Pong(number)]


def test_pong_comes_when_the_time_of_a_missing_reply_ran_out() -> None:
    wire = opened(AlorMarket())
    number = wire.subscribe([quotes()])
    _, ping = sent(wire)
    heard(wire, reply(ping["guid"]))

    in_time, late = ticked(wire, 9.0), ticked(wire, 10.5)

    assert in_time == []
    assert late == [Rejected(("SBER",), "no answer within 10 s"), Pong(number)]


@pytest.mark.parametrize("answered", [(400, "unknown opcode"), (404, "?"), (200, "pong")])
def test_any_reply_to_a_ping_is_a_pong(answered: tuple[int, str]) -> None:
    wire = opened(AlorMarket())
    number = wire.subscribe([])

    _, notices = heard(wire, reply(f"ping-{number}", *answered))

    assert notices == [Pong(number)]


def test_echo_of_a_ping_is_a_pong() -> None:
    wire = opened(AlorMarket())
    number = wire.subscribe([])

    _, notices = heard(wire, json.dumps({"opcode": "ping", "guid": f"ping-{number}", "confirm": True}).encode())

    assert notices == [Pong(number)]


def test_pong_of_another_connection_is_none() -> None:
    wire = AlorMarket()
    begin(wire)
    begin(wire)

    _, notices = heard(wire, reply("ping-1"))

    assert notices == [SessionOpened(None, is_renewal=False)]


# Keepalive.


def test_ping_goes_out_every_20_seconds() -> None:
    wire = opened(AlorMarket())
    pings = []
    for now in range(1, 61):
        assert ticked(wire, float(now)) == []
        requests = sent(wire)
        pings += [now] * len(requests)
        heard(wire, *(reply(ping["guid"]) for ping in requests))

    assert pings == [20, 40, 60]


def test_connection_without_any_sign_is_lost_10_seconds_after_a_ping() -> None:
    wire = opened(AlorMarket())

    notices = ticked(wire, 1.0, 20.0, 29.9, 30.1)

    assert notices == [SessionLost("no answer to a ping within 10 s", "silence")]


def test_token_that_is_never_answered_is_a_lost_connection() -> None:
    wire = AlorMarket()
    begin(wire)

    assert ticked(wire, 5.0, 10.5) == [SessionLost("no answer to a ping within 10 s", "silence")]


def test_data_keep_a_connection_alive_whose_pongs_are_behind_a_long_queue() -> None:
    wire = opened(AlorMarket(), quotes())
    ticked(wire, 20.0)
    frame = data(guid_of(wire, quotes()), quote())
    said = []
    for now in range(21, 40):
        heard(wire, frame)
        said += ticked(wire, float(now))

    assert [type(notice) for notice in said] == [Pong]


# Tokens.


def test_new_token_renews_the_session_in_place_and_is_in_every_later_request() -> None:
    wire = opened(AlorMarket(), quotes())

    wire.authenticate("token-2", 5.0)
    said = ticked(wire, 5.1)
    wire.subscribe([trades()])
    wire.unsubscribe([quotes()])

    assert said == [SessionOpened(None, is_renewal=True)]
    assert [(each["opcode"], each["token"]) for each in sent(wire)] == [
        ("ping", "token-2"),
        ("AllTradesGetAndSubscribe", "token-2"),
        ("ping", "token-2"),
        ("unsubscribe", "token-2"),
    ]


def test_renewal_is_told_with_the_next_frame_as_well() -> None:
    wire = opened(AlorMarket(), quotes())
    wire.authenticate("token-2", 5.0)

    found, notices = heard(wire, data(guid_of(wire, quotes()), quote()))

    assert len(found) == 1
    assert notices == [SessionOpened(None, is_renewal=True)]


def test_same_token_again_is_no_renewal_and_costs_nothing() -> None:
    wire = opened(AlorMarket(), quotes())

    wire.authenticate("token-1", 5.0)

    assert (ticked(wire, 5.1), sent(wire)) == ([], [])


def test_refused_request_is_sent_once_more_with_a_fresh_token() -> None:
    wire = opened(AlorMarket())
    number = wire.subscribe([quotes()])
    request, ping = sent(wire)

    _, refused = heard(wire, reply(request["guid"], *BAD), reply(ping["guid"]))
    wire.authenticate("token-2", 6.0)
    again = sent(wire)
    _, accepted = heard(wire, *(reply(each["guid"]) for each in again))

    assert refused == [TokenWanted(is_refused=True)], "the pong waits"
    assert (again[0]["opcode"], again[0]["guid"], again[0]["token"]) == ("QuotesSubscribe", "quotes-1", "token-2")
    assert accepted[0] == SessionOpened(None, is_renewal=True)
    assert isinstance(accepted[-1], Pong)
    assert accepted[-1].number > number


def test_request_that_is_refused_with_the_fresh_token_too_is_rejected() -> None:
    wire = opened(AlorMarket())
    wire.subscribe([quotes()])
    sent(wire)
    heard(wire, reply("quotes-1", *BAD))
    wire.authenticate("token-2", 6.0)
    wire.tick(6.1)

    _, notices = heard(wire, reply("quotes-1", *BAD))

    assert notices == [Rejected(("SBER",), "Invalid JWT token!")]


def test_many_refusals_want_one_token() -> None:
    wire = opened(AlorMarket())
    wire.subscribe([quotes("A"), quotes("B"), trades("C")])
    requests = sent(wire)

    _, notices = heard(wire, *(reply(each["guid"], *BAD) for each in requests))

    assert notices == [TokenWanted(is_refused=True)]


def test_unsubscribe_that_is_refused_is_sent_again_with_a_fresh_token() -> None:
    wire = opened(AlorMarket(), quotes())
    wire.unsubscribe([quotes()])
    sent(wire)
    heard(wire, reply("quotes-1", *BAD))

    wire.authenticate("token-2", 6.0)

    assert [each["opcode"] for each in sent(wire)] == ["unsubscribe", "ping"]


def test_refused_request_waits_for_a_token_as_long_as_it_takes() -> None:
    wire = opened(AlorMarket())
    wire.subscribe([quotes()])
    heard(wire, *(reply(each["guid"], *BAD) for each in sent(wire)))

    assert ticked(wire, 15.0) == []


@pytest.mark.parametrize(("life", "asked_after"), [(1_800, 1_500), (60, 45), (20, 15)])
def test_token_is_asked_for_ahead_of_its_end(life: int, asked_after: int) -> None:
    wire = AlorMarket()
    begin(wire, jwt(sub="P000", exp=RECEIVED // 10**9 + life))
    answer(wire, [{"guid": "ping-1"}])
    wanted = [now for now in range(1, life) if TokenWanted() in alive(wire, float(now))]

    assert wanted == [asked_after]


def alive(wire: AlorMarket, now: float) -> list[Notice]:
    """A tick on a connection that answers its pings."""
    said = list(wire.tick(now))
    return said + heard(wire, *(reply(ping["guid"]) for ping in sent(wire)))[1]


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "..", jwt(sub="P000"), jwt(exp="soon"), jwt(exp=-1), "é.é.é"])
def test_token_that_does_not_say_its_end_is_renewed_after_25_minutes(token: str) -> None:
    wire = AlorMarket()
    begin(wire, token)
    answer(wire, [{"guid": "ping-1"}])

    wanted = [now for now in range(10, 2_000, 10) if TokenWanted() in alive(wire, float(now))]

    assert wanted == [1_500]


def test_token_that_cannot_be_renewed_is_not_wanted_without_end() -> None:
    end = RECEIVED // 10**9 + 60
    wire = AlorMarket()
    begin(wire, jwt(exp=end))
    answer(wire, [{"guid": "ping-1"}])
    wanted = []
    for now in range(1, 300):
        said = list(wire.tick(float(now)))
        if TokenWanted() in said:
            wanted.append(now)
            wire.authenticate(jwt(exp=end), float(now))
        heard(wire, *(reply(ping["guid"]) for ping in sent(wire)), received=RECEIVED + now * 10**9)

    assert wanted[0] == 45
    assert wanted[-1] <= 300
    assert len(wanted) < 8


# Secrecy.


def test_token_is_in_no_text_but_the_requests() -> None:
    token = jwt(sub="P000", exp=RECEIVED // 10**9 + 600)
    wire = opened(AlorMarket(), quotes(), book())
    wire.authenticate(token, 1.0)

    _, notices = heard(
        wire,
        reply("quotes-1", 400, f"bad token {token}"),
        f'{{"token":"{token}"'.encode(),
        data(guid_of(wire, book()), order_book({}, {})),
    )

    assert token not in repr(wire)
    assert token not in repr(notices)
    assert len(notices) >= 3
