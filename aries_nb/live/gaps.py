"""What a feed has missed, for a user: `feed.gaps`."""

from __future__ import annotations

import html

import pandas as pd

from aries_nb.store import GapLedger

__all__ = ["Gaps"]


class Gaps:
    """The interruptions of a feed, oldest first: one row each in `df`, also while it lasts."""

    def __init__(self, ledger: GapLedger) -> None:
        self._ledger = ledger

    @property
    def df(self) -> pd.DataFrame:
        """Columns stream, symbol ("" all), started, ended (UTC), reason, filled, missed; NaT, NaN where not known."""
        return self._ledger.df

    def __len__(self) -> int:
        return self._ledger.count

    def __repr__(self) -> str:
        return f"<gaps: {len(self)}>" if len(self) else "<gaps: none; nothing was missed>"

    def _repr_html_(self) -> str:
        return self.df.to_html() if len(self) else html.escape("No gaps: nothing was missed.")
