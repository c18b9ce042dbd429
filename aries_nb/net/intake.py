"""The hot path: one frame's bytes to rows in their sinks, in one synchronous call stack."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import nan
from statistics import median
from typing import NamedTuple

from aries_nb.model import Notice, Row, Sink, Subscription, Unreadable
from aries_nb.wire import Wire

__all__ = ["Intake", "Stream"]

KEPT_UNREADABLE = 50
LAG_SAMPLES = 256


class Stream(NamedTuple):
    """A subscription and where its records go: a sink, and the symbol's code there."""

    subscription: Subscription
    sink: Sink
    code: int


class Intake:
    """Routes records to sinks and counts what comes. The network's thread owns it; counts may be read anywhere."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._streams: dict[Stream, int] = {}
        self._routes: dict[Subscription, tuple[tuple[Callable[[Row], None], int], ...]] = {}
        self._sinks: tuple[Sink, ...] = ()
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
            for add, code in routes.get(subscription, ()):
                add((code, ts, received, values))
        if records:
            self.records += len(records)
            self._lags.append(received - records[-1][1])
        for notice in notices:
            if isinstance(notice, Unreadable):
                self.unreadable += 1
                self.excerpts.append(notice)
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
            if stream.subscription not in self._routes:
                new.append(stream.subscription)
            self._streams[stream] = 1
            self._rebuild(stream.subscription)
        self._sinks = tuple({id(stream.sink): stream.sink for stream in self._streams}.values())
        return new

    def detach(self, streams: Iterable[Stream]) -> list[Subscription]:
        """Remove streams; returns the subscriptions that nobody has any more."""
        gone: list[Subscription] = []
        for stream in streams:
            if self._streams.pop(stream, None) is not None:
                self._rebuild(stream.subscription)
                if stream.subscription not in self._routes:
                    gone.append(stream.subscription)
        self._sinks = tuple({id(stream.sink): stream.sink for stream in self._streams}.values())
        return gone

    @property
    def subscriptions(self) -> list[Subscription]:
        """What is wanted now, each once."""
        return list(self._routes)

    @property
    def lag_ms(self) -> float:
        """Exchange time to receipt, median of the newest frames, in ms; NaN before the first."""
        lags = list(self._lags)
        return median(lags) / 1e6 if lags else nan

    def _rebuild(self, subscription: Subscription) -> None:
        ends = tuple((s.sink.add, s.code) for s in self._streams if s.subscription == subscription)
        if ends:
            self._routes[subscription] = ends
        else:
            self._routes.pop(subscription, None)
