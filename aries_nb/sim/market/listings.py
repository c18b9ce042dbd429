"""Listings of the simulated market: each is the state of one traded share, option or index.

Shares and options have an order book, indices do not. `step` makes one event. Prices are in whole ticks; divide by
`scale` for the price. Sizes are in shares or contracts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, NamedTuple

from aries_nb.sim.market.book import DEPTH, Book
from aries_nb.sim.market.instruments import CENT, Equity, Index
from aries_nb.sim.market.options import Contract, Greeks, black_scholes, smile

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

__all__ = ["EquityListing", "Focus", "IndexListing", "Listing", "OptionListing", "Quote", "Trade", "TradedListing"]

#: The subscribed kind of events: with "quotes" every event changes the quote, with "trades" every event is a trade.
Focus = Literal["book", "quotes", "trades"]
VENUES = ("Q", "P", "N", "Z", "K", "V")
OFF_EXCHANGE = "D"
MIN_OPTION_TICKS = 3.0
MIN_FAIR_TICKS = 100.0


class Quote(NamedTuple):
    """Best bid and ask of a share or option.

    Prices are in its currency, sizes in shares or contracts; the venues are codes of exchanges.
    """

    bid_price: float
    bid_size: int
    ask_price: float
    ask_size: int
    bid_venue: str
    ask_venue: str


class Trade(NamedTuple):
    """One trade of a listing: `price` in its currency, `size` in shares or contracts, `venue` the code of the exchange.

    `side` is that of the order that took the liquidity; `number` increases by one within a listing.
    """

    price: float
    size: float
    side: Literal["buy", "sell", "unknown"]
    number: int
    venue: str


class Listing(ABC):
    """Base class of the state of one instrument of the simulated market.

    It has the day's opening, high, low and volume, and the last trade.
    """

    #: Ticks per unit of currency.
    scale = CENT
    #: Ticks that are subtracted for a price, so that prices may be negative.
    below = 0

    def __init__(self, symbol: str, rng: Random, *, previous: float, opening: float) -> None:
        self.symbol = symbol
        self.rng = rng
        self.previous_close = self.rounded(previous)
        self.open = self.high = self.low = self.rounded(opening)
        self.volume = 0
        self.number = 0
        self.last = Trade(self.open, 0, "unknown", 0, "")

    def price(self, tick: int) -> float:
        """Return the price, in units of currency, of a level of the order book."""
        return (tick - self.below) / self.scale

    @abstractmethod
    def step(self, focus: Focus) -> Trade | None:
        """Make one market event; return the trade, None if it was none.

        `focus` is the most detailed data that any client needs: "book" makes all kinds of events, "quotes" none
        behind the best bid and ask, "trades" (also without clients) only trades.
        """

    def rounded(self, price: float) -> float:
        """Return a price, in units of currency, rounded to whole ticks."""
        return round(price * self.scale) / self.scale

    def _record(self, price: float, size: int, side: Literal["buy", "sell", "unknown"], venue: str) -> Trade:
        self.number += 1
        self.volume += size
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.last = Trade(price, size, side, self.number, venue)
        return self.last


class TradedListing(Listing):
    """A share or option with an order book that follows its fair price.

    `previous` is the close of the day before, `opening` the first price, both in units of currency; `spread` is the
    usual one in ticks. Sizes in the book are multiples of `round_lot`; it has `levels` per side.
    """

    #: "e" for a share, "o" for an option (protocol page §3.4.2, old field list).
    instrument_type = "e"
    trade_share = 0.2
    deep_share = 0.25
    mean_trade = 90.0
    #: Trade sizes are multiples of this many shares or contracts.
    lot = 1

    def __init__(
        self,
        symbol: str,
        rng: Random,
        *,
        previous: float,
        opening: float,
        spread: int,
        round_lot: int,
        mean_lots: float,
        levels: int = DEPTH,
    ) -> None:
        super().__init__(symbol, rng, previous=previous, opening=opening)
        self.bid_venue = self.ask_venue = VENUES[0]
        self.book = Book(rng, opening * self.scale, spread=spread, lot=round_lot, mean_lots=mean_lots, depth=levels)

    @abstractmethod
    def fair(self) -> float:
        """Return the fair price, in ticks, towards which the order book moves."""

    def quote(self) -> Quote:
        """Return the order book's present best bid and ask, with sizes and exchanges."""
        bids, asks = self.book.bids, self.book.asks
        return Quote(
            self.price(bids.ticks[0]),
            bids.sizes[0],
            self.price(asks.ticks[0]),
            asks.sizes[0],
            self.bid_venue,
            self.ask_venue,
        )

    def step(self, focus: Focus) -> Trade | None:
        """Make one event: a trade at the quote, or an order added or removed. Return the trade, None if it was none.

        `focus` is the most detailed data that any client needs: "book" makes all kinds of events, "quotes" none
        behind the best bid and ask, "trades" (also without clients) only trades.
        """
        drawn = self.rng.random()
        fair = self.fair()
        if focus == "trades":
            # Without subscribers to quotes the book is moved between the trades.
            self.book.follow(fair)
        elif drawn >= self.trade_share:
            if focus == "book" and drawn > 1.0 - self.deep_share:
                self.book.resize_deep()
            else:
                self._follow(fair, drawn)
            return None
        return self._trade(fair)

    def _follow(self, fair: float, drawn: float) -> None:
        self.book.follow(fair)
        if drawn < self.trade_share + 0.06:
            venue = VENUES[int(self.rng.random() * len(VENUES))]
            if drawn < self.trade_share + 0.03:
                self.bid_venue = venue
            else:
                self.ask_venue = venue

    def _trade(self, fair: float) -> Trade:
        book = self.book
        bias = book.distance(fair) / (2.0 * book.spread + 2.0)
        is_buy = self.rng.random() < 0.5 + max(-0.45, min(0.45, bias))
        side, venue = (book.asks, self.ask_venue) if is_buy else (book.bids, self.bid_venue)
        tick = side.ticks[0]
        traded = side.take(self.lot * (1 + int(self.rng.expovariate(1.0) * self.mean_trade)))
        if self.rng.random() < 0.3:
            venue = OFF_EXCHANGE
        return self._record(self.price(tick), traded, "buy" if is_buy else "sell", venue)


