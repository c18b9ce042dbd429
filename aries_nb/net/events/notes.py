"""States of a feed that are noted in its recordings from time to time, so that a replay may begin at one of them.

Such a state has the sessions with their protocols, the log of gaps, and what is known of frames and books; the rows
that frames got since the state before are noted where they are few. It is only a means to be quick: a recording without
states, with damaged ones or those of another version plays from its beginning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import NamedTuple
from weakref import WeakKeyDictionary

from aries_nb.brokers import Endpoint
from aries_nb.model import Checkpoint, Checkpointed, RecordSink, Subscription
from aries_nb.model.clock import elapsed, worked
from aries_nb.model.journal import Event
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.playback_run import RunState
from aries_nb.net.events.state_codec import UnknownStateError, pack, unpack
from aries_nb.net.intake import Route

__all__ = ["NOTED", "ROWS", "NotedState", "StateNotes"]

log = logging.getLogger("aries_nb")

NOTED = "noted"
"""The event of a state that is noted: what `pack` makes of it. It changes nothing."""

ROWS = "rows"
"""The event of the rows that stores got since they were noted before, of those that got few. It changes nothing."""

MOST_ROWS = 20_000  # that are noted together
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
        self._numbers: WeakKeyDictionary[RecordSink, int] = WeakKeyDictionary()
        self._free_numbers = count()  # none is used again: rows of a store that is gone may be there
        self._rows_from: WeakKeyDictionary[RecordSink, int] = WeakKeyDictionary()
        self._rows_noted: WeakKeyDictionary[RecordSink, int] = WeakKeyDictionary()
        arrivals.ticked = self._look

    def _look(self) -> None:
        arrivals = self._arrivals
        if self._is_over or arrivals.next < self._noted + self.every or not self._is_wanted():
            return
        if elapsed() < self._not_before:
            return
        begun = worked()
        try:
            self.note()
        except Exception as error:  # the border: it is only to be quick, and the connection goes on
            self._is_over = True
            log.info("seeks in this recording take longer: %s", error)
        self._not_before = elapsed() + (worked() - begun) / COST_SHARE

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
            state: dict[str, object] = {
                "latest": max(now, arrivals.latest_before),
                "arrivals": arrivals.noted(),
                "parts": parts,
                "sessions": sessions,
                "unknown": unknown,
            }
            if rows := self._rows([sink for sink, _, _ in stores]):
                arrivals.note(0, ROWS, pack(rows))
            state["stores"] = [
                (self._numbers[sink], codes, noted, self._rows_from[sink], self._rows_noted[sink])
                for sink, codes, noted in stores
            ]
            arrivals.note(0, NOTED, pack(state))
            self._noted = arrivals.next

    def _rows(self, sinks: Sequence[RecordSink]) -> list[tuple[int, object]]:
        """Return the rows of those stores that had few since they were noted, with the numbers of the stores."""
        found: list[tuple[int, object]] = []
        left = MOST_ROWS
        for sink in sinks:
            number = self._numbers.get(sink)
            if number is None:
                number = self._numbers[sink] = next(self._free_numbers)
            if isinstance(sink, Checkpointed):
                since = self._rows_noted.get(sink, 0)
                self._rows_noted[sink], rows = sink.recent(since)
                left -= self._rows_noted[sink] - since if rows is not None else 0
                if rows is not None and left >= 0:
                    found.append((number, rows))
                    self._rows_from.setdefault(sink, 0)
                else:
                    self._rows_from[sink] = self._rows_noted[sink]
        return found

    def _stores(self) -> tuple[list[tuple[RecordSink, Mapping[Subscription, int], object]], list[Subscription]]:
        """Return each store, its subscriptions with their codes there, and its state; and what is not known."""
        routes: dict[RecordSink, dict[Subscription, int]] = {}
        unknown: list[Subscription] = []
        for subscription, route in self._arrivals.first_routes.items():
            if route is None:
                unknown.append(subscription)
            else:
                routes.setdefault(route.sink, {})[subscription] = route.code
        found: list[tuple[RecordSink, Mapping[Subscription, int], object]] = []
        for sink, codes in routes.items():
            counts = self._arrivals.counted
            counted = {code: counts[each] for each, code in codes.items() if each in counts}
            state = sink.noted(counted) if isinstance(sink, Checkpointed) else None
            if state is None:
                unknown += codes
            else:
                found.append((sink, codes, state))
        return found, unknown


class NotedStore(NamedTuple):
    """What was noted of a store: its number, its codes, its state; its rows from one up to another are in `ROWS`."""

    number: int
    codes: Mapping[Subscription, int]
    noted: object
    rows_from: int
    rows_until: int


class NotedState(NamedTuple):
    """A state as it was noted. `of` raises UnknownStateError for one that cannot be used."""

    event: Event
    latest: int
    arrivals: Checkpoint
    parts: Sequence[Checkpoint]
    run: RunState
    stores: Sequence[NotedStore]
    unknown: frozenset[Subscription]

    @classmethod
    def of(cls, event: Event, endpoints: Mapping[str, Endpoint]) -> NotedState:
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
                if type(number) is not int or type(checkpoint["protocol"]) is not type(endpoints[name].make()):
                    raise UnknownStateError("a state of sessions of another kind")
                connections[int(connection)] = name, len(some)
                some.append((number, checkpoint))
            latest, arrivals = state["latest"], state["arrivals"]
            numbers = latest, arrivals["next"], arrivals["clock"], arrivals["now"]
            if not all(type(number) is int for number in numbers) or arrivals["next"] != event.seq:
                raise UnknownStateError("a state with impossible numbers")
            run = RunState(0, latest, sessions, connections, {})
            stores = [
                NotedStore(int(a), dict(codes), noted, int(b), int(c)) for a, codes, noted, b, c in state["stores"]
            ]
            return cls(event, latest, arrivals, list(state["parts"]), run, stores, frozenset(state["unknown"]))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise UnknownStateError(f"a state that cannot be used: {error}") from error

    @property
    def records(self) -> int:
        """The number of the next record."""
        return int(self.arrivals["next"])

    def checkpoints(self, routes: Mapping[RecordSink, Sequence[Route]]) -> dict[RecordSink, Checkpoint | None] | None:
        """Return a checkpoint for each of these stores, None for one that was empty; None where any is not known."""
        found: dict[RecordSink, Checkpoint | None] = {}
        for store, some in routes.items():
            used, places = self._places(some)
            if not isinstance(store, Checkpointed) or used is None:
                return None
            notes, rows_from = [self.stores[at].noted for at in used], [self.stores[at].rows_from for at in used]
            checkpoint = store.from_notes(notes, places, self.latest, rows_from)
            if used and checkpoint is None:
                return None
            found[store] = checkpoint if used else None
        return found

    def _places(self, routes: Sequence[Route]) -> tuple[Sequence[int] | None, list[tuple[int, int] | None]]:
        """Return which noted stores have the subscriptions of a store, None where that is not known, and their places.

        For each symbol the place in that sequence, and the code in that store; None for one without rows yet.
        """
        ordered = sorted(routes, key=lambda route: route.code)
        is_known = self.unknown.isdisjoint(route.subscription for route in ordered)
        if not is_known or [route.code for route in ordered] != [*range(len(ordered))]:
            return None, []
        place_of = {each: (at, code) for at, known in enumerate(self.stores) for each, code in known.codes.items()}
        found = [place_of.get(route.subscription) for route in ordered]
        used = sorted({place[0] for place in found if place})
        return used, [(used.index(place[0]), place[1]) if place else None for place in found]

    def stores_with_rows(self, routes: Mapping[RecordSink, Sequence[Route]]) -> dict[int, int]:
        """Return the numbers of the stores of which rows are noted that these need, with the first row of each."""
        used = {at for some in routes.values() for at in self._places(some)[0] or ()}
        known = [self.stores[at] for at in used]
        return {each.number: each.rows_from for each in known if each.rows_from < each.rows_until}

    def with_rows(
        self,
        routes: Mapping[RecordSink, Sequence[Route]],
        checkpoints: Mapping[RecordSink, Checkpoint | None],
        pieces: Mapping[int, Sequence[object]],
    ) -> dict[RecordSink, Checkpoint | None]:
        """Return these checkpoints with the rows of `ROWS`, in order, by the number of the store."""
        found = dict(checkpoints)
        for store, checkpoint in checkpoints.items():
            used, places = self._places(routes[store])
            if checkpoint is not None and used and isinstance(store, Checkpointed):
                known = [self.stores[at] for at in used]
                notes, some = [each.noted for each in known], [pieces.get(each.number, ()) for each in known]
                try:
                    found[store] = store.with_rows(checkpoint, notes, places, some)
                except (ValueError, TypeError, LookupError) as error:
                    raise UnknownStateError(f"rows that cannot be used: {error}") from error
        return found
