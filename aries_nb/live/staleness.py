"""The stale symbols of a rolling frame: those that are silent, and those without a row since a gap.

A symbol is silent when nothing has arrived for longer than usual while its market is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from aries_nb.live.calendars import open_since
from aries_nb.live.connection import Link
from aries_nb.live.gaps import GapSelection
from aries_nb.model.clock import elapsed
from aries_nb.store import RollingFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aries_nb.model import Codes, Times

    Flags: TypeAlias = NDArray[np.bool_]

__all__ = ["Staleness", "staleness_thresholds"]

ROWS_LOOKED_AT = 20_000
LOOK_SECONDS = 1.0  # the usual interval is not computed for each frame of a board
SECOND_NS = 1_000_000_000
MOMENT_NS = SECOND_NS // 10  # rows closer than this belong to one burst, whose intervals say nothing
TIMES_USUAL = 20  # random arrivals are silent for 20 times their mean interval once in 500 million intervals
LEAST_NS = 5 * SECOND_NS
FEWEST_INTERVALS = 4
UNKNOWN_NS = 300 * SECOND_NS  # assumed for a symbol with few rows


class Staleness:
    """Finds the stale symbols of a rolling frame: silent ones, and those with no row since a gap that is not filled.

    `tape` is that frame, `gaps` are the gaps of its streams; `link`, its connection, knows the market's hours and
    status. They are computed on demand from the frame's rows. Any thread.

    A symbol is silent when nothing has arrived for longer than `staleness_thresholds` computes from its newest rows,
    while its market trades without a pause: not when the market is closed, on holiday, in an auction, before or after
    its regular hours, when the broker says that it is closed, or when its hours are not known.
    """

    def __init__(self, tape: RollingFrame, link: Link, gaps: GapSelection) -> None:
        self._tape = tape
        self._link = link
        self._gaps = gaps
        self._calendars = [link.hours.calendar_of(symbol) for symbol in tape.symbols]
        self._begun = link.clock.now_ns()
        self._expected: Times = np.zeros(len(tape.symbols), "int64")
        self._looked_at = -LOOK_SECONDS

    def stale(self, now: int) -> Flags:
        """Return for each symbol whether it is stale: silent, or with no row since a gap that is not filled.

        A bool array in the order of the frame's symbols; `now` is in ns since the epoch. All are stale while rows wait
        for a backfill.
        """
        received = self._received()
        if self._tape.is_backfilling:  # rows since the gap wait for the backfill
            return np.ones(len(received), "bool")
        return self._from_before_a_gap(received) | self._silent(received, now)

    def stale_then(self, received: Times, now: int, gaps: GapSelection) -> Flags:
        """Return what `stale` was at `now` (ns), with these receipts of the newest rows (ns) and the gaps of then.

        By the usual intervals, the hours and the market's status of today.
        """
        return self._from_before_a_gap(received, gaps) | self._silent(received, now)

    def before_a_gap_then(self, received: Times, gaps: GapSelection) -> Flags:
        """Return for each symbol whether its newest row, with these receipts (ns), is from before one of these gaps."""
        return self._from_before_a_gap(received, gaps)

    def silent(self, now: int) -> tuple[str, ...]:
        """Return the symbols without an update for longer than is usual, while their market is open at `now`.

        `now` is in ns since the epoch. A symbol without a row counts from when this object was made.
        """
        flags = self._silent(self._received(), now)
        return tuple(symbol for symbol, flag in zip(self._tape.symbols, flags.tolist(), strict=True) if flag)

    def from_before_a_gap(self) -> frozenset[str]:
        """Return the symbols whose newest row is from before a gap that is not filled; none that has no row yet."""
        flags = self._from_before_a_gap(self._received())
        return frozenset(symbol for symbol, flag in zip(self._tape.symbols, flags.tolist(), strict=True) if flag)

    def _received(self) -> Times:
        return np.array([0 if row is None else row[1] for row in self._tape.latest()], "int64")

    def _silent(self, received: Times, now: int) -> Flags:
        if self._link.hours.is_quiet(self._link.market_status):
            return np.zeros(len(received), "bool")
        since = {name: open_since(name, now) for name in set(self._calendars)}
        open_at = [since[name] for name in self._calendars]
        is_open = np.array([at is not None for at in open_at], "bool")
        latest = np.maximum(received, np.array([at or 0 for at in open_at], "int64"))
        silent: Flags = is_open & (now - np.maximum(latest, self._begun) > self._usual())
        return silent

    def _usual(self) -> Times:
        if elapsed() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = elapsed()
            rows = self._tape.rows(self._tape.version - ROWS_LOOKED_AT)
            if rows.received is not None:
                self._expected = staleness_thresholds(rows.codes, rows.received * 1_000, len(self._tape.symbols))
        return self._expected

    def _from_before_a_gap(self, received: Times, gaps: GapSelection | None = None) -> Flags:
        newest, of_symbol = 0, dict.fromkeys(self._tape.symbols, 0)
        for gap in (self._gaps if gaps is None else gaps).all():
            if not gap.filled and gap.symbol in of_symbol:
                of_symbol[gap.symbol] = max(of_symbol[gap.symbol], gap.started)
            elif not gap.filled:
                newest = max(newest, gap.started)
        begun = np.maximum(np.array([of_symbol[symbol] for symbol in self._tape.symbols], "int64"), newest)
        stale: Flags = (received > 0) & (received <= begun)
        return stale


def staleness_thresholds(codes: Codes, received: Times, count: int) -> Times:
    """Return how long each symbol may be silent, in ns: 20 times the median interval of its rows, 5 s at least.

    `codes` are the symbols of the newest rows, as numbers below `count`, and `received` their times of receipt in ns,
    in the order of arrival. Intervals of less than 0.1 s belong to one burst and do not count. Where a symbol has fewer
    than four intervals that count, it is 300 s at least (assumed), unless it has more than 100 rows.
    """
    order = np.argsort(codes, kind="stable")
    codes, received = codes[order], received[order]
    ways = np.diff(received)
    counts = (codes[1:] == codes[:-1]) & (ways >= MOMENT_NS)
    owners, ways = codes[1:][counts], ways[counts]
    order = np.lexsort((ways, owners))
    owners, ways = owners[order], ways[order]
    first = np.searchsorted(owners, np.arange(count))
    numbers = np.searchsorted(owners, np.arange(count), side="right") - first
    usual = np.zeros(count, "int64")
    some = numbers > 0
    usual[some] = ways[first[some] + numbers[some] // 2]
    # Many rows without any interval that counts are one long burst.
    is_known = (numbers >= FEWEST_INTERVALS) | (np.bincount(codes, minlength=count) > 100)
    least = np.where(is_known, LEAST_NS, UNKNOWN_NS)
    longest: Times = np.maximum(usual * TIMES_USUAL, least)
    return longest
