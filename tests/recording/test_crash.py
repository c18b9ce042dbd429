"""A process that records is killed at any moment: what it added a second before is there, and the rest is a hole."""

from __future__ import annotations

import mmap
import random
import signal
import struct
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from aries_nb.model.journal import HOLE, Event, Hole
from aries_nb.recording import RecordingReader
from tests.recording.recorded import MADE, record

SAFE_SECONDS = 1.0
PLACE = struct.Struct("<qdd")  # the number of the next event, the time, and that of the last sync by then

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 of POSIX")


def event(number: int) -> Event:
    """The event with this number, the same in both processes."""
    return Event(number, MADE + number, 1, "frame", b'{"number":%d}' % number * (number % 7))


CHILD = """
import mmap, sys, time
from pathlib import Path
from tests.recording.recorded import writer
from tests.recording.test_crash import PLACE, event
path, places, number, segment_bytes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
recording = writer(path, segment_bytes=segment_bytes)
with open(places, "r+b") as file:
    shared = mmap.mmap(file.fileno(), 0)
slot = 0
while True:
    for _ in range(20):
        recording.add(*event(number))
        number += 1
    PLACE.pack_into(shared, slot * PLACE.size, number, time.monotonic(), recording._synced)
    slot += 1
    time.sleep(0.002)
"""
SLOTS = 20_000


def killed(
    path: Path, places: Path, first: int, seconds: float, *, is_timed: bool = False, segment_bytes: int = 2**30
) -> int:
    """Record in a process, kill it after `seconds`, and return the number of events that must be there.

    These are those that were added before the last sync began; with `is_timed` those of more than a second ago, as is
    promised on a machine that has time for it.
    """
    places.write_bytes(bytes(SLOTS * PLACE.size))
    child = subprocess.Popen([sys.executable, "-c", CHILD, path, places, str(first), str(segment_bytes)])
    with places.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 0)
    while PLACE.unpack_from(shared, 0)[0] == 0:
        assert child.poll() is None
        time.sleep(0.01)
    time.sleep(seconds)
    at = time.monotonic()
    child.send_signal(signal.SIGKILL)
    child.wait()
    noted = [PLACE.unpack_from(shared, slot * PLACE.size) for slot in range(SLOTS)]
    *_, before, _ = [0.0, 0.0, *sorted({synced for number, _, synced in noted if number})]  # the last sync began later
    until = at - SAFE_SECONDS if is_timed else before
    return max((number for number, added, _ in noted if number and added < until), default=first)


@pytest.mark.parametrize("count", [2, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(3_600)])])
def test_kill_loses_nothing_that_was_added_before_the_last_sync(tmp_path, count):
    source = random.Random(1)
    for trial in range(count):
        path = tmp_path / f"{trial}.anb"
        segment_bytes = (2**30, 1)[trial % 2]  # one segment, or one a batch: killed while a new one is begun
        seconds, is_timed = source.uniform(0.0, 2.5), count > 2
        safe = killed(path, tmp_path / "places", 0, seconds, is_timed=is_timed, segment_bytes=segment_bytes)

        read = list(RecordingReader(path).events())

        holes = [one for one in read if one.what == HOLE]
        rows = [one for one in read if one.what != HOLE]
        assert list(map(event, range(len(rows)))) == rows
        assert safe <= len(rows), f"trial {trial}: {safe - len(rows)} events are lost"
        assert holes == read[-1:]
        assert Hole.of(holes[0]).next_seq is None


def test_a_killed_recording_goes_on_after_each_kill(tmp_path):
    path, first, safe = tmp_path / "a.anb", 0, []
    for seconds in (1.3, 0.9, 1.6):
        safe.append((first, killed(path, tmp_path / "places", first, seconds)))
        first += 1_000_000
    record(path, map(event, range(first, first + 10)))

    read = list(RecordingReader(path).events())

    holes = [Hole.of(one) for one in read if one.what == HOLE]
    numbers = [one.seq for one in read if one.what != HOLE]
    assert len(holes) == 3
    assert all("without closing" in hole.reason for hole in holes)
    for start, end in [*safe, (first, first + 10)]:
        assert list(range(start, end)) == list(islice((number for number in numbers if number >= start), end - start))
    assert [hole.next_seq for hole in holes] == [1_000_000, 2_000_000, 3_000_000]
