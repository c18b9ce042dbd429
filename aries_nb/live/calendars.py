"""Trading hours of markets from exchange calendars: since when a market has been open without a pause.

Calendars are looked up on a thread, and cached for spans of 30 days.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from functools import cache, partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd

from aries_nb.net.background import run_on_thread

if TYPE_CHECKING:
    from aries_nb.model import Times

__all__ = ["TradingSessions", "open_since", "sessions"]

log = logging.getLogger("aries_nb")

ROUND_THE_CLOCK = "24/7"
DAY_NS = 86_400_000_000_000
SPAN_DAYS = 30  # covered by one lookup
# A session opens and closes with an auction, and the first trade may be late: 10 min without trades are usual there
# (assumed).
AUCTION_NS = 600_000_000_000

# Opens and closes of regular sessions without breaks: ns since the epoch, ascending, of equal length.
TradingSessions: TypeAlias = "tuple[Times, Times]"


def open_since(calendar: str, now: int) -> int | None:
    """Return the time from which a market has traded without a pause until `now`; both in ns since the epoch.

    `calendar` is the exchange's market identifier code; "24/7" is never closed and gives 0. The first and the last 10
    min of a trading session, with its auctions, do not count. Returns None while no trades are expected (closed,
    holiday, lunch break, auction, before or after regular hours), and while the hours are not known: for "", for an
    unknown name, and for about a second after the first lookup. Never blocks. Any thread.
    """
    if calendar in {"", ROUND_THE_CLOCK}:
        return 0 if calendar else None
    lookup = _lookup(calendar, now // (SPAN_DAYS * DAY_NS))
    return _begin(lookup.result(), now) if lookup.done() and lookup.exception() is None else None


@cache
def _lookup(calendar: str, number: int) -> Future[TradingSessions]:
    """Return a future of a market's trading sessions in the span of 30 days with this `number` (0 begins at the epoch).

    They are looked up once, on a thread, as a calendar takes about a second and the thread that draws the views must
    not wait; later calls return the same future.
    """
    return run_on_thread(partial(_looked_up, calendar, number), name="aries-nb-hours")


def _looked_up(calendar: str, number: int) -> TradingSessions:
    try:
        return sessions(calendar, number * SPAN_DAYS * DAY_NS, (number + 1) * SPAN_DAYS * DAY_NS)
    except Exception as error:  # the border of the thread; without a calendar no symbol is called silent
        log.warning("the trading hours of %s are not known: %r", calendar, error)
        raise


def sessions(calendar: str, first: int, last: int) -> TradingSessions:
    """Return the regular sessions of a calendar between two times (ns since the epoch), and in 5 days on either side.

    The result is a pair of int64 arrays, opens and closes in ns since the epoch, ascending; a lunch break divides a
    session in two. Blocks for about a second.
    """
    import exchange_calendars  # takes a quarter of a second, and the simulated market does not need it

    begin, end = (pd.Timestamp(ts + days * DAY_NS).normalize() for ts, days in ((first, -5), (last, 5)))
    schedule = exchange_calendars.get_calendar(calendar, start=begin, end=end).schedule
    opens, closes, pauses, resumptions = (
        schedule[name].dt.tz_convert(None).to_numpy("datetime64[ns]")
        for name in ("open", "close", "break_start", "break_end")
    )
    has_break = ~np.isnat(pauses)
    begins = np.concatenate([opens, resumptions[has_break]])
    ends = np.concatenate([np.where(has_break, pauses, closes), closes[has_break]])
    return np.sort(begins).astype("int64"), np.sort(ends).astype("int64")


def _begin(known: TradingSessions, now: int) -> int | None:
    begins, ends = known
    place = int(np.searchsorted(begins, now, side="right")) - 1
    if place < 0 or not begins[place] + AUCTION_NS <= now < ends[place] - AUCTION_NS:
        return None
    return int(begins[place]) + AUCTION_NS
