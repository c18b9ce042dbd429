"""Watches whether a notebook cell is running, by IPython's events, on whichever thread IPython runs its cells."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CellWatch", "NeverBusy", "cell_watch"]


# Switch interval of the interpreter in seconds: Python's default, and ours while a cell runs.
USUAL_SWITCH_S = 0.005
CELL_SWITCH_S = 0.001


class BusySince(Protocol):
    """Knows whether, and since when, the kernel is busy with a notebook cell (an interface)."""

    @property
    def since(self) -> float | None:
        """Start of the running cell, in s on the clock of the painter (the thread that draws).

        None when no cell runs.
        """

    @property
    def cells(self) -> int:
        """Number of notebook cells that have started so far."""

    def start(self) -> None:
        """Start watching the cells; a second call does nothing."""

    def stop(self) -> None:
        """Stop watching the cells; a second call does nothing."""


class NeverBusy:
    """Stands for the watch of notebook cells in a process without a notebook kernel: no cell ever runs."""

    since: float | None = None
    cells = 0

    def start(self) -> None:
        """Do nothing: this process has no cells to watch."""

    def stop(self) -> None:
        """Do nothing: this process has no cells to watch."""


class _Events(Protocol):
    def register(self, event: str, function: Callable[..., None]) -> None: ...
    def unregister(self, event: str, function: Callable[..., None]) -> None: ...


class CellWatch:
    """Watches the cells of one IPython shell. Its methods may be called on any thread.

    `since` is the start of the running cell in s on `clock`, None when none runs; `cells` counts those that have
    started. While a cell runs and the watch is on, the interpreter's switch interval is 1 ms instead of 5 ms:
    drawing a view takes the interpreter lock a dozen times, and during a pure-Python cell each time costs one
    interval. It is restored when the cell ends, and left alone where the user has set another one.
    """

    def __init__(self, events: _Events, clock: Callable[[], float]) -> None:
        self._events = events
        self._clock = clock
        self._is_watching = False
        self._is_shortened = False
        self.since: float | None = None
        self.cells = 0

    def start(self) -> None:
        """Start watching the shell's cells; a second call does nothing.

        One is taken to be running now, since it is a cell that displays a view.
        """
        if self._is_watching:
            return
        self._is_watching = True
        self._began()
        self._events.register("pre_run_cell", self._began)
        self._events.register("post_run_cell", self._ended)

    def stop(self) -> None:
        """Stop watching the shell's cells, and restore the interpreter's switch interval.

        A second call does nothing.
        """
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
            self._is_shortened = True
            sys.setswitchinterval(CELL_SWITCH_S)

    def _ended(self, *_: object) -> None:
        self.since = None
        if self._is_shortened and sys.getswitchinterval() == CELL_SWITCH_S:
            sys.setswitchinterval(USUAL_SWITCH_S)
        self._is_shortened = False


def cell_watch(clock: Callable[[], float]) -> BusySince:
    """Return the watch of this process's cells: of IPython's where there is a shell, else one that is never busy.

    `clock` returns the time in s.
    """
    # IPython is never imported here, for a script's sake: where a shell runs it is imported already.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return CellWatch(shell.events, clock) if shell is not None else NeverBusy()
