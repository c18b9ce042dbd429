"""How positions end without a trade: expiry, exercise and assignment of options, settlement of futures and bonds.

Brokers send no message of these either (assumed: the protocol pages have none): a position is gone, and cash or the
shares that an option delivers have moved by as much. `endings_of` finds which of them explain that. Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import NamedTuple

from aries_nb.model.contracts import OPTION_MULTIPLIER, OptionTerms, expiry_month, option_terms
from aries_nb.store.values import ZERO

__all__ = ["Ended", "Ending", "endings_of", "plain"]

MOST_ENDED = 6  # positions that ended at once; of more, three to the power of them would have to be tried
# How far the last price may be from that of the settlement, as a share of the value held.
SETTLED_NEAR = Decimal("0.03")
# An option is traded on the day of its expiry, until 13:00 in New York at least (assumed).
LAST_TRADES = time(17, tzinfo=UTC)
# Fees of an exercise, as a share of what was paid at the strike, and per contract.
MOST_FEE_SHARE, MOST_CONTRACT_FEE = Decimal("0.001"), Decimal(1)


class Ended(NamedTuple):
    """A position that is gone without a trade: its `quantity`, and in the account's currency what it was last worth.

    `value` is its part of equity, `notional` the value of the quantity. `is_margined`: a future, or an option on one.
    """

    symbol: str
    quantity: Decimal
    value: Decimal
    notional: Decimal
    is_margined: bool
    is_bond: bool = False


class Ending(NamedTuple):
    """What became of a position: `how` in a word, the cash that it brought, and the `units` of shares delivered.

    `tolerance` is by how much the cash may be off. `underlying` and `strike` are those of an option that was exercised.
    """

    symbol: str
    how: str
    cash: Decimal
    tolerance: Decimal
    underlying: str = ""
    units: Decimal = ZERO
    strike: Decimal = ZERO

    @property
    def label(self) -> str:
        """The ending as text, such as "MSFT261218C00500000 assigned"."""
        return f"{self.symbol} {self.how}"


def plain(symbol: str) -> str:
    """Return a symbol as the roots of options spell it: BRKB of BRK.B and BRK/B."""
    return symbol.replace(".", "").replace("/", "")


def endings_of(ended: Sequence[Ended], shares: Mapping[str, Decimal], cash: Decimal, now: int) -> tuple[Ending, ...]:
    """Return how positions ended at `now` (ns since the epoch), () where that explains not all of what has moved.

    `shares` are the changes of other positions, by `plain` symbol, and `cash` that of the cash. Of several explanations
    it is the one that leaves least of the cash unexplained. Nothing ends by its expiry before that: on its day at
    17:00 UTC, of a future in its month; where that is not known, a trade is more likely. To be called within
    `exactly()`.
    """
    if not 0 < len(ended) <= MOST_ENDED:
        return ()
    moment = datetime.fromtimestamp(now / 1e9, UTC)
    best: tuple[Decimal, tuple[Ending, ...]] | None = None
    for endings in itertools.product(*(tuple(_possible(each, moment)) for each in ended)):
        left = abs(cash - sum((each.cash for each in endings), ZERO))
        tolerance = sum((each.tolerance for each in endings), ZERO)
        if left <= tolerance and _delivered(endings) == shares and (best is None or left < best[0]):
            best = left, endings
    return () if best is None else best[1]


def _possible(ended: Ended, now: datetime) -> Iterator[Ending]:
    terms = option_terms(ended.symbol)
    is_expired = terms is not None and now >= datetime.combine(terms.expiry, LAST_TRADES)
    month = expiry_month(ended.symbol, now.date()) if ended.is_margined else None
    is_due = month is not None and now.date() >= month
    settled = Ending(ended.symbol, "settled", ended.value, ended.notional * SETTLED_NEAR)
    if terms is not None:
        if is_expired:
            yield Ending(ended.symbol, "expired", ZERO, ZERO)
        yield _exercise(ended, terms)
    if is_expired or is_due or ended.is_bond:
        yield settled


def _exercise(ended: Ended, terms: OptionTerms) -> Ending:
    """Return that an option was exercised, by the account or, where it was short, against it."""
    units = ended.quantity * OPTION_MULTIPLIER * (1 if terms.right == "C" else -1)
    cash = -units * terms.strike
    tolerance = abs(cash) * MOST_FEE_SHARE + abs(ended.quantity) * MOST_CONTRACT_FEE
    how = "exercised" if ended.quantity > 0 else "assigned"
    return Ending(ended.symbol, how, cash, tolerance, terms.root, units, terms.strike)


def _delivered(endings: Sequence[Ending]) -> dict[str, Decimal]:
    units: dict[str, Decimal] = {}
    for each in endings:
        units[each.underlying] = units.get(each.underlying, ZERO) + each.units
    return {symbol: each for symbol, each in units.items() if each}
