"""HTTP routes of the simulated Aries market: details, chart symbols, searches, hours, options with Greeks.

Source: Aries' protocol page §7. Assumed, since the page leaves them open: names of instruments, `tag`, the time of a
quote (now), open interest (random) and the paging of a chain (`next` counts rows).
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

from aries_nb.sim.aries.charts import chart_values
from aries_nb.sim.aries.http_bars import RESOLUTIONS, TICK_SIZES
from aries_nb.sim.aries.messages import rfc3339
from aries_nb.sim.http_answers import HttpError
from aries_nb.sim.market.history import NEW_YORK
from aries_nb.sim.market.instruments import INDICES
from aries_nb.sim.market.listings import EquityListing, IndexListing, OptionListing
from aries_nb.sim.market.options import Contract

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from aries_nb.sim.aries.feed import AriesFeed
    from aries_nb.sim.http_answers import Query
    from aries_nb.sim.market.history import History
    from aries_nb.sim.market.listings import Listing

__all__ = ["MarketRoutes"]

Data = dict[str, Any]
Right = Literal["C", "P"]

#: Assumed: the page gives no limit for lists of symbols.
MOST_SYMBOLS = 100
#: Protocol page §7.
SEARCHED, MOST_SEARCHED, MOST_CONTRACTS = 20, 100, 250
CONTRACTS = 100
TICKS = {"buy": 1, "sell": -1, "unknown": 0}
EXCHANGES = {"Q": "NASDAQ", "N": "NYSE", "P": "ARCA"}
TYPES: dict[str, Right] = {"call": "C", "put": "P"}
#: Suffixes of the chain's filters.
FILTERS = ("", "Gte", "Gt", "Lte", "Lt")


class MarketRoutes:
    """Answers HTTP requests from the present state of the simulated market. `now` is Unix time in s.

    A share fed by a recording, and its options, are treated like unknown symbols, as their prices are only in the
    recording: status 404, or an error entry where several symbols are requested; searches leave them out.
    """

    def __init__(self, feed: AriesFeed, history: History) -> None:
        self._feed = feed
        self._history = history

    def is_known(self, symbol: str) -> bool:
        """Return whether the symbol is a share, index or option, and not a recorded share or one of its options."""
        return self._listing(symbol) is not None

    def equities(self, query: Query, now: float) -> Data:
        """Return the present quotes and figures of the day of the shares in the query parameter `symbols`.

        Unknown symbols are listed under `errors`.
        """
        return self._details(query, now, EquityListing, "equity", self._equity)

    def options(self, query: Query, now: float) -> Data:
        """Return the present quotes of the options in the query parameter `symbols`.

        Unknown ones are listed under `errors`.
        """
        return self._details(query, now, OptionListing, "option", self._option)

    def quotes(self, query: Query, now: float) -> Data:  # noqa: ARG002 - signature of all routes
        """Return the quotes of the symbols in the query parameter `symbols`, in TradingView's form.

        Over HTTP `s` is the symbol and `n` the name, here the symbol as well; for an unknown symbol `s` is
        "error" (Aries' protocol page §8, D15: on the WebSocket `s` is a status and `n` the symbol).
        """
        found = []
        for symbol in query.symbols(MOST_SYMBOLS):
            listing = self._listing(symbol)
            if listing is None:
                found.append({"s": "error", "n": symbol, "v": {}})
            else:
                found.append({"s": symbol, "n": symbol, "v": {**chart_values(listing), "description": _name(listing)}})
        return {"s": "ok", "d": found}

    def config(self, query: Query, now: float) -> Data:  # noqa: ARG002 - signature of all routes
        """Return the capabilities of the chart routes, such as the bars' resolutions, in TradingView's form."""
        return {
            **_capabilities(),
            "supports_group_request": False,
            "supports_marks": False,
            "supports_search": True,
            "supports_time": True,
            "supports_timescale_marks": False,
        }

    def symbol(self, query: Query, now: float) -> Data:  # noqa: ARG002 - signature of all routes
        """Return the description of the parameter `symbol` in TradingView's form.

        Raises HttpError (404) for an unknown one.
        """
        listing = self._listing(query.text("symbol"))
        if listing is None:
            raise HttpError(404, "unknown symbol", "symbol")
        return {
            "name": listing.symbol,
            "ticker": listing.symbol,
            "description": _name(listing),
            "type": _type(listing),
            "exchange": _exchange(listing),
            "listed_exchange": _exchange(listing),
            "session": "0930-1600",
            "timezone": str(NEW_YORK),
            "minmov": 1,
            "pricescale": 100,
            **_capabilities(),
            "has_seconds": False,
            "has_ticks": True,
            "format": "price",
            "visible_plots_set": "ohlcv",
            "volume_precision": 0,
            "subsession_id": "",
            "subsessions": None,
        }

    def chart_search(self, query: Query, now: float) -> list[Data]:  # noqa: ARG002 - signature of all routes
        """Return the instruments that match the query parameter `query`, in TradingView's form."""
        return [
            {
                "symbol": listing.symbol,
                "full_name": listing.symbol,
                "ticker": listing.symbol,
                "description": _name(listing),
                "exchange": _exchange(listing),
                "type": _type(listing),
            }
            for listing in self._search(query)
        ]

    def search(self, query: Query, now: float) -> list[Data]:  # noqa: ARG002 - signature of all routes
        """Return the instruments that match the query parameter `query`, in the broker's own form.

        Text finds shares and indices; after a leading `.` it finds options; after `/` futures, of which there
        are none.
        """
        return [
            {
                "symbol": listing.symbol,
                "description": _name(listing),
                "tag": _exchange(listing),
                "type": _type(listing),
            }
            for listing in self._search(query)
        ]

    def status(self, query: Query, now: float) -> Data:
        """Return whether the simulated market is open, which does not depend on the time of day.

        A dict in the broker's form; its `timestamp` is in Unix s (assumed).
        """
        hours = self._feed.hours()
        is_open = hours.market == "open"
        session = "pre-market" if hours.early_hours else "after-hours" if hours.after_hours else "regular"
        return {
            "exchange": query.choice("exchange", ("US",), "US"),
            "isOpen": is_open,
            "session": session if is_open or session != "regular" else "",
            "timestamp": int(now),
            "timezone": str(NEW_YORK),
        }

    def listed_options(self, path: str) -> Data:
        """Return expiry dates or contracts of options, as the WebSocket does (Aries' protocol page §3.5).

        Raises HttpError (404) for an unknown path or a share without options.
        """
        answer = self._feed.answer("GET", path)
        if answer["status"] != 200:
            raise HttpError(answer["status"], answer["error"])
        body: Data = answer["body"]
        return body

    def chain(self, root: str, query: Query, now: float) -> Data:
        """Return the option contracts of the share `root` with quotes and Greeks, by expiry, strike and type.

        At most as many as the parameter `limit` says (100 by default); `next` in the answer is the parameter of
        the next page, absent on the last. Raises HttpError (404) if `root` is no share with options.
        """
        share = self._listing(root)
        if not isinstance(share, EquityListing):
            raise HttpError(404, f"no options of {root[:100]}")
        kinds = [TYPES[query.choice("contractType", TYPES)]] if "contractType" in query.values else [*TYPES.values()]
        limit = query.integer("limit", 1, MOST_CONTRACTS, CONTRACTS)
        offset = query.integer("next", 0, 10**9, 0)
        is_backwards = query.choice("order", ("asc", "desc"), "asc") == "desc"
        market = self._feed.market
        contracts = [
            Contract(root, expiry, right, strike)
            for expiry in market.expiries(root)
            if _passes(query, "expirationDate", expiry)
            for strike in market.strikes(root)
            if _passes(query, "strikePrice", strike)
            for right in kinds
        ]
        page = contracts[:: -1 if is_backwards else 1][offset : offset + limit]
        listings = (market.listing(contract.symbol) for contract in page)
        rows = [self._row(listing, now) for listing in listings if isinstance(listing, OptionListing)]
        answer: Data = {"status": "OK", "results": rows}
        if offset + limit < len(contracts):
            answer["next"] = str(offset + limit)
            parameters = urlencode({**query.values, "next": answer["next"]})
            answer["nextUrl"] = f"/v1/options/snapshot/chain/{quote(root)}?{parameters}"
        return answer

    def _listing(self, symbol: str) -> Listing | None:
        listing = self._feed.market.listing(symbol)
        root = listing.contract.root if isinstance(listing, OptionListing) else symbol
        # Every share has options, except recorded ones.
        if (
            isinstance(listing, IndexListing)
            or self._feed.answer("GET", f"/options/{quote(root)}/expiry-dates")["status"] == 200
        ):
            return listing
        return None

    def _details(
        self, query: Query, now: float, kind: type[Listing], name: str, details: Callable[[Any, float], Data]
    ) -> Data:
        data, errors = [], []
        for symbol in query.symbols(MOST_SYMBOLS):
            listing = self._listing(symbol)
            if isinstance(listing, kind):
                data.append(details(listing, now))
            else:
                errors.append({"symbol": symbol, "error": f"unknown {name}"})
        return {"data": data, "errors": errors}

    def _equity(self, share: EquityListing, now: float) -> Data:
        bid, bid_size, ask, ask_size, bid_venue, ask_venue = share.quote()
        last, close = share.last, share.previous_close
        traded = self._history.log.last(share.symbol)
        return {
            "symbol": share.symbol,
            "name": _name(share),
            "bidPrice": bid,
            "bidSize": bid_size,
            "bidExchange": bid_venue,
            "askPrice": ask,
            "askSize": ask_size,
            "askExchange": ask_venue,
            "midPrice": round((bid + ask) / 2, 4),
            "spread": round(ask - bid, 4),
            "lastPrice": last.price,
            "price": last.price,
            "size": last.size,
            "openPrice": share.open,
            "highPrice": share.high,
            "lowPrice": share.low,
            "closePrice": close,
            "netChange": round(last.price - close, 2),
            "totalVolume": share.volume,
            "tradeSeq": last.number,
            "tick": TICKS[last.side],
            "tradeTimestamp": rfc3339(self._history.start if traded is None else traded),
            "quoteTimestamp": rfc3339(now),
            "high52WeekPrice": round(max(share.high, 1.28 * close), 2),
            "low52WeekPrice": round(min(share.low, 0.71 * close), 2),
            "isETF": share.equity.venue == "P",
            "hasOptions": True,
        }

    def _option(self, option: OptionListing, now: float) -> Data:  # noqa: ARG002 - signature of `_equity`
        state = option.quote()
        return {
            "symbol": option.symbol,
            "bidPrice": state.bid_price,
            "askPrice": state.ask_price,
            "midPrice": round((state.bid_price + state.ask_price) / 2, 4),
            "lastPrice": option.last.price,
            "closePrice": option.previous_close,
        }

    def _row(self, option: OptionListing, now: float) -> Data:
        contract, greeks, state, last = option.contract, option.greeks(), option.quote(), option.last
        change = last.price - option.previous_close
        ns = int(now * 1e9)
        return {
            "details": {
                "ticker": option.symbol,
                "contractType": "call" if contract.right == "C" else "put",
                "exerciseStyle": "american",
                "strikePrice": contract.strike,
                "expirationDate": str(contract.expiry),
                "sharesPerContract": 100,
            },
            "greeks": {name: round(getattr(greeks, name), 6) for name in ("delta", "gamma", "theta", "vega")},
            "impliedVolatility": round(option.volatility, 6),
            "openInterest": Random(option.symbol).randrange(10, 20_000),
            "lastQuote": {
                "bid": state.bid_price,
                "bidSize": state.bid_size,
                "ask": state.ask_price,
                "askSize": state.ask_size,
                "midpoint": round((state.bid_price + state.ask_price) / 2, 4),
                "lastUpdated": ns,
            },
            "lastTrade": {"price": last.price, "size": last.size, "sipTimestamp": ns},
            "day": {
                "open": option.open,
                "high": option.high,
                "low": option.low,
                "close": last.price,
                "volume": option.volume,
                "previousClose": option.previous_close,
                "change": round(change, 2),
                "changePercent": round(100 * change / option.previous_close, 2),
                "lastUpdated": ns,
            },
            "underlyingAsset": {"ticker": contract.root, "price": option.share.last.price, "lastUpdated": ns},
        }

    def _search(self, query: Query) -> list[Listing]:
        limit = query.integer("limit", 1, MOST_SEARCHED, SEARCHED)
        text = query.text("query").upper()
        market = self._feed.market
        if text.startswith("/"):
            return []
        if text.startswith("."):
            symbols = self._contracts(text[1:], limit)
        else:
            symbols = sorted((name for name in (*market.shares, *INDICES) if text in name), key=lambda s: (len(s), s))
        found = (self._listing(symbol) for symbol in symbols)
        return [listing for listing in found if listing is not None][:limit]

    def _contracts(self, text: str, limit: int) -> list[str]:
        market, found = self._feed.market, list[str]()
        for root in market.shares:
            if root.startswith(text) or text.startswith(root):
                for expiry in market.expiries(root):
                    for strike in market.strikes(root):
                        contracts = (Contract(root, expiry, right, strike).symbol for right in TYPES.values())
                        found += (symbol for symbol in contracts if symbol.startswith(text))
                        if len(found) >= limit:
                            return found
        return found


def _capabilities() -> Data:
    return {
        "supported_resolutions": [*TICK_SIZES, *RESOLUTIONS],
        "intraday_multipliers": [name for name in RESOLUTIONS if name.isdecimal()],
        "daily_multipliers": ["1"],
        "weekly_multipliers": ["1"],
        "monthly_multipliers": ["1", "3", "6", "12"],
        "has_intraday": True,
        "has_daily": True,
        "has_weekly_and_monthly": True,
    }


def _name(listing: Listing) -> str:
    return f"{listing.symbol} (simulated)"


def _type(listing: Listing) -> str:
    return {EquityListing: "stock", IndexListing: "index", OptionListing: "option"}[type(listing)]


def _exchange(listing: Listing) -> str:
    if isinstance(listing, EquityListing):
        return EXCHANGES[listing.equity.venue]
    return "OPRA" if isinstance(listing, OptionListing) else "INDEX"


def _passes(query: Query, name: str, value: float | date) -> bool:
    """Return whether a strike or an expiry passes all filter parameters of its name, such as `strikePriceGte`."""
    for suffix in FILTERS:
        asked: Any = (
            query.number(f"{name}{suffix}") if isinstance(value, float) else query.values.get(f"{name}{suffix}")
        )
        if asked is None:
            continue
        shown: Any = value if isinstance(value, float) else str(value)
        results = {"": shown == asked, "Gte": shown >= asked, "Gt": shown > asked, "Lte": shown <= asked}
        if not results.get(suffix, shown < asked):
            return False
    return True
