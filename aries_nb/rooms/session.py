"""A reader's side of a room: a session as with a broker, fed by batches of rows instead of a broker's frames.

Each frame of the reader asks the server for the rows that it keeps, and takes those that come live. Rows are numbered
by the publisher's frame: what comes twice is dropped, and what does not come is asked for, whatever broke. The server
is asked by "direct get" alone: who may create consumers could have them deliver to any subject, and so publish.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from random import random
from typing import TYPE_CHECKING, Any

from aries_nb.errors import ConnectError, FeedError
from aries_nb.model import (
    Counted,
    GapSink,
    Rejected,
    Resumed,
    StatusReport,
    Subscription,
    Unreadable,
)
from aries_nb.model.clock import elapsed, steady_ns
from aries_nb.net.auth.tokens import TokenSource, fetch
from aries_nb.net.background import Background
from aries_nb.net.backoff import Backoff, BackoffRule
from aries_nb.net.connection_errors import (
    ConnectionLostError,
    TokenRefusedError,
    never_connected,
    not_open_within,
    token_refused,
)
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.steered_clock import Course
from aries_nb.net.intake import Route
from aries_nb.net.redaction import Redactor
from aries_nb.net.session_state import SessionState
from aries_nb.rooms.address import RoomAddress, closed, connected, end
from aries_nb.rooms.format import Batch, Beat, Catalog, Group, RoomDataError, decode_batch, decode_beat, decode_catalog
from aries_nb.rooms.protocol import NoProtocol, RoomTime
from aries_nb.rooms.stream import ANSWER_SECONDS, RoomStream, refusal
from aries_nb.store import StreamGaps

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

__all__ = ["RoomSession"]

log = logging.getLogger("aries_nb")

TICK_SECONDS = 0.25
SILENT_SECONDS = 3.0  # without a sign of life: the publisher is gone
LATE_SECONDS = 3.0  # for which rows may be under way that the publisher has sent
CLOSE_SECONDS = 3.0
BEGAN_ANEW = "the publisher began anew"
GONE = "the publisher of the room gives no sign of life"


class RoomSession(SessionState):
    """The connection to a room, which reconnects by itself after each break. It starts to connect when it is made.

    `token` is the source of the token, None for a server that asks for none. If the first attempt fails, the session
    fails. `catalog` is what the publisher serves and `beat` its newest sign of life, None before the first.
    Used on the network's thread; any thread may read the attributes without underscore, and call `wait_open` and
    `close`.
    """

    def __init__(
        self,
        address: RoomAddress,
        token: TokenSource | None,
        gaps: GapSink,
        arrivals: Arrivals,
        *,
        rule: BackoffRule | None = None,
    ) -> None:
        self._redact = Redactor()
        super().__init__(str(address), NoProtocol(), gaps, arrivals, endpoint="market", redact=self._redact)
        self._address, self._token, self._sink = address, token, gaps
        self._rule = rule or BackoffRule(first=0.2, cap=10.0, cap_after_live=2.0)
        self.catalog: Catalog | None = None
        self.is_following = True
        """Whether market time is the publisher's."""
        self.log: StreamGaps | None = None
        self.streams: list[RoomStream] = []
        self._client: Client | None = None
        self._was_connected = False
        self.beat: Beat | None = None
        self._beat_at = 0.0
        self._stream_made = ""  # when the server made its stream of rows
        self._offsets: dict[str, int] = {}  # of arrival numbers, by publisher
        self._highest = 0
        self._copied: dict[tuple[str, int], int] = {}  # gaps of the publisher: their numbers here
        self._first: Future[None] = Future()
        self._task: asyncio.Task[Any] | None = None
        self._is_closed = False
        Background.shared().submit(self._run())

    # Any thread.

    def wait_open(self, timeout: float) -> None:
        """Block until the room has been live at least once; `timeout` is in seconds.

        Raises ConnectError or TokenError.
        """
        try:
            self._first.result(timeout)
        except TimeoutError:
            raise self._nobody(timeout) from None

    def _nobody(self, timeout: float) -> ConnectError:
        if not self._was_connected:
            return not_open_within(timeout, self._where)
        advice = "Let the other side call feed.serve(…), or check the room's name."
        return ConnectError("this room has no publisher", where=f"{self._where}, after {timeout:g} s", advice=advice)

    def close(self) -> None:
        """End the session; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        background = Background.shared()
        done = background.submit(self._end())
        if not background.is_current():
            wait([done], CLOSE_SECONDS)

    async def _end(self) -> None:
        await end(self._task)
        if self.state != "failed":
            self.ended()

    # The network's thread.

    async def subscribe(self, routes: Sequence[Route]) -> dict[Subscription, Rejected]:
        """Fill the stores of these routes with the rows that the server keeps, and all that come.

        Waits up to 5 s for those that are there. Returns the subscriptions that are not served, with the reason.
        """
        self.add(routes)
        refused: dict[Subscription, Rejected] = {}
        shares: dict[Group, list[Route]] = {}
        groups = self.catalog.groups if self.catalog is not None else ()
        for route in routes:
            group = next((each for each in groups if each.offers(route.subscription)), None)
            if group is None:
                rejected = refusal(route.subscription, groups)
                refused[route.subscription] = self.rejected[route.subscription] = rejected
            else:
                shares.setdefault(group, []).append(route)
        new = [RoomStream(group, share, self._address, self) for group, share in shares.items()]
        if refused:
            return refused
        self.streams += new
        for stream in new:
            if self._client is not None:
                await stream.open(self._client)
        waiting = [asyncio.create_task(stream.caught_up.wait()) for stream in new]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=ANSWER_SECONDS)
            for task in late:
                task.cancel()
        return refused

    def follow(self, *, is_following: bool) -> None:
        """Have market time be the publisher's, and rows begin anew where its replay does; or go on alone from here."""
        self.is_following = is_following
        if not is_following and isinstance(self._clock, RoomTime):
            pace = (self.beat.pace if self.beat is not None else 0.0) or 1.0
            self._clock.follow(Course(self._clock.running_ns(), steady_ns(), pace))
        for stream in self.streams if is_following else ():
            if stream.is_held:
                stream.begin_anew()

    async def unsubscribe(self, routes: Sequence[Route]) -> None:
        """Fill the stores of these routes no more."""
        gone = {(route.subscription, id(route.sink)) for route in routes}
        for stream in [*self.streams]:
            stream.routes = [each for each in stream.routes if (each.subscription, id(each.sink)) not in gone]
            if not stream.routes:
                self.streams.remove(stream)
                await stream.close()
        self.remove(routes)

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        backoff = Backoff(self._rule)
        while not self._is_closed:
            began: float | None = None
            client: Client | None = None
            reason = ""
            try:
                token = None if self._token is None else await fetch(self._token)
                if token is not None:
                    self._redact.add(token)
                client = await connected(self._address, token, on_error=self.problem)
                began = elapsed()
                self.connected(began)
                self.read_monitor.restart(began)
                await self._read(client)
            except TokenRefusedError as error:
                self._fail(token_refused(str(error), self._where))
                return
            except (FeedError, ConnectionLostError) as error:
                if not self._first.done() and not self._was_connected:
                    is_ours = isinstance(error, FeedError)
                    self._fail(error if is_ours else never_connected(str(error), self._where, error))  # type: ignore[arg-type]
                    return
                reason = str(error)
            except Exception as error:  # a defect: nothing more is received, and the feed says why
                log.exception("the session with %s ended", self._where)
                self._fail(FeedError(f"the session failed: {error!r}", where=self._where))
                return
            finally:
                if client is not None:
                    await closed(client)
            self.interrupted(f"the connection to the room broke: {reason}", "room")
            self._client = None
            for stream in self.streams:
                stream.interrupted()
            lived = None if began is None else elapsed() - began
            await asyncio.sleep(backoff.next(lived=lived, jitter=random()))

    async def _read(self, client: Client) -> None:
        from nats.errors import Error
        from nats.js.errors import NotFoundError

        try:
            self._client = client
            stream = client.jetstream(timeout=ANSWER_SECONDS)
            self._was_connected = True
            self.beat = None
            self._beat_at = elapsed()

            async def beat(message: Msg) -> None:
                self._take_beat(message.data)

            async def catalog(message: Msg) -> None:
                self._take_catalog(message.data)

            await client.subscribe(self._address.catalog, cb=catalog)
            try:
                await self._ask_catalog(stream)
            except NotFoundError:  # not served yet, or the server lost what it had
                self._count_anew("")
            except TimeoutError:
                pass
            await client.subscribe(self._address.beats, cb=beat)
            while not self._is_closed:
                for each in self.streams:
                    if not each.is_open:
                        await each.open(client)
                if client.is_closed:
                    raise ConnectionLostError(self.last_error or "the connection to the server broke")
                self._look()
                if self.beat is not None and self._is_outdated(self.beat):
                    with suppress(NotFoundError):
                        await self._ask_catalog(stream)
                self.read_monitor.turn(None, elapsed())
                await self._pause()
        except (Error, OSError, TimeoutError) as error:
            raise ConnectionLostError(str(error) or type(error).__name__) from error

    async def _pause(self) -> None:
        """Let a tick pass. What came while this process stood still is read after it: that time was no silence."""
        begun = elapsed()
        await asyncio.sleep(TICK_SECONDS)
        now = elapsed()
        stood = now - begun - TICK_SECONDS
        if stood < TICK_SECONDS:
            return
        # Some of it may be read by now.
        self._beat_at = min(self._beat_at + stood, now)
        for stream in self.streams:
            if stream.late_since is not None:
                stream.late_since = min(stream.late_since + stood, now)

    async def _ask_catalog(self, stream: JetStreamContext) -> None:
        message = await stream.get_last_msg(self._address.state_stream, self._address.catalog, direct=True)
        self._take_catalog(message.data or b"")

    def _is_outdated(self, beat: Beat) -> bool:
        return self.catalog is None or (self.catalog.epoch, self.catalog.number) != (beat.epoch, beat.catalog)

    # What comes.

    def _take_catalog(self, data: bytes) -> None:
        try:
            catalog = decode_catalog(data)
        except RoomDataError as error:
            self._unreadable(error, data)
            return
        if catalog.made != self._stream_made:
            self._count_anew(catalog.made)
        before, self.catalog = self.catalog, catalog
        self._take_reports(catalog, before)
        self.rejected = {
            subscription: why
            for subscription, why in self.rejected.items()
            if not any(group.offers(subscription) for group in catalog.groups)
        }
        if self.log is not None:
            for line in catalog.gaps:
                if line.stream.partition(" ")[0] != self.log.name:
                    continue
                key = catalog.epoch, line.number
                self._copied[key] = self.log.log.copied(line.gap, self._copied.get(key))
        self._observers.notify()

    def _count_anew(self, made: str) -> None:
        """Ask for all that the server keeps: it made its stream of rows anew, and counts from its first message on."""
        is_first, self._stream_made = not self._stream_made, made
        for stream in () if is_first else self.streams:
            stream.ask_all()

    def _take_reports(self, catalog: Catalog, before: Catalog | None) -> None:
        is_known = before is not None and (before.epoch, before.reported) == (catalog.epoch, catalog.reported)
        if not is_known and catalog.reports:
            reports = tuple(StatusReport(each.ts, each.received, each.entries) for each in catalog.reports)
            self.status_reports = reports, max(catalog.reported, len(reports))
            self.status_observers.notify()

    def _take_beat(self, data: bytes) -> None:
        try:
            beat = decode_beat(data)
        except RoomDataError as error:
            self._unreadable(error, data)
            return
        if self.is_following and isinstance(self._clock, RoomTime):
            self._clock.follow(Course(beat.now, steady_ns(), beat.pace))
        before, self.beat, self._beat_at = self.beat, beat, elapsed()
        for stream in self.streams:
            if stream.is_newer_than(beat):
                continue
            if stream.is_replaced_by(beat):
                _, _, is_anew = stream.said_by(beat)
                if is_anew:
                    self._begin_anew(stream)
                else:  # noted by now, as its first row may not come for long
                    self._miss(stream, BEGAN_ANEW)
                stream.follow(beat)
            if stream.is_caught_up and not stream.is_asking and stream.is_complete(beat):
                stream.seq = max(stream.seq, beat.seq)
        if before is None or before.state != beat.state:
            self._observers.notify()
        if beat.state == "live":
            self._settle()
        elif self.state == "live":  # its gap comes with the catalog
            self.state, self.last_error = "reconnecting", f"the publisher: {beat.error or beat.state}"
            self._observers.notify()

    def taken(self, stream: RoomStream, data: bytes, *, is_live: bool) -> None:
        """Take a message of a stream; `is_live` where it was not asked for."""
        try:
            batch = decode_batch(data, stream.group)
        except RoomDataError as error:
            self._unreadable_rows(stream, error, data)
            return
        if is_live and stream.is_behind(batch.head):
            stream.ask_before()
            return
        with self._arrivals.moment() as received:
            if stream.is_book:
                self._take_book(stream, batch, len(data), received)
            elif stream.group.is_list:
                self._take_list(stream, batch, len(data), received)
            else:
                self._take_rows(stream, batch, len(data), received)
            self.publish()

    def taken_kept(self, stream: RoomStream, messages: Sequence[bytes], *, is_last: bool = True) -> None:
        """Take messages of rows that were asked for, in their order; those of a list together, once it `is_last`."""
        batches: list[Batch] = []
        octets = 0
        for data in messages:
            octets += len(data)
            try:
                batches.append(decode_batch(data, stream.group))
            except RoomDataError as error:
                if not stream.group.is_list:  # what comes behind it follows no rows before it
                    self._take_joined(stream, batches, octets)
                    batches, octets = [], 0
                self._unreadable_rows(stream, error, data)
                stream.is_after_unreadable = True
        if not stream.group.is_list:
            self._take_joined(stream, batches, octets)
        elif stream.keep(batches, octets) or is_last:
            with self._arrivals.moment() as received:
                batches, octets = stream.take_kept()
                for batch in batches:
                    self._take_list(stream, batch, octets, received)
                    octets = 0
                self.publish()

    def _take_joined(self, stream: RoomStream, batches: Sequence[Batch], octets: int) -> None:
        for batch in Batch.joined(batches):
            with self._arrivals.moment() as received:
                self._take_rows(stream, batch, octets, received)
                self.publish()
            octets = 0

    def caught_up(self, stream: RoomStream) -> None:
        """Note that a stream has all that the server keeps."""
        del stream
        self._settle()

    def _take_rows(self, stream: RoomStream, batch: Batch, octets: int, received: int) -> None:
        head = batch.head
        if stream.is_held or stream.is_outdated(head):
            return
        if head.life != stream.life:
            if head.is_anew:
                self._begin_anew(stream)
            elif stream.life:
                self._miss(stream, BEGAN_ANEW, batch.received[0])
            if stream.is_held:
                return
            stream.enter(head.life)
        is_unreadable, stream.is_after_unreadable = stream.is_after_unreadable, False
        if stream.next is None:
            stream.next = head.first
        elif head.first > stream.next and stream.is_partial and not is_unreadable:
            stream.ask_all()  # a server that was killed may have lost its newest rows
            return
        elif head.first > stream.next and not (is_unreadable and stream.is_told):
            count = head.first - stream.next
            self._miss(
                stream, f"{count:,} rows of {stream} had left the publisher's frame or the server", batch.received[0]
            )
        batch = batch.since(stream.next)
        stream.reach(head.epoch, batch.head.first + batch.rows)
        if not batch.rows:
            return
        stream.epoch, stream.beat = head.epoch, head.beat
        stream.received = batch.received[1]
        stream.late_since = None
        offset = self._offsets.setdefault(head.epoch, self._highest)
        codes = {route.subscription.symbol: route.code for route in stream.routes}
        blocks = batch.blocks(codes, stream.routes[0].subscription.fields, offset)
        for block in blocks:
            self._highest = max(self._highest, block.seq[-1])
            if self.state != "live":
                stream.resumed.update(block.codes)
        self._arrivals.next = max(self._arrivals.next, self._highest + 1)
        self.intake.take_numbered(stream.routes[0].sink, blocks, octets=octets, received=received)

    def _take_list(self, stream: RoomStream, batch: Batch, octets: int, received: int) -> None:
        if stream.is_outdated(batch.head):
            return
        sink = stream.routes[0].sink
        changes = stream.changes_of(batch, received)
        if changes is None:
            if not stream.is_told:
                self._miss(stream, f"changes of {stream} had left the server", batch.received[0])
            stream.forget()
            sink.interrupted()
            return
        sink.buffer.counted["filled"] += changes.filled
        sink.buffer.counted["conflated"] += changes.conflated
        self.intake.take_states(sink, changes.records, octets=octets, received=received)
        if changes.is_broken:
            sink.interrupted()

    def _begin_anew(self, stream: RoomStream) -> None:
        """Have no rows, because the publisher's replay begins anew; or take none of it, where this does not follow."""
        if self.is_following:
            stream.routes[0].sink.restart()
        else:
            stream.is_held = True

    def _take_book(self, stream: RoomStream, batch: Batch, octets: int, received: int) -> None:
        levels = batch.levels()
        prices = {price for price, _, _ in levels}
        values = [number for level in levels for number in level]
        values += [number for price in stream.prices - prices for number in (price, 0.0, 0.0)]
        ts, (_, at) = batch.ts, batch.received
        stream.prices = prices
        for route in stream.routes:
            if batch.head.is_broken:
                route.sink.interrupted()
                continue
            records = [(route.code, ts, tuple(values), at)]
            self.intake.take_states(route.sink, records, octets=octets, received=received)
            conflated = batch.head.count - stream.updates - 1
            if stream.life == batch.head.life and conflated > 0:
                self.intake.count(Counted(route.subscription, "conflated", conflated))
        stream.life, stream.updates = batch.head.life, batch.head.count

    # What is missing, and when nothing is.

    def _look(self) -> None:
        """Look whether the publisher gives signs of life, and whether rows are missing that it has sent."""
        if elapsed() - self._beat_at > SILENT_SECONDS:
            if self.state == "live":
                self.interrupted(GONE, "publisher gone")
            self.last_error = GONE
            return
        if self.beat is None or self.catalog is None or self.catalog.epoch != self.beat.epoch:
            return
        for stream in self.streams:
            if stream.is_asking or not stream.is_late(self.beat):
                stream.late_since = None
            elif stream.late_since is None:
                stream.late_since = elapsed()
            elif elapsed() - stream.late_since > LATE_SECONDS:
                self._ask_again(stream, self.beat)

    def _ask_again(self, stream: RoomStream, beat: Beat) -> None:
        """Ask for rows that the publisher has sent and that did not come; at the second time they are lost."""
        have = stream.life, stream.next or 0
        if stream.asked_at == have and stream.next is not None and stream.is_caught_up:
            life, number, _ = stream.said_by(beat)
            count = f"{number - have[1]:,} rows" if life == have[0] else "rows"
            self._miss(stream, f"{count} of {stream} did not come")
            if stream.group.is_list:
                stream.forget()
                stream.routes[0].sink.interrupted()
            else:
                stream.follow(beat)
        stream.asked_at = have
        stream.ask_all()

    def _miss(self, stream: RoomStream, reason: str, ended: int | None = None) -> None:
        """Note that rows are missing: in the gap that lasts, or in one of their own until `ended`, None for now."""
        if self.state == "reconnecting":
            stream.has_hole = True
            return
        now = self._clock.now_ns()
        ended = now if ended is None else ended
        self._sink.opened(started=min(stream.received or now, ended), reason=reason, cause="room")
        streams = self.streams if len(self.streams) > 1 else ()  # of the only one, one entry says it
        resumed = [
            Resumed(each.kind, each.symbol, other is not stream) for other in streams for each, *_ in other.routes
        ]
        self._sink.closed(ended=ended, resumed=resumed)

    def _settle(self) -> None:
        """Be live, and end the gap, once the publisher is there and all that it has sent has been read."""
        beat, catalog = self.beat, self.catalog
        if self.state == "live" or beat is None or catalog is None or beat.state != "live":
            return
        if beat.epoch != catalog.epoch or elapsed() - self._beat_at > SILENT_SECONDS:
            return
        for stream in self.streams:
            if stream.is_of_another_frame(beat):  # its first rows may have been missed
                stream.has_hole = True
        if all(stream.is_complete(beat) for stream in self.streams):
            self._complete()
            if not self._first.done():
                self._first.set_result(None)

    def _complete(self) -> None:
        whole = [stream for stream in self.streams if not stream.is_book and not stream.has_hole]
        for stream in self.streams:
            if not stream.is_book and whole:  # else one entry says that of all streams rows are missing
                for each, _, code in stream.routes:
                    count = stream.resumed[code]
                    self._gap_tracker.resumed(Resumed(each.kind, each.symbol, stream in whole, count))
            stream.has_hole = False
            stream.resumed.clear()
        self.publish()
        self.state = "live"
        self._gap_tracker.completed()
        self._gap_tracker.reset()
        self._observers.notify()

    def _unreadable_rows(self, stream: RoomStream, error: RoomDataError, data: bytes) -> None:
        if stream.is_first_unreadable(data):
            self._unreadable(error, data)
            self._miss(stream, f"rows of {stream} cannot be read")

    def _unreadable(self, error: RoomDataError, data: bytes) -> None:
        self.intake.count(Unreadable(str(error)[:200], repr(data[:100])[:200]))

    def problem(self, text: str) -> None:
        """Note a problem, as the newest one."""
        self.last_error = self._redact_text(text)

    def _fail(self, error: FeedError) -> None:
        self.failed(error)
        if not self._first.done():
            self._first.set_exception(error)
