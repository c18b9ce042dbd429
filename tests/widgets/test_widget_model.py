"""Models open late and whole, figures carry no script, a frame is one message; and which private names we rely on."""

from __future__ import annotations

import gzip
import sys
import threading
from importlib import resources
from pathlib import Path

import anywidget
import ipywidgets
import plotly
import plotly.graph_objects as go
import pytest

from aries_nb.widgets.plotly_script import SMALL_KEY, WHOLE_KEY, plotly_script
from aries_nb.widgets.transport import FrameChanges
from aries_nb.widgets.widget_model import LateModel, LiveFigure, MessageBatch, _was_sent

# Private names of other packages that widget_model.py uses; the scripts' names stand with the files that have them.
OF_IPYWIDGETS = (
    "_widget_construction_callback",
    "_call_widget_constructed",
    "_handle_custom_msg",
    "_handle_msg",
    "set_state",
    "_states_to_send",
    "_view_count",
    "comm",
    "keys",
    "open",
    "model_id",
    "send_state",
)
OF_PLOTLY = (
    "_config", "_data", "_last_layout_edit_id", "_last_trace_edit_id", "_layout_edit_in_process", "_layout_obj",
    "_js2py_pointsCallback", "_js2py_relayout", "_js2py_restyle", "_js2py_update",
    "_trace_edit_in_process", "_waiting_edit_callbacks", "_widget_data", "_widget_layout",
)  # fmt: skip
OF_PLOTLYS_SCRIPT = (
    "as FigureModel", "as FigureView", "_sendTraceDeltas(", "_sendLayoutDelta(", "_js2py_traceDeltas",
    "_js2py_widget_layoutDelta", "trace_edit_id", "layout_edit_id",
    *(f"_py2js_{name}" for name in ("addTraces", "deleteTraces", "moveTraces", "restyle", "relayout", "update")),
    *(f"_py2js_{name}" for name in ("animate", "removeLayoutProps", "removeTraceProps")),
)  # fmt: skip
OF_ANYWIDGETS_SCRIPT = (
    *("async _handle_comm_msg(...msg)", "AbortSignal.timeout(2e3)", "super._handle_comm_msg(...msg)"),
    *("class AnyModel", '"_esm"', '"_css"', '"_anywidget_id"'),  # of page_script.py
)
OF_JUPYTER_WIDGETS = ("_handle_comm_msg(", "comm_live", "on_msg(", "widget_manager", ".kernel", "model_id", "once(",
    "get_state_sync(", "_modelsSync", "get context()")  # fmt: skip


class FakeComm:
    def __init__(self):
        self.sent = []

    def send(self, data, buffers=None):
        self.sent.append((data, buffers))


@pytest.fixture
def comm():
    return FakeComm()


def batch_of(comm):
    return MessageBatch(comm, FrameChanges(), "model")


def update(state, paths=()):
    return {"method": "update", "state": state, "buffer_paths": list(paths)}


@pytest.fixture
def figure():
    figure = LiveFigure(data=[go.Scatter(x=[1, 2, 3], y=[1.0, 2.0, 3.0])], layout={"title": {"text": "mine"}})
    yield figure
    figure.close()


def custom(model, kind):
    return [data["content"] for data in model.comm.sent if data["method"] == "custom" and kind in data["content"]]


def test_every_private_name_of_python_that_is_relied_on_is_there(figure):
    assert [name for name in OF_IPYWIDGETS if not hasattr(ipywidgets.DOMWidget, name)] == []
    assert [name for name in OF_PLOTLY if not hasattr(figure, name)] == []
    assert [name for name in ("_widget_data", "_widget_layout") if not figure.trait_metadata(name, "to_json")] == []


@pytest.mark.parametrize("key", [WHOLE_KEY, SMALL_KEY])
def test_every_private_name_of_plotlys_script_is_there(key):
    script = gzip.decompress(plotly_script(key)).decode()

    assert [name for name in OF_PLOTLYS_SCRIPT if name not in script] == []


def test_every_private_name_of_the_front_ends_scripts_is_there():
    theirs = (resources.files(anywidget) / "nbextension" / "index.js").read_text("utf-8")
    folder = Path(sys.prefix, "share/jupyter/labextensions/@jupyter-widgets/jupyterlab-manager/static")
    jupyters = "".join(path.read_text("utf-8") for path in folder.glob("*.js"))

    assert [name for name in OF_ANYWIDGETS_SCRIPT if name not in theirs] == []
    assert [name for name in OF_JUPYTER_WIDGETS if name not in jupyters] == []


