"""What a view is handed: plain data, copied or never written again, so that it can be read on any thread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from aries_nb.model.columns import Column, State, Values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.float64]
    Times: TypeAlias = NDArray[np.int64]
    Codes: TypeAlias = NDArray[np.int32]

__all__ = [
    "BarsData",
    "BoardData",
    "BookIntegrity",
    "BookLevels",
    "CardData",
    "EquityData",
    "FrameRows",
    "GapSpan",
    "TableData",
]


class GapSpan(NamedTuple):
    """When a stream was deaf, by our clock in ns since the epoch; `ended` is None while it lasts.

    `cause` is one word, as in the ledger of gaps.
    """

    started: int
    ended: int | None
    cause: str


@dataclass(frozen=True, slots=True)
class FrameRows:
    """Rows of a rolling frame from absolute row number `first` on (rows are counted from 0 since it was made).

    `window_start` is the absolute number of the oldest row still in the window, `end` the number after the newest.
    `ts` is in ns since the epoch, `codes` are positions in `symbols`, `numbers` holds one array a number column.
    `received` is when each came, by our clock, in ns since the epoch; None where that is not known.
    The arrays are views of memory that is never written again; do not write to them.
    """

    first: int
    end: int
    window_start: int
    symbols: tuple[str, ...]
    ts: Times
    codes: Codes
    numbers: dict[str, Numbers]
    received: Times | None = None


@dataclass(frozen=True, slots=True)
class BoardData:
    """The newest row of each symbol. `numbers` is (symbols, number columns), NaN where nothing came yet.

    `received` is in ns since the epoch, 0 where nothing came yet. `rejected` are symbols the server refused, `stale`
    those whose row is out of date. `is_stale` is that for all of them: the stream is not live.
    """

    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    numbers: Numbers
    received: Times
    is_stale: bool
    rejected: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BarsData:
    """Bars of one instrument, or of an account's P&L, each start once, ascending; the last may still be running.

    `ts` is when each begins, in ns since the epoch. `volume` is None where there is none to speak of, as of P&L.
    The arrays are never written again.
    """

    ts: Times
    open: Numbers
    high: Numbers
    low: Numbers
    close: Numbers
    volume: Numbers | None = None
    is_stale: bool = False


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
    """The state of a feed at a glance. `lag_ms` is exchange time to receipt (median of late), NaN if unknown.

    `lag_p99_ms` is what 99 of 100 stay below; `painted_p50_ms` and `painted_p99_ms` are the same of receipt to pixels.
    `behind_s` is how many seconds later than at their quickest messages come, 0 while they come as they should.
    `silent` is how many streams are silent for longer than is usual, though their market is open.
    """

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
    behind_s: float = 0.0
    lag_p99_ms: float = math.nan
    painted_p50_ms: float = math.nan
    painted_p99_ms: float = math.nan
    silent: int = 0


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
    """The equity of an account over time, in the account's currency, and what changed it, by instrument and cause.

    `ts` is in ns since the epoch and does not decrease. `ours` is what was computed here, `theirs` the broker's own
    figure at the same times; both as long as `ts`, NaN where unknown. `by_cause` is an instrument and how much each of
    `causes` added, NaN where unknown. The arrays are never written again.
    """

    ts: Times
    ours: Numbers
    theirs: Numbers
    causes: tuple[str, ...] = ()
    by_cause: tuple[tuple[str, tuple[float, ...]], ...] = ()
