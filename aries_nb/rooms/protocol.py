"""What a session of a room has in place of a broker's: a protocol without requests, and the publisher's market time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aries_nb.model import Notice, Subscription
from aries_nb.net.events.steered_clock import Course, SteeredClock

__all__ = ["NoProtocol", "RoomTime"]

STEP_BACK_NS = 250_000_000


class RoomTime(SteeredClock):
    """Market time as the publisher of a room tells it: also back, where its replay goes back."""

    def follow(self, course: Course) -> None:
        """Take the publisher's time; a small step back, of a message that took long, is none while it goes on."""
        if course.now < self.running_ns() - STEP_BACK_NS * max(course.pace, 1.0) * bool(course.pace):
            self.jump(course)
        else:
            self.steer(course)


class NoProtocol:
    """The protocol of a room's session: nothing is requested of a publisher, and no frame decoded."""

    def open(self, now: float) -> None:
        """Do nothing."""

    def authenticate(self, token: str, now: float) -> None:
        """Do nothing."""

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Return 0: there is no ping."""
        del subscriptions
        return 0

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Do nothing."""

    def receive(self, frames: Sequence[bytes], received: int) -> tuple[Sequence[Any], Sequence[Notice]]:
        """Return nothing."""
        del frames, received
        return (), ()

    def tick(self, now: float) -> Sequence[Notice]:
        """Return nothing."""
        del now
        return ()

    def outgoing(self) -> Sequence[str | bytes]:
        """Return nothing."""
        return ()
