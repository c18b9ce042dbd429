"""What a snapshot has of bars and of an option chain."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aries_nb.live.moments.parts import NOT_HELD, FrameSnapshot, Moment, Part
from aries_nb.model import QUOTE_COLUMNS
from aries_nb.model.prices import is_price, middle

if TYPE_CHECKING:
    from datetime import date

__all__ = ["CHAIN_FIELDS", "BarsSnapshot", "ChainSnapshot", "nearest_strike", "spot_of", "with_latest"]

GREEKS = ("implied_volatility", "delta", "gamma", "theta", "vega", "rho")
CHAIN_FIELDS = (*(column.name for column in QUOTE_COLUMNS), *GREEKS)
BAR_NUMBERS = ("open", "high", "low", "close", "volume", "trades")


class BarsSnapshot(Part):
    """Live bars as they were at the moment when it was taken. Any thread.

    `make` returns them as `df` of the live bars does; it is called once.
    """

    def __init__(self, name: str, symbols: Sequence[str], moment: Moment, make: Callable[[], pd.DataFrame]) -> None:
        self.symbols = tuple(symbols)
        self._make = make
        self._made: pd.DataFrame | None = None
        self._guard = threading.Lock()  # of the two above: a `cached_property` calls twice for two threads
        super().__init__(name, moment, moment.now)

    @property
    def df(self) -> pd.DataFrame:
        """One row a bar, oldest first, with the running bar, as `df` of the live bars had them."""
        return self._frame.copy()

    @property
    def _frame(self) -> pd.DataFrame:
        with self._guard:
            if self._made is None:
                self._made = self._make()
            return self._made

    def values(self) -> dict[tuple[str, str], object]:
        """Return the newest bar of each symbol, with its start, and how many bars there were."""
        frame = self._frame
        symbols = frame["symbol"] if "symbol" in frame else pd.Series(self.symbols[0], frame.index)
        found: dict[tuple[str, str], object] = {("", "bars"): len(frame)}
        for symbol in self.symbols:
            newest = frame[symbols == symbol].iloc[-1:]
            for start, row in newest.iterrows():
                found |= {(symbol, "start"): start} | {(symbol, name): float(row[name]) for name in BAR_NUMBERS}
        return found

    def __len__(self) -> int:
        return len(self._frame)


class ChainSnapshot(Part):
    """An option chain as it was at one moment. Any thread.

    `quotes` has all updates of its contracts, `underlying` those of its underlying, None where it has no quotes.
    """

    def __init__(
        self,
        name: str,
        moment: Moment,
        contracts: pd.DataFrame,
        quotes: FrameSnapshot,
        underlying: FrameSnapshot | None,
        *,
        expiry: date,
    ) -> None:
        self.expiry = expiry
        self.quotes = quotes
        self._contracts = contracts
        self._underlying = underlying
        super().__init__(name, moment, quotes.held_since)

    @property
    def seq(self) -> int:
        """The arrival number of the newest quote of a contract; 0 without one."""
        return self.quotes.seq

    @property
    def df(self) -> pd.DataFrame:
        """One row a contract, by strike, the call before the put, as `df` of the live chain had them."""
        return with_latest(self._contracts, self.quotes.latest)

    @property
    def spot(self) -> float:
        """The last price of the underlying, else the middle of its bid and ask; NaN where neither was known.

        Raises UsageError where the quotes of the underlying are not held so far back.
        """
        if self._underlying is None:
            return math.nan
        return spot_of(dict(self._underlying.latest.iloc[0].items()))

    @property
    def at_the_money(self) -> float:
        """The strike of the chain that was nearest to `spot`; NaN where that was unknown. Raises as `spot`."""
        return nearest_strike(self._contracts, self.spot)

    def values(self) -> dict[tuple[str, str], object]:
        """Return the newest numbers of each contract, how many rows had come, and the spot."""
        is_held = self._underlying is None or self._underlying.is_held
        return {("", "spot"): self.spot if is_held else NOT_HELD} | self.quotes.values()

    def __len__(self) -> int:
        return len(self._contracts)


def with_latest(contracts: pd.DataFrame, latest: pd.DataFrame) -> pd.DataFrame:
    """Return contracts with the newest values of each, `ts` and `received`."""
    return contracts.join(latest[[*CHAIN_FIELDS, "ts", "received"]])


def spot_of(quote: Mapping[Any, Any]) -> float:
    """Return the last price of a quote by its fields, else the middle of its bid and ask; NaN where neither is one."""
    prices = (quote["last_price"], middle(quote["bid_price"], quote["ask_price"]))
    return next((price for price in prices if is_price(price)), math.nan)


def nearest_strike(contracts: pd.DataFrame, spot: float) -> float:
    """Return the strike of contracts that is nearest to a price; NaN where that is unknown."""
    strikes = contracts["strike"].to_numpy()
    return float(strikes[np.argmin(np.abs(strikes - spot))]) if np.isfinite(spot) else math.nan
