"""What one guid of ALOR stands for: a stream, who subscribed to it, and its quotes (protocol page §4 and §6.3).

Subscriptions that differ only in their fields share a stream. Options, all texts: ("min_interval_ms", "250") of quotes,
books and bars; ("depth", "20") of books; ("interval", seconds) and ("start", Unix seconds) of bars.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, TypeAlias

from msgspec import MsgspecError

from aries_nb.brokers.alor.fields import MARKET_FIELDS, FieldType, Format
from aries_nb.brokers.alor.messages import Shape, shape_for, shape_from
from aries_nb.brokers.alor.symbols import instrument_of
from aries_nb.brokers.parsing import MAX_MS
from aries_nb.model import (
    NOT_A_TIME,
    Counted,
    CountedAs,
    Kind,
    Notice,
    Record,
    Subscription,
    Unreadable,
    Value,
)

__all__ = [
    "AlorStream",
    "Dialect",
    "Found",
    "Key",
    "QuoteStream",
    "ShapedStream",
    "frequency_of",
    "instrument_body",
    "key_of",
    "ns_of",
    "reader_of",
    "text_option",
]

_NS: Mapping[FieldType, int] = {"millis": 1_000_000, "seconds": 1_000_000_000}

# What a request is about: subscriptions with the same key share one.
Key: TypeAlias = tuple[Kind, str, tuple[tuple[str, str], ...]]
Found: TypeAlias = tuple[Sequence[Record], Sequence[Unreadable]]
# What takes the fields of a subscription off a quote, and whether there are times among them.
_Reader: TypeAlias = tuple[Subscription, Callable[[Any], tuple[Any, ...]], bool]


class Dialect(NamedTuple):
    """What a connection is made for: the payload format, and the exchange of symbols that name none."""

    format: Format
    exchange: str


def key_of(subscription: Subscription) -> Key:
    """The stream that a subscription needs."""
    return subscription.kind, subscription.symbol, subscription.options


class AlorStream(ABC):
    """One subscription on the server's side. `guid` is set by the connection, which owns the stream.

    `asked` is the number of its latest request on this connection, 0 where it is not running; `has_received` whether
    anything of it came since. `is_shareable`: another subscription may join while it runs. `is_filled` says whether
    what a break left out has come since, None where it is not asked for or not known yet; it was `filled_count`
    messages. `notes` is what is said besides records, until the connection takes it.
    """

    is_shareable: ClassVar[bool] = False

    def __init__(self, key: Key, dialect: Dialect) -> None:
        self.key = key
        self.dialect = dialect
        self.guid = ""
        self.asked = 0
        self.has_received = False
        self.is_filled: bool | None = None
        self.filled_count = 0
        self.subscriptions: tuple[Subscription, ...] = ()
        self.notes: list[Notice] = []

    def count(self, what: CountedAs, count: int = 1) -> None:
        """Note messages that become no record."""
        if count:
            self.notes += [Counted(subscription, what, count) for subscription in self.subscriptions]

    @property
    def symbol(self) -> str:
        """The instrument or portfolio, as the user wrote it."""
        return self.key[1]

    @abstractmethod
    def body(self) -> dict[str, Any]:
        """The request, without guid and token."""

    def add(self, subscription: Subscription) -> None:
        """Take a subscription in."""
        self.subscriptions = (*self.subscriptions, subscription)

    def initial_records(self, subscription: Subscription) -> Sequence[Record]:  # noqa: ARG002 - for those that can
        """What is known already, for a subscription that has joined."""
        return ()

    def remove(self, subscription: Subscription) -> None:
        """Let a subscription go."""
        self.subscriptions = tuple(each for each in self.subscriptions if each != subscription)

    def forget(self) -> None:
        """A break: the connection that all of this came on is no more."""
        self.asked = 0
        self.has_received = False
        self.is_filled = None
        self.filled_count = 0

    @abstractmethod
    def read(self, data: Mapping[str, Any], received: int, line: bytes) -> Found:
        """Understand the data of one frame, generously."""

    def replied(self, received: int) -> Sequence[Record]:  # noqa: ARG002 - for those that wait for it
        """The server accepted the request; its snapshot may have come before or may follow."""
        return ()

    def settled(self, received: int) -> Sequence[Record]:  # noqa: ARG002
        """The server has answered a ping behind the request and the request itself: the snapshot must be here."""
        return ()


class ShapedStream(AlorStream):
    """A stream that is decoded into structs of a shape of its own: the fast path."""

    decode: Callable[[bytes], Any]
    latest = b""  # the latest frame, set by the connection

    @abstractmethod
    def take(self, data: Any, received: int) -> Sequence[Record]:  # noqa: ANN401 - a struct of the stream's shape
        """Understand the data of one frame."""

    def add(self, subscription: Subscription) -> None:
        """Take a subscription in, and decode what it needs as well."""
        super().add(subscription)
        self.reshape()

    def remove(self, subscription: Subscription) -> None:
        """Let a subscription go, and decode what is left."""
        super().remove(subscription)
        self.reshape()

    def reshape(self) -> None:
        """Decode the union of what is wanted."""
        columns = frozenset(field for subscription in self.subscriptions for field in subscription.fields)
        self.shape: Shape = shape_for(self.key[0], self.dialect.format, columns)
        self.decode = self.shape.decode

    def read(self, data: Mapping[str, Any], received: int, line: bytes) -> Found:
        """Understand data that do not fit the shape."""
        struct, problems = shape_from(self.shape, data, line)
        return self.take(struct, received), problems


class QuoteStream(ShapedStream):
    """Best bid and ask, last price and day figures of one instrument; each frame is a whole quote. Sizes in lots."""

    is_shareable = True

    def __init__(self, key: Key, dialect: Dialect) -> None:
        super().__init__(key, dialect)
        self._ts = 0
        self._emitted: list[Record] = []
        self._is_first = True
        self._readers: tuple[_Reader, ...] = ()

    def body(self) -> dict[str, Any]:
        """The request of §6.3."""
        return {"opcode": "QuotesSubscribe", **instrument_body(self), **frequency_of(self)}

    def initial_records(self, subscription: Subscription) -> Sequence[Record]:
        """The latest frame, if there is one, as the first record of a subscription."""
        if not self.latest:
            return ()
        try:
            data = self.decode(self.latest).data
        except (MsgspecError, UnicodeDecodeError, RecursionError):
            return ()  # the next frame is not far
        initial_records = self._records(data, self._ts, [each for each in self._readers if each[0] == subscription])
        self._emitted = [*self._emitted, *initial_records]
        return initial_records

    def remove(self, subscription: Subscription) -> None:
        """Let a subscription go; made again, it has been told nothing."""
        super().remove(subscription)
        self._emitted = [record for record in self._emitted if record[0] != subscription]

    def reshape(self) -> None:
        """Decode the union of what is wanted, and read what each subscription wants."""
        super().reshape()
        self._readers = tuple(
            (each, reader_of(each.fields), any(name.endswith("_timestamp") for name in each.fields))
            for each in self.subscriptions
        )

    def forget(self) -> None:
        """Drop the latest quote at a break, so that none from before it can pass for fresh."""
        super().forget()
        self.latest = b""
        self._is_first = True

    def take(self, data: Any, received: int) -> Sequence[Record]:  # noqa: ANN401
        """One record for each subscription; time is that of the book, else of the last trade, else of receipt."""
        self.has_received = True
        ms, seconds = data.quote_timestamp, data.trade_timestamp
        if ms is not None and 0 < ms < MAX_MS:
            ts = ms * 1_000_000
        else:
            ts = seconds * 1_000_000_000 if seconds is not None and 0 < seconds < MAX_MS // 1_000 else received
        self._ts = ts
        records = self._records(data, ts, self._readers)
        emitted, self._emitted = self._emitted, records
        return self._news(records, emitted) if self._is_first else records

    def _news(self, records: list[Record], emitted: list[Record]) -> list[Record]:
        """The first records of a connection: the quote as it stood before the break is no second row."""
        self._is_first = False
        before = {record[0]: record for record in emitted}
        news = [record for record in records if before.get(record[0]) != record]
        self.notes += [Counted(each[0], "duplicated") for each in records if each not in news]
        return news

    def _records(self, data: Any, ts: int, readers: Sequence[_Reader]) -> list[Record]:  # noqa: ANN401
        records: list[Record] = []
        for subscription, read, has_times in readers:
            values = read(data)
            if has_times or values.count(None):
                values = _completed("quotes", subscription.fields, values)
            records.append((subscription, ts, values))
        return records


def _completed(kind: Kind, fields: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Value, ...]:
    """Values with what is missing marked as such, and times in ns."""
    done: list[Value] = []
    for name, value in zip(fields, values, strict=True):
        type_ = MARKET_FIELDS[kind][name].type
        if type_ in _NS:
            done.append(ns_of(value, _NS[type_]) or NOT_A_TIME)
        elif value is None:
            done.append(math.nan if type_ == "number" else 0 if type_ == "integer" else "")
        else:
            done.append(value)
    return tuple(done)


def ns_of(value: int | None, unit: int) -> int:
    """A Unix time in units of so many ns as ns since the epoch; 0 where there is none that can be."""
    return value * unit if value is not None and 0 < value < MAX_MS * 1_000_000 // unit else 0


def reader_of(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What takes these fields off a struct, as a tuple."""
    if len(names) == 1:
        one = attrgetter(names[0])
        return lambda data: (one(data),)
    return attrgetter(*names) if names else lambda _: ()


def instrument_body(stream: AlorStream) -> dict[str, Any]:
    """Which instrument, and in which format (§4)."""
    exchange, code, board = instrument_of(stream.symbol, stream.dialect.exchange)
    body = {"exchange": exchange, "code": code, "format": stream.dialect.format.capitalize()}
    return {**body, "instrumentGroup": board} if board else body


def frequency_of(stream: AlorStream) -> dict[str, int]:
    """How often at most (§4.1), where the user says; the server raises what is below its least."""
    text = text_option(stream.key, "min_interval_ms")
    return {"frequency": int(text)} if text.isdecimal() and len(text) < 10 else {}


def text_option(key: Key, name: str) -> str:
    """An option of a stream, "" where it is not given."""
    return dict(key[2]).get(name, "")
