"""The hot path: one frame's bytes to rows in their sinks, in one synchronous call stack."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import nan
from statistics import median
from typing import NamedTuple, TypeAlias

from aries_nb.model import Inbox, Notice, Sink, Subscription, Unreadable, Values
from aries_nb.wire import Wire

__all__ = ["Intake", "Stream"]

# What adds to the three lists of an inbox, and the symbol's code there; then the other users, of whom most have none.
_Route: TypeAlias = tuple[
    Callable[[int], None], Callable[[int], None], Callable[[Values], None], int, tuple[tuple[Inbox, int], ...]
]

KEPT_UNREADABLE = 50
LAG_SAMPLES = 256


class Stream(NamedTuple):
    """A subscription and where its records go: a sink, and the symbol's code there."""

    subscription: Subscription
    sink: Sink
    code: int


class Intake:
    """Routes records to sinks and counts what comes. The network's thread owns it; counts may be read anywhere."""

    def __init__(self, wire: Wire, mask: Callable[[str], str] = str) -> None:
        self._wire = wire
        self._mask = mask
        self._routes: dict[Subscription, _Route] = {}
        self._users: dict[Subscription, list[Stream]] = {}
        self._sinks: tuple[Sink, ...] = ()
        self._inboxes: tuple[Inbox, ...] = ()
        self._lags: deque[int] = deque(maxlen=LAG_SAMPLES)
        self.frames = 0
        self.messages = 0
        self.octets = 0
        self.records = 0
        self.unreadable = 0
        self.excerpts: deque[Unreadable] = deque(maxlen=KEPT_UNREADABLE)
        self.last_received = 0

    def take(self, frame: bytes, received: int) -> Sequence[Notice]:
        """Understand a frame and hand its records on; visible after `publish`. Returns what else it said."""
        self.frames += 1
        self.messages += frame.count(b"\n") + (not frame.endswith(b"\n"))
        self.octets += len(frame)
        self.last_received = received
        records, notices = self._wire.receive(frame, received)
        routes = self._routes
        for subscription, ts, values in records:
            route = routes.get(subscription)
            if route is None:
                continue  # given up a moment ago
            add_code, add_ts, add_values, code, more = route
            add_code(code)
            add_ts(ts)
            add_values(values)
            if more:
                for inbox, code in more:
                    inbox.add(code, ts, values)
        if records:
            self.records += len(records)
            self._lags.append(received - records[-1][1])
            for inbox in self._inboxes:
                inbox.mark(received)
        for notice in notices:
            if isinstance(notice, Unreadable):
                self.unreadable += 1
                self.excerpts.append(Unreadable(self._mask(notice.reason), self._mask(notice.excerpt)))
        return notices

    def publish(self) -> None:
        """Make everything taken so far visible."""
        for sink in self._sinks:
            sink.publish()

    def interrupted(self) -> None:
        """Tell every sink that the stream broke."""
        for sink in self._sinks:
            sink.interrupted()

    def attach(self, streams: Iterable[Stream]) -> list[Subscription]:
        """Add streams; returns the subscriptions that nobody had before."""
        new: list[Subscription] = []
        for stream in streams:
            users = self._users.setdefault(stream.subscription, [])
            if not users:
                new.append(stream.subscription)
            if stream not in users:
                users.append(stream)
                self._routes[stream.subscription] = _route(users)
        self._count_sinks()
        return new

    def detach(self, streams: Iterable[Stream]) -> list[Subscription]:
        """Remove streams; returns the subscriptions that nobody has any more."""
        gone: list[Subscription] = []
        for stream in streams:
            users = self._users.get(stream.subscription, [])
            if stream not in users:
                continue
            users.remove(stream)
            if users:
                self._routes[stream.subscription] = _route(users)
            else:
                del self._users[stream.subscription], self._routes[stream.subscription]
                gone.append(stream.subscription)
        self._count_sinks()
        return gone

    @property
    def subscriptions(self) -> list[Subscription]:
        """What is wanted now, each once."""
        return list(self._users)

    @property
    def lag_ms(self) -> float:
        """Exchange time to receipt, median of the newest frames, in ms; NaN before the first."""
        lags = list(self._lags)
        return median(lags) / 1e6 if lags else nan

    def _count_sinks(self) -> None:
        streams = (stream for users in self._users.values() for stream in users)
        self._sinks = tuple({id(stream.sink): stream.sink for stream in streams}.values())
        self._inboxes = tuple(sink.inbox for sink in self._sinks)


def _route(users: Sequence[Stream]) -> _Route:
    first, *more = users
    inbox = first.sink.inbox
    others = tuple((stream.sink.inbox, stream.code) for stream in more)
    return inbox.codes.append, inbox.ts.append, inbox.values.extend, first.code, others
