"""One account of the user: what `feed.account` returns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aries_nb.errors import ClosedError
from aries_nb.live.callbacks import Callbacks
from aries_nb.live.equity import LiveEquity
from aries_nb.live.fills import LiveFills
from aries_nb.live.frame import LiveFrame
from aries_nb.live.link import Link
from aries_nb.live.table import LiveTable
from aries_nb.model import Kind
from aries_nb.store import FillLog, Follower

if TYPE_CHECKING:
    from aries_nb.widgets import Dashboard, EquityChart

__all__ = ["Account"]

T = TypeVar("T")


class Account:
    """Orders, fills, positions and balances of one account, each a live table that is made when it is first asked for.

    Any thread may read. Closing it gives up what was asked for; the feed's end closes it too.
    """

    def __init__(
        self, link: Link, callbacks: Callbacks, name: str, quotes: Callable[[Sequence[str]], LiveFrame]
    ) -> None:
        self.name = name
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
        """Every order, one row each, index `order_id`; `.log` is every state that they went through."""
        return self._orders_and_fills()[0]

    @property
    def fills(self) -> LiveFills:
        """What was filled since this was first asked for, one row each; quantities in shares, worked out of orders."""
        return self._orders_and_fills()[1]

    @property
    def positions(self) -> LiveTable:
        """Every position, one row each, index `symbol`; `quantity` is negative where short."""
        return self._table("positions")

    @property
    def balances(self) -> LiveTable:
        """Cash, buying power and the like, in the account's currency; one row."""
        return self._table("balances")

    @property
    def info(self) -> LiveTable:
        """What kind of account it is; one row once the broker has told."""
        return self._table("accounts")

    def pnl(self, interval: str = "1m", *, start: str | None = None) -> LiveTable:
        """The broker's own P&L of the account as candles of `interval`, index interval and start.

        `interval` is one of the broker's; `start` (RFC 3339 with zone) is from when on, by default midnight UTC.
        """
        since = start or datetime.now(UTC).strftime("%Y-%m-%dT00:00:00Z")
        return self._table("pnl", options=(("interval", interval), ("start", since)))

    @property
    def equity(self) -> LiveEquity:
        """Cash and positions at the feed's own quotes, over time, beside the broker's figure."""
        with self._guard:
            if self._equity is None:
                self._equity = LiveEquity(self.positions, self.balances, self._quotes)
            return self._equity

    def chart(self, *, height: int = 380) -> EquityChart:
        """The equity curve, live, and the P&L of each instrument. Height in pixels."""
        from aries_nb.widgets import EquityChart

        return self._view(("equity", height), lambda: EquityChart(self.equity, height=height))

    def dashboard(self) -> Dashboard:
        """Balances, positions, working orders and the equity curve in one view."""
        from aries_nb.widgets import Dashboard

        make = lambda: Dashboard(  # noqa: E731
            balances=self.balances, positions=self.positions, orders=self.orders, equity=self.equity
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
            return self._fills.orders, self._fills

    def _table(self, kind: Kind, *followers: Follower, options: tuple[tuple[str, str], ...] = ()) -> LiveTable:
        with self._guard:
            key = (kind, options)
            if key not in self._held:
                if self._is_closed:
                    raise ClosedError(f"account {self.name} is closed", advice="Ask the feed for it again.")
                self._held[key] = LiveTable(
                    self._link, self._callbacks, kind, self.name, options=options, followers=followers
                )
            return self._held[key]
