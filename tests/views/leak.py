"""What each new run of a chart's cell leaves behind in the browser: the heap after a collection, over the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.browser.lab import ADD_CELL, RUN, open_notebook, run_all, wait_idle
from tests.views.stage import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import CDPSession, Page

    from tests.views.stage import Stage

MOST_MB = 0.5
START = """
import aries_nb as anb
feed = anb.connect("sim", rate=100)
quotes = feed.quotes("AAPL").wait(rows=50)
"""
# A cell that is run again closes the chart that it made before, and makes another.
CHART = 'chart = quotes.chart("bid_price", "ask_price")\nchart'
AGAIN = 'chart.close()\nchart = quotes.chart("bid_price", "ask_price")\nchart'
SHOWS = "() => document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length >= 2"


def measure(stage: Stage) -> Iterator[Row]:
    """The megabytes of heap that a run of a chart's cell adds, by a straight line through the runs."""
    name = stage.write("leak.ipynb", [START])
    with stage.page() as page:
        session = page.context.new_cdp_session(page)
        open_notebook(page, stage.lab, name)
        run_all(page)
        run(page, CHART)
        heaps = [heap_mb(session)]
        for _ in range(stage.times(12, 5)):
            run_again(page)
            heaps.append(heap_mb(session))
    settled = heaps[2:]
    slope = float(np.polyfit(range(len(settled)), settled, 1)[0])
    yield Row("each re-run of a chart cell leaks", f"{slope:.2f} MB", f"≤ {MOST_MB} MB", slope <= MOST_MB)


def run(page: Page, code: str) -> None:
    """Run `code` in a cell of its own, and wait for the chart."""
    page.evaluate(ADD_CELL, code)
    page.evaluate(RUN, "notebook:run-cell")
    wait_idle(page)
    page.wait_for_function(SHOWS, timeout=30_000)


def run_again(page: Page) -> None:
    """Run the last cell again, and wait for its chart."""
    page.evaluate(
        """(code) => {
      const notebook = window.jupyterapp.shell.currentWidget.content;
      notebook.activeCellIndex = notebook.widgets.length - 1;
      notebook.activeCell.model.sharedModel.setSource(code);
      document.querySelector(".js-plotly-plot").dataset.old = "1";
    }""",
        AGAIN,
    )
    page.evaluate(RUN, "notebook:run-cell")
    wait_idle(page)
    page.wait_for_function(f"() => !document.querySelector('[data-old]') && ({SHOWS})()", timeout=30_000)


def heap_mb(session: CDPSession) -> float:
    """The page's heap in MB after everything unreachable was freed."""
    for _ in range(2):
        session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6
