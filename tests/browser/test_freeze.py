"""Every view can be frozen, by its button or from the kernel: it says since when, and shows the newest afterwards."""

from __future__ import annotations

import re

import nbformat
from playwright.sync_api import expect

from tests.browser.lab import open_notebook, run_all, run_cell

expect.set_options(timeout=30_000)

CELLS = (
    'import aries_nb as anb\nanb.settings.timezone = "Asia/Tokyo"\nfeed = anb.connect("sim", rate=100)\n'
    'quotes, book = feed.quotes("AAPL"), feed.book("AAPL")\nladder = book.ladder()',
    "ladder",
    'chart = quotes.chart("bid_price")\nchart',
    'light = quotes.chart("bid_price", engine="light")\nlight',
)
VIEWS = (".anb-ladder", ".anb-figure", ".anb-light")
PICTURES = """() => [document.querySelector(".anb-ladder .anb-grid").textContent,
  ...[...document.querySelectorAll(".js-plotly-plot")].map((node) => node.data.map((trace) => trace.x?.at(-1)).join()),
  document.querySelector(".anb-light .anb-plot canvas").toDataURL()]"""
FROZEN = re.compile(r"^frozen \d\d:\d\d:\d\d Asia/Tokyo · [\d,]+ frames? behind$")


def test_views_are_frozen_by_button_and_kernel_and_then_show_the_newest(page, lab):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab.root / "freeze.ipynb")
    page.set_viewport_size({"width": 800, "height": 2000})
    open_notebook(page, lab, "freeze.ipynb")
    run_all(page)
    views = [page.locator(view) for view in VIEWS]
    for view in views:
        view.get_by_role("button", name="Freeze").click()
    before = page.evaluate(PICTURES)

    for view in views:
        expect(view.locator(".anb-badge")).to_have_text(FROZEN)
    during = page.evaluate(PICTURES)
    for view in views:
        view.get_by_role("button", name="Resume").click()
    page.wait_for_function(f"(before) => ({PICTURES})().every((each, at) => each !== before[at])", arg=before)

    assert during == before
    run_cell(page, "for view in (ladder, chart, light): view.freeze()")
    for view in views:
        expect(view.locator(".anb-badge")).to_have_text(FROZEN)
    run_cell(page, "for view in (ladder, chart, light): view.resume()")
    for view in views:
        expect(view.get_by_role("button", name="Freeze")).to_be_visible()
