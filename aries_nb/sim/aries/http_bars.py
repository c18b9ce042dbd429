"""Historical bars of the simulated Aries broker over HTTP: chart/history, chart/tick-history and stocks/aggs.

Source: Aries' protocol page §7. Chart routes report errors with status 200 and the field `s`; the others with an HTTP
status.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from datetime import time as day_time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aries_nb.sim.http_answers import HttpError
from aries_nb.sim.market.history import NEW_YORK, Resolution

if TYPE_CHECKING:
    from collections.abc import Callable

    from aries_nb.sim.http_answers import Query
    from aries_nb.sim.market.history import History

__all__ = ["RESOLUTIONS", "TICK_SIZES", "BarRoutes"]

#: Protocol page §7.
RESOLUTIONS: dict[str, Resolution] = {
    **{str(minutes): Resolution("minute", minutes) for minutes in (1, 3, 5, 15, 30, 45, 60, 120, 180, 240)},
    "D": Resolution("day", 1),
    "1D": Resolution("day", 1),
    "W": Resolution("week", 1),
    "1W": Resolution("week", 1),
    "M": Resolution("month", 1),
    **{f"{months}M": Resolution("month", months) for months in (1, 3, 6, 12)},
}
TICK_SIZES = {f"{size}T": size for size in (1, 5, 10, 25, 50, 100, 250, 500, 1000)}
TIMESPANS = {
    "minute": Resolution("minute", 1),
    "hour": Resolution("minute", 60),
    "day": Resolution("day", 1),
    "week": Resolution("week", 1),
    "month": Resolution("month", 1),
    "quarter": Resolution("month", 3),
    "year": Resolution("month", 12),
}
MOST_MINUTES = 1440
#: Most bars in one answer of chart/history, the latest ones (assumed: the page gives no limit).
MOST_BARS = 20_000
COUNTBACK = 300
CURSOR = re.compile(r"[0-9]{1,15}")
#: Most bars in one answer of chart/tick-history, and most trades in all of them.
MOST_TICK_BARS, MOST_TICK_TRADES = 5000, 50_000
#: Assumed: the limits of the data provider that the broker names.
AGGREGATES, MOST_AGGREGATES = 5000, 50_000

Udf = dict[str, Any]


class BarRoutes:
    """Answers HTTP requests for bars from the market's history; `is_known` returns whether a symbol exists."""

    def __init__(self, history: History, is_known: Callable[[str], bool]) -> None:
        self._history = history
        self._is_known = is_known

    def history(self, query: Query, now: float) -> Udf:  # noqa: ARG002 - signature of all routes
        """Return bars that start in [`from`, `to`), two query parameters, as TradingView's arrays; `t` in Unix s.

        These are at most 20,000, the latest; then `nextTo` is the `to` of the next request (assumed). If there
        are none, `nextTime` is the start of the last bar before. The simulated market trades at any hour, so
        `includeExtended` and `firstDataRequest` have no effect.
        """
        symbol, name = query.text("symbol"), query.text("resolution")
        first, last = query.seconds("from"), query.seconds("to")
        if not self._is_known(symbol):
            return _failed("unknown symbol")
        if name in TICK_SIZES:
            return self._tick_range(symbol, TICK_SIZES[name], first, last)
        resolution = RESOLUTIONS.get(name)
        if resolution is None:
            return _failed("unknown resolution")
        bars = self._history.bars(symbol, resolution, first, last)
        if not len(bars):
            before = self._history.before(symbol, resolution, first)
            return {"s": "no_data"} if before is None else {"s": "no_data", "nextTime": before}
        latest = bars[-MOST_BARS:]
        names = {"t": "time", "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
        answer: Udf = {"s": "ok", **{short: latest[long].tolist() for short, long in names.items()}}
        if len(latest) < len(bars):
            answer["nextTo"] = str(answer["t"][0])
        return answer

    def ticks(self, query: Query, now: float) -> Udf:  # noqa: ARG002 - signature of all routes
        """Return the last bars that each have equally many live trades, oldest first; `t` in Unix ms.

        The query parameter `countback` (300 by default) is how many bars are returned. Live trades are those since
        the server's start. `nextTo` in the answer is the parameter `cursor` with which to request older bars.
        """
        symbol, size = query.text("symbol"), TICK_SIZES.get(query.text("resolution"))
        most = min(MOST_TICK_BARS, MOST_TICK_TRADES // (size or 1))
        count = min(query.integer("countback", 1, 1_000_000, COUNTBACK), most)
        cursor = query.text("cursor", "end")
        if not self._is_known(symbol):
            return _failed("unknown symbol")
        if size is None:
            return _failed("unknown resolution")
        if cursor != "end" and not CURSOR.fullmatch(cursor):
            return _failed("bad cursor")
        found = self._history.log.bars(symbol, size, count, None if cursor == "end" else int(cursor))
        answer = _arrays(found.rows)
        if found.rows and found.older is not None:
            answer["nextTo"] = str(found.older)
        return answer

    def aggregates(self, query: Query, now: float) -> dict[str, Any]:  # noqa: ARG002 - signature of all routes
        """Return bars with mean price and number of trades, as the broker's aggregates; `t` in Unix ms.

        The query parameters `from` and `to`, both included, are dates, or times in Unix s or ms. Raises HttpError
        (404) for an unknown symbol, (422) for a missing or wrong parameter.
        """
        ticker, span = query.text("ticker"), query.choice("timespan", TIMESPANS)
        unit, length = TIMESPANS[span]
        most = MOST_MINUTES // length if unit == "minute" else 1000
        resolution = Resolution(unit, length * query.integer("multiplier", 1, most))
        first, last = _moment(query, "from", unit=unit, is_end=False), _moment(query, "to", unit=unit, is_end=True)
        limit = query.integer("limit", 1, MOST_AGGREGATES, AGGREGATES)
        is_newest_first = query.choice("sort", ("asc", "desc"), "asc") == "desc"
        offset = query.integer("next", 0, 10**9, 0)
        is_adjusted = query.flag("adjusted", default=True)
        if not self._is_known(ticker):
            raise HttpError(404, "unknown ticker", "ticker")
        bars = self._history.bars(ticker, resolution, first, last)
        page = bars[:: -1 if is_newest_first else 1][offset : offset + limit]
        results = [
            {"t": time * 1000, "o": o, "h": h, "l": l, "c": c, "v": v, "vw": round(turnover / v, 4) if v else c, "n": n}
            for time, o, h, l, c, v, turnover, n in page.tolist()  # noqa: E741 - the broker's names
        ]
        answer = {
            "ticker": ticker,
            "adjusted": is_adjusted,
            "status": "OK",
            "queryCount": len(results),
            "resultsCount": len(results),
            "results": results,
        }
        if offset + limit < len(bars):
            answer["next"] = str(offset + limit)
            answer["nextUrl"] = f"/v1/stocks/aggs?{urlencode({**query.values, 'next': answer['next']})}"
        return answer

    def _tick_range(self, symbol: str, size: int, first: float, last: float) -> Udf:
        """Return the answer with the bars of `size` trades each that start in [`first`, `last`), Unix s.

        Several may have the same start `t`, which is in whole seconds.
        """
        found = self._history.log.bars(symbol, size, MOST_BARS)
        rows = [(row[0] // 1000, *row[1:]) for row in found.rows if first * 1000 <= row[0] < last * 1000]
        return _arrays(rows)


def _arrays(rows: list[tuple[int, float, float, float, float, float]]) -> Udf:
    if not rows:
        return {"s": "no_data"}
    return {"s": "ok", **{name: list(column) for name, column in zip("tohlcv", zip(*rows, strict=True), strict=True)}}


def _failed(text: str) -> Udf:
    return {"s": "error", "errmsg": text}


def _moment(query: Query, name: str, *, unit: str, is_end: bool) -> float:
    """Return the start or end of a requested period, the query parameter `name`, in Unix s.

    The parameter is a date, or a number: Unix ms if it is above 100,000,000,000, else Unix s. `is_end` False gives
    the beginning of a date; True gives its end, or the next float after a number, so that the given time is within
    the period. `unit` is that of the length of the requested bars: for "minute" (bars of minutes and hours) a date is
    one in New York, for longer bars one in UTC, in which they are stamped. Raises HttpError (422) if the parameter is
    absent or neither.
    """
    text = query.text(name)
    try:
        day = date.fromisoformat(text)
    except ValueError:
        moment = query.seconds(name)
        return math.nextafter(moment, math.inf) if is_end else moment
    zone = NEW_YORK if unit == "minute" else UTC
    return datetime.combine(day, day_time.max if is_end else day_time.min, zone).timestamp()
