"""`Account`: one account of the user, as `feed.account` returns it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Collection
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakValueDictionary

import pandas as pd

from aries_nb.errors import BoundToProcess, ClosedError, UsageError
from aries_nb.live.account.equity import LiveEquity
from aries_nb.live.account.fills import FillsSource, LiveFills
from aries_nb.live.account.marks import MarkQuotes
from aries_nb.live.account.pnl import INTERVALS, CandleSource, DerivedCandles, LivePnl, ReportedCandles
from aries_nb.live.account.positions import LivePositions, SeenMultipliers
from aries_nb.live.account.snapshots import Snapshots
from aries_nb.live.arguments import checked_interval, checked_moment, checked_period, rfc3339
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.connection import Link
from aries_nb.live.live_object import LiveObject, browser_session
from aries_nb.live.table import LiveTable
from aries_nb.model import Kind
from aries_nb.model.settings import Engine, checked_engine
from aries_nb.store import DerivedFillLog, ReportedFillLog, TableListener

if TYPE_CHECKING:
    from aries_nb.widgets import Dashboard, EquityChart, LightChart

__all__ = ["Account", "day_start"]

T = TypeVar("T")
# The broker's spelling of each length of a candle; a month only where candles are the broker's own.
LENGTHS = {"15s": "15s", "1min": "1m", "5min": "5m", "15min": "15m", "1h": "1h", "1d": "1d", "1mo": "1mo"}
OLD_SPELLINGS = ("1m", "5m", "15m")


class Account(BoundToProcess):
    """Orders, fills, positions and balances of one account; each is a live table that is made on first use.

    A table that was closed is made again on the next use. Closing the account closes its tables; closing the feed
    closes the account. Any thread may read. `quotes` are those of which marks are made.
    """

    def __init__(
        self,
        link: Link,
        snapshots: Snapshots,
        callbacks: Callbacks,
        name: str,
        *,
        quotes: MarkQuotes,
    ) -> None:
        self.name = name
        self._snapshots = snapshots
        self._quotes = quotes
        self._equity: LiveEquity | None = None
        self._link = link
        self._callbacks = callbacks
        self._tables: dict[Kind, LiveTable] = {}
        self._log: DerivedFillLog | None = None
        self._fills: LiveFills | None = None
        self._multipliers = SeenMultipliers(link.table_columns("positions"))
        self._candles: dict[str, CandleSource] = {}  # by interval
        # Those in use by interval and start; the newest of an interval is kept, so that its cell can run again.
        self._pnl: WeakValueDictionary[tuple[str, int], LivePnl] = WeakValueDictionary()
        self._newest_pnl: dict[str, LivePnl] = {}
        self._views: dict[object, tuple[object, Any]] = {}
        self._guard = threading.RLock()
        self._is_closed = False

    @property
    def orders(self) -> LiveTable:
        """All orders of the account as a live table, one row each, index `order_id`; `.log` has every state of each.

        Quantities are in shares or contracts; columns in lots have that in their name, such as `quantity_lots`.
        """
        return self._table("orders") if self._has("fills") else self._orders_and_fills()[0]

    @property
    def fills(self) -> LiveFills:
        """Own executions as `LiveFills`, one row each; quantities in shares or contracts.

        `fee` is NaN where the broker sends none. Where the broker sends executions, they are its own records from the
        beginning of the current trading session on, and `load_history` loads earlier ones. Other brokers' fills are
        derived from changes of orders since the first use.
        """
        return self._reported_fills() if self._has("fills") else self._orders_and_fills()[1]

    @property
    def positions(self) -> LivePositions:
        """All positions as a live table, one row each, index `symbol`; `quantity` is negative where short.

        `mark_price` and `mark_pnl` are computed by this library from the feed's own quotes; `price` and
        `unrealized_pnl` are the broker's. The quotes are subscribed to from the first use on, and `wait` waits for the
        first quote of each instrument as well.
        """
        return cast("LivePositions", self._table("positions"))

    @property
    def balances(self) -> LiveTable:
        """Cash, equity, buying power and other sums in the account's currency, as a live table with one row."""
        return self._table("balances")

    @property
    def info(self) -> LiveTable:
        """The type and properties of the account, as a live table with one row.

        Raises UsageError where the broker does not send them.
        """
        return self._table_or_error("accounts", "sends no properties of an account")

    @property
    def stop_orders(self) -> LiveTable:
        """Stop orders as a live table, one row each, index `order_id`; quantities in shares or contracts.

        `stop_price` is the price that triggers the order, `exchange_order_id` the id of the order that was placed when
        it was triggered. Raises UsageError where the broker has no stop orders, or lists them among its orders.
        """
        return self._table_or_error("stop_orders", "has no separate list of stop orders")

    @property
    def risks(self) -> LiveTable:
        """Margin requirements and their coverage in the account's currency, as a live table with one row.

        Raises UsageError where the broker does not send them.
        """
        return self._table_or_error("risks", "sends no margin requirements of an account")

    @property
    def derivative_risks(self) -> LiveTable:
        """Money, blocked money and variation margin of a derivatives account, as a live table with one row.

        In the account's currency. Raises UsageError where the broker does not send them.
        """
        return self._table_or_error("derivative_risks", "sends no margins of a derivatives account")

    def order_history(self, start: str | date, end: str | date | None = None) -> pd.DataFrame:
        """Return the finished orders that were placed from `start` to `end` (None: now), in the columns of `orders.df`.

        One row each, oldest first. Times without a zone are UTC, a date means its midnight. Blocks: the broker is asked
        now, in several requests for a long span. Raises UsageError for an invalid time, or where the broker has no such
        history; ConnectError, TokenError or FeedError without a usable reply.
        """
        return self._snapshots.order_history(self.name, *self._span(start, end))

    def pnl(self, interval: str = "1min", *, start: str | date | None = None) -> LivePnl:
        """Return the P&L of the account as live candles of `interval`, index interval and start; they have a `chart`.

        `interval` is 15s, 1min, 5min, 15min, 1h or 1d; `start` is a time within the first candle, None for the
        beginning of the exchange's day, midnight in its time zone. Tables of one interval with several starts share one
        stream. The candles are the broker's own, where it has them (1mo as well). For other brokers they are made of
        the changes of `equity` since its first use, and views say so. Raises UsageError for an unknown interval or an
        invalid start.
        """
        is_reported = self._has("pnl")
        if isinstance(interval, str) and interval in OLD_SPELLINGS:
            warnings.warn(f'pnl("{interval}") is written pnl("{interval}in") now', DeprecationWarning, stacklevel=2)
        known = {
            name: INTERVALS.get(length, 0) // 10**9 for name, length in LENGTHS.items() if is_reported or name != "1mo"
        }
        length = LENGTHS[checked_interval(interval, known, "length of a candle")]
        midnight = day_start(self._link.clock.now_ns(), self._link.hours.zone)
        since = checked_moment(midnight if start is None else start, "start").value
        if length not in INTERVALS:
            since = pd.Timestamp(since, unit="ns").normalize().replace(day=1).as_unit("ns").value
        with self._guard:
            pnl = self._pnl.get((length, since))
            if pnl is not None and pnl._is_refused:  # noqa: SLF001 - it stays empty: the server is asked again
                pnl.close()
            if pnl is None or not pnl.is_open:
                self._check_open()
                source = self._candles_of(length)
                pnl = LivePnl(self._link, self._callbacks, self.name, source, interval=length, since=since)
                self._pnl[length, since] = pnl
            self._newest_pnl[length] = pnl
            return pnl

    @property
    def equity(self) -> LiveEquity:
        """The account's equity over time: cash plus positions at the feed's own quotes, and the broker's own figure."""
        with self._guard:
            if self._equity is None or not (self._equity.is_open or self._is_closed):
                if self._equity is not None:
                    self._equity.close()
                self._equity = LiveEquity(
                    self.positions, self.balances, self.fills, self._link.arrivals, self._callbacks
                )
            return self._equity

    def chart(self, *, height: int = 380, engine: Engine | None = None) -> EquityChart | LightChart:
        """Return a live equity curve, with bars of what moved it by instrument and cause; `height` is in pixels.

        `engine` is "plotly", or "light" for the curve alone, without the bars, on a canvas; None for `settings.engine`.
        Raises UsageError for an unknown engine.
        """
        from aries_nb.widgets import EquityChart, LightChart, LightEquity

        equity = self.equity
        drawn_by = checked_engine(engine)

        def make() -> EquityChart | LightChart:
            if drawn_by == "plotly":
                return EquityChart(equity._source, height=height)
            return LightChart(equity._source, [LightEquity(equity._source, height=height)])

        return self._view(("equity", height, drawn_by), equity, make)

    def dashboard(self) -> Dashboard:
        """Return one live view of balances, positions, working orders, the equity curve and what moved it."""
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

    @property
    def _source(self) -> FillsSource | None:
        """The data of the account's fills where they are in use, for charts of market data; else None."""
        fills = self._fills
        return fills._source if fills is not None and fills.is_open else None

    @property
    def _held(self) -> tuple[LiveObject, ...]:
        """The tables, fills and P&L candles that this account has made."""
        with self._guard:
            fills = () if self._fills is None else (self._fills,)
            return (*self._tables.values(), *fills, *self._pnl.values())

    def _repr_mimebundle_(self, include: Collection[str] | None = None, exclude: Collection[str] | None = None) -> Any:  # noqa: ANN401
        return self.dashboard()._repr_mimebundle_(include, exclude)

    def close(self) -> None:
        """Close all tables and views of the account; idempotent. Data received so far stays readable."""
        with self._guard:
            self._is_closed = True
            for table in self._tables.values():
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
        """Whether `close` has not been called."""
        return not self._is_closed

    def __repr__(self) -> str:
        return f"<account {self.name}: {self._link.state if self.is_open else 'closed'}>"

    def _view(self, key: object, sources: object, make: Callable[[], T]) -> T:
        """Return the open view with this key if it was made of the same `sources`, else the one that `make` returns."""
        key = browser_session(), key
        with self._guard:
            shown, view = self._views.get(key, (None, None))
            if view is None or view.is_closed or shown != sources:
                if view is not None:
                    view.close()
                view = make()
                view.shown = self._link.arrivals.shown  # type: ignore[attr-defined]
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
            orders = self._tables.get("orders")
            if self._log is None or not self._is_usable(orders):
                self._log = DerivedFillLog(self._link.table_columns("orders"))
                self._fills = None
            orders = self._table("orders", self._log)
            if self._fills is None or not self._is_usable(self._fills):
                self._fills = LiveFills(
                    self._link, self._callbacks, orders, self._log, multipliers=self._multipliers.now
                )
            return orders, self._fills

    def _reported_fills(self) -> LiveFills:
        with self._guard:
            source = self._tables.get("fills")
            if self._fills is None or not self._is_usable(self._fills) or not self._is_usable(source):
                if source is not None:
                    source.close()  # its log is no longer filled
                log = ReportedFillLog(self._link.table_columns("fills"))
                table = self._table("fills", log)
                past = lambda log, start, end: self._snapshots.load_fills(log, self.name, *self._span(start, end))  # noqa: E731
                self._fills = LiveFills(
                    self._link, self._callbacks, table, log, past=past, multipliers=self._multipliers.now
                )
            return self._fills

    def _span(self, start: str | date, end: str | date | None) -> tuple[int, int]:
        """Return two times in ns since the epoch; `end` None means now.

        Raises UsageError for an invalid time, and where `start` is not before `end`; ClosedError where the account is
        closed.
        """
        self._check_open()
        first, last = checked_period(start, end, self._link.clock)
        return first.value, last.value

    def _has(self, kind: Kind) -> bool:
        """Return whether the broker has tables of this kind."""
        return bool(self._link.table_columns(kind))

    def _table_or_error(self, kind: Kind, otherwise: str) -> LiveTable:
        if not self._has(kind):
            raise UsageError(f"this broker {otherwise}", advice="`feed.tables` names what it has.")
        return self._table(kind)

    def _table(self, kind: Kind, *listeners: TableListener) -> LiveTable:
        """Return the live table of this kind, made on first use; one that was closed is made again.

        Raises ClosedError where a table must be made and the account is closed.
        """
        with self._guard:
            table = self._tables.get(kind)
            if table is None or not self._is_usable(table):
                self._check_open()
                if table is not None:  # refused: it stays empty, and the server is asked again
                    table.close()
                type_ = partial(LivePositions, self._quotes) if kind == "positions" else LiveTable
                if kind == "positions":
                    listeners = (*listeners, self._multipliers)
                made = type_(self._link, self._callbacks, kind, self.name, listeners=listeners)
                table = self._tables[kind] = self._snapshots.keep(made, *listeners)
            return table

    def _is_usable(self, table: LiveTable | LiveFills | None) -> bool:
        """Return whether a table made before can be returned again; False for None.

        It can while it is open and not refused, and in a closed account, whose tables stay readable and are not made
        again.
        """
        return table is not None and ((table.is_open and not table._is_refused) or self._is_closed)  # noqa: SLF001

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"account {self.name} is closed", advice="Ask the feed for it again.")


def _written(ns: int) -> str:
    """Return a time in ns since the epoch as text in the form of RFC 3339."""
    return rfc3339(pd.Timestamp(ns, unit="ns", tz="UTC"))


def day_start(now: int, zone: str) -> pd.Timestamp:
    """Return the midnight in a time zone (IANA name) at which the day of the time `now`, in ns, began."""
    return pd.Timestamp(now, tz="UTC").tz_convert(zone).normalize()
