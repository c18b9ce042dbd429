"""The clock of a simulated market: market time goes on in turns of one length, at a pace that can be changed.

All that happens in the market happens in a turn and has its time, so the market is the same at any pace, whatever the
machine is busy with: a turn that comes late is made up for, or moves all later ones. Reads no clock; `steady` is passed
in, in ns of a clock that cannot be set (`aries_nb.model.clock.steady_ns`), `wall` in ns since the epoch.
"""

from __future__ import annotations

import math

__all__ = ["FASTEST", "MAX_SPEED", "NS", "TURNS_TOGETHER", "MarketClock"]

MAX_SPEED = math.inf
#: Above this there is no pace: no computer holds it, and a client's clock, which follows it, would be far ahead.
FASTEST = 250.0
NS = 1_000_000_000
#: Lost time of more than this is not made up for: a burst that late is of no use to a client.
LATE_NS = NS // 4
#: Turns that may be made at once where there is no pace: the clients get them in between.
TURNS_TOGETHER = 20


class MarketClock:
    """Market time of one simulated market. Owned by the server's event loop.

    `start_ns` is the time of its start in ns since the epoch, `turn_ns` the length of a turn. `turns` counts the turns
    that were begun. Until it is steered, that is, paused or moved for the first time, market time follows the
    computer's: what is lost is left out. From then on nothing is left out, and market time is behind it.
    """

    def __init__(self, start_ns: int, turn_ns: int) -> None:
        self.start_ns = start_ns
        self.turn_ns = turn_ns
        self.turns = 0
        self.speed = 1.0
        self.is_playing = True
        self.is_steered = False
        #: Number of the turn at which it is to arrive as fast as possible; None while it keeps its pace.
        self.goal: int | None = None
        self._skipped_ns = 0
        self._anchor = 0, 0  # steady time and turns from which the pace counts

    @property
    def now_ns(self) -> int:
        """The time of the turn that was begun last, in ns since the epoch."""
        return self._time_of(self.turns)

    @property
    def now(self) -> float:
        """The time of the turn that was begun last, in Unix s."""
        return self.now_ns / NS

    @property
    def has_no_pace(self) -> bool:
        """Whether it goes on as fast as turns are made."""
        return self.goal is not None or (self.is_playing and self.speed == MAX_SPEED)

    def begin(self, steady: int) -> None:
        """Let the pace count from now on."""
        self._anchor = steady, self.turns

    def due(self, steady: int) -> int:
        """Return how many turns are to be made at once, at this moment."""
        if self.goal is not None:
            return min(self.goal - self.turns, TURNS_TOGETHER)
        if not self.is_playing:
            return 0
        if self.speed == MAX_SPEED:
            return TURNS_TOGETHER
        return max(0, self._reached(steady) - self.turns)

    def wait_ns(self, steady: int) -> int | None:
        """Return how long it is until the next turn is due; None while it stands."""
        if self.has_no_pace:
            return 0
        if not self.is_playing:
            return None
        since, turns = self._anchor
        return max(0, math.ceil((self.turns + 1 - turns) * self.turn_ns / self.speed) - (steady - since))

    def settle(self, steady: int, wall: int) -> bool:
        """Give up lost time of more than a quarter of a second; return whether the pace counts from now on anew.

        A clock that is not steered then leaves that time out, as it does where the computer's clock was set.
        """
        if self.has_no_pace or not self.is_playing:
            self._anchor = steady, self.turns
            return False
        missing = (self._reached(steady) - self.turns) * self.turn_ns
        is_late = missing > LATE_NS * self.speed
        is_off = not self.is_steered and abs(wall - self.now_ns) > 2 * LATE_NS + self.turn_ns
        if not is_late and not is_off:
            return False
        self._anchor = steady, self.turns
        if not self.is_steered:
            self._skipped_ns += wall - self.now_ns
        return True

    def pause(self, instant: int, steady: int) -> None:
        """Stand still at the end of the first turn that is at `instant` (ns since the epoch) or after it.

        That is what a client's clock shows, which has gone on since the last turn and does not go back.
        """
        self._steer(steady)
        turns = self._turns_until(instant)
        self.goal = self.turns + turns if turns > 0 and self.is_playing and self.goal is None else None
        self.is_playing = False

    def play(self, speed: float, steady: int) -> None:
        """Go on at `speed` times the pace of real time; as fast as possible above `FASTEST`."""
        self._steer(steady)
        self.goal, self.speed, self.is_playing = None, speed if speed <= FASTEST else MAX_SPEED, True
        self._anchor = steady, self.turns

    def seek(self, instant: int, steady: int) -> None:
        """Go, as fast as possible, to the end of the first turn that is at `instant` (ns) or after it.

        It then plays or stands as before. Raises ValueError for a moment in the past.
        """
        turns = self._turns_until(instant)
        if turns < 0:
            raise ValueError("a simulated market does not go back")
        self._steer(steady)
        self.goal = self.turns + turns

    def arrived(self, steady: int) -> None:
        """Go on as before the goal was set."""
        self.goal = None
        self._anchor = steady, self.turns

    def anchor(self, steady: int) -> tuple[int, int]:
        """Return a market time (ns since the epoch) and the steady time at which it is, or will be, reached.

        At a finite pace, other times follow from it; without a pace, it is the present one.
        """
        since, turns = self._anchor if self.is_playing and not self.has_no_pace else (steady, self.turns)
        return self._time_of(turns), since

    def _turns_until(self, instant: int) -> int:
        return -((self.now_ns - instant) // self.turn_ns)  # rounded up

    def _steer(self, steady: int) -> None:
        if not self.is_steered:
            self.is_steered = True
            if self._reached(steady) < self.turns:
                self._anchor = steady, self.turns

    def _reached(self, steady: int) -> int:
        since, turns = self._anchor
        return turns + int((steady - since) * self.speed) // self.turn_ns if self.speed != MAX_SPEED else self.turns

    def _time_of(self, turns: int) -> int:
        return self.start_ns + turns * self.turn_ns + self._skipped_ns
