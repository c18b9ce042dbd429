"""Snapshots and the past: 20 frames at once, a frame and a book as of an instant, the intake while a slider moves."""

from __future__ import annotations

import random
import threading
import time
from statistics import median

from aries_nb.live import Feed
from aries_nb.store import OrderBook
from aries_nb.store.past.frames import CapturedFrame, FrozenFrame
from tests.bench.filled import FilledFrame, silent_feed
from tests.bench.frames import SYMBOLS
from tests.bench.results import Budget, Effort, Outcome

__all__ = ["measure"]

FRAMES = 20
BOOK_NS = 1_000_000  # between two updates of the book
MOVES_S = 0.1


def measure(effort: Effort) -> Outcome:
    """Four budgets."""
    outcome = Outcome()
    with silent_feed() as feed:
        filled = FilledFrame.of(feed, effort.choose(1_000_000, 1_000_000, 20_000))
        outcome.budgets.append(_frame(filled, effort))
        outcome.budgets.append(_intake(feed, filled, effort))
    with silent_feed() as feed:
        outcome.budgets.append(_snapshot(feed, effort))
    outcome.budgets.append(_book(effort))
    return outcome


def _frame(filled: FilledFrame, effort: Effort) -> Budget:
    slab, start, end, *_ = filled.tape.published
    received = slab.received[start:end]
    costs = []
    for _ in range(effort.choose(300, 100, 3)):
        filled.grow(3)
        at = int(random.choice(received)) * 1_000
        begun = time.perf_counter()
        FrozenFrame(CapturedFrame.of(filled.tape), at).frame()
        costs.append(time.perf_counter() - begun)
    return _budget(f"frame of {len(filled.live):,} rows as of an instant", costs)


def _book(effort: Effort) -> Budget:
    updates = effort.choose(300_000, 100_000, 2_000)
    chance, now = random.Random(1), 0
    book = OrderBook("AAPL", lambda: now)
    for number in range(1, updates):
        now = number * BOOK_NS
        price, size = round(chance.gauss(100, 0.2), 2), 100.0 * chance.randrange(9)
        book.buffer.add(0, now, (price, size, 0.0) if chance.random() < 0.5 else (price, 0.0, size))
        book.buffer.mark(now)
        book.publish()
    costs = []
    for _ in range(effort.choose(300, 100, 3)):
        at = chance.randrange(max(book.held_from, 1), now)
        begun = time.perf_counter()
        past = book.past(at)
        assert past is not None
        book.rebuilt(past).levels(10, now=at)
        costs.append(time.perf_counter() - begun)
    return _budget(f"book as of an instant, {(now - book.held_from) // BOOK_NS:,} updates in memory", costs)


def _snapshot(feed: Feed, effort: Effort) -> Budget:
    frames = [FilledFrame.of(feed, 10_000 + number, SYMBOLS) for number in range(FRAMES)]
    costs = []
    for _ in range(effort.choose(300, 100, 3)):
        for each in frames:
            each.grow(1)
        begun = time.perf_counter()
        now = feed.snapshot()
        costs.append(time.perf_counter() - begun)
        assert len(now[frames[0].live]) == 10_000
    return _budget(f"snapshot of {FRAMES} frames", costs)


def _intake(feed: Feed, filled: FilledFrame, effort: Effort) -> Budget:
    """Rows are taken while the board is drawn ten times a second, of now or at moments to which a slider moves."""
    timeline, seconds = feed.timeline(), effort.choose(1.0, 0.5, 0.05)
    ratios = []
    for _ in range(effort.choose(9, 5, 1)):
        rates = {is_moving: _rate(filled, seconds, is_moving=is_moving) for is_moving in (False, True)}
        timeline.live()
        ratios.append(rates[True] / rates[False])
    ratio = median(ratios)
    what = "intake while the slider moves ten times a second, by that without"
    return Budget(what, f"{ratio:.3f} ×", "≥ 0.95 ×", ratio >= 0.95, {"ratio": ratio})


def _rate(filled: FilledFrame, seconds: float, *, is_moving: bool) -> float:
    source, stop = filled.live._view_source, threading.Event()
    shown = source._live.shown

    def draw() -> None:
        while not stop.wait(MOVES_S):
            slab, start, end, *_ = filled.tape.published
            if is_moving:
                shown.move(int(slab.received[random.randrange(start, end)]) * 1_000)
            source.board()
            source.rows(max(source.rows(2**62).end - 1_000, 0))

    drawing = threading.Thread(target=draw)
    drawing.start()
    rows, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        filled.grow(20)
        rows += 20
    rate = rows / (time.perf_counter() - begun)
    stop.set()
    drawing.join()
    return rate


def _budget(what: str, costs: list[float]) -> Budget:
    ms = median(costs) * 1e3
    return Budget(what, f"{ms:.3f} ms", "≤ 1 ms", ms <= 1, {"ms": ms})
