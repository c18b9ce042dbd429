"""A user's callbacks, on a thread of their own: however slow they are, the intake is not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Protocol

from aries_nb.model import Observers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Callbacks", "same_function"]

log = logging.getLogger("aries_nb")


def same_function(function: object) -> object:
    """What two functions have in common if a cell that ran again has defined the same one anew: its code.

    One that carries values of its own (a closure, defaults) is only the same as itself.
    """
    if isinstance(function, FunctionType):
        own = function.__closure__ or function.__defaults__ or function.__kwdefaults__
        return function if own else function.__code__
    return function


class RowLog(Protocol):
    """Rows that are numbered from 0 by the index of their frame, and only ever appended."""

    @property
    def version(self) -> int:
        """How many rows have been written since the beginning."""

    def frame(self) -> pd.DataFrame:
        """The rows that are kept."""

    def watch(self, ring: Callable[[], None]) -> Callable[[], None]:
        """Have `ring` called after each change. Returns the undo."""


class Callbacks:
    """Runs jobs after `ring`; wake-ups that pile up count as one, so each job takes all that is new at once.

    A job that raises is logged and counted, and called again next time.
    """

    def __init__(self) -> None:
        self._bell = threading.Event()
        self._jobs = Observers()
        self._guard = threading.Lock()  # of `_thread`
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self.errors = 0
        self.last_error = ""

    def ring(self) -> None:
        """Wake the thread; from any thread, at once."""
        self._bell.set()

    def add(self, job: Callable[[], None]) -> Callable[[], None]:
        """Run `job` after each ring. Returns the undo."""
        remove = self._jobs.add(job)
        with self._guard:
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="aries-nb-callbacks", daemon=True)
                self._thread.start()
        self.ring()
        return remove

    def on_rows(self, log: RowLog, callback: Callable[[pd.DataFrame], object]) -> Callable[[], None]:
        """Call back with the rows of a log that are new, all that came meanwhile at once. Returns the undo."""
        position = log.version

        def job() -> None:
            nonlocal position
            rows = log.frame()
            rows = rows[rows.index >= position]
            if len(rows):
                position = int(rows.index[-1]) + 1
                callback(rows)

        undo = (self.add(job), log.watch(self.ring))

        def stop() -> None:
            for each in undo:
                each()

        return stop

    def tell(self, problem: str) -> None:
        """Log what a job found wrong, and show it as the last error."""
        self.last_error = problem
        log.warning(problem)

    def close(self) -> None:
        """Stop after the job that runs now."""
        self._is_closed = True
        self.ring()

    def _run(self) -> None:
        while not self._is_closed:
            self._bell.wait()
            self._bell.clear()
            for job in self._jobs:
                try:
                    job()
                except (Exception, SystemExit) as error:  # the border to the user's code
                    if self._is_closed:
                        return  # what it works on is closed as well
                    self.errors += 1
                    self.last_error = f"a callback raised {error!r}"
                    log.exception("a callback raised")
