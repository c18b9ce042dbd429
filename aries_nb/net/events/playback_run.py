"""One pass through the events of a recording: sessions like those of a live feed, driven by events alone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec.json import decode, encode

from aries_nb.brokers import BrokerProtocol, Endpoint
from aries_nb.brokers.protocol import ResumableProtocol
from aries_nb.errors import UsageError
from aries_nb.model import Cause, Checkpoint, GapSink, Resumed, Subscription, TradeGap
from aries_nb.model.clock import elapsed
from aries_nb.model.journal import HOLE, Event, EventGroup, Hole, events_of
from aries_nb.net.events.answers import ANSWER, Answer
from aries_nb.net.events.arrivals import ANNOTATION, CLOCK, USE, Arrivals, Use
from aries_nb.net.events.replay_clock import ReplayClock
from aries_nb.net.intake import Route
from aries_nb.net.redaction import Redactor
from aries_nb.net.session_state import STATE, SessionState

__all__ = ["BURST_SECONDS", "NoGaps", "Passing", "PlaybackRun", "PlaybackSession", "RunState", "Upcoming", "replayed"]

Begin: TypeAlias = "tuple[RunState, Checkpoint] | None"
Passing: TypeAlias = Callable[[Iterable[Event], Iterable[Route], Begin], Coroutine[Any, Any, int]]
"""A function that passes events to the stores of these routes, as `replayed` does."""

MOST_RECORDS = 2**62
NEVER = 2**63 - 1
MARKET = "market"  # the endpoint whose missing trades are asked for
BURST_SECONDS = 0.02  # of events between two turns of the loop
_RECEIVED = {"frame", "more", "pong", "tick", "authenticate"}
_NO_TOKEN = "recorded"  # noqa: S105 - what a protocol logs in with where nothing is sent


class PlaybackSession(SessionState):
    """The session of a recorded connection, which passes recorded events."""

    def __init__(self, where: str, protocol: BrokerProtocol, gaps: GapSink, arrivals: Arrivals, number: int) -> None:
        super().__init__(where, protocol, gaps, arrivals, number=number, connection=0, redact=Redactor())

    def wait_open(self, timeout: float) -> None:
        """Return at once: a replay waits for no connection."""

    def checkpoint(self) -> Checkpoint:
        """Return a copy of the state of session and protocol. Raises TypeError for a protocol that has none."""
        parts = {name: part.checkpoint() for name, part in self._parts.items()}
        return {"own": super().checkpoint(), "protocol": deepcopy(self._protocol), **parts}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from the state of an earlier moment, but for the protocol, with which the session was made."""
        super().resume(checkpoint["own"])
        for name, part in self._parts.items():
            part.resume(checkpoint[name])

    @property
    def is_open(self) -> bool:
        """Whether the session on this connection was opened."""
        return self._is_live

    def begun(self, made: int, before: PlaybackSession | None) -> None:
        """Begin as a session that was made at a time in ns, 0 if unknown, and count from where `before` ended."""
        self._made, self._changes = made, 0
        if before is not None:
            self.intake.add_counts(before.intake)
            self.reconnects, self.renewals = before.reconnects, before.renewals

    def missed(self, reason: str) -> None:
        """Begin a gap where events are missing; one that lasts ends there, as it has another cause."""
        if self.state == "reconnecting":
            self._gap_tracker.split(reason, "recording")
        self.interrupted(reason, "recording")

    def note(self, state: tuple[int, int, int]) -> None:
        """Take over a state that was noted, of which no events are missing."""
        self._made, self._changes, _ = state

    def go_on(self, state: tuple[int, int, int]) -> bool:
        """Go on after events that are missing; return False where the connection or its streams were others by then."""
        made, changes, request_number = state
        if (made, changes) != (self._made, self._changes) or not isinstance(self._protocol, ResumableProtocol):
            return False
        self._protocol.missed(request_number)
        self._is_live = True
        self._completed()
        return True

    def play_frames(self, frames: Sequence[bytes]) -> None:
        """Pass frames that were received at the same time."""
        unread = deque(frames)
        while unread:
            self.take(unread, lambda: False)
            if self.intake.is_unfinished:  # its rest comes with the next event
                return

    def _begin_frame(self) -> int:
        return self._clock.now_ns()  # it is held at the time of the event, before which what was due is done

    def _end_frames(self) -> None:
        pass  # it stays there until all that was received at that time is taken

    def play(self, event: Event, routes_of: Callable[[Subscription], Sequence[Route]]) -> None:
        """Pass an event; `routes_of` gives the routes that are asked for of a subscription."""
        what, body = event.what, event.body
        if what == "frame":
            self.play_frames([body])
        elif what == "more":
            self.play_frames([b""])
        elif what == "tick":
            now = decode(body, type=float)
            self.tick(now)
            self.read_monitor.turn(None, now)
        elif what == "pong":
            self.ponged(decode(body, type=int))
        elif what == "subscribe":
            asked = decode(body, type=tuple[Subscription, ...])
            self.intake.attach([route for each in asked for route in routes_of(each)])
            for each in asked:
                self.rejected.pop(each, None)
            with suppress(UsageError):  # it was raised at that time, too
                self.request(asked)
        elif what == "unsubscribe":
            gone = decode(body, type=tuple[Subscription, ...])
            self.intake.detach([route for each in gone for route in self.intake.routes(each)])
            self.end(gone)
        elif what == "open":
            now = decode(body, type=float)
            self.connected(now)
            self.read_monitor.restart(now)
        elif what == "authenticate":
            self.authenticate(_NO_TOKEN, decode(body, type=float))
        elif what == "lost":
            reason, cause = decode(body, type=tuple[str, Cause])
            self.interrupted(reason, cause)
        elif what == "stall":
            self.suspect(decode(body, type=float))
        elif what == "expect":
            self.expect(decode(body, type=int))
        elif what == "failed":
            self.last_error = decode(body, type=str)
            self._observers.notify()
        elif what == "closed":
            self._gap_tracker.closed()
        self._protocol.outgoing()  # nothing is sent


