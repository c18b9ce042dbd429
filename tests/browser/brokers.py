"""Notebooks on another broker's simulated market: the same cells except the line that connects."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CONNECT_LINES", "written_for"]

CONNECT_LINES = {
    "aries": 'feed = anb.connect("sim", rate=400)',
    "alor": 'feed = anb.connect("sim-alor", exchange="SPBX", rate=400)',
}


def written_for(broker: str, notebook: Path, folder: Path) -> str:
    """Write a notebook that connects to a broker into a folder; returns its name there."""
    text, usual = notebook.read_text(encoding="utf-8"), quoted(CONNECT_LINES["aries"])
    assert text.count(usual) == 1
    name = f"{notebook.stem}_{broker}.ipynb"
    (folder / name).write_text(text.replace(usual, quoted(CONNECT_LINES[broker])), encoding="utf-8")
    return name


def quoted(line: str) -> str:
    """A line as it is written in the notebook's JSON."""
    return line.replace('"', '\\"')