def test_a_model_is_opened_by_the_first_use_of_its_id_after_its_view_has_drawn():
    drawn = []
    model = LateModel()
    model.belongs_to(threading.RLock(), lambda: drawn.append(model.is_open), dict)
    assert not model.is_open

    box = ipywidgets.HBox([model])

    assert drawn == [False]
    assert model.is_open
    assert box.get_state("children")["children"] == [f"IPY_MODEL_{model.model_id}"]
    for widget in (box.layout, box, model.layout, model):
        widget.close()


def test_no_script_is_state(figure):
    state = figure.get_state()

    assert len(state["_esm"]) <= 500
    assert len(str(state)) <= 10_000
    assert "://" not in state["_esm"]


@pytest.mark.parametrize("key", [WHOLE_KEY, SMALL_KEY])
def test_the_script_that_a_page_asks_for_is_sent(figure, key):
    figure.open()
    before = len(custom(figure, "script"))

    figure.comm.answer({"method": "custom", "content": {"want": "script", "key": key}})

    assert [each["script"] for each in custom(figure, "script")[before:]] == [key]
    assert figure._script(key)[0] == plotly_script(key)


def test_the_whole_script_is_what_plotly_installed_and_the_small_one_a_third_of_it():
    bundle = (resources.files(plotly) / "package_data" / "widgetbundle.js").read_bytes()

    assert gzip.decompress(plotly_script(WHOLE_KEY)) == bundle
    assert len(plotly_script(WHOLE_KEY)) < 2_000_000
    assert SMALL_KEY == WHOLE_KEY or len(plotly_script(SMALL_KEY)) < 500_000


def test_the_script_that_a_figure_needs_is_sent_unasked_with_the_first_such_figure_alone():
    _was_sent.cache_clear()
    kinds = (go.Scatter, go.Candlestick, go.Heatmap, go.Scattergl, go.Bar)
    figures = [LiveFigure(data=[kind()]) for kind in kinds]

    for figure in figures:
        figure.open()

    opened = [dict(figure.comm.messages)["comm_open"]["state"] for figure in figures]
    sent = [[each["script"] for each in custom(figure, "script")] for figure in figures]
    assert sent == [[SMALL_KEY], [], [] if SMALL_KEY == WHOLE_KEY else [WHOLE_KEY], [], []]
    assert [state["script_follows"] for state in opened] == [bool(scripts) for scripts in sent]
    assert not any(figure.get_state()["script_follows"] for figure in figures)
    for figure in figures:
        figure.close()


def test_the_state_is_that_of_the_live_figure(figure):
    figure.open()
    figure.data[0].y = [4.0, 5.0]
    figure.update_layout(title_text="changed")
    figure.add_scatter(y=[9.0])

    state = figure.get_state()

    assert [trace["y"] for trace in state["_widget_data"]] == [[4.0, 5.0], [9.0]]
    assert state["_widget_layout"]["title"]["text"] == "changed"


def test_a_page_that_lost_an_edit_gets_the_whole_state_in_one_message(figure):
    figure.open()
    before = len(figure.comm.sent)

    figure.comm.answer({"method": "custom", "content": {"want": "state"}})

    (message,) = figure.comm.sent[before:]
    expected = {"_widget_data", "_widget_layout", "_last_layout_edit_id", "_last_trace_edit_id", "state_number"}
    assert message["state"].keys() == expected | {"timezone", "frozen"}


def test_edits_count_as_completed_once_the_browser_has_drawn_them(figure):
    completed = []
    figure.open()
    figure.data[0].y = [4.0, 5.0]
    figure.on_edits_completed(lambda: completed.append(True))
    assert completed == []

    figure.comm.acknowledge(figure._last_trace_edit_id)

    assert completed == [True]
    assert figure.unanswered == 0


def test_a_message_of_the_page_reaches_each_of_its_models(figure):
    other = LiveFigure()
    reports = {}
    for each in (figure, other):
        each.open()
        each.listen(lambda *report, each=each: reports.setdefault(each.model_id, report))
    figure.data[0].y = [4.0, 5.0]

    said = [[figure.model_id, {"ack": figure._last_trace_edit_id, "waited": 400}], [other.model_id, {"ack": 0}]]
    other.comm.answer({"method": "custom", "content": {"page": "a", "said": said}})

    assert reports == {each.model_id: (content, 0) for each, (_, content) in zip((figure, other), said, strict=True)}
    other.close()


