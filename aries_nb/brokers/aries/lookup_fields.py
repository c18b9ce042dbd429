"""The fields in Aries' answers to look-ups, and the columns they become (Aries protocol page §7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aries_nb.brokers.aries.charts import CHART_FIELDS
from aries_nb.brokers.protocol import LookupType

__all__ = [
    "AGGREGATES",
    "BARS",
    "CHAIN",
    "CHART_SEARCH",
    "CONFIG",
    "DETAILS",
    "INSTRUMENT",
    "QUOTES",
    "SEARCH",
    "STATUS",
    "LookupField",
]


class LookupField(NamedTuple):
    """Where a column's value is in a JSON object, as the keys from the outside in, and the column's type."""

    path: tuple[str, ...]
    type: LookupType = "number"


def _fields(type_: LookupType = "number", **paths: str) -> dict[str, LookupField]:
    return {column: LookupField(tuple(path.split(".")), type_) for column, path in paths.items()}


# `tick` is a number here and a text on the socket (§3.4.2): one column, one type.
DETAILS = {
    **_fields("text", symbol="symbol", name="name"),
    **_fields(bid_price="bidPrice", bid_size="bidSize"),
    **_fields("text", bid_exchange="bidExchange"),
    **_fields(ask_price="askPrice", ask_size="askSize"),
    **_fields("text", ask_exchange="askExchange"),
    **_fields(mid_price="midPrice", spread="spread", last_price="lastPrice", price="price", size="size"),
    **_fields(open_price="openPrice", high_price="highPrice", low_price="lowPrice", close_price="closePrice"),
    **_fields(net_change="netChange", total_volume="totalVolume"),
    **_fields(high_52_week="high52WeekPrice", low_52_week="low52WeekPrice"),
    **_fields("text", tick="tick"),
    **_fields("integer", trade_seq="tradeSeq"),
    **_fields("time", trade_timestamp="tradeTimestamp", quote_timestamp="quoteTimestamp"),
    **_fields("flag", is_etf="isETF", has_options="hasOptions"),
}
CHAIN = {
    **_fields("text", symbol="details.ticker"),
    **_fields("time", expiry="details.expirationDate"),
    **_fields("text", type="details.contractType"),
    **_fields(strike="details.strikePrice"),
    **_fields(bid_price="lastQuote.bid", bid_size="lastQuote.bidSize"),
    **_fields(ask_price="lastQuote.ask", ask_size="lastQuote.askSize"),
    **_fields(last_price="lastTrade.price", last_size="lastTrade.size", implied_volatility="impliedVolatility"),
    **_fields(delta="greeks.delta", gamma="greeks.gamma", theta="greeks.theta", vega="greeks.vega"),
    **_fields(open_interest="openInterest", total_volume="day.volume"),
    **_fields(open_price="day.open", high_price="day.high", low_price="day.low", close_price="day.close"),
    **_fields(
        previous_close_price="day.previousClose", net_change="day.change", underlying_price="underlyingAsset.price"
    ),
    **_fields("text", exercise_style="details.exerciseStyle"),
    **_fields(shares_per_contract="details.sharesPerContract"),
    **_fields("time", quote_timestamp="lastQuote.lastUpdated", trade_timestamp="lastTrade.sipTimestamp"),
}
_CHART_TEXTS = ("exchange", "short_name", "description")
QUOTES = {
    **_fields("text", symbol=""),
    **{
        column: LookupField(("v", key), "text" if column in _CHART_TEXTS else "number")
        for column, key in {**CHART_FIELDS, "description": "description"}.items()
    },
}
SEARCH = _fields("text", symbol="symbol", description="description", type="type", tag="tag")
CHART_SEARCH = _fields(
    "text", symbol="symbol", description="description", type="type", exchange="exchange", full_name="full_name"
)
_CAPABILITIES = {
    **_fields("texts", resolutions="supported_resolutions"),
    **_fields(
        "flag", has_intraday="has_intraday", has_daily="has_daily", has_weekly_and_monthly="has_weekly_and_monthly"
    ),
}
INSTRUMENT = {
    **_fields("text", symbol="name", description="description", type="type", exchange="exchange"),
    **_fields("text", listed_exchange="listed_exchange", session="session", timezone="timezone"),
    **_fields(minimum_movement="minmov", price_scale="pricescale", volume_precision="volume_precision"),
    **_CAPABILITIES,
    **_fields("flag", has_seconds="has_seconds", has_ticks="has_ticks"),
}
CONFIG = {
    **_CAPABILITIES,
    **_fields("flag", supports_search="supports_search", supports_time="supports_time"),
    **_fields("flag", supports_group_request="supports_group_request", supports_marks="supports_marks"),
    **_fields("flag", supports_timescale_marks="supports_timescale_marks"),
}
STATUS = {
    **_fields("text", exchange="exchange"),
    **_fields("flag", is_open="isOpen"),
    **_fields("text", session="session", timezone="timezone"),
    **_fields("time", ts="timestamp"),
}
BARS: Mapping[str, LookupType] = {
    "ts": "time",
    **dict.fromkeys(("open", "high", "low", "close", "volume"), "number"),
}
AGGREGATES = {
    **_fields("time", ts="t"),
    **_fields(open="o", high="h", low="l", close="c", volume="v", average_price="vw", trades="n"),
}
