"""Small servers that break protocol rules, each on a thread of its own, with one coroutine for each connection."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

TURNS = 0.01  # enough of the loop's turns, seconds
PATIENCE = 60  # seconds for a thread of this process that gets no turn


class RudeServer:
    """Listens while it is entered. `times` are those of each connection (monotonic, s), `tokens` what they sent."""

    def __init__(self, behave: Callable[..., Awaitable[None]], *, tls: ssl.SSLContext | None = None) -> None:
        self.times: list[float] = []
        self.tokens: list[str] = []
        self.port = 0
        self._meetings: list[asyncio.Task[None]] = []
        self._accepted: list[ServerConnection] = []
        self._behave = behave
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rude", daemon=True)

    @property
    def url(self) -> str:
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}"

    def __enter__(self) -> RudeServer:
        self._thread.start()
        assert self._is_ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def log_in(self, connection: ServerConnection) -> None:
        """Accept any token."""
        request = await self.hear_token(connection)
        await say(connection, {"type": "event", "payload": {"action": "authSuccess", "id": request["id"]}})

    async def hear_token(self, connection: ServerConnection) -> dict[str, Any]:
        request: dict[str, Any] = json.loads(await connection.recv())
        self.tokens.append(request["payload"]["body"]["token"])
        return request

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await self._listen()
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await self._end.wait()
        # A connection that was accepted a moment ago is met first: asyncio forgets it when its server closes.
        await asyncio.sleep(TURNS)
        server.close()
        for task in self._meetings:
            task.cancel()
        for connection in self._accepted:  # whose client has not said yet what it wants, and may be long in coming
            if connection.state is State.CONNECTING and hasattr(connection, "transport"):
                connection.transport.abort()
        await asyncio.wait_for(server.wait_closed(), PATIENCE / 2)
        await asyncio.sleep(TURNS)  # and what was closed lets go of its socket

    async def _listen(self) -> Any:
        return await serve_websockets(
            self._meet,
            "127.0.0.1",
            0,
            create_connection=self._accept,
            ssl=self._tls,
            ping_interval=None,
            compression=None,
            max_size=None,
            close_timeout=0.2,
        )

    def _accept(self, *arguments: Any, **options: Any) -> ServerConnection:
        self._accepted.append(ServerConnection(*arguments, **options))
        return self._accepted[-1]

    async def _meet(self, *connection: Any) -> None:
        self.times.append(time.monotonic())
        self._meetings.append(cast("asyncio.Task[None]", asyncio.current_task()))
        with suppress(ConnectionClosed, asyncio.CancelledError):
            await self._behave(self, *connection)


class RudeListener(RudeServer):
    """The same on bare TCP: reader and writer."""

    async def _listen(self) -> Any:
        return await asyncio.start_server(self._meet_stream, "127.0.0.1", 0)

    async def _meet_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._meet(reader, writer)
        finally:
            writer.close()


async def say(connection: ServerConnection, *messages: object) -> None:
    await connection.send("\n".join(m if isinstance(m, str) else json.dumps(m) for m in messages))


async def answer_pings(connection: ServerConnection, count: int | None = None) -> None:
    """Answer so many pings; None means all."""
    while count is None or count > 0:
        message = json.loads(await connection.recv())
        if message["type"] == "ping":
            await say(connection, {"type": "pong", "id": message["id"]})
            count = None if count is None else count - 1
