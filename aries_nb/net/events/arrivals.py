"""What all connections of a feed have in common on the network's thread: market time, order of arrival, and journal.

The data of a feed are a function of its events in their order. Each event passes here before it takes effect: a frame,
a request, a tick, a break, an answer. A recording is made of them, and a replay passes recorded ones.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from msgspec.json import encode

from aries_nb.model import Checkpoint, Checkpointed, CountedAs, Observers, ShownMoment, Subscription
from aries_nb.model.journal import Event, EventGroup, Journal, events_of
from aries_nb.net.background import Background, on_network
from aries_nb.net.events.answers import Answers
from aries_nb.net.events.exchange_clock import ExchangeClock
from aries_nb.net.events.market_timer import MarketTimer
from aries_nb.net.redaction import FrameMask

__all__ = ["ANNOTATION", "CLOCK", "USE", "Arrivals", "EventRing", "Use"]

T = TypeVar("T")

CLOCK = "clock"
"""The event that market time was corrected, and the first of all: what its clock adds to the steady one, in ns."""

USE = "use"
"""The event that something computed begins, or takes quotes into use, which is decided on a thread: JSON of a `Use`."""


ANNOTATION = "annotation"
"""The event that the user marked a moment: JSON of the text."""


class Use(NamedTuple):
    """What begins, such as "equity ACC-1", or uses quotes of these symbols from now on, such as "marks ACC-1"."""

    name: str
    symbols: tuple[str, ...] = ()


RING_BYTES = 48 << 20
MOST_ANNOTATIONS = 1_000
EVENT_BYTES = 200  # what an event takes without its body


class EventRing:
    """A journal that keeps the newest 48 MiB of events. Used on the network's thread."""

    def __init__(self, most_bytes: int = RING_BYTES) -> None:
        self._groups: deque[tuple[int, EventGroup]] = deque()  # with their sizes
        self.is_whole = True
        """Whether no event was dropped: they are all since the feed was made."""
        self._left = most_bytes

    @property
    def events(self) -> list[Event]:
        """The events that are kept, the oldest first."""
        return [event for group in self.groups for event in events_of(group)]

    @property
    def groups(self) -> list[EventGroup]:
        """The same, as they came together."""
        return [group for _, group in self._groups]

    def extend(self, group: EventGroup) -> None:
        """Keep events, and drop the oldest ones where there is no room: all that came together."""
        bodies = group[4]
        size = sum(map(len, bodies)) + len(bodies) * EVENT_BYTES
        self._groups.append((size, group))
        self._left -= size
        while self._left < 0:
            self.is_whole = False
            self._left += self._groups.popleft()[0]


