"""Base class for adapters to brokers that send JSON over one WebSocket.

An adapter implements four methods (`login`, `ask`, `give_up`, `read`) and names its columns; `docs/brokers.md` shows a
whole one. The base class keeps the subscriptions, requests them again after a break, counts unreadable messages, fills
in missing values, and detects when the server has processed a request.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import nlargest, nsmallest
from itertools import chain, repeat
from typing import Any, ClassVar, NamedTuple

import msgspec

from aries_nb.brokers.events import (
    Accepted,
    Acknowledged,
    Event,
    Levels,
    Ponged,
    Refused,
    Reply,
    StreamKey,
    TokenExpires,
    Update,
)
from aries_nb.brokers.parsing import MOST_NOTED, excerpt, is_unknown_symbol, writable
from aries_nb.brokers.protocol import Ping
from aries_nb.errors import UsageError
from aries_nb.model import (
    MISSING,
    ColumnType,
    Counted,
    Kind,
    Notice,
    Pong,
    Received,
    Record,
    Rejected,
    SessionLost,
    SessionOpened,
    SessionRefused,
    Subscription,
    TokenWanted,
    Unreadable,
    Unrequested,
    Value,
    Values,
)

__all__ = ["JsonProtocol"]

KINDS: tuple[Kind, ...] = ("quotes", "trades", "book")
TYPES: tuple[ColumnType, ...] = ("number", "text", "integer", "time")
INTEGER_BOUND = 2**63
MOST_LEVELS = 10_000  # a side; the worst prices are dropped first


class JsonProtocol(ABC):
    """One connection to an endpoint as a state machine without I/O; base class for adapters.

    Implements `BrokerProtocol`.

    Class attributes: `COLUMNS` maps each kind of stream to the names and types of its columns, in the broker's order,
    `{}` for a book. `PARTIAL` are the kinds whose updates carry only what changed. `ACKNOWLEDGES`: the server answers
    each message from `ask` and `give_up`, in order, with a message that `read` yields as `Acknowledged` or `Refused`;
    the user's call whose request is refused then raises. If it is False, a ping follows each request, and a refusal may
    come after the ping's answer. `LOGIN_SECONDS` and `PONG_SECONDS` are the longest waits for an answer to a login and
    a ping, `PING_SECONDS` is the time between pings. All methods and hooks except the constructor are called on the
    network's thread, so a hook must return at once.
    """

    COLUMNS: ClassVar[Mapping[Kind, Mapping[str, ColumnType]]]
    PARTIAL: ClassVar[frozenset[Kind]] = frozenset()
    ACKNOWLEDGES: ClassVar[bool] = False
    LOGIN_SECONDS: ClassVar[float] = 10.0
    PING_SECONDS: ClassVar[float] = 20.0
    PONG_SECONDS: ClassVar[float] = 10.0

    def __init__(self) -> None:
        self._check_columns()
        self._users: dict[StreamKey, dict[Subscription, None]] = {}
        self._running: set[StreamKey] = set()  # asked for on this connection, and not refused
        self._newest: dict[StreamKey, tuple[int, dict[str, Value]]] = {}  # of quotes, on this connection
        self._books: dict[str, _Book] = {}  # each from its first snapshot on
        self._joined: list[Subscription] = []  # to running streams; they get the newest values with the next frame
        self._out: list[str | bytes | Ping] = []
        self._notices: list[Notice] = []
        self._number = 0
        self._is_open = False
        self._login_sent: float | None = None
        self._pings: dict[int, float] = {}  # of the application, by number: when they were sent
        self._unanswered: deque[_Asked] = deque()  # messages that the server has yet to acknowledge
        self._now = self._next_ping = 0.0

    # The adapter's hooks.

    @abstractmethod
    def login(self, token: str) -> Any:  # noqa: ANN401 - JSON
        """Hook: return the message that opens the session with `token`: a JSON value, or str or bytes, sent unchanged.

        Called at each login and renewal. Return None if the headers or the address of the WebSocket handshake have
        logged in already: the session then counts as open.
        """

    @abstractmethod
    def ask(self, streams: Sequence[StreamKey]) -> Iterable[Any]:
        """Hook: return the messages that subscribe to these streams: JSON values, or str and bytes, sent as they are.

        Called only while the session is open, after each login for all streams.
        """

    @abstractmethod
    def give_up(self, streams: Sequence[StreamKey]) -> Iterable[Any]:
        """Hook: return the messages that end these streams: JSON values, or str and bytes, sent as they are.

        Called only while the session is open, for streams that no subscription needs any more.
        """

    @abstractmethod
    def read(self, message: Any) -> Iterable[Event]:  # noqa: ANN401 - JSON
        """Hook: yield the events in a message as `decode` returned it; none if it has nothing of interest.

        Called once for each frame. An exception that it raises is counted as an unreadable message.
        """

    def ping(self, number: int) -> Any:  # noqa: ANN401, ARG002 - JSON; a hook
        """Hook: return the broker's own ping message with this number, a JSON value, or str or bytes, sent as they are.

        `read` has to yield its answer as `Ponged`. The default returns None: a ping of the WebSocket protocol itself is
        sent instead.
        """
        return None

    def decode(self, frame: bytes) -> Any:  # noqa: ANN401 - JSON
        """Hook: return the message in a frame, to be passed to `read`.

        The default decodes JSON; override it for another encoding. An exception counts as an unreadable message.
        """
        return msgspec.json.decode(frame)

    # The contract of `BrokerProtocol`.

    def open(self, now: float) -> None:
        """Reset for a new connection at time `now` (s, monotonic).

        The subscribed streams are requested again once the login on it is accepted.
        """
        self._is_open = False
        self._out, self._notices, self._joined = [], [], []
        self._running.clear()
        self._newest.clear()
        self._books.clear()
        self._pings.clear()
        self._unanswered.clear()
        self._login_sent = None
        self._now, self._next_ping = now, now + self.PING_SECONDS

    @property
    def request_number(self) -> int:
        """The number of the newest request or ping."""
        return self._number

    def missed(self, request_number: int) -> None:
        """Go on after messages that were not received: a book begins with its next snapshot."""
        self._number = request_number
        self._joined.clear()
        self._newest.clear()
        self._pings.clear()
        self._unanswered.clear()
        self._books.clear()

    def authenticate(self, token: str, now: float) -> None:
        """Queue the message from `login`, which opens the session with `token` or renews an open one.

        `now` is in seconds of a monotonic clock.
        """
        self._now = now
        message = self.login(token)
        if message is None:
            self._accept(Accepted(), self._notices)
        else:
            self._login_sent = now
            self._queue([message])

    def subscribe(self, subscriptions: Sequence[Subscription]) -> int:
        """Add subscriptions, and queue requests for those of their streams that are not running.

        A ping follows unless the server acknowledges the requests themselves. Returns the number of the request, which
        the notice `Pong` repeats once the server has processed it; 0 while the session is not open. Raises UsageError
        for a kind that the adapter does not have; nothing is requested then.
        """
        for each in subscriptions:
            if each.kind not in self.COLUMNS:
                raise UsageError(f"this broker has no {each.kind}", advice="Ask for something else.")
        new: dict[StreamKey, None] = {}
        for each in subscriptions:
            key = each.kind, each.symbol
            users = self._users.setdefault(key, {})
            if key not in self._running:
                new[key] = None
            elif each not in users:
                self._joined.append(each)
            users[each] = None
        return self._request(list(new)) if self._is_open else 0

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Remove subscriptions and queue the requests that end streams which no other subscription needs."""
        gone: list[StreamKey] = []
        for each in subscriptions:
            key = each.kind, each.symbol
            users = self._users.get(key, {})
            if each not in users:
                continue
            del users[each]
            if not users:
                del self._users[key]
                self._drop(key)
                if key in self._running:
                    self._running.remove(key)
                    gone.append(key)
        if gone and self._is_open:
            try:
                self._await_answers(0, gone, self._queue(self.give_up(gone)))
            except Exception as error:  # no call waits for it: shown as the last error
                self._notices.append(Rejected((), excerpt(f"`give_up` raised {type(error).__name__}: {error}")))

    def receive(self, frames: Sequence[bytes], received: int) -> Received:
        """Decode frames received at `received` (ns since the epoch).

        Returns their records and notices, each in order.
        """
        notices, self._notices = self._notices, []
        records: list[Record] = []
        if self._joined:
            self._seed(records, notices)
        for frame in frames:
            unreadable: list[Unreadable] = []
            try:
                for event in self.read(self.decode(frame)) or ():
                    try:
                        self._take(event, received, records, notices)
                    except Exception as error:  # as below; the other events of the frame are good
                        if len(unreadable) < MOST_NOTED:
                            unreadable.append(_unreadable(error, frame))
            except Exception as error:  # the adapter is foreign code, and the frame foreign text
                unreadable.append(_unreadable(error, frame))
            notices += unreadable
        return records, notices

    def tick(self, now: float) -> Sequence[Notice]:
        """Queue a ping when it is due at time `now` (s, monotonic), and return pending notices.

        Returns the notice `SessionLost` alone if the server has not answered a login or a ping in time.
        """
        self._now = now
        notices, self._notices = self._notices, []
        if self._login_sent is not None and now - self._login_sent > self.LOGIN_SECONDS:
            self._login_sent = None
            return [SessionLost(f"no answer to the login within {self.LOGIN_SECONDS:.0f} s", "silence")]
        if self._pings and now - min(self._pings.values()) > self.PONG_SECONDS:
            self._pings.clear()
            return [SessionLost(f"no answer to a ping within {self.PONG_SECONDS:.0f} s", "silence")]
        if self._is_open and now >= self._next_ping:
            self._ping(self._next_number())
        return notices

    def outgoing(self) -> Sequence[str | bytes | Ping]:
        """Return the queued messages in the order of sending, and clear the queue."""
        out, self._out = self._out, []
        return out

    # Requests.

    def _check_columns(self) -> None:
        """Raise UsageError if `COLUMNS` has a kind other than quotes, trades and book, or an unknown column type."""
        for kind, types in self.COLUMNS.items():
            for name, what, known in ((kind, "kind", KINDS), *((each, "type", TYPES) for each in types.values())):
                if name not in known:
                    where = f"{type(self).__name__}.COLUMNS[{kind!r}]"
                    raise UsageError(f"{where} has {name!r}, which is no {what}", advice=f"Use {', '.join(known)}.")

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _queue(self, messages: Iterable[Any]) -> int:
        """Queue messages for sending and return how many they are.

        Raises TypeError if `messages` is one message, not a list.
        """
        if isinstance(messages, str | bytes | Mapping):  # else its characters or its keys would be sent
            raise TypeError(f"`ask` and `give_up` return a list of messages, not a {type(messages).__name__}")
        texts = [each if isinstance(each, str | bytes) else msgspec.json.encode(each).decode() for each in messages]
        self._out += texts
        return len(texts)

    def _request(self, streams: Sequence[StreamKey]) -> int:
        number = self._next_number()
        count = self._queue(self.ask(streams)) if streams else 0
        self._running.update(streams)
        if not self._await_answers(number, streams, count):
            self._ping(number)
        return number

    def _await_answers(self, number: int, streams: Sequence[StreamKey], count: int) -> bool:
        """Record that the server has to acknowledge the `count` messages that were queued for these streams.

        `number` is that of their request, 0 for one that ends streams. Returns False, and records nothing, if there are
        no messages or the class does not set `ACKNOWLEDGES`.
        """
        if self.ACKNOWLEDGES:
            is_one_each = count == len(streams) and len({kind for kind, _ in streams}) == 1
            parts = [[each] for each in streams] if is_one_each else [streams] * count
            self._unanswered.extend(_Asked(number, part, is_all=count == 1) for part in parts)
        return self.ACKNOWLEDGES and count > 0

    def _ping(self, number: int) -> None:
        self._next_ping = self._now + self.PING_SECONDS
        message = self.ping(number)
        if message is None:
            self._out.append(Ping(number))
        else:
            self._pings[number] = self._now
            self._queue([message])

    def _drop(self, key: StreamKey) -> None:
        self._newest.pop(key, None)
        if key[0] == "book":
            self._books.pop(key[1], None)

    # Events.

    def _take(self, event: object, received: int, records: list[Record], notices: list[Notice]) -> None:
        if isinstance(event, Update):
            self._update(event, received, records, notices)
        elif isinstance(event, Levels):
            self._levels(event, received, records, notices)
        elif isinstance(event, Accepted):
            self._accept(event, notices)
        elif isinstance(event, Refused):
            self._refuse(event, notices)
        elif isinstance(event, Acknowledged):
            self._settle(notices)
        elif isinstance(event, Ponged):
            self._ponged(event, notices)
        elif isinstance(event, TokenExpires):
            notices.append(TokenWanted())
        elif isinstance(event, Reply):
            self._queue([event.message])
        else:
            raise TypeError(f"`read` yielded {type(event).__name__}, which is no event")

    def _update(self, update: Update, received: int, records: list[Record], notices: list[Notice]) -> None:
        key = update.kind, update.symbol
        users = self._users.get(key)
        if not users:
            if update.kind not in self.COLUMNS:
                what = f"`read` yields the kind {update.kind!r}, which is not in COLUMNS"
                raise UsageError(what, advice=f"Use {', '.join(self.COLUMNS)}.")
            notices.append(Unrequested())
            return
        types = self.COLUMNS[update.kind]
        try:
            ts = _checked_time(update.ts) or received
            values = {name: _value(each, types[name]) for name, each in update.values.items() if each is not None}
        except Exception:  # `values` is the adapter's object
            notices += [Counted(user, "unreadable") for user in users]
            raise
        if update.kind in self.PARTIAL and key in self._newest:
            values = {**self._newest[key][1], **values}
        if update.kind == "quotes" or update.kind in self.PARTIAL:
            self._newest[key] = ts, values
        records += [(user, ts, _row(user, values, types)) for user in users]

    def _levels(self, levels: Levels, received: int, records: list[Record], notices: list[Notice]) -> None:
        users = self._users.get(("book", levels.symbol))
        if not users:
            notices.append(Unrequested())
            return
        try:
            ts = _checked_time(levels.ts) or received
            changes = [{_finite(price): _finite(size) for price, size in side} for side in (levels.bids, levels.asks)]
        except Exception:  # the sides are the adapter's objects
            notices += [Counted(user, "unreadable") for user in users]
            raise
        if not levels.is_snapshot and levels.symbol not in self._books:
            notices += [Counted(user, "rowless") for user in users]
            return
        book = self._books.setdefault(levels.symbol, _Book())
        book.ts = ts
        changed = book.change(*changes, is_snapshot=levels.is_snapshot)
        records += [(user, ts, book.triples(changed)) for user in users]

    def _seed(self, records: list[Record], notices: list[Notice]) -> None:
        """Append to `records` a first record for each subscription that joined a stream which was already running.

        It has the stream's newest values, since the server sends no snapshot for such a subscription. A notice in
        `notices` counts it as a record without a message. Without known values there is none.
        """
        joined, self._joined = self._joined, []
        for user in joined:
            key = user.kind, user.symbol
            if user not in self._users.get(key, ()):
                continue
            if key in self._newest:
                ts, newest = self._newest[key]
                records.append((user, ts, _row(user, newest, self.COLUMNS[user.kind])))
            elif user.kind == "book" and user.symbol in self._books:
                book = self._books[user.symbol]
                records.append((user, book.ts, book.triples(dict.fromkeys([*book.bids, *book.asks]))))
            else:
                continue
            notices.append(Counted(user, "filled"))

    def _accept(self, accepted: Accepted, notices: list[Notice]) -> None:
        is_renewal, self._is_open = self._is_open, True
        self._login_sent = None
        notices.append(SessionOpened(accepted.expires_in, is_renewal=is_renewal))
        if is_renewal:
            return
        try:
            self._request(list(self._users))
        except Exception as error:  # the session is open: it must not look as if the streams were running
            users = tuple(user for each in self._users.values() for user in each)
            notices.append(Rejected(users, excerpt(f"`ask` raised {type(error).__name__}: {error}")))
            self._out.append(Ping(self._next_number()))

    def _refuse(self, refused: Refused, notices: list[Notice]) -> None:
        reason = excerpt(str(refused.reason))
        if self._login_sent is not None and not (self._is_open and refused.symbols):
            self._login_sent = None
            notices.append(SessionRefused(reason))
            return
        streams, is_answer = self._refused_streams(refused)
        is_unknown = is_unknown_symbol(reason) if refused.is_unknown_symbol is None else refused.is_unknown_symbol
        if is_unknown and len(streams) > 1 and not refused.symbols and self._unanswered[0].is_all:
            notices.append(Rejected((), reason, is_unknown))  # which stream it is, is not known yet
            self._ask_in_halves(self._unanswered[0], notices)
            return
        self._running.difference_update(streams)
        users = tuple(user for key in streams for user in self._users.get(key, ()))
        notices.append(Rejected(users, reason, is_unknown))
        if is_answer:
            self._settle(notices)

    def _refused_streams(self, refused: Refused) -> tuple[Sequence[StreamKey], bool]:
        """Return the streams that `refused` is about, and whether it answers the oldest unanswered message.

        Without symbols in the refusal these are the streams of that message, () if it was to end streams or if no
        message is unanswered. With symbols they are those streams of the message that it names, else any subscribed
        ones.
        """
        number, answered, _ = self._unanswered[0] if self._unanswered else _Asked(0, (), is_all=False)
        if refused.symbols:
            is_meant = lambda key: key[1] in refused.symbols and refused.kind in {None, key[0]}  # noqa: E731
            answered = list(filter(is_meant, answered))
            if not answered:
                named = list(filter(is_meant, self._users))
                return named, not named
        return answered if number else (), True  # without a number it is the end of streams that is refused

    def _ask_in_halves(self, asked: _Asked, notices: list[Notice]) -> None:
        """Queue requests for the streams of a refused message in two halves, to find which symbol is unknown.

        `asked` is the oldest unanswered message; it counts as answered from then on, which may append a `Pong` to
        `notices`.
        """
        half = len(asked.streams) // 2
        for part in (asked.streams[:half], asked.streams[half:]):
            if wanted := [key for key in part if key in self._running]:
                self._await_answers(asked.number, wanted, self._queue(self.ask(wanted)))
        self._settle(notices)

    def _settle(self, notices: list[Notice]) -> None:
        """Remove the oldest message that waits for an acknowledgement, because the server has answered it.

        Appends a `Pong` with the number of its request to `notices` if it was the last unanswered message of it.
        """
        if self._unanswered:
            number = self._unanswered.popleft().number
            if number and all(number != other.number for other in self._unanswered):
                notices.append(Pong(number))

    def _ponged(self, ponged: Ponged, notices: list[Notice]) -> None:
        number = min(self._pings, default=0) if ponged.number is None else ponged.number
        if number in self._pings:
            self._pings = {ping: sent for ping, sent in self._pings.items() if ping > number}
            notices.append(Pong(number))


