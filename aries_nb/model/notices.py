"""What a server reports about a session, apart from its records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from aries_nb.model.columns import Cause, CountedAs, Kind
from aries_nb.model.records import Record, Subscription

__all__ = [
    "Counted",
    "GapSink",
    "MarketStatus",
    "Notice",
    "Pong",
    "Received",
    "Rejected",
    "Resumed",
    "SessionLost",
    "SessionOpened",
    "SessionRefused",
    "TokenWanted",
    "TradeGap",
    "Unreadable",
    "Unrequested",
]


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The server accepted the token; `expires_in` is in seconds, None if it is unknown."""

    expires_in: float | None
    is_renewal: bool


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """The session expires soon; a fresh token renews it on the same connection.

    `is_refused`: the token in use was refused for a request, which is sent again with another one.
    """

    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """The server refused the token; the same token will not be accepted later."""

    reason: str


@dataclass(frozen=True, slots=True)
class SessionLost:
    """This connection is unusable: session expired, timeout, no pong. A new one may succeed."""

    reason: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class Rejected:
    """The server refused subscriptions; `subscriptions` is empty where it does not say which.

    `is_unknown_symbol`: it does not know the symbol, as against a right that the user lacks, a limit, or no answer.
    """

    subscriptions: tuple[Subscription, ...]
    reason: str
    is_unknown_symbol: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """A stream resumed after a break. Comes before the `Pong` which shows that the server has processed the request.

    `is_filled`: the missed data was delivered, `count` messages from the broker's history; otherwise the history does
    not reach back far enough.
    """

    kind: Kind
    symbol: str
    is_filled: bool
    count: int = 0


@dataclass(frozen=True, slots=True)
class TradeGap:
    """Trades missing before the records that come with this notice: the stream's history is too short.

    `after` and `before` are the known trades around them, each as exchange time (ns since the epoch) and id.
    """

    subscription: Subscription
    after: tuple[int, int]
    before: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that could not be decoded. `excerpt` is at most 200 characters of it, with tokens redacted."""

    reason: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Counted:
    """Messages of a subscription without a record, or records without a message; see `CountedAs`.

    Every other record is one message, except `CLEAR`.
    """

    subscription: Subscription
    what: CountedAs
    count: int = 1


@dataclass(frozen=True, slots=True)
class Unrequested:
    """Data of no current subscription."""


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """State of the market as the server reports it (open, closed …), as (name, value) pairs; names in snake_case.

    Nested names are joined by dots: "exchanges.nyse".
    """

    entries: tuple[tuple[str, str | float | bool], ...]


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to ping `number`: the server has processed everything sent before it."""

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
    | Unrequested
    | MarketStatus
    | Pong
)
Received: TypeAlias = tuple[Sequence[Record], Sequence[Notice]]


class GapSink(Protocol):
    """Receives the interruptions of a stream. Times are in ns since the epoch."""

    def opened(self, *, started: int, reason: str, cause: Cause) -> None:
        """The stream broke; `started` is when the last message was received."""

    def closed(self, *, ended: int, resumed: Sequence[Resumed] = (), is_all: bool = False) -> None:
        """The stream is complete again: authenticated and subscribed.

        `resumed` has an entry for each kind and symbol that resumed, with whether its gap was filled from history;
        `is_all`: these are all of the stream.
        """
