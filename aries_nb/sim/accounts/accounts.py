"""Simulated accounts on the synthetic market: books, a robot trader, profit and loss, watchlists, news.

Pure: no clock, socket or broker's words. The same seed and the same calls give the same changes. Changes are told to
who joined, as the dataclasses below; every broker's server puts them into its own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from aries_nb.sim.accounts.brokerage import Brokerage
from aries_nb.sim.accounts.newsroom import Headline, Newsroom
from aries_nb.sim.accounts.orders import AccountFigures, AccountTerms, Order
from aries_nb.sim.accounts.pnl import Candle, Candles
from aries_nb.sim.accounts.robot import Robot
from aries_nb.sim.accounts.watchlists import Watchlist, Watchlists

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aries_nb.sim.accounts.ledger import Holding
    from aries_nb.sim.market.market import Market

__all__ = [
    "Accounts",
    "BalanceChanged",
    "CandleChanged",
    "Change",
    "NewsPublished",
    "OrderChanged",
    "PositionChanged",
    "WatchlistsChanged",
]

TERMS = (
    AccountTerms("ACC-1", "margin", Decimal("250000.00"), (("AAPL", 200), ("MSFT", 100), ("TSLA", -50))),
    AccountTerms("ACC-2", "cash", Decimal("60000.00"), (("KO", 300), ("SPY", 40))),
)
#: How often what follows from moving prices alone is told, in s; candles are kept to the turn all the same.
REVALUE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """An order came to a new state of its life; every state is told, in order."""

    order: Order


@dataclass(frozen=True, slots=True)
class PositionChanged:
    """A position was traded, or its mark moved; quantity zero when it is closed."""

    account: str
    holding: Holding


@dataclass(frozen=True, slots=True)
class BalanceChanged:
    """Any figure of an account changed."""

    figures: AccountFigures


@dataclass(frozen=True, slots=True)
class CandleChanged:
    """A candle of profit and loss began, moved or ended."""

    account: str
    candle: Candle


@dataclass(frozen=True, slots=True)
class WatchlistsChanged:
    """The user's lists, all of them, after one changed."""

    lists: tuple[Watchlist, ...]


@dataclass(frozen=True, slots=True)
class NewsPublished:
    """A headline came out."""

    headline: Headline


Change: TypeAlias = OrderChanged | PositionChanged | BalanceChanged | CandleChanged | WatchlistsChanged | NewsPublished


