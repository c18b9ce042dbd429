"""A hostile server: bare TCP on this machine, so that it can break every rule of HTTP and WebSocket.

Until `go` is called it serves as much of both brokers' protocols as a client needs. Then the attack runs once, on the
first connection with the stream that it needs. Later connections are served correctly.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Attack", "HostileServer", "Peer"]

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING = 1, 8, 9


async def nothing(*_: object) -> None:
    """No attack."""


@dataclass(frozen=True)
class Attack:
    """What a server does, in which broker's protocol, and the bound of its cost.

    `socket` runs after `go` on the socket with a request that contains `on`; `greet` replaces the handshake, `answer`
    the HTTP answer to a request with `path` in its head, with `is_walked` page after page. `knobs` are constants of the
    package that are set to shorter times. `sees` is the pattern of what the user must see, `more_mb` how much more
    memory the client may use.
    """

    name: str
    about: str
    sees: str
    broker: str = "aries"
    on: str = ""
    socket: Callable[[Peer], Awaitable[None]] = nothing
    greet: Callable[[Peer], Awaitable[None]] | None = None
    answer: Callable[[Peer], Awaitable[None]] | None = None
    path: bytes = b" /v2/users/me/accounts "
    is_walked: bool = False
    knobs: dict[str, float] = field(default_factory=dict)
    more_mb: float = 64.0


class Peer:
    """One connection of a client, by HTTP or WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head
        self.requests: list[dict[str, Any]] = []
        self.is_reading = asyncio.Event()
        self.is_reading.set()

    @property
    def is_socket(self) -> bool:
        return b"upgrade: websocket" in self.head.lower()

    def guid(self, opcode: str) -> str:
        """The guid of the first request of this kind (ALOR)."""
        return next(str(each["guid"]) for each in self.requests if each.get("opcode") == opcode)

    async def shake_hands(self, *headers: str) -> None:
        key = next(line for line in self.head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key.split()[1] + GUID, usedforsecurity=False).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        self.writer.write("\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept}", *headers, "\r\n"]).encode())
        await self.writer.drain()

    async def say(self, *messages: object) -> None:
        """Send messages as one text frame, one per line."""
        await self.send("\n".join(m if isinstance(m, str) else json.dumps(m) for m in messages).encode())

    async def send(self, data: bytes, opcode: int = TEXT, *, first: int = 0x80) -> None:
        """Send one frame; `first` are the bits before the opcode."""
        self.write(data, opcode, first=first)
        await self.writer.drain()

    def write(self, data: bytes, opcode: int = TEXT, *, first: int = 0x80) -> None:
        size = len(data)
        if size < 126:
            head = struct.pack("!BB", first | opcode, size)
        elif size < 2**16:
            head = struct.pack("!BBH", first | opcode, 126, size)
        else:
            head = struct.pack("!BBQ", first | opcode, 127, size)
        self.writer.write(head)
        self.writer.write(data)

    async def answer(self, body: bytes, *headers: str) -> None:
        """Answer over HTTP, and end the connection."""
        lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
        self.writer.write("\r\n".join([*lines, "Connection: close", "\r\n"]).encode() + body)
        await self.writer.drain()

    async def serve_correctly(self) -> None:
        """Serve correctly: accept logins and requests, answer pings."""
        while True:
            opcode, data = await self._frame()
            if opcode == CLOSE:
                self.writer.close()
                return
            if opcode != TEXT:
                continue
            request = json.loads(data)
            self.requests.append(request)
            await self.say(_reply(request))

    async def _frame(self) -> tuple[int, bytes]:
        await self.is_reading.wait()
        first, second = await self.reader.readexactly(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        mask = await self.reader.readexactly(4)
        data = await self.reader.readexactly(size)
        return first & 15, bytes(octet ^ mask[at % 4] for at, octet in enumerate(data))


def _reply(request: dict[str, Any]) -> dict[str, Any]:
    if "opcode" in request:
        return {"requestGuid": request["guid"], "httpCode": 200, "message": "Handled successfully"}
    if request["type"] == "ping":
        return {"type": "pong", "id": request["id"]}
    if request["type"] == "request" and request["payload"].get("path") == "/auth":
        return {"type": "event", "payload": {"action": "authSuccess", "id": request["id"]}}
    return {"type": "response", "id": request["id"], "payload": {"status": 200}}


class HostileServer:
    """Listens inside its `with` block; `done` is set when the attack is over, `failed` is the error in it.

    `answered` counts the HTTP answers that were attacks.
    """

    def __init__(self, attack: Attack) -> None:
        self.attack = attack
        self.port = 0
        self.done = threading.Event()
        self.failed: Exception | None = None
        self.answered = 0
        self._is_begun = False
        self._loop = asyncio.new_event_loop()
        self._go = asyncio.Event()
        self._end = asyncio.Event()
        self._is_ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def go(self) -> None:
        """Start the attack; any thread."""
        self._loop.call_soon_threadsafe(self._go.set)

    def __enter__(self) -> HostileServer:
        self._thread.start()
        assert self._is_ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._meet, "127.0.0.1", 0, limit=2**20)
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await self._end.wait()
        server.close()
        await asyncio.sleep(0)  # for connections that were just accepted
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # an aborted transport closes in the next turn

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._receive(Peer(reader, writer, await reader.readuntil(b"\r\n\r\n")))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as error:  # a defect of the attack
            self.failed = error
            self.done.set()
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _receive(self, peer: Peer) -> None:
        attack = self.attack
        if not peer.is_socket:
            if attack.answer is not None and attack.path in peer.head:
                self.answered += 1
                await attack.answer(peer)
            else:
                await peer.answer(b"[]" if b" /md/" in peer.head else b'{"orders":[],"positions":[]}')
            return
        if attack.greet is not None:
            await attack.greet(peer)
            return
        await peer.shake_hands()
        correct, hostile = asyncio.create_task(peer.serve_correctly()), asyncio.create_task(self._attack(peer))
        try:
            await correct
        finally:
            correct.cancel()
            hostile.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await hostile

    async def _attack(self, peer: Peer) -> None:
        await self._go.wait()
        if self._is_begun or not any(self.attack.on in json.dumps(each) for each in peer.requests):
            return
        self._is_begun = True
        try:
            await self.attack.socket(peer)
        except ConnectionError:
            pass  # the client has disconnected
        except Exception as error:
            self.failed = error
        finally:
            self.done.set()
