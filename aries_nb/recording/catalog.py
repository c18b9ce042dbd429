"""What recordings there are, in a folder or on a file system of fsspec, and what one of them holds."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from aries_nb.errors import FeedError, UsageError
from aries_nb.model.journal import Hole
from aries_nb.recording.folder import explained, is_recording
from aries_nb.recording.reader import RecordingReader
from aries_nb.recording.remote import Place, place_of
from aries_nb.recording.rows import Scanned, SealedRows
from aries_nb.recording.sealing import sealed_kinds

__all__ = ["Recordings", "StoredRecording", "recordings"]

MOST_RECORDINGS = 10_000
COLUMNS = ("path", "broker", "from", "to", "events", "bytes", "holes", "damage")
DAMAGED = "damaged"


class Recordings(SealedRows, pd.DataFrame):
    """What recordings there are, a line each, and their rows as one table of each kind.

    What is chosen of it by pandas, such as `days[days["broker"] == "aries"]`, scans those recordings alone.
    """

    _metadata = ["_places", "_seal"]  # noqa: RUF012 - pandas' own: attributes that a selection keeps
    _places: Mapping[str, Place] | None = None
    _seal: Callable[[Place], None] | None = None

    @property
    def _constructor(self) -> type[Recordings]:
        return Recordings

    @classmethod
    def of(cls, table: pd.DataFrame, places: Iterable[Place], seal: Callable[[Place], None] | None) -> Recordings:
        """Return a table whose column `path` has these places."""
        found = cls(table)
        found._places, found._seal = {str(place): place for place in places}, seal
        return found

    def seal(self) -> None:
        """Write the rows of what was recorded since as Parquet, which queries do too; before recordings are copied."""
        places, seal = self._scanned()
        for place in places:
            if seal is not None:
                seal(place)

    def _scanned(self) -> Scanned:
        if self._places is None or "path" not in self.columns:
            advice = "Choose lines of `anb.recordings(folder)`, and keep the column `path`."
            raise UsageError("this table says no more where its recordings are", advice=advice)
        return [self._places[path] for path in self["path"]], self._seal


class StoredRecording(SealedRows):
    """One recording: what it holds, and its rows by kind. Shows a summary in a cell. Any thread may use it.

    Rows come from the sealed part of the recording; `seal`, if given, is called before each query with the path, and
    seals what was recorded since. Raises what `RecordingReader` raises.
    """

    def __init__(self, path: Place, *, seal: Callable[[Place], None] | None = None) -> None:
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

    def seal(self) -> None:
        """Write the rows of what was recorded since as Parquet, which queries do too; before the folder is copied."""
        if self._seal is not None:
            self._seal(self.path)

    def _scanned(self) -> Scanned:
        return [self.path], self._seal

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
    path: str | os.PathLike[str],
    *,
    check: bool = False,
    seal: Callable[[Place], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Recordings | StoredRecording:
    """Return what recordings there are in a folder, or the recording at `path` itself.

    `path` may be a URL of a file system of fsspec, which gets `storage_options`.

    The DataFrame has a row for each recording in the folder: `path`, `broker`, `from` and `to` (UTC), `events`,
    `bytes`, `holes`, `damage`, and the number of sealed rows of each kind. `holes` are those between segments; with
    `check` the whole recordings are read, and all holes are counted. `damage` says what is wrong, "" for nothing. A
    kind is NA where nothing is sealed yet. `seal` is that of `StoredRecording`.

    Raises UsageError if there is nothing at `path`; for a single recording also what `RecordingReader` raises.
    """
    if not isinstance(path, str | os.PathLike) or not str(path).strip():
        raise UsageError(f"{path!r} is no path", advice='Pass a folder, or a recording such as "today.anb".')
    place = place_of(os.fspath(path), storage_options)
    with explained(place):
        if is_recording(place):
            return StoredRecording(place, seal=seal)
        if not place.is_dir():
            raise UsageError("there is no folder", where=str(place), advice="Check the path.")
        children = (child for child in place.iterdir() if child.suffix != ".part")  # one that is being made
        found = sorted(child for child in children if is_recording(child))
    if len(found) > MOST_RECORDINGS:
        raise UsageError(f"there are more than {MOST_RECORDINGS:,} recordings", where=str(place))
    return Recordings.of(_table(found, is_checked=check), found, seal)


def _table(paths: list[Place], *, is_checked: bool) -> pd.DataFrame:
    lines = [_line(path, is_checked=is_checked) for path in paths]
    kinds = sorted({name for line in lines for name in line}.difference(COLUMNS))
    table = pd.DataFrame({name: [line.get(name) for line in lines] for name in (*COLUMNS, *kinds)})
    is_sealed = ~table[kinds].isna().all(axis=1)
    for kind in kinds:
        table[kind] = table[kind].astype("Int64").mask(is_sealed & table[kind].isna(), 0)
    return table


def _line(path: Place, *, is_checked: bool) -> dict[str, object]:
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
