"""A market whose quotes a test sets, and the sums that must hold in every account."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aries_nb.sim.accounts.accounts import Accounts
from aries_nb.sim.accounts.brokerage import Brokerage
from aries_nb.sim.accounts.orders import AccountTerms
from aries_nb.sim.market.market import Market

if TYPE_CHECKING:
    from aries_nb.sim.accounts.orders import AccountFigures

TODAY = date(2026, 3, 2)
NOW = 1_772_463_845.0
RICH = AccountTerms("M", "margin", Decimal(1_000_000), ())
POOR = AccountTerms("C", "cash", Decimal(10_000), (("KO", 50),))


def quiet_accounts(seed: int = 1, **options: Any) -> Accounts:
    """Accounts without a robot, news and changing watchlists."""
    quiet = {"orders_per_s": 0.0, "news_s": math.inf, "watchlist_s": math.inf}
    return Accounts(Market(seed, TODAY), seed, **{**quiet, **options})


def broker(*terms: AccountTerms) -> Brokerage:
    return Brokerage(Market(1, TODAY), terms or (RICH, POOR))


def quote(market: Market, symbol: str, bid: str, ask: str, *, bid_size: int = 1000, ask_size: int = 1000) -> None:
    """Set the best bid and ask of a share, in USD and shares."""
    share = market.shares[symbol]
    bid_tick, ask_tick = int(Decimal(bid) * 100), int(Decimal(ask) * 100)
    share.move(math.log((bid_tick + ask_tick) / 2 / share.fair()))
    share.book.bids.rebuild(bid_tick)
    share.book.asks.rebuild(ask_tick)
    share.book.bids.sizes[0], share.book.asks.sizes[0] = bid_size, ask_size


def check_sums(books: AccountFigures) -> None:
    values = [holding.position.quantity * (holding.mark or 0) for holding in books.positions]
    assert books.equity == books.cash + sum(values)
    assert books.equity - books.starting_equity == books.realised + books.unrealised - books.fees
