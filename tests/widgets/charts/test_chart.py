import gc
import math
import weakref

import numpy as np
import pytest

from aries_nb.errors import UsageError
from aries_nb.widgets import Chart, view
from aries_nb.widgets.charts.light import LightLines
from tests.widgets.sources import RollingRows

SECOND = 1_000_000  # in us


def filled(count=100, symbols=("AAPL", "MSFT"), columns=("bid_price", "ask_price"), limit=10**9):
    source = RollingRows(symbols, columns, limit)
    source.add(
        np.arange(count) * SECOND,
        (np.arange(count) % len(symbols)).astype(np.int32),
        **{column: np.arange(count) + 100.0 * place for place, column in enumerate(columns)},
    )
    return source


@pytest.fixture
def source():
    return filled()


@pytest.fixture
def chart(source):
    chart = Chart(source, ["bid_price", "ask_price"])
    chart.figure.open()
    yield chart
    chart.close()


def lines(chart):
    return chart.figure.data[1:]


def test_each_symbol_and_column_is_a_line_with_its_own_rows(chart):
    chart.draw()

    assert [line.name for line in lines(chart)] == ["AAPL bid", "AAPL ask", "MSFT bid", "MSFT ask"]
    assert lines(chart)[2].x.tolist() == [1e3 * second for second in range(1, 100, 2)]
    assert lines(chart)[2].y.tolist() == list(range(1, 100, 2))


def test_a_symbol_is_text_wherever_plotly_would_read_markup():
    evil = '<a href="https://evil.example">A</a><b>%{x}</b>'
    chart = Chart(filled(symbols=(evil, "MSFT")), ["bid_price"], title=evil)

    chart.draw()

    shown = chart.figure.to_json()
    assert "evil.example" in shown
    assert "<a " not in shown.replace("\\u003c", "<")
    assert "<b>" not in shown.replace("\\u003c", "<").replace("\\u003e", ">")
    assert [None] * len(lines(chart)) == [line.hovertemplate for line in lines(chart)]
    chart.close()


def test_a_frame_is_one_update_in_one_message(chart, source):
    chart.draw()
    before = len(chart.figure.comm.sent)
    source.add([200 * SECOND], [0], bid_price=[1.0], ask_price=[2.0])

    messages = chart.draw()

    sent = chart.figure.comm.sent[before:]
    updates = [data["state"]["_py2js_update"] for data in sent if data["state"].get("_py2js_update")]
    assert messages == len(sent) == 1
    assert len(updates) == 1


def test_only_rows_not_seen_before_are_asked_for(chart, source):
    chart.draw()
    source.add([200 * SECOND], [0], bid_price=[1.0], ask_price=[2.0])
    source.asked.clear()

    chart.draw()

    assert source.asked == [100]


def test_a_frame_without_news_sends_nothing(chart):
    chart.draw()
    before = len(chart.figure.comm.sent)

    assert chart.draw() == 0
    assert len(chart.figure.comm.sent) == before


def test_a_line_without_news_is_not_sent_again(chart, source):
    chart.draw()
    source.add([200 * SECOND], [0], bid_price=[1.0], ask_price=[np.nan])

    chart.draw()

    update = next(
        data["state"]["_py2js_update"]
        for data in reversed(chart.figure.comm.sent)
        if data["state"].get("_py2js_update")
    )
    assert update["style_traces"] == [1]


def test_ranges_are_never_set_and_the_zoom_is_kept_by_a_constant_revision(chart):
    chart.draw()

    assert chart.figure.layout.uirevision == "aries-nb"
    assert chart.figure.layout.xaxis.range is None
    assert chart.figure.layout.yaxis.range is None
    assert chart.figure.layout.xaxis.type == "date"
    assert chart.figure.layout.xaxis.ticksuffix == " UTC"


def test_the_first_trace_makes_the_axis_a_time_axis_and_is_never_seen(chart):
    anchor = chart.figure.data[0]

    assert anchor.x == ("2000-01-01",)
    assert anchor.visible == "legendonly"
    assert not anchor.showlegend


def test_rows_that_left_the_window_leave_the_chart():
    source = filled(100, symbols=("AAPL",), columns=("price",), limit=10)
    chart = Chart(source, ["price"])

    chart.draw()
    source.add([100 * SECOND], price=[5.0])
    chart.draw()

    assert lines(chart)[0].x[0] == 91e3
    assert len(lines(chart)[0].x) == 10
    chart.close()


def test_a_long_history_is_drawn_with_few_points():
    source = filled(50_000, symbols=("AAPL",), columns=("price",))
    chart = Chart(source, ["price"])

    chart.draw()

    assert len(lines(chart)[0].x) <= 2_000
    assert lines(chart)[0].y.max() == 49_999
    chart.close()


