"""Prints of the Aries time & sales tape: text in, one row of a trades frame out (protocol page §3.4.3)."""

from __future__ import annotations

import math
from typing import cast

from msgspec import UNSET, Struct

from aries_nb.model import ColumnType, Value, Values
from aries_nb.wire.aries_lenient import number
from aries_nb.wire.aries_messages import TIME_AND_SALES_FIELDS, TimeAndSales
from aries_nb.wire.aries_streams import Stream

__all__ = ["PRINT_COLUMN_TYPES", "PrintPart"]

_TYPES: dict[str, ColumnType] = {"price": "number", "size": "number", "trade_id": "integer"}
_MISSING: dict[ColumnType, Value] = {"number": math.nan, "integer": 0, "text": ""}
PRINT_COLUMN_TYPES: dict[str, ColumnType] = {name: _TYPES.get(name, "text") for name in TIME_AND_SALES_FIELDS}


class PrintPart:
    """Turns executions into the values of a trades stream; absent fields are unchanged, but for the id."""

    __slots__ = ("_fields", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        names = stream.subscription.fields
        self._fields = tuple((TIME_AND_SALES_FIELDS[name], PRINT_COLUMN_TYPES[name]) for name in names)
        stream.values = tuple("unknown" if name == "side" else _MISSING[PRINT_COLUMN_TYPES[name]] for name in names)

    def merge(self, data: Struct) -> Values | None:
        """The values of one execution; None where it carries neither price nor size."""
        sale = cast("TimeAndSales", data)
        if sale.price is UNSET and sale.size is UNSET:
            return None
        values: list[Value] = []
        for (name, kind), before in zip(self._fields, self.stream.values, strict=True):
            value = getattr(sale, name) if name else UNSET
            if kind == "number":
                values.append(before if value is UNSET else _float(value))
            elif kind == "integer":
                values.append(int(value) if value is not UNSET and value.isdecimal() and len(value) < 19 else 0)
            else:
                values.append(before if value is UNSET else value)
        return tuple(values)


def _float(text: str) -> float:
    value = number(text)
    return math.nan if value is None else value
