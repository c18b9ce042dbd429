"""Interleaved rounds: A, B, A, B …, so that a noisy machine is as noisy to one competitor as to the other."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from statistics import median

__all__ = ["Rates", "interleaved", "ratio"]

Rates = dict[str, list[float]]


def interleaved(competitors: Mapping[str, Callable[[], int]], rounds: int) -> Rates:
    """Things done a second by each competitor in each round; a competitor returns how many it did.

    The time of a turn is the smaller of wall clock and CPU time of the process: on a busy machine the wall clock counts
    what others do, and CPU time counts twice what a competitor does on two threads at once. One round before the first
    is not counted, unless there is one alone. Garbage is collected between turns, and every second round goes
    backwards, so that none always follows the same other.
    """
    rates: Rates = {name: [] for name in competitors}
    for number in range(-1 if rounds > 1 else 0, rounds):
        order = list(competitors) if number % 2 else list(reversed(competitors))
        for name in order:
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            count = competitors[name]()
            elapsed = min(time.perf_counter() - wall, time.process_time() - cpu)
            if number >= 0:
                rates[name].append(count / elapsed)
    return rates


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Median of ours / theirs over the rounds in which something of theirs arrived; NaN where there is none."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True) if b]
    return median(ratios) if ratios else math.nan
