"""Frames of a large table and animation frames of its page, in JupyterLab and Chromium.

    python -m tests.browser.measure_tables [--rows 4600] [--seconds 10] [--pictures FOLDER]

Prints one JSON line for each measured view: frames a second that it painted, and animation frames a second of the page.
`--pictures` saves a screenshot of each at 800 and 1,180 pixels, light and dark.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from playwright.sync_api import sync_playwright

from tests.browser.lab import chromium, open_notebook, run_all, serve

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["ORDERS", "RATES", "VIEWS", "write_notebook"]

ORDERS = """
import random, threading, time
from decimal import Decimal
from aries_nb.model import ORDER_COLUMNS, TableData
from aries_nb.widgets import Blotter

SYMBOLS = ("AAPL", "MSFT", "NVDA", "BRK.B", "AAPL  261218C00270000")
STATES = ("new", "partially_filled", "filled", "canceled", "rejected")

def order(number, state, filled):
    at = 1_700_000_000 * 10**9 + number * 10**9
    text = "insufficient buying power for this order, ask the desk" if state == "rejected" else ""
    average = Decimal("270.2512" if filled else 0)
    amounts = (Decimal(100), Decimal(filled), Decimal("270.25") + number % 40, average)
    side = "buy" if number % 2 else "sell"
    return (f"ORD-{number:06}", SYMBOLS[number % 5], side, "limit", state, *amounts, at, at, text)

class Orders:
    def __init__(self, count):
        self.version = 0
        self.is_running = True
        self.rows = [order(number, STATES[number % 5], number % 100) for number in range(count)]
    def table(self):
        return TableData("Orders ACC-1", ORDER_COLUMNS, tuple(reversed(self.rows)), ("order_id",))
    def run(self):  # fills of 40 orders and two new ones a second
        for step in range(10**6):
            if not self.is_running:
                return
            place = random.randrange(len(self.rows) - 12 if step % 2 else 0, len(self.rows))
            self.rows[place] = order(place, "partially_filled", random.randrange(100))
            if step % 20 == 0:
                self.rows.append(order(len(self.rows), "new", 0))
            self.version += 1
            time.sleep(0.025)

orders = Orders(ROWS)
moving = threading.Thread(target=orders.run, daemon=True)
moving.start()
blotter = Blotter(orders)
blotter
"""
PRINTS = """
import aries_nb as anb
feed = anb.connect("sim", rate=1_000)
trades = feed.trades("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL")
trades
"""
VIEWS = {"blotter": (ORDERS, ".anb-blotter"), "tape": (PRINTS, ".anb-tape")}
# Frames that the view painted, and animation frames of the page, a second.
RATES = """async ([selector, seconds]) => {
  const frames = () => Number(document.querySelector(selector).dataset.frames);
  let animations = 0, isDone = false;
  const count = () => { animations += 1; if (!isDone) requestAnimationFrame(count); };
  const [first, start] = [frames(), performance.now()];
  requestAnimationFrame(count);
  await new Promise((done) => setTimeout(done, seconds * 1000));
  isDone = true;
  const lasted = (performance.now() - start) / 1000;
  return { frames: (frames() - first) / lasted, animation_frames: animations / lasted };
}"""


def write_notebook(folder: Path, source: str, rows: int) -> str:
    """Write a notebook of one cell, which shows the view; return its name."""
    hidden = {"jupyter": {"source_hidden": True}}  # the view alone is in sight
    cell = nbformat.v4.new_code_cell(source.replace("ROWS", str(rows)).strip(), metadata=hidden)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), folder / "table.ipynb")
    return "table.ipynb"


def save_pictures(page: Page, name: str, folder: Path) -> None:
    """Save a screenshot of the view at each width and theme."""
    page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    for theme in ("Light", "Dark"):
        page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {theme}"
        )
        for width in (800, 1180):
            page.set_viewport_size({"width": width, "height": 560})
            page.wait_for_timeout(1500)
            page.screenshot(path=folder / f"{name}_{width}_{theme.lower()}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", nargs="*", default=list(VIEWS), metavar="VIEW")
    parser.add_argument("--rows", type=int, default=4_600)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright, chromium(playwright) as browser:
        empty = Path(home, "empty")
        empty.mkdir()
        with serve(empty, Path(home, "lab")) as lab:
            for name in options.views:
                source, selector = VIEWS[name]
                page = browser.new_page(viewport={"width": 1180, "height": 900})
                open_notebook(page, lab, write_notebook(lab.root, source, options.rows))
                run_all(page)
                page.locator(f"{selector}:not([data-frames='0'])").first.wait_for(timeout=60_000)
                page.wait_for_timeout(3_000)
                rates = page.evaluate(RATES, [selector, options.seconds])
                found = {"view": name, "rows": options.rows} | {what: round(rate, 1) for what, rate in rates.items()}
                sys.stdout.write(json.dumps(found) + "\n")
                if options.pictures:
                    options.pictures.mkdir(parents=True, exist_ok=True)
                    save_pictures(page, name, options.pictures)
                page.close()
                for session in lab.ask("sessions"):
                    lab.ask(f"sessions/{session['id']}", "DELETE")


if __name__ == "__main__":
    main()
