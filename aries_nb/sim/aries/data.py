"""The field `data` of update events, from the market or a recording, with the names of the Aries market endpoint.

Source: Aries' protocol page §3.4. Times are Unix ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aries_nb.sim.market.book import VISIBLE_LEVELS
from aries_nb.sim.market.listings import TradedListing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aries_nb.sim.market.listings import Listing, Quote, Trade
    from aries_nb.sim.market.options import Greeks
    from aries_nb.sim.market.recording import Recording
    from aries_nb.sim.market.rough import RoughQuote

__all__ = [
    "BookRows",
    "VenueRows",
    "changes",
    "greeks_data",
    "print_data",
    "quote_data",
    "recorded_levels",
    "recorded_print_data",
    "recorded_quote_data",
    "recorded_trade_data",
    "rough_quote_data",
    "rough_venue_rows",
    "trade_data",
]

Data = dict[str, Any]

#: "+" is a buy at the ask, "-" a sale at the bid (assumed, §9 U13).
TICKS = {"buy": "+", "sell": "-"}
RECORDED_VENUE = "SIM"
NS_PER_MS = 1_000_000
#: Market identifiers of the venues in book rows, as in the page's example (§3.4.4).
VENUE_NAMES = {"Q": "XNAS", "P": "ARCX", "N": "XNYS", "Z": "BATS", "K": "EDGX", "V": "IEXG"}


def changes(state: Data, now: Mapping[str, Any]) -> Data:
    """Update the dict `state` in place with the values of `now`; return those that differed from it."""
    changed = {name: value for name, value in now.items() if state.get(name) != value}
    state.update(changed)
    return changed


def quote_data(before: Mapping[str, Any], quote: Quote, stamp: int) -> Data:
    """Return the quote fields that differ from `before`, the fields sent last; empty if the quote is unchanged.

    `stamp` is the time in Unix ms. The time and the changes of a side are those of the last event in which that
    side changed (Aries' protocol page §3.4.1).
    """
    bid, bid_size, ask, ask_size, bid_venue, ask_venue = quote
    data: Data = {}
    old_bid, old_ask = before.get("bidPrice", bid), before.get("askPrice", ask)
    old_bid_size, old_ask_size = before.get("bidSize", bid_size), before.get("askSize", ask_size)
    is_first = not before
    if is_first or bid != old_bid or bid_size != old_bid_size or bid_venue != before["bidExchange"]:
        data["bidPrice"] = bid
        data["bidSize"] = bid_size
        data["bidChange"] = round(bid - old_bid, 2)
        data["bidSizeChange"] = bid_size - old_bid_size
        data["bidExchange"] = bid_venue
        data["bidTimestamp"] = stamp
    if is_first or ask != old_ask or ask_size != old_ask_size or ask_venue != before["askExchange"]:
        data["askPrice"] = ask
        data["askSize"] = ask_size
        data["askChange"] = round(ask - old_ask, 2)
        data["askSizeChange"] = ask_size - old_ask_size
        data["askExchange"] = ask_venue
        data["askTimestamp"] = stamp
    if data:
        data["quoteTimestamp"] = stamp
        if is_first or bid != old_bid or ask != old_ask:
            # The finest step is half a cent: four digits remove rounding errors of floats and nothing else.
            data["midPrice"] = round((bid + ask) / 2, 4)
            data["spread"] = round(ask - bid, 4)
    return data


def rough_quote_data(before: Mapping[str, Any], shown: RoughQuote, stamp: int) -> Data:
    """Return the quote fields that differ from `before` for a quote of the rough market; `stamp` as `quote_data`.

    A missing side is sent as zeros, as null, or with its price unchanged and size 0: in an update a field that is
    absent is one that did not change.
    """
    known = {name: 0 if value is None else value for name, value in before.items()}
    sides = {name: shown.side(name) for name in ("bid", "ask")}
    for name in shown.missing if shown.form == "absent" else ():
        sides[name] = (before.get(f"{name}Price", 0.0), 0)
    (bid, bid_size), (ask, ask_size) = sides["bid"], sides["ask"]
    quote = shown.quote._replace(bid_price=bid or 0, bid_size=bid_size or 0, ask_price=ask or 0, ask_size=ask_size or 0)  # type: ignore[arg-type]
    data = quote_data(known, quote, stamp)
    for name in shown.missing if shown.form == "null" else ():
        data |= {field: None for field in (f"{name}Price", f"{name}Size") if field in data}
        data |= {field: None for field in ("midPrice", "spread") if field in data}
    return data


def trade_data(listing: Listing, trade: Trade, stamp: int) -> Data:
    """Return all fields of a trade update for `trade`, the newest of the instrument, at `stamp` (Unix ms).

    `listing` is the instrument's state after it. An index has no sizes. Source: Aries' protocol page §3.4.2.
    """
    price = trade.price
    data: Data = {
        "price": price,
        "lastPrice": price,
        "netChange": round(price - listing.previous_close, 2),
        "openPrice": listing.open,
        "highPrice": listing.high,
        "lowPrice": listing.low,
        "closePrice": listing.previous_close,
        "previousClosePrice": listing.previous_close,
        "tickVolume": listing.number,
        "tick": TICKS.get(trade.side, "0"),
        "tradeSeq": trade.number,
        "tradeTimestamp": stamp,
        "high52Week": round(max(listing.high, 1.28 * listing.previous_close), 2),
        "low52Week": round(min(listing.low, 0.71 * listing.previous_close), 2),
    }
    if isinstance(listing, TradedListing):
        data["totalVolume"] = listing.volume
        data["instrumentType"] = listing.instrument_type
        if trade.size:
            data["size"] = trade.size
            data["tradeExchange"] = trade.venue
    return data


def print_data(symbol: str, trade: Trade, stamp: int) -> Data:
    """Return the fields of one Time & Sales entry at `stamp` (Unix ms).

    All values are text (Aries' protocol page §3.4.3).
    """
    return {
        "symbol": symbol,
        "price": repr(trade.price),
        "size": str(trade.size),
        "tick": TICKS.get(trade.side, "0"),
        "tradeSeq": str(trade.number),
        "tradeExchange": trade.venue,
        "tradeTimestamp": str(stamp),
    }


def greeks_data(greeks: Greeks, volatility: float) -> Data:
    """Return an option's Greeks and implied volatility under the names that Aries' protocol page §3.4.5 assumes."""
    return {
        "delta": round(greeks.delta, 6),
        "gamma": round(greeks.gamma, 6),
        "theta": round(greeks.theta, 6),
        "vega": round(greeks.vega, 6),
        "rho": round(greeks.rho, 6),
        "impliedVolatility": round(volatility, 6),
    }


def recorded_quote_data(recording: Recording, row: int) -> Data:
    """Return a row of recorded quotes as the fields of a quote update; values that it lacks are left out.

    Bid and ask are the floats of the file, never rounded.
    """
    columns = recording.columns
    bid, ask = columns["bid_price"][row], columns["ask_price"][row]
    stamp = recording.times[row] // NS_PER_MS
    data = {
        "bidPrice": bid,
        "bidSize": columns["bid_size"][row],
        "bidTimestamp": stamp,
        "askPrice": ask,
        "askSize": columns["ask_size"][row],
        "askTimestamp": stamp,
        "quoteTimestamp": stamp,
    }
    if bid is not None and ask is not None:
        data["midPrice"] = (bid + ask) / 2
        data["spread"] = ask - bid
    return _present(data)


def recorded_trade_data(recording: Recording, row: int) -> Data:
    """Return a row of recorded trades as the fields of a trade update; `tradeSeq` is the row's number from 1."""
    columns = recording.columns
    price = columns["price"][row]
    return _present(
        {
            "price": price,
            "size": columns["size"][row],
            "lastPrice": price,
            "tick": TICKS.get(columns["side"][row], "0"),
            "tradeSeq": row + 1,
            "tradeExchange": RECORDED_VENUE,
            "tradeTimestamp": recording.times[row] // NS_PER_MS,
        }
    )


def recorded_print_data(recording: Recording, row: int) -> Data:
    """Return a row of recorded trades as a Time & Sales entry; the text of a number parses back to the same float."""
    data = recorded_trade_data(recording, row)
    texts = {name: value if isinstance(value, str) else repr(value) for name, value in data.items()}
    del texts["lastPrice"]
    return {"symbol": recording.symbol, **texts}


class BookRows:
    """Makes the level-2 rows "askSize:price:bidSize" of one symbol's book events.

    Levels that were removed since the last event are sent with zeros (Aries' protocol page §3.4.4).
    """

    def __init__(self) -> None:
        self._shown: dict[float, tuple[float, str]] = {}

    def rows(self, asks: Iterable[tuple[float, float]], bids: Iterable[tuple[float, float]]) -> list[str]:
        """Return a row for each level, asks then bids, best first.

        Then `0:price:0` for each price removed since the last call. `asks` and `bids` are (price, size).
        """
        before, shown = self._shown, {}
        for price, size in asks:
            previous = before.get(price)
            shown[price] = previous if previous and previous[0] == size else (size, f"{size}:{price!r}:0")
        for price, size in bids:
            if price in shown:  # a locked book, possible in recordings only
                shown[price] = (0, f"{shown[price][0]}:{price!r}:{size}")
                continue
            previous = before.get(price)
            # Bid sizes are stored negative, to distinguish them from ask sizes.
            shown[price] = previous if previous and previous[0] == -size else (-size, f"0:{price!r}:{size}")
        self._shown = shown
        rows = [row for _, row in shown.values()]
        rows += [f"0:{price!r}:0" for price in before.keys() - shown.keys()]
        return rows


def recorded_levels(recording: Recording, row: int, side: str) -> list[tuple[float, float]]:
    """Return one side ("bid" or "ask") of a row of a recorded book as (price, size), best first, at most 20 levels."""
    prices, sizes = recording.columns[f"{side}_prices"][row], recording.columns[f"{side}_sizes"][row]
    levels = zip(prices[:VISIBLE_LEVELS], sizes[:VISIBLE_LEVELS], strict=True)
    return [(price, size) for price, size in levels if price is not None and size is not None]


class VenueRows:
    """Makes the rows "exchange:askPrice:askSize:bidPrice:bidSize" of one symbol's book events."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[tuple[float, int], tuple[float, int]]] = {}

    def rows(self, quote: Quote, next_bid: tuple[float, int], next_ask: tuple[float, int]) -> list[str]:
        """Return rows for the exchanges of the best bid and ask, and for those that were better and are no longer.

        An exchange that is best on one side only, or no longer, has the second level elsewhere: `next_bid` or
        `next_ask`, as (price, size).
        """
        bid, ask = (quote.bid_price, quote.bid_size), (quote.ask_price, quote.ask_size)
        if quote.bid_venue == quote.ask_venue:
            best = {quote.bid_venue: (ask, bid)}
        else:
            best = {quote.bid_venue: (next_ask, bid), quote.ask_venue: (ask, next_bid)}
        outdated = [venue for venue, (asked, bidden) in self._shown.items() if asked[0] < ask[0] or bidden[0] > bid[0]]
        now = best | {venue: (next_ask, next_bid) for venue in outdated if venue not in best}
        self._shown |= now
        return [_venue_row(venue, *sides) for venue, sides in now.items()]


def rough_venue_rows(shown: RoughQuote) -> list[str]:
    """Return one row as of `VenueRows` for a quote of the rough market; a missing side has zeros."""
    bid, bid_size = (each or 0 for each in shown.side("bid"))
    ask, ask_size = (each or 0 for each in shown.side("ask"))
    return [f"{VENUE_NAMES.get(shown.quote.bid_venue, shown.quote.bid_venue)}:{ask!r}:{ask_size}:{bid!r}:{bid_size}"]


def _venue_row(venue: str, ask: tuple[float, int], bid: tuple[float, int]) -> str:
    return f"{VENUE_NAMES.get(venue, venue)}:{ask[0]!r}:{ask[1]}:{bid[0]!r}:{bid[1]}"


def _present(data: Data) -> Data:
    return {name: value for name, value in data.items() if value is not None}
