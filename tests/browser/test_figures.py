"""Figures without a script of their own: one script a page, many displays of a model, all that FigureWidgets do."""

from __future__ import annotations

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import errors_of, new_page
from tests.browser.lab import RUN, failures, open_notebook, run_all, run_cell, standing_still, still_box, value_of
from tests.net.patience import eventually

SCREEN = {"width": 1280, "height": 1800}
CELLS = (
    'import aries_nb as anb\nfeed = anb.connect("sim", rate=100)\nquotes = feed.quotes("AAPL", "MSFT").wait(rows=50)',
    """
chart = quotes.chart("bid_price", symbols=["AAPL"])
clicked, hovered, changed = [], [], []
chart.figure.data[1].on_click(lambda trace, points, state: clicked.append(points.point_inds))
chart.figure.data[1].on_hover(lambda trace, points, state: hovered.append(points.point_inds))
chart.figure.layout.on_change(lambda layout, *ranges: changed.append(1), "xaxis.range")
chart
""",
    "chart",
    'feed.book("AAPL").depth_chart()',
)
FIGURES = "() => [...document.querySelectorAll('.js-plotly-plot')]"
ARE_ALIKE = f"""(count) => {{
  const prints = ({FIGURES})().slice(0, 2).map((figure) => figure.data.map((trace) => `${{trace.x?.at?.(-1)}}`).join());
  return ({FIGURES})().length === count && prints[0] === prints[1] && prints[0].length > 12;
}}"""
HAVE_MOVED = f"""(last) => ({FIGURES})().slice(0, 2).every((figure) => figure.data[1].x.at(-1) > last)"""
LAST = f"() => ({FIGURES})()[0].data[1].x.at(-1)"


@pytest.fixture(scope="module")
def shown(context, lab):
    """A chart displayed twice and a depth chart, with what the page received."""
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab.root / "figures.ipynb")
    with new_page(context, lab, **SCREEN) as page:
        page.received = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda data: page.received.append(len(data))))
        page.errors = errors_of(page)
        open_notebook(page, lab, "figures.ipynb")
        run_all(page)
        page.wait_for_function(ARE_ALIKE, arg=3, timeout=30_000)
        yield page


def comes_true(page, condition):
    """Wait until a condition holds in the kernel; ipywidgets may send a message after a cell that was run later."""
    eventually(lambda: value_of(page, condition) == "True", condition)


def drag_area(page, number=0):
    return still_box(page.locator(".js-plotly-plot").nth(number).locator(".nsewdrag").first)


def to_top(page):
    page.locator(".jp-Notebook:visible .jp-Cell").first.evaluate("(cell) => cell.scrollIntoView()")


def test_plotlys_script_comes_once_to_a_page_with_three_figures(shown):
    assert len([size for size in shown.received if size > 300_000]) == 1
    assert sum(shown.received) < 2_000_000


def test_both_displays_of_a_chart_go_on(shown):
    shown.wait_for_function(HAVE_MOVED, arg=shown.evaluate(LAST), timeout=30_000)
    run_cell(shown, "asked = chart.figure.state_number")
    comes_true(shown, "len(chart._displays) == 2")
    shown.wait_for_timeout(5000)  # two signs of life
    comes_true(shown, "chart.figure.state_number == asked")  # nothing was lost, and the state was not asked for


def test_hovers_and_clicks_reach_the_kernel(shown):
    to_top(shown)
    shown.evaluate(f"""() => {{
        window.events = new Set();
        for (const name of ["plotly_hover", "plotly_click"]) ({FIGURES})()[0].on(name, () => window.events.add(name));
    }}""")

    # The pointer may be over no point: again at another place.
    for attempt in range(40):
        plot = drag_area(shown)
        shown.mouse.move(plot["x"] + plot["width"] * 0.5 + attempt, plot["y"] + plot["height"] / 2, steps=5)
        shown.wait_for_timeout(250)
        shown.mouse.down()
        shown.mouse.up()
        if shown.evaluate("() => window.events.size === 2"):
            break
        shown.wait_for_timeout(500)  # a second click within plotly's 300 ms would be a double click

    comes_true(shown, "len(hovered) > 0 and len(clicked) > 0")


def test_clicks_are_not_lost_while_the_kernel_is_slow_to_answer(shown):
    to_top(shown)
    run_cell(shown, "clicked.clear()")
    shown.evaluate(f"""() => {{
        window.clicks = 0;
        ({FIGURES})()[0].on("plotly_click", () => window.clicks++);
    }}""")
    with standing_still(shown):
        to_top(shown)
        for attempt in range(40):
            plot = drag_area(shown)
            shown.mouse.move(plot["x"] + plot["width"] * 0.4 + 8 * attempt, plot["y"] + plot["height"] / 2, steps=5)
            shown.wait_for_timeout(400)
            shown.mouse.down()
            shown.mouse.up()
            clicks = shown.evaluate("() => window.clicks")
            if clicks >= 4:
                break
        shown.mouse.move(5, 5, steps=5)

    assert clicks >= 4
    comes_true(shown, f"len(clicked) >= {clicks}")


def test_a_zoom_reaches_the_kernel_and_the_other_display(shown):
    to_top(shown)
    plot = drag_area(shown)
    middle = plot["y"] + plot["height"] / 2

    shown.mouse.move(plot["x"] + plot["width"] * 0.2, middle)
    shown.mouse.down()
    shown.mouse.move(plot["x"] + plot["width"] * 0.6, middle, steps=5)
    shown.mouse.up()

    zoomed = f"() => ({FIGURES})().slice(0, 2).every((figure) => figure.layout.xaxis.autorange === false)"
    shown.wait_for_function(zoomed, timeout=30_000)
    comes_true(shown, "len(changed) > 0")


