"""Count the frames of views in Voila and marimo, in Chromium: `make test-frontends`. Exits with 1 if one stands still.

JupyterLab and Notebook 7 are tested in tests/browser. Both are installed into an environment of their own, in
the versions named here. In marimo two sessions are opened, because it runs all sessions of a file in one process.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import venv
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import urlopen

import nbformat
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.lab import chromium  # noqa: E402  # the folder is no package that is installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

VERSIONS = ("marimo==0.25.2", "voila==0.5.13", "ipykernel>=7")
CELLS = (
    'import aries_nb as anb\n\nfeed = anb.connect("sim", rate=200)\nfeed',
    'quotes = feed.quotes("AAPL", "MSFT").wait(rows=20)\nquotes',
    'quotes.chart("bid_price", symbols=["AAPL"])',
    'quotes.chart("bid_price", symbols=["AAPL"], engine="light")',
)
VIEWS = {"card": 0.5, "board": 1.5, "light chart": 1.5, "Plotly chart": 1.5}  # least frames/s, on a busy machine
START_SECONDS = 120
COUNT_SECONDS = 5
# marimo shows each widget in a shadow root. A chart of Plotly has no count: its newest time is as good.
COUNTS = """() => {
  const all = [];
  const walk = (root) => root.querySelectorAll("*").forEach((each) => {
    all.push(each);
    if (each.shadowRoot) walk(each.shadowRoot);
  });
  walk(document);
  const frames = (name) => Number(all.find((each) => each.matches(name) && each.dataset.frames)?.dataset.frames ?? 0);
  const plot = all.find((each) => each.matches(".js-plotly-plot") && each.data?.[0]?.x?.length);
  if (plot && !plot.counted) {
    plot.counted = 1;
    plot.on("plotly_afterplot", () => plot.counted++);
  }
  return [frames(".anb-card"), frames(".anb-board"), frames(".anb-light"), plot?.counted ?? 0];
}"""


class Row(NamedTuple):
    """A view of a front end: its frames/s, and whether they are enough."""

    front_end: str
    view: str
    rate: float

    @property
    def is_live(self) -> bool:
        return self.rate >= VIEWS[self.view]


@contextmanager
def served(command: list[str | Path], folder: Path) -> Iterator[str]:
    """The address of a server that this command starts; `PORT` in it becomes a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    log = folder / f"{port}.log"
    with log.open("w") as output:
        filled = [str(each).replace("PORT", port) for each in command]
        process = subprocess.Popen(filled, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + START_SECONDS
            while True:
                try:
                    with urlopen(f"http://127.0.0.1:{port}", timeout=START_SECONDS):
                        break
                except OSError as error:
                    if process.poll() is not None or time.monotonic() > until:
                        raise RuntimeError(f"{filled} did not start:\n{log.read_text()[-4000:]}") from error
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def rates(front_end: str, page: Page, url: str) -> list[Row]:
    """Open the page and count the frames of each view, once all have one or the start takes too long."""
    page.goto(url, timeout=START_SECONDS * 1000)
    until = time.monotonic() + START_SECONDS
    while not all(page.evaluate(COUNTS)) and time.monotonic() < until:
        page.wait_for_timeout(200)
    before, started = page.evaluate(COUNTS), time.monotonic()
    page.wait_for_timeout(COUNT_SECONDS * 1000)
    after, seconds = page.evaluate(COUNTS), time.monotonic() - started
    return [Row(front_end, view, (now - old) / seconds) for view, old, now in zip(VIEWS, before, after, strict=True)]


def marimo_file() -> str:
    """The cells as a file of marimo: one function each, with the names that it reads and makes."""
    names = ([], ["feed"], ["quotes"], ["quotes"])
    made = (["anb", "feed"], ["quotes"], [], [])
    text = "import marimo\n\napp = marimo.App()\n"
    for cell, reads, makes in zip(CELLS, names, made, strict=True):
        body = "\n".join(f"    {line}".rstrip() for line in cell.splitlines())
        returned = f" {', '.join(makes)}," if makes else ""
        text += f"\n\n@app.cell\ndef _({', '.join(reads)}):\n{body}\n    return{returned}\n"
    return text + '\n\nif __name__ == "__main__":\n    app.run()\n'


def measured(folder: Path, python: Path) -> Iterator[Row]:
    """The rates in each front end."""
    (folder / "views.py").write_text(marimo_file(), "utf-8")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "views.ipynb")
    marimo = [python, "-m", "marimo", "-q", "run", "views.py", "--headless", "--no-token", "--port", "PORT"]
    voila = [python, "-m", "voila", "views.ipynb", "--no-browser", "--port=PORT", "--Voila.ip=127.0.0.1"]
    with sync_playwright() as playwright, chromium(playwright) as browser:
        for names, command in ((("marimo", "marimo, second session"), marimo), (("Voila",), voila)):
            with served(command, folder) as url:
                pages = [browser.new_context().new_page() for _ in names]
                for name, page in zip(names, pages, strict=True):
                    yield from rates(name, page, url)
                for page in pages:
                    page.context.close()


def main() -> int:
    """Print the rates; return the exit code."""
    with TemporaryDirectory() as home:
        folder = Path(home)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *VERSIONS, "-c", ROOT / "requirements.lock", "-e", ROOT], check=True)
        are_live = True
        for row in measured(folder, python):
            are_live &= row.is_live
            sys.stdout.write(
                f"{row.front_end}, {row.view}: {row.rate:.1f} frames/s{'' if row.is_live else ' TOO FEW'}\n"
            )
            sys.stdout.flush()
    return 0 if are_live else 1


if __name__ == "__main__":
    sys.exit(main())
