"""The objects of ALOR's portfolio streams in each format, by the tables of the protocol page's section 7."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from aries_nb.model import Kind
from tests.brokers.alor.lines import Format, format_of

TIME = "2025-08-22T08:00:01.1234567Z"
# Each field as (simple, slim, heavy, value); "-" where a format has none.
OBJECTS: dict[Kind, list[tuple[str, str, str, Any]]] = {
    "orders": [
        ("id", "id", "id", "55500011122"), ("symbol", "sym", "symbol", "SBER"), ("board", "bd", "board", "TQBR"),
        ("brokerSymbol", "tic", "brokerSymbol", "MOEX:SBER"), ("portfolio", "p", "portfolio", "D00000"),
        ("exchange", "ex", "exchange", "MOEX"), ("comment", "cmt", "comment", "<b>mine</b>"),
        ("type", "t", "type", "limit"), ("side", "s", "side", "buy"), ("status", "st", "status", "working"),
        ("transTime", "tt", "transTime", "2025-08-22T08:00:00.0000000Z"), ("updateTime", "ut", "updateTime", TIME),
        ("endTime", "et", "endTime", "2025-08-22T20:59:59.9999999"), ("qtyUnits", "q", "qtyUnits", 20),
        ("qtyBatch", "qb", "qtyBatch", 2), ("qty", "-", "-", 2), ("filledQtyUnits", "fq", "filledQtyUnits", 10),
        ("filledQtyBatch", "fqb", "filledQtyBatch", 1), ("filled", "-", "-", 1),
        ("price", "px", "price", Decimal("301.500")), ("existing", "h", "existing", False),
        ("timeInForce", "tf", "timeInForce", "oneday"), ("iceberg", "i", "iceberg", None),
        ("volume", "v", "volume", Decimal("6030.00")),
    ],
    "stop_orders": [
        ("id", "id", "id", "7007"), ("exchangeOrderId", "eid", "exchangeOrderId", None),
        ("symbol", "sym", "symbol", "SBER"), ("brokerSymbol", "tic", "brokerSymbol", "MOEX:SBER"),
        ("portfolio", "p", "portfolio", "D00000"), ("exchange", "ex", "exchange", "MOEX"),
        ("comment", "cmt", "comment", None), ("board", "bd", "board", "TQBR"), ("type", "t", "type", "stoplimit"),
        ("side", "s", "side", "sell"), ("condition", "cnd", "condition", "LessOrEqual"),
        ("status", "st", "status", "working"), ("transTime", "tt", "transTime", TIME),
        ("updateTime", "ut", "updateTime", None), ("endTime", "et", "endTime", "2060-01-01T00:00:00Z"),
        ("error", "err", "error", None), ("qtyUnits", "q", "qtyUnits", 20), ("qtyBatch", "qb", "qtyBatch", 2),
        ("qty", "-", "-", 2), ("filled", "-", "-", 0), ("filledQtyUnits", "fq", "filledQtyUnits", 0),
        ("filledQtyBatch", "fqb", "filledQtyBatch", 0), ("price", "px", "price", Decimal("299.50")),
        ("avg_price", "pxavg", "avgPrice", 0), ("stopPrice", "pxs", "stopPrice", Decimal("300.0")),
        ("existing", "h", "existing", False), ("timeInForce", "tf", "timeInForce", "oneday"),
        ("iceberg", "i", "iceberg", {"cf": 5}), ("volume", "v", "volume", 5990),
        ("protectingSeconds", "psec", "protectingSeconds", 15),
    ],
    "fills": [
        ("id", "id", "id", "9200000001"), ("orderno", "eid", "orderNo", "55500011122"),
        ("comment", "cmt", "comment", None), ("symbol", "sym", "symbol", "SBER"),
        ("brokerSymbol", "tic", "brokerSymbol", "MOEX:SBER"), ("exchange", "ex", "exchange", "MOEX"),
        ("date", "d", "date", TIME), ("board", "b", "board", "TQBR"), ("qtyUnits", "q", "qtyUnits", 10),
        ("qtyBatch", "qb", "qtyBatch", 1), ("qty", "-", "qty", 1), ("price", "px", "price", Decimal("301.10")),
        ("accruedInt", "ai", "accruedInt", 0), ("side", "s", "side", "buy"), ("existing", "h", "existing", False),
        ("commission", "cms", "commission", Decimal("0.90330")),
        ("repoSpecificFields", "r", "repoSpecificFields", None), ("volume", "v", "volume", Decimal("3011.0")),
        ("-", "-", "settleDate", "2025-08-25T00:00:00"),
    ],
    "positions": [
        ("volume", "v", "volume", Decimal("3011.00")), ("currentVolume", "cv", "currentVolume", Decimal("3015.0")),
        ("symbol", "sym", "symbol", "SBER"), ("brokerSymbol", "tic", "brokerSymbol", "MOEX:SBER"),
        ("portfolio", "p", "portfolio", "D00000"), ("exchange", "ex", "exchange", "MOEX"),
        ("avgPrice", "pxavg", "avgPrice", Decimal("301.10")), ("qtyUnits", "q", "qtyUnits", 10),
        ("openUnits", "o", "openUnits", 0), ("lotSize", "lot", "lotSize", 10),
        ("shortName", "n", "shortName", "Сбербанк"), ("qtyT0", "q0", "qtyT0", 0), ("qtyT1", "q1", "qtyT1", 10),
        ("qtyT2", "q2", "qtyT2", 10), ("qtyTFuture", "qf", "qtyTFuture", 10), ("qtyBatch", "-", "-", 1),
        ("openQtyBatch", "-", "openQtyBatch", 0), ("qty", "-", "-", 1), ("open", "-", "-", 0),
        ("dailyUnrealisedPl", "upd", "dailyUnrealisedPl", Decimal("4.00")),
        ("unrealisedPl", "up", "unrealisedPl", Decimal("4.00")), ("isCurrency", "cur", "isCurrency", False),
        ("existing", "h", "existing", False),
    ],
    "balances": [
        ("buyingPowerAtMorning", "bpm", "buyingPowerAtMorning", 100_000), ("buyingPower", "bp", "buyingPower", 96_989),
        ("profit", "p", "profit", 4), ("profitRate", "pr", "profitRate", Decimal("0.004")),
        ("portfolioEvaluation", "pe", "portfolioEvaluation", Decimal("100004.00")),
        ("portfolioLiquidationValue", "plv", "portfolioLiquidationValue", Decimal("100004.10")),
        ("initialMargin", "im", "initialMargin", 603), ("correctedMargin", "mgc", "correctedMargin", 603),
        ("riskBeforeForcePositionClosing", "r", "riskBeforeForcePositionClosing", Decimal("99702.5")),
        ("commission", "cms", "commission", None),
        ("buyingPowerByCurrency", "bpv2", "buyingPowerByCurrency", [{"currency": "RUB", "buyingPower": 96989}]),
    ],
    "risks": [
        ("portfolio", "p", "portfolio", "D00000"), ("exchange", "ex", "exchange", "MOEX"),
        ("portfolioEvaluation", "pe", "portfolioEvaluation", 100_004),
        ("portfolioLiquidationValue", "plv", "portfolioLiquidationValue", Decimal("100004.10")),
        ("initialMargin", "mgi", "initialMargin", 603), ("minimalMargin", "mgmn", "minimalMargin", 301),
        ("correctedMargin", "mgc", "correctedMargin", 603),
        ("riskCoverageRatioOne", "r1", "riskCoverageRatioOne", Decimal("99401.5")),
        ("riskCoverageRatioTwo", "r2", "riskCoverageRatioTwo", 99_703), ("riskCategoryId", "rid", "riskCategoryId", 2),
        ("clientType", "ct", "clientType", "StandardRisk"),
        ("hasForbiddenPositions", "fpos", "hasForbiddenPositions", False),
        ("hasNegativeQuantity", "nq", "hasNegativeQuantity", True), ("riskStatus", "rst", "riskStatus", "Ok"),
        ("calculationTime", "t", "calculationTime", TIME),
    ],
    "derivative_risks": [
        ("balanceMoney", "-", "-", 1), ("portfolio", "p", "portfolio", "7500XYZ"),
        ("moneyFree", "f", "moneyFree", Decimal("50000.10")), ("moneyBlocked", "b", "moneyBlocked", 12_000),
        ("fee", "fee", "fee", Decimal("3.12")), ("moneyOld", "o", "moneyOld", 62_000),
        ("moneyAmount", "a", "moneyAmount", 62_003), ("moneyPledgeAmount", "pa", "moneyPledgeAmount", 0),
        ("vmInterCl", "mgc", "vmInterCl", -5), ("vmCurrentPositions", "mgp", "vmCurrentPositions", 8),
        ("varMargin", "-", "varMargin", 3), ("indicativeVarMargin", "ivm", "indicativeVarMargin", 3),
        ("netOptionValue", "nov", "netOptionValue", 0), ("posRisk", "pr", "posRisk", 11_000),
        ("isLimitsSet", "lim", "isLimitsSet", True),
    ],
}  # fmt: skip


def item(kind: Kind, form: Format | None = None, **fields: Any) -> dict[str, Any]:
    """An object as the server writes it, by default as answer to `every`; `fields` by their names in Simple."""
    place = ("simple", "slim", "heavy").index(form or format_of(kind))
    found: dict[str, Any] = {}
    for names in OBJECTS[kind]:
        if names[place] != "-":
            found[names[place]] = fields.get(names[0], names[3])
    return found
