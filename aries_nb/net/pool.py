"""The connections to one endpoint: as many as its streams need and the broker allows, each kept alive on its own.

A stream stays on the connection that it was put on. New ones go where the fewest are, so that the load is even, and a
connection that has none left is closed, but for the first.
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
from aries_nb.model import GapSink, Kind, Observers, Subscription, TradeGap
from aries_nb.net.background import Background, register_fork_aware
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.intake import Route
from aries_nb.net.limits import ConnectionLimit
from aries_nb.net.session import Session
from aries_nb.net.tokens import TokenSource
from aries_nb.net.urls import shown_url

__all__ = ["SessionPool"]

# What a broker counts as one stream; subscriptions that differ only in their fields share it, and a connection.
_Key: TypeAlias = tuple[Kind, str, tuple[tuple[str, str], ...]]


CLOSE_SECONDS = 3.0


class _Assignment(NamedTuple):
    session: Session
    users: int


class SessionPool:
    """Sessions with one endpoint. Every method may be called from any thread.

    `gaps` gives the ledger's door for the connection of this number, counted from 1.
    Raises ConnectError at once where not even one connection is left.
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
    ) -> None:
        self.url = url
        self._most_streams = endpoint.most_streams
        self._new_session: Callable[[int], Session] = lambda number: Session(
            url, endpoint.make(), token, gaps(number), rule=rule, number=number
        )
        # Told on the network's thread: the number of the connection, what is missing, and where it should have gone.
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
        self._connected: set[Session] = set()  # those that count; until they are closed they do
        # Of all of these; reentrant, because the garbage collector may let a frame go in the middle of it.
        self._guard = threading.RLock()
        if not connection_limit.take(1):
            raise ConnectError(
                f"all {connection_limit.most} connections are in use", where=shown_url(url), advice=_ADVICE
            )
        self._open(1)
        register_fork_aware(self)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Those that there are now, the oldest first."""
        return self._sessions

    def number_of(self, stream: Route) -> int:
        """Which connection a stream is on, counted from 1."""
        assigned = self._assignments.get(_key(stream.subscription))
        return assigned.session.number if assigned is not None else 1

    def subscribe(self, streams: Iterable[Route]) -> list[Future[dict[str, str]]]:
        """Ask for streams, spread over the connections; the futures are those of `Session.subscribe`.

        Raises UsageError, before anything is sent, where the broker does not allow so many.
        """
        with self._guard:
            self._is_assigning = True
            try:
                shares = self._assign(list(streams))
            finally:
                self._is_assigning = False
                deferred, self._deferred = self._deferred, []
        answers = [session.subscribe(share) for session, share in shares.items()]
        if deferred:
            self.unsubscribe(deferred)
        return answers

    def unsubscribe(self, streams: Iterable[Route]) -> list[Future[None]]:
        """Give streams up; a connection that has none left is closed, but for the first."""
        with self._guard:
            if self._is_assigning:  # by this very thread: a connection must not go from under what is put on it
                self._deferred += streams
                return []
            shares = self._remove(streams)
            idle = [session for session in self._sessions[1:] if not self._loads[session]]
            self._sessions = tuple(session for session in self._sessions if session not in idle)
            for session in idle:
                del self._loads[session]
        # With its connection a stream ends without a word.
        ended = [session.unsubscribe(share) for session, share in shares.items() if session not in idle]
        _close_all(idle)
        return ended

    def close(self) -> None:
        """End every connection; idempotent."""
        with self._guard:
            self._is_closed = True
        _close_all(self._sessions)

    def after_fork(self) -> None:
        """Be closed in a fork, without a word to the servers: the connections go on in its parent."""
        self._guard = threading.RLock()
        for session in self._sessions:
            session.state = "closed"

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the network's thread when the state of a connection changes. Returns its removal."""
        return self._observers.add(callback)

    # With the guard held.

    def _assign(self, streams: Sequence[Route]) -> dict[Session, list[Route]]:
        keys = [_key(stream.subscription) for stream in streams]
        self._make_room(len({key for key in keys if key not in self._assignments}))
        least = [(self._loads[session], number) for number, session in enumerate(self._sessions)]
        heapq.heapify(least)
        shares: dict[Session, list[Route]] = {}
        for key, stream in zip(keys, streams, strict=True):
            assigned = self._assignments.get(key)
            if assigned is None:
                load, number = least[0]
                heapq.heapreplace(least, (load + 1, number))
                assigned = _Assignment(self._sessions[number], 0)
                self._loads[assigned.session] += 1
            self._assignments[key] = _Assignment(assigned.session, assigned.users + 1)
            shares.setdefault(assigned.session, []).append(stream)
        return shares

    def _make_room(self, count: int) -> None:
        """Open what connections so many more streams need, all of them or none."""
        most = self._most_streams
        if most is None:
            return
        wanted = len(self._assignments) + count
        missing = -(-wanted // most) - len(self._sessions)
        if missing <= 0 or self._is_closed:
            return
        if not self._connection_limit.take(missing):
            left = (self._connection_limit.most or 0) - self._connection_limit.in_use
            possible = most * (len(self._sessions) + left) - len(self._assignments)
            raise UsageError(
                f"{count:,} more streams cannot be had: {possible:,} are left, at {most:,} a connection",
                where=shown_url(self.url),
                advice=_ADVICE,
            )
        self._open(missing)

    def _open(self, count: int) -> None:
        for _ in range(count):
            self._count += 1
            session = self._new_session(self._count)
            self._connected.add(session)
            session.watch(partial(self._state_changed, session))
            session.on_trade_gap = partial(self._report_trade_gap, session.number)
            self._sessions = (*self._sessions, session)

    def _state_changed(self, session: Session) -> None:
        """Give a connection back once it is closed, not when its end is asked for: another may be opened at once."""
        with self._guard:
            is_gone = session.state == "closed" and session in self._connected
            self._connected -= {session} if is_gone else set()
        if is_gone:
            self._connection_limit.release(1)
        self._observers.notify()

    def _report_trade_gap(self, number: int, trade_gap: TradeGap, streams: Sequence[Route]) -> None:
        self.on_trade_gap(number, trade_gap, streams)

    def _remove(self, streams: Iterable[Route]) -> dict[Session, list[Route]]:
        shares: dict[Session, list[Route]] = {}
        for stream in streams:
            key = _key(stream.subscription)
            assigned = self._assignments.get(key)
            if assigned is None:
                continue
            shares.setdefault(assigned.session, []).append(stream)
            if assigned.users > 1:
                self._assignments[key] = _Assignment(assigned.session, assigned.users - 1)
            else:
                del self._assignments[key]
                self._loads[assigned.session] -= 1
        return shares


def _close_all(sessions: Iterable[Session]) -> None:
    """End some sessions, all at once; waits a moment for it unless called on the network's thread."""
    done = [session.close() for session in sessions if session.state != "closed"]
    if done and not Background.shared().is_current():
        wait(done, CLOSE_SECONDS)


_ADVICE = "Close frames, books or feeds that you do not need any more."


def _key(subscription: Subscription) -> _Key:
    return subscription.kind, subscription.symbol, subscription.options
