"""Tolerant decoding of Aries market updates that the fast decoder rejects: old spellings, numbers as text, garbage.

One line at a time. Usable values are used, unusable ones become notices, and nothing raises.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from msgspec import Raw, Struct

from aries_nb.brokers.aries.messages import (
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
from aries_nb.brokers.parsing import excerpt, millis, number, shown, text
from aries_nb.model import ColumnType, Unreadable

__all__ = ["kind_of_update", "update_from"]

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
# An unusable value becomes a missing one: the previous value must not pass for fresh. 0 is no time.
_MISSING: Mapping[ColumnType, float | str] = {"number": math.nan, "time": 0, "text": ""}


def update_from(payload: Mapping[str, Any], line: bytes) -> tuple[Payload | None, list[Unreadable]]:
    """Return the update in a payload, and notices about what could not be used; None if there is no usable update.

    `line` is the message, of which notices quote the beginning.
    """
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
    """Return the class of update that a payload names, even if it cannot be used; None for an unknown name."""
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
            usable = text(value)
        if usable is None:
            values[name] = _MISSING[kind]
            # 0 means that there is no time yet, as of a share not traded (assumed).
            if value is not None and not (kind == "time" and value == 0):
                problems.append(Unreadable(f"{name} is no usable {kind}", excerpt(line)))
        else:
            values[name] = usable
    return values, problems