class Arrivals(Checkpointed):
    """Numbers the records of a feed in the order of their arrival over all its connections, and notes its events.

    The network's thread owns it: all connections are read there. `clock` is the market time of receipt; while an event
    takes effect, it stands at the time of the event. Each of `journals` gets every event, its body as received: `mask`
    masks tokens in those that are kept. `timer` has what is due at an instant of market time, `answers` is where HTTP
    answers are applied. In a replay no clock is asked and no request made.
    """

    STATE = "next", "_base", "_uses", "annotations"

    def __init__(self, clock: ExchangeClock | None = None, *, is_replay: bool = False) -> None:
        self.clock = clock or ExchangeClock()
        self.is_replay = is_replay
        self.timer = MarketTimer(self.clock, is_live=not is_replay, corrected=self._note_clock)
        self.answers = Answers(self, is_replay=is_replay)
        self.journals: tuple[Journal, ...] = ()
        self.mask = FrameMask()
        self.shown = ShownMoment()
        """At which moment the views of the feed stand; nothing that is received depends on it."""
        self.annotations: tuple[tuple[int, str], ...] = ()
        """What the user marked: moments in ns since the epoch, and texts; the newest 1,000. Any thread may read."""
        self.next = 1  # the number of the next record
        self._waiting: dict[object, int] = {}  # the number of the first record that each has not published
        self._connections = 0
        self._base: int | None = None  # that of the newest event; the first one is preceded by its base
        self.recorded: dict[str, list[Use]] = {}
        """All uses of a recording that is replayed, by name."""
        self.subscriptions: Mapping[Subscription, int] | None = None
        """All that was subscribed to in a recording that is replayed, with its first time, in ns; None live."""
        self._uses: dict[str, list[Use]] = {}
        self._users: dict[str, Callable[[Use], object]] = {}
        self.restarted = Observers()
        """Called on the network's thread before a replay begins anew."""
        self.latest_before = 0
        """Until the newest correction of the clock, no event was later than this, in ns since the epoch."""
        self.sessions: list[Any] = []
        """All sessions of a live feed, in the order in which they were made."""
        self.first_routes: dict[Subscription, Any] = {}
        """Of each subscription of a live feed the route that it began with; None where that was removed since."""
        self.counted: dict[Subscription, Counter[CountedAs]] = {}
        """Of each subscription of a live feed, the messages without a record."""
        self.ticked: Callable[[], object] = lambda: None
        """Called on the network's thread after each tick of a session, between two events."""
        self.late = Observers()
        """Called where something begins in a replay after events that it needed: it is to begin anew."""

    def take(self, count: int, by: object = None) -> int:
        """Number `count` records; return the number of the first. `by` has them until it calls `published`."""
        first = self.next
        if by is not None and by not in self._waiting:
            self._waiting[by] = first
        self.next += count
        return first

    def published(self, by: object) -> None:
        """Note that readers see all that `by` has taken."""
        self._waiting.pop(by, None)

    @property
    def complete(self) -> int:
        """The number up to which readers see all records, but for those that wait for a backfill. Any thread."""
        end = self.next  # first: records that are numbered later are not missed
        return min([end, *self._waiting.values()]) - 1

    def new_connection(self) -> int:
        """Return the number of a new connection among all of the feed, from 1; 0 stands for the feed itself."""
        self._connections += 1
        return self._connections

    @property
    def now(self) -> int:
        """The market time of what takes effect, else of the newest event or instant, in ns since the epoch.

        The same in a replay, at the same place in the order of events.
        """
        return self.clock.held or self.timer.now or self.clock.now_ns()

    @property
    def is_noting(self) -> bool:
        """Whether events are added to a journal."""
        return bool(self.journals)

    def note(self, connection: int, what: str, body: bytes = b"") -> None:
        """Add an event to the journals, before it takes effect: at the time at which the clock is held, or now."""
        if self.journals:
            self.note_all(connection, what, (body,), (0,))

    def note_all(self, connection: int, what: str, bodies: Sequence[bytes], ahead: Sequence[int]) -> None:
        """Add several events, each with how many records are numbered before it that are not yet."""
        now, seq = self.clock.now_ns(), self.next
        if self.clock.base != self._base:
            self.latest_before = max(self.latest_before, now - self.clock.base + (self._base or self.clock.base))
            self._base = self.clock.base
            self.note(0, CLOCK, encode(self._base))
        if bodies:
            group = now, connection, what, [seq + before for before in ahead], bodies
            for journal in self.journals:
                journal.extend(group)

    def _note_clock(self) -> None:
        with self.moment():
            self.note_all(0, CLOCK, (), ())

    @contextmanager
    def event(self, connection: int, what: str, body: Any = None) -> Iterator[int]:  # noqa: ANN401 - JSON
        """Note an event with a body in JSON, None for none, and hold the clock at its time while it takes effect.

        Gives that time, in ns since the epoch. An event in another one has the time of that.
        """
        with self.moment() as received:
            if self.journals:
                self.note(connection, what, b"" if body is None else encode(body))
            yield received

    @contextmanager
    def moment(self) -> Iterator[int]:
        """Do what is due, then hold the clock at now while something takes effect; gives that time in ns.

        Within an event or another moment, it is of the same time.
        """
        clock = self.clock
        before = clock.held
        received = clock.now_ns()
        if before is None:
            self.timer.run(received)
        clock.held = received
        try:
            yield received
        finally:
            clock.held = before

    def use(self, use: Use) -> None:
        """Have something computed begin, or use more, from this event on. The network's thread only."""
        with self.event(0, USE, use):
            self._uses.setdefault(use.name, []).append(use)
            user = self._users.get(use.name)
            if user is not None:
                user(use)

    def annotate(self, text: str) -> None:
        """Mark this moment with a text of the user. The network's thread only."""
        with self.event(0, ANNOTATION, text) as received:
            self.annotations = (*self.annotations[-MOST_ANNOTATIONS + 1 :], (received, text))

    def used_by(self, name: str, user: Callable[[Use], object]) -> None:
        """Call `user` at each use of that name; of a replay also at those before now. The network's thread only."""
        self._users[name] = user
        for use in (uses := self._uses.get(name, ()) if self.is_replay else ()):
            user(use)
        if uses:
            self.on_late()

    def on_late(self) -> None:
        """Have a replay begin anew and come back to here. The network's thread only."""
        self.late.notify()

    def restart(self) -> None:
        """Forget all that is due, asked or used, because a replay begins anew. The network's thread only."""
        self.timer.restart()
        self.answers.restart()
        self._waiting.clear()
        self._uses.clear()
        self.annotations = ()
        self.restarted.notify()

    @property
    def is_resumable(self) -> bool:
        """Whether nothing computed, such as equity, has to begin anew with a replay."""
        return not any(True for _ in self.restarted)

    def checkpoint(self) -> Checkpoint | None:
        """Return a copy of the state; None where something computed begins anew with a replay, is due or was asked."""
        if not self.is_resumable or self.timer.is_waiting or self.answers.is_waiting:
            return None
        own = super().checkpoint() or {}
        return {**own, "clock": self.clock.base, "now": self.timer.now, "answers": self.answers.checkpoint()}

    def noted(self, counted: object = None) -> Checkpoint:  # noqa: ARG002
        """Return what a recording notes of a live feed's state, without answers, which are in the recording."""
        own = {name: getattr(self, name) for name in self.STATE}
        return {**own, "_base": None, "clock": self.clock.base, "now": self.timer.now}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from the state of an earlier moment. The network's thread only."""
        self.restart()
        super().resume(checkpoint)
        self.clock.base = checkpoint["clock"]
        self.timer.resume(checkpoint["now"])
        self.answers.resume(checkpoint["answers"])

    def soon(self, work: Callable[[], object]) -> None:
        """Do short work at once on the network's thread, else as `do`; any thread may call."""
        if Background.shared().is_current():
            work()
        else:
            self.do(work)

    def do(self, work: Callable[[], T]) -> Future[T]:
        """Do short work on the network's thread, in a moment of its own; any thread may call."""

        def run() -> T:
            with self.moment():
                return work()

        return on_network(run)
