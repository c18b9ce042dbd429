"""Views whose model or display fails in the page are made anew, without a word from the user."""

from __future__ import annotations

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.lab import RUN, failures, open_notebook, run_all
from tests.browser.test_late_start import CELLS, moves

VIEWS = 5
# The kernel believes that it has sent the engines' scripts: the page must ask.
LOST_SCRIPTS = """
from aries_nb.widgets.light_view import LightWidget
from aries_nb.widgets.widget_model import LiveFigure, _was_sent
for kind in (LightWidget, LiveFigure):
    _was_sent(kind.script_key).set()
"""
# The first two starts of each model fail.
FAULTY_START = f"""(() => {{
  const random = Math.random;
  window.planted = 0;
  Math.random = () => {{
    if (window.planted < {2 * VIEWS} && new Error().stack.includes("rawModel")) {{
      window.planted++;
      throw new Error("planted");
    }}
    return random();
  }};
}})()"""
# The animation frames that panels ask for from now on never come, until each panel has lost one.
DEAD_PANELS = """() => {
  const request = window.requestAnimationFrame;
  window.planted = 0;
  window.requestAnimationFrame = (call) => {
    if (call.name !== "paint" || window.planted >= 4) return request(call);
    window.planted++;
    return 1;
  };
}"""


@pytest.fixture(scope="module")
def notebook(lab):
    sources = [*CELLS, 'quotes.chart("bid_price", symbols=["AAPL"], engine="light")']
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].source += LOST_SCRIPTS
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab.root / "anew.ipynb")
    return "anew.ipynb"


def are_whole(page):
    moves(page)
    expect(page.locator(".anb-light")).not_to_have_attribute("data-frames", "0")
    assert page.evaluate("() => window.planted") == 2 * VIEWS


@pytest.mark.parametrize("reloads", [0, pytest.param(1, marks=pytest.mark.long)])
def test_models_that_fail_to_start_are_started_again_also_in_a_reloaded_page(page, lab, notebook, reloads):
    page.add_init_script(FAULTY_START)
    page.set_viewport_size({"width": 1180, "height": 3000})
    open_notebook(page, lab, notebook)

    run_all(page)

    are_whole(page)
    assert failures(page) == []
    for _ in range(reloads):
        page.evaluate(RUN, "docmanager:save")
        page.wait_for_function("() => window.ariesRun.done")
        page.reload()
        are_whole(page)


@pytest.mark.long
def test_a_display_that_never_answers_is_made_anew(page, lab, notebook):
    page.set_viewport_size({"width": 1180, "height": 3000})
    open_notebook(page, lab, notebook)
    run_all(page)
    moves(page)
    expect(page.locator(".anb-light")).not_to_have_attribute("data-frames", "0")

    page.evaluate(DEAD_PANELS)

    page.wait_for_function("() => window.planted === 4", timeout=30_000)
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-frames]')].every((view) => Number(view.dataset.frames) < 200)"
    )
    moves(page)
