"""The network's thread: one event loop for all feeds, started on first use, never the kernel's."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Protocol, TypeVar
from weakref import WeakSet

from aries_nb.errors import ClosedError

__all__ = [
    "Background",
    "ForkAware",
    "InheritedSocket",
    "on_network",
    "on_network_later",
    "register_fork_aware",
    "run_on_thread",
]

T = TypeVar("T")


def on_network(work: Callable[[], T]) -> Future[T]:
    """Run short work on the network's thread, between two frames. The future gives its result or error."""

    async def run() -> T:
        return work()

    return Background.shared().submit(run())


def on_network_later(seconds: float, work: Callable[[], object]) -> None:
    """Run short work after `seconds`. To be called on the network's thread, on which it also runs."""
    asyncio.get_running_loop().call_later(seconds, work)


class Background:
    """A daemon thread that runs an event loop. Every method may be called from any thread."""

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
        """The process's one background loop."""
        with cls._guard:
            if cls._shared is None:
                cls._shared = cls()
            return cls._shared

    def submit(self, work: Coroutine[object, object, T]) -> Future[T]:
        """Run a coroutine on the loop. Raises ClosedError in a fork of the process that made the loop."""
        if self._is_after_fork:
            work.close()
            raise ClosedError("the connection belongs to the process that forked", advice="Connect again in this one.")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def is_current(self) -> bool:
        """Whether the caller is on the network's thread, where waiting for the loop would never end."""
        return threading.current_thread() is self._thread

    def after_fork(self) -> None:
        """Close in a fork: it has no such thread, and the loop's own sockets are the parent's."""
        self._is_after_fork = True
        Background._shared, Background._guard = None, threading.Lock()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


class ForkAware(Protocol):
    """An object that must not be used in a fork.

    A fork (`multiprocessing`, `os.fork`) has copies of the sockets and only its own thread: what it wrote would go into
    the parent's connections.
    """

    def after_fork(self) -> None:
        """Close without I/O. Called in the fork, where no other thread runs and any lock may be held for ever."""


class _ForkAwareObjects:
    """The fork-aware objects of this process."""

    def __init__(self) -> None:
        self._objects: WeakSet[ForkAware] = WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def add(self, owner: ForkAware) -> None:
        self._objects.add(owner)

    def _after_fork(self) -> None:
        owner, self._objects = list(self._objects), WeakSet()
        for each in owner:
            each.after_fork()


_forks = _ForkAwareObjects()


class InheritedSocket:
    """A socket whose copy a fork closes: open, it would hide from the server that the parent has ended.

    `number_of` returns its file descriptor.
    """

    def __init__(self, number_of: Callable[[], int]) -> None:
        self._number_of = number_of
        register_fork_aware(self)

    def after_fork(self) -> None:
        """Point the descriptor at the null device; it stays open, as its owner in the fork may still close it."""
        number = self._number_of()
        if number >= 0:
            with open(os.devnull, "rb") as nothing:
                os.dup2(nothing.fileno(), number, inheritable=False)


def register_fork_aware(owner: ForkAware) -> None:
    """Call `owner.after_fork()` in every fork of this process while the object lives. Any thread may call."""
    _forks.add(owner)


def run_on_thread(work: Callable[[], T], *, name: str) -> Future[T]:
    """Run blocking `work` on a new daemon thread called `name`. The future gives its result or error.

    Cancelling the future ends the wait at once; the work runs to its end, and its result is dropped. An executor would
    not do: its threads are joined at the end of the interpreter, so one that hangs would keep it from exiting.
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
