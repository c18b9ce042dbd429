"""What a server says about a session, apart from its records."""

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
    """The server accepted the token; `expires_in` is in seconds, None where it did not say."""

    expires_in: float | None
    is_renewal: bool


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """The session ends soon; a fresh token keeps it alive on the same connection.

    `is_refused`: the one in use was refused for a request, which is sent again with another.
    """

    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """The server refused the token; trying again with the same one is of no use."""

    reason: str


@dataclass(frozen=True, slots=True)
class SessionLost:
    """This connection is of no use any more, a new one may be: expired, timed out, no pong."""

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
    """After a break a stream goes on, told before the `Pong` that shows the server has seen it.

    `is_filled`: what was missed has been told, `count` messages out of the broker's past; else the past does not reach
    back so far.
    """

    kind: Kind
    symbol: str
    is_filled: bool
    count: int = 0


@dataclass(frozen=True, slots=True)
class TradeGap:
    """Trades are missing before the records that come with this: the stream's own past does not reach back so far.

    They lie between two that are known, each as exchange time (ns since the epoch) and id.
    """

    subscription: Subscription
    after: tuple[int, int]
    before: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that could not be used. `excerpt` is at most 200 characters of it, tokens masked."""

    reason: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Counted:
    """Messages of a subscription for which no record stands, or a record for which no message does; see `CountedAs`.

    Every other record is one message, but for `CLEAR`.
    """

    subscription: Subscription
    what: CountedAs
    count: int = 1


@dataclass(frozen=True, slots=True)
class Unrequested:
    """Data that belong to nobody's subscription."""


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """What the server says about the market: open, closed, and the like, as (name, value) pairs; names in snake_case.

    What is within something else is named after it: "exchanges.nyse".
    """

    entries: tuple[tuple[str, str | float | bool], ...]


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to ping number `number`: everything that was sent before it has been seen by the server."""

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
    """Who keeps the ledger of interruptions. Times are in ns since the epoch."""

    def opened(self, *, started: int, reason: str, cause: Cause) -> None:
        """The stream broke; `started` is when the last message came."""

    def closed(self, *, ended: int, resumed: Sequence[Resumed] = (), is_all: bool = False) -> None:
        """The stream is whole again: authenticated and subscribed.

        `resumed` says of kinds and symbols whether what they missed was filled from the past; `is_all`: there are none
        besides.
        """
