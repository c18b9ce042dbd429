"""The words that every room shares: subscriptions, records, notices, columns.

A tick is a `Record` from the moment `wire` has understood it until `store` has written it. Everything else that a
server says about a session is a `Notice`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.float64]
    Times: TypeAlias = NDArray[np.int64]
    Codes: TypeAlias = NDArray[np.int32]

__all__ = [
    "BALANCE_COLUMNS",
    "BOOK_COLUMNS",
    "CLEAR",
    "NOT_A_TIME",
    "ORDER_COLUMNS",
    "POSITION_COLUMNS",
    "PUT",
    "QUOTE_COLUMNS",
    "TABLE_KEYS",
    "TRADE_COLUMNS",
    "Bars",
    "BoardData",
    "BookIntegrity",
    "BookLevels",
    "CardData",
    "Column",
    "ColumnType",
    "EquityData",
    "GapSink",
    "Inbox",
    "Kind",
    "MarketStatus",
    "Notice",
    "Pong",
    "Received",
    "Record",
    "Rejected",
    "Rows",
    "SessionLost",
    "SessionOpened",
    "SessionRefused",
    "Side",
    "Sink",
    "State",
    "Subscription",
    "TableData",
    "TokenWanted",
    "Unreadable",
    "Value",
    "Values",
]

Kind = Literal["quotes", "trades", "book", "orders", "positions", "balances", "accounts", "pnl", "watchlists", "news"]
Side = Literal["buy", "sell", "unknown"]
ColumnType = Literal["number", "text", "time", "integer", "decimal"]
State = Literal["connecting", "live", "reconnecting", "failed", "closed"]

# Numbers are float64 (missing: NaN), times int64 ns since the epoch in UTC (missing: `NOT_A_TIME`), integers int64
# (missing: 0), texts str (missing: ""). Decimals are money and quantities of accounts, exactly as the broker wrote them
# (missing: Decimal("NaN")); only tables hold them.
Value: TypeAlias = float | int | str | Decimal
Values: TypeAlias = tuple[Value, ...]
NOT_A_TIME = -(2**63)


class Column(NamedTuple):
    """One column of a frame: its name in snake_case and what it holds."""

    name: str
    type: ColumnType = "number"


QUOTE_COLUMNS = tuple(map(Column, ("bid_price", "bid_size", "ask_price", "ask_size", "last_price")))
TRADE_COLUMNS = (
    Column("price"),
    Column("size"),
    Column("side", "text"),
    Column("trade_id", "integer"),
    Column("venue", "text"),
)
ORDER_COLUMNS = (
    Column("order_id", "text"),
    Column("symbol", "text"),
    Column("side", "text"),
    Column("type", "text"),
    Column("status", "text"),
    Column("quantity", "decimal"),
    Column("filled", "decimal"),
    Column("price", "decimal"),
    Column("average_price", "decimal"),
    Column("created", "time"),
    Column("updated", "time"),
    Column("text", "text"),
)
POSITION_COLUMNS = (
    Column("symbol", "text"),
    Column("quantity", "decimal"),
    Column("average_price", "decimal"),
    Column("price", "decimal"),
    Column("market_value", "decimal"),
    Column("unrealized_pnl", "decimal"),
    Column("today_pnl", "decimal"),
)
BALANCE_COLUMNS = (Column("equity", "decimal"), Column("cash", "decimal"))
BOOK_COLUMNS = (Column("side", "text"), Column("level"), Column("price"), Column("size"))


class Subscription(Struct, frozen=True, cache_hash=True):
    """What one stream is about; the key on both sides of `wire`, looked up for every record: its hash is kept.

    `fields` are column names in the order in which their values stand in a record (quotes and trades); a book has none.
    `options` are what a kind needs besides, as (name, value) pairs; each `wire` names its own.
    """

    kind: Kind
    symbol: str
    fields: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


# One event of one stream, merged: every field of the subscription has its value of that moment. The number is exchange
# time in ns since the epoch (UTC). For a book the values are flat: price, bid size, ask size and so on, one triple for
# each level that changed; a size of 0 takes the level from that side. Plain tuples, for speed.
#
# For the kinds that are tables (`TABLE_KEYS`) the symbol of a subscription is an account, or "" for what belongs to the
# user. The first value is `PUT`, and the fields of one row follow, which replaces the row with the same key; or it is
# `CLEAR`, with fields without meaning: a full list begins, and rows of this subscription not put again are no more.
Record: TypeAlias = tuple[Subscription, int, Values]
PUT, CLEAR = 1, 0

# Which fields tell the rows of one subscription apart.
TABLE_KEYS: Mapping[Kind, tuple[str, ...]] = {
    "orders": ("order_id",),
    "positions": ("symbol",),
    "balances": (),
    "accounts": (),
    "pnl": ("interval", "start"),
    "watchlists": ("list_id", "place"),
    "news": ("news_id",),
}


class Inbox:
    """Records on their way into a store, as parallel lists: the symbol's code there, exchange time in ns, values.

    `values` is flat, those of each record behind those before. A record is kept in no tuple of its own: a thousand
    such tuples alive at once keep the garbage collector busy and leave the processor's cache. `marks` holds pairs: up
    to how many records came at which time of receipt. The writer's thread owns it.
    """

    __slots__ = ("codes", "marks", "ts", "values")

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.ts: list[int] = []
        self.values: list[Value] = []
        self.marks: list[tuple[int, int]] = []

    def add(self, code: int, ts: int, values: Values) -> None:
        """Take one record; it counts as received when the next `mark` says."""
        self.codes.append(code)
        self.ts.append(ts)
        self.values.extend(values)

    def mark(self, received: int) -> None:
        """Everything added since the last mark was received at this time (ns since the epoch)."""
        self.marks.append((len(self.codes), received))

    def clear(self) -> None:
        """Empty it; the lists stay the same objects, so that what appends to them may be kept."""
        self.codes.clear()
        self.ts.clear()
        self.values.clear()
        self.marks.clear()


class Sink(Protocol):
    """Where the records of a subscription end; owned by the thread that writes."""

    @property
    def inbox(self) -> Inbox:
        """Takes records; they need not be visible before `publish`. Always the same object."""

    def publish(self) -> None:
        """Make everything taken so far visible to readers."""

    def interrupted(self) -> None:
        """Note that what is held may be out of date: the stream broke."""


class GapSink(Protocol):
    """Who keeps the ledger of interruptions. Times are in ns since the epoch."""

    def opened(self, *, started: int, reason: str) -> None:
        """The stream broke; `started` is when the last message came."""

    def closed(self, *, ended: int) -> None:
        """The stream is whole again: authenticated and subscribed."""


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The server accepted the token; `expires_in` is in seconds, None where it did not say."""

    expires_in: float | None
    is_renewal: bool


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """The session ends soon; a fresh token keeps it alive on the same connection."""


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """The server refused the token; trying again with the same one is of no use."""

    reason: str


