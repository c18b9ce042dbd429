"""One account of the user: what `feed.account` returns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakValueDictionary

import pandas as pd

from aries_nb.errors import ClosedError, UsageError
from aries_nb.live.account.equity import LiveEquity
from aries_nb.live.account.fills import LiveFills
from aries_nb.live.account.pnl import INTERVALS, CandleSource, DerivedCandles, LivePnl, ReportedCandles
from aries_nb.live.account.positions import LivePositions
from aries_nb.live.account.snapshots import Snapshots
from aries_nb.live.arguments import checked_moment, checked_period, checked_pnl_interval, rfc3339
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.connection import Link
from aries_nb.live.market.frame import LiveFrame
from aries_nb.live.table import LiveTable
from aries_nb.model import Kind
from aries_nb.store import DerivedFillLog, ReportedFillLog, TableListener

if TYPE_CHECKING:
    from aries_nb.widgets import Dashboard, EquityChart

__all__ = ["Account"]

T = TypeVar("T")
REPORTED_INTERVALS = (*INTERVALS, "1mo")  # of candles of the broker's own


class Account:
    """Orders, fills, positions and balances of one account, each a live table that is made when it is first asked for.

    What was closed is made anew when it is asked for again. Any thread may read. Closing it gives up what was asked
    for; the feed's end closes it too.
    """

    def __init__(
        self,
        link: Link,
        snapshots: Snapshots,
        callbacks: Callbacks,
        name: str,
        *,
        quotes: Callable[[Sequence[str]], LiveFrame],
    ) -> None:
        self.name = name
        self._snapshots = snapshots
        self._quotes = quotes
        self._equity: LiveEquity | None = None
        self._link = link
        self._callbacks = callbacks
        self._held: dict[Kind, LiveTable] = {}
        self._log: DerivedFillLog | None = None
        self._fills: LiveFills | None = None
        self._candles: dict[str, CandleSource] = {}  # by interval
        # Each start that somebody still holds; the newest of an interval is kept, so that its cell can run again.
        self._pnl: WeakValueDictionary[tuple[str, int], LivePnl] = WeakValueDictionary()
        self._newest_pnl: dict[str, LivePnl] = {}
        self._views: dict[object, tuple[object, Any]] = {}
        self._guard = threading.RLock()
        self._is_closed = False

    @property
    def orders(self) -> LiveTable:
        """Every order, one row each, index `order_id`; `.log` is every state that they went through.

        Quantities in shares (pieces); what is in lots says so in its name, such as `quantity_lots`.
        """
        return self._table("orders") if self._has("fills") else self._orders_and_fills()[0]

    @property
    def fills(self) -> LiveFills:
        """Own executions, one row each; quantities in shares (pieces), `fee` where the broker tells it.

        They are the broker's own where it tells them, those of the session included, and `load_history` asks for
        earlier ones; else what was filled since this was first asked for, worked out of orders.
        """
        return self._told_fills() if self._has("fills") else self._orders_and_fills()[1]

    @property
    def positions(self) -> LivePositions:
        """Every position, one row each, index `symbol`; `quantity` is negative where short.

        `mark_price` and `mark_pnl` are at the feed's own quotes, beside the broker's `price` and `unrealized_pnl`; the
        quotes are asked for from here on, and `wait` waits for the first of them as well.
        """
        return cast("LivePositions", self._table("positions"))

    @property
    def balances(self) -> LiveTable:
        """Cash, buying power and the like, in the account's currency; one row."""
        return self._table("balances")

    @property
    def info(self) -> LiveTable:
        """What kind of account it is; one row once the broker has told. Raises UsageError where it does not tell."""
        return self._asked_for("accounts", "does not tell what kind of account this is")

    @property
    def stop_orders(self) -> LiveTable:
        """Orders that wait for a price, one row each, index `order_id`; quantities as in `orders`.

        `stop_price` is the price waited for, `exchange_order_id` the order that came of it. Raises UsageError where
        the broker has them not, or among its orders.
        """
        return self._asked_for("stop_orders", "has no stop orders apart from its orders")

    @property
    def risks(self) -> LiveTable:
        """Margins and how far they are covered, in the account's currency; one row.

        Raises UsageError where the broker does not tell.
        """
        return self._asked_for("risks", "tells no risks of an account")

    @property
    def derivative_risks(self) -> LiveTable:
        """Money, what of it is blocked, and variation margin of an account of derivatives, in its currency; one row.

        Raises UsageError where the broker does not tell.
        """
        return self._asked_for("derivative_risks", "tells no risks of an account of derivatives")

    def order_history(self, start: str | date, end: str | date | None = None) -> pd.DataFrame:
        """The orders placed from `start` to `end` (None: now) that have ended, in the columns of `orders.df`.

        One row each, oldest first. Times without a zone are UTC, and a date is its beginning. The broker is asked now,
        several times for a long span: it blocks. Raises UsageError for what is no time, ConnectError, TokenError or
        FeedError without an answer.
        """
        return self._snapshots.order_history(self.name, *self._span(start, end))

    def pnl(self, interval: str = "1m", *, start: str | date | None = None) -> LivePnl:
        """The P&L of the account as candles of `interval`, index interval and start; it has a `chart`.

        `interval` is 15s, 1m, 5m, 15m, 1h or 1d; `start` is from when on, by default midnight UTC. However many starts
        of one interval are asked for, there is one stream. They are the broker's own (of 1mo as well); where it has
        none, what `equity` has changed by here since it was first asked for (as its views say). Raises UsageError for
        an interval or a start that cannot be.
        """
        is_told = self._has("pnl")
        length = checked_pnl_interval(interval, REPORTED_INTERVALS if is_told else tuple(INTERVALS))
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        since = checked_moment(midnight if start is None else start, "start").value
        if length not in INTERVALS:
            since = pd.Timestamp(since, unit="ns").normalize().replace(day=1).as_unit("ns").value
        with self._guard:
            pnl = self._pnl.get((length, since))
            if pnl is None or not pnl.is_open:
                self._check_open()
                source = self._candles_of(length)
                pnl = LivePnl(self._link, self._callbacks, self.name, source, interval=length, since=since)
                self._pnl[length, since] = pnl
            self._newest_pnl[length] = pnl
            return pnl

    @property
    def equity(self) -> LiveEquity:
        """Cash and positions at the feed's own quotes, over time, beside the broker's figure."""
        with self._guard:
            if self._equity is None or not (self._equity.is_open or self._is_closed):
                if self._equity is not None:
                    self._equity.close()
                self._equity = LiveEquity(self.positions, self.balances, self.fills)
            return self._equity

    def chart(self, *, height: int = 380) -> EquityChart:
        """The equity curve, live, and what moved it, by instrument and cause. Height in pixels."""
        from aries_nb.widgets import EquityChart

        equity = self.equity
        return self._view(("equity", height), equity, lambda: EquityChart(equity._source, height=height))

    def dashboard(self) -> Dashboard:
        """Balances, positions, working orders, the equity curve and what moved it in one view."""
        from aries_nb.widgets import Dashboard

        balances, positions, orders, equity = self.balances, self.positions, self.orders, self.equity
        make = lambda: Dashboard(  # noqa: E731
            balances=balances._source,
            positions=positions._source,
            orders=orders._source,
            equity=equity._source,
            causes=equity._source,
        )
        return self._view("dashboard", (balances, positions, orders, equity), make)

    def _repr_mimebundle_(self, include: Collection[str] | None = None, exclude: Collection[str] | None = None) -> Any:  # noqa: ANN401
        return self.dashboard()._repr_mimebundle_(include, exclude)

    def close(self) -> None:
        """Give everything up; idempotent. What has come stays readable."""
        with self._guard:
            self._is_closed = True
            for table in self._held.values():
                table.close()
            if self._fills is not None:
                self._fills.close()
            if self._equity is not None:
                self._equity.close()
            for pnl in list(self._pnl.values()):
                pnl.close()
            for _, view in self._views.values():
                view.close()

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed."""
        return not self._is_closed

    def __repr__(self) -> str:
        return f"<account {self.name}: {self._link.state if self.is_open else 'closed'}>"

    def _view(self, key: object, sources: object, make: Callable[[], T]) -> T:
        """The view made before, if what it shows is still the same; else a new one."""
        with self._guard:
            shown, view = self._views.get(key, (None, None))
            if view is None or view.is_closed or shown != sources:
                if view is not None:
                    view.close()
                view = make()
                self._views[key] = sources, view
            return cast("T", view)

    def _candles_of(self, interval: str) -> CandleSource:
        source = self._candles.get(interval)
        if self._has("pnl"):
            source = source or ReportedCandles(self._link, self.name, interval, _written)
        else:
            equity = self.equity
            if not isinstance(source, DerivedCandles) or source.equity is not equity:
                source = DerivedCandles(self.name, equity, interval)
        self._candles[interval] = source
        return source

    def _orders_and_fills(self) -> tuple[LiveTable, LiveFills]:
        with self._guard:
            orders = self._held.get("orders")
            if self._log is None or not self._is_kept(orders):
                self._log = DerivedFillLog(self._link.table_columns("orders"))
                self._fills = None
            orders = self._table("orders", self._log)
            if self._fills is None or not self._is_kept(self._fills):
                self._fills = LiveFills(self._link, self._callbacks, orders, self._log)
            return orders, self._fills

    def _told_fills(self) -> LiveFills:
        with self._guard:
            source = self._held.get("fills")
            if self._fills is None or not self._is_kept(self._fills) or not self._is_kept(source):
                if source is not None:
                    source.close()  # its log goes with it
                log = ReportedFillLog(self._link.table_columns("fills"))
                table = self._table("fills", log)
                past = lambda start, end: self._snapshots.fill_history(self.name, *self._span(start, end))  # noqa: E731
                self._fills = LiveFills(self._link, self._callbacks, table, log, past=past)
            return self._fills

    def _span(self, start: str | date, end: str | date | None) -> tuple[int, int]:
        """Two times in ns since the epoch, `end` None for now. Raises UsageError."""
        self._check_open()
        first, last = checked_period(start, end)
        return first.value, last.value

    def _has(self, kind: Kind) -> bool:
        """Whether the broker tells of this kind."""
        return bool(self._link.table_columns(kind))

    def _asked_for(self, kind: Kind, otherwise: str) -> LiveTable:
        if not self._has(kind):
            raise UsageError(f"this broker {otherwise}", advice="`feed.tables` names what it has.")
        return self._table(kind)

    def _table(self, kind: Kind, *listeners: TableListener) -> LiveTable:
        """The table of this kind; one that was closed is asked for anew, unless the account was."""
        with self._guard:
            held = self._held.get(kind)
            if held is None or not self._is_kept(held):
                self._check_open()
                type_ = partial(LivePositions, self._quotes) if kind == "positions" else LiveTable
                made = type_(self._link, self._callbacks, kind, self.name, listeners=listeners)
                held = self._held[kind] = self._snapshots.keep(made, *listeners)
            return held

    def _is_kept(self, held: LiveTable | LiveFills | None) -> bool:
        """Whether it is still of use: what has come stays readable when the account is closed."""
        return held is not None and (held.is_open or self._is_closed)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"account {self.name} is closed", advice="Ask the feed for it again.")


def _written(ns: int) -> str:
    """A time as RFC 3339."""
    return rfc3339(pd.Timestamp(ns, unit="ns", tz="UTC"))
