"""A bounded append-only log, and the log of every state of a table's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

import pandas as pd

from aries_nb.model import Column, Observers, Values
from aries_nb.store.values import RECEIPT, frame_of

__all__ = ["LOG_LIMIT", "ChangeLog", "Log", "RowChange", "TableRow", "by_name"]

LOG_LIMIT = 50_000  # about 100 MB of orders with two dozen fields each

T = TypeVar("T")


class TableRow(NamedTuple):
    """One row of a table: exchange time and receipt (ns since the epoch), account, and the values of the columns."""

    ts: int
    received: int
    account: str
    values: Values


class RowChange(NamedTuple):
    """A row that was put into a table.

    `is_snapshot`: from a list of all rows, so states in between may have been missed.
    """

    row: TableRow
    is_snapshot: bool


class Log(Generic[T]):
    """The newest `limit` entries, oldest first. One thread writes; any thread reads, without a lock.

    A published entry never moves in its list: a reader takes the published tuple, which is replaced as a whole.
    """

    def __init__(self, limit: int = LOG_LIMIT) -> None:
        self._limit = limit
        self._observers = Observers()
        self._published: tuple[list[T], int, int] = ([], 0, 0)  # entries, number of the first of them ever, end

    def extend(self, entries: Iterable[T]) -> None:
        """Append entries and make them visible to readers; the writer's thread only."""
        kept, base, end = self._published
        before = len(kept)
        kept.extend(entries)
        if len(kept) == before:
            return
        end += len(kept) - before
        if len(kept) >= 2 * self._limit:
            base, kept = end - self._limit, kept[-self._limit :]
        self._published = kept, base, end
        self._observers.notify()

    def restart(self) -> None:
        """Be empty again, and number anew, because a replay begins anew; the writer's thread only."""
        self._published = [], 0, 0
        self._observers.notify()

    @property
    def version(self) -> int:
        """The number of entries written since the log was made."""
        return self._published[2]

    @property
    def evicted(self) -> int:
        """The number of entries that are no longer kept, because more than `limit` came after them."""
        return max(self._published[2] - self._limit, 0)

    def __len__(self) -> int:
        return min(self._published[2], self._limit)

    def entries(self, first: int = 0) -> tuple[list[T], int]:
        """Return a copy of the entries from number `first` on that are still kept, and the number after the last.

        Entries are numbered from 0 since the log was made.
        """
        kept, base, end = self._published
        return kept[max(first, end - self._limit, 0) - base : end - base], end

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the writer's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._observers.add(callback)


class ChangeLog(Log[TableRow]):
    """Every state of a table's rows, in the order of arrival; a listener of the table (`TableListener`).

    `columns` are those of the table; the newest `limit` states are kept.
    """

    def __init__(self, columns: Sequence[Column], *, limit: int = LOG_LIMIT) -> None:
        super().__init__(limit)
        self.columns = tuple(columns)

    def take(self, changes: Sequence[RowChange]) -> None:
        """Append the changes of a table; the writer's thread only."""
        self.extend(change.row for change in changes)

    def frame(self, first: int = 0) -> pd.DataFrame:
        """Return one row a state from number `first` on, oldest first; the index numbers them from 0.

        Columns ts, received, account and the fields of the table. Decimals are float64 here, times datetime64[us, UTC];
        the frame belongs to the caller.
        """
        rows, end = self.entries(first)
        flat = [(row.ts, row.received, row.account, *row.values) for row in rows]
        return frame_of((*RECEIPT, *self.columns), flat).set_index(pd.RangeIndex(end - len(rows), end))


def by_name(rows: Sequence[TableRow], columns: Sequence[Column]) -> list[dict[str, object]]:
    """Return the rows of a table with these columns with their values by column, as they are."""
    names = [column.name for column in columns]
    return [{"account": row.account, **dict(zip(names, row.values, strict=True))} for row in rows]
