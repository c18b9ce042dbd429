"""States of rolling frames: copies with which a replay goes on, and what a recording notes of them.

Rows are noted where they are few. A frame of a replay that begins without some is whole once they would have left its
window. It may have other symbols than those of the recorded feed: what was noted of several is put together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

import numpy as np

from aries_nb.model import Checkpoint, Checkpointed, Column, CountedAs, Observers, RecordBuffer
from aries_nb.model.clock import MOST_AHEAD_US
from aries_nb.store.corrections import NOTHING_VOID, LatestRow, PrintNumbers, VoidRows
from aries_nb.store.latency import LatencySamples
from aries_nb.store.slab import Slab

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.store.slab import AnyArray

__all__ = [
    "FOREVER_MISSING",
    "MAX_CHARACTERS",
    "MAX_ROWS",
    "FrameStates",
    "MissingRows",
    "NotedFrame",
    "NotedSymbol",
    "PublishedRows",
]

MAX_CHARACTERS = 2**21  # characters of all distinct texts of one column
MAX_ROWS = 5_000_000  # a window of time holds no more than this, whatever the rate
MOST_RECENT = 5_000  # rows that are noted together
FEW_TEXTS = 300  # of one column, of several symbols: far from the limit, which is for each frame


class PublishedRows(NamedTuple):
    """The rows that readers see: those at the positions [start, end) of `slab`, the memory of the columns.

    `filled` is how many of all rows written so far came without a message of the stream: inserted from the broker's
    history, or copied from another frame. `void` are prints that were corrected or cancelled: they do not count.
    """

    slab: Slab
    start: int
    end: int
    filled: int
    void: VoidRows = NOTHING_VOID


class MissingRows(NamedTuple):
    """The first `until` rows of a frame, which it has not; no exchange time of theirs is after `ts_us`."""

    until: int
    ts_us: int

    def have_left(self, window: Mapping[str, int | None], rows: int, newest_us: int) -> bool:
        """Return whether none of them would be in a window after so many rows, of times up to `newest_us`."""
        limit, window_ns = window["limit"], window["window_ns"]
        if limit is not None:
            return rows - limit >= self.until
        return window_ns is not None and newest_us - window_ns // 1_000 > self.ts_us


FOREVER_MISSING = MissingRows(2**63 - 1, 2**63 - 1)


class NotedSymbol(NamedTuple):
    """What is noted of a symbol: its rows so far, the newest one, the highest number of a print, rowless messages."""

    rows: int
    latest: LatestRow | None
    highest: int
    counted: Mapping[CountedAs, int]


class NotedFrame(NamedTuple):
    """What is noted of a frame: its symbols, the texts of each text column, rowless messages, and counts of rows."""

    symbols: Sequence[NotedSymbol]
    texts: Mapping[str, Sequence[str]]
    counted: Mapping[CountedAs, int]
    filled: int
    void: int
    missing: MissingRows | None = None

    @property
    def rows(self) -> int:
        """The number of rows so far."""
        return sum(each.rows for each in self.symbols)

    @property
    def is_by_symbol(self) -> bool:
        """Whether all that is counted is known of each symbol."""
        counted = _sum(each.counted for each in self.symbols)
        return not self.void and self.filled == counted["filled"] and counted == +Counter(self.counted)


def composed(notes: Sequence[object], places: Sequence[tuple[int, int] | None], received: int) -> NotedFrame | None:
    """Return what is known of a frame with symbols of these frames; the arguments are those of `from_notes`.

    None where it is not known, as of one of several symbols whose rows were counted together.
    """
    known = [each for each in notes if isinstance(each, NotedFrame)]
    if len(known) < len(notes):
        return None
    symbols = [_NOTHING if place is None else known[place[0]].symbols[place[1]] for place in places]
    texts: dict[str, list[str]] = {}
    for name in chain.from_iterable(note.texts for note in known):
        texts[name] = [*dict.fromkeys(chain.from_iterable(note.texts.get(name, ()) for note in known))]
    rows = sum(each.rows for each in symbols)
    missing = MissingRows(rows, received // 1_000 + MOST_AHEAD_US) if rows else None
    if is_whole(known, places):
        return known[0]._replace(symbols=symbols, texts=texts, missing=missing)
    if not all(note.is_by_symbol for note in known) or any(len(some) > FEW_TEXTS for some in texts.values()):
        return None
    counted = _sum(each.counted for each in symbols)
    return NotedFrame(symbols, texts, counted, counted["filled"], 0, missing)


def joined_rows(pieces: Sequence[Any], total: int) -> dict[str, AnyArray]:
    """Return the columns of the last rows of `total`, of pieces in order, from the newest gap between them on.

    Raises ValueError for columns of different lengths.
    """
    found: list[dict[str, AnyArray]] = []
    end = total
    for since, columns in reversed(pieces):
        arrays = {name: np.frombuffer(content, dtype_of(kind)) for name, (kind, content) in columns.items()}
        if len({*map(len, arrays.values())}) != 1:
            raise ValueError("columns of different lengths")
        if since + len(arrays["ts"]) != end:
            break
        found.append(arrays)
        end = since
    if not found:
        return {"ts": np.empty(0, "int64"), "symbol": np.empty(0, "int64")}
    return {name: np.concatenate([piece[name] for piece in reversed(found)]) for name in found[0]}


def merged_rows(
    parts: Sequence[Mapping[str, AnyArray]],
    notes: Sequence[NotedFrame],
    places: Sequence[tuple[int, int] | None],
    texts: Mapping[str, Sequence[str]],
) -> dict[str, AnyArray]:
    """Return the rows of symbols of several frames in the order of their arrival, with codes of `places`."""
    chosen: list[dict[str, AnyArray]] = []
    for number, (part, note) in enumerate(zip(parts, notes, strict=True)):
        if not len(part["ts"]):
            continue
        own = np.full(len(note.symbols), -1, "int64")
        for code, place in enumerate(places):
            if place is not None and place[0] == number:
                own[place[1]] = code
        codes = own[part["symbol"]]
        columns = {**part, "symbol": codes}
        for name, some in texts.items():
            here = {text: code for code, text in enumerate(some)}
            columns[name] = np.array([here[text] for text in note.texts[name]], "int64")[part[name]]
        chosen.append({name: column[codes >= 0] for name, column in columns.items()})
    rows = {name: np.concatenate([each[name] for each in chosen]) for name in chosen[0]}
    if len(chosen) == 1:
        return rows
    order = np.argsort(rows["seq"], kind="stable")
    return {name: column[order] for name, column in rows.items()}


def is_whole(notes: Sequence[NotedFrame], places: Sequence[tuple[int, int] | None]) -> bool:
    """Whether these are all symbols of one frame."""
    codes = {place[1] for place in places if place is not None}
    return len(notes) == 1 and len(codes) == len(notes[0].symbols)


def dtype_of(text: object) -> np.dtype[Any]:
    """Return the type of a column of numbers. Raises ValueError for any other."""
    found = np.dtype(str(text))
    if found.kind not in "if" or found.itemsize > 8:
        raise ValueError("a column of another type")
    return found


_NOTHING = NotedSymbol(0, None, 0, {})


def _sum(counts: Iterable[Mapping[CountedAs, int]]) -> Counter[CountedAs]:
    found: Counter[CountedAs] = Counter()
    for each in counts:
        found.update(each)
    return found


class FrameStates(Checkpointed):
    """The part of a rolling frame that has to do with its states of other moments. The network's thread only."""

    STATE = "_newest", "_numbers", "first_taken_ns", "_texts", "_codes", "_characters_left", "_latest"

    columns: tuple[Column, ...]
    symbols: tuple[str, ...]
    buffer: RecordBuffer
    readers: WeakSet[object]
    lags: LatencySamples
    first_taken_ns: int | None
    missing: MissingRows | None
    _published: PublishedRows
    _observers: Observers
    _backfills: dict[int, int]
    _before: NDArray[np.int64]
    _first_capacity: int
    _latest: dict[int, LatestRow | None]
    _numbers: PrintNumbers
    _texts: dict[str, list[str]]

    @property
    @abstractmethod
    def version(self) -> int:
        """The number of rows written since the frame was made."""

    @property
    @abstractmethod
    def window(self) -> Mapping[str, int | None]:
        """The arguments `limit` and `window_ns` of a frame with a window of the same length."""

    @abstractmethod
    def _clear(self) -> None:
        """Forget what is known of rows."""

    @abstractmethod
    def _new_slab(self, capacity: int, base: int, origin: int) -> Slab:
        """Return memory for so many rows."""

    @property
    def is_resumable(self) -> bool:
        """Whether nothing is computed of all its rows."""
        return not self.readers

    def checkpoint(self) -> Checkpoint | None:
        """Return a copy of its rows and counts; None during a backfill."""
        if self._backfills or len(self.buffer) or self.missing is not None:
            return None
        slab, start, end, filled, void = self._published
        rows = {name: column[start:end].copy() for name, column in slab.all_arrays().items()}
        own = {"first": slab.base + start - slab.origin, "filled": filled, "void": void.moved(-slab.origin)}
        return {**(super().checkpoint() or {}), **own, "rows": rows, "counted": dict(self.buffer.counted)}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Have the rows and counts of an earlier moment, with larger numbers; the network's thread only."""
        origin = self.version + 1
        self._clear()
        super().resume(checkpoint)
        count = len(checkpoint["rows"]["ts"])
        slab = self._new_slab(max(self._first_capacity, 2 * count), origin + checkpoint["first"], origin)
        for name, column in slab.all_arrays().items():
            column[:count] = checkpoint["rows"][name]
        filled, void = checkpoint["filled"], checkpoint["void"].moved(origin)
        self._published = self._published._replace(slab=slab, start=0, end=count, filled=filled, void=void)
        self.missing = checkpoint.get("missing")
        self.buffer.restart(checkpoint["counted"])
        self.lags.interrupted()
        self._observers.notify()

    def recent(self, since: int) -> tuple[int, object]:
        """Return the number of rows so far, and the columns of those behind the first `since`; None for many."""
        slab, start, end, _, void = self._published
        begin = since + slab.origin - slab.base
        rows = slab.base + end - slab.origin
        if begin < start or end - begin > MOST_RECENT or void.total:
            return rows, None
        columns = {name: (each.dtype.str, each[begin:end].tobytes()) for name, each in slab.all_arrays().items()}
        return rows, (since, columns)

    def with_rows(
        self,
        checkpoint: Checkpoint,
        notes: Sequence[object],
        places: Sequence[tuple[int, int] | None],
        pieces: Sequence[Sequence[object]],
    ) -> Checkpoint:
        """Return a checkpoint with the newest rows of other frames; without them where these do not follow each other.

        Of several frames, or of some symbols of one, only if they are all rows.
        """
        known = [each for each in notes if isinstance(each, NotedFrame)]
        parts = [joined_rows(some, note.rows) for note, some in zip(known, pieces, strict=True)]
        is_all = all(len(part["ts"]) == note.rows for part, note in zip(parts, known, strict=True))
        total, missing = checkpoint["first"], checkpoint["missing"]
        if not total or not (is_all or is_whole(known, places)) or not len(parts[0]["ts"]):
            return checkpoint
        if not is_whole(known, places) and any((np.diff(part["seq"]) <= 0).any() for part in parts if len(part["ts"])):
            return checkpoint  # some were inserted: their numbers do not say where
        rows = merged_rows(parts, known, places, checkpoint["_texts"])
        if is_all:
            missing = None
        else:
            missing = MissingRows(total - len(rows["ts"]), missing.ts_us)
            missing = None if missing.have_left(self.window, total, 0) else missing
        rows, newest = self._in_window(rows)
        return {**checkpoint, "rows": rows, "first": total - len(rows["ts"]), "_newest": newest, "missing": missing}

    def _in_window(self, rows: Mapping[str, AnyArray]) -> tuple[dict[str, AnyArray], int]:
        """Return the rows that are in the window, and the newest credible time where that says which they are."""
        limit, window_ns = self.window["limit"], self.window["window_ns"]
        ts, latest = rows["ts"], rows["received"] + MOST_AHEAD_US
        if limit is not None or window_ns is None:
            return {name: column[-(limit or MAX_ROWS) :] for name, column in rows.items()}, 0
        newest = int(ts[ts <= latest].max(initial=0))
        inside = (ts >= newest - window_ns // 1_000) & (ts <= latest)
        first = int(inside.argmax()) if inside.any() else len(ts)
        return {name: column[first:] for name, column in rows.items()}, newest

    def would_be_whole(self, checkpoint: Checkpoint, later: Checkpoint) -> bool:
        """Return whether the rows that are missing in a checkpoint would have left the window at a later one."""
        newest = max((row[0] // 1_000 for row in later["_latest"].values() if row), default=0)
        missing: MissingRows | None = checkpoint["hoped"]
        return missing is None or missing.have_left(self.window, later["first"], newest)

    @property
    def is_whole(self) -> bool:
        """Whether no row is missing in the window."""
        return self.missing is None

    def noted(self, counted: Mapping[int, Mapping[CountedAs, int]] | None = None) -> NotedFrame | None:
        """Return what a recording notes of it besides rows."""
        if self._backfills or len(self.buffer) or self.first_taken_ns is not None:
            return None
        slab, _, end, filled, void = self._published
        rows = self._before + np.bincount(slab.codes[:end], minlength=len(self.symbols))
        symbols = zip(rows.tolist(), self._latest.values(), self._numbers.highest, strict=True)
        noted = [NotedSymbol(*each, (counted or {}).get(code, {})) for code, each in enumerate(symbols)]
        return NotedFrame(noted, self._texts, self.buffer.counted, filled, void.total)

    def from_notes(
        self,
        notes: Sequence[object],
        places: Sequence[tuple[int, int] | None],
        received: int,
        rows_from: Sequence[int] = (),
    ) -> Checkpoint | None:
        """Return a checkpoint without rows, which are missing until they would have left the window."""
        found = composed(notes, places, received)
        if found is None:
            return None
        hoped = found.missing
        if hoped is not None and rows_from:
            if not any(rows_from):
                hoped = None
            elif len(rows_from) == 1 and is_whole([each for each in notes if isinstance(each, NotedFrame)], places):
                hoped = hoped._replace(until=rows_from[0])
        numbers = PrintNumbers(self.columns, len(self.symbols))
        numbers.highest = [each.highest for each in found.symbols]
        texts = {name: found.texts.get(name, []) for name in self._texts}
        return {
            "_newest": 0,
            "_numbers": numbers,
            "first_taken_ns": None,
            "_texts": texts,
            "_codes": {name: {text: code for code, text in enumerate(some)} for name, some in texts.items()},
            "_characters_left": {name: MAX_CHARACTERS - sum(map(len, some)) for name, some in texts.items()},
            "_latest": dict(enumerate(each.latest for each in found.symbols)),
            "rows": dict.fromkeys(self._published.slab.all_arrays(), np.empty(0, "int8")),
            "first": sum(each.rows for each in found.symbols),
            "filled": found.filled,
            "void": NOTHING_VOID._replace(total=found.void),
            "counted": {**dict.fromkeys(self.buffer.counted, 0), **found.counted},
            "missing": found.missing,
            "hoped": hoped,  # to be missing with the rows that were noted
        }