class RunState(NamedTuple):
    """The state of a pass through the events at one of them.

    `sessions` has of each endpoint number and state of its sessions, `connections` the endpoint and place there of the
    session of each connection.
    """

    done: int
    latest: int
    sessions: Mapping[str, Sequence[tuple[int, Checkpoint]]]
    connections: Mapping[int, tuple[str, int]]
    torn: Mapping[int, bool]


class PlaybackRun:
    """One pass through the events from the first one on: the sessions, with the clock and the numbers of this pass.

    `gaps` returns where the gaps of a connection go, by the endpoint's name and the number of the connection there.
    """

    def __init__(
        self, endpoints: Mapping[str, Endpoint], arrivals: Arrivals, gaps: Callable[[str, int], GapSink], where: str
    ) -> None:
        self.arrivals = arrivals
        self.begun: Event | None = None  # the noted state behind which it began; None for the first event of all
        self.done = 0  # events since
        self.latest = 0  # time of an event, in ns
        self._new: Callable[..., PlaybackSession] = lambda name, number, protocol=None: PlaybackSession(
            where, protocol or endpoints[name].make(), gaps(name, number), self.arrivals, number
        )
        self.sessions: dict[str, list[PlaybackSession]] = {name: [self._new(name, 1)] for name in endpoints}
        self._by_connection: dict[int, PlaybackSession] = {}
        self._torn: dict[int, bool] = {}  # connections of which events are missing, and whether they were open
        self.on_session: Callable[[str, PlaybackSession], None] = lambda _name, _session: None
        self._fresh: dict[PlaybackSession, None] = {}  # those with unpublished records

    def play_frames(self, first: Event, bodies: Sequence[bytes]) -> None:
        """Pass frames of one connection that were received at the same time, of which `first` is the first event."""
        self.done += len(bodies)
        self.latest = max(self.latest, first.received)
        session = self._by_connection.get(first.connection)
        if session is None or first.connection in self._torn:
            return
        self.pass_time(first.received)
        with self._taking_effect(first):
            self._number(first)
            session.play_frames(bodies)
        self._fresh[session] = None

    def play(self, event: Event, routes_of: Callable[[Subscription], Sequence[Route]]) -> None:
        """Pass an event. Readers see its records after `publish`."""
        self.done += 1
        self.latest = max(self.latest, event.received)
        if event.what == CLOCK:  # before what it passed over is done
            with self._taking_effect(event):
                self.arrivals.clock.base = decode(event.body, type=int)
        self.pass_time(event.received)
        with self._taking_effect(event):
            self._pass(event, routes_of)

    def _number(self, event: Event) -> None:
        """Give the next record the number that it had. Raises ValueError for a number that none can have."""
        if not 0 < event.seq < MOST_RECORDS:
            raise ValueError(f"its number is {event.seq}")
        self.arrivals.next = event.seq

    @contextmanager
    def _taking_effect(self, event: Event) -> Iterator[None]:
        """Hold the clock at the time of an event; one that cannot be read is missing from the recording."""
        clock = self.arrivals.clock
        clock.held = event.received
        try:
            yield
        except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
            self._miss(f"an event cannot be read ({error})")
        finally:
            clock.held = None

    def _pass(self, event: Event, routes_of: Callable[[Subscription], Sequence[Route]]) -> None:
        if event.what == HOLE:  # its number is that of the event before
            hole = Hole.of(event)
            self._miss(hole.reason)
            if hole.next_received is not None:  # days, perhaps: equity and bars look each second
                self.arrivals.timer.skip(hole.next_received)
            return
        self._number(event)
        if event.what == "session":
            self._begin(event, *decode(event.body, type=tuple[str, int]))
        elif event.what == "again":
            if event.connection not in self._by_connection:  # its beginning is missing
                name, number, running = decode(event.body, type=tuple[str, int, tuple[Subscription, ...]])
                self._begin(event, name, number)
                again = event._replace(what="subscribe", body=encode(running))
                self._by_connection[event.connection].play(again, routes_of)
        elif event.what == ANNOTATION:
            self.arrivals.annotate(decode(event.body, type=str))
        elif event.what == USE:
            self.publish()
            self.arrivals.use(decode(event.body, type=Use))
        elif event.what == ANSWER:
            self.publish()
            self.arrivals.answers.give(Answer.from_bytes(event.body))
        elif (session := self._by_connection.get(event.connection)) is not None:
            if event.what == "open":
                self._torn.pop(event.connection, None)
            elif event.what == STATE:
                self._take_state(event, session)
                return
            if event.connection not in self._torn or event.what not in _RECEIVED:
                session.play(event, routes_of)
                self._fresh[session] = None

    def _take_state(self, event: Event, session: PlaybackSession) -> None:
        state = decode(event.body, type=tuple[int, int, int])
        was_open = self._torn.get(event.connection)
        if was_open is None:
            session.note(state)
        elif was_open and session.go_on(state):
            del self._torn[event.connection]

    def pass_time(self, instant: int) -> None:
        """Do what is due before an instant, in ns; what was received is visible then."""
        timer = self.arrivals.timer
        if timer.is_new(instant):
            self.publish()
        timer.run(instant)

    def publish(self) -> None:
        """Make all records visible."""
        fresh, self._fresh = self._fresh, {}
        for session in fresh:
            session.publish()

    def running(self, subscription: Subscription) -> list[PlaybackSession]:
        """Return the sessions that have a subscription at this moment."""
        return [each for sessions in self.sessions.values() for each in sessions if subscription in each.running]

    def state(self) -> RunState:
        """Return a copy of the state, after `publish`. Raises TypeError for a protocol that cannot be copied."""
        places = {session: (name, at) for name, some in self.sessions.items() for at, session in enumerate(some)}
        return RunState(
            self.done,
            self.latest,
            {name: [(each.number, each.checkpoint()) for each in some] for name, some in self.sessions.items()},
            {number: places[session] for number, session in self._by_connection.items() if session in places},
            dict(self._torn),
        )

    def resume(self, state: RunState, routes_of: Callable[[Subscription], Sequence[Route]]) -> None:
        """Go on from the state of an earlier pass, with the routes that are asked for now; a new pass only."""
        self.done, self.latest, self._torn = state.done, state.latest, dict(state.torn)
        for name, some in state.sessions.items():
            resumed: list[PlaybackSession] = []
            for number, checkpoint in some:
                session = self._new(name, number, deepcopy(checkpoint["protocol"]))
                session.resume(checkpoint)
                session.intake.attach([route for each in session.running for route in routes_of(each)])
                resumed.append(session)
            self.sessions[name] = resumed
        self._by_connection = {
            number: self.sessions[name][place] for number, (name, place) in state.connections.items()
        }

    def _miss(self, reason: str) -> None:
        """Have all connections broken where events are missing, each until its state is known to be the same.

        That is where it was noted, or the connection was opened anew: what is received before could change values that
        are missing here. Without a known connection, that of the market is broken.
        """
        self.publish()
        known = list(self._by_connection.values())
        if not known:
            known = [next(iter(self.sessions.values()))[0]]
            known[0].state = "live"  # it may have been
        self._torn = {
            number: self._torn.get(number, session.is_open) for number, session in self._by_connection.items()
        }
        for session in known:
            session.missed(f"the recording has no events here ({reason})")

    def _begin(self, event: Event, name: str, number: int) -> None:
        sessions = self.sessions.get(name)
        if sessions is None:  # this version of the broker has no such endpoint
            return
        place = next((place for place, each in enumerate(sessions) if each.number == number), len(sessions))
        before: PlaybackSession | None = None
        if place == len(sessions) or sessions[place] in self._by_connection.values():
            new = self._new(name, number)  # of another process, where there was one before
            new.status_observers = sessions[0].status_observers
            before = sessions[place] if place < len(sessions) else None
            sessions[place:] = [new, *sessions[place + 1 :]]
            self.on_session(name, new)
        sessions[place].begun(event.received if event.what == "session" else 0, before)
        self._by_connection[event.connection] = sessions[place]
        self._torn.pop(event.connection, None)


