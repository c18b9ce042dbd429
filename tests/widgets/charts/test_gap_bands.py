"""Gaps in charts: bands behind, interruptions of the lines, a note in the title."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aries_nb.model import BarsData, EquityData, FrameRows, GapSpan
from aries_nb.widgets import BarCandles, Candles, Chart, EquityChart
from aries_nb.widgets.charts.gap_bands import MOST_BANDS, over_candles, with_breaks
from aries_nb.widgets.charts.gap_bands import _band as band
from tests.widgets.pictures import pieces_of_lines
from tests.widgets.sources import RollingRows

SECOND = 1_000_000  # in us, as rows; gaps are in ns


def span(first: float, last: float | None, cause: str = "cut") -> GapSpan:
    return GapSpan(int(first * 1e9), None if last is None else int(last * 1e9), cause)


class Interrupted(RollingRows):
    """Rows that came `lag` seconds later than they were made, and the gaps between them."""

    def __init__(self, *args, lag: float = 0.0, **options) -> None:
        super().__init__(*args, **options)
        self.lag = lag
        self.spans: tuple[GapSpan, ...] = ()

    def rows(self, first: int) -> FrameRows:
        rows = super().rows(first)
        return replace(rows, received=rows.ts + int(self.lag * SECOND))

    def gap_spans(self) -> tuple[GapSpan, ...]:
        return self.spans


@pytest.fixture
def source():
    """Rows at seconds 1, 2, 3, and after a gap at 10, 11, 12."""
    source = Interrupted(columns=("price",))
    source.add([second * SECOND for second in (1, 2, 3, 10, 11, 12)], price=np.arange(6.0))
    source.spans = (span(3, 9.5),)
    return source


@pytest.fixture
def chart(source):
    chart = Chart(source, ["price"], title="prices")
    yield chart
    chart.close()


def bands(view):
    return [(shape.x0 / 1e3, shape.x1 / 1e3) for shape in view.figure.layout.shapes]


def test_a_gap_is_a_band_behind_the_lines_from_the_last_row_to_its_end(chart):
    chart.draw()

    assert bands(chart) == [(3.0, 9.5)]
    assert chart.figure.layout.shapes[0].layer == "below"


def test_no_line_is_drawn_through_a_gap(chart):
    chart.draw()

    line = chart.figure.data[1]
    assert line.x.tolist() == [1e3, 2e3, 3e3, 6.5e3, 10e3, 11e3, 12e3]
    assert np.isnan(line.y).tolist() == [False, False, False, True, False, False, False]


def test_the_title_says_when_and_why(chart):
    chart.draw()

    assert "prices" in chart.figure.layout.title.text
    assert "gap at 00:00:03 UTC, 6.5 s (cut)" in chart.figure.layout.title.text


def test_an_open_gap_is_in_the_title_and_gets_a_band_when_it_ends(chart, source):
    source.spans = (span(12, None, "silence"),)
    chart.draw()
    during = chart.figure.layout.title.text, bands(chart)

    source.spans = (span(12, 20, "silence"),)
    source.add([21 * SECOND], price=[7.0])
    chart.draw()

    assert "no data since 00:00:12 UTC (silence)" in during[0]
    assert during[1] == []
    assert bands(chart) == [(12.0, 20.0)]
    assert "no data" not in chart.figure.layout.title.text


def test_a_gap_that_was_filled_leaves_band_and_hole_and_title(chart, source):
    chart.draw()

    source.spans = ()
    chart.draw()

    assert bands(chart) == []
    assert not np.isnan(chart.figure.data[1].y).any()
    assert chart.figure.layout.title.text == "prices"


def test_a_gap_leaves_the_chart_with_the_rows_before_it(chart, source):
    chart.draw()

    source.limit = 3
    source.version += 1
    chart.draw()

    assert bands(chart) == []
    assert chart.figure.data[1].x.tolist() == [10e3, 11e3, 12e3]


def test_a_gap_lies_between_its_rows_though_the_clocks_are_an_hour_apart():
    source = Interrupted(columns=("price",), lag=3_600)
    source.add([second * SECOND for second in (1, 2, 3, 10, 11)], price=np.arange(5.0))
    source.spans = (span(3_603, 3_609.5),)
    chart = Chart(source, ["price"])

    chart.draw()

    assert bands(chart) == [(3.0, 9.5)]
    assert np.flatnonzero(np.isnan(chart.figure.data[1].y)).tolist() == [3]
    chart.close()


def test_of_very_many_gaps_the_newest_are_shaded():
    source = Interrupted(columns=("price",))
    source.add([10 * n * SECOND for n in range(100)], price=np.arange(100.0))
    source.spans = tuple(span(10 * n, 10 * n + 5) for n in range(99))
    chart = Chart(source, ["price"])

    chart.draw()

    assert len(chart.figure.layout.shapes) == MOST_BANDS
    assert bands(chart)[-1] == (980.0, 985.0)
    chart.close()


def test_shapes_of_the_users_own_stay(chart, source):
    chart.draw()
    chart.figure.add_hline(y=3.0, name="mine")

    source.spans = ()
    chart.draw()

    assert [shape.name for shape in chart.figure.layout.shapes] == ["mine"]


def test_a_frame_without_news_of_gaps_sends_nothing(chart):
    chart.draw()

    assert chart.draw() == 0


def test_a_reloaded_page_starts_with_the_bands(chart, source):
    source.spans = ()
    chart._repr_mimebundle_()

    source.spans = (span(3, 9.5),)
    chart.draw()

    assert [shape["x0"] for shape in chart.figure.get_state()["_widget_layout"]["shapes"]] == [3e3]


def test_a_cause_is_text_and_never_markup(chart, source):
    source.spans = (span(3, 9.5, "<b>cut"),)
    chart.draw()

    assert "<b>" not in chart.figure.layout.title.text
    assert "<b>" not in chart.figure.layout.shapes[0].label.text


def test_the_static_picture_has_the_hole_as_well(chart):
    chart.draw()

    picture = chart._picture()

    assert pieces_of_lines(picture) == [2]
    assert "nan" not in picture


def test_candles_that_a_gap_touches_stand_before_a_band(source):
    candles = Candles(source, "2s", column="price")

    candles.draw()

    # It begins in the candle of second 2 and ends before that of second 10, each drawn about its beginning.
    assert bands(candles) == [(1.0, 8.5)]
    assert "6.5 s (cut)" in candles.figure.layout.title.text
    candles.close()


def test_a_band_covers_the_candles_that_it_touches_and_the_time_between_them():
    starts = np.array([0.0, 10.0, 40.0])

    covered = over_candles([band(12_000_000, 45_000_000, "cut")], starts, 10.0)

    assert [(each.first, each.last) for each in covered] == [(5.0, 45.0)]


class Bars:
    """Bars of a minute, and the gaps of those that are incomplete."""

    version = 0
    spans = (span(100, 130),)

    def newest(self, most):
        column = np.arange(5.0)
        return BarsData(np.arange(5) * 60 * 10**9, column, column, column, column, column)

    def gap_spans(self):
        return self.spans


def test_bars_that_are_incomplete_stand_before_a_band_until_they_are_filled():
    source = Bars()
    view = BarCandles(source, title="bars")
    view.draw()
    during = bands(view)

    source.spans = ()
    view.draw()

    assert during == [(30.0, 150.0)]
    assert bands(view) == []
    view.close()


class Equities:
    version = 0

    def equity(self) -> EquityData:
        ts = np.array([1, 2, 10, 11]) * 10**9
        return EquityData(ts, np.arange(4.0), np.full(4, np.nan))

    def gap_spans(self):
        return (span(2, 9),)


def test_the_equity_line_is_interrupted_with_a_band_in_a_gap():
    view = EquityChart(Equities())

    view.draw()

    assert bands(view) == [(2.0, 9.0)]
    assert view.figure.layout.shapes[0].yref == "y domain"
    assert np.isnan(view.figure.data[1].y).tolist() == [False, False, True, False, False]
    assert pieces_of_lines(view._picture()) == [2]
    view.close()


def test_the_equity_line_is_interrupted_where_equity_is_unknown():
    class Unknown(Equities):
        def equity(self) -> EquityData:
            ours = np.array([1.0, np.nan, np.nan, 2.0, 3.0])
            return EquityData(np.arange(1, 6) * 10**9, ours, np.full(5, 1.5))

        def gap_spans(self):
            return ()

    view = EquityChart(Unknown())

    view.draw()

    assert np.isnan(view.figure.data[1].y).tolist() == [False, True, False, False]
    assert not np.isnan(view.figure.data[2].y).any()
    assert pieces_of_lines(view._picture())[0] == 2
    view.close()


@pytest.mark.parametrize(("places", "count"), [([], 4), ([0], 4), ([4], 4), ([2], 5), ([2, 2, 3], 6)])
def test_a_hole_has_points_on_both_sides(places, count):
    x, y = with_breaks(np.arange(4.0), np.arange(4.0), np.array(places, "int64"))

    assert count == len(x) == len(y)
    assert np.all(np.diff(x) > 0)


MONTH = 30 * 86_400


class Misdated(Interrupted):
    """Rows of which one is stamped a month ahead of its receipt."""

    def rows(self, first: int) -> FrameRows:
        rows = RollingRows.rows(self, first)
        wrong = rows.ts > 1_000 * SECOND
        return replace(rows, received=np.where(wrong, rows.ts - MONTH * SECOND, rows.ts))


@pytest.mark.parametrize("kind", [Chart, Candles])
def test_one_row_of_next_month_moves_neither_lines_nor_candles_nor_bands(kind):
    source = Misdated(columns=("price",))
    at = np.array([1, 2, 3 + MONTH, 3, 10, 11])
    source.add(at * SECOND, price=np.arange(6.0))
    source.spans = (span(3, 9.5),)
    view = Chart(source, ["price"], title="prices") if kind is Chart else Candles(source, "1s")

    view.draw()

    shown = np.concatenate([np.asarray(each.x, "float64") for each in view.figure.data[1:]])
    assert bands(view) == [(3.0, 9.5) if kind is Chart else (2.5, 9.0)]
    assert np.nanmax(shown) <= 12_000
    assert len(np.unique(shown[shown >= 1_000])) >= 5
    view.close()
