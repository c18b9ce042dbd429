"""`import aries_nb` compared with `import pandas`: fresh processes in turns, each timing its one import statement.

CPU time is compared: an import waits for nothing, and the wall clock of a busy machine counts what others do.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from tests.bench.results import Budget, Effort, Outcome

__all__ = ["measure"]

SCRIPT = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"


def measure(effort: Effort) -> Outcome:
    """The budget of the import."""
    names = ("aries_nb", "pandas", "aries_nb; aries_nb.connect")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in effort.choose(range(-1, 15), range(-1, 5), range(1)):
        for name in names if number % 2 else reversed(names):
            took = _import_seconds(name)
            if number >= 0:
                seconds[name].append(took)
    times = median(a / b for a, b in zip(seconds["aries_nb"], seconds["pandas"], strict=True))
    ours, theirs, named = (median(seconds[name]) * 1e3 for name in names)
    measured = f"{times:.2f} × ({ours:.0f} ms to {theirs:.0f} ms)"
    budget = Budget("import aries_nb", measured, "≤ 1.15 × import pandas", times <= 1.15, {"ratio": times})
    used = median(a / b for a, b in zip(seconds[names[2]], seconds["pandas"], strict=True))
    return Outcome(
        [budget], notes=[f"import aries_nb and a first look at its connect: {named:.0f} ms, {used:.2f} × pandas"]
    )


def _import_seconds(name: str) -> float:
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(name)], check=True, capture_output=True, text=True, cwd="/"
    )
    return float(answer.stdout)
