"""Arithmetic of series: of two at each row of either, of one with a number, and as a share of the first value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from aries_nb.model import Column
from aries_nb.model.clock import MOST_AHEAD_US
from aries_nb.store.derived.row_by_row import RowByRow
from aries_nb.store.derived.rows import DerivedRows, NewRows

if TYPE_CHECKING:
    from aries_nb.model import Numbers, Times
    from aries_nb.store.corrections import Pair
    from aries_nb.store.derived.windows import GapStart

__all__ = ["VALUE", "Combined", "Operation", "Rebased", "Side", "WithNumber"]

VALUE = "value"
Operation: TypeAlias = "Callable[[Any, Any], Any]"  # of two arrays, or an array and a number

MOMENT_US = 100_000  # rows closer than this belong to one burst, whose intervals say nothing
TIMES_USUAL = 20
LEAST_US, UNKNOWN_US = 5_000_000, 300_000_000
FEWEST_INTERVALS, MANY_ROWS = 4, 100
ROWS_A_LOOK, ROWS_LOOKED_AT = 64, 256


class _Changes(NamedTuple):
    """Rows of one series: keys that order them with those of the other, times, values, limits of silence."""

    keys: Times
    ts: Times
    received: Times
    seq: Times
    values: Numbers
    limits: Times


class Side:
    """One of two series: `column` of the frame of `symbol`, and how long it may be silent until it is stale.

    That is 20 times the median interval of its newest 256 rows, looked at after each 64, and 5 s at least; 300 s while
    there are few rows. `is_by_time`: of a late row the value is not the newest. `gaps` returns the starts of the gaps
    of its stream.
    """

    def __init__(
        self, column: str, symbol: str, *, is_by_time: bool, gaps: Callable[[], Sequence[GapStart]] = tuple
    ) -> None:
        self.column = column
        self._symbol = symbol
        self._is_by_time = is_by_time
        self._gaps = gaps
        self.restart()

    def restart(self) -> None:
        """Have no row."""
        self.value, self.received, self.limit = np.nan, 0, UNKNOWN_US  # the newest; received 0 before the first
        self._newest = self._key = self._count = 0
        self._recent: Times = np.empty(0, "int64")

    def take(self, pieces: Sequence[NewRows]) -> _Changes:
        """Return the rows at which the value changes."""
        pairs = [pair for piece in pieces for pair in piece.pairs]
        parts = [self._of(piece, pairs) for piece in pieces] or [self._of(None, ())]
        ts, received, seq, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        keys = np.maximum.accumulate(np.append(self._key, seq))[1:]
        limits = self._limits(received)
        if len(ts):
            self._key = int(keys[-1])
        return _Changes(keys, ts, received, seq, values, limits)

    def remember(self, new: _Changes) -> None:
        """Note the newest of these rows as the newest of all."""
        if len(new.ts):
            self.value, self.received, self.limit = float(new.values[-1]), int(new.received[-1]), int(new.limits[-1])

    def is_unknown(self, since: Times, until: Times, limits: Times) -> Any:  # noqa: ANN401 - an array of bool
        """Return where a value received at `since` is not current at `until`: none, too old, or before a gap."""
        unknown = (since == 0) | (until - since > limits)
        for begin, symbol in self._gaps():
            if symbol in ("", self._symbol):
                unknown |= (since <= begin) & (until > begin)
        return unknown

    def _of(self, piece: NewRows | None, pairs: Sequence[Pair]) -> tuple[Times, Times, Times, Numbers]:
        if piece is None:
            nothing = np.empty(0, "int64")
            return nothing, nothing, nothing, np.empty(0)
        ts = piece.ts
        is_used = ts <= piece.received + MOST_AHEAD_US
        if piece.is_void is not None:
            is_used &= piece.were_known(pairs)
        newest = np.maximum.accumulate(np.append(self._newest, np.where(is_used, ts, 0)))
        self._newest = int(newest[-1])
        if self._is_by_time:
            is_used &= ts >= newest[:-1]
        elif pairs:  # an older row that is written again is not the newest
            is_again = np.isin(piece.first + np.arange(len(piece)), [by for _, by in pairs])
            is_used &= (ts >= newest[:-1]) | ~is_again
        at = np.flatnonzero(is_used)
        return ts[at], piece.received[at], piece.seq[at], piece.values(self.column)[at]

    def _limits(self, received: Times) -> Times:
        limits = np.full(len(received), self.limit)
        before = len(self._recent)
        every = np.concatenate([self._recent, received])
        for at in range(-self._count % ROWS_A_LOOK, len(received), ROWS_A_LOOK):
            if self._count + at:
                known = every[max(before + at - ROWS_LOOKED_AT, 0) : before + at]
                limits[at:] = _limit(known, self._count + at)
        self._count += len(received)
        self._recent = every[-ROWS_LOOKED_AT:]
        return limits


def _limit(received: Times, count: int) -> int:
    ways = np.diff(received)
    ways = ways[ways >= MOMENT_US]
    if len(ways) < FEWEST_INTERVALS:
        return LEAST_US if count > MANY_ROWS else UNKNOWN_US
    return max(LEAST_US, TIMES_USUAL * int(np.median(ways)))


class Combined:
    """Computes an operation of two series: a row at each row of either, with the other's newest value then.

    By arrival: what was known when. A print that is corrected later stays as it was known, and its correction counts
    from its arrival on, if it is of the newest print. NaN before both are known, while either is stale, and from the
    beginning of a gap to the next row. Rows of one arrival number, as of two frames of one stream, are one.
    """

    columns = (Column(VALUE),)

    def __init__(self, operation: Operation, left: Side, right: Side, symbol: str) -> None:
        self.symbols = (symbol,)
        self._operation = operation
        self._sides = (left, right)

    def restart(self) -> None:
        """Begin anew, with row 0."""
        for side in self._sides:
            side.restart()

    def advance(self, new: Sequence[Sequence[NewRows]]) -> DerivedRows | None:
        """Return the rows that new rows of both sides make."""
        sides = [side.take(pieces) for side, pieces in zip(self._sides, new, strict=True)]
        counts = [len(each.ts) for each in sides]
        if not sum(counts):
            return None
        of = np.repeat([0, 1], counts)
        keys, ts, received, seq, *_ = (np.concatenate(arrays) for arrays in zip(*sides, strict=True))
        order = np.lexsort((np.concatenate([np.arange(count) for count in counts]), keys))
        of, keys, ts, received, seq = of[order], keys[order], ts[order], received[order], seq[order]
        is_last = np.append((keys[1:] != keys[:-1]) | (keys[1:] == 0), True)
        known = []
        unknown = np.zeros(len(of), "bool")
        for place, (side, changes) in enumerate(zip(self._sides, sides, strict=True)):
            at = np.cumsum(of == place)  # how many rows of this side there are so far
            values = np.append(side.value, changes.values)[at]
            since = np.append(side.received, changes.received)[at]
            unknown |= side.is_unknown(since, received, np.append(side.limit, changes.limits)[at])
            known.append(values)
            side.remember(changes)
        with np.errstate(all="ignore"):
            result = np.where(unknown, np.nan, self._operation(*known))
        chosen = np.flatnonzero(is_last)
        return DerivedRows(ts[chosen], received[chosen], seq[chosen], np.zeros(len(chosen), "int8"), [result[chosen]])


class WithNumber(RowByRow):
    """Computes an operation of one series and a number, or a function of one: a row for each row."""

    def __init__(self, operation: Callable[[Any], Any], column: str, symbol: str) -> None:
        super().__init__()
        self.columns, self.symbols = (Column(VALUE),), (symbol,)
        self._operation, self._column = operation, column

    def _columns(self, rows: NewRows, at: Any) -> list[Any]:  # noqa: ANN401
        with np.errstate(all="ignore"):
            return [np.asarray(self._operation(rows.values(self._column)[at]), "float64")]


class Rebased(RowByRow):
    """The values of a source as a share of the first one of each symbol, times `to`; NaN before it.

    `columns` of the source are the ones whose mean is taken: one, or bid and ask.
    """

    def __init__(self, columns: Sequence[str], symbols: Sequence[str], to: float, name: str) -> None:
        self._columns_of, self._to = tuple(columns), to
        self.columns, self.symbols = (Column(name),), tuple(symbols)
        super().__init__()

    def restart(self) -> None:
        """Begin anew, with other bases."""
        super().restart()
        self.bases: Numbers = np.full(len(self.symbols), np.nan)

    def _columns(self, rows: NewRows, at: Any) -> list[Any]:  # noqa: ANN401
        values: Numbers = np.mean([rows.values(name) for name in self._columns_of], axis=0)
        codes = rows.codes
        is_usable = np.isfinite(values) & (values != 0) & (rows.ts <= rows.received + MOST_AHEAD_US)
        if rows.is_void is not None:
            is_usable &= ~rows.is_void
        before = self.bases[codes]
        missing = np.isnan(before) & is_usable
        places, first = np.unique(codes[missing], return_index=True)
        at_first = np.flatnonzero(missing)[first]
        self.bases[places] = values[at_first]
        begun = np.full(len(self.symbols), -1)
        begun[places] = at_first
        known = ~np.isnan(before) | ((begun[codes] >= 0) & (np.arange(len(codes)) >= begun[codes]))
        with np.errstate(all="ignore"):
            return [np.where(known, values / self.bases[codes] * self._to, np.nan)[at]]
