"""Blotter, strip, equity chart and dashboard: what they send, what they show, how they end."""

from __future__ import annotations

import gc
import json
import weakref
from decimal import Decimal

import numpy as np
import pytest

from aries_nb.errors import UsageError
from aries_nb.model import ORDER_COLUMNS, POSITION_COLUMNS, Column, EquityData, TableData
from aries_nb.widgets import Blotter, Dashboard, EquityChart, Strip
from aries_nb.widgets.static_html import WIDGET_MIME

EVIL = "<script>alert(1)</script>"
UNKNOWN = Decimal("NaN")


class Tables:
    """A table source; tests change its rows."""

    def __init__(self, title, columns, *rows) -> None:
        self.version = 0
        self.title, self.columns, self.rows = title, tuple(columns), list(rows)
        self.is_stale = False

    def table(self) -> TableData:
        return TableData(self.title, self.columns, tuple(self.rows), ("symbol",), is_stale=self.is_stale)


class Equities:
    def __init__(self) -> None:
        self.version = 0
        self.ours = [100.0, 101.0]
        self.by_cause = ((EVIL, (1.5, 0.0)), ("KO", (-2.0, 0.5)))

    def equity(self) -> EquityData:
        ts = np.arange(len(self.ours), dtype=np.int64) * 10**9 + 1_700_000_000 * 10**9
        theirs = np.full(len(ts), np.nan)
        return EquityData(ts, np.array(self.ours), theirs, ("price_move", "fee"), self.by_cause)


def position(symbol, quantity, pnl):
    amounts = (Decimal(quantity), Decimal("10.5"), Decimal("11"), UNKNOWN, Decimal(pnl), Decimal(pnl))
    return (symbol, *amounts)


def order(symbol, filled):
    decimals = (Decimal(10), Decimal(filled), Decimal("10.5"), Decimal(0))
    return ("ORD-1", symbol, "BUY", "LIMIT", EVIL, *decimals, 0, 1_700_000_000 * 10**9, EVIL)


@pytest.fixture
def positions():
    return Tables("Positions", POSITION_COLUMNS, position("AAPL", 84, "-20.16"), position(EVIL, -3, "1.25"))


@pytest.fixture
def orders():
    return Tables("Orders", ORDER_COLUMNS, order(EVIL, 4))


@pytest.fixture
def balances():
    return Tables("Balances", (Column("equity", "decimal"), Column("cash", "decimal")), (Decimal("333.5"), Decimal(20)))


@pytest.fixture
def causes():
    columns = [Column("symbol", "text"), *(Column(name, "decimal") for name in ("price_move", "fee", "total"))]
    amounts = (Decimal("-1234.5"), Decimal("-0.1"), Decimal("-1234.6"))
    return Tables("What moved it", columns, ("KO", *amounts), ("total", *amounts))


@pytest.fixture
def make_dashboard(positions, orders, balances, causes):
    return lambda: Dashboard(balances=balances, positions=positions, orders=orders, equity=Equities(), causes=causes)


@pytest.fixture
def dashboard(make_dashboard):
    dashboard = make_dashboard()
    yield dashboard
    dashboard.close()


def shown(view):
    return json.loads(json.dumps(view.widget.description))


def texts_of(blotter):
    """The texts of all rows, as a page that asks for the state gets them."""
    rows = json.loads(json.dumps(blotter.widget.get_state("rows")["rows"]["put"]))
    return [texts for _, _, texts, _ in sorted(rows, key=lambda row: row[1])]


def test_a_blotter_shows_a_row_a_key_with_grouped_numbers_and_a_sign_on_each_profit(positions):
    blotter = Blotter(positions)

    blotter.draw()

    rows = [[text for text in row if text] for row in texts_of(blotter)]
    assert rows[0][0] == "AAPL"
    assert "\N{MINUS SIGN}20.16" in rows[0]
    assert "+1.25" in rows[1]
    blotter.close()


def test_the_first_column_of_times_names_the_zone_in_a_static_table(orders):
    orders.columns = (Column("order_id", "text"), Column("created", "time"), Column("updated", "time"))
    orders.rows = []
    blotter = Blotter(orders)

    assert "Created (UTC)" in blotter._repr_mimebundle_()["text/html"]
    blotter.close()


def test_a_change_of_one_row_sends_that_row(positions):
    blotter = Blotter(positions)
    blotter.draw()

    positions.rows[0] = position("AAPL", 85, "-20.16")
    blotter.draw()

    update = blotter.widget.rows
    assert [key for key, *_ in update["put"]] == ['["AAPL"]']
    assert update["base"] == 1
    assert len(texts_of(blotter)) == 2
    blotter.close()


def test_nothing_new_sends_nothing_and_a_change_sends_one_frame(positions):
    blotter = Blotter(positions)
    blotter.draw()
    assert blotter.draw() == 0

    positions.rows[0] = position("AAPL", 85, "-20.16")

    assert blotter.draw() == 1
    assert blotter.frames == 2
    blotter.close()


def test_rows_that_went_stale_are_a_frame_as_well(positions):
    blotter = Blotter(positions)
    blotter.draw()

    positions.is_stale = True

    assert blotter.draw() == 1
    blotter.close()


