"""The trading status of instruments: `LiveInstruments`, as `feed.instruments` returns it, and the states of views."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pandas as pd

from aries_nb.errors import FeedError
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.connection import Link
from aries_nb.live.table import LiveTable
from aries_nb.model import RecordSink
from aries_nb.store import Table, TableListener

if TYPE_CHECKING:
    from aries_nb.widgets import Blotter

__all__ = ["LiveInstruments", "TradingState"]

# Of these a view has a stream of its own: one that is shared sends a second reader nothing until the next change.
STATE_COLUMNS = ("symbol", "trading_status")
# Shown in a cell besides the columns that have values; the symbol includes the exchange, and a text the status.
ALWAYS_SHOWN = frozenset({"symbol", "price_min", "price_max"})


class LiveInstruments(LiveTable):
    """A live table with one row for each instrument, index `symbol`: trading status, price limits and margins.

    Prices and margins are in the instrument's currency, margins for one share or contract; values that the broker does
    not send are NaN. `log` has every state since this was made. Any thread may read.
    """

    def __init__(self, link: Link, callbacks: Callbacks, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        super().__init__(link, callbacks, "instruments")

    @property
    def df(self) -> pd.DataFrame:
        """The current rows, index `symbol`; a snapshot that belongs to the caller."""
        self._use()
        return super().df.drop(columns="account")

    @property
    def log(self) -> pd.DataFrame:
        """Every state of every row since this table was made, oldest first; the index numbers the changes from 0.

        The newest 50,000 are kept. A snapshot that belongs to the caller.
        """
        self._use()
        return super().log.drop(columns="account")

    def rows(self) -> list[dict[str, object]]:
        """Return the current rows as dictionaries, one for each instrument."""
        self._use()
        names = [column.name for column in self.columns]
        return [dict(zip(names, row.values, strict=True)) for row in self._table.rows()]

    def __repr__(self) -> str:
        return super().__repr__().replace("instruments", f"instruments {', '.join(self.symbols[:4])}", 1)

    def _filled(self, link: Link, listeners: Sequence[TableListener]) -> Table:
        return link.instruments(self.symbols, listeners)

    def _first_view(self) -> Blotter:
        from aries_nb.widgets import Blotter

        filled = {name for row in self.rows() for name, value in row.items() if value == value and value not in ("", 0)}
        shown_otherwise = {"exchange", "trading_status" if "status_text" in filled else ""}
        wanted = (filled | ALWAYS_SHOWN) - shown_otherwise
        shown = tuple(column.name for column in self.columns if column.name in wanted)
        return self._view("blotter", lambda: Blotter(self._source, columns=shown))


class TradingState:
    """The states of `symbols` in a few words, such as "halted", for the views of their frame or book.

    Made when a view is displayed: subscribes to the trading status of the instruments where the broker streams it, and
    waits for the server's reply. Where it is refused, the state of the whole market alone is known. Any thread.
    """

    def __init__(self, link: Link, symbols: Sequence[str]) -> None:
        self._link = link
        self._table: Table | None = None
        self.close: Callable[[], object] = lambda: None
        if link.columns("instruments"):
            with suppress(FeedError):
                self._table = link.instruments(symbols, only=STATE_COLUMNS)
                self.close = weakref.finalize(self, link.release, self._table)
                self.close.atexit = False

    @property
    def store(self) -> RecordSink | None:
        """The table of trading states; None where the broker streams none."""
        return self._table

    @property
    def version(self) -> int:
        """A number that grows with every report on an instrument."""
        return 0 if self._table is None else self._table.version

    @property
    def market(self) -> str:
        """The state of the market in a few words, "" while it is open."""
        return self._link.hours.market_state(self._link.market_status)

    def by_symbol(self) -> dict[str, str]:
        """Return the state of each instrument that does not trade as usual."""
        table = self._table
        if table is None or table.is_stale:
            return {}
        names = [column.name for column in table.columns]
        read = self._link.hours.trading_state
        states = {row.account: read(dict(zip(names, row.values, strict=True))) for row in table.rows()}
        return {symbol: state for symbol, state in states.items() if state}
