"""The local server of ALOR's `/ws`, its token service and its HTTP API on one port: connections, pacing, limits.

Source: protocol page §10, §11, and §15 (U12, U14, U16, U20, U21).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from aries_nb.sim.alor import market_objects as objects
from aries_nb.sim.alor.feed import AlorFeed
from aries_nb.sim.alor.portfolios import PORTFOLIOS, Portfolios
from aries_nb.sim.alor.session import AlorSession
from aries_nb.sim.alor.tokens import TokenService
from aries_nb.sim.front import Front, is_loopback, listening
from aries_nb.sim.settings import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from aries_nb.sim.alor.settings import AlorOptions
    from aries_nb.sim.front import Handler
    from aries_nb.sim.market.history import Trades
    from aries_nb.sim.market.market import MarketHours

__all__ = ["AlorServer"]

PATH = "/ws"
MAX_MESSAGE_BYTES = 2**16
#: U12: a ping every 30 s, and 90 s for its answer.
PING_SECONDS, PONG_SECONDS = 30.0, 90.0
#: What waits for a client is to wait here, where it is counted, and not in the socket.
SOCKET_BYTES, WRITE_BYTES = 2**15, 2**14
#: Frames that are handed to the socket together.
FRAMES_TOGETHER = 64
#: Frames waiting for a client from which on its own requests wait for the sender.
REQUEST_FRAMES = 100
#: Frames waiting for a client that reads, from which on the server is behind with sending.
BEHIND_FRAMES = 1000
#: Rows of each tape at a time: with a handful of tapes and streams they stay far below the limit of unread messages.
PUMP_ROWS = 250
#: How often orders are looked at: all figures of all portfolios are reckoned anew.
ACCOUNT_SECONDS = 0.05


class Client:
    """One connection with its session; its sender task alone writes to the socket."""

    def __init__(self, connection: ServerConnection, session: AlorSession) -> None:
        self.connection = connection
        self.session = session
        self.wake = asyncio.Event()
        #: Whether frames were handed to the socket that it has no room for: the client does not read.
        self.is_blocked = False

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to close it."""
        return self.connection.state is State.OPEN

    @property
    def has_work(self) -> bool:
        """Whether the sender has anything to do."""
        session = self.session
        return bool(session.outbox or session.histories or session.closing)

    @property
    def waits_for_server(self) -> bool:
        """Whether many frames wait although the client takes them: the server is behind with sending."""
        return len(self.session.outbox) > BEHIND_FRAMES and not self.is_blocked

    def is_unread(self, limit: int) -> bool:
        """Whether more frames than `limit` wait since the client does not take them; once it is cut off, never."""
        return len(self.session.outbox) > limit and self.is_blocked and self.session.closing is None


