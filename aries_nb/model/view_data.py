"""Data that views draw. Each object is a copy, or is never written again, so that any thread may read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from aries_nb.model.clock import MOST_AHEAD_US
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
    "BookMarks",
    "CardData",
    "DeskData",
    "EquityData",
    "FillMark",
    "FrameRows",
    "GapSpan",
    "PlaybackData",
    "PlaybackMark",
    "PlaybackMove",
    "RestingOrder",
    "ShownMoment",
    "Standing",
    "TableData",
]


class GapSpan(NamedTuple):
    """One gap of a stream, from `started` to `ended` by this machine's clock, in ns since the epoch.

    `ended` is None while the gap lasts. `cause` is "cut", "silence", "overload", "token", "restart", "pause" or "given
    up", as in the column of that name in `feed.gaps`.
    """

    started: int
    ended: int | None
    cause: str


@dataclass(frozen=True, slots=True)
class FrameRows:
    """Rows of a rolling frame, from absolute row number `first` on; rows are numbered from 0 since the frame was made.

    `window_start` is the absolute number of the oldest row still in the window, `end` the number after the newest row.
    `ts` is exchange time in us since the epoch, `codes` are positions in `symbols`, `numbers` has one array for each
    number column. `received` is the time of receipt by this machine's clock, in us since the epoch, or None where it is
    unknown. The arrays are views of memory that is never written again; do not write to them. `void` says which rows
    no longer count, prints that were corrected or cancelled; None where all count. `corrected` is the number of such
    rows since the frame was made: where it has grown, rows that were read before may be among them.
    """

    first: int
    end: int
    window_start: int
    symbols: tuple[str, ...]
    ts: Times
    codes: Codes
    numbers: dict[str, Numbers]
    received: Times | None = None
    void: NDArray[np.bool_] | None = None
    corrected: int = 0

    @property
    def is_credible(self) -> NDArray[np.bool_]:
        """Whether each row counts, and its time can be right: at most five minutes ahead of its receipt."""
        latest = self.ts if self.received is None else self.received + MOST_AHEAD_US
        is_credible: NDArray[np.bool_] = self.ts <= latest
        return is_credible if self.void is None else is_credible & ~self.void


@dataclass(frozen=True, slots=True)
class BoardData:
    """The newest row of each symbol.

    `numbers` has the shape (symbols, number columns), with NaN where no value has arrived.

    `columns` names the number columns. `received` is the time of receipt in ns since the epoch, 0 where no row has
    arrived. `rejected` maps each symbol that the server refused to the reason in two or three words. `stale` are the
    symbols whose row is out of date; `is_stale` means all of them are, because the stream is not live. `states` maps
    each symbol that does not trade as usual to its state in a few words, such as "halted"; `market` is the state of the
    whole market, "" for the usual one.
    """

    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    numbers: Numbers
    received: Times
    is_stale: bool
    rejected: Mapping[str, str] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    market: str = ""


@dataclass(frozen=True, slots=True)
class BarsData:
    """Bars of one instrument, or candles of an account's P&L, oldest first; the last one may still be changing.

    `ts` is the start of each bar, in ns since the epoch; no two are equal. `volume` is None where bars have none, as
    P&L candles. `is_stale`: the stream is not live. The arrays are never written again.
    """

    ts: Times
    open: Numbers
    high: Numbers
    low: Numbers
    close: Numbers
    volume: Numbers | None = None
    is_stale: bool = False


BookIntegrity = Literal["empty", "ok", "locked", "crossed", "stale", "gap"]


@dataclass(frozen=True, slots=True)
class BookLevels:
    """Both sides of an order book: `bids` and `asks` are (levels, 2) arrays of price and size, best price first.

    `integrity` is "ok", "empty" (no level on either side), "locked" (best bid equals best ask: a state of a market, no
    fault), "crossed" (best bid above best ask), "stale" (no update for longer than usual) or "gap" (the stream broke
    and no update has come since). `ts` is the exchange time and `received` the time of receipt of the last update, in
    ns since the epoch, 0 if there was none.
    """

    symbol: str
    bids: Numbers
    asks: Numbers
    integrity: BookIntegrity
    ts: int
    received: int


class RestingOrder(NamedTuple):
    """One of the user's own orders in a book: `side` "buy" or "sell", its price, and the quantity not yet filled.

    `quantity` is in the unit of the account, which may be pieces where the book counts lots.
    """

    side: str
    price: float
    quantity: float


@dataclass(frozen=True, slots=True)
class BookMarks:
    """What belongs to prices of a book, apart from its levels: the last trade and the user's own orders.

    `last_price` and `last_size` are NaN while no trade is known, `orders` are () where no orders are streamed.
    `state` says in a few words that the instrument does not trade as usual, such as "halted"; "" if it does.
    """

    last_price: float = math.nan
    last_size: float = math.nan
    orders: tuple[RestingOrder, ...] = ()
    state: str = ""


@dataclass(frozen=True, slots=True)
class CardData:
    """The state of a feed at a glance: its connection, its streams, and how late messages arrive.

    `messages_per_s` is a moving average over about a second. `lag_ms` is the median of the newest 1,000 latencies from
    exchange time to receipt, by two clocks that are not corrected, `lag_p99_ms` their 99th percentile; `painted_p50_ms`
    and `painted_p99_ms` are median and 99th percentile from receipt to pixels on the screen; NaN where unknown.
    `behind_s` is by how many seconds the latency exceeds the smallest of the last ten minutes, 0 while messages are on
    time. `silence_s` is the time since the last message in seconds, NaN before the first. `silent` is the number of
    streams without a message for longer than usual although their market is open. `error` is the last error as text, ""
    for none. `messages` and `unreadable` are totals of the open connections, `gaps` is the number of gaps so far,
    `streams` that of the present streams. `connections` are those open to the broker; `most_connections` and
    `most_streams` are what the broker allows, None without a limit.
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
    most_streams: int | None = None
    connections: int = 0
    most_connections: int | None = None


