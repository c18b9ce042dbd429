"""Publishes the rows of a feed's open frames, books, tables and bars to a room, and signs of life.

It reads the stores as any reader does, twenty-five times a second, and keeps nothing of its own: after a break it asks
the server for the newest row of each group there, and goes on behind it from what the frames still have.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from random import random
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec

from aries_nb.errors import ConnectError, FeedError, UsageError
from aries_nb.model import Kind, State, StatusReport, Subscription
from aries_nb.model.clock import elapsed
from aries_nb.net.auth.tokens import TokenSource, fetch
from aries_nb.net.background import Background
from aries_nb.net.backoff import Backoff, BackoffRule
from aries_nb.net.connection_errors import ConnectionLostError, TokenRefusedError, token_refused
from aries_nb.net.redaction import Redactor
from aries_nb.rooms.address import RoomAddress, closed, connected, end
from aries_nb.rooms.format import (
    FORMAT,
    Batch,
    Beat,
    Catalog,
    GapLine,
    Listing,
    RoomDataError,
    StatusLine,
    decode_batch,
    decode_beat,
    encode,
)
from aries_nb.rooms.taps import Lives, Store, Tap, group_for, tap_of
from aries_nb.store import Gap

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

__all__ = ["Offer", "RoomPublisher", "Served"]

log = logging.getLogger("aries_nb")

TICK_SECONDS = 0.04
BEAT_SECONDS = 0.5
MOVED_NS = 50_000_000
LOOK_SECONDS = 1.2  # for another publisher
ANSWER_SECONDS = 5.0
CLOSE_SECONDS = 3.0
MOST_STREAM_BYTES = 4 << 30
MOST_MESSAGE_BYTES = 1 << 20
NEWEST_GAPS = 100
NEWEST_REPORTS = 50


class Served(NamedTuple):
    """A frame, book, table or bars of the publisher's feed, with the subscription of the first symbol."""

    subscription: Subscription
    store: Store


class Offer(NamedTuple):
    """What a feed has to be published at this moment: its stores, state, market time (ns), pace and gaps.

    And the names of the accounts among them, the newest reports of the market's state, the number of all reports, and
    the lists of the option chains.
    """

    served: Sequence[Served]
    state: State
    now: int
    pace: float
    gaps: Sequence[Gap] = ()
    error: str = ""
    accounts: Sequence[str] = ()
    reports: Sequence[StatusReport] = ()
    reported: int = 0
    options: Sequence[Listing] = ()


class _StreamState(msgspec.Struct):
    last_seq: Annotated[int, msgspec.Meta(ge=0)]


class _StreamAnswer(msgspec.Struct):
    """The server's answer to what a stream is."""

    created: Annotated[str, msgspec.Meta(max_length=200)]
    state: _StreamState


