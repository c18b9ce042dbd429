"""Limits kept on our side: connections and requests of one broker, and the size of JSON once decoded."""

from __future__ import annotations

import threading

__all__ = ["ConnectionLimit", "RateLimit", "count_lines", "count_values"]

# Shares of `per_second`: a burst of the first, then the second a second. Together they leave a twentieth for requests
# that were sent apart and arrive together.
AT_ONCE, STEADY = 0.2, 0.75
WORTH_COUNTING = 2**18  # bytes; a smaller text becomes a few MB at most


class RateLimit:
    """Rate limiter of the requests to one broker, shared by all its clients. Any thread; `now` is of a monotonic clock.

    `per_second` is what the broker allows in any second, None for no limit.
    """

    def __init__(self, per_second: float | None = None) -> None:
        self.per_second = per_second
        self._step = 0.0 if per_second is None else 1.0 / (STEADY * per_second)
        self._ahead = 0.0 if per_second is None else max(AT_ONCE * per_second - 1.0, 0.0) * self._step
        self._next = float("-inf")  # when the next request would be due if all were evenly spaced
        self._guard = threading.Lock()

    def reserve(self, now: float) -> float:
        """Reserve the next request; returns the seconds to wait before sending it."""
        with self._guard:
            due = max(self._next, now)
            self._next = due + self._step
            return max(due - self._ahead - now, 0.0)

    def pause(self, now: float, seconds: float) -> None:
        """Delay all new reservations by `seconds`: the broker has answered that it had too many requests.

        Does nothing without a limit: the client that was refused waits by itself.
        """
        with self._guard:
            if self.per_second is not None:
                self._next = max(self._next, now + seconds + self._ahead)

    def __repr__(self) -> str:
        return f"<{'any number of' if self.per_second is None else f'{self.per_second:g}'} requests a second>"


class ConnectionLimit:
    """Number of connections to one broker, shared by all its feeds. Any thread.

    `most` is None for no limit. `rate_limit` is that of requests over HTTP, `requests_per_second` at most, None for no
    limit.
    """

    def __init__(self, most: int | None = None, *, requests_per_second: float | None = None) -> None:
        self.most = most
        self.rate_limit = RateLimit(requests_per_second)
        self._in_use = 0
        self._guard = threading.Lock()

    def acquire(self, count: int) -> bool:
        """Take `count` connections, or none; False if fewer are left."""
        with self._guard:
            if self.most is not None and self._in_use + count > self.most:
                return False
            self._in_use += count
            return True

    def release(self, count: int) -> None:
        """Return `count` connections, once they are closed."""
        with self._guard:
            self._in_use -= count

    @property
    def in_use(self) -> int:
        """The number of connections in use."""
        return self._in_use

    def __repr__(self) -> str:
        return f"<{self._in_use} of {'any number of' if self.most is None else self.most} connections>"


def count_values(text: bytes | bytearray) -> int:
    """Upper bound of the values in a JSON text, each of about 100 bytes in memory: JSON grows up to thirtyfold.

    0 for a text below 256 KiB.
    """
    return sum(map(text.count, (b",", b"[", b"{"))) if len(text) > WORTH_COUNTING else 0


def count_lines(text: bytes) -> int:
    """The number of lines, the last one included if it does not end in a line feed."""
    return text.count(b"\n") + (not text.endswith(b"\n"))
