"""A live order book: what `feed.book` returns."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from aries_nb.live.held import Held
from aries_nb.live.link import Link
from aries_nb.model import BookIntegrity, BookLevels

if TYPE_CHECKING:
    from aries_nb.widgets import DepthChart, Ladder

__all__ = ["LiveBook"]


class LiveBook(Held):
    """Both sides of one symbol's order book, kept current in the background. Any thread may read."""

    def __init__(self, link: Link, symbol: str, *, depth: int) -> None:
        self.symbol = symbol
        self.depth = depth
        self._book = link.book(symbol)
        super().__init__(link, self._book.watch, f"the book of {symbol}", release=partial(link.release, self._book))

    @property
    def df(self) -> pd.DataFrame:
        """One row a level: index `ts` (of the last update, UTC), received, symbol, side, level (from 1), price, size.

        Best levels first, bids before asks, at most `depth` a side; sizes are in shares. Look at `integrity` before
        you trust it.
        """
        now = self.levels(self.depth)
        sides = [("buy", now.bids), ("sell", now.asks)]
        count = sum(len(levels) for _, levels in sides)
        zone = pd.DatetimeTZDtype("ns", "UTC")
        codes = np.repeat([0, 1], [len(levels) for _, levels in sides])
        stacked = np.concatenate([levels for _, levels in sides])
        return pd.DataFrame(
            {
                "received": pd.array(np.full(count, now.received), dtype=zone),
                "symbol": pd.Categorical.from_codes(np.zeros(count, "int8"), categories=pd.Index([self.symbol])),
                "side": pd.Categorical.from_codes(codes, categories=pd.Index([side for side, _ in sides])),
                "level": np.concatenate([np.arange(1, len(levels) + 1) for _, levels in sides]),
                "price": stacked[:, 0],
                "size": stacked[:, 1],
            },
            index=pd.DatetimeIndex(pd.array(np.full(count, now.ts), dtype=zone), name="ts"),
        )

    @property
    def integrity(self) -> BookIntegrity:
        """Whether the book can be believed: "ok", "empty", "crossed", "stale" (no update for 10 s) or "gap"."""
        return self.levels(1).integrity

    @property
    def updates(self) -> int:
        """How many updates have come."""
        return self._book.updates

    def wait(self, *, updates: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until `updates` updates have come. `timeout` in seconds, None for ever. Raises WaitTimeoutError."""
        return self._wait(updates, timeout=timeout, what=f"{updates} updates of {self.symbol}'s book")

    async def until(self, *, updates: int = 1, timeout: float | None = 10.0) -> Self:
        """The same as `wait` for async code."""
        return await self._until(updates, timeout=timeout, what=f"{updates} updates of {self.symbol}'s book")

    def ladder(self, depth: int | None = None) -> Ladder:
        """A live price ladder with `depth` levels a side."""
        from aries_nb.widgets import Ladder

        levels = depth or self.depth
        return self._view(("ladder", levels), lambda: Ladder(self, depth=levels))

    def depth_chart(self, depth: int = 20) -> DepthChart:
        """A live chart of the cumulated size of both sides."""
        from aries_nb.widgets import DepthChart

        return self._view(("depth", depth), lambda: DepthChart(self, depth=depth))

    # What views are drawn from.

    @property
    def version(self) -> int:
        """Grows with every update, and when the book turns stale."""
        return 2 * self._book.version + (self.levels(1).integrity in {"stale", "gap"})

    def levels(self, depth: int) -> BookLevels:
        """The best levels of each side as arrays, and whether they can be believed."""
        now = self._book.levels(depth, now=time.time_ns())
        return now if self.is_live or now.integrity == "empty" else replace(now, integrity="gap")

    def __repr__(self) -> str:
        return f"<book {self.symbol}: {self.integrity}, {self._book.updates:,} updates>"

    def _count(self) -> int:
        return self._book.updates

    def _first_view(self) -> Ladder:
        return self.ladder()
