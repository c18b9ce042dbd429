"""The thread that keeps derived frames current, one for the process, and others for functions that are slow."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias
from weakref import WeakMethod

from aries_nb.model.clock import elapsed
from aries_nb.net.background import register_fork_aware

__all__ = ["SLOW_SECONDS", "DeriveWorker", "Job"]

log = logging.getLogger("aries_nb")

PASS_SECONDS = 0.05  # at most 20 passes a second
SHARE = 0.25  # of the time that passes may take; a longer pass is followed by a longer pause
SLOW_SECONDS = 0.2  # a job that takes longer has a thread and pauses of its own, so that it does not delay the others
MOST_PAUSE = 30.0

Advance: TypeAlias = Callable[[], object]


class Job:
    """What the worker does for one derived frame: `advance`, which it refers to weakly, once after each `wake`.

    `after` are the jobs of the frames that it is computed from: it comes after those of them that are due, and does not
    begin while one runs.
    """

    def __init__(self, advance: Advance, after: Sequence[Job] = ()) -> None:
        self._advance = WeakMethod(advance)
        self._after = tuple(after)
        self.depth: int = 1 + max((each.depth for each in after), default=0)
        self.is_due = False
        self.not_before = 0.0
        self.seconds = 0.0
        """How long it took the last time, or the time before, whichever is less."""
        self._newest = 0.0
        self._begun: float | None = None  # while it runs

    def wake(self) -> None:
        """Have it done soon; returns at once. Any thread."""
        worker = DeriveWorker.shared()
        if not self.is_due:
            self.is_due = True
            worker.add(self)
        worker.look()

    @property
    def is_slow(self) -> bool:
        """Whether it took so long the last two times that it is done less often."""
        return self.seconds > SLOW_SECONDS

    @property
    def is_waiting(self) -> bool:
        """Whether it is not to begin yet: it or one that it comes after runs, or it is slow and has a pause."""
        return self.not_before > elapsed() or self._is_held_up

    @property
    def _is_held_up(self) -> bool:
        return self._begun is not None or any(each._is_held_up for each in self._after)

    @property
    def running_seconds(self) -> float:
        """For how long it has been running; 0 while it does not."""
        begun = self._begun
        return 0.0 if begun is None else elapsed() - begun

    def start(self) -> None:
        """Do it on a thread of its own."""
        self._begun = elapsed()
        threading.Thread(target=self.run, name="aries-nb-derive-slow", daemon=True).start()

    def run(self) -> None:
        """Do it on this thread, and note how long it takes."""
        self.is_due = False
        begun = self._begun = elapsed()
        try:
            advance = self._advance()
            if advance is not None:
                advance()
        except Exception:  # the border to the frames; its end would be that of all of them
            log.exception("a derived frame raised")
        before, self._newest = self._newest, elapsed() - begun
        self.seconds = min(before, self._newest)
        self.not_before = elapsed() + min(self.seconds / SHARE, MOST_PAUSE) if self.is_slow else 0.0
        self._begun = None


class DeriveWorker:
    """Does the jobs that are due, in passes, each job at most once a pass and in the order of their depths.

    One thread does them. While one of them takes long another thread goes on with the others, and the first one ends
    with its job. A job that is known to be slow is done on a thread of its own.
    """

    _shared: DeriveWorker | None = None
    _guard = threading.Lock()

    def __init__(self) -> None:
        self._due: deque[Job] = deque()
        self._wake = threading.Event()
        self._numbers = itertools.count()
        self._heap: list[tuple[int, int, Job]] = []  # of a pass: what is to be done; as the next, of its thread
        self._later: list[Job] = []  # what is left for the next pass
        self._handover = threading.Lock()  # of the two below
        self._thread: threading.Thread | None = None
        self._job: Job | None = None  # what the thread does now
        register_fork_aware(self)
        self._go_on()

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

    def look(self) -> None:
        """Have another thread go on if the present job takes long; returns at once. Any thread, at each `wake`."""
        job = self._job
        if job is not None and job.running_seconds > SLOW_SECONDS:
            with self._handover:
                if self._job is job:
                    self._job = None
                    self._go_on()

    def after_fork(self) -> None:
        """Leave the worker to the process that has its thread; the next call of `shared` makes a new one."""
        DeriveWorker._shared, DeriveWorker._guard = None, threading.Lock()

    def _go_on(self) -> None:
        self._thread = threading.Thread(target=self._run, name="aries-nb-derive", daemon=True)
        self._wake.set()
        self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()  # never set
        while True:
            self._wake.wait()
            self._wake.clear()
            begun = elapsed()
            if not self._pass():
                return
            cost = elapsed() - begun
            pause.wait(max(PASS_SECONDS - cost, cost / SHARE - cost, PASS_SECONDS / 10))
            if self._later:
                self._wake.set()

    def _pass(self) -> bool:
        """Do what is due; returns whether this thread is to go on."""
        own = threading.current_thread()
        self._due.extend((*self._later, *(job for *_, job in self._heap)))  # a thread that was left had the latter
        self._heap, self._later = heap, later = list[tuple[int, int, Job]](), list[Job]()
        done: set[int] = set()
        while True:
            while self._due:
                job = self._due.popleft()
                if id(job) in done:
                    later.append(job)
                else:
                    heapq.heappush(heap, (job.depth, next(self._numbers), job))
            if not heap:
                return True
            *_, job = heapq.heappop(heap)
            if job.is_waiting:
                later.append(job)
                continue
            done.add(id(job))
            if job.is_slow:
                job.start()
                continue
            self._job = job
            job.run()
            with self._handover:
                if self._thread is not own:
                    return False
                self._job = None
