"""Trades of Aries, which it calls time & sales: text values in, rows of a trades frame out.

Source: Aries protocol page §3.4.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice

from msgspec import UNSET

from aries_nb.brokers.aries.messages import TIME_AND_SALES_FIELDS, TimeAndSales, TimeAndSalesUpdate
from aries_nb.brokers.aries.streams import MarketStream, StreamPart
from aries_nb.brokers.parsing import number
from aries_nb.model import MISSING, ColumnType, Value, Values

__all__ = ["LIVE", "PRINTS_KEPT", "PRINT_COLUMN_TYPES", "UNKNOWN_SIDE", "PrintPart"]

PRINTS_KEPT = 256  # the newest of a symbol, to recognise repetitions
_STATES_KEPT = 8  # of one number
_TYPES: dict[str, ColumnType] = {"price": "number", "size": "number", "trade_id": "integer"}
UNKNOWN_SIDE, LIVE = "unknown", "live"
_DEFAULTS: dict[str, Value] = {"side": UNKNOWN_SIDE, "source": LIVE}  # columns that no execution has
PRINT_COLUMN_TYPES: dict[str, ColumnType] = {name: _TYPES.get(name, "text") for name in TIME_AND_SALES_FIELDS}


class PrintPart(StreamPart):
    """The values of a trades stream, made from time & sales events, each of which is one trade.

    A field that an event lacks has its value in the trade before, except the trade number, which is 0 then; in one that
    corrects an earlier trade, its value in that trade (assumed). A trade with a number is emitted once, even if the
    server repeats it after a break or a proxy duplicates it. One that comes under a known number with another time or
    values corrects that trade, with a size of 0 it cancels it (assumed): it is emitted too, and the store replaces the
    first one by it.
    """

    __slots__ = ("_fields", "_id", "_newest", "_recent", "_size")

    def __init__(self, stream: MarketStream) -> None:
        names = stream.subscription.fields
        kinds = tuple(PRINT_COLUMN_TYPES[name] for name in names)
        missing = tuple(_DEFAULTS.get(name, MISSING[PRINT_COLUMN_TYPES[name]]) for name in names)
        super().__init__(stream, TimeAndSalesUpdate, missing)
        self._fields = tuple(zip((TIME_AND_SALES_FIELDS[name] for name in names), kinds, strict=True))
        self._id, self._size = (names.index(name) if name in names else None for name in ("trade_id", "size"))
        self._newest = missing  # the newest trade: neither a cancellation nor a correction of an earlier one
        # What was emitted under each number, the oldest number first.
        self._recent: dict[Value, tuple[tuple[int, Values], ...]] = {}

    @property
    def ping_number(self) -> int:
        """Always 1, which stands for an unanswered ping: so every trade is compared with earlier ones."""
        return 1

    @ping_number.setter
    def ping_number(self, number: int) -> None:
        pass

    def repeats(self, ts: int, values: Values) -> bool:
        """Return whether a trade with a number was emitted before with the same time (ns) and values.

        If it was not, it is remembered, so that the same trade counts as repeated from then on (the newest 256 numbers
        are remembered). A trade without a number, or of a subscription without the column `trade_id`, never counts as
        repeated, and is not remembered: two of them may be equal by chance.
        """
        number = 0 if self._id is None else values[self._id]
        if not number:
            return False
        recent = self._recent
        known = recent.get(number, ())
        if (ts, values) in known:
            return True
        recent[number] = (*known, (ts, values))[-_STATES_KEPT:]
        if len(recent) > PRINTS_KEPT:
            del recent[next(iter(recent))]
        return False

    def knows_any(self, numbers: Sequence[int]) -> bool:
        """Return whether one of these numbers came before, or twice among them."""
        return len(set(numbers)) < len(numbers) or not self._recent.keys().isdisjoint(numbers)

    def take_new(self, rows: Sequence[tuple[int, Values]], sizes: Sequence[float]) -> None:
        """Take several trades, times in ns and values, which have all fields and numbers that are not known yet.

        `sizes` are those of the trades, also where the subscription has none. The same as `merge` and `repeats` of one
        after the other.
        """
        recent = self._recent
        if self._id is not None:
            at = self._id
            recent.update((row[1][at], (row,)) for row in rows)
            for number in [*islice(recent, max(len(recent) - PRINTS_KEPT, 0))]:
                del recent[number]
        self._newest = next(
            (row for (_, row), size in zip(reversed(rows), reversed(sizes), strict=True) if size), self._newest
        )
        self.ts, self.stream.values = rows[-1]

    def merge(self, sale: TimeAndSales) -> Values | None:
        """Return the values of the trade `sale`, a whole row of the stream; None if it has neither price nor size.

        A field that `sale` lacks has its value in the newest trade, except the trade number, which is 0 then; where
        `sale` has the number of a known trade, its value in that one.
        """
        if sale.price is UNSET and sale.size is UNSET:
            return None
        number = 0 if self._id is None or sale.tradeSeq is UNSET else _integer(sale.tradeSeq)
        known = self._recent.get(number)
        values: list[Value] = []
        for (name, kind), before in zip(self._fields, known[-1][1] if known else self._newest, strict=True):
            value = getattr(sale, name) if name else UNSET
            if kind == "number":
                values.append(before if value is UNSET else _float(value))
            elif kind == "integer":
                values.append(number)  # the only one
            else:
                values.append(before if value is UNSET else value)
        row = tuple(values)
        if sale.size is UNSET:
            is_cancelled = False
        else:
            is_cancelled = (_float(sale.size) if self._size is None else row[self._size]) == 0
        if not is_cancelled and (not known or number == next(reversed(self._recent))):
            self._newest = row
        return row

    def forget(self) -> None:
        """Forget the newest trade, because the connection broke and there may be later ones."""
        super().forget()
        self._newest = self.missing


def _float(text: str) -> float:
    value = number(text)
    return math.nan if value is None else value


def _integer(text: str) -> int:
    value = int(text) if text.isdecimal() and len(text) < 20 else 0
    return value if value < 2**63 else 0
