"""Fields of ALOR's portfolio messages: their columns, types and names (ALOR protocol page §7).

Quantities are in pieces, as prices are per piece; columns in lots have "lots" in their names.
"""

from __future__ import annotations

from collections.abc import Mapping

from aries_nb.brokers.alor.fields import MARKET_FIELDS, FieldType, MessageField, fields_from
from aries_nb.model import Kind

__all__ = ["EXISTING", "OPCODES", "REQUIRED", "TABLE_FIELDS", "TIMED_BY"]

# "-" where the broker has no such field: the column, part of the common vocabulary, is missing in every row.
_ORDERS = {  # §7.1
    "order_id": "id",
    "symbol": "symbol sym symbol",
    "side": "side s side",
    "type": "type t type",
    "status": "status st status",
    "quantity": "qtyUnits q qtyUnits",
    "filled": "filledQtyUnits fq filledQtyUnits",
    "price": "price px price",
    "average_price": "-",  # computed from own trades: see `averages`
    "created": "transTime tt transTime",
    "updated": "updateTime ut updateTime",
    "text": "comment cmt comment",
    "expires": "endTime et endTime",
    "time_in_force": "timeInForce tf timeInForce",
    "quantity_lots": "qtyBatch|qty qb qtyBatch",
    "filled_lots": "filledQtyBatch fqb filledQtyBatch",
    "order_value": "volume v volume",
    "board": "board bd board",
    "exchange": "exchange ex exchange",
    "iceberg": "iceberg i iceberg",
}
_STOP_ORDERS = {  # §7.2
    **_ORDERS,
    "average_price": "avg_price pxavg avgPrice",
    "stop_price": "stopPrice pxs stopPrice",
    "condition": "condition cnd condition",
    "exchange_order_id": "exchangeOrderId eid exchangeOrderId",
    "error": "error err error",
    "protecting_seconds": "protectingSeconds psec protectingSeconds",
}
_FILLS = {  # §7.4
    "fill_id": "id",
    "order_id": "orderno eid orderNo",
    "symbol": "symbol sym symbol",
    "side": "side s side",
    "quantity": "qtyUnits q qtyUnits",
    "price": "price px price",
    "fee": "commission cms commission",
    "created": "date d date",
    "text": "comment cmt comment",
    "quantity_lots": "qtyBatch|qty qb qtyBatch|qty",
    "fill_value": "volume v volume",
    "accrued_interest": "accruedInt ai accruedInt",
    "settles": "- - settleDate",
    "board": "board b board",
    "exchange": "exchange ex exchange",
    "repo": "repoSpecificFields r repoSpecificFields",
    "is_currency": "-",  # by its board
}
_POSITIONS = {  # §7.5; no price: it is computed from `market_value`, which is at the current price
    "symbol": "symbol sym symbol",
    "quantity": "qtyUnits q qtyUnits",
    "average_price": "avgPrice pxavg avgPrice",
    "price": "-",
    "market_value": "currentVolume cv currentVolume",
    "unrealized_pnl": "unrealisedPl up unrealisedPl",
    "today_pnl": "dailyUnrealisedPl upd dailyUnrealisedPl",
    "cost_basis": "volume v volume",
    "opening_quantity": "openUnits o openUnits",
    "lot_size": "lotSize lot lotSize",
    "name": "shortName n shortName",
    "quantity_t0": "qtyT0 q0 qtyT0",
    "quantity_t1": "qtyT1 q1 qtyT1",
    "quantity_t2": "qtyT2 q2 qtyT2",
    "quantity_future": "qtyTFuture qf qtyTFuture",
    "is_currency": "isCurrency cur isCurrency",
    "exchange": "exchange ex exchange",
    "multiplier": "-",  # computed, like the price
    "is_margined": "-",
}
# §7.6. Equity is the portfolio's value (assumed); cash is taken from the positions: see `SummaryWithCash`.
_BALANCES = {
    "equity": "portfolioLiquidationValue plv portfolioLiquidationValue",
    "cash": "-",
    "liquid_value": "portfolioEvaluation pe portfolioEvaluation",
    "buying_power": "buyingPower bp buyingPower",
    "buying_power_at_morning": "buyingPowerAtMorning bpm buyingPowerAtMorning",
    "buying_power_by_currency": "buyingPowerByCurrency bpv2|bp2v buyingPowerByCurrency",
    "profit": "profit p profit",
    "profit_rate": "profitRate pr profitRate",
    "initial_margin": "initialMargin im initialMargin",
    "corrected_margin": "correctedMargin mgc correctedMargin",
    "risk_before_forced_closing": "riskBeforeForcePositionClosing r riskBeforeForcePositionClosing",
    "fee": "commission cms commission",
}
_RISKS = {  # §7.7
    "equity": "portfolioLiquidationValue plv portfolioLiquidationValue",
    "liquid_value": "portfolioEvaluation pe portfolioEvaluation",
    "initial_margin": "initialMargin mgi initialMargin",
    "minimal_margin": "minimalMargin mgmn minimalMargin",
    "corrected_margin": "correctedMargin mgc correctedMargin",
    "risk_coverage_ratio_one": "riskCoverageRatioOne r1 riskCoverageRatioOne",
    "risk_coverage_ratio_two": "riskCoverageRatioTwo r2 riskCoverageRatioTwo",
    "risk_category": "riskCategoryId rid riskCategoryId",
    "client_type": "clientType ct clientType",
    "has_forbidden_positions": "hasForbiddenPositions fpos hasForbiddenPositions",
    "has_negative_quantity": "hasNegativeQuantity nq hasNegativeQuantity",
    "risk_status": "riskStatus rst riskStatus",
    "calculated": "calculationTime t calculationTime",
}
_DERIVATIVE_RISKS = {  # §7.8
    "money_free": "moneyFree f moneyFree",
    "money_blocked": "moneyBlocked b moneyBlocked",
    "fee": "fee",
    "money_old": "moneyOld o moneyOld",
    "money": "moneyAmount a moneyAmount",
    "money_pledged": "moneyPledgeAmount pa moneyPledgeAmount",
    "variation_margin_cleared": "vmInterCl mgc vmInterCl",
    "variation_margin_open": "vmCurrentPositions mgp vmCurrentPositions",
    "variation_margin": "varMargin - varMargin",
    "variation_margin_indicative": "indicativeVarMargin ivm indicativeVarMargin",
    "net_option_value": "netOptionValue nov netOptionValue",
    "position_risk": "posRisk pr posRisk",
    "has_limits": "isLimitsSet lim isLimitsSet",
}
_FLAGS: dict[str, FieldType] = dict.fromkeys(
    ("is_currency", "is_margined", "has_forbidden_positions", "has_negative_quantity", "has_limits"), "flag"
)
_JSON: dict[str, FieldType] = dict.fromkeys(("iceberg", "repo", "buying_power_by_currency"), "json")
_TIMES: dict[str, FieldType] = dict.fromkeys(("created", "updated", "expires", "calculated"), "iso")
_TEXTS: dict[str, FieldType] = dict.fromkeys(
    ("order_id", "fill_id", "symbol", "type", "status", "text", "time_in_force", "board", "exchange", "condition",
     "exchange_order_id", "error", "settles", "name", "client_type", "risk_status"), "text"
)  # fmt: skip
_INTEGERS: dict[str, FieldType] = {"risk_category": "integer", "protecting_seconds": "integer"}
_TYPES = {**_FLAGS, **_JSON, **_TIMES, **_TEXTS, **_INTEGERS, "side": "side"}


