"""Measure what views promise, in real browsers: `python tests/views/measure_views.py [--loaded] [--only NAME …]`.

Each module of this folder with a function `measure(stage) -> Iterator[Row]` is a part of the table, under its name.
`--loaded` keeps two processes computing meanwhile, `--quick` repeats less. Exits with 1 if a bound does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])

from playwright.sync_api import sync_playwright

from tests.browser.conftest import NOTEBOOKS
from tests.browser.lab import chromium, serve
from tests.views.stage import Row, Stage, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).parent
BUSY_PROCESSES = 2
NOT_MEASURED = "not measured: "


def parts() -> dict[str, Callable[[Stage], Iterator[Row]]]:
    """The measurements, by the name of their module."""
    names = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("test_"))
    modules = {name: import_module(f"tests.views.{name}") for name in names if name not in ("measure_views", "stage")}
    return {name: module.measure for name, module in modules.items() if hasattr(module, "measure")}


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [f"| {row.what} | {row.measured} | {row.must_be} | {'yes' if row.is_met else 'NO'} |" for row in rows]
    return "\n".join(["| What | Measured | Must be | Holds |", "| --- | --- | --- | --- |", *lines])


def measured(stage: Stage, names: Sequence[str]) -> Iterator[Row]:
    """The rows of these parts. A part that fails is a row that does not hold, and the next one is measured."""
    known = parts()
    for name in names or known:
        sys.stderr.write(f"measuring {name} …\n")
        try:
            yield from known[name](stage)
        except Exception as error:  # one part that fails must not cost the others
            yield Row(name, f"{NOT_MEASURED}{type(error).__name__}: {str(error).splitlines()[0]}", "–", is_met=False)


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loaded", action="store_true", help=f"keep {BUSY_PROCESSES} processes computing meanwhile")
    parser.add_argument("--quick", action="store_true", help="repeat less")
    parser.add_argument("--only", nargs="+", default=[], choices=list(parts()), help="these parts alone")
    options = parser.parse_args()
    with ExitStack() as stack:
        lab = stack.enter_context(serve(NOTEBOOKS, Path(stack.enter_context(TemporaryDirectory()))))
        browser = stack.enter_context(chromium(stack.enter_context(sync_playwright())))
        stack.enter_context(load(BUSY_PROCESSES if options.loaded else 0))
        rows = list(measured(Stage(lab, browser, options.quick), options.only))
    where = "Next to two busy processes" if options.loaded else "Quiet"
    sys.stdout.write(f"{where}, load {os.getloadavg()[0]:.1f}:\n\n{table(rows)}\n")
    return 0 if all(row.is_met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
