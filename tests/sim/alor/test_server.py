"""The simulated ALOR server as a whole: connections and their limits, pacing, and statistics."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from aries_nb.sim import AlorOptions, Simulator
from aries_nb.sim.alor.server import AlorServer, FrameClient
from aries_nb.sim.alor.session import AlorSession
from tests.net.patience import eventually
from tests.sim.alor.client import AlorClient
from tests.sim.standing import go_on, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SBER = {"exchange": "MOEX", "code": "SBER"}


@pytest.fixture
def alor() -> Iterator[Callable[..., Simulator]]:
    """Start simulators that end with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Simulator(AlorOptions(**options)))


def wait(sim: Simulator, what: str, least: int) -> None:
    """Wait until a counter of the server has reached a value: there is nothing else, as the client must not read."""
    eventually(lambda: getattr(sim.statistics(), what) >= least, what)


def test_broker_may_be_named_alone() -> None:
    with Simulator("alor") as sim, AlorClient(sim.url) as bare:
        assert bare.sync() == []


def test_other_paths_are_not_found(alor: Callable[..., Simulator]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        AlorClient(alor().url + "/cws")

    assert refused.value.response.status_code == 404


def test_client_that_does_not_read_is_cut_off_beyond_the_limit(alor: Callable[..., Simulator]) -> None:
    sim = alor(rate=30_000, conflate=False, queue_limit=2000)
    with AlorClient(sim.url) as slow, AlorClient(sim.url) as quick:
        slow.request("OrderBookGetAndSubscribe", depth=20, frequency=0, **SBER)
        wait(sim, "queued", 1000)
        wait(sim, "closed_slow", 1)

        assert slow.receive_close()[0] == 1006
        assert quick.sync() == []
        assert sim.statistics().connections_open == 1


@pytest.mark.parametrize(("is_blocked", "expected"), [(True, (True, False)), (False, (False, True))])
def test_what_waits_for_a_busy_server_is_not_held_against_the_client(
    is_blocked: bool, expected: tuple[bool, bool]
) -> None:
    server = AlorServer(AlorOptions())
    client = FrameClient(None, AlorSession(server.options, server, 0.0))  # type: ignore[arg-type]
    client.is_blocked = is_blocked

    client.session.outbox.extend(["{}"] * 5000)
    at_the_limit = client.is_unread(5000)
    client.session.outbox.append("{}")

    assert not at_the_limit
    assert (client.is_unread(5000), client.is_backlogged) == expected


def test_the_usual_limit_is_5000_unread_messages(alor: Callable[..., Simulator]) -> None:
    assert alor().options.queue_limit == 5000


def test_a_history_longer_than_the_limit_does_not_cut_its_reader_off(alor: Callable[..., Simulator]) -> None:
    sim = alor(queue_limit=500)
    since = int(time.time()) - 20 * 86_400
    with AlorClient(sim.url) as bare:
        bare.request("BarsGetAndSubscribe", tf="60", format="Slim", **SBER, **{"from": since})
        history = bare.receive_until(lambda frame: "requestGuid" in frame)

    times = [frame["data"]["t"] for frame in history[:-1]]
    assert len(times) > 5000
    assert times == sorted(set(times))
    assert sim.statistics().closed_slow == 0


def test_a_live_frame_does_not_wait_for_a_long_history(alor: Callable[..., Simulator]) -> None:
    sim = alor(rate=2000)
    with AlorClient(sim.url) as bare:
        bare.request("BarsGetAndSubscribe", "bars", tf="60", format="Slim", **SBER, **{"from": 0})
        bare.request("AllTradesSubscribe", "trades", exchange="MOEX", code="GAZP")
        frames = bare.receive_until(lambda frame: frame.get("guid") == "trades")

    assert len(frames) < 20_000


def test_compression_is_accepted_where_it_is_offered(alor: Callable[..., Simulator]) -> None:
    with connect(f"{alor(compress=True).url}/ws") as offered, connect(f"{alor().url}/ws") as refused:
        offered.send('{"opcode":"ping","guid":"p","token":"t"}')

        assert json.loads(offered.recv(10))["httpCode"] == 200
        assert [bool(socket.protocol.extensions) for socket in (offered, refused)] == [True, False]


def test_too_long_a_message_is_refused_with_1009(alor: Callable[..., Simulator]) -> None:
    with AlorClient(alor().url) as bare:
        bare.send("x" * (2**16 + 1))

        assert bare.receive_close()[0] == 1009


def test_a_binary_message_is_refused_and_the_connection_lives(alor: Callable[..., Simulator]) -> None:
    with AlorClient(alor().url) as bare:
        bare.send(b"\x00")

        assert bare.receive()["httpCode"] == 400
        assert bare.sync() == []


def test_a_lone_surrogate_comes_back_as_it_was_sent(alor: Callable[..., Simulator]) -> None:
    with AlorClient(alor().url) as bare:
        bare.request("QuotesSubscribe", "\ud800", exchange="MOEX", code="\udfff")
        bare.receive()
        bare.request("ping", "\ud800")
        bare.receive()

    assert bare.frames == [
        r"""{"requestGuid":"\ud800","httpCode":404,"message":"Instrument 'MOEX:\udfff' is not found"}""",
        r'{"requestGuid":"\ud800","httpCode":200,"message":"Handled successfully"}',
    ]


def test_a_subject_has_ten_connections(alor: Callable[..., Simulator]) -> None:
    sim = alor()
    with ExitStack() as stack:
        clients = [stack.enter_context(AlorClient(sim.url)) for _ in range(11)]
        for bare in clients:
            bare.request("ping", "p")
        codes = [bare.receive_reply("p")[0] for bare in clients]
        end = clients[10].receive_close()[0]
        clients[0].socket.close()
        with AlorClient(sim.url) as again:
            after = again.sync()

    assert (codes, end, after) == ([200] * 10 + [429], 1008, [])


def test_one_connection_too_many_may_be_refused_at_the_handshake(alor: Callable[..., Simulator]) -> None:
    sim = alor(refuse_handshake=True, connection_limit=1)
    with AlorClient(sim.url) as first:
        first.sync()
        with pytest.raises(InvalidStatus) as refused:
            AlorClient(sim.url)

    assert refused.value.response.status_code == 429


def test_thousands_of_subscriptions_fit_into_a_connection(alor: Callable[..., Simulator]) -> None:
    sim = alor(subscription_limit=1500, rate=100)
    with AlorClient(sim.url) as bare:
        for number in range(1, 1502):
            bare.request("QuotesSubscribe", f"q-{number}", exchange="MOEX", code=f"SIM{number:05}", format="Slim")
        replies = [frame for frame in bare.sync() if "requestGuid" in frame]

    assert [reply["httpCode"] for reply in replies] == [200] * 1500 + [429]
    assert (sim.statistics().closed_slow, sim.statistics().subscribe_requests) == (0, 1501)


def test_token_is_asked_of_every_request(alor: Callable[..., Simulator]) -> None:
    sim = alor(token="fixed")
    http = sim.url.replace("ws:", "http:")
    issued = httpx.post(f"{http}/refresh", params={"token": "sim-refresh"}).json()["AccessToken"]
    with AlorClient(sim.url) as bare:
        for guid, token in (("a", "fixed"), ("b", issued), ("c", "another")):
            bare.request("QuotesSubscribe", guid, token, **SBER)
        codes = [bare.receive_reply(guid)[0] for guid in "abc"]
        bare.request("unsubscribe", "a", "another")
        refused = bare.receive_reply("a")

    assert codes == [200, 200, 401]
    assert refused == (401, "Invalid JWT token!")
    assert (sim.statistics().auths, sim.statistics().refused_tokens) == (1, 2)


def test_the_server_reports_held_back_states(alor: Callable[..., Simulator]) -> None:
    sim = alor(rate=2000)
    with AlorClient(sim.url) as bare:
        bare.request("QuotesSubscribe", frequency=500, **SBER)
        bare.receive_data(3)
        sim.set_market("closed")
        bare.sync()
        (held,) = sim.subscriptions()
        statistics = httpx.get(f"{sim.url.replace('ws:', 'http:')}/sim/statistics").json()

    counts = held["g-1"]
    assert (counts["kind"], counts["frequency"], counts["format"]) == ("quotes", 500, "simple")
    assert counts["sent"] >= 3
    assert counts["held_back"] > 50
    assert statistics["connections"][0]["g-1"]["code"] == "SBER"
    assert sim.statistics().held_back >= counts["held_back"]


def test_connections_are_dropped_and_closed_on_request(alor: Callable[..., Simulator]) -> None:
    sim = alor()
    with AlorClient(sim.url) as first:
        first.sync()
        sim.broadcast('{ "data": {}, "guid":"unknown" }')
        foreign = first.receive()
        sim.drop_connections()
        dropped = first.receive_close()[0]
    with AlorClient(sim.url) as second:
        second.sync()
        sim.close_connections(1012, "restart")
        closed = second.receive_close()[0]
    with AlorClient(sim.url) as third:
        third.sync()
        sim.close()
        stopped = third.receive_close()[0]

    assert foreign == {"data": {}, "guid": "unknown"}
    assert (dropped, closed, stopped) == (1006, 1012, 1001)


def test_same_seed_sends_the_same_market() -> None:
    def listen(seed: int) -> list[Any]:
        with standing(AlorOptions(seed=seed, rate=1000)) as sim, AlorClient(sim.url) as bare:
            bare.request("AllTradesSubscribe", **SBER)
            assert bare.receive_reply()[0] == 200
            go_on(sim)
            return [(trade["price"], trade["qty"], trade["side"]) for trade in bare.receive_data(60)]

    first = listen(5)

    assert listen(5) == first
    assert listen(6) != first


def test_every_trade_since_the_start_can_be_asked_for(alor: Callable[..., Simulator]) -> None:
    sim = alor(rate=1000)
    with AlorClient(sim.url) as bare:
        started = time.time() - 1
        bare.request("AllTradesSubscribe", **SBER)
        received = bare.receive_data(50)
        log = sim.trades("SBER", started)

    assert [trade["price"] for trade in received] == log["price"][:50].tolist()
    assert [trade["qty"] * 10 for trade in received] == log["size"][:50].tolist()
