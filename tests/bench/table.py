"""The command line: which rows to measure, and the tables that come out.

Each row is measured in a process of its own, so that no thread, cache or table of one is in the way of another.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from msgspec import json

from tests.bench.results import Budget, Effort, Outcome

__all__ = ["main"]

# Name of a row → the module that measures it, in the order of the table.
ROWS = {
    "decode": "decode",
    "alor-decode": "alor_decode",
    "socket": "socket_rate",
    "alor-socket": "alor_socket_rate",
    "frames": "socket_frames",
    "latency": "visible_latency",
    "snapshot": "snapshot",
    "late": "late_rows",
    "past": "time_travel",
    "as-of": "as_of",
    "derived": "derived_rows",
    "derived-feed": "derived_feed",
    "chart": "chart_frame",
    "memory": "memory",
    "recording": "recording_cost",
    "long-recording": "long_recording",
    "many-recordings": "many_recordings",
    "cell": "busy_cell",
    "alor-cell": "alor_busy_cell",
    "browser": "browser_latency",
    "import": "importing",
    "peers": "peers",
}
IN_BROWSER = frozenset({"browser"})
ROOT = Path(__file__).parents[2]


def main(command_line: Sequence[str] | None = None) -> int:
    """Measure and print. A missed budget is marked; the exit status is 1 if a row could not be measured."""
    parser = argparse.ArgumentParser(description="Measure the budgets side by side with the peers.")
    parser.add_argument("--quick", action="store_true", help="a short run: noisier, memory on a smaller frame")
    parser.add_argument("--smoke", action="store_true", help="run each row that needs no browser once, without figures")
    parser.add_argument("--only", metavar="NAME", action="append", choices=list(ROWS), help=f"one of {', '.join(ROWS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE as well")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(command_line)
    effort = Effort.SMOKE if arguments.smoke else Effort.QUICK if arguments.quick else Effort.WHOLE
    if arguments.child:
        sys.stdout.write(json.encode(measure(arguments.only[0], effort)).decode())
        return 0
    names = arguments.only or [name for name in ROWS if not (arguments.smoke and name in IN_BROWSER)]
    busy = os.getloadavg()[0]
    outcomes: dict[str, Outcome] = {}
    for name in names:
        start = time.perf_counter()
        outcomes[name] = tried(name) if arguments.smoke else measured(name, effort)
        sys.stderr.write(f"{name}: {time.perf_counter() - start:.1f} s\n")
    if not arguments.smoke:
        sys.stdout.write(tables(list(outcomes.values()), busy))
    if arguments.json:
        arguments.json.write_bytes(json.format(json.encode(outcomes)))
    missing = [name for name, one in outcomes.items() if any(row.is_met is None for row in one.budgets)]
    if missing:
        sys.stderr.write(f"could not be measured: {', '.join(missing)}\n")
    return 1 if missing else 0


def measure(name: str, effort: Effort) -> Outcome:
    """One row, in this process."""
    module = importlib.import_module(f"tests.bench.{ROWS[name]}")
    outcome: Outcome = module.measure(effort)
    return outcome


def tried(name: str) -> Outcome:
    """One row at the least effort, in this process; the traceback of one that raises is printed."""
    try:
        return measure(name, Effort.SMOKE)
    except Exception:
        traceback.print_exc()
        return Outcome([Budget(name, "it failed", "", None)])


def measured(name: str, effort: Effort) -> Outcome:
    """What one row's process found; a row that fails is one that was not measured, with the reason."""
    flags = () if effort is Effort.WHOLE else (f"--{effort}",)
    command = [sys.executable, "-m", "tests.bench.table", "--child", "--only", name, *flags]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True)
    if answer.returncode == 0:
        return json.decode(answer.stdout, type=Outcome)
    said = answer.stderr.decode("utf-8", "replace").strip()
    sys.stderr.write(f"{said}\n")
    return Outcome([Budget(name, said.splitlines()[-1][:80] if said else "it failed", "", None)])


def tables(found: list[Outcome], busy: float) -> str:
    """The budgets, the peers, and the notes, as text."""
    machine = f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} processors"
    parts = [f"\n{machine}, load {busy:.1f} at the start; ratios are medians over interleaved rounds.\n"]
    budgets = [(row.what, row.measured, row.budget, row.verdict) for one in found for row in one.budgets]
    peers = [
        (peer.name, peer.work, f"{peer.rate:,.0f}", f"{peer.times_slower:,.1f} ×")
        for one in found
        for peer in one.peers
    ]
    if budgets:
        parts.append(table(("what", "measured", "budget", "met?"), budgets))
    if peers:
        parts.append(table(("peer", "the same work", "rows/s", "slower than ours"), peers))
    notes = [f"- {note}\n" for one in found for note in one.notes]
    if notes:
        parts.append("".join(notes))
    return "\n".join(parts)


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns wide enough for their text."""
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    lines = (heads, tuple("-" * width for width in widths), *rows)
    return "".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |\n"
        for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
