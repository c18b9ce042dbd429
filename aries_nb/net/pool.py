"""Pool of sessions with one endpoint of a broker: as many connections as its streams need and the broker allows.

A stream stays on its connection. A new stream goes to the connection with the fewest streams. A connection without
streams is closed, except the first.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from typing import NamedTuple, TypeAlias

from aries_nb.brokers import Endpoint
from aries_nb.errors import ConnectError, UsageError
from aries_nb.model import GapSink, Kind, Observers, Rejected, Subscription, TradeGap
from aries_nb.net.auth.tokens import TokenSource
from aries_nb.net.background import Background, register_fork_aware
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.intake import Route
from aries_nb.net.limits import ConnectionLimit
from aries_nb.net.session import Session
from aries_nb.net.urls import shown_url

__all__ = ["SessionPool"]

# What a broker counts as one stream; subscriptions that differ only in their fields share it, and a connection.
_Key: TypeAlias = tuple[Kind, str, tuple[tuple[str, str], ...]]


CLOSE_SECONDS = 3.0


class _Assignment(NamedTuple):
    session: Session
    users: int


class SessionPool:
    """The sessions (connections) with one endpoint of a broker. Every method may be called from any thread.

    `url` is the endpoint's whole address, `token` the source of the access token. `gaps` returns the receiver of the
    gaps of a connection, given its number, counted from 1. `connection_limit` counts the connections to the broker over
    all feeds. `rule` None means the default delays between attempts to connect. `arrivals` numbers the records of all
    connections of a feed; None for those of this pool alone. Raises ConnectError at once if the connection limit is
    used up. `name` is the endpoint's, for the journal.
    """

    def __init__(
        self,
        url: str,
        endpoint: Endpoint,
        token: TokenSource,
        gaps: Callable[[int], GapSink],
        *,
        connection_limit: ConnectionLimit,
        rule: BackoffRule | None = None,
        name: str = "",
        arrivals: Arrivals | None = None,
    ) -> None:
        self.url = url
        arrivals = arrivals or Arrivals()
        self._most_streams = endpoint.most_streams
        self._new_session: Callable[[int], Session] = lambda number: Session(
            url,
            endpoint.make(),
            token,
            gaps(number),
            rule=rule,
            endpoint=name,
            number=number,
            address=endpoint.address,
            headers=endpoint.headers,
            arrivals=arrivals,
        )
        # Called on the network's thread with the connection's number, the gap, and the routes of its subscription.
        self.on_trade_gap: Callable[[int, TradeGap, Sequence[Route]], None] = lambda _number, _hole, _streams: None
        self._connection_limit = connection_limit
        self._assignments: dict[_Key, _Assignment] = {}
        self._loads: Counter[Session] = Counter()
        self._sessions: tuple[Session, ...] = ()
        self._observers = Observers()
        self._count = 0
        self._is_closed = False
        self._is_assigning = False
        self._deferred: list[Route] = []
        self._connected: set[Session] = set()  # counted by the limit until they are closed
        # Of all of these; reentrant, because the garbage collector may close a frame in the middle of it.
        self._guard = threading.RLock()
        if not connection_limit.acquire(1):
            raise ConnectError(
                f"all {connection_limit.most} connections are in use", where=shown_url(url), advice=_ADVICE
            )
        self._open(1)
        register_fork_aware(self)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The open sessions, oldest first."""
        return self._sessions

    def number_of(self, route: Route) -> int:
        """Return the number of the connection that serves a route, counted from 1.

        Returns 1 for a route that is not subscribed.
        """
        assigned = self._assignments.get(_key(route.subscription))
        return assigned.session.number if assigned is not None else 1

    def subscribe(self, routes: Iterable[Route]) -> list[Future[dict[Subscription, Rejected]]]:
        """Subscribe to the streams of these routes, spread over the connections, of which more are opened if needed.

        Returns one future for each connection used, as `Session.subscribe` does. Raises UsageError, before anything is
        sent, if the broker does not allow so many streams.
        """
        with self._guard:
            self._is_assigning = True
            try:
                shares = self._assign(list(routes))
            finally:
                self._is_assigning = False
                deferred, self._deferred = self._deferred, []
        answers = [session.subscribe(share) for session, share in shares.items()]
        if deferred:
            self.unsubscribe(deferred)
        return answers

    def unsubscribe(self, routes: Iterable[Route]) -> list[Future[None]]:
        """Remove routes and end streams without a route; a connection without streams is closed, except the first.

        Returns one future for each connection that ends some of its streams, done when the request is sent.
        """
        with self._guard:
            if self._is_assigning:  # by this thread: a connection must not close while routes are assigned to it
                self._deferred += routes
                return []
            shares = self._remove(routes)
            idle = [session for session in self._sessions[1:] if not self._loads[session]]
            self._sessions = tuple(session for session in self._sessions if session not in idle)
            for session in idle:
                del self._loads[session]
        # Closing a connection ends its streams; nothing is sent for them.
        ended = [session.unsubscribe(share) for session, share in shares.items() if session not in idle]
        _close_all(idle)
        return ended

    def close(self) -> None:
        """Close every connection; idempotent. Waits up to 3 s for it unless called on the network's thread."""
        with self._guard:
            self._is_closed = True
        _close_all(self._sessions)

    def after_fork(self) -> None:
        """Mark the sessions as closed in a forked child process, and send nothing.

        The parent process still uses the connections.
        """
        self._guard = threading.RLock()
        for session in self._sessions:
            session.state = "closed"

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the network's thread whenever the state of a connection changes.

        Returns a function that ends the calls.
        """
        return self._observers.add(callback)

    # With the guard held.

    def _assign(self, routes: Sequence[Route]) -> dict[Session, list[Route]]:
        keys = [_key(route.subscription) for route in routes]
        self._make_room(len({key for key in keys if key not in self._assignments}))
        least = [(self._loads[session], number) for number, session in enumerate(self._sessions)]
        heapq.heapify(least)
        shares: dict[Session, list[Route]] = {}
        for key, route in zip(keys, routes, strict=True):
            assigned = self._assignments.get(key)
            if assigned is None:
                load, number = least[0]
                heapq.heapreplace(least, (load + 1, number))
                assigned = _Assignment(self._sessions[number], 0)
                self._loads[assigned.session] += 1
            self._assignments[key] = _Assignment(assigned.session, assigned.users + 1)
            shares.setdefault(assigned.session, []).append(route)
        return shares

    def _make_room(self, count: int) -> None:
        """Open the connections that `count` more streams need, all of them or none.

        Raises UsageError if the connection limit does not allow them.
        """
        most = self._most_streams
        if most is None:
            return
        wanted = len(self._assignments) + count
        missing = -(-wanted // most) - len(self._sessions)
        if missing <= 0 or self._is_closed:
            return
        if not self._connection_limit.acquire(missing):
            left = (self._connection_limit.most or 0) - self._connection_limit.in_use
            possible = most * (len(self._sessions) + left) - len(self._assignments)
            raise UsageError(
                f"{count:,} more streams are beyond the broker's limit: {possible:,} are left, {most:,} a connection",
                where=shown_url(self.url),
                advice=_ADVICE,
            )
        self._open(missing)

    def _open(self, count: int) -> None:
        for opened in range(count):
            self._count += 1
            try:
                session = self._new_session(self._count)
            except BaseException:  # the adapter's protocol cannot be made: mended in a cell, it is tried again
                self._connection_limit.release(count - opened)
                raise
            self._connected.add(session)
            session.watch(partial(self._state_changed, session))
            session.on_trade_gap = partial(self._report_trade_gap, session.number)
            self._sessions = (*self._sessions, session)

    def _state_changed(self, session: Session) -> None:
        """Free the place of the connection `session` in the limit once it is closed, and notify the observers.

        Called when the session's state has changed. The place is not freed when the close is requested, because another
        connection may be opened at once.
        """
        with self._guard:
            is_gone = session.state == "closed" and session in self._connected
            self._connected -= {session} if is_gone else set()
        if is_gone:
            self._connection_limit.release(1)
        self._observers.notify()

    def _report_trade_gap(self, number: int, trade_gap: TradeGap, routes: Sequence[Route]) -> None:
        self.on_trade_gap(number, trade_gap, routes)

    def _remove(self, routes: Iterable[Route]) -> dict[Session, list[Route]]:
        shares: dict[Session, list[Route]] = {}
        for route in routes:
            key = _key(route.subscription)
            assigned = self._assignments.get(key)
            if assigned is None:
                continue
            shares.setdefault(assigned.session, []).append(route)
            if assigned.users > 1:
                self._assignments[key] = _Assignment(assigned.session, assigned.users - 1)
            else:
                del self._assignments[key]
                self._loads[assigned.session] -= 1
        return shares


def _close_all(sessions: Iterable[Session]) -> None:
    """Close sessions concurrently. Waits up to 3 s until they are closed, unless called on the network's thread."""
    done = [session.close() for session in sessions if session.state != "closed"]
    if done and not Background.shared().is_current():
        wait(done, CLOSE_SECONDS)


_ADVICE = "Close frames, books or feeds that you do not need any more."


def _key(subscription: Subscription) -> _Key:
    return subscription.kind, subscription.symbol, subscription.options