@pytest.mark.parametrize("engine", ["plotly", "light"])
def test_stub_quotes_and_prints_of_size_zero_are_no_points(engine):
    source = RollingRows(columns=("bid_price", "ask_price", "last_price"))
    source.add(
        np.arange(4) * SECOND,
        bid_price=[499.9, 0.01, 499.9, 499.8],
        ask_price=[500.1, 199_999.99, 199_999.99, 500.2],
        last_price=[500.0] * 4,
    )
    prints = RollingRows()
    prints.add(np.arange(3) * SECOND, price=[10.0, 99.0, 11.0], size=[1.0, 0.0, 1.0])

    drawn = [*drawn_lines(engine, source, ["bid_price", "ask_price"]), *drawn_lines(engine, prints, ["price"])]

    assert [line[~np.isnan(line)].tolist() for line in drawn] == [[499.9, 499.9, 499.8], [500.1, 500.2], [10.0, 11.0]]


def drawn_lines(engine, source, columns):
    if engine == "light":
        return [y for _, y in LightLines(source, columns).content().blocks[: len(columns)]]
    chart = Chart(source, columns)
    chart.draw()
    shown = [line.y for line in lines(chart)][: len(columns)]
    chart.close()
    return shown


def test_a_frame_that_was_emptied_starts_anew(chart, source):
    chart.draw()
    fresh = filled(4)
    source.ts, source.codes, source.numbers = fresh.ts, fresh.codes, fresh.numbers

    chart.draw()

    assert len(lines(chart)[0].x) == 2


def test_too_many_lines_are_refused_with_advice():
    with pytest.raises(UsageError, match="at most 8"):
        Chart(filled(symbols=tuple("ABCDE")), ["bid_price", "ask_price"])


def test_an_unknown_column_is_refused_with_the_names_there_are():
    with pytest.raises(UsageError, match="bid_price, ask_price"):
        Chart(filled(), ["bid"])


def test_sizes_get_an_axis_of_their_own_where_there_are_prices():
    source = filled(columns=("price", "size"), symbols=("AAPL",))
    chart = Chart(source, ["price", "size"])

    assert [line.yaxis for line in lines(chart)] == ["y", "y2"]
    chart.close()


def test_an_empty_chart_says_that_it_waits():
    source = RollingRows(("AAPL",), ("price",))
    chart = Chart(source, ["price"])
    chart.draw()
    assert chart.figure.layout.annotations[0].text == "waiting for data"

    source.add([SECOND], price=[1.0])
    chart.draw()

    assert chart.figure.layout.annotations == ()
    chart.close()


def acknowledged(figure, edit=None):
    figure.comm.acknowledge(figure._last_trace_edit_id if edit is None else edit)


def test_the_browsers_answer_to_an_edit_is_the_confirmation(chart, painter, source, clock):
    chart.watch(painter)
    painter.step()
    assert painter.statistics().waiting == 1

    acknowledged(chart.figure)

    assert painter.statistics().waiting == 0


def test_an_answer_costs_no_message_back(chart):
    chart.draw()
    before = len(chart.figure.comm.sent)

    acknowledged(chart.figure)

    assert len(chart.figure.comm.sent) == before


def test_an_answer_to_an_older_edit_confirms_nothing(chart, painter):
    chart.watch(painter)
    painter.step()

    acknowledged(chart.figure, chart.figure._last_trace_edit_id - 1)

    assert painter.statistics().waiting == 1


def test_what_the_user_does_reaches_plotly(chart):
    message = {"relayout_data": {"xaxis.range[0]": 5, "xaxis.range[1]": 9}, "source_view_id": "x"}

    chart.figure.comm.answer({"method": "update", "state": {"_js2py_relayout": message}, "buffer_paths": []})

    assert chart.figure.layout.xaxis.range == (5, 9)


def say(chart, **content):
    chart.figure.comm.answer({"method": "custom", "content": content})


def test_a_figure_that_no_page_shows_is_not_drawn_and_gone(chart, painter):
    chart.watch(painter)
    say(chart, visible=True, view="a")

    say(chart, visible=False, view="a", removed=True)

    assert painter.statistics().visible == 0
    assert chart.seen_at() == -math.inf


def test_a_figure_in_two_pages_goes_on_when_one_of_them_removes_its_display(chart, painter):
    chart.watch(painter)
    for page in ("a", "b"):
        say(chart, visible=True, view=page)

    say(chart, visible=False, view="b", removed=True)

    assert painter.statistics().visible == 1
    assert chart.seen_at() > 0


def test_what_a_page_says_of_a_figure_in_wrong_types_is_ignored(chart, painter):
    chart.watch(painter)

    for content in ({"visible": "no", "view": "a"}, {"removed": True}, {"visible": 0}, {"ack": "x"}):
        say(chart, **content)

    assert painter.statistics().visible == 1
    assert chart.seen_at() > 0


def test_the_sign_of_life_of_a_figure_names_its_newest_edit(chart):
    chart.draw()
    chart.figure.update_layout(title_text="the user's own edit")

    chart.beat()

    assert chart.figure.comm.sent[-1]["content"] == {"beat": True, "edit": chart.figure._last_layout_edit_id}
    assert chart.figure._last_layout_edit_id > chart.frames


def test_a_page_counts_no_displays_of_a_figure(chart):
    assert chart.figure.get_state("_view_count") == {"_view_count": None}


