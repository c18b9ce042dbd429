"""Messages of the Aries market endpoint: structs, field names and their aliases (Aries protocol page §2 and §3).

The structs are the fast path: a message as in the vendor's current documents is decoded straight into one. Others (old
spellings, numbers as text, control events) are decoded by the module `tolerant`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, defstruct
from msgspec.json import Decoder

from aries_nb.brokers.parsing import MAX_MS
from aries_nb.model import ColumnType

__all__ = [
    "EVENT_FIELDS",
    "GREEKS_FIELDS",
    "OLD_TRADE_FIELDS",
    "QUOTE_FIELDS",
    "STREAM_ALIASES",
    "TIME_AND_SALES_FIELDS",
    "TRADE_FIELDS",
    "Depth",
    "Envelope",
    "Greeks",
    "GreeksUpdate",
    "LevelTwoUpdate",
    "Payload",
    "Quote",
    "QuoteUpdate",
    "StatusUpdate",
    "TimeAndSales",
    "TimeAndSalesUpdate",
    "Trade",
    "TradeUpdate",
    "decode_lines",
    "decoder_for",
    "field_types",
]

Number: TypeAlias = float | UnsetType
Millis: TypeAlias = Annotated[int, Meta(gt=0, lt=MAX_MS)] | UnsetType
Text: TypeAlias = str | UnsetType
_TYPES: Mapping[str, Any] = {"Number": Number, "Millis": Millis, "Text": Text}
D = TypeVar("D")
P = TypeVar("P")


class Quote(Struct, gc=False):
    """The fields of a quote event (Aries protocol page §3.4.1).

    An absent field is unchanged; times are Unix times in ms.
    """

    bidPrice: Number = UNSET  # noqa: N815 - the broker's own names, in this module only
    bidSize: Number = UNSET  # noqa: N815
    askPrice: Number = UNSET  # noqa: N815
    askSize: Number = UNSET  # noqa: N815
    bidChange: Number = UNSET  # noqa: N815
    askChange: Number = UNSET  # noqa: N815
    bidSizeChange: Number = UNSET  # noqa: N815
    askSizeChange: Number = UNSET  # noqa: N815
    bidExchange: Text = UNSET  # noqa: N815
    askExchange: Text = UNSET  # noqa: N815
    bidTimestamp: Millis = UNSET  # noqa: N815
    askTimestamp: Millis = UNSET  # noqa: N815
    quoteTimestamp: Millis = UNSET  # noqa: N815
    midPrice: Number = UNSET  # noqa: N815
    spread: Number = UNSET


class Trade(Struct, gc=False):
    """The fields of a trade event, including names of the vendor's old list (Aries protocol page §3.4.2).

    An absent field is unchanged; times are Unix times in ms.
    """

    lastPrice: Number = UNSET  # noqa: N815
    price: Number = UNSET
    size: Number = UNSET
    netChange: Number = UNSET  # noqa: N815
    openPrice: Number = UNSET  # noqa: N815
    highPrice: Number = UNSET  # noqa: N815
    lowPrice: Number = UNSET  # noqa: N815
    closePrice: Number = UNSET  # noqa: N815
    previousClosePrice: Number = UNSET  # noqa: N815
    totalVolume: Number = UNSET  # noqa: N815
    tickVolume: Number = UNSET  # noqa: N815
    tick: Text = UNSET
    tradeSeq: Number = UNSET  # noqa: N815
    tradeTimestamp: Millis = UNSET  # noqa: N815
    instrumentType: Text = UNSET  # noqa: N815
    tradeExchange: Text = UNSET  # noqa: N815
    high52Week: Number = UNSET  # noqa: N815
    low52Week: Number = UNSET  # noqa: N815
    openInterest: Number = UNSET  # noqa: N815
    dividend: Number = UNSET


class Greeks(Struct, gc=False):
    """The fields of an option's Greeks event (Aries protocol page §3.4.5, names assumed).

    An absent field is unchanged.
    """

    delta: Number = UNSET
    gamma: Number = UNSET
    theta: Number = UNSET
    vega: Number = UNSET
    rho: Number = UNSET
    impliedVolatility: Number = UNSET  # noqa: N815
    iv: Number = UNSET

    def __post_init__(self) -> None:
        if self.impliedVolatility is UNSET:
            self.impliedVolatility = self.iv


class TimeAndSales(Struct, gc=False):
    """One trade in a time & sales event, in which every value is text (Aries protocol page §3.4.3)."""

    price: Text = UNSET
    size: Text = UNSET
    tick: Text = UNSET
    tradeSeq: Text = UNSET  # noqa: N815
    tradeExchange: Text = UNSET  # noqa: N815
    tradeTimestamp: Text = UNSET  # noqa: N815


class Depth(Struct, gc=False):
    """The fields of a level 2 event (Aries protocol page §3.4.4). `orderBook` has text rows `askSize:price:bidSize`.

    `quotes` is a list of rows `exchange:askPrice:askSize:bidPrice:bidSize` as undecoded JSON, empty if absent.
    """

    orderBook: list[str] | UnsetType = UNSET  # noqa: N815
    quotes: Raw = Raw()


class SpoiltDepth(Depth, gc=False):
    """A level 2 event in which the fields named in `unusable` ("orderBook", "quotes") are not lists of text rows.

    Made by the tolerant decoder only.
    """

    unusable: tuple[str, ...] = ()


class QuoteUpdate(Struct, Generic[D], gc=False, tag_field="type", tag="quote"):
    """Payload of a quote event, whose data are of class `D`. `timestamp` is Unix time in ms, 0 if absent."""

    symbol: str
    data: D
    timestamp: Annotated[int, Meta(ge=0, lt=MAX_MS)] = 0


class TradeUpdate(Struct, Generic[D], gc=False, tag_field="type", tag="trade"):
    """Payload of a trade event, whose data are of class `D`. `timestamp` is Unix time in ms, 0 if absent."""

    symbol: str
    data: D
    timestamp: Annotated[int, Meta(ge=0, lt=MAX_MS)] = 0


class TimeAndSalesUpdate(Struct, gc=False, tag_field="type", tag="timeAndSales"):
    """Payload of a time & sales event. `timestamp` is Unix time in ms, 0 if absent."""

    symbol: str
    data: TimeAndSales
    timestamp: Annotated[int, Meta(ge=0, lt=MAX_MS)] = 0


class LevelTwoUpdate(Struct, gc=False, tag_field="type", tag="level2"):
    """Payload of a level 2 event. `timestamp` is Unix time in ms, 0 if absent."""

    symbol: str
    data: Depth
    timestamp: Annotated[int, Meta(ge=0, lt=MAX_MS)] = 0


class GreeksUpdate(Struct, gc=False, tag_field="type", tag="greeks"):
    """Payload of a Greeks event. `timestamp` is Unix time in ms, 0 if absent."""

    symbol: str
    data: Greeks
    timestamp: Annotated[int, Meta(ge=0, lt=MAX_MS)] = 0


class StatusUpdate(Struct, gc=False, tag_field="type", tag="marketStatus"):
    """Payload of a market status event (Aries protocol page §3.1). `timestamp` is Unix time in ms, 0 if absent."""

    data: dict[str, Any]
    timestamp: Annotated[int, Meta(ge=0, lt=MAX_MS)] = 0


_Others: TypeAlias = TimeAndSalesUpdate | LevelTwoUpdate | GreeksUpdate | StatusUpdate
Payload: TypeAlias = (
    QuoteUpdate[Any] | TradeUpdate[Any] | TimeAndSalesUpdate | LevelTwoUpdate | GreeksUpdate | StatusUpdate
)


class Envelope(Struct, Generic[P], gc=False):
    """A server message that fits the fast decoder: an event whose payload is of one of the known types."""

    payload: P


decode_lines = Decoder(Envelope[QuoteUpdate[Quote] | TradeUpdate[Trade] | _Others]).decode_lines


@lru_cache(maxsize=512)
def decoder_for(names: frozenset[str]) -> Callable[[bytes], list[Envelope[Payload]]]:
    """Return `decode_lines` for these fields of quotes and trades alone, and their times, by the broker's names.

    Other fields of a frame are skipped. Decoders are cached.
    """
    quote, trade = (
        defstruct(
            struct.__name__,
            [(name, _TYPES[type_], UNSET) for name, type_ in struct.__annotations__.items() if name in {*names, time}],
            gc=False,
        )
        for struct, time in ((Quote, "quoteTimestamp"), (Trade, "tradeTimestamp"))
    )
    payload: Any = QuoteUpdate[quote] | TradeUpdate[trade] | _Others  # type: ignore[valid-type]
    return Decoder(Envelope[payload]).decode_lines


# Names of a stream in lower case (protocol page §3.4) → the tag it is decoded under.
STREAM_ALIASES: Mapping[str, str] = {
    "quote": "quote",
    "quotes": "quote",
    "trade": "trade",
    "trades": "trade",
    "level2": "level2",
    "levelii": "level2",
    "l2": "level2",
    "orderbook": "level2",
    "timeandsales": "timeAndSales",
    "timesales": "timeAndSales",
    "time_and_sales": "timeAndSales",
    "tns": "timeAndSales",
    "greeks": "greeks",
    "greek": "greeks",
    "marketstatus": "marketStatus",
}


def field_types(struct: type[Struct]) -> dict[str, ColumnType]:
    """Return the column type of each field of a struct, by the broker's field name, from its annotations."""
    kinds: dict[object, ColumnType] = {"Number": "number", "Millis": "time", "Text": "text"}
    return {name: kinds[struct.__annotations__[name]] for name in struct.__struct_fields__}


