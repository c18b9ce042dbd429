"""Aries messages that the fast path does not fit: control events, old spellings, numbers as text, rubbish.

One line at a time, generously: what can be used is used, what cannot is named, and nothing raises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Raw, Struct

from aries_nb.brokers.aries.messages import (
    MAX_MS,
    STREAM_ALIASES,
    Depth,
    Greeks,
    GreeksUpdate,
    LevelTwoUpdate,
    Payload,
    Quote,
    QuoteUpdate,
    SpoiltDepth,
    StatusUpdate,
    TimeAndSales,
    TimeAndSalesUpdate,
    Trade,
    TradeUpdate,
    field_types,
)
from aries_nb.model import ColumnType, Unreadable

__all__ = [
    "MOST_NOTED",
    "decimal",
    "excerpt",
    "kind_of_update",
    "lines",
    "millis",
    "nanoseconds",
    "number",
    "parse_line",
    "shown",
    "update_from",
    "writable",
]

EXCERPT_CHARACTERS = 200
MOST_NOTED = 100  # rows of one message that cannot be used; each is a notice, and there may be a million
MOST_DIGITS = 60  # either side of the point; more is no amount of anything, and costs whoever calculates with it
MOST_CHARACTERS = 4_300  # of a number with a point; Python reads no whole one that is longer
MS_FROM = 10**11  # a larger Unix time is in ms, a smaller one in s (protocol page §4.2)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECRET = re.compile(r'("[^"]*(?:token|secret|password|authorization)[^"]*"\s*:\s*)"[^"]*("|$)', re.IGNORECASE)
_JWT = re.compile(r"eyJ[\w-]{8,}[\w.-]*")
_SPOKEN = re.compile(r"((?:token|secret|password|bearer)\W{1,3})[\w.~+/=-]{16,}", re.IGNORECASE)
_DATA: Mapping[str, tuple[type[Payload], type[Struct]]] = {
    "quote": (QuoteUpdate, Quote),
    "trade": (TradeUpdate, Trade),
    "timeAndSales": (TimeAndSalesUpdate, TimeAndSales),
    "greeks": (GreeksUpdate, Greeks),
}
_TYPES: Mapping[type[Struct], Mapping[str, ColumnType]] = {
    struct: field_types(struct) for struct in (Quote, Trade, Greeks, TimeAndSales)
}
_FIELD_ALIASES = {"iv": "impliedVolatility"}
# A value that came and cannot be used is a missing one: the old one must not pass for fresh. 0 is no time.
_MISSING: Mapping[ColumnType, float | str] = {"number": math.nan, "time": 0, "text": ""}


def excerpt(line: bytes | str) -> str:
    """The beginning of a line as text to show: at most 200 characters, tokens masked."""
    start = line[: EXCERPT_CHARACTERS * 4]
    text = start.decode("utf-8", "replace") if isinstance(start, bytes) else writable(start)
    masked = _SPOKEN.sub(r"\1***", _JWT.sub("***", _SECRET.sub(r'\1"***\2', text)))
    return masked if len(masked) <= EXCERPT_CHARACTERS else masked[: EXCERPT_CHARACTERS - 1] + "…"


def shown(value: object) -> str:
    """What a peer said where a word was due, as `excerpt` shows it; any JSON value."""
    try:
        return excerpt(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    except RecursionError:
        return "…"


def lines(frame: bytes) -> Iterator[bytes]:
    """The lines of a frame that are not blank; split at the line feed alone (protocol page §1.7)."""
    return (line for line in frame.split(b"\n") if line and not line.isspace())


def parse_line(line: bytes, *, exact: bool = False) -> dict[str, Any] | Unreadable:
    """One line as a JSON object, or why it is none. NaN and Infinity are read, to be named by their field.

    `exact` reads numbers with a point as `Decimal`, digit for digit.
    """
    try:
        value = json.loads(line, parse_float=_exact if exact else None)
    except (ValueError, ArithmeticError, RecursionError) as error:
        return Unreadable(f"not JSON: {type(error).__name__}", excerpt(line))
    if not isinstance(value, dict):
        return Unreadable(f"a JSON {type(value).__name__}, not an object", excerpt(line))
    return value


def _exact(literal: str) -> Decimal:
    if len(literal) > MOST_CHARACTERS:
        raise ValueError("a number too long to be one")
    return Decimal(literal)


def number(value: object) -> float | None:
    """A finite number or numeric text as float; null as NaN; None for anything else."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        return None  # Python reads 1_000 and full-width digits; no broker writes them
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def millis(value: object) -> int | None:
    """A Unix time in ms from an integer, numeric text or ISO 8601 (protocol page D11); None for anything else."""
    result = number(value)
    if result is None and isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        result = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
    return round(result) if result is not None and 1 <= result < MAX_MS else None


