"""The simulated ALOR server: its WebSocket `/ws`, token service and HTTP API on one port, with queueing and limits.

Source: ALOR's protocol page §10, §11, and §15 (U12: pings of the server, U14: what the connection limit counts, U16:
how a connection ends whose client does not read, U20: compression, U21: largest message of a client).
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from aries_nb.sim.alor import market_objects as objects
from aries_nb.sim.alor.feed import AlorFeed
from aries_nb.sim.alor.portfolios import PORTFOLIOS, Portfolios
from aries_nb.sim.alor.session import AlorSession
from aries_nb.sim.alor.tokens import TokenService
from aries_nb.sim.serving import Client, Server

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from aries_nb.sim.alor.settings import AlorOptions
    from aries_nb.sim.front import Handler
    from aries_nb.sim.market.market import MarketHours
    from aries_nb.sim.settings import Statistics

__all__ = ["AlorServer"]

PATH = "/ws"
MAX_MESSAGE_BYTES = 2**16
#: U12: a ping every 30 s, and 90 s for its answer.
PING_SECONDS, PONG_SECONDS = 30.0, 90.0
#: Small buffers in the socket: unsent frames wait in the outbox, where they are counted.
SOCKET_BYTES, WRITE_BYTES = 2**15, 2**14
#: Frames written to the socket in one call.
FRAMES_TOGETHER = 64
#: Unsent frames of a client above which the sender runs before its next request.
REQUEST_FRAMES = 100
#: Unsent frames of a client that reads, above which the server itself is behind with sending.
BACKLOG_FRAMES = 1000
#: Rows of each recording at a time: with a few recordings and streams far below the limit of unread messages.
PUMP_ROWS = 250
#: Time in s between two checks of orders, in which all figures of all portfolios are computed again.
ACCOUNT_SECONDS = 0.05


class FrameClient(Client[AlorSession]):
    """One connection to the simulated ALOR, with its session.

    Each message is a frame of its own. The initial data of subscriptions (histories) are sent only while nothing
    else waits.
    """

    def __init__(self, connection: ServerConnection, session: AlorSession) -> None:
        super().__init__(connection, session)
        #: Whether the socket has no room for frames already written: the client does not read.
        self.is_blocked = False

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to close the connection."""
        return self.connection.state is State.OPEN

    @property
    def has_work(self) -> bool:
        """Whether frames or initial data of subscriptions wait to be sent, or the connection has to be closed."""
        return super().has_work or bool(self.session.histories)

    @property
    def is_backlogged(self) -> bool:
        """Whether more than 1000 frames wait although the client reads: the server itself is behind with sending."""
        return len(self.session.outbox) > BACKLOG_FRAMES and not self.is_blocked

    def is_unread(self, limit: int) -> bool:
        """Return whether more than `limit` frames wait because the client does not read.

        False once its session has ended.
        """
        return len(self.session.outbox) > limit and self.is_blocked and self.session.closing is None


