"""Decides when a view may send its next frame, an update of its picture, to the browser; no clock, thread or widget.

The browser answers once a second for all views of a page, at once where a view waits for it, with the newest frame of
each view that it has painted. A view with the frames of one second unanswered sends no new one; a view that has just
come into sight sends one frame and waits for its answer, because its script may yet be loading. Two cases break these
simple rules, and are distinguished by whether a cell is running:

A cell blocks the kernel: no answer can come in. The view goes on by time alone, and slows down step by step after half
a minute without an answer, because the page may be closed.

No cell runs and still no answer comes in: the browser is gone (tab closed, laptop shut). The view stops, and tries
again at long intervals, so that messages never pile up behind a closed tab.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["PERIOD_S", "UNANSWERED_S", "FramePacing", "MessageBudget", "SentFrame", "next_frame_at", "on_grid"]

# A little under 100 ms: at exactly 100 ms, one late frame makes 9 in that second.
PERIOD_S = 0.09
# A view that has sent frames for this long without an answer waits for one: 12 frames (MOST_UNANSWERED in model.js).
UNANSWERED_S = 1.0

# While a cell runs: (seconds without an answer, seconds between frames).
BUSY_STEPS = ((30.0, 0.0), (45.0, 0.2), (60.0, 0.5), (math.inf, 1.0))

# Seconds to wait for an answer during a cell: a cell that awaits lets answers in, and JupyterLab handles them on a
# subshell. More than the second in which one comes while all is well.
BUSY_PATIENCE_S = 1.2

# While no cell runs: seconds to the first retry (an answer can be lost with its tab; that of a view which comes into
# sight may wait for its script), and between all later ones.
FIRST_RETRY_S = 1.0
STARTING_RETRY_S = 3.0
RETRY_S = 5.0


# Unanswered frames that are timed; far more than are ever in flight without a cell.
MOST_AWAITED = 64


def on_grid(at: float) -> float:
    """Return the first multiple of PERIOD_S that is not before `at`, both in s.

    All views are drawn at these times: what they send then is one message, and the browser lays out and composes what
    arrives together in one go, which costs a third of three frames at three times.
    """
    return math.ceil(at / PERIOD_S - 1e-6) * PERIOD_S


class SentFrame(NamedTuple):
    """A frame (an update of a view's picture) that the browser has not yet answered as painted.

    `received` is when its newest row was received (ns since the epoch), 0 if the frame cannot be used to measure
    latency. `cells` is how many notebook cells had started when it was sent, -1 if one was running.
    """

    received: int
    cells: int


@dataclass(slots=True)
class FramePacing:
    """The state of one view's frames, updates of its picture that the browser answers when painted.

    Times in s on one clock. `period_s` is the shortest time between two frames, `unanswered` how many the browser
    has not answered, `in_flight` how many may be at most: those of a second. `is_starting`: none was answered since the
    view came into sight. `due` is the next time that is a multiple of the period, `waiting_since` when the first
    unanswered frame was sent or the last answer came in (None while no frame is unanswered). `last_report` is when the
    browser last reported anything; `awaited` are the unanswered frames, oldest first.
    """

    period_s: float = PERIOD_S
    is_visible: bool = True
    is_starting: bool = True
    due: float = -math.inf
    last_sent: float = -math.inf
    unanswered: int = 0
    waiting_since: float | None = None
    last_report: float = -math.inf
    awaited: deque[SentFrame] = field(default_factory=lambda: deque(maxlen=MOST_AWAITED))

    @property
    def in_flight(self) -> int:
        """Number of unanswered frames (updates of the view's picture) from which on no new one is sent."""
        return math.ceil(UNANSWERED_S / self.period_s)

    def shown(self) -> None:
        """Record that the view comes into sight: what was sent before, perhaps no page has painted."""
        self.is_visible = self.is_starting = True
        self.unanswered, self.waiting_since = 0, None
        self.awaited.clear()

    def sent(self, now: float) -> None:
        """Record that a frame, an update of the view's picture, was sent to the browser at `now` (s).

        The next is due at the next multiple of the period, so that delays do not add up, at a time of `on_grid`.
        """
        self.due = on_grid((math.floor(now / self.period_s) + 1) * self.period_s)
        self.last_sent = now
        self.unanswered += 1
        if self.waiting_since is None:
            self.waiting_since = now

    def reported(self, now: float, unanswered: int | None = None) -> SentFrame | None:
        """Record a report of the browser at `now` (s).

        Return the newest frame that it answers, None if it answers none. `unanswered` is how many frames
        (updates of the view's picture) it has yet to answer, None if it does not say.
        """
        self.last_report = now
        if unanswered is None:
            return None
        self.is_starting = False
        if unanswered == 0:
            self.waiting_since = None
        elif unanswered < self.unanswered:
            self.waiting_since = now
        self.unanswered = unanswered
        answered = None
        while len(self.awaited) > unanswered:
            answered = self.awaited.popleft()
        return answered


def next_frame_at(pace: FramePacing, now: float, busy_since: float | None) -> float:
    """Return when the view may send its next frame, an update of its picture, to the browser.

    It is in s on the clock of `now`: at or before `now` means at once, infinity means not until the view is
    visible. `busy_since` is the start of the running notebook cell, None when no cell runs.
    """
    if not pace.is_visible:
        return math.inf
    is_starting = pace.is_starting and busy_since is None
    if pace.unanswered < (1 if is_starting else pace.in_flight) or pace.waiting_since is None:
        return pace.due
    if busy_since is None:
        first = STARTING_RETRY_S if is_starting else FIRST_RETRY_S
        return pace.last_sent + (first if pace.last_sent - pace.waiting_since < first else RETRY_S)
    unanswered_s = now - pace.waiting_since
    if pace.last_report >= busy_since and unanswered_s < BUSY_PATIENCE_S:
        return pace.waiting_since + BUSY_PATIENCE_S
    interval = next(interval for limit, interval in BUSY_STEPS if unanswered_s < limit)
    return max(pace.due, pace.last_sent + interval)


class MessageBudget:
    """Limits the messages of all views together to `rate` per second, with a `reserve` of messages for bursts.

    A notebook server silently drops everything beyond 1,000 messages a second; a figure would then show wrong data.
    Owned by the painter, the thread that draws.
    """

    def __init__(self, rate: float = 300.0, reserve: float = 60.0) -> None:
        self._rate = rate
        self._reserve = reserve
        self._left = reserve
        self._at = -math.inf

    def wait_s(self, now: float) -> float:
        """Return for how many seconds after `now` (s) no frame may be sent; 0.0 if one may be sent now."""
        if self._at > -math.inf:
            self._left = min(self._reserve, self._left + (now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._left > 0 else -self._left / self._rate + 1e-3

    def spend(self, messages: int) -> None:
        """Subtract messages that were sent from the budget.

        It may go below zero by one frame (one update of a view), for which later frames wait.
        """
        self._left -= messages
