import gzip
import json
import math

import numpy as np
import pytest

from aries_nb.errors import UsageError
from aries_nb.model import EquityData, FillMark, GapSpan
from aries_nb.model.settings import settings
from aries_nb.widgets import LightCandles, LightChart, LightEquity, LightLines
from aries_nb.widgets.charts.light import MOST_POINTS
from aries_nb.widgets.light_view import LightWidget, light_script, packed
from aries_nb.widgets.page_script import static_text
from tests.widgets.charts.test_chart import SECOND, filled

NAN = math.nan
START = 1_700_000_000 * SECOND


@pytest.fixture(autouse=True)
def restored():
    yield
    settings.timezone = "UTC"


@pytest.fixture
def source():
    return filled()


@pytest.fixture
def chart(source):
    chart = LightChart(source, [LightLines(source, ["bid_price", "ask_price"])])
    assert chart.widget.model_id  # opens it
    yield chart
    chart.close()


def unpacked(frame, blocks=()):
    """The frame's head and its blocks, made of the rows of `blocks` that it keeps, as the page makes them."""
    numbers = np.frombuffer(frame, "<f8")
    count = int(numbers[3])
    at, made = 4 + 4 * count, []
    for place in range(count):
        columns, drop, keep, added = numbers[4 + 4 * place : 8 + 4 * place].astype(int)
        block = []
        for column in range(columns):
            kept = blocks[place][column][drop : drop + keep] if keep else np.empty(0)
            block.append(np.concatenate([kept, numbers[at : at + added]]))
            at += added
        made.append(block)
    assert at == len(numbers)
    return numbers[:3].tolist(), made


class Page:
    """What a page knows of a chart: it takes the state, then each message."""

    def __init__(self, chart):
        self.comm = chart.widget.comm
        kind, opened = self.comm.messages[0]
        assert kind == "comm_open"
        self.description = opened["state"]["description"]
        (self.number, _, _), self.blocks = unpacked(chart.widget.get_state()["frame"])
        self.read = len(self.comm.sent)
        self.sizes = []

    def receive(self, buffers):
        for data in self.comm.sent[self.read :]:
            self.read += 1
            if data["method"] != "custom" or "frame" not in data["content"]:
                continue
            frame = buffers.pop(0)
            (number, _, before), blocks = unpacked(frame, self.blocks)
            assert before == self.number
            self.number, self.blocks = number, blocks
            self.description = data["content"].get("description", self.description)
            self.sizes.append(len(frame))


@pytest.fixture
def buffers(monkeypatch):
    """The binary parts of the messages sent from now on."""
    sent = []

    def send(self, content, buffers=None):
        sent.extend(buffers or [])
        super(LightWidget, self).send(content, buffers)

    monkeypatch.setattr(LightWidget, "send", send)
    sent.clear()
    return sent


def test_the_state_with_which_a_chart_opens_is_its_picture(chart):
    opened = chart.widget.get_state()
    _, blocks = unpacked(opened["frame"])
    (shown,) = opened["description"]["charts"]

    assert [line["label"] for line in shown["lines"]] == ["AAPL bid", "AAPL ask", "MSFT bid", "MSFT ask"]
    assert blocks[2][0].tolist() == [1e3 * second for second in range(1, 100, 2)]
    assert blocks[2][1].tolist() == list(range(1, 100, 2))
    assert (shown["blocks"], len(blocks[-1][0])) == (5, 0)  # the last are the marks


def test_a_frame_is_one_message_with_the_new_rows_alone(source, buffers):
    chart = LightChart(source, [LightLines(source, ["bid_price", "ask_price"], symbols=["AAPL"])])
    assert chart.widget.model_id  # opens it
    page = Page(chart)
    buffers.clear()
    source.add([200 * SECOND], [0], bid_price=[1.0], ask_price=[2.0])

    assert chart.draw() == 1
    page.receive(buffers)

    assert page.blocks[0][0].tolist() == [*(1e3 * second for second in range(0, 100, 2)), 200e3]
    assert page.blocks[1][1][-2:].tolist() == [198.0, 2.0]
    assert page.sizes[0] < 200
    assert chart.draw() == 0
    chart.close()


