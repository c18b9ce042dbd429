"""Backfill of trades that were missed while a stream was interrupted: requested over HTTP and inserted in order.

A trade gap is the trades of one symbol that are missing between two known ones. Until it is filled, or for 15 seconds
at most, the frames with that symbol show no new rows, so that rows stay in order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import pandas as pd

from aries_nb.brokers import Broker
from aries_nb.errors import FeedError
from aries_nb.live.market.reference import MarketReference
from aries_nb.model import MISSING, Checkpoint, Checkpointed, Kind, TradeGap, Values
from aries_nb.net.events.answers import Get, Reply, Requests, UnwantedError
from aries_nb.net.events.arrivals import Arrivals
from aries_nb.net.http_client import HttpClient
from aries_nb.net.intake import Route
from aries_nb.store import RollingFrame, StreamGaps

__all__ = ["GapFill"]

log = logging.getLogger("aries_nb")

HOLD_NS = 15_000_000_000  # of market time
MOST_WAITING = 1_000  # trade gaps; further ones are not filled

_Span: TypeAlias = tuple[str, tuple[int, int], tuple[int, int]]
_Key: TypeAlias = tuple[int, Kind, str]  # the number of a gap in the gap log, and the kind and symbol that were missed


class _WaitingFrame(NamedTuple):
    """A rolling frame that shows no new rows until the trades that it missed in a gap are inserted (backfill).

    `number` is that of its backfill (`RollingFrame.begin_backfill`), `code` the symbol's position in the frame.
    """

    tape: RollingFrame
    number: int
    code: int

    def release(self, _instant: int) -> None:
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


class GapFill(Checkpointed):
    """Requests missing trades over HTTP and inserts them into rolling frames, one trade gap after the other.

    A trade gap is the missing trades of one symbol. `lookups` returns lookups whose requests are made with the function
    that it is given, `get` makes them. `report` is called with a text when a request fails. Used on the network's
    thread only.
    """

    def __init__(
        self, lookups: Callable[[Get], MarketReference], get: Get, arrivals: Arrivals, report: Callable[[str], None]
    ) -> None:
        self._report = report
        self._lookups, self._get = lookups, get
        self._arrivals = arrivals
        self._asked: dict[_Span, list[_Fill]] = {}  # the trade gaps that wait for one answer
        self._open: dict[_Key, list[bool | None]] = {}  # whether each part was filled

    @classmethod
    def of(cls, http: HttpClient, broker: Broker, arrivals: Arrivals, report: Callable[[str], None]) -> GapFill:
        """Return one that asks a broker for its trades."""
        lookups = lambda get: MarketReference(Requests(http.base, get), broker.lookup, arrivals.clock)  # noqa: E731
        return cls(lookups, http.get, arrivals, report)

    def start(self, hole: TradeGap, streams: Sequence[Route], gaps: StreamGaps) -> None:
        """Stop showing new rows in the rolling frames of `streams`, and request the missing trades; returns at once.

        The frames show rows again once the trades are inserted, after 15 s of market time at most. `gaps` is the
        stream's part of the gap log, which notes a gap whose trades were all inserted. Does nothing where 1,000 gaps
        are waiting, or no stream fills a rolling frame.
        """
        frames = [(stream.sink, stream.code) for stream in streams if isinstance(stream.sink, RollingFrame)]
        if sum(map(len, self._asked.values())) >= MOST_WAITING or not frames:
            return
        waiting = [_WaitingFrame(frame, frame.begin_backfill(), code) for frame, code in frames]
        job = _Fill(hole, waiting, gaps, gaps.newest)
        self._open.setdefault(job.key, []).append(None)
        for each in waiting:
            self._arrivals.timer.at(self._arrivals.now + HOLD_NS, each.release)
        span = _span(hole)
        jobs = self._asked.setdefault(span, [])
        jobs.append(job)
        if len(jobs) > 1:
            return  # another frame with the same gap has asked
        symbol, after, before = span
        self._arrivals.answers.ask(
            "trades",
            f"{symbol} {after[1]} {before[1]}",
            self._get,
            lambda get, _: self._requested(hole, get),
            lambda reply: self._take(span, reply),
            lane="trades",
            is_wanted=lambda: any(each.is_waited_for for each in jobs),
        )

    def _take(self, span: _Span, reply: Reply[pd.DataFrame]) -> None:
        """Insert the trades of a reply into all frames that miss them."""
        trades: pd.DataFrame | None = None
        try:
            trades = reply.value()
        except UnwantedError:
            pass
        except FeedError as error:
            problem = f"trades of {span[0]} could not be backfilled over HTTP: {error}"
            self._report(problem)
            log.warning("%s", problem)
        # The same trades have the same numbers in every frame.
        seq = 0 if trades is None else self._arrivals.take(len(trades))
        for job in self._asked.pop(span):
            self._fill(job, trades, reply.received, seq)

    def _fill(self, job: _Fill, trades: pd.DataFrame | None, received: int, seq: int) -> None:
        """Insert the missing trades into the frames that wait for them, and show their rows again.

        `trades` is None if they could not be requested: nothing is inserted then. The gap log notes the gap as filled
        once all trade gaps of that interruption and symbol are.
        """
        rows = None if trades is None else [_rows(frame, trades) for frame in job.frames]
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

    def restart(self) -> None:
        """Wait for no answers, because a replay begins anew."""
        self._asked.clear()
        self._open.clear()

    def noted(self, counted: object = None) -> Checkpoint | None:  # noqa: ARG002
        """Return what a recording notes of it: that it waits for nothing; None while it does."""
        return None if self._asked or self._open else {}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Wait for no answers: a replay has no checkpoint while any is waited for."""
        super().resume(checkpoint)
        self.restart()

    # The thread that requests.

    def _requested(self, hole: TradeGap, get: Get) -> pd.DataFrame:
        """Return the trades within a trade gap as a DataFrame, in order. Blocks. Raises FeedError."""
        after, before = hole.after, hole.before
        # The request is in whole milliseconds, both ends included; trade ids decide which trades lie within.
        start, end = pd.Timestamp(after[0], tz="UTC"), pd.Timestamp(before[0] + 1_000_000, tz="UTC")
        trades = self._lookups(get).trades(hole.subscription.symbol, None, start=start.floor("ms"), end=end)
        keys = list(zip(_nanoseconds(trades), trades["trade_id"].tolist(), strict=True))
        return trades[[after < key < before for key in keys]]


def _span(hole: TradeGap) -> _Span:
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
