"""Latency of rows: from the exchange to receipt, from receipt to visible in a frame, from receipt to painted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.model import RecordBuffer
from aries_nb.model.clock import wall_ns

__all__ = ["MOST_SAMPLES", "LatencySamples", "Percentiles", "exchange_lags", "percentiles"]

MOST_SAMPLES = 1_000  # samples of each kind
LEAST_AHEAD_NS = 5_000_000_000
PAINTED_NS = 60_000_000_000  # frames painted longer ago than a minute do not count

Times: TypeAlias = Sequence[int] | NDArray[np.int64]


class Percentiles(NamedTuple):
    """Median and 99th percentile in milliseconds, NaN without samples, and the number of samples."""

    p50_ms: float
    p99_ms: float
    samples: int


class LatencySamples:
    """The newest latencies of one store, or of all stores of a connection.

    `whole` is the object of the connection, which gets each sample of a store as well; None in itself. The network's
    thread calls `published`, `visible` and `interrupted`, the thread that gets the browser's answers calls `painted`;
    any thread reads. `clock` returns the current market time in ns since the epoch, and is readable as `now_ns`.
    """

    def __init__(self, clock: Callable[[], int] = wall_ns) -> None:
        self.now_ns = clock
        self.whole: LatencySamples | None = None
        self.newest = 0  # time of receipt of the newest record, ns since the epoch; 0 before the first
        self.since = 0  # time of receipt of the first record since the start or the last break
        self.is_past = False  # while records come that others could read before: they are not late
        self._is_broken = True
        self._received: deque[tuple[int, int]] = deque(maxlen=MOST_SAMPLES)  # exchange time and receipt
        self._visible: deque[int] = deque(maxlen=MOST_SAMPLES)
        self._painted: deque[tuple[int, int]] = deque(maxlen=MOST_SAMPLES)  # time, and latency since receipt

    def published(self, buffer: RecordBuffer) -> None:
        """Note that the records in the buffer, at least one, can be read from now on; adds one sample of each step.

        To be called before the buffer is cleared. Ends the effect of `interrupted`.
        """
        marks = buffer.marks
        ts = buffer.blocks[-1].ts if buffer.blocks else buffer.ts
        self.computed(ts[-1], marks[0][1], marks[-1][1])

    def computed(self, ts: int, first: int, last: int) -> None:
        """Note that rows received from `first` to `last` can be read from now on; `ts` is the last one's, all in ns."""
        lag = self.now_ns() - first  # of the oldest record; the others waited less
        self.newest = last
        if self._is_broken:
            self._is_broken = False
            self.since = first
        if not self.is_past:
            self._received.append((ts, last))
            self.visible(lag)

    def interrupted(self) -> None:
        """Note that the stream broke: the next records may be past ones.

        `since` becomes the time of receipt of the first of them.
        """
        self._is_broken = True

    def visible(self, lag: int) -> None:
        """Add one sample: how long after its receipt a record could be read, in ns."""
        self._visible.append(lag)
        if self.whole is not None:
            self.whole.visible(lag)

    def painted(self, received: int, at: int) -> None:
        """Add one sample: a row that was received at time `received` was painted at time `at` (ns, by `now_ns`)."""
        self._painted.append((at, at - received))
        if self.whole is not None:
            self.whole.painted(received, at)

    def received_percentiles(self) -> Percentiles:
        """Return median and 99th percentile of the time from exchange time to receipt, in ms; NaN without a sample.

        One sample a publish (records made visible together), that of its newest record; the newest 1,000 samples,
        without past data that the stream sent after an interruption.
        """
        samples = list(self._received)
        return percentiles(exchange_lags([ts for ts, _ in samples], [at for _, at in samples], since=self.since))

    def visible_percentiles(self) -> Percentiles:
        """Return median and 99th percentile of the time from receipt until a record can be read, in ms.

        One sample a publish (records made visible together), that of its oldest record; the newest 1,000 samples. NaN
        before the first.
        """
        return percentiles(list(self._visible))

    def painted_percentiles(self) -> Percentiles:
        """Return median and 99th percentile of the time from receipt until the browser has painted a row, in ms.

        One sample, that of the newest row, for each update of a view that was painted in the last minute, of the newest
        1,000; NaN without any.
        """
        oldest = self.now_ns() - PAINTED_NS
        return percentiles([lag for at, lag in list(self._painted) if at >= oldest])

    def frame(self, received: Percentiles) -> pd.DataFrame:
        """Return the latencies as a DataFrame: a row each from the exchange to receipt, to visible, to painted.

        `received` has the percentiles of the first step. Index `lag`, the name of the step; columns `p50_ms`, `p99_ms`
        and `samples`.
        """
        steps = {
            "exchange to received": received,
            "received to visible": self.visible_percentiles(),
            "received to painted": self.painted_percentiles(),
        }
        index = pd.Index(list(steps), name="lag", dtype="str")
        return pd.DataFrame(list(steps.values()), columns=pd.Index(Percentiles._fields), index=index)


def exchange_lags(ts: Times, received: Times, *, since: int) -> NDArray[np.int64]:
    """Return the times from exchange time to receipt in ns, without rows of the past: those from before `since`.

    `ts` and `received` are the two times of each row, and `since` is a time of receipt, all in ns since the epoch. Rows
    that the broker sends from its history are not late. The lags are differences of two clocks as they are, so they may
    be negative. Rows from more than five seconds ahead, with a wrong time, are left out,
    unless all are. Which others are does not depend on the clocks' offset: each lag is compared with the smallest.
    """
    at: NDArray[np.int64] = np.asarray(received, "int64")
    lags: NDArray[np.int64] = at - np.asarray(ts, "int64")
    is_possible = lags >= -LEAST_AHEAD_NS
    if is_possible.any():
        at, lags = at[is_possible], lags[is_possible]
    is_late: NDArray[np.bool_] = lags - lags.min(initial=np.iinfo(np.int64).max) <= at - since
    return lags[is_late]


def percentiles(lags: Times) -> Percentiles:
    """Return the median and the 99th percentile, in ms, of latencies given in ns; NaN without any."""
    if not len(lags):
        return Percentiles(float("nan"), float("nan"), 0)
    p50, p99 = np.percentile(np.asarray(lags, "int64"), (50, 99)) / 1e6
    return Percentiles(round(float(p50), 3), round(float(p99), 3), len(lags))
