"""Since when a market trades without a pause: calendars of exchanges, looked up aside and kept for a month."""

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

__all__ = ["Sessions", "open_since", "sessions"]

log = logging.getLogger("aries_nb")

ROUND_THE_CLOCK = "24/7"
DAY_NS = 86_400_000_000_000
SPAN_DAYS = 30  # after which a calendar is looked up anew
# A session opens and closes with an auction, and the first trade may be late: these minutes may be quiet (assumed).
AUCTION_NS = 600_000_000_000

# When regular sessions open and close, breaks left out: ns since the epoch, ascending, and of one length.
Sessions: TypeAlias = "tuple[Times, Times]"


def open_since(calendar: str, now: int) -> int | None:
    """Since when a market has traded without a pause at `now`; ns since the epoch, 0 for one that never closes.

    None where it need not trade: it is closed, on holiday, at lunch, in an auction, before or after its regular hours;
    and where that is not known: for the name "", for a name that nobody knows, and for the second or so that a
    calendar takes to come. Never blocks. Any thread.
    """
    if calendar in {"", ROUND_THE_CLOCK}:
        return 0 if calendar else None
    asked = _asked(calendar, now // (SPAN_DAYS * DAY_NS))
    return _begin(asked.result(), now) if asked.done() and asked.exception() is None else None


@cache
def _asked(calendar: str, number: int) -> Future[Sessions]:
    """The sessions of a span, looked up on a thread of its own: a calendar takes a second, and a board is painted."""
    return run_on_thread(partial(_looked_up, calendar, number), name="aries-nb-hours")


def _looked_up(calendar: str, number: int) -> Sessions:
    try:
        return sessions(calendar, number * SPAN_DAYS * DAY_NS, (number + 1) * SPAN_DAYS * DAY_NS)
    except Exception as error:  # the border of the thread; without a calendar nothing is called silent
        log.warning("the hours of %s are not known: %r", calendar, error)
        raise


def sessions(calendar: str, first: int, last: int) -> Sessions:
    """The regular sessions of a calendar between two times, ns since the epoch, and some days around them."""
    import exchange_calendars  # a quarter of a second, and no notebook on the simulated market needs it

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


def _begin(known: Sessions, now: int) -> int | None:
    begins, ends = known
    place = int(np.searchsorted(begins, now, side="right")) - 1
    if place < 0 or not begins[place] + AUCTION_NS <= now < ends[place] - AUCTION_NS:
        return None
    return int(begins[place]) + AUCTION_NS
