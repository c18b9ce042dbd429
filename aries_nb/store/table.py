"""A table: the newest state of each row, found by its key. Orders, positions, balances and their like.

One thread writes (`inbox`, `publish`, `insert`, `interrupted`); any thread reads, without a lock: a reader takes the
published view, a tuple that is replaced whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from math import isnan, nan
from typing import NamedTuple, Protocol, TypeAlias

import pandas as pd

from aries_nb.model import PUT, Column, Inbox, Observers, Value, Values
from aries_nb.store.log import RowChange, TableRow
from aries_nb.store.message_counts import MessageCounts, counts_of
from aries_nb.store.values import RECEIPT, UNKNOWN, frame_of

__all__ = ["FetchedRows", "Table", "TableListener"]

MAX_TEXT = 20_000  # characters of one text, the body of a news item included; longer ones are cut
_ELLIPSIS = "…"

# The subscription's code and the values of the key columns.
Key: TypeAlias = tuple[Value, ...]


class TableListener(Protocol):
    """Who is told of every row put into a table, on the writer's thread: a log."""

    def take(self, changes: Sequence[RowChange]) -> None:
        """Rows in the order in which they came; a row of a full list equal to the one held is not among them."""


class _PublishedTable(NamedTuple):
    """What is published: the rows in the order of first arrival.

    `taken` states came for them, `filled` of these beside the stream, and `replaced` are shown no more.
    """

    version: int
    rows: tuple[TableRow, ...]
    evicted: int
    is_stale: bool
    taken: int = 0
    filled: int = 0
    replaced: int = 0


class FetchedRows(NamedTuple):
    """Rows that were asked for beside the stream: exchange time (ns since the epoch) and values of each, oldest first.

    `asked` and `received` are local times, ns since the epoch; `breaks` is that of the table when it was asked for.
    `is_full`: these are all rows of the account, of which `code` is the place.
    """

    rows: Sequence[tuple[int, Values]]
    asked: int
    received: int
    breaks: int
    is_full: bool
    code: int = 0


