"""Work that blocks, on a daemon thread of its own: it holds up neither the loop nor the end of the interpreter."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TypeVar

__all__ = ["run_aside"]

T = TypeVar("T")


def run_aside(work: Callable[[], T], *, name: str) -> Future[T]:
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