@pytest.mark.parametrize("part", ["lines", "candles"])
def test_a_page_that_takes_every_message_has_what_the_state_has(buffers, part):
    rng = np.random.default_rng(7)
    source = filled(3, symbols=("AAPL",), columns=("price", "size"), limit=700)
    shown = LightLines(source, ["price"]) if part == "lines" else LightCandles(source, "20s")
    chart = LightChart(source, [shown])
    assert chart.widget.model_id  # opens it
    page = Page(chart)
    buffers.clear()
    ts = 10 * SECOND
    for step in range(150):
        count = int(rng.integers(1, 40))
        ts += int(rng.integers(0, 3)) * SECOND  # often several rows of one time
        prices = np.where(rng.random(count) < 0.1, NAN, rng.normal(100, 1, count))
        source.add(np.full(count, ts), price=prices, size=np.ones(count))
        if step == 90:
            source.ts, source.codes = source.ts[-5:], source.codes[-5:]  # emptied and filled again
            source.numbers = {name: values[-5:] for name, values in source.numbers.items()}
        chart.draw()
        page.receive(buffers)

        number, whole = unpacked(chart.widget.get_state()["frame"])

        assert (number[0], number[2]) == (page.number, 0)
        for mine, its in zip(page.blocks, whole, strict=True):
            np.testing.assert_array_equal(mine, its)
    chart.close()


def test_a_full_line_is_sent_as_its_tail(buffers):
    source = filled(2 * MOST_POINTS, symbols=("AAPL",), columns=("bid_price",), limit=2_500)
    chart = LightChart(source, [LightLines(source, ["bid_price"])])
    assert chart.widget.model_id  # opens it
    page = Page(chart)
    buffers.clear()

    for second in range(50):
        source.add([(3 * MOST_POINTS + second) * SECOND], bid_price=[float(second)])
        chart.draw()
    page.receive(buffers)

    assert max(page.sizes) < 200
    assert len(page.blocks[0][0]) <= MOST_POINTS
    chart.close()


def test_volumes_keep_every_digit(buffers):
    source = filled(1, symbols=("AAPL",), columns=("price", "size"))
    source.add([2 * SECOND], price=[100.0], size=[123_456_789_013.0])

    block = LightCandles(source, "1s").content().blocks[0]

    assert block[5].tolist()[-1] == 123_456_789_013.0


def test_a_line_is_interrupted_where_a_value_is_missing_and_at_a_gap(source):
    source = filled(0, symbols=("AAPL",), columns=("bid_price",))
    source.add(np.arange(6) * SECOND, bid_price=[1.0, 2.0, NAN, NAN, 5.0, 6.0])

    x, y = LightLines(source, ["bid_price"]).content().blocks[0]

    assert np.isnan(y).tolist() == [False, False, True, False, False]
    assert x.tolist() == [0.0, 1000.0, 2500.0, 4000.0, 5000.0]


def test_prints_of_several_symbols_are_lines_with_their_own_times():
    source = filled(0, symbols=("AAPL", "MSFT"), columns=("price",))
    source.add(np.arange(4) * SECOND, np.array([0, 1, 1, 0], np.int32), price=[1.0, 2.0, 3.0, 4.0])

    first, second, _ = LightLines(source, ["price"]).content().blocks

    assert (first[0].tolist(), second[0].tolist()) == ([0.0, 3000.0], [1000.0, 2000.0])


def test_the_axis_is_in_the_zone_of_the_settings(chart):
    settings.timezone = "Asia/Kolkata"

    chart.draw()

    assert chart._state()["description"]["charts"][0]["zone"] == "Asia/Kolkata"


def test_own_fills_are_marked_in_charts_of_prices():
    class Traded(type(filled())):
        def own_fills(self, symbols):
            fills = [FillMark(3 * 10**9, "AAPL", -20.0, 101.5), FillMark(2 * 10**9, "AAPL", 5.0, NAN)]
            return [fill for fill in [*fills, FillMark(10**9, "AAPL", 30.0, 99.5)] if fill.symbol in symbols]

    source = Traded(("AAPL", "MSFT"), ("price", "size"))
    source.add([SECOND, 2 * SECOND], [0, 0], price=[100.0, 101.0], size=[1.0, 1.0])

    marks = LightLines(source, ["price"]).content().blocks[-1]

    assert [column.tolist() for column in marks] == [[1000.0, 3000.0], [99.5, 101.5], [1.0, -1.0], [30.0, 20.0]]
    assert len(LightLines(source, ["price", "size"]).content().blocks[-1][0]) == 0
    assert len(LightCandles(source, "1s", symbol="MSFT").content().blocks[-1][0]) == 0


