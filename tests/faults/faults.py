"""What can go wrong between a broker and a client, as plain values that Hypothesis draws, prints and shrinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "Cut",
    "Delay",
    "Drip",
    "Duplicate",
    "Expire",
    "Fault",
    "Fragment",
    "Hang",
    "Join",
    "Kick",
    "Outage",
    "Refuse",
    "Reorder",
    "Rubbish",
    "StallDown",
    "StallUp",
    "Step",
    "Throttle",
]


@dataclass(frozen=True, slots=True)
class Cut:
    """End the connection: with a close frame of this code, without one ("fin", "rst"), or in mid-frame ("torn")."""

    how: Literal["close", "fin", "rst", "torn"] = "rst"
    code: int = 1001


@dataclass(frozen=True, slots=True)
class StallDown:
    """Hold everything back that the server says, for `seconds`, or until the client gives up (None)."""

    seconds: float | None = 0.1


@dataclass(frozen=True, slots=True)
class StallUp:
    """Hold everything back that the client says, likewise."""

    seconds: float | None = 0.1


@dataclass(frozen=True, slots=True)
class Drip:
    """The next `messages` arrive one byte at a time."""

    messages: int = 1


@dataclass(frozen=True, slots=True)
class Delay:
    """Each of the next `messages` comes later by `seconds`."""

    messages: int = 1
    seconds: float = 0.02


@dataclass(frozen=True, slots=True)
class Throttle:
    """The next `messages` come at so many bytes a second."""

    messages: int = 1
    octets_per_s: int = 20_000


@dataclass(frozen=True, slots=True)
class Fragment:
    """Each of the next `messages` comes in so many frames, with a ping among them."""

    messages: int = 1
    pieces: int = 2


@dataclass(frozen=True, slots=True)
class Join:
    """The next `messages` come in one segment."""

    messages: int = 2


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Each of the next `messages` comes twice."""

    messages: int = 1


@dataclass(frozen=True, slots=True)
class Reorder:
    """The next message comes behind the one after it."""


@dataclass(frozen=True, slots=True)
class Rubbish:
    """Something comes that no server should send; the last two end the connection."""

    what: Literal["text", "binary", "half a character", "deep", "stranger", "empty", "bad opcode", "oversized"] = "text"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Cut, and answer the next handshakes with this status."""

    status: Literal[401, 403, 429, 502] = 502
    times: int = 1


@dataclass(frozen=True, slots=True)
class Hang:
    """Cut, and let the next handshake wait for `seconds`, to no end."""

    seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class Kick:
    """Cut, accept the next connections, and kick each after so many messages."""

    times: int = 1
    messages: int = 2


@dataclass(frozen=True, slots=True)
class Outage:
    """The server goes away as for a restart: code 1001 to every client, and the port is closed for `seconds`."""

    seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class Expire:
    """The broker says that the session or its token has come to its end."""


Fault: TypeAlias = (
    Cut
    | StallDown
    | StallUp
    | Drip
    | Delay
    | Throttle
    | Fragment
    | Join
    | Duplicate
    | Reorder
    | Rubbish
    | Refuse
    | Hang
    | Kick
    | Outage
    | Expire
)


@dataclass(frozen=True, slots=True)
class Step:
    """A fault, and how many messages are delivered after the one before until it happens."""

    after: int
    fault: Fault
