"""Models of a kind share one script, which a model of its own brings: how many bytes that is, and who has it when."""

from __future__ import annotations

from contextlib import ExitStack, closing

import ipywidgets
import pytest
from ipywidgets.widgets import widget as ipywidgets_widget

from aries_nb.widgets import Board, Chart, LightChart, LightLines
from aries_nb.widgets.page_script import PageScript, PageScriptModel
from aries_nb.widgets.widget_model import _was_sent
from tests.widgets.charts.test_chart import filled
from tests.widgets.sources import Boards, CountingComm

MOST_BYTES = 60_000  # of ours on a page of charts


def light(source):
    return LightChart(source, [LightLines(source, ["bid_price"])])


def plotly(source):
    return Chart(source, ["bid_price"])


def model_of(chart):
    return getattr(chart, "figure", None) or chart.widget


def open_models():
    """Those of this test: tests of other folders leave some, with comms of their own."""
    return [model for model in ipywidgets_widget._instances.values() if isinstance(model.comm, CountingComm)]


def brought():
    """The open models that bring a script."""
    return [model for model in open_models() if isinstance(model, PageScriptModel)]


def opened(model):
    """The state with which the page learned of the model."""
    return dict(model.comm.messages)["comm_open"]["state"]


@pytest.mark.parametrize(("make", "own_from"), [(light, 0), (plotly, 1)])
@pytest.mark.parametrize("count", [1, 12])
def test_a_page_of_one_chart_and_one_of_twelve_apart_get_one_script_and_few_bytes_of_ours(make, own_from, count):
    _was_sent.cache_clear()
    with ExitStack() as stack:
        models = [model_of(stack.enter_context(closing(make(filled())))) for _ in range(count)]
        for model in models:
            assert model.model_id  # opens it
        scripts = [
            part
            for model in models
            for data in model.comm.sent
            if data["method"] == "custom" and "script" in data["content"]
            for part in model._script(data["content"]["script"])
        ]
        states = [opened(model) for model in open_models()]

    loaders = [len(state["_esm"]) + len(state.get("_css", "")) for state in states if "_esm" in state]
    assert len(loaders) == count + 1
    assert sum(len(part) for part in scripts[own_from:]) + sum(loaders) <= MOST_BYTES


def test_the_script_is_there_before_the_first_model_and_stays_when_that_is_closed():
    with closing(Board(Boards())) as second:
        with closing(Board(Boards())) as first:
            for board in (first, second):
                assert board.widget.model_id  # opens it
            order = open_models()
            (script,) = brought()
            assert order.index(script) < order.index(first.widget)

        assert brought() == [script]
        assert script.get_state()["_esm"] == opened(script)["_esm"]
        assert opened(second.widget)["script_model"] == f"IPY_MODEL_{script.model_id}"


def test_the_style_does_not_take_the_name_of_the_script_in_the_page():
    with closing(Board(Boards())) as board:
        assert board.widget.model_id

        assert opened(*brought())["_anywidget_id"] != board.widget.page_script.name


def test_a_script_that_a_user_closed_is_brought_again_with_the_next_model():
    with closing(Board(Boards())) as board:
        assert board.widget.model_id
    ipywidgets.Widget.close_all()
    assert brought() == []

    with closing(Board(Boards())) as board:
        assert board.widget.model_id

        assert [f"IPY_MODEL_{script.model_id}" for script in brought()] == [opened(board.widget)["script_model"]]


def test_a_script_that_the_front_end_closed_is_brought_again_with_the_next_model():
    with closing(Board(Boards())) as first, closing(Board(Boards())) as second:
        assert first.widget.model_id
        (script,) = brought()
        script.comm._closed = True  # as its manager sets it when the page's message comes

        assert second.widget.model_id

        (again,) = [model for model in brought() if model is not script]
        assert opened(second.widget)["script_model"] == f"IPY_MODEL_{again.model_id}"


def test_each_model_brings_its_script_where_a_process_has_the_pages_of_many(monkeypatch):
    def open_early(model):
        model.comm = CountingComm(data={"state": model.get_state()})

    monkeypatch.setattr(ipywidgets.Widget, "_widget_construction_callback", staticmethod(open_early))

    with closing(Board(Boards())) as board:
        assert board.widget.model_id
        state = board.widget.get_state()
        script = board.widget.page_script

        assert (state["_esm"], state["_css"]) == (script.whole, script.style)
        assert brought() == []


def test_two_versions_of_a_script_or_a_style_have_names_of_their_own():
    names = [PageScript(*each).name for each in [("a", "b"), ("a", "c"), ("c", "b"), ("a", "b")]]

    assert len(set(names)) == 3
    assert names[0] == names[3]
