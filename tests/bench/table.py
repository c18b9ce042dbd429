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
from pathlib import Path

from msgspec import json

from tests.bench.results import Budget, Outcome

__all__ = ["main"]

# Name of a row → the module that measures it, in the order of the table.
ROWS = {
    "decode": "decode",
    "alor-decode": "alor_decode",
    "socket": "socket_rate",
    "alor-socket": "alor_socket_rate",
    "snapshot": "snapshot",
    "chart": "chart_frame",
    "memory": "memory",
    "cell": "busy_cell",
    "alor-cell": "alor_busy_cell",
    "browser": "browser_latency",
    "import": "importing",
    "peers": "peers",
}
ROOT = Path(__file__).parents[2]


def main() -> None:
    """Measure and print; a missed budget is marked, never an error."""
    parser = argparse.ArgumentParser(description="Measure the budgets side by side with the peers.")
    parser.add_argument("--quick", action="store_true", help="a short run: noisier, memory on a smaller frame")
    parser.add_argument("--only", metavar="NAME", action="append", choices=list(ROWS), help=f"one of {', '.join(ROWS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE as well")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        module = importlib.import_module(f"tests.bench.{ROWS[arguments.only[0]]}")
        sys.stdout.write(json.encode(module.measure(is_quick=arguments.quick)).decode())
        return
    busy = os.getloadavg()[0]
    outcomes: dict[str, Outcome] = {}
    for name in arguments.only or ROWS:
        start = time.perf_counter()
        outcomes[name] = measured(name, is_quick=arguments.quick)
        sys.stderr.write(f"{name}: {time.perf_counter() - start:.0f} s\n")
    sys.stdout.write(tables(list(outcomes.values()), busy))
    if arguments.json:
        arguments.json.write_bytes(json.format(json.encode(outcomes)))


def measured(name: str, *, is_quick: bool) -> Outcome:
    """What one row's process found; a row that fails is one that was not measured, with the reason."""
    command = [sys.executable, "-m", "tests.bench.table", "--child", "--only", name, *(["--quick"] if is_quick else [])]
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
    main()
