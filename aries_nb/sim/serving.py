"""Base class of the simulated brokers' servers: connections, sessions, the market's clock, and shutdown.

Framing, queueing, limits of a connection and the treatment of slow readers differ between brokers; subclasses have
them.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from websockets.exceptions import ConnectionClosed

from aries_nb.sim.front import Front, is_loopback, listening
from aries_nb.sim.settings import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sized

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from aries_nb.sim.feed import MarketFeed
    from aries_nb.sim.front import Handler
    from aries_nb.sim.market.history import History, TradeArray
    from aries_nb.sim.market.market import MarketHours
    from aries_nb.sim.settings import ServerOptions

__all__ = ["Client", "ClientSession", "Server"]

#: Close code of a connection that ended without a close frame; it is never sent.
ABNORMAL_CLOSURE = 1006


class ClientSession(Protocol):
    """What the server needs of a session, the protocol state of one client's connection (an interface).

    `now` is Unix time in s. `closing` is the code and reason with which the connection is to be closed; None while
    it goes on.
    """

    closing: tuple[int, str] | None

    @property
    def outbox(self) -> Sized:
        """The messages that wait to be sent to the client."""

    @property
    def is_authenticated(self) -> bool:
        """Whether the client's token was accepted and has not expired."""

    def subscriptions(self) -> dict[str, dict[str, Any]]:
        """Return the client's present subscriptions; keys and values are the broker's protocol names."""

    def receive(self, frame: str | bytes, now: float) -> None:
        """Process one frame (text or binary) that the client sent, at `now` (Unix s)."""

    def tick(self, now: float) -> None:
        """Check the session's time limits, such as the token's expiry, at `now` (Unix s); end it if one is exceeded.

        Called once every `flush_seconds`.
        """

    def close(self, code: int, reason: str) -> None:
        """End the session with a close code and reason; only the first call has an effect."""


SessionT = TypeVar("SessionT", bound=ClientSession)


class Client(Generic[SessionT]):
    """One client's WebSocket connection with its session, the protocol state.

    Only its sender task writes to the socket; setting `wake` wakes that task.
    """

    def __init__(self, connection: ServerConnection, session: SessionT) -> None:
        self.connection = connection
        self.session = session
        self.wake = asyncio.Event()

    @property
    def has_work(self) -> bool:
        """Whether messages wait to be sent, or the connection has to be closed."""
        return bool(self.session.outbox or self.session.closing)


ClientT = TypeVar("ClientT", bound=Client[Any])


