"""A replay in a notebook: its transport bar moves frames and views, by mouse and by keys, also while a cell runs."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

import aries_nb as anb
from aries_nb.sim import SimOptions, Simulator
from tests.browser.axe import change_theme, found
from tests.browser.conftest import errors_of, shared_page
from tests.browser.lab import (
    REMOVE_CELL,
    failures,
    open_notebook,
    outputs,
    run_all,
    run_cell,
    settle,
    standing_still,
    value_of,
    wait_for_output,
)
from tests.net.patience import eventually
from tests.views.stage import write_notebook

SPAN_S = 6
CELLS = (
    'import aries_nb as anb\npast = anb.replay("day.anb")\nclock = past.clock\nclock.pause()\n'
    "clock.seek(clock.start)\nclock",
    'quotes, trades, book = past.quotes("AAPL"), past.trades("AAPL"), past.book("AAPL")',
    "quotes",
    "trades",
    "book.ladder()",
    'chart = quotes.chart("bid_price")\nchart',
    'candles = trades.candles("1s")\ncandles',
    'light = quotes.chart("bid_price", engine="light")\nlight',
)
BAR = ".anb-playback"
# What the views show: the texts of board, tape and ladder, and the times of the charts' last points in epoch ms.
SHOWN = """() => {
  const text = (selector) => document.querySelector(selector)?.innerText ?? "";
  const timeOf = (x) => (typeof x === "number" ? x : Date.parse(`${x}Z`));
  const isGiven = (ms) => ms > Date.UTC(2001, 0); // an empty chart has a point of 2000
  const plots = [...document.querySelectorAll(".js-plotly-plot")].map((node) =>
    Math.max(0, ...node.data.flatMap((trace) => [...(trace.x ?? [])]).map(timeOf).filter(isGiven)));
  const [board, tape, ladder] = [".anb-board tbody", ".anb-tape tbody", ".anb-ladder .anb-grid"].map(text);
  return { board, tape, ladder, plots };
}"""
IS_EMPTY = f"""() => {{
  const {{ board, tape, plots }} = ({SHOWN})();
  return !/\\d\\.\\d/.test(board) && !/\\d:\\d/.test(tape) && plots.every((last) => last === 0);
}}"""
STATE = "import json; print(json.dumps([len(quotes.df), len(trades.df), clock.now_ns() / 1e6, clock.is_playing]))"
# Ends once the clock has moved, or after 20 s; it says which.
BUSY = """import time
until, begun = time.monotonic() + 20, clock.now
print("runs")
while time.monotonic() < until and clock.now == begun:
    pass
