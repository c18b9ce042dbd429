"""Table: the newest state of each row, by its key: orders, positions, balances, venues, watchlists, news.

One thread writes (`buffer`, `publish`, `insert`, `interrupted`); any thread reads, without a lock: a reader takes the
published tuple, which is replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from decimal import Decimal
from math import isnan, nan
from typing import NamedTuple, Protocol, Self, TypeAlias

import pandas as pd

from aries_nb.model import NOT_A_TIME, PUT, Checkpoint, Checkpointed, Column, Observers, RecordBuffer, Value, Values
from aries_nb.model.clock import MOST_AHEAD_NS, wall_ns
from aries_nb.store.log import RowChange, TableRow
from aries_nb.store.message_counts import MessageCounts, counts_of
from aries_nb.store.past.history import Past, StateHistory
from aries_nb.store.values import RECEIPT, UNKNOWN, frame_of

__all__ = ["FetchedRows", "Table", "TableListener", "TablePast"]

MAX_TEXT = 20_000  # characters of one text, the body of a news item included; longer ones are cut
STATE_BYTES, ROW_BYTES, CHANGE_BYTES = 500, 80, 200  # of a whole state and each of its rows, and of a change
_ELLIPSIS = "…"

# The account's code and the values of the key columns.
Key: TypeAlias = tuple[Value, ...]


class TableListener(Protocol):
    """Protocol of an object that receives every changed row of a table, such as a log of changes or of fills."""

    def take(self, changes: Sequence[RowChange]) -> None:
        """Receive changed rows, in the order of arrival; the table calls it on the thread that writes it.

        A row that came with a list of all rows and equals the known one is left out. Called before readers see the
        rows.
        """

    def restart(self) -> None:
        """Forget all changes, because a replay begins anew; numbers go on growing."""


class _PublishedTable(NamedTuple):
    """The content of a table that readers see: the rows in the order of first arrival.

    `version` grows with every record and interruption, `evicted` counts the rows removed because there were too many.
    `taken` states of rows were written in all, `filled` of them without a message of the stream, and `replaced` are no
    longer visible, because a newer state took their place.
    """

    version: int
    rows: tuple[TableRow, ...]
    evicted: int
    is_stale: bool
    taken: int = 0
    filled: int = 0
    replaced: int = 0


class _State(NamedTuple):
    """All rows of a table with their keys; `evicted` and `is_stale` as published."""

    rows: tuple[tuple[Key, TableRow], ...]
    evicted: int
    is_stale: bool


class _Change(NamedTuple):
    """What one publication changed, in its order: keys with the new row, None for one that is gone."""

    rows: tuple[tuple[Key, TableRow | None], ...]
    evicted: int
    is_stale: bool


TablePast: TypeAlias = Past[_State, _Change]


class _Rows(dict[Key, TableRow]):
    """The rows of a table by key; `changes` notes what happens to them, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[tuple[Key, TableRow | None]] = []

    def __setitem__(self, key: Key, row: TableRow) -> None:
        super().__setitem__(key, row)
        self.changes.append((key, row))

    def __delitem__(self, key: Key) -> None:
        super().__delitem__(key)
        self.changes.append((key, None))


class FetchedRows(NamedTuple):
    """Rows of a table fetched over HTTP: exchange time (ns since the epoch) and values of each, oldest first.

    `asked` and `received` are the times of request and reply, ns since the epoch by our clock; `breaks` is
    `Table.breaks` at the request. `is_full`: these are all rows of the account at position `code` of `Table.accounts`.
    """

    rows: Sequence[tuple[int, Values]]
    asked: int
    received: int
    breaks: int
    is_full: bool
    code: int = 0


