"""The page makes whole what the kernel shortened to changes: its script in Chromium, the messages from Python."""

from __future__ import annotations

import numpy as np
import pytest

from aries_nb.widgets.light_view import light_code
from aries_nb.widgets.page_script import static_text
from aries_nb.widgets.plotly_script import SMALL_KEY, SMALL_TRACES, WHOLE_KEY
from aries_nb.widgets.transport import FrameChanges, Message

NAMES = "completeFrame, passOn, connect, numbersOf, panel, makeStore, sayToKernel, askForState, askForScript"
SCRIPTS = ("model.js", "freeze.js", "shared.js", "script.js", "light_model.js")
LOAD = """async (code) => {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  window.ours = await import(url);
  window.connection = { model: { get: () => null } };
}"""
COMPLETE = """([data, bytes]) => {
  const buffers = bytes.map((each) => new DataView(new Uint8Array([1, 2, 3, ...each]).buffer, 3));
  const isWhole = window.ours.completeFrame({ content: { data }, buffers }, window.connection);
  return [isWhole, isWhole ? [...window.ours.numbersOf(buffers[0])] : []];
}"""
# What is said leaves within 20 ms, and a later timer follows; that a display is seen, the browser says when it can.
SAYS = """
  const pause = () => new Promise((resolve) => setTimeout(resolve, 100));
  const isSaid = async (said) => {
    while (!said.some(([, content]) => "visible" in content)) await pause();
    await pause();
  };"""
