"""Hot path: a frame's bytes are decoded to records and appended to the stores, in one synchronous call."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import islice, pairwise
from math import nan
from statistics import median
from typing import ClassVar, NamedTuple, TypeAlias

from aries_nb.brokers import BrokerProtocol
from aries_nb.brokers.protocol import ColumnProtocol
from aries_nb.model import (
    INT64,
    Block,
    Checkpointed,
    Counted,
    Notice,
    RecordSink,
    SessionLost,
    StoreBlock,
    Subscription,
    Unfinished,
    Unreadable,
    Unrequested,
    ValueColumn,
    Values,
)
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.limits import count_lines, count_values

__all__ = ["Intake", "Route", "in_turns"]

# Of the first route: what appends to the three lists of its sink's buffer, the symbol's code there, and the sink.
# Then sink and code of the other routes, which most subscriptions do not have.
_Appenders: TypeAlias = tuple[
    Callable[[int], None],
    Callable[[int], None],
    Callable[[Values], None],
    int,
    RecordSink,
    tuple[tuple[RecordSink, int], ...],
]

KEPT_UNREADABLE = 50
# Of one frame, by its size in memory once decoded: 300 times what a broker sends at once.
MOST_VALUES = 1_000_000
MOST_LINES = 50_000
TOO_LARGE = f"a frame of more than {MOST_VALUES:,} values or {MOST_LINES:,} lines"
LAG_SAMPLES = 256
KEPT_TARGETS = 64
# Of frames that are decoded together: with more, their rows leave the processor's cache, and are more than the 500 of
# which numpy releases the interpreter lock.
PIECE_BYTES, MOST_FRAMES = 3 * 2**15, 500
ROUTES_A_TURN = 100  # added or removed between two turns of the loop, which thousands at once would hold up
_NO_CODES: Sequence[int] = ()
# A sink, and of each subscription of a block the symbol's code there, `_NO_CODE` where it has no route to the sink; a
# range where each code is the place of the subscription, as most often. None stands for no sink: of subscriptions that
# ended a moment ago.
_Target: TypeAlias = tuple[RecordSink | None, Sequence[int]]
_NO_CODE = -1


class Route(NamedTuple):
    """Where a subscription's records go: to `sink` (a store), under `code`, the number of the symbol in that store."""

    subscription: Subscription
    sink: RecordSink
    code: int


async def in_turns(routes: Sequence[Route]) -> AsyncIterator[Sequence[Route]]:
    """Yield the routes in order, 100 at a time, and let the loop run in between."""
    for start in range(0, len(routes), ROUTES_A_TURN):
        if start:
            await asyncio.sleep(0)
        yield routes[start : start + ROUTES_A_TURN]