def test_a_reloaded_page_starts_from_the_newest_frame(chart, source):
    chart._repr_mimebundle_()
    source.add([200 * SECOND], [0], bid_price=[77.0], ask_price=[2.0])
    chart.draw()

    state = chart.figure.get_state("_widget_data")["_widget_data"]

    line = state[1]
    assert line["uid"] == lines(chart)[0].uid
    assert np.frombuffer(line["y"]["buffer"], dtype=line["y"]["dtype"])[-1] == 77.0


def test_a_closed_figure_is_freed(painter):
    chart = Chart(filled(), ["bid_price"])
    chart.watch(painter)  # one without a thread, which might be holding the view at this very moment
    chart._repr_mimebundle_()
    figure, view = weakref.ref(chart.figure), weakref.ref(chart)

    chart.close()
    chart.close()
    del chart
    gc.collect()

    assert figure() is None
    assert view() is None


def test_a_failing_source_is_said_on_the_chart(chart, source, caplog):
    chart.draw()
    good, source.rows = source.rows, lambda first: 1 / 0
    chart.draw()
    assert "division by zero" in chart.figure.layout.annotations[0].text

    source.rows = good
    chart.draw()

    assert chart.figure.layout.annotations == ()


def test_a_chart_shown_twenty_times_is_one_model(chart):
    shown = {chart._repr_mimebundle_()["application/vnd.jupyter.widget-view+json"]["model_id"] for _ in range(20)}

    assert shown == {chart.figure.model_id}


def test_a_chart_is_unknown_to_the_browser_until_it_is_shown_and_then_whole(source):
    chart = Chart(source, ["bid_price"])
    chart.draw()
    assert not chart.figure.is_open

    chart._repr_mimebundle_()

    kind, opening = chart.figure.comm.messages[0]
    assert kind == "comm_open"
    assert [len(trace["x"]) for trace in opening["state"]["_widget_data"][1:]] == [2, 2]  # dtype and shape
    assert "<img" in opening["state"]["static_picture"]
    chart.close()


def test_a_page_that_opens_gets_the_newest_picture_and_not_that_of_the_first_display(source, monkeypatch):
    chart = Chart(source, ["bid_price"])
    chart._repr_mimebundle_()
    first = chart.widget.get_state()["static_picture"]
    monkeypatch.setattr(view, "PICTURE_S", 0.0)
    monkeypatch.setattr(chart, "_static_html", lambda: "<img alt='newest'>")
    chart.frames += 1

    chart.draw()

    assert "<img" in first
    assert chart.widget.get_state()["static_picture"] == "<img alt='newest'>"
    chart.close()


def names_and_values(chart):
    """The lines in the legend that have points, by name."""
    return {
        line.name: [None if np.isnan(value) else value for value in line.y]
        for line in chart.figure.data[1:]
        if line.showlegend is not False and line.y is not None and len(line.y)
    }


def test_an_index_has_a_line_of_its_last_price_and_a_share_has_none():
    source = RollingRows(("AAPL", "SPX"), columns=("bid_price", "ask_price", "last_price"))
    chart = Chart(source, ("bid_price", "ask_price"), or_last=True)

    source.add([SECOND], [1], last_price=[6_724.0])
    source.add([2 * SECOND], [0], last_price=[10.0])
    chart.draw()
    before = names_and_values(chart)
    source.add(
        [3 * SECOND, 4 * SECOND], [0, 1], bid_price=[9.0, np.nan], ask_price=[11.0, np.nan], last_price=[10, 6_725]
    )
    chart.draw()

    assert before == {"SPX last": [6_724.0], "AAPL last": [10.0]}
    assert names_and_values(chart) == {"AAPL bid": [9.0], "AAPL ask": [11.0], "SPX last": [6_724.0, 6_725.0]}
    chart.close()


def test_a_line_is_interrupted_while_a_side_is_not_there():
    source = RollingRows(columns=("bid_price", "ask_price"))
    chart = Chart(source, ("bid_price", "ask_price"))

    asks = [[11.0, np.nan], [np.nan, np.nan], [12.0, 13.0]]
    for at, pair in enumerate(asks):
        source.add(np.arange(2 * at, 2 * at + 2) * SECOND, bid_price=[9.0, 9.0], ask_price=pair)
        chart.draw()

    bid, ask = chart.figure.data[1:]
    assert bid.y.tolist() == [9.0] * 6
    np.testing.assert_array_equal(ask.y, [11.0, np.nan, 12.0, 13.0])
    chart.close()


def test_a_print_that_was_cancelled_leaves_the_line():
    source = RollingRows()
    chart = Chart(source, ["price"])
    source.add([0, SECOND, 2 * SECOND], price=[10.0, 99.0, 11.0], size=[1.0, 1.0, 1.0])
    chart.draw()

    source.void.add(1)
    source.add([3 * SECOND], price=[12.0], size=[1.0])
    chart.draw()

    assert chart.figure.data[1].y.tolist() == [10.0, 11.0, 12.0]
    chart.close()
