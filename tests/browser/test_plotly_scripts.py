"""Plotly's small script in a page of our charts, and the whole one for figures with traces that the small one lacks."""

from __future__ import annotations

import gzip

import pytest

from aries_nb.widgets.plotly_script import SMALL_KEY, SMALL_TRACES, WHOLE_KEY, plotly_script
from tests.browser.conftest import errors_of, new_page
from tests.browser.lab import RUN, failures, open_notebook, run_all, run_cell
from tests.views.stage import write_notebook

CELLS = (
    "import numpy as np\nimport plotly.graph_objects as go\nimport aries_nb as anb\n"
    'feed = anb.connect("sim", rate=100)\nquotes = feed.quotes("AAPL").wait(rows=50)',
    'quotes.chart("bid_price")',
    "own = anb.figure(go.Figure(go.Scatter(y=[1, 3, 2], name='line')))\nown",
    "own",
)
SUBPLOTS = {"geo", "map", "mapbox", "polar", "scene", "smith", "ternary"}
SCHEMA = """async (code) => {
  await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const { traces, layout } = window.Plotly.PlotSchema.get();
  const of = ([name, { attributes }]) => Object.keys(attributes).map((each) => `${name}.${each}`);
  const attributes = Object.entries(traces).flatMap(of);
  return [Object.keys(traces), Object.keys(layout.layoutAttributes), attributes];
}"""
# The scripts of plotly that the page has; lines and heatmaps of each figure; the newest time in the chart.
SCRIPTS = """() => Object.keys(globalThis)
  .filter((name) => name.startsWith("aries_nb.plotly.") && globalThis[name].isReceived).sort()"""
COUNT = "(kind) => [...document.querySelectorAll('.js-plotly-plot')].map((each) => each.querySelectorAll(kind).length)"
LINES = f"({COUNT})('.scatterlayer .js-line').join()"
MAPS = f"({COUNT})('.hm image').join()"
NEWEST = "document.querySelector('.js-plotly-plot').data[1].x.at(-1)"


@pytest.fixture(scope="module")
def shown(context, lab):
    """A live chart, and a user's figure displayed twice; which scripts the page received."""
    with new_page(context, lab, width=1180, height=2400) as page:
        page.errors = errors_of(page)
        page.received = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda data: page.received.append(len(data))))
        open_notebook(page, lab, write_notebook(lab, "scripts.ipynb", CELLS))
        run_all(page)
        page.wait_for_function(f"() => {LINES} === '1,1,1'", timeout=60_000)
        yield page


def schema(context, key):
    page = context.new_page()
    try:
        return page.evaluate(SCHEMA, gzip.decompress(plotly_script(key)).decode())
    finally:
        page.close()


def test_the_small_script_draws_the_traces_it_is_said_to(context):
    kinds, *_ = schema(context, SMALL_KEY)

    assert sorted(kinds) == sorted(SMALL_TRACES)


@pytest.mark.long
def test_the_small_script_lacks_subplots_of_others_alone(context):
    (_, layout, attributes), (_, whole_layout, whole_attributes) = (
        schema(context, key) for key in (SMALL_KEY, WHOLE_KEY)
    )

    assert set(whole_layout) - set(layout) <= SUBPLOTS
    assert set(attributes) == {each for each in whole_attributes if each.partition(".")[0] in SMALL_TRACES}


def test_a_page_of_charts_gets_the_small_script_alone_and_once(shown):
    assert shown.evaluate(SCRIPTS) == [SMALL_KEY]
    assert len([size for size in shown.received if size > 300_000]) == 1
    assert max(shown.received) < 500_000


def test_a_trace_that_the_small_script_lacks_brings_the_whole_one_to_all_displays_of_its_figure(shown):
    shown.received.clear()

    run_cell(shown, 'own.add_heatmap(z=np.arange(6.0).reshape(2, 3), name="map")\nown.data[0].y = [4, 5, 7]')

    shown.wait_for_function(f"() => {MAPS} === '0,1,1'", timeout=30_000)
    # The other edit is a message of its own.
    shown.wait_for_function("() => document.querySelectorAll('.js-plotly-plot')[1].data[0].y.join() === '4,5,7'")
    shown.wait_for_function(f"() => {LINES} === '1,1,1'")
    assert shown.evaluate(SCRIPTS) == sorted([SMALL_KEY, WHOLE_KEY])
    assert len([size for size in shown.received if size > 300_000]) == 1
    shown.wait_for_function(
        f"(last) => {NEWEST} > last", arg=shown.evaluate(NEWEST), timeout=30_000
    )  # the chart goes on


def test_figures_go_on_with_the_whole_script(shown):
    run_cell(shown, "own.data[0].y = [9, 8, 6]\n_ = own.add_scatter(y=[1, 1, 1])")

    shown.wait_for_function(f"() => {LINES} === '1,2,2'", timeout=30_000)
    assert shown.evaluate("() => document.querySelectorAll('.js-plotly-plot')[2].data[0].y.join()") == "9,8,6"


def test_a_reloaded_page_gets_each_script_that_its_figures_need(shown):
    shown.evaluate(RUN, "docmanager:save")
    shown.wait_for_function("() => window.ariesRun.done")

    shown.reload()

    shown.wait_for_function(f"() => {MAPS} === '0,1,1' && {LINES} === '1,2,2'", timeout=60_000)
    assert WHOLE_KEY in shown.evaluate(SCRIPTS)
    shown.wait_for_function(f"(last) => {NEWEST} > last", arg=shown.evaluate(NEWEST), timeout=30_000)
    assert failures(shown) == []
    assert shown.errors == []


@pytest.mark.long  # a trace that is added later brings it in each run
def test_a_first_figure_that_needs_the_whole_script_is_drawn_next_to_a_chart(page, lab):
    cells = (CELLS[0], "anb.figure(go.Figure(go.Heatmap(z=[[1, 2]])))", CELLS[1])
    open_notebook(page, lab, write_notebook(lab, "heat.ipynb", cells))

    run_all(page)

    page.wait_for_function(f"() => {MAPS} === '1,0' && {LINES} === '0,1'", timeout=60_000)
    assert failures(page) == []
