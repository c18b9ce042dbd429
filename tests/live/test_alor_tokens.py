"""ALOR tokens that live for a moment: renewed ahead, no refusal reaches the user, none fetched without need."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from aries_nb.brokers.alor.market import AlorMarket
from aries_nb.live import connect
from aries_nb.model import TokenWanted
from aries_nb.sim import Simulator
from tests.brokers.alor.lines import RECEIVED, begin, receive, reply, sent
from tests.live.alor_feeds import open_alor, serve_alor
from tests.net.patience import eventually
from tests.soak.alor_tokens import run

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["open_alor", "serve_alor"]

FRESH_SHARE = 0.9


def token_ending(seconds: float) -> str:
    """A token that ends so many seconds after the moment that frames are received at."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": RECEIVED / 1e9 + seconds}).encode()).rstrip(b"=").decode()
    return f"x.{claims}.y"


class Source:
    """Gives one token until it is nine tenths over, then the next one."""

    def __init__(self, life: float) -> None:
        self.life = life
        self.fetched = 1
        self.ends = life

    def token(self, now: float) -> str:
        if now >= self.ends - (1 - FRESH_SHARE) * self.life:
            self.fetched += 1
            self.ends = now + self.life
        return token_ending(self.ends)


@pytest.mark.parametrize("life", [5.0, 30.0, 1_800.0])
def test_no_request_has_a_token_that_is_over_and_none_is_fetched_before_its_time(life: float) -> None:
    source, protocol = Source(life), AlorMarket()
    (ping,) = begin(protocol, source.token(0.0))
    receive(protocol, reply(ping["guid"]))
    asked, turns = 0, int(20 * life / 0.25)

    for turn in range(1, turns + 1):
        now = turn * 0.25
        notices = list(protocol.tick(now))
        if TokenWanted() in notices:
            asked += 1
            protocol.authenticate(source.token(now), now)
        assert now < source.ends
        answers = [reply(request["guid"]) for request in sent(protocol)]
        receive(protocol, *answers, received=RECEIVED + int(now * 1e9))

    assert source.fetched <= 1 + 20 / FRESH_SHARE
    assert asked <= 5 * source.fetched


def test_a_token_given_again_is_asked_for_once_more_before_its_end() -> None:
    protocol = AlorMarket()
    (ping,) = begin(protocol, token_ending(30.0))
    receive(protocol, reply(ping["guid"]))
    wanted = []

    for turn in range(1, 120):
        if TokenWanted() in protocol.tick(turn * 0.25):  # nothing is answered meanwhile
            wanted.append(turn * 0.25)
            protocol.authenticate(token_ending(30.0), turn * 0.25)

    assert wanted[:3] == [22.5, 28.25, 29.75]


def test_tokens_of_two_seconds_are_renewed_while_streams_come_and_go() -> None:
    lines = run(3.5, life=2.0, pause=0.1)

    # One that lives for hardly more than a second may be over on its way; the request is sent again with another.
    assert [
        line for line in lines if not line.is_met and "401" not in line.what and "tokens issued" not in line.what
    ] == []


def test_a_refusal_in_between_is_answered_with_another_token_and_not_shown(
    serve_alor: Callable[..., Simulator],
) -> None:
    sim = serve_alor(token="none but those issued", token_seconds=3_600.0, rate=500)
    service = sim._server.tokens
    with connect("alor", url=sim.url, token=sim.options.refresh_token) as feed:  # type: ignore[attr-defined]
        before = feed.trades("SBER").wait(rows=5)

        sim._call(lambda: setattr(service, "_key", b"another key"))  # no token of before is good any more
        quotes = feed.quotes("GAZP").wait()
        before.wait(rows=before.received + 20)

        assert sim.statistics().refused_tokens >= 1
        assert (feed.state, feed.stats().last_error, len(feed.gaps)) == ("live", "", 0)
        assert service.issued == 2
        assert quotes.is_live


def test_a_refresh_token_that_is_no_longer_good_is_told_when_the_access_token_ends(
    serve_alor: Callable[..., Simulator],
) -> None:
    sim = serve_alor(token="none but those issued", token_seconds=3.0, rate=100)
    service = sim._server.tokens
    with connect("alor", url=sim.url, token=sim.options.refresh_token) as feed:  # type: ignore[attr-defined]
        prints = feed.trades("SBER").wait(rows=5)

        def refuse(*_: object) -> None:
            from aries_nb.sim.alor.tokens import RefreshError

            raise RefreshError(403, "the refresh token is malformed or has expired")

        sim._call(lambda: setattr(service, "refresh", refuse))
        eventually(lambda: "the refresh token is malformed" in feed.stats().last_error)

        assert prints.is_live  # what runs goes on (U6)
        assert "the refresh token is malformed" in feed._source.card().error
