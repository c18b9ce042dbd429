"""Who is to be told of a change of state."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Bells"]


class Bells:
    """Callbacks that are rung one after the other. Any thread may add or take away."""

    def __init__(self) -> None:
        self._bells: tuple[Callable[[], None], ...] = ()
        self._guard = threading.Lock()  # of `_bells`; not held while they ring

    def add(self, ring: Callable[[], None]) -> Callable[[], None]:
        """Have `ring` called at each change; it must return at once. Returns the undo."""
        with self._guard:
            self._bells = (*self._bells, ring)

        def undo() -> None:
            with self._guard:
                self._bells = tuple(bell for bell in self._bells if bell is not ring)

        return undo

    def ring(self) -> None:
        """Tell them all."""
        for ring in self._bells:
            ring()
