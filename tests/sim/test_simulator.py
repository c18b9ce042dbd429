from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from aries_nb.errors import ClosedError
from aries_nb.sim import SimOptions, Simulator
from tests.sim.standing import go_on, standing

if TYPE_CHECKING:
    from collections.abc import Callable

Connect = Any


def test_dropped_connections_end_without_a_close_frame(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve()
    clients = [client(sim=sim) for _ in range(3)]

    dropped = sim.drop_connections()

    assert dropped == 3
    assert [bare.receive_close()[0] for bare in clients] == [1006] * 3
    assert client(sim=sim).sync()


def test_connections_are_closed_with_the_given_code(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve()
    bare = client(sim=sim)

    sim.close_connections(4000, "because")

    assert bare.receive_close() == (4000, "because")


def test_broadcast_sends_a_raw_frame_to_the_authenticated(serve: Callable[..., Simulator], client: Connect) -> None:
    sim = serve()
    known, stranger = client(sim=sim), client(sim=sim, log_in=False)
    known.sync()

    count = sim.broadcast("[rubbish")
    frame = known.socket.recv(timeout=60)

    assert (count, frame) == (1, "[rubbish")
    assert stranger.sync() == []


def test_statistics_count_what_happened_and_outlive_the_server(
    serve: Callable[..., Simulator], client: Connect
) -> None:
    sim = serve(rate=500)
    first, second = client(sim=sim), client(sim=sim)
    for bare in (first, second):
        bare.subscribe({"symbol": "AAPL", "quoteFields": "*"})
        bare.receive_updates("quote", 10)
    first.unsubscribe("AAPL")
    first.sync()
    first.socket.close()
    live = sim.statistics()
    sim.close()
    final = sim.statistics()

    assert live.connections_total == 2
    assert (live.auths, live.subscribe_requests, live.unsubscribe_requests) == (2, 2, 1)
    assert live.market_events >= 18
    assert live.messages_sent >= 20 + 4
    assert 0 < live.frames_sent <= live.messages_sent
    assert final.connections_open == 0
    assert (final.auths, final.subscribe_requests, final.unsubscribe_requests) == (2, 2, 1)


def test_same_seed_sends_the_same_market(client: Connect) -> None:
    def listen(seed: int) -> list[Any]:
        with standing(SimOptions(seed=seed, rate=1000)) as sim:
            bare = client(sim=sim)
            bare.subscribe({"symbol": "AAPL", "level2": True}, {"symbol": "MSFT", "tradeFields": ["price", "size"]})
            bare.sync()
            go_on(sim)
            return [update["data"] for update in bare.receive_updates("level2", 60)]

    first = listen(5)

    assert listen(5) == first
    assert listen(6) != first


def test_simulator_is_used_once_and_only_while_it_runs() -> None:
    sim = Simulator(SimOptions())
    with pytest.raises(ClosedError):
        sim.statistics()
    with sim:
        url = sim.url
    sim.close()

    assert url.startswith("ws://127.0.0.1:")
    assert sim.statistics().connections_total == 0
    with pytest.raises(ClosedError):
        sim.drop_connections()
    with pytest.raises(ClosedError), sim:
        pass


def test_connection_gone_in_the_middle_of_everything_leaves_nothing(
    serve: Callable[..., Simulator], client: Connect
) -> None:
    sim = serve(rate=5000)
    stayer, goer = client(sim=sim), client(sim=sim)
    for bare in (stayer, goer):
        bare.subscribe({"symbol": "AAPL"})
        bare.receive_updates("quote", 5)

    # As if the cable was cut: the other side sends nothing more, not even a close frame.
    goer.socket.socket.shutdown(socket.SHUT_RDWR)
    closed = goer.receive_close()
    while len(sim.subscriptions()) > 1:
        stayer.receive_updates("quote", 10)

    assert closed == (1006, "")
    assert sim.statistics().connections_open == 1
