"""The equity of an account, reckoned here on every quote, beside the broker's own figure; and why it moved."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Self

import numpy as np
import pandas as pd
from pandas.api.typing import NaTType

from aries_nb.live.bell import wait_for
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.fills import LiveFills
from aries_nb.live.positions import LivePositions, is_money, multiplier_of
from aries_nb.live.table import LiveTable
from aries_nb.model import Column, EquityData, TableData, Values
from aries_nb.store import (
    CASH,
    UNKNOWN,
    Bells,
    Books,
    Explanation,
    Fill,
    Parts,
    Reconciliation,
    equity,
    open_books,
    unmarked,
)

__all__ = ["LiveEquity"]

SAMPLE_SECONDS = 0.2  # the soonest after which the next moment is kept
MOST_SAMPLES = 20_000
FIRST_SECONDS = 3.0  # for lists of positions and orders, and for a price of each instrument, before it is begun without
TOTAL = "total"
CAUSES = ("price_move", "trade", "fee", "unexplained")


class LiveEquity:
    """Cash and positions as the broker tells them, the positions valued at the middle of the feed's own quotes.

    `df` has one row a moment; nothing unknown counts as zero: where an instrument has no price yet, equity is NaN and
    `unmarked` names it. It is reckoned in decimals and in the account's currency. `explained` says why it changed.
    """

    def __init__(self, positions: LivePositions, balances: LiveTable, fills: LiveFills) -> None:
        self._positions = positions
        self._balances = balances
        self._fills = fills
        self._marks = positions.marks
        self._samples: deque[tuple[int, float, float]] = deque(maxlen=MOST_SAMPLES)
        self._unmarked: tuple[str, ...] = ()
        self._known = 0  # moments
        self._bells = Bells()
        self._guard = threading.Lock()
        self._sampled_at = 0.0
        self._made_at = time.monotonic()
        self._reconciliation: Reconciliation | None = None
        self._explanation = Explanation({})
        self._since = 0
        self._fills_taken = 0
        # A thread of its own: a user's callbacks may take for ever.
        self._callbacks = Callbacks()
        self._callbacks.add(self._sample)
        self._undo = [source.watch(self._callbacks.ring) for source in (positions, balances, fills, self._marks)]

    @property
    def df(self) -> pd.DataFrame:
        """Index `ts` (UTC); equity, broker_equity and their difference, float64, NaN where not known."""
        data = self.equity()
        zone = pd.DatetimeTZDtype("ns", "UTC")
        return pd.DataFrame(
            {"equity": data.ours, "broker_equity": data.theirs, "difference": data.ours - data.theirs},
            index=pd.DatetimeIndex(pd.array(data.ts, dtype=zone), name="ts"),
        )

    @property
    def explained(self) -> pd.DataFrame:
        """Why equity changed since `since`: one row an instrument, "cash" for what is of none or of several, "total".

        `price_move` is what the market did to what was held; `trade` how much better than the mark of that moment
        fills were; `fee` what orders name as such, and what the broker's cash lost beyond its fills when there were
        some, up to 1 % of their value; `unexplained` is all else, so that each total is right. NaN where a price is not
        known. Two of these subtracted explain what lies between: `after.sub(before, fill_value=0)`.
        """
        rows = _rows(self._explanation)
        columns = pd.Index([*CAUSES, TOTAL])
        index = pd.Index([name for name, _ in rows], name="symbol", dtype="str")
        return pd.DataFrame([[float(value) for value in values] for _, values in rows], index, columns, dtype="float64")

    @property
    def since(self) -> pd.Timestamp | NaTType:
        """From when on `explained` explains, UTC; NaT before there is anything to explain."""
        return pd.Timestamp(self._since, unit="ns", tz="UTC") if self._since else pd.NaT

    def moments(self, after: int) -> list[tuple[int, float]]:
        """When (ns since the epoch, later than `after`) equity was known, and what it was, oldest first."""
        found: list[tuple[int, float]] = []
        with self._guard:
            for ts, ours, _ in reversed(self._samples):
                if ts <= after or not self._since or ts < self._since:
                    break
                found.append((ts, ours))
        return [(ts, ours) for ts, ours in reversed(found) if ours == ours]

    def watch(self, ring: Callable[[], None]) -> Callable[[], None]:
        """Have `ring` called after each moment; it must return at once. Returns the undo."""
        return self._bells.add(ring)

    @property
    def unmarked(self) -> tuple[str, ...]:
        """The instruments without a price: the reason why equity is NaN."""
        return self._unmarked

    def books(self) -> Books:
        """Cash and positions as the broker has them now, for a reckoning of your own; money exactly."""
        cash, _ = self._told()
        rows = {str(row["symbol"]): row for row in self._positions.rows() if not is_money(row)}
        holdings = {symbol: (_decimal(row["quantity"]), _decimal(row["average_price"])) for symbol, row in rows.items()}
        multipliers = {symbol: multiplier_of(row) for symbol, row in rows.items()}
        return open_books(cash, holdings, multipliers=multipliers)

    def marks(self) -> dict[str, Decimal]:
        """The middle of bid and ask of what is held, else the last price; exactly as the quotes have them."""
        return self._marks.now()

    def wait(self, *, moments: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until equity was known at so many moments. `timeout` in seconds, None for ever.

        Raises WaitTimeoutError, or what has gone wrong with the feed.
        """
        self._balances.wait(timeout=timeout)
        is_done = lambda: self._known >= moments  # noqa: E731
        wait_for(is_done, (self._bells.add,), timeout=timeout, what=f"{moments} moments of a known equity")
        return self

    def close(self) -> None:
        """Stop; what was reckoned stays readable."""
        self._callbacks.close()
        for undo in self._undo:
            undo()

    # What views are drawn from.

    @property
    def version(self) -> int:
        """Grows with every moment that is kept."""
        return self._samples[-1][0] if self._samples else 0

    def equity(self) -> EquityData:
        """The moments kept so far, and by which causes each instrument has changed it."""
        with self._guard:
            samples = list(self._samples)
        ts, ours, theirs = zip(*samples, strict=True) if samples else ((), (), ())
        by_cause = tuple((name, tuple(map(float, values[:-1]))) for name, values in _rows(self._explanation)[:-1])
        return EquityData(np.array(ts, "int64"), np.array(ours, "f8"), np.array(theirs, "f8"), CAUSES, by_cause)

    def table(self) -> TableData:
        """What `explained` has, exactly."""
        columns = (Column("symbol", "text"), *(Column(name, "decimal") for name in (*CAUSES, TOTAL)))
        rows: tuple[Values, ...] = tuple((name, *values) for name, values in _rows(self._explanation))
        note = f"since {self.since:%H:%M:%S} UTC" if self._since else ""
        return TableData("What moved it", columns, rows, ("symbol",), is_stale=self._positions.is_stale, note=note)

    # The callbacks' thread.

    def _sample(self) -> None:
        if not len(self._balances):
            return
        is_early = time.monotonic() - self._made_at < FIRST_SECONDS
        if is_early and not (self._positions.is_told and self._fills.is_told):
            return  # cash without the positions is no equity
        # Not skipped: the last change before a quiet time counts as well.
        time.sleep(max(self._sampled_at + SAMPLE_SECONDS - time.monotonic(), 0))
        self._sampled_at = time.monotonic()
        fills, taken = self._fills.entries_since(self._fills_taken)
        books, marks = self.books(), self.marks()
        _, theirs = self._told()
        now = time.time_ns()
        self._unmarked = unmarked(books, marks)
        if self._reconciliation is not None:
            self._reconciliation.take(books, marks, [fill for fill in fills if self._is_news(fill)], now)
            self._explanation = self._reconciliation.explanation()
            self._fills_taken = taken
        elif (
            books.cash.is_finite()
            and not (is_early and self._unmarked)
            and taken == self._fills.entries_since(taken)[1]
        ):
            self._reconciliation = Reconciliation(books, marks)
            self._explanation = self._reconciliation.explanation()
            self._since, self._fills_taken = now, taken
        ours = float(equity(books, marks))
        with self._guard:
            self._samples.append((now, ours, float(theirs)))
        self._known += ours == ours and self._reconciliation is not None
        self._bells.ring()

    def _is_news(self, fill: Fill) -> bool:
        """Whether it happened since the beginning; a full list tells of older ones too."""
        return not (fill.is_combined or fill.is_listed) or fill.ts >= self._since

    def _told(self) -> tuple[Decimal, Decimal]:
        """Cash and equity as the broker last told them."""
        rows = self._balances.rows()
        return (_decimal(rows[0]["cash"]), _decimal(rows[0]["equity"])) if rows else (UNKNOWN, UNKNOWN)


def _rows(explanation: Explanation) -> list[tuple[str, tuple[Decimal, ...]]]:
    """Name, parts by cause and their total: each instrument, cash, and all of them; nothing before the beginning."""
    parts = dict(sorted(explanation.parts.items()))
    if not parts:
        return []
    parts[CASH] = parts.pop(CASH, Parts())
    return [(name, (*each, each.total)) for name, each in (*parts.items(), (TOTAL, explanation.causes))]


def _decimal(value: object) -> Decimal:
    assert isinstance(value, Decimal)
    return value
