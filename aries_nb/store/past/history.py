"""The past of a store that shows its newest state alone: whole states now and then, and each change in between."""

from __future__ import annotations

from bisect import bisect_right
from typing import Generic, NamedTuple, TypeVar

__all__ = ["MOST_BYTES", "Past", "StateHistory"]

State = TypeVar("State")
Change = TypeVar("Change")

MOST_BYTES = 16 << 20
LEAST_BYTES = 64 << 10  # of changes behind a whole state; a state that is larger has as many as itself


class Past(NamedTuple, Generic[State, Change]):
    """A whole state, and the changes that followed it until an instant."""

    state: State
    changes: list[Change]


class _Piece(Generic[State, Change]):
    """A whole state at a time, and the changes since, each with its time in ns since the epoch; ascending."""

    __slots__ = ("at", "changes", "octets", "state", "state_octets", "times")

    def __init__(self, at: int, state: State, octets: int) -> None:
        self.at = at
        self.state = state
        self.state_octets = self.octets = octets
        self.times: list[int] = []
        self.changes: list[Change] = []


class StateHistory(Generic[State, Change]):
    """The states of a store back to `held_from`, in at most 16 MiB by the sizes that the writer states.

    One thread writes; any thread reads, without a lock: changes are only appended, and pieces replaced as a whole. A
    state or change must not be written to later. Times are in ns since the epoch; one before the newest, as where the
    market's clock is set back, counts as that.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._octets = 0
        self._pieces: tuple[_Piece[State, Change], ...] = ()

    def begin(self, at: int, state: State, octets: int) -> None:
        """Note a whole state of so many bytes; the oldest are dropped where there is no room."""
        pieces = [*self._pieces, _Piece[State, Change](max(at, self._newest), state, octets)]
        self._octets += octets
        while self._octets > self._most and len(pieces) > 1:
            self._octets -= pieces.pop(0).octets
        self._pieces = tuple(pieces)

    def add(self, at: int, change: Change, octets: int) -> bool:
        """Note a change of so many bytes; return whether a whole state is due now, of which the change is part."""
        piece = self._pieces[-1]
        piece.changes.append(change)
        piece.times.append(max(at, self._newest))  # last: a reader takes as many changes as there are times
        piece.octets += octets
        self._octets += octets
        return piece.octets - piece.state_octets >= max(piece.state_octets, LEAST_BYTES)

    def clear(self) -> None:
        """Have no past; the next is a whole state."""
        self._pieces, self._octets = (), 0

    @property
    def held_from(self) -> int | None:
        """The time of the oldest state, None without one."""
        pieces = self._pieces
        return pieces[0].at if pieces else None

    def until(self, at: int) -> Past[State, Change] | None:
        """Return the state at a time as a whole one and the changes since; None before `held_from`."""
        pieces = self._pieces
        place = bisect_right(pieces, at, key=lambda piece: piece.at)
        if not place:
            return None
        piece = pieces[place - 1]
        return Past(piece.state, piece.changes[: bisect_right(piece.times, at)])

    @property
    def _newest(self) -> int:
        if not self._pieces:
            return 0
        piece = self._pieces[-1]
        return piece.times[-1] if piece.times else piece.at
