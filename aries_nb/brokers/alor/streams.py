"""Base classes of ALOR's streams, each known to the server by its guid, and parts of requests (ALOR protocol page §4).

Subscriptions that differ only in their fields share a stream. Options of a subscription, all texts: ("min_interval_ms",
"250") of quotes, books and bars; ("depth", "20") of books; ("interval", seconds) and ("start", Unix seconds) of bars.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, TypeAlias

from aries_nb.brokers.alor.account_fields import TABLE_FIELDS
from aries_nb.brokers.alor.fields import FORMATS, MARKET_FIELDS, TIMES, FieldType, Format, format_for, instrument_of
from aries_nb.brokers.alor.messages import BOOK_FIELDS, FormatNames, Shape, names_of, shape_for, shape_from
from aries_nb.brokers.parsing import excerpt, parse_line, unix_ns
from aries_nb.model import (
    Counted,
    CountedAs,
    Kind,
    Notice,
    Record,
    Subscription,
    Unreadable,
)

__all__ = [
    "OTHER_FORMAT",
    "TIME_TYPES",
    "AlorStream",
    "Found",
    "Key",
    "ShapedStream",
    "format_names",
    "frequency_of",
    "instrument_body",
    "key_of",
    "ns_of",
    "reader_of",
    "text_option",
]

_FORMATS: Mapping[Kind, Format] = {kind: format_for(fields, fields) for kind, fields in TABLE_FIELDS.items()}

_FIELDS = {**{kind: {**MARKET_FIELDS[kind], **TIMES.get(kind, {})} for kind in MARKET_FIELDS}, **TABLE_FIELDS}
_FIELDS["book"] = BOOK_FIELDS
OTHER_FORMAT = "in another format than requested"
TIME_TYPES: tuple[FieldType, ...] = ("millis", "seconds")

Found: TypeAlias = tuple[Sequence[Record], Sequence[Unreadable]]


class Key(NamedTuple):
    """What a stream's request asks for. Subscriptions with the same key share one stream.

    `format` is one of the server's three message formats: the one with the smallest messages that has all columns of a
    table, or all fields of a quotes subscription.
    """

    kind: Kind
    symbol: str
    options: tuple[tuple[str, str], ...]
    format: Format


@lru_cache(maxsize=64)
def format_names(kind: Kind, form: Format) -> FormatNames:
    """Return the names by which messages of a kind in the format `form` differ from those in other formats."""
    return names_of(form, _FIELDS[kind])


def key_of(subscription: Subscription) -> Key:
    """Return the key of the stream that serves a subscription."""
    kind = subscription.kind
    form = format_for(MARKET_FIELDS[kind], subscription.fields) if kind == "quotes" else _FORMATS.get(kind, FORMATS[0])
    return Key(kind, subscription.symbol, subscription.options, form)


class AlorStream(ABC):
    """One stream of the server, with the subscriptions that share it. Its connection sets `guid`, its id at the server.

    `exchange` is the default for symbols without one. `asked` is the number of its latest request on this connection, 0
    while it is not running. `has_received`: data came since. `is_shareable`: further subscriptions may join while it
    runs. `is_filled`: whether the data missed in a break have been delivered, by `filled_count` messages; None if they
    are not requested or it is not known yet. `notes` collects notices until the connection takes them.
    """

    is_shareable: ClassVar[bool] = False

    def __init__(self, key: Key, exchange: str) -> None:
        self.key = key
        self.exchange = exchange
        self.guid = ""
        self.asked = 0
        self.has_received = False
        self.is_filled: bool | None = None
        self.filled_count = 0
        self.subscriptions: tuple[Subscription, ...] = ()
        self.notes: list[Notice] = []

    def count(self, what: CountedAs, count: int = 1) -> None:
        """Append notices that `count` messages made no record for each subscription.

        `what` says why, as in `CountedAs`. Nothing is appended if `count` is 0.
        """
        if count:
            self.notes += [Counted(subscription, what, count) for subscription in self.subscriptions]

    @property
    def symbol(self) -> str:
        """The instrument or portfolio in the user's spelling."""
        return self.key.symbol

    @abstractmethod
    def body(self) -> dict[str, Any]:
        """Return the server request for the stream as a JSON object, without guid (stream id) and token."""

    def add(self, subscription: Subscription) -> None:
        """Add a subscription that is served by this stream."""
        self.subscriptions = (*self.subscriptions, subscription)

    def initial_records(self, subscription: Subscription) -> Sequence[Record]:  # noqa: ARG002 - for subclasses
        """Return records of the current state for a subscription that has joined the running stream; () by default."""
        return ()

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription from this stream."""
        self.subscriptions = tuple(each for each in self.subscriptions if each != subscription)

    def forget(self) -> None:
        """Reset the stream to not requested, because the connection broke; its subscriptions stay."""
        self.asked = 0
        self.has_received = False
        self.is_filled = None
        self.filled_count = 0

    @abstractmethod
    def read(self, data: Mapping[str, Any], received: int, line: bytes) -> Found:
        """Return the records of one frame's `data`, and notices about unusable values.

        Never raises. `received` is in ns since the epoch; `line` is the frame, of which notices quote the beginning.
        """

    def replied(self, received: int) -> Sequence[Record]:  # noqa: ARG002 - for subclasses
        """Process the server's acceptance of the request; return records that could be made only now, by default ().

        The snapshot may have come before or may follow. `received` is in ns since the epoch.
        """
        return ()

    def settled(self, received: int) -> Sequence[Record]:  # noqa: ARG002
        """Process that the ping sent after the request was answered, which shows that the whole snapshot has come.

        Returns the records that could be made only now, by default (). `received` is in ns since the epoch.
        """
        return ()


class ShapedStream(AlorStream):
    """A stream whose frames are decoded into structs with only the fields that its subscriptions need: the fast path.

    Frames that the decoder rejects are decoded tolerantly by `read`. `latest` is the latest frame, set by the
    connection.
    """

    ALWAYS_DECODED: ClassVar[frozenset[str]] = frozenset()  # columns, besides those of the subscriptions
    decode: Callable[[bytes], Any]
    latest = b""  # the latest frame, set by the connection
    DERIVED: ClassVar[tuple[str, ...]] = ("shape", "decode")

    def derive(self, _: Any) -> None:  # noqa: ANN401 - what a subclass says in `noted`
        """Make what a noted state has not."""
        self.reshape()

    def missed(self) -> None:
        """Go on after frames that were not received, on the same connection: the latest one may be out of date."""
        self.latest = b""

    @abstractmethod
    def take(self, data: Any, received: int) -> Sequence[Record]:  # noqa: ANN401 - a struct of the stream's shape
        """Hook: return the records, one per subscription, of the `data` of one frame, as the fast decoder decoded them.

        `received` is the frame's time of receipt in ns since the epoch.
        """

    def add(self, subscription: Subscription) -> None:
        """Add a subscription, and choose a decoder that has its fields."""
        super().add(subscription)
        self.reshape()

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription, and choose a decoder without the fields that only it needed."""
        super().remove(subscription)
        self.reshape()

    def reshape(self) -> None:
        """Choose a decoder that has the fields of all subscriptions; called when one is added or removed."""
        columns = frozenset(field for subscription in self.subscriptions for field in subscription.fields)
        self.shape: Shape = shape_for(self.key.kind, self.key.format, columns | self.ALWAYS_DECODED)
        self.decode = self.shape.decode

    def is_unusable(self) -> bool:
        """Return whether the latest frame is in another format than requested; it then counts as unreadable.

        An override of `take` calls it for a frame without a time, since its numbers would be missing as well.
        """
        message = parse_line(self.latest)
        data = None if isinstance(message, Unreadable) else message.get("data")
        if not isinstance(data, dict) or not format_names(self.key.kind, self.key.format).is_other(data):
            return False
        self.notes.append(Unreadable(OTHER_FORMAT, excerpt(self.latest)))
        self.count("unreadable")
        return True

    def read(self, data: Mapping[str, Any], received: int, line: bytes) -> Found:
        """Return the records of `data` that the fast decoder rejects, and notices about unusable values.

        Never raises. `received` is in ns since the epoch; `line` is the frame, of which notices quote the beginning.
        """
        struct, problems = shape_from(self.shape, data, line)
        return self.take(struct, received), problems


