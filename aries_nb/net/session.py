"""One connection to one endpoint, kept alive: connect, authenticate, subscribe, renew, and again after each break.

    idle → connecting → live ⇄ reconnecting → closed
                 ╰──────────┴──────────────→ failed        the first attempt, or a token that is refused

A session lives on the network's thread. The methods of the first part may be called from any thread.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from aries_nb.errors import ConnectError, FeedError, TokenError
from aries_nb.model import (
    GapSink,
    MarketStatus,
    Notice,
    Pong,
    Rejected,
    SessionLost,
    SessionOpened,
    SessionRefused,
    State,
    TokenWanted,
)
from aries_nb.net.address import shown_url
from aries_nb.net.background import Background
from aries_nb.net.backoff import Backoff, BackoffRule
from aries_nb.net.intake import Intake, Stream
from aries_nb.net.tokens import Secret, TokenSource
from aries_nb.wire import Wire

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.frames import Close

__all__ = ["Session"]

log = logging.getLogger("aries_nb")

OPEN_SECONDS = 10.0
TICK_SECONDS = 0.25
MAX_FRAME = 16 * 2**20  # a larger one closes the connection; one below is read, and counted if it is rubbish
READ_BYTES = 2**20  # asyncio reads 256 KiB at a time; beside a busy cell each read costs two waits for the GIL


class _LostError(Exception):
    """This connection is over; another may succeed."""


class _RefusedError(_LostError):
    """The server refused the token on this connection."""


class Session:
    """A connection that outlives its breaks."""

    def __init__(
        self, url: str, wire: Wire, token: TokenSource, gaps: GapSink, *, rule: BackoffRule | None = None
    ) -> None:
        self.url = url
        self.intake = Intake(wire)
        self.state: State = "connecting"
        self.error: FeedError | None = None
        self.last_error = ""
        self.reconnects = 0
        self.renewals = 0
        self.messages_per_s = 0.0
        self.market_status: dict[str, str] = {}
        self.rejected: dict[str, str] = {}
        self._wire = wire
        self._token = token
        self._gaps = gaps
        self._rule = rule or BackoffRule()
        self._background = Background.shared()
        self._first: Future[None] = Future()
        self._bells: tuple[Callable[[], None], ...] = ()
        self._fences: list[tuple[int, asyncio.Future[None]]] = []
        self._socket: ClientConnection | None = None
        self._live_since: float | None = None
        self._refused: Secret | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._publish_due = False
        self._runner = self._background.submit(self._run())

    # Any thread.

    def wait_open(self, timeout: float) -> None:
        """Block until the session is live for the first time. Raises what prevented it."""
        try:
            self._first.result(timeout)
        except TimeoutError as error:
            advice = "Check the address, or try again with a longer timeout."
            raise ConnectError(
                "no session", where=f"{shown_url(self.url)}, after {timeout:g} s", advice=advice
            ) from error

    def subscribe(self, streams: Iterable[Stream]) -> Future[dict[str, str]]:
        """Ask for streams. The future gives the symbols refused, with the reason, once the server has seen them.

        Without a live connection it gives {} at once: the streams are asked for as soon as there is one.
        """
        return self._background.submit(self._subscribe(list(streams)))

    def unsubscribe(self, streams: Iterable[Stream]) -> Future[None]:
        """Give streams up; the last one on a subscription ends it."""
        return self._background.submit(self._unsubscribe(list(streams)))

    def close(self) -> None:
        """End the session; idempotent. Waits a moment for the goodbye unless called on the network's thread."""
        if self.state == "closed":
            return
        done = self._background.submit(self._close())
        if not self._background.is_current():
            with suppress(TimeoutError):
                done.result(3)

    def watch(self, ring: Callable[[], None]) -> Callable[[], None]:
        """Have `ring` called, on the network's thread, when the state changes. Returns the undo."""
        self._bells = (*self._bells, ring)

        def undo() -> None:
            self._bells = tuple(bell for bell in self._bells if bell is not ring)

        return undo

    # The network's thread.

    async def _run(self) -> None:
        backoff = Backoff(self._rule)
        try:
            while True:
                self._live_since = None
                try:
                    await self._connection()
                except (_LostError, OSError, TimeoutError) as lost:
                    reason = _explain(lost)
                lived = None if self._live_since is None else time.monotonic() - self._live_since
                self._broke(reason)
                if self._refused is not None:
                    continue  # once more at once: the source may have a fresher token, and the same one again is fatal
                if not self._first.done():
                    raise ConnectError(
                        f"cannot connect: {reason}",
                        where=shown_url(self.url),
                        advice="Check the address and the network.",
                    )
                await asyncio.sleep(backoff.next(lived=lived, jitter=random.random()))
        except FeedError as error:
            self._fail(error)
        except Exception as error:  # the border of the background task: the next user call raises from it
            log.exception("the session with %s failed", shown_url(self.url))
            failure = FeedError(
                f"the session failed: {error!r}", where=shown_url(self.url), advice="Please report this."
            )
            failure.__cause__ = error
            self._fail(failure)

    async def _connection(self) -> None:
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidURI

        token = await asyncio.to_thread(self._token)
        self._check_fresh(token)
        try:
            async with connect(
                self.url, compression=None, max_size=MAX_FRAME, max_queue=8192, ping_interval=None, close_timeout=1
            ) as socket:
                self._socket = socket
                # Fewer, larger reads: see READ_BYTES. The attribute is asyncio's own, on its selector transport.
                if hasattr(socket.transport, "max_size"):
                    socket.transport.max_size = READ_BYTES
                self._wire.open(time.monotonic())
                self._wire.authenticate(token.reveal(), time.monotonic())
                await self._listen(socket)
        except _RefusedError:
            self._refused = token
            raise
        except ConnectionClosed as closed:
            raise _LostError(_close_reason(closed.rcvd, closed.sent)) from closed
        except (InvalidHandshake, InvalidMessage, InvalidURI) as error:
            raise _LostError(f"what answered is no WebSocket server of this broker ({error})") from error
        finally:
            self._socket = None

    async def _listen(self, socket: ClientConnection) -> None:
        ticker = asyncio.create_task(self._tick(socket))
        loop = asyncio.get_running_loop()
        intake = self.intake
        try:
            await self._flush()
            while True:
                # While frames are queued this does not yield, so a burst is taken in one go and published once.
                frame = await socket.recv(decode=False)
                for notice in intake.take(frame, time.time_ns()):
                    self._heed(notice)
                if not self._publish_due:
                    self._publish_due = True
                    loop.call_soon(self._publish)
        finally:
            ticker.cancel()
            self._publish()

    def _publish(self) -> None:
        self._publish_due = False
        self.intake.publish()

    async def _tick(self, socket: ClientConnection) -> None:
        counted, at = self.intake.messages, time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            self.messages_per_s += 0.3 * ((self.intake.messages - counted) / (now - at) - self.messages_per_s)
            counted, at = self.intake.messages, now
            for notice in self._wire.tick(now):
                if isinstance(notice, SessionLost):
                    self.last_error = notice.reason
                    socket.transport.abort()
                self._heed(notice, is_own=True)
            await self._flush()

    async def _flush(self) -> None:
        for frame in self._wire.outgoing():
            if self._socket is not None:
                await self._socket.send(frame)

    def _heed(self, notice: Notice, *, is_own: bool = False) -> None:
        if isinstance(notice, Pong):
            self._resolve(notice.number)
        elif isinstance(notice, SessionOpened):
            self._opened(notice)
        elif isinstance(notice, TokenWanted):
            self._spawn(self._renew())
        elif isinstance(notice, SessionRefused):
            self._token_refused(notice)
        elif isinstance(notice, SessionLost) and not is_own:
            raise _LostError(notice.reason)
        elif isinstance(notice, Rejected):
            self.last_error = notice.reason
            self.rejected.update(dict.fromkeys(notice.symbols, notice.reason))
            self._ring()
        elif isinstance(notice, MarketStatus):
            self.market_status = dict(notice.entries)
        if not is_own:
            self._spawn(self._flush())

    def _opened(self, notice: SessionOpened) -> None:
        self._refused = None
        if notice.is_renewal:
            self.renewals += 1
            return
        self._live_since = time.monotonic()
        self.state = "live"
        self._gaps.closed(ended=time.time_ns())
        if not self._first.done():
            self._first.set_result(None)
        self._ring()

    def _token_refused(self, notice: SessionRefused) -> None:
        self.last_error = notice.reason
        if self._live_since is not None:
            log.warning("the renewal of the session was refused: %s", notice.reason)
            return
        # A source may have a fresher one; the same again is fatal, see `_connection`.
        raise _RefusedError(notice.reason)

    async def _renew(self) -> None:
        try:
            token = await asyncio.to_thread(self._token)
        except FeedError as error:
            self.last_error = str(error)
            log.warning("no token for the renewal of the session: %s", error)
            return
        if self._socket is not None:
            self._wire.authenticate(token.reveal(), time.monotonic())
            await self._flush()

    async def _subscribe(self, streams: list[Stream]) -> dict[str, str]:
        symbols = {stream.subscription.symbol for stream in streams}
        for symbol in symbols:
            self.rejected.pop(symbol, None)
        new = self.intake.attach(streams)
        if not new:
            return {}
        fence = self._wire.subscribe(new)
        await self._flush()
        if self.state == "live" and fence:
            seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._fences.append((fence, seen))
            await seen
        return {symbol: self.rejected[symbol] for symbol in symbols if symbol in self.rejected}

    async def _unsubscribe(self, streams: list[Stream]) -> None:
        gone = self.intake.detach(streams)
        if gone:
            self._wire.unsubscribe(gone)
            await self._flush()

    async def _close(self) -> None:
        self._runner.cancel()
        socket = self._socket
        if socket is not None:
            with suppress(OSError):
                await socket.close()
        self.state = "closed"
        self._resolve(None)
        if not self._first.done():
            self._first.set_exception(ConnectError("closed before it was open", where=shown_url(self.url)))
        self._ring()

    def _broke(self, reason: str) -> None:
        """Note a break; `reason` names it in the ledger of gaps."""
        self._resolve(None)
        if self.state == "live":
            self.reconnects += 1
            self.state = "reconnecting"
            self._gaps.opened(started=self.intake.last_received or time.time_ns(), reason=reason)
            self.intake.interrupted()
        self.last_error = reason
        log.info("%s: %s", shown_url(self.url), reason)
        self._ring()

    def _check_fresh(self, token: Secret) -> None:
        if token == self._refused:
            where, advice = shown_url(self.url), "Get a new one and connect again."
            raise TokenError(f"the token was refused ({self.last_error})", where=where, advice=advice)

    def _unreachable(self, reason: str) -> ConnectError:
        return ConnectError(
            f"cannot connect: {reason}", where=shown_url(self.url), advice="Check the address and the network."
        )

    def _fail(self, error: FeedError) -> None:
        self.error = error
        self.last_error = str(error)
        self.state = "failed"
        self._resolve(None)
        if not self._first.done():
            self._first.set_exception(error)
        self._ring()

    def _resolve(self, number: int | None) -> None:
        """Let those go on who wait for the pong of a ping up to `number`; all of them where it is None."""
        done = [seen for fence, seen in self._fences if number is None or fence <= number]
        self._fences = [(fence, seen) for fence, seen in self._fences if seen not in done]
        for seen in done:
            if not seen.done():
                seen.set_result(None)

    def _ring(self) -> None:
        for ring in self._bells:
            ring()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _explain(error: Exception) -> str:
    """One line about why a connection failed, for a person."""
    if isinstance(error, _LostError):
        return str(error)
    if isinstance(error, ssl.SSLError):
        return f"the server's certificate or TLS is not acceptable ({error.reason or error})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _close_reason(received: Close | None, sent: Close | None) -> str:
    if received is not None:
        said = f": {received.reason}" if received.reason else ""
        return f"the server closed the connection ({received.code}{said})"
    if sent is not None:
        return f"closed by us ({sent.code}: {sent.reason})"
    return "the connection was cut"
