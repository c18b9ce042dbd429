"""How a connection is read: how many messages come a second, and whether they come late."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from aries_nb.net.intake import Intake
from aries_nb.net.lateness import Lateness
from aries_nb.net.unread import unread_frames

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["Reading"]

log = logging.getLogger("aries_nb")

SMOOTHING = 0.3  # what a turn counts for in the rate


class Reading:
    """The rate of an intake, and its lateness. The network's thread owns it; any may read the rate and the lateness.

    When there is a word to be said about lateness, it is logged with `where`, and `ring` is called. Time is passed in,
    in seconds of a monotonic clock.
    """

    def __init__(self, intake: Intake, where: str, ring: Callable[[], None]) -> None:
        self.messages_per_s = 0.0
        self.lateness = Lateness()
        self._intake = intake
        self._where = where
        self._ring = ring
        self._counted, self._at = 0, 0.0

    def began(self, now: float) -> None:
        """Begin anew with a connection."""
        self.lateness.interrupted()
        self._counted, self._at = self._intake.messages, now

    def turn(self, socket: ClientConnection, now: float) -> None:
        """Look at what came since the last turn."""
        messages = self._intake.messages
        rate = (messages - self._counted) / max(now - self._at, 1e-3)
        self.messages_per_s += SMOOTHING * (rate - self.messages_per_s)
        self._counted, self._at = messages, now
        self._look(socket, now)
        self._compare(now)

    def in_burst(self, socket: ClientConnection, now: float) -> None:
        """Look whether too much is unread: while reading goes on and on, turns come seldom."""
        if self._look(socket, now) and not self.lateness.is_late:
            self._compare(now)

    def _look(self, socket: ClientConnection, now: float) -> bool:
        unread = unread_frames(socket, self._intake.octets / max(self._intake.frames, 1))
        return self.lateness.look(now, unread)

    def _compare(self, now: float) -> None:
        if self.lateness.turn(now, self._intake.new_lags(), self.messages_per_s):
            log.warning("%s: %s", self._where, self.lateness)
            self._ring()
