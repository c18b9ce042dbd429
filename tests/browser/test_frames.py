"""Views in a real front end in each second, also while a cell is busy: these tests run last and alone."""

from __future__ import annotations

from statistics import mean

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import errors_of, shared_page
from tests.browser.lab import failures, open_notebook, run_all, run_cell
from tests.browser.test_first_light import CHANGED_IN_EACH_SECOND, NOTEBOOK, SCREEN, alive
from tests.views.stage import write_notebook

pytestmark = pytest.mark.alone

LEAST = 9.9  # frames a second: ten, of which one may fall into the next second
LAST = 3  # seconds in a row
# Frames of each view in each second, until all have painted enough in the last ones, or `longest` seconds are over.
FRAMES_IN_EACH_SECOND = """async ([least, last, longest]) => {
  // plotly makes the calculated points anew for each frame; its events end when it draws a figure anew.
  let [drawn, points] = [0, null];
  const count = () => {
    const now = document.querySelector(".js-plotly-plot").calcdata;
    if (now !== points) [drawn, points] = [drawn + 1, now];
    requestAnimationFrame(count);
  };
  count();
  const frames = (selector) => Number(document.querySelector(selector).dataset.frames);
  const painted = () => ({ board: frames(".anb-board"), ladder: frames(".anb-ladder"), chart: drawn });
  const rates = { board: [], ladder: [], chart: [] };
  const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);
  const isEnough = (seconds) => seconds.length >= last && sum(seconds.slice(-last)) >= least * last;
  for (let second = 0; second < longest && !Object.values(rates).every(isEnough); second++) {
    const [before, start] = [painted(), performance.now()];
    await new Promise((done) => setTimeout(done, 1000));
    const [after, lasted] = [painted(), (performance.now() - start) / 1000];
    for (const name in rates) rates[name].push((after[name] - before[name]) / lasted);
  }
  return rates;
}"""
BUSY_CELL = """
import time
finish = time.monotonic() + 60
while time.monotonic() < finish:
    sum(range(1_000))
"busy for a minute"
"""
VIEWS_AT_1000_MESSAGES_A_SECOND = (
    """
import aries_nb as anb
feed = anb.connect("sim", rate=1_000)
quotes = feed.quotes("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "TSLA", "JPM", window="15min")
book = feed.book("AAPL", depth=8)
""",
    "quotes",
    'quotes.chart("bid_price", "ask_price", symbols=["AAPL"])',
    "book",
)


@pytest.fixture
def page(tab, lab):
    """A notebook that shows three views at 1,000 messages a second."""
    with shared_page(tab, lab, width=1000, height=1300) as page:
        open_notebook(page, lab, write_notebook(lab, "fast.ipynb", VIEWS_AT_1000_MESSAGES_A_SECOND))
        run_all(page)
        yield page


@pytest.mark.long  # that it moves is in `test_first_light.py`
def test_everything_in_the_first_notebook_moves_in_each_of_ten_seconds(tab, lab, tmp_path):
    with shared_page(tab, lab, **SCREEN) as page:
        errors = errors_of(page)
        open_notebook(page, lab, NOTEBOOK)
        run_all(page)
        alive(page)

        changed = page.evaluate(CHANGED_IN_EACH_SECOND, 10)

        assert changed == dict.fromkeys(("board", "ladder", "chart"), 10)
        assert failures(page) == errors == []
        page.screenshot(path=tmp_path / "first_light.png")
        assert (tmp_path / "first_light.png").stat().st_size > 100_000


def test_three_views_paint_ten_frames_a_second_beside_a_busy_cell(page):
    expect(page.locator(".anb-board tbody tr").first).to_be_visible()
    expect(page.locator(".anb-ladder")).not_to_have_attribute("data-frames", "0")
    expect(page.locator(".js-plotly-plot .scatterlayer .trace").first).to_be_visible()

    cell = run_cell(page, BUSY_CELL, wait=False)
    expect(cell.locator(".jp-InputPrompt")).to_have_text("[*]:")
    # Waits while the machine is busy otherwise; views that paint too seldom never have enough.
    rates = page.evaluate(FRAMES_IN_EACH_SECOND, [LEAST, LAST, 20])

    expect(cell.locator(".jp-InputPrompt")).to_have_text("[*]:")
    assert min(mean(seconds[-LAST:]) for seconds in rates.values()) >= LEAST, rates
