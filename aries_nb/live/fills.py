"""Own executions as they come: what `account.fills` is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import pandas as pd

from aries_nb.live.callbacks import Callbacks
from aries_nb.live.held import Held
from aries_nb.live.link import Link
from aries_nb.live.table import LiveTable
from aries_nb.model import Column, TableData
from aries_nb.store import Fill, Fills

if TYPE_CHECKING:
    from aries_nb.widgets import Blotter

__all__ = ["LiveFills"]

SHOWN = 50  # the newest fills, in a cell
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
# Not one of these alone is a fill's own; rows that have all of them in common look the same.
SHOWN_KEY = ("time", "order_id", "quantity", "price")


class LiveFills(Held):
    """The fills of one account since they were first asked for, oldest first; each once, whatever a broker repeats.

    Where the broker tells its own executions they are those, and those of the session before; `source` is its table of
    them, with all that it tells. Else they are worked out of orders, and `source` is the table of those.
    """

    def __init__(self, link: Link, callbacks: Callbacks, source: LiveTable, log: Fills) -> None:
        self.account = source.account
        self._callbacks = callbacks
        self.source = source
        self._log = log
        super().__init__(link, log.watch, f"fills of {source.account}", release=lambda: None)

    @property
    def df(self) -> pd.DataFrame:
        """One row a fill: ts, received (UTC), account, symbol, side, quantity, price, fee, order_id, is_combined.

        Quantities in shares (pieces, never lots); `fee` is 0 where none is told. `is_combined` is true where several
        executions may be in one row: it was worked out of a full list only, as after a gap or at the first connection.
        """
        return self._log.frame()

    @property
    def is_told(self) -> bool:
        """Whether the broker has told anything of it yet, if only that there is nothing."""
        return self.source.is_told

    def entries(self) -> list[Fill]:
        """The same with money and quantities as decimal.Decimal."""
        return [fill for fill, _ in self._log.entries()[0]]

    def entries_since(self, first: int) -> tuple[list[Fill], int]:
        """The same from fill number `first` on, counted from 0, and the number after the last."""
        entries, end = self._log.entries(first)
        return [fill for fill, _ in entries], end

    def __len__(self) -> int:
        return len(self._log)

    def wait(self, *, fills: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until so many fills have come. `timeout` in seconds, None for ever. Raises WaitTimeoutError."""
        return self._wait(fills, timeout=timeout, what=f"{fills} {self._name}")

    async def until(self, *, fills: int = 1, timeout: float | None = 10.0) -> Self:
        """The same as `wait` for async code."""
        return await self._until(fills, timeout=timeout, what=f"{fills} {self._name}")

    def on_update(self, callback: Callable[[pd.DataFrame], object]) -> Callable[[], None]:
        """Call back with the fills that are new, as a DataFrame, on a thread of its own. Returns the undo."""
        return self._callbacks.on_rows(self._log, callback)

    # What views are drawn from.

    @property
    def version(self) -> int:
        """Grows with every fill, and with the state of the feed."""
        return 2 * self._log.version + (not self.is_live)

    def table(self) -> TableData:
        """The newest fills, newest first."""
        newest = reversed(self.entries()[-SHOWN:])
        rows = tuple(
            (
                *(fill.ts, fill.symbol, fill.side, fill.quantity, fill.price, fill.fee, fill.order_id),
                "combined" if fill.is_combined else "",
            )
            for fill in newest
        )
        note = f"the newest {SHOWN} of {len(self):,}" if len(self) > SHOWN else ""
        return TableData(f"Fills {self.account}", SHOWN_COLUMNS, rows, SHOWN_KEY, is_stale=not self.is_live, note=note)

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self):,}, {'live' if self.is_live else self._state}>"

    def _count(self) -> int:
        return self._log.version

    def _first_view(self) -> Blotter:
        from aries_nb.widgets import Blotter

        return self._view("blotter", lambda: Blotter(self))
