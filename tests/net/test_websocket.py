"""Unread frames of a real socket are counted, and what is sent keeps its order."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from aries_nb.model import Secret
from aries_nb.net.websocket import MOST_UNREAD, SendQueue, connected, unread_frames

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import AsyncIterator

    from aries_nb.net.frame_connection import FrameConnection

FRAMES, OCTETS = 40, 1_000
HEAD = 4  # bytes that the protocol puts before a frame of so many
reports_system = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not report what the system has")


async def send(connection: ServerConnection) -> None:
    """Send on request, and keep the connection open."""
    await connection.recv()
    for _ in range(FRAMES):
        await connection.send("x" * OCTETS)
    await connection.recv()


@asynccontextmanager
async def asked() -> AsyncIterator[FrameConnection]:
    """A client that has requested frames, all of which wait in the system."""
    async with asyncio.timeout(60), serve(send, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with connected(Secret(f"ws://127.0.0.1:{port}")) as socket:
            socket.transport.pause_reading()
            await socket.send("go")
            while unread_frames(socket, 1) < FRAMES * (HEAD + OCTETS):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0)
            yield socket
            socket.transport.abort()


@reports_system
def test_messages_that_are_left_of_a_read_are_unread() -> None:
    async def counts() -> list[int]:
        found: list[int] = []

        def take(unread: deque[bytes]) -> None:
            found.append(unread_frames(socket, OCTETS))
            unread.popleft()
            if not unread:
                found.append(unread_frames(socket, OCTETS))
                socket.transport.abort()

        async with asked() as socket:
            socket.transport.resume_reading()
            with suppress(ConnectionClosed):
                await socket.deliver(take)
        return found

    assert asyncio.run(counts()) == list(range(FRAMES, -1, -1))


@reports_system
def test_what_waits_in_the_system_is_unread_as_many_frames_as_it_has_bytes_for() -> None:
    async def count() -> int:
        async with asked() as socket:
            return unread_frames(socket, HEAD + OCTETS)

    assert asyncio.run(count()) == FRAMES


@reports_system
def test_a_closed_socket_has_nothing_unread_in_the_system() -> None:
    async def count() -> int:
        async with asked() as socket:
            pass
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
            async with connected(Secret(f"ws://127.0.0.1:{port}")) as socket:
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
