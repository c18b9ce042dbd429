"""Bars of any length from past and live trades, for the simulated ALOR's subscriptions and HTTP answers alike.

The past are the one-minute and daily bars of `History`, which end at the start of the server; later trades are merged
into one-second bars. A bar starts at a whole multiple of its length since the epoch, in UTC (ALOR's protocol page §6.2;
weeks start on Monday: assumed). An interval without trades has no bar (protocol page §15, U18). A past minute is not
divided: the first shorter bar that overlaps it contains all of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from aries_nb.sim.market.history import PAST_SESSIONS, Resolution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aries_nb.sim.alor.instruments import Security
    from aries_nb.sim.market.history import History

__all__ = ["LATEST", "Bar", "BarHistory", "bar_start", "merged", "read_timeframe"]

#: Start in Unix s, open, high, low, close, volume in lots.
Bar = tuple[int, float, float, float, float, float]

NS_PER_S = 1_000_000_000
DAY, WEEK = 86_400, 604_800
MONDAY = 4 * DAY  # 1970-01-01 was a Thursday
LETTERS = {"D": DAY, "W": WEEK, "M": 30 * DAY, "Y": 365 * DAY}
LONGEST_SECONDS = 365 * DAY
MOST_DIGITS = 12
#: Times later than this (the year 3000, Unix s) are replaced by it.
LATEST = 32_503_680_000
#: Past bars are read in periods of this length, so that a history of years neither blocks nor fills the memory.
STRETCH_SECONDS = 5 * DAY
#: Longer than the past of any share: its sessions in weeks, and two weeks more.
PAST_SECONDS = (PAST_SESSIONS // 5 + 2) * WEEK
MINUTES, DAYS = Resolution("minute", 1), Resolution("day", 1)


def read_timeframe(value: str | int) -> str | None:
    """Normalise a client's timeframe: return "D", "W", "M", "Y" or a number of seconds as text; None for anything else.

    A number of seconds that is the length of a letter becomes that letter: 86400 is "D", 30 days are "M".
    """
    text = str(value).strip().upper()
    if text in LETTERS:
        return text
    is_number = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
    if not is_number or not 0 < int(text) <= LONGEST_SECONDS:
        return None
    same = [letter for letter, seconds in LETTERS.items() if seconds == int(text)]
    return same[0] if same else str(int(text))


def bar_start(timeframe: str, stamp: float) -> int:
    """Return the start of the bar that contains `stamp`, both in Unix s; `timeframe` as `read_timeframe` returns it."""
    if timeframe == "W":
        return int((stamp - MONDAY) // WEEK * WEEK + MONDAY)
    if timeframe in ("M", "Y"):
        moment = datetime.fromtimestamp(stamp, UTC)
        first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return int((first.replace(month=1) if timeframe == "Y" else first).timestamp())
    length = DAY if timeframe == "D" else int(timeframe)
    return int(stamp // length * length)


def merged(bar: Bar, later: Bar) -> Bar:
    """Merge two consecutive bars into one that has the start time of the first."""
    start, first, high, low, _, volume = bar
    return start, first, max(high, later[2]), min(low, later[3]), later[4], volume + later[5]


class BarHistory:
    """Makes the bars of all instruments of the simulated ALOR from their trades. Owned by the server's event loop."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._seconds: defaultdict[tuple[str, str], list[Bar]] = defaultdict(list)

    def add(self, security: Security, ts_ns: int, price: float, size: float) -> None:
        """Add a live trade of `size` lots at `ts_ns` (Unix ns).

        One that comes late is counted in the bar of the newest second.
        """
        self._history.log.add(security.symbol, ts_ns, price, size * security.lot)
        second = ts_ns // NS_PER_S
        bars = self._seconds[security.exchange, security.symbol]
        trade = (second, price, price, price, price, size)
        if bars and second <= bars[-1][0]:
            bars[-1] = merged(bars[-1], trade)
        else:
            bars.append(trade)

    def of(self, security: Security, timeframe: str, first: float, last: float = math.inf) -> Iterator[Bar]:
        """Return a lazy iterator over the bars that start in [first, last), Unix s, oldest first.

        The current bar is incomplete. Trades added during the iteration are included. `timeframe` as
        `read_timeframe` returns it.
        """
        running: Bar | None = None
        for part in chain(self._past(security, timeframe, first, last), self._live(security, first, timeframe)):
            start = bar_start(timeframe, part[0])
            if running is not None and start == running[0]:
                running = merged(running, part)
                continue
            if running is not None and first <= running[0] < last:
                yield running
            if start >= last:
                return
            running = (start, *part[1:])
        if running is not None and first <= running[0] < last:
            yield running

    def _live(self, security: Security, first: float, timeframe: str) -> Iterator[Bar]:
        since = bar_start(timeframe, max(first, 0.0)) if first > 0 else 0
        position = 0
        bars = self._seconds[security.exchange, security.symbol]
        while position < len(bars):
            if bars[position][0] >= since:
                yield bars[position]
            position += 1

    def _past(self, security: Security, timeframe: str, first: float, last: float) -> Iterator[Bar]:
        if security.is_recorded:
            return
        lot, symbol, start = security.lot, security.symbol, self._history.start
        if timeframe in LETTERS:
            begin = bar_start(timeframe, first) if first > 0 else 0
            yield from _in_lots(self._history.bars(symbol, DAYS, begin, math.inf).tolist(), lot)
            return
        low = float(bar_start(timeframe, max(first, start - PAST_SECONDS)))
        while low < min(last, start):
            high = low + STRETCH_SECONDS
            yield from _in_lots(self._history.bars(symbol, MINUTES, low, high).tolist(), lot)
            low = high


def _in_lots(rows: Iterable[Any], lot: int) -> Iterator[Bar]:
    for time, first, high, low, last, volume, *_ in rows:
        yield time, first, high, low, last, volume // lot
