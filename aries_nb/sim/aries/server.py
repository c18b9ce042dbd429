"""The local server of the Aries endpoints on one port: connections, batching, pacing and the end.

Source: protocol page §1 (framing), §9 U1 (close codes), U18 (batching), U19 (slow readers).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed

from aries_nb.sim.accounts.accounts import Accounts
from aries_nb.sim.aries.accounts import AccountsSession
from aries_nb.sim.aries.charts import ChartsSession
from aries_nb.sim.aries.feed import AriesFeed
from aries_nb.sim.aries.market import MarketSession
from aries_nb.sim.aries.oauth import OAuthServer
from aries_nb.sim.front import Front, is_loopback, listening
from aries_nb.sim.market.history import History
from aries_nb.sim.settings import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from aries_nb.sim.aries.session import Session
    from aries_nb.sim.front import Handler
    from aries_nb.sim.market.history import Trades
    from aries_nb.sim.market.market import MarketHours
    from aries_nb.sim.settings import SimOptions

__all__ = ["BrokerServer"]

ACCOUNTS_PATH = "/v1/accounts/ws"
#: What a connection without a goodbye is said to be closed with; it is never sent.
GONE = 1006
TRY_AGAIN_LATER = 1013
MAX_FRAME_BYTES = 2**20
#: Lines a frame holds at most, and its size beyond which it is halved (§1.5: a frame stays below 1 MiB).
FRAME_LINES = 500
FRAME_CHARACTERS = 2**19
#: Lines waiting for one client up to which a tape without a pace goes on.
PUMP_LINES = 4000
TRAILING_NEWLINE_SHARE = 0.05


class Client:
    """One connection with its session; its sender task alone writes to the socket in order."""

    def __init__(self, connection: ServerConnection, session: Session, rng: Random) -> None:
        self.connection = connection
        self.session = session
        self.wake = asyncio.Event()
        self._rng = rng

    def frames(self) -> Iterator[tuple[int, str]]:
        """Take what waits out of the outbox, as NDJSON frames with the number of their lines."""
        outbox = self.session.outbox
        while outbox:
            lines = outbox[:FRAME_LINES]
            del outbox[:FRAME_LINES]
            yield from self._joined(lines)

    def _joined(self, lines: list[str]) -> Iterator[tuple[int, str]]:
        text = "\n".join(lines)
        if len(text) > FRAME_CHARACTERS and len(lines) > 1:
            middle = len(lines) // 2
            yield from self._joined(lines[:middle])
            yield from self._joined(lines[middle:])
        else:
            yield len(lines), f"{text}\n" if self._rng.random() < TRAILING_NEWLINE_SHARE else text


class BrokerServer:
    """All clients of all endpoints. Every method belongs to the thread of the loop that runs `run`.

    Reading the tapes happens in the constructor: it raises UsageError before any socket is opened.
    """

    def __init__(self, options: SimOptions) -> None:
        self.feed = AriesFeed(options, datetime.now().astimezone().date())
        self.accounts = Accounts(self.feed.market, options.seed, orders_per_s=options.orders_per_s)
        self.oauth = OAuthServer(token=options.token)
        # The past ends where the market begins, so it is made before anything moves.
        self._history = History(self.feed.market, time.time())
        self.feed.on_trade.append(self._history.trade)
        self.clients: list[Client] = []
        self._options = options
        self._endpoints: dict[str, Callable[[float], Session]] = {
            "/v1/market/ws": lambda now: MarketSession(options, self.feed, now),
            "/v1/charts/ws": lambda now: ChartsSession(options, self.feed, now),
            ACCOUNTS_PATH: lambda now: AccountsSession(options, self.accounts, now),
        }
        # Nobody trades before somebody looks: the first turn makes a past, which takes a moment.
        self._is_account_asked = False
        self._has_room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._left = Statistics()
        self._connections = self._messages = self._frames = self._slow = 0

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until cancelled; then close every connection with 1001. Calls `ready` with the base URL.

        Raises UsageError if the address cannot be listened on.
        """
        options = self._options
        async with listening(
            options,
            Front(self._http_handler, is_local=is_loopback(options.host)),
            self._serve_client,
            self.drop_connections,
            process_request=self._refuse_other_paths,
            ping_interval=None,
            max_size=MAX_FRAME_BYTES,
        ) as url:
            ready(url)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pace())
                if options.tapes and options.speed is None:
                    tasks.create_task(self._pump())

    def statistics(self) -> Statistics:
        """Count what has happened so far."""
        sessions = [client.session for client in self.clients]
        left = self._left
        return Statistics(
            connections_total=self._connections,
            connections_open=len(self.clients),
            messages_sent=self._messages,
            frames_sent=self._frames,
            auths=left.auths + sum(session.auths for session in sessions),
            subscribe_requests=left.subscribe_requests + sum(session.subscribe_requests for session in sessions),
            unsubscribe_requests=left.unsubscribe_requests + sum(session.unsubscribe_requests for session in sessions),
            market_events=self.feed.events,
            tape_rows_sent=self.feed.tape_rows_sent,
            closed_slow=self._slow,
            queued=sum(len(session.outbox) for session in sessions),
        )

    def trades(self, symbol: str, first: float, last: float) -> Trades:
        """Every trade of a symbol in [first, last), Unix s, as `History.trades` has them."""
        return self._history.trades(symbol, first, last)

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
        """Send a text as it is, in a frame of its own, to every authenticated client; return to how many."""
        clients = [client for client in self.clients if client.session.is_authenticated]
        for client in clients:
            self._spawn(client.connection.send(text))
        return len(clients)

    def set_hours(self, hours: MarketHours, now: float) -> None:
        """Open or close the market at `now` (Unix s)."""
        self.feed.set_hours(hours, now)
        self.wake_all()

    def wake_all(self) -> None:
        """Let all senders look at their outboxes."""
        for client in self.clients:
            if client.session.outbox or client.session.closing:
                client.wake.set()

    async def _serve_client(self, connection: ServerConnection) -> None:
        assert connection.request is not None, "the handshake is over"
        path = _path(connection.request)
        self._is_account_asked = self._is_account_asked or path == ACCOUNTS_PATH
        session = self._endpoints[path](time.time())
        session.accepts = self.oauth.is_valid
        self._connections += 1
        client = Client(connection, session, Random(f"{self._options.seed} framing {self._connections}"))
        self.clients.append(client)
        sender = asyncio.create_task(self._send(client))
        try:
            async for frame in connection:
                session.receive(frame, time.time())
                client.wake.set()
                self._has_room.set()
        except ConnectionClosed:
            pass  # the client is gone without a goodbye, which is its right
        finally:
            self.clients.remove(client)
            session.close(GONE, "the connection is gone")
            self._keep_counts(session)
            self._has_room.set()
            sender.cancel()
            with suppress(asyncio.CancelledError):
                await sender

    async def _send(self, client: Client) -> None:
        """Write what waits in the outbox, as fast as the client takes it, and close when the session says so."""
        session, connection = client.session, client.connection
        try:
            while session.closing is None or session.outbox:
                await client.wake.wait()
                client.wake.clear()
                for lines, frame in client.frames():
                    await connection.send(frame)
                    self._frames += 1
                    self._messages += lines
                    self._has_room.set()
        except ConnectionClosed:
            return  # `_serve_client` sees it as well, and clears up
        await connection.close(*session.closing)

    async def _pace(self) -> None:
        """Let time pass for the market, the tapes and the sessions, once every `flush_seconds`."""
        loop, turn = asyncio.get_running_loop(), self._options.flush_seconds
        due = loop.time()
        while True:
            now = time.time()
            self.feed.advance(turn, now)
            self.feed.play_tapes(now)
            if self._is_account_asked and self.feed.hours().market != "closed":
                self.accounts.turn(turn, now)
            for client in list(self.clients):
                client.session.tick(now)
                if len(client.session.outbox) > self._options.queue_limit and client.session.closing is None:
                    self._give_up(client)
            self.wake_all()
            # A loop that comes too late by more than a few turns does not run after the lost time.
            due = max(due + turn, loop.time() - 3 * turn)
            await asyncio.sleep(due - loop.time())

    async def _pump(self) -> None:
        """Feed the tapes without a pace to their clients as fast as the slowest of them takes the lines."""
        # A row gives a symbol with all kinds of tapes four lines: with a quarter of the limit it is never reached.
        lines = max(1, min(PUMP_LINES, self._options.queue_limit // 4))
        while True:
            if self.feed.pump_tapes(time.time(), lines):
                self.wake_all()
                await asyncio.sleep(0)
            else:
                self._has_room.clear()
                await self._has_room.wait()

    def _refuse_other_paths(self, connection: ServerConnection, request: Request) -> Response | None:
        if _path(request) in self._endpoints:
            return None
        return connection.respond(HTTPStatus.NOT_FOUND, f"Only these are served: {', '.join(self._endpoints)}.\n")

    def _http_handler(self) -> Handler:
        self._is_account_asked = True
        # It brings in aiohttp, which a server for WebSockets alone starts without.
        from aries_nb.sim.aries.http import HttpApi

        return HttpApi(self._options, self.feed, self._history, oauth=self.oauth, accounts=self.accounts).handle

    def _give_up(self, client: Client) -> None:
        self._slow += 1
        client.session.close(TRY_AGAIN_LATER, "too slow")
        client.session.outbox.clear()
        # The sender may be waiting for room in the socket that never comes.
        self._spawn(client.connection.close(TRY_AGAIN_LATER, "too slow"))

    def _keep_counts(self, session: Session) -> None:
        left = self._left
        self._left = replace(
            left,
            auths=left.auths + session.auths,
            subscribe_requests=left.subscribe_requests + session.subscribe_requests,
            unsubscribe_requests=left.unsubscribe_requests + session.unsubscribe_requests,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside, for a connection that may be gone by then."""

        async def run() -> None:
            with suppress(ConnectionClosed):
                await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _path(request: Request) -> str:
    return urlsplit(request.path).path