class AlorServer(Server[FrameClient]):
    """The server of the simulated ALOR with all its clients. Owned by the event loop that runs `run`.

    The constructor reads the recordings: it raises UsageError before any socket is opened.
    """

    session_counts = ("subscribe_requests", "unsubscribe_requests", "refused_tokens", "held_back")
    feed: AlorFeed
    options: AlorOptions

    def __init__(self, options: AlorOptions) -> None:
        options = options.started(time.time())
        start = cast("float", options.start)
        today = datetime.fromtimestamp(start).astimezone().date()
        feed = AlorFeed(options, today, start)
        super().__init__(options, feed, feed.history)
        self.portfolios = Portfolios(options, feed.market, today)
        self.tokens = TokenService(options, PORTFOLIOS)
        self._are_accounts_active = False
        self._accounts_advanced = start

    def statistics(self) -> Statistics:
        """Return the server's counters since its start; `auths` is the number of access tokens issued."""
        return replace(super().statistics(), auths=self.tokens.issued)

    def admit(self, session: AlorSession, subject: str) -> bool:
        """Return whether the user of a token, its `subject`, may have one more connection, that of `session`.

        Nothing is recorded: the open connections whose sessions have this `subject` are counted at each call.
        """
        others = (client for client in self.clients if client.is_open and client.session is not session)
        return sum(client.session.subject == subject for client in others) < self.options.connection_limit

    def activate_accounts(self) -> None:
        """Start the simulated trader in the portfolios; a second call does nothing, and nothing stops it.

        Called by the first request for a portfolio: the portfolios do not change before.
        """
        self._are_accounts_active = True

    def set_hours(self, hours: MarketHours, now: float) -> None:  # noqa: ARG002 - frames of instruments have no time
        """Open or close the market for all instruments, by `hours.market`.

        The rest of `hours`, and `now`, are ignored.
        """
        self.feed.set_status(objects.CLOSED if hours.market == "closed" else objects.NORMAL)
        self.wake_all()

    def _socket_settings(self) -> dict[str, Any]:
        return {
            "ping_interval": PING_SECONDS,
            "ping_timeout": PONG_SECONDS,
            "max_size": MAX_MESSAGE_BYTES,
            "write_limit": WRITE_BYTES,
            "compression": "deflate" if self.options.compress else None,
        }

    def _refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        if urlsplit(request.path).path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"Only {PATH} is served.\n")
        is_full = sum(client.is_open for client in self.clients) >= self.options.connection_limit
        if self.options.refuse_handshake and is_full:
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "Too many connections.\n")
        return None

    def _http_handler(self) -> Handler:
        # Imports aiohttp, which a server for WebSockets alone does not need.
        from aries_nb.sim.alor.http import AlorHttpServer

        http = AlorHttpServer(self)
        http.hangs = self.feed.roughness.occurrences("hanging_http", "http")
        http.market_time = lambda: self.clock.now
        http.hang_seconds = self.feed.roughness.hang_seconds
        return http.handle

    def _accept(self, connection: ServerConnection) -> FrameClient:
        raw = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        return FrameClient(connection, AlorSession(self.options, self, time.time()))

    async def _received(self, client: FrameClient) -> None:
        if self.portfolios.has_subscribers:
            self.activate_accounts()
        if len(client.session.outbox) > REQUEST_FRAMES:
            await asyncio.sleep(0)

    async def _send(self, client: FrameClient) -> None:
        session, connection = client.session, client.connection
        try:
            while not session.is_cut and (session.closing is None or session.outbox):
                if not client.has_work:
                    await client.wake.wait()
                await self._delivers.wait()
                client.wake.clear()
                if len(session.outbox) < FRAMES_TOGETHER:
                    session.pull(FRAMES_TOGETHER)
                count = min(FRAMES_TOGETHER, len(session.outbox))
                client.is_blocked = True
                async with connection.send_context():
                    for _ in range(count):
                        connection.protocol.send_text(session.outbox.popleft().encode())
                    # One system call for all frames; websockets would make one for each.
                    connection.transport.write(b"".join(connection.protocol.data_to_send()))
                client.is_blocked = False
                self._counts["frames"] += count
                self._counts["messages"] += count
                self._has_room.set()
                await asyncio.sleep(0)
        except ConnectionClosed:
            return  # `_serve_client` gets the same error and cleans up
        if session.is_cut:
            connection.transport.abort()
        elif session.closing is not None:
            await connection.close(*session.closing)

    def _send_frame(self, client: FrameClient, text: str) -> None:
        client.session.outbox.append(text)
        client.wake.set()

    def _advance(self, seconds: float, now: float) -> None:  # noqa: ARG002 - portfolios have turns of their own
        self.feed.play_recordings(now)
        self.feed.flush(now)
        self._advance_accounts(now)

    def _is_behind(self, client: FrameClient, most: int) -> bool:
        return len(client.session.outbox) > most or bool(client.session.histories)

    def _is_held_up(self) -> bool:
        # A backlog of the server itself is not the fault of the client.
        is_backlogged = not self.is_interrupted and any(client.is_backlogged for client in self.clients)
        return is_backlogged or super()._is_held_up()

    def _check_limits(self, client: FrameClient) -> None:
        if client.is_unread(self.options.queue_limit):
            self._counts["slow"] += 1
            client.session.cut()
        if client.session.is_cut:
            # The sender may be waiting for room in the socket, which never comes.
            client.connection.transport.abort()

    def _advance_accounts(self, now: float) -> None:
        """Advance the portfolios to `now` (Unix s), if they are active and the market is open; every 0.05 s at most."""
        if not self._are_accounts_active or self.feed.status == objects.CLOSED:
            self._accounts_advanced = now
        elif now - self._accounts_advanced >= ACCOUNT_SECONDS:
            self.portfolios.accounts.advance(now - self._accounts_advanced, now)
            self._accounts_advanced = now

    def _pump_recordings(self, now: float) -> bool:
        rows = max(1, min(PUMP_ROWS, self.options.queue_limit // 20))
        return all(len(client.session.outbox) < rows for client in self.clients) and self.feed.pump_recordings(
            now, rows
        )
