"""One message for what plotly sends as four.

A FigureWidget's `batch_update` sets four traits one after the other, each a message: two edit numbers, the update, and
None to take the update back. ipywidgets' own way to gather them keeps only the last value of each trait, so the update
would be lost. Here they leave as one message with the update in it. A message costs the notebook server, the browser
and, beside a busy cell, the interpreter lock about the same whatever its size: this makes a figure four times cheaper.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["Gathering"]


class Comm(Protocol):
    """A widget's channel to its front ends, as far as it is used here."""

    send: Any


class Gathering:
    """Stands before a comm's `send`; lets everything pass but what one thread sends within `as_one`."""

    def __init__(self, comm: Comm) -> None:
        self._send = comm.send
        self._thread = 0
        self._state: dict[str, Any] = {}
        self._paths: list[list[Any]] = []
        self._buffers: list[Any] = []
        comm.send = self.send

    def send(self, data: dict[str, Any] | None = None, *rest: object, buffers: Any = None, **options: object) -> None:  # noqa: ANN401
        """Send, or keep for the one message; the signature is that of the comm's own."""
        if self._thread != threading.get_ident() or data is None or data.get("method") != "update":
            self._send(data, *rest, buffers=buffers, **options)
            return
        for name, value in data["state"].items():
            # Taken back in the same breath: the update must leave, and the browser needs no None after it.
            if value is not None or self._state.get(name) is None:
                self._state[name] = value
        self._paths += data.get("buffer_paths") or []
        self._buffers += buffers or []

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """Within it, what this thread sends is gathered; one message leaves at the end, none if nothing was sent."""
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread = 0
            state, paths, buffers = self._state, self._paths, self._buffers
            self._state, self._paths, self._buffers = {}, [], []
            if state:
                self._send({"method": "update", "state": state, "buffer_paths": paths}, buffers=buffers)
