"""A long load is told where the user looks: by a progress bar in the cell that waits for it, in the log elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

import pandas as pd

if TYPE_CHECKING:
    from aries_nb.widgets import Progress

__all__ = ["Loading"]

log = logging.getLogger("aries_nb")

LONG_SECONDS = 1.0  # what takes less in all is not worth a sight that is gone at once


class Loading:
    """A history on its way, the newest part first. Belongs to the thread that waits for it."""

    def __init__(self, name: str, start: int, end: int) -> None:
        self._name = name
        self._start, self._end = start, end
        self._began = time.monotonic()
        self._progress: Progress | None = None

    def reached(self, back_to: int) -> None:
        """Note that everything from this time on is here (ns since the epoch), and that more is to come.

        Nothing is told before the pace so far makes it long.
        """
        done = (self._end - back_to) / (self._end - self._start)
        if self._progress is None and time.monotonic() - self._began <= LONG_SECONDS * done:
            return
        text = f"{self._name}: back to {pd.Timestamp(back_to, tz='UTC'):%Y-%m-%d}"
        if self._progress is None and _runs_a_cell():
            from aries_nb.widgets import Progress

            self._progress = Progress()
        if self._progress is None:
            log.info("%s so far", text)
        else:
            self._progress.tell(done, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.close()


def _runs_a_cell() -> bool:
    """Whether this is the thread that runs the cells of a notebook's kernel."""
    # IPython is not imported for a script's sake: a kernel has imported it.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None and threading.current_thread() is threading.main_thread()
