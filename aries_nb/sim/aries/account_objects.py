"""The objects of the simulated accounts in Aries' format, for both the WebSocket and HTTP.

Source: Aries' protocol page §5.4 (fields) and §7 (REST replies). Quantities and amounts are decimal strings, times RFC
3339.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aries_nb.sim.accounts.ledger import ZERO
from aries_nb.sim.accounts.orders import Worth
from aries_nb.sim.aries.messages import rfc3339
from aries_nb.sim.market.options import parse_contract

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from aries_nb.sim.accounts.accounts import Accounts
    from aries_nb.sim.accounts.ledger import Holding
    from aries_nb.sim.accounts.newsroom import Headline
    from aries_nb.sim.accounts.orders import AccountFigures, AccountTerms, Leg, Order
    from aries_nb.sim.accounts.pnl import Candle
    from aries_nb.sim.accounts.watchlists import Watchlist

__all__ = [
    "DEFAULT_ORDERS",
    "MAX_ORDERS",
    "account_list",
    "account_object",
    "active_orders",
    "balance",
    "balance_object",
    "candle_object",
    "decimal_text",
    "matching",
    "news",
    "news_object",
    "order_history",
    "order_object",
    "position_object",
    "positions",
    "watchlist_object",
    "watchlists",
    "worth_of",
]

#: Orders on one page: default and maximum (§7).
DEFAULT_ORDERS, MAX_ORDERS = 50, 500
MAX_NEWS = 50
USER = 1  # a number, as in the vendor's client
#: Shares of an option's contract.
CONTRACT = Decimal(100)
SHORT_SIDES = {"buy": "BUY_TO_COVER", "sell": "SELL_SHORT"}


# HTTP responses. `account` must be one of `Accounts.names`.


def account_list(accounts: Accounts) -> dict[str, Any]:
    """Return the answer to `GET /v2/users/me/accounts`: all accounts of the user."""
    return {"accounts": [account_object(terms) for terms in accounts.brokerage.terms.values()]}


def balance(accounts: Accounts, account: str) -> dict[str, Any]:
    """Return the answer to `GET /v2/accounts/{id}/balance`: the amounts of an account."""
    return balance_object(accounts.figures(account))


def positions(accounts: Accounts, account: str) -> dict[str, Any]:
    """Return the answer to `GET /v1/accounts/{id}/positions`: the open positions of an account."""
    return {"positions": [position_object(account, holding) for holding in accounts.figures(account).positions]}


def active_orders(accounts: Accounts, account: str, *, limit: int = DEFAULT_ORDERS, cursor: int = 0) -> dict[str, Any]:
    """Return the answer to `GET /v2/accounts/{id}/orders`: at most `limit` working orders, newest first.

    `cursor` is `nextCursor` of the previous page, 0 for the first page.
    """
    return _page(accounts.brokerage.active_orders(account), limit, cursor)


def order_history(
    accounts: Accounts,
    account: str,
    *,
    start: float,
    end: float | None = None,
    limit: int = DEFAULT_ORDERS,
    cursor: int = 0,
) -> dict[str, Any]:
    """Return the answer to `GET /v2/accounts/{id}/orders/history`: ended orders, newest first, at most `limit`.

    They were placed from `start` to `end` (Unix s; None for no end). `cursor` is `nextCursor` of the previous page,
    0 for the first. Assumed: working orders are not listed.
    """
    ended = accounts.brokerage.finished_orders(account)
    return _page(
        [order for order in ended if start <= order.created and (end is None or order.created <= end)], limit, cursor
    )


def watchlists(accounts: Accounts) -> dict[str, Any]:
    """Return the answer to `GET /v1/config/watchlist`: all watchlists of the user."""
    return {"user_id": USER, "watchlist": [watchlist_object(each) for each in accounts.watchlists]}


def news(accounts: Accounts, *, symbols: Collection[str] = (), topics: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the objects of `GET /v1/news`: headlines about these symbols and topics, newest first, at most 50.

    An empty collection is no filter.
    """
    found = [headline for headline in accounts.headlines if matching(headline, symbols, topics)]
    return [news_object(headline) for headline in reversed(found[-MAX_NEWS:])]


