"""Historical bars of one instrument, requested over HTTP page by page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from itertools import compress
from typing import Any

from aries_nb.brokers import Reference
from aries_nb.errors import FeedError, UsageError
from aries_nb.live.arguments import checked_span_ns
from aries_nb.model import BarPage
from aries_nb.net.events.answers import Get, Requests
from aries_nb.net.http_client import HttpClient
from aries_nb.store.bars import MOST_BARS

__all__ = ["DAY", "INTERVALS", "BarHistory", "checked_span"]

INTERVALS: Mapping[str, int] = {  # in seconds
    "1min": 60, "3min": 180, "5min": 300, "15min": 900, "30min": 1_800,
    "1h": 3_600, "2h": 7_200, "3h": 10_800, "4h": 14_400, "1d": 86_400,
}  # fmt: skip

DAY_SECONDS = 86_400
SECOND = 1_000_000_000
DAY = DAY_SECONDS * SECOND
MOST_PAGES = 1_000  # the limit of requests for one history
LONG_WEEKEND = 4  # days without a bar that are usual
MOST_LOOKS_BACK = 3


class BarHistory:
    """Requests the historical bars of one instrument over HTTP, in as many pages as necessary.

    `interval_s` is the length of a bar in seconds. Its methods block: any thread but the network's may call them.
    """

    def __init__(self, http: HttpClient, reference: Reference, symbol: str, interval_s: int) -> None:
        self._http: HttpClient | Requests = http
        self._reference = reference
        self.symbol = symbol
        self._interval_s = interval_s
        self.key = f"{symbol} {interval_s}"
        self._before: int | None = None  # what the newest page said of earlier bars

    @property
    def get(self) -> Get:
        """The function that makes the requests."""
        return self._http.get

    def asking(self, get: Get) -> BarHistory:
        """Return the same history, which makes its requests with `get`."""
        other = copy(self)
        other._http = Requests(self._http.base, get)  # noqa: SLF001 - of this class
        return other

    def start_of(self, ts: int) -> int:
        """Return the start of the bar that contains the time `ts`; both in ns since the epoch."""
        return self._reference.bar_start(ts, self._interval_s)

    def ask(self, start: int, end: int, *, reached: Callable[[int], object] | None = None) -> BarPage:
        """Return the bars that begin in [start, end), both in ns since the epoch. Blocks.

        The newest page is requested first, and no further one once there are 200,000 bars. `reached` is called before
        each further page with the time from which on the bars have arrived. Raises FeedError for a page that cannot be
        parsed or is refused, ConnectError or TokenError without a reply.
        """
        pages: list[BarPage] = []
        next_end = end
        while start < next_end and sum(len(page.start_ns) for page in pages) < MOST_BARS and len(pages) < MOST_PAGES:
            page = self._page(start, next_end)
            pages.append(page)
            self._before = page.next_end_ns
            if page.next_end_ns is None or page.next_end_ns >= next_end:
                break  # a server without an earlier page has no more
            next_end = page.next_end_ns
            if reached is not None and start < next_end:
                reached(next_end)
        return _joined(pages, start, end)

    def days(self, start: int, end: int, *, days: int, reached: Callable[[int], object] | None = None) -> BarPage:
        """Return the bars that begin in [start, end), and earlier ones until those of `days` trading days are there.

        Times are in ns since the epoch. A trading day is one with bars, such as Friday on a Sunday, or the day before a
        holiday. Looks back over at most some weeks without a bar. Blocks, and raises the errors of `ask`.
        """
        bars = self.ask(start, end, reached=reached)
        span = (2 * days + LONG_WEEKEND) * DAY
        for _ in range(MOST_LOOKS_BACK):
            known = {self._day(each) for each in bars.start_ns}
            missing = days - len(known)
            if missing <= 0:
                break
            begin, end = start - span, start
            earlier = self.ask(self.start_of(begin), end)
            newest = sorted({self._day(each) for each in earlier.start_ns} - known)[-missing:]
            first = newest[0] if newest else end
            bars = _joined([bars, earlier], min(first, end), 2**63 - 1)
            # The server may say where the newest bar before an empty span is.
            start = begin if self._before is None else min(begin, self._before)
        return bars

    def _day(self, ts: int) -> int:
        return self._reference.bar_start(ts, DAY // SECOND)

    def _page(self, start: int, end: int) -> BarPage:
        query = self._reference.bars(self.symbol, self._interval_s, start, end)
        body = self._http.get(query.path, dict(query.params))
        try:
            return self._reference.read_bars(body)
        except ValueError as error:
            what = f"the bars of {self.symbol!r} cannot be read: {error}"
            raise FeedError(what, where=self._http.base + query.path, advice="Check the symbol.") from error


def checked_span(history: object, interval_s: int) -> int:
    """Return a span of time such as "2d" in ns.

    Raises UsageError for an invalid one, and for one of more than 200,000 bars of `interval_s` seconds.
    """
    span_ns = checked_span_ns(history, "history")
    if span_ns > MOST_BARS * interval_s * SECOND:
        longest = MOST_BARS * interval_s // DAY_SECONDS
        raise UsageError(f"history={history!r} is too long", advice=f'For this interval ask for "{longest}d" at most.')
    return span_ns


def _joined(pages: list[BarPage], start: int, end: int) -> BarPage:
    """Return the pages joined in order of time, without bars that begin outside of [start, end), in ns since the epoch.

    `pages` has the latest page first.
    """
    columns: list[list[Any]] = [[] for _ in BarPage._fields[:-1]]
    for page in reversed(pages):
        wanted = [start <= each < end for each in page.start_ns]
        for column, part in zip(columns, page[:-1], strict=True):
            column.extend(compress(part, wanted))  # type: ignore[arg-type]  # all fields but the last are lists
    return BarPage._make([*columns, None])
