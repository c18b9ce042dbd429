"""The sockets below one HTTP client: httpx limits each wait for a byte, but not how long they trickle altogether."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    import httpx

__all__ = ["Sockets"]


class Sockets:
    """A hook for each request of a client, by which it learns of the client's connections. Any thread may use it."""

    def __init__(self) -> None:
        self._streams: WeakSet[object] = WeakSet()
        self._guard = threading.Lock()

    def __call__(self, request: httpx.Request) -> None:
        """Learn of the connection that this request opens, if it does."""
        request.extensions = {**request.extensions, "trace": self._note}

    @contextmanager
    def cut_after(self, seconds: float) -> Iterator[None]:
        """Cut every connection of the client, should the block take longer. Raises TimeoutError then.

        They are shut down, not closed, so that whoever reads wakes up and finds no other socket under their number.
        """
        is_over = threading.Event()

        def end() -> None:
            is_over.set()
            self._cut()

        timer = threading.Timer(seconds, end)
        timer.name, timer.daemon = "aries-nb-http-deadline", True
        timer.start()
        try:
            yield
        except Exception:
            if not is_over.is_set():
                raise
        finally:
            timer.cancel()
        if is_over.is_set():  # also where it came to an end: that of the connection may have passed for the body's
            raise TimeoutError

    def _note(self, event: str, told: Mapping[str, object]) -> None:
        stream = told.get("return_value")
        if event.endswith(".complete") and hasattr(stream, "get_extra_info"):
            with self._guard:
                self._streams.add(stream)

    def _cut(self) -> None:
        with self._guard:
            streams = list(self._streams)
        for stream in streams:
            below = stream.get_extra_info("socket")  # type: ignore[attr-defined]
            with suppress(OSError):  # ended, or wrapped into TLS: that is a stream of its own
                below.shutdown(socket.SHUT_RDWR)
