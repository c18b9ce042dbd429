"""The public trades of one instrument, numbered as the simulated ALOR server does: history by `depth` is taken here."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import NamedTuple
from zlib import crc32

__all__ = ["MOST_PRINTS", "Print", "Prints"]

#: The most that `depth` can ask for (§6.4).
MOST_PRINTS = 5000
#: Numbers go up to 19 digits on the wire; all are beyond 2**53, so that a client which takes them for floats is found.
FIRST_NUMBER = 1_900_000_000_000_000_000
NUMBERS_EACH = 1_000_000_000
INSTRUMENTS = 1_000_000


class Print(NamedTuple):
    """One public trade: its number, time in Unix ns, price, size in lots, and the aggressor's side."""

    number: int
    ts_ns: int
    price: float
    size: float
    side: str


class Prints:
    """The last trades of one instrument; numbers go up, and differ from those of other instruments."""

    def __init__(self, exchange: str, symbol: str) -> None:
        self.total = 0
        self._base = FIRST_NUMBER + crc32(f"{exchange}:{symbol}".encode()) % INSTRUMENTS * NUMBERS_EACH
        self._kept: deque[Print] = deque(maxlen=MOST_PRINTS)

    @property
    def last(self) -> Print | None:
        """The newest trade; None before the first."""
        return self._kept[-1] if self._kept else None

    def add(self, ts_ns: int, price: float, size: float, side: str) -> Print:
        """Keep a trade, and give it its number."""
        self.total += 1
        made = Print(self._base + self.total, ts_ns, price, size, side)
        self._kept.append(made)
        return made

    def newest(self, count: int) -> list[Print]:
        """The last `count` trades, oldest first."""
        return list(islice(self._kept, max(0, len(self._kept) - count), None)) if count > 0 else []
