"""A recording of 10,000,000 quotes: how long it takes to open it and to go anywhere in it, and what others count in it.

A feed records the beginning, the connection with its login; its session then takes frames of 20 quotes, a thousand
quotes a second of the recording's time. Each measurement is made in a process of its own.

    python -m tests.bench.long_recording make|open|seek|count PATH [ROWS]
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aries_nb as anb
from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.background import on_network
from tests.bench.blast import silent
from tests.bench.frames import MESSAGES_A_FRAME, SYMBOLS, quotes_frames
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["make", "measure", "peak_mb"]

ROWS, QUICK_ROWS, SMOKE_ROWS = 10_000_000, 1_000_000, 10_000
NS_A_FRAME = 20_000_000
FRAMES = 5_000
SEEKS, FIRST_SEEKS = 20, 4
DEFAULT_ROWS = 100_000
FLUSH_FRAMES, FRAMES_A_TURN = 5_000, 500


def measure(effort: Effort) -> Outcome:
    """A budget each for opening, for going anywhere, and for the counts of duckdb, polars and Dask."""
    rows = effort.choose(ROWS, QUICK_ROWS, SMOKE_ROWS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.anb"
        make(path, rows)
        measured = (lambda what, path: MEASURES[what](path)) if effort is Effort.SMOKE else _in_a_process
        opened, sought, counted = (measured(what, path) for what in ("open", "seek", "count"))
    name = f"a recording of {rows:,} quotes"
    return Outcome(
        [
            Budget(
                f"{name}: opened",
                f"{opened['seconds']:.2f} s, {opened['mb']:.0f} MB",
                "≤ 2 s, ≤ 300 MB",
                opened["seconds"] <= 2 and opened["mb"] <= 300,
                opened,
            ),
            Budget(
                f"{name}: a first seek, to its end, its middle and {FIRST_SEEKS} other places; the longest",
                f"{sought['first']:.2f} s",
                "≤ 2 s",
                sought["first"] <= 2,
                sought,
            ),
            Budget(
                f"{name}: {SEEKS} seeks after it; the longest",
                f"{sought['again']:.2f} s",
                "≤ 2 s",
                sought["again"] <= 2,
                sought,
            ),
            Budget(
                f"{name}: duckdb, polars and Dask count as the ledger does",
                f"in {counted['queries']:.1f} s, sealed in {counted['sealing']:.0f} s, {counted['mb']:.0f} MB at most",
                "equal",
                bool(counted["equal"]),
                counted,
            ),
        ],
    )


def make(path: Path, rows: int) -> None:
    """Record a feed's beginning, then so many quotes."""
    path = path.resolve()
    with (
        silent() as url,
        Feed(BROKERS["aries"], url, fixed_token("a token"), at_close=lambda _: None, record=path) as feed,
    ):
        feed.wait_open(10)
        quotes = feed.quotes(*SYMBOLS)  # whose stream would end with it
        recording, session, clock = feed.record(path), feed._link._pool.sessions[0], feed._arrivals.clock
        frames = quotes_frames(min(FRAMES, rows // MESSAGES_A_FRAME))
        now = clock.now_ns()

        def take(some: Sequence[bytes]) -> None:
            nonlocal now
            for frame in some:
                now += NS_A_FRAME
                session.take(deque([frame]), lambda: False)
            session.publish()

        clock.now_ns = lambda: now if clock.held is None else clock.held  # type: ignore[method-assign]
        for number in range(0, rows // MESSAGES_A_FRAME, FRAMES_A_TURN):
            count = min(FRAMES_A_TURN, rows // MESSAGES_A_FRAME - number)
            on_network(lambda count=count: take(frames[:count])).result()
            if number % FLUSH_FRAMES == 0:
                recording.flush(60)
        recording.close()
        quotes.close()


def peak_mb() -> float:
    """The most memory of this process since its program began; `ru_maxrss` counts that of its parent as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _open(path: Path) -> dict[str, float]:
    start = time.perf_counter()
    with anb.replay(path) as past:
        seconds = time.perf_counter() - start
        past.clock.pause()
    return {"seconds": seconds, "mb": peak_mb()}


def _seek(path: Path) -> dict[str, float]:
    source, times, firsts = random.Random(1), [], []
    for share in (*(source.random() for _ in range(FIRST_SEEKS)), 0.5, 1.0):
        with anb.replay(path) as past:
            past.clock.pause()
            quotes = past.quotes(*SYMBOLS)
            start = time.perf_counter()
            past.clock.seek(past.clock.start + (past.clock.end - past.clock.start) * share)
            firsts.append(time.perf_counter() - start)
            assert len(quotes.df) == min(quotes.ledger.received, DEFAULT_ROWS)
            for _ in range(SEEKS if share == 1.0 else 0):
                instant = past.clock.start + (past.clock.end - past.clock.start) * source.random()
                start = time.perf_counter()
                past.clock.seek(instant)
                times.append(time.perf_counter() - start)
                assert not quotes.latest["received"].max() > past.clock.now  # nor where there is none yet
    return {"first": max(firsts), "again": max(times), "mb": peak_mb()}


def _count(path: Path) -> dict[str, float]:
    import dask

    recording: Any = anb.recordings(path)
    start = time.perf_counter()
    by_duckdb = recording.sql("select symbol, count(*) as n from quotes group by 1").df().set_index("symbol")["n"]
    sealing = time.perf_counter() - start
    start = time.perf_counter()
    found = [recording.sql("select symbol, count(*) as n from quotes group by 1").df().set_index("symbol")["n"]]
    polars = recording.scan("quotes").group_by("symbol").len().collect()
    with dask.config.set(scheduler="threads", num_workers=2):
        by_dask = recording.dask("quotes").groupby("symbol", observed=True).size().compute()
    queries = time.perf_counter() - start
    counts = [dict(each) for each in (by_duckdb, *found, by_dask)]
    counts.append(dict(polars.iter_rows()))
    with anb.replay(path, speed="max") as past:
        frames = {symbol: past.quotes(symbol, rows=10) for symbol in SYMBOLS}
        past.clock.seek(past.clock.end)
        ledger = {symbol: frame.ledger.received - frame.ledger.rowless for symbol, frame in frames.items()}
    return {
        "equal": float(all(Counter(each) == Counter(ledger) for each in counts)),
        "sealing": sealing,
        "queries": queries,
        "mb": peak_mb(),
    }


MEASURES = {"open": _open, "seek": _seek, "count": _count}


def _in_a_process(what: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.long_recording", what, str(path)]
    answer = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


if __name__ == "__main__":
    chosen, place = sys.argv[1], Path(sys.argv[2])
    if chosen == "make":
        make(place, int(sys.argv[3]))
    else:
        sys.stdout.write(json.dumps(MEASURES[chosen](place)))
