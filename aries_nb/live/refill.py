"""Trades that a break has left out and the stream cannot tell: asked for over HTTP, and put in before what came since.

Until they are there, or fifteen seconds are over, the frames that lack them show nothing new: rows stay in order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from aries_nb.errors import FeedError
from aries_nb.live.reference import MarketReference
from aries_nb.model import MISSING, Hole, Values
from aries_nb.net import Stream, on_network, run_aside
from aries_nb.store import StreamGaps, Tape

__all__ = ["Refill"]

log = logging.getLogger("aries_nb")

HOLD_SECONDS = 15.0
INSERT_SECONDS = 10.0
MOST_WAITING = 1_000  # holes; of more, the later ones are not filled


class _Held(NamedTuple):
    """A frame that waits for what is missing: `number` is that of its hole, `code` the symbol's there."""

    tape: Tape
    number: int
    code: int


class _Job(NamedTuple):
    hole: Hole
    held: Sequence[_Held]
    gaps: StreamGaps
    until: float  # monotonic


class Refill:
    """Fills holes one after the other, on a thread of its own while there are any."""

    def __init__(self, reference: MarketReference) -> None:
        self._reference = reference
        self._jobs: list[_Job] = []
        self._is_working = False
        self._guard = threading.Lock()  # of these two
        self._latest: tuple[Hole, pd.DataFrame] | None = None  # of the thread that works

    def heed(self, hole: Hole, streams: Sequence[Stream], gaps: StreamGaps) -> None:
        """Hold the frames of these streams, and have the hole filled. On the network's thread; returns at once."""
        with self._guard:
            if len(self._jobs) >= MOST_WAITING:
                return
            tapes = [(stream.sink, stream.code) for stream in streams]
            held = [_Held(tape, tape.hold(), code) for tape, code in tapes if isinstance(tape, Tape)]
            self._jobs.append(_Job(hole, held, gaps, time.monotonic() + HOLD_SECONDS))
            must_begin, self._is_working = not self._is_working, True
        if must_begin:
            run_aside(self._work, name="aries-nb-refill")

    def _work(self) -> None:
        while True:
            with self._guard:
                if not self._jobs:
                    self._is_working, self._latest = False, None
                    return
                job = self._jobs.pop(0)
            trades: pd.DataFrame | None = None
            try:
                trades = self._asked(job)
            except FeedError as error:
                log.warning("trades of %s could not be filled up over HTTP: %s", job.hole.subscription.symbol, error)
            except Exception:  # the border of the thread: the frames must not be held for ever
                log.exception("refill")
            self._fill(job, trades)

    def _asked(self, job: _Job) -> pd.DataFrame | None:
        """The trades that lie in the hole, in order; None where it is too late."""
        if time.monotonic() >= job.until:
            return None
        if self._latest is not None and _span(job.hole) == _span(self._latest[0]):
            return self._latest[1]  # another frame with the same hole
        after, before = job.hole.after, job.hole.before
        # Whole milliseconds, the last included: which of them lie within is seen by their ids.
        start, end = pd.Timestamp(after[0], tz="UTC"), pd.Timestamp(before[0] + 1_000_000, tz="UTC")
        trades = self._reference.trades(job.hole.subscription.symbol, None, start=start.floor("ms"), end=end)
        keys = list(zip(_nanoseconds(trades), trades["trade_id"].tolist(), strict=True))
        trades = trades[[after < key < before for key in keys]]
        self._latest = job.hole, trades
        return trades

    def _fill(self, job: _Job, trades: pd.DataFrame | None) -> None:
        filled = [self._put(held, trades, is_late=time.monotonic() >= job.until) for held in job.held]
        if trades is not None and all(filled):
            job.gaps.filled(job.hole.subscription.kind, job.hole.subscription.symbol, count=len(trades))

    def _put(self, held: _Held, trades: pd.DataFrame | None, *, is_late: bool) -> bool:
        """Put trades into one frame, and let it go; whether they are in it."""
        rows = [] if trades is None or is_late else _rows(held, trades)
        received = time.time_ns()
        is_put = on_network(lambda: held.tape.fill(held.number, rows, received)).result(INSERT_SECONDS)
        return is_put and not is_late


def _span(hole: Hole) -> tuple[str, tuple[int, int], tuple[int, int]]:
    return hole.subscription.symbol, hole.after, hole.before


def _rows(held: _Held, trades: pd.DataFrame) -> list[tuple[int, int, Values]]:
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
