"""The package is typed: mypy as in `make lint`, a test since it can run while other tests wait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(600)  # without a cache it takes a processor half a minute, and has a part of one
def test_mypy_finds_nothing() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
