"""The network's thread: one event loop in a background thread, shared by all feeds and started on first use.

It is separate from the notebook kernel's own loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Protocol, TypeVar
from weakref import WeakSet

from aries_nb.errors import ClosedError

__all__ = [
    "Background",
    "ForkAware",
    "InheritedSocket",
    "merged_on_network",
    "on_network",
    "on_network_later",
    "register_fork_aware",
    "run_on_thread",
    "runs_one_of",
]

T = TypeVar("T")


def on_network(work: Callable[[], T]) -> Future[T]:
    """Run short work on the network's thread (the event loop of all feeds), between two received frames.

    Returns a future with its result or error. Any thread may call.
    """

    async def run() -> T:
        return work()

    return Background.shared().submit(run())


def merged_on_network(work: Callable[[], object]) -> Callable[[], None]:
    """Return a function, for any thread, that has short work run soon on the network's thread.

    Calls that come before it runs are one.
    """
    is_waiting = threading.Event()

    async def run() -> None:
        is_waiting.clear()
        work()

    def soon() -> None:
        if not is_waiting.is_set():
            is_waiting.set()
            with suppress(ClosedError):  # in a fork
                Background.shared().submit(run())

    return soon


def on_network_later(seconds: float, work: Callable[[], object]) -> None:
    """Run short work on the network's thread after `seconds`; to be called on that thread only."""
    asyncio.get_running_loop().call_later(seconds, work)


class Background:
    """A daemon thread (the network's thread) that runs an event loop. Every method may be called from any thread."""

    _shared: Background | None = None
    _guard = threading.Lock()

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._is_after_fork = False
        self._thread = threading.Thread(target=self._run, name="aries-nb-network", daemon=True)
        self._thread.start()
        register_fork_aware(self)

    @classmethod
    def shared(cls) -> Background:
        """Return the background loop of this process, which is started by the first call."""
        with cls._guard:
            if cls._shared is None:
                cls._shared = cls()
            return cls._shared

    def submit(self, work: Coroutine[object, object, T]) -> Future[T]:
        """Run the coroutine `work` on the loop. Returns a future with its result or error.

        Raises ClosedError in a fork: only the process that made the loop has its thread.
        """
        if self._is_after_fork:
            work.close()
            raise ClosedError("the connection belongs to the process that forked", advice="Connect again in this one.")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def is_current(self) -> bool:
        """Return whether the caller runs on the network's thread, where it must not wait for work on the loop."""
        return threading.current_thread() is self._thread

    def after_fork(self) -> None:
        """Refuse all further work in a forked child process, which has no copy of the thread.

        The next call of `shared` there makes a new loop.
        """
        self._is_after_fork = True
        Background._shared, Background._guard = None, threading.Lock()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


class ForkAware(Protocol):
    """Interface of an object that must close itself in a fork of this process (`multiprocessing`, `os.fork`).

    The child has copies of the sockets but no other thread, and what it wrote would go into the parent's connections.
    """

    def after_fork(self) -> None:
        """Close the object in a forked child process, in which this is called, without any I/O.

        No other thread runs in the child, and locks may be held for ever by threads that do not exist there.
        """


class _ForkAwareObjects:
    """The objects of this process that are to be closed in a forked child process, held by weak references."""

    def __init__(self) -> None:
        self._objects: WeakSet[ForkAware] = WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def add(self, owner: ForkAware) -> None:
        """Register an object: its `after_fork` is called in each forked child process while the object lives."""
        self._objects.add(owner)

    def _after_fork(self) -> None:
        owner, self._objects = list(self._objects), WeakSet()
        for each in owner:
            each.after_fork()


_forks = _ForkAwareObjects()


class InheritedSocket:
    """Closes the copy of a socket that a forked child process inherits; `number_of` returns its file descriptor.

    While the copy is open, the server does not notice that the parent process has ended.
    """

    def __init__(self, number_of: Callable[[], int]) -> None:
        self._number_of = number_of
        register_fork_aware(self)

    def after_fork(self) -> None:
        """Redirect the copy's descriptor to the null device in the child process, which closes the copy of the socket.

        The descriptor itself stays open, because the object that owns it may still close it.
        """
        number = self._number_of()
        if number >= 0:
            with open(os.devnull, "rb") as nothing:
                os.dup2(nothing.fileno(), number, inheritable=False)


def register_fork_aware(owner: ForkAware) -> None:
    """Call `owner.after_fork()` in every fork of this process for as long as the object lives. Any thread may call."""
    _forks.add(owner)


def runs_one_of(loops: Collection[asyncio.AbstractEventLoop]) -> bool:
    """Return whether this thread runs one of these event loops."""
    try:
        return asyncio.get_running_loop() in loops
    except RuntimeError:
        return False


def run_on_thread(work: Callable[[], T], *, name: str) -> Future[T]:
    """Run blocking `work` on a new daemon thread called `name`. Returns a future with its result or error.

    Cancelling the future ends the wait at once; the work runs to its end, and its result is dropped. An executor is not
    used because the interpreter joins its threads at exit, so one that hangs would keep it from exiting.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # the border of the thread: the future raises it
            with suppress(InvalidStateError):
                future.set_exception(error)
        else:
            with suppress(InvalidStateError):
                future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
