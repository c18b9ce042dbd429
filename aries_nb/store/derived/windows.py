"""`Windows`: aggregates over the rows of the last span of time before each row, by symbol, as pandas' `rolling`.

A late row changes the windows of rows after it: those are written again, and what was there no longer counts. So is a
print that was corrected or cancelled.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from aries_nb.model import Column
from aries_nb.model.clock import MOST_AHEAD_US
from aries_nb.store.derived.aggregates import Aggregate, Count, inputs
from aries_nb.store.derived.rows import DerivedRows, NewRows, joined
from aries_nb.store.derived.sums import Extremes, search_sorted
from aries_nb.store.derived.track import Track

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Numbers, Times
    from aries_nb.store.derived.sums import Positions

__all__ = ["LATE_US", "OVER_GAP", "GapStart", "Windows"]

OVER_GAP = "over_gap"
LATE_US = 60_000_000  # a row may come later than the newest by a window and this
FIRST_CAPACITY = 4_096

# The start of a gap that was not filled, by the clock of receipts in us, and its symbol, "" for all.
GapStart: TypeAlias = tuple[int, str]


class _Segment(NamedTuple):
    """New rows of one symbol that count: their places in the piece, times, numbers in the source, and gaps before."""

    at: Positions
    ts: Times
    numbers: Times
    after_gap: Times
    known: Numbers


class _Event(NamedTuple):
    """The end of a row, which changes windows of rows that are there, and by which row that was known.

    Rows behind it in the order of time, and of `place` among equal times, are changed.
    """

    ts: int
    place: int
    number: int
    by: int


class _Changed(NamedTuple):
    """Rows of before whose values changed: codes, numbers in the source, times, values, marks, by which rows."""

    codes: Times
    numbers: Times
    ts: Times
    values: Numbers
    over_gap: Times
    by: Times


class _Made:
    """What is made of a piece: values and marks of its rows, by which rows they are known, changes of rows before."""

    def __init__(self, piece: NewRows, values: int) -> None:
        self.piece = piece
        self.values: Numbers = np.full((values, len(piece)), np.nan)
        self.over_gap: Times = np.zeros(len(piece), "int64")
        self.by: Times = piece.first + np.arange(len(piece))
        self.changed: list[_Changed] = []


class Windows:
    """Computes aggregates by name over the rows of the last `span` us before each row of its symbol, by exchange time.

    One row for each row of the source, with the numbers `aggregates` and `over_gap`: 1 where the window reaches into a
    gap of the stream that was not filled, so that rows may be missing. The window of a row has the rows in (its time -
    span, its time] that come before it in the order of time. `received` and `seq` are those of the row by which the
    value is known: the row itself, or a later one that changed it. Rows whose time is wrong, and those that come later
    than a span and a minute, have NaN and are in no window; `late` counts the latter. `gaps` returns the starts of the
    gaps of the source. `marked_us` is how far back a gap matters, None for the span.

    With `rows` a window has that many rows up to its own instead, and `span` is 0: values are NaN, as pandas' are,
    where there are fewer, or one of them has no value in the first column of the aggregate; counts count values.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        aggregates: Mapping[str, Aggregate],
        span: int,
        gaps: Callable[[], Sequence[GapStart]] = tuple,
        marked_us: int | None = None,
        rows: int | None = None,
    ) -> None:
        self.symbols = tuple(symbols)
        self.columns = (*map(Column, aggregates), Column(OVER_GAP, "integer"))
        self.gaps = gaps
        self._aggregates = tuple(aggregates.values())
        self._row_count = rows
        counted = dict.fromkeys(each.columns[0] for each in self._aggregates if not isinstance(each, Count))
        self._counts = {name: Count(name) for name in counted} if rows else {}
        self._kept = (*self._aggregates, *self._counts.values())
        self._span = span
        self._marked = span if marked_us is None else marked_us
        self._takes_next = any(each.takes_next for each in self._aggregates)
        self._floats = 0
        for each in self._kept:
            each.place = self._floats
            self._floats += each.width
        self.restart()

    def restart(self) -> None:
        """Begin anew, with row 0."""
        self.late = 0
        self._tracks: dict[int, Track] = {}
        self._count = 0
        self._own: Times = np.empty(FIRST_CAPACITY, "int64")  # the own number of each row of the source
        self._first = self._end = 0  # the numbers in the source of its first row, and after its last
        self._gap_starts: Sequence[GapStart] = ()

    def advance(self, new: Sequence[Sequence[NewRows]]) -> DerivedRows | None:
        """Return the rows that new rows of the source make, and those of before that they change."""
        (pieces,) = new
        self._gap_starts = self.gaps()
        return joined([self._advance(part) for part in self._cut(pieces)])

    # Private.

    def _cut(self, pieces: Sequence[NewRows]) -> Iterator[NewRows]:
        """Yield pieces in parts, so that rows that change others come alone, with those of their arrival number.

        So what is made of rows, and by which it is known, does not depend on with which others they were read.
        """
        pairs = sorted((pair for piece in pieces for pair in piece.pairs), key=operator.itemgetter(1))
        old, by = np.array(pairs, "int64").reshape(-1, 2).T
        for piece in pieces:
            count = len(piece)
            numbers = piece.first + np.arange(count)
            edges = self._edges(piece, np.isin(numbers, by))
            until = numbers.copy()  # up to which row each one that does not count did
            within = (old >= piece.first) & (old < piece.first + count)
            until[old[within] - piece.first] = by[within]
            never = np.isin(numbers, list(piece.cancelling))
            until[never] = numbers[never]
            for start, end in pairwise(edges):
                begin, stop = piece.first + start, piece.first + end
                is_last = piece is pieces[-1] and end == count
                low = np.searchsorted(by, begin) if start or piece is not pieces[0] else 0
                own = pairs[low : len(pairs) if is_last else np.searchsorted(by, stop)]
                gone = [number for number, _ in own if number < begin]
                if is_last:
                    gone += sorted({*piece.void}.difference(old.tolist()))
                flags = None if piece.is_void is None else piece.is_void[start:end] & (until[start:end] < stop)
                is_void = None if flags is None or not flags.any() else flags
                missed = 0 if start else piece.missed
                yield NewRows(
                    piece.slab, piece.start + start, piece.start + end, is_void, gone, own, missed, piece.cancelling
                )

    def _edges(self, piece: NewRows, changes: NDArray[np.bool_]) -> list[int]:
        """Return where the parts of a piece begin, and its end; `changes` are the rows that correct another."""
        for code, at in _by_symbol(piece, {}):
            track, ts = self._tracks.get(code), piece.ts[at]
            credible = np.where(ts <= piece.received[at] + MOST_AHEAD_US, ts, 0)
            newest = np.maximum.accumulate(np.append(0 if track is None else track.newest, credible))
            changes[at] |= ts < newest[:-1]
        if not changes.any():
            return [0, len(piece)]
        groups = np.append(0, np.flatnonzero(np.diff(piece.seq)) + 1)
        is_alone = np.maximum.reduceat(changes, groups)
        is_edge = is_alone | np.append(True, is_alone[:-1])
        return [*groups[is_edge].tolist(), len(piece)]

    def _advance(self, piece: NewRows) -> DerivedRows:
        self._note_own(piece)
        made = _Made(piece, len(self._aggregates))
        removed = self._removed(piece)
        for code, at in _by_symbol(piece, removed):
            track = self._tracks.get(code)
            if track is None:
                track = self._tracks[code] = Track(self._floats, self._span)
            self._take(track, code, at, removed.get(code, ()), made)
        return self._rows(made)

    def _note_own(self, piece: NewRows) -> None:
        count, end = len(piece), piece.first + len(piece)
        if piece.first != self._end:  # the beginning, or rows were missed
            self._first = self._end = piece.first
        if end - self._first > len(self._own):
            first = max(self._first, min(piece.slab.base, piece.first))  # what left the window is never corrected
            own = np.empty(max(2 * (end - first), FIRST_CAPACITY), "int64")
            own[: self._end - first] = self._own[first - self._first : self._end - self._first]
            self._own, self._first = own, first
        self._own[piece.first - self._first : end - self._first] = self._count + np.arange(count)
        self._end = end
        self._count += count

    def _removed(self, piece: NewRows) -> dict[int, list[_Event]]:
        """Return the rows that do not count any more, or did not from the beginning on, by symbol."""
        found: dict[int, list[_Event]] = {}
        by = dict(piece.pairs)
        for number in (*piece.void, *(old for old in by if old >= piece.first)):
            at = number - piece.slab.base
            if number >= self._first and at >= 0:
                event = _Event(int(piece.slab.ts[at]), number, number, by.get(number, number))
                found.setdefault(int(piece.slab.codes[at]), []).append(event)
        return found

    def _take(self, track: Track, code: int, at: Positions, removed: Sequence[_Event], made: _Made) -> None:
        """Take the new rows of a symbol, and add their values and those of rows before that they change."""
        piece = made.piece
        track.make_room(len(at))
        track.is_merged = False
        start = track.end
        events: list[_Event] = []
        for event in removed:
            position = track.find(event.number, event.ts)
            if position is not None:
                event = event._replace(place=int(track.places[position]))
                track.remove(position)
                start = min(start, position)
            events.append(event)
        segment = self._new(track, code, piece, at)
        places = segment.numbers.copy()
        if piece.pairs:
            replaced, known = {by: old for old, by in piece.pairs}, {event.number: event.place for event in events}
            for index in np.flatnonzero(np.isin(segment.numbers, list(replaced))).tolist():
                places[index] = _first_of(int(segment.numbers[index]), replaced, known)
        newest = np.maximum.accumulate(np.append(track.ts[track.end - 1], segment.ts))[:-1]
        late = segment.numbers[(segment.ts < newest) | (places != segment.numbers)]
        if (events or len(late)) and len(segment.ts):
            start = min(start, track.start + int(np.searchsorted(track.ts[track.start : track.end], segment.ts.min())))
        series = self._series(piece, segment.at)
        track.add(segment.ts, segment.numbers, places, series, segment.after_gap, segment.known)
        if events or len(late):
            track.is_merged = True
            track.sort(start)
            for each in track.extremes.values():  # also where no row is left behind those that were removed
                each.forget()
        if start < track.end:
            for aggregate in self._kept:
                aggregate.extend(track, start, track.end)
            self._add_values(track, code, start, events, late, made)
        track.newest = max(track.newest, int(segment.ts.max(initial=track.newest)))
        track.drop_before(track.newest - 2 * self._span - LATE_US, self._row_count or 0)

    def _new(self, track: Track, code: int, piece: NewRows, at: Positions) -> _Segment:
        """Return those new rows of a symbol that count and have a usable time, and which follow a gap."""
        ts, received = piece.ts[at], piece.received[at]
        after_gap, known = np.zeros(len(at), "int64"), np.full(len(at), np.inf)
        if len(at):
            before = np.append(track.received or received[0], received[:-1])
            for begin, symbol in self._gap_starts:
                if symbol in ("", self.symbols[code]):
                    is_first = (before <= begin) & (received > begin)
                    after_gap[is_first] = 1
                    known[is_first] = np.minimum(known[is_first], begin - before[is_first])
            track.received = int(received[-1])
        is_used = ts <= received + MOST_AHEAD_US
        if piece.is_void is not None:
            is_used &= ~piece.is_void[at]
        newest = np.maximum.accumulate(np.append(track.newest, np.where(is_used, ts, track.newest)))[:-1]
        is_too_late = is_used & (ts < newest - self._span - LATE_US)
        if is_too_late.any():
            self.late += int(is_too_late.sum())
            is_used &= ~is_too_late
        if not is_used.all():
            used = np.flatnonzero(is_used)
            for each in np.flatnonzero(after_gap & ~is_used).tolist():
                later = used[used > each]
                if len(later):  # the next row that is used is the first one after the gap
                    after_gap[later[0]] = 1
                    known[later[0]] = min(known[later[0]], known[each])
            at, ts, after_gap, known = at[is_used], ts[is_used], after_gap[is_used], known[is_used]
        return _Segment(at, ts, piece.first + at, after_gap, known)

    def _series(self, piece: NewRows, at: Positions) -> list[tuple[int, Numbers]]:
        return [
            (place, values[at])
            for aggregate in self._kept
            for place, values in enumerate(inputs(aggregate, piece), aggregate.place)
        ]

    def _add_values(
        self, track: Track, code: int, start: int, events: Sequence[_Event], late: Times, made: _Made
    ) -> None:
        end = track.end
        ts, numbers = track.ts[start:end], track.numbers[start:end]
        first = self._first_rows(track, start, self._span)
        marked = first if self._marked == self._span else self._first_rows(track, start, self._marked)
        over_gap = (track.gaps[start:end] > track.gaps[marked - 1]).astype("int64")
        values = np.array([self._values(each, track, first, start, end) for each in self._aggregates])
        by = numbers
        if track.is_merged:
            by = self._changed_by(track, first, numbers, late)
            for event in events:
                begin, stop = self._reach(event, ts, track.places[start:end])
                by[begin:stop] = np.maximum(by[begin:stop], event.by)
        place = numbers - made.piece.first
        is_new = place >= 0
        new = place[is_new]
        made.values[:, new], made.over_gap[new], made.by[new] = values[:, is_new], over_gap[is_new], by[is_new]
        if track.is_merged:
            old = ~is_new & (by > numbers)
            codes = np.full(int(old.sum()), code)
            made.changed.append(_Changed(codes, numbers[old], ts[old], values[:, old], over_gap[old], by[old]))

    def _values(self, aggregate: Aggregate, track: Track, first: Positions, start: int, end: int) -> Numbers:
        values = aggregate.values(track, first, start, end)
        if not self._row_count:
            return values
        counted = self._counts.get("" if isinstance(aggregate, Count) else aggregate.columns[0])
        count = np.arange(start, end) - first + 1 if counted is None else counted.values(track, first, start, end)
        return np.where(count == self._row_count, values, np.nan)

    def _changed_by(self, track: Track, first: Positions, numbers: Times, late: Times) -> Times:
        """Return by which row each of these, in the order of time, is known: itself, or the last late one before it."""
        begin = int(first[0]) - 1 if self._takes_next else int(first[0])
        every = track.numbers[begin : track.end]
        changes = np.where(np.isin(every, late), every, np.nan)
        low = np.maximum(first - 1 if self._takes_next else first, begin) - begin
        newest = Extremes(np.fmax).of(changes, 0, low, len(every) - len(numbers), len(every))
        found: Times = np.maximum(numbers, np.nan_to_num(newest, nan=0.0).astype("int64"))
        return found

    def _first_rows(self, track: Track, start: int, span: int) -> Positions:
        """Return the position of the first row of each window from `start` on."""
        end = track.end
        if self._row_count:
            return np.maximum(np.arange(start, end) - self._row_count + 1, track.start)
        return track.start + search_sorted(track.ts[track.start : end], track.ts[start:end] - span)

    def _reach(self, event: _Event, ts: Times, places: Times) -> tuple[int, int]:
        """Return from which to which of these rows, in the order of time, an event changes the window."""
        low, high = (int(each) for each in (np.searchsorted(ts, event.ts), np.searchsorted(ts, event.ts, side="right")))
        begin = low + int(np.count_nonzero(places[low:high] <= event.place))
        if self._row_count:
            return begin, begin + self._row_count - 1
        until = event.ts + self._span
        if self._takes_next and begin < len(ts):
            until = max(until, int(ts[begin]) + self._span)
        return begin, int(np.searchsorted(ts, until))

    def _own_of(self, numbers: Sequence[int] | Times) -> list[int]:
        """Return the own numbers of rows of the source."""
        found: list[int] = self._own[np.asarray(numbers, "int64") - self._first].tolist()
        return found

    def _rows(self, made: _Made) -> DerivedRows:
        piece, slab = made.piece, made.piece.slab
        void = [number for number in piece.void if number >= self._first]
        if piece.is_void is not None:
            void += (piece.first + np.flatnonzero(piece.is_void)).tolist()
        pairs = [pair for pair in piece.pairs if min(pair) >= self._first]
        old, by = self._own_of([pair[0] for pair in pairs]), self._own_of([pair[1] for pair in pairs])
        void = self._own_of(void)
        parts = made.changed
        numbers = np.concatenate([np.empty(0, "int64"), *(part.numbers for part in parts)])
        if len(numbers):
            new = self._count + np.arange(len(numbers))
            old += self._own_of(numbers)
            by += new.tolist()
            self._own[numbers - self._first] = new
            self._count += len(numbers)
        at = np.maximum(np.concatenate([made.by, *(part.by for part in parts)]) - slab.base, 0)
        return DerivedRows(
            ts=np.concatenate([piece.ts, *(part.ts for part in parts)]),
            received=slab.received[at],
            seq=slab.seq[at],
            codes=np.concatenate([piece.codes, *(part.codes for part in parts)]),
            columns=[
                *np.concatenate([made.values, *(part.values for part in parts)], axis=1),
                np.concatenate([made.over_gap, *(part.over_gap for part in parts)]),
            ],
            pairs=list(zip(old, by, strict=True)),
            void=void,
            filled=len(numbers),
        )


def _by_symbol(piece: NewRows, others: Mapping[int, object]) -> Iterator[tuple[int, Positions]]:
    """Yield the places of the rows of each symbol, and none of those symbols in `others` that have no row."""
    codes = piece.codes
    nothing = np.empty(0, np.intp)
    found = set()
    if len(codes):
        order = np.argsort(codes, kind="stable")
        edges = np.flatnonzero(np.diff(codes[order])) + 1
        for at in np.split(order, edges):
            found.add(int(codes[at[0]]))
            yield int(codes[at[0]]), at
    for code in others.keys() - found:
        yield code, nothing


def _first_of(number: int, replaced: Mapping[int, int], known: Mapping[int, int]) -> int:
    while number in replaced:
        number = replaced[number]
    return known.get(number, number)
