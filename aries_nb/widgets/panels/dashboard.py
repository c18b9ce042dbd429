"""Dashboard of an account: balances, positions, working orders, equity curve and its causes, in one box."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets

from aries_nb.widgets.charts.equity import EquityChart
from aries_nb.widgets.panels.blotter import Blotter, Strip
from aries_nb.widgets.static_html import bundle

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from aries_nb.widgets.sources import EquitySource, TableSource
    from aries_nb.widgets.view import MimeBundle, View

__all__ = ["Dashboard"]

# Columns of an order that fit a page of 900 pixels with its progress; the source may have fewer.
ORDER_COLUMNS = ("symbol", "side", "type", "status", "quantity", "filled", "price", "updated")
# The most important balances; a broker may have forty more.
FIGURES = (
    "equity",
    "cash",
    "net_buying_power",
    "buying_power",
    "initial_margin",
    "unrealized_pl",
    "realized_pl",
    "day_total_pnl",
    "profit",
    "fee",
)
# The same for a position.
POSITION_COLUMNS = (
    "symbol",
    "quantity",
    "average_price",
    "mark_price",
    "market_value",
    "unrealized_pnl",
    "mark_pnl",
    "today_pnl",
)
# Rows below the instruments, however the table is sorted.
SUMS = ("cash", "total")
POSITION_ROWS, ORDER_ROWS, CAUSE_ROWS = 8, 6, 10
EQUITY_HEIGHT = 430  # pixels


class Dashboard:
    """Live views of an account in one box, each also an attribute.

    These are `balances`, `positions`, `orders`, `equity` (the curve) and `causes` (what changed equity, by
    instrument). Any thread may call its methods; the painter's thread draws each view at its own pace. All displays
    show the same box.
    """

    def __init__(
        self,
        *,
        balances: TableSource,
        positions: TableSource,
        orders: TableSource,
        equity: EquitySource,
        causes: TableSource,
    ) -> None:
        self.balances = Strip(balances, columns=_of(FIGURES, balances))
        self.positions = Blotter(positions, columns=_of(POSITION_COLUMNS, positions), rows=POSITION_ROWS)
        self.orders = Blotter(orders, columns=_of(ORDER_COLUMNS, orders), rows=ORDER_ROWS)
        self.equity = EquityChart(equity, height=EQUITY_HEIGHT)
        self.causes = Blotter(causes, rows=CAUSE_ROWS, pinned=SUMS)
        self._box = ipywidgets.VBox([view.widget for view in self.views])
        self._box.add_class("anb-dashboard")
        # A box displayed without its dashboard is the same display: same static picture, same painter.
        self._box._repr_mimebundle_ = self._repr_mimebundle_
        self._is_closed = False

    def __repr__(self) -> str:
        return "Dashboard()"

    @property
    def views(self) -> tuple[View, ...]:
        """The views of the dashboard, from top to bottom."""
        return (self.balances, self.positions, self.orders, self.equity, self.causes)

    @property
    def widget(self) -> ipywidgets.VBox:
        """The box widget with all views; it can be placed in any ipywidgets layout."""
        return self._box

    @property
    def is_closed(self) -> bool:
        """Whether the dashboard was closed."""
        return self._is_closed

    def freeze(self, at: datetime | None = None) -> None:
        """Stop the pictures of all views at the time `at`, as `View.freeze` does; None is now. Raises UsageError."""
        for view in self.views:
            view.freeze(at)

    def resume(self) -> None:
        """Show the newest pictures of all views again."""
        for view in self.views:
            view.resume()

    def close(self) -> None:
        """Close the box and all views, and free their widgets; a second call does nothing."""
        self._is_closed = True
        for view in self.views:
            view.close()
        layout = self._box.layout
        self._box.close()
        layout.close()

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> MimeBundle:
        # Each view draws itself, and is watched from here on.
        pictures = [str(view._repr_mimebundle_(include={"text/html"})["text/html"]) for view in self.views]
        return bundle(
            model_id=None if self._is_closed else str(self._box.model_id),
            text_html="".join(pictures),
            include=include,
            exclude=exclude,
        )


def _of(names: Sequence[str], source: TableSource) -> list[str] | None:
    """Return those of the names that the source's table has as columns.

    None if it has none of them, which for a view means all columns of the source.
    """
    known = {column.name for column in source.table().columns}
    return [name for name in names if name in known] or None
