"""The painter: one thread that draws all live views of the process, and the only one that sends frames to the browser.

A frame is one update of a view's picture. Widgets have no lock of their own, so two threads that set the same widget
lose updates. Hence one painter, one lock for each view, and reports of the browser that are only recorded. Asyncio
loops are not touched.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aries_nb.model.clock import elapsed
from aries_nb.widgets.cell_watch import BusySince, cell_watch
from aries_nb.widgets.pacing import PERIOD_S, FramePacing, MessageBudget, SentFrame, next_frame_at, on_grid
from aries_nb.widgets.transport import get_outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.widgets.sources import PaintTimings

__all__ = ["PaintableView", "Painter", "PainterStatistics", "get_painter"]

LOG = logging.getLogger("aries_nb")

# Seconds until a view that is due, but whose source has not changed, is looked at again if no view sends frames.
POLL_S = 0.02
# Seconds until a view that failed to draw is drawn again.
ERROR_PAUSE_S = 1.0
# Seconds without a frame until a visible view sends a sign of life; after five, the page says that nothing comes.
BEAT_S = 2.0


class PaintableView(Protocol):
    """The part of a view that the painter, the thread that draws, uses (an interface)."""

    @property
    def period_s(self) -> float:
        """Shortest time between two frames (updates of the picture sent to the browser) of the view, in s."""

    @property
    def refresh_s(self) -> float | None:
        """Seconds after which the view is drawn although its source did not change; None for never."""

    @property
    def version(self) -> int:
        """The version of the view's source, which grows with every change of its data; reading it may raise."""

    @property
    def lags(self) -> PaintTimings | None:
        """The object that receives the times from a row's receipt to the screen; None where they are not measured."""

    def draw(self) -> int:
        """Draw the newest data now, and return the number of messages sent, 0 when nothing looks different.

        Never raises.
        """

    def beat(self) -> int:
        """Send a sign of life that the browser answers like a frame; return the number of messages sent."""

    @property
    def is_failing(self) -> bool:
        """Whether the last drawing of the view raised an exception."""


@dataclass(frozen=True, slots=True)
class PainterStatistics:
    """Counters of the painter, the thread that draws all views, since the process started, and its present state.

    `views` are drawn now, `visible` of them are not known to be hidden, `waiting` of them have frames (updates of
    the picture) that the browser has not answered. `frames` and `messages` were sent; `draws` counts attempts, sent
    or not; `errors` drawings that raised. `is_running` says whether the thread lives.
    """

    views: int
    visible: int
    waiting: int
    frames: int
    messages: int
    draws: int
    errors: int
    is_running: bool


class _Watched:
    """A view that the painter draws, and the state of its frames (updates of its picture sent to the browser)."""

    def __init__(self, view: PaintableView) -> None:
        self.view = view
        self.pace = FramePacing(view.period_s)
        self.seen_version: int | None = None
        self.looked_at = -math.inf
        self.is_asked = False
        # A row is timed once, and only if it was received while the view was visible: the time that the browser needs
        # to load a view, and that a quiet stream has been quiet when a view is displayed, is no latency. By the
        # clock of the source, ns.
        self.timed_upto: int | None = None  # None until the first report of the browser
        self.lags = view.lags

    def newest(self) -> int:
        """Return when the source's newest row was received, in ns since the epoch, to measure latency.

        0 if painting it says nothing about latency. Each row is returned once.
        """
        if self.lags is None or self.timed_upto is None or self.lags.newest <= self.timed_upto:
            return 0
        self.timed_upto = self.lags.newest
        return self.timed_upto