class Server(ABC, Generic[ClientT]):
    """The server of one simulated broker, with all its clients. Owned by the event loop that runs `run`.

    Simulated time passes in `_advance` alone, once every `flush_seconds`: nothing else moves market or accounts.
    """

    #: Counters of a session that the statistics sum over all connections, including ended ones.
    session_counts: ClassVar[tuple[str, ...]] = ("subscribe_requests", "unsubscribe_requests")

    def __init__(self, options: ServerOptions, feed: MarketFeed[Any], history: History) -> None:
        self.clients: list[ClientT] = []
        self.feed = feed
        self.options = options
        self._history = history
        #: Set when a client may have read something: unpaced recordings wait for it.
        self._has_room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._counts: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until cancelled; then close every connection with code 1001.

        Calls `ready` with the base URL once clients can connect. Raises UsageError if the address cannot be
        listened on.
        """
        options = self.options
        async with listening(
            options,
            Front(self._http_handler, is_local=is_loopback(options.host)),
            self._serve_client,
            self.drop_connections,
            process_request=self._refuse,
            **self._socket_settings(),
        ) as url:
            ready(url)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pace())
                if options.tapes and options.speed is None:
                    tasks.create_task(self._pump())

    def statistics(self) -> Statistics:
        """Return the server's counters since its start, and its present numbers of connections and waiting messages."""
        sessions, counts = self.sessions(), self._counts
        return Statistics(
            connections_total=counts["connections"],
            connections_open=len(sessions),
            messages_sent=counts["messages"],
            frames_sent=counts["frames"],
            market_events=self.feed.events,
            tape_rows_sent=self.feed.tape_rows_sent,
            closed_slow=counts["slow"],
            queued=sum(len(session.outbox) for session in sessions),
            **{
                name: self._ended[name] + sum(getattr(session, name) for session in sessions)
                for name in self.session_counts
            },
        )

    def sessions(self) -> list[Any]:
        """Return the sessions of all open connections."""
        return [client.session for client in self.clients]

    def trades(self, symbol: str, first: float, last: float) -> TradeArray:
        """Return every trade of a symbol in [first, last), Unix s, oldest first, as the array of `History.trades`."""
        return self._history.trades(symbol, first, last)

    def drop_connections(self) -> int:
        """Abort the TCP connection of every client without a close frame; return the number of connections."""
        clients = list(self.clients)
        for client in clients:
            client.connection.transport.abort()
        return len(clients)

    def close_connections(self, code: int, reason: str) -> int:
        """Start closing every connection with a close frame of this code and reason.

        Return the number of connections.
        """
        clients = list(self.clients)
        for client in clients:
            self._spawn(client.connection.close(code, reason))
        return len(clients)

    def broadcast(self, text: str) -> int:
        """Send a text unchanged, in its own frame, to every authenticated client; return the number of clients."""
        clients = [client for client in self.clients if client.session.is_authenticated]
        for client in clients:
            self._send_frame(client, text)
        return len(clients)

    @abstractmethod
    def set_hours(self, hours: MarketHours, now: float) -> None:
        """Set the market's trading hours at `now` (Unix s), and with them open or close it.

        A change is sent to the clients.
        """

    def wake_all(self) -> None:
        """Wake the sender tasks of all clients for which messages wait or whose connection has to be closed."""
        for client in self.clients:
            if client.has_work:
                client.wake.set()

    # For subclasses: what differs between brokers.

    @abstractmethod
    def _socket_settings(self) -> dict[str, Any]:
        """Return the broker's keyword arguments for `websockets.asyncio.server.serve`, such as size limits."""

    @abstractmethod
    def _refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the HTTP response that refuses a WebSocket handshake; None accepts it."""

    @abstractmethod
    def _http_handler(self) -> Handler:
        """Make the function that answers HTTP requests.

        Called once, with the first of them: only then is aiohttp imported.
        """

    @abstractmethod
    def _accept(self, connection: ServerConnection) -> ClientT:
        """Return a new client, with a new session, for a connection just opened; called once for each."""

    @abstractmethod
    async def _send(self, client: ClientT) -> None:
        """Write the client's waiting messages as fast as it reads, and close the connection once its session has ended.

        Runs as a task of its own for each client, until it is cancelled.
        """

    @abstractmethod
    def _send_frame(self, client: ClientT, text: str) -> None:
        """Send one text to a client as a frame of its own; called by `broadcast`.

        Whether it overtakes the messages that wait is left to the subclass.
        """

    @abstractmethod
    def _advance(self, seconds: float, now: float) -> None:
        """Advance the market, the recordings and the simulated accounts by `seconds`, up to `now` (Unix s).

        Called once every `flush_seconds` on the event loop.
        """

    @abstractmethod
    def _check_limits(self, client: ClientT) -> None:
        """Disconnect a client that does not read its messages, if too many wait for it.

        Called for each client once every `flush_seconds` on the event loop.
        """

    @abstractmethod
    def _pump_recordings(self, now: float) -> bool:
        """Send rows of recordings without a pace (option `speed` None) as far as the clients have room for them.

        Returns whether a row was sent. `now` is in Unix s.
        """

    async def _received(self, client: ClientT) -> None:
        """Hook of subclasses, awaited on the event loop after each frame of a client was processed.

        The next frame is read once it returns. This base class does nothing.
        """

    # The loops.

    async def _serve_client(self, connection: ServerConnection) -> None:
        self._counts["connections"] += 1
        client = self._accept(connection)
        self.clients.append(client)
        sender = asyncio.create_task(self._send(client))
        try:
            async for frame in connection:
                client.session.receive(frame, time.time())
                client.wake.set()
                self._has_room.set()
                await self._received(client)
        except ConnectionClosed:
            pass  # a client may disconnect without a close frame
        finally:
            self.clients.remove(client)
            client.session.close(ABNORMAL_CLOSURE, "the connection is gone")
            for name in self.session_counts:
                self._ended[name] += getattr(client.session, name)
            self._has_room.set()
            sender.cancel()
            with suppress(asyncio.CancelledError):
                await sender

    async def _pace(self) -> None:
        """Advance the market, the recordings and the sessions once every `flush_seconds`, until cancelled."""
        loop, turn = asyncio.get_running_loop(), self.options.flush_seconds
        due = loop.time()
        while True:
            now = time.time()
            self._advance(turn, now)
            for client in list(self.clients):
                client.session.tick(now)
                self._check_limits(client)
            self.wake_all()
            # After a delay of more than a few turns the lost time is not made up.
            due = max(due + turn, loop.time() - 3 * turn)
            await asyncio.sleep(due - loop.time())

    async def _pump(self) -> None:
        """Send the rows of recordings without a pace (option `speed` None) as fast as their slowest client reads.

        Runs until it is cancelled.
        """
        while True:
            if self._pump_recordings(time.time()):
                self.wake_all()
                await asyncio.sleep(0)
            else:
                self._has_room.clear()
                await self._has_room.wait()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task that runs `work` for a connection; that the connection closes meanwhile is no error."""

        async def run() -> None:
            with suppress(ConnectionClosed):
                await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
