"""How long rows take: from the exchange to receipt, from there until they can be read, and until they are painted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aries_nb.model import Inbox

__all__ = ["MOST_SAMPLES", "LatencySamples", "Percentiles", "exchange_lags", "percentiles"]

MOST_SAMPLES = 1_000  # the newest so many of each
PAINTED_NS = 60_000_000_000  # painted is what was painted in the last minute, or nothing

Times: TypeAlias = Sequence[int] | NDArray[np.int64]


class Percentiles(NamedTuple):
    """Half of the samples are at most `p50_ms`, all but one in a hundred at most `p99_ms`; NaN where there are none."""

    p50_ms: float
    p99_ms: float
    samples: int


class LatencySamples:
    """The newest lags of one store, or of all stores of a connection (`whole`, told of each sample as well).

    The network's thread calls `published`, `visible` and `interrupted`, whoever hears the browser `painted`; any reads.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self.whole: LatencySamples | None = None
        self.newest = 0  # when the newest record was received, ns since the epoch; 0 before the first
        self.since = 0  # when the first record after the beginning, or after the last break, was received
        self._is_broken = True
        self._received: deque[tuple[int, int]] = deque(maxlen=MOST_SAMPLES)  # exchange time and receipt
        self._visible: deque[int] = deque(maxlen=MOST_SAMPLES)
        self._painted: deque[tuple[int, int]] = deque(maxlen=MOST_SAMPLES)  # when, and how long after receipt

    def published(self, inbox: Inbox) -> None:
        """Note that what is in the inbox can be read from now on; there must be something."""
        marks = inbox.marks
        lag = self._clock() - marks[0][1]  # of the oldest: the others waited less
        self.newest = marks[-1][1]
        if self._is_broken:
            self._is_broken = False
            self.since = marks[0][1]
        self._received.append((inbox.ts[-1], self.newest))
        self.visible(lag)

    def interrupted(self) -> None:
        """Note that the stream broke: what comes next may be old."""
        self._is_broken = True

    def visible(self, lag: int) -> None:
        """Note how long after its receipt a record can be read, in ns."""
        self._visible.append(lag)
        if self.whole is not None:
            self.whole.visible(lag)

    def painted(self, received: int, at: int) -> None:
        """Note that a row received at one time was painted at another (ns since the epoch)."""
        self._painted.append((at, at - received))
        if self.whole is not None:
            self.whole.painted(received, at)

    def received_percentiles(self) -> Percentiles:
        """From the exchange to receipt, of the newest record of each time that some became visible."""
        told = list(self._received)
        return percentiles(exchange_lags([ts for ts, _ in told], [at for _, at in told], since=self.since))

    def visible_percentiles(self) -> Percentiles:
        """From receipt until it could be read, of the oldest record of each time that some became visible."""
        return percentiles(list(self._visible))

    def painted_percentiles(self) -> Percentiles:
        """From receipt until the browser had painted it, of the newest row of each frame answered in a minute."""
        oldest = self._clock() - PAINTED_NS
        return percentiles([lag for at, lag in list(self._painted) if at >= oldest])

    def frame(self, received: Percentiles) -> pd.DataFrame:
        """All three steps as a DataFrame; the first as given."""
        steps = {
            "exchange to received": received,
            "received to visible": self.visible_percentiles(),
            "received to painted": self.painted_percentiles(),
        }
        index = pd.Index(list(steps), name="lag", dtype="str")
        return pd.DataFrame(list(steps.values()), columns=pd.Index(Percentiles._fields), index=index)


def exchange_lags(ts: Times, received: Times, *, since: int) -> NDArray[np.int64]:
    """From exchange time to receipt, in ns, without what had happened before `since`: rows of the past are not late.

    By the two clocks as they are, so it may be negative. How they stand to each other is no part of the choice: that
    compares each lag with the least.
    """
    at: NDArray[np.int64] = np.asarray(received, "int64")
    lags: NDArray[np.int64] = at - np.asarray(ts, "int64")
    is_late: NDArray[np.bool_] = lags - lags.min(initial=np.iinfo(np.int64).max) <= at - since
    return lags[is_late]


def percentiles(lags: Times) -> Percentiles:
    """The percentiles of lags in ns."""
    if not len(lags):
        return Percentiles(float("nan"), float("nan"), 0)
    p50, p99 = np.percentile(np.asarray(lags, "int64"), (50, 99)) / 1e6
    return Percentiles(round(float(p50), 3), round(float(p99), 3), len(lags))
