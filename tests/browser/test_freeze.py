"""Every view can be frozen, by its button or from the kernel: it says since when, and shows the newest afterwards."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import shared_page
from tests.browser.lab import open_notebook, run_all, run_cell
from tests.views.stage import write_notebook

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
FROZEN = re.compile(r"^frozen at \d\d:\d\d:\d\d Asia/Tokyo, [\d,]+ frames? behind$")


@pytest.fixture
def page(tab, lab):
    with shared_page(tab, lab, width=800, height=2000) as page:
        open_notebook(page, lab, write_notebook(lab, "freeze.ipynb", CELLS))
        run_all(page)
        yield page


def test_views_are_frozen_by_button_and_kernel_and_then_show_the_newest(page):
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
