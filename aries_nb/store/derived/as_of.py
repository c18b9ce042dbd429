"""As-of join: to each row of one frame the newest row of another one, of the same symbol.

By arrival (`seq`) that is what was known when the row came. By exchange time (`ts`) it is what was true then: rows that
come later can belong to it, so rows are written again when they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from aries_nb.model import MISSING, Column
from aries_nb.model.clock import MOST_AHEAD_US
from aries_nb.store.derived.over_time import by_exchange_clock
from aries_nb.store.derived.rows import CodedColumn, DerivedRows, NewRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Times
    from aries_nb.store.corrections import Pair
    from aries_nb.store.slab import AnyArray, Slab

__all__ = ["AsOfJoin", "FixedRows", "JoinedColumn", "Key"]

Key: TypeAlias = Literal["seq", "received", "ts"]
FIRST_CAPACITY = 1_024
NONE = -1
NEVER = np.iinfo("int64").max
ALL = slice(None)
NOTHING: Times = np.empty(0, "int64")
_DTYPES = {"number": "float64", "text": "int32"}  # of a joined column; texts are codes, and others int64


class JoinedColumn(NamedTuple):
    """A column of the right frame, and its name in the result."""

    column: Column
    name: str


class FixedRows(NamedTuple):
    """Rows of a right frame that does not change: codes of its symbols, times in us, and its columns.

    Texts are codes, places in `texts` by column.
    """

    codes: AnyArray
    ts: Times
    received: Times
    values: Sequence[AnyArray]
    texts: Mapping[str, Sequence[str]]


class AsOfJoin:
    """A machine that makes a row of each row of its first source, with columns of the newest row of its second.

    `codes` has for each symbol of the left frame the code of the right one, -1 for none. `by` "seq" takes the newest
    row that arrived before, "received" that received until then, "ts" the newest by exchange time; of equal times the
    last. `gaps` returns the starts of the right frame's unfilled gaps by the clock of receipt, in us, with the right
    code of their symbol, None for all: from there on nothing is known until the symbol's next row, by "ts" from the
    same moment by the exchange's clock on. `fixed` stands for
    the second source. About `most` of the right frame's newest rows are remembered, and each symbol's newest.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        symbols: Sequence[str],
        right: Sequence[JoinedColumn],
        codes: Sequence[int],
        *,
        by: Key,
        gaps: Callable[[], Iterable[tuple[int, int | None]]] = tuple,
        fixed: FixedRows | None = None,
        most: int = 100_000,
    ) -> None:
        times = Column("ts_right", "time"), Column("received_right", "time")
        self.columns = (*columns, *times, *(Column(name, column.type) for column, name in right))
        self.symbols = tuple(symbols)
        self._left_columns = tuple(columns)
        self._right = tuple(right)
        self._codes = np.array(codes, "int64")
        self._by: Key = by
        self._gaps = gaps
        self._fixed = fixed
        self._most = most
        self.restart()

    def restart(self) -> None:
        """Begin anew, with row 0."""
        dtypes = {"key": "int64", "ts": "int64", "received": "int64", "number": "int64"}
        for place, (column, _) in enumerate(self._right):
            dtypes[str(place)] = _DTYPES.get(column.type, "int64")
        self._known = {int(code): _Sorted(dtypes) for code in self._codes if code >= 0}
        self._texts: dict[str, Sequence[str]] = {}
        self._newest_number = NONE
        self._newest_ts: dict[int, int] = {}  # of the right rows by code
        # Of the left rows, by symbol. They are sorted when a right row comes that may belong to one of them: until then
        # their numbers are noted as ranges, each of one slab (first, end, its base), and of each symbol the newest key.
        self._left = [_Sorted({"key": "int64", "number": "int64"}) for _ in self.symbols]
        self._unsorted: list[tuple[int, int, int]] = []
        self._newest_key = [-NEVER] * len(self.symbols)
        self._own = _OwnNumbers()
        self._void_left: set[int] = set()
        self._slabs: list[Slab] = []
        self._count = 0
        self._gap_starts: dict[int, tuple[Times, Times]] = {}  # and the earliest begin from each on
        self._begins: dict[tuple[int, int], int] = {}
        if self._fixed is not None:
            self._take_fixed(self._fixed)

    def advance(self, new: Sequence[Sequence[NewRows]]) -> DerivedRows | None:
        """Return the rows that new rows of the sources make, with those that are made again because of them."""
        left, right = new[0], new[1] if len(new) > 1 else ()
        for piece in left:
            if not any(piece.slab is slab for slab in self._slabs):
                self._slabs = [*self._slabs[-1:], piece.slab]
                self._forget_left()
        touched = self._take_right(right)
        self._find_gaps()
        again = self._to_make_again(touched) if self._by == "ts" else NOTHING
        parts = [np.arange(piece.first, piece.first + len(piece)) for piece in left]
        fresh = parts[0] if len(parts) == 1 else np.concatenate([NOTHING, *parts])
        outdated = self._own.of(again)
        made = self._made(np.concatenate([again, fresh]) if len(again) else fresh)
        self._own.replace(again, self._count)
        self._own.extend(fresh, self._count + len(again))
        if self._by == "ts":
            self._note_left(left)
        self._count += len(made)
        pairs, void = self._void(left)
        own = self._count - len(made) + np.arange(len(again))
        pairs += [(old, by) for old, by in zip(outdated.tolist(), own.tolist(), strict=True) if old >= 0]
        if not len(made) and not void:
            return None
        return replace(made, pairs=pairs, void=void, filled=len(again))

    # The right rows.

    def _take_fixed(self, fixed: FixedRows) -> None:
        self._texts = dict(fixed.texts)
        for code, known in self._known.items():
            at = np.flatnonzero(fixed.codes == code)
            key = (fixed.received if self._by == "received" else fixed.ts)[at]
            rows = {"key": key, "ts": fixed.ts[at], "received": fixed.received[at], "number": at}
            known.add(rows | {str(place): values[at] for place, values in enumerate(fixed.values)})

    def _take_right(self, pieces: Sequence[NewRows]) -> dict[int, list[Times]]:
        """Remember right rows; return by code the keys from which on the newest row has become another."""
        touched: dict[int, list[Times]] = {}
        pairs = [pair for piece in pieces for pair in piece.pairs]
        again = [by for _, by in pairs]
        for piece in pieces:
            chosen = np.flatnonzero(piece.ts <= piece.received + MOST_AHEAD_US)  # else the time is wrong
            if piece.is_void is not None:
                counts = ~piece.is_void if self._by == "ts" else piece.were_known(pairs)
                chosen = chosen[counts[chosen]]
            self._texts |= {
                column.name: piece.slab.texts_of(column.name) for column, _ in self._right if column.type == "text"
            }
            columns = {
                "key": getattr(piece, self._by), "ts": piece.ts, "received": piece.received,
                "number": piece.first + np.arange(len(piece)),
            }  # fmt: skip
            columns |= {str(place): piece.values(column.name) for place, (column, _) in enumerate(self._right)}
            codes = piece.codes[chosen]
            for code, known in self._known.items():
                at = chosen[codes == code]
                if self._by != "ts" and len(at):  # an older row that is written again is not the newest
                    newest = np.maximum.accumulate(np.append(self._newest_ts.get(code, 0), piece.ts[at]))
                    self._newest_ts[code] = int(newest[-1])
                    if again:
                        at = at[(piece.ts[at] >= newest[:-1]) | ~np.isin(piece.first + at, again)]
                if len(at):
                    known.add({name: column[at] for name, column in columns.items()})
                    touched.setdefault(code, []).append(columns["key"][at])
            if len(piece):
                self._newest_number = piece.first + len(piece) - 1
            if len(piece.void) and self._by == "ts":
                for code, known in self._known.items():
                    gone = np.isin(known["number"], piece.void)
                    if gone.any():
                        key = known["key"]
                        is_last = np.append(key[1:] != key[:-1], True)  # of several with one key that which counts
                        touched.setdefault(code, []).append(key[gone & is_last])
                        known.keep(~gone)
        if pieces and sum(map(len, self._known.values())) > 2 * self._most:
            for known in self._known.values():
                is_kept = known["number"] > self._newest_number - self._most
                is_kept[-1:] = True
                known.keep(is_kept)
        return touched

    def _find_gaps(self) -> None:
        found = tuple(self._gaps())
        self._gap_starts = {}
        for code in self._known if found else ():
            starts = np.array(sorted({start for start, of in found if of in {None, code}}), "int64")
            begins = np.array([self._begin(code, start) for start in starts.tolist()], "int64")
            self._gap_starts[code] = starts, np.minimum.accumulate(np.append(begins, NEVER)[::-1])[::-1]

    def _begin(self, code: int, start: int) -> int:
        """Return the start of a gap by the clock of the left rows' times that are compared with it."""
        if self._by != "ts":
            return start
        begin = self._begins.get((code, start))
        if begin is None:
            ts, received = self._known[code]["ts"], self._known[code]["received"]
            begin = by_exchange_clock(start, ts, received)
            if (received > start).any():  # no row from before the gap comes any more
                self._begins[code, start] = begin
        return begin

    def _match(self, code: int, keys: Times, times: Times, at: NDArray[np.intp] | slice = ALL) -> NDArray[np.intp]:
        """Return the places, among the known rows of a right symbol, of those to join to left rows; -1 for none.

        `times` at the places `at` are those of the left rows that gaps are compared with: of receipt, or `ts` where it
        goes by that.
        """
        known = self._known[code]
        places = np.searchsorted(known["key"], keys, side="left" if self._by == "seq" else "right") - 1
        if code in self._gap_starts and len(known):
            # A gap that began after the right row was received, and before the left one was.
            starts, begins = self._gap_starts[code]
            since = np.searchsorted(starts, known["received"][places], side="left")
            places[begins[since] < times[at]] = NONE
        return places

    # The left rows.

    def _note_left(self, pieces: Sequence[NewRows]) -> None:
        """Note the numbers of new left rows."""
        for piece in pieces:
            first, end, base = piece.first, piece.first + len(piece), piece.slab.base
            if self._unsorted and self._unsorted[-1][1:] == (first, base):
                first = self._unsorted.pop()[0]
            self._unsorted.append((first, end, base))

    def _sort_left(self) -> None:
        """Sort the left rows by symbol and key."""
        for first, end, _ in self._unsorted:
            slab = self._slabs[-1] if first >= self._slabs[-1].base else self._slabs[0]
            codes, keys = (column[first - slab.base : end - slab.base] for column in (slab.codes, slab.ts))
            for symbol in np.flatnonzero(np.bincount(codes)).tolist():
                at = np.flatnonzero(codes == symbol)
                self._left[symbol].add({"key": keys[at], "number": first + at})
        self._unsorted = []

    def _to_make_again(self, touched: Mapping[int, Sequence[Times]]) -> Times:
        """Return the numbers of left rows to which another right row belongs now."""
        found = [NOTHING]
        for symbol, code in enumerate(self._codes.tolist()):
            keys = np.concatenate([NOTHING, *touched.get(code, ())])
            keys = np.unique(keys[keys <= self._newest_key[symbol]])
            if not len(keys):
                continue
            self._sort_left()
            left, known = self._left[symbol], self._known[code]["key"]
            behind = np.append(known, NEVER)[np.searchsorted(known, keys, side="right")]
            first, last = (np.searchsorted(left["key"], each, side="left") for each in (keys, behind))
            numbers = left["number"][np.concatenate([np.arange(*each) for each in zip(first, last, strict=True)])]
            found.append(numbers[~np.isin(numbers, list(self._void_left))])
        return np.unique(np.concatenate(found))

    def _gathered(
        self,
        numbers: Times,
        take: Callable[[Slab, NDArray[np.intp] | slice], AnyArray],
        *,
        are_in_a_row: bool,
    ) -> AnyArray:
        """Return what `take` returns for left rows by their numbers: it is given a slab and positions in it."""
        last = self._slabs[-1]
        if are_in_a_row and numbers[0] >= last.base:  # most often: new rows
            return take(last, slice(int(numbers[0]) - last.base, int(numbers[-1]) + 1 - last.base))
        if len(self._slabs) == 1 or numbers.min() >= last.base:
            return take(last, numbers - last.base)
        is_last = numbers >= last.base
        older = take(self._slabs[0], numbers[~is_last] - self._slabs[0].base)
        result = np.empty(len(numbers), older.dtype)
        result[~is_last], result[is_last] = older, take(last, numbers[is_last] - last.base)
        return result

    def _made(self, numbers: Times) -> DerivedRows:
        """Return the rows for left rows."""
        if not len(numbers):
            return DerivedRows(numbers, numbers, numbers, np.empty(0, "int32"), [])
        is_row = _are_in_a_row(numbers)

        def left(name: str) -> AnyArray:
            return self._gathered(numbers, lambda slab, at: slab.all_arrays()[name][at], are_in_a_row=is_row)

        ts, received, seq, codes = map(left, ("ts", "received", "seq", "symbol"))
        values: list[Any] = []
        for name, kind in self._left_columns:
            column = left(name)
            values.append(CodedColumn(column, self._slabs[-1].texts_of(name)) if kind == "text" else column)
        added = self.columns[len(self._left_columns) :]
        joined = [np.empty(len(numbers), _DTYPES.get(column.type, "int64")) for column in added]
        keys = {"seq": seq, "received": received, "ts": ts}[self._by]
        times = ts if self._by == "ts" else received
        for symbol in np.flatnonzero(np.bincount(codes)).tolist():
            code, at = int(self._codes[symbol]), np.flatnonzero(codes == symbol)
            own_keys = keys[at]
            places = self._match(code, own_keys, times, at) if code >= 0 else np.full(len(at), NONE)
            self._newest_key[symbol] = max(self._newest_key[symbol], int(own_keys.max()))
            missing = at[places < 0]
            if len(missing):
                for (_, kind), own in zip(added, joined, strict=True):
                    own[missing] = NONE if kind == "text" else MISSING[kind]
                at, places = at[places >= 0], places[places >= 0]
            if len(at):
                for name, own in zip(("ts", "received", *map(str, range(len(self._right)))), joined, strict=True):
                    own[at] = self._known[code][name][places]
        for place, (right, _) in enumerate(self._right, start=2):
            if right.type == "text":
                texts = np.array([*self._texts.get(right.name, ()), ""], "object")
                joined[place] = texts[joined[place]]
        return DerivedRows(ts, received, seq, codes, [*values, *joined])

    def _void(self, pieces: Sequence[NewRows]) -> tuple[list[Pair], list[int]]:
        """Return which of the rows made so far do not count, as the left rows do not that they were made of."""
        pairs: list[Pair] = []
        gone: list[int] = []
        for piece in pieces:
            pairs += piece.pairs
            gone += piece.void
            if piece.is_void is not None:
                gone += (piece.first + np.flatnonzero(piece.is_void)).tolist()
        self._void_left |= {*gone, *(old for old, _ in pairs)}
        own = self._own.of
        found = zip(own([old for old, _ in pairs]).tolist(), own([by for _, by in pairs]).tolist(), strict=True)
        return [(old, by) for old, by in found if old >= 0 and by >= 0], [n for n in own(gone).tolist() if n >= 0]

    def _forget_left(self) -> None:
        oldest = self._slabs[0].base
        self._own.forget(oldest)
        self._void_left = {number for number in self._void_left if number >= oldest}
        self._unsorted = [(max(first, oldest), end, base) for first, end, base in self._unsorted if end > oldest]
        for left in self._left:
            left.keep(left["number"] >= oldest)


