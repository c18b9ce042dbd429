"""Market data of the simulated ALOR over HTTP: bars, books, quotes, instruments and public trades.

Source: ALOR's protocol page §13. Objects are those of the subscriptions, in the requested format; instruments have the
field names of the Simple format in every format, since the page documents no others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from aries_nb.sim.alor import market_objects as objects
from aries_nb.sim.alor.bars import LATEST, bar_start, read_timeframe
from aries_nb.sim.alor.instruments import EXCHANGES
from aries_nb.sim.alor.messages import FORMATS, renamed
from aries_nb.sim.alor.prints import MOST_PRINTS, first_past_number, past_prints
from aries_nb.sim.http_answers import HttpError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aries_nb.sim.alor.bars import Bar
    from aries_nb.sim.alor.feed import AlorFeed
    from aries_nb.sim.alor.instruments import Security
    from aries_nb.sim.alor.messages import Format
    from aries_nb.sim.alor.prints import Print
    from aries_nb.sim.http_answers import Query

__all__ = ["MarketRoutes", "read_format", "read_side"]

Values = dict[str, Any]

DAY = 86_400
#: Time in which the bars before and after a range are searched, and step in which `countBack` reaches back.
REACH_SECONDS = 10 * DAY
ENDLESS = 10**15
MOST_BARS_BACK = 50_000
SEARCHED, MOST_SEARCHED = 25, 1000
MOST_PAST_PRINTS = 50_000
MARKETS = ("FORTS", "FOND", "CURR", "SPBX")


class MarketRoutes:
    """Answers HTTP requests for market data from the present state of the simulated market and its history.

    `now` is Unix time in s in all methods. `what` are the parts of the path below `/md/v2`.
    """

    def __init__(self, feed: AlorFeed) -> None:
        self._feed = feed
        self._prepared: dict[tuple[object, ...], Values] = {}  # prepared, but not yet collected by `answer`

    def prepare(self, what: list[str], query: Query) -> None:
        """Compute slow answers, those about the past, and store them for the next `answer`; any thread.

        `what` are the parts of the path below `/md/v2`. Wrong requests are ignored here: `answer` reports them.
        """
        try:
            match what:
                case ["history"] if str(read_timeframe(query.text("tf"))) in "DWMY":
                    self._feed.history.prepare_days(query.text("symbol"))
                case ["securities", exchange, symbol, "alltrades", "history"]:
                    security = self._security(exchange, symbol, query)
                    self._prepared[_key(security, query)] = self._past_trades(security, query)
        except HttpError:
            return

    def answer(self, what: list[str], query: Query, now: float) -> object:
        """Return the JSON value that answers a request below `/md/v2`. Raises HttpError for an invalid one.

        `what` are the parts of the path below that, `now` is in Unix s.
        """
        match what:
            case ["history"]:
                return self._bars(query)
            case ["orderbooks", exchange, symbol]:
                return self._book(self._security(exchange, symbol, query), query, now)
            case ["securities"]:
                return self._search(query)
            case ["securities", codes, "quotes"]:
                return [self._quote(*_split(code), query, now) for code in codes.split(",")]
            case ["securities", exchange] if exchange.upper() in EXCHANGES:
                return self._listed(exchange.upper(), query)
            case ["securities", exchange, symbol]:
                return self._instrument(self._security(exchange, symbol, query))
            case ["securities", exchange, symbol, "availableboards"]:
                return list(self._security(exchange, symbol, query).boards)
            case ["securities", exchange, symbol, "alltrades"]:
                return self._session_trades(self._security(exchange, symbol, query), query)
            case ["securities", exchange, symbol, "alltrades", "history"]:
                security = self._security(exchange, symbol, query)
                return self._prepared.pop(_key(security, query), None) or self._past_trades(security, query)
        raise HttpError(404, "unknown path")

    def _bars(self, query: Query) -> Values:
        """Return the answer with the bars that start between the query parameters `from` and `to`.

        That both are included is assumed. Its fields `prev` and `next` are the starts (Unix s) of the bars
        before and after these, None if there is none.
        """
        security = self._security(query.text("exchange"), query.text("symbol"), query)
        timeframe, form = read_timeframe(query.text("tf")), read_format(query)
        if timeframe is None:
            raise HttpError(400, "unknown tf")
        first, last = (min(query.integer(name, -ENDLESS, ENDLESS), LATEST) for name in ("from", "to"))
        bars = list(self._feed.bars.of(security, timeframe, first, last + 1))
        wanted = query.integer("countBack", 0, MOST_BARS_BACK, 0)
        if len(bars) < wanted:
            bars = self._counted_back(security, timeframe, last, wanted)
            first = min(first, bars[0][0]) if bars else first
        following = next(self._feed.bars.of(security, timeframe, last + 1), None)
        earlier = self._before(security, timeframe, first)
        return {
            "history": [renamed(objects.BAR, form, objects.bar_values(bar)) for bar in bars],
            "next": following[0] if following else None,
            "prev": earlier[-1][0] if earlier else None,
        }

    def _counted_back(self, security: Security, timeframe: str, last: int, wanted: int) -> list[Bar]:
        """Return the last `wanted` bars that start at or before `last` (Unix s), oldest first.

        Fewer if there are no more.
        """
        reach = REACH_SECONDS
        while True:
            bars = list(self._feed.bars.of(security, timeframe, last - reach, last + 1))
            if len(bars) >= wanted or reach > 2000 * DAY:
                return bars[-wanted:]
            reach *= 4

    def _before(self, security: Security, timeframe: str, first: int) -> list[Bar]:
        reach = math.inf if timeframe in "DWMY" else REACH_SECONDS
        since = bar_start(timeframe, first - reach) if reach < math.inf else -math.inf
        return list(self._feed.bars.of(security, timeframe, since, first))

    def _book(self, security: Security, query: Query, now: float) -> Values:
        depth = query.integer("depth", 1, 50, 20)
        bids, asks, stamp = self._feed.channel(security).book_levels(depth, round(now * 1000))
        return objects.book_object(bids, asks, stamp, read_format(query), is_existing=True)

    def _quote(self, exchange: str, symbol: str, query: Query, now: float) -> Values:
        security = self._security(exchange, symbol, query)
        values = self._feed.channel(security).quote_values(round(now * 1000))
        return renamed(objects.QUOTE, read_format(query), values)

    def _search(self, query: Query) -> list[Values]:
        text, exchange = query.text("query", " ").strip().upper(), query.text("exchange", " ").strip().upper()
        board, code = query.text("instrumentGroup", " ").strip(), query.text("cficode", " ").strip().upper()
        found = [
            security
            for security in self._feed.securities()
            if (text in security.symbol.upper() or text in security.description.upper())
            and exchange in ("", security.exchange)
            and (not board or board in security.boards)
            and security.cfi.startswith(code)
        ]
        return self._page(found, query, SEARCHED)

    def _listed(self, exchange: str, query: Query) -> list[Values]:
        markets = [query.choice("market", MARKETS)] if "market" in query.values else MARKETS
        found = [each for each in self._feed.securities() if each.exchange == exchange and each.market in markets]
        return self._page(found, query, MOST_SEARCHED)

    def _page(self, found: list[Security], query: Query, usual: int) -> list[Values]:
        start = query.integer("offset", 0, 10**9, 0)
        count = query.integer("limit", 1, MOST_SEARCHED, usual)
        read_format(query)
        return [self._instrument(security) for security in found[start : start + count]]

    def _instrument(self, security: Security) -> Values:
        state = self._feed.channel(security).instrument_values()
        return {
            "symbol": security.symbol,
            "shortname": security.description,
            "description": security.kind if security.is_future else security.description,
            "exchange": security.exchange,
            "market": security.market,
            "type": security.kind,
            "lotsize": security.lot,
            "facevalue": security.face_value,
            "cfiCode": security.cfi,
            "cancellation": f"{security.expires}T23:59:59.9999999" if security.expires else None,
            "minstep": security.step,
            "rating": 100,
            "marginbuy": state.get("marginBuy", 0),
            "marginsell": state.get("marginSell", 0),
            "marginrate": 0,
            "pricestep": security.step_value if security.is_future else security.step,
            "priceMax": state.get("priceMax", 0),
            "priceMin": state.get("priceMin", 0),
            "theorPrice": 0,
            "theorPriceLimit": 0,
            "volatility": 0,
            "currency": security.currency,
            "ISIN": security.isin or None,
            "yield": None,
            "board": security.board,
            "primary_board": security.board,
            "tradingStatus": state["tradingStatus"],
            "tradingStatusInfo": state["tradingStatusInfo"],
            "complexProductCategory": "",
            "priceMultiplier": 1,
            "priceShownUnits": 1,
        }

    def _session_trades(self, security: Security, query: Query) -> list[Values]:
        """Return an instrument's retained public trades since the server's start.

        The query parameters filter them, select a page and set the order, oldest first by default.
        """
        start, take = query.integer("offset", 0, 10**9, 0), query.integer("take", 1, MOST_PRINTS, MOST_PRINTS)
        is_newest_first = query.flag("descending", default=False)
        side = read_side(query)
        bounds: dict[str, tuple[float | None, ...]] = {
            "ts_ns": _span(query),
            "number": _numbers(query, "fromId", "toId"),
            "size": _bounds(query, "qtyFrom", "qtyTo"),
            "price": _bounds(query, "priceFrom", "priceTo"),
        }
        prints = self._feed.channel(security).prints.columns().filtered(bounds, None if side == "any" else side)
        return _formatted(security, prints.prints(start, take, is_newest_first=is_newest_first), read_format(query))

    def _past_trades(self, security: Security, query: Query) -> Values:
        """Return a page of an instrument's public trades of the sessions before the server's start, with the total.

        The query parameters `from`, `to`, `limit` and `offset` select them.
        """
        most, skipped = query.integer("limit", 1, MOST_PAST_PRINTS), query.integer("offset", 0, 10**9, 0)
        form, (first, last) = read_format(query), _span(query)
        if security.is_recorded:
            return {"total": 0, "list": []}
        span = (0 if first is None else first, LATEST * objects.NS_PER_S if last is None else last)
        total, places, trades = self._feed.history.past_trades(security.symbol, span, skipped, most)
        prints = past_prints(first_past_number(security.exchange, security.symbol), places, trades, security.lot)
        return {"total": total, "list": _formatted(security, prints.prints(0, most), form)}

    def _security(self, exchange: str, symbol: str, query: Query) -> Security:
        board = query.values.get("instrumentGroup", "").strip()
        found = self._feed.security(exchange.upper(), symbol, board) if exchange.upper() in EXCHANGES else None
        if found is None:
            raise HttpError(404, f"Instrument '{exchange[:100]}:{symbol[:100]}' is not found")
        return found


def read_format(query: Query) -> Format:
    """Return the format of objects that the query parameter "format" names, "simple" by default.

    Raises HttpError (400) for an unknown one.
    """
    value = query.text("format", "simple").lower()
    for form in FORMATS:
        if value == form:
            return form
    raise HttpError(400, f"unknown format, use one of {', '.join(FORMATS)}")


def read_side(query: Query) -> str:
    """Return the query parameter "side", which is "buy", "sell" or "any" in any case; "any" if it is absent.

    Raises HttpError (422) for any other value.
    """
    side = query.text("side", "any").lower()
    if side not in ("buy", "sell", "any"):
        raise HttpError(422, "side must be one of buy, sell, any", "side")
    return side


def _bounds(query: Query, low: str, high: str) -> tuple[float | None, float | None]:
    return query.number(low), query.number(high)


def _numbers(query: Query, *names: str) -> tuple[int | None, ...]:
    """Return the whole numbers in the query parameters `names`, None for an absent one.

    Trade numbers are not exact as floats.
    """
    return tuple(query.integer(name, 0, 2**63 - 1) if name in query.values else None for name in names)


def _span(query: Query) -> tuple[int | None, int | None]:
    """Return the query parameters `from` and `to`, times in Unix s, in Unix ns; None for an absent one."""
    first, last = _bounds(query, "from", "to")
    return _ns(first), _ns(last)


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(min(max(seconds, 0), LATEST) * objects.NS_PER_S)


def _formatted(security: Security, prints: Iterable[Print], form: Format) -> list[Values]:
    values = (objects.trade_values(security, each, is_existing=True) for each in prints)
    return [renamed(objects.TRADE, form, each) for each in values]


def _key(security: Security, query: Query) -> tuple[object, ...]:
    return security.exchange, security.symbol, tuple(query.values.items())


def _split(code: str) -> tuple[str, str]:
    exchange, colon, symbol = code.partition(":")
    if not colon:
        raise HttpError(400, "instruments must be EXCHANGE:SYMBOL")
    return exchange, symbol
