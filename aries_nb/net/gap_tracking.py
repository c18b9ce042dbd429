"""What a connection has missed, and from when on it misses nothing: a session's side of the ledger of gaps."""

from __future__ import annotations

import math
import time

from aries_nb.model import Cause, GapSink, Kind, Resumed
from aries_nb.net.intake import Intake

__all__ = ["GapTracker"]


class GapTracker:
    """Tells `gaps` of each interruption of an intake. The network's thread owns it."""

    def __init__(self, intake: Intake, gaps: GapSink) -> None:
        self._intake = intake
        self._gaps = gaps
        self._resumed: dict[tuple[Kind, str], Resumed] = {}  # what has gone on after the break
        self._vouching = 0.0  # the number of the ping whose answer shows that the connection is whole

    @property
    def is_filled(self) -> bool:
        """Whether something that was missed has come since."""
        return bool(self._resumed)

    def opened(self, reason: str, cause: Cause) -> None:
        """Begin a gap with the last message that came."""
        self._gaps.opened(started=self._intake.last_received or time.time_ns(), reason=reason, cause=cause)

    def forget(self) -> None:
        """Begin a new connection: what the last one made good is not of this one."""
        self._resumed, self._vouching = {}, 0.0

    def doubted(self, reason: str) -> None:
        """Begin a gap of a connection that may be whole; if a ping is answered, nothing was missed."""
        self.opened(reason, "pause")
        self._vouching = math.inf
        running = {(each.kind, each.symbol) for each in self._intake.subscriptions}
        self._resumed = {key: Resumed(*key, is_filled=True) for key in running}

    def vouched_by(self, ping: int) -> None:
        """The answer to this ping, or a later one, shows that the connection is whole."""
        self._vouching = ping

    def is_vouched(self, ping: int) -> bool:
        """Whether the answer to a ping shows that."""
        return ping >= self._vouching

    def resumed(self, notice: Resumed) -> None:
        """Note what of a stream that goes on was missed, and has come or not."""
        self._resumed[notice.kind, notice.symbol] = notice

    def over(self) -> None:
        """End the gap that lasts, if one does, with nothing made good: there will be no more of this connection."""
        self._gaps.closed(ended=time.time_ns())

    def whole(self) -> None:
        """End the gap."""
        running = {(each.kind, each.symbol) for each in self._intake.subscriptions}
        is_all = running <= self._resumed.keys()
        self._gaps.closed(ended=time.time_ns(), resumed=list(self._resumed.values()), is_all=is_all)
