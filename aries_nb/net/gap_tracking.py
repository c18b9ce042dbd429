"""Gaps of a session: when it missed data, and from when on its data is complete again."""

from __future__ import annotations

import math
import time

from aries_nb.model import Cause, GapSink, Kind, Resumed
from aries_nb.net.intake import Intake

__all__ = ["GapTracker"]


class GapTracker:
    """Reports each interruption of an intake to `gaps`. The network's thread owns it."""

    def __init__(self, intake: Intake, gaps: GapSink) -> None:
        self._intake = intake
        self._gaps = gaps
        self._resumed: dict[tuple[Kind, str], Resumed] = {}  # streams that resumed after the break
        self._barrier = 0.0  # the ping whose answer shows that the connection is complete

    @property
    def is_filled(self) -> bool:
        """Whether missed data has been delivered since."""
        return bool(self._resumed)

    def opened(self, reason: str, cause: Cause) -> None:
        """Begin a gap at the last message received."""
        self._gaps.opened(started=self._intake.last_received or time.time_ns(), reason=reason, cause=cause)

    def reset(self) -> None:
        """Begin a new connection; what the last one resumed no longer counts."""
        self._resumed, self._barrier = {}, 0.0

    def suspected(self, reason: str) -> None:
        """Begin a gap of a connection that may be intact; if a ping is answered, nothing was missed."""
        self.opened(reason, "pause")
        self._barrier = math.inf
        running = {(each.kind, each.symbol) for each in self._intake.subscriptions}
        self._resumed = {key: Resumed(*key, is_filled=True) for key in running}

    def set_barrier(self, ping: int) -> None:
        """Set the ping whose answer, or that of a later one, shows that the connection is intact."""
        self._barrier = ping

    def is_barrier_passed(self, ping: int) -> bool:
        """Whether the answer to this ping shows that the connection is intact."""
        return ping >= self._barrier

    def resumed(self, notice: Resumed) -> None:
        """Record that a stream resumed, and whether what it missed was delivered."""
        self._resumed[notice.kind, notice.symbol] = notice

    def closed(self) -> None:
        """End an open gap as not filled: the session is closed."""
        self._gaps.closed(ended=time.time_ns())

    def completed(self) -> None:
        """End the gap: the connection is complete again."""
        running = {(each.kind, each.symbol) for each in self._intake.subscriptions}
        is_all = running <= self._resumed.keys()
        self._gaps.closed(ended=time.time_ns(), resumed=list(self._resumed.values()), is_all=is_all)