def matching(headline: Headline, symbols: Collection[str], topics: Collection[str]) -> bool:
    """Return whether a headline has one of the symbols and one of the topics; an empty filter accepts all (assumed)."""
    return (not symbols or not set(symbols).isdisjoint(headline.symbols)) and (
        not topics or not set(topics).isdisjoint(headline.topics)
    )


# Objects, the same on the socket.


def account_object(terms: AccountTerms) -> dict[str, Any]:
    """Return an account as an object: an entry of `accounts[]` over HTTP, and the data of the event `account.info`.

    The latter is assumed.
    """
    return {
        "trading_account_id": terms.account,
        "broker_account_id": f"B-{terms.account}",
        "account_type": terms.kind,
        "account_class": "individual",
        "is_sim": True,
        "status": "active",
    }


def balance_object(figures: AccountFigures) -> dict[str, Any]:
    """Return an account's amounts as an object, the data of the event `account.balance`.

    `balance` is the equity (assumed); empty fields are absent.
    """
    cost = sum((holding.position.cost for holding in figures.positions), ZERO)
    gross = sum((abs(holding.market_value) for holding in figures.positions), ZERO)
    withdrawable = max(ZERO, min(figures.cash, figures.buying_power))
    amounts = {
        "balance": figures.equity,
        "cashBalance": figures.cash,
        "netBuyingPower": figures.buying_power,
        "stockBuyingPower": figures.buying_power,
        "optionBuyingPower": ZERO,
        "dayTradeBuyingPower": figures.buying_power,
        "openPnl": figures.unrealised,
        "unrealizedPl": figures.unrealised,
        "realizedPl": figures.realised,
        # The day begins with the simulation.
        "dayOpenPnl": figures.unrealised,
        "dayRealizedPnl": figures.realised,
        "dayTotalPnl": figures.unrealised + figures.realised,
        "settledFunds": figures.cash,
        "unsettledFunds": ZERO,
        "amountAvailableToWithdraw": withdrawable,
        "fundsAvailableForWithdrawal": withdrawable,
        "startOfDayCash": figures.starting_cash,
        "sodTtlEquity": figures.starting_equity,
        "sodPositionsMarketValue": figures.starting_equity - figures.starting_cash,
        "costOfPositions": cost,
        "grossMargin": gross,
        "pendingOrdersMarginRequirements": figures.pending_value,
    }
    texts = {name: decimal_text(amount) for name, amount in amounts.items()}
    return {"accountId": figures.account, **texts, "pendingOrdersCount": figures.pending_orders}


def position_object(account: str, holding: Holding) -> dict[str, Any]:
    """Return a position as an object, the data of the event `account.position`.

    A closed one has quantity zero, and no price, value or cost (Aries' protocol page §5.3).
    """
    position = holding.position
    worth = worth_of(position.symbol)
    made: dict[str, Any] = {
        "accountId": account,
        "symbol": position.symbol,
        "securityType": "OPTION" if parse_contract(position.symbol) else "EQUITY",
        "quantity": decimal_text(position.quantity),
        "averagePrice": decimal_text(worth.price(position.average_price)),
        "unrealizedPl": decimal_text(holding.unrealised),
        "todayPl": decimal_text(holding.unrealised + position.realised),
        "todayRealizedPnL": decimal_text(position.realised),
    }
    if holding.mark is not None:
        made["price"] = decimal_text(worth.price(holding.mark))
        made["marketValue"] = decimal_text(holding.market_value)
        made["costBasis"] = decimal_text(position.cost)
    if position.opened:
        made["createdAt"] = rfc3339(position.opened)
    return made


