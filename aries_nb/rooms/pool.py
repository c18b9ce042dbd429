"""The door of a feed to a room: what a pool of connections is to a broker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress

from aries_nb.errors import ClosedError
from aries_nb.model import Cause, Rejected, Resumed, Subscription, TradeGap
from aries_nb.net.auth.tokens import TokenSource
from aries_nb.net.background import Background, on_network
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.intake import Route
from aries_nb.rooms.address import RoomAddress
from aries_nb.rooms.protocol import RoomTime
from aries_nb.rooms.session import RoomSession
from aries_nb.store import MessageCounts, StreamGaps

__all__ = ["RoomPool"]

FOLLOW_SECONDS = 5.0


class _Gaps:
    """Where the gaps of the session go: to a feed's log, once there is one."""

    def __init__(self) -> None:
        self.to: StreamGaps | None = None

    def opened(self, *, started: int, reason: str, cause: Cause) -> None:
        """Begin a gap."""
        if self.to is not None:
            self.to.opened(started=started, reason=reason, cause=cause)

    def closed(self, *, ended: int, resumed: Sequence[Resumed] = (), is_all: bool = False) -> None:
        """End the gap."""
        if self.to is not None:
            self.to.closed(ended=ended, resumed=resumed, is_all=is_all)


class RoomPool:
    """The session of a room, with the methods of `SessionPool`. Any thread.

    `arrivals` numbers the records as the publisher's, and has its market time.
    """

    def __init__(self, address: RoomAddress, token: TokenSource | None, *, rule: BackoffRule | None = None) -> None:
        self.url = str(address)
        self.time = RoomTime()
        self.arrivals = Arrivals(self.time)
        self.time.changed.add(self.arrivals.timer.look_again)
        self._gaps = _Gaps()
        self.session = RoomSession(address, token, self._gaps, self.arrivals, rule=rule)
        self.on_trade_gap: Callable[[int, TradeGap, Sequence[Route]], None] = lambda _number, _hole, _streams: None

    def accounts(self) -> tuple[str, ...]:
        """Return the names of the accounts of which tables are served."""
        catalog = self.session.catalog
        return () if catalog is None else catalog.accounts

    def ledgers(self) -> list[tuple[str, str, str, MessageCounts]]:
        """Return the publisher's counts of the streams that are read here, as `Link.ledgers` has them."""
        beat = self.session.beat
        counts = {} if beat is None else beat.counts
        read = {stream.group.id: stream.group for stream in self.session.streams}
        return [
            ("publisher", group.kind, " ".join(group.symbols), MessageCounts(*counts[id_]))
            for id_, group in read.items()
            if len(counts.get(id_, ())) == len(MessageCounts._fields)
        ]

    def report_to(self, gaps: StreamGaps) -> None:
        """Have the gaps of the room, and those of the publisher, in a feed's log."""
        self._gaps.to = self.session.log = gaps

    def follow(self, *, is_following: bool) -> None:
        """Have market time be the publisher's, or let it go on alone; see `RoomSession.follow`."""
        on_network(lambda: self.session.follow(is_following=is_following)).result(FOLLOW_SECONDS)

    @property
    def sessions(self) -> tuple[RoomSession, ...]:
        """The only session."""
        return (self.session,)

    def number_of(self, route: Route) -> int:
        """Return 1: there is one connection."""
        del route
        return 1

    def subscribe(self, routes: Iterable[Route]) -> list[Future[dict[Subscription, Rejected]]]:
        """Fill the stores of these routes; see `RoomSession.subscribe`."""
        return [Background.shared().submit(self.session.subscribe(list(routes)))]

    def unsubscribe(self, routes: Iterable[Route]) -> list[Future[None]]:
        """Fill the stores of these routes no more."""
        return [Background.shared().submit(self.session.unsubscribe(list(routes)))]

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the network's thread whenever the state changes; returns a function that ends it."""
        return self.session.watch(callback)

    def close(self) -> None:
        """Leave the room."""
        with suppress(ClosedError):
            self.session.close()