@pytest.mark.parametrize(("low", "high", "decimals"), [(268, 268.2, 2), (268, 275, 0), (1e-8, 9e-8, 8)])
def test_all_labels_of_a_price_axis_have_the_decimals_of_its_step(shown, low, high, decimals):
    run_cell(shown, f"chart.figure.layout.yaxis.range = [{low}, {high}]")

    labels = f"""(decimals) => {{
        const texts = [...({FIGURES})()[0].querySelectorAll(".ytick text")].map((each) => each.textContent);
        const isDue = (text) => /^[0-9.]+$/.test(text) && (text.split(".")[1] ?? "").length === decimals;
        return texts.length > 2 && texts.every(isDue);
    }}"""
    shown.wait_for_function(labels, arg=decimals)


def test_styling_own_traces_and_the_legend_reach_both_displays(shown):
    run_cell(
        shown,
        'with chart.lock:\n    chart.figure.data[1].line.color = "rgb(1, 2, 3)"\n'
        "    own = chart.figure.add_scatter(x=[1e12], y=[270], name='own')",
    )
    styled = f"""() => ({FIGURES})().slice(0, 2).every((figure) => figure.data[1].line.color === "rgb(1, 2, 3)"
        && figure.data.at(-1).name === "own")"""
    shown.wait_for_function(styled, timeout=30_000)
    to_top(shown)
    legend = shown.locator(".js-plotly-plot").first.locator(".legendtoggle").last
    legend.click()

    hidden = f"""() => ({FIGURES})().slice(0, 2).every((figure) => figure.data.at(-1).visible === "legendonly")"""
    shown.wait_for_function(hidden, timeout=30_000)
    comes_true(shown, "chart.figure.data[-1].visible == 'legendonly'")


def test_no_button_of_a_figure_uploads_it(shown):
    buttons = shown.locator(".js-plotly-plot").first.locator(".modebar-btn")
    expect(buttons.first).to_be_attached()

    titles = [button.get_attribute("data-title") for button in buttons.all()]

    assert any(title.startswith("Download") for title in titles)
    assert not any("share" in title.lower() or "cloud" in title.lower() for title in titles)
    assert shown.evaluate(f"() => ({FIGURES})().map((figure) => figure._context.plotlyServerURL)") == ["", "", ""]


def test_a_reloaded_page_asks_once_and_shows_the_figures_as_they_were(shown):
    shown.evaluate(RUN, "docmanager:save")
    shown.wait_for_function("() => window.ariesRun.done")
    shown.received.clear()

    shown.reload()

    shown.wait_for_function(ARE_ALIKE, arg=3, timeout=30_000)
    as_before = f"""() => ({FIGURES})().slice(0, 2).every((figure) => figure.data.at(-1).visible === "legendonly"
        && figure.data[1].line.color === "rgb(1, 2, 3)" && figure.layout.xaxis.autorange !== true)"""
    shown.wait_for_function(as_before, timeout=30_000)
    shown.wait_for_function(HAVE_MOVED, arg=shown.evaluate(LAST), timeout=30_000)
    assert len([size for size in shown.received if size > 300_000]) == 1
    assert failures(shown) == []
    assert shown.errors == []


MIXED = """
import numpy as np
import plotly.graph_objects as go
mixed = anb.figure(go.Figure())
mixed.add_scatter(x=np.array([410.0, 420.0, 430.0]), y=np.zeros(3))
mixed.add_scatter(x=np.array([1.0, 2.0]), y=np.zeros(2))
mixed
"""
# Both traces are changed, with the x of the last one alone; then the same again, but for the x of the first.
EDITS = """
def edit(*xs):
    with mixed.batch_update():
        for trace, x in zip(mixed.data, xs):
            trace.update({"y": trace.y + 1.0} | ({} if x is None else {"x": np.array(x)}), overwrite=True)
"""
XS = """() => [...document.querySelectorAll('.js-plotly-plot')]
    .filter((figure) => figure.data.length === 2 && figure.data[0].y?.length === 3)
    .map((figure) => figure.data.map((trace) => [...trace.x].join()).join(" ") + ` ${figure.data[0].y[0]}`)"""


def test_edits_of_some_properties_of_some_traces_keep_the_others_in_every_display(shown):
    run_cell(shown, MIXED.strip())
    shown.wait_for_function(f"() => ({XS})().length === 1")
    run_cell(shown, f"{EDITS.strip()}\nedit(None, [5.0, 6.0])")
    shown.wait_for_function(f"() => ({XS})()[0].endsWith(' 1')")

    again = run_cell(shown, "mixed")
    shown.wait_for_function(f"() => ({XS})().length === 2")
    displayed = shown.evaluate(XS)
    again.get_by_role("button", name="Freeze").click()
    run_cell(shown, "edit([11.0, 12.0, 13.0], [7.0, 8.0])\nedit(None, [8.0, 9.0])")
    shown.wait_for_function(f"() => ({XS})()[0].endsWith(' 3')")
    frozen = shown.evaluate(XS)
    again.get_by_role("button", name="Resume").click()
    shown.wait_for_function(f"() => ({XS})()[1].endsWith(' 3')")

    assert displayed == ["410,420,430 5,6 1"] * 2
    assert frozen == ["11,12,13 8,9 3", "410,420,430 5,6 1"]
    assert shown.evaluate(XS) == ["11,12,13 8,9 3"] * 2
