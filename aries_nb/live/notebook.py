"""What IPython's shell says of a notebook: the running cell, what its output history holds; progress in a cell."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pandas as pd

from aries_nb.model.clock import elapsed

if TYPE_CHECKING:
    from aries_nb.widgets import Progress

__all__ = ["Cell", "LoadProgress", "held_by_history", "notebook_shell", "running_cell", "runs_a_cell"]

log = logging.getLogger("aries_nb")

LONG_SECONDS = 1.0  # a shorter load shows no progress
# Names under which IPython keeps the results of cells; `_7` is that of cell 7.
RESULT = re.compile(r"_{1,3}|_\d+")


class Cell(NamedTuple):
    """One run of a cell: the cell's id in the notebook, which editing does not change, and the number of the run."""

    cell: str
    run: int


def notebook_shell() -> Any:  # noqa: ANN401 - IPython is not a dependency of this room
    """Return the shell of a notebook's kernel; None in a script, and in IPython without a notebook."""
    # IPython is never imported here, for a script's sake: where a shell runs it is imported already.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None


def runs_a_cell() -> bool:
    """Whether the current thread is the one that runs the cells of a notebook's kernel."""
    return notebook_shell() is not None and threading.current_thread() is threading.main_thread()


def running_cell() -> Cell | None:
    """Return the cell that runs now; None where there is none, or the front end does not name its cells."""
    shell = notebook_shell()
    if shell is None:
        return None
    name = shell.get_parent().get("metadata", {}).get("cellId")
    return Cell(name, shell.execution_count) if isinstance(name, str) else None


def held_by_history(shell: Any) -> Counter[int]:  # noqa: ANN401
    """Return how many references the output history of a shell has to each object, by the object's id.

    The history: `Out` (`_oh`), `_`, `__`, `___`, `_1` and so on, what the display hook keeps of them, and the result of
    the newest cell.
    """
    named = [value for names in (shell.user_ns, shell.user_ns_hidden) for value in _results(names)]
    hook = shell.displayhook
    newest = {id(each): each for each in (shell.last_execution_result, hook.exec_result) if each is not None}
    of_cells = list(shell.user_ns.get("_oh", {}).values())
    results = (getattr(each, "result", None) for each in newest.values())
    return Counter(map(id, (*named, *of_cells, *_results(vars(hook)), *results)))


class LoadProgress:
    """Context manager that shows the progress of loading a history, which arrives from the newest page back.

    It shows a progress bar on the thread that runs a notebook's cells, on other threads lines in the log; nothing for a
    load of less than about a second. `start` and `end` of the history are in ns since the epoch, `name` is shown. Used
    by the thread that waits for the history.
    """

    def __init__(self, name: str, start: int, end: int) -> None:
        self._name = name
        self._start, self._end = start, end
        self._began = elapsed()
        self._progress: Progress | None = None

    def reached(self, back_to: int) -> None:
        """Show that the bars from time `back_to` on (ns since the epoch) have arrived and more will follow.

        Shows nothing while the speed so far makes the whole load take less than a second.
        """
        done = (self._end - back_to) / (self._end - self._start)
        if self._progress is None and elapsed() - self._began <= LONG_SECONDS * done:
            return
        text = f"{self._name}: back to {pd.Timestamp(back_to, tz='UTC'):%Y-%m-%d}"
        if self._progress is None and runs_a_cell():
            from aries_nb.widgets import Progress

            self._progress = Progress()
        if self._progress is None:
            log.info("%s so far", text)
        else:
            self._progress.show(done, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.close()


def _results(names: dict[str, Any]) -> list[Any]:
    return [value for name, value in list(names.items()) if RESULT.fullmatch(name)]
