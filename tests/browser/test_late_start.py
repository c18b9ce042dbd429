"""Views of a page that is slow, that is opened again, or whose kernel is gone: never empty, never stale in silence."""

from __future__ import annotations

import re

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import new_page
from tests.browser.lab import RUN, open_notebook, run_all, run_cell, standing_still

# anywidget gives a model two seconds to get ready. One millisecond does to every model, on any machine, what a busy one
# does to some.
IMPATIENT = """(() => {
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = (ms) => timeout(ms === 2000 ? 1 : ms);
})()"""
CELLS = (
    'import aries_nb as anb\nanb.settings.timezone = "Asia/Tokyo"\nfeed = anb.connect("sim", rate=200)\n'
    'quotes, book = feed.quotes("AAPL", "MSFT"), feed.book("AAPL")',
    "quotes",
    'quotes.chart("bid_price", symbols=["AAPL"])',
    "book",
    'account = feed.account("ACC-1")\naccount.orders',
)
VIEWS = (".anb-board", ".anb-ladder", ".anb-blotter", ".anb-figure")
PRINTS = """() => {
  const text = (selector) => document.querySelector(selector).textContent;
  const figure = document.querySelector(".js-plotly-plot");
  return {
    board: text(".anb-board tbody"),
    ladder: text(".anb-ladder"),
    chart: figure.data.map((trace) => `${trace.x?.length}:${trace.x?.at(-1)}`).join("|"),
  };
}"""
HAVE_CHANGED = f"""(before) => {{
  const now = ({PRINTS})();
  return Object.keys(now).every((name) => now[name] !== before[name]);
}}"""


KILL = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture(scope="module")
def notebook(lab):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab.root / "late.ipynb")
    return "late.ipynb"


def moves(page):
    """Wait until every view shows data, and then other data."""
    for view in (".anb-board", ".anb-ladder", ".anb-blotter"):
        expect(page.locator(view)).not_to_have_attribute("data-frames", "0")
    expect(page.locator(".js-plotly-plot .scatterlayer .trace")).to_have_count(1)
    page.wait_for_function(HAVE_CHANGED, arg=page.evaluate(PRINTS), timeout=30_000)


@pytest.fixture(scope="module")
def page(context, lab, notebook):
    """A page in which every model is late, for the tests here in their order.

    It is so high that no view is out of sight, however many orders there are.
    """
    with new_page(context, lab, width=1280, height=2400) as page:
        page.add_init_script(IMPATIENT)
        open_notebook(page, lab, notebook)
        run_all(page)
        yield page


def test_no_view_stays_empty_though_every_model_is_late(page):
    moves(page)
    page.evaluate(RUN, "docmanager:save")
    page.wait_for_function("() => window.ariesRun.done")
    page.reload()
    moves(page)


def test_views_say_so_when_nothing_comes_and_when_the_kernel_is_gone(page, tmp_path):
    moves(page)
    signs = page.locator(".anb-kernel:visible")
    expect(signs).to_have_count(0)

    with standing_still(page):
        silent = re.compile(r"^nothing from the kernel since \d\d:\d\d:\d\d Asia/Tokyo$")
        expect(signs).to_have_text([silent] * len(VIEWS))
    expect(signs).to_have_count(0)
    moves(page)

    run_cell(page, KILL, wait=False)

    expect(signs).to_have_text([re.compile(r"^no kernel since \d\d:\d\d:\d\d Asia/Tokyo$")] * len(VIEWS))
    page.screenshot(path=tmp_path / "killed.png")
    assert (tmp_path / "killed.png").stat().st_size > 10_000