def _fields(table: Mapping[str, str]) -> dict[str, MessageField]:
    return fields_from(table, _TYPES, "decimal")


TABLE_FIELDS: Mapping[Kind, Mapping[str, MessageField]] = {
    "instruments": MARKET_FIELDS["instruments"],
    "orders": _fields(_ORDERS),
    "stop_orders": _fields(_STOP_ORDERS),
    "fills": _fields(_FILLS),
    "positions": _fields(_POSITIONS),
    "balances": _fields(_BALANCES),
    "risks": _fields(_RISKS),
    "derivative_risks": _fields(_DERIVATIVE_RISKS),
}
# The column without which a row cannot be identified.
REQUIRED: Mapping[Kind, str] = {
    "orders": "order_id", "stop_orders": "order_id", "fills": "fill_id", "positions": "symbol",
}  # fmt: skip
# The column with the time of a row's latest change.
TIMED_BY: Mapping[Kind, str] = {
    "orders": "updated", "stop_orders": "updated", "fills": "created", "risks": "calculated",
}  # fmt: skip
EXISTING = ("existing", "h")  # the mark of present content, the second in Slim
OPCODES: Mapping[Kind, str] = {
    "instruments": "InstrumentsGetAndSubscribeV2",
    "orders": "OrdersGetAndSubscribeV2",
    "stop_orders": "StopOrdersGetAndSubscribeV2",
    "fills": "TradesGetAndSubscribeV2",
    "positions": "PositionsGetAndSubscribeV2",
    "balances": "SummariesGetAndSubscribeV2",
    "risks": "RisksGetAndSubscribe",
    "derivative_risks": "SpectraRisksGetAndSubscribe",
}
