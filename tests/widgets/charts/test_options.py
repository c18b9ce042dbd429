import numpy as np
import pytest

from aries_nb.errors import UsageError
from aries_nb.widgets.charts.options import StrikeChart
from tests.widgets.sources import Boards

EVIL = "<script>alert(1)</script>"


class Chains(Boards):
    """Calls and puts at 500, 510 and 520; tests write to it."""

    def __init__(self) -> None:
        self.contracts = tuple((f"{kind}{strike}", kind, strike) for strike in (500.0, 510.0, 520.0) for kind in SIDES)
        self.spot = 512.0
        super().__init__(symbols=tuple(symbol for symbol, _, _ in self.contracts))
        self.columns = ("implied_volatility", "delta", "gamma")
        self.numbers = np.full((6, 3), np.nan)


SIDES = ("call", "put")


@pytest.fixture
def source():
    source = Chains()
    for place, (volatility, delta) in enumerate([(0.25, 0.7), (0.26, -0.3), (0.24, 0.5), (0.25, -0.5), (0.23, 0.3)]):
        source.put(place, volatility, delta, 0.01)
    return source


@pytest.fixture
def chart(source):
    chart = StrikeChart(source, ["implied_volatility", "delta"], title=f"MSFT {EVIL}")
    yield chart
    chart.close()


def sent_traces(chart):
    return chart.figure.comm.sent[-1]["state"]["_py2js_update"]["style_traces"]


def test_calls_and_puts_are_lines_over_the_strikes_that_are_known(chart):
    chart.draw()

    calls, puts = chart.figure.data[:2]
    assert (calls.name, puts.name) == ("calls", "puts")
    assert (calls.x.tolist(), calls.y.tolist()) == ([500.0, 510.0, 520.0], [0.25, 0.24, 0.23])
    assert (puts.x.tolist(), puts.y.tolist()) == ([500.0, 510.0], [0.26, 0.25])


def test_an_implied_volatility_of_zero_is_not_drawn(chart, source):
    source.put(2, 0.0, 0.0, 0.01)

    chart.draw()

    assert chart.figure.data[0].y.tolist() == [0.25, 0.23]
    assert chart.figure.data[3].y.tolist() == [0.7, 0.0, 0.3]


def test_each_column_has_a_subplot_to_the_right_of_the_one_before(chart):
    chart.draw()

    figure = chart.figure
    assert [trace.yaxis for trace in figure.data] == ["y"] * 3 + ["y2"] * 3
    assert figure.data[3].y.tolist() == [0.7, 0.5, 0.3]
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]
    assert [axis.title.text for axis in (figure.layout.xaxis, figure.layout.xaxis2)] == [
        "implied volatility by strike",
        "delta by strike",
    ]
    assert [trace.showlegend for trace in figure.data] == [True] * 3 + [False] * 3


def test_the_underlying_stands_upright_and_no_higher_than_what_is_drawn(chart):
    chart.draw()

    spot = chart.figure.data[2]
    assert (spot.x.tolist(), spot.y.tolist()) == ([512.0, 512.0], [0.23, 0.26])


def test_an_underlying_without_a_price_is_not_drawn(chart, source):
    source.spot = float("nan")

    chart.draw()

    assert len(chart.figure.data[2].x) == 0
    assert chart.error is None


def test_a_frame_is_one_message_with_the_lines_that_have_changed(chart, source):
    chart.figure.open()
    chart.draw()
    before = len(chart.figure.comm.sent)
    source.put(0, 0.25, 0.71, 0.01)

    counts = (chart.draw(), chart.draw())

    assert counts == (1, 0)
    assert len(chart.figure.comm.sent) - before == 1
    assert sent_traces(chart) == [3, 5]  # the calls' delta, and the underlying, which reaches up to it


def test_what_was_before_a_break_is_called_stale(chart, source):
    source.is_stale = True

    chart.draw()

    assert chart.figure.layout.annotations[0].text == "stale"


def test_a_chain_where_nothing_has_come_says_that_it_waits():
    chart = StrikeChart(Chains(), ["gamma"])

    chart.draw()

    assert chart.figure.layout.annotations[0].text == "waiting for data"
    assert "no data yet" in chart._repr_mimebundle_()["text/html"]
    chart.close()


def test_ranges_are_never_set_and_a_volatility_is_a_percentage(chart):
    chart.draw()

    layout = chart.figure.layout
    assert (layout.xaxis.range, layout.yaxis.range, layout.uirevision) == (None, None, "aries-nb")
    assert (layout.yaxis.tickformat, layout.yaxis2.tickformat) == (".1%", None)


def test_the_static_picture_has_a_drawing_for_each_column_and_escapes_the_title(chart):
    text = chart._repr_mimebundle_()["text/html"]

    assert text.count("<img") == 2
    assert "implied volatility" in text
    assert EVIL not in text
    assert EVIL not in chart.figure.layout.title.text


@pytest.mark.parametrize(
    ("columns", "match"),
    [(["vanna"], "no number column 'vanna'.*delta"), ([], "0 columns"), (["delta"] * 5, "5 columns.*1 to 4")],
)
def test_columns_that_cannot_be_drawn_are_refused_with_advice(source, columns, match):
    with pytest.raises(UsageError, match=match):
        StrikeChart(source, columns)


def test_each_of_two_roots_is_a_line_of_its_own():
    source = Chains()
    source.contracts = tuple(
        (f"{root}261218C0{strike}000", "call", float(strike)) for strike in (6000, 6100) for root in ("SPX", "SPXW")
    )
    source.symbols = tuple(symbol for symbol, _, _ in source.contracts)
    for place, value in enumerate((0.2, 0.3, 0.21, 0.31)):
        source.put(place, value, 0.5, 0.01)
    source.spot = 6050.0
    chart = StrikeChart(source, ["implied_volatility"])

    chart.draw()

    calls, _, underlying = chart.figure.data[:3]
    np.testing.assert_array_equal(calls.x, [6000.0, 6100.0, np.nan, 6000.0, 6100.0])
    np.testing.assert_array_equal(calls.y, [0.2, 0.21, np.nan, 0.3, 0.31])
    assert underlying.y.tolist() == [0.2, 0.31]
    chart.close()
