"""A live frame that is full, without a connection: the real `LiveFrame` and `Tape`, rows put in by hand."""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from aries_nb.live.callbacks import Callbacks
from aries_nb.live.market.frame import LiveFrame
from aries_nb.model import QUOTE_COLUMNS, Inbox
from aries_nb.store import Tape
from tests.bench.frames import START_MS, SYMBOLS

__all__ = ["FilledFrame", "StandInLink"]

BATCH = 5_000


class StandInLink:
    """What a frame asks of its link, for a session that is live and has nothing to complain about."""

    state = "live"
    address = "ws://127.0.0.1"

    def tape(self, kind: str, symbols: Any, columns: Any, **window: int | None) -> Tape:
        return Tape(columns, symbols, **window)

    def release(self, store: object) -> None: ...

    def check(self) -> None: ...

    def rejected(self, symbols: object) -> tuple[str, ...]:
        return ()


class FilledFrame(NamedTuple):
    """A frame and the tape behind it."""

    live: LiveFrame
    tape: Tape

    @classmethod
    def of(cls, rows: int, symbols: tuple[str, ...] = SYMBOLS) -> FilledFrame:
        """A full frame of the newest `rows` quotes, its slab turned over once."""
        link: Any = StandInLink()
        live = LiveFrame(link, Callbacks(), "quotes", symbols, columns=QUOTE_COLUMNS, window={"limit": rows})
        filled = cls(live, live._tape)
        filled.grow(2 * rows + 1)
        return filled

    def grow(self, rows: int) -> None:
        """Add rows and publish them, at most 5,000 at a time."""
        while rows > 0:
            count = min(rows, BATCH)
            put_rows(self.tape.inbox, self.tape.version, count, len(self.live.symbols))
            self.tape.publish()
            rows -= count


def put_rows(inbox: Inbox, first: int, count: int, symbols: int) -> None:
    """Put rows from number `first` on into an inbox: a millisecond apart, a price that waves slowly."""
    numbers = np.arange(first, first + count)
    middle = 100 + np.round(5 * np.sin(numbers / 5_000) + np.sin(numbers / 7) / 10, 2)
    columns = (middle - 0.01, 100.0 + numbers % 7, middle + 0.01, 100.0 + numbers % 5, middle)
    ts = ((START_MS + numbers) * 1_000_000).tolist()
    inbox.codes.extend((numbers % symbols).tolist())
    inbox.ts.extend(ts)
    inbox.values.extend(chain.from_iterable(zip(*(column.tolist() for column in columns), strict=True)))
    inbox.mark(ts[-1] + 250_000)
