"""Rows of ALOR's portfolios and instruments: orders, own trades, positions … (ALOR protocol page §6.5, §7, §9).

The present rows of a table come one per frame, marked as existing; they are emitted together, as one full list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, localcontext
from typing import Any, TypeAlias

from aries_nb.brokers.alor.account_fields import (
    EXISTING,
    OPCODES,
    REQUIRED,
    TABLE_FIELDS,
    TIMED_BY,
)
from aries_nb.brokers.alor.fields import FieldType, column_types, instrument_of, symbol_of
from aries_nb.brokers.alor.messages import value_from
from aries_nb.brokers.alor.streams import OTHER_FORMAT, AlorStream, Found, Key, format_names, instrument_body
from aries_nb.brokers.parsing import decimal, excerpt, nanoseconds
from aries_nb.model import (
    CLEAR,
    MISSING,
    NOT_A_TIME,
    PUT,
    TABLE_KEYS,
    Kind,
    Record,
    Subscription,
    Unreadable,
    Value,
)
from aries_nb.model.contracts import implied_multiplier, is_future_code
from aries_nb.model.prices import is_price_column

__all__ = ["InstrumentStream", "PortfolioStream", "multiplier_of", "price_of"]

# Boards of the currency market (assumed): what is bought there is money, and among the positions as money.
CURRENCY_BOARDS = frozenset({"CETS", "CNGD"})

TableRow: TypeAlias = dict[str, Value]
TRADING: frozenset[Kind] = frozenset({"orders", "stop_orders", "fills"})
MOST_WAITING = 100_000  # rows of one snapshot; further ones are emitted as they come
PRICE_STEP = Decimal("1e-8")  # computed prices are rounded to this
DERIVATIVES = "75"  # the beginning of the code of a derivatives portfolio
UNITED = "UNITED"  # the exchange of united accounts, which has no instruments of its own (protocol page D14)
PERPETUAL = frozenset({"USDRUBF", "EURRUBF", "CNYRUBF", "GLDRUBF", "IMOEXF", "SBERF", "GAZPF"})
_READ = {"decimal": decimal, "iso": nanoseconds}


class _TableStream(AlorStream):
    """Base class of streams whose records are rows of a table."""

    def __init__(self, key: Key, exchange: str) -> None:
        super().__init__(key, exchange)
        self.kind = key[0]
        self.types = column_types(TABLE_FIELDS[self.kind])

    def row_from(self, data: Mapping[str, Any], line: bytes) -> tuple[TableRow, list[Unreadable]]:
        """Return the columns that the data has, converted to their types, and notices about unusable values.

        There are none if the data are in another format than requested.

        `line` is the frame, of which notices quote the beginning.
        """
        row: TableRow = {}
        if format_names(self.kind, self.key.format).is_other(data):
            return row, [Unreadable(OTHER_FORMAT, excerpt(line))]
        problems: list[Unreadable] = []
        for column, type_ in self.types.items():
            field = TABLE_FIELDS[self.kind][column]
            name = next((name for name in field.names[self.key.format] if name in data), None)
            if name is None:
                continue
            value = data[name]
            usable = _value(field.type, value)
            if usable is None and not _is_blank(value):
                problems.append(Unreadable(f"{column} of {self.kind} is no usable {field.type}", excerpt(line)))
            if usable == 0 and self.kind in TRADING and is_price_column(column):
                usable = None  # written for a price that there is not, such as a market order's (§7.2)
            row[column] = MISSING[type_] if usable is None else usable
        return row, problems

    def put(self, row: TableRow, received: int) -> list[Record]:
        """Return the records that put a row into the table, one per subscription.

        Their time is that of the row's latest change, or `received` if it has none, in ns since the epoch.
        """
        at = self.time_of(row) or received
        return [(each, at, (PUT, *self.values_of(each, row))) for each in self.subscriptions]

    def time_of(self, row: TableRow) -> int:
        """Return the time of a row's latest change in ns since the epoch; 0 if it has none."""
        ts = row.get(TIMED_BY.get(self.kind, ""), NOT_A_TIME)
        return ts if isinstance(ts, int) and ts != NOT_A_TIME else 0

    def clear(self, received: int) -> list[Record]:
        """Return the records that begin a full list of the table's rows (marked `CLEAR`), one per subscription.

        `received` is their time, in ns since the epoch.
        """
        return [(each, received, (CLEAR, *self.values_of(each, {}))) for each in self.subscriptions]

    def values_of(self, subscription: Subscription, row: TableRow) -> list[Value]:
        """Return a row's values in the order of a subscription's fields; absent ones are missing values."""
        return [row.get(field, MISSING[self.types[field]]) for field in subscription.fields]


