"""Rows of a recording for other libraries: `recordings`, whose queries see all that is on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from aries_nb.brokers import Broker
from aries_nb.errors import RecordingError, UsageError
from aries_nb.live.recordings.recording import SUBSCRIBED, broker_of, endpoints_of, frames_of, passing
from aries_nb.model.clock import WallClock
from aries_nb.model.journal import HOLE, Event, Hole
from aries_nb.net.background import Background
from aries_nb.net.intake import Route
from aries_nb.recording import RecordingReader, catalog
from aries_nb.recording.catalog import Recordings, StoredRecording
from aries_nb.recording.folder import checked, explained, read_json, segment_sizes, write_json
from aries_nb.recording.remote import Place, RemotePath
from aries_nb.recording.sealing import TABLES, seal
from aries_nb.store import GapLog, RollingFrame
from aries_nb.store.derived.arrow import arrow_rows

__all__ = ["recordings"]

HOUR_US = 3_600_000_000
TAKEN_ROWS = 100_000  # together out of a frame: it holds more, and each time costs as much as a hundred rows
PIECE_ROWS = 500_000  # of a frame in memory
NOTED = "sealed.json"
FOREVER = 2**63 - 1


def recordings(
    path: str | os.PathLike[str],
    *,
    check: bool = False,
    broker: str | Broker | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Recordings | StoredRecording:
    """Return what recordings there are in a folder, or the recording at `path` itself.

    `path` may be a URL of any file system of fsspec, such as "s3://days", with its `storage_options`, as pandas has
    them. There recordings are only read: seal them where they were made, before they are copied.

    The DataFrame has a row for each recording in the folder: `path`, `broker`, `from` and `to` (UTC), `events`,
    `bytes`, `holes`, `damage`, and the number of sealed rows of each kind. `holes` are those between segments; with
    `check` the whole recordings are read, and all holes are counted. `damage` says what is wrong, "" for nothing. A
    kind is NA where nothing is sealed yet.

    Both, and what is chosen of the DataFrame, have `df("quotes")`, `sql("select …")` (duckdb), `scan("trades")`
    (polars) and `dask("quotes")`: the rows of all of these recordings as one table, with `day=` and `symbols=` only
    those. The first of them writes the rows of what was recorded since as Parquet, which takes as long as a replay at
    full speed; so does `seal()`.

    `broker` is needed for the rows of a recording of a broker of your own: its `Broker`; a name that is not the
    recording's is refused.

    Raises UsageError if there is nothing at `path`; for a single recording also RecordingError if it has a newer format
    or cannot be read.
    """
    own = broker if isinstance(broker, Broker) else None
    seal = partial(seal_rows, own=own)
    found = catalog.recordings(path, check=check, seal=seal, storage_options=storage_options)
    if broker is not None and isinstance(found, StoredRecording):
        RecordingReader(found.path, broker=broker if isinstance(broker, str) else broker.name)  # raises for another
    return found


def seal_rows(path: Place, own: Broker | None = None) -> None:
    """Write the quotes and trades of a recording as Parquet, those of an hour together, unless that has been done.

    Of a symbol that was recorded with several choices of fields, the rows with the most fields count. Rows that were
    sealed before and cannot be made again, as their events are missing now, stay. `own` is the user's broker.
    """
    segments, noted = segment_sizes(path), path / TABLES / NOTED
    with suppress(RecordingError):
        if noted.is_file() and checked(noted, read_json(noted)).get("segments") == segments:
            return
    if isinstance(path, RemotePath):
        advice = "Seal it where it was made, `anb.recordings(path).seal()`, and copy it again."
        raise UsageError("rows of the recording are not sealed yet", where=str(path), advice=advice)
    reader = RecordingReader(path)
    broker = broker_of(reader, own)
    endpoints = endpoints_of(broker)
    every = [
        routes
        for some in frames_of(reader.events(whats=SUBSCRIBED), endpoints, WallClock().now_ns).values()
        for routes in some
    ]
    with explained(path), TemporaryDirectory() as folder:
        drains = [_Drain(routes, Path(folder) / str(number)) for number, routes in enumerate(_widest(every))]
        routes = [route for drain in drains for route in drain.routes]
        missing, gaps = list[Hole](), GapLog()
        past = _noting_holes(reader.events(), missing)
        Background.shared().submit(passing(broker, str(path), gaps)(past, routes, None)).result()
        for drain in drains:
            drain.take()
        lost = _lost(missing, gaps)
        for kind in dict.fromkeys(drain.kind for drain in drains):
            some = [drain for drain in drains if drain.kind == kind]
            for hour in sorted({hour for drain in some for hour in drain.hours}):
                rows = _joined([drain.rows(hour) for drain in some if hour in drain.hours])
                seal(path, kind, rows, hour * HOUR_US * 1_000, lost=lost)
    if drains:
        write_json(path / TABLES / NOTED, {"segments": segments})


def _noting_holes(events: Iterable[Event], found: list[Hole]) -> Iterator[Event]:
    for event in events:
        if event.what == HOLE:
            found.append(Hole.of(event))
        yield event


def _lost(missing: Iterable[Hole], gaps: GapLog) -> list[tuple[int, int]]:
    """Return the spans of time, in ns, of which events are missing, or are there but make no rows any more."""
    holes = [(hole.received, hole.next_received) for hole in missing]
    torn = [(gap.started, gap.ended) for gap in gaps.all() if gap.cause == "recording"]
    return [(start, FOREVER if end is None else end) for start, end in (*holes, *torn)]


class _Drain:
    """Collects the rows of a frame as they are written, by hour of their receipt, before they leave its window.

    They wait in files in `folder`: only those of the newest pieces are in memory.
    """

    def __init__(self, routes: Sequence[Route], folder: Path) -> None:
        self.routes = routes
        self.kind = routes[0].subscription.kind
        self.hours: dict[int, list[Path]] = {}
        self._folder, self._waiting, self._count = folder, dict[int, list[pa.Table]](), 0
        self._void: set[int] = set()  # arrival numbers of prints that were corrected or cancelled
        self._void_total = 0
        folder.mkdir()
        frame = routes[0].sink
        assert isinstance(frame, RollingFrame), "as `frames_of` makes it"
        self._frame, self._next = frame, 0
        frame.watch(self._see)

    def _see(self) -> None:
        slab, _, end, _, void = self._frame.published
        if void.total != self._void_total:  # a print may leave the window before its row is taken
            self._void_total = void.total
            self._void.update(slab.seq[void.numbers - slab.base].tolist())
        if slab.base + end - self._next >= TAKEN_ROWS:
            self.take()

    def take(self) -> None:
        """Take the rows that were published since; also once after the last one."""
        rows, self._next = arrow_rows(self._frame, self._next)
        hours = rows["received"].cast(pa.int64()).to_numpy() // HOUR_US
        for hour in np.unique(hours).tolist():
            self._waiting.setdefault(hour, []).append(rows.filter(pa.array(hours == hour)))
            self.hours.setdefault(hour, [])
        self._count += len(rows)
        if self._count > PIECE_ROWS:
            self._write()

    def _write(self) -> None:
        for hour, tables in self._waiting.items():
            rows = _joined(tables)
            file = self._folder / f"{hour}-{len(self.hours[hour])}.arrow"
            with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
                writer.write_table(rows)
            self.hours[hour].append(file)
        self._waiting, self._count = {}, 0

    def rows(self, hour: int) -> pa.Table:
        """Return the rows of an hour, without prints that do not count; after the last one."""
        self._write()
        tables = []
        for file in self.hours[hour]:
            with pa.OSFile(str(file)) as source:
                tables.append(pa.ipc.open_file(source).read_all())
        rows = _joined(tables)
        is_void = pa.compute.is_in(rows["seq"], pa.array(sorted(self._void), pa.int64()))
        return rows.filter(pa.compute.invert(is_void)) if self._void else rows


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of tables, whose columns may have other dictionaries or be missing, as one piece."""
    each = [table.unify_dictionaries() for table in tables]
    return pa.concat_tables(each, promote_options="default").unify_dictionaries().combine_chunks()


def _widest(every: Sequence[Sequence[Route]]) -> list[list[Route]]:
    """Return the routes of each frame without those of symbols that another frame of the kind has with more fields."""
    most: dict[tuple[str, str], int] = {}
    for routes in every:
        for each in (route.subscription for route in routes):
            key = each.kind, each.symbol
            most[key] = max(most.get(key, -1), len(each.fields))
    found, taken = [], set()
    for routes in every:
        kept = []
        for route in routes:
            key = route.subscription.kind, route.subscription.symbol
            if len(route.subscription.fields) == most[key] and key not in taken:
                taken.add(key)
                kept.append(route)
        found.append(kept)
    return [routes for routes in found if routes]
