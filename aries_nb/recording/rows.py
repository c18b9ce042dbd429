"""Sealed rows of one or many recordings as one table of each kind, for pandas, duckdb, polars and Dask.

Only files of the asked kind and day are opened, and of these only row groups with the asked symbols are read.
"""

from __future__ import annotations

import glob
import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from aries_nb.errors import RecordingError, UsageError
from aries_nb.recording.folder import explained
from aries_nb.recording.remote import Place, RemotePath, arrow_place
from aries_nb.recording.sealing import HOUR_NS, TABLES, read_sealed, sealed, sealed_kinds

if TYPE_CHECKING:
    import dask.dataframe
    import duckdb
    import polars

__all__ = ["Scanned", "SealedRows"]

DAY_NS = 24 * HOUR_NS
Scanned = tuple[Sequence[Place], Callable[[Place], None] | None]
"""Recordings, and what seals one; None where nothing is sealed before a query."""


class SealedRows:
    """Queries over the rows of recordings; of several recordings they are one table of each kind. Any thread.

    `seq` numbers the rows of each recording. The arguments of all queries: `day`, such as "2026-11-29" (UTC; None for
    all), is that of `received`; `symbols` is one or several (None for all). The first query seals what was recorded
    since. All raise UsageError for a kind without rows and for what is no day, RecordingError for damage.
    """

    def _scanned(self) -> Scanned:
        raise NotImplementedError

    def df(self, kind: str, *, day: object = None, symbols: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return the rows of a kind, such as "quotes", with the columns of `.df` and `seq`, in order of arrival.

        All of them are in memory; their checksums are compared.
        """
        wanted = _symbols(symbols)
        files = _Files(self._scanned(), day)
        tables = [read_sealed(file, count, symbols=wanted) for file, count in files.counted(kind)]
        rows = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
        order = ["seq"] if len(files.places) == 1 else ["received", "seq"]
        rows = rows.sort_by([(name, "ascending") for name in order])
        at = rows.schema.get_field_index("symbol")
        if at >= 0:
            rows = rows.set_column(at, "symbol", rows.column(at).dictionary_encode())
        found: pd.DataFrame = rows.to_pandas()
        return found

    def sql(
        self,
        query: str,
        *,
        day: object = None,
        symbols: str | Iterable[str] | None = None,
        **tables: pd.DataFrame,
    ) -> duckdb.DuckDBPyRelation:
        """Return the result of a query by duckdb, in which each kind is a table; `.df()` of it is a DataFrame.

        `tables` are DataFrames of yours, under the names that the query has for them. Raises UsageError without duckdb.
        """
        connection = _required("duckdb").connect()
        connection.execute("set python_enable_replacements = false")
        wanted = _symbols(symbols)
        files = _Files(self._scanned(), day)
        for kind in files.kinds():
            if not re.search(rf"\b{kind}\b", query, re.IGNORECASE):  # duckdb opens all files of a view that it makes
                continue
            listed = []
            for file in files.of(kind):
                if isinstance(file, RemotePath) and file.protocol not in connection.list_filesystems():
                    connection.register_filesystem(file.filesystem)
                listed.append(_quoted(glob.escape(str(file))))
            where = "" if wanted is None else f" where symbol in ({', '.join(map(_quoted, wanted))})"
            connection.execute(
                f"create view {kind} as select * from "  # noqa: S608 - a kind is a name, and the rest is quoted
                f"read_parquet([{', '.join(listed)}], union_by_name = true){where}"
            )
        for name, table in tables.items():
            connection.register(name, table)
        result: duckdb.DuckDBPyRelation = connection.sql(query)
        return result

    def scan(self, kind: str, *, day: object = None, symbols: str | Iterable[str] | None = None) -> polars.LazyFrame:
        """Return the rows of a kind as a LazyFrame of polars. Raises UsageError without polars, or without rows."""
        pl, wanted = _required("polars"), _symbols(symbols)
        files = _Files(self._scanned(), day).of(kind)
        schema = _schema(files)
        frame: polars.LazyFrame
        if any(isinstance(file, RemotePath) for file in files):  # polars' own readers know few file systems
            frame = pl.scan_pyarrow_dataset(_dataset(files, schema))
        else:
            columns = dict(pl.from_arrow(schema.empty_table()).schema)
            frame = pl.scan_parquet(list(map(str, files)), glob=False, schema=columns, missing_columns="insert")
        return frame if wanted is None else frame.filter(pl.col("symbol").is_in(wanted))

    def dask(
        self, kind: str, *, day: object = None, symbols: str | Iterable[str] | None = None
    ) -> dask.dataframe.DataFrame:
        """Return the rows of a kind as a DataFrame of Dask. Raises UsageError without Dask, or without rows."""
        frames, wanted = _required("dask.dataframe"), _symbols(symbols)
        files = _Files(self._scanned(), day).of(kind)
        schema = _schema(files)
        empty = importlib.import_module("dask.dataframe.utils").clear_known_categories(schema.empty_table().to_pandas())
        # Not `read_parquet` of Dask, which takes a path with brackets for a pattern.
        frame: dask.dataframe.DataFrame = frames.from_map(
            partial(_partition, schema=schema, symbols=wanted), files, meta=empty, enforce_metadata=False
        )
        return frame


class _Files:
    """The files of rows of some recordings, sealed until now, of a day or of all days. Raises UsageError for no day."""

    def __init__(self, scanned: Scanned, day: object) -> None:
        self.places, seal = scanned
        self._day = _day_ns(day)
        for place in self.places:
            if seal is not None:
                seal(place)

    def kinds(self) -> list[str]:
        """Return the kinds of which there are rows."""
        kinds = dict.fromkeys(kind for place in self.places for kind in sealed_kinds(place))
        return sorted(kind for kind in kinds if self._found(kind))

    def of(self, kind: str) -> list[Place]:
        """Return the files with rows of a kind. Raises UsageError where there are none."""
        return [file for file, _ in self.counted(kind)]

    def counted(self, kind: str) -> list[tuple[Place, int]]:
        """Return the files with rows of a kind, each with their number. Raises UsageError where there are none."""
        found = self._found(kind)
        if not found:
            kinds = self.kinds()
            there = f"There are {', '.join(kinds)}." if kinds else "No rows are sealed yet."
            what = "the recording has" if len(self.places) == 1 else f"{len(self.places):,} recordings have"
            of_day = "" if self._day is None else f" of {pd.Timestamp(self._day):%Y-%m-%d}"
            where = str(self.places[0]) if self.places else ""
            raise UsageError(f"{what} no rows of {kind!r}{of_day}", where=where, advice=there)
        for file, _ in found:
            with explained(file):
                if file.is_symlink() or not file.is_file():
                    raise RecordingError("a file of rows is missing", where=str(file))
        return found

    def _found(self, kind: str) -> list[tuple[Place, int]]:
        return [
            (place / TABLES / kind / one.file, one.rows)
            for place in self.places
            for one in sealed(place, kind)
            if self._day is None or self._day <= one.hour < self._day + DAY_NS
        ]


def _partition(
    file: Place, *, schema: pa.Schema, symbols: list[str] | None, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the rows of one file, for Dask, which asks for the `columns` that it needs."""
    table = _dataset([file], schema).to_table(
        columns=columns, filter=None if symbols is None else pa.dataset.field("symbol").isin(symbols)
    )
    rows: pd.DataFrame = table.to_pandas()
    return rows


def _dataset(files: Sequence[Place], schema: pa.Schema) -> pa.dataset.Dataset:
    names = [arrow_place(file)[0] for file in files]
    return pa.dataset.dataset(names, schema=schema, format="parquet", filesystem=arrow_place(files[0])[1])


def _schema(files: Iterable[Place]) -> pa.Schema:
    """Return the columns of all files, of which some may lack one."""
    schemas = []
    for file in files:
        name, filesystem = arrow_place(file)
        try:
            schemas.append(pq.read_schema(name, filesystem=filesystem).remove_metadata())
        except (pa.ArrowException, OSError, ValueError) as error:
            raise RecordingError("a file of rows is damaged", where=str(file)) from error
    return pa.unify_schemas(schemas)


def _day_ns(day: object) -> int | None:
    if day is None:
        return None
    found: object = pd.NaT
    if isinstance(day, str | date):
        with suppress(ValueError, OverflowError):
            found = pd.Timestamp(day).as_unit("ns")
    if not isinstance(found, pd.Timestamp) or found.tzinfo is not None or found != found.normalize():
        raise UsageError(f"day={day!r} is no day", advice='Write it like "2026-11-29"; it is a day of UTC.')
    return found.value


def _symbols(symbols: str | Iterable[str] | None) -> list[str] | None:
    if symbols is None:
        return None
    found = [symbols] if isinstance(symbols, str) else list(symbols)
    if not found or not all(isinstance(each, str) for each in found):
        raise UsageError(f"symbols={symbols!r} are no symbols", advice='Pass one such as "AAPL", or a list of them.')
    return found


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _required(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise UsageError(f"{name} is not installed", advice="Install it: pip install 'aries_nb[analysis]'.") from error
