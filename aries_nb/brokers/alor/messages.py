"""ALOR's data frames as structs: a decoder for each kind, format and choice of columns (ALOR protocol page §3.1, §6).

Only the fields that a stream needs are decoded. Numbers written as text are accepted; `null` and absent fields are
None. Data that the decoder rejects are decoded by `shape_from`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Struct, defstruct
from msgspec.json import Decoder

from aries_nb.brokers.alor.fields import FORMATS, MARKET_FIELDS, TIMES, FieldType, Format, MessageField, fields_from
from aries_nb.brokers.parsing import MOST_NOTED, excerpt, integer, nanoseconds, number, text
from aries_nb.model import Kind, Unreadable

__all__ = ["BOOK_FIELDS", "Book", "Level", "Shape", "book_from", "names_of", "shape_for", "shape_from", "value_from"]

_TYPES: Mapping[FieldType, Any] = {
    "number": float | None,
    "integer": int | None,
    "text": str | None,
    "side": str | None,
    "iso": str | None,
    "flag": bool | None,
    "seconds": int | None,
    "millis": int | None,
}


class Shape(NamedTuple):
    """Decoder for one kind of frame and choice of columns.

    `decode` returns a struct with `guid` and `data`, the latter of the class `data`. `names` maps each column to its
    type and the names that its field may have in the message.
    """

    data: type[Struct]
    decode: Callable[[bytes], Any]
    names: Mapping[str, tuple[FieldType, tuple[str, ...]]]


class Level(Struct, gc=False):
    """One level of an order book: price, and volume in lots."""

    price: float
    volume: float


class Book(Struct, gc=False):
    """A whole order book as the server sends it; `time` is the exchange time as Unix time in ms.

    A side is None if absent.
    """

    bids: list[Level] | None = None
    asks: list[Level] | None = None
    time: int | None = None


BOOK_FIELDS = fields_from(
    {"bids": "bids b bids", "asks": "asks a asks", "time": "ms_timestamp t msTimestamp"}, {"time": "millis"}, "json"
)
_BOOK_NAMES: Mapping[Format, Mapping[str, str]] = {
    form: {name: field.names[form][0] for name, field in BOOK_FIELDS.items()} for form in FORMATS
}


@lru_cache(maxsize=512)
def shape_for(kind: Kind, form: Format, columns: frozenset[str]) -> Shape:
    """Return a decoder for frames of a kind and message format; it reads these columns and the kind's time fields.

    Other fields of a frame are skipped. `form` is "slim", "simple" or "heavy". For a book `columns` are ignored.
    Decoders are cached.
    """
    if kind == "book":
        return _book_shape(form)
    wanted = {name: field for name, field in MARKET_FIELDS[kind].items() if name in columns} | dict(TIMES[kind])
    names = {name: (field.type, field.names[form]) for name, field in wanted.items()}
    data = _struct("Data", wanted, form)
    frame = defstruct("Frame", [("data", data), ("guid", str)], gc=False)
    return Shape(data, Decoder(frame, strict=False).decode, names)


class FormatNames(NamedTuple):
    """The names that fields have in one message format alone, `own`, and in the other formats alone, `others`."""

    own: frozenset[str]
    others: frozenset[str]

    def is_other(self, data: Mapping[str, Any]) -> bool:
        """Return whether data are in another format: they have names of others, and none of their own."""
        return not self.others.isdisjoint(data) and self.own.isdisjoint(data)


def names_of(form: Format, *tables: Mapping[str, MessageField]) -> FormatNames:
    """Return the names by which messages with these fields in the format `form` differ from those in the others."""
    fields = [field for table in tables for field in table.values()]
    own = {name for field in fields for name in field.names[form]}
    others = {name for field in fields for each in FORMATS if each != form for name in field.names[each]}
    return FormatNames(frozenset(own - others), frozenset(others - own))


def shape_from(shape: Shape, data: Mapping[str, Any], line: bytes) -> tuple[Any, list[Unreadable]]:
    """Return a struct of a shape, made from data that its decoder rejects, and notices of unusable fields.

    `line` is the frame, of which notices quote the beginning. An unusable or absent field is None in the struct.
    """
    values: dict[str, Any] = {}
    problems: list[Unreadable] = []
    for column, (type_, names) in shape.names.items():
        value = next((data[name] for name in names if name in data), None)
        usable = value_from(type_, value)
        if usable is None and value is not None:
            problems.append(Unreadable(f"{column} is no usable {type_}", excerpt(line)))
        values[column] = usable
    return shape.data(**values), problems


def book_from(data: Mapping[str, Any], form: Format, line: bytes) -> tuple[Book | None, list[Unreadable]]:
    """Return the order book in data that the fast decoder rejects, and notices about unusable levels.

    The book is None if a side is not a list. `form` is the message format; `line` is the frame, of which notices quote
    the beginning.
    """
    names = _BOOK_NAMES[form]
    problems: list[Unreadable] = []
    sides: list[list[Level]] = []
    for side in ("bids", "asks"):
        levels: list[Level] = []
        items = data.get(names[side])
        for item in items if isinstance(items, list) else ():
            level = _level(item)
            if level is not None:
                levels.append(level)
            elif len(problems) < MOST_NOTED:
                problems.append(Unreadable("a level that has no price and volume", excerpt(line)))
        if not isinstance(items, list | None):
            return None, [Unreadable(f"{side} are not a list", excerpt(line))]
        sides.append(levels)
    return Book(bids=sides[0], asks=sides[1], time=value_from("millis", data.get(names["time"]))), problems


def value_from(type_: FieldType, value: object) -> Any:  # noqa: ANN401 - the type says which
    """Return a value converted to the type of its field, as the fast decoder would; None if it is unusable or blank.

    Times are Unix times, in seconds or ms as their type says.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if type_ == "number":
        return number(value)
    if type_ == "integer":
        return integer(value)
    if type_ in ("seconds", "millis"):
        ns = nanoseconds(value)
        return None if ns is None else ns // (1_000_000 if type_ == "millis" else 1_000_000_000)
    if type_ == "flag":
        return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    return text(value)


def _struct(name: str, fields: Mapping[str, MessageField], form: Format) -> type[Struct]:
    # A second name of a field is read by the tolerant path only.
    rename = {column: field.names[form][0] for column, field in fields.items() if field.names[form]}
    members = [(column, _TYPES[field.type], None) for column, field in fields.items()]
    return defstruct(name, members, rename=rename, gc=False)


def _book_shape(form: Format) -> Shape:
    short = {"price": "p", "volume": "v"} if form == "slim" else {}
    level = defstruct("Level", [("price", float), ("volume", float)], rename=short, gc=False)
    side = list[level] | None  # type: ignore[valid-type]
    members = [("bids", side, None), ("asks", side, None), ("time", int | None, None)]
    data = defstruct("Book", members, rename=dict(_BOOK_NAMES[form]), gc=False)
    frame = defstruct("Frame", [("data", data), ("guid", str)], gc=False)
    return Shape(data, Decoder(frame, strict=False).decode, {})


def _level(item: object) -> Level | None:
    if not isinstance(item, dict):
        return None
    price, volume = (number(item.get(long, item.get(short))) for long, short in (("price", "p"), ("volume", "v")))
    if price is None or volume is None or price != price or volume != volume:
        return None
    return Level(price, volume)
