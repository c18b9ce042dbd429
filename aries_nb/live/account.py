"""One account of the user: what `feed.account` returns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pandas as pd

from aries_nb.errors import ClosedError, UsageError
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.equity import LiveEquity
from aries_nb.live.fills import LiveFills
from aries_nb.live.frame import LiveFrame
from aries_nb.live.link import Link
from aries_nb.live.pnl import LivePnl
from aries_nb.live.positions import LivePositions
from aries_nb.live.reckoned_pnl import ReckonedPnl
from aries_nb.live.snapshots import Snapshots
from aries_nb.live.table import LiveTable, Options
from aries_nb.model import Kind
from aries_nb.store import FillLog, Follower, ToldFillLog

if TYPE_CHECKING:
    from pandas._libs.tslibs.nattype import NaTType

    from aries_nb.widgets import Dashboard, EquityChart

__all__ = ["Account"]

T = TypeVar("T")
MADE: Mapping[Kind, type[LiveTable]] = {"pnl": LivePnl}


class Account:
    """Orders, fills, positions and balances of one account, each a live table that is made when it is first asked for.

    Any thread may read. Closing it gives up what was asked for; the feed's end closes it too.
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
        self._held: dict[object, LiveTable] = {}
        self._fills: LiveFills | None = None
        self._views: dict[object, Any] = {}
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

        They are the broker's own where it tells them, those of the session included; else what was filled since this
        was first asked for, worked out of orders.
        """
        return self._told_fills() if self._has("fills") else self._orders_and_fills()[1]

    @property
    def positions(self) -> LivePositions:
        """Every position, one row each, index `symbol`; `quantity` is negative where short.

        `mark_price` and `mark_pnl` are at the feed's own quotes, beside the broker's `price` and `unrealized_pnl`.
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

    def order_history(self, start: str | datetime, end: str | datetime | None = None) -> pd.DataFrame:
        """The orders placed from `start` to `end` (None: now) that have ended, in the columns of `orders.df`.

        One row each, oldest first. Times without a zone are UTC. The broker is asked now, several times for a long
        span: it blocks. Raises UsageError for what is no time, ConnectError, TokenError or FeedError without an answer.
        """
        if self._is_closed:
            raise ClosedError(f"account {self.name} is closed", advice="Ask the feed for it again.")
        begin, finish = _moment(start), time.time_ns() if end is None else _moment(end)
        if begin >= finish:
            raise UsageError(f"start={start!r} is not before the end", advice="Pass an earlier one.")
        return self._snapshots.order_history(self.name, begin, finish)

    def pnl(self, interval: str = "1m", *, start: str | None = None) -> LivePnl:
        """The P&L of the account as candles of `interval`, index interval and start; it has a `chart`.

        `interval` is one of the broker's; `start` (RFC 3339 with zone) is from when on, by default midnight UTC. They
        are the broker's own; where it has none, what `equity` has changed by here since it was first asked for (as its
        views say), of 15s, 1m, 5m, 15m, 1h or 1d. Raises UsageError for an interval or a start that cannot be.
        """
        since = start or datetime.now(UTC).strftime("%Y-%m-%dT00:00:00Z")
        options = (("interval", interval), ("start", since))
        if self._has("pnl"):
            return cast("LivePnl", self._table("pnl", options=options))
        make = partial(ReckonedPnl, options=options, since=_moment(since))
        made = lambda: make(self._link, self._callbacks, self.name, self.equity)  # noqa: E731
        return cast("LivePnl", self._made("pnl", options, made))

    @property
    def equity(self) -> LiveEquity:
        """Cash and positions at the feed's own quotes, over time, beside the broker's figure."""
        with self._guard:
            if self._equity is None:
                self._equity = LiveEquity(self.positions, self.balances, self.fills)
            return self._equity

    def chart(self, *, height: int = 380) -> EquityChart:
        """The equity curve, live, and what moved it, by instrument and cause. Height in pixels."""
        from aries_nb.widgets import EquityChart

        return self._view(("equity", height), lambda: EquityChart(self.equity, height=height))

    def dashboard(self) -> Dashboard:
        """Balances, positions, working orders, the equity curve and what moved it in one view."""
        from aries_nb.widgets import Dashboard

        make = lambda: Dashboard(  # noqa: E731
            balances=self.balances,
            positions=self.positions,
            orders=self.orders,
            equity=self.equity,
            causes=self.equity,
        )
        return self._view("dashboard", make)

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
            for view in self._views.values():
                view.close()

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed."""
        return not self._is_closed

    def __repr__(self) -> str:
        return f"<account {self.name}: {self._link.state if self.is_open else 'closed'}>"

    def _view(self, key: object, make: Callable[[], T]) -> T:
        with self._guard:
            view = self._views.get(key)
            if view is None or view.is_closed:
                view = self._views[key] = make()
            return cast("T", view)

    def _orders_and_fills(self) -> tuple[LiveTable, LiveFills]:
        with self._guard:
            if self._fills is None:
                log = FillLog(self._link.table_columns("orders"))
                orders = self._table("orders", log)
                self._fills = LiveFills(self._link, self._callbacks, orders, log)
            return self._fills.source, self._fills

    def _told_fills(self) -> LiveFills:
        with self._guard:
            if self._fills is None:
                log = ToldFillLog(self._link.table_columns("fills"))
                self._fills = LiveFills(self._link, self._callbacks, self._table("fills", log), log)
            return self._fills

    def _has(self, kind: Kind) -> bool:
        """Whether the broker tells of this kind."""
        return bool(self._link.table_columns(kind))

    def _asked_for(self, kind: Kind, otherwise: str) -> LiveTable:
        if not self._has(kind):
            raise UsageError(f"this broker {otherwise}", advice="`feed.tables` names what it has.")
        return self._table(kind)

    def _table(self, kind: Kind, *followers: Follower, options: Options = ()) -> LiveTable:
        def make() -> LiveTable:
            type_ = partial(LivePositions, self._quotes) if kind == "positions" else MADE.get(kind, LiveTable)
            made = type_(self._link, self._callbacks, kind, self.name, options=options, followers=followers)
            return self._snapshots.keep(made)

        return self._made(kind, options, make)

    def _made(self, kind: Kind, options: Options, make: Callable[[], LiveTable]) -> LiveTable:
        with self._guard:
            key = (kind, options)
            if key not in self._held:
                if self._is_closed:
                    raise ClosedError(f"account {self.name} is closed", advice="Ask the feed for it again.")
                self._held[key] = make()
            return self._held[key]


def _moment(time_: str | datetime) -> int:
    """A time in ns since the epoch, UTC without a zone. Raises UsageError for what is none."""
    moment: pd.Timestamp | NaTType = pd.NaT
    if isinstance(time_, str | datetime):
        with suppress(ValueError):
            moment = pd.Timestamp(time_)
    if not isinstance(moment, pd.Timestamp):
        raise UsageError(f"{time_!r} is no time", advice='Write it like "2026-03-02" or "2026-03-02T14:30Z".')
    return (moment.tz_localize("UTC") if moment.tzinfo is None else moment).as_unit("ns").value
