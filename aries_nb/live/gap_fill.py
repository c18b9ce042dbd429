"""Trades that a break has left out and the stream cannot tell: asked for over HTTP, and put in before what came since.

Until they are there, or fifteen seconds are over, the frames that lack them show nothing new: rows stay in order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import pandas as pd

from aries_nb.errors import FeedError
from aries_nb.live.market.reference import MarketReference
from aries_nb.model import MISSING, Kind, TradeGap, Values
from aries_nb.net.background import on_network, on_network_later, run_on_thread
from aries_nb.net.intake import Route
from aries_nb.store import RollingFrame, StreamGaps

__all__ = ["GapFill"]

log = logging.getLogger("aries_nb")

HOLD_SECONDS = 15.0
MOST_WAITING = 1_000  # holes; of more, the later ones are not filled

_Key: TypeAlias = tuple[int, Kind, str]  # the number of a gap, and what is missing in it


class _WaitingFrame(NamedTuple):
    """A frame that waits for what is missing: `number` is that of its hole, `code` the symbol's there."""

    tape: RollingFrame
    number: int
    code: int

    def let_go(self) -> None:
        """Wait no longer, if it still does."""
        self.tape.backfill(self.number, [], 0)


class _Fill(NamedTuple):
    """A hole in some frames; `gap` is the number of the one that it is in."""

    hole: TradeGap
    held: Sequence[_WaitingFrame]
    gaps: StreamGaps
    gap: int

    @property
    def is_waited_for(self) -> bool:
        return any(held.tape.is_backfilling for held in self.held)

    @property
    def key(self) -> _Key:
        return self.gap, self.hole.subscription.kind, self.hole.subscription.symbol


class GapFill:
    """Fills holes one after the other, on a thread of its own while there are any."""

    def __init__(self, reference: MarketReference) -> None:
        self._reference = reference
        self._jobs: list[_Fill] = []
        self._is_working = False
        self._guard = threading.Lock()  # of these two
        self._latest: tuple[TradeGap, pd.DataFrame] | None = None  # of the thread that works
        self._open: dict[_Key, list[bool | None]] = {}  # of the network's thread: how each of its holes ended

    # The network's thread.

    def start(self, hole: TradeGap, streams: Sequence[Route], gaps: StreamGaps) -> None:
        """Hold the frames of these streams, and have the hole filled; returns at once."""
        frames = [(stream.sink, stream.code) for stream in streams if isinstance(stream.sink, RollingFrame)]
        with self._guard:
            if len(self._jobs) >= MOST_WAITING or not frames:
                return
            waiting = [_WaitingFrame(frame, frame.begin_backfill(), code) for frame, code in frames]
            job = _Fill(hole, waiting, gaps, gaps.newest)
            self._jobs.append(job)
            must_begin, self._is_working = not self._is_working, True
        self._open.setdefault(job.key, []).append(None)
        for each in waiting:
            on_network_later(HOLD_SECONDS, each.let_go)
        if must_begin:
            run_on_thread(self._work, name="aries-nb-gap-fill")

    def _fill(self, job: _Fill, trades: pd.DataFrame | None) -> None:
        """Put what was missing into the frames, and let them go; with the last hole of a symbol, it is told."""
        rows = None if trades is None else [_rows(held, trades) for held in job.held]
        received = time.time_ns()
        done = [
            held.tape.backfill(held.number, [] if rows is None else rows[at], received)
            for at, held in enumerate(job.held)
        ]
        ends = self._open[job.key]
        ends[ends.index(None)] = trades is not None and all(done)
        if None not in ends:
            del self._open[job.key]
            if all(ends) and trades is not None:
                job.gaps.log.filled(*job.key, count=len(trades))

    # The thread that asks.

    def _work(self) -> None:
        while True:
            with self._guard:
                if not self._jobs:
                    self._is_working, self._latest = False, None
                    return
                job = self._jobs.pop(0)
            trades: pd.DataFrame | None = None
            try:
                trades = self._asked(job.hole) if job.is_waited_for else None
            except FeedError as error:
                log.warning("trades of %s could not be filled up over HTTP: %s", job.hole.subscription.symbol, error)
            except Exception:  # the border of the thread
                log.exception("refill")
            on_network(lambda job=job, trades=trades: self._fill(job, trades))  # type: ignore[misc]

    def _asked(self, hole: TradeGap) -> pd.DataFrame:
        """The trades that lie in a hole, in order."""
        if self._latest is not None and _span(hole) == _span(self._latest[0]):
            return self._latest[1]  # another frame with the same hole
        after, before = hole.after, hole.before
        # Whole milliseconds, the last included: which of them lie within is seen by their ids.
        start, end = pd.Timestamp(after[0], tz="UTC"), pd.Timestamp(before[0] + 1_000_000, tz="UTC")
        trades = self._reference.trades(hole.subscription.symbol, None, start=start.floor("ms"), end=end)
        keys = list(zip(_nanoseconds(trades), trades["trade_id"].tolist(), strict=True))
        trades = trades[[after < key < before for key in keys]]
        self._latest = hole, trades
        return trades


def _span(hole: TradeGap) -> tuple[str, tuple[int, int], tuple[int, int]]:
    return hole.subscription.symbol, hole.after, hole.before


def _rows(held: _WaitingFrame, trades: pd.DataFrame) -> list[tuple[int, int, Values]]:
    columns = [
        ["history"] * len(trades)
        if column.name == "source"
        else trades[column.name].tolist()
        if column.name in trades
        else [MISSING[column.type]] * len(trades)
        for column in held.tape.columns
    ]
    rows = zip(*columns, strict=True)
    return [(held.code, ts, values) for ts, values in zip(_nanoseconds(trades), rows, strict=True)]


def _nanoseconds(trades: pd.DataFrame) -> list[int]:
    return list(trades.index.astype("datetime64[ns, UTC]").astype("int64"))
