"""The interruptions of a feed, a frame, a book or a table, as `feed.gaps` and `frame.gaps` show them."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Mapping
from copy import copy
from typing import TypeAlias

import pandas as pd

from aries_nb.errors import BoundToProcess
from aries_nb.live.callbacks import Registrations
from aries_nb.model import GapSpan, Kind
from aries_nb.store import Gap, GapLog, gaps_frame

__all__ = ["GapSelection", "Gaps", "StreamSymbols"]

# The symbols of a frame by connection (its name in the gap log) and kind.
StreamSymbols: TypeAlias = Mapping[tuple[str, Kind], Collection[str]]


class GapSelection:
    """The gaps (interruptions) of the whole feed, where `places` is None, or of the symbols in it. Any thread.

    `places` has symbols by the connection's name and the kind of stream. Gaps of symbols are those that lasted until
    after `since` (ns since the epoch, None: now), and began before this object was closed.
    """

    def __init__(self, log: GapLog, places: StreamSymbols | None = None, *, since: int | None = None) -> None:
        self._log = log
        self._places = places
        self._made = self._log.clock.now_ns() if since is None else since
        self._closed: int | None = None
        self._own: set[int] = set()  # numbers of gaps that concern this selection's frame alone

    def again(self) -> GapSelection:
        """Return a selection of the same gaps, which is closed by itself: for what is computed of that frame."""
        again = GapSelection(self._log, self._places, since=self._made)
        again._own = self._own
        return again

    def add(self, number: int) -> None:
        """Include gap `number`, which concerns the frame of this selection alone."""
        self._own.add(number)

    def all(self) -> list[Gap]:
        """Return the gaps, oldest first; their times are in ns since the epoch."""
        if self._places is None:
            return self._log.all()
        return [gap for gap in self._log.of(self._places, tuple(self._own)) if self._is_ours(gap)]

    def _is_ours(self, gap: Gap) -> bool:
        is_later = self._closed is not None and gap.started > self._closed
        return not is_later and (gap.ended is None or gap.ended > self._made)

    @property
    def since(self) -> int:
        """The time from which on it has gaps, in ns since the epoch; 0 for all."""
        return self._made

    @property
    def log(self) -> GapLog:
        """The log of which this is a selection."""
        return self._log

    def over(self, log: GapLog) -> GapSelection:
        """Return the same selection of another log, as of one that never changes."""
        new = copy(self)
        vars(new).update(_log=log, _own=set(self._own))
        return new

    def close(self) -> None:
        """Leave out gaps that begin from now on; idempotent.

        Has no effect where this has the gaps of the whole feed.
        """
        self._closed = self._closed or self._log.clock.now_ns()

    def spans(self) -> tuple[GapSpan, ...]:
        """Return the time spans of the gaps that were not filled, oldest first."""
        return tuple(GapSpan(gap.started, gap.ended, gap.cause) for gap in self.all() if not gap.filled)

    def on_gap(self, registrations: Registrations, callback: Callable[[Gap], object]) -> Callable[[], None]:
        """Call `callback` with each gap when it begins, when it ends and when it is filled, on the callbacks' thread.

        Returns a function that ends the calls. Raises ClosedError after `registrations` was closed.
        """
        known = {gap.number: gap for gap in self.all()}

        def job() -> None:
            gaps = self.all()
            for number in known.keys() - {gap.number for gap in gaps}:
                del known[number]
            for gap in gaps:
                if known.get(gap.number) != gap:
                    known[gap.number] = gap  # first: a callback that raises is not called again for the same gap
                    try:
                        callback(gap)
                    except BaseException:
                        registrations.wake()  # for the gaps that are left
                        raise

        return registrations.add("gap", callback, job, self._log.watch)

    def __len__(self) -> int:
        return self._log.count if self._places is None else len(self.all())


class Gaps(BoundToProcess):
    """The interruptions of a feed, a frame, a book or a table: `df` has one row each, also while one lasts.

    Those of a frame, book or table begin when it was made and end when it was closed. Any thread.
    """

    def __init__(self, selection: GapSelection) -> None:
        self._selection = selection

    def all(self) -> list[Gap]:
        """Return the gaps as records, oldest first; their times are in ns since the epoch."""
        return self._selection.all()

    @property
    def df(self) -> pd.DataFrame:
        """One row a gap, oldest first: stream, symbol ("" all), started, ended (UTC), cause, reason, filled, missed.

        `ended` is NaT while the gap lasts. `cause` is "cut", "silence", "overload" (we read too slowly), "token",
        "restart" (the server restarts), "pause" (this process was suspended) or "given up" (only the notebook's output
        history held the frame, and nothing used it); `reason` says it in words. `filled`
        (bool): the missed data were loaded from the broker's history; where only one kind of data was filled, it has a
        row of its own, such as "market trades". `missed` is the number of messages that were missed, NaN where it is
        unknown.
        """
        return gaps_frame(self.all())

    def __len__(self) -> int:
        return len(self._selection)

    def __repr__(self) -> str:
        return f"<gaps: {len(self)}>" if len(self) else "<gaps: none>"

    def _repr_html_(self) -> str:
        return self.df.to_html() if len(self) else html.escape("No gaps.")