class AlorServer:
    """All clients of the simulated ALOR. Every method belongs to the thread of the loop that runs `run`.

    Reading the tapes happens in the constructor: it raises UsageError before any socket is opened.
    """

    def __init__(self, options: AlorOptions) -> None:
        today = datetime.now().astimezone().date()
        self.feed = AlorFeed(options, today, time.time())
        self.portfolios = Portfolios(options, self.feed.market, today)
        self.tokens = TokenService(options, PORTFOLIOS)
        self.clients: list[Client] = []
        self.options = options
        self._has_room = asyncio.Event()
        self._is_account_asked = False
        self._turned = time.time()
        self._tasks: set[asyncio.Task[None]] = set()
        self._left: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until cancelled; then close every connection with 1001. Calls `ready` with the base URL.

        Raises UsageError if the address cannot be listened on.
        """
        async with listening(
            self.options,
            Front(self._http_handler, is_local=is_loopback(self.options.host)),
            self._serve_client,
            self.drop_connections,
            process_request=self._refuse,
            ping_interval=PING_SECONDS,
            ping_timeout=PONG_SECONDS,
            max_size=MAX_MESSAGE_BYTES,
            write_limit=WRITE_BYTES,
            compression="deflate" if self.options.compress else None,
        ) as url:
            ready(url)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pace())
                if self.options.tapes and self.options.speed is None:
                    tasks.create_task(self._pump())

    def statistics(self) -> Statistics:
        """Count what has happened so far; `auths` are access tokens issued."""
        sessions = self.sessions()
        counts, left = self._counts, self._left
        return Statistics(
            connections_total=counts["connections"],
            connections_open=len(sessions),
            messages_sent=counts["frames"],
            frames_sent=counts["frames"],
            auths=self.tokens.issued,
            subscribe_requests=left["subscribe_requests"] + sum(each.subscribe_requests for each in sessions),
            unsubscribe_requests=left["unsubscribe_requests"] + sum(each.unsubscribe_requests for each in sessions),
            refused_tokens=left["refused_tokens"] + sum(each.refused_tokens for each in sessions),
            market_events=self.feed.events,
            tape_rows_sent=self.feed.tape_rows_sent,
            closed_slow=counts["slow"],
            queued=sum(len(each.outbox) for each in sessions),
            held_back=left["held_back"] + sum(each.held_back for each in sessions),
        )

    def admit(self, session: AlorSession, subject: str) -> bool:
        """Whether one more connection of a token's subject is allowed."""
        others = (client for client in self.clients if client.is_open and client.session is not session)
        return sum(client.session.subject == subject for client in others) < self.options.connection_limit

    def sessions(self) -> list[AlorSession]:
        """The sessions of all connections."""
        return [client.session for client in self.clients]

    def ask_accounts(self) -> None:
        """Let the portfolios live from now on: nobody trades before somebody looks."""
        self._is_account_asked = True

    def trades(self, symbol: str, first: float, last: float) -> Trades:
        """Every trade of a share in [first, last), Unix s, sizes in pieces, as `History.trades` has them."""
        return self.feed.history.trades(symbol, first, last)

    def drop_connections(self) -> int:
        """Abort every TCP connection without a close frame; return how many."""
        clients = list(self.clients)
        for client in clients:
            client.connection.transport.abort()
        return len(clients)

    def close_connections(self, code: int, reason: str) -> int:
        """Begin to close every connection; return how many."""
        clients = list(self.clients)
        for client in clients:
            self._spawn(client.connection.close(code, reason))
        return len(clients)

    def broadcast(self, text: str) -> int:
        """Send a text as it is to every client that has shown a token; return to how many."""
        clients = [client for client in self.clients if client.session.is_authenticated]
        for client in clients:
            client.session.outbox.append(text)
            client.wake.set()
        return len(clients)

    def set_hours(self, hours: MarketHours, now: float) -> None:  # noqa: ARG002 - frames of instruments have no time
        """Open or close the market for all instruments."""
        self.feed.set_status(objects.CLOSED if hours.market == "closed" else objects.NORMAL)
        self.wake_all()

    def wake_all(self) -> None:
        """Let all senders look at what waits."""
        for client in self.clients:
            if client.has_work:
                client.wake.set()

    async def _serve_client(self, connection: ServerConnection) -> None:
        raw = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        session = AlorSession(self.options, self, time.time())
        self._counts["connections"] += 1
        client = Client(connection, session)
        self.clients.append(client)
        sender = asyncio.create_task(self._send(client))
        try:
            async for message in connection:
                session.receive(message, time.time())
                if self.portfolios.is_heard:
                    self.ask_accounts()
                client.wake.set()
                self._has_room.set()
                if len(session.outbox) > REQUEST_FRAMES:
                    await asyncio.sleep(0)
        except ConnectionClosed:
            pass  # the client is gone without a goodbye, which is its right
        finally:
            self.clients.remove(client)
            session.close(1006, "the connection is gone")
            for name in ("subscribe_requests", "unsubscribe_requests", "refused_tokens", "held_back"):
                self._left[name] += getattr(session, name)
            self._has_room.set()
            sender.cancel()
            with suppress(asyncio.CancelledError):
                await sender

    async def _send(self, client: Client) -> None:
        """Write what waits, as fast as the client takes it, histories only while nothing else waits."""
        session, connection = client.session, client.connection
        try:
            while not session.is_cut and (session.closing is None or session.outbox):
                if not client.has_work:
                    await client.wake.wait()
                client.wake.clear()
                if len(session.outbox) < FRAMES_TOGETHER:
                    session.pull(FRAMES_TOGETHER)
                count = min(FRAMES_TOGETHER, len(session.outbox))
                client.is_blocked = True
                async with connection.send_context():
                    for _ in range(count):
                        connection.protocol.send_text(session.outbox.popleft().encode())
                    # Left to itself each frame is a system call of its own.
                    connection.transport.write(b"".join(connection.protocol.data_to_send()))
                client.is_blocked = False
                self._counts["frames"] += count
                self._has_room.set()
                await asyncio.sleep(0)
        except ConnectionClosed:
            return  # `_serve_client` sees it as well, and clears up
        if session.is_cut:
            connection.transport.abort()
        elif session.closing is not None:
            await connection.close(*session.closing)

    async def _pace(self) -> None:
        """Let time pass for the market, the tapes and the sessions, once every `flush_seconds`."""
        loop, turn = asyncio.get_running_loop(), self.options.flush_seconds
        due = loop.time()
        while True:
            now = time.time()
            # What waits for this server to send it is no fault of the client: then the market waits as well.
            if not any(client.waits_for_server for client in self.clients):
                self.feed.advance(turn, now)
                self.feed.play_tapes(now)
            self.feed.flush(now)
            self._turn_accounts(now)
            for client in list(self.clients):
                client.session.tick(now)
                if client.is_unread(self.options.queue_limit):
                    self._counts["slow"] += 1
                    client.session.cut()
                if client.session.is_cut:
                    # The sender may be waiting for room in the socket that never comes.
                    client.connection.transport.abort()
            self.wake_all()
            # A loop that comes too late by more than a few turns does not run after the lost time.
            due = max(due + turn, loop.time() - 3 * turn)
            await asyncio.sleep(due - loop.time())

    def _turn_accounts(self, now: float) -> None:
        """Let the portfolios live, as long as the market is open."""
        if not self._is_account_asked or self.feed.status == objects.CLOSED:
            self._turned = now
        elif now - self._turned >= ACCOUNT_SECONDS:
            self.portfolios.accounts.turn(now - self._turned, now)
            self._turned = now

    async def _pump(self) -> None:
        """Feed the tapes without a pace to their clients as fast as the slowest of them takes the frames."""
        rows = max(1, min(PUMP_ROWS, self.options.queue_limit // 20))
        while True:
            has_room = all(len(client.session.outbox) < rows for client in self.clients)
            if has_room and self.feed.pump_tapes(time.time(), rows):
                self.wake_all()
                await asyncio.sleep(0)
            else:
                self._has_room.clear()
                await self._has_room.wait()

    def _refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        if urlsplit(request.path).path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"Only {PATH} is served.\n")
        is_full = sum(client.is_open for client in self.clients) >= self.options.connection_limit
        if self.options.refuse_handshake and is_full:
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "Too many connections.\n")
        return None

    def _http_handler(self) -> Handler:
        # It brings in aiohttp, which a server for WebSockets alone starts without.
        from aries_nb.sim.alor.http import AlorHttp

        return AlorHttp(self).handle

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside, for a connection that may be gone by then."""

        async def run() -> None:
            with suppress(ConnectionClosed):
                await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
