"""What recordings there are, and the rows of one for pandas, duckdb, polars and Dask."""

from __future__ import annotations

import glob
import html
import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq

from aries_nb.errors import FeedError, RecordingError, UsageError
from aries_nb.model.journal import Hole
from aries_nb.recording.folder import explained, is_recording
from aries_nb.recording.reader import RecordingReader
from aries_nb.recording.sealing import TABLES, read_sealed, sealed, sealed_kinds

if TYPE_CHECKING:
    import dask.dataframe
    import duckdb
    import polars

__all__ = ["StoredRecording", "recordings"]

MOST_RECORDINGS = 10_000
COLUMNS = ("path", "broker", "from", "to", "events", "bytes", "holes", "damage")
DAMAGED = "damaged"


class StoredRecording:
    """One recording: what it holds, and its rows by kind. Shows a summary in a cell. Any thread may use it.

    Rows come from the sealed part of the recording; `seal`, if given, is called before each query with the path, and
    seals what was recorded since. Raises what `RecordingReader` raises.
    """

    def __init__(self, path: Path, *, seal: Callable[[Path], None] | None = None) -> None:
        self.path = path
        self._seal = seal
        self._reader = RecordingReader(path)

    @property
    def broker(self) -> str:
        """The broker's name."""
        return self._reader.header.broker

    @property
    def rows(self) -> Mapping[str, int]:
        """Number of sealed rows of each kind."""
        return sealed_kinds(self.path)

    def summary(self, *, check: bool = False) -> pd.DataFrame:
        """Return what there is, as one row with the columns that `recordings` has for a folder."""
        return _table([self.path], is_checked=check)

    def holes(self) -> pd.DataFrame:
        """Read the whole recording, and return where events are missing.

        One row for each hole, with `from` and `to` in UTC, NaT where the recording begins or ends with it, the `seq` of
        the event before, and the `reason`.
        """
        found = self._reader.holes()
        return pd.DataFrame(
            {
                "from": _times([hole.received or None for hole in found]),
                "to": _times([hole.next_received for hole in found]),
                "seq": pd.Series([hole.seq for hole in found], dtype="int64"),
                "reason": pd.Series([hole.reason for hole in found], dtype="str"),
            }
        )

    def df(self, kind: str) -> pd.DataFrame:
        """Return the rows of a kind, such as "quotes", with the columns of `.df` and `seq`, sorted by `seq`.

        Raises UsageError for a kind of which there are no rows, RecordingError for a damaged file.
        """
        self._files(kind, self._kinds())
        rows: pd.DataFrame = read_sealed(self.path, kind).sort_by("seq").to_pandas()
        return rows

    def sql(self, query: str, **tables: pd.DataFrame) -> duckdb.DuckDBPyRelation:
        """Return the result of a query by duckdb, in which each kind is a table; `.df()` of it is a DataFrame.

        `tables` are DataFrames of yours, under the names that the query has for them. Raises UsageError without duckdb.
        """
        connection = _required("duckdb").connect()
        connection.execute("set python_enable_replacements = false")
        kinds = self._kinds()
        for kind in kinds:
            files = ", ".join("'" + glob.escape(file).replace("'", "''") + "'" for file in self._files(kind, kinds))
            connection.execute(f"create view {kind} as select * from read_parquet([{files}], union_by_name = true)")  # noqa: S608 - a kind is a name, and the files are quoted
        for name, table in tables.items():
            connection.register(name, table)
        result: duckdb.DuckDBPyRelation = connection.sql(query)
        return result

    def scan(self, kind: str) -> polars.LazyFrame:
        """Return the rows of a kind as a LazyFrame of polars. Raises UsageError without polars, or without rows."""
        frame: polars.LazyFrame = _required("polars").scan_parquet(
            self._files(kind, self._kinds()), glob=False, missing_columns="insert", extra_columns="ignore"
        )
        return frame

    def dask(self, kind: str) -> dask.dataframe.DataFrame:
        """Return the rows of a kind as a DataFrame of Dask. Raises UsageError without Dask, or without rows."""
        files = self._files(kind, self._kinds())
        empty = pq.read_schema(files[0]).empty_table().to_pandas()
        # Not `read_parquet` of Dask, which takes a path with brackets for a pattern.
        frame: dask.dataframe.DataFrame = _required("dask.dataframe").from_map(pd.read_parquet, files, meta=empty)
        return frame

    def _kinds(self) -> Mapping[str, int]:
        if self._seal is not None:
            self._seal(self.path)
        return self.rows

    def _files(self, kind: str, kinds: Mapping[str, int]) -> list[str]:
        if kind not in kinds:
            there = f"There are {', '.join(kinds)}." if kinds else "No rows are sealed yet."
            raise UsageError(f"the recording has no rows of {kind!r}", where=str(self.path), advice=there)
        folder = self.path / TABLES / kind
        files = [folder / one.file for one in sealed(self.path, kind)]
        for file in files:
            if file.is_symlink() or not file.is_file():
                raise RecordingError("a file of rows is missing", where=str(file))
        return [str(file) for file in files]

    def __repr__(self) -> str:
        return f"<StoredRecording {str(self.path)!r} of {self.broker!r}: {self._reader.summary.events:,} events>"

    def _repr_html_(self) -> str:
        lines = _line(self.path, is_checked=False)
        if lines.keys() <= set(COLUMNS):
            lines["rows"] = "not sealed yet: the first query does it"
        cells = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(lines[name]))}</td></tr>" for name in lines
        )
        return f"<table>{cells}</table>"


