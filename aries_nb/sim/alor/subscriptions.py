"""One subscription of the simulated ALOR server: within the requested interval, only the newest state is sent.

Source: ALOR's protocol page §4.1 and §16.2. No I/O; time is passed in, in Unix s.
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
    """One client's subscription, identified by its guid. Owned by the server's event loop.

    `outbox` is called with frames. A new state is offered with `offer`; `flush` sends the newest one once `interval`
    (s) has passed since the last frame. `sent` and `held_back` count states: each offered state is in one of them or
    still pending. `interval` 0 sends every state at once. The last state of each bar is always sent: no later message
    would correct a finished bar. The session sets `is_over` when the subscription has ended. `faults` are defects of
    the broker to imitate.
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
        """Return `data`, JSON text, as a data frame of this subscription.

        It is counted in `sent` and stored as `last_frame`: the caller must send it.
        """
        self.sent += 1
        self.last_frame = data_frame(with_trailing_zeros(data) if self._has_zeros else data, self.request.guid)
        return self.last_frame

    def push(self, data: str) -> None:
        """Send one object, given as JSON text, at once.

        Between calls of `hold` and `release` it is kept until the latter.
        """
        if self._held is None:
            self._outbox(self.frame(data))
        else:
            self._held.append(data)

    def hold(self) -> None:
        """Keep the objects that are pushed from now on, until `release` sends them."""
        self._held = []

    def release(self) -> Iterator[str]:
        """Yield the frames of the objects pushed since `hold`, including those pushed meanwhile.

        Objects pushed afterwards are sent at once.
        """
        while self._held:
            held, self._held = self._held, []
            yield from map(self.frame, held)
        self._held = None

    def begin(self, now: float) -> None:
        """Start the first interval between states at `now` (Unix s), once the initial data have been sent.

        From then on, `flush` sends the waiting states once per interval.
        """
        self._due = now + self.interval

    def offer(self, read: Callable[[], str], bar: int = 0) -> bool:
        """Offer a new state, which `read` encodes as JSON when it is sent.

        Return whether it waits to be sent by `flush`. `bar` is the start, in Unix s, of the bar to which the
        state belongs; 0 for a state of another kind.
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
        """Send the states that wait, if the interval is over at `now` (Unix s); return whether none waits any more."""
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
        """Return the request (kind, instrument, format, frequency in ms), and how many states were sent and held back.

        A state that a newer one replaces before it is sent is held back.
        """
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
