"""Recordings for tests: events as a feed adds them, and short ways to write them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aries_nb.model.journal import Event
from aries_nb.recording import RecordingWriter

__all__ = ["MADE", "events", "record", "writer"]

MADE = 1_767_607_200_000_000_000


def events(count: int, *, seed: int = 1) -> list[Event]:
    """`count` events of a feed: frames above all, each 0 to 2 ms and 0 to 3 records after the other."""
    source = random.Random(seed)
    found, seq, received = [], 0, MADE
    for number in range(count):
        seq += source.randrange(4)
        received += source.randrange(2_000_000)
        what = "frame" if source.random() < 0.98 else source.choice(("tick", "subscribe", "http"))
        body = b'{"number":%d,"price":%.2f}' % (number, source.uniform(100, 200))
        found.append(Event(seq, received, source.randrange(1, 4), what, body * source.randrange(1, 8)))
    return found


def writer(path: Path, **options: Any) -> RecordingWriter:
    """A writer of a recording of Aries."""
    return RecordingWriter(path, **{"broker": "aries", "made": MADE} | options)


def record(path: Path, added: Iterable[Event], *, per_batch: int | None = None, **options: Any) -> Path:
    """Write a recording, and return its path. Each `per_batch` events are synced, and so a batch of their own."""
    recording = writer(path, **options)
    for number, event in enumerate(added, 1):
        recording.add(*event)
        if per_batch and number % per_batch == 0:
            assert recording.flush()
    recording.close()
    assert recording.error is None
    return path
