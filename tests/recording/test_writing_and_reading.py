"""What is added to a recording is read from it, whole and in order; who may do what with its folder."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aries_nb.errors import RecordingError, UsageError
from aries_nb.model.journal import HOLE, Event, Hole
from aries_nb.recording import RecordingReader, RecordingWriter, segments
from aries_nb.recording.format import BATCH_BYTES, ROW_BYTES, batches_of
from tests.recording.recorded import MADE, events, record, writer

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")


def test_events_come_back_whole_and_in_order(tmp_path):
    added = events(5_000)

    path = record(tmp_path / "today.anb", added)

    assert added == list(RecordingReader(path).events())
    assert RecordingReader(path).holes() == []


def test_events_of_any_size_come_back(tmp_path):
    added = [
        Event(number, MADE + number, 0, "frame", os.urandom(size)) for number, size in enumerate((0, 1, 3_000_000, 7))
    ]

    path = record(tmp_path / "today.anb", added)

    assert added == list(RecordingReader(path).events())


def test_events_that_came_together_come_back_one_by_one(tmp_path):
    added = events(400)
    recording = writer(tmp_path / "today.anb")
    expected = []
    for start in range(0, 400, 40):
        first, bodies = added[start], [event.body for event in added[start : start + start % 7 + 1]]
        seqs = range(first.seq, first.seq + len(bodies))
        recording.extend((first.received, first.connection, first.what, seqs, bodies))
        expected += [first._replace(seq=seq, body=body) for seq, body in zip(seqs, bodies, strict=True)]
    recording.close()

    assert expected == list(RecordingReader(tmp_path / "today.anb").events())


def test_what_piled_up_is_shared_out_to_batches_of_bounded_size():
    groups = [(MADE + number, 1, "frame", range(50), [bytes(1_000)] * 50) for number in range(200)]

    batches = [*batches_of(groups)]

    assert groups == [group for batch in batches for group in batch]
    assert {len(batch) * 50 * (1_000 + ROW_BYTES) // BATCH_BYTES for batch in batches[:-1]} == {1}


def test_what_comes_while_a_batch_is_taken_is_shared_out_too(tmp_path, monkeypatch):
    taken = RecordingWriter._take

    def late(self):
        while not self._rows_before and len(self._groups) < 200:  # as if this thread had stood still
            seq = 1 + 500 * len(self._groups)
            self.extend((MADE, 1, "frame", range(seq, seq + 500), [b"x"] * 500))
        return taken(self)

    monkeypatch.setattr(RecordingWriter, "_take", late)
    recording = writer(tmp_path / "today.anb")
    assert recording.flush()
    recording.close()

    assert [event.seq for event in RecordingReader(tmp_path / "today.anb").events()] == [*range(1, 100_001)]


def test_reading_begins_at_a_time(tmp_path):
    added = events(5_000)
    path = record(tmp_path / "today.anb", added)
    start = added[3_210].received

    assert added[3_210:] == list(RecordingReader(path).events(start))
    assert list(RecordingReader(path).events(added[-1].received + 1)) == []


def test_summary_says_what_there_is_without_reading_it(tmp_path):
    added = events(5_000)

    summary = RecordingReader(record(tmp_path / "today.anb", added)).summary

    assert summary.events == 5_000
    assert (added[0].received, added[-1].received) == (summary.first_received, summary.last_received)
    assert summary.segments == 1


def test_header_keeps_what_the_caller_noted(tmp_path):
    with_header = RecordingWriter(tmp_path / "a.anb", broker="aries", made=MADE, header={"symbols": ["AAPL"]})
    with_header.close()

    header = RecordingReader(tmp_path / "a.anb").header

    assert (header.broker, header.made, header.format) == ("aries", MADE, 1)
    assert header.header == {"symbols": ["AAPL"]}


def test_flush_brings_what_was_added_to_the_disk(tmp_path):
    added = events(10)
    recording = writer(tmp_path / "a.anb")
    for event in added:
        recording.add(*event)

    assert recording.flush()

    assert added == [event for event in RecordingReader(tmp_path / "a.anb").events() if event.what != HOLE]
    assert recording.statistics().rows == 10
    recording.close()


def test_a_recording_that_is_not_closed_says_that_its_end_is_not_known(tmp_path):
    recording = writer(tmp_path / "a.anb")
    recording.add(7, MADE, 1, "frame", b"{}")
    recording.flush()

    [hole] = RecordingReader(tmp_path / "a.anb").holes()

    assert hole[1:] == (7, MADE, None, None)
    assert "not closed" in hole.reason
    recording.close()
    assert RecordingReader(tmp_path / "a.anb").holes() == []


def test_close_may_be_called_twice_and_nothing_is_taken_afterwards(tmp_path):
    recording = writer(tmp_path / "a.anb")
    recording.close()
    recording.close()

    recording.add(1, MADE, 1, "frame", b"{}")

    assert list(RecordingReader(tmp_path / "a.anb").events()) == []
    assert recording.error is None


def test_recording_goes_on_after_a_restart_and_says_where_the_hole_is(tmp_path):
    before, after = events(3_000)[:1_500], events(3_000)[1_500:]
    path = record(tmp_path / "a.anb", before)

    recording = writer(path)
    for event in after:
        recording.add(*event)
    recording.close()

    assert Hole(recording.hole.reason, before[-1].seq, before[-1].received, None, None) == recording.hole
    read = list(RecordingReader(path).events())
    assert [*before, *after] == [event for event in read if event.what != HOLE]
    hole = Hole.of(read[1_500])
    assert (before[-1].seq, before[-1].received, after[0].seq, after[0].received) == hole[1:]
    assert "closed" in hole.reason


@needs_posix
@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_only_the_owner_may_read_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        path = record(tmp_path / "a.anb", events(10))
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()}


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("mine")])
def test_a_path_that_is_something_else_is_refused(tmp_path, make):
    make(tmp_path / "mine")

    with pytest.raises(UsageError, match="not a recording"):
        writer(tmp_path / "mine")
    with pytest.raises(UsageError, match="not a recording"):
        RecordingReader(tmp_path / "mine")


def test_a_path_with_nothing_has_no_recording(tmp_path):
    with pytest.raises(UsageError, match="no recording"):
        RecordingReader(tmp_path / "none.anb")


def test_a_recording_of_another_broker_is_refused(tmp_path):
    path = record(tmp_path / "a.anb", events(10))

    with pytest.raises(UsageError, match="of 'aries', not of 'alor'"):
        RecordingReader(path, broker="alor")
    with pytest.raises(UsageError, match="of 'aries', not of 'alor'"):
        writer(path, broker="alor")


def test_a_newer_format_is_refused(tmp_path):
    path = record(tmp_path / "a.anb", events(10))
    header = json.loads((path / "recording.json").read_text())
    (path / "recording.json").write_text(json.dumps(header | {"format": 2, "more": 1}))

    with pytest.raises(RecordingError, match="has format 2"):
        RecordingReader(path)
    with pytest.raises(RecordingError, match="has format 2"):
        writer(path)


def test_a_second_writer_is_refused(tmp_path):
    recording = writer(tmp_path / "a.anb")

    with pytest.raises(RecordingError, match="being written by another"):
        writer(tmp_path / "a.anb")
    other = subprocess.run(
        [sys.executable, "-c", OPEN, str(tmp_path / "a.anb")], capture_output=True, text=True, cwd=Path.cwd()
    )

    assert "being written by another" in other.stderr
    recording.close()
    writer(tmp_path / "a.anb").close()


OPEN = "import sys; from pathlib import Path; from tests.recording.recorded import writer; writer(Path(sys.argv[1]))"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork of POSIX")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_writes_nothing_and_leaves_the_lock_to_its_parent(tmp_path):
    added = events(10)
    recording = writer(tmp_path / "a.anb")
    for event in added:
        recording.add(*event)

    def in_child():
        recording.add(99, MADE, 1, "frame", b"of the child")
        recording.close()

    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    child.join()
    with pytest.raises(RecordingError, match="being written by another"):
        writer(tmp_path / "a.anb")
    recording.close()

    assert child.exitcode == 0
    assert added == list(RecordingReader(tmp_path / "a.anb").events())


def test_reading_begins_at_any_time_in_a_long_segment(tmp_path, monkeypatch):
    added = events(4_000)
    path = record(tmp_path / "a.anb", added, per_batch=40)
    monkeypatch.setattr(segments, "CHUNK_BYTES", 2_000)

    for place in range(0, 4_000, 37):
        first = next(number for number, event in enumerate(added) if event.received >= added[place].received)
        assert added[first:] == list(RecordingReader(path).events(added[place].received))


def test_reading_begins_after_a_time_to_which_the_clock_was_set_back(tmp_path):
    early, late = events(200), [event._replace(received=event.received - 3_600 * 10**9) for event in events(400)[200:]]
    path = record(tmp_path / "a.anb", [*early, *late], per_batch=50)

    read = list(RecordingReader(path).events(early[100].received))

    assert [*early[100:], *late] == read


def test_events_of_some_kinds_are_found_without_reading_the_others(tmp_path, monkeypatch):
    added = [
        event._replace(what="frame" if number % 500 else "subscribe") for number, event in enumerate(events(4_000))
    ]
    path = record(tmp_path / "a.anb", added, per_batch=40)
    decoded = []
    read = segments.Segment.groups
    monkeypatch.setattr(segments.Segment, "groups", lambda *given: decoded.append(given) or read(*given))

    found = list(RecordingReader(path).events(whats=frozenset({"subscribe"})))

    assert added[::500] == found
    assert len(decoded) == 8
