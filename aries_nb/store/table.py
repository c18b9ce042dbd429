"""A table: the newest state of each row, found by its key. Orders, positions, balances and their like.

One thread writes (`inbox`, `publish`, `interrupted`); any thread reads, without a lock: a reader takes the published
view, a tuple that is replaced whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from math import isnan, nan
from typing import NamedTuple, Protocol, TypeAlias

import pandas as pd

from aries_nb.model import PUT, Column, Inbox, Value
from aries_nb.store.bells import Bells
from aries_nb.store.decimals import UNKNOWN
from aries_nb.store.frames import RECEIPT, frame_of
from aries_nb.store.log import Change, Row

__all__ = ["Follower", "Table"]

MAX_TEXT = 20_000  # characters of one text, the body of a news item included; longer ones are cut
_BEYOND = "…"

# The subscription's code and the values of the key columns.
Key: TypeAlias = tuple[Value, ...]


class Follower(Protocol):
    """Who is told of every row put into a table, on the writer's thread: a log."""

    def take(self, changes: Sequence[Change]) -> None:
        """Rows in the order in which they came; a row of a full list equal to the one held is not among them."""


class View(NamedTuple):
    """What is published: the rows in the order of first arrival."""

    version: int
    rows: tuple[Row, ...]
    evicted: int
    is_stale: bool


class Table:
    """Rows of the accounts given, kept by `key` (names of columns) within each account.

    A row keeps the place of its first arrival. Beyond `limit` rows the oldest by arrival leave.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        accounts: Sequence[str],
        *,
        key: Sequence[str],
        limit: int = 10_000,
        followers: Sequence[Follower] = (),
    ) -> None:
        self.columns = tuple(columns)
        self.accounts = tuple(accounts)
        self.key = tuple(key)
        names = [column.name for column in self.columns]
        self._places = tuple(names.index(name) for name in self.key)
        self._limit = limit
        self._followers = tuple(followers)
        self._bells = Bells()
        self.inbox = Inbox()
        self._rows: dict[Key, Row] = {}
        # For each code what is still held from before a break; no code stands here that is known to be whole.
        self._old: dict[int, set[Key]] = {}
        self._view = View(0, (), 0, is_stale=False)
        self._frame: tuple[View, pd.DataFrame] | None = None

    # Writing: the network's thread.

    def publish(self) -> None:
        """Apply what is in the inbox and make it visible. A full list begins and ends within one publish."""
        count = len(self.inbox.codes)
        changes: list[Change] = []
        listed: dict[int, set[Key]] = {}  # for each code whose full list came: what has been put since it began
        for code, ts, received, (mark, *values) in self._records():
            if mark != PUT:
                listed[code] = set()
                self._old.pop(code, None)
                continue
            row = Row(ts, received, self.accounts[code], tuple(map(_kept, values)))
            key = (code, *(row.values[place] for place in self._places))
            is_snapshot = code in listed and key not in listed[code]
            held = self._rows.get(key)
            if not is_snapshot or held is None or held.values != row.values:
                changes.append(Change(row, is_snapshot))
            self._rows[key] = row
            if code in listed:
                listed[code].add(key)
            self._confirm(key, code)
        self.inbox.clear()
        if count:
            self._remove_unlisted(listed)
            evicted = self._evict()
            for follower in self._followers:
                follower.take(changes)
            self._show(count, evicted)

    def interrupted(self) -> None:
        """Note that the stream broke: what is held may be out of date, and what is not held may be missing."""
        self._old = {code: set() for code in range(len(self.accounts))}
        for key in self._rows:
            self._old[_code(key)].add(key)
        self._show(1, 0)

    # Reading: any thread.

    @property
    def version(self) -> int:
        """Grows with every record and with every interruption."""
        return self._view.version

    @property
    def evicted(self) -> int:
        """How many rows have left because there were more than `limit`."""
        return self._view.evicted

    @property
    def is_stale(self) -> bool:
        """Whether something here is from before a break.

        So it is until, for each account, a full list has come or every row held at the break was put again; where none
        was held, until the first is.
        """
        return self._view.is_stale

    def __len__(self) -> int:
        return len(self._view.rows)

    def rows(self) -> tuple[Row, ...]:
        """The rows in the order of first arrival, with decimals exactly as they came."""
        return self._view.rows

    def frame(self) -> pd.DataFrame:
        """The rows in the order of first arrival, oldest first; the frame is the caller's own.

        Index: the key (of more than one column: a MultiIndex), or the account where a row has no other key. Columns:
        ts, received, account, the other fields. Decimals are float64 here, times datetime64[ns, UTC], texts str.
        """
        view, cached = self._view, self._frame
        if cached is None or cached[0] is not view:
            rows = [(row.ts, row.received, row.account, *row.values) for row in view.rows]
            frame = frame_of((*RECEIPT, *self.columns), rows).set_index(list(self.key) or "account")
            cached = self._frame = (view, frame)
        return cached[1].copy(deep=False)  # copied when either side is written to

    def watch(self, ring: Callable[[], None]) -> Callable[[], None]:
        """Have `ring` called after each change, on the writer's thread; it must return at once. Returns the undo."""
        return self._bells.add(ring)

    # Inside.

    def _records(self) -> Iterator[tuple[int, int, int, list[Value]]]:
        """Code, exchange time, time of receipt and values of each record in the inbox."""
        inbox, width = self.inbox, 1 + len(self.columns)
        done = 0
        for upto, received in inbox.marks:
            for at in range(done, upto):
                yield inbox.codes[at], inbox.ts[at], received, inbox.values[at * width : (at + 1) * width]
            done = max(done, upto)
        if done < len(inbox.codes):
            raise ValueError("records without a time of receipt")

    def _remove_unlisted(self, listed: dict[int, set[Key]]) -> None:
        if listed:
            for key in [key for key in self._rows if _code(key) in listed and key not in listed[_code(key)]]:
                del self._rows[key]

    def _confirm(self, key: Key, code: int) -> None:
        """A row is as of now; when no other of its account is from before the break, the account is whole."""
        old = self._old.get(code)
        if old is not None:
            old.discard(key)
            if not old:
                del self._old[code]

    def _evict(self) -> int:
        """Let the oldest rows go that are too many; returns how many they were."""
        gone = list(self._rows)[: max(len(self._rows) - self._limit, 0)]
        for key in gone:
            del self._rows[key]
            self._confirm(key, _code(key))
        return len(gone)

    def _show(self, steps: int, evicted: int) -> None:
        view = self._view
        self._view = View(view.version + steps, tuple(self._rows.values()), view.evicted + evicted, bool(self._old))
        self._bells.ring()


def _code(key: Key) -> int:
    code = key[0]
    assert isinstance(code, int)
    return code


def _kept(value: Value) -> Value:
    """A value as it is held: texts cut, and one NaN for all: a NaN equals nothing, but rows of one object are equal."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + _BEYOND
    if isinstance(value, Decimal):
        return value if value.is_finite() else UNKNOWN
    return nan if isinstance(value, float) and isnan(value) else value
