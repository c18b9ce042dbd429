"""Files that were cut, flipped, filled with zeros or mixed: no wrong event, and no hole that is not said."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from aries_nb.errors import RecordingError
from aries_nb.model.journal import HOLE, Event, Hole
from aries_nb.recording import RecordingReader
from aries_nb.recording.format import MOST_BATCH_BYTES
from aries_nb.recording.messages import MessageError, parse
from aries_nb.recording.segments import Segment
from tests.recording.recorded import events, record

ADDED = events(2_000)
PER_BATCH = 100


def flip(data: bytearray, source: random.Random) -> None:
    data[source.randrange(len(data))] ^= 1 << source.randrange(8)


def cut(data: bytearray, source: random.Random) -> None:
    del data[source.randrange(len(data)) :]


def end_in_zeros(data: bytearray, source: random.Random) -> None:
    cut(data, source)
    data += bytes(source.randrange(1, 9_000))


def zeros_inside(data: bytearray, source: random.Random) -> None:
    start = source.randrange(len(data))
    count = min(source.randrange(1, 9_000), len(data) - start)
    data[start : start + count] = bytes(count)


def rubbish_inside(data: bytearray, source: random.Random) -> None:
    start = source.randrange(len(data))
    count = min(source.randrange(1, 9_000), len(data) - start)
    data[start : start + count] = source.randbytes(count)


def a_part_twice(data: bytearray, source: random.Random) -> None:
    start = source.randrange(len(data) // 8) * 8
    data[start:start] = data[start : start + 8 * source.randrange(1, 1_000)]


DAMAGES = (flip, flip, flip, cut, end_in_zeros, zeros_inside, rubbish_inside, a_part_twice)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 20 batches in one segment."""
    return record(tmp_path_factory.mktemp("whole") / "a.anb", ADDED, per_batch=PER_BATCH)


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(1_800)])])
def test_damage_anywhere_loses_no_more_than_it_touches_and_is_said(whole, count):
    file = whole / "000001.arrows"
    data = file.read_bytes()
    source = random.Random(1)
    try:
        for number in range(count):
            damaged = bytearray(data)
            damage = DAMAGES[number % len(DAMAGES)]
            damage(damaged, source)
            file.write_bytes(damaged)

            read = list(RecordingReader(whole).events())

            lost = check(read, ADDED)
            if damage is flip:
                assert lost <= PER_BATCH, f"trial {number}"
            if damage is a_part_twice:
                assert lost <= 2 * PER_BATCH, f"trial {number}"
    finally:
        file.write_bytes(data)


def check(read: list[Event], added: list[Event]) -> int:
    """Each event is one of those added, in their order; a hole is exactly where some are missing. Return how many."""
    place = lost = 0
    hole: Hole | None = None
    for event in read:
        if event.what == HOLE:
            assert hole is None, "two holes in one place"
            hole = Hole.of(event)
            continue
        start = place
        place = added.index(event, start)
        lost += place - start
        assert place == start or hole is not None, f"no hole is said before event {place}"
        if hole:
            before = added[start - 1] if start else Event(0, 0, 0, "", b"")
            assert (before.seq, before.received, event.seq, event.received) == hole[1:]
        hole = None
        place += 1
    assert place == len(added) or (hole is not None and hole.next_seq is None), "no hole is said at the end"
    return lost + len(added) - place


@pytest.mark.parametrize("name", ["recording.json", "deleted.json"])
def test_a_flipped_bit_in_a_small_file_is_noticed(tmp_path, name):
    path = record(tmp_path / "a.anb", ADDED[:1_000], per_batch=PER_BATCH, most_bytes=20_000)
    file = path / name
    data = file.read_bytes()
    said = [hole.reason for hole in RecordingReader(path).holes()]
    assert said == ["deleted by max_gb"]

    for place in range(len(data)):
        file.write_bytes(bytes([*data[:place], data[place] ^ 1, *data[place + 1 :]]))
        try:
            reasons = [hole.reason for hole in RecordingReader(path).holes()]
        except RecordingError:
            continue
        is_still_said = name == "deleted.json" and reasons[0].endswith("batches are missing")
        assert is_still_said, f"byte {place}: {reasons}"


def test_a_last_batch_that_is_none_any_more_is_a_hole(tmp_path):
    path = record(tmp_path / "a.anb", ADDED[:200], per_batch=PER_BATCH)
    file = path / "000001.arrows"
    data = file.read_bytes()
    with Segment(file, RecordingReader(path).header.id) as segment:
        last = segment.last().message
    hidden = 0
    for place in range(last.offset, last.body_offset):
        damaged = bytes([*data[:place], data[place] ^ 0x20, *data[place + 1 :]])
        with suppress(MessageError):
            if not parse(Bytes(damaged), last.offset, most_body_bytes=MOST_BATCH_BYTES).is_batch:
                file.write_bytes(damaged)
                hidden += 1
                assert check(list(RecordingReader(path).events()), ADDED[:200]) == PER_BATCH
    assert hidden


class Bytes:
    """A file in memory."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]


def test_a_segment_that_is_gone_is_a_hole(tmp_path):
    path = record(tmp_path / "a.anb", ADDED, per_batch=PER_BATCH, segment_bytes=1)
    (path / "000004.arrows").unlink()

    read = list(RecordingReader(path).events())

    assert check(read, ADDED) == PER_BATCH
    assert [Hole.of(event).reason for event in read if event.what == HOLE] == ["damaged: 1 batch is missing"]


def test_segments_of_another_recording_are_none_of_this(tmp_path):
    path, other = (record(tmp_path / name, events(500, seed=seed)) for name, seed in (("a.anb", 1), ("b.anb", 2)))
    (path / "000002.arrows").write_bytes((other / "000001.arrows").read_bytes())

    read = list(RecordingReader(path).events())

    assert events(500, seed=1) == read[:-1]
    assert "another recording" in Hole.of(read[-1]).reason


def test_an_incomplete_end_is_cut_when_the_recording_goes_on(tmp_path):
    path = record(tmp_path / "a.anb", ADDED[:1_000], per_batch=PER_BATCH)
    file = path / "000001.arrows"
    file.write_bytes(file.read_bytes()[:-700] + bytes(500))
    size = file.stat().st_size

    record(path, ADDED[1_000:])

    read = list(RecordingReader(path).events())
    assert check(read, ADDED) == PER_BATCH
    [hole] = (Hole.of(event) for event in read if event.what == HOLE)
    assert "without closing" in hole.reason
    assert file.stat().st_size < size - 500


def test_damage_before_the_start_is_not_said_and_a_hole_around_it_is(tmp_path):
    path = tmp_path / "a.anb"
    for start in (0, 1_000):
        record(path, ADDED[start : start + 500])
    before, after = ADDED[499], ADDED[1_000]

    read = list(RecordingReader(path).events(before.received + 1))

    assert (before.seq, before.received, after.seq, after.received) == Hole.of(read[0])[1:]
    assert ADDED[1_000:1_500] == read[1:]
    assert ADDED[1_200:1_500] == list(RecordingReader(path).events(ADDED[1_200].received))
