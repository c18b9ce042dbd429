"""Derived frames in JupyterLab: a board, line charts and candles in cells, and an error of a function in its place."""

from __future__ import annotations

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import errors_of, shared_page
from tests.browser.lab import failures, open_notebook, run_all
from tests.views.stage import notebook_of

START = """import aries_nb as anb
feed = anb.connect("sim", rate=400)
quotes = feed.quotes("AAPL", "MSFT", rows=5_000).wait(rows=100)
mids = quotes.assign(mid=lambda df: (df.bid_price + df.ask_price) / 2)"""
BOARD = "mids"
MEAN = 'mids.rolling("2s")["mid"].mean().chart(engine="light")'
RATIO = '(mids["AAPL"]["mid"] / mids["MSFT"]["mid"]).chart(engine="light")'
CANDLES = 'mids["AAPL"].candles("1s", column="mid", engine="light")'
REBASED = "quotes.rebased(100).chart()"
FAILS = """import threading
fails = threading.Event()
def fragile(df):
    if fails.is_set():
        raise ValueError("by hand")
    return df.bid_price
bad = quotes.assign(x=fragile)
fails.set()
bad"""


@pytest.fixture(scope="module")
def shown(tab, lab):
    path = lab.root / "derived.ipynb"
    nbformat.write(notebook_of([START, BOARD, MEAN, RATIO, CANDLES, REBASED, FAILS]), path)
    with shared_page(tab, lab, width=1180, height=2600) as page:
        page.errors = errors_of(page)
        open_notebook(page, lab, path.name)
        run_all(page, timeout=90)
        yield page


def test_views_of_derived_frames_are_drawn_in_cells(shown):
    expect(shown.locator(".anb-board").first).to_contain_text("mid")
    expect(shown.locator(".anb-light")).to_have_count(3)
    expect(shown.locator(".js-plotly-plot").first).to_be_visible()
    assert failures(shown) == []
    assert shown.errors == []


def test_an_error_of_a_function_is_shown_on_its_board(shown):
    expect(shown.locator(".anb-board").nth(1)).to_contain_text("ValueError: by hand")
