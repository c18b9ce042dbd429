"""What a recording costs a feed: CPU time of the process and bytes on the disk for each quote, on both brokers.

A batch is what a feed of a thousand quotes a second adds in one; the writer's thread encodes, writes and syncs it. The
loop without a recording is taken off. Then the recording is read, at one go and from a time in the middle.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aries_nb.model.journal import FRAME
from aries_nb.recording import RecordingReader, RecordingWriter
from tests.bench.alor_frames import alor_frames
from tests.bench.frames import MESSAGES_A_FRAME, START_MS, SYMBOLS, quotes_frames
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["measure"]

NS_A_QUOTE = 1_000_000  # a thousand quotes a second, in the recording's time
BUDGETS = {"20 a frame": (0.8, 20.0), "one a frame": (1.5, 30.0)}


def measure(effort: Effort) -> Outcome:
    """A budget for each way in which brokers send quotes, and two for reading."""
    count = effort.choose(400_000, 100_000, 2_000)
    guids = {symbol: f"0b6e9a3c-5f3c-4d52-9f6e-{number:012}" for number, symbol in enumerate(SYMBOLS)}
    loads = {
        "20 a frame": (quotes_frames(min(count, 100_000) // MESSAGES_A_FRAME), MESSAGES_A_FRAME),
        "one a frame": (alor_frames(min(count, 20_000), guids), 1),
    }
    outcome = Outcome()
    for name, (frames, quotes) in loads.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bench.anb"
            cpu_us, size = _cost(path, frames, quotes, count)
            outcome.budgets.append(_budget(name, cpu_us, size))
            outcome.notes.append(f"recording of quotes, {name}: {_read(path, quotes)}")
    return outcome


def _budget(name: str, cpu_us: float, size: float) -> Budget:
    most_us, most_bytes = BUDGETS[name]
    return Budget(
        f"recording a quote, {name}: CPU time of the process, bytes on the disk",
        f"{cpu_us:.2f} µs, {size:.1f} bytes",
        f"≤ {most_us} µs, ≤ {most_bytes:.0f} bytes",
        cpu_us <= most_us and size <= most_bytes,
        {"cpu_us": cpu_us, "bytes": size},
    )


def _cost(path: Path, frames: Sequence[bytes], quotes: int, count: int) -> tuple[float, float]:
    """CPU time in µs and bytes of a quote."""
    writer = RecordingWriter(path, broker="bench", made=START_MS * 1_000_000)
    writer.flush()
    before = time.process_time()
    _add(writer.extend, writer.flush, frames, quotes, count // quotes)
    writer.close()
    spent = time.process_time() - before
    before = time.process_time()
    _add(lambda *_: None, lambda: True, frames, quotes, count // quotes)
    spent -= time.process_time() - before
    assert writer.error is None
    return spent / count * 1e6, writer.statistics().bytes / count


def _add(add: Callable[..., None], flush: Callable[[], bool], frames: Sequence[bytes], quotes: int, count: int) -> None:
    """Add frames; after each second of the recording's time, what a feed at that rate adds in one is synced."""
    received, second = START_MS * 1_000_000, NS_A_QUOTE * 1_000
    due = received + second
    for number in range(count):
        received += NS_A_QUOTE * quotes
        # A read has one frame at this rate.
        add((received + number * 7_919 % 1_000_000, 1, FRAME, (number * quotes,), (frames[number % len(frames)],)))
        if received >= due:
            due += second
            flush()


def _read(path: Path, quotes: int) -> str:
    start = time.perf_counter()
    reader = RecordingReader(path)
    opened = time.perf_counter()
    count = sum(1 for _ in reader.events())
    read = time.perf_counter()
    summary = reader.summary
    assert summary.first_received is not None
    assert summary.last_received is not None
    next(reader.events((summary.first_received + summary.last_received) // 2))
    sought = time.perf_counter()
    return (
        f"opened in {(opened - start) * 1e3:.1f} ms, read at {count * quotes / (read - opened):,.0f} quotes/s, "
        f"begun in the middle in {(sought - read) * 1e3:.1f} ms"
    )
