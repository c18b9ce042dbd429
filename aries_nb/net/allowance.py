"""How many connections a broker lets one user have at once, kept by us before the broker has to."""

from __future__ import annotations

import threading

from aries_nb.net.pace import Pace

__all__ = ["Allowance"]


class Allowance:
    """Connections that may still be opened, shared by everything that connects to one broker; any thread.

    `most` is None where the broker names no limit. `pace` has the turns of requests over HTTP, `requests_per_second`
    of them at most, None for any number.
    """

    def __init__(self, most: int | None = None, *, requests_per_second: float | None = None) -> None:
        self.most = most
        self.pace = Pace(requests_per_second)
        self._taken = 0
        self._guard = threading.Lock()

    def take(self, count: int) -> bool:
        """Take so many at once, or none of them where they are not left."""
        with self._guard:
            if self.most is not None and self._taken + count > self.most:
                return False
            self._taken += count
            return True

    def give_back(self, count: int) -> None:
        """Return what was taken, once its connections are closed."""
        with self._guard:
            self._taken -= count

    @property
    def taken(self) -> int:
        """How many are in use."""
        return self._taken

    def __repr__(self) -> str:
        return f"<{self._taken} of {'any number of' if self.most is None else self.most} connections>"
