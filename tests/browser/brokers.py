"""Notebooks on another broker's simulated market: the same cells except the lines that connect."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BEGINNINGS", "written_for"]

BEGINNINGS = {"aries": 'anb.connect("sim"', "alor": 'anb.connect("sim-alor", exchange="SPBX"'}


def written_for(broker: str, notebook: Path, folder: Path) -> str:
    """Write a notebook that connects to a broker into a folder; returns its name there."""
    text, usual = notebook.read_text(encoding="utf-8"), quoted(BEGINNINGS["aries"])
    assert usual in text
    name = f"{notebook.stem}_{broker}.ipynb"
    (folder / name).write_text(text.replace(usual, quoted(BEGINNINGS[broker])), encoding="utf-8")
    return name


def quoted(line: str) -> str:
    """A line as it is written in the notebook's JSON."""
    return line.replace('"', '\\"')
