"""Layer 2 of a recording: rows as Parquet, a file for each kind and hour, for pandas, duckdb, polars and Dask.

tables/quotes/manifest.json                    which files there are, with their rows
tables/quotes/2026-11-29T14-1a2b3c4d.parquet   hour in UTC, and the checksum of the file

Rows are sorted by symbol, which is plain text (no library skips rows by the statistics of a dictionary), and one with
thousands of rows has row groups of its own: who asks for one symbol of one day reads little else.
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
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aries_nb.errors import RecordingError, UsageError
from aries_nb.recording.folder import (
    Lock,
    checked,
    explained,
    is_recording,
    open_new,
    read_json,
    source_of,
    sync_folder,
    write_json,
)
from aries_nb.recording.remote import Place, arrow_place

__all__ = ["Sealed", "read_sealed", "seal", "sealed", "sealed_kinds"]

TABLES, MANIFEST = "tables", "manifest.json"
KIND = re.compile(r"[a-z][a-z_]{0,39}")
FILE = re.compile(r"\d{4}-\d\d-\d\dT\d\d-[0-9a-f]{8}\.parquet")
MOST_KINDS = 100
MOST_SEALED_ROWS = 1 << 32
ROW_GROUP_ROWS = 100_000
OWN_GROUP_ROWS = 5_000  # of a symbol that shares its row group with no other; the footer has some 1.5 kB for each group
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
            rows, before = _plain(rows), sealed(path, kind)
            if lost:
                there = [read_sealed(folder / one.file, one.rows) for one in before if one.hour == hour]
                rows = _with_lost(rows, there, lost)
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


def sealed_kinds(path: Place) -> dict[str, int]:
    """Return the number of sealed rows of each kind of which there are some. Raises RecordingError."""
    folder = path / TABLES
    with explained(path):
        if folder.is_symlink() or not folder.is_dir():
            return {}
        kinds = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.is_symlink())
    if len(kinds) > MOST_KINDS:
        raise RecordingError(f"the recording has more than {MOST_KINDS} kinds of rows", where=str(path))
    found = {kind: sum(one.rows for one in sealed(path, kind)) for kind in kinds if KIND.fullmatch(kind)}
    return {kind: rows for kind, rows in found.items() if rows}


def sealed(path: Place, kind: str) -> list[Sealed]:
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


def read_sealed(file: Place, rows: int, *, symbols: Sequence[str] | None = None) -> pa.Table:
    """Return the sealed rows of a file, which has so many, by symbol and `seq`; with `symbols` those of these.

    Raises RecordingError if it is damaged, has other rows than noted, or extension types.
    """
    try:
        if f"-{_checksum(file):08x}." not in file.name:
            raise RecordingError("the checksum of a file of rows is wrong", where=str(file))
        name, filesystem = arrow_place(file)
        with pq.ParquetFile(name, filesystem=filesystem) as reader:
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
    table = _plain(table.replace_schema_metadata(None))
    return table if symbols is None else table.filter(pa.compute.is_in(table["symbol"], pa.array(symbols)))


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
    keys = [name for name in ("symbol", "seq") if name in rows.column_names]
    return rows.sort_by([(name, "ascending") for name in keys])


def _plain(rows: pa.Table) -> pa.Table:
    """Return the rows with symbols as plain text."""
    at = rows.schema.get_field_index("symbol")
    return rows if at < 0 else rows.set_column(at, "symbol", rows.column(at).cast(pa.string()))


def _groups(rows: pa.Table) -> list[int]:
    """Return where row groups begin and end: rows of a symbol with many are in groups without others."""
    count = rows.num_rows
    if "symbol" not in rows.column_names or not count:
        return [0, count]
    codes = rows["symbol"].combine_chunks().dictionary_encode().indices.to_numpy()
    ends = [*(np.flatnonzero(np.diff(codes)) + 1).tolist(), count]
    cuts = [0]
    for start, end in zip([0, *ends], ends, strict=False):
        if end - start >= OWN_GROUP_ROWS and start > cuts[-1]:
            cuts.append(start)
        if end - cuts[-1] >= OWN_GROUP_ROWS or end == count:
            cuts.append(end)
    return cuts


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
        with pq.ParquetWriter(
            sink, rows.schema, compression="zstd", write_page_checksum=True,
            use_dictionary=texts, column_encoding=encodings,
        ) as writer:  # fmt: skip
            for start, end in pairwise(_groups(rows)):
                writer.write_table(rows.slice(start, end - start), row_group_size=ROW_GROUP_ROWS)
        sink.flush()
        os.fsync(file)


def _checksum(file: Place) -> int:
    crc = 0
    with explained(file), source_of(file) as source:
        for offset in range(0, source.size, CHUNK_BYTES):
            crc = zlib.crc32(source.read(offset, CHUNK_BYTES), crc)
    return crc