@dataclass(frozen=True, slots=True)
class SessionLost:
    """This connection is of no use any more, a new one may be: expired, timed out, no pong."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The server refused something that was asked; `symbols` is empty where it does not say for which."""

    symbols: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that could not be used. `excerpt` is at most 200 characters of it, tokens masked."""

    reason: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """What the server says about the market: open, closed, and the like, as (name, value) pairs."""

    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to ping number `number`: everything that was sent before it has been seen by the server."""

    number: int


Notice: TypeAlias = (
    SessionOpened | TokenWanted | SessionRefused | SessionLost | Rejected | Unreadable | MarketStatus | Pong
)
Received: TypeAlias = tuple[Sequence[Record], Sequence[Notice]]


class Bars(NamedTuple):
    """Bars of one instrument, as lists of one length, oldest first; `start_ns` in ns since the epoch.

    `next_end_ns`: there are more, which start before it; None where there are none. A volume not known is NaN.
    """

    start_ns: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    next_end_ns: int | None = None


# What a view is handed: plain data, copied or never written again, so that it can be read on any thread.


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a rolling frame from absolute row number `first` on (rows are counted from 0 since it was made).

    `window_start` is the absolute number of the oldest row still in the window, `end` the number after the newest.
    `ts` is in ns since the epoch, `codes` are positions in `symbols`, `numbers` holds one array a number column.
    The arrays are views of memory that is never written again; do not write to them.
    """

    first: int
    end: int
    window_start: int
    symbols: tuple[str, ...]
    ts: Times
    codes: Codes
    numbers: dict[str, Numbers]


@dataclass(frozen=True, slots=True)
class BoardData:
    """The newest row of each symbol. `numbers` is (symbols, number columns), NaN where nothing came yet.

    `received` is in ns since the epoch, 0 where nothing came yet. `rejected` are symbols the server refused.
    """

    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    numbers: Numbers
    received: Times
    is_stale: bool
    rejected: tuple[str, ...] = ()


BookIntegrity = Literal["empty", "ok", "crossed", "stale", "gap"]


@dataclass(frozen=True, slots=True)
class BookLevels:
    """One side by side view of a book: `bids` and `asks` are (levels, 2) arrays of price and size, best first.

    `integrity`: "crossed" best bid at or above best ask; "stale" no update for longer than is usual; "gap" the stream
    broke and nothing has come since. `ts` and `received` are of the last update in ns since the epoch, 0 if none.
    """

    symbol: str
    bids: Numbers
    asks: Numbers
    integrity: BookIntegrity
    ts: int
    received: int


@dataclass(frozen=True, slots=True)
class CardData:
    """The state of a feed at a glance. `lag_ms` is exchange time to receipt (median of late), NaN if unknown."""

    name: str
    url: str
    state: State
    streams: int
    messages: int
    messages_per_s: float
    lag_ms: float
    gaps: int
    unreadable: int
    silence_s: float
    error: str


@dataclass(frozen=True, slots=True)
class TableData:
    """Rows of an account as they stand now: positions, orders, balances, fills, a watchlist.

    Each row has one value for each of `columns`. `key` names the columns that tell rows apart, () where there is at
    most one row. `note` is a line for the reader, "" for none: what is left out of the table, or why it is stale.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Values, ...]
    key: tuple[str, ...]
    is_stale: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class EquityData:
    """The equity of an account over time, in the account's currency, and the P&L of each instrument.

    `ts` is in ns since the epoch and does not decrease. `ours` is what was computed here, `theirs` the broker's own
    figure at the same times; both as long as `ts`, NaN where unknown. `by_symbol` is (symbol, realised plus unrealised
    P&L) of each instrument. The arrays are never written again.
    """

    ts: Times
    ours: Numbers
    theirs: Numbers
    by_symbol: tuple[tuple[str, float], ...] = ()
