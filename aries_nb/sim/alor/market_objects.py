"""Market data objects of the simulated ALOR server: quotes, books, bars, trades, states, in all three formats.

Source: ALOR's protocol page §6. Objects are made as dicts with the field names of ALOR's Simple format. Volumes are
whole lots; those of a recording are the numbers of the file, and values that it does not contain are null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from aries_nb.sim.alor.messages import iso_time, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aries_nb.sim.alor.instruments import Security
    from aries_nb.sim.alor.messages import Format
    from aries_nb.sim.alor.prints import Print
    from aries_nb.sim.market.listings import TradedListing
    from aries_nb.sim.market.recording import Recording
    from aries_nb.sim.market.rough import Phase, RoughQuote

__all__ = [
    "BAR",
    "CLOSED",
    "INSTRUMENT",
    "NORMAL",
    "PHASES",
    "QUOTE",
    "TRADE",
    "Levels",
    "bar_values",
    "book_object",
    "instrument_values",
    "limits_centre",
    "listing_levels",
    "quote_values",
    "recorded_levels",
    "recorded_quote_values",
    "rough_quote_values",
    "trade_values",
]

Values = dict[str, Any]
#: Price and volume in lots, best first.
Levels: TypeAlias = "Sequence[tuple[float, float]]"

NS_PER_MS, NS_PER_S = 1_000_000, 1_000_000_000
#: Trading status codes (§6.5) and the broker's texts for them.
NORMAL, CLOSED, BREAK, AUCTION = 17, 18, 2, 107
STATUS_TEXTS = {
    NORMAL: "нормальный период торгов",
    CLOSED: "нет торгов / торги закрыты",
    BREAK: "перерыв в торгах",
    AUCTION: "дискретный аукцион",
}
#: Status of each phase of a halt.
PHASES: dict[Phase, int] = {"open": NORMAL, "halted": BREAK, "auction": AUCTION}
#: Price limits of a session as a share of the price (assumed).
LIMIT_SHARE = 0.2

QUOTE = table(
    "symbol sym", "exchange ex", "description desc", "- - currency", "prev_close_price - prevClosePrice",
    "last_price c lastPrice", "last_price_timestamp tst lastPriceTimestamp", "high_price h highPrice",
    "low_price l lowPrice", "accruedInt acci accruedInterest", "volume v", "open_interest oi openInterest", "ask ask",
    "bid bid", "ask_vol av askVol", "bid_vol bv bidVol", "ob_ms_timestamp tso obMsTimestamp", "open_price o openPrice",
    "yield y", "lotsize lot lotSize", "lotvalue lotv lotValue", "facevalue fv faceValue", "type t",
    "total_bid_vol tbv totalBidVol", "total_ask_vol tav totalAskVol", "accrued_interest - -", "change - change",
    "change_percent - changePercent",
)  # fmt: skip
# The example of this format has its own order (§6.3).
_SLIM_QUOTE = (
    "sym", "ex", "desc", "tst", "tso", "o", "h", "l", "c", "v", "acci", "oi", "y", "ask", "bid", "av", "bv", "tbv",
    "tav", "lot", "lotv", "fv", "t",
)  # fmt: skip
QUOTE["slim"] = tuple(sorted(QUOTE["slim"], key=lambda names: _SLIM_QUOTE.index(names[1])))

BAR = table("time t", "close c", "open o", "high h", "low l", "volume v")
TRADE = table(
    "id id", "orderno - -", "symbol sym", "board bd", "qty q", "price px", "time - time", "timestamp t", "oi oi",
    "existing h", "side s",
)  # fmt: skip
INSTRUMENT = table(
    "symbol sym", "exchange ex", "board bd", "tradingStatus st", "tradingStatusInfo sti", "priceMin pxmn",
    "priceMax pxmx", "marginBuy mgb", "marginSell mgs", "marginSyntetic mgsnt", "theorPrice pxt",
    "theorPriceLimit pxtl", "volatility vl",
)  # fmt: skip


def quote_values(security: Security, listing: TradedListing, stamp: int, traded: int) -> Values:
    """Return the whole quote of a synthetic instrument, a dict with the field names of ALOR's Simple format.

    `security` is its reference data, `listing` its present state. `stamp` is the quote's time, `traded` that of the
    last trade, both in Unix ms.
    """
    quote, lot = listing.quote(), security.lot
    bids, asks = listing.book.bids, listing.book.asks
    last, previous = listing.last.price, listing.previous_close
    return _quote_frame(security) | {
        "prev_close_price": previous,
        "last_price": last,
        "last_price_timestamp": traded // 1000,
        "high_price": listing.high,
        "low_price": listing.low,
        "volume": listing.volume // lot,
        "open_interest": 50_000 + listing.number % 1000 if security.is_future else 0,
        "ask": quote.ask_price,
        "bid": quote.bid_price,
        "ask_vol": quote.ask_size // lot,
        "bid_vol": quote.bid_size // lot,
        "ob_ms_timestamp": stamp,
        "open_price": listing.open,
        "lotvalue": round(last * lot, 6),
        "total_bid_vol": sum(bids.sizes) // lot,
        "total_ask_vol": sum(asks.sizes) // lot,
        "change": round(last - previous, 6),
        "change_percent": round(100 * (last / previous - 1), 2),
    }


def rough_quote_values(values: Values, shown: RoughQuote, lot: int) -> Values:
    """Return a whole quote with the bid, ask and time of the rough market; sides that are absent have no field.

    `values` is the quote as the market has it, `lot` the lot size in shares.
    """
    values = {**values, "ob_ms_timestamp": shown.stamp}
    for name in ("bid", "ask"):
        price, size = shown.side("bid" if name == "bid" else "ask")
        values |= {name: price, f"{name}_vol": size if size is None else size // lot}
        if name in shown.missing:
            values[f"total_{name}_vol"] = 0
            for field in (name, f"{name}_vol") if shown.form == "absent" else ():
                del values[field]
    return values


def recorded_quote_values(security: Security, quotes: tuple[Recording, int] | None, last: Print | None) -> Values:
    """Return the whole quote from a row of recorded quotes and the last recorded trade.

    It is a dict with the field names of ALOR's Simple format. `quotes` is a recording and the number of its row.
    Each of both may be None: then its fields are null.
    """
    values = _quote_frame(security)
    for name in ("prev_close_price", "last_price", "last_price_timestamp", "high_price", "low_price", "volume", "ask",
                 "bid", "ask_vol", "bid_vol", "open_price", "lotvalue", "total_bid_vol", "total_ask_vol", "change",
                 "change_percent"):  # fmt: skip
        values[name] = None
    if quotes is not None:
        recording, row = quotes
        columns = recording.columns
        values |= {
            "bid": columns["bid_price"][row],
            "bid_vol": columns["bid_size"][row],
            "ask": columns["ask_price"][row],
            "ask_vol": columns["ask_size"][row],
            "ob_ms_timestamp": recording.times[row] // NS_PER_MS,
        }
    if last is not None:
        values |= {"last_price": last.price, "last_price_timestamp": last.ts_ns // NS_PER_S}
    return values


def listing_levels(listing: TradedListing, lot: int, depth: int) -> tuple[Levels, Levels]:
    """Return bids and asks of a synthetic instrument, best first, as (price, lots); at most `depth` levels per side.

    `lot` is the lot size in shares or contracts.
    """
    bids, asks = (
        [(listing.price(tick), size // lot) for tick, size in zip(side.ticks[:depth], side.sizes, strict=False)]
        for side in (listing.book.bids, listing.book.asks)
    )
    return bids, asks


def recorded_levels(recording: Recording, row: int, depth: int) -> tuple[Levels, Levels]:
    """Return bids and asks of a row of a recorded book, best first, as (price, size).

    At most `depth` levels per side; those without a price or a size are left out.
    """
    bids, asks = (
        [
            (price, size)
            for price, size in zip(
                recording.columns[f"{side}_prices"][row][:depth],
                recording.columns[f"{side}_sizes"][row][:depth],
                strict=True,
            )
            if price is not None and size is not None
        ]
        for side in ("bid", "ask")
    )
    return bids, asks


def book_object(bids: Levels, asks: Levels, stamp: int, form: Format, *, is_existing: bool) -> Values:
    """Return a whole order book at `stamp` (Unix ms) as a dict with the field names of the format `form`.

    `is_existing` is True in the initial snapshot, False in an update. Source: ALOR's protocol page §6.1.
    """
    if form == "slim":
        sides = {"b": _levels(bids, "p", "v"), "a": _levels(asks, "p", "v")}
        return {**sides, "t": stamp, "h": is_existing}
    sides = {"bids": _levels(bids, "price", "volume"), "asks": _levels(asks, "price", "volume")}
    if form == "heavy":
        return {**sides, "msTimestamp": stamp, "existing": is_existing}
    # `snapshot` was never seen with another value (U28).
    return {"snapshot": True, **sides, "timestamp": stamp // 1000, "ms_timestamp": stamp, "existing": is_existing}


def trade_values(security: Security, trade: Print, *, is_existing: bool, has_zone: bool = True) -> Values:
    """Return a public trade with the field names of ALOR's Simple format (ALOR's protocol page §6.4).

    `security` is the instrument's reference data. `orderno` is always 0, as the broker was seen to send it, though
    its schema says text (protocol page §14, D11). `is_existing` is True in the initial snapshot, False in an update;
    `has_zone` False leaves the time zone out.
    """
    return {
        "id": trade.number,
        "orderno": 0,
        "symbol": security.symbol,
        "board": security.board,
        "qty": trade.size,
        "price": trade.price,
        "time": iso_time(trade.ts_ns, has_zone=has_zone),
        "timestamp": trade.ts_ns // NS_PER_MS,
        "oi": 0,
        "existing": is_existing,
        "side": trade.side,
    }


def bar_values(bar: Sequence[float]) -> Values:
    """Return a bar as a dict with the field names of ALOR's Simple format.

    `bar` is (time in Unix s, open, high, low, close, volume).
    """
    time, first, high, low, last, volume = bar
    return {"time": int(time), "close": last, "open": first, "high": high, "low": low, "volume": volume}


def limits_centre(listing: TradedListing, before: float) -> float:
    """Return the price at the centre of an instrument's price limits; `before` is the previous centre, 0 for none.

    It moves in steps of one percent, and only after a move of more than three quarters of a step, so that limits
    change occasionally and not back and forth with every trade.
    """
    quantum, price = listing.rounded(listing.previous_close / 100), float(listing.last.price)
    if not quantum:
        return price
    has_moved = abs(price - before) > 0.75 * quantum
    return round(price / quantum) * quantum if has_moved else before


def instrument_values(security: Security, listing: TradedListing | None, status: int, centre: float = 0.0) -> Values:
    """Return an instrument's whole trading state with the field names of ALOR's Simple format.

    `security` is its reference data, `listing` its present state; None, for a recorded instrument, leaves prices out.
    `status` is a code such as 17 for normal trading or 18 for a closed market, `centre` the price at the centre of
    the price limits. Margins for futures only. Source: ALOR's protocol page §6.5.
    """
    values: Values = {
        "symbol": security.symbol,
        "exchange": security.exchange,
        "board": security.board,
        "tradingStatus": status,
        "tradingStatusInfo": STATUS_TEXTS[status],
    }
    if listing is None:
        return values
    values["priceMin"] = listing.rounded(centre * (1 - LIMIT_SHARE))
    values["priceMax"] = listing.rounded(centre * (1 + LIMIT_SHARE))
    if security.is_future:
        margin = round(security.margin(centre), 2)
        values |= {"marginBuy": margin, "marginSell": round(1.02 * margin, 2)}
    return values


def _quote_frame(security: Security) -> Values:
    """Return the fields of a quote that never change, and those that shares do not have.

    They have the names of ALOR's Simple format.
    """
    return {
        "symbol": security.symbol,
        "exchange": security.exchange,
        "description": security.description,
        "currency": security.currency,
        "accruedInt": security.accrued or 0,
        "accrued_interest": security.accrued or 0,
        "open_interest": 0,
        "ob_ms_timestamp": None,
        "yield": None,
        "lotsize": security.lot,
        "facevalue": security.face_value,
        "type": security.kind,
    }


def _levels(levels: Levels, price: str, volume: str) -> list[Values]:
    return [{price: each, volume: size} for each, size in levels]