class InstrumentStream(_TableStream):
    """Trading status and price limits of one instrument.

    The first frame has all fields, later ones only those that changed.
    """

    def __init__(self, key: Key, exchange: str) -> None:
        super().__init__(key, exchange)
        self._row: TableRow = {}

    def body(self) -> dict[str, Any]:
        """Return the server request for the stream, without guid (stream id) and token (ALOR protocol page §6.5)."""
        return {"opcode": OPCODES["instruments"], **instrument_body(self)}

    def forget(self) -> None:
        """Drop the row, because the connection broke: it comes again."""
        super().forget()
        self._row = {}

    def read(self, data: Mapping[str, Any], received: int, line: bytes) -> Found:
        """Return the records of the row merged with the changes in `data`, and notices about unusable values.

        `received` is the records' time in ns since the epoch; `line` is the frame, of which notices quote the
        beginning. The column `symbol` is the instrument in the user's spelling.
        """
        self.has_received = True
        changed, problems = self.row_from(data, line)
        if not changed and problems:
            self.count("unreadable")
            return (), problems
        self._row = {**self._row, **changed, "symbol": self.symbol}
        return self.put(self._row, received), problems


class PortfolioStream(_TableStream):
    """Rows of one table of a portfolio, such as orders or positions.

    Quantities are in single shares or contracts, in lots in columns whose name has "lots".
    """

    def __init__(self, key: Key, exchange: str) -> None:
        super().__init__(key, exchange)
        self._waiting: dict[tuple[Value, ...], tuple[int, TableRow]] = {}
        self._is_listed = not TABLE_KEYS[self.kind]  # one row, never a list

    def body(self) -> dict[str, Any]:
        """Return the server request for the stream, without guid (stream id) and token (ALOR protocol page §7).

        It asks for the present rows as well as for changes.
        """
        exchange, portfolio, _ = instrument_of(self.symbol, self.exchange)
        return {
            "opcode": OPCODES[self.kind],
            "exchange": exchange,
            "portfolio": portfolio,
            "skipHistory": False,
            "format": self.key.format.capitalize(),
        }

    def forget(self) -> None:
        """Reset the state, because the connection broke: the full list comes again.

        Rows that waited for the end of the previous list are dropped and counted as duplicated.
        """
        super().forget()
        self.count("duplicated", len(self._waiting))
        self._waiting.clear()
        self._is_listed = not TABLE_KEYS[self.kind]

    def replied(self, received: int) -> Sequence[Record]:
        """Return the records of the full list if its rows came before the reply to the request; else ().

        The reply shows that all rows have come. `received` is in ns since the epoch.
        """
        return self._list(received) if self._waiting else ()

    def settled(self, received: int) -> Sequence[Record]:
        """Return the records of the full list, even if it has no rows; () if it was emitted before.

        Called when the ping after the request was answered, so all rows have come. `received` is in ns since the epoch.
        """
        return () if self._is_listed else self._list(received)

    def read(self, data: Mapping[str, Any], received: int, line: bytes) -> Found:
        """Return the records of `data`, a changed row of the table, and notices about unusable values.

        A row marked as existing is held until all existing rows have come, and gives no record before. The first
        changed row shows that they have; its records then follow those of the held rows. `received` is in ns since the
        epoch; `line` is the frame, of which notices quote the beginning. A row that replaces a held one counts it as
        conflated.
        """
        self.has_received = True
        row, problems = self.whole_row(data, line)
        if row is None:
            self.count("unreadable")
            return (), problems
        if not self._is_listed:
            is_past = any(data.get(name) is True for name in EXISTING)
            if is_past and len(self._waiting) < MOST_WAITING:
                key = tuple(row[name] for name in TABLE_KEYS[self.kind])
                self.count("conflated", int(key in self._waiting))
                self._waiting[key] = (received, row)
                return (), problems
            return [*self._list(received), *self.put(row, received)], problems
        return self.put(row, received), problems

    def whole_row(self, data: Mapping[str, Any], line: bytes) -> tuple[TableRow | None, list[Unreadable]]:
        """Return the row in a frame's `data`, and notices about unusable values.

        `line` is the frame, of which notices quote the beginning. The row's symbol is in the user's spelling. The row
        is None if its required column is missing: the id of an order or trade, the symbol of a position.
        """
        row, problems = self.row_from(data, line)
        required = REQUIRED.get(self.kind)
        if not row and problems:
            return None, problems
        if required is not None and not row.get(required):
            return None, [*problems, Unreadable(f"{self.kind} without a usable {required}", excerpt(line))]
        code = str(row.get("symbol", ""))
        if "symbol" in row and row.get("is_currency") != "true":
            venue = str(row.get("exchange", ""))
            row["symbol"] = symbol_of(code, "" if venue.upper() == UNITED else venue, self.exchange)
        if self.kind == "fills":
            row["is_currency"] = "true" if row.get("board") in CURRENCY_BOARDS else "false"
        if self.kind == "positions":
            if row.get("average_price") == 0:
                row["average_price"] = Decimal("NaN")  # of a closed position: there is none
            row["price"] = price_of(row)
            row["multiplier"] = multiplier_of(row)
            exchange, portfolio, _ = instrument_of(self.symbol, self.exchange)
            venue = str(row.get("exchange") or exchange).upper()
            is_margined = row.get("is_currency") != "true" and _is_margined(code, venue, portfolio)
            row["is_margined"] = "true" if is_margined else "false"
        return row, problems

    def _list(self, received: int) -> list[Record]:
        self._is_listed = True
        records = self.clear(received)
        for at, row in self._waiting.values():
            records += self.put(row, at)
        self._waiting.clear()
        return records


