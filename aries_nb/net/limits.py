"""Limits that this package keeps: connections and requests to one broker, and the size of JSON once decoded."""

from __future__ import annotations

import threading

__all__ = ["ConnectionLimit", "RateLimit", "count_lines", "count_values"]

# Shares of `per_second`: a burst of the first, then the second a second. Together they leave a twentieth for requests
# that were sent apart and arrive together.
AT_ONCE, STEADY = 0.2, 0.75
WORTH_COUNTING = 2**18  # bytes; a smaller text becomes a few MB at most


class RateLimit:
    """Rate limiter of the HTTP requests to one broker, shared by all its clients. Any thread may use it.

    `per_second` is the number of requests that the broker allows in any second, None for no limit. `now` is in seconds
    of a monotonic clock.
    """

    def __init__(self, per_second: float | None = None) -> None:
        self.per_second = per_second
        self._step = 0.0 if per_second is None else 1.0 / (STEADY * per_second)
        self._ahead = 0.0 if per_second is None else max(AT_ONCE * per_second - 1.0, 0.0) * self._step
        self._next = float("-inf")  # when the next request would be due if all were evenly spaced
        self._guard = threading.Lock()

    def reserve(self, now: float) -> float:
        """Reserve a place for the next request at time `now`. Returns the seconds to wait before sending it.

        The place counts even if no request is sent then; it cannot be given back.
        """
        with self._guard:
            due = max(self._next, now)
            self._next = due + self._step
            return max(due - self._ahead - now, 0.0)

    def pause(self, now: float, seconds: float) -> None:
        """Delay new reservations to `seconds` after `now` or later, because the broker had too many requests.

        Does nothing if there is no limit: the client whose request was refused then waits by itself.
        """
        with self._guard:
            if self.per_second is not None:
                self._next = max(self._next, now + seconds + self._ahead)

    def __repr__(self) -> str:
        return f"<{'any number of' if self.per_second is None else f'{self.per_second:g}'} requests a second>"


class ConnectionLimit:
    """Counts the connections to one broker, shared by all its feeds, and keeps them within a limit.

    Any thread may use it.

    `most` is the largest number of connections, None for no limit. `rate_limit` limits the HTTP requests to the broker
    to `requests_per_second`, None for no limit.
    """

    def __init__(self, most: int | None = None, *, requests_per_second: float | None = None) -> None:
        self.most = most
        self.rate_limit = RateLimit(requests_per_second)
        self._in_use = 0
        self._guard = threading.Lock()

    def acquire(self, count: int) -> bool:
        """Reserve `count` connections. Returns False, and reserves none, if fewer are left.

        They count until `release` frees them.
        """
        with self._guard:
            if self.most is not None and self._in_use + count > self.most:
                return False
            self._in_use += count
            return True

    def release(self, count: int) -> None:
        """Free the places of `count` connections that have been closed."""
        with self._guard:
            self._in_use -= count

    @property
    def in_use(self) -> int:
        """The number of connections that are reserved now."""
        return self._in_use

    def __repr__(self) -> str:
        return f"<{self._in_use} of {'any number of' if self.most is None else self.most} connections>"


def count_values(text: bytes | bytearray) -> int:
    """Return an upper bound of the number of values in a JSON text; 0 for a text below 256 KiB.

    A decoded value takes about 100 bytes of memory, so that JSON grows up to thirtyfold.
    """
    return sum(map(text.count, (b",", b"[", b"{"))) if len(text) > WORTH_COUNTING else 0


def count_lines(text: bytes) -> int:
    """Return the number of lines in a text; the last one counts even if it does not end in a line feed."""
    return text.count(b"\n") + (not text.endswith(b"\n"))
