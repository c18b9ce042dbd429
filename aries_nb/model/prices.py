"""What a price is, and when the two sides of a quote are believable together; the one rule of stores and views.

0 and NaN are no price: brokers send 0 for a side that is not there. Nor is that of a side whose size alone is 0: nobody
offers anything at it. Where both sizes are 0, the market has none, as that of currencies, and both prices count. A
number below 0 is a price (spreads, oil). Two sides are believable together where neither is beyond the other and they
are not further apart than a market maker's stub quotes are, 0.01 and 199,999.99.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from aries_nb.model.columns import Value, Values
    from aries_nb.model.view_data import FrameRows, Numbers

__all__ = [
    "FROM_SIDES",
    "SIZE_OF",
    "empty_sides",
    "has_sides",
    "is_believable",
    "is_never_zero",
    "is_price",
    "is_price_column",
    "middle",
    "middles",
    "sides_of",
    "sides_to_draw",
    "spreads",
]

# Bid and ask further apart than this share of their middle are stub quotes (assumed): 1 and 3 are not, 1 and 4 are.
WIDEST = 1.0
STUBS = (
    200.0  # a chart of quotes without a last price leaves out sides of which one is more than so many times the other
)


def is_price_column(name: str) -> bool:
    """Whether a column of quotes or trades holds prices: "price", "bid_price", "last_price" and the like."""
    return name == "price" or name.endswith("_price")


def is_never_zero(name: str) -> bool:
    """Whether 0 in a column stands for a value that is not there: of prices and of the implied volatility."""
    return is_price_column(name) or name == "implied_volatility"


def is_price(value: float) -> bool:
    """Whether a number is a price."""
    return math.isfinite(value) and value != 0


def is_believable(bid: float, ask: float) -> bool:
    """Whether both sides are prices, not crossed, and close enough together for their middle to be a price."""
    return is_price(bid) and is_price(ask) and 0 <= ask - bid <= WIDEST * abs(bid + ask) / 2


def middle(bid: float, ask: float) -> float:
    """The middle of bid and ask; NaN where they are not believable."""
    return (bid + ask) / 2 if is_believable(bid, ask) else math.nan


def checked_middle(sent: float, bid: float, ask: float) -> float:
    """The middle as the broker sent it; NaN where the sides are not believable, computed where it sent none."""
    if not is_believable(bid, ask):
        return math.nan
    return sent if is_price(sent) else (bid + ask) / 2


def checked_spread(sent: float, bid: float, ask: float) -> float:
    """The spread as the broker sent it; NaN where a side is not there or they are stub quotes, else as `spreads`."""
    if not is_believable(bid, ask) and not is_believable(ask, bid):
        return math.nan
    return sent if math.isfinite(sent) else float(Decimal(repr(ask)) - Decimal(repr(bid)))


# Columns that follow from bid and ask: their value by what the broker sent, and the sides.
FROM_SIDES: Mapping[str, Callable[[float, float, float], float]] = {
    "mid_price": checked_middle,
    "spread": checked_spread,
}


# The size of each side.
SIZE_OF: Mapping[str, str] = {"bid_price": "bid_size", "ask_price": "ask_size"}


def sides_of(fields: Sequence[str]) -> list[tuple[int, int, int | None]]:
    """The places of price, size and the other side's size, if there is one, of each side with both in these fields."""
    places = {name: place for place, name in enumerate(fields)}
    sizes = list(SIZE_OF.values())
    return [
        (places[name], places[size], places.get(other))
        for (name, size), other in zip(SIZE_OF.items(), reversed(sizes), strict=True)
        if {name, size} <= places.keys()
    ]


def empty_sides(values: Sequence[Value], sides: Sequence[tuple[int, int, int | None]]) -> Values:
    """The values of a quote with NaN for the price of each of these sides whose size alone is 0."""
    found = list(values)
    for price, size, other in sides:
        if values[size] == 0 and (other is None or values[other] != 0):
            found[price] = math.nan
    return tuple(found)


def has_sides(rows: FrameRows, chosen: NDArray[np.int64]) -> bool:
    """Whether any of these rows of quotes has a bid or an ask; an index never has."""
    return any(bool((abs(rows.numbers[name][chosen]) > 0).any()) for name in ("bid_price", "ask_price"))


def middles(bids: Numbers, asks: Numbers) -> Numbers:
    """The middle of each pair of bid and ask; NaN where they are not believable."""
    import numpy as np

    halves = (bids + asks) / 2
    with np.errstate(invalid="ignore"):  # an infinite side
        apart = asks - bids
    is_known = (bids != 0) & (asks != 0) & (apart >= 0) & (apart <= WIDEST * np.abs(halves)) & np.isfinite(halves)
    return np.where(is_known, halves, np.nan)


def spreads(bids: Numbers, asks: Numbers) -> Numbers:
    """Ask less bid of each pair, below 0 where crossed; NaN where a side is not there or they are stub quotes."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        apart = asks - bids
        is_known = (bids != 0) & (asks != 0) & (np.abs(apart) <= WIDEST * np.abs(bids + asks) / 2)
    return np.where(is_known & np.isfinite(apart), apart, np.nan)


def sides_to_draw(bids: Numbers, asks: Numbers, lasts: Numbers) -> tuple[Numbers, Numbers]:
    """Bids and asks as a chart draws them: NaN for stub quotes, which would stretch its axis.

    Of two sides that are too far apart for a middle, one that is near the last price stays. Where no last price is
    known both stay, as of a cheap option, unless one is 200 times the other. Sides of different sign are no stub
    quotes.
    """
    import numpy as np

    with np.errstate(invalid="ignore"):
        are_apart = (bids * asks > 0) & (asks - bids > WIDEST * np.abs(bids + asks) / 2)
        are_stubs = np.maximum(np.abs(bids), np.abs(asks)) > STUBS * np.minimum(np.abs(bids), np.abs(asks))
        bid, ask = (
            np.where(
                are_apart
                & np.where(np.isnan(lasts), are_stubs, np.abs(side - lasts) > WIDEST * np.abs(side + lasts) / 2),
                np.nan,
                side,
            )
            for side in (bids, asks)
        )
    return bid, ask
