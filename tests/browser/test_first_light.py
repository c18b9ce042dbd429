"""The first notebook in a real front end: its views move, keep the zoom, and survive a reload.

That they move in each second is in `test_frames.py`, with what else runs alone. Tests with a page of their own come
before those that share one, whose kernel would run at the same time.
"""

from __future__ import annotations

import json
import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser.brokers import written_for
from tests.browser.conftest import NOTEBOOKS, errors_of, shared_page
from tests.browser.lab import RUN, failures, open_notebook, outputs, run_all, run_cell, still_box, value_of
from tests.net.patience import eventually

NOTEBOOK = "01_first_light.ipynb"
SCREEN = {"width": 1280, "height": 2200}  # shows the first four views; hidden ones are not painted


FINGERPRINTS = """
  const text = (selector) => [...document.querySelectorAll(selector)].map((node) => node.textContent).join("|");
  const figure = () => document.querySelector(".js-plotly-plot");
  const prints = {
    board: () => text(".anb-board tbody tr"),
    ladder: () => text(".anb-ladder [role=row]"),
    chart: () => figure().data.map((trace) => `${trace.x.length}:${trace.x.at(-1)}:${trace.y.at(-1)}`).join("|"),
  };
"""
CHANGED_IN_EACH_SECOND = (
    "async (seconds) => {"
    + FINGERPRINTS
    + """
  const changed = { board: 0, ladder: 0, chart: 0 };
  for (let second = 0; second < seconds; second++) {
    const before = Object.fromEntries(Object.entries(prints).map(([name, print]) => [name, print()]));
    await new Promise((done) => setTimeout(done, 1000));
    for (const name in prints) changed[name] += prints[name]() !== before[name];
  }
  return changed;
}"""
)
HAVE_MOVED = (
    "(before) => {"
    + FINGERPRINTS
    + """
  if (!before) return Object.fromEntries(Object.entries(prints).map(([name, print]) => [name, print()]));
  return Object.keys(prints).every((name) => prints[name]() !== before[name]);
}"""
)
AFTER_FRAMES = """(frames) => new Promise((done) => {
  const figure = document.querySelector(".js-plotly-plot");
  let drawn = 0;
  figure.on("plotly_afterplot", () => { if (++drawn === frames) done(figure.layout.xaxis.range); });
})"""
AXIS = """() => {
  const axis = document.querySelector(".js-plotly-plot").layout.xaxis;
  return { range: axis.range, auto: axis.autorange };
}"""
PRINT_LAGS = """
import dataclasses, json
steps = ["received to visible", "received to painted"]
held = [each.lag.loc[steps, "p50_ms"].tolist() for each in (quotes, book)]
print(json.dumps([*held, dataclasses.asdict(feed.stats())]))
"""


@pytest.fixture(scope="module")
def shown(tab, lab):
    """The first notebook in JupyterLab, run once for all tests that use it; `shown.errors` are its console errors."""
    with shared_page(tab, lab, **SCREEN) as page:
        page.errors, page.opened_at = errors_of(page), time.monotonic()
        open_notebook(page, lab, NOTEBOOK)
        run_all(page)
        alive(page)
        yield page


def alive(page):
    """Scroll to the top, since hidden views are not painted, and wait until every view there has painted."""
    first = page.locator(".jp-Notebook:visible .jp-Cell").first
    first.wait_for()
    first.evaluate("(cell) => cell.scrollIntoView()")
    for view in (".anb-card", ".anb-board", ".anb-ladder"):
        expect(page.locator(f"{view}[data-frames]").first).not_to_have_attribute("data-frames", "0")
    expect(page.locator(".js-plotly-plot .scatterlayer .trace").first).to_be_visible()


def moves(page):
    """Wait until every view has changed."""
    page.wait_for_function(HAVE_MOVED, arg=page.evaluate(HAVE_MOVED), timeout=30_000)


@pytest.mark.alone
@pytest.mark.long  # that of the account moves on this broker in each run
def test_the_other_broker_moves_in_each_of_ten_seconds_in_dark_notebook_7(page, lab, console_errors, screenshot):
    page.set_viewport_size(SCREEN)
    name = written_for("alor", NOTEBOOKS / NOTEBOOK, lab.root)
    open_notebook(page, lab, name, app="notebook", theme="dark")
    run_all(page)
    alive(page)
    expect(page.locator(".anb-card")).to_contain_text("sim-alor")

    changed = page.evaluate(CHANGED_IN_EACH_SECOND, 10)

    assert changed == {"board": 10, "ladder": 10, "chart": 10}
    assert failures(page) == []
    assert console_errors == []
    assert screenshot("first_light_notebook_dark").stat().st_size > 100_000


def test_lag_to_the_screen_is_measured_and_shown_on_the_card(shown):
    expect(shown.locator(".anb-card .anb-lag-painted")).to_have_text(re.compile(r"painted [\d.,]+ / [\d.,]+ ms"))

    run_cell(shown, PRINT_LAGS)
    quotes, book, feed = json.loads(outputs(shown, -1)[0]["text"])

    longest_ms = 1000 * (time.monotonic() - shown.opened_at)  # a busy machine paints late
    for visible_ms, painted_ms in (quotes, book):
        assert 0 < visible_ms <= painted_ms < longest_ms
    assert 0 < feed["painted_p50_ms"] <= feed["painted_p99_ms"]
    assert shown.locator(".anb-card .anb-lag-lag").inner_text().startswith("lag ")


def test_zoom_is_kept_over_twenty_frames(shown):
    alive(shown)  # at the top: a cell that ran before this has scrolled the chart away
    plot = still_box(shown.locator(".js-plotly-plot .nsewdrag").first)
    middle = plot["y"] + plot["height"] / 2

    shown.mouse.move(plot["x"] + plot["width"] * 0.2, middle)
    shown.mouse.down()
    shown.mouse.move(plot["x"] + plot["width"] * 0.6, middle, steps=5)
    shown.mouse.up()
    shown.wait_for_function(f"() => ({AXIS})().auto === false")
    zoomed = shown.evaluate(AXIS)["range"]
    later = shown.evaluate(AFTER_FRAMES, 20)

    assert zoomed == later
    assert shown.evaluate(AXIS)["auto"] is False


def test_running_all_twice_doubles_nothing(shown):
    count = "import ipywidgets; (len(ipywidgets.widgets.widget._instances), feed.stats().streams)"

    first = value_of(shown, count)
    run_all(shown)

    def is_as_before():
        # Views of earlier displays are closed when the front end has reported them gone, or nothing for a while.
        # No cell may run meanwhile: it can delay the front end's messages to the kernel.
        shown.wait_for_timeout(500)
        return value_of(shown, count) == first

    eventually(is_as_before, first)
    assert shown.locator(".anb-board").count() == 1
    alive(shown)
    moves(shown)


@pytest.mark.long  # `test_late_start.py` and `test_figures.py` open a page again in each run
def test_views_are_alive_after_the_tab_was_closed_and_opened_again(shown):
    shown.evaluate(RUN, "docmanager:save")
    shown.wait_for_function("() => window.ariesRun.done")

    shown.reload()
    alive(shown)
    moves(shown)
    assert shown.errors == []