def order_object(order: Order) -> dict[str, Any]:
    """Return an order as an object, the data of the event `account.order` and an entry of HTTP answers.

    A price that the order does not have is "0".
    """
    worth, is_option = worth_of(order.symbol), parse_contract(order.symbol) is not None
    made: dict[str, Any] = {
        "accountId": order.account,
        "clientId": "",
        "clOrdId": order.id,
        "ordId": "" if order.status in ("pending_new", "rejected") else f"B-{order.number}",
        "symbol": order.symbol,
        "side": SHORT_SIDES[order.side] if order.is_short else order.side.upper(),
        "type": order.type.upper(),
        "timeInForce": "DAY",
        "category": "MULTI_LEG" if order.legs else "SINGLE_LEG" if is_option else "EQUITY",
        "securityType": "OPTION" if order.legs or is_option else "EQUITY",
        "qty": decimal_text(order.quantity),
        "cumQty": decimal_text(order.filled),
        "leavesQty": decimal_text(order.leaves),
        "price": decimal_text(worth.price(order.price or ZERO)),
        "stopPrice": decimal_text(worth.price(order.stop or ZERO)),
        "avgPrice": decimal_text(worth.price(order.average_price)),
        "ordStatus": order.status.upper(),
        "currency": "USD",
        "createdAt": rfc3339(order.created),
        "updatedAt": rfc3339(order.updated),
    }
    if order.legs:
        made["legs"] = [_leg_object(leg) for leg in order.legs]
    if order.replaces:
        made["origClOrdId"] = order.replaces
    if order.text:
        made["ordRejReason"] = made["text"] = order.text
    return made


def worth_of(symbol: str) -> Worth:
    """Return what one of a symbol costs: an option's contract is for 100 shares."""
    return Worth(CONTRACT) if parse_contract(symbol) else Worth()


def _leg_object(leg: Leg) -> dict[str, Any]:
    contract = parse_contract(leg.symbol)
    assert contract is not None, "legs are options"
    return {
        "symbol": leg.symbol,
        "side": leg.side.upper(),
        "ratioQty": "1",
        "positionEffect": "OPEN",
        "putCall": "CALL" if contract.right == "C" else "PUT",
        "strikePrice": f"{contract.strike:g}",
        "maturity": str(contract.expiry),
        "securityType": "OPTION",
        "avgPrice": decimal_text(worth_of(leg.symbol).price(leg.cost)),
    }


def candle_object(account: str, candle: Candle) -> dict[str, Any]:
    """Return a profit-and-loss candle as an object, the data of the event `pnl.data`.

    Its form is assumed (Aries' protocol page §5.4); `time` is its start in Unix ms.
    """
    return {
        "accountId": account,
        "interval": candle.interval,
        "time": candle.start * 1000,
        "open": float(candle.open),
        "high": float(candle.high),
        "low": float(candle.low),
        "close": float(candle.close),
    }


def watchlist_object(watchlist: Watchlist) -> dict[str, Any]:
    """Return a watchlist as a JSON object for WebSocket and HTTP; its form is assumed for the WebSocket."""
    return {"id": watchlist.number, "name": watchlist.name, "symbols": list(watchlist.symbols)}


def news_object(headline: Headline) -> dict[str, Any]:
    """Return a headline as a JSON object for WebSocket and HTTP; its form is assumed for the WebSocket."""
    return {
        "id": headline.number,
        "title": headline.title,
        "body": headline.body,
        "authors": list(headline.authors),
        "symbols": list(headline.symbols),
        "news_type": headline.type,
        "timestamp": rfc3339(headline.time),
        "action": "created",
    }


def decimal_text(number: Decimal) -> str:
    """Return a decimal number as text in plain digits, never with an exponent."""
    return f"{number:f}"


def _page(orders: Iterable[Order], limit: int, cursor: int) -> dict[str, Any]:
    """Return the answer with one page of orders, newest first, at most `limit`, and `nextCursor` for the page after it.

    `cursor` is the number of the last order of the page before, 0 for the first page: new orders shift no page. Without
    an order `orders` is None; on the last page `nextCursor` is 0.
    """
    left = sorted((order for order in orders if not cursor or order.number < cursor), key=lambda each: -each.number)
    shown = left[: max(1, min(limit, MAX_ORDERS))]
    return {
        "orders": [order_object(order) for order in shown] or None,
        "nextCursor": shown[-1].number if len(left) > len(shown) else 0,
    }
