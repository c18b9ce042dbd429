"""Fields of the objects of the Aries accounts endpoint: column, type and key of each (Aries protocol page §5.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aries_nb.model import BALANCE_COLUMNS, ORDER_COLUMNS, POSITION_COLUMNS, ColumnType, Kind

__all__ = ["ACCOUNT_COLUMN_TYPES", "FIELDS", "INFO_KEYS", "REQUIRED", "UNUSED_PRICES", "AccountField", "folded"]


class AccountField(NamedTuple):
    """The type of a column of an account table, and the keys of a JSON object that may hold its value.

    The first of these keys that is present counts.
    """

    type: ColumnType
    keys: tuple[str, ...]


def _fields(columns: Mapping[str, str], types: Mapping[str, ColumnType], usual: ColumnType) -> dict[str, AccountField]:
    return {
        column: AccountField(types.get(column, usual), tuple(folded(key) for key in keys.split()))
        for column, keys in columns.items()
    }


def folded(key: str) -> str:
    """Return a JSON key in lower case without underscores, the form in which keys are compared."""
    return key.replace("_", "").lower()


_ORDER = {
    "order_id": "clOrdId",
    "symbol": "symbol",
    "side": "side",
    "type": "type",
    "status": "ordStatus status",
    "quantity": "qty quantity",
    "filled": "cumQty",
    "price": "price",
    "average_price": "avgPrice averagePrice",
    "created": "createdAt",
    "updated": "updatedAt",
    "text": "text",
    "broker_id": "ordId",
    "client": "clientId",
    "time_in_force": "timeInForce",
    "category": "category",
    "security_type": "securityType",
    "remaining": "leavesQty",
    "stop_price": "stopPrice",
    "reject_reason": "ordRejReason",
    "destination": "exDestination",
    "currency": "currency",
    "replaces": "origClOrdId",
    "legs": "legs",
}
_POSITION = {
    "symbol": "symbol",
    "quantity": "quantity qty",
    "average_price": "averagePrice avgPrice",
    "price": "price",
    "market_value": "marketValue",
    "unrealized_pnl": "unrealizedPl unrealizedPnl",
    "today_pnl": "todayPl todayPnl",
    "security_type": "securityType",
    "cost_basis": "costBasis",
    "today_realized_pnl": "todayRealizedPnL todayRealizedPl",
    "created": "createdAt",
    "multiplier": "",  # computed
}
# After equity (assumed: `balance` is it, U16) and cash.
_BALANCE_KEYS = [
    "net_buying_power",
    "stock_buying_power",
    "option_buying_power",
    "day_trade_buying_power",
    "day_trade_overnight_reg_t_buying_power",
    "open_pnl",
    "unrealized_pl",
    "realized_pl",
    "day_open_pnl",
    "day_realized_pnl",
    "day_total_pnl",
    "settled_funds",
    "unsettled_funds",
    "amount_available_to_withdraw",
    "funds_available_for_withdrawal",
    "held_back_funds",
    "start_of_day_cash",
    "sod_ttl_equity",
    "sod_ttl_equity_updated_at",
    "sod_positions_market_value",
    "sod_margin_trade_balance",
    "sod_gross_funds_available",
    "sod_net_funds_available",
    "sod_funds_available_date",
    "cost_of_positions",
    "gross_margin",
    "intraday_margin_balance",
    "maint_req",
    "credit",
    "credit_remaining",
    "sma",
    "sma_credit_remaining",
    "pdt",
    "pdt_credit_remaining",
    "value_bought",
    "value_sold",
    "pending_orders_count",
    "pending_orders_margin_requirements",
]
INFO_KEYS = [
    "trading_account_id",
    "broker_account_id",
    "account_type",
    "account_class",
    "is_sim",
    "status",
]  # assumed (U16)
_CANDLE = {  # assumed (U16)
    "interval": "interval",
    "start": "time timestamp t",
    "open": "open o",
    "high": "high h",
    "low": "low l",
    "close": "close c",
}
_NEWS = {  # assumed (U16)
    "news_id": "id newsId",
    "title": "title",
    "body": "body",
    "authors": "authors",
    "symbols": "symbols",
    "news_type": "newsType type",
    "published": "timestamp time publishedAt",
    "action": "action",
}
FIELDS: Mapping[Kind, Mapping[str, AccountField]] = {
    "orders": _fields(
        _ORDER,
        {column.name: column.type for column in ORDER_COLUMNS} | {"remaining": "decimal", "stop_price": "decimal"},
        "text",
    ),
    "positions": _fields(
        _POSITION,
        {column.name: column.type for column in POSITION_COLUMNS} | {"security_type": "text", "created": "time"},
        "decimal",
    ),
    "balances": _fields(
        {"equity": "balance", "cash": "cashBalance"} | {name: name for name in _BALANCE_KEYS},
        {column.name: column.type for column in BALANCE_COLUMNS}
        | {
            "sod_ttl_equity_updated_at": "time",
            "sod_funds_available_date": "text",
            "pending_orders_count": "integer",
        },
        "decimal",
    ),
    "accounts": _fields({name: name for name in INFO_KEYS}, {}, "text"),
    "pnl": _fields(_CANDLE, {"interval": "text", "start": "time"}, "number"),
    "watchlists": _fields(
        {"list_id": "id listId", "name": "name", "place": "", "symbol": ""},
        {"list_id": "integer", "place": "integer"},
        "text",
    ),
    "news": _fields(_NEWS, {"news_id": "integer", "published": "time"}, "text"),
}
ACCOUNT_COLUMN_TYPES: Mapping[Kind, Mapping[str, ColumnType]] = {
    kind: {column: field.type for column, field in fields.items()} for kind, fields in FIELDS.items()
}
# The keys without which a row cannot be identified.
REQUIRED: Mapping[Kind, tuple[str, ...]] = {
    "orders": ("order_id",),
    "positions": ("symbol",),
    "pnl": ("start",),
    "watchlists": ("list_id",),
    "news": ("news_id",),
}
# The prices that each order type does not have.
UNUSED_PRICES: Mapping[str, tuple[str, ...]] = {
    "MARKET": ("price", "stop_price"),
    "LIMIT": ("stop_price",),
    "STOP": ("price",),
}
