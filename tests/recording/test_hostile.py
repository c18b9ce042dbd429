"""A recording of a stranger is data: reading it runs nothing, follows no link, and fills no memory beyond a bound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest

from aries_nb.errors import FeedError, RecordingError
from aries_nb.model.journal import HOLE, Hole
from aries_nb.recording import RecordingReader, folder
from aries_nb.recording.format import SCHEMA, BatchHeader
from tests.recording.recorded import MADE, events, record

MIB = 1 << 20
HEADER = BatchHeader("", 1, 1, 0, 1, (0, 0), (MADE, MADE), MADE, ("frame",), 0)


def texts(header: BatchHeader, **changed: object) -> dict[str, str]:
    """The metadata of a batch whose header is changed, with the right checksum."""
    text = json.dumps({**asdict(header), **changed})
    return {"batch": text, "crc": str(zlib.crc32(text.encode()))}


def segment(path: Path, batch: pa.RecordBatch, **changed: object) -> None:
    """Put one batch into a recording instead of its own."""
    changed = {"recording": RecordingReader(path).header.id, "rows": batch.num_rows} | changed
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(path / "000001.arrows", batch.schema, options=options) as stream:
        stream.write_batch(batch, custom_metadata=texts(HEADER, **changed))


def rows(bodies: list[bytes], count: int | None = None) -> pa.RecordBatch:
    count = len(bodies) if count is None else count
    columns = [[0] * count, [MADE] * count, [0] * count, [0] * count, bodies]
    return pa.record_batch(
        [pa.array(column, kind.type) for column, kind in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def bomb(path: Path) -> None:
    segment(path, rows([bytes(80 * MIB)]))


def many_rows(path: Path) -> None:
    segment(path, rows([b""] * 100_000))


def claims_a_terabyte(path: Path) -> None:
    segment(path, rows([bytes(1000)] * 10))
    file = path / "000001.arrows"
    data = file.read_bytes()
    size = (10_000).to_bytes(8, "little")
    assert data.count(size) == 1
    file.write_bytes(data.replace(size, (1 << 40).to_bytes(8, "little")))


def less_than_it_claims(path: Path) -> None:
    segment(path, rows([bytes(1000)] * 10))
    file = path / "000001.arrows"
    file.write_bytes(file.read_bytes().replace((10_000).to_bytes(8, "little"), (60 * MIB).to_bytes(8, "little")))


def another_schema(path: Path) -> None:
    segment(path, pa.record_batch({"seq": [1], "text": ["a"]}))


def extension_type(path: Path) -> None:
    kind = pa.uuid() if hasattr(pa, "uuid") else pa.opaque(pa.binary(16), "a", "b")
    storage = pa.array([bytes(16)], pa.binary(16))
    segment(path, pa.record_batch({"seq": pa.ExtensionArray.from_storage(kind, storage)}))


def missing_values(path: Path) -> None:
    columns = [pa.array([None], field.type) for field in SCHEMA]
    segment(path, pa.record_batch(columns, names=SCHEMA.names))


def unknown_kind_of_event(path: Path) -> None:
    batch = rows([b"{}"])
    segment(path, batch.set_column(3, SCHEMA[3], pa.array([7], pa.int8())))


def invented_hole(path: Path) -> None:
    segment(path, rows([b"{}"]), whats=["hole"])


def strange_header(**changed: object) -> Callable[[Path], None]:
    def attack(path: Path) -> None:
        segment(path, rows([b"{}"]), **changed)

    return attack


def link_to_a_segment(path: Path) -> None:
    file = path / "000001.arrows"
    file.rename(path.parent / "elsewhere")
    file.symlink_to(path.parent / "elsewhere")


def pipe(path: Path) -> None:
    (path / "000001.arrows").unlink()
    os.mkfifo(path / "000001.arrows")


def huge_metadata(path: Path) -> None:
    segment(path, rows([b"{}"]), whats=["a" * MIB])


def markers(path: Path) -> None:
    (path / "000001.arrows").write_bytes(b"\xff\xff\xff\xff\x08\0\0\0" * 100_000)


ATTACKS = [
    bomb, many_rows, claims_a_terabyte, less_than_it_claims, another_schema, extension_type, missing_values,
    unknown_kind_of_event, invented_hole, huge_metadata, markers, link_to_a_segment, pipe,
    strange_header(number=0), strange_header(number=True), strange_header(seq=[0]), strange_header(seq=5),
    strange_header(seq=[0, 1 << 70]), strange_header(received=["a", "b"]), strange_header(whats=[]),
    strange_header(whats=[[]]), strange_header(rows=-1), strange_header(rows=1 << 40), strange_header(more=1),
    strange_header(before=-1), strange_header(recording=None),
]  # fmt: skip
READ = """
import resource, sys
from pathlib import Path
from aries_nb.recording import RecordingReader
import pandas, pyarrow.compute
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
print(sum(event.what != "hole" for event in RecordingReader(Path(sys.argv[1])).events()))
"""


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_hostile_segment_gives_no_event_and_no_error(tmp_path, attack):
    path = record(tmp_path / "a.anb", events(10))
    attack(path)

    read = list(RecordingReader(path).events())

    assert [event.what for event in read] == [HOLE]
    assert Hole.of(read[0]).reason


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory of Linux")
@pytest.mark.parametrize("attack", [bomb, claims_a_terabyte, less_than_it_claims, many_rows, huge_metadata, markers])
def test_hostile_segment_is_read_in_256_mb(tmp_path, attack):
    path = record(tmp_path / "a.anb", events(10))
    attack(path)

    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True)

    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 100_000, '{"format": 1}', '{"format": "1"}', " " * (5 * MIB), "1" * 10_000]
)
def test_hostile_header_is_an_error(tmp_path, text):
    path = record(tmp_path / "a.anb", events(10))
    (path / "recording.json").write_text(text)

    with pytest.raises(RecordingError, match="damaged"):
        RecordingReader(path)


def test_link_in_the_place_of_the_header_is_not_followed(tmp_path):
    path = record(tmp_path / "a.anb", events(10))
    (path / "recording.json").rename(tmp_path / "elsewhere")
    (path / "recording.json").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RecordingError):
        RecordingReader(path)


def test_number_of_files_has_a_bound(tmp_path, monkeypatch):
    path = record(tmp_path / "a.anb", events(10))
    monkeypatch.setattr(folder, "MOST_FILES", 2)

    with pytest.raises(FeedError, match="more than 2 files"):
        RecordingReader(path)