class _Asked(NamedTuple):
    """A message that the server has to acknowledge: the number of its request, and the streams in it.

    `number` is 0 if the message ends streams. `is_all`: it is the only message of its request.
    """

    number: int
    streams: Sequence[StreamKey]
    is_all: bool


class _Book:
    """Both sides of an order book as price → size, and the exchange time of its newest change (ns since the epoch)."""

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.ts = 0

    def change(self, bids: Mapping[float, float], asks: Mapping[float, float], *, is_snapshot: bool) -> Iterable[float]:
        """Set levels of `bids` and `asks`, price → size; return the prices of those new, changed or removed.

        With `is_snapshot`, levels that are not given are removed. A size of 0 removes a level. Of more than 10,000
        levels of a side only the best 9,000 are kept.
        """
        changed: dict[float, None] = {}
        for side, given, best in ((self.bids, bids, nlargest), (self.asks, asks, nsmallest)):
            gone = [price for price in side if price not in given] if is_snapshot else ()
            for price, size in chain(given.items(), zip(gone, repeat(0.0))):
                if side.get(price, 0.0) == max(size, 0.0):
                    continue
                changed[price] = None
                if size > 0:
                    side[price] = size
                else:
                    del side[price]
            if len(side) > MOST_LEVELS:
                kept = dict.fromkeys(best(MOST_LEVELS - MOST_LEVELS // 10, side))  # not again with the next level
                for price in [each for each in side if each not in kept]:
                    changed[price] = None
                    del side[price]
        return changed

    def triples(self, prices: Iterable[float]) -> Values:
        """Return price, bid size and ask size of each of these prices, one after the other in one flat tuple.

        A size is 0 where that side has no level at the price.
        """
        return tuple(
            number for price in prices for number in (price, self.bids.get(price, 0.0), self.asks.get(price, 0.0))
        )


def _row(user: Subscription, values: Mapping[str, Value], types: Mapping[str, ColumnType]) -> Values:
    return tuple(values.get(name, MISSING[types[name]]) for name in user.fields)


def _value(value: Any, type_: ColumnType) -> Value:  # noqa: ANN401 - JSON
    if type_ == "number":
        return _number(value)
    if type_ in ("integer", "time"):
        number = int(value)
        if abs(number) >= INTEGER_BOUND:
            raise ValueError(f"{excerpt(str(number))} does not fit 64 bits")
        return number
    return writable(str(value))


def _number(value: Any) -> float:  # noqa: ANN401 - JSON
    number = float(value)
    if number in (math.inf, -math.inf):
        raise ValueError("infinity is no number here")
    return number


def _finite(value: Any) -> float:  # noqa: ANN401 - JSON
    number = _number(value)
    if number != number:
        raise ValueError("a level without a price or a size")
    return number


def _checked_time(ts: float | None) -> int:
    """Return a time (ns since the epoch) as a whole number, 0 for None. Raises ValueError if it is out of range."""
    if ts is None:
        return 0
    whole = int(ts)
    if not 0 <= whole < INTEGER_BOUND:
        raise ValueError(f"{excerpt(str(ts))} is no exchange time in ns since the epoch")
    return whole


def _unreadable(error: Exception, frame: bytes) -> Unreadable:
    return Unreadable(f"{type(error).__name__}: {error}"[:200], excerpt(frame))
