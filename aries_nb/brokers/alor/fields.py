"""Names at ALOR: the fields of its market messages (ALOR protocol page §6), and instruments (§4).

A field has a column, a type and up to three names, one per message format; none where a format lacks it. Sizes and
volumes are in lots. Instruments and portfolios are `SBER`, `SPBX:AAPL`, `MOEX:SBER@TQBR`, `MOEX:D00000`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from aries_nb.brokers.parsing import writable
from aries_nb.model import ColumnType, Kind

__all__ = [
    "DEFAULT_EXCHANGE",
    "FORMATS",
    "MARKET_FIELDS",
    "TIMES",
    "FieldType",
    "Format",
    "Instrument",
    "MessageField",
    "column_types",
    "fields_from",
    "format_for",
    "instrument_of",
    "symbol_of",
]

DEFAULT_EXCHANGE = "MOEX"

Format = Literal["slim", "simple", "heavy"]
FORMATS: tuple[Format, ...] = ("slim", "simple", "heavy")  # the smallest messages first
# Type of a field in a message; "seconds" and "millis" are Unix times, "iso" a time as text, "flag" true or false.
FieldType: TypeAlias = Literal[
    "number", "decimal", "integer", "text", "side", "flag", "seconds", "millis", "iso", "json"
]


class MessageField(NamedTuple):
    """The type of a field of a message, and the names that it may have in each of the server's message formats.

    A format may have several names for a field, where sources disagree; the first one present in a message is used.
    """

    type: FieldType
    names: Mapping[Format, tuple[str, ...]]


def fields_from(table: Mapping[str, str], types: Mapping[str, FieldType], usual: FieldType) -> dict[str, MessageField]:
    """Return fields made from a table of column → names in the formats simple, slim and heavy, separated by blanks.

    "-" means that the format lacks the field, "a|b" either name; a single name is that of all three formats. `types`
    gives the type of some columns, `usual` that of the others.
    """
    fields: dict[str, MessageField] = {}
    for column, text in table.items():
        simple, slim, heavy = text.split() if " " in text else [text] * 3
        names: dict[Format, tuple[str, ...]] = {"simple": _names(simple), "slim": _names(slim), "heavy": _names(heavy)}
        fields[column] = MessageField(types.get(column, usual), names)
    return fields


def _names(text: str) -> tuple[str, ...]:
    return () if text == "-" else tuple(text.split("|"))


_QUOTES = {  # §6.3
    "bid_price": "bid",
    "bid_size": "bid_vol bv bidVol",
    "ask_price": "ask",
    "ask_size": "ask_vol av askVol",
    "last_price": "last_price c lastPrice",
    "quote_timestamp": "ob_ms_timestamp tso obMsTimestamp",
    "trade_timestamp": "last_price_timestamp tst lastPriceTimestamp",
    "open_price": "open_price o openPrice",
    "high_price": "high_price h highPrice",
    "low_price": "low_price l lowPrice",
    "previous_close_price": "prev_close_price - prevClosePrice",
    "net_change": "change - change",
    "change_percent": "change_percent - changePercent",
    "total_volume": "volume v volume",
    "total_bid_size": "total_bid_vol tbv totalBidVol",
    "total_ask_size": "total_ask_vol tav totalAskVol",
    "open_interest": "open_interest oi openInterest",
    "accrued_interest": "accruedInt|accrued_interest acci accruedInterest",
    "bond_yield": "yield y yield",
    "lot_size": "lotsize lot lotSize",
    "lot_value": "lotvalue lotv lotValue",
    "face_value": "facevalue fv faceValue",
    "instrument_type": "type t type",
    "description": "description desc description",
    "exchange": "exchange ex exchange",
    "currency": "- - currency",
}
_TRADES = {  # §6.4
    "price": "price px price",
    "size": "qty q qty",
    "side": "side s side",
    "trade_id": "id",
    "venue": "board bd board",
    "open_interest": "oi",
}
_BARS = {  # §6.2
    "open": "open o open",
    "high": "high h high",
    "low": "low l low",
    "close": "close c close",
    "volume": "volume v volume",
}
_INSTRUMENTS = {  # §6.5; `symbol` is ours
    "symbol": "symbol sym symbol",
    "exchange": "exchange ex exchange",
    "board": "board bd board",
    "trading_status": "tradingStatus st tradingStatus",
    "status_text": "tradingStatusInfo sti tradingStatusInfo",
    "price_min": "priceMin pxmn priceMin",
    "price_max": "priceMax pxmx priceMax",
    "margin_buy": "marginBuy mgb marginBuy",
    "margin_sell": "marginSell mgs marginSell",
    "margin_synthetic": "marginSyntetic mgsnt marginSyntetic",  # sic
    "theoretical_price": "theorPrice pxt theorPrice",
    "theoretical_price_limit": "theorPriceLimit pxtl theorPriceLimit",
    "volatility": "volatility vl volatility",
}
_TEXTS = ("instrument_type", "description", "exchange", "currency")
MARKET_FIELDS: Mapping[Kind, Mapping[str, MessageField]] = {
    "quotes": fields_from(
        _QUOTES,
        {"quote_timestamp": "millis", "trade_timestamp": "seconds", **dict.fromkeys(_TEXTS, "text")},
        "number",
    ),
    "trades": fields_from(_TRADES, {"side": "side", "trade_id": "integer", "venue": "text"}, "number"),
    "bars": fields_from(_BARS, {}, "number"),
    "instruments": fields_from(
        _INSTRUMENTS,
        {"trading_status": "integer", **dict.fromkeys(("symbol", "exchange", "board", "status_text"), "text")},
        "number",
    ),
}
# Fields besides the columns: times, and the mark of past elements.
TIMES: Mapping[Kind, Mapping[str, MessageField]] = {
    "quotes": {name: MARKET_FIELDS["quotes"][name] for name in ("quote_timestamp", "trade_timestamp")},
    "trades": fields_from(
        {
            "trade_id": "id",
            "time_ms": "timestamp t timestamp",
            "existing": "existing h existing",
        },
        {"trade_id": "integer", "time_ms": "millis", "existing": "flag"},
        "number",
    ),
    "bars": fields_from({"start": "time t time"}, {}, "seconds"),
}
_COLUMN_TYPES: Mapping[FieldType, ColumnType] = {
    "number": "number",
    "decimal": "decimal",
    "integer": "integer",
    "text": "text",
    "side": "text",
    "flag": "text",
    "json": "text",
    "seconds": "time",
    "millis": "time",
    "iso": "time",
}


def column_types(fields: Mapping[str, MessageField]) -> dict[str, ColumnType]:
    """Return the column type of each field, as column name → type."""
    return {column: _COLUMN_TYPES[field.type] for column, field in fields.items()}


def format_for(fields: Mapping[str, MessageField], columns: Iterable[str]) -> Format:
    """Return the message format with the smallest messages that has all of these columns: "slim", "simple" or "heavy".

    `fields` maps columns to the names of their fields in each format. Columns that are not in it, or that no format
    has, are ignored. If no format has all that remain, it is "heavy".
    """
    needed = [fields[column].names for column in columns if column in fields and any(fields[column].names.values())]
    return next((form for form in FORMATS if all(names[form] for names in needed)), FORMATS[-1])


class Instrument(NamedTuple):
    """The parts of a symbol: exchange, code and board.

    The board is "" for the instrument's primary one (assumed, as clients do).
    """

    exchange: str
    code: str
    board: str = ""


def instrument_of(symbol: str, exchange: str = DEFAULT_EXCHANGE) -> Instrument:
    """Return the parts of `symbol`, an instrument or portfolio in the user's spelling.

    Examples are "SBER", "MOEX:SBER@TQBR" and "D00000". `exchange` is the default for a symbol without one.
    """
    symbol = writable(symbol)  # it is sent in a request
    venue, colon, rest = symbol.partition(":")
    code, _, board = (rest if colon else symbol).partition("@")
    return Instrument(venue if colon and venue else exchange, code, board)


def symbol_of(code: str, venue: str, exchange: str = DEFAULT_EXCHANGE) -> str:
    """Return the user's spelling of the instrument `code` on the exchange `venue`.

    It is the code alone if that exchange is the default, `exchange`, or "".
    """
    return f"{venue}:{code}" if code and venue and venue != exchange else code
