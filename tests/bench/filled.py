"""A live frame that is full: the real feed and frame, on a server that sends no market data; rows are put in by hand.

A stand-in for the connection would have to follow every change of what a frame asks of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import NamedTuple

import numpy as np

import aries_nb as anb
from aries_nb.live import Feed
from aries_nb.live.market.frame import LiveFrame
from aries_nb.model import RecordBuffer
from aries_nb.store import RollingFrame
from tests.bench.blast import silent
from tests.bench.frames import START_MS, SYMBOLS

__all__ = ["FilledFrame", "silent_feed"]

BATCH = 5_000


@contextmanager
def silent_feed() -> Iterator[Feed]:
    """A live feed whose server sends no market data."""
    with silent() as url, anb.connect("aries", url=url, token="any") as feed:
        yield feed


class FilledFrame(NamedTuple):
    """A frame and the tape behind it."""

    live: LiveFrame
    tape: RollingFrame

    @classmethod
    def of(cls, feed: Feed, rows: int, symbols: tuple[str, ...] = SYMBOLS) -> FilledFrame:
        """A full frame of the newest `rows` quotes, its slab turned over once."""
        live = feed.quotes(*symbols, rows=rows)
        filled = cls(live, live._tape)
        filled.grow(2 * rows + 1)
        return filled

    def grow(self, rows: int) -> None:
        """Add rows and publish them, at most 5,000 at a time."""
        while rows > 0:
            count = min(rows, BATCH)
            put_rows(self.tape.buffer, self.tape.version, count, len(self.live.symbols))
            self.tape.publish()
            rows -= count


def put_rows(buffer: RecordBuffer, first: int, count: int, symbols: int) -> None:
    """Put rows from number `first` on into an inbox: a millisecond apart, a price that waves slowly."""
    numbers = np.arange(first, first + count)
    middle = 100 + np.round(5 * np.sin(numbers / 5_000) + np.sin(numbers / 7) / 10, 2)
    columns = (middle - 0.01, 100.0 + numbers % 7, middle + 0.01, 100.0 + numbers % 5, middle)
    ts = ((START_MS + numbers) * 1_000_000).tolist()
    buffer.codes.extend((numbers % symbols).tolist())
    buffer.ts.extend(ts)
    buffer.values.extend(chain.from_iterable(zip(*(column.tolist() for column in columns), strict=True)))
    buffer.mark(ts[-1] + 250_000)
