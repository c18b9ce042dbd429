"""The ledger of interruptions: when a feed was deaf, and why."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from aries_nb.model import NOT_A_TIME, Kind

__all__ = ["Gap", "GapLedger", "StreamGaps"]

MAX_GAPS = 10_000
MAX_LINES = 100  # of one gap, for symbols that could not be filled


@dataclass(frozen=True, slots=True)
class Gap:
    """One interruption. Times in ns since the epoch; `ended` is None while it lasts.

    `missed` is the number of messages lost where the broker lets us know, else None.
    """

    stream: str
    symbol: str
    started: int
    ended: int | None
    reason: str
    filled: bool = False
    missed: int | None = None


class GapLedger:
    """The newest 10,000 gaps of a feed; `count` counts all. The network's thread writes, any thread reads."""

    def __init__(self) -> None:
        self._gaps: dict[int, Gap] = {}  # by number, oldest first
        self._lasting: dict[str, int] = {}  # of a stream, the number of the gap that lasts
        self._lock = threading.Lock()
        self._bells: tuple[Callable[[], None], ...] = ()
        self.count = 0
        self.counts: Counter[str] = Counter()  # by stream

    def stream(self, name: str) -> StreamGaps:
        """Return where the interruptions of one stream are told."""
        return StreamGaps(self, name)

    def opened(self, stream: str, *, started: int, reason: str) -> None:
        """Begin a gap of a stream; one that lasts already stays as it is."""
        with self._lock:
            if stream in self._lasting:
                return
            self._gaps[self.count] = Gap(stream, "", started, None, reason)
            self._lasting[stream] = self.count
            self.count += 1
            self.counts[stream] += 1
            self._trim()
        self._ring()

    def closed(
        self, stream: str, *, ended: int, resumed: Mapping[tuple[Kind, str], bool] | None = None, is_all: bool = False
    ) -> None:
        """End the gap of a stream that lasts, if one does.

        `resumed` says of kinds and symbols whether what they missed was filled from the past; `is_all`: there are none
        besides, and with all of them filled the gap is. Else each such kind has a line of its own, "market trades", and
        each of its symbols that was not filled as well; a line with a symbol holds for that before the one without.
        """
        told = resumed or {}
        with self._lock:
            number = self._lasting.pop(stream, None)
            if number is None:
                return
            gap = self._gaps.get(number)
            if gap is not None:
                is_filled = is_all and bool(told) and all(told.values())
                gap = self._gaps[number] = replace(gap, ended=ended, filled=is_filled)
                for part in () if is_filled else _parts(gap, told):
                    self._gaps[self.count] = part
                    self.count += 1
            self._trim()
        self._ring()

    def all(self) -> list[Gap]:
        """The gaps, oldest first."""
        with self._lock:
            return list(self._gaps.values())

    @property
    def df(self) -> pd.DataFrame:
        """One row a gap: stream, symbol, started, ended, reason, filled, missed.

        `ended` is NaT while the gap lasts, `missed` NaN where the broker does not let us know.
        `symbol` is "" where every symbol of the feed was concerned. `filled`: what was missed has come out of the
        broker's past. Where only trades could be filled, "market trades" has a line of its own.
        """
        gaps = self.all()
        return pd.DataFrame(
            {
                "stream": pd.array([gap.stream for gap in gaps], dtype="str"),
                "symbol": pd.array([gap.symbol for gap in gaps], dtype="str"),
                "started": _times([gap.started for gap in gaps]),
                "ended": _times([NOT_A_TIME if gap.ended is None else gap.ended for gap in gaps]),
                "reason": pd.array([gap.reason for gap in gaps], dtype="str"),
                "filled": np.array([gap.filled for gap in gaps], dtype="bool"),
                "missed": np.array([np.nan if gap.missed is None else gap.missed for gap in gaps], dtype="float64"),
            }
        )

    def watch(self, ring: Callable[[], None]) -> Callable[[], None]:
        """Have `ring` called after each change; it must return at once. Returns the undo."""
        self._bells = (*self._bells, ring)

        def undo() -> None:
            self._bells = tuple(bell for bell in self._bells if bell is not ring)

        return undo

    def _trim(self) -> None:
        while len(self._gaps) > MAX_GAPS:
            del self._gaps[next(iter(self._gaps))]

    def _ring(self) -> None:
        for ring in self._bells:
            ring()


class StreamGaps:
    """One stream's door to the ledger; a `GapSink`."""

    def __init__(self, ledger: GapLedger, stream: str) -> None:
        self._ledger = ledger
        self._stream = stream

    def of_connection(self, number: int) -> StreamGaps:
        """Return the door for one of several connections of the stream, counted from 1; the first has its name."""
        return self if number == 1 else StreamGaps(self._ledger, f"{self._stream} {number}")

    def opened(self, *, started: int, reason: str) -> None:
        """Begin a gap; one that lasts already stays as it is."""
        self._ledger.opened(self._stream, started=started, reason=reason)

    @property
    def count(self) -> int:
        """How many gaps of this stream there have been."""
        return self._ledger.counts[self._stream]

    def closed(
        self, *, ended: int, resumed: Mapping[tuple[Kind, str], bool] | None = None, is_all: bool = False
    ) -> None:
        """End the gap that lasts, if one does; see `GapLedger.closed`."""
        self._ledger.closed(self._stream, ended=ended, resumed=resumed, is_all=is_all)


def _parts(gap: Gap, resumed: Mapping[tuple[Kind, str], bool]) -> list[Gap]:
    """The lines of kinds that were filled, and of symbols that were not."""
    parts: list[Gap] = []
    for kind in sorted({kind for kind, _ in resumed}):
        stream = f"{gap.stream} {kind}"
        missing = sorted(symbol for (each, symbol), is_filled in resumed.items() if each == kind and not is_filled)
        some_filled = any(is_filled for (each, _), is_filled in resumed.items() if each == kind)
        if some_filled:
            parts.append(replace(gap, stream=stream, filled=True))
        if len(missing) > MAX_LINES:
            missing = [f"{len(missing):,} symbols"]
        reason = f"{gap.reason}; the broker's past does not reach back so far"
        parts += [replace(gap, stream=stream, symbol=symbol, reason=reason) for symbol in missing]
    return parts


def _times(nanoseconds: list[int]) -> pd.api.extensions.ExtensionArray:
    return pd.array(np.array(nanoseconds, dtype="int64"), dtype=pd.DatetimeTZDtype("ns", "UTC"))
