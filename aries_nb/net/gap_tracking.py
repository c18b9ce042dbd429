"""Finds the gaps of a session: when it began to miss data, and from when on its data is complete again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable

from aries_nb.model import Cause, Checkpointed, GapSink, Kind, Resumed, Subscription
from aries_nb.model.clock import Clock
from aries_nb.net.intake import Intake

__all__ = ["GapTracker", "PingBarriers"]

SECOND = 1_000_000_000


class GapTracker(Checkpointed):
    """Reports to `gaps` the beginning and end of each gap of one connection. Used on the network's thread only.

    `intake` gives the time of the last message, `running` the subscriptions; None for those of `intake`.
    """

    STATE = "_resumed", "_ended", "_barrier"

    def __init__(
        self,
        intake: Intake,
        gaps: GapSink,
        clock: Clock,
        running: Callable[[], Iterable[Subscription]] | None = None,
    ) -> None:
        self._intake = intake
        self._gaps = gaps
        self._clock = clock
        self._running = running or (lambda: intake.subscriptions)
        self._resumed: dict[tuple[Kind, str], Resumed] = {}  # streams that resumed after the break
        self._ended = 0  # the end of the gap before, ns since the epoch
        self._barrier = 0.0  # the ping whose answer shows that the connection is complete

    @property
    def is_filled(self) -> bool:
        """Whether at least one stream is known to run again since the break.

        Its notice `Resumed` shows that, or the call of `suspected`. Such a stream may have its missed messages filled
        in, or only some of them.
        """
        return bool(self._resumed)

    def opened(self, reason: str, cause: Cause) -> None:
        """Begin a gap at the time of the last message received; now if there was none.

        It does not begin before the end of the previous gap, which is a moment after the message that showed it.
        `reason` is a text for users, `cause` the kind of break, as shown in `feed.gaps`.
        """
        started = self._intake.last_received or self._clock.now_ns()
        if started < self._ended < started + SECOND:  # further apart only if the clock was set back
            started = self._ended
        self._gaps.opened(started=started, reason=reason, cause=cause)

    def split(self, reason: str, cause: Cause) -> None:
        """End the gap that lasts, as not filled, and begin another one for `reason` at the same time: now."""
        now = self._clock.now_ns()
        self._gaps.closed(ended=now)
        self._gaps.opened(started=now, reason=reason, cause=cause)

    def reset(self) -> None:
        """Forget which streams had resumed on the previous connection, because a new one begins."""
        self._resumed, self._barrier = {}, 0.0

    def suspected(self, reason: str) -> None:
        """Begin a gap for `reason` after this process stalled, although the connection may be intact.

        If a ping is then answered, nothing was missed, and all streams count as filled.
        """
        self.opened(reason, "pause")
        self._barrier = math.inf
        running = {(each.kind, each.symbol) for each in self._running()}
        self._resumed = {key: Resumed(*key, is_filled=True) for key in running}

    def set_barrier(self, ping: int) -> None:
        """Set the number of a ping: its answer, or that of a later ping, shows that the connection is intact."""
        self._barrier = ping

    def is_barrier_passed(self, ping: int) -> bool:
        """Return whether the answer to ping number `ping` shows that the connection is intact.

        It does if `ping` is at least the number passed to `set_barrier`, or if no barrier was set on this connection.
        """
        return ping >= self._barrier

    def resumed(self, notice: Resumed) -> None:
        """Record the notice that a stream runs again after the break, and whether its missed messages came."""
        self._resumed[notice.kind, notice.symbol] = notice

    def closed(self) -> None:
        """End the open gap, if there is one, as not filled, because the session is being closed."""
        self._gaps.closed(ended=self._clock.now_ns())

    def completed(self) -> None:
        """End the open gap, because all streams are requested again and no data are missed from now on.

        Streams for which `resumed` was called are reported with it, as filled or not.
        """
        running = {(each.kind, each.symbol) for each in self._running()}
        is_all = running <= self._resumed.keys()
        self._ended = self._clock.now_ns()
        self._gaps.closed(ended=self._ended, resumed=list(self._resumed.values()), is_all=is_all)


class PingBarriers:
    """Futures that become done when the server answers a given ping: it has then processed everything sent before it.

    Used on the network's thread only.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def wait_for(self, ping: int) -> asyncio.Future[None]:
        """Return a future that is done once ping `ping` or a later one is answered, or the connection breaks.

        Call it before the ping is sent.
        """
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((ping, answered))
        return answered

    def release(self, ping: int | None = None) -> None:
        """Mark the futures of all pings up to number `ping` as done; those of all pings if `ping` is None."""
        waiting, self._waiting = self._waiting, []
        for number, answered in waiting:
            if ping is not None and number > ping:
                self._waiting.append((number, answered))
            elif not answered.done():
                answered.set_result(None)
