"""Events that an adapter's `read` yields, and the key by which its streams are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from aries_nb.model import Kind

__all__ = [
    "Accepted",
    "Acknowledged",
    "Event",
    "Levels",
    "Ponged",
    "Refused",
    "Reply",
    "StreamKey",
    "TokenExpires",
    "Update",
]

StreamKey: TypeAlias = tuple[Kind, str]
"""A stream to ask for: its kind ("quotes", "trades", "book") and the symbol as the user wrote it."""


class Update(NamedTuple):
    """Event: a quote or a trade, with its exchange time `ts` in ns since the epoch and its values by column name.

    If `ts` is None or 0, the time of receipt is used. A column that is absent or None is missing; for a kind in
    `PARTIAL` of the adapter's class (kinds whose updates carry only changes) it keeps its last value. Text is converted
    to numbers in number columns.
    """

    kind: Kind
    symbol: str
    ts: int | None
    values: Mapping[str, Any]


class Levels(NamedTuple):
    """Event: levels of an order book, as (price, size) pairs for each side; a size of 0 removes a level.

    `ts` is the exchange time in ns since the epoch; None or 0 means the time of receipt. `is_snapshot`: these are all
    levels of the book, and every other level is removed. A book begins with its first snapshot on a connection: levels
    before it are counted as `rowless`, and not shown.
    """

    symbol: str
    ts: int | None
    bids: Iterable[tuple[Any, Any]]
    asks: Iterable[tuple[Any, Any]]
    is_snapshot: bool = False


class Accepted(NamedTuple):
    """Event: the server accepted the login.

    `expires_in` is the life of the session in seconds, None if it does not say.
    """

    expires_in: float | None = None


class Acknowledged(NamedTuple):
    """Event: the server has processed the oldest message from `ask` or `give_up` that it had not answered yet."""


class Refused(NamedTuple):
    """Event: the server refused the login or, once the login is accepted, streams; `reason` is the server's text.

    `symbols` and `kind` name the refused streams; `kind` None means streams of every kind. If the adapter's class sets
    `ACKNOWLEDGES`, these are looked for first among the streams of the oldest unanswered message. Without `symbols`,
    all streams of the request to which that message belongs are refused, or its one stream if each stream has a message
    of its own. `is_unknown_symbol`: True if the symbol does not exist at this broker, False if the user lacks a right;
    None means that the words of the reason decide. If one message for many streams is refused because of an unknown
    symbol, the streams are requested again in halves, to find which it is.
    """

    reason: str
    symbols: tuple[str, ...] = ()
    kind: Kind | None = None
    is_unknown_symbol: bool | None = None


class Ponged(NamedTuple):
    """Event: the server answered the ping with this `number`, which the adapter's method `ping` made.

    None means the oldest ping that is not answered yet.
    """

    number: int | None = None


class TokenExpires(NamedTuple):
    """Event: the server says that the session ends soon.

    The connection then fetches a fresh token, and sends the message from the adapter's `login` with it.
    """


class Reply(NamedTuple):
    """Event: a message has to be sent now, such as the answer to the server's own ping.

    `message` is a JSON value, or str or bytes, sent as they are.
    """

    message: Any


Event: TypeAlias = Update | Levels | Accepted | Acknowledged | Refused | Ponged | TokenExpires | Reply
