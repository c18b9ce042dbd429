"""What a snapshot has of a table, and of fills."""

from __future__ import annotations

from functools import cached_property

import pandas as pd

from aries_nb.live.moments.parts import Moment, Part
from aries_nb.model import Kind
from aries_nb.store import Fill, FillLog, Table
from aries_nb.store.log import by_name
from aries_nb.store.table import TablePast

__all__ = ["FillsSnapshot", "TableSnapshot"]


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
