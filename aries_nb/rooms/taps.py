"""What was published of each store of a feed, and the messages of what is new in it."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from math import inf, nan
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import pyarrow as pa

from aries_nb.model import MISSING, NOT_A_TIME, Column, Subscription, Values
from aries_nb.model.clock import elapsed
from aries_nb.rooms.format import MOST_ROWS, TIME, TYPES, Batch, BatchWriter, Group, group_of
from aries_nb.store import MessageCounts, OrderBook, RollingFrame, Table
from aries_nb.store.derived.arrow import arrow_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BAR_FIELDS", "Lives", "ServedBars", "Store", "Tap", "group_for", "tap_of"]

MOST_LEVELS = 1_000  # of a side of a book
MOST_MESSAGE_BYTES = 900_000
LIST_ROWS = 500  # of a message; fewer where their texts are long
MOST_LISTS_SECONDS = 300.0  # from one whole list to the next
WHOLE_BARS_SECONDS = 1.0  # between looks at all bars for those that have changed
NEWEST_BARS = 20  # looked at each time
BAR_FIELDS = (
    Column("start", "time"),
    *map(Column, ("open", "high", "low", "close", "volume", "trades")),
    Column("source", "text"),
    Column("complete", "integer"),
)


class ServedBars(Protocol):
    """The bars of an instrument, as `aries_nb.live` keeps them current. The network's thread."""

    symbol: str

    @property
    def version(self) -> int:
        """A number that grows with every change."""

    def bars(self, *, newest: int | None = None) -> pd.DataFrame:
        """Return the newest bars, None for all, as `LiveBars.df` has them."""


Store: TypeAlias = RollingFrame | OrderBook | Table | ServedBars
# Of each store the random id under which its rows are numbered, by any publisher.
Lives: TypeAlias = MutableMapping[Store, str]


def group_for(subscription: Subscription, store: Store) -> Group:
    """Return the group of a store; `subscription` is that of its first symbol."""
    kind, options = subscription.kind, subscription.options
    if isinstance(store, RollingFrame):
        return group_of(kind, store.symbols, store.columns, options)
    if isinstance(store, Table):
        return group_of(kind, store.accounts, store.columns, options)
    return group_of(kind, (store.symbol,), BAR_FIELDS if kind == "bars" else (), options)


def tap_of(store: Store, group: Group, epoch: str, *, lives: Lives, window_s: float) -> Tap:
    """Return what publishes a store; the server keeps rows for `window_s`."""
    if isinstance(store, RollingFrame):
        return _Rows(store, group, epoch, lives)
    if isinstance(store, OrderBook):
        return _Book(store, group, epoch, lives)
    return (_Rowed if isinstance(store, Table) else _Bars)(store, group, epoch, lives, window_s)


class Tap(ABC):
    """What was published of one store. `next` is the number of the row after the newest that was published.

    `lives` is that of all publishers of a feed. The network's thread.
    """

    is_state: ClassVar = False
    """Whether its messages are whole states, of which the newest counts, in place of rows."""

    def __init__(self, store: Store, group: Group, epoch: str, lives: Lives) -> None:
        self.store, self.group, self.id = store, group, group.id
        self._epoch, self._lives = epoch, lives
        self.is_placed = False  # whether it is known which rows the server has
        self.next = 0
        self.is_anew = False  # because a replay began anew
        self.beat = 0  # the number of the publisher's newest sign of life
        self._begin(lives.get(store))

    def _begin(self, life: str | None = None) -> None:
        self.life = self._lives[self.store] = life or secrets.token_hex(8)
        self.writer = BatchWriter(self.group, self._epoch, self.life)

    @property
    def counts(self) -> MessageCounts | None:
        """What became of the publisher's messages; None where they are not counted."""
        return None if not isinstance(self.store, RollingFrame | OrderBook | Table) else self.store.message_counts()

    def place(self, newest: Batch | None) -> None:
        """Go on behind the newest batch that the server has, None for none: what was on its way may be lost."""
        del newest
        self.is_placed = True

    @abstractmethod
    def messages(self) -> Iterator[bytes]:
        """Yield the messages of what is new; `next` counts them once all are made."""


