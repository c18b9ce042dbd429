"""The public trades of one instrument, numbered as the simulated ALOR server does: those of this session and before."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aries_nb.sim.market.history import TradeArray

__all__ = ["MOST_PRINTS", "Print", "PrintColumns", "Prints", "first_past_number", "past_prints"]

#: The most that `depth` can ask for (§6.4).
MOST_PRINTS = 5000
#: Trades of the session that are kept at least for whoever asks over HTTP; twice as many at most.
RETAINED_PRINTS = 200_000
#: Numbers go up to 19 digits on the wire; all are beyond 2**53, so that a client which takes them for floats is found.
FIRST_NUMBER = 1_900_000_000_000_000_000
NUMBERS_EACH = 1_000_000_000
#: Of each instrument so many are for the trades of past sessions, which come before those of this one.
PAST_NUMBERS = 900_000_000
INSTRUMENTS = 1_000_000
SIDES = ["", "buy", "sell"]

#: Spreads the bits of a number over those above it.
SCATTER = 0x9E3779B97F4A7C15 >> 24

Places: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
Column: TypeAlias = np.ndarray[tuple[int], np.dtype[np.generic]]


class Print(NamedTuple):
    """One public trade: its number, time in Unix ns, price, size in lots, and the aggressor's side."""

    number: int
    ts_ns: int
    price: float
    size: float
    side: str


class PrintColumns(NamedTuple):
    """Trades as columns, oldest first; the fields are those of `Print`, but for `side`, a place in `sides`."""

    number: Column
    ts_ns: Column
    price: Column
    size: Column
    side: Column
    sides: list[str]

    def chosen(self, bounds: Mapping[str, tuple[float | None, ...]], side: str | None = None) -> PrintColumns:
        """The trades whose fields lie between bounds, both included and None for none, and of one side."""
        mask = np.ones(len(self.number), bool)
        for name, (low, high) in bounds.items():
            values = getattr(self, name)
            mask &= (low is None) | (values >= (0 if low is None else low))
            mask &= (high is None) | (values <= (0 if high is None else high))
        if side is not None:
            mask &= self.side == (self.sides.index(side) if side in self.sides else -1)
        number, ts, price, size, places = (column[mask] for column in self[:5])
        return PrintColumns(number, ts, price, size, places, self.sides)

    def prints(self, start: int, count: int, *, is_newest_first: bool = False) -> list[Print]:
        """At most `count` trades after the first `start` ones, from the beginning or from the end."""
        columns = (column[::-1] if is_newest_first else column for column in self[:5])
        rows = zip(*(column[start : start + count].tolist() for column in columns), strict=True)
        return [Print(number, ts, price, size, self.sides[side]) for number, ts, price, size, side in rows]


class Prints:
    """The trades of one instrument in this session; numbers go up, and differ from those of other instruments."""

    def __init__(self, exchange: str, symbol: str) -> None:
        self.total = 0
        self.last: Print | None = None  # the newest trade; None before the first
        self._base = first_past_number(exchange, symbol) + PAST_NUMBERS
        self._sides = list(SIDES)
        self._columns = (array("q"), array("d"), array("d"), array("q"))  # time, price, size, place of the side

    def add(self, ts_ns: int, price: float, size: float, side: str) -> Print:
        """Keep a trade, and give it its number."""
        self.total += 1
        self.last = made = Print(self._base + self.total, ts_ns, price, size, side)
        if side not in self._sides:
            self._sides.append(side)
        times, prices, sizes, sides = self._columns
        times.append(ts_ns)
        prices.append(price)
        sizes.append(size)
        sides.append(self._sides.index(side))
        if len(times) >= 2 * RETAINED_PRINTS:
            for column in self._columns:
                del column[:RETAINED_PRINTS]
        return made

    def newest(self, count: int) -> list[Print]:
        """The last `count` trades, of those that are kept, oldest first."""
        first = max(len(self._columns[0]) - max(count, 0), 0)
        number = self._base + self.total - len(self._columns[0]) + 1 + first
        times, prices, sizes, sides = self._columns
        rows = zip(times[first:], prices[first:], sizes[first:], sides[first:], strict=True)
        return [Print(number + n, ts, price, size, self._sides[at]) for n, (ts, price, size, at) in enumerate(rows)]

    def columns(self) -> PrintColumns:
        """Every trade that is kept."""
        times, prices, sizes, sides = (np.array(column) for column in self._columns)
        numbers = self._base + self.total - len(times) + 1 + np.arange(len(times))
        return PrintColumns(numbers, times, prices, sizes, sides, self._sides)


def first_past_number(exchange: str, symbol: str) -> int:
    """The number from which those of an instrument go up."""
    return FIRST_NUMBER + crc32(f"{exchange}:{symbol}".encode()) % INSTRUMENTS * NUMBERS_EACH


def past_prints(first_number: int, places: Places, trades: TradeArray, lot: int) -> PrintColumns:
    """Trades of past sessions, at their `places` among all of them: sizes in lots, sides by the places alone."""
    sides = np.where(places * SCATTER >> 40 & 1, SIDES.index("buy"), SIDES.index("sell"))
    sizes = trades["size"].astype(np.int64) // lot
    return PrintColumns(first_number + places, trades["time"], trades["price"], sizes, sides, SIDES)