def nanoseconds(value: object) -> int | None:
    """A Unix time in s or ms, numeric text or ISO 8601 as ns since the epoch, to the microsecond; None if unusable."""
    result = number(value)
    if result is not None:
        if not 0 < result < MAX_MS:
            return None
        micros = round(result * (1_000 if result > MS_FROM else 1_000_000))
    else:
        try:
            moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        except ValueError:
            return None
        micros = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)
    return micros * 1_000 if 0 < micros < MAX_MS * 1_000 else None


def decimal(value: object) -> Decimal | None:
    """A finite number or numeric text, exactly as written; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    if isinstance(value, str) and (len(value) > MOST_CHARACTERS or "_" in value or not value.isascii()):
        return None
    try:
        result = Decimal(repr(value) if isinstance(value, float) else value)
    except (ValueError, ArithmeticError):
        return None
    if not result.is_finite() or len(result.as_tuple().digits) > MOST_DIGITS or abs(result.adjusted()) > MOST_DIGITS:
        return None
    return result


def update_from(payload: Mapping[str, Any], line: bytes) -> tuple[Payload | None, list[Unreadable]]:
    """The update that a payload carries, and what in it could not be used."""
    said, data = payload.get("type"), payload.get("data")
    name = _stream_named(said)
    if name is None or not isinstance(data, dict):
        reason = "an update without data" if name else f"unknown stream {shown(said)!r}"
        return None, [Unreadable(reason, excerpt(line))]
    timestamp = millis(payload.get("timestamp", 0)) or 0
    if name == "marketStatus":
        return StatusUpdate(data=data, timestamp=timestamp), []
    symbol = payload.get("symbol") or data.get("symbol")
    if not isinstance(symbol, str):
        return None, [Unreadable("an update without a symbol", excerpt(line))]
    if name == "level2":
        depth, problems = _depth(data, line)
        return LevelTwoUpdate(symbol=symbol, data=depth, timestamp=timestamp), problems
    update, struct = _DATA[name]
    values, problems = _values(data, _TYPES[struct], line)
    return update(symbol=symbol, data=struct(**values), timestamp=timestamp), problems  # type: ignore[arg-type, call-arg]


def kind_of_update(payload: Mapping[str, Any]) -> type[Payload] | None:
    """What kind of update a payload means to carry, also where it cannot be used."""
    name = _stream_named(payload.get("type")) or ""
    if name == "level2":
        return LevelTwoUpdate
    return _DATA[name][0] if name in _DATA else None


def _stream_named(said: object) -> str | None:
    return STREAM_ALIASES.get(said.lower()) if isinstance(said, str) else None


def _depth(data: Mapping[str, Any], line: bytes) -> tuple[Depth, list[Unreadable]]:
    depth = SpoiltDepth()
    for name in ("orderBook", "quotes"):
        rows = data.get(name)
        if isinstance(rows, list) and all(isinstance(row, str) for row in rows):
            setattr(depth, name, rows if name == "orderBook" else Raw(json.dumps(rows).encode()))
        elif name in data:
            depth.unusable += (name,)
    return depth, [Unreadable(f"{name} is not a list of text rows", excerpt(line)) for name in depth.unusable]


def _values(
    data: Mapping[str, Any], types: Mapping[str, ColumnType], line: bytes
) -> tuple[dict[str, Any], list[Unreadable]]:
    values: dict[str, Any] = {}
    problems: list[Unreadable] = []
    for key, value in data.items():
        name = _FIELD_ALIASES.get(key, key)
        kind = types.get(name)
        if kind is None:
            continue
        usable: object
        if kind == "number":
            usable = number(value)
        elif kind == "time":
            usable = millis(value)
        else:
            is_text = isinstance(value, str | int | float) and not isinstance(value, bool)
            usable = writable(str(value)) if is_text else None
        if usable is None:
            values[name] = _MISSING[kind]
            # A time of 0 stands for one that there is not yet, as of a share not traded (assumed).
            if value is not None and not (kind == "time" and value == 0):
                problems.append(Unreadable(f"{name} is no usable {kind}", excerpt(line)))
        else:
            values[name] = usable
    return values, problems


def writable(text: str) -> str:
    """Text that can be encoded: JSON can hold halves of characters, and they would raise much later."""
    return text.encode("utf-8", "replace").decode()
