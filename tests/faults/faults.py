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
    """Hold back everything from the server for `seconds`, or until the client disconnects (None)."""

    seconds: float | None = 0.1


@dataclass(frozen=True, slots=True)
class StallUp:
    """Hold back everything from the client, likewise."""

    seconds: float | None = 0.1


@dataclass(frozen=True, slots=True)
class Drip:
    """The next `messages` arrive one byte at a time."""

    messages: int = 1


@dataclass(frozen=True, slots=True)
class Delay:
    """Each of the next `messages` is delayed by `seconds`."""

    messages: int = 1
    seconds: float = 0.02


@dataclass(frozen=True, slots=True)
class Throttle:
    """The next `messages` arrive at so many bytes per second."""

    messages: int = 1
    octets_per_s: int = 20_000


@dataclass(frozen=True, slots=True)
class Fragment:
    """Each of the next `messages` arrives in so many frames, with a ping between them."""

    messages: int = 1
    pieces: int = 2


@dataclass(frozen=True, slots=True)
class Join:
    """The next `messages` arrive in one segment."""

    messages: int = 2


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Each of the next `messages` arrives twice."""

    messages: int = 1


@dataclass(frozen=True, slots=True)
class Reorder:
    """The next message arrives after the one that follows it."""


@dataclass(frozen=True, slots=True)
class Rubbish:
    """Something arrives that no server should send; the last two end the connection."""

    what: Literal["text", "binary", "half a character", "deep", "stranger", "empty", "bad opcode", "oversized"] = "text"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Cut, and answer the next handshakes with this status."""

    status: Literal[401, 403, 429, 502] = 502
    times: int = 1


@dataclass(frozen=True, slots=True)
class Hang:
    """Cut, and leave the next handshake unanswered for `seconds`."""

    seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class Kick:
    """Cut, accept the next connections, and disconnect each after so many messages."""

    times: int = 1
    messages: int = 2


@dataclass(frozen=True, slots=True)
class Outage:
    """The server restarts: code 1001 to every client, and the port is closed for `seconds`."""

    seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class Expire:
    """The broker reports that the session or its token has expired."""


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
    """A fault, and the number of messages delivered between the previous fault and this one."""

    after: int
    fault: Fault
