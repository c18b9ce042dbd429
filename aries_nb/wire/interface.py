"""What every broker's protocol looks like from outside: a state machine that knows no socket, loop or clock.

Frames and time go in, requests and records come out. Nothing that a peer sends raises; it becomes a notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from aries_nb.model import Bars, ColumnType, Kind, Notice, Received, Subscription

__all__ = ["Query", "Reference", "Wire"]


class Wire(Protocol):
    """One endpoint of one broker. Not thread-safe: the loop's thread owns it.

    `now` is in seconds of any monotonic clock, `received` in ns since the epoch.
    """

    def columns(self, kind: Kind) -> Mapping[str, ColumnType]:
        """Every field that a frame of this kind can have; subscriptions name theirs in this order."""

    def open(self, now: float) -> None:
        """Begin a new connection: what is subscribed will be asked for again once the session is open."""

    def authenticate(self, token: str, now: float) -> None:
        """Open the session, or renew it in place."""

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Ask for streams, those only that are not running yet; returns the number of the ping sent after it.

        When that ping's `Pong` comes, the server has seen the request, and any refusal came before.
        """

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Give streams up; what another subscription still needs goes on."""

    def receive(self, frame: bytes, received: int) -> Received:
        """Understand one frame: its records in order, and what else it says."""

    def tick(self, now: float) -> Sequence[Notice]:
        """Let time pass: keepalive and time limits. Call it at least once a second."""

    def outgoing(self) -> Sequence[str]:
        """Drain the frames to send, in order."""


class Query(NamedTuple):
    """One call over HTTP, always a GET: the path under the broker's base address, and its parameters."""

    path: str
    params: tuple[tuple[str, str], ...] = ()


class Reference(Protocol):
    """What a broker tells over HTTP, beside its streams. Each `read_` raises ValueError for an answer it cannot use."""

    def accounts(self) -> Query:
        """Ask which accounts the user has."""

    def read_accounts(self, body: bytes) -> tuple[str, ...]:
        """The identifiers of the accounts, in the broker's order."""

    def bars(self, symbol: str, interval_s: int, start_ns: int, end_ns: int) -> Query:
        """Ask for the bars that start in [start_ns, end_ns), ns since the epoch. Raises UsageError for a length."""

    def read_bars(self, body: bytes) -> Bars:
        """The bars of one answer; where it names a `next_end_ns`, ask again with that as the end."""

    def bar_start(self, ts_ns: int, interval_s: int) -> int:
        """When the bar begins in which a time lies, as the broker cuts its bars; both in ns since the epoch."""
