"""Requests that the Aries accounts endpoint must answer, and the pongs held back until it has (protocol page §5.2)."""

from __future__ import annotations

from collections.abc import Sequence

from aries_nb.brokers.aries.topics import TopicKey
from aries_nb.model import Pong

__all__ = ["ACK_SECONDS", "Acks"]

ACK_SECONDS = 10.0  # protocol page §5.2: as the vendor's client


class Acks:
    """What was asked on this connection and not answered yet.

    Requests and pings are numbered by one count, so that a pong counts only once nothing asked before it is open.
    """

    def __init__(self) -> None:
        self._pending: dict[str, tuple[TopicKey, int, float]] = {}
        self._held: list[Pong] = []

    def clear(self) -> None:
        """A new connection: nothing was asked on it."""
        self._pending.clear()
        self._held.clear()

    def asked(self, request: str, key: TopicKey, number: int, now: float) -> None:
        """Expect an answer to the request of this id and number."""
        self._pending[request] = (key, number, now)

    def answered(self, request: str) -> TopicKey | None:
        """What a request was about, which is thereby settled; None where no answer to it is due."""
        return self._pending.pop(request, (None,))[0]

    def forget(self, key: TopicKey) -> None:
        """Expect no answer any more to what was asked about this."""
        for request in [request for request, (about, _, _) in self._pending.items() if about == key]:
            del self._pending[request]

    def overdue(self, now: float) -> list[TopicKey]:
        """What has gone unanswered for too long; it is not expected any more."""
        late = [request for request, (_, _, since) in self._pending.items() if now - since > ACK_SECONDS]
        return [self._pending.pop(request)[0] for request in late]

    def hold(self, pong: Pong) -> None:
        """Keep a pong until it is true of answers as well."""
        self._held.append(pong)

    def released(self) -> Sequence[Pong]:
        """Drain the pongs that nothing holds back."""
        if not self._held:
            return ()
        first = min((number for _, number, _ in self._pending.values()), default=None)
        free = [pong for pong in self._held if first is None or pong.number < first]
        self._held = [pong for pong in self._held if first is not None and pong.number >= first]
        return free
