"""What the rough market makes of the changes of accounts, before a broker's server encodes them.

No I/O, no clock: times are passed in. The accounts themselves stay right: what is published comes late, twice, or in
another order, and orders are placed whose fills few clients count rightly.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from aries_nb.sim.market.options import Contract

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from aries_nb.sim.accounts.brokerage import Brokerage
    from aries_nb.sim.accounts.orders import OrderSide
    from aries_nb.sim.market.troubles import Roughness

__all__ = ["RoughChanges", "RoughTrading"]

ChangeT = TypeVar("ChangeT")
#: A state of an order is late by these shares of the mean interval between troubles.
LATENESS = (0.02, 0.1)


class RoughChanges:
    """Makes changes of accounts come late, twice, and in another order. `now` is Unix time in s."""

    def __init__(self, roughness: Roughness) -> None:
        self._seconds = roughness.seconds
        self._rng = roughness.rng("accounts")
        self._disordered = roughness.occurrences("disordered_events", "accounts")
        self._repeated = roughness.occurrences("repeated_events", "accounts")
        self._shuffled = roughness.occurrences("disordered_events", "kinds")
        self._waiting: list[tuple[float, object]] = []

    def sent(self, changes: Sequence[ChangeT], late: Callable[[ChangeT], bool], now: float) -> list[ChangeT]:
        """Return what is published at `now` in place of `changes`, with what was to come late and is due.

        A state of an order is held back, and follows newer ones; a change is there twice; or orders, positions and
        balances that belong together come in the opposite order. `late` says which changes may be held back.
        """
        found = list(changes)
        orders = [each for each in found if late(each)]
        if orders and self._disordered.is_due(now):
            held = self._rng.choice(orders)
            found.remove(held)
            self._waiting.append((now + self._rng.uniform(*LATENESS) * self._seconds, held))
        if len({type(each) for each in found}) > 1 and self._shuffled.is_due(now):
            # States of one order keep their order; kinds do not.
            found = [each for each in reversed(found) if not late(each)] + [each for each in found if late(each)]
        if found and self._repeated.is_due(now):
            found.append(self._rng.choice(found))
        due = [held for time, held in self._waiting if time <= now]
        if due:
            self._waiting = [each for each in self._waiting if each[0] > now]
            found += due  # type: ignore[arg-type]
        return found


class RoughTrading:
    """What happens to the accounts themselves: orders that few clients count rightly, splits, clearings."""

    def __init__(self, roughness: Roughness, brokerage: Brokerage, futures: Collection[str] = ()) -> None:
        self._brokerage = brokerage
        self._futures = futures
        self._replacements = roughness.occurrences("replaced_counts", "accounts")
        self._spreads = roughness.occurrences("multi_leg_orders", "accounts")
        self._clearings = roughness.occurrences("margined_futures", "accounts")
        self._splits = roughness.occurrences("splits", "accounts")
        self._is_spread_open = False
        self._split: set[str] = set()

    def advance(self, now: float) -> None:
        """Do what is due at `now` (Unix s)."""
        if self._replacements.is_due(now):
            replace_part_filled(self._brokerage, now)
        if self._spreads.is_due(now):
            self._is_spread_open = not self._is_spread_open
            trade_spread(self._brokerage, is_bought=self._is_spread_open, now=now)
        if self._clearings.is_due(now):
            for symbol in self._futures:
                self._brokerage.settle(symbol, now=now)
        if self._splits.is_due(now):
            for symbol in sorted(self._split_shares()):
                self._change_split(symbol, now)

    def _change_split(self, symbol: str, now: float) -> None:
        """Split a share 2 for 1, or back where that leaves no part of a share to any account."""
        ledgers = [self._brokerage.ledger(account) for account in self._brokerage.terms]
        if symbol not in self._split:
            self._split.add(symbol)
            self._brokerage.split(symbol, Decimal(2), now=now)
        elif all(ledger.quantity(symbol) % 2 == 0 for ledger in ledgers):
            self._split.remove(symbol)
            self._brokerage.split(symbol, Decimal("0.5"), now=now)

    def _split_shares(self) -> set[str]:
        """Return one share of each account that has any: of those that it held at the start the last, and no bond."""
        worth = self._brokerage.worth
        shares = {name for name in self._brokerage.market.shares if not worth(name).accrued} - set(self._futures)
        held = ([name for name, _ in terms.holdings if name in shares] for terms in self._brokerage.terms.values())
        return {names[-1] for names in held if names}


def trade_spread(brokerage: Brokerage, *, is_bought: bool, now: float) -> None:
    """Buy one call of the first account's first share and sell another with a higher strike, or the other way round."""
    account, terms = next(iter(brokerage.terms.items()))
    root = terms.holdings[0][0]
    market = brokerage.market
    expiry, strikes = market.expiries(root)[2], market.strikes(root)
    low, high = (
        Contract(root, expiry, "C", strike).symbol for strike in strikes[len(strikes) // 2 : len(strikes) // 2 + 2]
    )
    sides: tuple[OrderSide, OrderSide] = ("buy", "sell") if is_bought else ("sell", "buy")
    brokerage.trade_legs(account, root, ((low, sides[0]), (high, sides[1])), now=now)


def replace_part_filled(brokerage: Brokerage, now: float) -> None:
    """Buy more than the ask has, at `now` (Unix s), and replace the order while its rest is open.

    The next fills are the new order's. It is an order of the first account, in the first of its holdings.
    """
    account, terms = next(iter(brokerage.terms.items()))
    symbol = terms.holdings[0][0]
    prices, lot = brokerage.prices(symbol), brokerage.traded(symbol).lot
    quantity = prices.ask_size + 6 * lot
    order = brokerage.place(account, symbol, "buy", "limit", quantity, price=prices.ask, now=now)
    brokerage.replace(order.id, price=prices.ask, now=now)