class Upcoming:
    """The events that are still to be passed."""

    def __init__(self, groups: Iterable[EventGroup]) -> None:
        self._groups = iter(groups)
        self._group = next(self._groups, None)
        self._at = 0  # in the group
        self.next: Event | None = None if self._group is None else next(events_of(self._group))
        """The next one; None at the end."""

    def take(self, most: int) -> Sequence[bytes]:
        """Go on behind the next event, or also those of its group, `most` in all; return their bodies."""
        assert self._group is not None, "not called at the end"
        bodies = self._group[4][self._at : self._at + most]
        self._at += len(bodies)
        if self._at == len(self._group[4]):
            self._group, self._at = next(self._groups, None), 0
        self.next = None
        if self._group is not None:
            received, connection, what, seqs, those = self._group
            self.next = Event(seqs[self._at], received, connection, what, those[self._at])
        return bodies


async def replayed(
    events: Iterable[Event],
    endpoints: Mapping[str, Endpoint],
    gaps: Callable[[str, int], GapSink],
    routes: Iterable[Route],
    *,
    where: str,
    filling: Callable[[Arrivals], Callable[[TradeGap, Sequence[Route], GapSink], None]] | None = None,
    begin: tuple[RunState, Checkpoint] | None = None,
) -> int:
    """Pass events to the stores of these routes as fast as possible; return the number of the next record.

    The sessions and the arrivals `begin` in these states, None for the beginning of all.

    `filling` returns the function that is called with each gap in the numbered trades of the market's sessions. The
    other arguments are those of `Playback`.
    """
    wanted: dict[Subscription, list[Route]] = {}
    for route in routes:
        wanted.setdefault(route.subscription, []).append(route)
    run = PlaybackRun(endpoints, Arrivals(ReplayClock(0), is_replay=True), gaps, where)
    if begin is not None:
        run.arrivals.resume(begin[1])
        run.resume(begin[0], lambda subscription: wanted.get(subscription, ()))
    if filling is not None:
        fill = filling(run.arrivals)

        def filled(name: str, session: PlaybackSession) -> None:
            if name == MARKET:
                session.on_trade_gap = lambda gap, routes: fill(gap, routes, gaps(name, session.number))

        run.on_session = filled
        for session in run.sessions[MARKET]:
            filled(MARKET, session)
    until = elapsed() + BURST_SECONDS
    for event in events:
        run.play(event, lambda subscription: wanted.get(subscription, ()))
        if elapsed() > until:
            run.publish()
            await asyncio.sleep(0)
            until = elapsed() + BURST_SECONDS
    run.publish()
    run.pass_time(NEVER)  # what waits for an answer waits no more
    return run.arrivals.next


class NoGaps:
    """Takes no gaps: those of the past are known."""

    def opened(self, *, started: int, reason: str, cause: Cause) -> None:
        """Do nothing."""

    def closed(self, *, ended: int, resumed: Sequence[Resumed] = (), is_all: bool = False) -> None:
        """Do nothing."""
