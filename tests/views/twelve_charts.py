"""Twelve live charts on a page, each of two lines of 2,000 points: one sheet of the light engine, twelve of Plotly."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.browser.lab import ADD_CELL, RUN, open_notebook, run_all
from tests.views.leak import heap_mb
from tests.views.stage import Row, frame_rates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import CDPSession, Page

    from tests.views.stage import Stage

__all__ = ["ARE_DRAWN", "FILLED", "SHEET", "START", "Rates", "rates"]

START = """
import aries_nb as anb
SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "TSLA", "JPM", "SPY", "QQQ", "AMD", "INTC")
feed = anb.connect("sim", rate=2_000)
quotes = feed.quotes(*SYMBOLS, rows=50_000).wait(rows=100)
"""
FILLED = "quotes.wait(rows=26_000, timeout=60)"
SHEET = "quotes.charts()"
APART = [f"quotes.chart(symbols=[SYMBOLS[{place}]], height=200)" for place in range(12)]
ARE_DRAWN = {
    "light": "() => [...document.querySelectorAll('.anb-light')].filter((each) => +each.dataset.frames).length === 12",
    "plotly": "() => document.querySelectorAll('.js-plotly-plot .scatterlayer .trace .js-line').length >= 24",
}
SCREENS = {"light": {"width": 1180, "height": 1700}, "plotly": {"width": 1180, "height": 4400}}
# Functions that count the frames of each chart.
COUNTS = {
    "light": "() => [...document.querySelectorAll('.anb-light')].map(({ dataset }) => Number(dataset.frames))",
    "plotly": """(() => {
  const charts = [...document.querySelectorAll(".js-plotly-plot")];
  const drawn = charts.map(() => 0);
  charts.forEach((each, place) => each.on("plotly_afterplot", () => drawn[place]++));
  return () => [...drawn];
})()""",
}


class Rates(NamedTuple):
    """Frames a second of the slowest chart and of the page, CPU of the main thread as a share, and the heap in MB."""

    chart: float
    page: float
    busy: float
    heap_mb: float


def rates(page: Page, *, is_light: bool, seconds: float) -> Rates:
    """Count the frames of all charts on the page for some seconds."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # processor time: other programs cost none
    before = task_seconds(session)
    charts, whole, lasted = frame_rates(page, COUNTS["light" if is_light else "plotly"], seconds)
    busy = (task_seconds(session) - before) / lasted
    return Rates(min(charts), whole, busy, heap_mb(session))


def task_seconds(session: CDPSession) -> float:
    """The processor time of the page's main thread so far, in s."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")


def measure(stage: Stage) -> Iterator[Row]:
    """The frames, the main thread and the memory of twelve charts, by engine."""
    for engine, cells, least, least_page in (("light", [SHEET], 10.0, 30.0), ("plotly", APART, 0.0, 20.0)):
        name = stage.write(f"twelve_{engine}.ipynb", [START, FILLED])
        with stage.page(**SCREENS[engine]) as page:
            open_notebook(page, stage.lab, name)
            run_all(page, timeout=90)
            empty = heap_mb(page.context.new_cdp_session(page))
            for cell in cells:
                page.evaluate(ADD_CELL, cell)
            began = page.evaluate("() => performance.now()")
            page.evaluate(RUN, "notebook:run-all-below" if len(cells) == 1 else "notebook:run-all-cells")
            page.wait_for_function(ARE_DRAWN[engine], timeout=120_000)
            first = (page.evaluate("() => performance.now()") - began) / 1e3
            page.wait_for_timeout(3_000)
            found = rates(page, is_light=engine == "light", seconds=stage.times(20, 6))
        label = f"12 charts, {engine}"
        must_be = f"≥ {least:g} frames/s" if least else "as far as it goes"
        yield Row(f"{label}: slowest chart", f"{found.chart:.1f} frames/s", must_be, found.chart >= 0.99 * least)
        yield Row(
            f"{label}: page", f"{found.page:.0f} frames/s", f"≥ {least_page:g} frames/s", found.page >= least_page
        )
        yield Row(f"{label}: main thread", f"{found.busy:.0%} busy", "–", is_met=True)
        yield Row(f"{label}: heap", f"{found.heap_mb - empty:+.0f} MB", "–", is_met=True)
        yield Row(f"{label}: first picture of all", f"{first:.1f} s", "–", is_met=True)
