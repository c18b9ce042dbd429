"""Finds the noted states of a recording that is played back."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any, Protocol

import msgspec

from aries_nb.brokers import Endpoint
from aries_nb.errors import FeedError
from aries_nb.model import Checkpoint, Checkpointed, RecordSink
from aries_nb.model.journal import Event, EventGroup, events_of
from aries_nb.net.events.answers import ANSWER, LISTED, Answer
from aries_nb.net.events.notes import NOTED, ROWS, NotedState
from aries_nb.net.events.state_codec import MOST_BYTES, unpack
from aries_nb.net.intake import Route

__all__ = ["NotedStates", "are_whole", "by_store"]

log = logging.getLogger("aries_nb")

SPAN_SHARES = 64, 8, 1  # of the recording, before an instant, that are searched one after the other
MOST_ROW_BYTES = 128 << 20  # of the rows for one seek
MOST_TRIED = 40  # states that are read for one seek
MOST_HELD = 8 * MOST_BYTES  # of states that wait to be read


class _Recorded(Protocol):
    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...

    def groups(self, *, start: int | None = None) -> Iterable[EventGroup]: ...

    def events(
        self, *, whats: frozenset[str], start: int | None = None, until: int | None = None
    ) -> Iterable[Event]: ...


class NotedStates:
    """The noted states of a recording. Used by one thread at a time."""

    def __init__(self, recorded: _Recorded, endpoints: Mapping[str, Endpoint]) -> None:
        self._recorded, self._endpoints = recorded, endpoints
        self._is_usable = True
        self.has_answers = False
        """Whether the recording has answers that a replay may ask for."""

    def before(
        self, instant: int, routes: Mapping[RecordSink, Sequence[Route]]
    ) -> tuple[NotedState, dict[RecordSink, Checkpoint | None]] | None:
        """Return the newest state of which no event is later than an instant (ns), with checkpoints of these stores.

        It is so much before the newest one that the stores are whole at the instant, as far as that can be known. None
        where there is none.
        """
        if not self._is_usable:
            return None
        later: dict[RecordSink, Checkpoint | None] | None = None
        for event in islice(self._newest_first(instant), MOST_TRIED):
            try:
                state = NotedState.of(event, self._endpoints)
                checkpoints = state.checkpoints(routes) if state.latest <= instant else None
                if checkpoints is None:
                    continue
                later = later or checkpoints
                if all(_is_enough(store, each, later[store]) for store, each in checkpoints.items()):
                    return state, state.with_rows(routes, checkpoints, self._rows(state, routes))
            except Exception:  # the border: what a stranger noted
                log.info("a noted state cannot be used", exc_info=True)
        return None

    def _rows(self, state: NotedState, routes: Mapping[RecordSink, Sequence[Route]]) -> dict[int, list[Any]]:
        """Return the rows that were noted until a state of the stores that these need, the oldest first."""
        recorded, until = self._recorded, state.event.received
        wanted = state.stores_with_rows(routes)
        found: dict[int, list[Any]] = {}
        for share in SPAN_SHARES[1:]:
            start = max(recorded.first, until - (recorded.last - recorded.first) // share)
            held, size = deque[tuple[int, Any]](), 0
            for event in recorded.events(start=start, whats=frozenset({ROWS}), until=until):
                if event.what == ROWS and event.received <= until:
                    held.append((len(event.body), unpack(event.body)))
                    size += len(event.body)
                while size > MOST_ROW_BYTES:
                    size -= held.popleft()[0]
            found = {}
            for number, rows in chain.from_iterable(some for _, some in held):
                if number in wanted:
                    found.setdefault(number, []).append(rows)
            if all(number in found and found[number][0][0] <= first for number, first in wanted.items()):
                break
        return found

    def give_up(self) -> None:
        """Have no states from now on."""
        self._is_usable = False

    def behind(self, noted: Event) -> Iterator[EventGroup]:
        """Return the events that follow the one of a noted state, without other states of the same time."""
        groups = iter(self._recorded.groups(start=noted.received))
        for group in groups:
            if group[2] == NOTED and noted in events_of(group):
                return groups
        raise FeedError("an event of the recording is not there again")

    def arrivals(self, state: NotedState) -> Checkpoint:
        """Return the state of the arrivals, with the answers that were recorded before it."""
        given: dict[tuple[str, str], Any] = {}
        if self.has_answers:
            whats = frozenset({ANSWER, NOTED})
            for event in self._recorded.events(whats=whats, until=state.latest):
                if event == state.event:
                    break
                if event.what == ANSWER:
                    with suppress(msgspec.MsgspecError, ValueError):
                        answer = Answer.from_bytes(event.body)
                        if answer.kind != LISTED:
                            given.setdefault((answer.kind, answer.key), deque()).append(answer)
        return {**state.arrivals, "answers": {"_given": given}}

    def _newest_first(self, instant: int) -> Iterator[Event]:
        recorded = self._recorded
        end = instant
        for share in SPAN_SHARES:
            start = max(recorded.first, instant - (recorded.last - recorded.first) // share)
            events = recorded.events(start=start, whats=frozenset({NOTED}), until=end)
            newest, size = deque[Event](), 0
            for event in events:
                is_there = event.what == NOTED and start <= event.received < end + (end == instant)
                if is_there and len(event.body) <= MOST_BYTES:
                    newest.append(event)
                    size += len(event.body)
                while size > MOST_HELD or len(newest) > MOST_TRIED:
                    size -= len(newest.popleft().body)
            yield from reversed(newest)
            end = start


def by_store(routes: Iterable[Route]) -> dict[RecordSink, list[Route]]:
    """Return the routes to each store."""
    found: dict[RecordSink, list[Route]] = {}
    for route in routes:
        found.setdefault(route.sink, []).append(route)
    return found


def are_whole(stores: Iterable[RecordSink]) -> bool:
    """Whether stores have all that they would have if all events had been passed."""
    return all(store.is_whole for store in stores if isinstance(store, Checkpointed))


def _is_enough(store: RecordSink, checkpoint: Checkpoint | None, later: Checkpoint | None) -> bool:
    return checkpoint is None or (
        later is not None and isinstance(store, Checkpointed) and store.would_be_whole(checkpoint, later)
    )
