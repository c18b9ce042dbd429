"""Kinds of streams, types of column values, and the columns that the frames of every broker have."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "BALANCE_COLUMNS",
    "BAR_COLUMNS",
    "BOOK_COLUMNS",
    "CANCELLED",
    "CORRECTED",
    "FILL_COLUMNS",
    "FLOAT64",
    "INT64",
    "MISSING",
    "NOT_A_TIME",
    "ORDER_COLUMNS",
    "POSITION_COLUMNS",
    "QUOTE_COLUMNS",
    "TABLE_KEYS",
    "TRADE_COLUMNS",
    "VENUE_COLUMNS",
    "Cause",
    "Column",
    "ColumnType",
    "CountedAs",
    "Kind",
    "Side",
    "State",
    "Value",
    "Values",
]

Kind = Literal[
    "quotes", "trades", "book", "venues", "bars", "instruments", "answers",
    "orders", "stop_orders", "fills", "positions", "balances", "risks", "derivative_risks",
    "accounts", "pnl", "watchlists", "news",
]  # fmt: skip
Side = Literal["buy", "sell", "unknown"]
ColumnType = Literal["number", "text", "time", "integer", "decimal"]
State = Literal["connecting", "live", "reconnecting", "failed", "closed"]
# Why a stream broke: the connection was cut, or received nothing; we read too slowly; the session or its token ended;
# the server announced that it restarts; this process stalled; of a room, the way to its server or the publisher.
Cause = Literal[
    "cut", "silence", "overload", "token", "restart", "pause", "given up", "recording", "room", "publisher gone"
]
# Why a message is no new row: it repeats an earlier one; it holds no row, or rows from before the subscription; it
# cannot be decoded; a newer state replaced it before it was written. "filled" is a row without a message: copied from
# another frame, or from history.
CountedAs = Literal["duplicated", "rowless", "unreadable", "conflated", "filled"]

# Numbers are float64 (missing: NaN), times int64 ns since the epoch in UTC (missing: `NOT_A_TIME`), integers int64
# (missing: 0), texts str (missing: ""). Decimals are money and quantities of accounts, exactly as the broker wrote them
# (missing: Decimal("NaN")); only tables hold them.
Value: TypeAlias = float | int | str | Decimal
Values: TypeAlias = tuple[Value, ...]
NOT_A_TIME = -(2**63)
INT64, FLOAT64 = "l" if array("l").itemsize == 8 else "q", "d"  # type codes of `array`, as numpy names the same types
MISSING: Mapping[ColumnType, Value] = {
    "number": math.nan,
    "text": "",
    "time": NOT_A_TIME,
    "integer": 0,
    "decimal": Decimal("NaN"),
}


class Column(NamedTuple):
    """One column of a frame or table: its name in snake_case, and the type of its values."""

    name: str
    type: ColumnType = "number"


# The `source` of a print that replaces an earlier one under the same number, and of one that only cancels it.
CORRECTED, CANCELLED = "corrected", "cancelled"
QUOTE_COLUMNS = tuple(map(Column, ("bid_price", "bid_size", "ask_price", "ask_size", "last_price")))
TRADE_COLUMNS = (
    Column("price"),
    Column("size"),
    Column("side", "text"),
    Column("trade_id", "integer"),
    Column("venue", "text"),
    Column("source", "text"),  # "live"; "history" if it fills a gap; or `CORRECTED` or `CANCELLED`
)
ORDER_COLUMNS = (
    Column("order_id", "text"),
    Column("symbol", "text"),
    Column("side", "text"),
    Column("type", "text"),
    Column("status", "text"),
    Column("quantity", "decimal"),
    Column("filled", "decimal"),
    Column("price", "decimal"),
    Column("average_price", "decimal"),
    Column("created", "time"),
    Column("updated", "time"),
    Column("text", "text"),
)
# Own executions, of a broker that reports them as such.
FILL_COLUMNS = (
    Column("fill_id", "text"),
    Column("order_id", "text"),
    Column("symbol", "text"),
    Column("side", "text"),
    Column("quantity", "decimal"),
    Column("price", "decimal"),
    Column("fee", "decimal"),
    Column("created", "time"),
)
POSITION_COLUMNS = (
    Column("symbol", "text"),
    Column("quantity", "decimal"),
    Column("average_price", "decimal"),
    Column("price", "decimal"),
    Column("market_value", "decimal"),
    Column("unrealized_pnl", "decimal"),
    Column("today_pnl", "decimal"),
)
BALANCE_COLUMNS = (Column("equity", "decimal"), Column("cash", "decimal"))
BAR_COLUMNS = tuple(map(Column, ("open", "high", "low", "close", "volume")))
VENUE_COLUMNS = (Column("venue", "text"), *map(Column, ("bid_price", "bid_size", "ask_price", "ask_size")))
BOOK_COLUMNS = (Column("side", "text"), Column("level"), Column("price"), Column("size"))

# The fields that identify a row within one subscription.
TABLE_KEYS: Mapping[Kind, tuple[str, ...]] = {
    "instruments": ("symbol",),
    "orders": ("order_id",),
    "stop_orders": ("order_id",),
    "fills": ("fill_id",),
    "positions": ("symbol",),
    "balances": (),
    "risks": (),
    "derivative_risks": (),
    "accounts": (),
    "pnl": ("interval", "start"),
    "watchlists": ("list_id", "place"),
    "news": ("news_id",),
}
