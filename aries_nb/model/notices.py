"""Notices: what a server reports about a session other than the rows of its streams, one class for each kind of notice.

A broker's protocol makes them while it decodes what the server sends; `aries_nb.net.session` acts on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from aries_nb.model.columns import Cause, CountedAs, Kind
from aries_nb.model.records import Block, Record, Subscription

# A value in a report of the market's state.
StatusValue: TypeAlias = str | float | bool

__all__ = [
    "Counted",
    "GapSink",
    "MarketStatus",
    "Notice",
    "Pong",
    "Received",
    "ReceivedColumns",
    "Rejected",
    "Resumed",
    "SessionLost",
    "SessionOpened",
    "SessionRefused",
    "TokenWanted",
    "TradeGap",
    "Unfinished",
    "Unreadable",
    "Unrequested",
]


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """Notice: the server accepted the token, so the session is open.

    `expires_in` is its life in seconds, None if the server does not say. `is_renewal`: the session was open before, and
    a fresh token has extended it.
    """

    expires_in: float | None
    is_renewal: bool


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """Notice: the session expires soon, and a fresh token is needed to renew it on the same connection.

    `is_refused`: the server refused a request because of the token in use; that request is sent again with the fresh
    token.
    """

    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """Notice: the server refused the token, with its `reason` as text. The same token will not be accepted later."""

    reason: str


@dataclass(frozen=True, slots=True)
class SessionLost:
    """Notice: this connection is unusable, for example because the session expired or the server does not answer pings.

    A new connection may succeed. `reason` is a text for users, `cause` the kind of break, as shown in `feed.gaps`.
    """

    reason: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class Rejected:
    """Notice: the server refused `subscriptions`, with its `reason` as text; () where the server does not say which.

    `is_unknown_symbol`: the refusal means that the symbol does not exist; otherwise the user lacks a right, a limit is
    reached, or no answer came.
    """

    subscriptions: tuple[Subscription, ...]
    reason: str
    is_unknown_symbol: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """Notice: the stream of `kind` and `symbol` runs again after the connection broke.

    It comes before the `Pong` which shows that the server has processed the new request. `is_filled`: all messages
    missed in the break were delivered from the broker's history. False: that history does not reach back far enough, so
    some are missing. `count` is how many were delivered in either case.
    """

    kind: Kind
    symbol: str
    is_filled: bool
    count: int = 0


@dataclass(frozen=True, slots=True)
class TradeGap:
    """Notice: trades are missing just before the records delivered with it, because the broker's history is too short.

    `after` is the last known trade before the gap and `before` the first one after it, each as exchange time (ns since
    the epoch) and trade id.
    """

    subscription: Subscription
    after: tuple[int, int]
    before: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Notice: a line of the server's text could not be decoded, for `reason`.

    `excerpt` is the beginning of the line, at most 200 characters, with tokens replaced by `***`.
    """

    reason: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Counted:
    """Notice for statistics: `count` messages of a subscription made no record, or `count` records had no message.

    `what` says which and why (see `CountedAs`). Without such a notice every record counts as one message, except the
    record `CLEAR`, which begins a full list of a table's rows.
    """

    subscription: Subscription
    what: CountedAs
    count: int = 1


@dataclass(frozen=True, slots=True)
class Unrequested:
    """Notice: data arrived for a stream that has no subscription, or whose subscription was just ended."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Notice: more of the frame is still to be decoded, which in one call would take too long.

    The protocol has to be called again, without frames, until this notice does not come, and before the next frame.
    """


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """Notice: the state of the market as the server reports it (open, closed …), as (name, value) pairs.

    Names are in snake_case; names of nested values are joined by dots, as "exchanges.nyse". `ts` is its time in ns
    since the epoch, 0 if the server names none.
    """

    entries: tuple[tuple[str, StatusValue], ...]
    ts: int = 0


class StatusReport(NamedTuple):
    """A received `MarketStatus`: its time at the broker, its receipt (both ns since the epoch), and its entries."""

    ts: int
    received: int
    entries: Mapping[str, StatusValue]


@dataclass(frozen=True, slots=True)
class Pong:
    """Notice: the server answered ping `number`, so it has processed everything that was sent before that ping."""

    number: int


Notice: TypeAlias = (
    SessionOpened
    | TokenWanted
    | SessionRefused
    | SessionLost
    | Rejected
    | Resumed
    | TradeGap
    | Unreadable
    | Counted
    | Unfinished
    | Unrequested
    | MarketStatus
    | Pong
)
Received: TypeAlias = tuple[Sequence[Record], Sequence[Notice]]


class ReceivedColumns(NamedTuple):
    """The records of frames by columns, the notices that count messages without one, and the number of messages.

    `ends` has, for each frame, the number of records in it and in those before it.
    """

    blocks: Sequence[Block]
    notices: Sequence[Counted]
    messages: int
    ends: Sequence[int]


class GapSink(Protocol):
    """Interface of an object that receives the beginning and end of each gap of a connection, on the network's thread.

    A gap is a time during which data may have been missed. Times are in ns since the epoch by this machine's clock.
    """

    def opened(self, *, started: int, reason: str, cause: Cause) -> None:
        """Begin a gap at `started`, when the last message was received.

        `reason` is a text for users, `cause` the kind of break, as shown in `feed.gaps`.
        """

    def closed(self, *, ended: int, resumed: Sequence[Resumed] = (), is_all: bool = False) -> None:
        """End the open gap at `ended`: the connection is authenticated and subscribed again, or was closed for good.

        `resumed` has one notice for each kind and symbol that runs again, which says whether its missed messages were
        delivered. `is_all`: every stream of the connection is among them. A stream that is not among them counts as not
        filled: its messages of that time are missing. Nothing happens without an open gap.
        """
