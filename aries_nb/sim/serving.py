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
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from websockets.exceptions import ConnectionClosed

from aries_nb.model.clock import steady_ns
from aries_nb.sim.clock import NS, TURNS_TOGETHER, MarketClock
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
#: Share of the time between two looks at the clock that may be spent on the market, so that the loop has time to send.
BUSY_SHARE = 0.7
#: Shortest and longest time between two looks, in s; the longest also where there is no pace.
SHORTEST_LOOK, LONGEST_LOOK = 0.002, 0.05
#: Rest where there is no pace: the clients' clocks are told what time it is after each.
HURRIED_REST = 0.0005
#: Updates made between two looks at the time.
UPDATES_TOGETHER = 64
#: Messages that wait for one client from which on a market without a pace waits.
BACKLOG = 2_000
#: Time that clients get to read what was sent until the market has arrived where it was sent to.
READ_SECONDS = 5.0
#: Market time after which a step by events gives up: no client has subscribed to anything.
STEP_SECONDS = 60.0


class ClientSession(Protocol):
    """What the server needs of a session, the protocol state of one client's connection (an interface).

    `now` is market time, `wall` real time, both in Unix s. `closing` is the code and reason with which the connection
    is to be closed; None while it goes on.
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

    def receive(self, frame: str | bytes, now: float, wall: float) -> None:
        """Process one frame (text or binary) that the client sent."""

    def tick(self, now: float, wall: float) -> None:
        """Check the session's time limits, such as the token's expiry; end it if one is exceeded.

        Called every 0.05 s at least.
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

    Market time passes in turns of `flush_seconds`, and nothing but `_advance` moves market or accounts. `clock` decides
    when a turn is made; connections, their limits and answers over HTTP go on while it stands.
    """

    #: Counters of a session that the statistics sum over all connections, including ended ones.
    session_counts: ClassVar[tuple[str, ...]] = ("subscribe_requests", "unsubscribe_requests")

    def __init__(self, options: ServerOptions, feed: MarketFeed[Any], history: History) -> None:
        self.clock = MarketClock(round(history.start * NS), round(options.flush_seconds * NS))
        self.clients: list[ClientT] = []
        feed.check_planned()
        self.feed = feed
        self.options = options
        self._history = history
        #: Set when a client may have read something: unpaced recordings wait for it.
        self._has_room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Wakes the loop that makes the turns, and those who wait until the market has arrived somewhere.
        self._steered, self._arrived = asyncio.Event(), asyncio.Event()
        #: Called when the pace of the clock counts anew, and without a pace whenever turns were made.
        self.on_clock: Callable[[], None] = lambda: None
        #: Troubles of the connections, in market time; senders wait while nothing is delivered.
        self._outages = feed.roughness.spells("outages", "connections")
        self._delays = feed.roughness.spells("stalls", "connections")
        self._is_out = False
        self._delivers = asyncio.Event()
        self._delivers.set()
        #: A turn may be made in parts: for want of time, or by single events.
        self._is_turn_open = self._is_stepped = False
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
            process_request=self._admit,
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

    async def pause(self, instant: int = 0) -> None:
        """Let the market stand still, but not before `instant` (ns since the epoch); returns once it does."""
        self._is_stepped = False
        self.clock.pause(instant, steady_ns())
        await self._arrive()

    def play(self, speed: float) -> None:
        """Let the market go on at `speed` times the pace of real time, infinite for as fast as clients read."""
        self._is_stepped = False
        self.clock.play(speed, steady_ns())
        self._steered.set()
        self._arrived.set()
        self.on_clock()

    async def seek(self, instant: int) -> None:
        """Let the market go, as fast as clients read, to the first turn at `instant` (ns since the epoch) or after it.

        It then plays or stands as before. Returns once it is there, and what was sent is read. Raises ValueError for a
        moment in the past.
        """
        self.clock.seek(instant, steady_ns())
        self._is_stepped = False
        await self._arrive()

    async def step(self, messages: int) -> None:
        """Let the market stand still, then go on by as many messages to clients, or a few more by the last event.

        Gives up after a minute of market time without any.
        """
        await self.pause()
        self._is_stepped = True
        wanted, last = self._messages + messages, self.clock.turns + round(STEP_SECONDS * NS) // self.clock.turn_ns
        while (left := wanted - self._messages) > 0 and self.clock.turns < last and self._is_stepped:
            self._make_turn(0.0, most=left)
            self.wake_all()
            await asyncio.sleep(0)
        await self._arrive()

    def simulate(self, name: str, seconds: float, symbol: str = "") -> None:
        """Let a trouble happen from now on, for `seconds` of market time, to one symbol, "" for all.

        Raises UsageError as `MarketFeed.simulate` does.
        """
        self.feed.simulate(name, seconds, self.clock.now, symbol=symbol)
        self._interrupt()

    @property
    def is_interrupted(self) -> bool:
        """Whether clients get nothing now: an outage or a delay."""
        return self._is_out or not self._delivers.is_set()

    def _interrupt(self) -> None:
        """Begin and end outages and delays, as they are at the time of the market."""
        now, was_interrupted = self.clock.now, self.is_interrupted
        is_out = self._outages.share(now) is not None
        if is_out and not self._is_out:
            self.drop_connections()
        self._is_out = is_out
        if self._delays.share(now) is None:
            self._delivers.set()
        else:
            self._delivers.clear()
        if self.is_interrupted != was_interrupted:
            self.on_clock()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the HTTP response that refuses a WebSocket handshake; None accepts it."""
        if self._is_out:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "An outage is simulated.\n")
        return self._refuse(connection, request)

    @property
    def _messages(self) -> int:
        """Number of messages that were sent, or wait to be sent."""
        return self._counts["messages"] + sum(len(client.session.outbox) for client in self.clients)

    async def _arrive(self) -> None:
        """Wait until the market is where it was sent to, and for 5 s at most until clients have read what was sent."""
        self._steered.set()
        while self.clock.goal is not None:
            self._arrived.clear()
            await self._arrived.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(READ_SECONDS):
                while self._is_read_later():  # noqa: ASYNC110 - of many clients
                    await asyncio.sleep(SHORTEST_LOOK)
        self.on_clock()

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
        """Advance the recordings and the simulated accounts by a turn of `seconds`, up to `now` (Unix s)."""

    @abstractmethod
    def _is_behind(self, client: ClientT, most: int) -> bool:
        """Return whether more than `most` messages, or parts of a history, wait to be sent to a client."""

    def _is_held_up(self) -> bool:
        """Return whether the market waits for the server or its clients to send what waits.

        At a pace of its own it does so for clients that have not read; otherwise a client that does not read is
        disconnected.
        """
        is_hurried = self.clock.has_no_pace or self.clock.speed > 1.0
        return is_hurried and self._is_read_later(BACKLOG)

    def _is_read_later(self, most: int = 0) -> bool:
        """Return whether a client has yet to read more than `most` messages; False while none is delivered."""
        return not self.is_interrupted and any(self._is_behind(client, most) for client in self.clients)

    @abstractmethod
    def _check_limits(self, client: ClientT) -> None:
        """Disconnect a client that does not read its messages, if too many wait for it.

        Called for each client every 0.05 s at least, on the event loop.
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
                client.session.receive(frame, self.clock.now, time.time())
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
        """Make the turns of the market that are due, and check the limits of the sessions, until cancelled."""
        clock = self.clock
        clock.begin(steady_ns())
        while True:
            began = perf_counter()
            look = self._look_seconds()
            is_hurried = clock.has_no_pace
            made = self._make_turns(began + BUSY_SHARE * look)
            if clock.goal is not None and clock.turns >= clock.goal and not self._is_turn_open:
                clock.arrived(steady_ns())
                self._arrived.set()
            if clock.settle(steady_ns(), time.time_ns()) or (is_hurried and made):
                self.on_clock()
            wall = time.time()
            for client in list(self.clients):
                client.session.tick(clock.now, wall)
                self._check_limits(client)
            self.wake_all()
            used = perf_counter() - began
            await self._rest(look, used)

    def _look_seconds(self) -> float:
        clock = self.clock
        if clock.has_no_pace or not clock.is_playing:
            return LONGEST_LOOK
        return min(max(clock.turn_ns / NS / clock.speed, SHORTEST_LOOK), LONGEST_LOOK)

    def _make_turns(self, until: float) -> int:
        """Make the turns that are due, until the time (by `perf_counter`) is over; return how many were begun."""
        clock, before = self.clock, self.clock.turns
        while not self._is_held_up():
            is_begun = self._is_turn_open and not self._is_stepped
            if not is_begun and clock.due(steady_ns()) <= 0:
                break
            if not self._make_turn(until) or perf_counter() > until:
                break
            if clock.has_no_pace and clock.turns - before >= TURNS_TOGETHER:
                break
        return clock.turns - before

    def _make_turn(self, until: float, most: int | None = None) -> bool:
        """Make one turn, or the rest of one, until the time is over; return whether the turn is.

        It is also left off after about `most` updates, None for any number.
        """
        clock, seconds = self.clock, self.clock.turn_ns / NS
        if not self._is_turn_open:
            clock.turns += 1
            self._is_turn_open = True
            self._interrupt()
        while not self.feed.advance(seconds, clock.now, most=most or UPDATES_TOGETHER):
            if most or perf_counter() > until:
                return False
        self._is_turn_open = False
        self._advance(seconds, clock.now)
        return True

    async def _rest(self, look: float, used: float) -> None:
        """Wait until the next look at the clock is due, or the clock is steered; give the senders time to send."""
        clock = self.clock
        least = used * (1.0 - BUSY_SHARE) / BUSY_SHARE
        if clock.has_no_pace:
            # The senders run now; where the clients are behind, they need time.
            await asyncio.sleep(SHORTEST_LOOK if self._is_held_up() else HURRIED_REST)
            return
        wait = clock.wait_ns(steady_ns())
        rest = max(least, look - used if wait is None else min(wait / NS, LONGEST_LOOK))
        self._steered.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._steered.wait(), rest)

    async def _pump(self) -> None:
        """Send the rows of recordings without a pace (option `speed` None) as fast as their slowest client reads.

        Runs until it is cancelled.
        """
        while True:
            if self.clock.is_playing and self._pump_recordings(self.clock.now):
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
