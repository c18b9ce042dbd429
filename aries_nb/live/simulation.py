"""`feed.simulate`: troubles of a simulated market, at once; by calls, and by buttons in a cell."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, overload

from aries_nb.errors import UsageError
from aries_nb.live.arguments import checked_symbol
from aries_nb.live.local_simulator import EmbeddedMarket

if TYPE_CHECKING:
    from aries_nb.widgets import TroubleButtons

__all__ = ["Simulation"]


class Simulation:
    """The troubles of the simulated market that was started for a feed; `market` None for any other feed.

    Called as `feed.simulate`. Any thread.
    """

    def __init__(self, name: str, market: EmbeddedMarket | None) -> None:
        self._name = name
        self._market = market

    @overload
    def __call__(self) -> TroubleButtons: ...

    @overload
    def __call__(self, trouble: str, *, seconds: float = 5.0, symbol: str | None = None) -> None: ...

    def __call__(
        self, trouble: str | None = None, *, seconds: float = 5.0, symbol: str | None = None
    ) -> TroubleButtons | None:
        """Let a trouble happen now, for some seconds of market time; without a name, return buttons for all of them.

        `trouble` is one of "outage", "delay", "burst", "crossed book", "halt", "market halt", "missing sides",
        "stub quotes", "late prints", "corrected prints", "cancelled prints", "times ahead", "times in seconds" and
        "extreme sizes". `symbol` names one, None is for all; the first three and "market halt" are always for all.

        While the market stands, the trouble holds, and goes on with it. Raises UsageError for a feed without an
        embedded simulated market, for an unknown trouble or symbol, and for seconds that are not above 0; ClosedError
        when the market has ended.
        """
        market = self._existing()
        if trouble is None:
            from aries_nb.widgets import TroubleButtons

            return TroubleButtons(self)
        if not isinstance(trouble, str):
            raise UsageError(f"trouble={trouble!r} is no name", advice=f"Use one of: {', '.join(market.troubles())}.")
        is_number = isinstance(seconds, Real) and not isinstance(seconds, bool) and isfinite(seconds)
        if not is_number or seconds <= 0:
            raise UsageError(f"seconds={seconds!r}", advice="Pass a number above 0, such as 5.")
        name = "" if symbol is None else checked_symbol(symbol)
        market.command("simulate", trouble=trouble, seconds=float(seconds), symbol=name)
        return None

    @property
    def troubles(self) -> Mapping[str, str]:
        """What can be simulated: each name with what happens. Raises UsageError as a call does."""
        return self._existing().troubles()

    def __repr__(self) -> str:
        return "<simulate: troubles of a simulated market>"

    def _existing(self) -> EmbeddedMarket:
        if self._market is None:
            what = f"{self._name} is no simulated market of its own: nothing can be simulated"
            raise UsageError(what, advice='Use anb.connect("sim") without url=, which starts one.')
        return self._market
