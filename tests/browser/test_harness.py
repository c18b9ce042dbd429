"""The test harness: a plain slider and a plain figure work in both applications and both themes."""

from __future__ import annotations

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.lab import outputs, run_all, run_cell

SLIDER = """
import ipywidgets
slider = ipywidgets.IntSlider(value=7)
slider
"""
FIGURE = """
import plotly.graph_objects as go
figure = go.FigureWidget(go.Scatter(x=[1, 2, 3], y=[1, 3, 2]))
figure
"""
# anywidget gives up a model that is not ready within two seconds, which happens to a plain figure on a busy machine.
PATIENT = """(() => {
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = (ms) => timeout(ms === 2000 ? 60_000 : ms);
})()"""


@pytest.fixture(scope="module")
def widgets_notebook(lab):
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in (SLIDER, FIGURE)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab.root / "widgets.ipynb")
    return "widgets.ipynb"


@pytest.mark.parametrize(
    ("app", "theme"),
    [
        pytest.param("lab", "light", marks=pytest.mark.long),  # all other tests of this folder use it
        ("notebook", "dark"),
    ],
)
def test_widgets_are_live(widgets_notebook, open_notebook, page, console_errors, screenshot, app, theme):
    page.add_init_script(PATIENT)
    open_notebook(widgets_notebook, app=app, theme=theme)

    run_all(page)
    cell = run_cell(page, "slider.value = 42; figure.data[0].y = [3, 1, 2]; slider.value")

    expect(page.locator(".widget-readout")).to_have_text("42")
    expect(page.locator(".js-plotly-plot .scatterlayer .trace")).to_have_count(1)
    expect(cell.locator(".jp-OutputArea-output")).to_have_text("42")
    assert outputs(page, -1)[0]["data"]["text/plain"] == "42"
    assert console_errors == []
    assert screenshot("widgets").stat().st_size > 10_000
