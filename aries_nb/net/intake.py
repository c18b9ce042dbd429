"""The hot path: one frame's bytes to rows in their sinks, in one synchronous call stack."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from math import nan
from statistics import median
from typing import NamedTuple, TypeAlias

from aries_nb.brokers import BrokerProtocol
from aries_nb.model import Counted, Notice, RecordSink, SessionLost, Subscription, Unreadable, Unrequested, Values
from aries_nb.net.limits import count_lines, count_values

__all__ = ["Intake", "Route"]

# What adds to the three lists of an inbox, the symbol's code there, and whose inbox it is; then the other users, of
# whom most have none.
_Appenders: TypeAlias = tuple[
    Callable[[int], None],
    Callable[[int], None],
    Callable[[Values], None],
    int,
    RecordSink,
    tuple[tuple[RecordSink, int], ...],
]

KEPT_UNREADABLE = 50
# Of one frame, by what it would be in memory: 300 times what a broker sends at once.
MOST_VALUES = 1_000_000
MOST_LINES = 50_000
TOO_LARGE = f"a frame of more than {MOST_VALUES:,} values or {MOST_LINES:,} lines"
LAG_SAMPLES = 256


class Route(NamedTuple):
    """A subscription and where its records go: a sink, and the symbol's code there."""

    subscription: Subscription
    sink: RecordSink
    code: int


class Intake:
    """Routes records to sinks and counts what comes. The network's thread owns it; counts may be read anywhere."""

    def __init__(self, protocol: BrokerProtocol, redact: Callable[[str], str] = str) -> None:
        self._protocol = protocol
        self._redact = redact
        self._appenders_of: dict[Subscription, _Appenders] = {}
        self._users: dict[Subscription, list[Route]] = {}
        self._sinks: Counter[RecordSink] = Counter()  # with the number of their streams
        self._fresh: dict[RecordSink, None] = {}  # those with something to publish
        self._lags: deque[int] = deque(maxlen=LAG_SAMPLES)
        self.frames = 0
        self._looked_at = 0
        self.messages = 0
        self.octets = 0
        self.records = 0
        self.unreadable = 0
        self.unasked = 0
        self.excerpts: deque[Unreadable] = deque(maxlen=KEPT_UNREADABLE)
        self.last_received = 0

    def take(self, frame: bytes, received: int) -> Sequence[Notice]:
        """Understand a frame and hand its records on; visible after `publish`. Returns what else it said."""
        self.frames += 1
        self.messages += (lines := count_lines(frame))
        self.octets += len(frame)
        self.last_received = received
        if lines > MOST_LINES or count_values(frame) > MOST_VALUES:
            self._count(Unreadable(TOO_LARGE, f"{len(frame):,} bytes"))
            return [SessionLost(f"the server sent {TOO_LARGE}", "cut")]  # what may have been in it is a gap
        records, notices = self._protocol.receive((frame,), received)
        routes = self._appenders_of
        touched: dict[RecordSink, None] = {}
        latest: RecordSink | None = None
        for subscription, ts, values in records:
            appenders = routes.get(subscription)
            if appenders is None:
                self.unasked += 1  # given up a moment ago
                continue
            add_code, add_ts, add_values, code, sink, more = appenders
            add_code(code)
            add_ts(ts)
            add_values(values)
            if sink is not latest:  # mostly it is: this is cheaper than to set it each time
                latest = sink
                touched[sink] = None
            if more:
                for sink, code in more:
                    sink.buffer.add(code, ts, values)
                    touched[sink] = None
        if records:
            self.records += len(records)
            self._lags.append(received - records[-1][1])
            for sink in touched:
                sink.buffer.mark(received)
            self._fresh |= touched
        return [notice for notice in notices if not self._count(notice)] if notices else ()

    def _count(self, notice: Notice) -> bool:
        """Take what is only to be counted; whether it was that."""
        if isinstance(notice, Counted):
            for stream in self._users.get(notice.subscription, ()):
                stream.sink.buffer.counted[notice.what] += notice.count
        elif isinstance(notice, Unreadable):
            self.unreadable += 1
            self.excerpts.append(Unreadable(self._redact(notice.reason), self._redact(notice.excerpt)))
        elif isinstance(notice, Unrequested):
            self.unasked += 1
        else:
            return False
        return True

    def publish(self) -> None:
        """Make everything taken so far visible."""
        fresh, self._fresh = self._fresh, {}
        for sink in fresh:
            sink.publish()

    def interrupted(self) -> None:
        """Tell every sink that the stream broke."""
        for sink in self._sinks:
            sink.interrupted()

    def attach(self, streams: Iterable[Route]) -> list[Subscription]:
        """Add streams; returns the subscriptions that nobody had before."""
        new: list[Subscription] = []
        for stream in streams:
            users = self._users.setdefault(stream.subscription, [])
            if not users:
                new.append(stream.subscription)
            if stream not in users:
                users.append(stream)
                self._sinks[stream.sink] += 1
                self._appenders_of[stream.subscription] = _appenders(users)
        return new

    def detach(self, streams: Iterable[Route]) -> list[Subscription]:
        """Remove streams; returns the subscriptions that nobody has any more."""
        gone: list[Subscription] = []
        for stream in streams:
            users = self._users.get(stream.subscription, [])
            if stream not in users:
                continue
            users.remove(stream)
            self._sinks[stream.sink] -= 1
            if not self._sinks[stream.sink]:
                del self._sinks[stream.sink]
            if users:
                self._appenders_of[stream.subscription] = _appenders(users)
            else:
                del self._users[stream.subscription], self._appenders_of[stream.subscription]
                gone.append(stream.subscription)
        return gone

    def users(self, subscription: Subscription) -> Sequence[Route]:
        """Where the records of a subscription go."""
        return tuple(self._users.get(subscription, ()))

    def __len__(self) -> int:
        """How many subscriptions are wanted now."""
        return len(self._users)

    @property
    def subscriptions(self) -> list[Subscription]:
        """What is wanted now, each once."""
        return list(self._users)

    def new_lags(self) -> list[float]:
        """Exchange time to receipt of the frames since the last call, in seconds; the newest 256 at most."""
        count, self._looked_at = self.frames - self._looked_at, self.frames
        return [lag / 1e9 for lag in list(self._lags)[-count:]] if count else []

    @property
    def lag_ms(self) -> float:
        """Exchange time to receipt, median of the newest frames, in ms; NaN before the first."""
        lags = list(self._lags)
        return median(lags) / 1e6 if lags else nan


def _appenders(users: Sequence[Route]) -> _Appenders:
    first, *more = users
    buffer = first.sink.buffer
    others = tuple((stream.sink, stream.code) for stream in more)
    return buffer.codes.append, buffer.ts.append, buffer.values.extend, first.code, first.sink, others
