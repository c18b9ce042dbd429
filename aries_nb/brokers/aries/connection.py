"""Base class of the connections to the three Aries endpoints: session, subscriptions, requests (protocol page §2).

It implements `BrokerProtocol`; a subclass adds the streams of its endpoint.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from aries_nb.brokers.aries.session import AriesSession
from aries_nb.brokers.aries.streams import RequestOptions
from aries_nb.brokers.parsing import RequestRefused, check_words, lines, nanoseconds, parse_line
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
    """One connection to an Aries endpoint, and its subscriptions, which are kept when the connection breaks.

    Implements `BrokerProtocol`; used on the event loop's thread only. A key `K` is what one request asks for: a symbol
    or a topic. `COLUMNS` are the columns of each kind of stream and their types. `HAS_TABLES`: records are rows of
    tables, marked `PUT` or `CLEAR`. `IS_EXACT`: numbers with a point are decoded as `Decimal`.
    """

    COLUMNS: ClassVar[Mapping[Kind, Mapping[str, ColumnType]]] = {}
    HAS_TABLES: ClassVar[bool] = False
    IS_EXACT: ClassVar[bool] = False

    def __init__(self) -> None:
        self._session = AriesSession()
        self._initial_records: list[Record] = []  # for subscriptions that joined a running stream
        self._requests: dict[str, Asked] = {}  # by request id, the oldest first

    def open(self, now: float) -> None:
        """Reset for a new connection at time `now` (s, monotonic).

        The streams are requested again after authentication.
        """
        self._session.open(now)
        self._initial_records.clear()
        self._requests.clear()
        self._forget()

    def authenticate(self, token: str, now: float) -> None:
        """Queue the token, to open the session or to renew it on the same connection.

        `now` is in seconds of a monotonic clock.
        """
        self._session.authenticate(token, now)

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Add subscriptions, and queue requests for what is not running, then a ping.

        Returns the number of the ping, 0 while the session is not open. Raises UsageError for text that cannot be
        encoded.
        """
        check_words(subscriptions)
        keys = dict.fromkeys(key for each in subscriptions for key in self._add(each))
        return self._ask(keys) if self._session.is_open else 0

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove subscriptions, and queue requests that end the streams which no other subscription needs."""
        self._initial_records = [seed for seed in self._initial_records if seed[0] not in subscriptions]
        self._remove(subscriptions)

    def receive(self, frames: Sequence[bytes], received: int) -> Received:
        """Decode frames received at `received` (ns since the epoch).

        Returns their records and notices, each in order, after the first records of subscriptions that joined a running
        stream.
        """
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
        """Send keepalive pings and check the time limits of the session; return notices.

        `now` is in seconds of a monotonic clock.
        """
        return self._session.tick(now)

    def outgoing(self) -> Sequence[str]:
        """Return the queued frames in the order of sending, and clear the queue."""
        return self._session.outgoing()

    @abstractmethod
    def _forget(self) -> None:
        """Hook: drop the state of the previous connection, because a new one begins; subscriptions stay."""

    @abstractmethod
    def _add(self, subscription: Subscription) -> Iterable[K]:
        """Hook: add a subscription, and return the keys (symbols or topics) to request for it.

        `subscribe` calls it, and passes the keys to `_ask` while the session is open.
        """

    @abstractmethod
    def _remove(self, subscriptions: Sequence[Subscription]) -> None:
        """Hook: remove subscriptions, and queue requests that end the streams which no other subscription needs."""

    @abstractmethod
    def _subscribed(self) -> Iterable[K]:
        """Hook: return all keys (symbols or topics) that have to be requested when a new session is open."""

    @abstractmethod
    def _ask(self, keys: Iterable[K]) -> int:
        """Hook: queue requests for those of the keys (symbols or topics) that are not running, then a ping.

        Returns the ping's number.
        """

    @abstractmethod
    def _message(
        self, message: Mapping[str, Any], raw: bytes, received: int, records: list[Record], notices: list[Notice]
    ) -> None:
        """Hook: process one decoded message received at `received` (ns since the epoch); `raw` is its line of text.

        An override appends the records and notices that the message yields to `records` and `notices`.
        """

    @abstractmethod
    def _rejected(self, refused: RequestRefused) -> Rejected:
        """Hook: return the refusal of a request as a notice that names the refused subscriptions.

        An override also has to mark their streams as not running, so that they may be requested again.
        """

    def _ponged(self, pong: Pong) -> Iterable[Pong]:
        """Hook: return the pongs (answers to pings) to report to the session now that `pong` has arrived.

        The default returns `pong` alone; an override may hold it back until the requests before it are answered.
        """
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
    """Return when a message was sent, in ns since the epoch, by its payload or else its envelope.

    If neither says, return `received`, the time of receipt.
    """
    payload = message.get("payload")
    inner = nanoseconds(payload.get("timestamp")) if isinstance(payload, dict) else None
    return inner or nanoseconds(message.get("timestamp")) or received