def test_a_halt_and_a_gap_are_a_note_in_the_zone():
    class Interrupted(type(filled())):
        def gap_spans(self):
            return (GapSpan(START * 1_000, None, "cut"),)

        def trading_state(self):
            return "market halted"

    source = Interrupted(("AAPL",), ("price",))
    source.add([START - SECOND], price=[1.0])
    settings.timezone = "Europe/Moscow"

    description = LightLines(source, ["price"]).content().description

    assert description["note"] == "market halted · no data since 01:13:20 Europe/Moscow (cut)"


def test_a_sheet_is_one_widget_with_a_chart_for_each_part(source):
    parts = [LightLines(source, ["bid_price"], symbols=[symbol], title=symbol) for symbol in source.symbols]
    sheet = LightChart(source, parts, across=2)

    state = sheet.widget.get_state()
    sheet.draw()
    description = sheet._state()["description"]

    assert [chart["title"] for chart in description["charts"]] == ["AAPL", "MSFT"]
    assert [(chart["at"], chart["blocks"]) for chart in description["charts"]] == [(0, 2), (2, 2)]
    assert json.loads(json.dumps(description)) == description
    assert len(str(state)) < 20_000
    assert repr(sheet) == "LightChart(AAPL, MSFT)"
    sheet.close()


def test_the_script_of_all_light_charts_is_small(chart):
    page = gzip.decompress(light_script()).decode()
    library = static_text("uplot/uPlot.iife.min.js", "uplot/uPlot.min.css")

    assert "uPlot (v1.6.32)" in page
    assert len(page.encode()) - len(library.encode()) <= 60_000
    assert len(light_script()) <= 42_000
    assert len(chart.widget.get_state()["_esm"]) < 500
    assert "http" not in page.replace("https://github.com/leeoniya/uPlot", "")


def test_equity_and_the_brokers_figure_are_two_lines():
    class Equity:
        version = 0

        def equity(self):
            return EquityData(np.array([1, 2, 3]) * 10**9, np.array([1.0, NAN, 3.0]), np.array([NAN, 2.0, 2.5]))

    source = Equity()

    ours, theirs, _ = LightEquity(source).content().blocks

    # Not drawn across what is unknown.
    np.testing.assert_array_equal(ours, ([1000.0, 2000.0, 3000.0], [1.0, NAN, 3.0]))
    assert (theirs[0].tolist(), theirs[1].tolist()) == ([2000.0, 3000.0], [2.0, 2.5])


@pytest.mark.parametrize("count", [0, 41])
def test_a_sheet_has_one_to_forty_charts(source, count):
    with pytest.raises(UsageError, match=f"{count} charts in one sheet"):
        LightChart(source, [LightLines(source, ["bid_price"])] * count)


def test_a_failed_drawing_is_shown_and_the_next_one_that_succeeds_ends_that(chart, source, monkeypatch):
    monkeypatch.setattr(source, "rows", lambda first: 1 / 0)
    chart.draw()

    assert "division" in chart.widget.problem
    monkeypatch.undo()
    source.add([200 * SECOND], [0], bid_price=[1.0], ask_price=[2.0])

    chart.draw()

    assert chart.widget.problem == ""


def test_a_page_that_asks_gets_the_state(chart):
    before = len(chart.widget.comm.sent)

    chart.widget.comm.answer({"method": "custom", "content": {"want": "state"}})

    (sent,) = [data for data in chart.widget.comm.sent[before:] if data["method"] == "update"]
    assert sent["state"]["description"]["charts"]


def test_a_page_that_asks_gets_the_script(chart, buffers):
    chart.widget.comm.answer({"method": "custom", "content": {"want": "script"}})

    assert buffers == [light_script()]


def test_packed_frames_are_little_endian_float64():
    frame = packed((2, 5.0, 1), [(np.array([1.0, 2.0, 3.0]),)], [(4, 2)])

    assert np.frombuffer(frame, "<f8").tolist() == [2, 5.0, 1, 1, 1, 4, 2, 1, 3.0]
