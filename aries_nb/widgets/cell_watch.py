"""Is a cell running? Told by IPython's own events, on whatever thread it runs its cells."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CellWatch", "NeverBusy", "cell_watch"]


# How long a thread keeps the interpreter while another waits for it, seconds: Python's own, and ours beside a cell.
USUAL_SWITCH_S = 0.005
BUSY_SWITCH_S = 0.001


class BusySince(Protocol):
    """Says since when the kernel has been busy with a cell."""

    @property
    def since(self) -> float | None:
        """When the running cell began, in seconds on the painter's clock; None when no cell runs."""

    @property
    def cells(self) -> int:
        """How many cells have begun."""

    def start(self) -> None:
        """Begin to watch."""

    def stop(self) -> None:
        """Stop watching."""


class NeverBusy:
    """No notebook kernel: nothing ever blocks it."""

    since: float | None = None
    cells = 0

    def start(self) -> None:
        """Nothing is to be watched."""

    def stop(self) -> None:
        """Nothing was watched."""


class _Events(Protocol):
    def register(self, event: str, function: Callable[..., None]) -> None: ...
    def unregister(self, event: str, function: Callable[..., None]) -> None: ...


class CellWatch:
    """Follows the cells of one IPython shell. Its methods may be called on any thread.

    While a cell runs and views are watched, the interpreter hands itself over after 1 ms instead of its usual 5: a
    frame takes the lock a dozen times, and beside a pure-Python cell each time costs that long. It is put back when
    the cell ends, and left alone where somebody has set an interval of their own.
    """

    def __init__(self, events: _Events, clock: Callable[[], float]) -> None:
        self._events = events
        self._clock = clock
        self._is_watching = False
        self._is_hastened = False
        self.since: float | None = None
        self.cells = 0

    def start(self) -> None:
        """Begin to watch; a view is displayed by a cell, so one is taken to be running now."""
        if self._is_watching:
            return
        self._is_watching = True
        self._began()
        self._events.register("pre_run_cell", self._began)
        self._events.register("post_run_cell", self._ended)

    def stop(self) -> None:
        """Take our callbacks out of the shell again."""
        if not self._is_watching:
            return
        self._is_watching = False
        self._ended()
        self._events.unregister("pre_run_cell", self._began)
        self._events.unregister("post_run_cell", self._ended)

    def _began(self, *_: object) -> None:
        self.since = self._clock()
        self.cells += 1
        if sys.getswitchinterval() == USUAL_SWITCH_S:
            self._is_hastened = True
            sys.setswitchinterval(BUSY_SWITCH_S)

    def _ended(self, *_: object) -> None:
        self.since = None
        if self._is_hastened and sys.getswitchinterval() == BUSY_SWITCH_S:
            sys.setswitchinterval(USUAL_SWITCH_S)
        self._is_hastened = False


def cell_watch(clock: Callable[[], float]) -> BusySince:
    """Return the watch for this process: IPython's cells where there is a shell, else never busy."""
    # IPython is not imported for a script's sake: a shell that runs has imported it.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return CellWatch(shell.events, clock) if shell is not None else NeverBusy()