class Accounts:
    """The user's accounts. Not safe for threads: they belong to who turns them. `now` is Unix time in seconds.

    The simulation starts at the first `now` it is told. The rates are means: `orders_per_s` of the robot's acts over
    all accounts (0 for none), a headline every `news_s`, a changed watchlist every `watchlist_s` (inf for none).
    Orders are placed and asked for at `brokerage`; what changes there is told with the next turn.
    """

    def __init__(
        self,
        market: Market,
        seed: int,
        *,
        terms: Sequence[AccountTerms] = TERMS,
        orders_per_s: float = 1.0,
        news_s: float = 20.0,
        watchlist_s: float = 30.0,
    ) -> None:
        self.market = market
        self.brokerage = Brokerage(market, terms)
        self._seed = seed
        symbols = tuple(market.shares)
        self._robot = Robot(self._rng("robot"), self.brokerage, orders_per_s)
        self._newsroom = Newsroom(self._rng("news"), symbols, news_s)
        self._watchlists = Watchlists(self._rng("watchlists"), symbols, watchlist_s)
        self._candles: dict[str, Candles] = {}
        self._marks: dict[tuple[str, str], Decimal] = {}
        self._unvalued = 0.0
        self._fair = self._fair_prices()
        self._listeners: list[Callable[[Sequence[Change], float], None]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The accounts of the user."""
        return tuple(self.brokerage.terms)

    @property
    def watchlists(self) -> tuple[Watchlist, ...]:
        """All lists of the user as they are now."""
        return tuple(self._watchlists.lists)

    @property
    def headlines(self) -> tuple[Headline, ...]:
        """The news so far, the newest last, as far as they are remembered."""
        return tuple(self._newsroom.headlines)

    def figures(self, account: str) -> AccountFigures:
        """The account as it is now. Raises UsageError if there is none."""
        return self.brokerage.figures(account)

    def equity(self, account: str) -> Decimal:
        """Cash and the value of all positions, in USD."""
        return self.brokerage.equity(account)

    def candles(self, account: str, interval: str, since: float, *, now: float) -> list[Candle]:
        """Profit and loss from the bucket that holds `since` (Unix s) on, oldest first."""
        self._begin(now)
        return self._candles[account].since(interval, since)

    def add_listener(self, listener: Callable[[Sequence[Change], float], None]) -> None:
        """Tell a listener of every change from now on, with the time; it is called within `advance` and `publish`."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[Sequence[Change], float], None]) -> None:
        """Tell it no more; one that is not known is left alone."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def advance(self, seconds: float, now: float) -> list[Change]:
        """Let `seconds` pass, and tell the listeners what changed; also returned.

        Who owns the market drifts it before. A market that nobody has moved since the last turn is drifted here.
        """
        self._begin(now)
        if self._fair == self._fair_prices():
            self.market.drift(seconds)
        self._fair = self._fair_prices()
        self.brokerage.advance(now)
        self._robot.advance(seconds, now)
        for account, candles in self._candles.items():
            ledger = self.brokerage.ledger(account)
            candles.observe(now, self.brokerage.equity(account) - ledger.starting_equity)
        self._unvalued += seconds
        changes = self._traded()
        if self._unvalued >= REVALUE_SECONDS:
            self._unvalued = 0.0
            changes += self._revalued()
        if self._watchlists.advance(seconds):
            changes.append(WatchlistsChanged(self.watchlists))
        changes += map(NewsPublished, self._newsroom.advance(seconds, now))
        self._publish(changes, now)
        return changes

    def publish(self, now: float) -> None:
        """Tell the listeners at once what orders did since the last turn, so that a snapshot can follow."""
        self._publish(self._traded(), now)

    def _rng(self, name: str) -> Random:
        return Random(f"{self._seed} accounts {name}")

    def _fair_prices(self) -> tuple[float, ...]:
        return tuple(share.fair() for share in self.market.shares.values())

    def _begin(self, now: float) -> None:
        if not self._candles:
            self._candles = {account: self._candles_from(account, now) for account in self.names}

    def _candles_from(self, account: str, now: float) -> Candles:
        begun = self.brokerage.ledger(account).starting_equity
        value = self.brokerage.equity(account) - begun
        return Candles(self._rng(f"history {account}"), begun, now, value=value)

    def _publish(self, changes: Sequence[Change], now: float) -> None:
        if changes:
            for listener in list(self._listeners):
                listener(changes, now)

    def _traded(self) -> list[Change]:
        states, touched = self.brokerage.drain()
        changes: list[Change] = [OrderChanged(order) for order in states]
        changes += [self._position(account, symbol) for account, symbol in touched]
        concerned = dict.fromkeys(order.account for order in states)
        return changes + [BalanceChanged(self.figures(account)) for account in concerned]

    def _revalued(self) -> list[Change]:
        """Positions whose mark moved since they were last told, their accounts, and candles."""
        changes: list[Change] = []
        for account, candles in self._candles.items():
            moved = [
                self._position(account, holding.position.symbol)
                for holding in self.figures(account).positions
                if holding.mark != self._marks.get((account, holding.position.symbol))
            ]
            changes += moved
            if moved:
                changes.append(BalanceChanged(self.figures(account)))
            changes += [CandleChanged(account, candle) for candle in candles.drain()]
        return changes

    def _position(self, account: str, symbol: str) -> PositionChanged:
        holding = self.brokerage.holding(account, symbol)
        if holding.mark is not None:
            self._marks[account, symbol] = holding.mark
        return PositionChanged(account, holding)
