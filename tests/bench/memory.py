"""Memory of a full rolling frame, as the operating system counts it, in a process of its own.

The process fills a frame of 1,000,000 rows and turns its slab over several times. Resident memory after each batch,
less that before the frame was made, is the frame; the peak that the system noted since (`VmHWM`), less the same, is the
moment of turning over, which samples would miss. Raw bytes are the columns of `.df` at their own width, index included,
and the arrival numbers (`seq`), which a slab holds as well.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.results import Budget, Effort, Outcome

if TYPE_CHECKING:
    from aries_nb.live import Feed

__all__ = ["measure"]

ROWS, QUICK_ROWS, SMOKE_ROWS = 1_000_000, 250_000, 20_000
TURNS = 4
STATUS = Path("/proc/self/status")


def measure(effort: Effort) -> Outcome:
    """The budget of memory; not measured where the system has no /proc."""
    what, budget = "memory of a full frame to its raw bytes", "≤ 2.2 ×, ≤ 3.2 × turning over"
    if not STATUS.exists():
        return Outcome([Budget(what, "needs /proc", budget, None)])
    rows = effort.choose(ROWS, QUICK_ROWS, SMOKE_ROWS)
    answer = subprocess.run(
        [sys.executable, "-m", "tests.bench.memory", str(rows)],
        cwd=Path(__file__).parents[2],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = json.loads(answer.stdout)
    steady, peak = found["steady"] / found["raw"], found["peak"] / found["raw"]
    measured = f"{steady:.2f} ×, {peak:.2f} × turning over ({rows:,} rows, {found['raw'] / 1e6:.0f} MB raw)"
    figures = {"steady": steady, "peak": peak, "raw_bytes": found["raw"]}
    return Outcome([Budget(what, measured, budget, steady <= 2.2 and peak <= 3.2, figures)])


def fill(rows: int) -> dict[str, int]:
    """In the process of its own: bytes of a full frame at rest, at its peak, and of its columns."""
    from tests.bench.filled import silent_feed

    with silent_feed() as feed:
        return _filled(feed, rows)


def _filled(feed: Feed, rows: int) -> dict[str, int]:
    from tests.bench.filled import FilledFrame

    FilledFrame.of(feed, 1_000).live.df.memory_usage()  # what is imported and made once stays out of the account
    gc.collect()
    _forget_peak()
    before = _status("VmRSS")
    filled = FilledFrame.of(feed, rows)
    steady = 0
    for _ in range(200 * TURNS // 2):
        filled.grow(rows // 100)
        steady = max(steady, _status("VmRSS"))
    raw = int(filled.live.df.memory_usage(index=True).sum()) + 8 * len(filled.live)
    return {"steady": steady - before, "peak": _status("VmHWM") - before, "raw": raw}


def _status(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(fill(int(sys.argv[1]))))