def recordings(
    path: str | os.PathLike[str], *, check: bool = False, seal: Callable[[Path], None] | None = None
) -> pd.DataFrame | StoredRecording:
    """Return what recordings there are in a folder, or the recording at `path` itself.

    The DataFrame has a row for each recording in the folder: `path`, `broker`, `from` and `to` (UTC), `events`,
    `bytes`, `holes`, `damage`, and the number of sealed rows of each kind. `holes` are those between segments; with
    `check` the whole recordings are read, and all holes are counted. `damage` says what is wrong, "" for nothing. A
    kind is NA where nothing is sealed yet. `seal` is that of `StoredRecording`.

    Raises UsageError if there is nothing at `path`; for a single recording also what `RecordingReader` raises.
    """
    if not isinstance(path, str | os.PathLike) or not str(path).strip():
        raise UsageError(f"{path!r} is no path", advice='Pass a folder, or a recording such as "today.anb".')
    place = Path(path)
    with explained(place):
        if is_recording(place):
            return StoredRecording(place, seal=seal)
        if not place.is_dir():
            raise UsageError("there is no folder", where=str(place), advice="Check the path.")
        children = (child for child in place.iterdir() if child.suffix != ".part")  # one that is being made
        found = sorted(child for child in children if is_recording(child))
    if len(found) > MOST_RECORDINGS:
        raise UsageError(f"there are more than {MOST_RECORDINGS:,} recordings", where=str(place))
    return _table(found, is_checked=check)


def _table(paths: list[Path], *, is_checked: bool) -> pd.DataFrame:
    lines = [_line(path, is_checked=is_checked) for path in paths]
    kinds = sorted({name for line in lines for name in line}.difference(COLUMNS))
    table = pd.DataFrame({name: [line.get(name) for line in lines] for name in (*COLUMNS, *kinds)})
    is_sealed = ~table[kinds].isna().all(axis=1)
    for kind in kinds:
        table[kind] = table[kind].astype("Int64").mask(is_sealed & table[kind].isna(), 0)
    return table


def _line(path: Path, *, is_checked: bool) -> dict[str, object]:
    """What there is to say about one recording; an error is said as its damage."""
    line: dict[str, object] = dict.fromkeys(COLUMNS, "") | {"path": str(path), "events": 0, "bytes": 0, "holes": 0}
    line |= {"from": pd.NaT, "to": pd.NaT}
    try:
        reader = RecordingReader(path)
        summary = reader.summary
        line |= {"broker": reader.header.broker, "events": summary.events, "bytes": summary.bytes}
        line |= dict(zip(("from", "to"), _times([summary.first_received, summary.last_received]), strict=True))
        holes: list[Hole] = reader.holes() if is_checked else reader.holes_between_segments()
        line |= {"holes": len(holes), "damage": "; ".join(dict.fromkeys(_damages(holes)))}
        line |= sealed_kinds(path)
    except FeedError as error:
        line["damage"] = str(error)
    return line


def _damages(holes: list[Hole]) -> list[str]:
    return [hole.reason for hole in holes if hole.reason.startswith(DAMAGED)]


def _times(values: list[int | None]) -> pd.Series[pd.Timestamp]:
    return pd.Series(pd.to_datetime(pd.array(values, dtype="Int64"), unit="ns", utc=True)).dt.as_unit("us")


def _required(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise UsageError(f"{name} is not installed", advice="Install it: pip install 'aries_nb[analysis]'.") from error
