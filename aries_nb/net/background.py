"""The network's thread: one event loop for all feeds, started on first use, never the kernel's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TypeVar

from aries_nb.errors import ClosedError
from aries_nb.net.forks import left_in_a_fork

__all__ = ["Background", "on_network", "on_network_later"]

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
        self._is_left = False
        self._thread = threading.Thread(target=self._run, name="aries-nb-network", daemon=True)
        self._thread.start()
        left_in_a_fork(self)

    @classmethod
    def shared(cls) -> Background:
        """The process's one background loop."""
        with cls._guard:
            if cls._shared is None:
                cls._shared = cls()
            return cls._shared

    def submit(self, work: Coroutine[object, object, T]) -> Future[T]:
        """Run a coroutine on the loop. Raises ClosedError in a fork of the process whose loop it is."""
        if self._is_left:
            work.close()
            raise ClosedError("the connection belongs to the process that forked", advice="Connect again in this one.")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def is_current(self) -> bool:
        """Whether the caller is on the network's thread, where waiting for it would be for ever."""
        return threading.current_thread() is self._thread

    def leave(self) -> None:
        """Be of no use in a fork: the thread is not there, the loop's own sockets are its parent's."""
        self._is_left = True
        Background._shared, Background._guard = None, threading.Lock()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
