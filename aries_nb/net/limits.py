"""How many requests a second a broker answers, kept by us before the broker has to."""

from __future__ import annotations

import threading

__all__ = ["ConnectionLimit", "RateLimit", "count_lines", "count_values"]

# Of what is allowed in a second: so much at once, and so much a second from then on. Together they leave a twentieth
# for requests that were sent apart and arrive together.
AT_ONCE, STEADY = 0.2, 0.75
WORTH_COUNTING = 2**18  # bytes; what is smaller becomes no more than some MB


class RateLimit:
    """Turns for requests, shared by everything that asks one broker; any thread. `now` is of one monotonic clock.

    `per_second` is what the broker allows in any second, None where it names no limit.
    """

    def __init__(self, per_second: float | None = None) -> None:
        self.per_second = per_second
        self._step = 0.0 if per_second is None else 1.0 / (STEADY * per_second)
        self._ahead = 0.0 if per_second is None else max(AT_ONCE * per_second - 1.0, 0.0) * self._step
        self._next = float("-inf")  # when the next turn were due if all came evenly
        self._guard = threading.Lock()

    def reserve(self, now: float) -> float:
        """Take the next turn; returns in how many seconds it comes."""
        with self._guard:
            due = max(self._next, now)
            self._next = due + self._step
            return max(due - self._ahead - now, 0.0)

    def pause(self, now: float, seconds: float) -> None:
        """Give no new turn for so long: the broker has said that it had too many requests.

        Without a limit this does nothing: who was refused waits by itself.
        """
        with self._guard:
            if self.per_second is not None:
                self._next = max(self._next, now + seconds + self._ahead)

    def __repr__(self) -> str:
        return f"<{'any number of' if self.per_second is None else f'{self.per_second:g}'} requests a second>"


class ConnectionLimit:
    """Connections that may still be opened, shared by everything that connects to one broker; any thread.

    `most` is None where the broker names no limit. `rate_limit` is that of requests over HTTP, `requests_per_second`
    of them at most, None for any number.
    """

    def __init__(self, most: int | None = None, *, requests_per_second: float | None = None) -> None:
        self.most = most
        self.rate_limit = RateLimit(requests_per_second)
        self._in_use = 0
        self._guard = threading.Lock()

    def take(self, count: int) -> bool:
        """Take so many at once, or none of them where they are not left."""
        with self._guard:
            if self.most is not None and self._in_use + count > self.most:
                return False
            self._in_use += count
            return True

    def release(self, count: int) -> None:
        """Return what was taken, once its connections are closed."""
        with self._guard:
            self._in_use -= count

    @property
    def in_use(self) -> int:
        """How many are in use."""
        return self._in_use

    def __repr__(self) -> str:
        return f"<{self._in_use} of {'any number of' if self.most is None else self.most} connections>"


def count_values(text: bytes | bytearray) -> int:
    """How many values JSON text can hold at most, each of about 100 bytes in memory; 0 where it is short."""
    return sum(map(text.count, (b",", b"[", b"{"))) if len(text) > WORTH_COUNTING else 0


def count_lines(text: bytes) -> int:
    """How many lines text has, the last one included if it does not end in a line feed."""
    return text.count(b"\n") + (not text.endswith(b"\n"))
