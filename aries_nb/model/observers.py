"""A thread-safe list of callbacks, called when the object that owns it has changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

__all__ = ["Observers"]

log = logging.getLogger("aries_nb")


class Observers:
    """Thread-safe list of callbacks without arguments, called in the order in which they were added.

    Any thread may use every method. Iteration yields the callbacks that were registered when it began.
    """

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[[], None]] = {}
        # Reentrant: in the middle of `add` the garbage collector may end an object, which removes its own callback.
        self._lock = threading.RLock()

    def add(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Register `callback`, which must return at once.

        Returns a function that removes it and may be called repeatedly.

        A callback that is added twice is called twice; each of the two returned functions removes one of them.
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
        """Call every callback once, on this thread.

        If one raises, the error is logged and the next callbacks are still called.
        """
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
