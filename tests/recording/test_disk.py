"""Disks that are full, slow, or gone end a recording loudly; old segments are deleted; the feed goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading

import pytest

from aries_nb.errors import RecordingError
from aries_nb.model.journal import HOLE, Hole
from aries_nb.recording import RecordingReader
from aries_nb.recording import writer as writing
from tests.recording.recorded import MADE, events, record, writer

SECOND = 1_000_000_000
FULL = """
import os, resource, sys
from pathlib import Path
from tests.recording.recorded import MADE, writer
errors = []
recording = writer(Path(sys.argv[1]), on_error=errors.append)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for number in range(200):
    recording.add(number, MADE + number, 1, "frame", os.urandom(1_000))
    if number % 10 == 0:
        recording.flush()
recording.close()
assert errors == [recording.error], errors
print(recording.statistics().rows, recording.error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_ends_the_recording_and_leaves_what_was_synced(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path / "a.anb"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    rows, error = done.stdout.split(" ", 1)
    assert "there is no room on the disk" in error
    read = list(RecordingReader(tmp_path / "a.anb").events())
    assert 50 < int(rows) < 100
    assert list(range(int(rows))) == [event.seq for event in read if event.what != HOLE]
    assert "not closed" in Hole.of(read[-1]).reason


def test_a_disk_that_does_not_follow_ends_the_recording(tmp_path, monkeypatch):
    answers = threading.Event()
    sync = writing.os.fsync
    errors = []
    recording = writer(tmp_path / "a.anb", queue_bytes=1_000_000, on_error=errors.append)
    recording.add(0, MADE, 1, "frame", b"{}")
    recording.flush()
    monkeypatch.setattr(writing.os, "fsync", lambda file: answers.wait(60) and sync(file))

    for number in range(5_000):
        recording.add(number, MADE + number, 1, "frame", bytes(1_000))

    assert [recording.error] == errors
    assert "too slow" in str(recording.error)
    assert recording._groups == []
    answers.set()
    recording.close()
    assert next(RecordingReader(tmp_path / "a.anb").events()).seq == 0


def test_a_folder_that_is_deleted_ends_the_recording(tmp_path):
    recording = writer(tmp_path / "a.anb")
    recording.add(0, MADE, 1, "frame", b"{}")
    assert recording.flush()
    shutil.rmtree(tmp_path / "a.anb")

    recording.add(1, MADE, 1, "frame", b"{}")

    assert not recording.flush()
    assert "deleted" in str(recording.error)
    recording.close()


def test_an_event_that_is_none_ends_the_recording_and_not_the_feed(tmp_path):
    recording = writer(tmp_path / "a.anb")
    recording.add(0, MADE, 1, "frame", b"{}")
    assert recording.flush()

    recording.add(1, "soon", 1, "frame", b"{}")

    assert not recording.flush()
    assert "could not be recorded" in str(recording.error)
    recording.close()
    assert [event.seq for event in RecordingReader(tmp_path / "a.anb").events() if event.what != HOLE] == [0]


FORBIDDEN = """
import os, sys
from pathlib import Path
from aries_nb.recording import RecordingReader
from tests.recording.recorded import writer
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write anywhere
for make in (lambda: writer(Path(sys.argv[1]) / "a.anb"), lambda: RecordingReader(Path(sys.argv[1]) / "a.anb")):
    try:
        make()
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_a_folder_without_permission_is_said(tmp_path):
    (tmp_path / "mine").mkdir(mode=0o000)

    done = subprocess.run([sys.executable, "-c", FORBIDDEN, tmp_path / "mine"], capture_output=True, text=True)

    assert done.stdout.count("RecordingError the recording's folder does not allow it") == 2, done.stdout + done.stderr


def test_a_file_in_the_way_is_said(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(RecordingError, match="file"):
        writer(tmp_path / "file" / "a.anb")


def test_a_segment_ends_at_its_size_and_at_its_time(tmp_path):
    by_size = record(tmp_path / "a.anb", events(1_000), per_batch=100, segment_bytes=5_000)
    by_time = record(tmp_path / "b.anb", events(1_000), per_batch=100, segment_s=0.0)

    assert 3 <= len(list(by_size.glob("*.arrows"))) <= 10
    assert 10 <= len(list(by_time.glob("*.arrows"))) <= 11
    for path in (by_size, by_time):
        assert events(1_000) == list(RecordingReader(path).events())
        assert RecordingReader(path).holes() == []


def test_what_is_older_than_keep_is_deleted_and_a_hole(tmp_path):
    added = [event._replace(received=MADE + number * SECOND) for number, event in enumerate(events(1_000))]

    path = record(tmp_path / "a.anb", added, per_batch=100, segment_s=0.0, keep_s=350.0)

    read = list(RecordingReader(path).events())
    assert added[600:] == read[1:]
    assert Hole("deleted by keep", 0, 0, added[600].seq, added[600].received) == Hole.of(read[0])
    assert RecordingReader(path).summary.events == 400


def test_the_oldest_segments_beyond_the_size_are_deleted(tmp_path):
    added = events(5_000)

    path = record(tmp_path / "a.anb", added, per_batch=100, most_bytes=100_000)

    read = list(RecordingReader(path).events())
    assert added[1 - len(read) :] == read[1:]
    assert 1_000 < len(read) < 4_900
    assert Hole.of(read[0]).reason == "deleted by max_gb"
    assert 50_000 < sum(file.stat().st_size for file in path.glob("*.arrows")) <= 100_000


def test_statistics_say_what_was_written(tmp_path):
    recording = writer(tmp_path / "a.anb")
    for event in events(1_000):
        recording.add(*event)
    recording.flush()

    statistics = recording.statistics()

    assert (statistics.rows, statistics.segments, statistics.error) == (1_000, 1, None)
    assert statistics.bytes == (tmp_path / "a.anb" / "000001.arrows").stat().st_size
    assert statistics.rows_per_s > 0
    assert 0 <= statistics.sync_age_s < 30
    assert statistics.free_bytes > 0
    recording.close()


def test_segments_that_are_deleted_while_they_are_read_are_a_hole(tmp_path):
    added = [event._replace(received=MADE + number * SECOND) for number, event in enumerate(events(1_000))]
    path = record(tmp_path / "a.anb", added[:500], per_batch=100, segment_s=0.0)
    reader = RecordingReader(path)
    read = reader.events()
    first = next(read)

    record(path, added[500:], per_batch=100, segment_s=0.0, keep_s=650.0)

    rest = list(read)
    assert first == added[0]
    assert next(Hole.of(event).reason for event in rest if event.what == HOLE) == "deleted by keep"
    assert len([event for event in rest if event.what != HOLE]) < 500
