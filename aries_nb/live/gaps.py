"""What a feed or a frame has missed, for a user: `feed.gaps`, `frame.gaps`."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

import pandas as pd

from aries_nb.live.callbacks import Callbacks
from aries_nb.model import GapSpan, Kind
from aries_nb.store import Gap, GapLedger, gaps_frame

__all__ = ["Gaps", "Places"]

# On which connections, by the names that the ledger has for them, a frame has symbols of which kind.
Places: TypeAlias = Mapping[tuple[str, Kind], Collection[str]]


class Gaps:
    """The interruptions of a feed, or of what lies at `places`: one row each in `df`, also while it lasts."""

    def __init__(self, ledger: GapLedger, places: Places | None = None) -> None:
        self._ledger = ledger
        self._places = places

    def all(self) -> list[Gap]:
        """The gaps as records, times in ns since the epoch."""
        return self._ledger.all() if self._places is None else self._ledger.of(self._places)

    @property
    def df(self) -> pd.DataFrame:
        """Columns stream, symbol ("" all), started, ended (UTC), cause, reason, filled, missed.

        `ended` is NaT while the gap lasts. `cause` is "cut", "silence", "overload" (we read too slowly), "token",
        "restart" (the server goes away) or "pause" (this process stood still); `reason` says it in words. `filled`:
        what was missed has come out of the broker's past; where that is so of one kind alone, "market trades" has a
        line of its own. `missed` is how many messages did not come in time, NaN where the broker does not tell.
        """
        return gaps_frame(self.all())

    def spans(self) -> tuple[GapSpan, ...]:
        """When the stream was deaf and has not been filled since, oldest first."""
        return tuple(GapSpan(gap.started, gap.ended, gap.cause) for gap in self.all() if not gap.filled)

    def on_gap(self, callbacks: Callbacks, callback: Callable[[Gap], object]) -> Callable[[], None]:
        """Call back with each gap as it begins and again as it ends, on the callbacks' thread. Returns the undo."""
        position = self._ledger.count
        lasting = {gap.number: gap for gap in self.all() if gap.ended is None}

        def job() -> None:
            nonlocal position, lasting
            told, count = self.all(), self._ledger.count
            fresh = [gap for gap in told if gap.number >= position or lasting.get(gap.number, gap) != gap]
            position, lasting = count, {gap.number: gap for gap in told if gap.ended is None}
            for gap in fresh:
                callback(gap)

        undo = (callbacks.add(job), self._ledger.watch(callbacks.ring))

        def stop() -> None:
            for each in undo:
                each()

        return stop

    def __len__(self) -> int:
        return self._ledger.count if self._places is None else len(self.all())

    def __repr__(self) -> str:
        return f"<gaps: {len(self)}>" if len(self) else "<gaps: none; nothing was missed>"

    def _repr_html_(self) -> str:
        return self.df.to_html() if len(self) else html.escape("No gaps: nothing was missed.")
