"""Whenever a server falls silent for ever, each session finds out within two of its ping intervals."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.brokers import BROKERS
from aries_nb.brokers.alor.session import PING_SECONDS as ALOR_PING_SECONDS
from aries_nb.brokers.aries.session import PING_SECONDS as ARIES_PING_SECONDS
from aries_nb.model import SessionLost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aries_nb.brokers import BrokerProtocol

TICK = 0.25
RECEIVED = 1_700_000_000_000_000_000


def answers(protocol: BrokerProtocol) -> Iterator[bytes]:
    """What a server says to what waits to be sent."""
    for frame in protocol.outgoing():
        request: dict[str, Any] = json.loads(frame)
        if request.get("type") == "ping":
            yield json.dumps({"type": "pong", "id": request["id"]}).encode()
        elif request.get("type") == "request":
            payload = {"action": "authSuccess", "id": request["id"], "data": {}}
            yield json.dumps({"type": "event", "payload": payload}).encode()
        elif request.get("opcode") == "ping":
            yield json.dumps({"requestGuid": request["guid"], "httpCode": 200, "message": "OK"}).encode()


def seconds_until_found(protocol: BrokerProtocol, silent_from: float) -> float | None:
    """How long after it fell silent a server is given up; None where it is not."""
    protocol.open(0.0)
    protocol.authenticate("a token", 0.0)
    protocol.subscribe(())
    now = 0.0
    while now < silent_from + 1_000:
        said = list(answers(protocol))
        for answer in said if now < silent_from else ():
            protocol.receive([answer], RECEIVED + int(now * 1e9))
        now += TICK
        if any(isinstance(notice, SessionLost) for notice in protocol.tick(now)):
            return now - silent_from
    return None


@pytest.mark.parametrize(
    ("broker", "ping_seconds"), [("aries", ARIES_PING_SECONDS), ("alor", ALOR_PING_SECONDS)], ids=["aries", "alor"]
)
@pytest.mark.parametrize("endpoint", ["market", "accounts"])
def test_a_server_that_is_silent_for_ever_is_found_within_two_pings(
    broker: str, ping_seconds: float, endpoint: str
) -> None:
    moments = [1.0 + ping_seconds * step / 7 for step in range(22)]

    found = [seconds_until_found(getattr(BROKERS[broker], endpoint).make(), moment) for moment in moments]

    assert [seconds for seconds in found if seconds is None or not 0 < seconds <= 2 * ping_seconds] == []


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_a_server_that_answers_stays_connected_and_gets_a_ping_every_interval(broker: str) -> None:
    protocol = BROKERS[broker].market.make()
    protocol.open(0.0)
    protocol.authenticate("a token", 0.0)
    protocol.subscribe(())
    spoken: list[float] = []
    lost: list[float] = []

    for step in range(1, 2_000):
        now = step * TICK
        for answer in list(answers(protocol)):
            spoken.append(now)
            protocol.receive([answer], RECEIVED + int(now * 1e9))
        lost += [now for notice in protocol.tick(now) if isinstance(notice, SessionLost)]

    pauses = [later - earlier for earlier, later in pairwise(spoken)]
    assert lost == []
    assert max(pauses) <= 31
    assert spoken[-1] > 460
