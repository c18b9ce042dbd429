"""The package is typed: what `make lint` runs, here beside tests that wait, as it keeps one processor busy for long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_mypy_finds_nothing() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