# A model of one kernel, with the class of anywidget's between it and that of ipywidgets.
MODELS = """() => {
  const manager = { kernel: { status: "idle" } };
  window.makeModel = (id, frame) => {
    const made = { taken: [], said: [], calls: {} };
    made.hear = (name, ...rest) => made.calls[name]?.forEach((call) => call(...rest));
    const on = (name, call) => (made.calls[name] ??= []).push(call);
    const comm = { on_msg: (call) => (made.receive = call) };
    const raw = { model_id: id, comm, on, once: on, widget_manager: manager };
    class Base { _handle_comm_msg(message) { made.taken.push(message.content.data); } }
    class Face extends Base { _handle_comm_msg() { return Promise.resolve(); } }
    Object.setPrototypeOf(raw, Face.prototype);
    const set = () => made.calls["change:_anb"].forEach((call) => call(raw));
    const values = { frame, script_follows: true };
    const get = (name) => values[name];
    made.values = values;
    made.model = { on, set, get, off() {}, send: (content) => made.said.push(...(content.said ?? [])) };
    return made;
  };
}"""
# What is asked for after signs of life that name a frame that the page has, and one that it has not.
SIGNS_OF_LIFE = """async (kind) => {
  const made = window.makeModel("one", new DataView(new Float64Array([7, 0, 0, 0]).buffer));
  if (kind === "panel") window.ours.panel(() => {}).initialize({ model: made.model });
  else if (kind === "figure") window.startFigure(made);
  else window.ours.makeStore(made.model, window.ours.connect(made.model));
  const asked = [];
  for (const number of [7, 8]) {
    made.hear("msg:custom", { beat: true, frames: number, edit: number });
    await new Promise((resolve) => setTimeout(resolve, 100));
    asked.push(made.said.splice(0));
  }
  return asked;
}"""
# A figure whose newest edit is that with the number 7, of which only the script in the page is ours.
FIGURE = """async (code) => {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  window.startFigure = (made) => {
    const { get } = made.model;
    made.model.get = (name) => (name === "_last_layout_edit_id" ? made.last ?? 7 : get(name));
    const script = widget();
    script.initialize({ model: made.model });
    return script;
  };
}"""
# What a figure with these traces asks for before it is displayed, where its script was, or was not, sent unasked.
START = """async ([kinds, isFollowed]) => {
  const made = window.makeModel("one");
  Object.assign(made.values, { _widget_data: kinds.map((type) => ({ type })), script_follows: isFollowed });
  window.startFigure(made);
  await new Promise((resolve) => setTimeout(resolve, 300));
  return made.said;
}"""
# Edit 8 comes, but its change is heard only later, as with ipywidgets; then a whole state with edit 12, another with
# edit 13, and of edit 14 the number alone.
EDITS_RECEIVED = """async () => {
  const made = window.makeModel("one");
  window.startFigure(made);
  const asked = [];
  async function receive(state, edit) {
    made.receive({ content: { data: { method: "update", state } }, buffers: [] });
    made.hear("msg:custom", { beat: true, edit });
    await new Promise((resolve) => setTimeout(resolve, 100));
    asked.push(made.said.splice(0));
  }
  await receive({ _last_layout_edit_id: 8, _py2js_relayout: { layout_edit_id: 8 } }, 8);
  await receive({ _widget_data: [], _last_layout_edit_id: 12, timezone: "UTC", frozen: {} }, 12);
  made.last = 13; // where messages are not routed
  made.hear("change:state_number");
  await receive({}, 13);
  await receive({ _last_layout_edit_id: 14 }, 14);
  return asked;
}"""
FIGURE_LEFT = """async () => {SAYS
  const made = window.makeModel("one");
  const script = window.startFigure(made);
  document.body.innerHTML = "";
  const remove = script.render({ model: made.model, el: document.body });
  const said = [];
  const hear = () => said.push(made.said.splice(0).map(([, content]) => content).filter((each) => "visible" in each));
  await isSaid(made.said);
  hear();
  window.dispatchEvent(new Event("pagehide"));
  hear();
  window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
  await isSaid(made.said);
  hear();
  remove();
  await isSaid(made.said);
  hear();
  return said;
}""".replace("SAYS", SAYS)
FIGURE_AGAIN = """async () => {SAYS
  const [first, second] = ["first", "second"].map((id) => window.makeModel(id));
  const [carrier, script] = [first, second].map(window.startFigure);
  document.body.innerHTML = "";
  script.render({ model: second.model, el: document.body });
  await isSaid(first.said);
  const before = first.said.splice(0);
  first.hear("destroy");
  await isSaid(second.said);
  const shown = (said) => said.map(([id, content]) => [id, content.visible]).filter((each) => each[1]);
  return [shown(before), shown(second.said)];
}""".replace("SAYS", SAYS)
# A model whose requests for the state, or for the page's script, are counted.
LONG_CELL = """(what = "state") => {
  const made = window.makeModel("one");
  const connection = window.ours.connect(made.model);
  window.setStatus = (status) => (connection.raw.widget_manager.kernel.status = status);
  window.ask = () => (what === "state" ? window.ours.askForState : window.ours.askForScript)(connection);
  window.answer = () => {
    const data = { method: "update", state: { timezone: "UTC", frozen: {} } };
    made.receive({ content: { data }, buffers: [] });
  };
  window.count = () => made.said.splice(0).length;
}"""
CLOSED_CARRIER = """async () => {
  const [first, second] = ["first", "second"].map((id) => window.makeModel(id));
  window.ours.connect(first.model);
  const connection = window.ours.connect(second.model);
  const pause = () => new Promise((resolve) => setTimeout(resolve, 100));
  connection.displays.set("display", true);
  window.ours.sayToKernel(connection, { visible: true, view: "display" });
  await pause();
  const before = [first.said.splice(0), second.said.splice(0)];
  first.hear("destroy");
  await pause();
  return [...before, first.said, second.said];
}"""
LEFT = """async () => {SAYS
  const made = window.makeModel("one", new DataView(new Float64Array([7, 0, 0, 0]).buffer));
  const script = window.ours.panel(() => ({ paint() {} }));
  script.initialize({ model: made.model });
  document.body.innerHTML = "<div>picture</div>";
  script.render({ model: made.model, el: document.body });
  await isSaid(made.said);
  const before = made.said.splice(0).map(([, { visible }]) => visible);
  window.dispatchEvent(new Event("pagehide"));
  return [before, made.said.map(([, { visible }]) => visible)];
}""".replace("SAYS", SAYS)
PICTURES = """() => {
  for (let n = 0; n < 1000; n++) {
    const made = window.makeModel(`model${n}`);
    window.ours.connect(made.model);
    made.hear("msg:custom", { picture: `<p>${n}</p>`, last: true });
    made.hear("destroy");
  }
  const { pictures } = globalThis["aries_nb.kept.1"];
  return [pictures.size, pictures.get("model999")];
}"""
IN_ZONE = """async ([code, zone]) => {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const { makeChart } = await import(url);
  const root = document.body.appendChild(document.createElement("div"));
  for (const name of ["up", "down"]) root.style.setProperty(`--anb-${name}`, "#00ff00");
  const line = { label: "bid", colour: "#3366cc" };
  const texts = { title: "t", note: "", waiting: "", kind: "lines" };
  const looks = { ...texts, height: 300, decimals: 2, sizeDecimals: 0, bands: [] };
  const points = [new Float64Array([0, 60000, 120000]), new Float64Array([1, 2, 3])];
  makeChart(root, { move() {} }).paint([points, [[], [], [], []]], { ...looks, zone, lines: [line] });
  return root.querySelector(".anb-plot").getAttribute("aria-label");
}"""
LATE = """() => {
  const { line } = window.ours.connect(window.makeModel("first").model);
  for (let n = 0; n < 1000; n++) window.ours.passOn(line, [["closed", { n }, 0]], []);
  window.ours.passOn(line, [["late", { n: -1 }, 0]], []);
  const late = window.makeModel("late");
  window.ours.connect(late.model);
  return [late.taken, line.waiting.length];
}"""
PASS_ON = """() => {
  const taken = [];
  const model = (id, take) => {
    const raw = { model_id: id, comm: { on_msg: () => {} }, on() {}, once() {}, trigger() {}, widget_manager: manager };
    class Base { _handle_comm_msg(message) { taken.push([id, message.buffers.length]); take(); } }
    class Face extends Base { _handle_comm_msg() { return Promise.resolve(); } }
    Object.setPrototypeOf(raw, Face.prototype);
    let listener = null;
    return { on: (_, call) => (listener = call), off() {}, set: () => listener(raw), get() {}, send() {} };
  };
  const manager = { kernel: { status: "idle" } };
  const fails = () => { throw new Error("planted"); };
  const first = window.ours.connect(model("first", fails));
  window.ours.connect(model("second", () => {}), () => { throw new Error("planted"); });
  window.ours.connect(model("third", () => {}));
  const parts = ["first", "second", "third"].map((id) => [id, { method: "update", state: {} }, 1]);
  window.ours.passOn(first.line, parts, [1, 2, 3]);
  return taken;
}"""


