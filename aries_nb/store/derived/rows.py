"""Rows on their way from the sources of a derived frame to that frame, by columns.

`NewRows` are read from a source, `DerivedRows` are written by `RollingFrame.append`. A `Machine` makes these of those.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Codes, Column, Times
    from aries_nb.store.corrections import Pair
    from aries_nb.store.slab import AnyArray, Slab

__all__ = ["CodedColumn", "DerivedRows", "Machine", "NewRows", "joined"]


class CodedColumn(NamedTuple):
    """A column of texts as codes, places in `texts`, to which more may be added at its end."""

    codes: AnyArray
    texts: Sequence[str]


# Numbers, integers, and times in us since the epoch are arrays; texts are coded, or a sequence of them.
ColumnValues: TypeAlias = "AnyArray | CodedColumn | Sequence[str]"


@dataclass(frozen=True, slots=True)
class NewRows:
    """Rows of a source in the order of arrival: those at the positions [start, end) of `slab`; not to be written to.

    They are numbered from `first` on since the source was made. `is_void` says which of them do not count, None where
    all do. `void` are the numbers of rows that were read before and do not count any more, ascending; `pairs` has each
    row that was replaced or cancelled since with the row that says so. Of the rows that do not count, those in
    `cancelling` never did: they only cancel another. `missed` rows before these left the source before they were read.
    """

    slab: Slab
    start: int
    end: int
    is_void: NDArray[np.bool_] | None = None
    void: Sequence[int] = ()
    pairs: Sequence[Pair] = ()
    missed: int = 0
    cancelling: Collection[int] = ()

    @property
    def first(self) -> int:
        """The number of the first of these rows since the source was made."""
        return self.slab.base + self.start

    def __len__(self) -> int:
        return self.end - self.start

    def were_known(self, pairs: Iterable[Pair]) -> NDArray[np.bool_]:
        """Which of these rows counted when they came: all but those that only cancel. `pairs` are all that are read."""
        if self.is_void is None:
            return np.ones(len(self), "bool")
        replaced = {old for old, _ in pairs}.difference(self.cancelling)
        return ~self.is_void | np.isin(self.first + np.arange(len(self)), list(replaced))

    @property
    def ts(self) -> Times:
        """Exchange times in us since the epoch."""
        return self.slab.ts[self.start : self.end]

    @property
    def received(self) -> Times:
        """Times of receipt in us since the epoch."""
        return self.slab.received[self.start : self.end]

    @property
    def seq(self) -> Times:
        """Arrival numbers over all connections of the feed, 0 where a row has none."""
        return self.slab.seq[self.start : self.end]

    @property
    def codes(self) -> Codes:
        """Places of the symbols among those of the source."""
        return self.slab.codes[self.start : self.end]

    def values(self, name: str) -> AnyArray:
        """Return a column: numbers float64, integers int64, times in us since the epoch, texts as codes."""
        return self.slab.arrays[name][self.start : self.end]

    def column(self, column: Column) -> AnyArray | CodedColumn:
        """Return a column as `DerivedRows` take it."""
        values = self.values(column.name)
        return CodedColumn(values, self.slab.texts_of(column.name)) if column.type == "text" else values


@dataclass(frozen=True, slots=True)
class DerivedRows:
    """New rows of a derived frame, in the order of their numbers, by columns of one length.

    Times are in us since the epoch. `columns` are those of the frame. Rows are numbered from 0 since the frame began:
    `pairs` has each row that one of these replaces with its number, `void` the numbers of rows that do not count any
    more and are not replaced. `filled` of these rows are written again, because a later row changed them.
    """

    ts: Times
    received: Times
    seq: Times
    codes: Codes
    columns: Sequence[ColumnValues]
    pairs: Sequence[Pair] = ()
    void: Sequence[int] = ()
    filled: int = 0

    def __len__(self) -> int:
        return len(self.ts)

    def some(self, start: int, end: int) -> DerivedRows:
        """Return the rows at the places [start, end), without those that they replace."""
        cut = slice(start, end)
        columns: list[Any] = [
            CodedColumn(each.codes[cut], each.texts) if isinstance(each, CodedColumn) else each[cut]
            for each in self.columns
        ]
        return DerivedRows(self.ts[cut], self.received[cut], self.seq[cut], self.codes[cut], columns)


class Machine(Protocol):
    """Interface of what computes the rows of a derived frame; it has no threads and knows no live objects.

    What is visible in the end must be a function of the sources' rows in the order of arrival, not of how they were cut
    into calls. One thread at a time.
    """

    @property
    def columns(self) -> Sequence[Column]:
        """The columns of the frame."""

    @property
    def symbols(self) -> Sequence[str]:
        """The symbols of the frame."""

    def advance(self, new: Sequence[Sequence[NewRows]]) -> DerivedRows | None:
        """Return the rows that the new rows of each source make, None for nothing.

        In the order of the sources, each in pieces in the order of arrival.
        """

    def restart(self) -> None:
        """Begin anew, as the sources have: a replay begins anew."""


def joined(pieces: Sequence[DerivedRows]) -> DerivedRows | None:
    """Return rows of several pieces as one, None for none."""
    if len(pieces) < 2:
        return pieces[0] if pieces else None
    columns = [_joined_column(values) for values in zip(*(piece.columns for piece in pieces), strict=True)]
    ts, received, seq, codes = (
        np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("ts", "received", "seq", "codes")
    )
    return DerivedRows(
        ts, received, seq, codes, columns,
        pairs=[pair for piece in pieces for pair in piece.pairs],
        void=[number for piece in pieces for number in piece.void],
        filled=sum(piece.filled for piece in pieces),
    )  # fmt: skip


def _joined_column(values: Sequence[Any]) -> Any:  # noqa: ANN401 - a column of `DerivedRows`
    if isinstance(values[0], CodedColumn):
        return CodedColumn(np.concatenate([each.codes for each in values]), values[0].texts)
    return np.concatenate(values)
