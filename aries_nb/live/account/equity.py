"""The equity of an account over time, the broker's figure, and what changed equity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

import pandas as pd
from pandas.api.typing import NaTType

from aries_nb.errors import BoundToProcess, ClosedError, UsageError, WaitTimeoutError
from aries_nb.live.account.equity_source import CAUSES, TOTAL, EquitySource, explained_rows
from aries_nb.live.account.fills import LiveFills
from aries_nb.live.account.positions import LivePositions
from aries_nb.live.arguments import checked_count
from aries_nb.live.callbacks import Callbacks, Registrations
from aries_nb.live.table import LiveTable
from aries_nb.live.waiting import wait_for, wait_for_async
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.store import (
    Attribution,
    Portfolio,
)
from aries_nb.store.values import utc_times

__all__ = ["EquityMoment", "LiveEquity"]


@dataclass(frozen=True)
class EquityMoment:
    """Equity, cash and fills of one computation, at time `ts`, and equity and cash at the opening, `since`.

    Changes of equity are explained from the opening on. Times in UTC, money in the account's currency, NaN where
    unknown. `broker_equity` is the broker's own figure at `ts`. `fills` are the own executions between the two times,
    in the columns of `account.fills.df`. `explained` is `LiveEquity.explained` at `ts`, with `equity` -
    `opening_equity` as its total; `cash` - `opening_cash` is the sum of the fills' proceeds, their fees and the
    unexplained part; of fills of what is margined, it is what they realised.
    """

    since: pd.Timestamp
    ts: pd.Timestamp
    opening_equity: float
    equity: float
    broker_equity: float
    opening_cash: float
    cash: float
    fills: pd.DataFrame
    explained: pd.DataFrame


class LiveEquity(BoundToProcess):
    """The broker's cash and positions, with the positions valued at the feed's own quotes.

    What is not paid for, such as a future, counts with its variation margin: the quantity at the mark less the broker's
    value at the average price. A bond counts with its accrued interest, where the quotes or an own execution have it.

    The mark of an instrument is the middle of bid and ask where both are there and believable: not crossed, and no stub
    quotes such as 0.01 and 199,999.99. Else it is the last price, where that lies inside the sides that are there or is
    newer than they are. Else it is unknown.

    The messages of a trade come one by one: a position before its cash, or the other way round. A difference between
    the two and the fills (own executions) counts only once all have been at rest for a second, or after five; until
    then equity is what the fills make of it. So a deposit shows after a second.

    `df` has one row for each computation, which follows a change (a quote included) at a multiple of 0.2 s. An
    unknown value is not taken for zero: where the price or the quantity of an instrument is unknown, equity is NaN,
    `unmarked` names the instrument and `reasons` says why. Computed in decimals, in the account's currency. `explained`
    has the causes of its change. Any thread may read.
    """

    def __init__(
        self, positions: LivePositions, balances: LiveTable, fills: LiveFills, arrivals: Arrivals, callbacks: Callbacks
    ) -> None:
        self._link = positions._link  # noqa: SLF001 - of the same account
        self._source = EquitySource(positions, balances, fills, arrivals, callbacks)
        self._registrations = Registrations(callbacks, "the equity")

    def __repr__(self) -> str:
        return f"<equity: {''.join(f'{ours:,.2f}' for ours in self._source.equity().ours[-1:]) or 'not computed yet'}>"

    @property
    def df(self) -> pd.DataFrame:
        """Equity over time, at most the newest 20,000 computations; a DataFrame that belongs to the caller.

        Index `ts` (UTC); `equity` (computed here), `broker_equity` (the broker's figure) and `difference` (the first
        minus the second), float64, NaN where unknown.
        """
        self._link.settle()
        data = self._source.equity()
        return pd.DataFrame(
            {"equity": data.ours, "broker_equity": data.theirs, "difference": data.ours - data.theirs},
            index=pd.DatetimeIndex(utc_times(data.ts), name="ts"),
        )

    @property
    def explained(self) -> pd.DataFrame:
        """The change of equity since `since` by cause: one row an instrument, one "cash" for other sums, and "total".

        Columns price_move, trade, fee, unexplained and total, float64, in the account's currency. `price_move`: the
        change of prices times the quantity held, and of accrued interest and the exchange rate of what is quoted in
        another currency. `trade`: how much better fills (own executions) were than the mid-price of our quotes at their
        exchange time; 0 without such a quote (before the instrument was held, or after a gap), and the price move
        counts from the fill's own price then. `fee`: fees that the broker names, and cash that left with fills beyond
        their value, up to 1 % of it (0.1 % of what is margined) or, where that is more, 2 (2 a contract).
        `unexplained`: the rest, so that each total is right. A fill without a price counts at that mid-price, or at the
        current one, and the difference to cash is unexplained; `unpriced` names the instrument. A split has a row of
        its own, such as "AAPL split 2:1", and so has the end of a position without a trade: an option that "expired",
        was "exercised" or "assigned", or what was "settled" in cash. Its total is what that added, as settlement is at
        another price than the last. What never had a price of our quotes and is gone without a trade was worth the cash
        that came for it. NaN where a price or a quantity is unknown. The difference of two of these explains
        the time between them: `after.sub(before, fill_value=0)`.
        """
        return _frame_of(self._source.attribution)

    @property
    def since(self) -> pd.Timestamp | NaTType:
        """The time from which `explained` counts the changes of equity, UTC.

        NaT before the account's cash and quantities are known.
        """
        opening = self._source.opening
        return pd.NaT if opening is None else _time(opening.ts)

    def moment(self) -> EquityMoment:
        """Return equity, cash, fills and causes of the newest computation, consistent with each other.

        The properties, read one by one, may be of different computations. Raises UsageError while `since` is NaT.
        """
        opening, now = self._source.opening, self._source.now
        if opening is None or now is None:
            raise UsageError("equity is not known yet", advice="Call `wait` first.")
        return EquityMoment(
            since=_time(opening.ts),
            ts=_time(now.ts),
            opening_equity=float(opening.equity),
            equity=float(now.equity),
            broker_equity=float(now.broker_equity),
            opening_cash=float(opening.cash),
            cash=float(now.cash),
            fills=self._source.fills_between(opening, now),
            explained=_frame_of(now.attribution),
        )

    @property
    def unmarked(self) -> tuple[str, ...]:
        """What makes equity NaN: the instruments whose price or quantity is unknown, and "cash" where that is."""
        return self._source.unmarked

    @property
    def reasons(self) -> dict[str, str]:
        """Why each instrument of `unmarked` has no mark or no quantity, in a few words; "cash" as well."""
        return dict(self._source.reasons)

    @property
    def assumptions(self) -> dict[str, str]:
        """What our equity assumes where the broker's documents leave it open, by instrument, "cash" for the money.

        A difference from the broker's equity may come from these.
        """
        return self._source.assumptions()

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The instruments with fills since `since` for which the broker sent no price.

        `explained` describes how such fills count.
        """
        return self._source.unpriced

    @property
    def is_open(self) -> bool:
        """Whether neither this object nor a table that equity is computed from was closed."""
        return self._source.is_open

    def books(self) -> Portfolio:
        """Return the broker's current cash and positions in exact decimals, for a valuation of your own."""
        return self._source.books()

    def marks(self) -> dict[str, Decimal]:
        """The mark of each instrument held, in exact decimals, where it is known; `reasons` for the others."""
        return self._source.marks.now()

    def wait(self, *, moments: int = 1, timeout: float | None = 10.0) -> Self:
        """Block until equity was known in `moments` computations; returns this object.

        `timeout` is in seconds, None for no limit. Raises WaitTimeoutError, ClosedError when this or the feed is
        closed, or the error that ended the feed.
        """
        checked_count(moments, "moments", "moments")
        try:
            wait_for(lambda: self._is_known(moments), (self._source.watch,), timeout=timeout, what="")
        except WaitTimeoutError:
            raise self._late(moments, timeout) from None
        return self

    async def until(self, *, moments: int = 1, timeout: float | None = 10.0) -> Self:
        """Await that equity was known in `moments` computations; the event loop keeps running.

        `wait` for async code: `timeout` is in seconds, None for no limit; returns this object. Raises WaitTimeoutError,
        ClosedError when this or the feed is closed, or the error that ended the feed.
        """
        checked_count(moments, "moments", "moments")
        try:
            await wait_for_async(lambda: self._is_known(moments), (self._source.watch,), timeout=timeout, what="")
        except WaitTimeoutError:
            raise self._late(moments, timeout) from None
        return self

    def on_update(self, callback: Callable[[pd.DataFrame], object]) -> Callable[[], None]:
        """Call `callback` with the new computations as a DataFrame, in the columns of `df`, on the callbacks' thread.

        Returns a function that ends the calls. A function that is registered again, as when its cell runs again,
        replaces itself; `close` removes it. Raises ClosedError after `close`, UsageError for what is no function.
        """
        seen = self.df.index.max()

        def news() -> pd.DataFrame | None:
            nonlocal seen
            rows = self.df
            rows = rows if pd.isna(seen) else rows[rows.index > seen]
            if not len(rows):
                return None
            seen = rows.index.max()
            return rows

        return self._registrations.add_news(callback, news, self._source.watch)

    def close(self) -> None:
        """Stop computing and the callbacks; what was computed so far stays readable. Idempotent."""
        self._registrations.close()
        self._source.close()

    def _is_known(self, moments: int) -> bool:
        if self._source.known >= moments:
            return True
        self._source.check_coming()
        if not self.is_open:
            raise ClosedError("the equity is closed", advice="Ask the account for it again.")
        return False

    def _late(self, moments: int, timeout: float | None) -> WaitTimeoutError:
        missing = "; ".join(f"{name}: {reason}" for name, reason in self._source.missing().items())
        return WaitTimeoutError(
            f"{moments} moments of a known equity did not come within {timeout:g} s. What is missing: "
            f"{missing or 'nothing now'}",
            advice="Look at `account.equity.reasons` and the feed's status card, or wait longer.",
        )


def _frame_of(attribution: Attribution) -> pd.DataFrame:
    rows = explained_rows(attribution)
    index = pd.Index([name for name, _ in rows], name="symbol", dtype="str")
    values = [[float(value) for value in each] for _, each in rows]
    return pd.DataFrame(values, index, [*CAUSES, TOTAL], dtype="float64")


def _time(ns: int) -> pd.Timestamp:
    return pd.Timestamp(ns, unit="ns", tz="UTC").floor("us").as_unit("us")
