"""Look-ups at Aries over HTTP: the calls for each topic, without I/O (Aries protocol page §7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aries_nb.brokers.aries.lookup_rows import READERS
from aries_nb.brokers.parsing import path_segment
from aries_nb.brokers.protocol import Argument, LookupPage, LookupTopic, Query
from aries_nb.errors import UsageError
from aries_nb.model.contracts import is_option_symbol

__all__ = ["AriesLookup"]

SYMBOLS_PER_CALL = 100  # assumed: the page names no limit
CONTRACTS_PER_CALL = 250
MOST_FOUND = 100
TICK_SIZES = (1, 5, 10, 25, 50, 100, 250, 500, 1000)
TIMESPANS = ("minute", "hour", "day", "week", "month", "quarter", "year")  # assumed: TradingView's provider's
_Params = list[tuple[str, str]]


class AriesLookup:
    """HTTP calls for look-ups, without I/O. Implements `Lookup`.

    An optional argument that is None or absent is not sent.
    """

    def topics(self) -> frozenset[LookupTopic]:
        """Return the topics that Aries has; the others, such as "trades" and "book", exist only as streams."""
        return frozenset(READERS)

    def queries(self, topic: LookupTopic, arguments: Mapping[str, Argument]) -> Sequence[Query]:
        """Return the calls for a topic, whose `arguments` by name are listed at `LookupTopic`.

        Raises UsageError for a topic that Aries does not have, and for an argument that it cannot take.
        """
        match topic:
            case "details":
                symbols = _symbols(arguments)
                options = [symbol for symbol in symbols if is_option_symbol(symbol)]
                shares = [symbol for symbol in symbols if not is_option_symbol(symbol)]
                paths = {"/v1/marketdata/equities/details": shares, "/v1/marketdata/options/details": options}
                return [query for path, names in paths.items() for query in _batches(path, names)]
            case "quotes":
                return list(_batches("/v1/chart/quotes", _symbols(arguments)))
            case "search":
                return [Query("/v1/marketdata/search", _search(arguments))]
            case "chart_search":
                return [Query("/v1/chart/search", _search(arguments))]
            case "instrument":
                return [Query("/v1/chart/symbols", (("symbol", _text(arguments, "symbol")),))]
            case "chain":
                return [_chain(arguments)]
            case "tick_bars":
                return [_tick_bars(arguments)]
            case "aggregates":
                return [_aggregates(arguments)]
            case "market_status":
                return [Query("/v1/market/status", (("exchange", "US"),))]
            case "chart_config":
                return [Query("/v1/chart/config")]
            case "server_time":
                return [Query("/v1/chart/time")]
            case "health":
                return [Query("/tv/health")]
            case _:
                raise UsageError(f"there is no {topic} to look up", where="Aries", advice="Ask the streams instead.")

    def read(self, topic: LookupTopic, query: Query, body: bytes) -> LookupPage:
        """Return the rows in `body`, the answer to `query`, for a topic.

        Raises ValueError if the answer cannot be used or reports an error.
        """
        page = READERS[topic](body)
        params = dict(query.params)
        if page.cursor is not None:
            name, value = page.cursor
            params[name] = value
        # A cursor equal to that of this page is the end.
        following = Query(query.path, tuple(params.items())) if params != dict(query.params) else None
        refused = {symbol or params.get("symbol", ""): said for symbol, said in page.refused.items()}
        return LookupPage(page.columns, page.rows, refused, following)


def _chain(arguments: Mapping[str, Argument]) -> Query:
    params: _Params = []
    names = {
        "expiry": "expirationDate",
        "type": "contractType",
        "strike_from": "strikePriceGte",
        "strike_to": "strikePriceLte",
    }
    for name, theirs in names.items():
        value = arguments.get(name)
        if value is not None:
            params.append((theirs, _written(value)))
    params.append(("limit", str(CONTRACTS_PER_CALL)))
    return Query(f"/v1/options/snapshot/chain/{path_segment(_text(arguments, 'underlying'))}", tuple(params))


def _tick_bars(arguments: Mapping[str, Argument]) -> Query:
    size = _whole(arguments, "trades", 1_000_000)
    if size not in TICK_SIZES:
        sizes = ", ".join(map(str, TICK_SIZES))
        raise UsageError(f"no bars of {size} trades", where="Aries", advice=f"It has bars of {sizes} trades.")
    count = _whole(arguments, "count", 1_000_000)
    symbol = _text(arguments, "symbol")
    return Query("/v1/chart/tick-history", (("symbol", symbol), ("resolution", f"{size}T"), ("countback", str(count))))


def _aggregates(arguments: Mapping[str, Argument]) -> Query:
    timespan = _text(arguments, "timespan")
    if timespan not in TIMESPANS:
        raise UsageError(f"no bars by the {timespan}", where="Aries", advice=f"There are: {', '.join(TIMESPANS)}.")
    start, end = _whole(arguments, "start_ms", 2**53), _whole(arguments, "end_ms", 2**53)
    return Query(
        "/v1/stocks/aggs",
        (
            ("ticker", _text(arguments, "symbol")),
            ("multiplier", str(_whole(arguments, "multiplier", 1_000_000))),
            ("timespan", timespan),
            ("from", str(start)),
            ("to", str(end - 1)),  # assumed: the end counts as well
            ("adjusted", "true" if arguments.get("is_adjusted", 1) else "false"),
            ("sort", "asc"),
        ),
    )


def _search(arguments: Mapping[str, Argument]) -> tuple[tuple[str, str], ...]:
    return ("query", _text(arguments, "text")), ("limit", str(_whole(arguments, "limit", MOST_FOUND)))


def _batches(path: str, symbols: Sequence[str]) -> Iterator[Query]:
    for start in range(0, len(symbols), SYMBOLS_PER_CALL):
        yield Query(path, (("symbols", ",".join(symbols[start : start + SYMBOLS_PER_CALL])),))


def _symbols(arguments: Mapping[str, Argument]) -> tuple[str, ...]:
    symbols = arguments.get("symbols")
    assert isinstance(symbols, tuple)
    for symbol in symbols:
        if "," in symbol:
            raise UsageError(f"{symbol!r} is not a symbol", advice="Pass each on its own.")
    return symbols


def _text(arguments: Mapping[str, Argument], name: str) -> str:
    value = arguments.get(name)
    assert isinstance(value, str)
    return value


def _whole(arguments: Mapping[str, Argument], name: str, most: int) -> int:
    value = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise UsageError(
            f"{name}={value!r} cannot be", where="Aries", advice=f"Pass a whole number from 1 to {most:,}."
        )
    return value


def _written(value: Argument) -> str:
    """Return `value` as text, a float without exponent or trailing zeros; text is unchanged."""
    return f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
