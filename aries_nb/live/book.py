"""A live order book: what `feed.book` returns."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast
from weakref import WeakValueDictionary

import numpy as np
import pandas as pd

from aries_nb.errors import ClosedError, FeedError, WaitTimeoutError
from aries_nb.live.bell import wait_for, wait_for_async
from aries_nb.live.frame import FIRST_SIGHT_SECONDS
from aries_nb.live.link import Link
from aries_nb.model import BookIntegrity, BookLevels

if TYPE_CHECKING:
    from aries_nb.widgets import DepthChart, Ladder

__all__ = ["LiveBook"]

T = TypeVar("T")


class LiveBook:
    """Both sides of one symbol's order book, kept current in the background. Any thread may read."""

    def __init__(self, link: Link, symbol: str, *, depth: int) -> None:
        self.symbol = symbol
        self.depth = depth
        self._link = link
        self._book = link.book(symbol)
        self._views: WeakValueDictionary[object, Any] = WeakValueDictionary()  # the painter keeps those on display
        self._release = weakref.finalize(self, link.release, self._book)
        self._release.atexit = False

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed here."""
        return self._release.alive

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
        wait_for(self._has(updates), self._watches, timeout=timeout, what=f"{updates} updates of {self.symbol}'s book")
        return self

    async def until(self, *, updates: int = 1, timeout: float | None = 10.0) -> Self:
        """The same as `wait` for async code."""
        what = f"{updates} updates of {self.symbol}'s book"
        await wait_for_async(self._has(updates), self._watches, timeout=timeout, what=what)
        return self

    def ladder(self, depth: int | None = None) -> Ladder:
        """A live price ladder with `depth` levels a side."""
        from aries_nb.widgets import Ladder

        levels = depth or self.depth
        return self._view(("ladder", levels), lambda: Ladder(self, depth=levels))

    def depth_chart(self, depth: int = 20) -> DepthChart:
        """A live chart of the cumulated size of both sides."""
        from aries_nb.widgets import DepthChart

        return self._view(("depth", depth), lambda: DepthChart(self, depth=depth))

    def close(self) -> None:
        """Stop the stream and free the views; idempotent. What has come stays readable."""
        self._release()
        for view in list(self._views.values()):
            view.close()

    # What views are drawn from.

    @property
    def version(self) -> int:
        """Grows with every update, and when the book turns stale."""
        return 2 * self._book.version + (self.levels(1).integrity in {"stale", "gap"})

    def levels(self, depth: int) -> BookLevels:
        """The best levels of each side as arrays, and whether they can be believed."""
        now = self._book.levels(depth, now=time.time_ns())
        is_fed = self.is_open and self._link.state == "live"
        return now if is_fed or now.integrity == "empty" else replace(now, integrity="gap")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<book {self.symbol}: {self.integrity}, {self._book.updates:,} updates>"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        if not self._book.updates and self._link.state == "live":
            with suppress(WaitTimeoutError):  # an empty ladder is the truth then
                self.wait(timeout=FIRST_SIGHT_SECONDS)
        return self.ladder()._repr_mimebundle_(include, exclude)

    @property
    def _watches(self) -> tuple[Callable[[Callable[[], None]], Callable[[], None]], ...]:
        return (self._book.watch, self._link.watch)

    def _has(self, updates: int) -> Callable[[], bool]:
        def is_done() -> bool:
            if self._book.updates >= updates:
                return True
            self._link.check()
            if not self.is_open:
                raise ClosedError(f"the book of {self.symbol} is closed", advice="Ask the feed for it again.")
            return False

        return is_done

    def _view(self, key: object, make: Callable[[], T]) -> T:
        view: Any = self._views.get(key)
        if view is None or view.is_closed:
            if not self.is_open:
                raise FeedError(f"the book of {self.symbol} is closed", advice="Ask the feed for it again.")
            view = self._views[key] = make()
        return cast("T", view)
