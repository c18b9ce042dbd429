"""P&L candles where the broker has none: out of the equity that is reckoned here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from aries_nb.errors import UsageError
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.equity import LiveEquity
from aries_nb.live.link import Link
from aries_nb.live.pnl import PRICES, LivePnl
from aries_nb.live.table import Options
from aries_nb.model import PUT, TABLE_KEYS, Column, TableData
from aries_nb.store import Follower, Table

__all__ = ["ReckonedPnl"]

SECOND = 1_000_000_000
INTERVALS: Mapping[str, int] = {
    "15s": 15 * SECOND,
    "1m": 60 * SECOND,
    "5m": 300 * SECOND,
    "15m": 900 * SECOND,
    "1h": 3_600 * SECOND,
    "1d": 86_400 * SECOND,
}
COLUMNS = (Column("interval", "text"), Column("start", "time"), *map(Column, PRICES))


class ReckonedPnl(LivePnl):
    """How much equity has changed since it was first reckoned, as candles: what `account.pnl` is without the broker's.

    They begin when `account.equity` did, at 0, and go as far back as its moments are kept. Money paid in or out counts
    as profit or loss. A candle opens where the one before closed; there is none of a time without a known equity.
    """

    def __init__(
        self, link: Link, callbacks: Callbacks, account: str, equity: LiveEquity, *, options: Options, since: int
    ) -> None:
        """`options` are those of the broker's own candles, `since` is their start in ns since the epoch."""
        self._equity = equity
        self._interval = dict(options)["interval"]
        self._span = _span_of(self._interval)
        self._first = since // self._span * self._span
        self._taken = 0  # when the last moment was, in ns
        self._opening: float | None = None
        self._candle: tuple[int, float, float, float, float] | None = None
        super().__init__(link, callbacks, "pnl", account, options=options)
        self._reckon()  # what there is already, so that the first sight is not an empty one
        # A thread of its own, the only one that writes to the table.
        self._reckoner = Callbacks()
        self._reckoner.add(self._reckon)
        self._forget_equity = equity.watch(self._reckoner.ring)

    def close(self) -> None:
        """Stop; idempotent. What has come stays readable."""
        self._forget_equity()
        self._reckoner.close()
        super().close()

    # What views are drawn from.

    def table(self) -> TableData:
        """The candles, newest first, with a note of where they come from."""
        since = self._equity.since
        note = "reckoned here" if since is pd.NaT else f"reckoned here since {since:%H:%M:%S} UTC"
        return replace(super().table(), note=note)

    def _title(self) -> str:
        return f"{super()._title()} · reckoned here"

    def _columns(self, link: Link) -> tuple[Column, ...]:  # noqa: ARG002
        return COLUMNS

    def _filled(self, link: Link, followers: Sequence[Follower]) -> Table:  # noqa: ARG002
        return Table(COLUMNS, (self.account,), key=TABLE_KEYS["pnl"], followers=followers)

    # The reckoner's thread.

    def _reckon(self) -> None:
        changed: dict[int, tuple[int, float, float, float, float]] = {}
        for ts, equity in self._equity.moments(self._taken):
            self._taken = ts
            if self._opening is None:
                self._opening = equity
            self._candle = self._after(ts // self._span * self._span, equity - self._opening)
            changed[self._candle[0]] = self._candle
        for start, *prices in changed.values():
            if start >= self._first:
                self._table.inbox.add(0, self._taken, (PUT, self._interval, start, *prices))
        if self._table.inbox.codes:
            self._table.inbox.mark(self._taken)
            self._table.publish()

    def _after(self, start: int, value: float) -> tuple[int, float, float, float, float]:
        """The candle that begins at `start`, with one more value in it."""
        if self._candle is None:
            return start, value, value, value, value
        begun, open_, high, low, close = self._candle
        if start > begun:
            return start, close, max(close, value), min(close, value), value
        return begun, open_, max(high, value), min(low, value), value


def _span_of(interval: str) -> int:
    """The length of a candle in ns. Raises UsageError for one that cannot be."""
    if not isinstance(interval, str) or interval not in INTERVALS:
        raise UsageError(f"no P&L candles of {interval!r}", advice=f"Pass one of: {', '.join(INTERVALS)}.")
    return INTERVALS[interval]
