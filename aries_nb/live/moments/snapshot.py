"""`Snapshot`: all that a feed has open, as it was at one moment, as `feed.snapshot` and `feed.at` return it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, overload
from weakref import WeakKeyDictionary

import pandas as pd

from aries_nb.errors import BoundToProcess, UsageError
from aries_nb.live.arguments import checked_symbol
from aries_nb.live.connection import Link
from aries_nb.live.live_object import LiveObject
from aries_nb.live.moments.clock import instant_of
from aries_nb.live.moments.parts import BookSnapshot, FrameSnapshot, Moment, exact_clock, not_held
from aries_nb.live.statistics import ledger_frame
from aries_nb.net.background import Background, on_network
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.store import GapLog, MessageCounts, gaps_frame

if TYPE_CHECKING:
    from aries_nb.live.market.book import LiveBook
    from aries_nb.live.market.frame import LiveFrame

__all__ = ["Snapshot", "SnapshotMaker"]

Part: TypeAlias = FrameSnapshot | BookSnapshot


class _Captured(NamedTuple):
    """What a feed had at one moment of the network's thread."""

    moment: Moment
    seq: int | None
    parts: dict[LiveObject, Part]
    ledger: list[tuple[str, str, str, MessageCounts]]


class Snapshot(BoundToProcess):
    """All open frames, books, tables and gaps of a feed as they were at one moment; it never changes. Any thread.

    `now[quotes]` has `df`, `latest`, `tail`, `last`, `gaps` and `ledger` of a frame, `now.book("AAPL")` those of an
    order book. What the feed shows goes on: nothing is switched. Memory that it refers to is freed with it.
    """

    def __init__(self, name: str, captured: _Captured) -> None:
        self._name = name
        self._moment = captured.moment
        self._seq = captured.seq
        self._ledger = captured.ledger
        # Weak: a snapshot keeps no stream open.
        self._parts: WeakKeyDictionary[LiveObject, Part] = WeakKeyDictionary(captured.parts)
        self._every = list(captured.parts.values())

    @property
    def ts(self) -> pd.Timestamp:
        """The market time of the moment, UTC."""
        return pd.Timestamp(self._moment.now // 1_000, unit="us", tz="UTC")

    @property
    def seq(self) -> int:
        """The arrival number of the newest record that had come, over all connections of the feed.

        Of a moment in the past: of the newest row of its frames.
        """
        if self._seq is None:
            self._seq = max((part.seq for part in self._every if part.is_held), default=0)
        return self._seq

    @property
    def gaps(self) -> pd.DataFrame:
        """The interruptions of the feed that were known then, as `feed.gaps.df`."""
        return gaps_frame(self._moment.gaps.all())

    @property
    def ledger(self) -> pd.DataFrame:
        """Message counts by outcome, as `feed.ledger`. Raises UsageError of a past moment: they are not kept."""
        if self._moment.until is not None:
            raise UsageError("counts of messages of the past are not kept", advice="Use `feed.snapshot().ledger`.")
        return ledger_frame(self._ledger)

    @overload
    def __getitem__(self, live: LiveFrame) -> FrameSnapshot: ...

    @overload
    def __getitem__(self, live: LiveBook) -> BookSnapshot: ...

    def __getitem__(self, live: LiveObject) -> Part:
        """Return what a live frame or book was. Raises UsageError for what was not open, or is not held so far back."""
        part = self._parts.get(live) if isinstance(live, LiveObject) else None
        if part is None:
            has = ", ".join(map(repr, self._every)) or "nothing"
            raise UsageError(f"{live!r} is not in this snapshot", advice=f"It has: {has}.")
        part.check()
        return part

    def book(self, symbol: str) -> BookSnapshot:
        """Return what the order book of a symbol was, of several that with the most levels.

        Raises UsageError where none was open, or is not held so far back.
        """
        name = checked_symbol(symbol)
        books = [part for part in self._every if isinstance(part, BookSnapshot) and part.symbol == name]
        if not books:
            raise UsageError(f"no book of {name} is in this snapshot", advice=f'Call `feed.book("{name}")` before it.')
        book = max(books, key=lambda each: each.depth)
        book.check()
        return book

    def __repr__(self) -> str:
        kinds = {"frame": FrameSnapshot, "book": BookSnapshot}
        counts = {name: sum(isinstance(part, kind) for part in self._every) for name, kind in kinds.items()}
        has = [f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count] or ["nothing open"]
        return f"<snapshot of {self._name}: {self.ts:%Y-%m-%d} {exact_clock(self._moment.now)}, {', '.join(has)}>"


class SnapshotMaker:
    """Takes snapshots of a feed. Any thread.

    `name` is the feed's, `gaps` are its gaps; `links` returns its connections, `objects` its open live objects.
    """

    def __init__(
        self,
        name: str,
        arrivals: Arrivals,
        gaps: GapLog,
        links: Callable[[], Sequence[Link]],
        objects: Callable[[], Iterable[LiveObject]],
    ) -> None:
        self._name = name
        self._arrivals = arrivals
        self._gaps = gaps
        self._links = links
        self._objects = objects

    def take(self) -> Snapshot:
        """Return what the feed has now."""
        return self._taken(None)

    def at(self, instant: object) -> Snapshot:
        """Return what the feed had at an instant, such as "14:31:07" on the clock's day.

        Raises UsageError for what is no time, for one that has not come yet, and for one of which nothing is held.
        """
        clock = self._arrivals.clock
        now = clock.now_ns()
        wanted = instant_of(instant, pd.Timestamp(now // 1_000, unit="us", tz="UTC"))
        if wanted > now:
            raise UsageError(f"{instant} has not come yet", advice=f"It is {exact_clock(now)}.")
        return self._taken(wanted)

    def _taken(self, until: int | None) -> Snapshot:
        links, objects = self._links(), list(self._objects())
        for link in links:
            link.settle()
        work = partial(self._capture, until, links, objects)
        captured = work() if Background.shared().is_current() else on_network(work).result()
        held = [part.held_since for part in captured.parts.values()]
        if until is not None and held and until < min(held):
            raise not_held(f"{self._name}", until, min(held))
        return Snapshot(self._name, captured)

    # The network's thread.

    def _capture(self, until: int | None, links: Sequence[Link], objects: Sequence[LiveObject]) -> _Captured:
        """Return what all hold now; each costs microseconds, as rows are never written again."""
        now = self._arrivals.clock.now_ns() if until is None else until
        moment = Moment(now, until, self._gaps.frozen(until))
        parts = {live: part for live in objects if (part := live._captured(moment)) is not None}  # noqa: SLF001
        if until is None:
            lines = [line for link in links for line in link.ledgers()]
            return _Captured(moment, self._arrivals.next - 1, parts, lines)
        return _Captured(moment, None, parts, [])
