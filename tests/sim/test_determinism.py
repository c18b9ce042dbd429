"""A seeded market is a function of its seed and of market time: the pace, pauses and a busy machine change nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
ROUGH = "all"


@contextmanager
def run(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    # Texts are hashed otherwise in each process, so that an order that comes of a set shows.
    seed = {**os.environ, "PYTHONHASHSEED": "random"}
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=seed, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def events(broker: str, speed: str, count: int, *, pauses: int, rough: str) -> dict[str, Any]:
    """What the market generates first at a pace, in a process of its own."""
    module = ("-m", "tests.sim.market_events")
    with run(*module, broker, speed, str(count), str(pauses), rough) as process:
        found: dict[str, Any] = json.loads(process.communicate()[0])
    return found


@pytest.mark.parametrize(
    ("broker", "rough"),
    [
        ("aries", ROUGH),
        ("alor", ""),
        *(pytest.param(*case, marks=pytest.mark.long) for case in (("aries", ""), ("alor", ROUGH))),
    ],
)
def test_a_seeded_market_has_the_same_events_at_any_pace(broker: str, rough: str) -> None:
    found = [events(broker, speed, 4_000, pauses=3, rough=rough)["sha256"] for speed in ("1", "50", "max")]

    assert len(set(found)) == 1


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_the_first_100_000_events_are_the_same_at_any_pace_beside_two_busy_processes(broker: str) -> None:
    busy = ("-c", "while True: pass")
    with run(*busy), run(*busy):
        found = {speed: events(broker, speed, 100_000, pauses=20, rough=ROUGH) for speed in ("1", "50", "max")}

    assert len({each["sha256"] for each in found.values()}) == 1, found
