"""The size of a notebook's file, as `nbconvert --execute` writes it, with two and with twelve charts."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import nbformat

from tests.views.stage import Row, notebook_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.views.stage import Stage

MOST_BYTES = 1_000_000
SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META")
START = f"""
import aries_nb as anb
feed = anb.connect("sim", rate=400)
symbols = {list(SYMBOLS)}
quotes, trades = feed.quotes(*symbols).wait(rows=2_000, timeout=30), feed.trades(*symbols).wait(rows=20)
"""


def charts(count: int) -> list[str]:
    """Cells that show this number of charts, of lines and candles."""
    lines = [f'quotes.chart("bid_price", "ask_price", symbols=["{symbol}"])' for symbol in SYMBOLS]
    candles = [f'trades.candles("1s", symbol="{symbol}")' for symbol in SYMBOLS]
    return [START, *[cell for pair in zip(lines, candles, strict=True) for cell in pair][:count]]


def executed(cells: Sequence[str], folder: Path) -> Path:
    """Path of the notebook that `nbconvert --execute` made of these cells."""
    nbformat.write(notebook_of(cells), folder / "cells.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "cells.ipynb", "--output", "done"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=150)
    assert result.returncode == 0, result.stderr
    return folder / "done.ipynb"


def measure(stage: Stage) -> Iterator[Row]:
    """The bytes of an executed notebook with 2 and with 12 charts."""
    for count in (2, 12):
        size = executed(charts(count), stage.lab.root).stat().st_size
        yield Row(f"notebook file, {count} charts", f"{size / 1e3:,.0f} kB", "≤ 1,000 kB", size <= MOST_BYTES)
