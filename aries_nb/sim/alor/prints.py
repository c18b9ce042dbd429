"""The public trades of one instrument, live ones and those of past sessions, numbered as the simulated ALOR does."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aries_nb.sim.market.history import TradeArray

__all__ = ["MOST_PRINTS", "Print", "PrintColumns", "Prints", "first_past_number", "past_prints"]

#: Largest `depth` (§6.4).
MOST_PRINTS = 5000
#: Trades of the session retained at least for HTTP requests; at most twice as many.
RETAINED_PRINTS = 200_000
#: Numbers have up to 19 digits; all are above 2**53, so that a client that reads them as floats is detected.
FIRST_NUMBER = 1_900_000_000_000_000_000
NUMBERS_EACH = 1_000_000_000
#: Numbers of each instrument reserved for past sessions; those of this session follow.
PAST_NUMBERS = 900_000_000
INSTRUMENTS = 1_000_000
SIDES = ["", "buy", "sell"]

#: Multiplier of a hash that spreads the bits of a number.
SCATTER = 0x9E3779B97F4A7C15 >> 24

Places: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
Column: TypeAlias = np.ndarray[tuple[int], np.dtype[np.generic]]


class Print(NamedTuple):
    """One public trade: `number`, time in Unix ns, price, size in lots.

    `side` is that of the order that took liquidity, "" if it is not known.
    """

    number: int
    ts_ns: int
    price: float
    size: float
    side: str


class PrintColumns(NamedTuple):
    """Public trades as columns, oldest first. The fields are those of `Print`, except `side`, an index into `sides`."""

    number: Column
    ts_ns: Column
    price: Column
    size: Column
    side: Column
    sides: list[str]

    def filtered(self, bounds: Mapping[str, tuple[float | None, ...]], side: str | None = None) -> PrintColumns:
        """Return the trades whose fields are within `bounds`, and whose side is `side` unless that is None.

        `bounds` are (lowest, highest) by the name of a field, both included; None is no bound.
        """
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
        """Return at most `count` trades after the first `start` ones, oldest first.

        If `is_newest_first`, both the order and the count of the first ones begin with the newest.
        """
        columns = (column[::-1] if is_newest_first else column for column in self[:5])
        rows = zip(*(column[start : start + count].tolist() for column in columns), strict=True)
        return [Print(number, ts, price, size, self.sides[side]) for number, ts, price, size, side in rows]


class Prints:
    """The public trades of one instrument since the server's start.

    Numbers increase and are unique over all instruments.
    """

    def __init__(self, exchange: str, symbol: str) -> None:
        self.total = 0
        self.last: Print | None = None  # the newest trade; None before the first
        self._base = first_past_number(exchange, symbol) + PAST_NUMBERS
        self._sides = list(SIDES)
        self._columns = (array("q"), array("d"), array("d"), array("q"))  # time, price, size, index of the side

    def add(self, ts_ns: int, price: float, size: float, side: str) -> Print:
        """Append a trade at `ts_ns` (Unix ns) of `size` lots; return it with its new number.

        `side` is that of the liquidity taker.
        """
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
        """Return the last `count` retained trades, oldest first; at least the newest 200,000 are retained."""
        first = max(len(self._columns[0]) - max(count, 0), 0)
        number = self._base + self.total - len(self._columns[0]) + 1 + first
        times, prices, sizes, sides = self._columns
        rows = zip(times[first:], prices[first:], sizes[first:], sides[first:], strict=True)
        return [Print(number + n, ts, price, size, self._sides[at]) for n, (ts, price, size, at) in enumerate(rows)]

    def columns(self) -> PrintColumns:
        """Return all retained trades as columns, oldest first; at least the newest 200,000 are retained."""
        times, prices, sizes, sides = (np.array(column) for column in self._columns)
        numbers = self._base + self.total - len(times) + 1 + np.arange(len(times))
        return PrintColumns(numbers, times, prices, sizes, sides, self._sides)


def first_past_number(exchange: str, symbol: str) -> int:
    """Return the number of the oldest trade of past sessions of an instrument; later trades have higher numbers."""
    return FIRST_NUMBER + crc32(f"{exchange}:{symbol}".encode()) % INSTRUMENTS * NUMBERS_EACH


def past_prints(first_number: int, places: Places, trades: TradeArray, lot: int) -> PrintColumns:
    """Return trades of past sessions as columns, with sizes in lots, and sides drawn from a hash of their number.

    `trades` are as `History.trades` returns them, with sizes in shares; `lot` is the lot size in shares. `places` are
    the trades' positions among all past trades of the instrument, `first_number` is the number at position 0.
    """
    sides = np.where(places * SCATTER >> 40 & 1, SIDES.index("buy"), SIDES.index("sell"))
    sizes = trades["size"].astype(np.int64) // lot
    return PrintColumns(first_number + places, trades["time"], trades["price"], sizes, sides, SIDES)
