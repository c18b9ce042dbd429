"""States of a feed that are noted in its recordings from time to time, so that a replay may begin at one of them.

Such a state has the sessions with their protocols, the log of gaps, and what is known of frames and books without their
rows. It is only a means to be quick: a recording without states, with damaged ones or those of another version plays
from its beginning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from aries_nb.model import Checkpoint, Checkpointed, RecordSink, Subscription
from aries_nb.model.clock import elapsed
from aries_nb.model.journal import Event
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.playback_run import RunState
from aries_nb.net.events.state_codec import UnknownStateError, pack, unpack
from aries_nb.net.intake import Route

__all__ = ["NOTED", "NotedState", "StateNotes"]

log = logging.getLogger("aries_nb")

NOTED = "noted"
"""The event of a state that is noted: what `pack` makes of it. It changes nothing."""

EVERY_RECORDS = 50_000
COST_SHARE = 0.01  # of the time


class StateNotes:
    """Notes the state of a live feed in its journals, about every 50,000 records, while `is_wanted`.

    `parts` are those of `Playback`, in the same order. Where anything cannot be noted, as that of an adapter's protocol
    or of very many streams, nothing is noted from then on. The network's thread only.
    """

    def __init__(self, arrivals: Arrivals, parts: Sequence[Checkpointed], is_wanted: Callable[[], bool]) -> None:
        self._arrivals, self._parts, self._is_wanted = arrivals, parts, is_wanted
        self.every = EVERY_RECORDS
        self._noted = 0  # the number of the next record when it was noted
        self._not_before = 0.0
        self._is_over = False
        arrivals.ticked = self._look

    def _look(self) -> None:
        arrivals = self._arrivals
        if self._is_over or arrivals.next < self._noted + self.every or not self._is_wanted():
            return
        begun = elapsed()
        if begun < self._not_before:
            return
        try:
            self.note()
        except TypeError as error:
            self._is_over = True
            log.info("seeks in this recording take longer: %s", error)
        now = elapsed()
        self._not_before = now + (now - begun) / COST_SHARE

    def note(self) -> None:
        """Note the state at this moment, if it is one at which that is possible. Raises TypeError where it never is."""
        arrivals = self._arrivals
        for session in arrivals.sessions:
            session.publish()
        with arrivals.moment() as now:
            arrivals.note_all(0, NOTED, (), ())  # the clock's correction, if there is one, is before it
            parts = [part.noted() for part in self._parts]
            sessions = [(each.endpoint, each.number, each.connection, each.noted()) for each in arrivals.sessions]
            if None in parts or not all(state for *_, state in sessions):
                return  # soon again
            stores, unknown = self._stores()
            state = {
                "latest": max(now, arrivals.latest_before),
                "arrivals": arrivals.noted(),
                "parts": parts,
                "sessions": sessions,
                "stores": stores,
                "unknown": unknown,
            }
            arrivals.note(0, NOTED, pack(state))
            self._noted = arrivals.next

    def _stores(self) -> tuple[list[tuple[Mapping[Subscription, int], object]], list[Subscription]]:
        """Return of each store its subscriptions with their codes there, and its state; and what is not known."""
        routes: dict[RecordSink, dict[Subscription, int]] = {}
        unknown: list[Subscription] = []
        for subscription, route in self._arrivals.first_routes.items():
            if route is None:
                unknown.append(subscription)
            else:
                routes.setdefault(route.sink, {})[subscription] = route.code
        found: list[tuple[Mapping[Subscription, int], object]] = []
        for sink, codes in routes.items():
            counts = self._arrivals.counted
            counted = {code: counts[each] for each, code in codes.items() if each in counts}
            state = sink.noted(counted) if isinstance(sink, Checkpointed) else None
            if state is None:
                unknown += codes
            else:
                found.append((codes, state))
        return found, unknown


class NotedState(NamedTuple):
    """A state as it was noted. `of` raises UnknownStateError for one that cannot be used."""

    event: Event
    latest: int
    arrivals: Checkpoint
    parts: Sequence[Checkpoint]
    run: RunState
    stores: Sequence[tuple[Mapping[Subscription, int], object]]
    unknown: frozenset[Subscription]

    @classmethod
    def of(cls, event: Event, endpoints: Mapping[str, object]) -> NotedState:
        """Return the state that an event has."""
        state = unpack(event.body)
        try:
            sessions: dict[str, list[tuple[int, Checkpoint]]] = {}
            connections: dict[int, tuple[str, int]] = {}
            for name, number, connection, checkpoint in state["sessions"]:
                if name not in endpoints:
                    continue
                some = sessions.setdefault(name, [])
                if number in (known for known, _ in some) or (not some and number != 1):
                    raise UnknownStateError("a state of sessions in another order")
                connections[int(connection)] = name, len(some)
                some.append((number, checkpoint))
            latest, arrivals = state["latest"], state["arrivals"]
            numbers = latest, arrivals["next"], arrivals["clock"], arrivals["now"]
            if not all(type(number) is int for number in numbers) or arrivals["next"] != event.seq:
                raise UnknownStateError("a state with impossible numbers")
            run = RunState(0, latest, sessions, connections, {})
            stores = [(dict(codes), note) for codes, note in state["stores"]]
            return cls(event, latest, arrivals, list(state["parts"]), run, stores, frozenset(state["unknown"]))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise UnknownStateError(f"a state that cannot be used: {error}") from error

    @property
    def records(self) -> int:
        """The number of the next record."""
        return int(self.arrivals["next"])

    def checkpoints(self, routes: Mapping[RecordSink, Sequence[Route]]) -> dict[RecordSink, Checkpoint | None] | None:
        """Return a checkpoint for each of these stores, None for one that was empty; None where any is not known."""
        place_of = {each: (at, code) for at, (codes, _) in enumerate(self.stores) for each, code in codes.items()}
        found: dict[RecordSink, Checkpoint | None] = {}
        for store, some in routes.items():
            ordered = sorted(some, key=lambda route: route.code)
            subscriptions = [route.subscription for route in ordered]
            if not self.unknown.isdisjoint(subscriptions) or not isinstance(store, Checkpointed):
                return None
            if [route.code for route in ordered] != [*range(len(ordered))]:
                return None
            places = [place_of.get(each) for each in subscriptions]
            if not any(places):
                found[store] = None
                continue
            used = sorted({place[0] for place in places if place})
            own = [(used.index(place[0]), place[1]) if place else None for place in places]
            checkpoint = store.from_notes([self.stores[at][1] for at in used], own, self.event.received)
            if checkpoint is None:
                return None
            found[store] = checkpoint
        return found
