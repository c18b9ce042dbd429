"""Layer 2 of a recording: rows as Parquet, a file for each kind and hour, for pandas, duckdb, polars and Dask.

tables/quotes/manifest.json                    which files there are, with their rows
tables/quotes/2026-11-29T14-1a2b3c4d.parquet   hour in UTC, and the checksum of the file

A file is written under another name, synced and renamed, and then noted. Whatever is not noted is not read.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aries_nb.errors import RecordingError, UsageError
from aries_nb.recording.folder import (
    FileSource,
    Lock,
    checked,
    explained,
    is_recording,
    open_new,
    read_json,
    sync_folder,
    write_json,
)

__all__ = ["Sealed", "read_sealed", "seal", "sealed", "sealed_kinds"]

TABLES, MANIFEST = "tables", "manifest.json"
KIND = re.compile(r"[a-z][a-z_]{0,39}")
FILE = re.compile(r"\d{4}-\d\d-\d\dT\d\d-[0-9a-f]{8}\.parquet")
MOST_KINDS = 100
MOST_SEALED_ROWS = 1 << 32
ROW_GROUP_ROWS = 100_000
CHUNK_BYTES = 1 << 20
HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True)
class Sealed:
    """One file of rows, as the manifest notes it."""

    file: str
    hour: int
    """Its beginning, market time in ns since the epoch."""
    rows: int


def seal(path: Path, kind: str, rows: pa.Table, hour: int, *, lost: Sequence[tuple[int, int]] = ()) -> Path:
    """Write the rows of one kind that were received in one hour; what was sealed of that hour before is replaced.

    `lost` are the spans of market time, in ns since the epoch with both ends, whose rows cannot be made again: what was
    sealed of them before stays.

    `rows` has the columns that `.df` has, and `seq`; they are sorted by `symbol`, where there is one, and `seq`. `hour`
    is a market time in that hour, in ns since the epoch. The same rows again change nothing. Returns the file. Any
    thread and process may call, one waits for the other. Raises UsageError if there is no recording, the kind is no
    name, or a column is missing; RecordingError if the disk does not allow it.
    """
    if not is_recording(path):
        raise UsageError("this is not a recording", where=str(path))
    if not KIND.fullmatch(kind) or "seq" not in rows.column_names:
        raise UsageError(f"{kind!r} with the columns {', '.join(rows.column_names)} cannot be sealed", where=str(path))
    folder = path / TABLES / kind
    hour -= hour % HOUR_NS
    with explained(path):
        _make(folder)
        with Lock(folder, is_patient=True):
            before = sealed(path, kind)
            if lost:
                rows = _with_lost(
                    rows, [_read(folder / one.file, one.rows) for one in before if one.hour == hour], lost
                )
            part = folder / f"{os.getpid()}.parquet.part"
            part.unlink(missing_ok=True)
            _write(part, _sorted(rows))
            name = f"{datetime.fromtimestamp(hour / 1e9, UTC):%Y-%m-%dT%H}-{_checksum(part):08x}.parquet"
            part.replace(folder / name)
            sync_folder(folder)
            others = [one for one in before if one.hour != hour]
            noted = sorted([*others, Sealed(name, hour, rows.num_rows)], key=lambda one: one.hour)
            if noted != before:
                write_json(folder / MANIFEST, {"files": [asdict(one) for one in noted]})
            for one in before:
                if one.hour == hour and one.file != name:
                    (folder / one.file).unlink(missing_ok=True)
    return folder / name


def sealed_kinds(path: Path) -> dict[str, int]:
    """Return the number of sealed rows of each kind of which there are some. Raises RecordingError."""
    folder = path / TABLES
    if folder.is_symlink() or not folder.is_dir():
        return {}
    with explained(path), os.scandir(folder) as entries:
        kinds = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    if len(kinds) > MOST_KINDS:
        raise RecordingError(f"the recording has more than {MOST_KINDS} kinds of rows", where=str(path))
    found = {kind: sum(one.rows for one in sealed(path, kind)) for kind in kinds if KIND.fullmatch(kind)}
    return {kind: rows for kind, rows in found.items() if rows}


def sealed(path: Path, kind: str) -> list[Sealed]:
    """Return what was sealed of a kind, in the order of the hours. Raises RecordingError for a damaged manifest."""
    manifest = path / TABLES / kind / MANIFEST
    if not manifest.exists():
        return []
    entries = checked(manifest, read_json(manifest)).get("files")
    try:
        found = [Sealed(**entry) for entry in entries]  # type: ignore[union-attr, arg-type]
    except TypeError as error:
        raise RecordingError("a file of the recording is damaged", where=str(manifest)) from error
    for one in found:
        is_whole = isinstance(one.file, str) and FILE.fullmatch(one.file) and type(one.hour) is int
        if not is_whole or type(one.rows) is not int or not 0 <= one.rows <= MOST_SEALED_ROWS:
            raise RecordingError("a file of the recording is damaged", where=str(manifest))
    return found


def read_sealed(path: Path, kind: str) -> pa.Table:
    """Return all sealed rows of a kind, by hour, symbol and `seq`.

    Raises RecordingError if a file is damaged, missing, has other rows than noted, or extension types.
    """
    folder = path / TABLES / kind
    return pa.concat_tables(
        [_read(folder / one.file, one.rows) for one in sealed(path, kind)], promote_options="default"
    )


def _read(file: Path, rows: int) -> pa.Table:
    try:
        with explained(file), FileSource(file) as source:
            if f"-{_crc(source):08x}." not in file.name:
                raise RecordingError("the checksum of a file of rows is wrong", where=str(file))
        with pq.ParquetFile(file) as reader:
            schema = reader.schema_arrow
            if any(isinstance(column.type, pa.BaseExtensionType) for column in schema):
                raise RecordingError("a file of rows has types of an extension", where=str(file))
            if reader.metadata.num_rows != rows:
                raise RecordingError("a file has other rows than noted", where=str(file))
            table = reader.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError("a file of rows is damaged", where=str(file)) from error
    return table.replace_schema_metadata(None)


def _make(folder: Path) -> None:
    for each in (folder.parent, folder):
        with suppress(FileExistsError):
            each.mkdir(mode=0o700)
            each.chmod(0o700)
        if each.is_symlink():
            raise RecordingError("a folder of the recording is a link", where=str(each))


def _with_lost(rows: pa.Table, before: Sequence[pa.Table], lost: Sequence[tuple[int, int]]) -> pa.Table:
    """Return the rows, and those sealed `before` that were received in a span of `lost` and are not among them."""
    for old in before:
        times = old["received"].cast(pa.int64()).to_numpy()
        is_lost = np.zeros(len(times), dtype=bool)
        for start, end in lost:
            is_lost |= (times >= start // 1_000) & (times <= end // 1_000)
        is_lost &= ~np.isin(old["seq"].to_numpy(), rows["seq"].to_numpy())
        rows = pa.concat_tables([rows, old.filter(pa.array(is_lost))], promote_options="default").unify_dictionaries()
    return rows


def _sorted(rows: pa.Table) -> pa.Table:
    keys = {name: rows.column(name) for name in ("symbol", "seq") if name in rows.column_names}
    plain = {
        name: column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for name, column in keys.items()
    }
    order = pa.compute.sort_indices(pa.table(plain), sort_keys=[(name, "ascending") for name in plain])
    return rows.take(order)


def _write(part: Path, rows: pa.Table) -> None:
    texts, encodings = [], {}
    for column in rows.schema:
        if pa.types.is_floating(column.type):
            encodings[column.name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_timestamp(column.type) or pa.types.is_int64(column.type):
            encodings[column.name] = "DELTA_BINARY_PACKED"
        else:
            texts.append(column.name)
    file = open_new(part)
    with open(file, "wb") as sink:
        pq.write_table(
            rows, sink, compression="zstd", row_group_size=ROW_GROUP_ROWS, write_page_checksum=True,
            use_dictionary=texts, column_encoding=encodings,
        )  # fmt: skip
        sink.flush()
        os.fsync(file)


def _checksum(file: Path) -> int:
    with FileSource(file) as source:
        return _crc(source)


def _crc(source: FileSource) -> int:
    crc = 0
    for offset in range(0, source.size, CHUNK_BYTES):
        crc = zlib.crc32(source.read(offset, CHUNK_BYTES), crc)
    return crc
