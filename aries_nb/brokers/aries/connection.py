"""Base class of the three Aries endpoints: session, subscriptions, requests (protocol page §2).

Implements `BrokerProtocol`; a subclass adds the streams of its endpoint.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from aries_nb.brokers.aries.session import AriesSession, check_words
from aries_nb.brokers.aries.streams import RequestOptions
from aries_nb.brokers.parsing import RequestRefused, lines, nanoseconds, parse_line
from aries_nb.model import (
    PUT,
    ColumnType,
    Counted,
    Kind,
    Notice,
    Pong,
    Received,
    Record,
    Rejected,
    Subscription,
    Unreadable,
)

__all__ = ["AriesConnection", "Asked", "time_of"]

REQUESTS_KEPT = 1_000  # whose symbols are remembered, for a refusal that names the request alone
K = TypeVar("K")
# What a request asked for: by symbol, for each option the fields that ran before it, () where none did.
Asked: TypeAlias = Mapping[str, RequestOptions]


class AriesConnection(ABC, Generic[K]):
    """One connection, and the streams that outlive it. Not thread-safe: the loop's thread owns it.

    `K` is what one request asks for: a symbol or a topic. `HAS_TABLES`: records are rows of tables, marked `PUT` or
    `CLEAR`. `IS_EXACT`: numbers with a point are read as `Decimal`.
    """

    COLUMNS: ClassVar[Mapping[Kind, Mapping[str, ColumnType]]] = {}
    HAS_TABLES: ClassVar[bool] = False
    IS_EXACT: ClassVar[bool] = False

    def __init__(self) -> None:
        self._session = AriesSession()
        self._initial_records: list[Record] = []  # for subscriptions that joined a running stream
        self._requests: dict[str, Asked] = {}  # by request id, the oldest first

    def open(self, now: float) -> None:
        """Start a new connection; the streams are requested again after authentication."""
        self._session.open(now)
        self._initial_records.clear()
        self._requests.clear()
        self._forget()

    def authenticate(self, token: str, now: float) -> None:
        """Send the token, to open the session or to renew it without reconnecting."""
        self._session.authenticate(token, now)

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Add streams and request what is not running yet. Raises UsageError for text that cannot be encoded."""
        check_words(subscriptions)
        keys = dict.fromkeys(key for each in subscriptions for key in self._add(each))
        return self._ask(keys) if self._session.is_open else 0

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove streams and end those that no other subscription needs."""
        self._initial_records = [seed for seed in self._initial_records if seed[0] not in subscriptions]
        self._remove(subscriptions)

    def receive(self, frames: Sequence[bytes], received: int) -> Received:
        """Decode the frames of one read."""
        notices: list[Notice] = []
        records: list[Record] = []
        if self._initial_records:
            records, self._initial_records = self._initial_records, []
            rows = [seed for seed in records if not self.HAS_TABLES or seed[2][0] == PUT]
            notices += [Counted(seed[0], "filled") for seed in rows]
        for frame in frames:
            self._read(frame, received, records, notices)
        return records, notices

    def tick(self, now: float) -> Sequence[Notice]:
        """Keepalive and time limits of the session."""
        return self._session.tick(now)

    def outgoing(self) -> Sequence[str]:
        """Drain the frames to send."""
        return self._session.outgoing()

    @abstractmethod
    def _forget(self) -> None:
        """Drop the state of the previous connection; subscriptions stay."""

    @abstractmethod
    def _add(self, subscription: Subscription) -> Iterable[K]:
        """Add a subscription; returns the keys to request for it."""

    @abstractmethod
    def _remove(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove subscriptions and unsubscribe from what no other one needs."""

    @abstractmethod
    def _subscribed(self) -> Iterable[K]:
        """All keys that a new session has to request."""

    @abstractmethod
    def _ask(self, keys: Iterable[K]) -> int:
        """Request the keys that are not running, then ping; returns the ping's number."""

    @abstractmethod
    def _message(
        self, message: Mapping[str, Any], raw: bytes, received: int, records: list[Record], notices: list[Notice]
    ) -> None:
        """Process one message."""

    @abstractmethod
    def _rejected(self, refused: RequestRefused) -> Rejected:
        """The refusal of a request in terms of subscriptions, which may be asked for again."""

    def _ponged(self, pong: Pong) -> Iterable[Pong]:
        """The pongs to report when one arrives."""
        return (pong,)

    def _read(self, frame: bytes, received: int, records: list[Record], notices: list[Notice]) -> None:
        for raw in lines(frame):
            self._read_line(raw, received, records, notices)

    def _read_line(self, raw: bytes, received: int, records: list[Record], notices: list[Notice]) -> None:
        message = parse_line(raw, exact=self.IS_EXACT)
        if isinstance(message, Unreadable):
            notices.append(message)
        else:
            self._message(message, raw, received, records, notices)

    def _control(self, message: Mapping[str, Any], raw: bytes) -> Iterator[Notice]:
        was_open = self._session.is_open
        for notice in self._session.control(message, raw):
            if isinstance(notice, RequestRefused):
                yield self._rejected(notice)
            elif isinstance(notice, Pong):
                yield from self._ponged(notice)
            else:
                yield notice
        if self._session.is_open and not was_open:
            self._ask(self._subscribed())

    def _note_request(self, request: str, asked: Asked) -> None:
        self._requests[request] = asked
        while len(self._requests) > REQUESTS_KEPT:
            del self._requests[next(iter(self._requests))]


def time_of(message: Mapping[str, Any], received: int) -> int:
    """When a message was sent, in ns since the epoch: as its payload or its envelope says, else when it came."""
    payload = message.get("payload")
    inner = nanoseconds(payload.get("timestamp")) if isinstance(payload, dict) else None
    return inner or nanoseconds(message.get("timestamp")) or received
