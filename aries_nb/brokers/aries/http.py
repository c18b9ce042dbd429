"""Aries over HTTP: accounts and bars, the calls and how their answers are read (protocol page §7). Pure."""

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
    """Calls for accounts and bars. Each `read_` raises ValueError for an answer of another form."""

    def accounts_in(self, token: str) -> None:
        """None: the tokens do not name accounts."""

    def accounts(self) -> Query:
        """The call that lists the user's accounts."""
        return Query("/v2/users/me/accounts")

    def read_accounts(self, body: bytes) -> tuple[str, ...]:
        """The identifiers of the accounts, in the broker's order."""
        accounts = json_object(body).get("accounts")
        if not isinstance(accounts, list):
            raise ValueError("the answer has no list of accounts")  # noqa: TRY004 - a bad answer, not a bad call
        names = [item.get("trading_account_id") for item in accounts if isinstance(item, dict)]
        return tuple(name for name in names if isinstance(name, str) and name)

    def bars(self, symbol: str, interval_s: int, start_ns: int, end_ns: int) -> Query:
        """The call for bars that start in [start_ns, end_ns). Raises UsageError for an unknown bar length."""
        return bars_query(symbol, interval_s, start_ns, end_ns)

    def read_bars(self, body: bytes) -> BarPage:
        """The bars of one answer; the first page is the latest (§7)."""
        return bars_from(json_object(body))

    def bar_start(self, ts_ns: int, interval_s: int) -> int:
        """Start of the bar that contains a time; both in ns since the epoch."""
        return bar_start(ts_ns, interval_s)


def bars_query(symbol: str, interval_s: int, start_ns: int, end_ns: int) -> Query:
    """The call for bars that start in [start_ns, end_ns). Raises UsageError for an unknown bar length."""
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
    """The bars of one answer, oldest first, each start once; a bar without a usable time or price is left out.

    A volume that is missing is NaN. `nextTo` is when the bars before these end, and where there are none, `nextTime`
    is when the newest bar before them begins (both assumed: the page names them only; TradingView says so of the
    second). One that lies within what was asked, as where a server looks back so far and no further, is worth asking
    on. Raises ValueError where the broker says "error", and where the arrays are missing or not of one length.
    """
    said = answer.get("s", "ok")
    if said == "no_data":
        before = nanoseconds(answer.get("nextTime"))
        return BarPage([], [], [], [], [], [], None if before is None else before + _NS)
    if said != "ok":
        raise ValueError(f"the server says {shown(answer.get('errmsg', said))!r}")
    return timed_bars(bar_rows(answer), nanoseconds(answer.get("nextTo")))


def bar_rows(answer: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Time, open, high, low, close and volume of each bar, out of parallel arrays; a missing volume is None.

    Raises ValueError where the arrays are missing or not of one length.
    """
    times, volumes = answer.get("t"), answer.get("v")
    if volumes is None and isinstance(times, list):
        volumes = [None] * len(times)
    columns = [array for array in (times, *map(answer.get, "ohlc"), volumes) if isinstance(array, list)]
    if len(columns) != 6 or len({len(column) for column in columns}) != 1:
        raise ValueError("the answer has no arrays t, o, h, l, c and v of one length")
    return zip(*columns, strict=True)


def bar_start(ts_ns: int, interval_s: int) -> int:
    """Start of the bar that contains a time; both in ns since the epoch.

    Bars within a day count from 09:30 New York time, a day is stamped 00:00 UTC of its date there (both assumed:
    TradingView's convention for this market).
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
    """New York's offset from UTC in seconds, in an hour counted from the epoch; it changes at whole hours only."""
    moment = datetime.fromtimestamp(hour * _HOUR, UTC).astimezone(_NEW_YORK)
    offset = moment.utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
