"""Many figures on a page take turns, so that the page has its animation frames between them."""

from __future__ import annotations

import nbformat
import pytest

from tests.browser.conftest import shared_page
from tests.browser.lab import failures, open_notebook, run_all

SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN")
CELLS = (
    f'import aries_nb as anb\nfeed = anb.connect("sim", rate=400)\nquotes = feed.quotes(*{SYMBOLS}).wait(rows=100)',
    *(f'quotes.chart(symbols=["{symbol}"], height=200)' for symbol in SYMBOLS),
)
ARE_DRAWN = f"() => document.querySelectorAll('.js-plotly-plot .trace .js-line').length === {2 * len(SYMBOLS)}"
# Each drawing takes 20 ms more, as on a slow machine. How many there are of each figure, and at most between two
# animation frames of the page, until each figure has had four.
COUNT = """async () => {
  const figures = [...document.querySelectorAll(".js-plotly-plot")];
  const drawn = figures.map(() => 0);
  let now = 0;
  let most = 0;
  // A figure that is made anew, with the whole state, has lost its listeners.
  const listen = (figure, place) => {
    if (figure.counted === figure._ev) return;
    figure.counted = figure._ev;
    figure.on("plotly_afterplot", () => {
      drawn[place]++;
      now++;
      const until = performance.now() + 20;
      while (performance.now() < until);
    });
  };
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const until = performance.now() + 60_000;
  while (Math.min(...drawn) < 4 && performance.now() < until) {
    figures.forEach(listen);
    await frame();
    most = Math.max(most, now);
    now = 0;
  }
  return { drawn, most };
}"""
# What the last frame of each figure shows, and of when it is.
LAST = "() => [...document.querySelectorAll('.js-plotly-plot')].map((figure) => figure.data[1].x.at(-1))"


@pytest.fixture(scope="module")
def shown(tab, lab):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab.root / "many.ipynb")
    with shared_page(tab, lab, width=1180, height=3000) as page:
        open_notebook(page, lab, "many.ipynb")
        run_all(page)
        page.wait_for_function(ARE_DRAWN, timeout=60_000)
        yield page


def test_figures_whose_drawing_takes_long_are_drawn_one_an_animation_frame_in_turn(shown):
    count = shown.evaluate(COUNT)

    assert min(count["drawn"]) >= 4, count
    assert count["most"] <= 2, count  # plotly may tell of a drawing an animation frame later
    assert max(count["drawn"]) <= 2 * min(count["drawn"]), count
    assert failures(shown) == []


@pytest.fixture
def hidden(shown):
    """The page as if another tab were in front of it."""
    shown.evaluate("""() => {
      const request = window.requestAnimationFrame;
      const change = () => document.dispatchEvent(new Event("visibilitychange"));
      Object.defineProperty(document, "visibilityState", { get: () => "hidden", configurable: true });
      window.requestAnimationFrame = () => 0;
      change();
      window.ariesShow = () => {
        delete document.visibilityState;
        window.requestAnimationFrame = request;
        change();
      };
    }""")
    yield shown
    shown.evaluate("() => window.ariesShow()")


def test_figures_of_a_hidden_page_go_on(hidden):
    before = hidden.evaluate(LAST)

    hidden.wait_for_function(f"(before) => ({LAST})().every((last, at) => last > before[at])", arg=before)
