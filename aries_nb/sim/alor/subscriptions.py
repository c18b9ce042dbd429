"""One subscription of the simulated ALOR server, and how its states are held back within the interval it asked for.

Source: protocol page §4.1 and §16.2. It knows no clock: time is passed in, in Unix s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aries_nb.sim.alor.messages import data_frame, with_trailing_zeros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aries_nb.sim.alor.requests import SubscribeRequest
    from aries_nb.sim.alor.settings import Fault

__all__ = ["Subscription"]


class Subscription:
    """What one guid of one connection gets. Owned by the server's loop.

    `outbox` takes frames. A new state is offered; it is sent by `flush` once `interval` (s) has passed since the last
    frame, and only the newest then. `sent` and `held_back` count states: every state offered is in one of them, or
    still waits. `interval` 0 sends each at once. Of bars the last state of each is sent, whatever the interval: nothing
    would correct a bar that is over.
    """

    def __init__(
        self,
        request: SubscribeRequest,
        outbox: Callable[[str], None],
        *,
        interval: float,
        faults: frozenset[Fault] = frozenset(),
    ) -> None:
        self.request = request
        self.interval = interval
        self.sent = self.held_back = 0
        self.is_over = False
        self.last_frame = ""
        self._outbox = outbox
        self._held: list[str] | None = None
        self._has_zeros = "trailing_zeros" in faults
        self._has_stale_bars = "stale_bars" in faults
        #: Start and frame of the newest bar, and the frame of the one before it.
        self._newest_bar = (0, "")
        self._bar_before = ""
        self._due = 0.0
        self._waiting: list[tuple[int, Callable[[], str]]] = []

    def frame(self, data: str) -> str:
        """A data frame of this subscription, which is counted as sent."""
        self.sent += 1
        self.last_frame = data_frame(with_trailing_zeros(data) if self._has_zeros else data, self.request.guid)
        return self.last_frame

    def push(self, data: str) -> None:
        """Send one object at once, or keep it while the history is not out."""
        if self._held is None:
            self._outbox(self.frame(data))
        else:
            self._held.append(data)

    def hold(self) -> None:
        """Keep what is pushed from now on until `release`."""
        self._held = []

    def release(self) -> Iterator[str]:
        """Hand out the frames that were kept, those that come meanwhile as well; then nothing is kept any more."""
        while self._held:
            held, self._held = self._held, []
            yield from map(self.frame, held)
        self._held = None

    def begin(self, now: float) -> None:
        """The history is out, and what comes now is live; the first interval begins."""
        self._due = now + self.interval

    def offer(self, read: Callable[[], str], bar: int = 0) -> bool:
        """Take a new state, which `read` gives as JSON when it is sent; return whether it waits for `flush`.

        `bar` is the start of the bar that the state is one of, the same for everything that is no bar.
        """
        if not self.interval:
            self._send(read(), bar)
            return False
        if self._waiting and self._waiting[-1][0] == bar:
            self.held_back += 1
            self._waiting[-1] = (bar, read)
        else:
            self._waiting.append((bar, read))
        return True

    def flush(self, now: float) -> bool:
        """Send what waits if its interval is over; return whether nothing waits any more."""
        if now < self._due:
            return not self._waiting
        waiting, self._waiting = self._waiting, []
        for bar, read in waiting:
            self._send(read(), bar)
        if waiting:
            self._due = now + self.interval
        return True

    def _send(self, data: str, bar: int) -> None:
        self.push(data)
        if not bar or not self._has_stale_bars:
            return
        start, frame = self._newest_bar
        if bar > start:
            self._bar_before = frame
        self._newest_bar = (bar, self.last_frame)
        for again in (self.last_frame, self._bar_before):
            if again:
                self._outbox(again)

    def statistics(self) -> dict[str, Any]:
        """What was asked for and what came of it."""
        request = self.request
        return {
            "kind": request.kind,
            "exchange": request.exchange,
            "code": request.code or request.portfolio,
            "format": request.form,
            "frequency": request.frequency_ms,
            "sent": self.sent,
            "held_back": self.held_back,
        }
