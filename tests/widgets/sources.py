"""Sources that are set by hand, a clock that stands still, and a comm that keeps what was sent."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from comm.base_comm import BaseComm

from aries_nb.model import BoardData, BookLevels, CardData, FrameRows, PlaybackData, PlaybackMark, PlaybackMove

if TYPE_CHECKING:
    from collections.abc import Callable


class CountingComm(BaseComm):
    """Keeps what a widget sends to the browser."""

    def __init__(self, **options) -> None:
        self.messages: list[tuple[str, dict]] = []
        super().__init__(**options)

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys) -> None:
        self.messages.append((msg_type, data or {}))

    @property
    def sent(self) -> list[dict]:
        return [data for kind, data in self.messages if kind == "comm_msg"]

    def answer(self, data: dict) -> None:
        """Act as the browser: deliver a message."""
        self.handle_msg({"content": {"data": data}, "buffers": []})

    def acknowledge(self, number: int, *, waited: object = 0) -> None:
        self.answer({"method": "custom", "content": {"ack": number, "waited": waited}})


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Busy:
    since: float | None = None
    cells = 0

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Notes:
    """Keeps what is noted of painted rows, in ms."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.newest = 0
        self.now_ns = now_ns
        self.lags_ms: list[float] = []

    def painted(self, received: int, at: int) -> None:
        self.lags_ms.append((at - received) / 1e6)


class Boards:
    """A board source; tests write to it."""

    def __init__(self, symbols=("AAPL", "MSFT"), rejected=None) -> None:
        self.version = 0
        self.symbols = symbols
        self.rejected = rejected or {}
        self.columns = ("bid_price", "bid_size", "ask_price", "ask_size", "last_price")
        self.numbers = np.full((len(symbols), 5), np.nan)
        self.received = np.zeros(len(symbols), dtype=np.int64)
        self.is_stale = False

    def put(self, place: int, *values: float) -> None:
        self.numbers[place] = values
        self.received[place] = 1_700_000_000_000_000_000
        self.version += 1

    def board(self) -> BoardData:
        return BoardData(
            self.symbols, self.columns, self.numbers.copy(), self.received.copy(), self.is_stale, self.rejected
        )


class RollingRows:
    """A rolling frame over plain arrays that keeps the last `limit` rows."""

    def __init__(self, symbols=("AAPL",), columns=("price", "size"), limit: int = 10**9) -> None:
        self.version = 0
        self.symbols = tuple(symbols)
        self.limit = limit
        self.asked: list[int] = []
        self.void: set[int] = set()  # numbers of rows that count no more
        self.begun = 0
        self.ts = np.empty(0, dtype=np.int64)
        self.codes = np.empty(0, dtype=np.int32)
        self.numbers = {column: np.empty(0) for column in columns}

    @property
    def end(self) -> int:
        return len(self.ts)

    def add(self, ts, codes=None, **numbers) -> None:
        ts = np.asarray(ts, dtype=np.int64)
        self.ts = np.concatenate([self.ts, ts])
        self.codes = np.concatenate([self.codes, np.zeros(len(ts), np.int32) if codes is None else codes])
        self.numbers = {
            name: np.concatenate([old, numbers.get(name, np.full(len(ts), np.nan))])
            for name, old in self.numbers.items()
        }
        self.version += 1

    def restart(self) -> None:
        """Have no rows again, as in a replay that goes back; one number is left out."""
        self.add([0])
        self.begun, self.void = self.end, set()

    def rows(self, first: int) -> FrameRows:
        self.asked.append(first)
        window_start = max(self.begun, self.end - self.limit)
        first = min(max(first, window_start), self.end)
        numbers = {name: values[first:] for name, values in self.numbers.items()}
        void = np.isin(np.arange(first, self.end), list(self.void))
        rows = FrameRows(first, self.end, window_start, self.symbols, self.ts[first:], self.codes[first:], numbers)
        return replace(rows, void=void, corrected=len(self.void))


class Books:
    def __init__(self) -> None:
        self.version = 0
        self.bids = np.array([[99.0, 5.0], [98.5, 10.0]])
        self.asks = np.array([[100.0, 7.0], [100.5, 3.0]])
        self.integrity = "ok"
        self.symbol = "AAPL"

    def levels(self, depth: int) -> BookLevels:
        return BookLevels(self.symbol, self.bids[:depth], self.asks[:depth], self.integrity, 1, 1)


class Cards:
    def __init__(self, **changes) -> None:
        self.version = 0
        self.changes = changes

    def card(self) -> CardData:
        fields = {
            "name": "sim",
            "url": "wss://me:secret@example.org:8443/ws?token=abc#frag",
            "state": "live",
            "streams": 2,
            "messages": 1234,
            "messages_per_s": 99.5,
            "lag_ms": float("nan"),
            "gaps": 0,
            "unreadable": 0,
            "silence_s": 0.2,
            "error": "",
        }
        return CardData(**(fields | self.changes))


class Playbacks:
    """A replay that stands where tests set it, and keeps what it is asked for."""

    FIRST = 1_764_426_600_000_000_000  # 2025-11-29 14:30:00 UTC

    def __init__(self, marks: tuple[PlaybackMark, ...] = ()) -> None:
        self.version = 0
        self.asked: list[PlaybackMove] = []
        self.done: list[Callable[[], None]] = []
        last = self.FIRST + 600 * 10**9
        self.data = PlaybackData(self.FIRST, self.FIRST, last, 1.0, False, False, False, marks)

    def put(self, **changes) -> None:
        self.data = replace(self.data, **changes)
        self.version += 1

    def playback(self) -> PlaybackData:
        return self.data

    def move(self, request: PlaybackMove, done: Callable[[], None]) -> None:
        self.asked.append(request)
        self.done.append(done)
