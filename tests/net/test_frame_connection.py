"""Whatever a server sends, and however its bytes are cut into reads: what comes out is what websockets gives."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from aries_nb.model import Secret
from aries_nb.net.connection_errors import ConnectionLostError
from aries_nb.net.frame_connection import MAX_FRAGMENTS, FrameConnection
from aries_nb.net.websocket import connected
from tests.net.frame_streams import Cable, frame, open_connection, play

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from websockets.asyncio.server import ServerConnection

START = 20_261_129
TEXT, BEGIN, MORE, END = 0x81, 0x01, 0x00, 0x80  # first bytes of frames


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_random_streams_give_what_websockets_gives(count: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "websockets")  # it logs with a traceback what some of them do

    async def differing() -> list[int]:
        seeds = range(START, START + count)
        return [seed for seed in seeds if await play(FrameConnection, seed) != await play(ClientConnection, seed)]

    assert asyncio.run(differing()) == []


def run(scenario: Coroutine[None, None, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(bounded())


async def opened(cable: Cable, behind: bytes = b"") -> FrameConnection:
    """An open connection; these bytes came behind the answer to its handshake."""
    connection, _, answer = await open_connection(FrameConnection, cable)
    assert isinstance(connection, FrameConnection)
    connection.data_received(answer + behind)
    return connection


def test_messages_behind_the_handshake_wait_and_nothing_more_is_read_until_they_are_taken() -> None:
    async def scenario() -> None:
        cable = Cable()
        taken: list[bytes] = []
        connection = await opened(cable, frame(TEXT, b"one") + frame(TEXT, b"two")[:-1])

        assert (list(connection.unread), cable.is_paused) == ([b"one"], True)

        delivering = asyncio.create_task(connection.deliver(lambda unread: taken.append(unread.popleft())))
        await asyncio.sleep(0)
        assert (taken, cable.is_paused) == ([b"one"], False)

        connection.data_received(b"o")
        assert taken == [b"one", b"two"]
        delivering.cancel()

    run(scenario())


def test_what_is_left_of_a_read_is_offered_again_and_nothing_is_read_meanwhile() -> None:
    async def scenario() -> None:
        cable = Cable()
        left: list[int] = []
        connection = await opened(cable)

        def take(unread: deque[bytes]) -> None:
            unread.popleft()
            left.append(len(unread))

        delivering = asyncio.create_task(connection.deliver(take))
        await asyncio.sleep(0)
        connection.data_received(frame(TEXT, b"x") * 3)
        assert (left, cable.is_paused) == ([2], True)

        connection.connection_lost(None)
        with pytest.raises(ConnectionClosed):
            await delivering

        assert (left, cable.is_paused) == ([2, 1, 0], False)

    run(scenario())


def test_what_the_reader_raises_ends_delivery_and_leaves_the_connection_to_be_closed() -> None:
    async def scenario() -> None:
        cable = Cable()
        connection = await opened(cable)

        def take(unread: deque[bytes]) -> None:
            raise ValueError(unread[0])

        delivering = asyncio.create_task(connection.deliver(take))
        await asyncio.sleep(0)
        connection.data_received(frame(TEXT, b"one") + frame(TEXT, b"two"))
        with pytest.raises(ValueError, match="one"):
            await delivering

        connection.data_received(frame(TEXT, b"three"))
        await asyncio.sleep(0)
        assert (connection.unread, cable.is_paused) == (deque(), False)

    run(scenario())


def test_a_connection_that_nothing_reads_is_closed_at_once_and_cleanly() -> None:
    closed: list[int | None] = []

    async def greet(connection: ServerConnection) -> None:
        await connection.send("a message")
        await connection.wait_closed()
        closed.append(connection.close_code)

    async def scenario() -> None:
        async with serve(greet, "127.0.0.1", 0, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            async with connected(Secret(f"ws://127.0.0.1:{port}")) as socket:
                while not socket.unread:  # noqa: ASYNC110 - there is no event to wait for
                    await asyncio.sleep(0.01)
            closed.append(socket.close_code)

    run(scenario())

    assert closed == [1000, 1000]


def test_a_message_of_as_many_fragments_as_are_allowed_is_whole() -> None:
    async def scenario() -> None:
        connection = await opened(Cable(), frame(BEGIN, b"a") + frame(MORE, b"b") * (MAX_FRAGMENTS - 2))
        connection.data_received(frame(END, b"c") + frame(TEXT, b"next"))

        assert list(connection.unread) == [b"a" + b"b" * (MAX_FRAGMENTS - 2) + b"c", b"next"]

    run(scenario())


def test_more_fragments_close_the_connection_and_nothing_after_them_counts() -> None:
    taken: list[bytes] = []

    async def fragments(connection: ServerConnection) -> None:
        pieces = frame(MORE, b"b") * (MAX_FRAGMENTS - 1)
        connection.transport.write(frame(BEGIN, b"a") + pieces + frame(END, b"c") + frame(TEXT, b"next"))
        await connection.wait_closed()

    async def scenario() -> None:
        async with serve(fragments, "127.0.0.1", 0, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            async with connected(Secret(f"ws://127.0.0.1:{port}")) as socket:
                await socket.deliver(lambda unread: taken.append(unread.popleft()))

    with pytest.raises(ConnectionLostError, match=r"closed by us \(1009: too many fragments\)"):
        run(scenario())

    assert taken == []


def test_a_server_has_to_wait_while_messages_are_left() -> None:
    most, size = 64, 2**20

    async def flood(connection: ServerConnection) -> None:
        for _ in range(most):
            await connection.send(bytes(size))
            sent.append(size)
        await connection.wait_closed()

    async def scenario() -> None:
        async with serve(flood, "127.0.0.1", 0, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            async with connected(Secret(f"ws://127.0.0.1:{port}")) as socket:
                delivering = asyncio.create_task(socket.deliver(lambda unread: None))
                before = -1
                while before != len(sent):
                    before = len(sent)
                    await asyncio.sleep(0.3)
                assert len(socket.unread) <= 2
                delivering.cancel()
                socket.transport.abort()

    sent: list[int] = []
    run(scenario())

    assert len(sent) < most // 2
