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
    """Do something short on the network's thread, between two frames. The future gives or raises what it does."""

    async def run() -> T:
        return work()

    return Background.shared().submit(run())


def on_network_later(seconds: float, work: Callable[[], object]) -> None:
    """Do something short on the network's thread after a while; called on that thread."""
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
        """Run a coroutine on the loop. Raises ClosedError in a fork of the process whose loop it is."""
        if self._is_after_fork:
            work.close()
            raise ClosedError("the connection belongs to the process that forked", advice="Connect again in this one.")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def is_current(self) -> bool:
        """Whether the caller is on the network's thread, where waiting for it would be for ever."""
        return threading.current_thread() is self._thread

    def after_fork(self) -> None:
        """Be of no use in a fork: the thread is not there, the loop's own sockets are its parent's."""
        self._is_after_fork = True
        Background._shared, Background._guard = None, threading.Lock()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


class ForkAware(Protocol):
    """What a fork lets go of."""

    def after_fork(self) -> None:
        """Be of no use from now on; in the fork, where no other thread runs and any lock may be held for ever."""


class _ForkAwareObjects:
    """Everything of this process that its forks let go of."""

    def __init__(self) -> None:
        self._held: WeakSet[ForkAware] = WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def add(self, held: ForkAware) -> None:
        self._held.add(held)

    def _after_fork(self) -> None:
        held, self._held = list(self._held), WeakSet()
        for each in held:
            each.after_fork()


_forks = _ForkAwareObjects()


class InheritedSocket:
    """A socket, known by its number, whose copy a fork gives up: open, it would hide its parent's end from a server."""

    def __init__(self, number_of: Callable[[], int]) -> None:
        self._number_of = number_of
        register_fork_aware(self)

    def after_fork(self) -> None:
        """Give the copy up. Its number goes on to stand for a file, since whoever holds it may close it any time."""
        number = self._number_of()
        if number >= 0:
            with open(os.devnull, "rb") as nothing:
                os.dup2(nothing.fileno(), number, inheritable=False)


def register_fork_aware(held: ForkAware) -> None:
    """Have `held.after_fork()` called in every fork of this process, for as long as it lives. Any thread may call."""
    _forks.add(held)


def run_on_thread(work: Callable[[], T], *, name: str) -> Future[T]:
    """Start `work` on a new daemon thread called `name`. The future gives its result, or raises what it raised.

    A cancelled future wakes whoever waits for it at once; the work itself goes on to its end, and nobody hears of it.
    An executor's threads are joined at the end of the interpreter, so one that hangs would keep it from exiting.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # the border of the thread: whoever waits raises it
            with suppress(InvalidStateError):
                future.set_exception(error)
        else:
            with suppress(InvalidStateError):
                future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
