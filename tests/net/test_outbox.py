"""Sending to a server that reads when it likes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from aries_nb.net.outbox import MOST_UNREAD, Outbox

LARGE = "x" * 8 * 2**20  # more than any system keeps for a socket


def test_a_later_frame_waits_behind_an_earlier_one_that_is_not_read_yet() -> None:
    heard: list[str] = []
    may_read = asyncio.Event()

    async def read_late(connection: ServerConnection) -> None:
        await may_read.wait()
        with suppress(ConnectionClosed):
            while True:
                heard.append(str(await connection.recv())[:5])

    async def send() -> bool:
        async with serve(read_late, "127.0.0.1", 0, max_size=None, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as socket:
                outbox = Outbox()
                first = asyncio.create_task(outbox.send(socket, lambda: [LARGE, "second"]))
                later = asyncio.create_task(outbox.send(socket, lambda: ["third"]))
                while socket.transport.get_write_buffer_size() <= MOST_UNREAD:  # noqa: ASYNC110 - it rings no bell
                    await asyncio.sleep(0)
                is_stuck = outbox.is_stuck(socket)
                may_read.set()
                await asyncio.gather(first, later)
                return is_stuck and not outbox.is_stuck(socket)

    assert asyncio.run(send())
    assert heard == ["xxxxx", "secon", "third"]
