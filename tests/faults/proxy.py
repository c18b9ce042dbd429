"""A proxy between a client and a simulated broker, with the faults of networks and servers.

It understands the frames of both directions, so that it knows exactly which messages it has delivered whole. The
schedule says what goes wrong: after so many delivered messages of streams, this fault. It listens on 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.faults.faults import Fault, Hang, Refuse, Step
from tests.faults.pipe import Crossing, Ends, Pipe

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Iterable

    from tests.faults.messages import Dialect

__all__ = ["FaultProxy"]


class FaultProxy:
    """A proxy from `url` to the server at `target`, while it is entered. Any thread may call.

    `performed` counts faults by name; `crossings` are the WebSocket connections so far. `tls` is what it shows to its
    clients; the server is spoken to without.
    """

    def __init__(self, target: str, dialect: Callable[[], Dialect], *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(target)
        self.target = parts.hostname or "", parts.port or 0
        self.dialect = dialect
        self.tls = tls
        self.port = 0
        self.crossings: list[Crossing] = []
        self.performed: Counter[str] = Counter()
        self.refusals: deque[Refuse | Hang] = deque()
        self.kicks: deque[int] = deque()
        self.is_calm = False
        self._steps: deque[Step] = deque()
        self._since = 0
        self._running = 0
        self._absences = 0
        self._pipes: set[Pipe] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)
        self.failure: BaseException | None = None

    @property
    def url(self) -> str:
        return f"wss://localhost:{self.port}" if self.tls else f"ws://127.0.0.1:{self.port}"

    @property
    def is_done(self) -> bool:
        """Whether every step was performed to its end."""
        return not self._steps and not self._running

    def begin(self, steps: Iterable[Step]) -> None:
        """Start the faults."""
        self._call(partial(self._begin, list(steps)))

    def calm(self) -> None:
        """End all faults and deliver what is held back; from now on everything is complete and in order."""
        self._call(self._calm)

    def restart(self, *, tls: ssl.SSLContext | None = None, seconds: float = 0.02) -> None:
        """Stop for a moment, and start again with another certificate."""
        self.tls = tls
        self._call(partial(self.go_away, seconds))

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        assert self._is_ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(15)
        assert not self._thread.is_alive()
        self._loop.close()

    # The proxy's own thread.

    @property
    def room(self) -> int | None:
        """The number of stream messages before the next fault; None where there is none."""
        return max(self._steps[0].after - self._since, 0) if self._steps else None

    def count(self, messages: int) -> None:
        self._since += messages

    def next_fault(self) -> Fault:
        self._since = 0
        fault = self._steps.popleft().fault
        self.performed[type(fault).__name__] += 1
        return fault

    def running(self, change: int) -> None:
        self._running += change

    def go_away(self, seconds: float) -> None:
        """Close all connections with a close frame, and do not listen for a while."""
        self._running += 1
        self._absences += 1
        for pipe in self._pipes:
            pipe.dismiss()
        assert self._server is not None
        self._server.close()
        self.spawn(self._come_back(seconds))

    async def _come_back(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._absences -= 1
        if not self._absences and not self._end.is_set():
            await self._listen()
        self._running -= 1

    def _begin(self, steps: list[Step]) -> None:
        self._steps.extend(steps)
        self._since = 0

    def _calm(self) -> None:
        self.is_calm = True
        self._steps.clear()
        self.refusals.clear()
        self.kicks.clear()
        for pipe in self._pipes:
            pipe.calm()

    def _call(self, work: Callable[[], None]) -> None:
        async def run() -> None:
            work()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        await self._listen()
        self._is_ready.set()
        await self._end.wait()
        assert self._server is not None
        self._server.close()
        for pipe in list(self._pipes):
            pipe.abort()
        for task in list(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.wait(set(self._tasks), timeout=5)
        await asyncio.sleep(0.01)  # closed transports let go of their sockets

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", self.port, reuse_address=True, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._sort(reader, writer)
        except Exception as error:
            self.failure = error
            raise
        finally:
            writer.transport.abort()

    async def _sort(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        is_socket = b"upgrade: websocket" in head.lower()
        if is_socket and self.refusals:
            await self._refuse(self.refusals.popleft(), writer)
            return
        server = await asyncio.open_connection(*self.target)
        server[1].write(head)
        if not is_socket:
            await _piped((reader, writer), server)
            return
        writer.write(await server[0].readuntil(b"\r\n\r\n"))
        path = head.split(b" ", 2)[1].decode()
        crossing = Crossing(len(self.crossings) + 1, path, time.time_ns())
        self.crossings.append(crossing)
        pipe = Pipe(self, self.dialect(), crossing, client=(reader, writer), server=server)
        self._pipes.add(pipe)
        try:
            await pipe.run()
        finally:
            self._pipes.discard(pipe)

    async def _refuse(self, how: Refuse | Hang, writer: asyncio.StreamWriter) -> None:
        if isinstance(how, Hang):
            await asyncio.sleep(how.seconds)
            return
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % how.status)
        await writer.drain()
        await asyncio.sleep(0.01)


async def _piped(one: Ends, two: Ends) -> None:
    """Copy in both directions until both have ended: plain HTTP."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    try:
        await asyncio.gather(copy(one[0], two[1]), copy(two[0], one[1]))
    finally:
        two[1].transport.abort()