class _Rows(Tap):
    """The rows of a frame."""

    store: RollingFrame

    def _begin(self, life: str | None = None) -> None:
        super()._begin(life)
        self.origin = self.next = self.store.origin  # with the oldest row that the frame has

    def place(self, newest: Batch | None) -> None:
        self.is_placed = True
        is_ours = newest is not None and newest.head.life == self.life
        self.next = newest.head.first + newest.rows if newest is not None and is_ours else self.origin

    def messages(self) -> Iterator[bytes]:
        store = self.store
        if store.origin != self.origin:  # a replay begins anew
            self._begin()
            self.is_anew = True
        if store.version <= self.next and not self.is_anew:
            return
        table, end = arrow_rows(store, self.next)
        first = end - table.num_rows  # rows before it have left the frame: readers miss them
        found = [
            self.writer.encode(table.slice(at, MOST_ROWS), first + at, is_anew=self.is_anew and not at, beat=self.beat)
            for at in range(0, table.num_rows, MOST_ROWS)
        ]
        if found:
            self.is_anew = False
        self.next = end
        yield from found


class _Book(Tap):
    """The whole book after each change."""

    store: OrderBook
    is_state = True

    def place(self, newest: Batch | None) -> None:
        super().place(newest)
        self.next = -1

    def messages(self) -> Iterator[bytes]:
        book = self.store
        if book.version == self.next:
            return
        self.next = book.version
        levels = book.levels(MOST_LEVELS, now=0)
        if not levels.ts:
            return
        bids, asks = dict(levels.bids.tolist()), dict(levels.asks.tolist())  # a crossed book has prices on both sides
        sides = [(price, bids.get(price, 0.0), asks.get(price, 0.0)) for price in {**bids, **asks} or (0.0,)]
        table = _table(self.group, [(levels.ts, levels.received, book.symbol)] * len(sides), sides)
        yield self.writer.encode(table, 0, is_broken=levels.integrity == "gap", count=book.updates)


# Of a row: exchange time and receipt (ns since the epoch), symbol or account.
_Receipt: TypeAlias = tuple[int, int, str]
_ListRow: TypeAlias = tuple[_Receipt, Values]


class _List(Tap):
    """The newest state of each row of a list: those that changed, and the whole list from time to time.

    So the server has a whole one at any time, as it keeps messages for `window_s` only.
    """

    def __init__(self, store: Store, group: Group, epoch: str, lives: Lives, window_s: float) -> None:
        super().__init__(store, group, epoch, lives)
        self._every = min(window_s / 3, MOST_LISTS_SECONDS)
        self._sent: Mapping[object, _ListRow] = {}
        self._whole_at = -inf
        self._seen = -1
        self._was_stale = False

    def place(self, newest: Batch | None) -> None:
        super().place(newest)
        self._whole_at = -inf
        if newest is not None and newest.head.life == self.life:
            self.next = max(self.next, newest.head.first + newest.rows)

    def messages(self) -> Iterator[bytes]:
        is_due = elapsed() - self._whole_at >= self._every
        version, is_stale = self._state()
        if version == self._seen and not is_due:
            return
        rows = self._rows(self._sent)
        is_whole = is_due or (self._was_stale and not is_stale) or not self._sent.keys() <= rows.keys()
        is_same = is_whole and not is_stale and not self._was_stale and rows == self._sent
        changed = [row for key, row in rows.items() if is_whole or self._sent.get(key) != row]
        yield from self._encoded(changed, is_whole=is_whole, is_same=is_same)
        if is_stale and (is_whole or not self._was_stale):
            yield self._void(is_broken=True)
        if is_whole:
            self._whole_at = elapsed()
        self._sent, self._seen, self._was_stale = rows, version, is_stale

    @abstractmethod
    def _state(self) -> tuple[int, bool]:
        """Return the version of the store, and whether its rows may be out of date."""

    @abstractmethod
    def _rows(self, before: Mapping[object, _ListRow]) -> Mapping[object, _ListRow]:
        """Return all rows by key, in their order; `before` are those of the look before."""

    @property
    def _count(self) -> int:
        """How many states led to this one."""
        return 0

    def _encoded(self, rows: Sequence[_ListRow], *, is_whole: bool, is_same: bool) -> Iterator[bytes]:
        if not rows and is_whole:
            yield self._void(is_anew=True, is_same=is_same, count=self._count)
        is_first, most = True, LIST_ROWS
        while rows:
            piece, left = rows[:most], rows[most:]
            more = {"is_anew": is_whole and is_first, "is_same": is_same, "goes_on": bool(left)}
            message = self._message(piece, **more, count=self._count)
            if len(message) > MOST_MESSAGE_BYTES and len(piece) > 1:
                most = len(piece) // 2
                continue
            self.next += len(piece)
            is_first, rows = False, left
            yield message

    def _void(self, **more: bool | int) -> bytes:
        row = tuple(MISSING[type_] for _, type_ in self.group.columns)
        message = self._message([((0, 0, self.group.symbols[0]), row)], is_void=True, **more)
        self.next += 1
        return message

    def _message(self, rows: Sequence[_ListRow], **more: bool | int) -> bytes:
        receipts, values = zip(*rows, strict=True)
        return self.writer.encode(_table(self.group, receipts, values), self.next, **more)