class _Sorted:
    """Columns of rows sorted by `key`, of equal keys in the order in which they were added."""

    def __init__(self, dtypes: Mapping[str, str]) -> None:
        self._columns: dict[str, AnyArray] = {name: np.empty(0, dtype) for name, dtype in dtypes.items()}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, name: str) -> AnyArray:
        return self._columns[name][: self._count]

    def add(self, rows: Mapping[str, AnyArray]) -> None:
        """Add rows, sorted or not; costs as much as they are, unless they belong before others."""
        keys = rows["key"]
        count = len(keys)
        if not count:
            return
        end = self._count + count
        if end > len(self._columns["key"]):
            capacity = self._count + max(end, FIRST_CAPACITY)
            self._columns = {name: _longer(column[: self._count], capacity) for name, column in self._columns.items()}
        is_behind = not self._count or keys[0] >= self._columns["key"][self._count - 1]
        for name, column in self._columns.items():
            column[self._count : end] = rows[name]
        first, self._count = self._count, end
        if not is_behind or (keys[1:] < keys[:-1]).any():
            first = int(np.searchsorted(self._columns["key"][:first], keys.min(), side="right"))
            order = first + np.argsort(self._columns["key"][first:end], kind="stable")
            for column in self._columns.values():
                column[first:end] = column[order]

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Keep these rows alone."""
        if chosen.all():
            return
        self._columns = {name: self[name][chosen] for name in self._columns}
        self._count = len(self._columns["key"])


class _OwnNumbers:
    """The number of the row that was made last of each left row, by the left row's number; -1 for none."""

    def __init__(self) -> None:
        self._base = 0
        self._own = np.empty(0, "int64")
        self._count = 0

    def of(self, numbers: Sequence[int] | Times) -> Times:
        at = np.asarray(numbers, "int64") - self._base
        is_known = (at >= 0) & (at < self._count)
        return np.where(is_known, self._own[np.where(is_known, at, 0)] if self._count else NONE, NONE)

    def replace(self, numbers: Times, first: int) -> None:
        self._own[numbers - self._base] = first + np.arange(len(numbers))

    def extend(self, numbers: Times, first: int) -> None:
        """Add left rows, whose numbers ascend; rows were missed where they leave some out."""
        if not len(numbers):
            return
        if not self._count:
            self._base = int(numbers[0])
        end = int(numbers[-1]) + 1 - self._base
        if end > len(self._own):
            self._own = _longer(self._own[: self._count], self._count + max(end, FIRST_CAPACITY))
        if end - self._count > len(numbers):
            self._own[self._count : end] = NONE
            self._own[numbers - self._base] = np.arange(first, first + len(numbers))
        else:
            self._own[self._count : end] = np.arange(first, first + len(numbers))
        self._count = end

    def forget(self, before: int) -> None:
        """Forget rows numbered below `before`."""
        dropped = min(max(before - self._base, 0), self._count)
        self._own, self._base, self._count = self._own[dropped:].copy(), self._base + dropped, self._count - dropped


def _longer(array: AnyArray, capacity: int) -> AnyArray:
    """Return a copy with room for more elements, which are not set."""
    longer = np.empty(capacity, array.dtype)
    longer[: len(array)] = array
    return longer


def _are_in_a_row(numbers: Times) -> bool:
    """Whether each is the one before and 1."""
    return int(numbers[-1]) - int(numbers[0]) == len(numbers) - 1 and bool((numbers[1:] > numbers[:-1]).all())
