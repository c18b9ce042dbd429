"""Hot path: a frame's bytes are decoded to records and appended to the stores, in one synchronous call."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from math import nan
from statistics import median
from typing import NamedTuple, TypeAlias

from aries_nb.brokers import BrokerProtocol
from aries_nb.model import (
    Counted,
    Notice,
    RecordSink,
    SessionLost,
    Subscription,
    Unfinished,
    Unreadable,
    Unrequested,
    Values,
)
from aries_nb.net.exchange_clock import ExchangeClock
from aries_nb.net.limits import count_lines, count_values

__all__ = ["ArrivalCounter", "Intake", "Route", "in_turns"]

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
ROUTES_A_TURN = 100  # added or removed between two turns of the loop, which thousands at once would hold up
_NO_CODES: Sequence[int] = ()


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


class ArrivalCounter:
    """Numbers the records of a feed in the order of their arrival over all its connections, from 1.

    The network's thread owns it: all connections are read there. `clock` is the market time of their receipt.
    """

    def __init__(self) -> None:
        self.clock = ExchangeClock()
        self._next = 1

    def take(self, count: int) -> int:
        """Number `count` records; return the number of the first."""
        first = self._next
        self._next += count
        return first


class Intake:
    """Decodes the frames of one connection, appends their records to the stores of its routes, and counts them.

    Used on the network's thread only; any thread may read the counts. `redact` removes tokens from a text. Counts since
    it was made: `frames`, `messages` (lines of frames), `octets` (bytes), `records`, `unasked` (data without a
    subscription) and `unreadable` (notices of text that could not be decoded, of which `excerpts` has the newest 50).
    `last_received` is the time of the newest frame, in ns since the epoch, 0 before the first. `is_unfinished`: more of
    the newest frame is still to be decoded: it has to be taken again.
    """

    def __init__(
        self,
        protocol: BrokerProtocol,
        redact: Callable[[str], str] = str,
        *,
        arrivals: ArrivalCounter | None = None,
    ) -> None:
        self._protocol = protocol
        self._arrivals = arrivals or ArrivalCounter()
        self._redact = redact
        self._appenders_of: dict[Subscription, _Appenders] = {}
        self._routes: dict[Subscription, list[Route]] = {}
        self._sinks: Counter[RecordSink] = Counter()  # with the number of their routes
        self._fresh: dict[RecordSink, None] = {}  # those with unpublished records
        self._lags: deque[int] = deque(maxlen=LAG_SAMPLES)
        self.frames = 0
        self._frames_seen = 0
        self.messages = 0
        self.octets = 0
        self.records = 0
        self.unreadable = 0
        self.unasked = 0
        self.excerpts: deque[Unreadable] = deque(maxlen=KEPT_UNREADABLE)
        self.last_received = 0
        self.is_unfinished = False

    def take(self, frame: bytes, received: int) -> Sequence[Notice]:
        """Decode a frame received at `received` (ns since the epoch), and append its records to the stores' buffers.

        Readers see the records after `publish`. Returns the frame's notices, except those that this object only counts.
        While `is_unfinished`, the rest of the same frame is decoded.
        """
        if self.is_unfinished:
            return self.take_more(received)
        self.frames += 1
        self.messages += (lines := count_lines(frame))
        self.octets += len(frame)
        self.last_received = received
        if lines > MOST_LINES or count_values(frame) > MOST_VALUES:
            self._count(Unreadable(TOO_LARGE, f"{len(frame):,} bytes"))
            return [SessionLost(f"the server sent {TOO_LARGE}", "cut")]  # its records are a gap
        records, notices = self._protocol.receive((frame,), received)
        appenders_of = self._appenders_of
        touched: dict[RecordSink, None] = {}
        latest: RecordSink | None = None
        # The arrival number of a record is `seq` and how many were added to `codes` since it was `start` long: counted
        # where the sink changes, as counting each record would take longer than adding it.
        seq, codes, start = self._arrivals.take(len(records)), _NO_CODES, 0
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
                latest, codes = sink, sink.buffer.codes
                start = len(codes)
                touched[sink] = None
                sink.buffer.number(seq)
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
            self._lags.append(received - records[-1][1])
            for sink in touched:
                sink.buffer.mark(received)
            self._fresh |= touched
        return [notice for notice in notices if not self._count(notice)] if notices else ()

    def take_more(self, received: int) -> Sequence[Notice]:
        """Append records without waiting for the next frame.

        They are the first ones of subscriptions that joined a running stream, and what is left of a frame that is
        decoded in parts. Readers see the records after `publish`. `received` is in ns since the epoch. Returns their
        notices, except those that this object only counts.
        """
        self.is_unfinished = False
        records, notices = self._protocol.receive((), received)
        touched: dict[RecordSink, None] = {}
        for subscription, ts, values in records:
            for route in self._routes.get(subscription, ()):
                route.sink.buffer.add(route.code, ts, values)
                touched[route.sink] = None
        for sink in touched:
            sink.buffer.mark(received)
        self.records += len(records)
        self._fresh |= touched
        return [notice for notice in notices if not self._count(notice)]

    def _count(self, notice: Notice) -> bool:
        """Note a notice that is for this object alone, such as one that only has to be counted; return whether it was.

        These are Counted, Unreadable, Unrequested and Unfinished.
        """
        if isinstance(notice, Counted):
            for route in self._routes.get(notice.subscription, ()):
                route.sink.buffer.counted[notice.what] += notice.count
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

    def publish(self) -> None:
        """Make all records taken so far visible to the readers of their stores."""
        fresh, self._fresh = self._fresh, {}
        for sink in fresh:
            sink.publish()

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
        for route in routes:
            existing = self._routes.setdefault(route.subscription, [])
            if not existing:
                new.append(route.subscription)
            if route not in existing:
                existing.append(route)
                self._sinks[route.sink] += 1
                self._appenders_of[route.subscription] = _appenders(existing)
        return new

    def detach(self, routes: Iterable[Route]) -> list[Subscription]:
        """Remove routes; return the subscriptions that have no route left, each once: the caller ends them."""
        gone: list[Subscription] = []
        for route in routes:
            existing = self._routes.get(route.subscription, [])
            if route not in existing:
                continue
            existing.remove(route)
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

        One lag per frame that has records, that of its last record; the newest 256 at most. If some of these frames
        have no records, older lags may be among those returned.
        """
        count, self._frames_seen = self.frames - self._frames_seen, self.frames
        return [lag / 1e9 for lag in list(self._lags)[-count:]] if count else []

    def clock_corrected(self, ns: int) -> None:
        """Forget the lags, because market time was corrected by `ns`, and move the time of the newest frame."""
        self._lags.clear()
        if self.last_received:
            self.last_received += ns

    @property
    def lag_ms(self) -> float:
        """Median lag (exchange time to receipt) of the newest 256 frames with records, in ms; NaN before the first."""
        lags = list(self._lags)
        return median(lags) / 1e6 if lags else nan


def _appenders(routes: Sequence[Route]) -> _Appenders:
    first, *more = routes
    buffer = first.sink.buffer
    others = tuple((route.sink, route.code) for route in more)
    return buffer.codes.append, buffer.ts.append, buffer.values.extend, first.code, first.sink, others
