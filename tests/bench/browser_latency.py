"""From the server's send to pixels in Chromium, and frames a second of a view while a cell computes.

The real JupyterLab, the real kernel, the harness of the browser tests. The server writes the millisecond of sending
into the bid price. A hook in the page reads the board's first bid price in every animation frame; when it has changed,
the next animation frame, before which the change was painted, notes the clock: the same clock, on the same machine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from tests.bench.blast import CLOCK_SPAN_MS, blasting
from tests.bench.frames import SYMBOLS
from tests.bench.results import Budget, Effort, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.browser.lab import LabServer

__all__ = ["measure", "measured"]

RATE, BUSY_RATE = 1_000, 20_000
BUDGETS = {
    "server sends → pixels in Chromium at 1,000 messages/s": "p95 ≤ 250 ms",
    "frames of a board during a busy cell, 20,000/s": "≥ 10 frames/s",
}
CELL = ".anb-board tbody td.anb-col-bid_price"
HOOK = """selector => {
    const seen = window.ariesSeen = [];
    let last = null;
    const look = () => {
        if (window.ariesSeen !== seen) return;  // it is another notebook's page now
        const cell = document.querySelector(selector);
        const text = cell ? cell.textContent.replace(/[^0-9.]/g, "") : null;
        if (text && text !== last) {
            last = text;
            requestAnimationFrame(() => seen.push([Date.now(), Number(text)]));
        }
        requestAnimationFrame(look);
    };
    look();
}"""
BEGIN = """import aries_nb as anb
feed = anb.connect("aries", url={url!r}, token="any")
quotes = feed.quotes({symbols}, window="1min")
quotes"""
BUSY = """import time
begun, total = time.time(), 0
while time.time() < begun + {seconds}:
    for number in range(10_000):
        total += number * number % 7
print(begun * 1e3, time.time() * 1e3)"""


def measure(effort: Effort) -> Outcome:
    """The budgets of the browser; not measured where there is no Chromium."""
    missing = _missing()
    if missing:
        return Outcome([Budget(what, missing, budget, None) for what, budget in BUDGETS.items()])
    from playwright.sync_api import sync_playwright

    from tests.browser.lab import VIEWPORT, chromium, serve

    with tempfile.TemporaryDirectory() as home:
        empty = Path(home) / "empty"
        empty.mkdir()
        with (
            serve(empty, Path(home) / "lab") as server,
            sync_playwright() as playwright,
            chromium(playwright) as browser,
        ):
            return measured(browser.new_context(viewport=VIEWPORT).new_page(), server, effort)


def measured(page: Page, server: LabServer, effort: Effort) -> Outcome:
    """The budgets of the browser in a page of a Jupyter server."""
    lags = sorted(_lags(page, server, effort))
    rate = _frames_a_second(page, server, effort)
    p50, p95 = quantiles(lags, n=20)[9], quantiles(lags, n=20)[18]
    figures = {"p50_ms": p50, "p95_ms": p95, "max_ms": lags[-1], "frames": float(len(lags))}
    text = f"p95 {p95:.0f} ms (median {p50:.0f}, most {lags[-1]:.0f}, {len(lags)} frames)"
    (latency, least_latency), (frames, least_frames) = BUDGETS.items()
    return Outcome(
        [
            Budget(latency, text, least_latency, p95 <= 250, figures),
            Budget(frames, f"{rate:.1f} frames/s", least_frames, rate >= 10, {"frames_per_s": rate}),
        ]
    )


def _missing() -> str:
    try:
        from tests.browser.lab import find_chromium
    except ImportError as error:
        return f"needs {error.name}"
    return "" if find_chromium() else "no Chromium here"


def _lags(page: Page, server: LabServer, effort: Effort) -> Iterator[float]:
    with blasting(RATE, 1, is_clock=True) as url:
        seen, _ = _watch(page, server, url, effort)
    for shown_at, price in seen:
        yield (shown_at - round(price * 100)) % CLOCK_SPAN_MS


def _frames_a_second(page: Page, server: LabServer, effort: Effort) -> float:
    """Changes seen between the first and the last moment of a cell that computes."""
    with blasting(BUSY_RATE, is_clock=True) as url:
        seen, printed = _watch(page, server, url, effort, BUSY)
    begun, ended = map(float, printed.split())
    return sum(begun <= shown_at <= ended for shown_at, _ in seen) / (ended - begun) * 1e3


def _watch(page: Page, server: LabServer, url: str, effort: Effort, cell: str = "") -> tuple[list[Any], str]:
    """What the hook saw in some seconds, and what the cell that ran meanwhile printed."""
    from tests.browser.lab import open_notebook, outputs, run_all, run_cell
    from tests.views.stage import write_notebook

    seconds = effort.choose(20.0, 4.0, 1.0)
    source = BEGIN.format(url=url, symbols=", ".join(map(repr, SYMBOLS)))
    open_notebook(page, server, write_notebook(server, "latency.ipynb", [source]))
    run_all(page)
    page.locator(CELL).first.wait_for()
    page.wait_for_timeout(effort.choose(2_000, 2_000, 200))  # the first frames build the page
    page.evaluate(HOOK, CELL)
    printed = ""
    if cell:
        run_cell(page, cell.format(seconds=seconds), timeout=seconds + 60)
        printed = str(outputs(page, -1)[0]["text"])
    else:
        page.wait_for_timeout(seconds * 1_000)
    seen: list[Any] = page.evaluate("() => window.ariesSeen")
    return seen, printed
