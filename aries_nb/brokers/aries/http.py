"""Accounts and bars of Aries over HTTP: the calls, and the decoding of answers, without I/O.

Source: Aries protocol page §7.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from aries_nb.brokers.parsing import json_object, nanoseconds, shown, timed_bars
from aries_nb.brokers.protocol import Query
from aries_nb.errors import UsageError
from aries_nb.model import BarPage

__all__ = ["RESOLUTIONS", "AriesHttp", "bar_rows", "bar_start", "bars_from", "bars_query"]

_NS = 1_000_000_000
_HOUR, _DAY = 3_600, 86_400
# Bar length in seconds → the broker's name; it has more than these (protocol page §7).
RESOLUTIONS = {
    60: "1", 180: "3", 300: "5", 900: "15", 1_800: "30",
    3_600: "60", 7_200: "120", 10_800: "180", 14_400: "240", _DAY: "1D",
}  # fmt: skip
_NEW_YORK = ZoneInfo("America/New_York")
_OPENING = 9 * _HOUR + 1_800  # 09:30


class AriesHttp:
    """HTTP calls for accounts and bars, without I/O. Implements `Reference`; `read_` methods raise ValueError."""

    def accounts_in(self, token: str) -> None:
        """Return None: Aries' tokens do not name accounts, so `accounts` has to be called."""

    def account_id(self, name: str) -> tuple[str, str]:
        """Return the name of an account twice: it is the same in subscriptions and in the list of accounts."""
        return name, name

    def accounts(self) -> Query:
        """Return the call that lists the user's accounts."""
        return Query("/v2/users/me/accounts")

    def read_accounts(self, body: bytes) -> tuple[str, ...]:
        """Return the account identifiers in `body`, an answer to `accounts`, in the broker's order.

        Raises ValueError if it has no list of them.
        """
        accounts = json_object(body).get("accounts")
        if not isinstance(accounts, list):
            raise ValueError("the answer has no list of accounts")  # noqa: TRY004 - a bad answer, not a bad call
        names = [item.get("trading_account_id") for item in accounts if isinstance(item, dict)]
        return tuple(name for name in names if isinstance(name, str) and name)

    def bars(self, symbol: str, interval_s: int, start_ns: int, end_ns: int) -> Query:
        """Return the call for bars of `interval_s` seconds that start in [start_ns, end_ns), in ns since the epoch.

        Raises UsageError for a bar length that Aries does not have.
        """
        return bars_query(symbol, interval_s, start_ns, end_ns)

    def read_bars(self, body: bytes) -> BarPage:
        """Return the bars in `body`, an answer to `bars`, oldest first; the first page has the latest bars.

        Source: Aries protocol page §7. Raises ValueError for an answer that cannot be used.
        """
        return bars_from(json_object(body))

    def bar_start(self, ts_ns: int, interval_s: int) -> int:
        """Return the start of the bar of `interval_s` seconds that contains the time `ts_ns`.

        Both times are in ns since the epoch. Bars within a day count from 09:30 New York time; a day starts at 00:00
        UTC of its date in New York (both assumed).
        """
        return bar_start(ts_ns, interval_s)


def bars_query(symbol: str, interval_s: int, start_ns: int, end_ns: int) -> Query:
    """Return the call for bars of `interval_s` seconds that start in [start_ns, end_ns), in ns since the epoch.

    Raises UsageError for a bar length that Aries does not have.
    """
    resolution = RESOLUTIONS.get(interval_s)
    if resolution is None:
        known = ", ".join(map(str, RESOLUTIONS))
        raise UsageError(f"no bars of {interval_s} s", where="Aries", advice=f"It has bars of {known} s.")
    # Rounded up both: a bar starts at a whole second.
    span = (("from", str(-(-start_ns // _NS))), ("to", str(-(-end_ns // _NS))))
    # The trade stream covers extended hours, so the bars have to as well (the spelling of "true" is assumed).
    extended = ("includeExtended", "true")
    return Query("/v1/chart/history", (("symbol", symbol), ("resolution", resolution), *span, extended))


def bars_from(answer: dict[str, Any]) -> BarPage:
    """Return the bars in a decoded answer, oldest first, each start once, with NaN for a missing volume.

    A bar without a usable time or price is left out. The answer's field `nextTo` is the end of the bars before these.
    In an answer without bars, `nextTime` is the start of the newest bar before them; it may lie within the requested
    span, if the server looks back only so far, and a request up to it then finds bars. Both meanings are assumed: the
    protocol page only names the fields; TradingView documents the second. Raises ValueError if the broker reports an
    error, and if the arrays are missing or not of equal length.
    """
    said = answer.get("s", "ok")
    if said == "no_data":
        before = nanoseconds(answer.get("nextTime"))
        return BarPage([], [], [], [], [], [], None if before is None else before + _NS)
    if said != "ok":
        raise ValueError(f"the server says {shown(answer.get('errmsg', said))!r}")
    return timed_bars(bar_rows(answer), nanoseconds(answer.get("nextTo")))


def bar_rows(answer: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Return an iterator over time, open, high, low, close and volume of each bar in an answer's parallel arrays.

    A missing volume is None. Raises ValueError if the arrays are missing or not of equal length.
    """
    times, volumes = answer.get("t"), answer.get("v")
    if volumes is None and isinstance(times, list):
        volumes = [None] * len(times)
    columns = [array for array in (times, *map(answer.get, "ohlc"), volumes) if isinstance(array, list)]
    if len(columns) != 6 or len({len(column) for column in columns}) != 1:
        raise ValueError("the answer has no arrays t, o, h, l, c and v of one length")
    return zip(*columns, strict=True)


def bar_start(ts_ns: int, interval_s: int) -> int:
    """Return the start of the bar of `interval_s` seconds that contains the time `ts_ns`.

    Both times are in ns since the epoch. Bars within a day count from 09:30 New York time; a day starts at 00:00 UTC of
    its date in New York (both assumed: TradingView's convention for this market).
    """
    seconds = ts_ns // _NS
    if interval_s <= 1_800:
        return seconds // interval_s * interval_s * _NS  # the offset of New York is whole hours: nothing to look up
    local = seconds + _offset(seconds // _HOUR)
    if interval_s == _DAY:
        return local // _DAY * _DAY * _NS
    return (seconds - (local - _OPENING) % interval_s) * _NS


@lru_cache(maxsize=256)
def _offset(hour: int) -> int:
    """Return New York's offset from UTC in seconds, for an hour counted from the epoch.

    One value per hour is enough, as the offset changes at whole hours only.
    """
    moment = datetime.fromtimestamp(hour * _HOUR, UTC).astimezone(_NEW_YORK)
    offset = moment.utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
