"""Earlier states of a replay, from which it goes on where a seek would else begin anew."""

from __future__ import annotations

import logging
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from aries_nb.model import Checkpoint, Checkpointed, RecordSink
from aries_nb.model.journal import Event
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.events.playback_run import PlaybackRun, RunState

__all__ = ["Checkpoints", "Part", "ReplayState"]

log = logging.getLogger("aries_nb")

EVERY_SECONDS = 0.5  # that events were passed for
MOST_BYTES = 256 << 20  # of all rows in them
MOST = 64


class Part(Protocol):
    """What has a state of events besides sessions and stores, such as the log of gaps."""

    def restart(self) -> None:
        """Have the state before the first event."""

    def checkpoint(self) -> Checkpoint | None:
        """Return a copy of the state."""

    def resume(self, checkpoint: Checkpoint) -> None:
        """Have the state of an earlier moment."""


class ReplayState(NamedTuple):
    """The state of a replay between two events.

    No event before it is later than `latest`, the next one is at `following`, which is later; in ns since the epoch.
    The pass through the events began behind the noted state `begun`, None for the beginning of all. It is that state
    itself where `following` is None.
    """

    latest: int
    following: int | None
    begun: Event | None
    arrivals: Checkpoint
    run: RunState
    parts: Sequence[Checkpoint]
    stores: Mapping[RecordSink, Checkpoint | None]
    octets: int


class Checkpoints:
    """States of a replay, taken while it passes events. The network's thread only.

    Where more than sessions, stores and `parts` is a function of the events, as accounts and bars are, there are no
    checkpoints. The more memory they take, the fewer.
    """

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self._states: list[ReplayState] = []
        self._every = EVERY_SECONDS
        self._left = self._every

    def passed(self, seconds: float) -> bool:
        """Note that events were passed for so long; return whether another checkpoint is due."""
        self._left -= seconds
        return self._left <= 0

    def take(self, arrivals: Arrivals, run: PlaybackRun, stores: Iterable[RecordSink], following: int) -> None:
        """Copy the state before the event at `following`, if it can be copied and is none that is known."""
        latest = run.latest
        if latest >= following or any(state.latest == latest for state in self._states):
            return
        self._left = self._every
        copies: dict[RecordSink, Checkpoint] = {}
        octets = 0
        for store in dict.fromkeys(stores):
            copy = store.checkpoint() if isinstance(store, Checkpointed) and store.is_resumable else None
            if copy is None:
                return
            copies[store] = copy
            octets += sum(column.nbytes for column in copy.get("rows", {}).values())
        parts: list[Any] = [each.checkpoint() for each in self._parts]
        whole = arrivals.checkpoint()
        if whole is None or octets > MOST_BYTES:
            return
        try:
            state = run.state()
        except Exception:  # the border: a protocol of the user's own
            log.info("a replay begins anew with each seek back: its protocol cannot be copied", exc_info=True)
            self._every = self._left = inf
            return
        insort(
            self._states,
            ReplayState(latest, following, run.begun, whole, state, parts, copies, octets),
            key=attrgetter("latest"),
        )
        while len(self._states) > MOST or sum(each.octets for each in self._states) > MOST_BYTES:
            self._states = self._states[::-2][::-1]  # the newest stays
            self._every *= 2

    def before(self, instant: int, arrivals: Arrivals) -> ReplayState | None:
        """Return the newest state of which no event is later than an instant in ns; None where there is none to use."""
        found = next((each for each in reversed(self._states) if each.latest <= instant), None)
        parts = [arrivals, *(found.stores if found else ())]
        return found if all(isinstance(each, Checkpointed) and each.is_resumable for each in parts) else None

    def resume(self, state: ReplayState, arrivals: Arrivals) -> None:
        """Set the stores, the parts and the arrivals back to a state."""
        for store, copy in state.stores.items():
            if copy is None:
                store.restart()
            elif isinstance(store, Checkpointed):
                store.resume(copy)
        for part, copy in zip(self._parts, state.parts, strict=True):
            part.resume(copy)
        arrivals.resume(state.arrivals)

    def restart(self) -> None:
        """Have the parts begin anew."""
        for part in self._parts:
            part.restart()

    def clear(self) -> None:
        """Have no states, because more is filled now than they have."""
        self._states.clear()
        self._every = self._left = EVERY_SECONDS
