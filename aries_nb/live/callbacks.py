"""A user's callbacks, called on a thread of their own, so that a slow one never delays the stream."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from types import CellType, FunctionType
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakSet

from aries_nb.errors import ClosedError, UsageError
from aries_nb.live.notebook import Cell, running_cell
from aries_nb.model import Observers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Callbacks", "NewRows", "News", "Registrations", "same_function"]

log = logging.getLogger("aries_nb")

Watch: TypeAlias = Callable[[Callable[[], None]], Callable[[], None]]
News: TypeAlias = "Callable[[], pd.DataFrame | None]"  # what is new since the last call; None for nothing


def same_function(function: object) -> object:
    """Return a key that is equal for a function and for the one that the same cell defines when it runs again.

    The key is the function's code with the values that it has of its own: defaults, what its closure holds, and the
    arguments of a functools.partial. Values are compared as far as they can be hashed; a list is equal only to itself.
    """
    if isinstance(function, partial):
        named = tuple((name, _same_value(value)) for name, value in sorted(function.keywords.items()))
        return "partial", same_function(function.func), tuple(map(_same_value, function.args)), named
    if isinstance(function, FunctionType):
        defaults = (*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items()))
        return function.__code__, tuple(map(_same_value, (*defaults, *(function.__closure__ or ()))))
    return function


def _same_value(value: object) -> object:
    """Return a key that is equal for equal values, where they can be hashed, else for one value only."""
    if isinstance(value, CellType):
        try:
            value = value.cell_contents
        except ValueError:  # nothing is assigned to the variable yet
            return None
    if isinstance(value, FunctionType):
        return value.__code__  # not with its values: a function may hold itself
    try:
        hash(value)
    except TypeError:
        return "one value", id(value)  # the registered function keeps it alive
    return type(value), value


class Callbacks:
    """Runs jobs (functions without arguments) on one thread, each time after `wake` was called.

    Several calls of `wake` may lead to one run, so a job must process all that is new. A job that raises is logged and
    counted in `errors`, and is called again after the next `wake`.
    """

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._jobs = Observers()
        self._guard = threading.Lock()  # of `_thread`
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._workers: WeakSet[Callbacks] = WeakSet()
        self.errors = 0
        self.last_error = ""

    def wake(self) -> None:
        """Run all jobs that were added, soon and on the callbacks' thread; returns at once. Any thread."""
        self._wake.set()

    def add(self, job: Callable[[], None]) -> Callable[[], None]:
        """Run `job` once soon and after each `wake`, on the callbacks' thread. Returns a function that removes it."""
        remove = self._jobs.add(job)
        with self._guard:
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="aries-nb-callbacks", daemon=True)
                self._thread.start()
        self.wake()
        return remove

    def worker(self) -> Callbacks:
        """Return callbacks with a thread of their own, which ends with this object's at the latest.

        An interrupt may end the call that needs the worker before anything else could close it.
        """
        worker = Callbacks()
        self._workers.add(worker)
        if self._is_closed:
            worker.close()
        return worker

    def report(self, problem: str) -> None:
        """Log a problem that a job found, as a warning, and keep it as `last_error`."""
        self.last_error = problem
        log.warning(problem)

    def is_current(self) -> bool:
        """Whether the caller runs on the callbacks' thread."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """End the thread, and those of the workers; returns at once. Jobs may run once more before it ends."""
        self._is_closed = True
        self.wake()
        for worker in list(self._workers):
            worker.close()

    def _run(self) -> None:
        while not self._is_closed:
            self._wake.wait()
            self._wake.clear()
            for job in self._jobs:
                try:
                    job()
                except BaseException as error:  # the border to the user's code; its end would be that of all callbacks
                    if self._is_closed:
                        return  # the objects that it reads are closed as well
                    self.errors += 1
                    self.last_error = f"a callback raised {error!r}"
                    log.exception("a callback raised")


class Registrations:
    """The functions of a user that one live object calls back. Any thread.

    Each function is registered once for each kind of event ("update", "gap"): one that is registered again, as when its
    cell runs again, replaces itself. `close` removes them all. `name` is that of the live object in errors.
    """

    def __init__(self, callbacks: Callbacks, name: str) -> None:
        self._callbacks = callbacks
        self._name = name
        self._removers: dict[tuple[str, object], Callable[[], None]] = {}
        self._cells: dict[tuple[str, object], Cell | None] = {}  # in which each function was registered
        self._is_closed = False
        self._guard = threading.Lock()  # of these two

    def add(self, kind: str, function: object, job: Callable[[], None], watch: Watch) -> Callable[[], None]:
        """Run `job`, which calls the user's `function`, on the callbacks' thread after each change.

        `watch` registers a function to be called after each change. `kind` is the kind of event, such as "update" or
        "gap". Returns a function that ends the calls. Raises ClosedError after `close`, UsageError for what is no
        function.
        """
        if not callable(function):
            what = f"{type(function).__name__} is no function to call back"
            raise UsageError(what, advice="Pass the function itself, without brackets.")
        key = (kind, same_function(function))
        undo = (self._callbacks.add(job), watch(self._callbacks.wake))

        def remove() -> None:
            with self._guard:
                if self._removers.get(key) is remove:
                    del self._removers[key], self._cells[key]
            for each in undo:
                each()

        with self._guard:
            outdated = remove if self._is_closed else self._removers.get(key)
            if not self._is_closed:
                self._removers[key], self._cells[key] = remove, running_cell()
        if outdated is not None:
            outdated()
        if outdated is remove:
            raise ClosedError(f"{self._name} is closed", advice="Ask the feed for it again.")
        return remove

    def add_news(self, function: Callable[[pd.DataFrame], object], news: News, watch: Watch) -> Callable[[], None]:
        """Call the user's `function` with each result of `news` that is not None, on the callbacks' thread.

        `news` refers to the live object, which is not garbage-collected while `function` is registered. `watch`
        registers a function to be called after each change. Returns a function that ends the calls. Raises ClosedError
        after `close`, UsageError for what is no function.
        """

        def job() -> None:
            new = news()
            if new is not None:
                function(new)

        return self.add("update", function, job, watch)

    def __len__(self) -> int:
        """The number of registered functions."""
        return len(self._removers)

    def cells(self) -> dict[tuple[str, object], Cell | None]:
        """Return the notebook's cell in which each function was registered; None where that is unknown.

        The key is equal for one kind of event and functions that `same_function` takes for the same.
        """
        with self._guard:
            return dict(self._cells)

    def wake(self) -> None:
        """Run the job of every registered function once more, on the callbacks' thread; returns at once. Any thread."""
        self._callbacks.wake()

    def close(self) -> None:
        """Remove all functions; `add` raises ClosedError from then on. Idempotent."""
        with self._guard:
            self._is_closed = True
            removers = list(self._removers.values())
            self._removers.clear()
            self._cells.clear()
        for remove in removers:
            remove()


class NewRows:
    """The rows of a log that were not returned yet; None where there are none.

    `rows_from` returns those from a number on that are still kept, with their numbers as index; it refers to the live
    object of the log, which must not end while its rows are waited for. The first ones are those from `position` on.
    """

    def __init__(self, rows_from: Callable[[int], pd.DataFrame], position: int) -> None:
        self._rows_from = rows_from
        self._position = position

    def __call__(self) -> pd.DataFrame | None:
        """Return them, in the order of arrival."""
        rows = self._rows_from(self._position)
        if not len(rows):
            return None
        self._position = int(rows.index[-1]) + 1
        return rows
