"""When may a view send its next frame? The rule, without a clock, a thread or a widget.

The browser confirms every frame it painted, and a view that has not had its last frame confirmed sends no new one.
Two things break that simple rule, and both are told apart by whether a cell is running:

* A cell blocks the kernel: no confirmation can come in. The view goes on by time alone, and slows down step by step
  when nothing was heard for half a minute, because nobody may be looking.
* No cell runs and still nothing comes in: the browser is gone (tab closed, laptop shut). The view stops, and tries
  once in a while, so that messages never pile up behind a closed tab.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["PERIOD_S", "MessageBudget", "Pace", "next_frame_at"]

# A little under 100 ms: at exactly 100 ms, one late frame makes 9 in that second.
PERIOD_S = 0.09

# While a cell runs: (seconds without a sign of the browser, seconds from one frame to the next).
BUSY_STEPS = ((30.0, 0.0), (45.0, 0.2), (60.0, 0.5), (math.inf, 1.0))

# A cell that awaits lets confirmations in although it runs; for so long one is waited for, seconds.
BUSY_PATIENCE_S = 0.5

# While no cell runs: the first retry (a confirmation can be lost with its tab), and all later ones, seconds.
FIRST_RETRY_S = 1.0
RETRY_S = 5.0


@dataclass(slots=True)
class Pace:
    """What is known of one view's frames; times are seconds on one clock.

    `due` is the next time on the view's grid, `asked_at` when the oldest frame without an answer was sent (None when
    the last frame is confirmed), `last_sign` when the browser was last heard at all.
    """

    period_s: float = PERIOD_S
    is_visible: bool = True
    due: float = -math.inf
    last_sent: float = -math.inf
    asked_at: float | None = None
    last_sign: float = -math.inf

    def sent(self, now: float) -> None:
        """Note a frame sent at `now`; the next is due on the grid, so that late frames do not add up.

        The grid is the same for all views: what they send together, the browser lays out and composes together, which
        costs it a third of what three frames at three times do.
        """
        self.due = (math.floor(now / self.period_s) + 1) * self.period_s
        self.last_sent = now
        if self.asked_at is None:
            self.asked_at = now

    def heard(self, now: float, *, is_confirmed: bool) -> None:
        """Note a sign of the browser; `is_confirmed` when it says that the last frame was painted."""
        self.last_sign = now
        if is_confirmed:
            self.asked_at = None


def next_frame_at(pace: Pace, now: float, busy_since: float | None) -> float:
    """Return when the next frame may be sent: at or before `now` means at once, infinity means not until seen.

    `busy_since` is when the running cell began, None when no cell runs.
    """
    if not pace.is_visible:
        return math.inf
    if pace.asked_at is None:
        return pace.due
    if busy_since is None:
        is_first_retry = pace.last_sent - pace.asked_at < FIRST_RETRY_S
        return pace.last_sent + (FIRST_RETRY_S if is_first_retry else RETRY_S)
    silence = now - pace.asked_at
    if pace.last_sign >= busy_since and silence < BUSY_PATIENCE_S:
        return pace.asked_at + BUSY_PATIENCE_S
    interval = next(interval for limit, interval in BUSY_STEPS if silence < limit)
    return max(pace.due, pace.last_sent + interval)


class MessageBudget:
    """At most `rate` messages a second over all views, with a small reserve for bursts; owned by the painter.

    A notebook server drops everything beyond 1,000 messages a second, silently; then a figure shows wrong data.
    """

    def __init__(self, rate: float = 300.0, reserve: float = 60.0) -> None:
        self._rate = rate
        self._reserve = reserve
        self._left = reserve
        self._at = -math.inf

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next frame may be sent, 0.0 when it may now."""
        if self._at > -math.inf:
            self._left = min(self._reserve, self._left + (now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._left > 0 else -self._left / self._rate + 1e-3

    def spend(self, messages: int) -> None:
        """Take `messages` off; the account may go below zero by one frame, which later frames then wait for."""
        self._left -= messages
