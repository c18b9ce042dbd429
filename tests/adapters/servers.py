"""Local servers that speak the example adapters' protocols, each on a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.adapters.packed import sign

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY, SECRET = "a-public-key-0001", "a-secret-of-the-tests-0001"
TOKEN = f"{KEY}:{SECRET}"
START = datetime(2026, 11, 27, 14, 30, tzinfo=UTC)


class FakeServer(ABC):
    """Listens on 127.0.0.1 inside its `with` block; each stream sends numbered messages every few milliseconds.

    `sent` counts the messages of each stream by (kind, symbol) over all connections, `asked` the streams asked for,
    `connections` the handshakes. `unknown` are symbols that it refuses.
    """

    PATH = ""

    def __init__(self, *, every: float = 0.005, unknown: Iterable[str] = ()) -> None:
        self.every = every
        self.unknown = frozenset(unknown)
        self.sent: Counter[tuple[str, str]] = Counter()
        self.asked: Counter[tuple[str, str]] = Counter()
        self.given_up: Counter[tuple[str, str]] = Counter()
        self.connections = 0
        self.handshakes: list[dict[str, str]] = []
        self.port = 0
        self.is_paused = False
        self._open: set[ServerConnection] = set()
        self._streams: dict[ServerConnection, set[tuple[str, str]]] = {}
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake", daemon=True)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)
        self._loop.close()

    def drop(self) -> None:
        """Cut every connection without a closing handshake."""

        def cut() -> None:
            for connection in self._open:
                connection.transport.abort()

        self._loop.call_soon_threadsafe(cut)

    def send_to_all(self, frame: str | bytes) -> None:
        async def send() -> None:
            for connection in self._open:
                await connection.send(frame)

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(30)

    def freeze(self) -> None:
        """Read and send nothing on any connection, pongs included, as a server that hangs."""

        def stop() -> None:
            self.is_paused = True
            for connection in self._open:
                connection.transport.pause_reading()

        self._loop.call_soon_threadsafe(stop)

    def thaw(self) -> None:
        """Serve new connections again."""
        self.is_paused = False

    @abstractmethod
    async def greet(self, connection: ServerConnection) -> bool:
        """Admit a client; whether it stays."""

    @abstractmethod
    def answers(self, connection: ServerConnection, message: str | bytes) -> Iterable[str | bytes]:
        """The frames that answer one message."""

    @abstractmethod
    def update(self, kind: str, symbol: str, number: int) -> str | bytes:
        """The message `number` of a stream."""

    def subscribe(self, connection: ServerConnection, kind: str, symbol: str) -> None:
        self.asked[kind, symbol] += 1
        self._streams[connection].add((kind, symbol))

    def unsubscribe(self, connection: ServerConnection, kind: str, symbol: str) -> None:
        self.given_up[kind, symbol] += 1
        self._streams[connection].discard((kind, symbol))

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        async with serve(self._meet, "127.0.0.1", 0, ping_interval=None, close_timeout=1) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self._is_ready.set()
            await self._end.wait()

    async def _meet(self, connection: ServerConnection) -> None:
        self.connections += 1
        assert connection.request is not None
        assert connection.request.path == self.PATH
        self.handshakes.append(dict(connection.request.headers.raw_items()))
        self._streams[connection] = set()
        sender = asyncio.create_task(self._send(connection))
        try:
            if await self.greet(connection):
                self._open.add(connection)
                async for message in connection:
                    for answer in self.answers(connection, message):
                        await connection.send(answer)
        except ConnectionClosed:
            pass
        finally:
            sender.cancel()
            self._open.discard(connection)
            del self._streams[connection]

    async def _send(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self.every)
                for stream in () if self.is_paused else sorted(self._streams[connection]):
                    self.sent[stream] += 1
                    await connection.send(self.update(*stream, self.sent[stream]))


class AlpacaServer(FakeServer):
    """Answers as Alpaca's documents say: success, subscription, error, and lists of quotes and trades."""

    PATH = "/v2/iex"

    async def greet(self, connection: ServerConnection) -> bool:
        await connection.send(said("success", msg="connected"))
        return True

    def answers(self, connection: ServerConnection, message: str | bytes) -> Iterable[str]:
        asked: dict[str, Any] = json.loads(message)
        if asked["action"] == "auth":
            is_known = (asked["key"], asked["secret"]) == (KEY, SECRET)
            yield said("success", msg="authenticated") if is_known else said("error", code=402, msg="auth failed")
            return
        names = {(kind, symbol) for kind in ("quotes", "trades") for symbol in asked[kind]}
        refused = sorted(symbol for _, symbol in names if symbol in self.unknown)
        if refused:
            yield said("error", code=400, msg=f"invalid symbol: {', '.join(refused)}")
            return
        for kind, symbol in names:
            (self.subscribe if asked["action"] == "subscribe" else self.unsubscribe)(connection, kind, symbol)
        running = sorted(self._streams[connection])
        yield said("subscription", **{kind: [s for k, s in running if k == kind] for kind in ("quotes", "trades")})

    def update(self, kind: str, symbol: str, number: int) -> str:
        at = (START + timedelta(milliseconds=number)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z"
        if kind == "quotes":
            price = 100 + number % 50 / 100
            return said("q", S=symbol, bp=price, bs=number, ap=round(price + 0.02, 2), t=at, **{"as": 2 * number})
        return said("t", S=symbol, p=100 + number % 50 / 100, s=number, i=number, x="V", t=at)


class PackedServer(FakeServer):
    """MessagePack both ways; the handshake's headers must be signed, and every second one is cut off unanswered."""

    PATH = "/stream"

    async def greet(self, connection: ServerConnection) -> bool:
        assert connection.request is not None
        headers = connection.request.headers
        if headers.get("X-Key") != KEY or headers.get("X-Signature") != sign(SECRET, headers.get("X-Time", "")):
            await connection.close(4001, "bad signature")
            return False
        return True

    def answers(self, connection: ServerConnection, message: str | bytes) -> Iterable[bytes]:
        assert isinstance(message, bytes), "requests are binary frames"
        what, kind, symbol = msgspec.msgpack.decode(message)
        (self.subscribe if what == "+" else self.unsubscribe)(connection, kind, symbol)
        return ()

    def update(self, kind: str, symbol: str, number: int) -> bytes:
        us = int(START.timestamp() * 1e6) + number
        body: dict[str, Any]
        if kind == "book":
            levels = (
                [[100 - level, number + level] for level in range(5)],
                [[101 + level, number] for level in range(5)],
            )
            is_all = number % 10 == 1
            body = {"all": is_all, "bids": levels[0] if is_all else levels[0][:1], "asks": levels[1] if is_all else []}
        else:
            body = {"bid_price": float(number)} if number % 3 else {"ask_price": number + 1.0, "last_price": 0.5}
        return msgspec.msgpack.encode([kind, symbol, us, body])


def said(what: str, **rest: Any) -> str:
    return json.dumps([{"T": what, **rest}])
