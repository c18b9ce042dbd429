"""Live tables: the newest state of each row, kept current, such as `account.orders` and `account.balances`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Self, TypeAlias

import pandas as pd

from aries_nb.live.callbacks import Callbacks, NewRows, News
from aries_nb.live.connection import Link
from aries_nb.live.gaps import GapSelection
from aries_nb.live.live_object import StreamedObject
from aries_nb.live.moments.parts import Moment
from aries_nb.live.moments.tables import TableSnapshot
from aries_nb.model import Column, GapSpan, Kind, ShownMoment, Standing, TableData
from aries_nb.store import ChangeLog, Table, TableListener
from aries_nb.store.log import by_name

if TYPE_CHECKING:
    from aries_nb.widgets import Blotter

__all__ = ["LiveTable", "SubscriptionOptions", "TableSource"]

SubscriptionOptions: TypeAlias = tuple[tuple[str, str], ...]  # (name, value) pairs

# The columns that a cell shows of a kind, where these are not all.
SHOWN: Mapping[Kind, tuple[str, ...]] = {
    "news": ("published", "title", "symbols", "authors"),
    "pnl": ("start", "open", "high", "low", "close"),
}
TITLES: Mapping[Kind, str] = {"pnl": "P&L"}
NEWEST_FIRST: frozenset[Kind] = frozenset({"orders", "news", "pnl"})


class LiveTable(StreamedObject):
    """A table of one kind, kept current: `df` has one row for each key, `log` one for each change of a row.

    Columns `ts` (time of the change, UTC), `received` (local receipt, UTC), `account` and the fields of the kind. Money
    and quantities are float64 in DataFrames, and exact decimals in `rows()`. Any thread may read. `account` is "" for
    tables of the user, such as news; `options` are sent with the subscription, and `listeners` receive every change of
    a row.
    """

    def __init__(
        self,
        link: Link,
        callbacks: Callbacks,
        kind: Kind,
        account: str = "",
        *,
        options: SubscriptionOptions = (),
        listeners: tuple[TableListener, ...] = (),
    ) -> None:
        self.kind = kind
        self.account = account
        self._options = options
        self._changes = ChangeLog(self._columns(link))
        self._table = self._filled(link, (self._changes, *listeners))
        name = f"{kind} of {account}" if account else kind
        super().__init__(link, callbacks, self._table, name, release=self._releasing(link))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The fields of a row with their types: all that the broker has for this kind."""
        return self._table.columns

    @property
    def df(self) -> pd.DataFrame:
        """The current rows, indexed by their key, such as `order_id`; a snapshot that belongs to the caller."""
        self._link.settle()
        return self._table.frame()

    @property
    def log(self) -> pd.DataFrame:
        """Every state of every row since this table was made, oldest first; the index numbers the changes from 0.

        The newest 50,000 are kept. A snapshot that belongs to the caller.
        """
        return self._changes_from(0)

    @property
    def is_stale(self) -> bool:
        """Whether a row is from before a break of the stream and not confirmed since, or this table is not live."""
        return self._table.is_stale or not self.is_live

    def rows(self) -> list[dict[str, object]]:
        """Return the current rows as dictionaries, with money and quantities as exact decimal.Decimal."""
        return by_name(self._table.rows(), self._table.columns)

    def __len__(self) -> int:
        return len(self._table)

    def wait(self, *, changes: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until `changes` rows were added or changed since this table was made; returns the table.

        `timeout` is in seconds, None for no limit. Raises WaitTimeoutError, ClosedError, or the error that ended the
        feed.
        """
        return self._wait(changes, "changes", timeout=timeout, what=f"{changes} changes of {self._name}")

    async def until(self, *, changes: int = 1, timeout: float | None = 10.0) -> Self:
        """Await that `changes` rows were added or changed since this table was made; the event loop keeps running.

        `wait` for async code: `timeout` is in seconds, None for no limit; returns the table. Raises WaitTimeoutError,
        ClosedError, or the error that ended the feed.
        """
        return await self._until(changes, "changes", timeout=timeout, what=f"{changes} changes of {self._name}")

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self):,} rows, {'live' if self.is_live else self._state}>"

    @property
    def _source(self) -> TableSource:
        source = TableSource(self, self._table, self._gap_selection, self._options, check=self._check_coming)
        self._sources.add(source)
        return source

    @property
    def _shown(self) -> ShownMoment:
        return self._link.arrivals.shown

    @property
    def _is_refused(self) -> bool:
        return not self._count() and self._link.is_refused(self._streamed)

    @property
    def _streamed(self) -> Table:
        """The store's table that the stream of the broker fills."""
        return self._table

    def _check(self) -> None:
        if self._is_refused:
            raise self._link.refusal(self._link.refused(self._streamed))
        super()._check()

    def _check_coming(self) -> None:
        self._has(self._count() + 1)()

    def _columns(self, link: Link) -> tuple[Column, ...]:
        return link.table_columns(self.kind)

    def _filled(self, link: Link, listeners: Sequence[TableListener]) -> Table:
        """Subscribe to the data, and return the store's table, which the network's thread fills from now on.

        A hook that `__init__` calls once, on its caller's thread. A subclass whose data come from another source
        overrides it and returns a table which that source fills. `listeners` receive every change of a row.
        """
        return link.table(self.kind, self.account, options=self._options, listeners=listeners)

    def _releasing(self, link: Link) -> Callable[[], None]:
        """Return the function that stops filling the table; `close` and this object's finalizer call it, on any thread.

        It must not refer to this object, which could never be garbage-collected then. A subclass that overrides
        `_filled` overrides this too.
        """
        return partial(link.release, self._table)

    def _captured(self, moment: Moment) -> TableSnapshot:
        return TableSnapshot(self.kind, self.account, self._table, moment)

    def _count(self) -> int:
        return self._changes.version

    def _news(self, *, whole: bool = False) -> News:
        return NewRows(self._changes_from, 0 if whole else self._changes.version)

    def _changes_from(self, first: int) -> pd.DataFrame:
        return self._changes.frame(first)

    def _first_view(self) -> Blotter:
        from aries_nb.widgets import Blotter

        return self._view("blotter", lambda: Blotter(self._source, columns=SHOWN.get(self.kind)))


class TableSource:
    """The data of a live table for views and other live objects; keeps the table from being garbage-collected.

    Any thread. `store` is the table that the stream fills, `options` are those of its subscription, `gaps` its gaps;
    `check` raises where no more changes can arrive.
    """

    def __init__(
        self,
        live: LiveTable,
        store: Table,
        gaps: GapSelection,
        options: SubscriptionOptions,
        *,
        check: Callable[[], None],
    ) -> None:
        self._live = live
        self.store = store  # only the network's thread may write
        self.options = options
        self._gaps = gaps
        self._check = check
        self._number = 0  # of the moment that is shown
        self._past: TableSnapshot | None = None

    @property
    def version(self) -> int:
        """A number that grows with every change of a row, and changes with the state of the feed."""
        past = self._moved()
        version = 2 * self.store.version + (not self._live.is_live)
        return (self._number << 56) + (version if past is None else 0)

    @property
    def standing(self) -> Standing | None:
        """What a view says that stands at a past moment; None for one that shows what is new."""
        past = self._moved()
        return None if past is None else Standing(past.moment.now, 0, "change", past.is_held)

    def resume(self) -> None:
        """Have all views of the feed show what is new again."""
        self._live._shown.move(None)  # noqa: SLF001 - of this module

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self.store.watch(callback)

    def table(self) -> TableData:
        """Return the rows for a view, of now or of the moment at which the feed's views stand.

        Of orders, news and P&L the newest first.
        """
        past, kind = self._moved(), self._live.kind
        rows = self.store.rows() if past is None else past.table.rows() if past.is_held else ()
        if kind in NEWEST_FIRST:
            rows = rows[::-1]
        return TableData(
            title=f"{TITLES.get(kind, kind.replace('_', ' ').capitalize())} {self._live.account}".strip(),
            columns=self.store.columns,
            rows=tuple(row.values for row in rows),
            key=self.store.key,
            is_stale=self._live.is_stale if past is None else past.is_held and past.is_stale,
        )

    @property
    def is_answered(self) -> bool:
        """Whether the broker has sent anything for this table, if only an empty list."""
        return self.store.version > 0

    def check_coming(self) -> None:
        """Raise the error that ended the feed, or ClosedError, if no more changes can arrive; else return."""
        self._check()

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that were not filled, oldest first."""
        return self._gaps.spans()

    def _moved(self) -> TableSnapshot | None:
        """Return the table at the moment that the feed's views show, None for now."""
        number, at = self._live._shown.state  # noqa: SLF001 - of this module
        if number != self._number:
            past = None if at is None else self._live._captured(Moment(at, at, self._gaps.log.frozen(at)))  # noqa: SLF001
            self._number, self._past = number, past
        return self._past
