"""Which bar a time belongs to, by New York's clock and calendar. Times are in Unix s. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from aries_nb.sim.market.instruments import NEW_YORK_HOURS

__all__ = ["DAY", "MINUTE", "NEW_YORK", "OPENING_MINUTE", "dates", "periods", "slots"]

Ints: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
NEW_YORK = ZoneInfo("America/New_York")
OPENING_MINUTE = NEW_YORK_HOURS.opening
MINUTE, DAY = 60, 86_400


def slots(times: Ints, minutes: int) -> Ints:
    """When the bars of so many minutes begin in which times lie; they count from the opening."""
    length, local = minutes * MINUTE, _local(times)
    return times - (local - OPENING_MINUTE * MINUTE) % length


def dates(times: Ints) -> Ints:
    """The dates in New York of times, as 00:00 UTC of the same."""
    return _local(times) // DAY * DAY


def periods(dates: Ints, unit: str, count: int) -> Ints:
    """The start of the days, Monday weeks or months, of which each takes `count`, in which dates lie."""
    days = dates // DAY
    if unit == "day":
        days = days // count * count
    elif unit == "week":
        days = (days + 3) // 7 // count * count * 7 - 3  # 1970-01-01 was a Thursday
    else:
        months = days.astype("M8[D]").astype("M8[M]").astype(np.int64) // count * count
        days = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    return np.asarray(days * DAY)


def _local(times: Ints) -> Ints:
    """New York's wall clock, as seconds since 1970-01-01 00:00 there; it changes at whole hours only."""
    hours, places = np.unique(times // 3600, return_inverse=True)
    moments = (datetime.fromtimestamp(int(hour) * 3600, UTC).astimezone(NEW_YORK) for hour in hours)
    offsets = [int((moment.utcoffset() or timedelta()).total_seconds()) for moment in moments]
    return times + np.array(offsets, np.int64)[places]
