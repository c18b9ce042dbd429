"""What a feed has handed out, found again by what was asked for: a cell that runs again gets the same object."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, cast
from weakref import WeakValueDictionary

from aries_nb.live.held import Held

__all__ = ["Kept"]

T = TypeVar("T", bound=Held)


class Kept:
    """Frames, books, bars and chains that are still in somebody's hands. Any thread may ask.

    `check` raises where nothing new can be had any more.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._held: WeakValueDictionary[object, Held] = WeakValueDictionary()
        # Held while something is found or made, so that callers at the same time get the same object.
        self.guard = threading.RLock()

    def same(self, key: object, make: Callable[[], T]) -> T:
        """What was made for this key before, if it is still open; else what `make` gives now."""
        with self.guard:
            self._check()
            held = self._held.get(key)
            if held is None or not held.is_open:
                held = self._held[key] = make()
            return cast("T", held)

    def close(self) -> None:
        """Close them all."""
        for held in list(self._held.values()):
            held.close()
