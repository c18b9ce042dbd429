"""Who wants to hear that a store has changed."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Bells"]


class Bells:
    """Callbacks without arguments. Any thread adds, the writer's thread rings."""

    def __init__(self) -> None:
        self._rings: tuple[Callable[[], None], ...] = ()

    def add(self, ring: Callable[[], None]) -> Callable[[], None]:
        """Have `ring` called after each change; it must return at once. Returns the undo."""
        self._rings = (*self._rings, ring)

        def undo() -> None:
            self._rings = tuple(each for each in self._rings if each is not ring)

        return undo

    def ring(self) -> None:
        """Tell everybody."""
        for ring in self._rings:
            ring()
