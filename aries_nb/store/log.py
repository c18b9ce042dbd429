"""A bounded log that is only ever appended to, and the log of every state that the rows of a table went through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

import pandas as pd

from aries_nb.model import Column, Observers, Values
from aries_nb.store.values import RECEIPT, frame_of

__all__ = ["LOG_LIMIT", "ChangeLog", "Log", "RowChange", "TableRow"]

LOG_LIMIT = 50_000  # about 100 MB of orders with two dozen fields each

T = TypeVar("T")


class TableRow(NamedTuple):
    """One row of a table: exchange time and time of receipt (ns since the epoch), account, values of the columns."""

    ts: int
    received: int
    account: str
    values: Values


class RowChange(NamedTuple):
    """A row was put into a table. `is_snapshot`: it stood in a full list, what lay between was perhaps not seen."""

    row: TableRow
    is_snapshot: bool


class Log(Generic[T]):
    """The newest `limit` entries, oldest first. One thread writes; any thread reads, without a lock.

    An entry once published is never moved in its list: a reader takes the published view, which is replaced whole.
    """

    def __init__(self, limit: int = LOG_LIMIT) -> None:
        self._limit = limit
        self._observers = Observers()
        self._published: tuple[list[T], int, int] = ([], 0, 0)  # entries, number of the first of them ever, end

    def extend(self, entries: Iterable[T]) -> None:
        """Append and make visible; the writer's thread only."""
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

    @property
    def version(self) -> int:
        """How many entries have been written since the beginning."""
        return self._published[2]

    @property
    def evicted(self) -> int:
        """How many entries have left since the beginning."""
        return max(self._published[2] - self._limit, 0)

    def __len__(self) -> int:
        return min(self._published[2], self._limit)

    def entries(self, first: int = 0) -> tuple[list[T], int]:
        """A copy of the entries from number `first` on as far as they are still there, and the number after the last.

        Entries are counted from 0 since the log was made.
        """
        kept, base, end = self._published
        return kept[max(first, end - self._limit, 0) - base : end - base], end

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the writer's thread; it must return at once. Returns its removal."""
        return self._observers.add(callback)


class ChangeLog(Log[TableRow]):
    """Every state that the rows of a table went through, in the order of arrival; it is handed to the table."""

    def __init__(self, columns: Sequence[Column], *, limit: int = LOG_LIMIT) -> None:
        super().__init__(limit)
        self.columns = tuple(columns)

    def take(self, changes: Sequence[RowChange]) -> None:
        """Append what a table says has changed; the writer's thread only."""
        self.extend(change.row for change in changes)

    def frame(self) -> pd.DataFrame:
        """One row a state, oldest first, counted from 0 since the beginning: ts, received, account, the fields.

        Decimals are float64 here, times datetime64[ns, UTC]; the frame is the caller's own.
        """
        rows, end = self.entries()
        flat = [(row.ts, row.received, row.account, *row.values) for row in rows]
        return frame_of((*RECEIPT, *self.columns), flat).set_index(pd.RangeIndex(end - len(rows), end))
