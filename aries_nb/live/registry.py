"""What a feed has handed out, found again by what was asked for: a cell that runs again gets the same object."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar, cast
from weakref import WeakValueDictionary

from aries_nb.live.live_object import Held

__all__ = ["Kept"]

T = TypeVar("T", bound=Held)


class Kept:
    """Frames, books, bars and chains that are still in somebody's hands. Any thread may ask.

    `check` raises where nothing new can be had any more.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._held: WeakValueDictionary[object, Held] = WeakValueDictionary()
        self._locks: WeakValueDictionary[object, threading.RLock] = WeakValueDictionary()
        self._is_closed = False
        # Held only to look and to write: what is made may wait for the network, and must not hold up anything else.
        self._guard = threading.RLock()

    def same(self, key: object, make: Callable[[], T]) -> T:
        """What was made for this key before, if it is still open; else what `make` gives now.

        Callers at the same time get the same object; those with another key do not wait for it.
        """
        with self._guard:
            lock = self._locks.setdefault(key, threading.RLock())
        with lock:
            self._check()
            held = self._held.get(key)
            if held is None or not held.is_open:
                held = make()
                with self._guard:
                    is_late = self._is_closed
                    self._held[key] = held
                if is_late:  # it would outlive what it belongs to
                    held.close()
                    self._check()
            return cast("T", held)

    def held(self) -> list[Held]:
        """Those that are open."""
        with self._guard:
            every = list(self._held.values())
        return [held for held in every if held.is_open]

    def close(self) -> None:
        """Close them all, and whatever is just being made when it is done."""
        with self._guard:
            self._is_closed = True
            every = list(self._held.values())
        with ExitStack() as steps:  # an interrupt in the midst of one does not keep the others
            for held in every:
                steps.callback(held.close)
