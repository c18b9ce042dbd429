"""Frames of one message each from a loopback socket to bytes in Python: ours beside the clients that there are.

Nothing is decoded. Ours is the connection that a session uses; websockets, aiohttp and picows (in Cython) are at their
best settings: without compression, limits, queues and decoding of text, their reads as large as ours where that can be
set. Clients take turns; CPU time is that of the client's process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from websockets.asyncio.client import connect

from aries_nb.model import Secret
from aries_nb.net.connection_errors import ConnectionLostError
from aries_nb.net.websocket import READ_BYTES, connected
from tests.bench.alor_socket_rate import requests
from tests.bench.blast import blasting
from tests.bench.pace import Meter, Pace, cpu_ratio, in_turns, middle
from tests.bench.results import Budget, Effort, Outcome, Peer
from tests.bench.rounds import ratio

__all__ = ["measure"]

TURN_SECONDS, SMOKE_SECONDS = 1.0, 0.2


def measure(effort: Effort) -> Outcome:
    """The budget of the frames, and the peers."""
    seconds = effort.choose(TURN_SECONDS, TURN_SECONDS, SMOKE_SECONDS)
    clients = {"ours": _ours, "websockets": _websockets, "aiohttp": _aiohttp, "picows": _picows}
    with blasting(0, 1, is_alor=True) as url:
        turns = {name: _turn(client, f"{url}/ws", seconds) for name, client in clients.items()}
        paces = in_turns(turns, effort.choose(7, 2, 1))
    middles = {name: middle(values) for name, values in paces.items()}
    times = cpu_ratio(paces["ours"], paces["websockets"])
    ours, theirs = middles["ours"], middles["websockets"]
    budget = Budget(
        "a frame out of a socket, CPU time to websockets' own reader",
        f"{times:.1f} × less ({ours.cpu_us:.2f} to {theirs.cpu_us:.2f} µs)",
        "≥ 5 ×",
        times >= 5,
        {"ratio": times, "cpu_us": ours.cpu_us, "websockets_cpu_us": theirs.cpu_us},
    )
    peers = [
        Peer(
            name,
            f"socket → frame, {middles[name].cpu_us:.2f} µs of CPU",
            middles[name].rate,
            ratio([pace.rate for pace in paces["ours"]], [pace.rate for pace in paces[name]]),
        )
        for name in ("websockets", "aiohttp", "picows")
    ]
    return Outcome([budget], peers)


def _turn(client: Callable[[str, float], Awaitable[Pace]], url: str, seconds: float) -> Callable[[], Pace]:
    async def turn() -> Pace:
        return await client(url, seconds)

    return lambda: asyncio.run(turn())


async def _ours(url: str, seconds: float) -> Pace:
    count, meter = 0, Meter()

    def take(unread: deque[bytes]) -> None:
        nonlocal count
        count += len(unread)
        unread.clear()
        if meter.seconds > seconds:
            found.append(meter.pace(count))
            socket.transport.abort()

    found: list[Pace] = []
    with suppress(ConnectionLostError):
        async with connected(Secret(url)) as socket:
            for request in requests():
                await socket.send(request)
            meter = Meter()
            await socket.deliver(take)
    return found[0]


async def _websockets(url: str, seconds: float) -> Pace:
    async with connect(
        url, compression=None, max_size=None, max_queue=None, ping_interval=None, proxy=None, close_timeout=0.1
    ) as socket:
        socket.transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        for request in requests():
            await socket.send(request)
        count, meter = 0, Meter()
        while meter.seconds < seconds:
            await socket.recv(decode=False)
            count += 1
        pace = meter.pace(count)
        socket.transport.abort()
    return pace


async def _aiohttp(url: str, seconds: float) -> Pace:
    from aiohttp import ClientSession, ClientWSTimeout, WSMsgType

    at_once = ClientWSTimeout(ws_close=0.1)
    async with (
        ClientSession() as session,
        session.ws_connect(url, max_msg_size=0, decode_text=False, autoping=False, timeout=at_once) as socket,
    ):
        for request in requests():
            await socket.send_str(request)
        count, meter = 0, Meter()
        while meter.seconds < seconds:
            message = await socket.receive()
            assert message.type is WSMsgType.TEXT
            count += 1
        return meter.pace(count)


async def _picows(url: str, seconds: float) -> Pace:
    import picows

    count = 0

    class Listener(picows.WSListener):
        def on_ws_frame(self, _: object, frame: picows.WSFrame) -> None:
            nonlocal count
            frame.get_payload_as_bytes()
            count += 1

    transport, _ = await picows.ws_connect(Listener, url, read_buffer_init_size=READ_BYTES)
    for request in requests():
        transport.send(picows.WSMsgType.TEXT, request.encode())
    meter = Meter()
    await asyncio.sleep(seconds)
    pace = meter.pace(count)
    transport.disconnect()
    await transport.wait_disconnected()
    return pace
