"""Unread frames of a real socket are counted, and what is sent keeps its order."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from aries_nb.model import Secret
from aries_nb.net.websocket import MOST_UNREAD, SendQueue, connected, unread_frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

FRAMES, OCTETS = 40, 1_000
HEAD = 4  # bytes that the protocol puts before a frame of so many


async def send(connection: ServerConnection) -> None:
    """Send on request, and keep the connection open."""
    await connection.recv()
    for _ in range(FRAMES):
        await connection.send("x" * OCTETS)
    await connection.recv()


@asynccontextmanager
async def asked(*, is_reading: bool) -> AsyncIterator[ClientConnection]:
    """A client that has requested frames."""
    async with asyncio.timeout(10), serve(send, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with connected(Secret(f"ws://127.0.0.1:{port}")) as socket:
            if not is_reading:
                socket.transport.pause_reading()
            await socket.send("go")
            yield socket
            await socket.send("bye")


def test_frames_that_wait_in_the_queue_are_unread() -> None:
    async def counts() -> list[int]:
        async with asked(is_reading=True) as socket:
            while len(socket.recv_messages.frames) < FRAMES:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0)
            found = [unread_frames(socket, OCTETS)]
            for _ in range(FRAMES):
                await socket.recv()
                found.append(unread_frames(socket, OCTETS))
            return found

    assert asyncio.run(counts()) == list(range(FRAMES, -1, -1))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not report it")
def test_what_waits_in_the_system_is_unread_as_many_frames_as_it_has_bytes_for() -> None:
    async def count() -> int:
        async with asked(is_reading=False) as socket:
            while unread_frames(socket, 1) < FRAMES * (HEAD + OCTETS):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0)
            found = unread_frames(socket, HEAD + OCTETS)
            socket.transport.resume_reading()
            for _ in range(FRAMES):
                await socket.recv()
            return found

    assert asyncio.run(count()) == FRAMES


def test_a_closed_socket_has_nothing_unread() -> None:
    async def count() -> int:
        async with asked(is_reading=True) as socket:
            for _ in range(FRAMES):
                await socket.recv()
        return unread_frames(socket, OCTETS)

    assert asyncio.run(count()) == 0


LARGE = "x" * 8 * 2**20  # more than any system keeps for a socket


def test_a_later_frame_waits_behind_an_earlier_one_that_is_not_read_yet() -> None:
    received: list[str] = []
    may_read = asyncio.Event()

    async def read_late(connection: ServerConnection) -> None:
        await may_read.wait()
        with suppress(ConnectionClosed):
            while True:
                received.append(str(await connection.recv())[:5])

    async def send() -> bool:
        async with serve(read_late, "127.0.0.1", 0, max_size=None, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as socket:
                queue = SendQueue(lambda ping: None)
                first = asyncio.create_task(queue.send(socket, lambda: [LARGE, "second"]))
                later = asyncio.create_task(queue.send(socket, lambda: ["third"]))
                while socket.transport.get_write_buffer_size() <= MOST_UNREAD:  # noqa: ASYNC110 - there is no event to wait for
                    await asyncio.sleep(0)
                is_stuck = queue.is_stuck(socket)
                may_read.set()
                await asyncio.gather(first, later)
                return is_stuck and not queue.is_stuck(socket)

    assert asyncio.run(send())
    assert received == ["xxxxx", "secon", "third"]
