"""Own trades of the sessions before the simulated ALOR server began, made up but fixed by the seed.

Each day everything that was bought was sold again, so that the books begin with what they begin with. Prices are those
of the minutes' bars.
"""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

from aries_nb.sim.accounts.brokerage import FEE
from aries_nb.sim.accounts.orders import Fill
from aries_nb.sim.market.history import Resolution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aries_nb.sim.accounts.orders import AccountTerms, OrderSide
    from aries_nb.sim.market.history import Bars, History

__all__ = ["PastFills"]

SESSIONS = 60
#: Orders to buy in one session, and as many to sell; each is filled in parts.
ROUND_TRIPS, PARTS = 6, 2
MINUTE = Resolution("minute", 1)


class PastFills:
    """The fills of all accounts before the start. Belongs to the thread of the server's loop."""

    def __init__(self, history: History, seed: int) -> None:
        self._history = history
        self._seed = seed
        self._made: dict[str, list[tuple[int, Fill]]] = {}

    def of(self, terms: AccountTerms, lots: dict[str, int]) -> list[tuple[int, Fill]]:
        """The fills of an account with their numbers, which end with 0, oldest first; `lots` in pieces by symbol."""
        if terms.account not in self._made:
            fills = list(self._fills(terms, lots))
            first = 1 - len(fills)
            numbered = ((number, fill) for number, fill in enumerate(fills, first))
            self._made[terms.account] = [
                (number, fill._replace(order_id=f"ORD-{(number - first) // PARTS - len(fills) // PARTS}"))
                for number, fill in numbered
            ]
        return self._made[terms.account]

    def _fills(self, terms: AccountTerms, lots: dict[str, int]) -> Iterator[Fill]:
        symbols = [*(symbol for symbol, _ in terms.holdings), *terms.favourites]
        traded = [symbol for symbol in symbols if symbol in lots]
        for _, opened, minutes in self._history.sessions(traded[0])[-SESSIONS:]:
            random = Random(f"{self._seed} {terms.account} {opened}")
            symbol = random.choice(traded)
            bars = self._history.bars(symbol, MINUTE, opened, opened + 60 * minutes)
            if len(bars) < 2 * ROUND_TRIPS:
                continue
            moments = sorted(random.sample(range(len(bars)), 2 * ROUND_TRIPS))
            for start, end in zip(moments[::2], moments[1::2], strict=True):
                quantity = PARTS * lots[symbol] * random.randint(1, 20)
                sides: tuple[tuple[int, OrderSide], ...] = ((start, "buy"), (end, "sell"))
                for place, side in sides:
                    yield from _parts(terms.account, symbol, side, quantity, bars[place : place + 1])


def _parts(account: str, symbol: str, side: OrderSide, quantity: int, bar: Bars) -> Iterator[Fill]:
    """An order filled at the first and at the last price of a minute."""
    part, time = Decimal(quantity // PARTS), float(bar["time"][0])
    for seconds, name in ((7.25, "open"), (41.5, "close")):
        price = Decimal(str(round(float(bar[name][0]), 6)))
        yield Fill(time + seconds, account, symbol, side, part, price, FEE, "")
