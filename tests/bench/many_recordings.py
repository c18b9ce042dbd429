"""Twenty recordings of a day each as one table: what duckdb, polars and Dask answer, and what they read for it.

Each recording has the beginning of a feed's, moved to its day, and frames of 20 quotes, a thousand quotes a second of
its time; all is written by the package's own writer. Each engine answers in a process of its own.

    python -m tests.bench.many_recordings make FOLDER [COUNT ROWS] | duckdb|polars|dask FOLDER
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aries_nb as anb
from aries_nb.model.journal import FRAME, HOLE
from aries_nb.recording import RecordingReader, RecordingWriter
from tests.bench.frames import MESSAGES_A_FRAME, quotes_frames
from tests.bench.long_recording import FLUSH_FRAMES, FRAMES, NS_A_FRAME, peak_mb
from tests.bench.long_recording import make as record
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["make", "measure"]

COUNT, ROWS, QUICK_ROWS, SMOKE_ROWS = 20, 1_000_000, 50_000, 1_000
DAY_NS = 86_400_000_000_000
ENGINES = ("duckdb", "polars", "dask")
DAY, SYMBOL = -2, "MSFT"  # the last day but one
MOST_MB, MOST_TIMES = 1_000, 3


def measure(effort: Effort) -> Outcome:
    """A budget for equal answers, and for each engine one for its memory and one for the bytes that it reads."""
    count, rows = effort.choose(COUNT, COUNT, 2), effort.choose(ROWS, QUICK_ROWS, SMOKE_ROWS)
    is_short = effort is Effort.SMOKE
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), count, rows)
        start = time.perf_counter()
        days: Any = anb.recordings(folder)
        days.seal()
        sealing = time.perf_counter() - start
        sealed = int(anb.recordings(folder)["quotes"].sum())
        found = {name: ask(name, folder) if is_short else _in_a_process(name, folder) for name in ENGINES}
    name = f"{count} recordings, {sealed:,} quotes"
    answers = [each["answer"] for each in found.values()]
    budgets = [
        Budget(f"{name}: answers of duckdb, polars and Dask", "", "equal", all(each == answers[0] for each in answers))
    ]
    for engine, each in found.items():
        fits = is_short or (each["mb"] <= MOST_MB and each["times"] <= MOST_TIMES)
        measured = f"{each['seconds']:.2f} s, {each['mb']:.0f} MB; {each['times']:.2f} × its share"
        what = f"{name}: {engine} over all; bytes read for a symbol of a day"
        budgets.append(Budget(what, measured, f"≤ {MOST_MB:,} MB; ≤ {MOST_TIMES} ×", fits))
    return Outcome(budgets, notes=[f"{name}: sealed in {sealing:.0f} s"])


def make(folder: Path, count: int, rows: int) -> None:
    """Record so many days of so many messages."""
    with tempfile.TemporaryDirectory() as other:
        record(Path(other) / "beginning.anb", MESSAGES_A_FRAME)
        beginning = RecordingReader(Path(other) / "beginning.anb")
        events = [event for event in beginning.events() if event.what != HOLE]
        header = beginning.header.header
    frames = quotes_frames(min(FRAMES, rows // MESSAGES_A_FRAME))
    for day in range(count):
        ago = (count - 1 - day) * DAY_NS
        writer = RecordingWriter(folder / f"{day:02}.anb", broker="aries", made=events[0].received, header=header)
        for event in events:
            writer.add(event.seq, event.received - ago, *event[2:])
        seq, received = 1 + MESSAGES_A_FRAME, events[-1].received - ago
        for number in range(rows // MESSAGES_A_FRAME):
            at = received + (number + 1) * NS_A_FRAME
            writer.add(seq + number * MESSAGES_A_FRAME, at, 1, FRAME, frames[(number + day) % len(frames)])
            if number % FLUSH_FRAMES == 0:
                assert writer.flush(60)
        writer.close()


def ask(engine: str, folder: str) -> dict[str, Any]:
    """Return what an engine answers over all recordings, with the costs, and its bytes for one symbol of one day."""
    days: Any = anb.recordings(folder)
    table = days.sql("select any_value(received)::date as day from quotes").df()  # also imports what is to be imported
    first = days["from"].iloc[DAY].date()
    start = time.perf_counter()
    answer = {"duckdb": _by_duckdb, "polars": _by_polars, "dask": _by_dask}[engine](days)
    seconds = time.perf_counter() - start
    files = [path for day in days["path"] for path in Path(day).glob("tables/quotes/*.parquet")]
    size, total = sum(path.stat().st_size for path in files), sum(each for each, _ in answer.values())
    before = _bytes_read()
    rows = _rows_of_a_symbol(engine, days, str(first))
    read = _bytes_read() - before
    assert len(table)
    return {
        "answer": answer,
        "seconds": seconds,
        "mb": peak_mb(),
        "times": read / (size * rows / total),
        "rows": rows,
    }


def _by_duckdb(days: Any) -> dict[str, tuple[int, float]]:
    rows = days.sql("select symbol, count(*), max(ask_price - bid_price) from quotes group by 1").fetchall()
    return _answer(rows)


def _by_polars(days: Any) -> dict[str, tuple[int, float]]:
    import polars

    spread = (polars.col("ask_price") - polars.col("bid_price")).max()
    return _answer(days.scan("quotes").group_by("symbol").agg(polars.len(), spread).collect().iter_rows())


def _by_dask(days: Any) -> dict[str, tuple[int, float]]:
    import dask

    with dask.config.set(scheduler="threads", num_workers=2):
        rows = days.dask("quotes")
        grouped = rows.assign(spread=rows["ask_price"] - rows["bid_price"]).groupby("symbol")["spread"]
        counts, spreads = dask.compute(grouped.size(), grouped.max())
    return _answer((symbol, count, spreads[symbol]) for symbol, count in counts.items())


def _answer(rows: Any) -> dict[str, tuple[int, float]]:
    return {str(symbol): (int(count), round(float(spread), 9)) for symbol, count, spread in sorted(rows)}


def _rows_of_a_symbol(engine: str, days: Any, day: str) -> int:
    chosen = {"day": day, "symbols": SYMBOL}
    if engine == "duckdb":
        return len(days.sql("select * from quotes", **chosen).df())
    if engine == "polars":
        return int(days.scan("quotes", **chosen).collect().height)
    return len(days.dask("quotes", **chosen).compute(scheduler="threads", num_workers=2))


def _bytes_read() -> int:
    """What this process has read by system calls; libraries that map files would read without."""
    return int(Path("/proc/self/io").read_text().splitlines()[0].split()[1])


def _in_a_process(engine: str, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.many_recordings", engine, folder]
    answer = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


if __name__ == "__main__":
    chosen, place = sys.argv[1], sys.argv[2]
    if chosen == "make":
        os.makedirs(place, exist_ok=True)
        make(Path(place), *map(int, sys.argv[3:5])) if len(sys.argv) > 3 else make(Path(place), COUNT, ROWS)
    else:
        sys.stdout.write(json.dumps(ask(chosen, place)))
