"""Plays the events of a recording back, through the same sessions, protocols and stores as when they were received.

`Playback` reads the events in their order, at the pace of its clock, and passes each to the session of its connection.
What a user asks for is filled as if it had been asked for when the recording subscribed to it: events that are past are
passed once more, to this store alone.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import chain, dropwhile, islice
from typing import Protocol

import msgspec
from msgspec.json import decode

from aries_nb.brokers import Endpoint
from aries_nb.errors import ClosedError, FeedError, UsageError
from aries_nb.model import Checkpointed, GapSink, Kind, Observers, RecordSink, Rejected, Subscription, TradeGap
from aries_nb.model.clock import elapsed
from aries_nb.model.journal import FRAME, HOLE, Event, EventGroup, Hole, events_of
from aries_nb.net.background import Background
from aries_nb.net.events.answers import ANSWER, LISTED, Answer
from aries_nb.net.events.arrivals import CLOCK, USE, Arrivals, Use
from aries_nb.net.events.checkpoints import Checkpoints, Part, ReplayState
from aries_nb.net.events.noted_states import NotedStates, are_whole, by_store
from aries_nb.net.events.playback_run import (
    BURST_SECONDS,
    NoGaps,
    Passing,
    PlaybackRun,
    PlaybackSession,
    Upcoming,
    replayed,
)
from aries_nb.net.events.replay_clock import ReplayClock
from aries_nb.net.intake import Route

__all__ = ["Playback", "PlaybackPool", "Recorded"]

log = logging.getLogger("aries_nb")

ACCOUNT_KINDS: frozenset[Kind] = frozenset({"positions", "orders", "balances", "fills"})
FIRST_ANSWER_NS = 5_000_000_000  # the time in which the server answers a subscription
MOST_FRAMES = 500  # passed together
LEAST_SHARE = 200  # of a recording, for which a seek looks for noted states
LATE_SECONDS = 0.05
MOST_AGAIN = 3  # times that it begins anew for one subscription: what then is late is so each time
CATALOG = frozenset({"session", "subscribe", "again", "refused", USE, CLOCK, ANSWER})  # known when it is opened


class Recorded(Protocol):
    """The part of a recording that is played back: times of its first and last event in ns, and the events."""

    @property
    def first(self) -> int:
        """The time of the first event."""

    @property
    def last(self) -> int:
        """The time of the last event."""

    def groups(self, *, start: int | None = None) -> Iterable[EventGroup]:
        """Return all events from the first one on, or from the first at `start` (ns) or later, and a hole before it."""

    def events(self, *, whats: frozenset[str], start: int | None = None, until: int | None = None) -> Iterable[Event]:
        """Return at least holes and those of some kinds, with `until` (ns) at least those that are not later."""


class Playback:
    """Passes the events of a recording to the sessions of a feed, at the pace of its clock.

    `recorded` has the events, `endpoints` are the broker's by name, and `gaps` returns where the gaps of a connection
    go, given the endpoint's name and the number of the connection there; `parts` is what else has a state of events and
    no part in them, such as the log of gaps. Its methods may be called from any thread; a
    task of the network's thread plays.
    """

    def __init__(
        self,
        recorded: Recorded,
        endpoints: Mapping[str, Endpoint],
        gaps: Callable[[str, int], GapSink],
        *,
        where: str,
        parts: Iterable[Part] = (),
    ) -> None:
        self.parts = [*parts]
        self._checkpoints = Checkpoints(self.parts)
        self._notes = NotedStates(recorded, endpoints)
        self._groups, self._endpoints, self._gaps, self._where = recorded.groups, endpoints, gaps, where
        self.recorded: dict[Subscription, None] = {}
        asked_at: dict[Subscription, int] = {}
        first_asked: dict[Subscription, int] = {}
        listed: dict[str, bytes] = {}
        uses: list[Use] = []
        bases: list[int] = []
        self.first, self.last = recorded.first, recorded.last
        for event in recorded.events(whats=CATALOG):
            # What cannot be read is missing when it is played back, and said then.
            with suppress(msgspec.MsgspecError, ValueError, IndexError):
                if event.what == "again":
                    asked = decode(event.body, type=tuple[str, int, tuple[Subscription, ...]])[2]
                    self.recorded.update(dict.fromkeys(asked))
                elif event.what == "subscribe":
                    asked = decode(event.body, type=tuple[Subscription, ...])
                    self.recorded.update(dict.fromkeys(asked))
                    asked_at.update(dict.fromkeys(asked, event.received))
                    first_asked = dict.fromkeys(asked, event.received) | first_asked
                elif event.what == "refused":
                    for each in decode(event.body, type=tuple[Subscription, ...]):
                        if event.received - asked_at.get(each, 0) < FIRST_ANSWER_NS:  # a later one ends what there was
                            self.recorded.pop(each, None)
                elif event.what == ANSWER:
                    if (answer := Answer.from_bytes(event.body)).kind == LISTED:
                        listed[answer.key] = answer.bodies[0]
                    else:
                        self._notes.has_answers = True
                elif event.what == USE:
                    uses.append(decode(event.body, type=Use))
                elif event.what == CLOCK:
                    bases.append(decode(event.body, type=int))
                elif event.what == HOLE and Hole.of(event).next_seq is not None:
                    self._notes.give_up()  # they have what is missing here
        self.clock = ReplayClock(self.first)
        if bases:
            self.clock.base = bases[0]
        self.target: int | None = None
        """The moment that a seek is on its way to, in ns; None where there is none."""
        self.observers = Observers()
        """Called on the network's thread when the clock was paused, is to be moved, was moved or reached the end."""
        self._wanted: dict[Subscription, list[Route]] = {}
        self._background = Background.shared()
        self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.arrivals = Arrivals(self.clock, is_replay=True)
        self.arrivals.subscriptions = {each: first_asked.get(each, self.first) for each in self.recorded}
        self.arrivals.answers.listed = listed
        self.arrivals.late.add(self._late)
        self._is_late = False
        self.again: Passing = lambda past, routes, begin: replayed(
            past, endpoints, lambda _name, _number: NoGaps(), routes, where=where, begin=begin
        )
        """Passes events to the stores of these routes alone, for what is asked for late."""
        self.settled = threading.Event()
        """Set while nothing is passed once more: else what is read may be of before its time. Any thread may wait."""
        self.settled.set()
        self._again_left = MOST_AGAIN
        for use in uses:
            self.arrivals.recorded.setdefault(use.name, []).append(use)
        self._run = PlaybackRun(endpoints, self.arrivals, gaps, where)
        self._left = Upcoming(self._groups())
        self.pools = {name: PlaybackPool(self, name, where) for name in endpoints}
        self._run.on_session = self._new_session
        for name in endpoints:
            self._new_session(name, self._run.sessions[name][0])
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()  # of the task that plays, and of what moves in time
        self._player = self._background.submit(self._play())

    # Any thread.

    @property
    def is_over(self) -> bool:
        """Whether the last event has taken effect."""
        return self._left.next is None

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts of which tables were recorded, in the order of the recording."""
        return tuple(dict.fromkeys(each.symbol for each in self.recorded if each.kind in ACCOUNT_KINDS))

    def sessions(self, name: str) -> tuple[PlaybackSession, ...]:
        """Return the sessions of an endpoint at this moment."""
        return tuple(self._run.sessions[name])

    # What moves the clock returns at once; the future ends when it is there.

    def play(self, speed: float | None = None) -> Future[None]:
        """Go on from this moment, at `speed` times the pace of the recording, `inf` for as fast as possible.

        None is the speed as before.
        """
        return self._do(self._paced(is_playing=True, speed=speed))

    def pause(self) -> Future[None]:
        """Stand still at this moment."""
        return self._do(self._paced(is_playing=False))

    def set_speed(self, speed: float) -> Future[None]:
        """Play at another speed, now or from the next `play` on."""
        return self._do(self._paced(speed=speed))

    def seek(self, instant: int) -> Future[None]:
        """Go to a moment (ns since the epoch): all events until then have taken effect, and none after it.

        Another seek that is asked for before it is there takes its place.
        """
        if instant // 1_000 == self.last // 1_000:  # users see microseconds
            instant = self.last
        self.target = instant
        return self._do(self._seek(instant))

    def advance(self, span: int) -> Future[None]:
        """Go on by a span in ns, from where a seek is on its way to, and stand still there."""
        return self._do(self._advance(span))

    def step(self, frames: int) -> Future[None]:
        """Go on by so many received frames, and stand still there."""
        return self._do(self._step(frames))

    def subscribe(self, routes: Sequence[Route]) -> Future[dict[Subscription, Rejected]]:
        """Fill the stores of these routes as if they had been there when the recording subscribed.

        The future has the subscriptions that were refused in the recording. Raises UsageError, with a list of what was
        recorded, for one that was not.
        """
        missing = [route.subscription for route in routes if route.subscription not in self.recorded]
        if missing:
            raise self._not_recorded(missing)
        return self._background.submit(self._subscribe(routes))

    def unsubscribe(self, routes: Sequence[Route]) -> Future[None]:
        """Fill the stores of these routes no more."""
        return self._background.submit(self._unsubscribe(routes))

    def _do(self, work: Coroutine[object, object, None]) -> Future[None]:
        if self._is_closed:
            work.close()
            raise ClosedError("the replay is closed", where=self._where, advice="Call `anb.replay` again.")
        return self._background.submit(work)

    def close(self) -> None:
        """End the replay; idempotent."""
        self._is_closed = True
        self._player.cancel()
        self.settled.set()
        for session in chain.from_iterable(self._run.sessions.values()):
            session.state = "closed"

    # The network's thread.

    async def _play(self) -> None:
        try:
            while not self._is_closed:
                self._changed.clear()
                event = self._left.next
                wait = None if event is None else self.clock.wait_s(event.received)
                if wait == 0.0:
                    async with self._turn:
                        await self._passed_some(lambda event: self.clock.wait_s(event.received) != 0.0)
                    if self.is_over:
                        self.clock.run(is_playing=False, speed=self.clock.speed)
                        self.observers.notify()
                    await asyncio.sleep(0)
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), wait)
        except Exception as error:  # a defect: what the feed shows stands still, and says why
            log.exception("the replay ended")
            self.clock.run(is_playing=False, speed=self.clock.speed)
            for session in chain.from_iterable(self._run.sessions.values()):
                session.failed(FeedError(f"the replay ended: {error!r}", where=self._where))
            self.observers.notify()

    def _burst(self, is_enough: Callable[[Event], bool], *, is_step: bool = False) -> bool:
        """Pass events for 20 ms, or until one of which `is_enough`; return whether it came to such a one, or the end.

        What they say is visible then. Frames that were received together are passed together, unless `is_step`:
        `is_enough` is asked of the first of them alone.
        """
        begun = elapsed()
        until = begun + BURST_SECONDS
        run = self._run
        try:
            while (event := self._left.next) is not None and not is_enough(event):
                if event.what == FRAME and not is_step:
                    run.play_frames(event, self._left.take(MOST_FRAMES))
                else:
                    run.play(event, self._routes_of)
                    self._left.take(1)
                self.clock.reached(event.received)
                if elapsed() > until:
                    return False
            return True
        finally:
            run.publish()
            upcoming = self._left.next
            self.clock.limit = self.last if upcoming is None else upcoming.received
            if self._checkpoints.passed(elapsed() - begun) and upcoming is not None:
                self._checkpoints.take(self.arrivals, run, self._stores, upcoming.received)

    async def _until(self, is_enough: Callable[[Event], bool], *, is_step: bool = False) -> None:
        """Pass events until one of which `is_enough`, or the end, and let the loop run in between."""
        while not await self._passed_some(is_enough, is_step=is_step):  # noqa: ASYNC110 - there is nothing to wait for
            await asyncio.sleep(0)

    async def _passed_some(self, is_enough: Callable[[Event], bool], *, is_step: bool = False) -> bool:
        """Pass events as `_burst` does; where what a stranger noted fails, all events until here once more."""
        try:
            return self._burst(is_enough, is_step=is_step)
        except Exception:  # the border: what a stranger noted
            if self._run.begun is None:
                raise
            self._distrust_notes()
            await self._pass_again()
            return False

    def _routes_of(self, subscription: Subscription) -> Sequence[Route]:
        return self._wanted.get(subscription, ())

    async def _paced(self, *, is_playing: bool | None = None, speed: float | None = None) -> None:
        clock = self.clock
        is_wanted = clock.is_playing if is_playing is None else is_playing
        clock.run(is_playing=is_wanted and not self.is_over, speed=clock.speed if speed is None else speed)
        self._changed.set()
        self.observers.notify()

    async def _seek(self, instant: int) -> None:
        self.observers.notify()
        async with self._turn:
            if self.target != instant:
                return
            try:
                await self._go(instant)
                if self.target == instant:
                    self._run.pass_time(instant + 1)
                    self.clock.move(min(max(instant, self.clock.position), self.last))
                    if self.is_over:
                        self.clock.run(is_playing=False, speed=self.clock.speed)
            finally:
                if self.target == instant:
                    self.target = None
        self._changed.set()
        self.observers.notify()

    async def _go(self, instant: int) -> None:
        """Pass all events until a moment: from the newest known state before it on, or from now, or from the beginning.

        Where a noted state has less than was hoped for, all events are passed.
        """
        is_there: Callable[[Event], bool] = lambda event: event.received > instant or self.target != instant  # noqa: E731
        is_back = instant < self.clock.position
        known = self._checkpoints.before(instant, self.arrivals)
        if known is not None and not is_back and known.latest <= self._run.latest:
            known = None
        noted = self._noted(instant, known.latest if known else self.first if is_back else self.clock.position)
        try:
            if (found := noted or known) is not None:
                self._resume(found)
            elif is_back:
                self._restart()
        except Exception:  # the border: what a stranger noted
            if noted is None:
                raise
            self._distrust_notes()
            self._restart()
        await self._until(is_there)
        if self.target == instant and not are_whole(self._stores):
            self._restart()
            await self._until(is_there)

    def _distrust_notes(self) -> None:
        """Begin nowhere but at the first event from now on; within an `except`."""
        log.info("a noted state cannot be used", exc_info=True)
        self._notes.give_up()
        self._checkpoints.clear()  # some may be of events behind it

    def _noted(self, instant: int, since: int) -> ReplayState | None:
        """Return a noted state before an instant, if that is far ahead of `since`, and all is the same from there."""
        stores = self._stores
        resumable = [self.arrivals, *stores]
        is_far = (instant - since) * LEAST_SHARE > self.last - self.first
        if not is_far or not all(isinstance(each, Checkpointed) and each.is_resumable for each in resumable):
            return None
        found = self._notes.before(instant, stores)
        if found is None or found[0].latest <= since or len(found[0].parts) != len(self.parts):
            return None
        state, checkpoints = found
        arrivals = self._notes.arrivals(state)
        return ReplayState(state.latest, None, state.event, arrivals, state.run, state.parts, checkpoints, 0)

    @property
    def _stores(self) -> dict[RecordSink, list[Route]]:
        """All stores that are filled, with their routes."""
        return by_store(chain.from_iterable(self._wanted.values()))

    def _late(self) -> None:
        """Begin anew and come back to here, for what was asked for after events that it needed in their places."""
        if not self._is_late and self._again_left:
            self._is_late = True
            self.settled.clear()
            self._again_left -= 1
            task = asyncio.get_running_loop().create_task(self._again())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _again(self) -> None:
        try:
            await asyncio.sleep(LATE_SECONDS)  # what is asked for together is passed together
            async with self._turn:
                self._is_late = False
                await self._pass_again()
        finally:
            if not self._is_late:
                self.settled.set()
        self._changed.set()
        self.observers.notify()

    async def _pass_again(self) -> None:
        """Pass all events until here once more, from the first one on."""
        begun, done, position = self._run.begun, self._run.done, self.clock.now_ns()
        self._restart()
        if begun is not None:
            await self._until(lambda event: event == begun, is_step=True)
            done += self._run.done + 1
        await self._until(lambda _: self._run.done >= done, is_step=True)
        self._run.pass_time(position + 1)
        self.clock.move(position)

    async def _advance(self, span: int) -> None:
        self.clock.run(is_playing=False, speed=self.clock.speed)
        at = self.clock.now_ns() if self.target is None else self.target
        self.target = instant = min(at + span, self.last)
        await self._seek(instant)

    async def _step(self, frames: int) -> None:
        async with self._turn:
            self.clock.run(is_playing=False, speed=self.clock.speed)
            left = frames

            def is_enough(event: Event) -> bool:
                nonlocal left
                if not left:
                    return True
                left -= event.what == "frame"
                return False

            await self._until(is_enough, is_step=True)
        self.observers.notify()

    def _restart(self) -> None:
        """Begin anew before the first event: all stores that are filled are empty."""
        self._know_nothing()
        for store in self._stores:
            store.restart()
        self.clock.move(self.first)
        self._checkpoints.restart()
        self.arrivals.restart()  # after the stores: what their change asks for is of before
        self._new_run()
        self._left = Upcoming(self._groups())

    def _resume(self, state: ReplayState) -> None:
        """Go on from an earlier state, or a later one that is known."""
        self._know_nothing()
        self.clock.move(state.latest)
        self._checkpoints.resume(state, self.arrivals)
        self._new_run(state)
        following = state.following
        if following is not None:
            self._left = Upcoming(dropwhile(lambda group: group[0] < following, self._groups(start=following)))
        elif state.begun is not None:
            self._left = Upcoming(self._notes.behind(state.begun))

    def _know_nothing(self) -> None:
        """Have no record be there, before the stores change: what is computed of several waits until they are done."""
        self.arrivals.next = 1

    def _new_run(self, state: ReplayState | None = None) -> None:
        old = self._run
        run = PlaybackRun(self._endpoints, self.arrivals, self._gaps, self._where)
        run.on_session = self._new_session
        if state is not None:
            run.resume(state.run, self._routes_of)
            run.begun = state.begun
        self._run = run
        for name, sessions in run.sessions.items():
            for session in sessions:
                session.status_observers = old.sessions[name][0].status_observers
                self._new_session(name, session)

    def _new_session(self, name: str, session: PlaybackSession) -> None:
        pool = self.pools[name]
        session.watch(pool.observers.notify)
        session.on_trade_gap = lambda gap, routes: pool.on_trade_gap(session.number, gap, routes)

    async def _subscribe(self, routes: Sequence[Route]) -> dict[Subscription, Rejected]:
        self._again_left = MOST_AGAIN
        async with self._turn:
            self._checkpoints.clear()  # they know nothing of these stores
            await self._catch_up(routes)
            refused: dict[Subscription, Rejected] = {}
            for route in routes:
                self._wanted.setdefault(route.subscription, []).append(route)
                for session in self._run.running(route.subscription):
                    session.intake.attach([route])
                    if route.subscription in session.rejected:
                        refused[route.subscription] = session.rejected[route.subscription]
        return refused

    async def _catch_up(self, routes: Sequence[Route]) -> None:
        """Pass the events until now once more, to the stores of these routes alone."""
        stores, begun = by_store(routes), self._run.begun
        found = None if begun is None else self._notes.before(begun.received, stores)
        if found is not None:
            state, checkpoints = found
            try:
                for store, checkpoint in checkpoints.items():
                    if checkpoint is not None and isinstance(store, Checkpointed):
                        store.resume(checkpoint)
                await self.again(self._passed(state.event), routes, (state.run, self._notes.arrivals(state)))
                if are_whole(stores):
                    return
            except Exception:  # the border: what a stranger noted
                self._distrust_notes()
            for store in stores:
                store.restart()
        await self.again(self._passed(None), routes, None)

    def _passed(self, since: Event | None) -> Iterator[Event]:
        """Yield the events until now, those behind a noted state, or all."""
        events = chain.from_iterable(map(events_of, self._groups() if since is None else self._notes.behind(since)))
        begun = self._run.begun
        if begun is not None and begun != since:
            for event in events:
                yield event
                if event == begun:
                    break
        yield from islice(events, self._run.done)

    async def _unsubscribe(self, routes: Sequence[Route]) -> None:
        for route in routes:
            wanted = self._wanted.get(route.subscription, [])
            if route in wanted:
                wanted.remove(route)
            for sessions in self._run.sessions.values():
                for session in sessions:
                    session.intake.detach([route])

    def _not_recorded(self, missing: Sequence[Subscription]) -> UsageError:
        one = missing[0]
        has = sorted({each.symbol for each in self.recorded if each.kind == one.kind})
        kinds = sorted({each.kind for each in self.recorded})
        what = f"{one.kind.replace('_', ' ')} of {', '.join(dict.fromkeys(each.symbol for each in missing))}"
        if one.symbol in has:
            of = [each for each in self.recorded if (each.kind, each.symbol) == (one.kind, one.symbol)]
            fields = " or ".join(", ".join(each.fields) for each in of)
            return UsageError(
                f"{what} were not recorded with these fields", where=self._where, advice=f"Ask for: {fields}."
            )
        listed = f"Of {one.kind} it has {', '.join(has)}." if has else f"It has {', '.join(kinds)}."
        return UsageError(f"{what} were not recorded", where=self._where, advice=listed)


class PlaybackPool:
    """The sessions of one endpoint of a replay, with the methods of `SessionPool`. Any thread."""

    def __init__(self, playback: Playback, name: str, where: str) -> None:
        self._playback, self._name = playback, name
        self.url = where
        self.observers = Observers()
        self.on_trade_gap: Callable[[int, TradeGap, Sequence[Route]], None] = lambda _number, _hole, _streams: None

    @property
    def sessions(self) -> tuple[PlaybackSession, ...]:
        """The sessions at this moment of the replay, the first one of the endpoint first."""
        return self._playback.sessions(self._name)

    def number_of(self, route: Route) -> int:
        """Return the number of the connection that serves a route, counted from 1; 1 for one that is not subscribed."""
        running = (each.number for each in self.sessions if route.subscription in each.running)
        return next(running, 1)

    def subscribe(self, routes: Iterable[Route]) -> list[Future[dict[Subscription, Rejected]]]:
        """Fill the stores of these routes; see `Playback.subscribe`."""
        return [self._playback.subscribe(list(routes))]

    def unsubscribe(self, routes: Iterable[Route]) -> list[Future[None]]:
        """Fill the stores of these routes no more."""
        return [self._playback.unsubscribe(list(routes))]

    def settle(self, timeout: float) -> None:
        """Wait until nothing is passed once more, so that what is read is of one moment."""
        self._playback.settled.wait(timeout)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the network's thread whenever the state of a connection changes.

        Returns a function that ends the calls.
        """
        return self.observers.add(callback)

    def close(self) -> None:
        """End the replay: all endpoints of it."""
        self._playback.close()