def test_an_order_shows_how_much_of_it_is_filled(orders):
    blotter = Blotter(orders)

    blotter.draw()

    assert any("4 of 10" in text for row in texts_of(blotter) for text in row)
    blotter.close()


def test_an_empty_blotter_says_so():
    blotter = Blotter(Tables("Positions", POSITION_COLUMNS))

    blotter.draw()

    assert shown(blotter)["empty"] == "no positions"
    blotter.close()


def test_a_column_that_the_source_has_not_is_refused(positions):
    with pytest.raises(UsageError, match="no column 'nonsense'"):
        Blotter(positions, columns=["symbol", "nonsense"])


def test_a_strip_shows_the_columns_chosen(balances):
    strip = Strip(balances, columns=["cash"])

    strip.draw()

    assert [column["name"] for column in shown(strip)["columns"]] == ["cash"]
    strip.close()


@pytest.mark.parametrize("make", [Blotter, lambda source: Strip(source)])
def test_a_static_picture_is_escaped(orders, make):
    view = make(orders)

    html = view._repr_mimebundle_(include={"text/html"})["text/html"]

    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    view.close()


def test_an_equity_chart_draws_what_is_new_and_escapes_the_symbols():
    source = Equities()
    chart = EquityChart(source)
    chart.draw()
    assert chart.draw() == 0

    source.ours.append(99.0)
    chart.draw()

    line, bars = chart.figure.data[1], chart.figure.data[3]
    assert list(line.y) == [100.0, 101.0, 99.0]
    assert bars.x[0] == "&lt;script&gt;ale<br>rt(1)&lt;/scri<br>pt&gt;"
    assert chart.figure.layout.uirevision == "aries-nb"
    chart.close()


def test_bars_are_stacked_by_cause_with_their_total():
    chart = EquityChart(Equities())

    chart.draw()

    shown = [trace for trace in chart.figure.data[3:] if trace.type == "bar" and trace.visible]
    assert {trace.name: list(trace.y) for trace in shown} == {"Price move": [1.5, -2.0], "Fee": [0.0, 0.5]}
    assert chart.figure.layout.barmode == "relative"
    assert [list(bars.hovertext) for bars in shown] == [["+1.50", "\N{MINUS SIGN}2.00"], ["+0.00", "+0.50"]]
    # A text of a bar would cover the totals as soon as plotly loses its `textposition`.
    assert all(bars.text is None for bars in shown)
    (totals,) = chart.figure.select_traces({"mode": "markers+text"})
    assert list(totals.text) == ["+1.50", "\N{MINUS SIGN}1.50"]
    assert list(totals.y) == [1.5, -2.0]
    chart.close()


def test_long_symbols_are_labels_of_several_lines():
    source = Equities()
    source.by_cause = (("AAPL261218C00270000", (1.0, 0.0)), ("MSFT 500 call", (2.0, 0.0)))
    chart = EquityChart(source)

    chart.draw()

    assert list(chart.figure.data[3].x) == ["AAPL<br>261218C<br>00270000", "MSFT<br>500<br>call"]
    chart.close()


def test_a_cause_that_has_moved_nothing_has_no_bars():
    source = Equities()
    source.by_cause = (("KO", (1.0, 0.0)),)
    chart = EquityChart(source)

    chart.draw()

    assert [trace.name for trace in chart.figure.data if trace.type == "bar" and trace.visible] == ["Price move"]
    chart.close()


def test_sums_are_pinned_and_causes_have_signs(dashboard):
    dashboard.causes.draw()

    description = shown(dashboard.causes)
    assert description["pinned"] == [["cash"], ["total"]]
    assert [column["kind"] for column in description["columns"]] == ["symbol", "signed", "money", "signed"]
    assert texts_of(dashboard.causes)[0] == [
        *("KO", "\N{MINUS SIGN}1,234.50", "\N{MINUS SIGN}0.10", "\N{MINUS SIGN}1,234.60")
    ]


def test_a_dashboard_is_one_display_of_its_views(dashboard):
    bundle = dashboard._repr_mimebundle_()

    assert bundle[WIDGET_MIME]["model_id"] == dashboard.widget.model_id
    assert dashboard.widget.children == tuple(view.widget for view in dashboard.views)
    assert "<script>" not in bundle["text/html"]


def test_every_display_of_a_dashboard_is_of_the_same_box(dashboard):
    first, second = (dashboard._repr_mimebundle_()[WIDGET_MIME]["model_id"] for _ in range(2))

    assert first == second


def test_a_dashboard_shows_the_figures_that_the_broker_has(dashboard):
    dashboard.balances.draw()

    assert [column["name"] for column in shown(dashboard.balances)["columns"]] == ["equity", "cash"]


def test_a_closed_dashboard_closes_its_views_and_is_let_go(make_dashboard):
    dashboard = make_dashboard()
    dashboard._repr_mimebundle_()
    views = dashboard.views

    dashboard.close()
    dashboard.close()
    gone = weakref.ref(dashboard)
    is_closed = [view.is_closed for view in views]
    del dashboard, views
    gc.collect()

    assert is_closed == [True] * 5
    assert gone() is None
