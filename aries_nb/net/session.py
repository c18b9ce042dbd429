"""One connection to one endpoint: connect, authenticate, subscribe, renew the token, reconnect after each break.

States of a session:

    connecting → live ⇄ reconnecting → closed
        ╰─────────┴──────────┴───────→ failed        the first attempt, a token that is refused, or a defect

A session runs on the network's thread. The methods of the first part may be called from any thread.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from traceback import format_exception
from typing import TYPE_CHECKING

from aries_nb.brokers import BrokerProtocol
from aries_nb.errors import ConnectError, FeedError, UsageError
from aries_nb.model import (
    Cause,
    GapSink,
    Rejected,
    Secret,
    SessionLost,
    SessionOpened,
    SessionRefused,
    Subscription,
    TokenWanted,
)
from aries_nb.model.clock import elapsed
from aries_nb.net.auth.tokens import Credential, TokenSource, made_with
from aries_nb.net.background import Background
from aries_nb.net.backoff import Backoff, BackoffRule
from aries_nb.net.connection_errors import (
    ConnectionLostError,
    TokenRefusedError,
    crashed,
    explain,
    never_connected,
    not_open_within,
    token_refused,
)
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.intake import Route, in_turns
from aries_nb.net.lag import StallDetector
from aries_nb.net.redaction import Redactor
from aries_nb.net.session_state import SessionState
from aries_nb.net.urls import checked_url, shown_url

if TYPE_CHECKING:
    from aries_nb.net.frame_connection import FrameConnection

__all__ = ["Session"]

log = logging.getLogger("aries_nb")

TICK_SECONDS = 0.25
PONG_SECONDS = 10.0  # for the pong of a WebSocket's ping
MOST_BURST_SECONDS = 0.03  # a burst that lasts longer is published in between, and its lag checked


class Session(SessionState):
    """A connection to one endpoint that reconnects by itself after each break. It starts to connect when it is made.

    `number` counts the connections to the endpoint, from 1. If the first attempt of connection 1 fails, the session
    fails, since the address may be wrong; later connections go on trying. `gaps` receives the beginning and end of each
    gap. `rule` None means the default delays between attempts. `on_trade_gap` may be set to a function that is called
    on the network's thread with each notice of missing trades, before the records that came with the notice are
    visible. `address` and `headers` are those of `aries_nb.brokers.Endpoint`, None for `url` and no headers. `arrivals`
    numbers the records of all sessions of a feed; None for those of this one alone. `error` is what made the session
    fail, None before; `last_error` the text of the latest problem, "" for none. `reconnects` counts the breaks of a
    live connection, `renewals` the renewals of the token on an open one. `status_reports` are the newest
    1,000 reports of the market's state, oldest first, and the number of all. `rejected` has the refused subscriptions
    of the current connection.
    """

    def __init__(
        self,
        url: str,
        protocol: BrokerProtocol,
        token: TokenSource,
        gaps: GapSink,
        *,
        rule: BackoffRule | None = None,
        endpoint: str = "",
        number: int = 1,
        address: Callable[[str], str] | None = None,
        headers: Callable[[str], Mapping[str, str]] | None = None,
        arrivals: Arrivals | None = None,
    ) -> None:
        from aries_nb.net.websocket import SendQueue

        self._address, self._headers = address, headers
        self.url = url
        arrivals = arrivals or Arrivals()
        self._redact = Redactor()  # of the tokens that were sent
        super().__init__(
            shown_url(url),
            protocol,
            gaps,
            arrivals,
            endpoint=endpoint,
            number=number,
            redact=self._redact,
        )
        self._rule = rule or BackoffRule()
        self._credential = Credential(token, self._redact, self._rule)
        self._background = Background.shared()
        self._first: Future[None] = Future()
        self._send_queue = SendQueue(self.ponged)
        self._request_order = asyncio.Lock()  # held over all turns of a call, so that calls take effect in their order
        self._renewing: FrameConnection | None = None
        self._socket: FrameConnection | None = None
        self._live_since: float | None = None
        self._ended_by: ConnectionLostError | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner = self._background.submit(self._run())

    # Any thread.

    def wait_open(self, timeout: float) -> None:
        """Block until the session has been live at least once; `timeout` is in seconds.

        Raises the error that made the session fail, or ConnectError after `timeout`.
        """
        try:
            self._first.result(timeout)
        except TimeoutError as error:
            raise not_open_within(timeout, self._where) from error

    def subscribe(self, routes: Iterable[Route]) -> Future[dict[Subscription, Rejected]]:
        """Request the streams of these routes. Returns a future with the refused subscriptions, each with its notice.

        The future is done once the server has processed the request, or the connection breaks. Without a live
        connection it gives {} at once, and the request is sent when there is one.
        """
        return self._background.submit(self._subscribe(list(routes)))

    def unsubscribe(self, routes: Iterable[Route]) -> Future[None]:
        """Remove routes; a subscription without a route is ended on the server.

        Returns a future that is done when the request is sent.
        """
        return self._background.submit(self._unsubscribe(list(routes)))

    def catch_up(self) -> Future[None]:
        """Return a future that is done when all that the server has sent until now was read, or the connection breaks.

        Without a live connection it is done at once.
        """
        return self._background.submit(self._catch_up())

    def close(self) -> Future[None]:
        """Close the session; idempotent. Returns a future that is done when the connection's closing handshake is."""
        return self._background.submit(self._close())

    def fail(self, error: FeedError) -> None:
        """End the session for good with an error, which the user's next call raises; nothing if it has ended."""
        self._background.submit(self._end_with(error))

    # The network's thread.

    async def _end_with(self, error: FeedError) -> None:
        if self.state not in ("closed", "failed"):
            self.interrupted(str(error), "cut")
            self._fail(error)
            self._runner.cancel()

    async def _run(self) -> None:
        backoff = Backoff(self._rule)
        if self.number > 1:
            self._first.set_result(None)
        try:
            while True:
                self._live_since = self._ended_by = None
                try:
                    await self._connection()
                except TokenRefusedError as refused:
                    self.interrupted(str(refused), refused.cause)
                    continue  # retry at once: the source may have a fresher token; a second refusal is fatal
                except (ConnectionLostError, OSError, TimeoutError) as lost:
                    ended = self._ended_by or lost
                lived = None if self._live_since is None else elapsed() - self._live_since
                self.interrupted(explain(ended), self._cause_of(ended))
                if not self._first.done():
                    self._fail(never_connected(self.last_error, self._where, ended))
                    return
                await asyncio.sleep(backoff.next(lived=lived, jitter=random.random()))
        except FeedError as error:
            self._fail(error)
        except Exception as error:
            self._crash(error)

    async def _connection(self) -> None:
        from aries_nb.net.websocket import connected

        try:
            token = await self._credential.fetch()
        except FeedError as error:
            if not self._first.done():
                raise
            raise ConnectionLostError(str(error), "token") from error  # the network may be down
        if self._credential.is_refused:
            raise token_refused(self.last_error, self._where)
        try:
            async with connected(self._address_for(token), self._headers_for(token)) as socket:
                self._take_date(socket)
                self._socket = socket
                self._send_queue.pings.clear()
                self.connected(elapsed())
                self._log_in(token)
                await self._listen(socket)
        except TokenRefusedError:
            if self._credential.was_refused:
                raise token_refused(self.last_error, self._where) from None
            self._credential.refused()
            raise
        finally:
            self._socket = None

    def _take_date(self, socket: FrameConnection) -> None:
        answer = socket.response
        if answer is not None and self._clock.handshake(answer.headers.get("Date", "")):
            log.warning("%s: %s", self._where, self._clock)

    def _address_for(self, token: Secret) -> Secret:
        """Return the address to connect to with this token; a Secret, since its query may hold the token.

        Raises UsageError for an unusable address from the adapter, ConnectError if the adapter's function raises.
        """
        if self._address is None:
            return Secret(self.url)
        address = made_with(token, self._address, "address")
        if not isinstance(address, str):
            what = f"the endpoint's function `address` returned a {type(address).__name__}"
            raise UsageError(what, where=self._where, advice="It must return the whole address as text.")
        return Secret(checked_url(address, "", has_query=True))

    def _headers_for(self, token: Secret) -> Callable[[], Mapping[str, str]] | None:
        headers = self._headers
        return None if headers is None else lambda: _checked_headers(made_with(token, headers, "headers"))

    async def _listen(self, socket: FrameConnection) -> None:
        ticker = asyncio.create_task(self._tick(socket))
        ticker.add_done_callback(partial(self._ticked, socket))
        try:
            await self._flush()
            await socket.deliver(partial(self._process, socket))
        finally:
            ticker.cancel()
            self.publish()

    def _process(self, socket: FrameConnection, unread: deque[bytes]) -> None:
        """Process messages of `unread`, the oldest first, for 30 ms or a part of one, and publish their records."""
        until = elapsed() + MOST_BURST_SECONDS

        def is_over() -> bool:
            return elapsed() > until

        while unread and not is_over():
            if self.take(unread, is_over):
                self._spawn(self._flush())
            if self.intake.is_unfinished:
                return
        self.publish()
        self._send_queue.pings.report(socket)
        if unread:
            self.read_monitor.in_burst(socket, elapsed())

    def publish(self) -> None:
        """Make all records taken so far visible; an error there fails the session."""
        try:
            super().publish()
        except Exception as error:  # otherwise rows would be missing without an error
            self._crash(error)
            self._runner.cancel()

    def _ticked(self, socket: FrameConnection, ticker: asyncio.Task[None]) -> None:
        """Done callback of `ticker`, the task that checks the connection regularly: fail the session on its error.

        Without these checks a dead server would not be noticed. Errors after the end of the connection `socket` are
        ignored, since the receiving task raises that end. An error of the system, such as no file descriptor left, may
        pass: the session connects again.
        """
        from aries_nb.net.websocket import is_open

        error = None if ticker.cancelled() else ticker.exception()
        if isinstance(error, OSError) and is_open(socket):
            self._ended_by = ConnectionLostError(explain(error))
            socket.transport.abort()
        elif isinstance(error, Exception) and is_open(socket):
            self._crash(error)
            self._runner.cancel()

    async def _tick(self, socket: FrameConnection) -> None:
        self.read_monitor.restart(elapsed())
        stall = StallDetector()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if (stalled := stall.turn()) and self.suspect(stalled):
                await asyncio.sleep(TICK_SECONDS)  # frames in the socket are read first: they may answer a ping
            now = elapsed()
            self.read_monitor.turn(socket, now)
            for notice in self.tick(now):
                self._ended_by = ConnectionLostError(notice.reason, notice.cause)
                socket.transport.abort()
            if ping := self._send_queue.pings.overdue(now, PONG_SECONDS):
                self._without_pong(socket, ping)
            if stalled:
                self.expect(self.request(()))
            elif stall.was_clock_set:
                self.request(())  # a ping, whose answer is missing if the connection did not survive
            if self._send_queue.is_stuck(socket):
                self._ended_by = ConnectionLostError("the server does not read what is sent to it", "silence")
                socket.transport.abort()
            self._spawn(self._flush())  # not awaited: ticks go on while the server does not read

    def _without_pong(self, socket: FrameConnection, ping: int) -> None:
        """Handle the ping number `ping` on `socket`, not answered for 10 s: close the connection as dead.

        It is a ping of the WebSocket protocol itself. If other data arrived in the last 10 s, the server ignores pings:
        the ping then counts as answered.
        """
        if self._clock.now_ns() - self.intake.last_received < PONG_SECONDS * 1e9:
            self.ponged(ping)
            return
        self._ended_by = ConnectionLostError(f"no answer to a ping within {PONG_SECONDS:.0f} s", "silence")
        socket.transport.abort()

    async def _flush(self) -> None:
        socket = self._socket
        if socket is None:
            self._protocol.outgoing()  # dropped: the next connection sends its own requests
            return
        # The wait for earlier messages may be longer than the connection lasts.
        await self._send_queue.send(socket, lambda: self._protocol.outgoing() if socket is self._socket else ())

    def _token_wanted(self, notice: TokenWanted) -> None:
        self._spawn(self._renew(is_refused=notice.is_refused))

    def _lost(self, notice: SessionLost) -> None:
        raise ConnectionLostError(self._redact(notice.reason), notice.cause)

    def _opened(self, notice: SessionOpened) -> None:
        super()._opened(notice)
        self._credential.accepted()
        if not notice.is_renewal:
            self._live_since = elapsed()

    def _went_live(self) -> None:
        if not self._first.done():
            self._first.set_result(None)

    def _refused(self, notice: SessionRefused) -> None:
        super()._refused(notice)
        if not self._is_live:
            raise TokenRefusedError(self.last_error, "token")

    async def _renew(self, *, is_refused: bool) -> None:
        """Renew the session on this connection with a fresh token; does nothing while a renewal is under way.

        Asks the token source again and again while it has none and this connection is open. `is_refused`: the server
        refused the token in use, which is first reported to the token source.
        """
        socket = self._socket
        if socket is None or socket is self._renewing:
            return  # one renewal at a time
        self._renewing = socket
        if is_refused:
            self._credential.invalidate()
        token = await self._credential.fetch_until(
            lambda: socket is not self._socket, partial(setattr, self, "last_error")
        )
        try:
            if token is not None:
                self._log_in(token)
        except ConnectError as error:  # the session may end for it, and the next connection begins with a new token
            self.last_error = str(error)
            log.warning("the session could not be renewed: %s", error)
        finally:
            if socket is self._renewing:
                self._renewing = None
        await self._flush()

    def _log_in(self, token: Secret) -> None:
        """Queue the message that logs in with this token.

        Raises ConnectError, without the token, if the adapter raises.
        """
        made_with(token, lambda text: self.authenticate(text, elapsed()), "login")

    async def _subscribe(self, routes: list[Route]) -> dict[Subscription, Rejected]:
        answered: asyncio.Future[None] | None = None
        async with self._request_order:
            async for turn in in_turns(routes):
                if (ping := self.add(turn)) and self._is_connected:
                    answered = self._barriers.wait_for(ping)  # the last one: its answer comes after all others
        await self._flush()
        if answered is not None:
            await answered
        asked = (route.subscription for route in routes)
        return {subscription: self.rejected[subscription] for subscription in asked if subscription in self.rejected}

    async def _unsubscribe(self, routes: list[Route]) -> None:
        async with self._request_order:
            async for turn in in_turns(routes):
                self.remove(turn)
        await self._flush()

    async def _catch_up(self) -> None:
        if self._is_connected and self.state == "live" and (ping := self.request(())):
            answered = self._barriers.wait_for(ping)
            await self._flush()
            await answered

    @property
    def _is_connected(self) -> bool:
        """Whether there is a connection that may answer a ping, or end and so release those who wait for the answer."""
        return self._socket is not None and self.state not in ("closed", "failed")

    async def _close(self) -> None:
        if self.state == "closed":
            return
        self._runner.cancel()
        socket = self._socket
        if socket is not None:
            with suppress(OSError):
                await socket.close()
        if not self._first.done():
            self._first.set_exception(ConnectError("closed before it was open", where=self._where))
        self.ended()

    def _cause_of(self, ended: Exception) -> Cause:
        cause = ended.cause if isinstance(ended, ConnectionLostError) else "cut"
        # Brokers cut off clients that read too slowly.
        return "overload" if self.state == "live" and cause == "cut" and self.read_monitor.lag.is_late else cause

    def _crash(self, error: Exception) -> None:
        """Fail the session because of an unexpected error.

        The next call of the user raises an error of which it is the cause.
        """
        if self.state == "failed":
            return
        trace = self._redact.without_secrets("".join(format_exception(error)))
        log.error("the session with %s failed\n%s", self._where, trace)
        self._fail(crashed(error, self._redact(repr(error)), self._where))

    def _fail(self, error: FeedError) -> None:
        # Without its frames: they hold the server's text unredacted, which may echo a token.
        error.__context__ = None
        self.failed(error.with_traceback(None))
        if not self._first.done():
            self._first.set_exception(error)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers if all of them can be sent as ASCII text.

    Raises UsageError without their values, which may hold the token and which the error of websockets would quote.
    """
    given = headers if isinstance(headers, Mapping) else {}
    wrong = [name for name, value in given.items() if not (_is_sendable(name) and _is_sendable(value))]
    if wrong or given is not headers:
        names = ", ".join(map(ascii, wrong))
        what = f"the header {names} is no line of ASCII text" if wrong else "the endpoint's headers are no mapping"
        raise UsageError(what, advice="Let its function `headers` return a dict of texts, without line feeds.")
    return headers


def _is_sendable(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and text.isprintable()
