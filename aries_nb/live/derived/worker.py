"""The thread that keeps derived frames current, one for the process."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias
from weakref import WeakMethod

from aries_nb.model.clock import elapsed
from aries_nb.net.background import register_fork_aware

__all__ = ["SLOW_SECONDS", "DeriveWorker", "Job"]

log = logging.getLogger("aries_nb")

PASS_SECONDS = 0.05  # at most 20 passes a second
SHARE = 0.25  # of the time that passes may take; a longer pass is followed by a longer pause
SLOW_SECONDS = 0.2  # a job that takes longer has pauses of its own, so that it does not delay the others
MOST_PAUSE = 30.0

Advance: TypeAlias = Callable[[], object]


class Job:
    """What the worker does for one derived frame: `advance`, which it refers to weakly, once after each `wake`.

    `depth` orders the frames of a pass: a frame comes after those that it is computed from.
    """

    def __init__(self, advance: Advance, depth: int) -> None:
        self._advance = WeakMethod(advance)
        self.depth = depth
        self.is_due = False
        self.not_before = 0.0
        self.seconds = 0.0
        """How long it took the last time, or the time before, whichever is less."""
        self._newest = 0.0
        self._begun: float | None = None  # while it runs

    def wake(self) -> None:
        """Have it done soon; returns at once. Any thread."""
        if not self.is_due:
            self.is_due = True
            DeriveWorker.shared().add(self)

    @property
    def is_slow(self) -> bool:
        """Whether it took so long the last two times that it is done less often."""
        return self.seconds > SLOW_SECONDS

    @property
    def running_seconds(self) -> float:
        """For how long it has been running; 0 while it does not."""
        begun = self._begun
        return 0.0 if begun is None else elapsed() - begun

    def run(self) -> None:
        """Do it on this thread, and note how long it takes."""
        self.is_due = False
        advance = self._advance()
        if advance is None:
            return
        begun = self._begun = elapsed()
        try:
            advance()
        except Exception:  # the border to the frames; its end would be that of all of them
            log.exception("a derived frame raised")
        self._begun = None
        before, self._newest = self._newest, elapsed() - begun
        self.seconds = min(before, self._newest)
        self.not_before = elapsed() + min(self.seconds / SHARE, MOST_PAUSE) if self.is_slow else 0.0


class DeriveWorker:
    """Does the jobs that are due, in passes, each job at most once a pass and in the order of their depths."""

    _shared: DeriveWorker | None = None
    _guard = threading.Lock()

    def __init__(self) -> None:
        self._due: deque[Job] = deque()
        self._wake = threading.Event()
        self._numbers = itertools.count()
        register_fork_aware(self)
        threading.Thread(target=self._run, name="aries-nb-derive", daemon=True).start()

    @classmethod
    def shared(cls) -> DeriveWorker:
        """Return the worker of this process, whose thread is started by the first call."""
        worker = cls._shared
        if worker is None:
            with cls._guard:
                worker = cls._shared = cls._shared or cls()
        return worker

    def add(self, job: Job) -> None:
        """Have a job done soon; returns at once. Any thread."""
        self._due.append(job)
        self._wake.set()

    def after_fork(self) -> None:
        """Leave the worker to the process that has its thread; the next call of `shared` makes a new one."""
        DeriveWorker._shared, DeriveWorker._guard = None, threading.Lock()

    def _run(self) -> None:
        pause = threading.Event()  # never set
        while True:
            self._wake.wait()
            self._wake.clear()
            begun = elapsed()
            late = self._pass()
            cost = elapsed() - begun
            pause.wait(max(PASS_SECONDS - cost, cost / SHARE - cost, PASS_SECONDS / 10))
            if late:
                self._wake.set()

    def _pass(self) -> bool:
        """Do what is due; returns whether jobs are left for the next pass."""
        heap: list[tuple[int, int, Job]] = []
        done: set[int] = set()
        later: list[Job] = []
        while True:
            while self._due:
                job = self._due.popleft()
                if id(job) in done or job.not_before > elapsed():
                    later.append(job)
                else:
                    heapq.heappush(heap, (job.depth, next(self._numbers), job))
            if not heap:
                break
            *_, job = heapq.heappop(heap)
            done.add(id(job))
            job.run()
        self._due.extend(later)
        return bool(later)
