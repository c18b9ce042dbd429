"""A kernel that is restarted in JupyterLab: with `record=`, Run All shows the rows of before and one gap."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import errors_of
from tests.browser.lab import failures, outputs, run_all, wait_idle
from tests.views.stage import write_notebook

CELLS = (
    "import hashlib, json\nimport aries_nb as anb\n"
    'feed = anb.connect("sim", seed=7, record="today.anb")\nquotes = feed.quotes("AAPL")\ncount = len(quotes.df)',
    'quotes.chart("bid_price", "ask_price")',
    'quotes.chart("bid_price", engine="light")',
    "quotes.wait(rows=count + 100, timeout=60)\n"
    'feed.record("today.anb").flush()\n'
    "first = hashlib.sha256(quotes.df.head(100).to_csv().encode()).hexdigest()\n"
    'print(json.dumps([count, len(quotes.df), first, feed.gaps.df["cause"].tolist()]))',
)
RESTART = "() => { window.jupyterapp.commands.execute('notebook:restart-run-all'); }"
# Of the first chart: the bands, and the times of the first and the last point, in epoch ms.
DRAWN = """() => {
  const plot = document.querySelector(".js-plotly-plot");
  const x = [...(plot?.data[1]?.x ?? [])];
  return { bands: (plot?.layout.shapes ?? []).map(({ x0, x1 }) => [x0, x1]), first: x[0], last: x.at(-1) };
}"""


def said(page):
    return json.loads(outputs(page, len(CELLS) - 1)[0]["text"])


@pytest.mark.long
def test_a_restarted_kernel_shows_the_rows_of_before_and_one_gap(page, lab, open_notebook, screenshot):
    errors = errors_of(page)
    open_notebook(write_notebook(lab, "restart.ipynb", CELLS))
    run_all(page)
    _, rows, before, gaps = said(page)
    assert gaps == []

    page.evaluate(RESTART)
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.wait_for_function(f"() => ({DRAWN})().bands.length === 1", timeout=60_000)
    wait_idle(page)

    count, _, after, gaps = said(page)
    assert failures(page) == []
    assert count >= rows
    assert after == before
    assert gaps == ["recording"]
    drawn = page.evaluate(DRAWN)
    (band,) = drawn["bands"]
    assert drawn["first"] < band[0] < band[1] < drawn["last"]
    expect(page.locator(".js-plotly-plot .shapelayer path")).to_have_count(1)
    page.wait_for_function(f"last => ({DRAWN})().last > last + 5_000", arg=drawn["last"])
    screenshot("restarted")
    # What the old kernel still sends when the page has let go of its models.
    assert [each for each in errors if not each.startswith("Comm not found")] == []
