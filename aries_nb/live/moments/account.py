"""What a snapshot has of an account: its tables, and the equity that they make."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import cached_property

from aries_nb.errors import UsageError
from aries_nb.live.account.equity_source import LearnedTerms, books_of, broker_sums, reasons_of
from aries_nb.live.account.positions import PositionsSnapshot
from aries_nb.live.moments.parts import Moment, Part, exact_clock
from aries_nb.live.moments.tables import FillsSnapshot, TableSnapshot
from aries_nb.store import CASH, Portfolio, equity, unmarked

__all__ = ["AccountSnapshot"]


class AccountSnapshot:
    """An account as it was at one moment: of its tables those that were in use. Any thread.

    `equity` is cash plus the value of the positions at the marks of then: quantity · mark · the value of a point, of
    what is margined, such as a future, less its cost. `account.equity` describes marks. It is of what had arrived: in
    the midst of a trade, of a position without its cash, which `account.equity` waits for.
    """

    def __init__(self, name: str, moment: Moment, parts: Iterable[Part]) -> None:
        self.name = name
        self._moment = moment
        self._parts: dict[str, TableSnapshot] = {}
        self._fills: FillsSnapshot | None = None
        for part in parts:
            if isinstance(part, TableSnapshot):
                self._parts[part.kind] = part
            elif isinstance(part, FillsSnapshot):
                self._fills = part

    @property
    def orders(self) -> TableSnapshot:
        """The orders, index `order_id`. Raises UsageError where they were not in use, or are not held so far back."""
        return self._table("orders")

    @property
    def positions(self) -> TableSnapshot:
        """The positions, index `symbol`, at the marks of then. Raises UsageError as `orders`."""
        return self._table("positions")

    @property
    def balances(self) -> TableSnapshot:
        """Cash, equity and other sums of the broker. Raises UsageError as `orders`."""
        return self._table("balances")

    @property
    def fills(self) -> FillsSnapshot:
        """The fills that had arrived. Raises UsageError as `orders`."""
        if self._fills is None:
            raise self._not_in_use("fills")
        self._fills.check()
        return self._fills

    @property
    def equity(self) -> float:
        """The equity in the account's currency; NaN where a part of it was unknown: `reasons` says why.

        Raises UsageError where positions or balances were not in use.
        """
        return float(equity(self.books, self.marks))

    @property
    def cash(self) -> float:
        """The cash in the account's currency, NaN where it was unknown."""
        return float(self.books.cash)

    @property
    def marks(self) -> dict[str, Decimal]:
        """The mark of each instrument that had one, in exact decimals."""
        return self._positions.prices

    @property
    def reasons(self) -> dict[str, str]:
        """Why equity is NaN, by instrument; "cash" as well."""
        return reasons_of(self.books, unmarked(self.books, self.marks), self._positions.marks)

    @cached_property
    def books(self) -> Portfolio:
        """Cash and positions in exact decimals, for a valuation of your own."""
        positions, balances = self._positions, self.balances.table
        is_known = self._fills is not None and self._fills.is_held
        learned = LearnedTerms(self._fills.entries() if is_known and self._fills is not None else ())
        cash, _ = broker_sums(balances.rows(), balances.columns)
        return books_of(positions.rows(), positions.marks, cash, learned)

    def values(self) -> dict[tuple[str, str], object]:
        """Return equity and cash, where positions and balances were in use."""
        tables = [self._parts.get(kind) for kind in ("positions", "balances")]
        if any(table is None or not table.is_held for table in tables):
            return {}
        return {("", "equity"): self.equity, ("", CASH): self.cash}

    def __repr__(self) -> str:
        has = ", ".join([*self._parts, *(["fills"] if self._fills is not None else [])]) or "nothing in use"
        return f"<account {self.name} at {exact_clock(self._moment.now)}: {has}>"

    @property
    def _positions(self) -> PositionsSnapshot:
        positions = self._table("positions")
        assert isinstance(positions, PositionsSnapshot)
        return positions

    def _table(self, kind: str) -> TableSnapshot:
        table = self._parts.get(kind)
        if table is None:
            raise self._not_in_use(kind)
        table.check()
        return table

    def _not_in_use(self, kind: str) -> UsageError:
        what = f"the {kind} of {self.name} were not in use"
        return UsageError(what, advice=f"Call `feed.account({self.name!r}).{kind}` before.")
