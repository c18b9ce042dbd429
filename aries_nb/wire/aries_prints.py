"""Prints of the Aries time & sales tape: text in, one row of a trades frame out (protocol page §3.4.3)."""

from __future__ import annotations

import math

from msgspec import UNSET

from aries_nb.model import ColumnType, Value, Values
from aries_nb.wire.aries_lenient import number
from aries_nb.wire.aries_messages import TIME_AND_SALES_FIELDS, TimeAndSales, TimeAndSalesUpdate
from aries_nb.wire.aries_streams import Part, Stream

__all__ = ["PRINT_COLUMN_TYPES", "PrintPart"]

_TYPES: dict[str, ColumnType] = {"price": "number", "size": "number", "trade_id": "integer"}
_MISSING: dict[ColumnType, Value] = {"number": math.nan, "integer": 0, "text": ""}
PRINT_COLUMN_TYPES: dict[str, ColumnType] = {name: _TYPES.get(name, "text") for name in TIME_AND_SALES_FIELDS}


class PrintPart(Part):
    """Turns executions into the values of a trades stream; absent fields are unchanged, but for the id."""

    __slots__ = ("_fields", "_id")

    def __init__(self, stream: Stream) -> None:
        names = stream.subscription.fields
        kinds = tuple(PRINT_COLUMN_TYPES[name] for name in names)
        missing = tuple("unknown" if name == "side" else _MISSING[PRINT_COLUMN_TYPES[name]] for name in names)
        super().__init__(stream, TimeAndSalesUpdate, missing)
        self._fields = tuple(zip((TIME_AND_SALES_FIELDS[name] for name in names), kinds, strict=True))
        self._id = names.index("trade_id") if "trade_id" in names else None

    def repeats(self, ts: int, values: Values) -> bool:
        """Only a print that has a number can be known to be the one before: two may well be alike."""
        return self._id is not None and values[self._id] != 0 and super().repeats(ts, values)

    def merge(self, sale: TimeAndSales) -> Values | None:
        """The values of one execution; None where it carries neither price nor size."""
        if sale.price is UNSET and sale.size is UNSET:
            return None
        values: list[Value] = []
        for (name, kind), before in zip(self._fields, self.stream.values, strict=True):
            value = getattr(sale, name) if name else UNSET
            if kind == "number":
                values.append(before if value is UNSET else _float(value))
            elif kind == "integer":
                values.append(0 if value is UNSET else _integer(value))
            else:
                values.append(before if value is UNSET else value)
        return tuple(values)


def _float(text: str) -> float:
    value = number(text)
    return math.nan if value is None else value


def _integer(text: str) -> int:
    value = int(text) if text.isdecimal() and len(text) < 20 else 0
    return value if value < 2**63 else 0
