"""What a snapshot has of tables, and of an account: orders, fills, positions, and the equity that they make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cached_property

import pandas as pd

from aries_nb.errors import UsageError
from aries_nb.live.account.equity_source import LearnedTerms, books_of, broker_sums, reasons_of
from aries_nb.live.account.marks import PRICES, FrameQuotes, Quotes, marks_of, prices_of, with_bonds, without
from aries_nb.live.account.positions import by_name, holdings, marked
from aries_nb.live.moments.parts import FrameSnapshot, Moment, Part, exact_clock
from aries_nb.model import Kind
from aries_nb.store import CASH, UNKNOWN, Fill, FillLog, Mark, Portfolio, SplitWatch, Table, equity, unmarked
from aries_nb.store.table import TablePast

__all__ = ["AccountSnapshot", "FillsSnapshot", "PositionsSnapshot", "TableSnapshot", "has_marks"]


class TableSnapshot(Part):
    """A live table as it was at one moment. Any thread."""

    def __init__(self, kind: Kind, account: str, table: Table, moment: Moment) -> None:
        self.kind = kind
        self.account = account
        until = moment.until
        self._source = table.frozen() if until is None else table
        self._past: TablePast | None = None if until is None else table.past(until)
        name = f"{kind.replace('_', ' ')} of {account}" if account else kind
        super().__init__(name, moment, table.held_from)

    @cached_property
    def table(self) -> Table:
        """The rows, as a table of the store."""
        self.check()
        return self._source if self._past is None else self._source.rebuilt(self._past)

    @property
    def df(self) -> pd.DataFrame:
        """The rows, indexed by their key, as `df` of the live table had them."""
        return self.table.frame()

    def rows(self) -> list[dict[str, object]]:
        """Return the rows as dictionaries, with money and quantities as exact decimal.Decimal."""
        return by_name(self.table.rows(), self.table.columns)

    def values(self) -> dict[tuple[str, str], object]:
        """Return the values of each row by its key."""
        key = self.table.key
        return {
            (" ".join(str(row[name]) for name in key), name): value
            for row in self.rows()
            for name, value in row.items()
            if name not in key
        }

    @property
    def is_stale(self) -> bool:
        """Whether a row was from before a break of the stream and not confirmed since."""
        return self.table.is_stale

    def __len__(self) -> int:
        return len(self.table)


class PositionsSnapshot(TableSnapshot):
    """The positions of an account as they were at one moment, valued at the quotes of then. Any thread.

    `quotes` are the frames of quotes of which marks are made, the first that has a price counts.
    """

    def __init__(
        self, account: str, table: Table, moment: Moment, quotes: Sequence[FrameSnapshot], splits: SplitWatch
    ) -> None:
        super().__init__("positions", account, table, moment)
        self._quotes = quotes
        self._splits = splits

    @cached_property
    def marks(self) -> dict[str, Mark]:
        """The mark of each instrument quoted, or the reason why it had none."""
        others = self._moment.quotes if self._moment.until is not None else ()
        every = dict.fromkeys((*self._quotes, *others))
        marks = marks_of(Quotes([_quotes_of(each) for each in every if each.is_held], ()))
        lost = (symbol for each in every if not each.is_held for symbol in each.symbols)
        marks = dict.fromkeys(lost, Mark(UNKNOWN, "its quotes are not held so far back")) | marks
        prices, lasts = prices_of(marks)
        held = with_bonds(holdings(self.rows()), marks)
        return without(marks, self._splits.doubtful(held, prices, self._moment.now, lasts=lasts))

    @property
    def df(self) -> pd.DataFrame:
        """The positions at the quotes of then, with `mark_price` and `mark_pnl`, index `symbol`."""
        frame = super().df
        marks = {symbol: mark.price for symbol, mark in self.marks.items() if mark.price.is_finite()}
        values = {row["symbol"]: marked(row, marks) for row in self.rows()}
        for name in ("mark_price", "mark_pnl"):
            frame[name] = [float(values[symbol][name]) for symbol in frame.index]
        return frame


class FillsSnapshot(Part):
    """The fills (own executions) of an account that had arrived at one moment. Any thread."""

    def __init__(self, account: str, log: FillLog, moment: Moment, *, held_since: int) -> None:
        self.account = account
        self._log = log.frozen(moment.until)
        super().__init__(f"fills of {account}", moment, held_since)

    @property
    def df(self) -> pd.DataFrame:
        """One row a fill, by exchange time, as `df` of the live fills had them."""
        self.check()
        frame = self._log.frame()
        return frame if frame["ts"].is_monotonic_increasing else frame.sort_values("ts", kind="stable")

    def entries(self) -> list[Fill]:
        """Return the fills as records, in the order of arrival, with money and quantities as decimal.Decimal."""
        self.check()
        return [fill for fill, _ in self._log.entries()[0]]

    def values(self) -> dict[tuple[str, str], object]:
        """Return how many fills had arrived."""
        return {("", "fills"): self._log.version}

    def __len__(self) -> int:
        return len(self._log)


class AccountSnapshot:
    """An account as it was at one moment: of its tables those that were in use. Any thread.

    `equity` is cash plus the value of the positions at the marks of then: quantity · mark · the value of a point, of
    what is margined, such as a future, less its cost. `account.equity` describes marks.
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
        return {symbol: mark.price for symbol, mark in self._positions.marks.items() if mark.price.is_finite()}

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


def _quotes_of(frame: FrameSnapshot) -> FrameQuotes:
    newest = frame.rows.board(is_stale=not frame.is_live)
    return FrameQuotes(newest, newest.symbols if newest.is_stale else frame.from_before_a_gap(), frame.rows.rows(0))


def has_marks(part: Part) -> bool:
    """Return whether a part of a snapshot has quotes with all prices that marks are made of."""
    if not isinstance(part, FrameSnapshot) or part.kind != "quotes":
        return False
    return not set(PRICES).difference(part.columns)
