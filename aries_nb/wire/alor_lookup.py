"""What can be looked up at ALOR over HTTP: quotes, instruments, the time (protocol page §13). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aries_nb.errors import UsageError
from aries_nb.model import NOT_A_TIME
from aries_nb.wire.alor_fields import MARKET_FIELDS, Field, column_types, fields_from
from aries_nb.wire.alor_messages import value_from
from aries_nb.wire.alor_symbols import DEFAULT_EXCHANGE, instrument_of, symbol_of
from aries_nb.wire.aries_lenient import nanoseconds
from aries_nb.wire.aries_options import path_segment
from aries_nb.wire.interface import Argument, Fact, Facts, FactType, Query, Topic

__all__ = ["AlorLookup"]

SYMBOLS_PER_CALL = 100  # assumed: the page names no limit
MOST_FOUND = 1_000
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
_QUOTES = {"symbol": Field("text", {"heavy": ("symbol",)}), **MARKET_FIELDS["quotes"]}
_TIME: Mapping[str, FactType] = {"ts": "time", "resolution_s": "number"}
_BLANK: Mapping[str, Fact] = {"text": "", "number": math.nan, "integer": 0, "time": NOT_A_TIME}


class AlorLookup:
    """The questions of a `Lookup`; `exchange` is that of symbols which name none."""

    def __init__(self, *, exchange: str = DEFAULT_EXCHANGE) -> None:
        self._exchange = exchange

    def topics(self) -> frozenset[Topic]:
        """What can be asked. Of details there are those that a quote has."""
        return frozenset(("details", "quotes", "search", "instrument", "server_time", "health"))

    def queries(self, topic: Topic, arguments: Mapping[str, Argument]) -> Sequence[Query]:
        """The calls that together answer a question. Raises UsageError for an argument that ALOR cannot take."""
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
            case "instrument":
                exchange, code, board = instrument_of(str(arguments.get("symbol", "")), self._exchange)
                group = (("instrumentGroup", board),) if board else ()
                path = f"{_SECURITIES}/{path_segment(exchange)}/{path_segment(code)}"
                return [Query(path, (*group, ("format", "Simple")))]
            case "server_time" | "health":
                return [Query("/md/v2/time")]
            case _:
                raise UsageError(f"there is no {topic} to look up", where="ALOR", advice="Ask the streams instead.")

    def read(self, topic: Topic, query: Query, body: bytes) -> Facts:  # noqa: ARG002
        """The rows of one answer. Raises ValueError for one that cannot be used."""
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError("the answer is not JSON") from error
        if topic == "health":
            return Facts({}, [])
        if topic == "server_time":
            ts = nanoseconds(answer)
            if ts is None:
                raise ValueError("the answer is no time")
            return Facts(_TIME, [(ts, 1.0)])
        if not isinstance(answer, list | dict):
            raise ValueError("the answer is neither an object nor a list")  # noqa: TRY004 - a bad answer, not a bad call
        items = [item for item in (answer if isinstance(answer, list) else [answer]) if isinstance(item, dict)]
        if topic in ("details", "quotes"):
            found = self._facts(_QUOTES, items, "heavy")
            # A user may have named the usual exchange or not: the answer is found under both.
            place, usual = list(found.columns).index("exchange"), self._exchange
            twice = [(f"{usual}:{row[0]}", *row[1:]) for row in found.rows if row[place] == usual]
            return found._replace(rows=[*found.rows, *twice])
        return self._facts(_INSTRUMENT if topic == "instrument" else _SEARCH, items, "simple")

    def _code(self, symbol: str) -> str:
        exchange, code, board = instrument_of(symbol, self._exchange)
        if board or "," in symbol:
            raise UsageError(f"no quote of {symbol!r}", where="ALOR", advice="Name the instrument without a board.")
        return f"{path_segment(exchange)}:{path_segment(code)}"

    def _quotes(self, codes: Sequence[str]) -> Query:
        return Query(f"{_SECURITIES}/{','.join(codes)}/quotes", (("format", "Heavy"),))

    def _facts(self, fields: Mapping[str, Field], items: Sequence[Mapping[str, Any]], form: Any) -> Facts:  # noqa: ANN401
        types = column_types(fields, form)
        rows: list[tuple[Fact, ...]] = []
        for item in items:
            row = {name: _fact(fields[name], item, form, types[name]) for name in types}
            if row["symbol"]:
                row["symbol"] = symbol_of(str(row["symbol"]), str(row["exchange"]), self._exchange)
                rows.append(tuple(row.values()))
        return Facts(types, rows)


def _fact(field: Field, item: Mapping[str, Any], form: Any, type_: FactType) -> Fact:  # noqa: ANN401
    value = next((item[name] for name in field.names[form] if name in item), None)
    if type_ == "time":
        return nanoseconds(value) or NOT_A_TIME
    usable: Fact = value_from(field.type, value)
    return _BLANK[type_] if usable is None else usable
