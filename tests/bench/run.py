"""Measure the budgets side by side with the peers: `make bench`, or `make bench ARGS="--quick --only decode"`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])
    from tests.bench.table import main

    sys.exit(main())