@pytest.fixture(scope="module")
def window(browser):
    page = browser.new_page()
    yield page
    page.close()


@pytest.fixture
def blank(window):
    """The scripts in a document of their own."""
    return loaded(window)


@pytest.fixture
def stopped(browser):
    """The same where time passes as the test says."""
    page = browser.new_page()
    page.clock.install()
    yield loaded(page)
    page.close()


def loaded(page):
    page.goto("about:blank")
    page.evaluate(LOAD, static_text(*SCRIPTS) + f"export {{ {NAMES} }};")
    return page


def test_frames_of_any_length_with_any_number_of_changes_are_made_whole(blank):
    random, changes = np.random.default_rng(12), FrameChanges()
    frame = random.normal(size=30)
    shortened = 0
    for number in range(40):
        frame[0] = number
        frame[random.choice(30, size=number % 12, replace=False)] = random.choice([np.nan, 0.0, -0.0, 1e300, np.inf])
        frame[0] = number
        packed = frame.astype("<f8").tobytes()
        update = Message({"method": "update", "state": {}, "buffer_paths": [["frame"]]}, [packed])
        sent = changes.shorten(update, is_whole=False)
        shortened += "delta" in sent.data

        is_whole, made = blank.evaluate(COMPLETE, [sent.data, [list(each) for each in sent.buffers]])

        assert is_whole
        assert np.array_equal(made, frame, equal_nan=True)
    assert shortened > 30


def test_a_change_of_another_frame_is_refused(blank):
    whole = [{"method": "update", "buffer_paths": [["frame"]]}, [list(np.arange(6.0).tobytes())]]
    change = np.array([9.0]).tobytes() + np.array([1], "<u4").tobytes()
    stale = {"method": "update", "buffer_paths": [["frame"]], "delta": {"after": 7.0, "length": 6}}

    blank.evaluate(COMPLETE, whole)

    assert blank.evaluate(COMPLETE, [stale, [list(change)]]) == [False, []]


def test_what_one_model_cannot_use_is_not_lost_for_the_others(blank):
    errors = []
    blank.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)

    taken = blank.evaluate(PASS_ON)

    assert taken == [["first", 1], ["third", 1]]
    assert ["could not be used" in text for text in errors] == [True, True]


@pytest.fixture
def figures(blank):
    blank.evaluate(MODELS)
    blank.evaluate(FIGURE, static_text("model.js", "script.js", "figure.js"))
    return blank


@pytest.mark.parametrize("kind", ["panel", "light chart", "figure"])
def test_a_quiet_view_whose_last_frame_was_lost_asks_for_it_at_the_next_sign_of_life(figures, kind):
    blank = figures

    assert blank.evaluate(SIGNS_OF_LIFE, kind) == [[], [["one", {"want": "state"}]]]


