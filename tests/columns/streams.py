"""Frames of a broker, taken twice: by columns where that is possible, and by message; and all that came of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from aries_nb.model import Column, RecordBuffer
from aries_nb.net.intake import Intake, Route
from aries_nb.store import RollingFrame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aries_nb.brokers import BrokerProtocol
    from aries_nb.model import Notice, Subscription

__all__ = ["Client", "assert_equal"]


class Listed:
    """A store that keeps what comes, as for books and bars."""

    def __init__(self) -> None:
        self.buffer = RecordBuffer()
        self.rows: list[Any] = []

    def publish(self) -> None:
        buffer = self.buffer
        assert not buffer.blocks
        self.rows += [(tuple(buffer.ts), tuple(buffer.values), tuple(buffer.runs), tuple(buffer.marks))]
        buffer.clear()

    def interrupted(self) -> None:
        self.rows.append("interrupted")


class Client:
    """A protocol behind an intake, and its frames; `by_columns` is the number of records that were made so."""

    def __init__(self, protocol: BrokerProtocol, *, is_by_columns: bool) -> None:
        self.protocol: Any = protocol
        self.intake = Intake(protocol)
        self.frames: list[RollingFrame] = []
        self.listed: list[Listed] = []
        self.said: list[Notice] = []
        self.is_by_columns = is_by_columns
        self.by_columns = 0
        self.lags: list[list[float]] = []  # of each read

    def add(self, subscriptions: Sequence[Subscription], **window: int) -> list[Route]:
        """A frame of these subscriptions, which have the same fields; returns its routes."""
        kind, fields = subscriptions[0].kind, subscriptions[0].fields
        types = self.protocol.COLUMNS[kind]
        symbols = [subscription.symbol for subscription in subscriptions]
        frame = RollingFrame([Column(field, types[field]) for field in fields], symbols, clock=lambda: 0, **window)
        self.frames.append(frame)
        routes = [Route(subscription, frame, code) for code, subscription in enumerate(subscriptions)]
        self.protocol.subscribe(self.intake.attach(routes))
        return routes

    def list_all(self, subscriptions: Sequence[Subscription]) -> None:
        """Take streams that are never by columns."""
        for subscription in subscriptions:
            self.listed.append(Listed())
            self.protocol.subscribe(self.intake.attach([Route(subscription, self.listed[-1], 0)]))

    def remove(self, routes: Sequence[Route]) -> None:
        """End what no other frame needs."""
        self.protocol.unsubscribe(self.intake.detach(routes))

    def read(self, frames: Sequence[bytes], received: int) -> None:
        """Take the frames of a read, as the session does, and publish."""
        unread, before = deque(frames), self.intake.records
        while unread:
            by_message = self.intake.take_columns(unread, received) if self.is_by_columns else len(unread)
            if not by_message:
                self.by_columns += self.intake.records - before
            for _ in range(by_message):
                self.said += self.intake.take(unread.popleft(), received)
            before = self.intake.records
        self.lags.append(self.intake.new_lags())

    def publish(self) -> None:
        self.intake.publish()


def assert_equal(one: Client, other: Client) -> None:
    """All rows, newest rows, counts, arrival numbers, corrections and notices are equal."""
    for each, again in zip(one.frames, other.frames, strict=True):
        slab, start, end, filled, void = each._published
        slab_again, start_again, end_again, filled_again, void_again = again._published
        assert (slab.base + start, slab.base + end, filled) == (
            slab_again.base + start_again, slab_again.base + end_again, filled_again
        )  # fmt: skip
        for name, column in slab.all_arrays().items():
            expected = slab_again.all_arrays()[name][start_again:end_again]
            np.testing.assert_array_equal(column[start:end], expected, err_msg=name)
        assert each._texts == again._texts
        np.testing.assert_array_equal(void.numbers, void_again.numbers)
        assert (void.total, void.pairs) == (void_again.total, void_again.pairs)
        assert repr(each.latest()) == repr(again.latest())
        assert each.message_counts() == again.message_counts()
    assert [(each.rows, each.buffer.counted) for each in one.listed] == [
        (each.rows, each.buffer.counted) for each in other.listed
    ]
    counts = ("frames", "octets", "messages", "records", "unasked", "unreadable", "excerpts", "last_received")
    assert {name: getattr(one.intake, name) for name in counts} == {
        name: getattr(other.intake, name) for name in counts
    }
    assert one.said == other.said
    assert one.lags == other.lags