class _Rowed(_List):
    """The rows of a table, such as of orders."""

    store: Table

    def _state(self) -> tuple[int, bool]:
        return self.store.version, self.store.is_stale

    def _rows(self, before: Mapping[object, _ListRow]) -> Mapping[object, _ListRow]:
        del before
        places = [[name for name, _ in self.group.columns].index(name) for name in self.store.key]
        return {
            (row.account, *(row.values[place] for place in places)): ((row.ts, row.received, row.account), row.values)
            for row in self.store.rows()
        }

    @property
    def _count(self) -> int:
        counts = self.store.message_counts()
        return counts.received + counts.filled


class _Bars(_List):
    """Bars: the newest are looked at each time, all once a second."""

    store: ServedBars

    def __init__(self, store: Store, group: Group, epoch: str, lives: Lives, window_s: float) -> None:
        super().__init__(store, group, epoch, lives, window_s)
        self._looked_at = -inf

    def _state(self) -> tuple[int, bool]:
        return self.store.version, False

    def _rows(self, before: Mapping[object, _ListRow]) -> Mapping[object, _ListRow]:
        is_whole = elapsed() - max(self._looked_at, self._whole_at) >= WHOLE_BARS_SECONDS
        if is_whole:
            self._looked_at = elapsed()
        bars = self.store.bars(newest=None if is_whole else NEWEST_BARS)
        starts = bars.index.to_numpy(dtype="datetime64[ns]").astype("int64").tolist()
        columns = [bars[name].tolist() for name, _ in BAR_FIELDS[1:]]
        rows: dict[object, _ListRow] = {} if is_whole else dict(before)
        for start, *values in zip(starts, *columns, strict=True):
            known = [nan if value != value else value for value in values]  # one NaN: tuples with it are equal
            rows[start] = (start, start, self.store.symbol), (start, *known)
        return rows


def _table(group: Group, receipts: Sequence[_Receipt], rows: Sequence[Values]) -> pa.Table:
    """Return rows as the table of a group's columns."""
    ts, received, symbols = zip(*receipts, strict=True)
    columns = {
        "seq": pa.array([0] * len(rows), pa.int64()),
        "ts": _times([at if at != NOT_A_TIME else known for at, known in zip(ts, received, strict=True)]),
        "received": _times(received),
        group.symbol_name: pa.array(symbols, pa.string()),
    }
    plain: Any
    for (name, type_), values in zip(group.columns, zip(*rows, strict=True), strict=True):
        if type_ == "time":
            columns[name] = _times(values)
        else:
            plain = {"decimal": str, "integer": int}.get(type_)
            columns[name] = pa.array(values if plain is None else [*map(plain, values)], TYPES[type_])
    return pa.table(columns)


def _times(values: Sequence[Any]) -> pa.Array:
    return pa.array([None if ns == NOT_A_TIME else ns // 1_000 for ns in values], pa.int64()).cast(TIME)
