"""Rolling frame: the newest rows of a stream in columns, limited by their number or by a span of time.

One thread writes (`buffer`, `publish`); any thread reads, without a lock: a reader takes the published tuple, which is
replaced as a whole, and the memory it refers to is never written again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np
import pandas as pd

from aries_nb.model import (
    BoardData,
    Column,
    FrameRows,
    Observers,
    RecordBuffer,
    Values,
)
from aries_nb.model.clock import MOST_AHEAD_US, wall_ns
from aries_nb.model.prices import is_never_zero
from aries_nb.store.corrections import Corrections, LatestRow, PrintNumbers, WindowThen
from aries_nb.store.derived.over_time import Ticks
from aries_nb.store.frame_states import (
    FOREVER_MISSING,
    MAX_CHARACTERS,
    MAX_ROWS,
    FrameStates,
    MissingRows,
    PublishedRows,
)
from aries_nb.store.latency import MOST_SAMPLES, LatencySamples, Percentiles, exchange_lags, percentiles
from aries_nb.store.message_counts import MessageCounts, counts_of
from aries_nb.store.shared_frame import SharedFrame
from aries_nb.store.slab import Rows, Slab, receipt_times
from aries_nb.store.time_order import TimeOrder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.store.slab import AnyArray

__all__ = ["PublishedRows", "RollingFrame"]

MAX_PENDING = 200_000  # rows that wait in the buffer for a backfill
MAX_TEXTS = 30_000  # distinct texts of one column, so that a server cannot make it grow without bound
MAX_TEXT = 1_000  # characters of one text; longer ones are cut
FIRST_CAPACITY = 4_096
_NO_CORRECTIONS = Corrections([], [])
_ELLIPSIS = "…"


class RollingFrame(FrameStates):
    """The newest rows of the given symbols, in the order of arrival, at most 5,000,000.

    A price of 0 becomes NaN (`aries_nb.model.prices`). `limit` keeps that many of the newest rows; `window_ns` keeps
    rows whose `ts` is at most that much older (in ns) than the newest `ts`; None for no such limit. The network's
    thread writes, any thread reads. `columns` are the fields of a row besides `ts`, `received` and `symbol`.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        symbols: Sequence[str],
        *,
        limit: int | None = None,
        window_ns: int | None = None,
        clock: Callable[[], int] = wall_ns,
    ) -> None:
        self.columns = tuple(columns)
        self.symbols = tuple(symbols)
        self._limit = limit or MAX_ROWS
        self._first_capacity = max(2 * (limit or 0), FIRST_CAPACITY)  # few rows must not need a new slab each time
        self._window_us = None if window_ns is None else window_ns // 1_000
        self._are_events = any(column.name == "price" for column in self.columns)  # trades; else states, as of quotes
        self._prices = frozenset(place for place, column in enumerate(self.columns) if is_never_zero(column.name))
        self.buffer = RecordBuffer()
        self.lags = LatencySamples(clock)
        self._observers = Observers()
        self.readers: WeakSet[object] = WeakSet()  # they compute something of all rows, not of the window's alone
        self._begin(0)

    def _begin(self, origin: int) -> None:
        """Have no rows; the first one has the number `origin`."""
        self._clear()
        self._published = PublishedRows(self._new_slab(self._first_capacity, origin, origin), 0, 0, 0)

    def _clear(self) -> None:
        """Forget what is known of rows: new ones are to be published at once, as readers see them at any time."""
        self._newest = 0  # exchange time, in us
        self._numbers = PrintNumbers(self.columns, len(self.symbols))
        self.first_taken_ns: int | None = None  # receipt of the first row that was taken over, in ns
        self._texts: dict[str, list[str]] = {name: [] for name, kind in self.columns if kind == "text"}
        self._codes: dict[str, dict[str, int]] = {name: {} for name in self._texts}  # of the texts, by column
        self._characters_left = dict.fromkeys(self._texts, MAX_CHARACTERS)
        self._backfills: dict[int, int] = {}  # by number: the record before which rows are missing
        self._backfill_number = 0
        self._is_backfilling = False
        self._latest: dict[int, LatestRow | None] = dict.fromkeys(range(len(self.symbols)))
        self._before = np.zeros(len(self.symbols), "int64")  # of each symbol, the rows that are not in the slab
        self.missing: MissingRows | None = None
        self._order, self.receipts = TimeOrder(), TimeOrder("received")
        self._sorted: tuple[PublishedRows, SharedFrame] | None = None

    # Writing: the network's thread.

    def publish(self) -> None:
        """Write the records in `buffer` to the columns and make them visible; the network's thread only.

        Does nothing while a backfill (insertion of rows that a gap left out) is in progress, unless more than 200,000
        records wait: then all are published, and the backfills are void (`backfill` inserts nothing for them).
        """
        buffer = self.buffer
        count = len(buffer)
        if self._backfills and count <= MAX_PENDING:
            return
        self._backfills.clear()
        if count:
            self._publish(buffer)
            self.lags.published(buffer)
        buffer.clear()
        self._is_backfilling = False
        if count:
            self._observers.notify()

    def _publish(self, buffer: RecordBuffer) -> None:
        unusual = self._numbers.unusual(buffer)
        corrected, before = None, dict[int, LatestRow | None]()
        if unusual:
            buffer.in_rows()
            before = self._numbers.uncorrected(unusual, buffer, self._latest)
            received, written = receipt_times(buffer.marks, len(buffer)), self._published[:3]
            window = WindowThen(
                written, np.array(buffer.ts) // 1_000, np.array(received),
                newest=self._newest, limit=self._limit, span=self._window_us,
            )  # fmt: skip
            corrected = self._numbers.corrections(unusual, buffer, received, written, window)
        rows = Rows.of(buffer, self.columns)
        rows.without_zeros(self._prices)
        self._append(rows, corrected)
        latest, ts, columns = self._latest, rows.ts, rows.columns
        for code, at in rows.newest(are_events=self._are_events).items():
            if self._are_events and (known := latest[code]) is not None and known[0] > ts[at]:
                continue
            latest[code] = ts[at], rows.received[at] * 1_000, tuple([column[at] for column in columns])
        if corrected is not None:
            self._find_latest(before)
            if self.missing is not None:  # what is corrected may be among them
                self.missing = FOREVER_MISSING

    def _append(self, rows: Rows, corrected: Corrections | None) -> None:
        """Write rows behind those written so far, and make them visible."""
        done, count = 0, len(rows.codes)
        while done < count:
            slab, start, end, filled, void = self._published
            if end == slab.capacity:
                slab, start, end = self._next_slab(slab, start, end)
            step = min(count - done, slab.capacity - end)
            self._write(slab, end, rows.some(done, done + step))
            done += step
            start = self._first(slab, start, end + step, end)
            if done == count:
                if self.missing is not None and self.missing.have_left(
                    self.window, slab.base - slab.origin + end + step, self._newest
                ):
                    self.missing = None
                filled = self.buffer.counted["filled"]
                if corrected or void.reaches_before(slab.base + start):
                    void = void.after(corrected or _NO_CORRECTIONS, slab.base + start)
            self._published = PublishedRows(slab, start, end + step, filled, void)

    def begin_backfill(self) -> int:
        """Stop publishing until `backfill` is called with the rows that a gap left out; return the number for it.

        The place of the missing rows is before the records that the newest read of the connection added to `buffer`.
        While any backfill is in progress, at most 200,000 records wait in the buffer; with more, all are published and
        the backfills are void. The network's thread only.
        """
        self._backfill_number += 1
        self._is_backfilling = True
        self._backfills[self._backfill_number] = self.buffer.marks[-2][0] if len(self.buffer.marks) > 1 else 0
        return self._backfill_number

    @property
    def is_backfilling(self) -> bool:
        """Whether new rows wait until those that a gap left out are inserted (backfill). Any thread may ask.

        False again only once the new rows can be read.
        """
        return self._is_backfilling

    def backfill(self, number: int, rows: Sequence[tuple[int, int, Values]], received: int, *, seq: int = 0) -> bool:
        """Insert the rows that a gap left out, which ends backfill `number` (from `begin_backfill`).

        All waiting rows are published once no other backfill is in progress. A row is (symbol's code, exchange time in
        ns since the epoch, values). Inserted rows get the time of receipt of the row that follows them, or `received`
        (ns since the epoch) where none does, and arrival numbers from `seq` on. Returns False, and inserts nothing,
        where the backfill is void or has ended before. The network's thread only.
        """
        place = self._backfills.pop(number, None)
        if place is None:
            return False
        if rows:
            self._insert(place, rows, received, seq)
        self.publish()
        return True

    def take_over(self, lenders: Sequence[tuple[RollingFrame, Mapping[int, int]]]) -> None:
        """Put the rows of other frames before the first ones of this frame, in the order of arrival.

        `lenders` are frames of the same columns with the codes of the symbols to take, each with its code here. Of a
        symbol the rows are taken that were received before the first one here. They count as `filled`. The network's
        thread only, before anyone has read this frame: its rows get other numbers.
        """
        slab, start, end, filled, void = self._published
        pieces = [self._taken(lender, codes) for lender, codes in lenders]
        received = np.concatenate([piece["received"] for piece in pieces])
        newest = np.argsort(received, kind="stable")[-self._limit :]
        if not len(newest):
            return
        own = {name: column[start:end] for name, column in slab.all_arrays().items()}
        pieces = [{name: np.concatenate([piece[name] for piece in pieces])[newest] for name in own}, own]
        count = len(newest) + end - start
        capacity = max(2 * (count if self._window_us is not None else self._limit), FIRST_CAPACITY, count)
        new = self._new_slab(min(capacity, 2 * MAX_ROWS), 0, slab.origin)
        for name, column in new.all_arrays().items():
            column[:count] = np.concatenate([piece[name] for piece in pieces])
        self.first_taken_ns = int(received[newest[0]]) * 1_000
        self.buffer.counted["filled"] += len(newest)
        first = self._first(new, 0, count, 0)
        void = void.moved(len(newest) - slab.base - start)
        self._published = PublishedRows(new, first, count, filled + len(newest), void)
        if "trade_id" in new.arrays:
            self._numbers.know(new.codes[:count], new.arrays["trade_id"][:count])
        for lender, codes in lenders:
            for code, own_code in codes.items():
                self._latest[own_code] = self._latest[own_code] or lender._latest[code]  # noqa: SLF001 - of this class
        self._observers.notify()

    def interrupted(self) -> None:
        """Start the latency statistics anew, as the stream broke; the feed's state and its gaps show that.

        What waits in `buffer` was received before, and becomes visible first. The network's thread only.
        """
        self.publish()
        self.lags.interrupted()

    def restart(self) -> None:
        """Have no rows again, because a replay begins anew; the network's thread only.

        Rows that follow have larger numbers than those before, one of which is left out: readers of news notice that.
        """
        self._begin(self.version + 1)
        self.buffer.restart()
        self.lags.interrupted()
        self._observers.notify()

    # Reading: any thread.

    @property
    def version(self) -> int:
        """The number of rows written since the frame was made."""
        slab, _, end, *_ = self._published
        return slab.base + end

    @property
    def published(self) -> PublishedRows:
        """The rows that readers see now; never changed, and replaced as a whole."""
        return self._published

    @property
    def window(self) -> dict[str, int | None]:
        """The arguments `limit` and `window_ns` of a frame with a window of the same length."""
        if self._window_us is None:
            return {"limit": self._limit, "window_ns": None}
        return {"limit": None, "window_ns": self._window_us * 1_000}

    @property
    def origin(self) -> int:
        """The number of the first row since the frame was made, or since `restart`."""
        return self._published.slab.origin

    @property
    def evicted(self) -> int:
        """The number of rows that have left the window since the frame was made."""
        slab, start, *_ = self._published
        return slab.base + start - slab.origin

    def __len__(self) -> int:
        _, start, end, _, void = self._published
        return end - start - len(void.numbers)

    def frame(self) -> pd.DataFrame:
        """Return the rows in the window, oldest first by exchange time: index `ts`, `received`, `symbol`, the fields.

        Times are datetime64[us, UTC]; rows of one time are in the order of arrival. While rows arrive in the order of
        their times and all count, the memory is shared with the slab until the caller writes to the frame
        (copy-on-write). Else they are sorted, and prints that were corrected or cancelled left out, once a version.
        """
        view, cached = self._published, self._sorted
        slab, start, end, _, void = view
        if void.is_none and self._order.is_ordered(slab, start, end):
            return slab.frame.iloc[start:end]
        if cached is None or cached[0] is not view:
            cached = self._sorted = view, slab.sorted(void.in_order(slab, self._order.sorted(slab, start, end)))
        return cached[1].frame.copy(deep=False)  # copied when the user writes to it

    def tail(self, count: int) -> pd.DataFrame:
        """Return the `count` newest rows by exchange time, oldest first; the cost does not grow with the window.

        Rows whose time is wrong (`misdated`) are left out.
        """
        view = self._published
        return view.slab.frame.take(self._newest_rows(view, count))

    def last(self, span_us: int) -> pd.DataFrame:
        """Return the rows whose time is at most `span_us` before the newest one, oldest first, as `tail` does."""
        view = self._published
        slab, start, end, _, void = view
        newest = self._newest_rows(view, 1)
        first = int(slab.ts[newest[-1]]) - span_us if len(newest) else 0
        return slab.frame.take(void.credible(slab, self._order.since(slab, start, end, first)))

    def frame_since(self, first: int) -> tuple[pd.DataFrame, int]:
        """Return the rows from number `first` on that are still in the window, and the number after the newest.

        Rows are numbered from 0 since the frame was made, and are in the order of arrival. Rows that have left the
        window are missing without an error. No copy is made. Prints that were corrected or cancelled are among them.
        """
        slab, start, end, *_ = self._published
        return slab.frame.iloc[max(first - slab.base, start) : end], slab.base + end

    def arrays_since(self, first: int) -> tuple[Mapping[str, AnyArray], int]:
        """Return the columns of the rows of `frame_since`, without a copy, and the number after the newest.

        `ts` and `received` are in us since the epoch, texts the codes of `codes_of`. It costs a hundredth of a frame.
        """
        slab, start, end, *_ = self._published
        begin = max(first - slab.base, start)
        return {name: column[begin:end] for name, column in slab.all_arrays().items()}, slab.base + end

    def codes_of(self, name: str, *texts: str) -> list[int]:
        """Return the codes of those of the texts that the text column `name` has had."""
        return [self._codes[name][text] for text in texts if text in self._codes[name]]

    def counted_until(self, last: int) -> pd.DataFrame:
        """Return the rows in the window numbered below `last`, without prints that do not count, oldest first."""
        slab, start, end, _, void = self._published
        end = min(end, max(last - slab.base, start))
        return slab.frame.take(void.in_order(slab, self._order.sorted(slab, start, end)))

    def ticks(self, name: str) -> Ticks:
        """Return a number column with times and codes, oldest first by exchange time, without times far ahead."""
        slab, start, end, _, void = self._published
        chosen = void.credible(slab, self._order.sorted(slab, start, end))
        return Ticks(slab.ts[chosen], slab.received[chosen], slab.codes[chosen], slab.arrays[name][chosen])

    def rows(self, first: int) -> FrameRows:
        """Return the rows from number `first` on that are still in the window as arrays, without a copy.

        Rows are numbered from 0 since the frame was made.
        """
        slab, start, end, _, void = self._published
        begin = min(max(first - slab.base, start), end)
        return FrameRows(
            first=slab.base + begin,
            end=slab.base + end,
            window_start=slab.base + start,
            symbols=self.symbols,
            ts=slab.ts[begin:end],
            codes=slab.codes[begin:end],
            numbers={name: slab.arrays[name][begin:end] for name, kind in self.columns if kind == "number"},
            received=slab.received[begin:end],
            void=void.within(slab, begin, end),
            corrected=void.total,
        )

    def message_counts(self) -> MessageCounts:
        """Return the counts of the stream's messages by outcome."""
        slab, start, end, filled, void = self._published
        left = void.total - len(void.numbers)  # of those that no longer count
        return counts_of(
            self.buffer.counted,
            rows=slab.base + end - slab.origin,
            filled=filled,
            visible=end - start - len(void.numbers),
            evicted=slab.base + start - slab.origin - left,
            corrected=void.total,
        )

    def corrections(self) -> pd.DataFrame:
        """Return the prints in the window that were corrected or cancelled, as they came first, in that order.

        Index and columns as in `frame`, and of the message that corrects a print: `corrected`, the time of its receipt,
        `new_price` and `new_size` where the frame has prices and sizes; a size of 0 where it cancels the print.
        """
        slab, void = self._published.slab, self._published.void
        old, new = (np.array(void.pairs, "int64").reshape(-1, 2) - slab.base).T
        frame, by = slab.frame.take(old), slab.frame.take(new)
        frame["corrected"] = by["received"].to_numpy()
        for name in ("price", "size"):
            if name in by:
                frame[f"new_{name}"] = by[name].to_numpy()
        return frame

    def received_percentiles(self) -> Percentiles:
        """Return median and 99th percentile of the time from exchange time to receipt, in ms; NaN without rows.

        Of the newest 1,000 rows in the window, without those that the broker sent from its history.
        """
        slab, start, end, *_ = self._published
        newest = slice(max(start, end - MOST_SAMPLES), end)
        return percentiles(exchange_lags(slab.ts[newest] * 1_000, slab.received[newest] * 1_000, since=self.lags.since))

    def misdated(self) -> pd.DataFrame:
        """Return the rows in the window whose time is wrong, more than five minutes ahead of their receipt.

        In the order of arrival, as `frame` has them.
        """
        slab, start, end, _, void = self._published
        wrong = slab.ts[start:end] > slab.received[start:end] + MOST_AHEAD_US
        return slab.frame.take(void.without(slab, start + np.flatnonzero(wrong)))

    def latest(self) -> list[LatestRow | None]:
        """Return the newest row of each symbol, in the order of `symbols`; None where none has arrived.

        A trade is newest by its exchange time, a quote by its arrival; rows with a wrong time are left out.
        """
        return list(self._latest.values())

    def board(self, *, is_stale: bool, rejected: Mapping[str, str] | None = None) -> BoardData:
        """Return the newest numbers of each symbol, for a quote board.

        `is_stale`: the feed is not live. `rejected`: the symbols that the server refuses, with the reason. A symbol
        without a row has NaN numbers and the time of receipt 0.
        """
        places = [place for place, column in enumerate(self.columns) if column.type == "number"]
        numbers = np.full((len(self.symbols), len(places)), np.nan)
        received = np.zeros(len(self.symbols), "int64")
        for code, row in enumerate(self.latest()):
            if row is not None:
                numbers[code] = [row[2][place] for place in places]
                received[code] = row[1]
        names = tuple(self.columns[place].name for place in places)
        return BoardData(self.symbols, names, numbers, received, is_stale, rejected or {})

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` each time that rows have become visible, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._observers.add(callback)

    # Private.

    def _newest_rows(self, view: PublishedRows, count: int) -> NDArray[np.intp]:
        """Return the positions of the `count` newest rows that count and have a credible time, oldest first."""
        slab, start, end, _, void = view
        wanted = count + len(void.numbers) + len(void.placed)
        found = void.credible(slab, self._order.newest(slab, start, end, wanted))
        while len(found) < count and wanted < end - start:  # times far ahead are newer than all others
            wanted *= 2
            found = void.credible(slab, self._order.newest(slab, start, end, wanted))
        return found[-count:]

    def _find_latest(self, before: Mapping[int, LatestRow | None]) -> None:
        """Find the newest row of symbols anew: that of `before` may count no more, if it is in the window."""
        slab, start, end, _, void = self._published
        for code, old in before.items():
            at = void.newest(slab, start, end, code)
            found = None if at is None else slab.row(at)
            self._latest[code] = found if old and slab.has(old, code, start, end) else self._newer(old, found)

    def _newer(self, old: LatestRow | None, found: LatestRow | None) -> LatestRow | None:
        """Return the newer one of a row that has left the window, if any, and the newest one there."""
        is_old = old and (found is None or (self._are_events and found[0] // 1_000 < old[0] // 1_000))
        return old if is_old else found

    def _new_slab(self, capacity: int, base: int, origin: int) -> Slab:
        return Slab(self.columns, self.symbols, capacity=capacity, base=base, origin=origin, texts=self._texts)

    def _taken(self, lender: RollingFrame, codes: Mapping[int, int]) -> dict[str, AnyArray]:
        """Return the columns of a lender's rows that `take_over` takes, with the codes that they have here."""
        slab, start, end, _, void = lender._published
        mine, first, last, *_ = self._published
        own_codes, until = np.full(len(lender.symbols), -1), np.full(len(lender.symbols), np.iinfo("int64").max)
        self.buffer.in_rows()
        codes_here = self.buffer.codes
        received = receipt_times(self.buffer.marks, len(codes_here))
        waiting = dict(zip(codes_here[::-1], received[::-1], strict=True))  # the first of each
        for code, own_code in codes.items():
            own_codes[code] = own_code
            rows = np.flatnonzero(mine.codes[first:last] == own_code)
            until[code] = mine.received[first + rows[0]] if len(rows) else waiting.get(own_code, until[code])
        theirs = slab.codes[start:end]
        places = start + np.flatnonzero((own_codes[theirs] >= 0) & (slab.received[start:end] < until[theirs]))
        places = void.without(slab, places)
        taken = {name: column[places] for name, column in slab.all_arrays().items()}
        taken["symbol"] = own_codes[taken["symbol"]]
        for name, texts in lender._texts.items():
            occurring, numbers = np.unique(taken[name], return_inverse=True)
            taken[name] = np.array([self._code(name, texts[code]) for code in occurring.tolist()], "int32")[numbers]
        return taken

    def _insert(self, place: int, rows: Sequence[tuple[int, int, Values]], received: int, seq: int) -> None:
        buffer, count, width = self.buffer, len(rows), len(self.columns)
        buffer.in_rows()
        buffer.codes[place:place] = [code for code, _, _ in rows]
        buffer.ts[place:place] = [ts for _, ts, _ in rows]
        buffer.values[place * width : place * width] = [value for _, _, values in rows for value in values]
        before = [mark for mark in buffer.marks if mark[0] <= place]
        after = [(upto + count, when) for upto, when in buffer.marks if upto > place]
        buffer.marks[:] = [*before, (place + count, after[0][1] if after else received), *after]
        before = [run for run in buffer.runs if run[0] < place]
        behind = [run for run in buffer.runs if run[0] >= place]
        if before and (not behind or behind[0][0] > place):
            behind.insert(0, (place, before[-1][1]))  # the rows may lie within a run
        buffer.runs[:] = [*before, (place, seq - place), *((at + count, offset - count) for at, offset in behind)]
        buffer.counted["filled"] += count
        # Of two backfills at one place, the later one's rows go behind.
        self._backfills = {number: at + count if at >= place else at for number, at in self._backfills.items()}

    def _next_slab(self, slab: Slab, start: int, end: int) -> tuple[Slab, int, int]:
        kept = min(end - start, self._limit)
        self._before += np.bincount(slab.codes[: end - kept], minlength=len(self.symbols))
        capacity = slab.capacity if self._window_us is None else min(max(2 * kept, FIRST_CAPACITY), 2 * MAX_ROWS)
        new = self._new_slab(capacity, slab.base + end - kept, slab.origin)
        new.copy_from(slab, end - kept, end)
        return new, 0, kept

    def _write(self, slab: Slab, at: int, rows: Rows) -> None:
        if self._texts:
            columns = [
                self._encoded(slab, name, column, at) if kind == "text" else column
                for (name, kind), column in zip(self.columns, rows.columns, strict=True)
            ]
            rows = rows._replace(columns=columns)
        slab.write(at, rows)

    def _encoded(self, slab: Slab, name: str, column: Sequence[str], filled: int) -> list[int]:
        try:
            return list(map(self._codes[name].__getitem__, column))
        except KeyError:
            codes = [self._code(name, text) for text in column]
            slab.widen(name, filled)
            return codes

    def _code(self, name: str, text: str) -> int:
        codes, texts = self._codes[name], self._texts[name]
        code = codes.get(text)
        if code is None:
            known = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + _ELLIPSIS
            known = known if len(texts) < MAX_TEXTS and len(known) <= self._characters_left[name] else _ELLIPSIS
            code = codes.setdefault(known, len(texts))
            if code == len(texts):
                texts.append(known)
                self._characters_left[name] -= len(known)
        return code

    def _first(self, slab: Slab, start: int, end: int, written: int) -> int:
        start = max(start, end - self._limit)
        if self._window_us is None:
            return start
        ts, latest_credible = slab.ts[written:end], slab.received[written:end] + MOST_AHEAD_US
        self._newest = max(self._newest, int(ts[ts <= latest_credible].max(initial=0)))
        if not self._newest:
            return start
        oldest = self._newest - self._window_us
        # A row with a time too far ahead is evicted: it would keep all rows behind it in the window for ever.
        while start < end and not oldest <= slab.ts[start] <= slab.received[start] + MOST_AHEAD_US:
            stop = min(start + 4096, end)
            ts = slab.ts[start:stop]
            inside = (ts >= oldest) & (ts <= slab.received[start:stop] + MOST_AHEAD_US)
            step = int(inside.argmax())
            start += step if inside[step] else stop - start
        return start
