"""`LiveMarketStatus`: what the broker reports of the state of the market, as `feed.market_status` returns it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import pandas as pd

from aries_nb.errors import BoundToProcess
from aries_nb.live.callbacks import NewRows, Registrations
from aries_nb.live.connection import Link
from aries_nb.model import NOT_A_TIME, Column, StatusValue
from aries_nb.store.values import frame_of, utc_times

__all__ = ["LiveMarketStatus"]

TIMES = (Column("ts", "time"), Column("received", "time"))


class LiveMarketStatus(BoundToProcess, Mapping[str, StatusValue]):
    """The newest state of the market as the broker reports it, a mapping from name to text, number or bool.

    For example {"market": "open", "after_hours": False, "exchanges.nyse": "open"}; the names are the broker's, in
    snake_case. Empty before the first report, and where the broker sends none. It stays current by itself: `ts` and
    `received` are its times, `df` has the reports so far, `on_update` calls a function back with each new one. Any
    thread may read.
    """

    def __init__(self, link: Link, registrations: Registrations) -> None:
        self._link = link
        self._registrations = registrations

    def __getitem__(self, name: str) -> StatusValue:
        return self._newest()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._newest())

    def __len__(self) -> int:
        return len(self._newest())

    @property
    def ts(self) -> pd.Timestamp:
        """The time of the newest report at the broker (UTC); the receipt where it names none, NaT before the first."""
        reports, _ = self._link.status_reports()
        return _timestamp(reports[-1].ts if reports else NOT_A_TIME)

    @property
    def received(self) -> pd.Timestamp:
        """The time at which the newest report was received (UTC); NaT before the first."""
        reports, _ = self._link.status_reports()
        return _timestamp(reports[-1].received if reports else NOT_A_TIME)

    @property
    def df(self) -> pd.DataFrame:
        """The newest 1,000 reports, one row each, oldest first; a snapshot that belongs to the caller.

        Index `ts` (UTC), column `received` (UTC) and one for each name, None in reports without it.
        """
        return self._reports_from(0).set_index("ts")

    def on_update(self, callback: Callable[[pd.DataFrame], object]) -> Callable[[], None]:
        """Call `callback` with each batch of new reports, rows as in `df` with `ts` as a column, on a thread of ours.

        Returns a function that ends the calls. A function that is registered again, as when its cell runs again,
        replaces itself. Raises ClosedError after the feed is closed, UsageError for what is no function.
        """
        return self._registrations.add_news(callback, NewRows(self._reports_from, self.version), self.watch)

    def __repr__(self) -> str:
        if not self:
            return "<market status: no report yet>"
        shown = ", ".join(f"{name} {value}" for name, value in list(self.items())[:6])
        return f"<market status at {self.ts:%Y-%m-%d %H:%M:%S} UTC: {shown}{' …' if len(self) > 6 else ''}>"

    @property
    def version(self) -> int:
        """The number of reports so far."""
        return self._link.status_reports()[1]

    def _reports_from(self, first: int) -> pd.DataFrame:
        """Return the reports from number `first` on that are kept; the index numbers them from 0, `ts` is a column."""
        reports, count = self._link.status_reports()
        reports = reports[max(first - count + len(reports), 0) :]
        names = list(dict.fromkeys(name for report in reports for name in report.entries))
        frame = frame_of(TIMES, [(report.ts, report.received) for report in reports])
        for name in names:
            values = [report.entries.get(name) for report in reports]
            frame[name] = pd.Series(values, index=frame.index, dtype="object")
        return frame.set_index(pd.RangeIndex(count - len(reports), count))

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each report, on the network's thread; it must return at once.

        Returns a function that ends the calls.
        """
        return self._link.watch_status(callback)

    def _newest(self) -> Mapping[str, StatusValue]:
        reports, _ = self._link.status_reports()
        return reports[-1].entries if reports else {}


def _timestamp(ns: int) -> pd.Timestamp:
    return cast("pd.Timestamp", utc_times([ns])[0])
