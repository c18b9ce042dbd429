"""The page makes whole what the kernel shortened to changes: its script in Chromium, the messages from Python."""

from __future__ import annotations

import numpy as np
import pytest

from aries_nb.widgets.transport import FrameChanges, Message
from aries_nb.widgets.widget_model import static_text

NAMES = "completeFrame, passOn, connect, numbersOf"
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


@pytest.fixture
def blank(browser):
    page = browser.new_page()
    page.evaluate(LOAD, static_text("model.js", "freeze.js", "shared.js") + f"export {{ {NAMES} }};")
    yield page
    page.close()


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