def test_an_event_of_the_page_changes_the_figure_and_is_not_sent_back(figure):
    figure.open()
    before = len(figure.comm.sent)
    relayout = {"relayout_data": {"xaxis.range[0]": 1, "xaxis.range[1]": 2}, "source_view_id": "v"}

    figure.comm.answer({"method": "custom", "content": {"event": "_js2py_relayout", "value": relayout}})

    assert figure.layout.xaxis.range == (1, 2)
    names = {name for message in figure.comm.sent[before:] for name in message["state"]}
    assert not [name for name in names if name.startswith("_js2py_")]


def test_odd_messages_of_the_browser_are_ignored(figure):
    figure.open()
    before = len(figure.comm.sent)

    odd = (None, 7, "want", {"ack": "x"}, {"want": 3}, {}, {"event": "_data", "value": {}}, {"event": 3, "value": {}})
    odd_said = ({"said": each} for each in ([7], [["x", 1]], [[figure.model_id, 7]], [[3, 4]], [[figure.model_id]]))
    for content in (*odd, *odd_said):
        figure.comm.answer({"method": "custom", "content": content})

    assert len(figure.comm.sent) == before


def test_a_figure_knows_no_address_to_upload_to(figure):
    config = figure.get_state("_config")["_config"]

    assert config["showSendToCloud"] is False
    assert config["plotlyServerURL"] == ""


def test_a_closed_model_stays_closed(figure):
    figure.open()
    figure.close()

    figure.open()

    assert not figure.is_open


def test_updates_leave_as_one_with_their_buffers_in_order(comm):
    gathering = batch_of(comm)

    with gathering.as_one():
        comm.send(update({"edit": 1}))
        comm.send(update({"data": {}}, [["data", "x"]]), buffers=[b"x"])
        comm.send(update({"more": {}}, [["more", "y"]]), buffers=[b"y"])

    expected = update({"edit": 1, "data": {}, "more": {}}, [["data", "x"], ["more", "y"]])
    assert comm.sent == [(expected, [b"x", b"y"])]


def test_an_update_that_is_taken_back_at_once_still_leaves(comm):
    gathering = batch_of(comm)

    with gathering.as_one():
        comm.send(update({"update": {"y": 1}}))
        comm.send(update({"update": None}))

    assert [data["state"] for data, _ in comm.sent] == [{"update": {"y": 1}}]


def test_other_methods_and_other_threads_pass_at_once(comm):
    gathering = batch_of(comm)

    with gathering.as_one():
        comm.send({"method": "custom", "content": 1})
        thread = threading.Thread(target=comm.send, args=(update({"theirs": 1}),))
        thread.start()
        thread.join()
        during = len(comm.sent)

    assert during == len(comm.sent) == 2


def test_nothing_sent_is_no_message(comm):
    with batch_of(comm).as_one():
        pass

    assert comm.sent == []


def test_what_was_gathered_leaves_although_drawing_raised(comm):
    gathering = batch_of(comm)

    def draw():
        with gathering.as_one():
            comm.send(update({"edit": 1}))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw()

    assert [data["state"] for data, _ in comm.sent] == [{"edit": 1}]


class ClosableComm(FakeComm):
    """A comm of a front end that opens widgets while they are made, and closes them, as marimo does."""

    kernel = "other"

    def __init__(self, number):
        super().__init__()
        self.comm_id, self._closed = f"comm {number}", False

    def on_msg(self, call):
        pass

    def close(self, *_):
        self._closed = True


@pytest.fixture
def opened(monkeypatch):
    """The models in the order in which such a front end has opened them."""
    models = []

    def open_early(model):
        models.append(model)
        model.comm = ClosableComm(len(models))

    monkeypatch.setattr(ipywidgets.Widget, "_widget_construction_callback", staticmethod(open_early))
    return models


def test_a_model_that_the_front_end_opens_too_early_is_opened_anew_when_it_is_displayed(opened):
    drawn = []
    model = LateModel()
    model.belongs_to(threading.RLock(), lambda: drawn.append(model.is_open), dict)
    assert not model.is_open

    first = model.model_id

    assert drawn == [False]
    assert opened.count(model) == 2
    assert model.model_id == first
    model.close()


def test_a_model_whose_comm_the_front_end_closed_is_opened_by_the_next_display(opened):
    model = LateModel()
    first = model.model_id
    model.comm.close()
    assert model.is_lost
    assert not model.is_open

    second = model.model_id

    assert second != first
    assert model.is_open
    model.close()