def ns_of(value: int | None) -> int:
    """Return a Unix time in s, ms, us or ns as ns since the epoch; 0 if it is None or out of range."""
    return 0 if value is None else unix_ns(value)


def reader_of(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that returns the attributes `names` of a struct as a tuple."""
    if len(names) == 1:
        one = attrgetter(names[0])
        return lambda data: (one(data),)
    return attrgetter(*names) if names else lambda _: ()


def instrument_body(stream: AlorStream) -> dict[str, Any]:
    """Return the fields of a stream's request that name its instrument, board and message format.

    Source: ALOR protocol page §4. The field for the board is left out if the symbol names none.
    """
    exchange, code, board = instrument_of(stream.symbol, stream.exchange)
    body = {"exchange": exchange, "code": code, "format": stream.key.format.capitalize()}
    return {**body, "instrumentGroup": board} if board else body


def frequency_of(stream: AlorStream) -> dict[str, int]:
    """Return the field of a stream's request that limits the update rate; {} without an option for it.

    Source: ALOR protocol page §4.1. The value is the shortest time between two updates, in ms, as the option
    "min_interval_ms" gives it; the server raises it to a minimum of its own.
    """
    text = text_option(stream.key, "min_interval_ms")
    return {"frequency": int(text)} if text.isdecimal() and len(text) < 10 else {}


def text_option(key: Key, name: str) -> str:
    """Return the value of the option `name` in a stream's key, "" if it is not given."""
    return dict(key.options).get(name, "")