class EquityListing(TradedListing):
    """A share or fund of the simulated market; `move` changes the fair price that its order book follows."""

    def __init__(self, equity: Equity, rng: Random) -> None:
        self.equity = equity
        self.scale, self.lot, self.below = equity.scale, equity.lot, equity.below
        previous = equity.price * math.exp(rng.gauss(0.0, 0.01))
        self.opening = self.rounded(previous * math.exp(rng.gauss(0.0, 0.004)))
        self._fair = self.opening * self.scale
        super().__init__(
            equity.symbol,
            rng,
            previous=previous,
            opening=self.opening,
            spread=equity.spread,
            round_lot=equity.round_lot,
            mean_lots=max(1.0, 0.4 * math.sqrt(equity.volume)),
            levels=equity.levels,
        )
        self.bid_venue = self.ask_venue = equity.venue
        # The simulation begins some hours into the trading day.
        self.volume = int(equity.volume * 1e6 * rng.uniform(0.3, 0.5)) // self.lot * self.lot
        self.number = self.volume // 110
        swing = 0.004 * rng.random() * self.opening
        self.high, self.low = self.rounded(self.opening + swing), self.rounded(self.opening - swing)
        if self.below:
            lower = (self.previous_close, self.open, self.high, self.low)
            self.previous_close, self.open, self.high, self.low = (
                self.price(round(each * self.scale)) for each in lower
            )
        self.last = Trade(self.open, equity.round_lot, "buy", self.number, equity.venue)

    def fair(self) -> float:
        """Return the fair price, in ticks, towards which the order book moves."""
        return self._fair

    @property
    def growth(self) -> float:
        """The fair price (the random price that the order book follows) divided by the opening price."""
        return self._fair / (self.opening * self.scale)

    def split(self, ratio: float) -> None:
        """Divide all prices by `ratio`: the number of new shares for an old one."""
        self._fair, self.opening = self._fair / ratio, self.opening / ratio
        self.previous_close, self.open, self.high, self.low = (
            self.rounded(each / ratio) for each in (self.previous_close, self.open, self.high, self.low)
        )
        self.last = self.last._replace(price=self.rounded(self.last.price / ratio))
        self.book.rebuild(self._fair)

    def move(self, log_return: float) -> None:
        """Change the fair price, which the order book follows, by a logarithmic return.

        It stays at or above 100 ticks.
        """
        self._fair = max(MIN_FAIR_TICKS, self._fair * math.exp(log_return))


