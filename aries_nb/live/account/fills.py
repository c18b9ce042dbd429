"""`LiveFills`: own executions of an account, as `account.fills` returns them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Self, TypeAlias

import pandas as pd

from aries_nb.errors import UsageError
from aries_nb.live.callbacks import Callbacks, NewRows, News
from aries_nb.live.connection import Link
from aries_nb.live.live_object import LiveObject
from aries_nb.live.moments.parts import Moment
from aries_nb.live.moments.tables import FillsSnapshot
from aries_nb.live.table import LiveTable
from aries_nb.model import Column, FillMark, TableData, Values
from aries_nb.store import Fill, FillLog, ReportedFillLog

if TYPE_CHECKING:
    from aries_nb.widgets import Blotter

__all__ = ["FillsSource", "LiveFills"]

# Inserts own executions between two times into a log; blocks.
FillHistory: TypeAlias = Callable[[ReportedFillLog, str | date, str | date | None], None]

MOST_MARKED = 500  # in charts of market data
SHOWN = 5_000  # the newest fills, in a cell
SHOWN_COLUMNS = (
    Column("time", "time"),
    Column("symbol", "text"),
    Column("side", "text"),
    Column("quantity", "decimal"),
    Column("price", "decimal"),
    Column("fee", "decimal"),
    Column("order_id", "text"),
    Column("note", "text"),
)
# None of these alone is unique; rows in which all are equal look the same.
SHOWN_KEY = ("time", "order_id", "quantity", "price")


class LiveFills(LiveObject):
    """The fills (own executions) of one account, oldest first, each once even where the broker repeats it.

    Where the broker sends own executions, they begin with the current trading session; `source` is the broker's table
    with all its columns. Fills missed in an interruption are requested over HTTP, and `load_history` loads those of
    earlier sessions. Where the broker sends none, fills are derived from changes of orders since the first use, and
    `source` is the table of orders. Any thread may read. `log` has the fills; `past` inserts own executions between two
    times, None where the broker has no such history. `multipliers` returns those of the positions, by symbol.
    """

    def __init__(
        self,
        link: Link,
        callbacks: Callbacks,
        source: LiveTable,
        log: FillLog,
        *,
        past: FillHistory | None = None,
        multipliers: Callable[[], Mapping[str, Decimal]],
    ) -> None:
        self._past = past
        self._multipliers = multipliers
        self.account = source.account
        self.source = source
        self._log = log
        name = f"fills of {source.account}"
        super().__init__(link, callbacks, log.watch, name, release=lambda: None)

    @property
    def df(self) -> pd.DataFrame:
        """One row a fill (own execution), sorted by exchange time `ts`; the index numbers the fills by arrival, from 0.

        Columns ts and received (UTC), account, symbol, side, quantity, price, multiplier, amount, fee, order_id,
        is_combined, source. Quantities are in shares or contracts, never lots; one below 0 takes back earlier
        executions of the order, which the exchange cancelled or corrected; one of 0 adds to the fee of an earlier one.
        `multiplier` is what one unit of the price is worth for one unit of quantity, in the account's currency: 100 of
        an option, the value of a point of a future. `amount` is quantity × price × multiplier, with the accrued
        interest of a bond and without the fee; nothing of it is paid for what is margined, such as a future. Both are
        those of `account.equity`, and NaN where unknown. `price` and `fee` are NaN where the broker sends none. An
        order with several legs has a row for each leg; where they are not known, the symbol says so. `is_combined` is
        true where one row may be several executions: it was derived from a list of all orders, as after a gap or at the
        first connection. `source` is "stream" for a fill that was streamed, "list" for one from a list of all fills or
        orders, "history" for one that was requested later. The DataFrame belongs to the caller.
        """
        frame = self._fills_from(0)
        return frame if frame["ts"].is_monotonic_increasing else frame.sort_values("ts", kind="stable")

    def load_history(self, start: str | date, end: str | date | None = None) -> Self:
        """Add own executions from `start` until before `end` (None: now), each once, and return this object.

        Times without a zone are UTC, a date means its midnight. The broker is asked now, and the call blocks, for long
        where there are many; the newest 50,000 fills are kept. Raises UsageError for an invalid time, or where the
        broker sends no executions; ConnectError, TokenError or FeedError without a usable reply.
        """
        log = self._log
        if self._past is None or not isinstance(log, ReportedFillLog):
            advice = "`account.order_history` has the orders of the past."
            raise UsageError("this broker has no history of own executions", advice=advice)
        self._past(log, start, end)
        return self

    def entries(self) -> list[Fill]:
        """Return the fills as records, by exchange time, with money and quantities as decimal.Decimal."""
        return sorted((fill for fill, _ in self._log.entries()[0]), key=lambda fill: fill.ts)

    def __len__(self) -> int:
        return len(self._log)

    def wait(self, *, fills: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until `fills` fills have arrived since this was made; returns this object.

        `timeout` is in seconds, None for no limit. Raises WaitTimeoutError, ClosedError, or the error that ended the
        feed.
        """
        return self._wait(fills, "fills", timeout=timeout, what=f"{fills} {self._name}")

    async def until(self, *, fills: int = 1, timeout: float | None = 10.0) -> Self:
        """Await that `fills` fills have arrived since this was made, while the event loop keeps running.

        `wait` for async code: `timeout` is in seconds, None for no limit; returns this object. Raises WaitTimeoutError,
        ClosedError, or the error that ended the feed.
        """
        return await self._until(fills, "fills", timeout=timeout, what=f"{fills} {self._name}")

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self):,}, {'live' if self.is_live else self._state}>"

    @property
    def _is_refused(self) -> bool:
        return self.source._is_refused  # noqa: SLF001

    def _check(self) -> None:
        self.source._check()  # noqa: SLF001

    @property
    def _source(self) -> FillsSource:
        return FillsSource(self, self._log)

    def _captured(self, moment: Moment) -> FillsSnapshot:
        return FillsSnapshot(self.account, self._log, moment, held_since=self.source._table.held_from)  # noqa: SLF001

    def _count(self) -> int:
        return self._log.version

    def _news(self, *, whole: bool = False) -> News:
        return NewRows(self._fills_from, 0 if whole else self._log.version)

    def _fills_from(self, first: int) -> pd.DataFrame:
        return self._log.frame(self._multipliers(), first=first)

    def _first_view(self) -> Blotter:
        from aries_nb.widgets import Blotter

        return self._view("blotter", lambda: Blotter(self._source))


