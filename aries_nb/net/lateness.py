"""Whether messages come later and later: the first sign that they are read more slowly than they are sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

__all__ = ["LATE_SECONDS", "Lateness"]

LATE_SECONDS = 1.0  # behind by so much is worth a word
LATE_MESSAGES = 2_000  # and so is this: brokers cut off whom 5,000 wait for, which is little time where many come
LEAST_SECONDS = 0.05  # less is the turn of a loop, whatever the rate
FEWEST = 5  # messages in a turn; one that has so few to read is not behind
TURNS = 2  # that it must last, so that a burst or an old quote is no alarm
BUCKET_SECONDS = 10.0
BUCKETS = 60  # what counts as quick is the quickest of the last ten minutes


class Lateness:
    """How much later than at their quickest messages come now. The network's thread owns it; any may read `seconds`.

    From exchange time to receipt, compared with itself: how the two clocks stand to each other does not matter. Time is
    passed in, in seconds of a monotonic clock.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._quickest: deque[tuple[float, float]] = deque(maxlen=BUCKETS)  # when, and the least lag of a bucket
        self._late_turns = 0

    @property
    def is_late(self) -> bool:
        """Whether it is worth a word."""
        return self.seconds > 0.0

    def __str__(self) -> str:
        if self.is_late:
            return f"messages come {self.seconds:.1f} s later than at their quickest"
        return "messages come as they should again"

    def turn(self, now: float, lags: Sequence[float], messages_per_s: float) -> bool:
        """Take the lags of what came since the last turn, in seconds; True where there is a word to be said."""
        was_late = self.is_late
        if len(lags) < FEWEST:
            self._late_turns, self.seconds = 0, 0.0
        else:
            self._compare(now, min(lags), messages_per_s)
        return self.is_late is not was_late

    def _compare(self, now: float, lag: float, messages_per_s: float) -> None:
        at, least = min(self._quickest, key=lambda each: each[1], default=(now, lag))
        self._note(now, lag)
        behind = lag - least
        # Nobody falls behind faster than time goes by: what looks so are old rows, of a snapshot or a tape.
        late = min(LATE_SECONDS, max(LATE_MESSAGES / max(messages_per_s, 1.0), LEAST_SECONDS))
        is_late = late <= behind <= now - at + LATE_SECONDS
        self._late_turns = self._late_turns + 1 if is_late else 0
        self.seconds = behind if self._late_turns >= TURNS else 0.0

    def _note(self, now: float, lag: float) -> None:
        if not self._quickest or now - self._quickest[-1][0] >= BUCKET_SECONDS:
            self._quickest.append((now, lag))
        elif lag < self._quickest[-1][1]:
            self._quickest[-1] = (self._quickest[-1][0], lag)
