"""Recorded markets: Parquet files read into columns of plain Python values, and players that select rows by time.

The columns of a file determine its kind: quotes, trades or book. Rows are never changed: prices are the file's float64,
in the order of the file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aries_nb.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Recording", "RecordingKind", "RecordingPlayer", "load_recordings", "recording_kind"]

RecordingKind = Literal["quotes", "trades", "book"]

KIND_COLUMNS: dict[RecordingKind, tuple[str, ...]] = {
    "quotes": ("bid_price", "bid_size", "ask_price", "ask_size"),
    "trades": ("price", "size", "side"),
    "book": ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"),
}
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Recording:
    """One symbol's rows of a recorded file: `times` in Unix ns, `columns` lists of equal length by column name.

    Prices are float (None where the file has none); sizes are int where they are whole numbers, else float.
    """

    symbol: str
    kind: RecordingKind
    path: str
    times: list[int]
    columns: dict[str, list[Any]]


@dataclass(slots=True)
class RecordingPlayer:
    """Selects the rows of a recording that are due, and remembers its position. Owned by the server's event loop.

    `speed` is a multiple of the recorded pace; None means that every row is due at once. `position` is the number of
    rows played so far; `started` is the time of the start in Unix s, None before it.
    """

    recording: Recording
    speed: float | None
    position: int = 0
    started: float | None = field(default=None)

    @property
    def has_begun(self) -> bool:
        """Whether at least one row of the recording has been played."""
        return self.position > 0

    @property
    def is_finished(self) -> bool:
        """Whether the last row of the recording has been played."""
        return self.position >= len(self.recording.times)

    def start(self, now: float) -> None:
        """Start to play at `now` (Unix s); does nothing if the recording plays already."""
        if self.started is None:
            self.started = now

    def due(self, now: float, limit: int) -> range:
        """Return the numbers of the rows that became due since the last call, at most `limit`; `now` is Unix time in s.

        Rows returned count as played. Empty before `start`.
        """
        if self.started is None:
            return range(0)
        times, first = self.recording.times, self.position
        last = min(len(times), first + limit)
        if self.speed is None:
            self.position = last
            return range(first, last)
        reached = times[0] + (now - self.started) * self.speed * 1e9
        end = first
        while end < last and times[end] <= reached:
            end += 1
        self.position = end
        return range(first, end)


def recording_kind(path: Path) -> RecordingKind:
    """Return the kind of a recorded file, which its columns determine; only its schema is read.

    Raises UsageError if the file is missing, is not Parquet or is of no known kind.
    """
    return _kind_of(path, _open(path).schema_arrow.names)


def load_recordings(paths: Iterable[str | Path]) -> dict[str, list[Recording]]:
    """Read recorded files; return the recordings of each symbol, at most one of each kind.

    Raises UsageError if a file is missing, is not Parquet, is of no known kind, has a column of the wrong type or
    an incomplete row, or if two files contain the same kind of rows of one symbol.
    """
    recordings: dict[str, list[Recording]] = {}
    for path in map(Path, paths):
        for recording in _load(path):
            others = recordings.setdefault(recording.symbol, [])
            if any(other.kind == recording.kind for other in others):
                raise UsageError(
                    f"two recordings contain {recording.kind} of {recording.symbol}",
                    where=str(path),
                    advice="Give only one of them.",
                )
            others.append(recording)
    return recordings


def _open(path: Path) -> Any:  # noqa: ANN401 - pyarrow has no types
    if not path.is_file():
        raise UsageError(f"there is no recording {str(path)!r}", where="tapes", advice="Check the path.")
    import pyarrow as pa  # 0.1 s, and most simulators play no recording
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(
            f"not a Parquet file: {error}", where=str(path), advice="Give a recording in Parquet."
        ) from error


def _kind_of(path: Path, names: Sequence[str]) -> RecordingKind:
    for kind, columns in KIND_COLUMNS.items():
        if {"ts", "symbol", *columns} <= set(names):
            return kind
    kinds = "; ".join(f"{kind}: {', '.join(columns)}" for kind, columns in KIND_COLUMNS.items())
    raise UsageError(
        f"a recording with the columns {', '.join(names)} is of no known kind",
        where=str(path),
        advice=f"A recording has ts, symbol and one of these sets: {kinds}.",
    )


def _load(path: Path) -> list[Recording]:
    import pyarrow as pa

    with _open(path) as file:
        kind = _kind_of(path, file.schema_arrow.names)
        table = file.read(columns=["ts", "symbol", *KIND_COLUMNS[kind]])
    try:
        times = table["ts"].cast(pa.timestamp("ns", table["ts"].type.tz)).cast(pa.int64()).to_pylist()
        columns = {name: _plain(name, table[name]) for name in KIND_COLUMNS[kind]}
        symbols = table["symbol"].cast(pa.string()).to_pylist()
    except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"a column of the recording has the wrong type: {error}",
            where=str(path),
            advice="ts must hold timestamps, symbol and side text, all other columns numbers.",
        ) from error
    if None in times or None in symbols or not times:
        raise UsageError(
            "the recording is empty or a row has no ts or symbol", where=str(path), advice="Correct the file."
        )
    return [
        Recording(
            symbol,
            kind,
            str(path),
            [times[row] for row in rows],
            {name: [values[row] for row in rows] for name, values in columns.items()},
        )
        for symbol, rows in _rows_by_symbol(symbols).items()
    ]


def _rows_by_symbol(symbols: list[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, symbol in enumerate(symbols):
        rows.setdefault(symbol, []).append(row)
    return rows


def _plain(name: str, column: Any) -> list[Any]:  # noqa: ANN401 - pyarrow has no types
    """Return a column of a Parquet file as plain Python values: text unchanged, prices as float, whole sizes as int.

    Numbers that are missing or not finite become None. `name` is the column's name, which determines its type.
    """
    values: list[Any] = column.to_pylist()
    if name == "side":
        if not all(value is None or isinstance(value, str) for value in values):
            raise TypeError("side holds texts")
        return values
    convert = _size if "size" in name else _price
    if name.endswith("s"):
        return [[convert(value) for value in row] for row in values]
    return [convert(value) for value in values]


def _price(value: float | None) -> float | None:
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None


def _size(value: float | None) -> float | None:
    number = _price(value)
    return int(number) if number is not None and number.is_integer() else number
