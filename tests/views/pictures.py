"""Save pictures of the notebooks, run in JupyterLab: `python tests/views/pictures.py FOLDER [NOTEBOOK …]`, in Chromium.

Each notebook is run once and saved whole at three widths, light and dark, as PNG, also as deuteranopia sees it and with
reduced motion, to be looked at. `--docs` saves instead those that README and docs show, of their size, into docs/.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])

from playwright.sync_api import sync_playwright

from tests.browser.axe import ARE_SHOWN, change_theme
from tests.browser.conftest import NOTEBOOKS
from tests.browser.lab import THEMES, Theme, chromium, open_notebook, run_all, serve
from tests.views.stage import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Page

DOCS = Path(__file__).parents[2] / "docs"
WIDTHS = (800, 1_180, 1_600)
HEIGHT = 7_500  # of all notebooks: views out of sight are not painted
SETTLED_MS = 3_000
HIDE_FILES = "() => window.jupyterapp.shell.collapseLeft()"
PLAIN = ".jp-cell-toolbar, .jp-Collapser { visibility: hidden; }"  # of the cell that was run last
CELL = "(number) => document.querySelector(`.jp-Cell[data-windowed-list-index='${number}']`)"
# The place of the cells from the first to the last, input and output.
PLACE = f"""([first, last]) => {{
  const [top, bottom] = [first, last].map((number) => ({CELL})(number).getBoundingClientRect());
  return {{ x: top.left, y: top.top, width: top.width, height: bottom.bottom - top.top }};
}}"""


# A server that restarts twice.
GAPS = (
    """
import time
import aries_nb as anb
from aries_nb.sim import SimOptions, Simulator
server = Simulator(SimOptions(rate=400)).__enter__()
port = int(server.url.rsplit(":", 1)[1].strip("/"))
feed = anb.connect("aries", url=server.url, token="a token")
quotes, trades = feed.quotes("AAPL"), feed.trades("AAPL")
quotes.wait(rows=20)
for seconds, away in ((14, 6), (40, 2)):
    time.sleep(seconds)
    server.close()
    time.sleep(away)
    server = Simulator(SimOptions(rate=400, port=port)).__enter__()
time.sleep(10)
""",
    'quotes.chart("bid_price", "ask_price", symbols=["AAPL"])',
    'trades.candles("2s")',
)
# An account that trades by itself: its fills are in the charts.
SHEET = (
    """
import time
import aries_nb as anb
anb.settings.timezone = "Europe/London"
feed = anb.connect("sim", rate=400)
fills = feed.account(feed.accounts[0]).fills
quotes = feed.quotes("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META")
fills.wait(fills=6, timeout=60)
time.sleep(20)
""",
    "quotes.charts()",
)
DESK = (
    """
import time
import aries_nb as anb
feed = anb.connect("sim", seed=7, rate=400)
symbols = "AAPL", "MSFT", "NVDA", "GOOGL", "AMZN", "SPY", "QQQ", "IWM"
held = feed.quotes(*symbols, window="15min"), feed.trades("AAPL", window="15min")
time.sleep(45)
""",
    'feed.desk(*symbols, interval="1s")',
)


class Shown(NamedTuple):
    """A picture in docs: its notebook or the cells of one, the cells that it shows, and the width of the page.

    `under` is where in the page the pointer is, as parts of the picture's width and height, None for nowhere.
    """

    name: str
    notebook: str | tuple[str, ...]
    first: int
    last: int
    width: int
    theme: Theme = "light"
    under: tuple[float, float] | None = None


SHOWN = (
    Shown("first_light", "01_first_light", 1, 7, 1_100),
    Shown("account", "02_account_and_pnl", 5, 5, 1_180),
    Shown("options", "03_options", 3, 5, 1_180),
    Shown("gap", GAPS, 1, 2, 920, "dark"),
    Shown("light_charts", SHEET, 1, 1, 1_180, under=(0.5, 0.4)),
    Shown("desk", DESK, 1, 1, 1_340, under=(0.25, 0.25)),
)


def opened(page: Page, stage: Stage, notebook: str, theme: Theme = "light") -> None:
    """Run all cells of a notebook, and wait until its views are drawn."""
    open_notebook(page, stage.lab, f"{notebook}.ipynb", theme=theme)
    run_all(page, timeout=180)
    page.wait_for_function(ARE_SHOWN, arg=1, timeout=60_000)
    page.wait_for_timeout(SETTLED_MS)


def save_all(stage: Stage, notebook: str, folder: Path) -> None:
    """Save the notebook at each width and in each theme."""
    with stage.page(width=WIDTHS[0], height=HEIGHT) as page:
        opened(page, stage, notebook)
        for theme in THEMES:
            change_theme(page, theme)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": HEIGHT})
                page.wait_for_timeout(SETTLED_MS)
                page.screenshot(path=folder / f"{notebook}_{width}_{theme}.png")
        change_theme(page, "light")
        page.set_viewport_size({"width": WIDTHS[1], "height": HEIGHT})
        page.emulate_media(reduced_motion="reduce")
        page.context.new_cdp_session(page).send("Emulation.setEmulatedVisionDeficiency", {"type": "deuteranopia"})
        page.wait_for_timeout(SETTLED_MS)
        page.screenshot(path=folder / f"{notebook}_deuteranopia.png")


def save_shown(stage: Stage, shown: Shown, folder: Path) -> None:
    """Save one picture of the docs."""
    with stage.page(width=shown.width, height=HEIGHT) as page:
        if isinstance(shown.notebook, tuple):
            stage.write(f"{shown.name}.ipynb", shown.notebook)
        opened(page, stage, shown.name if isinstance(shown.notebook, tuple) else shown.notebook, shown.theme)
        page.evaluate(HIDE_FILES)
        page.add_style_tag(content=PLAIN)
        page.wait_for_timeout(SETTLED_MS)
        place = page.evaluate(PLACE, [shown.first, shown.last])
        if shown.under:
            across, down = shown.under
            page.mouse.move(place["x"] + across * place["width"], place["y"] + down * place["height"], steps=5)
            page.wait_for_timeout(SETTLED_MS)
        page.screenshot(path=folder / f"{shown.name}.png", clip=place)


def main() -> None:
    """Save the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DOCS)
    parser.add_argument("notebooks", nargs="*", help="names without .ipynb; default all")
    parser.add_argument("--docs", action="store_true", help="the pictures that README and docs show")
    options = parser.parse_args()
    if options.folder == DOCS and not options.docs:
        parser.error("name a folder, or pass --docs")
    options.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        lab = stack.enter_context(serve(NOTEBOOKS, Path(stack.enter_context(TemporaryDirectory()))))
        browser = stack.enter_context(chromium(stack.enter_context(sync_playwright())))
        stage = Stage(lab, browser, is_quick=False)
        if options.docs:
            for shown in SHOWN:
                save_shown(stage, shown, options.folder)
        else:
            for notebook in options.notebooks or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")):
                save_all(stage, notebook, options.folder)


if __name__ == "__main__":
    main()