print("moved" if clock.now != begun else "stood")"""


@pytest.fixture(scope="module")
def day(lab):
    """A recording of some seconds with a gap, in the folder of the notebooks."""
    with (
        Simulator(SimOptions(rate=300)) as market,
        anb.connect("aries", url=market.url, token="a token", record=lab.root / "day.anb") as feed,
    ):
        begun = feed.clock.now_ns()
        held = feed.quotes("AAPL"), feed.trades("AAPL"), feed.book("AAPL")
        eventually(lambda: feed.clock.now_ns() > begun + SPAN_S / 2 * 1e9)
        market.drop_connections()
        eventually(lambda: len(feed.gaps.df) and feed.gaps.df["ended"].notna().all())
        eventually(lambda: feed.clock.now_ns() > begun + SPAN_S * 1e9)
        del held
    return write_notebook(lab, "replay.ipynb", CELLS)


@pytest.fixture(scope="module")
def shown(tab, lab, day):
    """The replay and its views in JupyterLab, in one page for the tests here, which all begin at the start."""
    with shared_page(tab, lab, width=1180, height=4200) as page:
        page.errors = errors_of(page)
        open_notebook(page, lab, day)
        run_all(page)
        assert failures(page) == []
        expect(page.locator(".js-plotly-plot")).to_have_count(2)
        expect(page.locator("[data-frames]:not([data-frames='0'])")).to_have_count(5)
        yield page
        assert page.errors == []


@pytest.fixture
def bar(shown):
    """The bar of a replay that stands at its start, with the slider in focus."""
    bar = shown.locator(BAR).first
    value_of(shown, "clock.pause(); past._playback.set_speed(1.0).result(); clock.seek(clock.start)")
    slider = bar.get_by_role("slider")
    expect(slider).to_have_attribute("aria-valuenow", "0.0")
    shown.wait_for_function(IS_EMPTY)
    slider.focus()
    return bar


def state(page):
    return json.loads(value_of(page, STATE))


def are_of(views, start, now):
    """Whether the views are of the span from `start` to `now`; each of them draws in its turn."""
    seconds = {int(text[-2:]) for text in re.findall(r"\d\d:\d\d:\d\d", views["tape"])}
    is_new = re.search(r"\t[012] s$", views["board"].strip())  # by the replay's time, not by the computer's
    plots = all(0 < last <= now for last in views["plots"])
    return plots and is_new and seconds and seconds <= {int(each // 1000) % 60 for each in (start, now)}


def test_play_and_pause_by_mouse_move_frames_and_views(shown, bar):
    bar.get_by_role("button", name="Play", exact=True).click()
    shown.wait_for_function(f"() => {{ const {{ plots }} = ({SHOWN})(); return plots.every((last) => last > 0); }}")
    bar.get_by_role("button", name="Pause", exact=True).click()
    expect(bar.get_by_role("status")).to_have_text("paused")

    quotes, trades, now, is_playing = state(shown)
    assert quotes > 0
    assert trades > 0
    assert not is_playing
    assert all(last <= now for last in shown.evaluate(SHOWN)["plots"])
    assert state(shown)[:3] == [quotes, trades, now]


def test_the_keyboard_moves_frames_and_views_forth_and_back(shown, bar):
    slider = bar.get_by_role("slider")
    start = state(shown)[2]
    slider.press("End")
    expect(bar.get_by_role("status").first).to_have_text("at the end")
    settle(shown)
    shown.wait_for_function(f"() => ({SHOWN})().plots.every((last) => last > {start + 1000 * (SPAN_S - 2)})")
    at_end = state(shown)
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("paused$"))
    shown.wait_for_function(IS_EMPTY)
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        slider.press(key)
    quotes, trades, now, _ = state(shown)

    assert now == pytest.approx(start + 1000, abs=1e-2)
    assert 0 < quotes < at_end[0]
    assert 0 < trades < at_end[1]
    eventually(lambda: are_of(shown.evaluate(SHOWN), start, now), "every view is of the last key")
    expect(slider).to_have_attribute("aria-valuenow", "1.0")
    slider.press("Shift+ArrowRight")
    expect(bar.get_by_role("status").first).to_have_text("at the end")
    slider.press(" ")  # again, from the start
    expect(bar.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    slider.press(" ")
    expect(bar.get_by_role("status").first).to_have_text("paused")


@pytest.mark.long  # `tests/live/test_replay.py` compares the frames
def test_every_view_is_the_same_where_the_replay_comes_again(shown, bar):
    slider = bar.get_by_role("slider")
    pictures = []
    for _ in range(2):
        slider.press("Home")
        for _ in range(SPAN_S - 1):  # over the gap
            slider.press("ArrowRight")
        settle(shown)
        expect(slider).to_have_attribute("aria-valuenow", f"{SPAN_S - 1}.0")
        value_of(shown, "[view.draw() for view in (chart, candles, light)]; quotes.df.tail(3)")
        shown.wait_for_function(f"() => ({SHOWN})().plots.every((last) => last > 0)")
        pictures.append({**shown.evaluate(SHOWN), "ladder": value_of(shown, "book.df.to_json()")})  # its middle may lag
        slider.press("End")
        expect(bar.get_by_role("status").first).to_have_text("at the end")

    # An arrow says how a price moved since the frame that the page painted before, which may be any.
    board, again = (re.sub(r"\d+ (s|min)\b|[▲▼]", "", each.pop("board")) for each in pictures)
    assert board == again
    assert pictures[0] == pictures[1]
    expect(bar.locator(".anb-mark-gap")).to_have_count(1)


def test_a_drag_sends_ten_seeks_a_second_and_ends_where_it_was_left(shown, bar):
    count = """() => {
      const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
      window.ariesSeeks = 0;
      kernel.anyMessage.connect((_, { direction, msg }) => {
        if (direction === "send" && JSON.stringify(msg.content).includes('"seek"')) window.ariesSeeks++;
      });
    }"""
    shown.evaluate(count)
    box = bar.locator(".anb-rail").bounding_box()
    middle = box["y"] + box["height"] / 2
    shown.mouse.move(box["x"], middle)
    shown.mouse.down()
    begun = shown.evaluate("() => performance.now()")
    for step in range(60):
        shown.mouse.move(box["x"] + box["width"] * (0.1 + 0.8 * step / 59), middle)
    shown.mouse.move(box["x"] + box["width"] * 0.5, middle)
    shown.mouse.up()
    seconds = (shown.evaluate("() => performance.now()") - begun) / 1000
    share = float(value_of(shown, "(clock.now - clock.start) / (clock.end - clock.start)"))

    assert share == pytest.approx(0.5, abs=0.01)
    assert 1 < shown.evaluate("() => window.ariesSeeks") <= 10 * seconds + 3


def test_the_bar_is_pending_until_the_kernel_is_where_it_was_asked_to_be(shown, bar):
    slider = bar.get_by_role("slider")
    with standing_still(shown):
        slider.press("ArrowRight")
        expect(slider).to_have_attribute("aria-valuenow", "1.0")
        expect(bar).to_have_attribute("data-pending", "true")
    settle(shown)

    assert float(value_of(shown, "(clock.now - clock.start).total_seconds()")) == pytest.approx(1, abs=1e-3)


def test_speed_steps_and_python_agree(shown, bar):
    bar.get_by_role("combobox", name="Speed").select_option("max")
    bar.get_by_role("button", name="Step 1 message").click()
    expect(bar.get_by_role("status").first).to_have_text("paused")
    assert value_of(shown, 'clock.speed, clock.play("max")').startswith("(inf")
    expect(bar.get_by_role("status").first).to_have_text("at the end")
    value_of(shown, "clock.seek(clock.start); clock.play(3); clock.pause()")
    expect(bar.get_by_role("combobox", name="Speed")).to_have_value("3")


def test_the_bar_works_while_a_cell_runs(shown, bar):
    run_cell(shown, BUSY, wait=False)
    wait_for_output(shown, "runs")
    bar.get_by_role("slider").press("ArrowRight")
    shown.wait_for_function("() => window.ariesRun.done", timeout=30_000)

    said = "".join(output["text"] for output in outputs(shown, -1)).split()
    shown.evaluate(REMOVE_CELL)
    assert said == ["runs", "moved"]


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_axe_finds_nothing_in_the_bar(shown, bar, theme):
    change_theme(shown, theme)
    bar.get_by_role("slider").press("End")
    expect(bar.get_by_role("status").first).to_have_text("at the end")

    assert found(shown, BAR) == []
