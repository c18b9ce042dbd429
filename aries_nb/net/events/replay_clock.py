"""The market time of a replay, which stands still, goes on at any speed, and jumps."""

from __future__ import annotations

from collections.abc import Sequence

from aries_nb.model.clock import elapsed
from aries_nb.net.events.exchange_clock import ExchangeClock

__all__ = ["MAX_SPEED", "ReplayClock"]

MAX_SPEED = float("inf")


class ReplayClock(ExchangeClock):
    """The market time of a replay: that of the moment which is being replayed. Any thread may ask it.

    It goes on with `speed` times the elapsed time while it plays, but never past the next event that is still to take
    effect: no row is from the future.
    """

    def __init__(self, start: int) -> None:
        super().__init__()
        self.position = start  # ns since the epoch
        self.speed = 1.0
        self.is_playing = False
        self.limit = start  # the time of the next event
        self._since = elapsed()  # when `position` was set

    def now_ns(self) -> int:
        """Return the market time in ns since the epoch, UTC."""
        held = self.held
        if held is not None:
            return held
        if not self.is_playing or self.speed == MAX_SPEED:
            return self.position
        due = self.position + int((elapsed() - self._since) * 1e9 * self.speed)
        return max(min(due, self.limit), self.position)

    def running_ns(self) -> int:
        """Return the market time: in a replay an event's own while it takes effect."""
        return self.now_ns()

    def move(self, position: int) -> None:
        """Set the time to `position`, from where it goes on."""
        self.position, self._since = position, elapsed()

    def reached(self, instant: int) -> None:
        """Have an event of this time take effect: its time has come, though perhaps a little late."""
        if self.speed == MAX_SPEED or not self.is_playing or instant > self.now_ns():
            self.move(instant)

    def run(self, *, is_playing: bool, speed: float) -> None:
        """Go on, or stand still, from now on."""
        self.move(self.now_ns())
        self.is_playing, self.speed = is_playing, speed

    def wait_s(self, instant: int) -> float | None:
        """Return in how many seconds a moment is reached, 0.0 for one that is past; None while the clock stands."""
        if not self.is_playing:
            return None
        if self.speed == MAX_SPEED:
            return 0.0
        return max((instant - self.position) / 1e9 / self.speed - (elapsed() - self._since), 0.0)

    def handshake(self, date: str) -> bool:  # noqa: ARG002 - as of a live clock
        """Take no correction: the recording has those of the time."""
        return False

    def observe(self, lags: Sequence[int]) -> bool:  # noqa: ARG002 - as of a live clock
        """Take no correction: the recording has those of the time."""
        return False

    @property
    def pace(self) -> float:
        """How many times faster than elapsed time it goes on; 0.0 while it stands, and goes from event to event."""
        return self.speed if self.is_playing and self.speed != MAX_SPEED else 0.0

    @property
    def offset_s(self) -> float:
        """By how many seconds the exchange's clock is ahead of this computer's: 0.0, as nothing is compared."""
        return 0.0
