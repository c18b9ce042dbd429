"""What a snapshot has of a frame and of a book: its data as they were, to be read like the live object."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aries_nb.errors import UsageError
from aries_nb.live.arguments import checked_count, checked_span_ns
from aries_nb.live.gaps import GapSelection
from aries_nb.live.staleness import Staleness
from aries_nb.model import MISSING, NOT_A_TIME, BookIntegrity, BookLevels, GapSpan, Kind
from aries_nb.model.settings import settings
from aries_nb.store import GapLog, MessageCounts, OrderBook, RollingFrame, gaps_frame
from aries_nb.store.order_book import BookPast
from aries_nb.store.past.frames import CapturedFrame, FrozenFrame
from aries_nb.store.values import utc_times

if TYPE_CHECKING:
    from aries_nb.model import Times

__all__ = [
    "NOT_HELD",
    "BookSnapshot",
    "FrameSnapshot",
    "Moment",
    "Part",
    "StandingClock",
    "exact_clock",
    "exact_clocks",
    "latest_rows",
    "levels_frame",
    "not_held",
]

NOT_HELD = object()  # among `values`: what is not held so far back, though the part is


class Moment:
    """The moment of a snapshot: `now` is its market time in ns since the epoch, `gaps` those that were known then.

    `until` is None for the moment at which it was taken, else the same as `now`: a moment in the past. `quotes` are the
    frames of quotes with the prices that marks are made of.
    """

    def __init__(self, now: int, until: int | None, gaps: GapLog) -> None:
        self.now = now
        self.until = until
        self.gaps = gaps
        self.quotes: list[FrameSnapshot] = []


class StandingClock:
    """A market time that stands."""

    pace = 0.0

    def __init__(self, at: int) -> None:
        self._at = at

    def now_ns(self) -> int:
        """Return the market time in ns since the epoch, UTC."""
        return self._at


class Part:
    """What a snapshot has of one live object; `held_since` is from when on that is in memory, in ns since the epoch."""

    def __init__(self, name: str, moment: Moment, held_since: int) -> None:
        self.name = name
        self._moment = moment
        self.held_since = held_since

    @property
    def moment(self) -> Moment:
        """The moment of which it is."""
        return self._moment

    @property
    def seq(self) -> int:
        """The arrival number of the newest row, 0 where that is not known."""
        return 0

    @property
    def is_held(self) -> bool:
        """Whether it is held so far back."""
        return self._moment.until is None or self._moment.until >= self.held_since

    def check(self) -> None:
        """Raise UsageError if it is not held so far back."""
        if not self.is_held and self._moment.until is not None:
            raise not_held(self.name, self._moment.until, self.held_since)

    @property
    def df(self) -> pd.DataFrame:
        """The data as a DataFrame that belongs to the caller."""
        raise NotImplementedError

    def values(self) -> dict[tuple[str, str], object]:
        """Return what `Snapshot.diff` compares: values by what they are of, such as a symbol, and their name."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.df)

    def __repr__(self) -> str:
        has = f"{len(self):,} rows" if self.is_held else "not held"
        return f"<{self.name} at {exact_clock(self._moment.now)}: {has}>"

    def _repr_html_(self) -> str:
        return str(self.df._repr_html_())  # type: ignore[operator]