class Intake(Checkpointed):
    """Decodes the frames of one connection, appends their records to the stores of its routes, and counts them.

    Used on the network's thread only; any thread may read the counts. `redact` removes tokens from a text; frames are
    noted in the journal of `arrivals` as those of `connection`. Counts since it was made: `frames`, `messages` (lines
    of frames), `octets` (bytes), `records`, `unasked` (data without a subscription) and `unreadable` (notices of text
    that could not be decoded, of which `excerpts` has the newest 50). `is_unfinished`: more of the newest frame is
    still to be decoded: it has to be taken again.
    """

    IS_BY_COLUMNS: ClassVar = True  # False in tests that take every frame by message
    STATE = (
        "frames", "messages", "octets", "records", "unreadable", "unasked", "excerpts", "is_unfinished",
        "_lags", "_lags_seen", "_lags_taken", "_received",
    )  # fmt: skip

    def __init__(
        self,
        protocol: BrokerProtocol,
        redact: Callable[[str], str] = str,
        *,
        arrivals: Arrivals | None = None,
        connection: int = 1,
    ) -> None:
        self._protocol = protocol
        self._by_columns = protocol if self.IS_BY_COLUMNS and isinstance(protocol, ColumnProtocol) else None
        self._targets_of: dict[int, tuple[tuple[Subscription, ...], Sequence[_Target]]] = {}  # by id of the former
        self._arrivals = arrivals or Arrivals()
        self._connection = connection
        self._redact = redact
        self._appenders_of: dict[Subscription, _Appenders] = {}
        self._routes: dict[Subscription, list[Route]] = {}
        self._sinks: Counter[RecordSink] = Counter()  # with the number of their routes
        self._fresh: dict[RecordSink, None] = {}  # those with unpublished records
        self._lags: deque[int] = deque(maxlen=LAG_SAMPLES)
        self._lags_seen = self._lags_taken = 0
        self.frames = 0
        self.messages = 0
        self.octets = 0
        self.records = 0
        self.unreadable = 0
        self.unasked = 0
        self.excerpts: deque[Unreadable] = deque(maxlen=KEPT_UNREADABLE)
        self._received = 0, 0  # of the newest frame, and the clock's `base` then
        self.is_unfinished = False

    def add_counts(self, before: Intake) -> None:
        """Count from where the intake of an earlier connection ended, whose place this one takes."""
        for name in ("frames", "messages", "octets", "records", "unreadable", "unasked"):
            setattr(self, name, getattr(self, name) + getattr(before, name))
        self.excerpts.extendleft(reversed(before.excerpts))

    def take(self, frame: bytes, received: int) -> Sequence[Notice]:
        """Decode a frame received at `received` (ns since the epoch), and append its records to the stores' buffers.

        Readers see the records after `publish`. Returns the frame's notices, except those that this object only counts.
        While `is_unfinished`, the rest of the same frame is decoded.
        """
        if self.is_unfinished:
            self._arrivals.note(self._connection, "more")
            return self._take((), self.last_received)
        self._arrivals.note(self._connection, "frame", frame)
        self.frames += 1
        self.messages += (lines := count_lines(frame))
        self.octets += len(frame)
        self._received = received, self._arrivals.clock.base
        if lines > MOST_LINES or count_values(frame) > MOST_VALUES:
            self._count(Unreadable(TOO_LARGE, f"{len(frame):,} bytes"))
            return [SessionLost(f"the server sent {TOO_LARGE}", "cut")]  # its records are a gap
        return self._take((frame,), received)

    def take_more(self, received: int) -> Sequence[Notice]:
        """Append records without waiting for the next frame: the first ones of subscriptions that joined a stream.

        `received` is in ns since the epoch. Readers see the records after `publish`. Returns their notices, except
        those that this object only counts. Does nothing while `is_unfinished`: `take` then appends these records too.
        """
        return () if self.is_unfinished else self._take((), received)

    def _take(self, frames: Sequence[bytes], received: int) -> Sequence[Notice]:
        self.is_unfinished = False
        records, notices = self._protocol.receive(frames, received)
        appenders_of = self._appenders_of
        touched: dict[RecordSink, None] = {}
        latest: RecordSink | None = None
        # The arrival number of a record is `seq` and how many were added to `codes` since it was `start` long: counted
        # where the sink changes, as counting each record would take longer than adding it.
        seq, codes, start = self._arrivals.take(len(records), self), _NO_CODES, 0
        for subscription, ts, values in records:
            appenders = appenders_of.get(subscription)
            if appenders is None:
                self.unasked += 1  # unsubscribed a moment ago
                seq += len(codes) - start + 1
                latest, codes, start = None, _NO_CODES, 0
                continue
            add_code, add_ts, add_values, code, sink, more = appenders
            if sink is not latest:  # it mostly is: cheaper than setting it each time
                seq += len(codes) - start
                sink.buffer.number(seq)
                latest, codes = sink, sink.buffer.codes
                start = len(codes)
                touched[sink] = None
            add_code(code)
            add_ts(ts)
            add_values(values)
            if more:
                for sink, code in more:
                    sink.buffer.number(seq + len(codes) - start - 1)
                    sink.buffer.add(code, ts, values)
                    touched[sink] = None
        if records:
            self.records += len(records)
            if frames:  # what comes without one is older than it
                self._lag([received - records[-1][1]])
            for sink in touched:
                sink.buffer.mark(received)
            self._fresh |= touched
        return [notice for notice in notices if not self._count(notice)] if notices else ()

    def take_columns(self, unread: deque[bytes], received: int) -> int:
        """Take the first of the unread frames by columns, 96 KiB of them, and remove them, if none is unusual.

        The same as `take` of one after the other, and faster if they have many messages. `received` is in ns since the
        epoch. Returns how many are to be given to `take`, because they are unusual or few: 0 if they were taken.
        """
        # As many as there are if all are as long as the first.
        frames = list(islice(unread, min(PIECE_BYTES // (len(unread[0]) + 1) + 1, MOST_FRAMES)))
        size = sum(map(len, frames))
        while size > PIECE_BYTES and len(frames) > 1:
            size -= len(frames.pop())
        # A large frame may have too many lines.
        is_tried = not self.is_unfinished and (size <= MOST_LINES or max(map(len, frames)) <= MOST_LINES)
        found = self._by_columns.receive_columns(frames, received) if self._by_columns and is_tried else None
        if found is None:
            return len(frames)
        if len(frames) == len(unread):
            unread.clear()
        else:
            for _ in frames:
                unread.popleft()
        blocks, notices, messages, ends = found
        self.frames += len(frames)
        self.messages += messages
        self.octets += size
        self._received = received, self._arrivals.clock.base
        count = sum(len(block.ts) for block in blocks)
        if self._arrivals.journals:
            self._arrivals.note_all(self._connection, "frame", frames, (0, *ends[:-1]))
        first = self._arrivals.take(count, self)
        for block in blocks:
            self._add(block, first, received)
        if count:
            self.records += count
            self._lag([received - ns for ns in _times_before(ends, blocks)])
        for notice in notices:
            self._count(notice)
        return 0

    def take_numbered(self, sink: RecordSink, blocks: Sequence[StoreBlock], *, octets: int, received: int) -> None:
        """Append records that have their arrival numbers and times of receipt already, as one message of `octets`.

        `received` is when they came here, in ns since the epoch. Readers see the records after `publish`.
        """
        self._took(octets, received)
        for block in blocks:
            sink.buffer.add_block(block)
            self.records += len(block.ts)
        if blocks:
            self._fresh[sink] = None
            self._lag([received - blocks[-1].ts[-1]])

    def take_states(
        self, sink: RecordSink, records: Sequence[tuple[int, int, Values, int]], *, octets: int, received: int
    ) -> None:
        """Append records that were first received at another place, as `take_numbered` does.

        Each is the symbol's code in the sink, exchange time, values, and time of receipt; times in ns since the epoch.
        """
        self._took(octets, received)
        buffer = sink.buffer
        buffer.number(0)
        for code, ts, values, at in records:
            buffer.add(code, ts, values)
            buffer.mark(at)
        self.records += len(records)
        self._fresh[sink] = None

    def count(self, notice: Counted | Unreadable) -> None:
        """Count what is no record."""
        self._count(notice)

    def _took(self, octets: int, received: int) -> None:
        self.frames += 1
        self.messages += 1
        self.octets += octets
        self._received = received, self._arrivals.clock.base

    def _add(self, block: Block, first: int, received: int) -> None:
        """Append a block to the buffers of its sinks; `first` is the arrival number of the first record of its read."""
        known, targets = self._targets_of.get(id(block.subscriptions), ((), ()))
        if known is not block.subscriptions:
            known, targets = block.subscriptions, self._targets(block.subscriptions)
            if len(self._targets_of) > KEPT_TARGETS:
                self._targets_of.clear()
            self._targets_of[id(known)] = known, targets
        seq = block.numbers
        if isinstance(seq, range):
            seq = range(first + seq.start, first + seq.stop, seq.step)
        else:
            seq = [first + number for number in seq]
        for sink, code_of in targets:
            codes, last = block.which, block.last
            if not isinstance(code_of, range):
                codes = [code_of[place] for place in codes]
                last = {code_of[place]: at for place, at in last.items()}
            own = StoreBlock(codes, block.ts, block.columns, seq, received, last)
            if _NO_CODE in last:
                own = _without(own, _NO_CODE)
            if sink is None:
                self.unasked += len(own.ts)
            elif own.ts:
                sink.buffer.add_block(own)
                self._fresh[sink] = None

    def _targets(self, subscriptions: Sequence[Subscription]) -> Sequence[_Target]:
        """Return the sinks of these subscriptions, each with the codes there; None as the sink of those without any."""
        targets: dict[tuple[RecordSink | None, int], list[int]] = {}
        for place, subscription in enumerate(subscriptions):
            routes = self._routes.get(subscription, ())
            found: list[tuple[RecordSink | None, int]] = [(route.sink, route.code) for route in routes]
            sinks: Counter[RecordSink | None] = Counter()
            for sink, code in found or [(None, 0)]:
                sinks[sink] += 1
                targets.setdefault((sink, sinks[sink]), [_NO_CODE] * len(subscriptions))[place] = code
        places = range(len(subscriptions))
        return [(sink, places if code_of == [*places] else code_of) for (sink, _), code_of in targets.items()]

    def _count(self, notice: Notice) -> bool:
        """Note a notice that is for this object alone, such as one that only has to be counted; return whether it was.

        These are Counted, Unreadable, Unrequested and Unfinished.
        """
        if isinstance(notice, Counted):
            for route in self._routes.get(notice.subscription, ()):
                route.sink.buffer.counted[notice.what] += notice.count
            if not self._arrivals.is_replay:
                self._arrivals.counted.setdefault(notice.subscription, Counter())[notice.what] += notice.count
        elif isinstance(notice, Unreadable):
            self.unreadable += 1
            self.excerpts.append(Unreadable(self._redact(notice.reason), self._redact(notice.excerpt)))
        elif isinstance(notice, Unrequested):
            self.unasked += 1
        elif isinstance(notice, Unfinished):
            self.is_unfinished = True
        else:
            return False
        return True

    def _lag(self, lags: Sequence[int]) -> None:
        self._lags.extend(lags)
        self._lags_taken += len(lags)

    def publish(self) -> None:
        """Make all records taken so far visible to the readers of their stores."""
        fresh, self._fresh = self._fresh, {}
        for sink in fresh:
            sink.publish()
        self._arrivals.published(self)

    def interrupted(self) -> None:
        """Mark the data of every store as possibly out of date, because the connection broke."""
        self.is_unfinished = False  # what is left of a message is dropped
        for sink in self._sinks:
            sink.interrupted()

    def attach(self, routes: Iterable[Route]) -> list[Subscription]:
        """Add routes; return the subscriptions that had no route before, each once: the caller requests them.

        A route that exists already is not added again.
        """
        new: list[Subscription] = []
        self._targets_of.clear()
        for route in routes:
            existing = self._routes.setdefault(route.subscription, [])
            if not existing:
                new.append(route.subscription)
            if route not in existing:
                existing.append(route)
                if not self._arrivals.is_replay:
                    self._arrivals.first_routes.setdefault(route.subscription, route)
                self._sinks[route.sink] += 1
                self._appenders_of[route.subscription] = _appenders(existing)
        return new

    def detach(self, routes: Iterable[Route]) -> list[Subscription]:
        """Remove routes; return the subscriptions that have no route left, each once: the caller ends them."""
        gone: list[Subscription] = []
        self._targets_of.clear()
        for route in routes:
            existing = self._routes.get(route.subscription, [])
            if route not in existing:
                continue
            existing.remove(route)
            if self._arrivals.first_routes.get(route.subscription) == route:
                self._arrivals.first_routes[route.subscription] = None
            self._sinks[route.sink] -= 1
            if not self._sinks[route.sink]:
                del self._sinks[route.sink]
            if existing:
                self._appenders_of[route.subscription] = _appenders(existing)
            else:
                del self._routes[route.subscription], self._appenders_of[route.subscription]
                gone.append(route.subscription)
        return gone

    def routes(self, subscription: Subscription) -> Sequence[Route]:
        """Return the routes of a subscription, () if it has none."""
        return tuple(self._routes.get(subscription, ()))

    def __len__(self) -> int:
        """The number of subscriptions that have a route."""
        return len(self._routes)

    @property
    def subscriptions(self) -> list[Subscription]:
        """The subscriptions that have a route, each once."""
        return list(self._routes)

    def new_lags(self) -> list[float]:
        """Return the lags (exchange time to receipt, in seconds) of the frames taken since the last call.

        One lag per frame that has records, that of its last record. The newest 256 at most.
        """
        count, self._lags_seen = self._lags_taken - self._lags_seen, self._lags_taken
        return [lag / 1e9 for lag in list(self._lags)[-count:]] if count else []

    def clock_corrected(self) -> None:
        """Forget the lags, because market time was corrected."""
        self._lags.clear()

    @property
    def last_received(self) -> int:
        """The time of the newest frame by market time as corrected now, in ns since the epoch; 0 before the first."""
        received, base = self._received
        return received + self._arrivals.clock.base - base if received else 0

    @property
    def lag_ms(self) -> float:
        """Median of the newest 256 lags (exchange time to receipt, as in `new_lags`), in ms; NaN before the first."""
        lags = list(self._lags)
        return median(lags) / 1e6 if lags else nan


def _appenders(routes: Sequence[Route]) -> _Appenders:
    first, *more = routes
    buffer = first.sink.buffer
    others = tuple((route.sink, route.code) for route in more)
    return buffer.codes.append, buffer.ts.append, buffer.values.extend, first.code, first.sink, others


def _times_before(ends: Sequence[int], blocks: Sequence[Block]) -> Sequence[int]:
    """Return the exchange time of the last record of each frame that has any, in ns; `ends` as in `ReceivedColumns`."""
    if len(blocks) == 1 and len(blocks[0].ts) == len(ends) and isinstance(ends, range):
        return blocks[0].ts  # one a frame
    last = [end - 1 for start, end in pairwise((0, *ends)) if end > start]
    if len(blocks) == 1:  # most often: it has them all
        ts = blocks[0].ts
        return [ts[number] for number in last]
    times: list[int] = []
    for number in last:
        for block in blocks:
            place = bisect_left(block.numbers, number)
            if place < len(block.numbers) and block.numbers[place] == number:
                times.append(block.ts[place])
    return times


def _without(block: StoreBlock, code: int) -> StoreBlock:
    """Return a block without the records of a code."""
    places = [place for place, each in enumerate(block.codes) if each != code]
    columns: list[ValueColumn] = []
    for column in block.columns:
        some = [column[place] for place in places]
        columns.append(array(column.typecode, some) if isinstance(column, array) else some)
    codes, ts, seq = ([each[place] for place in places] for each in (block.codes, block.ts, block.seq))
    last = dict(zip(codes, range(len(codes)), strict=True))
    return StoreBlock(codes, array(INT64, ts), columns, seq, block.received, last)
