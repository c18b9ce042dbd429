"""The broker's own P&L of an account as candles: what `account.pnl` returns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aries_nb.live.table import LiveTable
from aries_nb.model import BarsData

if TYPE_CHECKING:
    from aries_nb.widgets import BarCandles

__all__ = ["LivePnl"]

PRICES = ("open", "high", "low", "close")


class LivePnl(LiveTable):
    """P&L candles of one interval, in the account's currency: history joined to live by the broker, kept current."""

    def chart(self, *, bars: int = 500, height: int = 380) -> BarCandles:
        """Live candles of the newest `bars`, at most 2,000; height in pixels. Times are UTC.

        What is long without a candle, a night or a weekend, is left out of the time axis.
        """
        from aries_nb.widgets import BarCandles

        make = lambda: BarCandles(self, title=self._title(), most=bars, height=height)  # noqa: E731
        return self._view(("chart", bars, height), make)

    def newest(self, most: int) -> BarsData:
        """The newest `most` candles as arrays, oldest first."""
        # An update may bring an older candle after a newer one; rows stand in the order of their arrival.
        names = [column.name for column in self._table.columns]
        places = [names.index(name) for name in ("start", *PRICES)]
        rows: list[Any] = sorted(tuple(row.values[place] for place in places) for row in self._table.rows())[-most:]
        columns = np.array([row[1:] for row in rows], "float64").reshape(len(rows), len(PRICES)).T
        bars = BarsData(np.array([row[0] for row in rows], "int64"), *columns)
        return replace(bars, is_stale=self.is_stale)

    def _title(self) -> str:
        return f"P&L {self.account} · {dict(self.options).get('interval', '')}"
