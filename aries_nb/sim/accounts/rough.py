"""What the rough market makes of the changes of accounts, before a broker's server encodes them.

No I/O, no clock: times are passed in. The accounts themselves stay right: what is published comes late, twice, or in
another order, and orders are placed whose fills few clients count rightly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aries_nb.sim.accounts.brokerage import Brokerage
    from aries_nb.sim.market.troubles import Roughness

__all__ = ["RoughChanges", "replace_part_filled"]

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


def replace_part_filled(brokerage: Brokerage, now: float) -> None:
    """Buy more than the ask has, at `now` (Unix s), and replace the order while its rest is open.

    The next fills are the new order's. It is an order of the first account, in the first of its holdings.
    """
    account, terms = next(iter(brokerage.terms.items()))
    symbol = terms.holdings[0][0]
    prices, lot = brokerage.prices(symbol), brokerage.market.shares[symbol].lot
    quantity = prices.ask_size + 6 * lot
    order = brokerage.place(account, symbol, "buy", "limit", quantity, price=prices.ask, now=now)
    brokerage.replace(order.id, price=prices.ask, now=now)
