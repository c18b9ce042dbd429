"""Portfolio objects of the simulated ALOR server: orders, fills, positions and sums, in all three formats.

Source: ALOR's protocol page §7. Objects are made as dicts with the field names of ALOR's Simple format. Figures that
the simple brokerage does not have are assumed: margins are a share of the value of the positions, and settlement is
immediate. `is_existing` is True in the initial snapshot, False in an update; `has_zone` False leaves the time zone out
of times.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aries_nb.sim.accounts.brokerage import LEVERAGE
from aries_nb.sim.accounts.ledger import ZERO
from aries_nb.sim.alor.messages import iso_time, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.sim.accounts.ledger import Holding
    from aries_nb.sim.accounts.orders import AccountFigures, Fill, Order
    from aries_nb.sim.alor.instruments import Security

__all__ = [
    "DERIVATIVE_RISK",
    "FILL",
    "OLD_STOP_ORDER",
    "ORDER",
    "POSITION",
    "RISK",
    "STOP_ORDER",
    "SUMMARY",
    "cash_values",
    "currencies",
    "derivative_risk_values",
    "fill_values",
    "margin_of",
    "order_values",
    "position_values",
    "risk_values",
    "stop_order_values",
    "summary_values",
]

Values = dict[str, Any]

#: Order numbers of the exchange have ten or eleven digits (§7.1); those of stop orders are the broker's, and short.
FIRST_ORDER, FIRST_STOP_ORDER, FIRST_FILL = 55_500_000_000, 100_000, 9_700_000_000
#: End time of a stop order without one (§7.2).
NEVER = 2_871_763_200.0
STATUSES = {
    "pending_new": "working", "new": "working", "partially_filled": "working", "filled": "filled",
    "canceled": "canceled", "replaced": "canceled", "expired": "canceled", "rejected": "rejected",
}  # fmt: skip
#: Minimal margin as a share of the initial one; below it positions are closed by force (assumed).
MINIMAL_SHARE = Decimal("0.5")

ORDER = table(
    "id id", "symbol sym", "board bd", "brokerSymbol tic", "portfolio p", "exchange ex", "comment cmt", "type t",
    "side s", "status st", "transTime tt", "updateTime ut", "endTime et", "qtyUnits q", "qtyBatch qb", "qty - -",
    "filledQtyUnits fq", "filledQtyBatch fqb", "filled - -", "price px", "existing h", "timeInForce tf", "iceberg i",
    "volume v",
)  # fmt: skip
STOP_ORDER = table(
    "id id", "exchangeOrderId eid", "symbol sym", "brokerSymbol tic", "portfolio p", "exchange ex", "comment cmt",
    "board bd", "type t", "side s", "condition cnd", "status st", "transTime tt", "updateTime ut", "endTime et",
    "error err", "qtyUnits q", "qtyBatch qb", "qty - -", "filled - -", "filledQtyUnits fq", "filledQtyBatch fqb",
    "price px", "avg_price pxavg avgPrice", "stopPrice pxs", "existing h", "timeInForce tf", "iceberg i", "volume v",
    "protectingSeconds psec",
)  # fmt: skip
OLD_STOP_ORDER = table(
    "id id", "symbol sym", "brokerSymbol tic", "exchange ex", "board bd", "type t", "stopPrice pxs", "side s",
    "status st", "endTime exp", "qty q", "filledQtyBatch fqb", "price px", "existing e",
)  # fmt: skip
FILL = table(
    "id id", "orderno eid orderNo", "comment cmt", "symbol sym", "brokerSymbol tic", "exchange ex", "date d", "board b",
    "qtyUnits q", "qtyBatch qb", "qty - qty", "price px", "accruedInt ai", "side s", "existing h", "commission cms",
    "repoSpecificFields r", "volume v", "- - settleDate",
)  # fmt: skip
POSITION = table(
    "volume v", "currentVolume cv", "symbol sym", "brokerSymbol tic", "portfolio p", "exchange ex", "avgPrice pxavg",
    "qtyUnits q", "openUnits o", "lotSize lot", "shortName n", "qtyT0 q0", "qtyT1 q1", "qtyT2 q2", "qtyTFuture qf",
    "qtyT0Batch - qtyT0Batch", "qtyT1Batch - qtyT1Batch", "qtyT2Batch - qtyT2Batch",
    "qtyTFutureBatch - qtyTFutureBatch", "qtyBatch - -", "openQtyBatch - openQtyBatch", "qty - -", "open - -",
    "dailyUnrealisedPl upd", "unrealisedPl up", "isCurrency cur", "existing h",
)  # fmt: skip
SUMMARY = table(
    "buyingPowerAtMorning bpm", "buyingPower bp", "profit p", "profitRate pr", "portfolioEvaluation pe",
    "portfolioLiquidationValue plv", "initialMargin im", "correctedMargin mgc", "riskBeforeForcePositionClosing r",
    "commission cms", "buyingPowerByCurrency bpv2",
)  # fmt: skip
RISK = table(
    "portfolio p", "exchange ex", "portfolioEvaluation pe", "portfolioLiquidationValue plv", "initialMargin mgi",
    "minimalMargin mgmn", "correctedMargin mgc", "riskCoverageRatioOne r1", "riskCoverageRatioTwo r2",
    "riskCategoryId rid", "clientType ct", "hasForbiddenPositions fpos", "hasNegativeQuantity nq", "riskStatus rst",
    "calculationTime t",
)  # fmt: skip
DERIVATIVE_RISK = table(
    "balanceMoney - -", "portfolio p", "moneyFree f", "moneyBlocked b", "fee fee", "moneyOld o", "moneyAmount a",
    "moneyPledgeAmount pa", "vmInterCl mgc", "vmCurrentPositions mgp", "varMargin - varMargin",
    "indicativeVarMargin ivm", "netOptionValue nov", "posRisk pr", "isLimitsSet lim",
)  # fmt: skip


def order_values(security: Security, portfolio: str, order: Order, *, is_existing: bool, has_zone: bool) -> Values:
    """Return an order at the exchange; a triggered stop order appears as a market order (ALOR's protocol page §7.1).

    A dict with the field names of ALOR's Simple format. `security` is the reference data of its instrument,
    `portfolio` the portfolio's name. `is_existing` is True in the initial snapshot, False in an update; `has_zone`
    False leaves the time zone out of times.
    """
    price, worth = order.price, security.worth
    return {
        **_order_frame(security, portfolio, order, is_existing=is_existing, has_zone=has_zone),
        "id": str(FIRST_ORDER + order.number),
        "comment": order.text or None,
        "type": "market" if price is None else "limit",
        "endTime": _time(_end(order), has_zone=has_zone),
        "filled": _lots(order.filled, security),
        "price": _number(worth.price(price or ZERO)),
        "volume": None if price is None else _number(price * order.quantity),
    }


def stop_order_values(security: Security, portfolio: str, order: Order, *, is_existing: bool, has_zone: bool) -> Values:
    """Return a stop order at the broker; its status is "filled" once it is triggered.

    A dict with the field names of ALOR's Simple format. `security` is the reference data of its instrument,
    `portfolio` the portfolio's name. `is_existing` is True in the initial snapshot, False in an update; `has_zone`
    False leaves the time zone out of times. Source: ALOR's protocol page §7.2, §7.3.
    """
    is_triggered = bool(order.filled)
    return {
        **_order_frame(security, portfolio, order, is_existing=is_existing, has_zone=has_zone),
        "id": str(FIRST_STOP_ORDER + order.number),
        "exchangeOrderId": str(FIRST_ORDER + order.number) if is_triggered else None,
        "comment": None,
        "type": "stop",
        # A buy stop is triggered by a rising price.
        "condition": "MoreOrEqual" if order.side == "buy" else "LessOrEqual",
        "status": "filled" if is_triggered else STATUSES[order.status],
        "endTime": _time(NEVER if order.expires is None else order.expires, has_zone=has_zone),
        "error": order.text or None,
        "filled": _number(order.filled),
        "price": 0,
        "avg_price": _number(security.worth.price(order.average_price)),
        "stopPrice": _number(security.worth.price(order.stop or ZERO)),
        "volume": None,
        "protectingSeconds": 15,
    }


def fill_values(security: Security, number: int, fill: Fill, *, is_existing: bool, has_zone: bool) -> Values:
    """Return an own trade with the field names of ALOR's Simple format (ALOR's protocol page §7.4).

    It does not name its portfolio, which the guid identifies. A `number` up to 0 is that of a trade before the
    start. `is_existing` is True in the initial snapshot, False in an update; `has_zone` False leaves the time zone
    out of times.
    """
    settled = datetime.fromtimestamp(fill.time, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "id": str(FIRST_FILL + number),
        "orderno": str(FIRST_ORDER + int(fill.order_id.removeprefix("ORD-"))),
        "comment": None,
        **_names(security),
        "date": _time(fill.time, has_zone=has_zone),
        "qtyUnits": int(fill.quantity),
        "qtyBatch": _lots(fill.quantity, security),
        "qty": _lots(fill.quantity, security),
        "price": _number(security.worth.price(fill.price)),
        "accruedInt": _number(security.worth.accrued * fill.quantity),
        "side": fill.side,
        "existing": is_existing,
        "commission": None if security.is_future else _number(fill.fee),
        "repoSpecificFields": None,
        "volume": _number(fill.quantity * fill.price),
        "settleDate": _time((settled + timedelta(days=1)).timestamp(), has_zone=has_zone),
    }


def position_values(
    security: Security, portfolio: str, holding: Holding, opened: Decimal, *, is_existing: bool
) -> Values:
    """Return a position with the field names of ALOR's Simple format (ALOR's protocol page §7.5).

    `security` is the reference data of its instrument, `holding` the position with the price at which it is valued,
    `opened` the quantity at the start of the session, in shares or contracts. `is_existing` is True in the initial
    snapshot, False in an update.
    """
    position = holding.position
    pieces, lots, unrealised = position.quantity, _lots(position.quantity, security), _number(holding.unrealised)
    opened_lots = _lots(opened, security)
    return {
        "volume": _number(position.cost),
        "currentVolume": _number(holding.market_value),
        **_names(security),
        "portfolio": portfolio,
        "avgPrice": _number(security.worth.price(position.average_price)),
        "qtyUnits": int(pieces),
        "openUnits": int(opened),
        "lotSize": security.lot,
        "shortName": security.description,
        **dict.fromkeys(("qtyT0", "qtyT1", "qtyT2", "qtyTFuture"), int(pieces)),
        **dict.fromkeys(("qtyT0Batch", "qtyT1Batch", "qtyT2Batch", "qtyTFutureBatch", "qtyBatch", "qty"), lots),
        # `open` is in pieces according to the schema, but in lots in its example (D18).
        **dict.fromkeys(("openQtyBatch", "open"), opened_lots),
        "dailyUnrealisedPl": unrealised,
        "unrealisedPl": unrealised,
        "isCurrency": False,
        "existing": is_existing,
    }


def cash_values(
    currency: str, exchange: str, portfolio: str, figures: AccountFigures, futures: Decimal, *, is_existing: bool
) -> Values:
    """Return the money of an account as a position, a dict with the field names of ALOR's Simple format.

    `futures` is the cost of the futures held. The account's cash is without it, but futures are not paid for: what was
    realised is in the money at once, the variation margin of what is held is not (assumed). `is_existing` is True in
    the initial snapshot, False in an update. Source: ALOR's protocol page §7.5.
    """
    cash, started = _number(figures.cash + futures), _number(figures.starting_cash)
    of_now = ("volume", "currentVolume", "qtyUnits", "qtyT0", "qtyT1", "qtyT2", "qtyTFuture", "qtyT0Batch",
              "qtyT1Batch", "qtyT2Batch", "qtyTFutureBatch", "qtyBatch", "qty")  # fmt: skip
    return {
        **dict.fromkeys(of_now, cash),
        **dict.fromkeys(("openUnits", "openQtyBatch", "open"), started),
        "symbol": currency,
        "brokerSymbol": f"{exchange}:{currency}",
        "portfolio": portfolio,
        "exchange": exchange,
        "avgPrice": 1,
        "lotSize": 1,
        "shortName": currency,
        "dailyUnrealisedPl": 0,
        "unrealisedPl": 0,
        "isCurrency": True,
        "existing": is_existing,
    }


def summary_values(currency: str, figures: AccountFigures, margin: Decimal, *, is_derivative: bool) -> Values:
    """Return the sums of a portfolio with the field names of ALOR's Simple format (ALOR's protocol page §7.6).

    `figures` are the sums of its account, in `currency`; `margin` is that of all positions; `is_derivative` leaves
    the commission null. The function `currencies` renames the entries of `buyingPowerByCurrency` for the Slim format.
    """
    profit = figures.equity - figures.starting_equity
    return {
        "buyingPowerAtMorning": _number(figures.starting_cash),
        "buyingPower": _number(figures.buying_power),
        "profit": _number(profit),
        "profitRate": round(float(100 * profit / figures.starting_equity), 4) if figures.starting_equity else 0,
        "portfolioEvaluation": _number(figures.equity),
        "portfolioLiquidationValue": _number(figures.equity),
        "initialMargin": _number(margin),
        "correctedMargin": _number(margin),
        "riskBeforeForcePositionClosing": _number(figures.equity - margin * MINIMAL_SHARE),
        "commission": None if is_derivative else _number(figures.fees),
        "buyingPowerByCurrency": [{"currency": currency, "buyingPower": _number(figures.buying_power)}],
    }


def margin_of(figures: AccountFigures, security_of: Callable[[str], Security]) -> Decimal:
    """Return the margin of all positions of an account: that of each future, and half of the value of any other.

    `security_of` returns the reference data of a symbol. Short positions count like long ones.
    """
    margin = Decimal(0)
    for holding in figures.positions:
        security, quantity = security_of(holding.position.symbol), abs(holding.position.quantity)
        if security.is_future and holding.mark is not None:
            margin += quantity * Decimal(str(round(security.margin(float(security.worth.price(holding.mark))), 2)))
        else:
            margin += abs(holding.market_value) / LEVERAGE
    return margin


def currencies(entries: list[Values]) -> list[Values]:
    """Return the entries of a summary's `buyingPowerByCurrency` with the field names of ALOR's Slim format."""
    return [{"cr": entry["currency"], "bp": entry["buyingPower"]} for entry in entries]


def risk_values(
    exchange: str, portfolio: str, figures: AccountFigures, margin: Decimal, *, now: float, has_zone: bool
) -> Values:
    """Return margins and coverage of a portfolio as a dict with the field names of ALOR's Simple format.

    `margin` is that of all positions, `now` the time of the calculation in Unix s; `has_zone` False leaves its time
    zone out. Source: ALOR's protocol page §7.7.
    """
    minimal = margin * MINIMAL_SHARE
    one, two = figures.equity - margin, figures.equity - minimal
    return {
        "portfolio": portfolio,
        "exchange": exchange,
        "portfolioEvaluation": _number(figures.equity),
        "portfolioLiquidationValue": _number(figures.equity),
        "initialMargin": _number(margin),
        "minimalMargin": _number(minimal),
        "correctedMargin": _number(margin),
        "riskCoverageRatioOne": _number(one),
        "riskCoverageRatioTwo": _number(two),
        "riskCategoryId": 1,
        "clientType": "StandardRisk",
        "hasForbiddenPositions": False,
        "hasNegativeQuantity": any(holding.position.quantity < 0 for holding in figures.positions),
        "riskStatus": "Ok" if one >= 0 else "Demand" if two >= 0 else "ToClose",
        "calculationTime": _time(now, has_zone=has_zone),
    }


def derivative_risk_values(portfolio: str, figures: AccountFigures, blocked: Decimal) -> Values:
    """Return the money and the variation margin of a derivatives portfolio (ALOR's protocol page §7.8).

    A dict with the field names of ALOR's Simple format. `blocked` is the part of the money that serves as margin.
    """
    variation = figures.realised + figures.unrealised
    return {
        "balanceMoney": _number(figures.equity),
        "portfolio": portfolio,
        "moneyFree": _number(figures.equity - blocked),
        "moneyBlocked": _number(blocked),
        "fee": _number(figures.fees),
        "moneyOld": _number(figures.starting_equity),
        "moneyAmount": _number(figures.equity),
        "moneyPledgeAmount": 0,
        "vmInterCl": 0,
        "vmCurrentPositions": _number(variation),
        "varMargin": _number(variation),
        "indicativeVarMargin": _number(variation),
        "netOptionValue": 0,
        "posRisk": _number(blocked),
        "isLimitsSet": True,
    }


def _order_frame(security: Security, portfolio: str, order: Order, *, is_existing: bool, has_zone: bool) -> Values:
    lots, filled = _lots(order.quantity, security), _lots(order.filled, security)
    return {
        **_names(security),
        "portfolio": portfolio,
        "side": order.side,
        "status": STATUSES[order.status],
        "transTime": _time(order.created, has_zone=has_zone),
        "updateTime": _time(order.updated, has_zone=has_zone),
        "qtyUnits": int(order.quantity),
        "qtyBatch": lots,
        "qty": lots,
        "filledQtyUnits": _number(order.filled),
        "filledQtyBatch": filled,
        "existing": is_existing,
        "timeInForce": "oneday",
        "iceberg": None,
    }


def _names(security: Security) -> Values:
    return {
        "symbol": security.symbol,
        "brokerSymbol": f"{security.exchange}:{security.symbol}",
        "exchange": security.exchange,
        "board": security.board,
    }


def _end(order: Order) -> float:
    """Return the end time of an order in Unix s; for an order without one it is the next midnight in UTC."""
    return (order.created // 86_400 + 1) * 86_400 if order.expires is None else order.expires


def _time(seconds: float, *, has_zone: bool) -> str:
    return iso_time(int(seconds * 1_000_000) * 1000, has_zone=has_zone)


def _lots(pieces: Decimal, security: Security) -> int:
    return int(pieces) // security.lot if pieces >= 0 else -(int(-pieces) // security.lot)


def _number(amount: Decimal | int) -> float:
    """Return an amount as a JSON number: an int if it is whole, else a float."""
    whole = int(amount)
    return whole if whole == amount else float(amount)