class FrameSnapshot(Part):
    """A live frame as it was at one moment. Any thread.

    Of the past it has the rows received until then that are in memory: those that were in the window then and have left
    it since are missing, and `held_from` is the receipt of the oldest one. `until` is the receipt of its newest row
    where it was captured later than the moment.
    """

    def __init__(
        self,
        kind: Kind,
        captured: CapturedFrame,
        moment: Moment,
        gaps: GapSelection,
        staleness: Staleness,
        *,
        is_live: bool,
        until: int | None = None,
        name: str | None = None,
    ) -> None:
        self.kind = kind
        self.symbols = captured.frame.symbols
        self.columns = tuple(column.name for column in captured.frame.columns)
        self._captured = captured
        self._until = moment.until if until is None else until
        self._gaps = gaps.over(moment.gaps)
        self._staleness = staleness
        self.is_live = is_live
        slab, start, *_ = captured.published
        has_lost = slab.base + start > slab.origin
        oldest = captured.held_from or gaps.since
        shown = ", ".join(self.symbols[:4]) + (" …" if len(self.symbols) > 4 else "")
        super().__init__(name or f"{kind} {shown}", moment, oldest if has_lost else min(gaps.since, oldest))

    @property
    def seq(self) -> int:
        """The arrival number of its newest row; 0 without one."""
        slab, start, end, *_ = self.rows.published
        return int(slab.seq[end - 1]) if start < end else 0

    @property
    def rows(self) -> FrozenFrame:
        """The rows, as a frame of the store. Raises UsageError where it is not held so far back."""
        self.check()
        return self.frozen

    @cached_property
    def frozen(self) -> FrozenFrame:
        """The rows, as a frame of the store; none where it is not held so far back."""
        return FrozenFrame(self._captured, self._until)

    @property
    def df(self) -> pd.DataFrame:
        """The rows in the window, oldest first by exchange time, as `df` of the live frame had them."""
        return self.rows.frame()

    @property
    def latest(self) -> pd.DataFrame:
        """The newest row of each symbol, with `stale`, as `latest` of the live frame had it."""
        return latest_rows(self.rows, self.stale())

    def stale(self) -> tuple[str, ...]:
        """Return the symbols whose newest row was not current."""
        flags = self._staleness.stale_then(self._receipts(), self._moment.now, self._gaps) | (not self.is_live)
        return tuple(name for name, flag in zip(self.symbols, flags.tolist(), strict=True) if flag)

    def gap_spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that were not filled then, oldest first."""
        return self._gaps.spans()

    def tail(self, n: int = 5) -> pd.DataFrame:
        """The `n` newest rows by exchange time, oldest first."""
        return self.rows.tail(checked_count(n, "n", "rows"))

    def last(self, span: str) -> pd.DataFrame:
        """The rows of the last `span` of exchange time, such as "30s", before the newest row; oldest first."""
        return self.rows.last(checked_span_ns(span, "span") // 1_000)

    @property
    def gaps(self) -> pd.DataFrame:
        """The interruptions of its symbols that were known then, one row each."""
        return gaps_frame(self._gaps.all())

    @property
    def ledger(self) -> MessageCounts:
        """Counts of the stream's messages by outcome. Raises UsageError of a past moment: they are not kept."""
        if self._moment.until is not None:
            raise UsageError("counts of messages of the past are not kept", advice="Use `feed.snapshot().ledger`.")
        return self.rows.message_counts()

    @property
    def held_from(self) -> pd.Timestamp:
        """From when on rows are in memory, UTC."""
        return pd.Timestamp(self.held_since // 1_000, unit="us", tz="UTC")

    @property
    def received(self) -> int:
        """The number of rows since the frame was made."""
        return self.rows.version

    def __len__(self) -> int:
        return len(self.rows)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the rows of `df` to a library that takes Arrow data."""
        from aries_nb.store.derived.arrow import arrow_table

        return arrow_table(self.rows).__arrow_c_stream__(requested_schema)

    def from_before_a_gap(self) -> frozenset[str]:
        """Return the symbols whose newest row was from before a gap that was not filled then."""
        flags = self._staleness.before_a_gap_then(self._receipts(), self._gaps)
        return frozenset(name for name, flag in zip(self.symbols, flags.tolist(), strict=True) if flag)

    def values(self) -> dict[tuple[str, str], object]:
        """Return the newest number of each symbol and column, and how many rows had come."""
        names = [column.name for column in self.rows.columns]
        rows = zip(self.symbols, self.rows.latest(), strict=True)
        found: dict[tuple[str, str], object] = {
            (symbol, name): value
            for symbol, row in rows
            for name, value in zip(names, () if row is None else row[2], strict=False)
        }
        return {("", "rows"): self.received} | found

    def _receipts(self) -> Times:
        return np.array([0 if row is None else row[1] for row in self.frozen.latest()], "int64")


class BookSnapshot(Part):
    """A live order book as it was at one moment, with at most `depth` levels on each side. Any thread."""

    def __init__(self, book: OrderBook, past: BookPast | None, moment: Moment, *, depth: int, is_live: bool) -> None:
        self.symbol = book.symbol
        self.depth = depth
        self._source = book
        self._past = past
        self._is_live = is_live
        super().__init__(f"book {book.symbol}", moment, book.held_from)

    @cached_property
    def book(self) -> OrderBook:
        """The book, as one of the store."""
        self.check()
        return self._source if self._past is None else self._source.rebuilt(self._past)

    @property
    def df(self) -> pd.DataFrame:
        """The levels, bids before asks, the best first, as `df` of the live book had them."""
        return levels_frame(self.levels(self.depth))

    @property
    def integrity(self) -> BookIntegrity:
        """The state of the book, as `integrity` of the live book had it."""
        return self.levels(1).integrity

    @property
    def updates(self) -> int:
        """The number of updates received until then."""
        return self.book.updates

    def values(self) -> dict[tuple[str, str], object]:
        """Return the size at each price of the levels of `df`, and how many updates had come."""
        levels = self.levels(self.depth)
        sides = (("buy", levels.bids), ("sell", levels.asks))
        sizes = {(f"{side} {price:.10g}", "size"): size for side, each in sides for price, size in each.tolist()}
        return {("", "updates"): self.updates, **sizes}

    def levels(self, depth: int) -> BookLevels:
        """Return the best `depth` levels of each side as arrays of price and size."""
        found = self.book.levels(depth, now=self._moment.now)
        return found if self._is_live or not found.ts else replace(found, integrity="gap")

    def __repr__(self) -> str:
        has = self.integrity if self.is_held else "not held"
        return f"<book {self.symbol} at {exact_clock(self._moment.now)}: {has}>"


def latest_rows(frame: RollingFrame, stale: Collection[str]) -> pd.DataFrame:
    """Return the newest row of each symbol: ts, received, the fields, and whether it is among `stale`."""
    rows = frame.latest()
    blank: tuple[Any, ...] = tuple(MISSING[column.type] for column in frame.columns)
    data = pd.DataFrame(
        [blank if row is None else row[2] for row in rows],
        columns=pd.Index([column.name for column in frame.columns]),
        index=pd.Index(frame.symbols, name="symbol", dtype="str"),
    )
    data.insert(0, "ts", _times([NOT_A_TIME if row is None else row[0] for row in rows]))
    data.insert(1, "received", _times([NOT_A_TIME if row is None else row[1] for row in rows]))
    for name, kind in frame.columns:
        if kind == "time":
            data[name] = _times(data[name])
    data["stale"] = [symbol in stale for symbol in frame.symbols]
    return data


def levels_frame(now: BookLevels) -> pd.DataFrame:
    """Return the levels of a book as `LiveBook.df` does."""
    sides = [("buy", now.bids), ("sell", now.asks)]
    count = sum(len(levels) for _, levels in sides)
    stacked = np.concatenate([levels for _, levels in sides])
    return pd.DataFrame(
        {
            "received": utc_times(np.full(count, now.received)),
            "symbol": pd.array([now.symbol] * count, dtype="str"),
            "side": pd.array([side for side, levels in sides for _ in levels], dtype="str"),
            "level": np.concatenate([np.arange(1, len(levels) + 1) for _, levels in sides]),
            "price": stacked[:, 0],
            "size": stacked[:, 1],
        },
        index=pd.DatetimeIndex(utc_times(np.full(count, now.ts)), name="ts"),
    )


def not_held(what: str, instant: int, since: int) -> UsageError:
    """Return the error that something is not in memory as of an instant, but from `since` on; ns since the epoch."""
    asked, first = exact_clocks(instant, since)
    return UsageError(f"{what} is not held as of {asked}", advice=f"It is from {first} on; a recording has all.")


def exact_clocks(*times: int) -> list[str]:
    """Return times in ns since the epoch as `exact_clock` does, with their days where these differ."""
    days = [f"{pd.Timestamp(settings.local_ns(each)):%Y-%m-%d} " for each in times]
    are_needed = len(set(days)) > 1
    return [day * are_needed + exact_clock(each) for day, each in zip(days, times, strict=True)]


def exact_clock(ns: int) -> str:
    """Return a time of day as `settings.clock` does, with milliseconds."""
    of_day, zone = settings.clock(ns).split(" ", 1)
    return f"{of_day}.{ns // 1_000_000 % 1_000:03} {zone}"


def _times(nanoseconds: Sequence[int] | pd.Series[int]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(utc_times(np.asarray(nanoseconds, dtype="int64")))