class Table:
    """Rows of the accounts given, kept by `key` (names of columns) within each account.

    A row keeps the place of its first arrival. Beyond `limit` rows the oldest by arrival leave. Where there is a column
    `updated`, it says which of two states of a row is the later one.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        accounts: Sequence[str],
        *,
        key: Sequence[str],
        limit: int = 10_000,
        followers: Sequence[TableListener] = (),
    ) -> None:
        self.columns = tuple(columns)
        self.accounts = tuple(accounts)
        self.key = tuple(key)
        names = [column.name for column in self.columns]
        self._places = tuple(names.index(name) for name in self.key)
        self._updated = names.index("updated") if "updated" in names else None
        self._limit = limit
        self._followers = tuple(followers)
        self._observers = Observers()
        self.inbox = Inbox()
        self._rows: dict[Key, TableRow] = {}
        # For each code what is still held from before a break; no code stands here that is known to be whole.
        self._stale_keys: dict[int, set[Key]] = {}
        # When the stream's last full list of each code came, in ns.
        self._listed_at: dict[int, int] = {}
        # What was told beside the stream, and not yet by the stream: it is going to repeat some of it, perhaps late.
        self._fetched: dict[Key, list[TableRow]] = {}
        # Rows with `updated` that a full list took away: a list of ended ones may bring them back, and nothing is new.
        self._removed: dict[Key, TableRow] = {}
        self._breaks = 0
        self._taken = self._filled = self._replaced = 0
        self._published = _PublishedTable(0, (), 0, is_stale=False)
        self._frame: tuple[_PublishedTable, pd.DataFrame] | None = None

    # Writing: the network's thread.

    def publish(self) -> None:
        """Apply what is in the inbox and make it visible. A full list begins and ends within one publish."""
        count = len(self.inbox.codes)
        changes: list[RowChange] = []
        listed: dict[int, set[Key]] = {}  # for each code whose full list came: what has been put since it began
        for code, ts, received, (mark, *values) in self._records():
            if mark != PUT:
                listed[code] = set()
                self._listed_at[code] = received
                self._stale_keys.pop(code, None)
                continue
            row = TableRow(ts, received, self.accounts[code], tuple(map(_normalized, values)))
            key = self._key(code, row)
            is_snapshot = code in listed and key not in listed[code]
            if self._put_streamed(key, row, is_snapshot=is_snapshot):
                changes.append(RowChange(row, is_snapshot))
            if code in listed:
                listed[code].add(key)
            self._confirm(key, code)
        self.inbox.clear()
        if count:
            self._remove_unlisted(listed)
            self._publish(changes, count)

    def insert(self, answer: FetchedRows) -> bool:
        """Take in what was asked for beside the stream, where the stream has told nothing later; make it visible.

        Which state is later, `updated` says; else what the stream told after the question is. Whatever a break made out
        of date is confirmed or, by a full list, taken away. False, and nothing is taken in, where a break came between.
        """
        if answer.breaks != self._breaks:
            return False
        self.publish()
        changes: list[RowChange] = []
        keys: set[Key] = set()
        for ts, values in answer.rows:
            row = TableRow(ts, answer.received, self.accounts[answer.code], tuple(map(_normalized, values)))
            key = self._key(answer.code, row)
            keys.add(key)
            if self._put_fetched(key, row, answer):
                changes.append(RowChange(row, is_snapshot=True))
            self._confirm(key, answer.code)
        if answer.is_full:
            for key in self._stale_keys.pop(answer.code, set()) - keys:
                self._remove(key)
        self._publish(changes, 1)
        return True

    def interrupted(self) -> None:
        """Note that the stream broke: what is held may be out of date, and what is not held may be missing."""
        self._breaks += 1
        self._fetched.clear()
        self._stale_keys = {code: set() for code in range(len(self.accounts))}
        for key in self._rows:
            self._stale_keys[_code(key)].add(key)
        self._publish_rows(1, 0)

    # Reading: any thread.

    @property
    def version(self) -> int:
        """Grows with every record and with every interruption."""
        return self._published.version

    @property
    def breaks(self) -> int:
        """How often the stream broke."""
        return self._breaks

    @property
    def evicted(self) -> int:
        """How many rows have left because there were more than `limit`."""
        return self._published.evicted

    @property
    def is_stale(self) -> bool:
        """Whether something here is from before a break.

        So it is until, for each account, a full list has come or every row held at the break was put again; where none
        was held, until the first is.
        """
        return self._published.is_stale

    def __len__(self) -> int:
        return len(self._published.rows)

    def message_counts(self) -> MessageCounts:
        """What became of every state that was told."""
        view = self._published
        return counts_of(
            self.inbox.counted,
            rows=view.taken,
            filled=view.filled,
            visible=len(view.rows),
            evicted=view.evicted,
            conflated=view.replaced,
        )

    def rows(self) -> tuple[TableRow, ...]:
        """The rows in the order of first arrival, with decimals exactly as they came."""
        return self._published.rows

    def frame(self) -> pd.DataFrame:
        """The rows in the order of first arrival, oldest first; the frame is the caller's own.

        Index: the key (of more than one column: a MultiIndex), or the account where a row has no other key. Columns:
        ts, received, account, the other fields. Decimals are float64 here, times datetime64[ns, UTC], texts str.
        """
        view, cached = self._published, self._frame
        if cached is None or cached[0] is not view:
            rows = [(row.ts, row.received, row.account, *row.values) for row in view.rows]
            frame = frame_of((*RECEIPT, *self.columns), rows).set_index(list(self.key) or "account")
            cached = self._frame = (view, frame)
        return cached[1].copy(deep=False)  # copied when either side is written to

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the writer's thread; it must return at once. Returns its removal."""
        return self._observers.add(callback)

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

    def _key(self, code: int, row: TableRow) -> Key:
        return (code, *(row.values[place] for place in self._places))

    def _put_streamed(self, key: Key, row: TableRow, *, is_snapshot: bool) -> bool:
        """Hold what the stream told; whether it is news."""
        self._taken += 1
        self._replaced += key in self._rows
        known = self._rows.get(key) or self._removed.pop(key, None)
        is_news = not is_snapshot or known is None or known.values != row.values
        ahead = self._fetched.get(key)
        if ahead is None:
            self._rows[key] = row
            return is_news
        is_known = any(each.values == row.values for each in ahead)
        order = self._order(row, ahead[-1])
        if order < 0:  # an earlier state, late
            self._rows.setdefault(key, ahead[-1])
            return not is_known and not is_snapshot
        self._rows[key] = row
        if order > 0 or self._updated is None or row.values == ahead[-1].values:
            del self._fetched[key]  # the stream has caught up
        return is_news and not is_known

    def _put_fetched(self, key: Key, row: TableRow, answer: FetchedRows) -> bool:
        """Hold what was told beside the stream, where that is later than what is known; whether it is news."""
        held = self._rows.get(key)
        self._taken += 1
        self._filled += 1
        self._replaced += held is not None
        if held is None and answer.is_full and self._listed_at.get(answer.code, 0) >= answer.asked:
            self._replaced += 1
            return False  # it ended, or the stream is going to tell
        known = held or self._removed.pop(key, None)
        if known is not None and (self._order(row, known) or answer.asked - known.received) <= 0:
            self._rows[key] = known
            return False
        if known is not None and self._updated is not None and not self._order(row, known):
            # The same state, of which an answer may tell less than the stream.
            pairs = zip(row.values, known.values, strict=True)
            row = row._replace(values=tuple(before if value is UNKNOWN else value for value, before in pairs))
        self._rows[key] = row
        if known is not None and known.values == row.values:
            return False
        self._fetched.setdefault(key, []).append(row)
        return True

    def _order(self, row: TableRow, other: TableRow) -> int:
        """Above 0 where a state is later than another one of the same row, below 0 where earlier, 0 if unknown."""
        if self._updated is None:
            return 0
        one, two = row.values[self._updated], other.values[self._updated]
        assert isinstance(one, int), "times are whole numbers"
        assert isinstance(two, int), "times are whole numbers"
        return one - two

    def _remove_unlisted(self, listed: dict[int, set[Key]]) -> None:
        """Take away what a full list of the stream has not; of what is ahead of the stream it may not know yet."""
        if listed:
            for key in [key for key in self._rows if _code(key) in listed and key not in listed[_code(key)]]:
                if self._updated is None or key not in self._fetched:
                    self._remove(key)

    def _remove(self, key: Key) -> None:
        row = self._rows.pop(key, None)
        self._replaced += row is not None
        if row is not None and self._updated is not None:
            self._removed[key] = row
            if len(self._removed) > self._limit:
                del self._removed[next(iter(self._removed))]

    def _confirm(self, key: Key, code: int) -> None:
        """A row is as of now; when no other of its account is from before the break, the account is whole."""
        old = self._stale_keys.get(code)
        if old is not None:
            old.discard(key)
            if not old:
                del self._stale_keys[code]

    def _evict(self) -> int:
        """Let the oldest rows go that are too many; returns how many they were."""
        gone = list(self._rows)[: max(len(self._rows) - self._limit, 0)]
        for key in gone:
            del self._rows[key]
            self._fetched.pop(key, None)
            self._confirm(key, _code(key))
        return len(gone)

    def _publish(self, changes: Sequence[RowChange], steps: int) -> None:
        """Let go what is too much, and make visible what is new, followers first."""
        evicted = self._evict()
        for follower in self._followers:
            follower.take(changes)
        self._publish_rows(steps, evicted)

    def _publish_rows(self, steps: int, evicted: int) -> None:
        view, rows = self._published, tuple(self._rows.values())
        counts = self._taken, self._filled + self.inbox.counted["filled"], self._replaced
        self._published = _PublishedTable(
            view.version + steps, rows, view.evicted + evicted, bool(self._stale_keys), *counts
        )
        self._observers.notify()


def _code(key: Key) -> int:
    code = key[0]
    assert isinstance(code, int)
    return code


def _normalized(value: Value) -> Value:
    """A value as it is held: texts cut, and one NaN for all: a NaN equals nothing, but rows of one object are equal."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + _ELLIPSIS
    if isinstance(value, Decimal):
        return value if value.is_finite() else UNKNOWN
    return nan if isinstance(value, float) and isnan(value) else value
