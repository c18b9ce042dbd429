"""The running bar while some of its trades were missed: joins the broker's bar so far with the live trades.

An answer of the history has the volume of the bar so far, but does not say up to which trade. The volume before the
first live trade, called the base, is the same in every answer. Each answer allows only the bases that result from a cut
somewhere among the live trades received around it; after a few answers a single base is left that all of them allow.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.errors import FeedError
from aries_nb.model import BarPage
from aries_nb.model.clock import MOST_AHEAD_NS, Clock
from aries_nb.store import RollingFrame
from aries_nb.store.bars import BarSeries

__all__ = ["BarJoin", "CurrentBar", "HistoryBar", "LiveTrades", "Trades", "counted", "nanoseconds", "trades_in"]

log = logging.getLogger("aries_nb")

SECOND = 1_000_000_000
PAUSE_NS, MOST_PAUSE_NS = SECOND, 60 * SECOND
DIGITS = 6  # decimals of a volume, so that sums of fractions compare equal
AGREEING = 2  # answers that must agree on a base where more than one cut was possible


class Asked(Protocol):
    """What `CurrentBar` asks the broker's history for."""

    @property
    def symbol(self) -> str:
        """The instrument."""

    def start_of(self, ts: int) -> int:
        """Return the start of the bar that contains the time `ts`; both in ns since the epoch."""

    def request(self, start: int, end: int) -> Future[tuple[BarPage, int]]:
        """Request the bars that begin in [start, end), both in ns since the epoch; returns at once.

        The future has them and the time of their receipt, or a FeedError.
        """


class Trades(NamedTuple):
    """Trades as arrays of one length: exchange time and receipt in ns since the epoch, prices, sizes."""

    ts: NDArray[np.int64]
    received: NDArray[np.int64]
    prices: NDArray[np.float64]
    sizes: NDArray[np.float64]

    def where(self, chosen: NDArray[Any]) -> Trades:
        """Return the trades for which `chosen` is true, or those at its positions, in their order."""
        return Trades(self.ts[chosen], self.received[chosen], self.prices[chosen], self.sizes[chosen])

    def listed(self) -> Iterator[tuple[int, float, float]]:
        """Iterate over the trades as exchange time, price, size."""
        return zip(self.ts.tolist(), self.prices.tolist(), self.sizes.tolist(), strict=True)


def trades_in(frame: pd.DataFrame) -> Trades:
    """Return the rows of a frame of trades that count in bars: those with a price and a plausible time.

    A time is plausible up to five minutes after the receipt. A missing size counts as 0; a print of size 0 is no trade.
    """
    ts, received = nanoseconds(frame.index), nanoseconds(frame["received"])
    return counted(Trades(ts, received, frame["price"].to_numpy("float64"), frame["size"].to_numpy("float64")))


def nanoseconds(times: pd.Index[Any] | pd.Series[Any]) -> NDArray[np.int64]:
    """Return times in ns since the epoch."""
    return times.to_numpy(dtype="datetime64[ns]").astype("int64")


def counted(trades: Trades) -> Trades:
    """Return those of the trades that count in bars, as `trades_in` does."""
    ts, received, prices, sizes = trades
    rows = trades._replace(sizes=np.nan_to_num(sizes, nan=0.0))
    return rows.where((ts <= received + MOST_AHEAD_NS) & ~np.isnan(prices) & ~(sizes <= 0))


class HistoryBar(NamedTuple):
    """The running bar as one answer of the history has it; `close` is NaN where the history had no such bar.

    It was requested at `asked` and received at `answered`, ns since the epoch by our clock. `volume` is in the
    history's unit.
    """

    asked: int
    answered: int
    close: float
    volume: float


class LiveTrades(NamedTuple):
    """The live trades of the running bar as arrays, in the order of arrival; `received` in ns since the epoch."""

    received: NDArray[np.int64]
    prices: NDArray[np.float64]
    sizes: NDArray[np.float64]


class BarJoin:
    """Finds the base of one running bar: the volume that the history counts before the first live trade.

    `lag_ns` is the largest difference in delay between the history and the live trades. Assumed: the close is the price
    of the last trade counted, and the history counts every trade in the order in which the live trades arrive. Where
    this does not hold, answers contradict each other and there is no base. Used by one thread.
    """

    def __init__(self, *, lag_ns: int) -> None:
        self._lag_ns = lag_ns
        self._bases: set[float] | None = None
        self._answers = 0

    def add(self, answer: HistoryBar, trades: LiveTrades) -> float | None:
        """Take one answer of the history; return the bar's volume before the first live trade if one is possible only.

        Returns None where several are, where a second answer must confirm it, and where the answers contradict each
        other: then the earlier ones are discarded. Volumes are in the history's unit. `trades` are all from the first
        live trade to `lag_ns` after the answer. The answer must have been requested `lag_ns` after the first live trade
        could arrive, or later.
        """
        first = int(np.searchsorted(trades.received, answer.asked - self._lag_ns))
        last = int(np.searchsorted(trades.received, answer.answered + self._lag_ns, side="right"))
        counted = np.concatenate([[0.0], trades.sizes.cumsum()])[first : last + 1]
        # Only live trades have a price to compare; before the first of them any close fits.
        prices = np.concatenate([[math.nan], trades.prices])[first : last + 1]
        is_close = (prices == answer.close) | np.isnan(prices) | math.isnan(answer.close)
        left = np.round(answer.volume - counted[is_close], DIGITS)
        bases = set(left[left >= 0].tolist())
        self._answers += 1
        self._bases = bases if self._bases is None else self._bases & bases
        if not self._bases:  # the answer was older than the others, or counts other trades than we do: start again
            self._bases, self._answers = bases or None, min(len(bases), 1)
            return None
        is_sure = len(self._bases) == 1 and (first == last or self._answers >= AGREEING)
        return next(iter(self._bases)) if is_sure else None


