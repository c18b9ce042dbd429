"""P&L candles where the broker has none: out of the equity that is reckoned here."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pandas as pd

from aries_nb.live.account.equity import LiveEquity
from aries_nb.live.account.pnl import NETWORK_SECONDS, PRICES, CandleSource
from aries_nb.live.callbacks import Callbacks
from aries_nb.model import Column
from aries_nb.net import on_network
from aries_nb.store.log import Row

__all__ = ["ReckonedCandles"]

COLUMNS = (Column("interval", "text"), Column("start", "time"), *map(Column, PRICES))


class ReckonedCandles(CandleSource):
    """How much equity has changed since it was first reckoned, as candles: what there is without the broker's.

    They begin when `account.equity` did, at 0, and go as far back as its moments are kept. Money paid in or out counts
    as profit or loss. A candle opens where the one before closed; there is none of a time without a known equity.
    """

    def __init__(self, account: str, equity: LiveEquity, interval: str) -> None:
        super().__init__(COLUMNS, interval)
        self._account = account
        self.equity = equity
        self._taken = 0  # when the last moment was, in ns
        self._opening: float | None = None
        self._candle: tuple[int, float, float, float, float] | None = None
        self._reckoning = threading.Lock()
        self._stop: Callable[[], None] | None = None

    @property
    def note(self) -> str:  # type: ignore[override]
        """Where they come from, for a view."""
        since = self.equity.since
        return "reckoned here" if since is pd.NaT else f"reckoned here since {since:%H:%M:%S} UTC"

    @property
    def is_stale(self) -> bool:
        """Whether equity is of now."""
        return not self.equity.is_open

    def _begin(self, since: int) -> None:  # noqa: ARG002 - all of them are reckoned anyway
        if self._stop is not None:
            return
        self._reckon()  # what there is already, so that the first sight is not an empty one
        reckoner = Callbacks()
        reckoner.add(self._reckon)
        forget_equity = self.equity.watch(reckoner.ring)

        def stop() -> None:
            forget_equity()
            reckoner.close()

        self._stop = stop

    def _end(self) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()

    # The reckoner's thread, and at first who joins.

    def _reckon(self) -> None:
        with self._reckoning:
            taken = self._taken
            changed: dict[int, tuple[int, float, float, float, float]] = {}
            for ts, equity in self.equity.moments(taken):
                taken = ts
                if self._opening is None:
                    self._opening = equity
                self._candle = self._after(ts // self._span * self._span, equity - self._opening)
                changed[self._candle[0]] = self._candle
            rows = [
                Row(taken, taken, self._account, (self._interval, start, *prices))
                for start, *prices in changed.values()
            ]
            if rows:
                on_network(lambda: self._put(rows)).result(NETWORK_SECONDS)
            self._taken = taken

    def _after(self, start: int, value: float) -> tuple[int, float, float, float, float]:
        """The candle that begins at `start`, with one more value in it."""
        if self._candle is None:
            return start, value, value, value, value
        begun, open_, high, low, close = self._candle
        if start > begun:
            return start, close, max(close, value), min(close, value), value
        return begun, open_, max(high, value), min(low, value), value
