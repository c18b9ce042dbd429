"""The synthetic market, generated from a seed; it knows no clock, socket or broker.

It moves in two ways. `Market.drift` moves the fair price of every share by a common and an individual factor, both with
clustered volatility (GARCH). `Listing.step` makes one event in one listing: an order is added or removed, or a trade
takes liquidity at the quote; this moves the book towards the fair price. The same seed and the same calls give the same
events.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

import msgspec

from aries_nb.sim.market import options
from aries_nb.sim.market.instruments import EQUITIES, INDICES, Index
from aries_nb.sim.market.listings import EquityListing, IndexListing, OptionListing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from aries_nb.sim.market.instruments import Equity
    from aries_nb.sim.market.listings import Listing
    from aries_nb.sim.market.options import Contract

__all__ = ["ClusteredNoise", "Market", "MarketHours"]

TRADING_SECONDS = 252 * 6.5 * 3600.0
MARKET_VOLATILITY = 0.14
#: Their sum is just below one: the effect of a shock on the variance is halved after about 230 draws.
GARCH_SHOCK, GARCH_MEMORY = 0.03, 0.967
MAX_VARIANCE = 16.0


class MarketHours(msgspec.Struct, frozen=True):
    """State of the simulated market as its server announces it.

    `market` is "open" or "closed"; the flags say whether there is trading before and after the regular hours.
    """

    market: str = "open"
    early_hours: bool = False
    after_hours: bool = False


class ClusteredNoise:
    """Source of random returns with a mean variance of one per second and clustered volatility: GARCH(1,1)."""

    __slots__ = ("rng", "variance")

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.variance = 1.0

    def draw(self, seconds: float) -> float:
        """Return the random logarithmic return of a period of `seconds`."""
        shock = math.sqrt(self.variance) * self.rng.gauss(0.0, 1.0)
        variance = 1.0 - GARCH_SHOCK - GARCH_MEMORY + GARCH_SHOCK * shock * shock + GARCH_MEMORY * self.variance
        self.variance = min(variance, MAX_VARIANCE)
        return shock * math.sqrt(seconds)


class Market:
    """All instruments of the simulated market of one seed on one day. Not thread-safe: owned by the caller of `drift`.

    `today` decides which options are listed; an option's state is made on first use. `equities` are the listed
    shares, which must include the members of the indices.
    """

    def __init__(self, seed: int, today: date, equities: Mapping[str, Equity] = EQUITIES) -> None:
        self.seed = seed
        self.today = today
        self.shares = {symbol: EquityListing(equity, self._rng(symbol)) for symbol, equity in equities.items()}
        self.indices = {
            symbol: IndexListing(index, self._rng(symbol), self._growth_of(index)) for symbol, index in INDICES.items()
        }
        #: Returns a symbol in the server's own spelling; the rough market replaces it.
        self.spelled: Callable[[str], str] = str
        self._options: dict[Contract, OptionListing] = {}
        self._common_noise = ClusteredNoise(self._rng("the market"))
        self._noises = [(share, *self._loading(share)) for share in self.shares.values()]

    def listing(self, symbol: str) -> Listing | None:
        """Return the state of a share, index or option, made on first use; None if the symbol is not listed."""
        symbol = self.spelled(symbol)
        found = self.shares.get(symbol) or self.indices.get(symbol)
        if found is not None:
            return found
        contract = options.parse_contract(symbol)
        if contract is None or contract.root not in self.shares:
            return None
        if contract not in self._options:
            if contract.expiry not in self.expiries(contract.root) or contract.strike not in self.strikes(
                contract.root
            ):
                return None
            term = options.years(self.today, contract.expiry)
            share = self.shares[contract.root]
            self._options[contract] = OptionListing(contract, share, self._rng(symbol), term=term)
        return self._options[contract]

    def expiries(self, root: str) -> tuple[date, ...]:
        """Return the expiry dates of the options on the share `root`, soonest first.

        The result is () if `root` is no share of the market.
        """
        return options.expiries(self.today) if root in self.shares else ()

    def strikes(self, root: str) -> tuple[float, ...]:
        """Return the strikes of the options on the share `root` in USD, lowest first.

        The result is () if `root` is no share of the market.
        """
        return options.strikes(self.shares[root].opening) if root in self.shares else ()

    def drift(self, seconds: float) -> None:
        """Change the fair prices of all shares randomly, as `seconds` of trading time do."""
        common_return = self._common_noise.draw(seconds)
        for share, loading, own, noise in self._noises:
            share.move(loading * common_return + own * noise.draw(seconds))

    def _rng(self, name: str) -> Random:
        # A string seeds through SHA-512, not through hash(), which differs between processes.
        return Random(f"{self.seed} {name}")

    def _loading(self, share: EquityListing) -> tuple[float, float, ClusteredNoise]:
        equity = share.equity
        common = equity.beta * MARKET_VOLATILITY
        own = math.sqrt(max(equity.volatility**2 - common**2, (0.3 * equity.volatility) ** 2))
        a_second = 1.0 / math.sqrt(TRADING_SECONDS)
        return common * a_second, own * a_second, ClusteredNoise(self._rng(f"{equity.symbol} drift"))

    def _growth_of(self, index: Index) -> Callable[[], float]:
        members = [self.shares[symbol] for symbol in index.members]
        return lambda: sum(share.growth for share in members) / len(members)
