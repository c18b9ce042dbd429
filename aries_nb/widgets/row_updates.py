"""Row updates: what changed between two states of a table, so that a page with the one can make the other.

A row is sent as `[key, rank, texts, numbers]`. The key is unique in the table; ranks, in rising order, are the order of
the rows, so that a row that comes first moves no other. Numbers are for sorting and comparing, None where there are
none. An update is a dict of JSON values:

* `base`: the number of the update that it changes, None for a whole table; `number`: its own number,
* `gone`: the keys of rows that are gone, `put`: rows that are new or changed,
* `ranks`: the ranks of all rows, in the order of `keys`, where the order of unchanged rows is another.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aries_nb.widgets.table_format import FormattedRow

__all__ = ["RowUpdate", "RowUpdates"]

RowUpdate: TypeAlias = dict[str, object]


class _SentRow(NamedTuple):
    """A row as the page has it, and its place in the order."""

    row: FormattedRow
    rank: float


class RowUpdates:
    """The rows of one table as the page has them; `update` says what it must change to have the newest ones.

    Not thread-safe: the lock of the view guards it.
    """

    def __init__(self) -> None:
        self._sent: dict[str, _SentRow] = {}
        self._number = 0

    def update(self, rows: Sequence[FormattedRow]) -> RowUpdate | None:
        """Return what changed since the last call, None if nothing; the page must apply every update in turn.

        `rows` are all rows of the table in their order. The cost of an unchanged row is a comparison.
        """
        now = dict(zip(_unique(rows), rows, strict=True))
        sent = self._sent
        put = {key for key, row in now.items() if key not in sent or not _is_same(sent[key].row, row)}
        gone = [key for key in sent if key not in now]
        ranks = _ranks(now, put, sent)
        if not put and not gone and ranks is not None and not ranks:
            return None
        base, self._number = self._number, self._number + 1
        if ranks is None:
            ranks = {key: float(place) for place, key in enumerate(now)}
            others: RowUpdate = {"ranks": list(ranks.values()), "keys": list(ranks)}
        else:
            others = {}
        self._sent = {
            key: _SentRow(row, ranks[key] if key in ranks else sent[key].rank)
            if key in put or key in ranks
            else sent[key]
            for key, row in now.items()
        }
        written = [_written(key, self._sent[key]) for key in now if key in put]
        return {"base": base if base else None, "gone": gone, "put": written, **others, "number": self._number}

    def whole(self) -> RowUpdate:
        """Return the rows as of the last `update`, as one that changes any table to them."""
        rows = [_written(key, sent) for key, sent in self._sent.items()]
        return {"base": None, "gone": [], "put": rows, "number": self._number}


def _is_same(old: FormattedRow, new: FormattedRow) -> bool:
    """Return whether two rows look the same; a source may make its rows anew at each call."""
    return old is new or (old.texts == new.texts and old.numbers == new.numbers)


def _unique(rows: Iterable[FormattedRow]) -> list[str]:
    """Return a key for each row; a source that repeats a key loses no row."""
    keys = [row.key for row in rows]
    if len(set(keys)) != len(keys):
        seen: set[str] = set()
        for place in range(len(keys)):
            while keys[place] in seen:
                keys[place] += "+"
            seen.add(keys[place])
    return keys


def _ranks(now: Mapping[str, FormattedRow], put: set[str], sent: Mapping[str, _SentRow]) -> dict[str, float] | None:
    """Return the new ranks of those rows of `put` that need one; None where all rows need new ones."""
    ranks: dict[str, float] = {}
    run: list[str] = []
    low = -math.inf
    for key in now:
        if key in put:
            run.append(key)
            continue
        high = sent[key].rank
        if high <= low or not _rank_run(run, low, high, sent, ranks):
            return None
        run, low = [], high
    return ranks if _rank_run(run, low, math.inf, sent, ranks) else None


def _rank_run(
    run: Sequence[str], low: float, high: float, sent: Mapping[str, _SentRow], ranks: dict[str, float]
) -> bool:
    """Give the rows of `run` ranks between those of their neighbours; return whether there is room for them."""
    old = [low, *(sent[key].rank if key in sent else math.nan for key in run), high]
    if all(a < b for a, b in pairwise(old)):
        return True
    count = len(run)
    if math.isinf(low) and math.isinf(high):
        new = [float(place) for place in range(count)]
    elif math.isinf(low):
        new = [high - count + place for place in range(count)]
    elif math.isinf(high):
        new = [low + 1 + place for place in range(count)]
    else:
        new = [low + (high - low) * (place + 1) / (count + 1) for place in range(count)]
    ranks.update(zip(run, new, strict=True))
    return all(a < b for a, b in pairwise([low, *new, high]))


def _written(key: str, sent: _SentRow) -> list[object]:
    numbers = [number if math.isfinite(number) else None for number in sent.row.numbers]
    return [key, sent.rank, list(sent.row.texts), numbers]
