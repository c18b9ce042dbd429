"""Computations that follow changes of data: inputs taken at instants of market time, computed in their order.

What is computed is a function of the feed's events, so that a replay computes the same: neither how long a computation
takes nor when anyone looks has a part in it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from aries_nb.live.callbacks import Callbacks
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.store import SETTLING_NS

__all__ = ["SAMPLE_NS", "Sampling"]

T = TypeVar("T")

SAMPLE_NS = 200_000_000  # the shortest time between two computations
LOOK_SECONDS = 0.1
# Computations that may wait: the replay of an hour would otherwise take the inputs of 18,000 at once. Twenty seconds of
# a live feed: that long no computation of a fifth of a second may take.
MOST_WAITING = 100


class Sampling(Generic[T]):
    """Takes inputs at the first multiple of 0.2 s of market time after a change, and computes with them on a thread.

    `capture` is called with the instant on the network's thread, so it must be quick and what it returns must never
    change; None is nothing to compute. `compute` gets that, and whether anything had changed, on the thread of
    `worker`: of each instant, in their order. After a change, inputs are also taken at each multiple in the five
    seconds that a decision may take without another one. Where 100 computations wait, the network's thread waits too.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        worker: Callbacks,
        capture: Callable[[int], T | None],
        compute: Callable[[T, bool], None],
    ) -> None:
        self._arrivals = arrivals
        self._worker = worker
        self._capture = capture
        self._compute = compute
        self._cancel: Callable[[], None] | None = None
        self._has_changed = False
        self._until = 0  # the last instant without a change
        self._waiting: deque[tuple[T, bool] | Callable[[], object]] = deque()
        self._room = threading.Semaphore(MOST_WAITING)
        self._is_closed = False
        self.taken = self.computed = 0  # instants
        worker.add(self._compute_all)

    @property
    def is_computed(self) -> bool:
        """Whether everything that was taken has been computed; any thread may ask."""
        return self.computed == self.taken

    def restart(self, work: Callable[[], object]) -> None:
        """Drop what was taken, and do `work` on the worker's thread before the next computation.

        For a replay that begins anew; the network's thread.
        """
        self._cancel, self._has_changed, self._until = None, False, 0
        while self._waiting:
            with suppress(IndexError):  # the worker was quicker
                if isinstance(self._waiting.popleft(), tuple):
                    self._room.release()
                self.computed += 1
        self._waiting.append(work)
        self.taken += 1
        self._worker.wake()

    def close(self) -> None:
        """Take no more inputs; any thread. Idempotent."""
        self._is_closed = True
        if self._cancel is not None:
            self._cancel()

    # The network's thread.

    def changed(self) -> None:
        """Note a change, which the next inputs show."""
        self._has_changed = True
        self._schedule()

    def _schedule(self) -> None:
        if self._cancel is None and not self._is_closed:
            instant = (self._arrivals.now // SAMPLE_NS + 1) * SAMPLE_NS
            self._cancel = self._arrivals.timer.at(instant, self._take)

    def _take(self, instant: int) -> None:
        self._cancel = None
        if self._is_closed:
            return
        has_changed, self._has_changed = self._has_changed, False
        if has_changed:
            self._until = instant + SETTLING_NS
        inputs = self._capture(instant)
        if inputs is not None and self._has_room():
            self._waiting.append((inputs, has_changed))
            self.taken += 1
            self._worker.wake()
        if instant <= self._until:
            self._schedule()

    def _has_room(self) -> bool:
        while not self._room.acquire(timeout=LOOK_SECONDS):
            if self._is_closed:
                return False
        return True

    # The worker's thread.

    def _compute_all(self) -> None:
        while self._waiting:
            try:
                item = self._waiting.popleft()
            except IndexError:  # dropped by `restart`
                return
            try:
                if isinstance(item, tuple):
                    self._compute(*item)
                else:
                    item()
            finally:
                if isinstance(item, tuple):
                    self._room.release()
                self.computed += 1
                if self._waiting:  # also after an error
                    self._worker.wake()