@pytest.mark.parametrize(("kinds", "key"), [(["scatter"], SMALL_KEY), (["scatter", "heatmap"], WHOLE_KEY)])
@pytest.mark.parametrize("is_followed", [True, False])
def test_a_figure_asks_for_the_script_that_it_needs_before_it_is_displayed(blank, kinds, key, is_followed):
    values = {"__KEY__": SMALL_KEY, "__WHOLE__": WHOLE_KEY, "__TRACES__": ",".join(SMALL_TRACES)}
    code = static_text("model.js", "script.js", "figure.js")
    for name, value in values.items():
        code = code.replace(name, value)
    blank.evaluate(MODELS)
    blank.evaluate(FIGURE, code)

    asked = blank.evaluate(START, [kinds, is_followed])

    assert asked == ([] if is_followed else [["one", {"want": "script", "key": key}]])


def test_a_figure_asks_for_no_edit_that_was_received_and_is_not_yet_heard_of(figures):
    *received, lost = figures.evaluate(EDITS_RECEIVED)

    assert received == [[], [], []]
    assert lost == [["one", {"want": "state"}]]


def test_a_page_says_of_each_display_of_a_figure_when_it_is_shown_left_come_back_to_and_removed(figures):
    said = figures.evaluate(FIGURE_LEFT)

    (display,) = {each["view"] for part in said for each in part}
    expected = [{"visible": is_visible, "view": display} for is_visible in (True, False, True, False)]
    expected[-1]["removed"] = True
    assert said == [[each] for each in expected]


@pytest.mark.parametrize("what", ["state", "script"])
def test_a_page_asks_once_in_a_long_cell_and_after_it_until_it_is_answered(stopped, what):
    stopped.evaluate(MODELS)
    stopped.evaluate(LONG_CELL, what)
    stopped.evaluate("() => setInterval(window.ask, 2000)")  # a sign of life
    asked = []
    for status, seconds in [("busy", 600), ("idle", 11)]:
        stopped.evaluate("(status) => window.setStatus(status)", status)
        stopped.clock.run_for(seconds * 1000)
        asked.append(stopped.evaluate("() => window.count()"))

    assert asked[0] == 1
    assert asked[1] in (3, 4)


def test_a_state_that_came_is_asked_for_no_second_time(stopped):
    stopped.evaluate(MODELS)
    stopped.evaluate(LONG_CELL)
    stopped.evaluate("() => { window.ask(); window.ask(); }")
    stopped.clock.run_for(1000)
    stopped.evaluate("() => window.answer()")

    stopped.clock.run_for(10_000)

    assert stopped.evaluate("() => window.count()") == 1


def test_that_a_figure_is_shown_is_said_again_if_the_model_that_carried_it_is_closed(figures):
    assert figures.evaluate(FIGURE_AGAIN) == [[["second", True]], [["second", True]]]


def test_which_displays_can_be_seen_is_said_again_if_the_model_that_carried_it_is_closed(blank):
    blank.evaluate(MODELS)

    seen = ["second", {"visible": True, "view": "display"}]
    assert blank.evaluate(CLOSED_CARRIER) == [[seen], [], [], [seen]]


def test_messages_for_closed_models_take_no_room_from_those_for_late_ones(blank):
    blank.evaluate(MODELS)

    assert blank.evaluate(LATE) == [[{"n": -1}], 399]


def test_a_page_that_is_left_says_at_once_that_its_displays_cannot_be_seen(blank):
    blank.evaluate(MODELS)

    before, left = blank.evaluate(LEFT)

    assert True in before
    assert left == [False]


@pytest.mark.parametrize(
    ("zone", "times", "shown"),
    [
        ("Europe/Moscow", "03:00:00 to 03:02:04", "Europe/Moscow"),
        ("New/Zone", "1 Jan to 00:02:04", "UTC"),
    ],
)
def test_a_light_chart_shows_utc_where_the_browser_does_not_know_the_zone(blank, zone, times, shown):
    label = blank.evaluate(IN_ZONE, [light_code() + "export { makeChart };", zone])

    assert label.rsplit("; ", 1)[1] == f"{times} {shown}"


def test_the_pictures_that_a_page_keeps_for_the_file_are_the_newest_two_hundred(blank):
    blank.evaluate(MODELS)

    assert blank.evaluate(PICTURES) == [200, "<p>999</p>"]
