"""Backfill of trades that were missed while a stream was interrupted: requested over HTTP and inserted in order.

A trade gap is the trades of one symbol that are missing between two known ones. Until it is filled, or for 15 seconds
at most, the frames with that symbol show no new rows, so that rows stay in order.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import pandas as pd

from aries_nb.errors import FeedError
from aries_nb.live.market.reference import MarketReference
from aries_nb.model import MISSING, Kind, TradeGap, Values
from aries_nb.net.background import on_network, on_network_later, run_on_thread
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.intake import Route
from aries_nb.store import RollingFrame, StreamGaps

__all__ = ["GapFill"]

log = logging.getLogger("aries_nb")

HOLD_SECONDS = 15.0
MOST_WAITING = 1_000  # trade gaps; further ones are not filled

_Key: TypeAlias = tuple[int, Kind, str]  # the number of a gap in the gap log, and the kind and symbol that were missed


class _WaitingFrame(NamedTuple):
    """A rolling frame that shows no new rows until the trades that it missed in a gap are inserted (backfill).

    `number` is that of its backfill (`RollingFrame.begin_backfill`), `code` the symbol's position in the frame.
    """

    tape: RollingFrame
    number: int
    code: int

    def release(self) -> None:
        """Show the frame's new rows without the missing trades; does nothing if these were inserted meanwhile.

        Other backfills of the frame that are in progress still hold them back as `RollingFrame.begin_backfill` says.
        The network's thread only.
        """
        self.tape.backfill(self.number, [], 0)


class _Fill(NamedTuple):
    """A trade gap (missing trades of one symbol) and the frames that wait for its trades.

    `gaps` is the stream's part of the gap log, `gap` the number in that log of the interruption that caused it.
    """

    hole: TradeGap
    frames: Sequence[_WaitingFrame]
    gaps: StreamGaps
    gap: int

    @property
    def is_waited_for(self) -> bool:
        return any(frame.tape.is_backfilling for frame in self.frames)

    @property
    def key(self) -> _Key:
        return self.gap, self.hole.subscription.kind, self.hole.subscription.symbol


class GapFill:
    """Requests missing trades over HTTP and inserts them into rolling frames, one trade gap after the other.

    A trade gap is the missing trades of one symbol. Requests are made on a thread that runs while there are any.
    `report` is called with a text when one fails.
    """

    def __init__(self, reference: MarketReference, arrivals: Arrivals, report: Callable[[str], None]) -> None:
        self._report = report
        self._reference = reference
        self._arrivals = arrivals
        self._jobs: list[_Fill] = []
        self._is_working = False
        self._guard = threading.Lock()  # of these two
        self._latest: tuple[TradeGap, pd.DataFrame] | None = None  # used by that thread
        self._numbered: tuple[pd.DataFrame, int] | None = None  # network's thread
        self._open: dict[_Key, list[bool | None]] = {}  # network's thread: whether each part was filled

    # The network's thread.

    def start(self, hole: TradeGap, streams: Sequence[Route], gaps: StreamGaps) -> None:
        """Stop showing new rows in the rolling frames of `streams`, and queue the trade gap `hole`; returns at once.

        The frames show rows again once the trades are inserted, after 15 s at most. `gaps` is the stream's part of the
        gap log, which notes a gap whose trades were all inserted. Does nothing where 1,000 gaps are waiting, or no
        stream fills a rolling frame. The network's thread only.
        """
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
            on_network_later(HOLD_SECONDS, each.release)
        if must_begin:
            run_on_thread(self._work, name="aries-nb-gap-fill")

    def _fill(self, job: _Fill, trades: pd.DataFrame | None) -> None:
        """Insert the missing trades into the frames that wait for them, and show their rows again.

        `trades` is None if they could not be requested: nothing is inserted then. The gap log notes the gap as filled
        once all trade gaps of that interruption and symbol are. The network's thread only.
        """
        rows = None if trades is None else [_rows(frame, trades) for frame in job.frames]
        received = self._arrivals.clock.now_ns()
        seq = 0 if trades is None else self._first_number(trades)
        done = [
            frame.tape.backfill(frame.number, [] if rows is None else rows[at], received, seq=seq)
            for at, frame in enumerate(job.frames)
        ]
        ends = self._open[job.key]
        ends[ends.index(None)] = trades is not None and all(done)
        if None not in ends:
            del self._open[job.key]
            if all(ends) and trades is not None:
                job.gaps.log.filled(*job.key, count=len(trades))

    def _first_number(self, trades: pd.DataFrame) -> int:
        """The arrival number of the first of these trades; the same in every frame that they are inserted into."""
        if self._numbered is None or self._numbered[0] is not trades:
            self._numbered = trades, self._arrivals.take(len(trades))
        return self._numbered[1]

    # The thread that requests.

    def _work(self) -> None:
        while True:
            with self._guard:
                if not self._jobs:
                    self._is_working, self._latest = False, None
                    return
                job = self._jobs.pop(0)
            trades: pd.DataFrame | None = None
            try:
                trades = self._requested(job.hole) if job.is_waited_for else None
            except FeedError as error:
                problem = f"trades of {job.hole.subscription.symbol} could not be backfilled over HTTP: {error}"
                self._report(problem)
                log.warning("%s", problem)
            except Exception:  # the border of the thread
                log.exception("the backfill of trades failed")
            on_network(lambda job=job, trades=trades: self._fill(job, trades))  # type: ignore[misc]

    def _requested(self, hole: TradeGap) -> pd.DataFrame:
        """Return the trades within a trade gap as a DataFrame, in order. Blocks. Raises FeedError."""
        if self._latest is not None and _span(hole) == _span(self._latest[0]):
            return self._latest[1]  # another frame with the same gap
        after, before = hole.after, hole.before
        # The request is in whole milliseconds, both ends included; trade ids decide which trades lie within.
        start, end = pd.Timestamp(after[0], tz="UTC"), pd.Timestamp(before[0] + 1_000_000, tz="UTC")
        trades = self._reference.trades(hole.subscription.symbol, None, start=start.floor("ms"), end=end)
        keys = list(zip(_nanoseconds(trades), trades["trade_id"].tolist(), strict=True))
        trades = trades[[after < key < before for key in keys]]
        self._latest = hole, trades
        return trades


def _span(hole: TradeGap) -> tuple[str, tuple[int, int], tuple[int, int]]:
    return hole.subscription.symbol, hole.after, hole.before


def _rows(frame: _WaitingFrame, trades: pd.DataFrame) -> list[tuple[int, int, Values]]:
    columns = [
        ["history"] * len(trades)
        if column.name == "source"
        else trades[column.name].tolist()
        if column.name in trades
        else [MISSING[column.type]] * len(trades)
        for column in frame.tape.columns
    ]
    rows = zip(*columns, strict=True)
    return [(frame.code, ts, values) for ts, values in zip(_nanoseconds(trades), rows, strict=True)]


def _nanoseconds(trades: pd.DataFrame) -> list[int]:
    return list(trades.index.astype("datetime64[ns, UTC]").astype("int64"))