# Column → the broker's field name, in the order of a record's values.
QUOTE_FIELDS: Mapping[str, str] = {
    "bid_price": "bidPrice",
    "bid_size": "bidSize",
    "ask_price": "askPrice",
    "ask_size": "askSize",
    "bid_change": "bidChange",
    "ask_change": "askChange",
    "bid_size_change": "bidSizeChange",
    "ask_size_change": "askSizeChange",
    "bid_exchange": "bidExchange",
    "ask_exchange": "askExchange",
    "bid_timestamp": "bidTimestamp",
    "ask_timestamp": "askTimestamp",
    "quote_timestamp": "quoteTimestamp",
    "mid_price": "midPrice",
    "spread": "spread",
}
TRADE_FIELDS: Mapping[str, str] = {
    "last_price": "lastPrice",
    "price": "price",
    "size": "size",
    "net_change": "netChange",
    "open_price": "openPrice",
    "high_price": "highPrice",
    "low_price": "lowPrice",
    "close_price": "closePrice",
    "previous_close_price": "previousClosePrice",
    "total_volume": "totalVolume",
    "tick_volume": "tickVolume",
    "tick": "tick",
    "trade_seq": "tradeSeq",
    "trade_timestamp": "tradeTimestamp",
    "instrument_type": "instrumentType",
    "trade_exchange": "tradeExchange",
    "high_52_week": "high52Week",
    "low_52_week": "low52Week",
    "open_interest": "openInterest",
    "dividend": "dividend",
}
# Only in the old list (§3.4.2): they may still come, and are no part of "*" (assumed).
OLD_TRADE_FIELDS = frozenset({"instrumentType", "tradeExchange", "high52Week", "low52Week", "openInterest", "dividend"})
GREEKS_FIELDS: Mapping[str, str] = {
    "delta": "delta",
    "gamma": "gamma",
    "theta": "theta",
    "vega": "vega",
    "rho": "rho",
    "implied_volatility": "impliedVolatility",
}
# The fields of quote, trade and Greeks events; no name is in two of them.
EVENT_FIELDS: Mapping[str, str] = {**QUOTE_FIELDS, **TRADE_FIELDS, **GREEKS_FIELDS}

# "side" is ours: time and sales do not name the aggressor (`tick` is a direction with an unknown code set).
TIME_AND_SALES_FIELDS: Mapping[str, str] = {
    "price": "price",
    "size": "size",
    "side": "",
    "trade_id": "tradeSeq",
    "venue": "tradeExchange",
    "source": "",
    "tick": "tick",
}