def multiplier_of(row: Mapping[str, Value]) -> Decimal:
    """Return what one unit of the price of the position in `row` is worth for one piece, in the portfolio's currency.

    Computed from the cost, the quantity and the average price: 1 of a share, a hundredth of the face value of a bond
    quoted in percent, the value of a point of a future, the exchange rate of a share in another currency (assumed; ALOR
    protocol page §7.5 explains none of them). NaN if it cannot be computed, as of a closed position.
    """
    return implied_multiplier(*(_amount(row, name) for name in ("cost_basis", "quantity", "average_price")))


def price_of(row: Mapping[str, Value]) -> Decimal:
    """Return the current price of the position in `row`, computed from its value, since the broker sends none.

    It is in the units of the average price (see `multiplier_of`). NaN if it cannot be computed.
    """
    quantity, value, cost = (_amount(row, name) for name in ("quantity", "market_value", "cost_basis"))
    with localcontext(Context(prec=40, traps=[])):  # absurd amounts become NaN
        paid = quantity * _amount(row, "average_price")
        if paid.is_finite() and cost.is_finite() and paid * cost < 0:
            quantity = -quantity  # the values of a short position are sent without a sign
        price = (value / (quantity * multiplier_of(row))).quantize(PRICE_STEP).normalize()
        if not price.is_finite() or not value:
            return Decimal("NaN")
        return price.quantize(Decimal(1)) if price == price.to_integral_value() else price


def _amount(row: Mapping[str, Value], name: str) -> Decimal:
    value = row.get(name)
    return value if isinstance(value, Decimal) and value.is_finite() else Decimal("NaN")


def _is_margined(code: str, exchange: str, portfolio: str) -> bool:
    """Return whether an instrument is margined: a future or an option on one, by its code or its portfolio.

    Assumed: the broker names neither (ALOR protocol page §7.5). All instruments of a derivatives portfolio are, whose
    code begins with 75 (§7.8).
    """
    if portfolio.startswith(DERIVATIVES):
        return True
    return exchange in ("MOEX", UNITED) and (code in PERPETUAL or is_future_code(code))


def _value(type_: FieldType, value: object) -> Value | None:
    if _is_blank(value):
        return None
    if type_ in _READ:
        return _READ[type_](value)
    if type_ == "json":
        return _json(value)
    found: Value | bool | None = value_from(type_, value)
    if type_ == "flag":
        return None if found is None else "true" if found else "false"
    if type_ == "side" and isinstance(found, str):
        return found.lower()
    return found


def _json(value: object) -> str | None:
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=True, default=str) if value else ""
    except RecursionError:
        return None


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
