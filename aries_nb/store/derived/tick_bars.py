"""Bars made of trades alone: by time, by a number of trades, by volume or by value; symbol by symbol.

Bars of time have the trades whose exchange time is in them, whenever these arrive. The others are cut in the order of
arrival: each ends with the trade that fills it, whatever is corrected later. Bars are a function of the trades in their
order, not of how many are taken at once: sums are made one trade after the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from aries_nb.model import CANCELLED, CORRECTED, BarsData
from aries_nb.model.clock import MOST_AHEAD_US
from aries_nb.store.rolling import RollingFrame
from aries_nb.store.values import utc_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Codes, Numbers, Times

__all__ = ["BarRule", "Interruption", "Prints", "TickBars", "prints_of"]

MOST_BARS = 200_000
FIRST_CAPACITY = 1_024
MOST_SETTLED = 1_000  # bars that are looked at again and again, whether they are complete
GRACE_US = 2_000_000  # after the end of a bar of time, in which its last trades arrive (assumed)
MARGIN_US = 5_000_000  # the largest difference between the exchange's clock and ours, at a gap
CHUNK = 512  # trades that are summed at once to find the one that fills a bar
_NEVER = 2**63 - 1
_FIELDS: Mapping[str, Any] = {
    "code": "int32", "start": "int64",  # in us: of the interval, or exchange time of the first trade
    "open": "float64", "high": "float64", "low": "float64", "close": "float64",
    "volume": "float64", "trades": "float64", "value": "float64",
    "first": "int64", "last": "int64",  # exchange times of the trades of open and close
    "first_row": "int64", "last_row": "int64", "first_received": "int64", "last_received": "int64",
    "is_full": "bool", "is_corrected": "bool", "is_unknown": "bool", "is_complete": "bool", "changed": "int64",
}  # fmt: skip


class BarRule(NamedTuple):
    """When a bar ends: after `amount` us of exchange time, or with the trade that reaches this amount."""

    kind: Literal["time", "ticks", "volume", "value"]
    amount: float


class Interruption(NamedTuple):
    """Time by the clock of receipt, in us, in which trades may be missing; `ended` None while it lasts.

    `code` is that of the symbol, None for all.
    """

    started: int
    ended: int | None
    code: int | None


class Prints(NamedTuple):
    """The rows in the window of a frame of trades, in the order of arrival; `first` is the number of the first one.

    `origin` changes where a replay begins anew. Times in us since the epoch; `sizes` None where the frame has none.
    `corrects` has for each row that corrects another the number of that. `unplaced` are numbers of rows that correct
    one which has left the window.
    """

    first: int
    origin: int
    codes: Codes
    ts: Times
    received: Times
    prices: Numbers
    sizes: Numbers | None
    corrects: Mapping[int, int]
    unplaced: Sequence[int]

    @property
    def end(self) -> int:
        """The number after the newest row."""
        return self.first + len(self.ts)

    def root(self, number: int) -> int:
        """Return the number of the first row of the print that a row corrects, or its own."""
        while number in self.corrects:
            number = self.corrects[number]
        return number


def prints_of(frame: RollingFrame, position: int) -> Prints:
    """Return the rows of a rolling frame of trades; those that correct others are known from `position` on."""
    slab, start, end, _, void = frame.published
    arrays, first = slab.arrays, slab.base + start
    corrects = {new: old for old, new in void.pairs}
    unplaced: list[int] = []
    if "source" in arrays:
        begin = min(max(position - slab.base, start), end)
        codes = frame.codes_of("source", CORRECTED, CANCELLED)
        found = np.flatnonzero(np.isin(arrays["source"][begin:end], codes)) if codes else ()
        numbers = [slab.base + begin + int(at) for at in found]
        unplaced = [number for number in numbers if number not in corrects]
    return Prints(
        first=first,
        origin=slab.origin,
        codes=slab.codes[start:end],
        ts=slab.ts[start:end],
        received=slab.received[start:end],
        prices=arrays["price"][start:end],
        sizes=arrays["size"][start:end] if "size" in arrays else None,
        corrects=corrects,
        unplaced=unplaced,
    )


class _Trades(NamedTuple):
    """Trades of one symbol that count in bars, in the order of arrival; `rows` are their numbers in the frame."""

    rows: Times
    ts: Times
    received: Times
    prices: Numbers
    sizes: Numbers

    def some(self, chosen: slice | NDArray[Any]) -> _Trades:
        rows, ts, received, prices, sizes = self
        return _Trades(rows[chosen], ts[chosen], received[chosen], prices[chosen], sizes[chosen])


class TickBars:
    """The newest 200,000 bars of `symbols` symbols, by a rule. One thread writes at a time, under a lock of the caller.

    What is missing shows in `complete`: the first bar of time of each symbol, bars over a gap, and bars of which a
    trade was corrected after others of it had left the window.
    """

    def __init__(self, rule: BarRule, symbols: int, *, limit: int = MOST_BARS) -> None:
        self.rule = rule
        self._symbols = symbols
        self._limit = limit
        self.version = 0
        self._begin(0)

    def _begin(self, origin: int) -> None:
        self._origin = self.position = origin
        self._has_sizes = True
        self._count = 0
        self._bars: dict[str, NDArray[Any]] = {name: np.zeros(FIRST_CAPACITY, dtype) for name, dtype in _FIELDS.items()}
        self._evicted = 0
        self._floor = -_NEVER  # bars of time that begin before it have been evicted
        self._places: dict[tuple[int, int], int] = {}  # of bars of time, by code and start
        self._of: list[list[int]] = [[] for _ in range(self._symbols)]  # places of the bars of each symbol
        self._begins: dict[int, int] = {}  # of each symbol the start of its first bar of time
        self._lost: list[Interruption] = []  # rows that left the window before they were taken
        self._newest_received = 0
        self.version += 1

    def copy(self) -> TickBars:
        """Return the same bars, to which trades can be added by themselves. Under the lock, as what reads."""
        found = copy(self)
        vars(found).update(
            _bars={name: column.copy() for name, column in self._bars.items()},
            _places=self._places.copy(),
            _of=[places.copy() for places in self._of],
            _begins=self._begins.copy(),
            _lost=self._lost.copy(),
        )
        return found

    # Writing.

    def take(self, prints: Prints) -> bool:
        """Count the rows that are new; return whether any bar changed."""
        if prints.origin != self._origin:
            self._begin(prints.origin)
        position = max(self.position, prints.first)
        if position > self.position and self.position > self._origin:
            until = int(prints.received[0]) if len(prints.ts) else None
            self._lost.append(Interruption(self._newest_received, until, None))
        if position >= prints.end:
            return False
        self._has_sizes = prints.sizes is not None
        self.version += 1
        unusual = sorted(each for each in (*prints.corrects, *prints.unplaced) if each >= position)
        for number in unusual:
            self._add(prints, position, number)
            self._correct(prints, number)
            position = number + 1
        self._add(prints, position, prints.end)
        self.position = prints.end
        self._newest_received = int(prints.received[-1])
        self._evict()
        return True

    def settle(self, now: int, interruptions: Sequence[Interruption]) -> bool:
        """Note which of the newest bars are complete at `now`, as in `frame`; return whether that has changed any."""
        order = self._order()[-MOST_SETTLED:]
        complete = self._complete({name: column[order] for name, column in self._bars.items()}, now, interruptions)
        changed = order[complete != self._bars["is_complete"][order]]
        self._bars["is_complete"][order] = complete
        if len(changed):
            self.version += 1
            self._bars["changed"][changed] = self.version
        return len(changed) > 0

    def _add(self, prints: Prints, first: int, end: int) -> None:
        """Count the rows numbered from `first` to before `end`, none of which corrects another."""
        if first >= end:
            return
        chosen = np.arange(first, end) - prints.first
        chosen = chosen[_counts(prints, chosen)]
        codes = prints.codes[chosen]
        for code in np.unique(codes).tolist():
            trades = _trades(prints, chosen[codes == code])
            if self.rule.kind == "time":
                self._add_by_time(code, trades)
            else:
                self._add_by_arrival(code, trades)

    def _add_by_time(self, code: int, trades: _Trades) -> None:
        span = int(self.rule.amount)
        starts = trades.ts // span * span
        self._begins.setdefault(code, int(starts[0]))
        for start in np.unique(starts).tolist():
            if start < self._floor:
                continue
            some = trades.some(starts == start)
            place = self._places.get((code, start))
            if place is None:
                place = self._places[code, start] = self._new(code, start)
            self._extend(place, some, by_time=True)
            if int(some.received[-1]) >= start + span + GRACE_US:
                self._bars["is_corrected"][place] = True

    def _add_by_arrival(self, code: int, trades: _Trades) -> None:
        at, count = 0, len(trades.rows)
        while at < count:
            place = self._of[code][-1] if self._of[code] else None
            if place is None or self._bars["is_full"][place]:
                place = self._new(code, int(trades.ts[at]))
            took, is_full = self._until_full(place, trades, at)
            self._extend(place, trades.some(slice(at, at + took)), by_time=False)
            self._bars["is_full"][place] = is_full
            at += took

    def _until_full(self, place: int, trades: _Trades, at: int) -> tuple[int, bool]:
        """Return how many of the trades from `at` on belong to a bar, and whether it is full then."""
        left = len(trades.rows) - at
        if self.rule.kind == "ticks":
            wanted = int(self.rule.amount - self._bars["trades"][place])
            return min(left, wanted), left >= wanted
        total, took = float(self._bars[self.rule.kind][place]), 0
        while took < left:
            some = slice(at + took, at + min(took + CHUNK, left))
            amounts = trades.sizes[some] if self.rule.kind == "volume" else _values(trades.some(some))
            sums = np.cumsum(np.concatenate([[total], amounts]))[1:]
            reached = np.flatnonzero(sums >= self.rule.amount)
            if len(reached):
                return took + int(reached[0]) + 1, True
            total, took = float(sums[-1]), took + len(sums)
        return left, False

    def _new(self, code: int, start: int) -> int:
        place = self._count
        if place == len(self._bars["code"]):
            self._bars = {name: np.concatenate([column, np.zeros_like(column)]) for name, column in self._bars.items()}
        self._count += 1
        bars = self._bars
        for name in ("is_full", "is_corrected", "is_unknown", "is_complete"):
            bars[name][place] = False
        bars["code"][place], bars["start"][place] = code, start
        self._of[code].append(place)
        self._empty(place)
        return place

    def _empty(self, place: int) -> None:
        bars = self._bars
        for name in ("open", "high", "low", "close"):
            bars[name][place] = np.nan
        for name in ("volume", "trades", "value"):
            bars[name][place] = 0.0
        bars["first"][place], bars["last"][place] = _NEVER, -_NEVER
        bars["first_row"][place] = bars["first_received"][place] = _NEVER
        bars["last_row"][place] = bars["last_received"][place] = 0

    def _extend(self, place: int, trades: _Trades, *, by_time: bool) -> None:
        """Count trades, at least one, in a bar: open and close are first and last by exchange time, or as they come."""
        bars, (rows, ts, received, prices, sizes) = self._bars, trades
        first = int(ts.argmin()) if by_time else 0
        last = len(ts) - 1 - int(ts[::-1].argmax()) if by_time else len(ts) - 1
        if (ts[first] < bars["first"][place]) if by_time else not bars["trades"][place]:
            bars["open"][place], bars["first"][place] = prices[first], ts[first]
        if not by_time or ts[last] >= bars["last"][place]:
            bars["close"][place], bars["last"][place] = prices[last], ts[last]
        bars["high"][place] = np.fmax(bars["high"][place], prices.max())
        bars["low"][place] = np.fmin(bars["low"][place], prices.min())
        bars["volume"][place] = np.cumsum(np.concatenate([[bars["volume"][place]], sizes]))[-1]
        bars["value"][place] = np.cumsum(np.concatenate([[bars["value"][place]], _values(trades)]))[-1]
        bars["trades"][place] += len(ts)
        bars["first_row"][place] = min(bars["first_row"][place], rows.min())
        bars["last_row"][place] = max(bars["last_row"][place], rows.max())
        bars["first_received"][place] = min(bars["first_received"][place], received.min())
        bars["last_received"][place] = max(bars["last_received"][place], received.max())
        bars["changed"][place] = self.version

    def _correct(self, prints: Prints, number: int) -> None:
        """Count the bars anew that a correcting row, of this number, changes."""
        old = prints.corrects.get(number)
        code = int(prints.codes[number - prints.first])
        if self.rule.kind == "time":
            span = int(self.rule.amount)
            times = [int(prints.ts[each - prints.first]) for each in (old, number) if each is not None]
            for start in sorted({ts // span * span for ts in times}):
                self._correct_by_time(prints, number, code, start, is_known=old is not None)
        elif old is not None:
            self._correct_by_arrival(prints, number, code, old)

    def _correct_by_time(self, prints: Prints, number: int, code: int, start: int, *, is_known: bool) -> None:
        place = self._places.get((code, start))
        span = int(self.rule.amount)
        old_rows = {corrected for new, corrected in prints.corrects.items() if new <= number}
        rows = np.flatnonzero(prints.codes[: number + 1 - prints.first] == code)
        rows = rows[prints.ts[rows] // span * span == start]
        rows = rows[~np.isin(rows + prints.first, list(old_rows | set(prints.unplaced)))]
        rows = rows[_counts(prints, rows)]
        # Of equal times, a corrected trade has the place of the first.
        rows = rows[np.argsort([prints.root(each) for each in (rows + prints.first).tolist()])]
        if place is None:
            if not len(rows) or start < self._floor:
                return
            place = self._places[code, start] = self._new(code, start)
        elif not is_known or self._bars["first_row"][place] < prints.first:
            self._bars["is_unknown"][place] = True
            self._bars["changed"][place] = self.version
            return
        first_row = int(self._bars["first_row"][place])
        self._empty(place)
        if len(rows):
            self._extend(place, _trades(prints, rows), by_time=True)
        self._settle(place, prints, number, first_row)
        if int(prints.received[number - prints.first]) >= start + span + GRACE_US:
            self._bars["is_corrected"][place] = True

    def _correct_by_arrival(self, prints: Prints, number: int, code: int, old: int) -> None:
        root = prints.root(old)
        places = self._of[code]
        at = bisect_right(places, root, key=lambda place: int(self._bars["first_row"][place])) - 1
        if at < 0 or self._bars["last_row"][places[at]] < root:
            return  # it counted in no bar
        place = places[at]
        first, last = int(self._bars["first_row"][place]), int(self._bars["last_row"][place])
        if first < prints.first:
            self._bars["is_unknown"][place] = True
            self._bars["changed"][place] = self.version
            return
        newer = {corrected: new for new, corrected in prints.corrects.items() if new <= number}
        taken = {*prints.corrects, *prints.unplaced}
        first_at, last_at = first - prints.first, last - prints.first
        rows = first_at + np.flatnonzero(prints.codes[first_at : last_at + 1] == code)
        rows = rows[_counts(prints, rows)]  # one that did not count has no place
        newest: list[int] = []
        for each in (rows + prints.first).tolist():
            if each not in taken:
                while each in newer:
                    each = newer[each]
                newest.append(each - prints.first)
        chosen = np.array(newest, "int64")
        chosen = chosen[_counts(prints, chosen)]
        received = self._bars["first_received"][place], self._bars["last_received"][place]
        self._empty(place)
        if len(chosen):
            self._extend(place, _trades(prints, chosen), by_time=False)
        self._settle(place, prints, number, first)
        self._bars["last_row"][place] = last
        self._bars["first_received"][place], self._bars["last_received"][place] = received
        self._bars["is_corrected"][place] = bool(self._bars["is_full"][place])

    def _settle(self, place: int, prints: Prints, number: int, first_row: int) -> None:
        """Give a bar that was counted anew the row that it begins with: all its rows were from there on."""
        self._bars["first_row"][place] = first_row
        self._bars["last_row"][place] = max(self._bars["last_row"][place], number)
        received = int(prints.received[number - prints.first])
        self._bars["first_received"][place] = min(self._bars["first_received"][place], received)
        self._bars["last_received"][place] = max(self._bars["last_received"][place], received)
        self._bars["changed"][place] = self.version

    def _evict(self) -> None:
        """Keep the newest `limit` bars, once there are twice as many."""
        if self._count < 2 * self._limit:
            return
        order = self._order()[-self._limit :]
        kept = np.sort(order)
        if self.rule.kind == "time":
            self._floor = int(self._bars["start"][kept].min())
        self._evicted += self._count - len(kept)
        self._bars = {name: column[kept] for name, column in self._bars.items()}
        self._count = len(kept)
        self._of = [[] for _ in range(self._symbols)]
        for place, code in enumerate(self._bars["code"].tolist()):
            self._of[code].append(place)
        starts = zip(self._bars["code"].tolist(), self._bars["start"].tolist(), strict=True)
        self._places = {key: place for place, key in enumerate(starts)} if self.rule.kind == "time" else {}

    # Reading, under the same lock.

    def __len__(self) -> int:
        return min(self._count, self._limit)

    @property
    def total(self) -> int:
        """The number of bars since the beginning, those evicted included."""
        return self._evicted + self._count

    def frame(
        self, symbols: Sequence[str], now: int, interruptions: Sequence[Interruption], *, newest: int | None = None,
        changed_after: int = -1,
    ) -> pd.DataFrame:  # fmt: skip
        """Return one row a bar: those of time by their start, others in the order in which they began.

        `newest`: at most so many. `now` is market time in us. `changed_after`: only bars that changed after that
        `version`. Index `ts` (UTC), `symbol`; open, high, low, close, volume, trades float64; `source` "live" or
        "corrected"; `complete` bool.
        """
        order = self._order()[-min(self._limit, newest or _NEVER) :]
        order = order[self._bars["changed"][order] > changed_after]
        bars = {name: column[order] for name, column in self._bars.items()}
        numbers = {name: bars[name] for name in ("open", "high", "low", "close", "volume", "trades")}
        if not self._has_sizes:
            numbers["volume"] = np.full(len(order), np.nan)
        texts = pd.array(np.array([*symbols, ""], object)[bars["code"]], dtype="str")
        source = pd.array(np.where(bars["is_corrected"], "corrected", "live").astype(object), dtype="str")
        complete = self._complete(bars, now, interruptions)
        return pd.DataFrame(
            {"symbol": texts, **numbers, "source": source, "complete": complete},
            index=pd.DatetimeIndex(utc_times(bars["start"] * 1_000), name="ts"),
        )

    def newest(self, code: int, most: int) -> BarsData:
        """Return the newest `most` bars of a symbol as arrays for a chart, oldest first, their times in ns."""
        places = np.array(self._of[code], "int64")
        if self.rule.kind == "time":
            places = places[np.argsort(self._bars["start"][places], kind="stable")]
        places = places[-most:]
        open_, high, low, close, volume = (
            self._bars[name][places] for name in ("open", "high", "low", "close", "volume")
        )
        starts = self._bars["start"][places]
        if self.rule.kind != "time":  # several may begin within a millisecond, or with a late trade
            steps = np.arange(len(starts)) * 1_000
            starts = np.maximum.accumulate(starts - steps) + steps
        return BarsData(starts * 1_000, open_, high, low, close, volume if self._has_sizes else None)

    def _order(self) -> NDArray[np.intp]:
        bars = self._bars
        if self.rule.kind == "time":
            return np.lexsort((bars["code"][: self._count], bars["start"][: self._count]))
        return np.argsort(bars["first_row"][: self._count], kind="stable")

    def _complete(
        self, bars: Mapping[str, NDArray[Any]], now: int, interruptions: Sequence[Interruption]
    ) -> NDArray[np.bool_]:
        """Return which bars have ended and lack no trade."""
        starts, codes, span = bars["start"], bars["code"], int(self.rule.amount)
        if self.rule.kind == "time":
            begins = np.array([self._begins.get(code, -_NEVER) for code in range(self._symbols)], "int64")
            found = (starts + span + GRACE_US <= now) & (starts > begins[codes])
        else:
            found = bars["is_full"].copy()
        for started, ended, code in (*interruptions, *self._lost):
            of_it = True if code is None else codes == code
            if self.rule.kind == "time":
                until = _NEVER if ended is None else ended + MARGIN_US
                touched = (starts <= until) & (starts + span > started - MARGIN_US)
            else:
                touched = (bars["first_received"] <= started) & ((bars["last_received"] > started) | ~bars["is_full"])
            found &= ~(touched & of_it)
        result: NDArray[np.bool_] = found & ~bars["is_unknown"]
        return result


def _counts(prints: Prints, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows count: those with a price, a plausible time, and a size that is not 0 or less."""
    found: NDArray[np.bool_] = prints.ts[rows] <= prints.received[rows] + MOST_AHEAD_US
    found &= ~np.isnan(prints.prices[rows])
    if prints.sizes is not None:
        found &= ~(prints.sizes[rows] <= 0)
    return found


def _trades(prints: Prints, rows: NDArray[Any]) -> _Trades:
    sizes = np.zeros(len(rows)) if prints.sizes is None else np.nan_to_num(prints.sizes[rows], nan=0.0)
    return _Trades(rows + prints.first, prints.ts[rows], prints.received[rows], prints.prices[rows], sizes)


def _values(trades: _Trades) -> Numbers:
    return np.abs(trades.prices) * trades.sizes
