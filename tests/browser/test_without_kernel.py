"""A notebook that is opened without its kernel shows the last picture of every view, trusted or not."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import errors_of, new_page
from tests.browser.lab import PANEL, RUN, open_notebook, run_all, run_cell

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
CELLS = (
    'import aries_nb as anb\nfeed = anb.connect("sim", rate=200)\nfeed',
    'quotes = feed.quotes("AAPL", "MSFT").wait(rows=200)\nquotes',
    'chart = quotes.chart("bid_price", symbols=["AAPL"])\nchart',
    'feed.trades("AAPL").wait(rows=50).candles("1s")',
    'feed.book("AAPL", depth=5).wait()',
    'feed.book("AAPL", depth=5).depth_chart()',
    'account = feed.account("ACC-1")\naccount.orders.wait()',
    "account.dashboard()",
    'chain = feed.options("MSFT", feed.options("MSFT").expiries[0], strikes=4).wait()\nchain',
    "chain.chart()",
    'quotes.charts("bid_price")',
    'record = feed.record("kept.anb")\nquotes.wait(rows=quotes.received + 50)\nrecord.close()\n'
    'past = anb.replay("kept.anb")\npast.clock',
    'closed = feed.trades("AAPL").chart("price")\nclosed',
)
FIGURES = {2, 3, 5, 9, 10, 12}
SHOWN = """() => [...document.querySelectorAll(".jp-Notebook .jp-CodeCell")].slice(0, %d).map((cell) => {
  const output = cell.querySelector(".jp-OutputArea");
  const image = output?.querySelector("img");
  return {
    text: output?.innerText ?? "",
    cells: output?.querySelectorAll("td, .anb-card *, .anb-ladder *, .anb-playback *").length ?? 0,
    image: image?.complete ? image.naturalWidth : 0,
    isSeen: (output?.getBoundingClientRect().height ?? 0) > 20,
  };
})""" % len(CELLS)  # noqa: UP031  # braces are JavaScript's
IS_WHOLE = f"""() => ({SHOWN})().every((each, at) => each.isSeen && !/model not found|Loading widget/.test(each.text)
  && ({json.dumps(sorted(FIGURES))}.includes(at) ? each.image > 100 : each.cells > 3))"""
IS_CLOSED = (
    f"() => !JSON.stringify({PANEL}.content.widgets[{len(CELLS) - 1}].model.outputs.toJSON()).includes('{VIEW}')"
)
SAVE = (RUN, "docmanager:save")


@pytest.fixture(scope="module")
def saved(context, lab):
    """The file of a notebook with a view of each kind, saved by the page a while after its views were displayed."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = lab.root / "kept.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    with new_page(context, lab, width=1180, height=5800) as page:
        page.errors = errors_of(page)
        open_notebook(page, lab, "kept.ipynb")
        run_all(page)
        page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot').length === 6", timeout=60_000)
        run_cell(page, "closed.close()")
        page.wait_for_function("() => globalThis['aries_nb.kept.1'].pictures.size >= 11")
        page.wait_for_function(IS_CLOSED)
        page.evaluate(*SAVE)
        page.wait_for_function("() => window.ariesRun.done")
        assert page.errors == []
    return path


def data_of(notebook):
    return [output.data for cell in notebook.cells[: len(CELLS)] for output in cell.outputs]


def is_script(saved):
    return saved["state"].get("_anywidget_id", "").startswith("aries_nb.script.")


def test_the_file_is_small_and_has_what_a_page_needs(saved):
    notebook = nbformat.read(saved, 4)
    states = notebook.metadata.widgets[STATE]["state"]
    open_views = data_of(notebook)[:-1]

    assert saved.stat().st_size < 1_000_000
    assert all(data[VIEW]["model_id"] in states for data in open_views)
    assert not any(state["state"].get("_widget_data") for state in states.values())
    light = [state["state"] for state in states.values() if "LightWidget" in state["state"].get("_anywidget_id", "")]
    assert ["frame" in state for state in light] == [False]
    ours = [each["state"] for each in states.values() if each["state"].get("_anywidget_id", "").startswith("aries_nb.")]
    brought = {f"IPY_MODEL_{model}" for model, each in states.items() if is_script(each)}
    assert {state["script_model"] for state in ours if "script_model" in state} == brought
    names = [state["_anywidget_id"] for state in ours if "script_model" not in state]
    assert len(names) == len(set(names)) == len(brought)


def test_the_pictures_in_the_file_are_newer_than_the_display_and_a_closed_view_is_its_picture(saved):
    outputs = data_of(nbformat.read(saved, 4))

    assert all("picture of 20" in "".join(data["text/html"]) for data in outputs)
    assert VIEW not in outputs[-1]
    assert "<img" in "".join(outputs[-1]["text/html"])
    states = nbformat.read(saved, 4).metadata.widgets[STATE]["state"]
    kept = states[outputs[2][VIEW]["model_id"]]["state"]["static_picture"]
    assert kept == "".join(outputs[2]["text/html"])


@pytest.mark.parametrize(("app", "is_trusted"), [("lab", True), ("notebook", False)])
def test_every_view_shows_its_last_picture(page, lab, saved, screenshot, app, is_trusted):
    name = "kept.ipynb"
    if not is_trusted:
        notebook = nbformat.read(saved, 4)
        notebook.cells[0].source += "  # another file"
        name = f"foreign-{app}.ipynb"
        nbformat.write(notebook, lab.root / name)
    page.set_viewport_size({"width": 1180, "height": 5800})

    open_notebook(page, lab, name, app=app)

    page.wait_for_function(IS_WHOLE, timeout=30_000)
    if is_trusted:
        expect(page.locator(".anb-kernel:visible").first).to_be_visible()
    assert screenshot(f"{app}-{is_trusted}").stat().st_size > 10_000
    shown = page.evaluate(SHOWN)
    says_when = r"picture of 20\d\d-\d\d-\d\d" + (r"|no kernel, as of 20\d\d-\d\d-\d\d" if is_trusted else "")
    assert [each["text"] for each in shown if not re.search(says_when, each["text"])] == []
