"""One connection to one endpoint, kept alive: connect, authenticate, subscribe, renew, and again after each break.

    idle → connecting → live ⇄ reconnecting → closed
                 ╰──────────┴──────────────→ failed        the first attempt, or a token that is refused

A session lives on the network's thread. The methods of the first part may be called from any thread.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from aries_nb.errors import ConnectError, FeedError, TokenError
from aries_nb.model import (
    GapSink,
    Kind,
    MarketStatus,
    Notice,
    Pong,
    Rejected,
    Resumed,
    SessionLost,
    SessionOpened,
    SessionRefused,
    State,
    TokenWanted,
)
from aries_nb.net.address import shown_url
from aries_nb.net.background import Background
from aries_nb.net.backoff import Backoff, BackoffRule
from aries_nb.net.bells import Bells
from aries_nb.net.fences import Fences
from aries_nb.net.intake import Intake, Stream
from aries_nb.net.lateness import Lateness
from aries_nb.net.lost import LostError, RefusedError, explain
from aries_nb.net.masking import Mask
from aries_nb.net.tokens import RenewableToken, Secret, TokenSource, fetch
from aries_nb.wire import Wire

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["Session"]

log = logging.getLogger("aries_nb")

TICK_SECONDS = 0.25
MOST_BURST_NS = 100_000_000  # after which a burst that goes on is shown, and time looked at


class Session:
    """A connection that outlives its breaks.

    `number` counts those to the same endpoint. Where the first has come through, a later one that does not at once is a
    broken connection, not a wrong address.
    """

    def __init__(
        self,
        url: str,
        wire: Wire,
        token: TokenSource,
        gaps: GapSink,
        *,
        rule: BackoffRule | None = None,
        number: int = 1,
    ) -> None:
        self.url = url
        self.number = number
        self._masked = Mask()  # of the tokens that were sent
        self.intake = Intake(wire, self._masked)
        self.state: State = "connecting"
        self.error: FeedError | None = None
        self.last_error = ""
        self.reconnects = 0
        self.renewals = 0
        self.messages_per_s = 0.0
        self.lateness = Lateness()
        self.market_status: dict[str, str | float | bool] = {}
        self.rejected: dict[str, str] = {}
        self._wire = wire
        self._token = token
        self._gaps = gaps
        self._rule = rule or BackoffRule()
        self._background = Background.shared()
        self._first: Future[None] = Future()
        if number > 1:
            self._first.set_result(None)
        self._bells = Bells()
        self._fences = Fences()
        self._socket: ClientConnection | None = None
        self._live_since: float | None = None
        self._in_use: Secret | None = None
        self._refused: Secret | None = None
        self._gave_up = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._publish_due = 0  # since when there is something to publish, ns since the epoch; 0 where there is nothing
        self._resumed: dict[tuple[Kind, str], bool] = {}  # what has gone on after the break, and whether it was filled
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
        return self._bells.add(ring)

    # The network's thread.

    async def _run(self) -> None:
        backoff = Backoff(self._rule)
        try:
            while True:
                self._live_since, self._gave_up = None, ""
                try:
                    await self._connection()
                except RefusedError as refused:
                    self._broke(str(refused))
                    continue  # once more at once: the source may have a fresher token; a second refusal is fatal
                except (LostError, OSError, TimeoutError) as lost:
                    reason = self._gave_up or explain(lost)
                lived = None if self._live_since is None else time.monotonic() - self._live_since
                self._broke(reason)
                if not self._first.done():
                    advice = "Check the address and the network."
                    self._fail(
                        ConnectError(f"cannot connect: {self.last_error}", where=shown_url(self.url), advice=advice)
                    )
                    return
                await asyncio.sleep(backoff.next(lived=lived, jitter=random.random()))
        except FeedError as error:
            self._fail(error)
        except Exception as error:
            self._crash(error)

    async def _connection(self) -> None:
        from aries_nb.net.transport import connected

        try:
            token = self._in_use = await fetch(self._token)
            self._masked.add(token)
        except FeedError as error:
            if not self._first.done():
                raise
            # It may come from the same network that is down just now.
            raise LostError(str(error)) from error
        if token == self._refused:
            raise self._token_error()
        try:
            async with connected(self.url) as socket:
                self._socket = socket
                self._wire.open(time.monotonic())
                self._wire.authenticate(token.reveal(), time.monotonic())
                await self._listen(socket)
        except RefusedError:
            if self._refused is not None:
                raise self._token_error() from None
            self._refused = token
            if isinstance(self._token, RenewableToken):
                self._token.refused(token)
            raise
        finally:
            self._socket = None

    async def _listen(self, socket: ClientConnection) -> None:
        ticker = asyncio.create_task(self._tick(socket))
        try:
            await self._flush()
            while True:
                # While frames are queued this does not yield, so a burst is taken in one go and published once.
                frame = await socket.recv(decode=False)
                notices = self.intake.take(frame, now := time.time_ns())
                for notice in notices:
                    self._heed(notice)
                if notices:
                    self._spawn(self._flush())
                if not self._publish_due:
                    self._publish_due = now
                    asyncio.get_running_loop().call_soon(self._publish)
                elif now - self._publish_due > MOST_BURST_NS:
                    await asyncio.sleep(0)
        finally:
            ticker.cancel()
            self._publish()

    def _publish(self) -> None:
        self._publish_due = 0
        try:
            self.intake.publish()
        except Exception as error:  # rows would be missing without a word
            self._crash(error)
            self._runner.cancel()

    async def _tick(self, socket: ClientConnection) -> None:
        counted, at = self.intake.messages, time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            self.messages_per_s += 0.3 * ((self.intake.messages - counted) / (now - at) - self.messages_per_s)
            counted, at = self.intake.messages, now
            if self.lateness.turn(now, self.intake.new_lags(), self.messages_per_s):
                log.warning("%s: %s", shown_url(self.url), self.lateness)
                self._bells.ring()
            for notice in self._wire.tick(now):
                if isinstance(notice, SessionLost):
                    self._gave_up = notice.reason
                    socket.transport.abort()
                self._heed(notice, is_own=True)
            await self._flush()

    async def _flush(self) -> None:
        if self._socket is None:
            self._wire.outgoing()  # whatever is due is asked for anew on the next connection
            return
        from aries_nb.net.transport import send_all

        await send_all(self._socket, self._wire.outgoing)

    def _heed(self, notice: Notice, *, is_own: bool = False) -> None:
        if isinstance(notice, Pong):
            self._whole()
            self._fences.release(notice.number)
        elif isinstance(notice, SessionOpened):
            self._opened(notice)
        elif isinstance(notice, TokenWanted):
            self._spawn(self._renew(is_refused=notice.is_refused))
        elif isinstance(notice, SessionRefused):
            self._token_refused(notice)
        elif isinstance(notice, SessionLost) and not is_own:
            raise LostError(self._masked(notice.reason))
        elif isinstance(notice, Rejected):
            self.last_error = self._masked(notice.reason)
            self.rejected.update(dict.fromkeys(notice.symbols, self.last_error))
            self._bells.ring()
        elif isinstance(notice, Resumed):
            self._resumed[notice.kind, notice.symbol] = notice.is_filled
        elif isinstance(notice, MarketStatus):
            self.market_status = dict(notice.entries)

    def _opened(self, notice: SessionOpened) -> None:
        self._refused = None
        if notice.is_renewal:
            self.renewals += 1
        else:
            self._live_since = time.monotonic()

    def _whole(self) -> None:
        """The server has seen a ping that follows the subscriptions: from here on nothing is missed."""
        if self.state == "live":
            return
        if self._resumed:
            self._publish()  # whoever is told that a gap was filled shall find the rows
        self.state = "live"
        running = {(each.kind, each.symbol) for each in self.intake.subscriptions}
        self._gaps.closed(ended=time.time_ns(), resumed=self._resumed, is_all=running <= self._resumed.keys())
        if not self._first.done():
            self._first.set_result(None)
        self._bells.ring()

    def _token_refused(self, notice: SessionRefused) -> None:
        self.last_error = self._masked(notice.reason)
        if self._live_since is not None:
            log.warning("the renewal of the session was refused: %s", self.last_error)
            return
        raise RefusedError(self.last_error)

    async def _renew(self, *, is_refused: bool) -> None:
        """Renew the session in place; without a token, try again for as long as this connection lives."""
        socket, backoff = self._socket, Backoff(self._rule)
        if is_refused and self._in_use is not None and isinstance(self._token, RenewableToken):
            self._token.refused(self._in_use)
        while socket is not None and socket is self._socket:
            try:
                token = await fetch(self._token)
            except FeedError as error:
                self.last_error = str(error)
                log.warning("no token for the renewal of the session: %s", error)
                await asyncio.sleep(backoff.next(lived=None, jitter=random.random()))
                continue
            if socket is self._socket:
                self._in_use = token
                self._masked.add(token)
                self._wire.authenticate(token.reveal(), time.monotonic())
                await self._flush()
            return

    async def _subscribe(self, streams: list[Stream]) -> dict[str, str]:
        symbols = {stream.subscription.symbol for stream in streams}
        for symbol in symbols:
            self.rejected.pop(symbol, None)
        new = self.intake.attach(streams)
        if not new:
            return {}
        fence = self._wire.subscribe(new)
        seen = self._fences.passed(fence) if fence and self._socket is not None else None
        await self._flush()
        if seen is not None:
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
        self._fences.release()
        if not self._first.done():
            self._first.set_exception(ConnectError("closed before it was open", where=shown_url(self.url)))
        self._bells.ring()

    def _broke(self, reason: str) -> None:
        """Note a break; `reason` names it in the ledger of gaps."""
        reason = self._masked(reason)
        self._fences.release()
        self._resumed = {}
        if self.state == "live":
            self.reconnects += 1
            self.state = "reconnecting"
            self._gaps.opened(started=self.intake.last_received or time.time_ns(), reason=reason)
        # Also what a connection brought that never became live is of before this break.
        self.intake.interrupted()
        self.last_error = reason
        log.info("%s: %s", shown_url(self.url), reason)
        self._bells.ring()

    def _token_error(self) -> TokenError:
        where, advice = shown_url(self.url), "Get a new one and connect again."
        return TokenError(f"the token was refused ({self.last_error})", where=where, advice=advice)

    def _crash(self, error: Exception) -> None:
        """The border of the background task: the next user call raises from what went wrong."""
        if self.state == "failed":
            return
        where = shown_url(self.url)
        log.error("the session with %s failed", where, exc_info=error)
        failure = FeedError(
            f"the session failed: {self._masked(repr(error))}", where=where, advice="Please report this."
        )
        failure.__cause__ = error
        self._fail(failure)

    def _fail(self, error: FeedError) -> None:
        # Without the frames it came through: they hold what the server said as it said it, a token's echo perhaps.
        error.__context__ = None
        self.error = error.with_traceback(None)
        self.last_error = str(error)
        self.state = "failed"
        self._fences.release()
        if not self._first.done():
            self._first.set_exception(error)
        self._bells.ring()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