@dataclass(frozen=True, slots=True)
class TableData:
    """The current rows of one table of an account: positions, orders, balances, fills or a watchlist.

    Each row has one value for each of `columns`. `key` names the columns that identify a row, () where there is at most
    one row. `note` is a line for the reader, "" for none: what the table leaves out, or why it is stale. `is_stale`:
    the rows may be out of date.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Values, ...]
    key: tuple[str, ...]
    is_stale: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class PrintsData:
    """Prints (public trades) of a rolling frame in the order of arrival, each column a list; the newest is the last.

    `end` is the number after the newest print; prints are numbered from 0 since the frame was made. `ts` is exchange
    time in us since the epoch, `side` is "buy", "sell" or "unknown"; `side` and `venue` are "" where the broker sends
    none. `received_ns` is the time of receipt of the newest print in ns since the epoch, 0 before the first.
    `rejected` maps each symbol that the server refused to the reason; `is_stale`: the stream is not live. `source` is
    "corrected" for a print that replaces an earlier one, "cancelled" for a message that only takes one back. `origin`
    is the number of the first print since the frame was made, or since it began anew as in a replay that goes back:
    prints with lower numbers are of its future.
    """

    end: int
    ts: list[int]
    symbol: list[str]
    price: list[float]
    size: list[float]
    side: list[str]
    venue: list[str]
    source: list[str] = field(default_factory=list)
    received_ns: int = 0
    rejected: Mapping[str, str] = field(default_factory=dict)
    is_stale: bool = False
    origin: int = 0


@dataclass(frozen=True, slots=True)
class DeskData:
    """What a trading desk shows, and what can be chosen.

    `symbols` are those of its board, `window` and `interval` spans such as "15min", `depth` the levels of the ladder,
    `side` what is below the chart. `windows`, `intervals`, `depths` and `sides` are the choices. `found` are the
    symbols, each with its name, that a search for `searched` found. `note` says what was refused, "" for nothing, and
    `is_changing` that a choice is being carried out.
    """

    symbol: str
    symbols: tuple[str, ...]
    window: str
    interval: str
    depth: int
    side: str
    windows: tuple[str, ...]
    intervals: tuple[str, ...]
    depths: tuple[int, ...]
    sides: tuple[str, ...]
    searched: str = ""
    found: tuple[tuple[str, str], ...] = ()
    note: str = ""
    is_changing: bool = False


@dataclass(frozen=True, slots=True)
class EquityData:
    """The equity of an account over time, in the account's currency, and what changed it, by instrument and cause.

    `ts` is in ns since the epoch and does not decrease. `ours` is equity as this package computes it, `theirs` the
    broker's own figure at the same times; both are as long as `ts`, NaN where unknown. Each entry of `by_cause` is an
    instrument and the contribution of each of `causes` to the change of equity since its attribution began, NaN where
    unknown; () before. The arrays are never written again.
    """

    ts: Times
    ours: Numbers
    theirs: Numbers
    causes: tuple[str, ...] = ()
    by_cause: tuple[tuple[str, tuple[float, ...]], ...] = ()


class FillMark(NamedTuple):
    """An own execution as a chart marks it: exchange time in ns since the epoch, symbol, signed quantity and price.

    `quantity` is in shares or contracts, below 0 for a sale; `price` is in the instrument's currency.
    """

    ts: int
    symbol: str
    quantity: float
    price: float


class ShownMoment:
    """At which moment the views of a feed stand: `at` in ns since the epoch, None for now. Any thread.

    `number` grows with every move. Views follow when they are drawn.
    """

    def __init__(self) -> None:
        self.state: tuple[int, int | None] = (0, None)
        """Number and moment, replaced as a whole."""

    @property
    def number(self) -> int:
        """How often it was moved."""
        return self.state[0]

    @property
    def at(self) -> int | None:
        """The moment in ns since the epoch; None for now."""
        return self.state[1]

    def move(self, at: int | None) -> None:
        """Have the views show this moment, None for now."""
        number, before = self.state
        if at != before:
            self.state = number + 1, at


class Standing(NamedTuple):
    """What a view says that stands at the past moment `at`, in ns since the epoch.

    It is behind by so many rows or updates, as `unit` says. `is_held`: its data of then are in memory.
    """

    at: int
    behind: int
    unit: str
    is_held: bool


class PlaybackMark(NamedTuple):
    """What is marked on the time axis of a replay, from `started` to `ended` in ns since the epoch.

    `ended` equals `started` for a moment, and is None for what lasts. `text` says it in a few words.
    """

    kind: Literal["gap", "fill", "halt", "note"]
    started: int
    ended: int | None
    text: str


@dataclass(frozen=True, slots=True)
class PlaybackData:
    """Where a replay is: the market time `now`, the times `first` and `last` of its recording, in ns since the epoch.

    `speed` is how many times faster than recorded it plays or would play, infinite for as fast as possible.
    `is_live`: of the timeline of a feed, whether its views show what is new; None of a replay.
    `is_moving`: it is on its way to `now`, which was asked for. `problem` says why the last request failed, "" if it
    did not.
    """

    now: int
    first: int
    last: int
    speed: float
    is_playing: bool
    is_over: bool
    is_moving: bool
    marks: tuple[PlaybackMark, ...] = ()
    problem: str = ""
    is_live: bool | None = None


class PlaybackMove(NamedTuple):
    """A request of the user to a replay, of which `value` says how far or how fast.

    "pause", "play" and "live" (back to what is new) need no value; "speed": how many times faster than recorded,
    infinite for as fast as possible; "seek": to which time, in ns since the epoch; "step": by how many ns; "events": by
    how many received messages.
    """

    what: Literal["pause", "play", "speed", "seek", "step", "events", "live"]
    value: float
