"""Thread-safe list of callbacks that are called when something changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

__all__ = ["Observers"]

log = logging.getLogger("aries_nb")


class Observers:
    """Callbacks without arguments, called in the order in which they were added. Any thread may use every method.

    Iterating goes over a copy. The lock is held to copy or to write, never while a callback runs.
    """

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[[], None]] = {}
        # Reentrant: in the middle of `add` the garbage collector may end an object, which removes its own callback.
        self._lock = threading.RLock()

    def add(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Register `callback`, which must return at once. Returns a function that removes it; idempotent.

        One that is added twice is called twice, and removed by each of the two functions once.
        """
        key = object()
        with self._lock:
            self._callbacks[key] = callback

        def remove() -> None:
            with self._lock:
                removed = self._callbacks.pop(key, None)
            del removed  # not under the lock: it may be the last reference to something with a finalizer

        return remove

    def notify(self) -> None:
        """Call all of them. One that raises is logged and does not keep the others from being called."""
        for callback in self:
            try:
                callback()
            except Exception:  # the border to other rooms' code, and to the user's
                log.exception("an observer raised")

    def __iter__(self) -> Iterator[Callable[[], None]]:
        with self._lock:
            # A list, since `tuple` allocates after it has begun to iterate: the collector could then change the dict.
            callbacks = list(self._callbacks.values())
        return iter(callbacks)
