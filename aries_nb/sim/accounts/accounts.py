"""Simulated accounts on the synthetic market: ledgers, a robot trader, profit and loss, watchlists, news.

No clock, no socket, no broker's terms. The same seed and the same calls give the same changes. Listeners get the
changes as the dataclasses below; each broker's server encodes them in its own format.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from aries_nb.sim.accounts.brokerage import Brokerage
from aries_nb.sim.accounts.newsroom import Headline, Newsroom
from aries_nb.sim.accounts.orders import AccountFigures, AccountTerms, Order, Worth
from aries_nb.sim.accounts.pnl import Candle, Candles
from aries_nb.sim.accounts.robot import Robot
from aries_nb.sim.accounts.rough import RoughChanges, RoughTrading
from aries_nb.sim.accounts.watchlists import Watchlist, Watchlists

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from aries_nb.sim.accounts.ledger import Holding
    from aries_nb.sim.market.market import Market
    from aries_nb.sim.market.troubles import Roughness

__all__ = [
    "TERMS",
    "Accounts",
    "BalanceChanged",
    "CandleChanged",
    "Change",
    "NewsPublished",
    "OrderChanged",
    "PositionChanged",
    "WatchlistsChanged",
]

#: The accounts of the simulated Aries user.
TERMS = (
    AccountTerms("ACC-1", "margin", Decimal("250000.00"), (("AAPL", 200), ("MSFT", 100), ("TSLA", -50))),
    AccountTerms("ACC-2", "cash", Decimal("60000.00"), (("KO", 300), ("SPY", 40))),
)
#: Interval in s of changes caused by moving prices alone; candles record the P&L of every call of `advance`.
REVALUE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """A change that `Accounts` publishes to its listeners: an order got a new state.

    Every state is published, in order.
    """

    order: Order


@dataclass(frozen=True, slots=True)
class PositionChanged:
    """A change that `Accounts` publishes to its listeners: a position was traded, or its price moved.

    `holding` is the position with the price at which it is now valued; its quantity is zero once it is closed.
    """

    account: str
    holding: Holding


@dataclass(frozen=True, slots=True)
class BalanceChanged:
    """A change that `Accounts` publishes to its listeners: the sums of an account changed.

    The cause is a changed order or a moved price of a position. `figures` are all sums, with the open positions.
    """

    figures: AccountFigures


@dataclass(frozen=True, slots=True)
class CandleChanged:
    """A change that `Accounts` publishes to its listeners: a profit-and-loss candle was opened, updated or closed."""

    account: str
    candle: Candle


@dataclass(frozen=True, slots=True)
class WatchlistsChanged:
    """A change that `Accounts` publishes to its listeners: one of the user's watchlists changed.

    `lists` are all of them.
    """

    lists: tuple[Watchlist, ...]


@dataclass(frozen=True, slots=True)
class NewsPublished:
    """A change that `Accounts` publishes to its listeners: a headline was published."""

    headline: Headline


Change: TypeAlias = OrderChanged | PositionChanged | BalanceChanged | CandleChanged | WatchlistsChanged | NewsPublished


class Accounts:
    """The simulated user's accounts. Not thread-safe: owned by the caller of `advance`. `now` is Unix time in s.

    The simulation starts at the first `now` passed in. Rates are means: the robot acts `orders_per_s` times per
    second in all accounts together (0 for never); there is a headline every `news_s` and a changed watchlist every
    `watchlist_s` seconds (inf for none). `terms` are the accounts' kinds and initial states. Orders are placed and
    read at `brokerage`; its changes are published by the next `advance`. `roughness` are the troubles of the rough
    market, None for none; `worth` returns what one of a symbol costs; `futures` are margined.
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
        roughness: Roughness | None = None,
        worth: Callable[[str], Worth] = lambda _: Worth(),
        futures: Collection[str] = (),
    ) -> None:
        self.market = market
        self.brokerage = Brokerage(market, terms, roughness, worth)
        self._trading = None if roughness is None else RoughTrading(roughness, self.brokerage, futures)
        self._rough = RoughChanges(roughness) if roughness is not None and roughness.troubles else None
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
        """The names of the user's accounts."""
        return tuple(self.brokerage.terms)

    @property
    def watchlists(self) -> tuple[Watchlist, ...]:
        """All watchlists of the user, as they are now."""
        return tuple(self._watchlists.lists)

    @property
    def headlines(self) -> tuple[Headline, ...]:
        """The newest headlines, at most 500, oldest first."""
        return tuple(self._newsroom.headlines)

    def figures(self, account: str) -> AccountFigures:
        """Return an account's present sums, such as cash and equity, and its open positions.

        Raises UsageError for an unknown account.
        """
        return self.brokerage.figures(account)

    def equity(self, account: str) -> Decimal:
        """Return an account's cash plus the present value of its positions, in its currency.

        Raises UsageError for an unknown account.
        """
        return self.brokerage.equity(account)

    def candles(self, account: str, interval: str, since: float, *, now: float) -> list[Candle]:
        """Return the candles of an account's profit and loss, oldest first, from the one that contains `since`.

        `since` and `now` are Unix time in s. `interval` is one of `pnl.INTERVALS`, such as "1m".
        """
        self._begin(now)
        return self._candles[account].since(interval, since)

    def add_listener(self, listener: Callable[[Sequence[Change], float], None]) -> None:
        """Register a listener, which `advance` and `publish` call with new changes and their time in Unix s."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[Sequence[Change], float], None]) -> None:
        """Remove a listener that `add_listener` registered; an unknown one is ignored."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def advance(self, seconds: float, now: float) -> list[Change]:
        """Advance the accounts by `seconds` to `now` (Unix s), publish the changes to the listeners, and return them.

        The caller may move the market's prices before, with `Market.drift`; if none has changed since the last
        call, this method moves them.
        """
        self._begin(now)
        if self._fair == self._fair_prices():
            self.market.drift(seconds)
        self._fair = self._fair_prices()
        self.brokerage.advance(now)
        self._robot.advance(seconds, now)
        if self._trading is not None:
            self._trading.advance(now)
        for account, candles in self._candles.items():
            ledger = self.brokerage.ledger(account)
            candles.observe(now, self.brokerage.equity(account) - ledger.starting_equity)
        self._unvalued += seconds
        changes = self._traded()
        if self._unvalued >= REVALUE_SECONDS:
            self._unvalued = 0.0
            changes += self._revalued()
        changes += self._told(seconds, now)
        self._publish(changes, now)
        return changes

    def advance_news(self, seconds: float, now: float) -> None:
        """Advance headlines and watchlists alone, which go on where nobody has asked for an account yet."""
        self._publish(self._told(seconds, now), now)

    def publish(self, now: float) -> None:
        """Publish the changes of orders since the last `advance` to the listeners at once.

        Call it before taking a snapshot: the next `advance` would otherwise publish changes that the snapshot
        contains already. `now` is in Unix s.
        """
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
        if self._rough is not None:
            changes = self._rough.sent(changes, _may_be_late, now)
        if changes:
            for listener in list(self._listeners):
                listener(changes, now)

    def _told(self, seconds: float, now: float) -> list[Change]:
        lists: list[Change] = [WatchlistsChanged(self.watchlists)] if self._watchlists.advance(seconds) else []
        return lists + [NewsPublished(each) for each in self._newsroom.advance(seconds, now)]

    def _traded(self) -> list[Change]:
        states, touched = self.brokerage.drain()
        changes: list[Change] = [OrderChanged(order) for order in states]
        changes += [self._position(account, symbol) for account, symbol in touched]
        concerned = dict.fromkeys([*(order.account for order in states), *(account for account, _ in touched)])
        return changes + [BalanceChanged(self.figures(account)) for account in concerned]

    def _revalued(self) -> list[Change]:
        """Return the changes that moved prices caused: to positions, sums of accounts, and profit-and-loss candles."""
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


def _may_be_late(change: Change) -> bool:
    """Return whether the rough market may hold a change back: a client can see that it is older than others."""
    return isinstance(change, OrderChanged) and change.order.status != "pending_new"
