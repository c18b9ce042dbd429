"""A simulated market at rest, at a moment when its broker values what is held at the quotes that everybody sees."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING

from aries_nb.sim.market.market import MarketHours
from tests.net.patience import eventually

if TYPE_CHECKING:
    from aries_nb.sim import Simulator
    from aries_nb.sim.accounts.accounts import Accounts

__all__ = ["close_at_the_quotes"]


def close_at_the_quotes(sim: Simulator, accounts: Accounts, *names: str) -> None:
    """Close the market: what is on its way arrives, and nothing moves any more.

    The broker values a share at its fair price while its book, which was not read, is far behind.
    """
    shares = accounts.market.shares

    def middle(symbol: str) -> Decimal:
        quote = shares[symbol].quote()
        return (Decimal(repr(quote.bid_price)) + Decimal(repr(quote.ask_price))) / 2

    def close() -> bool:
        held = [each for name in names for each in accounts.figures(name).positions]
        is_level = all(each.mark == middle(each.position.symbol) for each in held)
        if is_level:
            sim._server.set_hours(MarketHours("closed"), time.time())
        return is_level

    eventually(lambda: sim._call(close), "a moment at which the books are at the quotes")