class OptionListing(TradedListing):
    """An option contract of the simulated market, with an order book that follows its fair price.

    That is the Black-Scholes price at the fair price of its underlying `share`. `term` is the time to expiry in
    years.
    """

    instrument_type = "o"
    trade_share = 0.05
    mean_trade = 4.0

    def __init__(self, contract: Contract, share: EquityListing, rng: Random, *, term: float) -> None:
        self.contract = contract
        self.share = share
        self.term = term
        self._volatility_noise = 0.0
        self.rng = rng
        # Of the share's opening, whenever the option is first asked for.
        start = share.opening
        volatility = smile(share.equity.volatility, start, contract.strike, term=term)
        opened = black_scholes(start, contract.strike, term, volatility, right=contract.right)
        fair = max(MIN_OPTION_TICKS, opened.price * CENT)
        super().__init__(
            contract.symbol,
            rng,
            previous=max(0.01, fair * math.exp(rng.gauss(0.0, 0.05)) / CENT),
            opening=fair / CENT,
            spread=max(1, min(60, round(0.02 * fair))),
            round_lot=1,
            mean_lots=18.0,
        )
        self.book.rebuild(self.fair())

    @property
    def volatility(self) -> float:
        """Implied volatility per year: the share's, adjusted for strike and expiry, with small random changes."""
        spot = self.share.fair() / self.share.scale
        adjusted = smile(self.share.equity.volatility, spot, self.contract.strike, term=self.term)
        return adjusted * (1.0 + self._volatility_noise)

    def greeks(self) -> Greeks:
        """Return the option's Black-Scholes price and sensitivities at the share's fair price."""
        spot = self.share.fair() / self.share.scale
        return black_scholes(spot, self.contract.strike, self.term, self.volatility, right=self.contract.right)

    def fair(self) -> float:
        """Return the fair price, in ticks, towards which the order book moves.

        At least 3 ticks, even for a worthless option.
        """
        return max(MIN_OPTION_TICKS, self.greeks().price * CENT)

    def step(self, focus: Focus) -> Trade | None:
        """Change the implied volatility slightly, and make one event; return the trade, None if it was none.

        `focus` is the most detailed data that any client needs: "book" makes all kinds of events, "quotes" none
        behind the best bid and ask, "trades" (also without clients) only trades.
        """
        self._volatility_noise = 0.99 * self._volatility_noise + self.rng.gauss(0.0, 0.0004)
        return super().step(focus)


class IndexListing(Listing):
    """A stock index of the simulated market: a level that follows its members' prices, without bid, ask and volume.

    `growth` returns the members' mean price as a multiple of the opening.
    """

    def __init__(self, index: Index, rng: Random, growth: Callable[[], float]) -> None:
        self.index = index
        self._growth = growth
        self._noise = 0.0
        previous = index.level * math.exp(rng.gauss(0.0, 0.006))
        super().__init__(index.symbol, rng, previous=previous, opening=index.level)

    def step(self, focus: Focus) -> Trade | None:  # noqa: ARG002 - every event of an index is a new level
        """Publish the present level as a trade of size 0, and return it; None if the level is unchanged.

        The level has a small random error that stands for rounding and delay. `focus` is ignored.
        """
        self._noise = 0.9 * self._noise + self.rng.gauss(0.0, 3e-6)
        level = round(self.index.level * self._growth() ** self.index.exponent * (1.0 + self._noise), 2)
        if level == self.last.price:
            return None
        side: Literal["buy", "sell"] = "buy" if level > self.last.price else "sell"
        return self._record(level, 0, side, "")
