"""What a server says about a session, apart from its records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from aries_nb.model.columns import Kind
from aries_nb.model.records import Record

__all__ = [
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
    "Unreadable",
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


@dataclass(frozen=True, slots=True)
class Rejected:
    """The server refused something that was asked; `symbols` is empty where it does not say for which."""

    symbols: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """After a break a stream goes on, told before the `Pong` that shows the server has seen it.

    `is_filled`: what was missed has been told, out of the broker's past; else the past does not reach back so far.
    """

    kind: Kind
    symbol: str
    is_filled: bool


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that could not be used. `excerpt` is at most 200 characters of it, tokens masked."""

    reason: str
    excerpt: str


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
    SessionOpened | TokenWanted | SessionRefused | SessionLost | Rejected | Resumed | Unreadable | MarketStatus | Pong
)
Received: TypeAlias = tuple[Sequence[Record], Sequence[Notice]]