class FillsSource:
    """The data of live fills for views and other live objects; keeps the fills from being garbage-collected.

    Any thread.
    """

    def __init__(self, fills: LiveFills, log: FillLog) -> None:
        self._fills = fills
        self._log = log
        self._rows: dict[int, tuple[Fill, Values]] = {}  # by the id of the fill, which they keep alive

    @property
    def version(self) -> int:
        """A number that grows with every fill, and changes with the state of the feed."""
        return 2 * self._log.version + (not self._fills.is_live)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each fill, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._log.watch(callback)

    def table(self) -> TableData:
        """Return the newest 5,000 fills as a table for views, the newest first.

        The row of a fill is the same object at each call: views skip it.
        """
        fills, known = self._fills, self._rows
        self._rows = {id(fill): known.get(id(fill)) or (fill, _shown(fill)) for fill in fills.entries()[-SHOWN:]}
        rows = tuple(row for _, row in reversed(self._rows.values()))
        note = f"the newest {SHOWN:,} of {len(fills):,}" if len(fills) > SHOWN else ""
        return TableData(
            f"Fills {fills.account}", SHOWN_COLUMNS, rows, SHOWN_KEY, is_stale=not fills.is_live, note=note
        )

    def marks(self) -> list[FillMark]:
        """Return the newest 500 fills in the order of their arrival, as charts of market data mark them."""
        _, end = self._log.entries(sys.maxsize)
        entries, _ = self._log.entries(end - MOST_MARKED)
        return [
            FillMark(fill.ts, fill.symbol, float(fill.signed), float(fill.price))
            for fill, _ in entries
            if fill.quantity > 0
        ]

    @property
    def is_answered(self) -> bool:
        """Whether the broker has sent anything that the fills are made from, if only an empty list."""
        return self._fills.source._source.is_answered

    def entries_since(self, first: int) -> tuple[list[Fill], int]:
        """Return the fills from number `first` on, in the order of arrival, and the number after the last.

        Fills are numbered by arrival from 0.
        """
        entries, end = self._log.entries(first)
        return [fill for fill, _ in entries], end


def _shown(fill: Fill) -> Values:
    note = "combined" if fill.is_combined else ""
    note = "taken back" if fill.quantity < 0 else note if fill.quantity else "fee"
    return (fill.ts, fill.symbol, fill.side, fill.quantity, fill.price, fill.fee, fill.order_id, note)
