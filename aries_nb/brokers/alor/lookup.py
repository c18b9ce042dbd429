"""Look-ups at ALOR over HTTP: quotes, instruments, trades, books, server time, without I/O (ALOR protocol page §13)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, get_args

from aries_nb.brokers.alor.books import MOST_LEVELS
from aries_nb.brokers.alor.fields import (
    DEFAULT_EXCHANGE,
    MARKET_FIELDS,
    MessageField,
    column_types,
    fields_from,
    instrument_of,
    symbol_of,
)
from aries_nb.brokers.alor.messages import book_from, value_from
from aries_nb.brokers.parsing import json_value, nanoseconds, path_segment
from aries_nb.brokers.protocol import Argument, LookupPage, LookupTopic, LookupType, LookupValue, Query
from aries_nb.errors import UsageError
from aries_nb.model import NOT_A_TIME, Side

__all__ = ["AlorLookup"]

SYMBOLS_PER_CALL = 100  # assumed: the page names no limit
MOST_FOUND = 1_000
LISTED_PER_CALL = 1_000  # assumed: the page names no limit
TRADES_PER_CALL = 5_000  # assumed: that of the socket
PAST_TRADES_PER_CALL = 50_000
_SECURITIES = "/md/v2/Securities"
_INSTRUMENT = fields_from(  # §13, in the Simple format
    {
        "symbol": "symbol",
        "name": "shortname",
        "description": "description",
        "exchange": "exchange",
        "board": "board",
        "primary_board": "primary_board",
        "market": "market",
        "type": "type",
        "currency": "currency",
        "isin": "ISIN",
        "cfi_code": "cfiCode",
        "lot_size": "lotsize",
        "face_value": "facevalue",
        "minimum_movement": "minstep",
        "price_step_value": "pricestep",
        "price_min": "priceMin",
        "price_max": "priceMax",
        "margin_buy": "marginbuy",
        "margin_sell": "marginsell",
        "trading_status": "tradingStatus",
        "status_text": "tradingStatusInfo",
        "expires": "cancellation",
    },
    {
        **dict.fromkeys(("symbol", "name", "description", "exchange", "board", "primary_board", "market"), "text"),
        **dict.fromkeys(("type", "currency", "isin", "cfi_code", "status_text"), "text"),
        "trading_status": "integer",
        "expires": "iso",
    },
    "number",
)
_SEARCH = {name: _INSTRUMENT[name] for name in ("symbol", "description", "type", "exchange", "name", "board")}
_QUOTES = {"symbol": MessageField("text", {"heavy": ("symbol",)}), **MARKET_FIELDS["quotes"]}
_TRADE = {
    "ts": MessageField("millis", {"simple": ("timestamp", "time")}),
    **{name: MARKET_FIELDS["trades"][name] for name in ("price", "size", "side", "trade_id", "venue")},
}
_BOOK: Mapping[str, LookupType] = {
    "ts": "time",
    "side": "text",
    "level": "integer",
    "price": "number",
    "size": "number",
}
_TIME: Mapping[str, LookupType] = {"ts": "time", "resolution_s": "number"}
_Params: TypeAlias = tuple[tuple[str, str], ...]
_BLANK: Mapping[str, LookupValue] = {"text": "", "number": math.nan, "integer": 0, "time": NOT_A_TIME}


class AlorLookup:
    """HTTP calls for look-ups, without I/O. Implements `Lookup`; `exchange` is the default for symbols without one."""

    def __init__(self, *, exchange: str = DEFAULT_EXCHANGE) -> None:
        self._exchange = exchange

    def topics(self) -> frozenset[LookupTopic]:
        """Return the topics that ALOR has. The rows of "details" have the same columns as those of "quotes"."""
        of_one: tuple[LookupTopic, ...] = ("instrument", "boards", "trades", "book")
        return frozenset((*of_one, "details", "quotes", "search", "instruments", "server_time", "health"))

    def queries(self, topic: LookupTopic, arguments: Mapping[str, Argument]) -> Sequence[Query]:
        """Return the calls for a topic, whose `arguments` by name are listed at `LookupTopic`.

        Raises UsageError for a topic that ALOR does not have, and for an argument that it cannot take. Returns [] for
        "details" and "quotes" without symbols.
        """
        match topic:
            case "details" | "quotes":
                names = arguments.get("symbols")
                codes = [self._code(name) for name in names] if isinstance(names, tuple) else []
                starts = range(0, len(codes), SYMBOLS_PER_CALL)
                return [self._quotes(codes[start : start + SYMBOLS_PER_CALL]) for start in starts]
            case "search":
                text, limit = str(arguments.get("text", "")), arguments.get("limit")
                if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_FOUND:
                    advice = f"Pass a whole number from 1 to {MOST_FOUND:,}."
                    raise UsageError(f"limit={limit!r} cannot be", where="ALOR", advice=advice)
                params = (("query", text), ("limit", str(limit)), ("format", "Simple"))
                return [Query(_SECURITIES, params)]
            case "instruments":
                return [self._listed(arguments)]
            case "instrument" | "boards" | "trades" | "book":
                return list(self._of_one(topic, arguments))
            case "server_time" | "health":
                return [Query("/md/v2/time")]
            case _:
                raise UsageError(f"there is no {topic} to look up", where="ALOR", advice="Ask the streams instead.")

    def read(self, topic: LookupTopic, query: Query, body: bytes) -> LookupPage:
        """Return the rows in `body`, the answer to `query`, for a topic.

        Raises ValueError for an answer that cannot be used. A quote of the default exchange comes twice, under its
        symbol with and without the exchange, as a user may write either. The page of "health" is empty.
        """
        answer = json_value(body)
        if topic == "health":
            return LookupPage({}, [])
        if topic == "server_time":
            ts = nanoseconds(answer)
            if ts is None:
                raise ValueError("the answer is no time")
            return LookupPage(_TIME, [(ts, 1.0)])
        if not isinstance(answer, list | dict):
            raise ValueError("the answer is neither an object nor a list")  # noqa: TRY004 - a bad answer, not a bad call
        if topic == "boards":
            return LookupPage({"board": "text"}, [(each,) for each in answer if isinstance(each, str) and each.strip()])
        if topic == "book":
            return _levels(answer, body)
        if topic == "trades":
            return _prints(answer, query)
        items = [item for item in (answer if isinstance(answer, list) else [answer]) if isinstance(item, dict)]
        if topic in ("details", "quotes"):
            found = self._page(_QUOTES, items, "heavy")
            # A user may or may not have named the default exchange: a row is found under both names.
            place, usual = list(found.columns).index("exchange"), self._exchange
            twice = [(f"{usual}:{row[0]}", *row[1:]) for row in found.rows if row[place] == usual]
            return found._replace(rows=[*found.rows, *twice])
        found = self._page(_SEARCH if topic == "search" else _INSTRUMENT, items, "simple")
        return found._replace(following=_next_page(query, len(items)) if topic == "instruments" else None)

    def _listed(self, arguments: Mapping[str, Argument]) -> Query:
        exchange = str(arguments.get("exchange") or self._exchange).upper()
        market = arguments.get("market")
        which = (("market", str(market)),) if market is not None else ()
        pages = (("limit", str(LISTED_PER_CALL)), ("offset", "0"))
        return Query(f"{_SECURITIES}/{path_segment(exchange)}", (*which, *pages, ("format", "Simple")))

    def _of_one(self, topic: LookupTopic, arguments: Mapping[str, Argument]) -> Iterator[Query]:
        """Yield the calls of a topic about one instrument, on the board that its symbol names.

        The topic is "instrument", "boards", "book" or "trades"; `arguments` has "symbol", for a book "depth" too, and
        those of `_trade_calls`. Raises UsageError for a depth that is no whole number from 1 to 50.
        """
        exchange, code, board = instrument_of(str(arguments.get("symbol", "")), self._exchange)
        place = f"{path_segment(exchange)}/{path_segment(code)}"
        shared = (*((("instrumentGroup", board),) if board else ()), ("format", "Simple"))
        if topic == "instrument":
            yield Query(f"{_SECURITIES}/{place}", shared)
        elif topic == "boards":
            yield Query(f"{_SECURITIES}/{place}/availableBoards")
        elif topic == "book":
            depth = arguments.get("depth")
            if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= MOST_LEVELS:
                advice = f"Pass a whole number from 1 to {MOST_LEVELS}."
                raise UsageError(f"depth={depth!r} cannot be", where="ALOR", advice=advice)
            yield Query(f"/md/v2/orderbooks/{place}", (("depth", str(depth)), *shared))
        else:
            yield from _trade_calls(f"{_SECURITIES}/{place}/alltrades", shared, arguments)

    def _code(self, symbol: str) -> str:
        exchange, code, board = instrument_of(symbol, self._exchange)
        if board or "," in symbol:
            raise UsageError(f"no quote of {symbol!r}", where="ALOR", advice="Name the instrument without a board.")
        return f"{path_segment(exchange)}:{path_segment(code)}"

    def _quotes(self, codes: Sequence[str]) -> Query:
        return Query(f"{_SECURITIES}/{','.join(codes)}/quotes", (("format", "Heavy"),))

    def _page(self, fields: Mapping[str, MessageField], items: Sequence[Mapping[str, Any]], form: Any) -> LookupPage:  # noqa: ANN401
        types = column_types(fields)
        rows: list[tuple[LookupValue, ...]] = []
        for item in items:
            row = {name: _value(fields[name], item, form, types[name]) for name in types}
            if row["symbol"]:
                row["symbol"] = symbol_of(str(row["symbol"]), str(row["exchange"]), self._exchange)
                rows.append(tuple(row.values()))
        return LookupPage(types, rows)


def _trade_calls(path: str, shared: _Params, arguments: Mapping[str, Argument]) -> Iterator[Query]:
    """Yield the calls for trades of past sessions, if `arguments` have a start and an end, then of the present one.

    `path` is that of the call for the present trading session; "/history" is appended for past ones. `arguments` are
    "start_ms", "end_ms" (Unix times) and "count", each None if not given. Trades of the present session are requested
    newest first, so that a caller that wants only the newest `count` may stop after the first pages. Times are sent in
    whole seconds, as those of bars (assumed), the span rounded outwards. `shared` are further parameters of each call.
    """
    start, end, count = (arguments.get(name) for name in ("start_ms", "end_ms", "count"))
    span: _Params = ()
    if isinstance(start, int) and isinstance(end, int):
        span = (("from", str(start // 1_000)), ("to", str(-(-end // 1_000))))
        yield Query(f"{path}/history", (*span, ("limit", str(PAST_TRADES_PER_CALL)), ("offset", "0"), *shared))
    take = min(count, TRADES_PER_CALL) if isinstance(count, int) else TRADES_PER_CALL
    yield Query(path, (*span, ("descending", "true"), ("take", str(take)), ("offset", "0"), *shared))


def _prints(answer: object, query: Query) -> LookupPage:
    """Return the trades in an answer to `query`: a list for the present trading session, an object for past ones.

    A trade without a usable time, price or id is left out. Raises ValueError if there is no list of trades. The calls
    for further pages of the present session end at the newest trade of the first page, so that new trades do not shift
    them.
    """
    listed = answer.get("list") if isinstance(answer, dict) else answer
    if not isinstance(listed, list):
        raise ValueError("the answer has no list of trades")  # noqa: TRY004 - a bad answer, not a bad call
    types = column_types(_TRADE)
    rows: list[tuple[LookupValue, ...]] = []
    for item in listed:
        if isinstance(item, dict):
            row = {name: _value(_TRADE[name], item, "simple", types[name]) for name in types}
            side = str(row["side"]).lower()
            row["side"] = side if side in get_args(Side) else "unknown"
            if row["ts"] != NOT_A_TIME and row["price"] == row["price"] and row["trade_id"]:
                rows.append((*row.values(),))
    following = _next_page(query, len(listed))
    if following is not None and isinstance(answer, list) and rows and "toId" not in dict(query.params):
        # New trades must not shift the pages: there may be more than a page of them meanwhile.
        place = list(types).index("trade_id")
        newest = ("toId", str(max(int(str(row[place])) for row in rows)))
        following = following._replace(params=(*following.params, newest))
    return LookupPage(types, rows, following=following)


def _next_page(query: Query, count: int) -> Query | None:
    """Return the call for the page after that of `query`, which had `count` rows; None if that page was not full.

    It has the same parameters, with `count` added to the offset. A call without a page size has no next page.
    """
    params = dict(query.params)
    size = int(params.get("take") or params.get("limit") or 0)
    if not size or count < size:
        return None
    params["offset"] = str(int(params["offset"]) + count)
    return Query(query.path, tuple(params.items()))


def _levels(answer: object, body: bytes) -> LookupPage:
    book, _ = book_from(answer, "simple", body) if isinstance(answer, dict) else (None, ())
    if book is None:
        raise ValueError("the answer is no order book")
    ts = NOT_A_TIME if book.time is None else book.time * 1_000_000
    rows: list[tuple[LookupValue, ...]] = []
    for side, levels, sign in (("buy", book.bids, -1), ("sell", book.asks, 1)):
        best_first = sorted((each for each in levels or () if each.volume > 0), key=lambda level: sign * level.price)
        rows += [(ts, side, number, level.price, level.volume) for number, level in enumerate(best_first, 1)]
    return LookupPage(_BOOK, rows)


def _value(field: MessageField, item: Mapping[str, Any], form: Any, type_: LookupType) -> LookupValue:  # noqa: ANN401
    value = next((item[name] for name in field.names[form] if item.get(name) is not None), None)
    if type_ == "time":
        return nanoseconds(value) or NOT_A_TIME
    usable: LookupValue = value_from(field.type, value)
    return _BLANK[type_] if usable is None else usable