class Painter:
    """Draws all live views on a thread of its own, each at its pace, and sends their pictures to the browser.

    `watch`, `forget`, `report` and `statistics` may be called on any thread; `step` belongs to the painter's
    thread, or to a test that passes `clock` (s) and `busy` and starts no thread
    (`is_threaded=False`).
    """

    def __init__(
        self,
        clock: Callable[[], float] = elapsed,
        busy: BusySince | None = None,
        *,
        is_threaded: bool = True,
    ) -> None:
        self._clock = clock
        self._busy = busy if busy is not None else cell_watch(clock)
        self._is_threaded = is_threaded
        # Guards `_watched`, the pacing states and `_thread`; never held while a view draws.
        self._changed = threading.Condition()
        self._watched: dict[int, _Watched] = {}
        self._thread: threading.Thread | None = None
        self._budget = MessageBudget()
        self._frames = self._messages = self._draws = self._errors = 0
        self._sent_at = -math.inf
        self._is_stopped = False
        # A report between a step and the wait after it must not be slept through.
        self._is_woken = False

    def watch(self, view: PaintableView) -> None:
        """Draw `view` from now on. A view that is drawn already is due again, because it was displayed once more.

        `forget` ends it. After `stop` this does nothing.
        """
        with self._changed:
            if self._is_stopped:
                return
            if id(view) not in self._watched:
                self._watched[id(view)] = _Watched(view)
            self._watched[id(view)].pace.shown()
            self._watched[id(view)].timed_upto = None
            self._busy.start()
            if self._is_threaded and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="aries-nb-painter", daemon=True)
                self._thread.start()
            self._wake()

    def forget(self, view: PaintableView) -> None:
        """Stop drawing `view`; the painter's thread, which draws all views, ends with the last of them.

        A view that is not drawn is ignored.
        """
        with self._changed:
            self._watched.pop(id(view), None)
            if not self._watched:
                self._busy.stop()
            self._wake()

    def report(
        self,
        view: PaintableView,
        *,
        unanswered: int | None = None,
        is_visible: bool | None = None,
        painted_s_ago: float = 0.0,
    ) -> None:
        """Record a report of the browser about `view`, which is ignored if the view is not drawn now; thread-safe.

        `unanswered` is how many frames the browser has yet to paint, `is_visible` whether the view can be seen;
        None means that the report does not say. `painted_s_ago` is how long the browser waited with its answer,
        in s.
        """
        with self._changed:
            watched = self._watched.get(id(view))
            if watched is None:
                return
            pace = watched.pace
            if is_visible is not None:
                if is_visible and not pace.is_visible:
                    watched.seen_version = watched.timed_upto = None
                    pace.shown()
                pace.is_visible = is_visible
            lags = watched.lags
            if watched.timed_upto is None:
                watched.timed_upto = 0 if lags is None else lags.now_ns()
            painted = pace.reported(self._clock(), unanswered)
            if painted is not None and lags is not None and self._is_prompt(painted):
                lags.painted(painted.received, lags.now_ns() - int(painted_s_ago * 1e9))
            self._wake()

    @property
    def is_busy(self) -> bool:
        """Whether a notebook cell runs, so that the browser's answers may have to wait."""
        return self._busy.since is not None

    def ask(self, view: PaintableView) -> None:
        """Send a sign of life for `view`, which a page with a display of it answers, also one that is out of sight.

        Ignored if the view is not drawn. Any thread.
        """
        with self._changed:
            watched = self._watched.get(id(view))
            if watched is not None:
                watched.is_asked = True
                self._wake()

    def stop(self) -> None:
        """Forget all views, draw none from now on, and wait for the thread for at most 2 s.

        Called when the process exits; it cannot be undone.
        """
        with self._changed:
            self._is_stopped = True
            self._watched.clear()
            self._busy.stop()
            thread = self._thread
            self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=2.0)

    def statistics(self) -> PainterStatistics:
        """Return the painter's counters since the process started, and its present state."""
        with self._changed:
            paces = [watched.pace for watched in self._watched.values()]
            return PainterStatistics(
                views=len(paces),
                visible=sum(pace.is_visible for pace in paces),
                waiting=sum(pace.unanswered > 0 for pace in paces),
                frames=self._frames,
                messages=self._messages,
                draws=self._draws,
                errors=self._errors,
                is_running=self._thread is not None,
            )

    def step(self) -> float:
        """Draw the views that are due and have changed; return the time of the next step in s on the painter's clock.

        Infinity means that none is needed.
        """
        with self._changed:
            now = self._clock()
            # All views are due at the same moment of the grid: the one that has waited longest goes first, in case the
            # budget runs out; of those that have waited as long, the one that was displayed first.
            order = [
                (next_frame_at(w.pace, now, self._busy.since), w.pace.last_sent, w) for w in self._watched.values()
            ]
        order.sort(key=lambda each: each[:2])
        following = math.inf
        with get_outbox().one_pass(is_whole=self._busy.since is not None):
            for asked in [each for _, _, each in order if each.is_asked]:
                asked.is_asked = False
                self._messages += (messages := asked.view.beat())
                self._budget.spend(messages)
            for at, _, watched in order:
                following = min(following, at if at > now else self._paint_if_changed(watched))
        saved = get_outbox().saved()
        self._messages -= saved
        self._budget.spend(-saved)
        return following

    def _paint_if_changed(self, watched: _Watched) -> float:
        """Draw one view that is due, if its source has changed; return the time at which to look at it again.

        The time is in s on the painter's clock.
        """
        now = self._clock()
        wait = self._budget.wait_s(now)
        if wait > 0:
            return now + wait
        version = self._version_of(watched)
        refresh = watched.view.refresh_s
        is_overdue = refresh is not None and now - watched.looked_at >= refresh
        if version is not None and version == watched.seen_version and not is_overdue:
            # With the next frames of the others: alone it would be a message of its own.
            is_quiet = now - self._sent_at > 2 * PERIOD_S
            watched.pace.due = now + POLL_S if is_quiet else on_grid(now + POLL_S / 4)
            return watched.pace.due
        watched.seen_version, watched.looked_at = version, now
        return self._paint(watched, now)

    def _paint(self, watched: _Watched, now: float) -> float:
        pace, newest = watched.pace, watched.newest()
        with self._changed:
            # Noted before the frame is sent: its answer may come in while `draw` still runs.
            before = pace.last_sent, pace.unanswered, pace.waiting_since
            pace.sent(now)
        messages = watched.view.draw()
        if messages == 0 and now - before[0] >= BEAT_S:
            messages, newest = watched.view.beat(), 0
        self._draws += 1
        self._messages += messages
        self._budget.spend(messages)
        with self._changed:
            if messages == 0:
                pace.last_sent = before[0]
                if pace.unanswered > before[1]:  # no answer came in meanwhile
                    pace.unanswered, pace.waiting_since = before[1:]
            else:
                self._frames += 1
                self._sent_at = now
                pace.awaited.append(SentFrame(newest, self._busy.cells if self._busy.since is None else -1))
            if watched.view.is_failing:
                self._errors += 1
                watched.seen_version = None
                pace.due = now + ERROR_PAUSE_S
            return max(now + POLL_S / 4, next_frame_at(pace, now, self._busy.since))

    def _is_prompt(self, frame: SentFrame) -> bool:
        """Return whether the browser's answer to this frame shows when it was painted.

        False if the frame cannot be used to measure latency, or if a running cell may have delayed the answer.
        """
        if not frame.received:
            return False
        # An answer on another thread than the cells' waits for none of them.
        is_on_subshell = threading.current_thread() is not threading.main_thread()
        return is_on_subshell or (self._busy.since is None and self._busy.cells == frame.cells)

    def _version_of(self, watched: _Watched) -> int | None:
        # A source whose version raises is drawn, so that the failure shows on the view.
        with contextlib.suppress(Exception):
            return watched.view.version
        return None

    def _run(self) -> None:
        while True:
            following = self.step()
            with self._changed:
                if not self._watched:
                    self._thread = None
                    return
                pause = following - self._clock()
                if pause > 0 and not self._is_woken:
                    self._changed.wait(None if pause == math.inf else pause)
                self._is_woken = False

    def _wake(self) -> None:
        self._is_woken = True
        self._changed.notify()


@functools.cache
def get_painter() -> Painter:
    """Return the process's painter, whose thread draws all views.

    It is made on first use and stopped when the process exits.
    """
    painter = Painter()
    atexit.register(painter.stop)
    return painter