class RoomPublisher:
    """Publishes a feed to a room until `close`. `offer` is called on the network's thread for what there is.

    `window_s` is how long the server keeps rows, in s; `lives` is the same for all publishers of a feed. Any thread may
    read the attributes: `state` is that of the connection to the server, `last_error` the newest problem, `rows` and
    `octets` count what was published.
    """

    def __init__(
        self,
        address: RoomAddress,
        token: TokenSource | None,
        offer: Callable[[], Offer],
        *,
        feed: str,
        window_s: float,
        lives: Lives,
        rule: BackoffRule | None = None,
    ) -> None:
        self.address = address
        self._token, self._offer, self._feed, self._window_s = token, offer, feed, window_s
        self._lives = lives
        self._rule = rule or BackoffRule(first=0.2, cap=5.0, cap_after_live=1.0)
        self._redact = Redactor()
        self.epoch = secrets.token_hex(8)
        self.state: State = "connecting"
        self.last_error = ""
        self.error: FeedError | None = None
        self.rows = self.octets = self.reconnects = 0
        self._taps: dict[str, Tap] = {}
        self._catalog: Catalog | None = None
        self._beat = 0
        self._cataloged: object = None  # what the newest catalog was made of
        self._told = 0, 0.0  # market time and pace of the last sign of life
        self._seq, self._made = 0, ""  # of the stream of rows: its newest message, and when the server made it
        self._first: Future[None] = Future()
        self._is_closed = False
        self._task: asyncio.Task[Any] | None = None
        Background.shared().submit(self._run())

    # Any thread.

    def wait_open(self, timeout: float) -> None:
        """Block until the room is served; `timeout` is in seconds.

        Raises ConnectError, TokenError, or UsageError where another process serves it.
        """
        try:
            self._first.result(timeout)
        except TimeoutError:
            advice = "Check the address, or try again with a longer timeout."
            raise ConnectError("no room", where=f"{self.address}, after {timeout:g} s", advice=advice) from None

    @property
    def streams(self) -> int:
        """The number of frames and books that are published."""
        return len(self._taps)

    @property
    def kinds(self) -> Collection[Kind]:
        """The kinds of what is published, each once."""
        return dict.fromkeys(tap.group.kind for tap in list(self._taps.values()))

    def close(self) -> None:
        """End it; idempotent. What is published stays at the server for the length of the window."""
        if self._is_closed:
            return
        self._is_closed = True
        self.state = "closed"
        background = Background.shared()
        done = background.submit(end(self._task))
        if not background.is_current():
            wait([done], CLOSE_SECONDS)

    # The network's thread.

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        backoff = Backoff(self._rule)
        while not self._is_closed:
            began: float | None = None
            client: Client | None = None
            try:
                token = None if self._token is None else await fetch(self._token)
                if token is not None:
                    self._redact.add(token)
                client = await connected(self.address, token, on_error=self._problem)
                await self._look_for_another(client)
                began = elapsed()
                await self._publish(client)
            except UsageError as error:
                self._failed(error)
                return
            except TokenRefusedError as error:
                self._failed(token_refused(str(error), str(self.address)))
                return
            except (FeedError, ConnectionLostError) as error:
                self._problem(str(error))
                if not self._first.done():
                    failure = error if isinstance(error, FeedError) else None
                    advice = "Check the address, and that the NATS server runs with JetStream."
                    self._failed(failure or ConnectError(str(error), where=str(self.address), advice=advice))
                    return
            except Exception as error:  # a defect: the room stands still, and says why
                log.exception("publishing to %s ended", self.address)
                self._failed(FeedError(f"publishing ended: {error!r}", where=str(self.address)))
                return
            finally:
                if client is not None:
                    await closed(client)
            self.state = "reconnecting"
            self.reconnects += 1
            lived = None if began is None else elapsed() - began
            await asyncio.sleep(backoff.next(lived=lived, jitter=random()))

    async def _look_for_another(self, client: Client) -> None:
        """Raise UsageError where another one publishes to this room."""
        others: set[str] = set()

        async def heard(message: object) -> None:
            with suppress(RoomDataError):
                others.add(decode_beat(message.data).epoch)  # type: ignore[attr-defined]

        subscription = await client.subscribe(self.address.beats, cb=heard)
        if not self._first.done():
            await asyncio.sleep(LOOK_SECONDS)
        await subscription.unsubscribe()
        if others - {self.epoch}:
            what = "another process serves this room"
            raise UsageError(what, where=str(self.address), advice="End it, or choose another name.")

    async def _publish(self, client: Client) -> None:
        from nats.errors import Error

        looking: asyncio.Task[None] | None = None  # apart: a slow answer of the server holds up nothing else
        try:
            stream = client.jetstream(timeout=ANSWER_SECONDS)
            await self._make_streams(stream)
            self._catalog = None
            await self._check_streams(client)
            for tap in self._taps.values():
                tap.is_placed = False
            beat_at, looked_at = 0.0, elapsed()
            while not self._is_closed:
                if client.is_closed:
                    raise ConnectionLostError(self.last_error or "the connection to the server broke")
                offer = self._offer()
                self._look_at(offer)
                for tap in list(self._taps.values()):
                    if not tap.is_placed:
                        await self._find_place(stream, tap)
                    await self._send(client, tap)
                if elapsed() - beat_at >= BEAT_SECONDS or self._has_moved(offer, elapsed() - beat_at):
                    beat_at = elapsed()
                    self._told = offer.now, offer.pace
                    await self._give_sign(client, stream, offer)
                    if not self._first.done():
                        self._first.set_result(None)
                    self.state = "live"
                if looking is not None and looking.done():
                    looking.result()
                    looking = None
                if looking is None and elapsed() - looked_at >= LOOK_SECONDS:
                    looked_at = elapsed()
                    looking = asyncio.create_task(self._check_streams(client))
                    looking.add_done_callback(lambda done: done.cancelled() or done.exception())  # else it is logged
                await asyncio.sleep(TICK_SECONDS)
        except (Error, OSError, TimeoutError) as error:
            raise ConnectionLostError(str(error) or type(error).__name__) from error
        finally:
            await end(looking)

    def _has_moved(self, offer: Offer, seconds: float) -> bool:
        """Whether market time is not where it would be, so many seconds after the last sign of life."""
        now, pace = self._told
        return pace != offer.pace or abs(offer.now - now - seconds * pace * 1e9) > MOVED_NS

    async def _make_streams(self, stream: JetStreamContext) -> None:
        from nats.js.api import RetentionPolicy, StorageType, StreamConfig
        from nats.js.errors import BadRequestError

        address = self.address
        rows = StreamConfig(
            name=address.row_stream, subjects=[address.rows("*")], max_age=self._window_s,
            max_bytes=MOST_STREAM_BYTES, max_msg_size=MOST_MESSAGE_BYTES, storage=StorageType.FILE,
            retention=RetentionPolicy.LIMITS, allow_direct=True,
        )  # fmt: skip
        states = StreamConfig(
            name=address.state_stream, subjects=[address.states("*")], max_msgs_per_subject=1,
            max_msg_size=MOST_MESSAGE_BYTES, storage=StorageType.FILE, retention=RetentionPolicy.LIMITS,
            allow_direct=True,
        )  # fmt: skip
        for config in (rows, states):
            try:
                await stream.add_stream(config)
            except BadRequestError:  # it is there with another window
                await stream.update_stream(config)

    async def _check_streams(self, client: Client) -> None:
        """Raise ConnectionLostError where a stream was removed: they are made again, and filled from the frames."""
        for name in (self.address.state_stream, self.address.row_stream):
            # Asked in plain words: nats-py leaves out when a stream was made.
            answer = await client.request(f"$JS.API.STREAM.INFO.{name}", timeout=ANSWER_SECONDS)
            try:
                found = msgspec.json.decode(answer.data, type=_StreamAnswer)
            except msgspec.MsgspecError:
                raise ConnectionLostError("a stream of the room was removed at the server") from None
        self._seq, self._made = found.state.last_seq, found.created

    async def _find_place(self, stream: JetStreamContext, tap: Tap) -> None:
        """Find out which rows are at the server: what was on its way when a connection broke may be lost."""
        from nats.js.errors import NotFoundError

        newest: Batch | None = None
        with suppress(NotFoundError, RoomDataError):
            if not tap.is_state:
                message = await stream.get_last_msg(self.address.row_stream, self.address.rows(tap.id), direct=True)
                newest = decode_batch(message.data or b"", tap.group)
        tap.place(newest)

    def _look_at(self, offer: Offer) -> None:
        """Have a tap for each store that is open; of equal ones for one, as long as that is open."""
        found: dict[str, Tap] = {}
        known = {id(tap.store): tap for tap in self._taps.values()}
        for _, store in offer.served:
            tap = known.get(id(store))
            if tap is not None:
                found[tap.id] = tap
        for subscription, store in offer.served:
            if id(store) in known:
                continue
            group = group_for(subscription, store)
            if group.id not in found:
                found[group.id] = tap_of(store, group, self.epoch, lives=self._lives, window_s=self._window_s)
        self._taps = found

    async def _send(self, client: Client, tap: Tap) -> None:
        subject = self.address.states(tap.id) if tap.is_state else self.address.rows(tap.id)
        before, tap.beat = tap.next, self._beat
        for place, message in enumerate(tap.messages()):
            await client.publish(subject, message)
            self.octets += len(message)
            if place:
                await asyncio.sleep(0)
        if not tap.is_state:
            self.rows += max(tap.next - before, 0)

    async def _give_sign(self, client: Client, stream: JetStreamContext, offer: Offer) -> None:
        groups = tuple(tap.group for tap in self._taps.values())
        gaps = tuple(offer.gaps[-NEWEST_GAPS:])
        made_of = groups, gaps, tuple(offer.accounts), offer.reported, tuple(offer.options), self._made
        if self._catalog is None or self._cataloged != made_of:
            self._cataloged = made_of
            number = 1 if self._catalog is None else self._catalog.number + 1
            reports = tuple(StatusLine(*report[:2], dict(report[2])) for report in offer.reports[-NEWEST_REPORTS:])
            self._catalog = Catalog(
                FORMAT, self.epoch, number, self._feed, groups, tuple(map(GapLine.of, gaps)),
                tuple(offer.accounts), reports, offer.reported, tuple(offer.options), self._made,
            )  # fmt: skip
            await stream.publish(self.address.catalog, encode(self._catalog), timeout=ANSWER_SECONDS)
        self._beat += 1
        taps = self._taps.values()
        beat = Beat(
            self.epoch,
            self._beat,
            self._catalog.number,
            offer.state,
            offer.now,
            offer.pace,
            {tap.id: (tap.life, tap.next, tap.is_anew) for tap in taps if not tap.is_state},
            counts={tap.id: tuple(tap.counts) for tap in taps if tap.counts is not None},
            seq=self._seq,
            error=offer.error[:500],
        )
        await client.publish(self.address.beats, encode(beat))

    def _problem(self, text: str) -> None:
        self.last_error = self._redact(text)
        log.info("%s: %s", self.address, self.last_error)

    def _failed(self, error: FeedError) -> None:
        self.error = error
        self.last_error = self._redact(str(error))
        self.state = "failed"
        if not self._first.done():
            self._first.set_exception(error)
