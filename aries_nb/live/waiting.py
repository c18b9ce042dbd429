"""One door between the network's thread and whoever waits; wake-ups that pile up count as one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from numbers import Real

from aries_nb.errors import UsageError, WaitTimeoutError

__all__ = ["Watch", "wait_for", "wait_for_async"]

Watch = Callable[[Callable[[], None]], Callable[[], None]]

# Also without any wake-up a waiter looks again this often: a closed feed must not leave it waiting.
LOOK_SECONDS = 0.5


def wait_for(is_done: Callable[[], bool], watches: tuple[Watch, ...], *, timeout: float | None, what: str) -> None:
    """Block until `is_done()`; it is asked again after each wake-up and may raise. Raises WaitTimeoutError."""
    deadline = _deadline(timeout)
    bell = threading.Event()
    undo: list[Callable[[], None]] = []
    try:
        for watch in watches:
            undo.append(watch(bell.set))  # one by one: an interrupt may come between two
        while not is_done():
            left = LOOK_SECONDS if deadline is None else min(deadline - time.monotonic(), LOOK_SECONDS)
            if left <= 0:
                raise _too_late(timeout, what)
            bell.wait(left)
            bell.clear()
    finally:
        for stop in undo:
            stop()


async def wait_for_async(
    is_done: Callable[[], bool], watches: tuple[Watch, ...], *, timeout: float | None, what: str
) -> None:
    """The same on the caller's event loop, which goes on meanwhile."""
    deadline = _deadline(timeout)
    loop = asyncio.get_running_loop()
    bell = asyncio.Event()
    is_ringing = threading.Event()

    def ring() -> None:
        if not is_ringing.is_set() and not loop.is_closed():
            is_ringing.set()
            loop.call_soon_threadsafe(bell.set)

    undo: list[Callable[[], None]] = []
    try:
        for watch in watches:
            undo.append(watch(ring))
        while not is_done():
            left = LOOK_SECONDS if deadline is None else min(deadline - time.monotonic(), LOOK_SECONDS)
            if left <= 0:
                raise _too_late(timeout, what)
            try:
                async with asyncio.timeout(left):
                    await bell.wait()
            except TimeoutError:
                continue
            is_ringing.clear()  # first: a ring between the two would be lost the other way round
            bell.clear()
    finally:
        for stop in undo:
            stop()


def _deadline(timeout: object) -> float | None:
    """When to give up, by the monotonic clock; None for never. Raises UsageError for what is no number of seconds."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or timeout != timeout:
        raise UsageError(f"timeout={timeout!r} is no time to wait", advice="Pass seconds, or None to wait for ever.")
    return time.monotonic() + float(timeout)


def _too_late(timeout: float | None, what: str) -> WaitTimeoutError:
    return WaitTimeoutError(
        f"{what} did not come within {timeout:g} s", advice="Look at the feed's status card, or wait longer."
    )
