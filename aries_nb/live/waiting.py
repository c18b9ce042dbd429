"""Waiting for a condition that the network's thread makes true: blocking a thread, or on an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from numbers import Real

from aries_nb.errors import UsageError, WaitTimeoutError
from aries_nb.model import Observers, RecordBuffer
from aries_nb.model.clock import elapsed
from aries_nb.net.background import run_on_thread

__all__ = ["PendingReply", "Watch", "wait_for", "wait_for_async"]

Watch = Callable[[Callable[[], None]], Callable[[], None]]

# The condition is also checked this often without a notification: a closed feed must not leave a waiter blocked.
LOOK_SECONDS = 0.5


def wait_for(is_done: Callable[[], bool], watches: tuple[Watch, ...], *, timeout: float | None, what: str) -> None:
    """Block until `is_done()` is true. Raises WaitTimeoutError after `timeout` seconds (None: no limit).

    `is_done` is called on this thread at the beginning, after notifications, and every 0.5 s; its exceptions pass
    through. Each of `watches` registers a function to be called at changes that may matter, and returns one that ends
    the calls. `what` names the condition in the error.
    """
    deadline = _deadline(timeout)
    notified = threading.Event()
    undo: list[Callable[[], None]] = []
    try:
        for watch in watches:
            undo.append(watch(notified.set))  # one by one: an interrupt may come between two
        while not is_done():
            left = LOOK_SECONDS if deadline is None else min(deadline - elapsed(), LOOK_SECONDS)
            if left <= 0:
                raise _too_late(timeout, what)
            notified.wait(left)
            notified.clear()
    finally:
        for stop in undo:
            stop()


async def wait_for_async(
    is_done: Callable[[], bool],
    watches: tuple[Watch, ...],
    *,
    timeout: float | None,
    what: str,
    on_thread: bool = False,
) -> None:
    """Await that `is_done()` is true, on the caller's event loop. Raises WaitTimeoutError after `timeout` seconds.

    `wait_for` for async code. `timeout` None means no limit; exceptions of `is_done` pass through, which is called on
    the loop, or with `on_thread` on a thread of its own, where it would hold up the loop: what it returns later than
    `timeout` does not count. Each of `watches` registers a function to be called at changes that may matter, and
    returns one that ends the calls. `what` names the condition in the error.
    """
    deadline = _deadline(timeout)
    loop = asyncio.get_running_loop()
    notified = asyncio.Event()
    is_pending = threading.Event()

    def notify() -> None:
        if not is_pending.is_set() and not loop.is_closed():
            is_pending.set()
            loop.call_soon_threadsafe(notified.set)

    undo: list[Callable[[], None]] = []
    try:
        for watch in watches:
            undo.append(watch(notify))
        while not (await _on_thread(is_done, deadline) if on_thread else is_done()):
            left = LOOK_SECONDS if deadline is None else min(deadline - elapsed(), LOOK_SECONDS)
            if left <= 0:
                raise _too_late(timeout, what)
            try:
                async with asyncio.timeout(left):
                    await notified.wait()
            except TimeoutError:
                continue
            is_pending.clear()  # first: in the other order a notification between the two would be lost
            notified.clear()
    finally:
        for stop in undo:
            stop()


async def _on_thread(is_done: Callable[[], bool], deadline: float | None) -> bool:
    """Return what `is_done` returns on a thread of its own, False if it has not by the deadline.

    Not on the loop's executor: calls of the user that block may take up all its threads.
    """
    left = None if deadline is None else deadline - elapsed()
    try:
        async with asyncio.timeout(left) as limit:
            return await asyncio.wrap_future(run_on_thread(is_done, name="aries-nb-wait"))
    except TimeoutError:
        if limit.expired():
            return False
        raise


class PendingReply:
    """A sink for the text of one reply to one query: `text` is None until it arrives.

    The network's thread writes, any thread reads.
    """

    def __init__(self) -> None:
        self.buffer = RecordBuffer()
        self.text: str | None = None
        self._observers = Observers()

    def publish(self) -> None:
        """Set `text` to the reply in `buffer`, if it has arrived; called by the network's thread."""
        if self.buffer.values:
            self.text = str(self.buffer.values[-1])
            self._observers.notify()
        self.buffer.clear()

    def interrupted(self) -> None:
        """Do nothing when the stream breaks: a reply stays valid, and the session repeats an unanswered query."""

    def restart(self) -> None:
        """Do nothing: a replay asks no server."""

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when the reply arrives, on the network's thread. Returns a function that ends the calls."""
        return self._observers.add(callback)


def _deadline(timeout: object) -> float | None:
    """Return the end of a timeout in seconds by the monotonic clock, None for None.

    Raises UsageError for anything but a number.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or timeout != timeout:
        raise UsageError(f"timeout={timeout!r} is no time to wait", advice="Pass seconds, or None for no limit.")
    return elapsed() + float(timeout)


def _too_late(timeout: float | None, what: str) -> WaitTimeoutError:
    advice = "Look at the feed's status card, at feed.unreadable for messages that were not understood, or wait longer."
    return WaitTimeoutError(f"{what} did not come within {timeout:g} s", advice=advice)