class _Request(NamedTuple):
    asked: int
    future: Future[tuple[BarPage, int]]  # the reply, and the time of its receipt


class CurrentBar:
    """Completes the running bar while trades of it were missed: joins the broker's bar so far with the live trades.

    It requests the broker's bar every few seconds, then more rarely, down to once a minute, and stops once the replies
    leave only one way to join them. While a backfill (insertion of missed
    trades) is in progress nothing is requested; after it, earlier replies are discarded, and only later trades are
    used. `clock` is market time, `tape` has the live trades, `series` is the series of bars that it writes to,
    `history` requests the broker's bars. `lag_ns` is the largest difference in delay between the broker's history and
    its live trades, `margin_ns` that between the broker's clock and this computer's. Used by one thread, that which
    updates the bars. All times are market time.
    """

    def __init__(
        self, tape: RollingFrame, series: BarSeries, history: Asked, clock: Clock, *, lag_ns: int, margin_ns: int
    ) -> None:
        self._clock = clock
        self._tape = tape
        self._series = series
        self._history = history
        self._lag_ns = lag_ns
        self._margin_ns = margin_ns
        self._start = 0
        self._asked: tuple[HistoryBar, BarPage] | None = None
        self._request: _Request | None = None
        self._ask_at = 0
        self._was_held = False
        self.restart(0)

    def restart(self, first: int) -> None:
        """Discard all replies, and use only the live trades from number `first` of the rolling frame on.

        The caller must know that none of the trades from there on is missing.
        """
        self._first = first
        self._since = self._clock.now_ns()
        self._turn_to(self._start)

    def look(self, now: int, end: int) -> None:
        """Use the last reply of the history if it has arrived, else request one when it is due; returns at once.

        To be called regularly by the thread that updates the bars. `now` is in ns since the epoch by this computer's
        clock. `end` is the number of the rolling frame's first trade that the bars have not counted; trades received
        until `now` must be below it.
        """
        if self._tape.is_backfilling:
            self._was_held = True
            return
        if self._was_held:
            self._was_held = False
            self.restart(self._tape.version)
        start = self._series.incomplete_running_bar(now)
        if start is None:
            return
        if start != self._start:
            self._turn_to(start)
        if self._request is not None and self._request.future.done():
            self._take(self._request)
        if self._request is not None:
            return
        if self._asked is not None:
            if now <= self._asked[0].answered + self._lag_ns or self._is_joined(*self._asked, end):
                return
            self._asked = None
        # A reply from right after the beginning may not count all earlier trades.
        if now > self._since + self._lag_ns and now >= self._ask_at:
            self._ask(start, now)

    def _turn_to(self, start: int) -> None:
        self._start = start
        self._join = BarJoin(lag_ns=self._lag_ns)
        self._asked = None
        self._request = None  # a pending request is dropped
        self._ask_at = 0
        self._pause = PAUSE_NS

    def _ask(self, start: int, now: int) -> None:
        self._ask_at = now + self._pause
        self._pause = min(2 * self._pause, MOST_PAUSE_NS)
        self._request = _Request(now, self._history.request(start, now + self._margin_ns))

    def _take(self, request: _Request) -> None:
        self._request = None
        try:
            bars, answered = request.future.result()
        except FeedError as error:
            log.warning("the running bar of %s stays an estimate for now: %s", self._history.symbol, error)
            return
        self._series.estimate(self._start, bars)
        at = bars.start_ns.index(self._start) if self._start in bars.start_ns else None
        bar = BarPage(*([] if at is None else column[at : at + 1] for column in bars[:-1]))  # type: ignore[arg-type]
        close, volume = (math.nan, 0.0) if at is None else (bar.close[0], bar.volume[0])
        self._asked = (HistoryBar(request.asked, answered, close, volume), bar)

    def _is_joined(self, answer: HistoryBar, bar: BarPage, end: int) -> bool:
        """Join the broker's `bar` with the live trades numbered below `end`, and return whether that was possible.

        `answer` is the reply with the bar, `bar` a page with it alone, or an empty one. It is possible once the replies
        together leave one trade only from which the live trades can continue the bar. Where needed trades have left the
        rolling frame, all replies are discarded (`restart`), and the result is False.
        """
        trades = self._trades(end)
        if trades is None:
            self.restart(end)
            return False
        base = self._join.add(answer, LiveTrades(*trades[1:]))
        if base is None:
            return False
        volume = base + float(trades.sizes.sum())
        trades = trades.where(np.argsort(trades.ts, kind="stable"))  # a late print is not the close
        self._series.join(self._start, bar, trades.prices.tolist(), volume, times=trades.ts.tolist())
        return True

    def _trades(self, end: int) -> Trades | None:
        """Return the live trades of the running bar that are numbered below `end` in the rolling frame.

        None where trades since the last restart have left the rolling frame.
        """
        frame, until = self._tape.frame_since(self._first)
        if until - self._first > len(frame):
            return None
        rows = trades_in(frame.iloc[: max(end - self._first, 0)])
        rows = rows.where(rows.ts >= self._start)
        if len(rows.ts) and self._history.start_of(int(rows.ts.max())) != self._start:  # the next one has begun
            starts = self._history.start_of
            rows = rows.where(np.array([starts(ts) == self._start for ts in rows.ts.tolist()], "bool"))
        return rows
