"""What a measurement of views gets, a server and a browser, and what it returns: rows of a table."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import nbformat

from tests.browser.conftest import fresh_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Browser, Page

    from tests.browser.lab import LabServer

__all__ = ["Row", "Stage", "frame_rates", "load", "notebook_of", "write_notebook"]

SPIN = "while True: pass"
# How much each of the counts, and that of the page's own frames, grows in a second.
GROWTH = """async ([source, seconds]) => {
  const counts = eval(source);
  let page = 0;
  let isOver = false;
  const tick = () => { page++; if (!isOver) requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
  const [before, start] = [counts(), performance.now()];
  await new Promise((done) => setTimeout(done, seconds * 1000));
  isOver = true;
  const lasted = (performance.now() - start) / 1000;
  return [counts().map((count, place) => (count - before[place]) / lasted), page / lasted, lasted];
}"""


class Row(NamedTuple):
    """A line of the table: what was measured, the figure with its unit, the bound, and whether it holds."""

    what: str
    measured: str
    must_be: str
    is_met: bool


@dataclass(frozen=True)
class Stage:
    """A Jupyter server and a browser; `is_quick` asks for few repetitions."""

    lab: LabServer
    browser: Browser
    is_quick: bool

    def times(self, many: int, few: int) -> int:
        """The number of repetitions."""
        return few if self.is_quick else many

    @contextmanager
    def page(self, **screen: int) -> Iterator[Page]:
        """A page in a browser context of its own; its kernels are shut down at the end."""
        with fresh_page(self.browser, self.lab, **screen) as page:
            yield page

    def write(self, name: str, cells: Sequence[str]) -> str:
        """Write a notebook with these cells into the server's folder; return its name."""
        return write_notebook(self.lab, name, cells)


def write_notebook(lab: LabServer, name: str, cells: Sequence[str]) -> str:
    """Write a notebook with these cells into the server's folder; return its name."""
    nbformat.write(notebook_of(cells), lab.root / name)
    return name


def notebook_of(cells: Sequence[str]) -> nbformat.NotebookNode:
    """A notebook without outputs."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    sources = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    return nbformat.v4.new_notebook(cells=sources, metadata={"kernelspec": kernel})


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Keep this many processes computing meanwhile."""
    running = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def frame_rates(page: Page, counts: str, seconds: float) -> tuple[list[float], float, float]:
    """Return frames a second of views and of the page itself, and for how many seconds they were counted.

    `counts` is the source of a function of the page that returns the number of frames of each view until now.
    """
    rates, whole, lasted = page.evaluate(GROWTH, [counts, seconds])
    return rates, whole, lasted
