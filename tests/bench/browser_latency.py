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

__all__ = ["measure"]

RATE, BUSY_RATE = 1_000, 20_000
CELL = ".anb-board tbody td.anb-col-bid_price"
HOOK = """selector => {
    window.ariesSeen = [];
    let last = null;
    const look = () => {
        const cell = document.querySelector(selector);
        const text = cell ? cell.textContent.replace(/[^0-9.]/g, "") : null;
        if (text && text !== last) {
            last = text;
            requestAnimationFrame(() => window.ariesSeen.push([Date.now(), Number(text)]));
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
    whats = ("server sends → pixels in Chromium at 1,000 messages/s", "frames of a board during a busy cell, 20,000/s")
    budgets = ("p95 ≤ 250 ms", "≥ 10 frames/s")
    missing = _missing()
    if missing:
        return Outcome([Budget(what, missing, budget, None) for what, budget in zip(whats, budgets, strict=True)])
    from playwright.sync_api import sync_playwright

    from tests.browser.lab import VIEWPORT, chromium, serve

    watched = effort.choose(20.0, 4.0, 1.0)
    with tempfile.TemporaryDirectory() as home:
        empty = Path(home) / "empty"
        empty.mkdir()
        with (
            serve(empty, Path(home) / "lab") as server,
            sync_playwright() as playwright,
            chromium(playwright) as browser,
        ):
            page = browser.new_context(viewport=VIEWPORT).new_page()
            lags = sorted(_lags(page, server, watched))
            rate = _frames_a_second(page, server, watched)
    p50, p95 = quantiles(lags, n=20)[9], quantiles(lags, n=20)[18]
    figures = {"p50_ms": p50, "p95_ms": p95, "max_ms": lags[-1], "frames": float(len(lags))}
    measured = f"p95 {p95:.0f} ms (median {p50:.0f}, most {lags[-1]:.0f}, {len(lags)} frames)"
    return Outcome(
        [
            Budget(whats[0], measured, budgets[0], p95 <= 250, figures),
            Budget(whats[1], f"{rate:.1f} frames/s", budgets[1], rate >= 10, {"frames_per_s": rate}),
        ]
    )


def _missing() -> str:
    try:
        from tests.browser.lab import find_chromium
    except ImportError as error:
        return f"needs {error.name}"
    return "" if find_chromium() else "no Chromium here"


def _lags(page: Page, server: LabServer, seconds: float) -> Iterator[float]:
    with blasting(RATE, 1, is_clock=True) as url:
        seen, _ = _watch(page, server, url, "latency.ipynb", seconds)
    for shown_at, price in seen:
        yield (shown_at - round(price * 100)) % CLOCK_SPAN_MS


def _frames_a_second(page: Page, server: LabServer, seconds: float) -> float:
    """Changes seen between the first and the last moment of a cell that computes."""
    with blasting(BUSY_RATE, is_clock=True) as url:
        seen, printed = _watch(page, server, url, "busy.ipynb", seconds, BUSY.format(seconds=seconds))
    begun, ended = map(float, printed.split())
    return sum(begun <= shown_at <= ended for shown_at, _ in seen) / (ended - begun) * 1e3


def _watch(
    page: Page, server: LabServer, url: str, notebook: str, seconds: float, cell: str = ""
) -> tuple[list[Any], str]:
    """What the hook saw in so many seconds, and what the cell that ran meanwhile printed."""
    import nbformat

    from tests.browser.lab import open_notebook, outputs, run_all, run_cell

    source = BEGIN.format(url=url, symbols=", ".join(map(repr, SYMBOLS)))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata={"kernelspec": kernel})
    nbformat.write(made, server.root / notebook)
    open_notebook(page, server, notebook)
    run_all(page)
    page.locator(CELL).first.wait_for()
    page.wait_for_timeout(2_000)  # the first frames build the page
    page.evaluate(HOOK, CELL)
    printed = ""
    if cell:
        run_cell(page, cell, timeout=seconds + 60)
        printed = str(outputs(page, -1)[0]["text"])
    else:
        page.wait_for_timeout(seconds * 1_000)
    seen: list[Any] = page.evaluate("() => window.ariesSeen")
    for session in server.ask("sessions"):
        server.ask(f"sessions/{session['id']}", "DELETE")
    return seen, printed
