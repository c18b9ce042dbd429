"""The instruments of the simulated market, with invented but plausible prices, volatilities and volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aries_nb.sim.market.book import DEPTH

if TYPE_CHECKING:
    from collections.abc import Collection

    from aries_nb.sim.market.troubles import Trouble

__all__ = ["CENT", "EQUITIES", "INDICES", "NEW_YORK_HOURS", "Equity", "Hours", "Index", "rough_equities"]

#: Default ticks per unit of currency: a price is ticks / CENT, the float nearest to the decimal.
CENT = 100


@dataclass(frozen=True, slots=True)
class Hours:
    """The main trading session on weekdays.

    `opening` is in minutes after midnight in the time zone `zone`, `minutes` the session's length.
    """

    zone: str
    opening: int
    minutes: int


NEW_YORK_HOURS = Hours("America/New_York", 9 * 60 + 30, 390)


@dataclass(frozen=True, slots=True)
class Equity:
    """A share or fund: `price` in its currency, `volatility` per year, `volume` in millions of shares per day.

    `spread` is the usual bid-ask spread in ticks, `beta` the sensitivity to the market's returns. `scale` is the
    number of ticks per unit of currency; every price is `below` ticks lower than the one that moves, so that it may be
    negative. `venue` is the code of its exchange. Trade sizes are multiples of `lot`
    shares, book sizes of `round_lot`; the book has `levels` per side.
    """

    symbol: str
    price: float
    volatility: float
    volume: float
    spread: int = 1
    beta: float = 1.0
    venue: str = "Q"
    scale: int = CENT
    below: int = 0
    lot: int = 1
    round_lot: int = 100
    levels: int = DEPTH
    hours: Hours = NEW_YORK_HOURS


@dataclass(frozen=True, slots=True)
class Index:
    """A stock index: `level` is its value at the opening.

    `members` are the symbols of its equities, with equal weights. `exponent` is the power of the members' mean
    growth that gives the index: 1 for one of shares, negative for volatility.
    """

    symbol: str
    level: float
    members: tuple[str, ...]
    exponent: float = 1.0


_TABLE = (
    Equity("AAPL", 268.40, 0.27, 52.0, 1, 1.10, "Q"),
    Equity("MSFT", 505.10, 0.24, 21.0, 2, 1.05, "Q"),
    Equity("NVDA", 187.60, 0.42, 180.0, 1, 1.70, "Q"),
    Equity("AMZN", 232.70, 0.32, 42.0, 1, 1.25, "Q"),
    Equity("GOOGL", 285.30, 0.30, 34.0, 2, 1.15, "Q"),
    Equity("META", 612.80, 0.35, 14.0, 4, 1.30, "Q"),
    Equity("TSLA", 412.50, 0.58, 88.0, 3, 1.90, "Q"),
    Equity("AVGO", 352.20, 0.45, 23.0, 4, 1.60, "Q"),
    Equity("AMD", 243.90, 0.52, 48.0, 2, 1.80, "Q"),
    Equity("INTC", 37.85, 0.50, 95.0, 1, 1.30, "Q"),
    Equity("NFLX", 111.40, 0.33, 38.0, 2, 1.10, "Q"),
    Equity("CSCO", 77.30, 0.21, 22.0, 1, 0.80, "Q"),
    Equity("ADBE", 331.60, 0.31, 4.0, 6, 1.10, "Q"),
    Equity("COST", 914.20, 0.19, 2.1, 18, 0.70, "Q"),
    Equity("PEP", 145.90, 0.17, 6.8, 2, 0.40, "Q"),
    Equity("JPM", 309.70, 0.23, 9.1, 3, 0.95, "N"),
    Equity("BAC", 52.60, 0.25, 39.0, 1, 1.00, "N"),
    Equity("GS", 801.50, 0.27, 2.0, 20, 1.15, "N"),
    Equity("V", 336.10, 0.19, 6.0, 3, 0.75, "N"),
    Equity("UNH", 321.40, 0.34, 9.0, 5, 0.50, "N"),
    Equity("JNJ", 199.80, 0.16, 8.2, 2, 0.35, "N"),
    Equity("PFE", 25.10, 0.22, 48.0, 1, 0.45, "N"),
    Equity("XOM", 117.20, 0.22, 15.0, 1, 0.60, "N"),
    Equity("CVX", 153.40, 0.21, 8.0, 2, 0.60, "N"),
    Equity("WMT", 102.90, 0.20, 17.0, 1, 0.55, "N"),
    Equity("KO", 71.20, 0.14, 15.0, 1, 0.35, "N"),
    Equity("DIS", 106.80, 0.26, 9.5, 1, 1.00, "N"),
    Equity("BA", 195.40, 0.33, 7.2, 4, 1.20, "N"),
    Equity("SPY", 672.30, 0.14, 74.0, 1, 1.00, "P"),
    Equity("QQQ", 612.90, 0.19, 56.0, 1, 1.25, "P"),
    Equity("IWM", 239.70, 0.22, 33.0, 1, 1.15, "P"),
)
EQUITIES: dict[str, Equity] = {equity.symbol: equity for equity in _TABLE}
#: Shares of the rough market alone, by the trouble that lists them.
ROUGH_EQUITIES: dict[Trouble, tuple[Equity, ...]] = {
    "extreme_prices": (
        Equity("TINY", 0.00000873, 0.60, 60.0, 1, scale=100_000_000),
        Equity("CRUDE", 20.00, 0.50, 20.0, 2, below=5763),
    ),
    "server_spelling": (Equity("BRK.B", 498.20, 0.18, 3.0, 4, 0.80, "N"),),
}


def rough_equities(troubles: Collection[Trouble]) -> dict[str, Equity]:
    """Return the shares that troubles of the rough market add to the listed ones, by symbol."""
    return {each.symbol: each for trouble, found in ROUGH_EQUITIES.items() if trouble in troubles for each in found}


_SHARES = tuple(equity.symbol for equity in _TABLE if equity.venue != "P")
_NASDAQ = tuple(equity.symbol for equity in _TABLE if equity.venue == "Q")
_NYSE = tuple(equity.symbol for equity in _TABLE if equity.venue == "N")
_BLUE = ("AAPL", "MSFT", "NVDA", "AMZN", "CSCO", "JPM", "GS", "V", "UNH", "JNJ", "CVX", "WMT", "KO", "DIS", "BA")

INDICES: dict[str, Index] = {
    index.symbol: index
    for index in (
        Index("SPX", 6723.10, _SHARES),
        Index("NDX", 25180.40, _NASDAQ),
        Index("DJI", 47120.60, _BLUE),
        Index("VIX", 17.85, _SHARES, -6.0),
        Index("RUT", 2412.70, ("IWM",)),
        Index("COMP", 23210.90, _NASDAQ),
        Index("NYA", 21540.30, _NYSE),
        Index("OEX", 3358.20, _SHARES[:20]),
        Index("MID", 3241.50, ("IWM", "BA", "DIS", "GS")),
        Index("SML", 1441.80, ("IWM", "BAC", "PFE")),
    )
}
