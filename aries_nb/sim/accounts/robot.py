"""A trader, drawn from a seed, that places, replaces and cancels orders in the simulated accounts. No I/O."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from aries_nb.sim.accounts.brokerage import Brokerage
    from aries_nb.sim.accounts.orders import Order, OrderSide

__all__ = ["Robot"]

MEAN_SHARES = 60.0
#: Share of orders far beyond any account's buying power, which are rejected.
ABSURD_SHARE, ABSURD_SHARES = 0.02, 1_000_000
#: Working orders of an account from which on the robot only cancels.
MAX_WORKING = 12
#: Shortest and longest life of a limit or stop order, in s.
LIFE_SECONDS = (15.0, 90.0)


class Robot:
    """Simulated trader that acts `rate` times per second on average in all accounts together (0: never).

    It replaces and cancels only its own orders.
    """

    def __init__(self, rng: Random, brokerage: Brokerage, rate: float) -> None:
        self._rng = rng
        self._brokerage = brokerage
        self._rate = rate
        self._mine: set[str] = set()
        self._wait = self._draw_wait()

    def advance(self, seconds: float, now: float) -> None:
        """Advance by `seconds` to `now` (Unix s), placing, replacing or cancelling as many orders as the rate gives."""
        self._wait -= seconds
        while self._wait <= 0:
            self._wait += self._draw_wait()
            self._act(self._rng.choice(list(self._brokerage.terms)), now)

    def _draw_wait(self) -> float:
        return self._rng.expovariate(self._rate) if self._rate > 0 else math.inf

    def _act(self, account: str, now: float) -> None:
        active = self._brokerage.active_orders(account)
        mine = [order for order in active if order.id in self._mine]
        self._mine.intersection_update(
            order.id for other in self._brokerage.terms for order in self._brokerage.active_orders(other)
        )
        drawn = self._rng.random()
        if mine and (drawn < 0.1 or len(active) >= MAX_WORKING):
            self._brokerage.cancel(self._rng.choice(mine).id, now=now)
        elif mine and drawn < 0.2:
            self._improve(self._rng.choice(mine), now)
        else:
            self._place(account, now)

    def _improve(self, order: Order, now: float) -> None:
        """Replace a working order: a limit order by one whose price is a tick nearer to the other side's.

        Another order is replaced by one of half its open quantity, in whole lots, one lot at least. `now` is in Unix
        s.
        """
        share, step = self._brokerage.traded(order.symbol), self._brokerage.step(order.symbol)
        price = None if order.price is None else order.price + (step if order.side == "buy" else -step)
        quantity = None if price is not None else max(Decimal(share.lot), order.leaves // (2 * share.lot) * share.lot)
        fresh = self._brokerage.replace(order.id, price=price, quantity=quantity, now=now)
        if fresh is not None:
            self._mine.add(fresh.id)

    def _place(self, account: str, now: float) -> None:
        rng, brokerage = self._rng, self._brokerage
        terms = brokerage.terms[account]
        symbol = rng.choice(tuple(dict.fromkeys((*(name for name, _ in terms.holdings), *terms.favourites))))
        held = brokerage.ledger(account).quantity(symbol)
        # A larger position makes a sale more likely: positions return to zero, and may reverse.
        bias = max(-0.4, min(0.4, float(held) / 1000))
        side: OrderSide = "sell" if rng.random() < 0.5 + bias else "buy"
        step, lot = brokerage.step(symbol), brokerage.traded(symbol).lot
        quantity = Decimal(1 + int(rng.expovariate(1.0) * MEAN_SHARES)) * lot
        if terms.kind == "cash" and side == "sell":
            if held <= 0:
                side = "buy"
            else:
                quantity = min(quantity, held)
        if rng.random() < ABSURD_SHARE:
            quantity = Decimal(ABSURD_SHARES * lot)
        prices = brokerage.prices(symbol)
        drawn, away = rng.random(), rng.randrange(1, 9) * step
        life = now + rng.uniform(*LIFE_SECONDS)
        if drawn < 0.45:
            order = brokerage.place(account, symbol, side, "market", quantity, now=now)
        elif drawn < 0.85:
            near = prices.ask - away if side == "buy" else prices.bid + away
            limit = max(step, near)
            order = brokerage.place(account, symbol, side, "limit", quantity, price=limit, expires=life, now=now)
        else:
            beyond = prices.ask + away if side == "buy" else max(step, prices.bid - away)
            order = brokerage.place(account, symbol, side, "stop", quantity, stop=beyond, expires=life, now=now)
        self._mine.add(order.id)