class Table(Checkpointed):
    """The newest state of each row of the given accounts; `key` names the columns that identify a row in its account.

    A row keeps the place of its first arrival. Beyond `limit` rows the oldest by arrival are evicted. A column
    `updated`, where there is one, decides which of two states of a row is the later one. The network's thread writes,
    any thread reads. `key` is empty where an account has one row only. `columns` are the fields of a row besides ts,
    received and account; `listeners` receive every changed row before readers see it. `is_finished` says whether an
    order with a `status` has ended. `clock` gives the time of what comes without one, in ns since the epoch.
    """

    STATE = (
        "_rows", "_stale_keys", "_listed_at", "_fetched", "_removed", "_breaks", "_taken", "_filled", "_replaced",
        "_published",
    )  # fmt: skip

    def __init__(
        self,
        columns: Sequence[Column],
        accounts: Sequence[str],
        *,
        key: Sequence[str],
        limit: int = 10_000,
        listeners: Sequence[TableListener] = (),
        is_finished: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], int] = wall_ns,
    ) -> None:
        self.columns = tuple(columns)
        self.accounts = tuple(accounts)
        self.key = tuple(key)
        names = [column.name for column in self.columns]
        self._places = tuple(names.index(name) for name in self.key)
        self._updated = names.index("updated") if "updated" in names else None
        self._filled_at = names.index("filled") if "filled" in names else None
        self._status_at = names.index("status") if "status" in names else None
        self._is_finished = is_finished
        self._limit = limit
        self._listeners = tuple(listeners)
        self._observers = Observers()
        self.buffer = RecordBuffer()
        self._rows = _Rows()
        # By code, the keys of rows from before a break; a code that is not here is current.
        self._stale_keys: dict[int, set[Key]] = {}
        # By code, when the stream's last full list came, in ns.
        self._listed_at: dict[int, int] = {}
        # Fetched states that the stream has not brought yet: it will repeat some of them, perhaps late.
        self._fetched: dict[Key, list[TableRow]] = {}
        # Rows with `updated` that a full list removed: a list of ended ones may bring them back, which is no news.
        self._removed: dict[Key, TableRow] = {}
        self._breaks = 0
        self._taken = self._filled = self._replaced = 0
        self._published = _PublishedTable(0, (), 0, is_stale=False)
        self._frame: tuple[_PublishedTable, pd.DataFrame] | None = None
        self._clock = clock
        self._history: StateHistory[_State, _Change] = StateHistory()
        self._history.begin(clock(), _State((), 0, is_stale=False), STATE_BYTES)

    # Writing: the network's thread.

    def publish(self) -> None:
        """Apply the records in `buffer` and make the rows visible; the network's thread only.

        Records may announce a list of all rows of an account: rows of that account that are not in it are removed. The
        caller must have put the whole list into the buffer before this call.
        """
        count = len(self.buffer.codes)
        received_last = self.buffer.marks[-1][1] if self.buffer.marks else 0
        changes: list[RowChange] = []
        listed: dict[int, set[Key]] = {}  # by code whose full list came: keys put since it began
        for code, ts, received, (mark, *values) in self._records():
            if mark != PUT:
                listed[code] = set()
                self._listed_at[code] = received
                self._stale_keys.pop(code, None)
                continue
            row = TableRow(ts, received, self.accounts[code], tuple(map(_normalized, values)))
            key = self._key(code, row)
            is_of_list = code in listed and received <= self._listed_at[code]  # else it follows the list
            is_snapshot = is_of_list and key not in listed[code]
            if self._put_streamed(key, row, is_snapshot=is_snapshot):
                changes.append(RowChange(row, is_snapshot))
            if code in listed:
                listed[code].add(key)
            self._confirm(key, code)
        self.buffer.clear()
        if count:
            self._remove_unlisted(listed)
            self._publish(changes, count, received_last)

    def insert(self, answer: FetchedRows) -> bool:
        """Apply rows that were fetched over HTTP, except where the stream has brought a later state; make them visible.

        The later state is found by `updated`; without that column, what the stream brought after the request is later.
        Rows from before an interruption of the stream are confirmed or, by a list of all rows, removed. Returns False,
        and applies nothing, where the stream broke after the request. The network's thread only.
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
        self._publish(changes, 1, self._clock())
        return True

    def interrupted(self) -> None:
        """Note that the stream broke: rows may be out of date, and new ones may be missing. They stay visible.

        `is_stale` is true until they are confirmed by the stream or by `insert`. What waits in `buffer` was received
        before, and becomes visible first. The network's thread only.
        """
        self.publish()
        self._breaks += 1
        self._fetched.clear()
        self._stale_keys = {code: set() for code in range(len(self.accounts))}
        for key in self._rows:
            self._stale_keys[_code(key)].add(key)
        self._publish_rows(1, 0, self._clock())

    def restart(self) -> None:
        """Have no rows again, because a replay begins anew; the network's thread only. Listeners restart as well."""
        version = self._published.version + 1
        self._rows, self._stale_keys, self._listed_at = _Rows(), {}, {}
        self._fetched, self._removed = {}, {}
        self._breaks = self._taken = self._filled = self._replaced = 0
        self.buffer.restart()
        self._published = _PublishedTable(version, (), 0, is_stale=False)
        self._history.clear()
        self._history.begin(0, _State((), 0, is_stale=False), STATE_BYTES)
        for listener in self._listeners:
            listener.restart()
        self._observers.notify()

    def checkpoint(self) -> Checkpoint | None:
        """Return a copy of its rows and counts; None with listeners, which know of all changes."""
        if self._listeners:
            return None
        return {**(super().checkpoint() or {}), "counted": dict(self.buffer.counted)}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Have the rows and counts of an earlier moment; the network's thread only."""
        version = self._published.version + 1
        super().resume(checkpoint)
        self.buffer.restart(checkpoint["counted"])
        self._published = view = self._published._replace(version=version)
        self._rows.changes = []
        self._history.clear()
        state = _State(tuple(self._rows.items()), view.evicted, view.is_stale)
        self._history.begin(max((row.received for row in view.rows), default=self._clock()), state, STATE_BYTES)
        self._observers.notify()

    # Reading: any thread.

    @property
    def version(self) -> int:
        """A number that grows with every record and every interruption of the stream."""
        return self._published.version

    @property
    def breaks(self) -> int:
        """The number of times that the stream broke."""
        return self._breaks

    @property
    def evicted(self) -> int:
        """The number of rows evicted since the table was made, because there were more than `limit`."""
        return self._published.evicted

    @property
    def is_stale(self) -> bool:
        """Whether any row is from before an interruption of the stream and not confirmed since.

        An account's rows are confirmed when a list of all of them has arrived, or when each was written again; an
        account without rows, by its first row.
        """
        return self._published.is_stale

    def __len__(self) -> int:
        return len(self._published.rows)

    def message_counts(self) -> MessageCounts:
        """Return the counts of the stream's messages by outcome; the unit is a state of a row."""
        view = self._published
        return counts_of(
            self.buffer.counted,
            rows=view.taken,
            filled=view.filled,
            visible=len(view.rows),
            evicted=view.evicted,
            conflated=view.replaced,
        )

    def rows(self) -> tuple[TableRow, ...]:
        """Return the rows in the order of first arrival, with decimals exactly as they were sent."""
        return self._published.rows

    def frame(self) -> pd.DataFrame:
        """Return the rows as a DataFrame, in the order of first arrival, oldest first; it belongs to the caller.

        Index: the key (of more than one column: a MultiIndex), or the account where a row has no other key. Columns:
        ts, received, account, the other fields. Decimals are float64 here, times datetime64[us, UTC], texts str.
        """
        view, cached = self._published, self._frame
        if cached is None or cached[0] is not view:
            rows = [(row.ts, row.received, row.account, *row.values) for row in view.rows]
            frame = frame_of((*RECEIPT, *self.columns), rows).set_index(list(self.key) or "account")
            cached = self._frame = (view, frame)
        return cached[1].copy()  # a shallow copy is no protection: what is written to `.array` reaches all frames

    @property
    def held_from(self) -> int:
        """The time from which on `past` knows the rows, in ns since the epoch."""
        return self._history.held_from or 0

    def frozen(self) -> Self:
        """Return the table as it is now, which never changes. Any thread."""
        return self._copy(self._published)

    def past(self, instant: int) -> TablePast | None:
        """Return of what `rebuilt` makes the table as of an instant (ns since the epoch); None before `held_from`."""
        return self._history.until(instant)

    def rebuilt(self, past: TablePast) -> Self:
        """Return the table as it was, which never changes; without its counts. Any thread."""
        rows = dict(past.state.rows)
        for change in past.changes:
            for key, row in change.rows:
                if row is None:
                    del rows[key]
                else:
                    rows[key] = row
        newest = past.changes[-1] if past.changes else past.state
        return self._copy(_PublishedTable(0, tuple(rows.values()), newest.evicted, newest.is_stale))

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._observers.add(callback)

    # Private.

    def _copy(self, published: _PublishedTable) -> Self:
        table, buffer = copy(self), RecordBuffer()
        buffer.counted.update(self.buffer.counted)
        own = {"buffer": buffer, "_observers": Observers(), "_history": StateHistory(), "_frame": None}
        vars(table).update(_published=published, **own)
        return table

    def _records(self) -> Iterator[tuple[int, int, int, list[Value]]]:
        """Yield code of the account, exchange time, time of receipt and values of each record in the buffer.

        Raises ValueError where a record has no time of receipt.
        """
        buffer, width = self.buffer, 1 + len(self.columns)
        done = 0
        for upto, received in buffer.marks:
            for at in range(done, upto):
                yield buffer.codes[at], buffer.ts[at], received, buffer.values[at * width : (at + 1) * width]
            done = max(done, upto)
        if done < len(buffer.codes):
            raise ValueError("records without a time of receipt")

    def _key(self, code: int, row: TableRow) -> Key:
        return (code, *(row.values[place] for place in self._places))

    def _put_streamed(self, key: Key, row: TableRow, *, is_snapshot: bool) -> bool:
        """Write a row that the stream brought, and return whether listeners must get it, as its state is new.

        A later state stays, whether it was streamed or fetched over HTTP. `is_snapshot`: the row is from a list of all
        rows, and counts as new only if it is unknown or differs.
        """
        self._taken += 1
        self._replaced += key in self._rows
        known = self._rows.get(key) or self._removed.pop(key, None)
        row = self._not_before(row, known)
        is_news = not is_snapshot or known is None or known.values != row.values
        ahead = self._fetched.get(key)
        if ahead is None:
            is_late = known is not None and self._is_earlier(row, known)
            self._rows[key] = known if known is not None and is_late else row
            return is_news
        is_known = any(each.values == row.values for each in ahead)
        order = self._order(row, ahead[-1])
        if order < 0 or self._is_earlier(row, ahead[-1]):  # a late, earlier state
            if key not in self._rows:
                self._rows[key] = ahead[-1]
            return not is_known and not is_snapshot
        self._rows[key] = row
        if order > 0 or self._updated is None or row.values == ahead[-1].values:
            del self._fetched[key]  # the stream has caught up
        return is_news and not is_known

    def _put_fetched(self, key: Key, row: TableRow, answer: FetchedRows) -> bool:
        """Write a row fetched over HTTP where it is later than the known one; return whether listeners must get it.

        They must not where an equal or later state is known, or where the row has ended since. `answer` is the reply
        with the row.
        """
        held = self._rows.get(key)
        row = self._not_before(row, held)
        self._taken += 1
        self._filled += 1
        self._replaced += held is not None
        if held is None and answer.is_full and self._listed_at.get(answer.code, 0) >= answer.asked:
            self._replaced += 1
            return False  # it has ended, or the stream will bring it
        known = held or self._removed.pop(key, None)
        if known is not None and (self._order(row, known) or answer.asked - known.received) <= 0:
            self._rows[key] = known
            return False
        if known is not None and self._updated is not None and not self._order(row, known):
            # The same state, of which an HTTP answer may have fewer fields than the stream.
            pairs = zip(row.values, known.values, strict=True)
            row = row._replace(values=tuple(before if value is UNKNOWN else value for value, before in pairs))
        self._rows[key] = row
        if known is not None and known.values == row.values:
            return False
        self._fetched.setdefault(key, []).append(row)
        return True

    def _order(self, row: TableRow, other: TableRow) -> int:
        """Return above 0 where `row` is a later state than `other` of the same row, below 0 where earlier, else 0.

        By the column `updated`: 0 means equal times, or that the table has no such column.
        """
        if self._updated is None:
            return 0
        one, two = row.values[self._updated], other.values[self._updated]
        assert isinstance(one, int), "times are whole numbers"
        assert isinstance(two, int), "times are whole numbers"
        return one - two

    def _has_ended(self, row: TableRow) -> bool:
        return self._status_at is not None and self._is_finished(str(row.values[self._status_at]))

    def _not_before(self, row: TableRow, known: TableRow | None) -> TableRow:
        """Return a state without a time as one of the time of the known state, so that none before that replaces it."""
        if self._updated is None or known is None or row.values[self._updated] != NOT_A_TIME:
            return row
        place = self._updated
        return row._replace(values=(*row.values[:place], known.values[place], *row.values[place + 1 :]))

    def _is_earlier(self, row: TableRow, known: TableRow) -> bool:
        """Return whether a streamed row is an earlier state than the known one, so that it must not replace it.

        By `updated`, of equal times, and of a state without a time, by the quantity filled, then by whether the order
        has ended. A time far ahead of its receipt is an error and decides nothing.
        """
        if self._updated is None or _ahead(known, self._updated) > MOST_AHEAD_NS:
            return False
        order = self._order(row, known)
        if order or self._filled_at is None or known.values[self._updated] == NOT_A_TIME:
            return order < 0
        now, before = (each.values[self._filled_at] for each in (row, known))
        if not isinstance(now, Decimal) or not isinstance(before, Decimal):
            return False
        if now.is_finite() and before.is_finite() and now != before:
            return now < before
        return self._has_ended(known) and not self._has_ended(row)

    def _remove_unlisted(self, listed: dict[int, set[Key]]) -> None:
        """Remove the rows that a list of all rows of their account lacks.

        `listed` has the keys in each such list, by the account's position in `accounts`. In a table with a column
        `updated`, rows that were fetched over HTTP and that the stream has not sent yet are kept.
        """
        if listed:
            for key in [key for key in self._rows if _code(key) in listed and key not in listed[_code(key)]]:
                if self._updated is None or key not in self._fetched:
                    self._remove(key)

    def _remove(self, key: Key) -> None:
        row = self._rows.get(key)
        if row is not None:
            del self._rows[key]
        self._replaced += row is not None
        if row is not None and self._updated is not None:
            self._removed[key] = row
            if len(self._removed) > self._limit:
                del self._removed[next(iter(self._removed))]

    def _confirm(self, key: Key, code: int) -> None:
        """Note that the row `key` is current again after an interruption of the stream, or is gone.

        Once that is so for all rows of its account (position `code` of `accounts`), the account is no longer stale.
        """
        old = self._stale_keys.get(code)
        if old is not None:
            old.discard(key)
            if not old:
                del self._stale_keys[code]

    def _evict(self) -> int:
        """Remove the oldest rows beyond `limit`; return how many were removed."""
        gone = list(self._rows)[: max(len(self._rows) - self._limit, 0)]
        for key in gone:
            del self._rows[key]
            self._fetched.pop(key, None)
            self._confirm(key, _code(key))
        return len(gone)

    def _publish(self, changes: Sequence[RowChange], steps: int, at: int) -> None:
        """Evict the oldest rows, pass the changes to the listeners, then make the rows visible.

        `version` grows by `steps`; `at` is the time of the changes in ns since the epoch.
        """
        evicted = self._evict()
        for listener in self._listeners:
            listener.take(changes)
        self._publish_rows(steps, evicted, at)

    def _publish_rows(self, steps: int, evicted: int, at: int) -> None:
        view, rows = self._published, tuple(self._rows.values())
        counts = self._taken, self._filled + self.buffer.counted["filled"], self._replaced
        self._published = view = _PublishedTable(
            view.version + steps, rows, view.evicted + evicted, bool(self._stale_keys), *counts
        )
        changes, self._rows.changes = tuple(self._rows.changes), []
        octets = CHANGE_BYTES * (1 + len(changes))
        if self._history.add(at, _Change(changes, view.evicted, view.is_stale), octets):
            state = _State(tuple(self._rows.items()), view.evicted, view.is_stale)
            self._history.begin(at, state, STATE_BYTES + ROW_BYTES * len(rows))
        self._observers.notify()


def _ahead(row: TableRow, place: int) -> int:
    """Return how far the time in the column at `place` is ahead of the row's receipt, in ns."""
    time = row.values[place]
    assert isinstance(time, int), "times are whole numbers"
    return time - row.received


def _code(key: Key) -> int:
    code = key[0]
    assert isinstance(code, int)
    return code


def _normalized(value: Value) -> Value:
    """Return the value to keep: long texts cut, and one NaN object for all, so that tuples with NaN compare equal."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + _ELLIPSIS
    if isinstance(value, Decimal):
        return value if value.is_finite() else UNKNOWN
    return nan if isinstance(value, float) and isnan(value) else value
