from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.model import Notice, Pong, SessionLost, SessionOpened, SessionRefused, TokenWanted
from tests.brokers.alor.lines import (
    RECEIVED,
    answer,
    begin,
    book,
    data,
    guid_of,
    opened,
    order_book,
    quote,
    quotes,
    receive,
    reply,
    sent,
    trades,
)
from tests.brokers.refusals import by_symbol

BAD = (401, "Invalid JWT token!")


def jwt(**claims: Any) -> str:
    parts = ({"alg": "ES256", "typ": "JWT"}, claims)
    return ".".join([*(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "x"])


def ticked(protocol: AlorMarket, *times: float) -> list[Notice]:
    return [notice for now in times for notice in protocol.tick(now)]


# Opening.


def test_token_asks_for_what_is_subscribed_and_pings_behind_it() -> None:
    protocol = AlorMarket()
    protocol.subscribe([quotes(), trades()])

    asked = begin(protocol, "fresh")

    assert [(each["opcode"], each["guid"], each["token"]) for each in asked] == [
        ("QuotesSubscribe", "quotes-1", "fresh"),
        ("AllTradesGetAndSubscribe", "trades-2", "fresh"),
        ("ping", "ping-3", "fresh"),
    ]


def test_without_streams_a_ping_finds_out_whether_the_token_is_good() -> None:
    protocol = AlorMarket()
    asked = begin(protocol)

    _, notices = receive(protocol, reply("ping-1"))

    assert asked == [{"opcode": "ping", "confirm": True, "guid": "ping-1", "token": "token-1"}]
    assert notices == [SessionOpened(None, is_renewal=False), Pong(1)]


@pytest.mark.parametrize("guid", ["quotes-1", "ping-2", ""])
def test_refusal_before_the_session_is_open_is_that_of_the_token(guid: str) -> None:
    protocol = AlorMarket()
    protocol.subscribe([quotes()])
    begin(protocol)

    _, notices = receive(protocol, reply(guid, *BAD))

    assert notices == [SessionRefused("Invalid JWT token!")]


def test_refusal_without_a_guid_afterwards_is_that_of_the_connection() -> None:
    protocol = opened(AlorMarket(), quotes())

    _, notices = receive(protocol, reply("", *BAD))

    assert notices == [SessionLost("the server refuses the token: Invalid JWT token!", "token")]


# Pongs.


@pytest.mark.parametrize("is_pong_first", [False, True])
def test_pong_waits_for_the_reply_to_every_request_before_it(is_pong_first: bool) -> None:
    protocol = opened(AlorMarket())
    number = protocol.subscribe([quotes(), trades()])
    first, second, ping = sent(protocol)
    early, late = (ping, second) if is_pong_first else (second, ping)

    _, before = receive(protocol, reply(first["guid"]), reply(early["guid"]))
    _, after = receive(protocol, reply(late["guid"]))

    assert before == []
    assert after == [Pong(number)]


def test_pong_comes_when_the_time_of_a_missing_reply_ran_out() -> None:
    protocol = opened(AlorMarket())
    number = protocol.subscribe([quotes()])
    _, ping = sent(protocol)
    receive(protocol, reply(ping["guid"]))

    in_time, late = ticked(protocol, 9.0), ticked(protocol, 10.5)

    assert in_time == []
    assert by_symbol(late) == [(("SBER",), "no answer within 10 s"), Pong(number)]


@pytest.mark.parametrize("answered", [(400, "unknown opcode"), (404, "?"), (200, "pong")])
def test_any_reply_to_a_ping_is_a_pong(answered: tuple[int, str]) -> None:
    protocol = opened(AlorMarket())
    number = protocol.subscribe([])

    _, notices = receive(protocol, reply(f"ping-{number}", *answered))

    assert notices == [Pong(number)]


def test_echo_of_a_ping_is_a_pong() -> None:
    protocol = opened(AlorMarket())
    number = protocol.subscribe([])

    _, notices = receive(protocol, json.dumps({"opcode": "ping", "guid": f"ping-{number}", "confirm": True}).encode())

    assert notices == [Pong(number)]


def test_pong_of_another_connection_is_none() -> None:
    protocol = AlorMarket()
    begin(protocol)
    begin(protocol)

    _, notices = receive(protocol, reply("ping-1"))

    assert notices == [SessionOpened(None, is_renewal=False)]


# Keepalive.


def test_ping_goes_out_every_20_seconds() -> None:
    protocol = opened(AlorMarket())
    pings = []
    for now in range(1, 61):
        assert ticked(protocol, float(now)) == []
        requests = sent(protocol)
        pings += [now] * len(requests)
        receive(protocol, *(reply(ping["guid"]) for ping in requests))

    assert pings == [20, 40, 60]


def test_connection_without_any_sign_is_lost_10_seconds_after_a_ping() -> None:
    protocol = opened(AlorMarket())

    notices = ticked(protocol, 1.0, 20.0, 29.9, 30.1)

    assert notices == [SessionLost("no answer to a ping within 10 s", "silence")]


def test_token_that_is_never_answered_is_a_lost_connection() -> None:
    protocol = AlorMarket()
    begin(protocol)

    assert ticked(protocol, 5.0, 10.5) == [SessionLost("no answer to a ping within 10 s", "silence")]


def test_data_keep_a_connection_alive_whose_pongs_are_behind_a_long_queue() -> None:
    protocol = opened(AlorMarket(), quotes())
    ticked(protocol, 20.0)
    frame = data(guid_of(protocol, quotes()), quote())
    said = []
    for now in range(21, 40):
        receive(protocol, frame)
        said += ticked(protocol, float(now))

    assert [type(notice) for notice in said] == [Pong]


# Tokens.


def test_new_token_renews_the_session_in_place_and_is_in_every_later_request() -> None:
    protocol = opened(AlorMarket(), quotes())

    protocol.authenticate("token-2", 5.0)
    said = ticked(protocol, 5.1)
    protocol.subscribe([trades()])
    protocol.unsubscribe([quotes()])

    assert said == [SessionOpened(None, is_renewal=True)]
    assert [(each["opcode"], each["token"]) for each in sent(protocol)] == [
        ("ping", "token-2"),
        ("AllTradesGetAndSubscribe", "token-2"),
        ("ping", "token-2"),
        ("unsubscribe", "token-2"),
    ]


def test_renewal_is_reported_with_the_next_frame_as_well() -> None:
    protocol = opened(AlorMarket(), quotes())
    protocol.authenticate("token-2", 5.0)

    found, notices = receive(protocol, data(guid_of(protocol, quotes()), quote()))

    assert len(found) == 1
    assert notices == [SessionOpened(None, is_renewal=True)]


def test_same_token_again_is_no_renewal_and_costs_nothing() -> None:
    protocol = opened(AlorMarket(), quotes())

    protocol.authenticate("token-1", 5.0)

    assert (ticked(protocol, 5.1), sent(protocol)) == ([], [])


def test_refused_request_is_sent_once_more_with_a_fresh_token() -> None:
    protocol = opened(AlorMarket())
    number = protocol.subscribe([quotes()])
    request, ping = sent(protocol)

    _, refused = receive(protocol, reply(request["guid"], *BAD), reply(ping["guid"]))
    protocol.authenticate("token-2", 6.0)
    again = sent(protocol)
    _, accepted = receive(protocol, *(reply(each["guid"]) for each in again))

    assert refused == [TokenWanted(is_refused=True)], "the pong waits"
    assert (again[0]["opcode"], again[0]["guid"], again[0]["token"]) == ("QuotesSubscribe", "quotes-1", "token-2")
    assert accepted[0] == SessionOpened(None, is_renewal=True)
    assert isinstance(accepted[-1], Pong)
    assert accepted[-1].number > number


def test_request_that_is_refused_with_the_fresh_token_too_is_rejected() -> None:
    protocol = opened(AlorMarket())
    protocol.subscribe([quotes()])
    sent(protocol)
    receive(protocol, reply("quotes-1", *BAD))
    protocol.authenticate("token-2", 6.0)
    protocol.tick(6.1)

    _, notices = receive(protocol, reply("quotes-1", *BAD))

    assert by_symbol(notices) == [(("SBER",), "Invalid JWT token!")]


def test_many_refusals_want_one_token() -> None:
    protocol = opened(AlorMarket())
    protocol.subscribe([quotes("A"), quotes("B"), trades("C")])
    requests = sent(protocol)

    _, notices = receive(protocol, *(reply(each["guid"], *BAD) for each in requests))

    assert notices == [TokenWanted(is_refused=True)]


def test_unsubscribe_that_is_refused_is_sent_again_with_a_fresh_token() -> None:
    protocol = opened(AlorMarket(), quotes())
    protocol.unsubscribe([quotes()])
    sent(protocol)
    receive(protocol, reply("quotes-1", *BAD))

    protocol.authenticate("token-2", 6.0)

    assert [each["opcode"] for each in sent(protocol)] == ["unsubscribe", "ping"]


def test_refused_request_waits_for_a_token_as_long_as_it_takes() -> None:
    protocol = opened(AlorMarket())
    protocol.subscribe([quotes()])
    receive(protocol, *(reply(each["guid"], *BAD) for each in sent(protocol)))

    assert ticked(protocol, 15.0) == []


@pytest.mark.parametrize(("life", "asked_after"), [(1_800, 1_500), (60, 45), (20, 15)])
def test_token_is_asked_for_ahead_of_its_end(life: int, asked_after: int) -> None:
    protocol = AlorMarket()
    begin(protocol, jwt(sub="P000", exp=RECEIVED // 10**9 + life))
    answer(protocol, [{"guid": "ping-1"}])
    wanted = [now for now in range(1, life) if TokenWanted() in alive(protocol, float(now))]

    assert wanted == [asked_after]


def alive(protocol: AlorMarket, now: float) -> list[Notice]:
    """A tick on a connection that answers its pings."""
    said = list(protocol.tick(now))
    return said + receive(protocol, *(reply(ping["guid"]) for ping in sent(protocol)))[1]


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "..", jwt(sub="P000"), jwt(exp="soon"), jwt(exp=-1), "é.é.é"])
def test_token_that_does_not_say_its_end_is_renewed_after_25_minutes(token: str) -> None:
    protocol = AlorMarket()
    begin(protocol, token)
    answer(protocol, [{"guid": "ping-1"}])

    wanted = [now for now in range(10, 2_000, 10) if TokenWanted() in alive(protocol, float(now))]

    assert wanted == [1_500]


def test_token_that_cannot_be_renewed_is_not_wanted_without_end() -> None:
    end = RECEIVED // 10**9 + 60
    protocol = AlorMarket()
    begin(protocol, jwt(exp=end))
    answer(protocol, [{"guid": "ping-1"}])
    wanted = []
    for now in range(1, 300):
        said = list(protocol.tick(float(now)))
        if TokenWanted() in said:
            wanted.append(now)
            protocol.authenticate(jwt(exp=end), float(now))
        receive(protocol, *(reply(ping["guid"]) for ping in sent(protocol)), received=RECEIVED + now * 10**9)

    assert wanted[0] == 45
    assert wanted[-1] <= 300
    assert len(wanted) < 8


# Secrecy.


def test_token_is_in_no_text_but_the_requests() -> None:
    token = jwt(sub="P000", exp=RECEIVED // 10**9 + 600)
    protocol = opened(AlorMarket(), quotes(), book())
    protocol.authenticate(token, 1.0)

    _, notices = receive(
        protocol,
        reply("quotes-1", 400, f"bad token {token}"),
        f'{{"token":"{token}"'.encode(),
        data(guid_of(protocol, book()), order_book({}, {})),
    )

    assert token not in repr(protocol)
    assert token not in repr(notices)
    assert len(notices) >= 3
